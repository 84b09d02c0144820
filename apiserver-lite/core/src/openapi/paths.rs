//! The operations of a document: what the kind table says about verbs, written as OpenAPI.

use super::root;
use super::schemas::reference;
use crate::schema::{type_of, type_of_subresource, types};
use kedge_api::kinds::{Kind, Subresource};
use serde_json::{Map, Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const JSON_YAML_PROTOBUF: &[&str] =
    &["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];
const WATCHABLE: &[&str] = &[
    "application/json",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/yaml",
];
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
];
const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "pretty",
    "propagationPolicy",
];
const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "pretty",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "pretty"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force", "pretty"];
const GET: &[&str] = &["pretty"];
const LOG: &[&str] = &[
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "pretty",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
];

/// The parameters of subresources that are streams and not objects.
const CONNECT: &[(&str, &[&str])] = &[
    ("attach", &["container", "stderr", "stdin", "stdout", "tty"]),
    ("exec", &["command", "container", "stderr", "stdin", "stdout", "tty"]),
    ("portforward", &["ports"]),
    ("proxy", &["path"]),
];

const INTEGERS: &[&str] =
    &["gracePeriodSeconds", "limit", "limitBytes", "ports", "sinceSeconds", "tailLines", "timeoutSeconds"];
const BOOLEANS: &[&str] = &[
    "allowWatchBookmarks",
    "follow",
    "force",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "insecureSkipTLSVerifyBackend",
    "orphanDependents",
    "previous",
    "sendInitialEvents",
    "stderr",
    "stdin",
    "stdout",
    "timestamps",
    "tty",
    "watch",
];

pub fn of_root(root: &str) -> Value {
    let (path, id, answer) = match root {
        "api" => ("/api/", "getCoreAPIVersions", "APIVersions"),
        "apis" => ("/apis/", "getAPIVersions", "APIGroupList"),
        "version" => {
            let info = reference("io.k8s.apimachinery.pkg.version.Info");
            return json!({"/version/": {"get": discovery("getCodeVersion", info, &["application/json"])}});
        }
        "openid/v1/jwks" => {
            let get = discovery(
                "getServiceAccountIssuerOpenIDKeyset",
                json!({"type": "string"}),
                &["application/jwk-set+json"],
            );
            return json!({"/openid/v1/jwks/": {"get": get}});
        }
        _ => {
            let get = discovery(
                "getServiceAccountIssuerOpenIDConfiguration",
                json!({"type": "string"}),
                &["application/json"],
            );
            return json!({"/.well-known/openid-configuration/": {"get": get}});
        }
    };
    json!({path: {"get": discovery(id, reference(&format!("{META}.{answer}")), JSON_YAML_PROTOBUF)}})
}

pub fn of_group(group: &str) -> Value {
    let id = format!("get{}APIGroup", camel_group(group));
    let answer = reference(&format!("{META}.APIGroup"));
    json!({format!("/apis/{group}/"): {"get": discovery(&id, answer, JSON_YAML_PROTOBUF)}})
}

pub fn of_version(group: &str, version: &str, kinds: &[&'static Kind]) -> Value {
    let mut paths = Map::new();
    let id = format!("get{}{}APIResources", camel_group(group), title(version));
    let answer = reference(&format!("{META}.APIResourceList"));
    let base = root(group, version);
    paths.insert(format!("{base}/"), json!({"get": discovery(&id, answer, JSON_YAML_PROTOBUF)}));
    for kind in kinds {
        Writer { kind, base: &base, paths: &mut paths }.write();
    }
    Value::Object(paths)
}

fn discovery(id: &str, answer: Value, media: &[&str]) -> Value {
    json!({"operationId": id, "responses": responses(&["200"], &answer, media)})
}

/// Writes the paths of one kind.
struct Writer<'a> {
    kind: &'static Kind,
    base: &'a str,
    paths: &'a mut Map<String, Value>,
}

impl Writer<'_> {
    fn write(&mut self) {
        let kind = self.kind;
        let scope: &[&str] = if kind.namespaced { &["namespace"] } else { &[] };
        let collection = self.collection_path();
        let item = format!("{collection}/{{name}}");
        let item_scope = [scope, &["name"]].concat();
        let operations = [
            self.verb("get", "list", "list", LIST, ""),
            self.verb("post", "create", "create", WRITE, ""),
            self.verb("delete", "deletecollection", "deletecollection", DELETE_COLLECTION, ""),
        ];
        self.path(&collection, scope, operations);
        let operations = [
            self.verb("get", "get", "get", GET, ""),
            self.verb("put", "update", "update", WRITE, ""),
            self.verb("patch", "patch", "patch", PATCH, ""),
            self.verb("delete", "delete", "delete", DELETE, ""),
        ];
        self.path(&item, &item_scope, operations);
        if kind.namespaced && kind.has_verb("list") {
            let operations = [self.verb("get", "list", "list", LIST, "ForAllNamespaces")];
            self.path(&format!("{}/{}", self.base, kind.plural), &[], operations);
        }
        if kind.has_verb("watch") {
            self.watches();
        }
        for subresource in kind.subresources {
            self.subresource(subresource, &format!("{item}/{}", subresource.name), &item_scope);
        }
    }

    fn collection_path(&self) -> String {
        let namespace = if self.kind.namespaced { "/namespaces/{namespace}" } else { "" };
        format!("{}{namespace}/{}", self.base, self.kind.plural)
    }

    /// The deprecated paths with `watch` in front.
    fn watches(&mut self) {
        let (kind, namespaced) = (self.kind, if self.kind.namespaced { "Namespaced" } else { "" });
        let collection = self.collection_path().replacen(self.base, &format!("{}/watch", self.base), 1);
        let scope: &[&str] = if kind.namespaced { &["namespace"] } else { &[] };
        let id =
            |suffix: &str, namespaced: &str| self.id("watch", namespaced, &format!("{}{suffix}", kind.kind));
        let answer = reference(&format!("{META}.WatchEvent"));
        let watch = |id: String, action: &str| {
            let mut operation = self.operation(id, action, (kind.group, kind.version, kind.kind), LIST);
            operation["responses"] = responses(&["200"], &answer, WATCHABLE);
            Some(("get", operation))
        };
        let list = watch(id("List", namespaced), "watchlist");
        let item = watch(id("", namespaced), "watch");
        let everywhere = watch(id("ListForAllNamespaces", ""), "watchlist");
        self.path(&collection, scope, [list]);
        self.path(&format!("{collection}/{{name}}"), &[scope, &["name"]].concat(), [item]);
        if kind.namespaced {
            self.path(&format!("{}/watch/{}", self.base, kind.plural), &[], [everywhere]);
        }
    }

    fn subresource(&mut self, subresource: &'static Subresource, path: &str, scope: &[&str]) {
        if let Some((_, parameters)) = CONNECT.iter().find(|(name, _)| *name == subresource.name) {
            self.connect(subresource, path, scope, parameters, "");
            if subresource.name == "proxy" {
                self.connect(
                    subresource,
                    &format!("{path}/{{path}}"),
                    &[scope, &["path"]].concat(),
                    parameters,
                    "WithPath",
                );
            }
            return;
        }
        let gvk = (subresource.group, subresource.version, subresource.kind);
        let body = type_of_subresource(subresource).map(|ty| reference(ty.full_name));
        let mut operations = Vec::new();
        for (method, verb, id_verb, action, parameters) in [
            ("get", "get", "read", "get", if subresource.name == "log" { LOG } else { GET }),
            ("post", "create", "create", "post", WRITE),
            ("put", "update", "replace", "put", WRITE),
            ("patch", "patch", "patch", "patch", PATCH),
        ] {
            if !subresource.verbs.contains(&verb) {
                continue;
            }
            let namespaced = if self.kind.namespaced { "Namespaced" } else { "" };
            let id = self.id(id_verb, namespaced, &format!("{}{}", self.kind.kind, title(subresource.name)));
            let mut operation = self.operation(id, action, gvk, parameters);
            let object = body.clone().unwrap_or_else(|| json!({"type": "string"}));
            put_bodies(&mut operation, verb, &object);
            if subresource.name == "log" {
                let media = [JSON_YAML_PROTOBUF, &["text/plain"]].concat();
                operation["responses"] = responses(&["200"], &json!({"type": "string"}), &media);
            }
            operations.push(Some((method, operation)));
        }
        self.path(path, scope, operations);
    }

    /// A stream: one operation for each method that the subresource's verbs stand for.
    fn connect(
        &mut self,
        subresource: &'static Subresource,
        path: &str,
        scope: &[&str],
        parameters: &[&str],
        suffix: &str,
    ) {
        let gvk = (subresource.group, subresource.version, subresource.kind);
        let namespaced = if self.kind.namespaced { "Namespaced" } else { "" };
        let any = subresource.name == "proxy";
        let methods: &[&str] = if any {
            &["delete", "get", "head", "options", "patch", "post", "put"]
        } else {
            &["get", "post"]
        };
        let operations = methods.iter().map(|method| {
            let name = format!("{}{}{suffix}", self.kind.kind, title(subresource.name));
            let id = self.id("connect", &format!("{}{namespaced}", title(method)), &name);
            let mut operation = self.operation(id, "connect", gvk, parameters);
            operation["responses"] = responses(&["200"], &json!({"type": "string"}), &["*/*"]);
            Some((*method, operation))
        });
        let operations: Vec<_> = operations.collect();
        self.path(path, scope, operations);
    }

    /// The operation of a verb that the kind has; `suffix` marks a list over all namespaces.
    fn verb(
        &self,
        method: &'static str,
        verb: &'static str,
        action: &str,
        parameters: &[&str],
        suffix: &str,
    ) -> Option<(&'static str, Value)> {
        let kind = self.kind;
        if !kind.has_verb(verb) {
            return None;
        }
        let (id_verb, collection, action) = match action {
            "create" => ("create", "", "post"),
            "update" => ("replace", "", "put"),
            "get" => ("read", "", "get"),
            "deletecollection" => ("delete", "Collection", action),
            other => (other, "", other),
        };
        let namespaced = if kind.namespaced && suffix.is_empty() { "Namespaced" } else { "" };
        let id = self.id(id_verb, &format!("{collection}{namespaced}"), &format!("{}{suffix}", kind.kind));
        let mut operation = self.operation(id, action, (kind.group, kind.version, kind.kind), parameters);
        put_bodies(&mut operation, verb, &reference(type_of(kind).full_name));
        if verb == "list" {
            let list = types().of(kind.group, kind.version, kind.list_kind).map(|ty| reference(ty.full_name));
            operation["responses"] = responses(&["200"], &list.unwrap_or_default(), WATCHABLE);
        }
        Some((method, operation))
    }

    fn id(&self, verb: &str, middle: &str, name: &str) -> String {
        format!("{verb}{}{}{middle}{name}", camel_group(self.kind.group), title(self.kind.version))
    }

    fn operation(&self, id: String, action: &str, gvk: (&str, &str, &str), parameters: &[&str]) -> Value {
        json!({
            "operationId": id,
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": gvk.0, "version": gvk.1, "kind": gvk.2},
            "parameters": parameters.iter().map(|name| parameter(name, "query")).collect::<Vec<_>>(),
        })
    }

    /// Writes a path's operations. Parameters that all of them have move to the path.
    fn path(
        &mut self,
        path: &str,
        scope: &[&str],
        operations: impl IntoIterator<Item = Option<(&'static str, Value)>>,
    ) {
        let mut operations: Vec<(&str, Value)> = operations.into_iter().flatten().collect();
        let Some((_, first)) = operations.first() else {
            return;
        };
        let has =
            |operation: &Value, parameter: &Value| list(&operation["parameters"]).any(|p| p == parameter);
        let mut shared: Vec<Value> = list(&first["parameters"])
            .filter(|parameter| operations.iter().all(|(_, operation)| has(operation, parameter)))
            .cloned()
            .collect();
        for (_, operation) in &mut operations {
            if let Some(parameters) = operation["parameters"].as_array_mut() {
                parameters.retain(|parameter| !shared.contains(parameter));
            }
        }
        shared.extend(scope.iter().map(|name| parameter(name, "path")));
        shared.sort_by_key(|p| p["name"].as_str().unwrap_or_default().to_owned());
        let mut item: Map<String, Value> = operations.into_iter().map(|(m, o)| (m.to_owned(), o)).collect();
        if !shared.is_empty() {
            item.insert("parameters".to_owned(), Value::Array(shared));
        }
        self.paths.insert(path.to_owned(), Value::Object(item));
    }
}

/// The request body and the answers of a verb on an object.
fn put_bodies(operation: &mut Value, verb: &str, object: &Value) {
    let content = |media: &[&str], schema: &Value| {
        media.iter().map(|m| ((*m).to_owned(), json!({"schema": schema}))).collect::<Map<_, _>>()
    };
    let (body, codes): (Option<Map<String, Value>>, &[&str]) = match verb {
        "create" => (Some(content(&["*/*"], object)), &["200", "201", "202"]),
        "update" => (Some(content(&["*/*"], object)), &["200", "201"]),
        "patch" => (Some(content(PATCHES, &reference(&format!("{META}.Patch")))), &["200", "201"]),
        "delete" => (Some(content(&["*/*"], &reference(&format!("{META}.DeleteOptions")))), &["200", "202"]),
        "deletecollection" => {
            (Some(content(&["*/*"], &reference(&format!("{META}.DeleteOptions")))), &["200"])
        }
        _ => (None, &["200"]),
    };
    if let Some(body) = body {
        operation["requestBody"] = json!({"content": body});
    }
    let answer =
        if verb.starts_with("delete") { reference(&format!("{META}.Status")) } else { object.clone() };
    operation["responses"] = responses(codes, &answer, JSON_YAML_PROTOBUF);
}

fn responses(codes: &[&str], answer: &Value, media: &[&str]) -> Value {
    let content: Map<String, Value> =
        media.iter().map(|m| ((*m).to_owned(), json!({"schema": answer}))).collect();
    let mut responses: Map<String, Value> = codes
        .iter()
        .map(|code| {
            let text = match *code {
                "201" => "Created",
                "202" => "Accepted",
                _ => "OK",
            };
            ((*code).to_owned(), json!({"description": text, "content": content}))
        })
        .collect();
    responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    Value::Object(responses)
}

fn parameter(name: &str, place: &str) -> Value {
    let ty = match name {
        _ if INTEGERS.contains(&name) => "integer",
        _ if BOOLEANS.contains(&name) => "boolean",
        _ => "string",
    };
    let mut parameter = json!({"name": name, "in": place, "schema": {"type": ty, "uniqueItems": true}});
    if place == "path" {
        parameter["required"] = true.into();
    }
    parameter
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `rbac.authorization.k8s.io` → `RbacAuthorization`; the core group has a name here.
fn camel_group(group: &str) -> String {
    match group.strip_suffix(".k8s.io").unwrap_or(group) {
        "" => "Core".to_owned(),
        group => group.split('.').map(title).collect(),
    }
}

fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
