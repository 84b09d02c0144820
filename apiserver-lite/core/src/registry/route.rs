//! What a path asks for.

use kedge_api::kinds::{self, Kind, Subresource};

/// The target of a request below `/api/v1` or `/apis/GROUP/VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub kind: &'static Kind,
    /// Empty: cluster-scoped, or all namespaces.
    pub namespace: String,
    /// Empty: the collection.
    pub name: String,
    pub subresource: Option<&'static Subresource>,
    /// What follows `proxy/`.
    pub rest: String,
    /// The old `/watch/` form of a path.
    pub watch: bool,
}

/// What kind of path it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Resource(Target),
    /// `/api`, `/apis`, `/apis/GROUP`, `/api/v1`, `/apis/GROUP/VERSION`.
    Discovery(Discovery),
    /// Below `/api` or `/apis`, but not there.
    Missing,
    /// Anything else: health, metrics, version, OpenAPI.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    Core,
    Groups,
    Group(String),
    /// Group ("" is core) and version.
    Version(String, String),
}

/// Reads a path; it must be percent-decoded.
pub fn route(path: &str) -> Route {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    if parts.last() == Some(&"") {
        parts.pop();
    }
    match parts.as_slice() {
        ["api"] => Route::Discovery(Discovery::Core),
        ["apis"] => Route::Discovery(Discovery::Groups),
        ["apis", group, ..] if !has_group(group) => Route::Other,
        ["apis", group] => Route::Discovery(Discovery::Group((*group).to_owned())),
        ["api", version] if has_version("", version) => version_of("", version),
        ["apis", group, version] if has_version(group, version) => version_of(group, version),
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        _ => Route::Other,
    }
}

fn version_of(group: &str, version: &str) -> Route {
    Route::Discovery(Discovery::Version(group.to_owned(), version.to_owned()))
}

fn has_group(group: &str) -> bool {
    !group.is_empty() && kinds::kinds().iter().any(|kind| kind.group == group)
}

fn has_version(group: &str, version: &str) -> bool {
    kinds::kinds().iter().any(|kind| kind.group == group && kind.version == version)
}

fn resource(group: &str, version: &str, parts: &[&str]) -> Route {
    let (watch, parts) = match parts {
        ["watch", rest @ ..] => (true, rest),
        all => (false, all),
    };
    // An empty namespace is how a client spells "all namespaces".
    let (namespace, parts) = match parts {
        ["namespaces", namespace, plural, ..] if kinds::lookup(group, version, plural).is_some() => {
            (*namespace, &parts[2..])
        }
        all => ("", all),
    };
    let [plural, rest @ ..] = parts else { return Route::Missing };
    let Some(kind) = kinds::lookup(group, version, plural) else { return Route::Missing };
    let (name, subresource, tail) = match rest {
        [] => ("", None, String::new()),
        [name] => (*name, None, String::new()),
        [name, subresource, tail @ ..] => (*name, Some(*subresource), tail.join("/")),
    };
    let subresource = match subresource {
        None => None,
        Some(wanted) => match kind.subresource(wanted) {
            Some(found) if tail.is_empty() || found.name == "proxy" => Some(found),
            _ => return Route::Missing,
        },
    };
    let misplaced = match kind.namespaced {
        true => namespace.is_empty() && !name.is_empty(),
        false => !namespace.is_empty(),
    };
    if misplaced {
        return Route::Missing;
    }
    Route::Resource(Target {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource,
        rest: tail,
        watch,
    })
}

impl Target {
    /// The store's key of the object, or the prefix of the collection.
    pub fn key(&self) -> String {
        key(self.kind, &self.namespace, &self.name)
    }
}

/// The store's key of an object; without a name the prefix of its collection.
pub fn key(kind: &Kind, namespace: &str, name: &str) -> String {
    let prefix = kind.storage_prefix();
    match (kind.namespaced, namespace) {
        (true, "") => format!("/registry/{prefix}/"),
        (true, namespace) => format!("/registry/{prefix}/{namespace}/{name}"),
        (false, _) => format!("/registry/{prefix}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let text = match route(path) {
            Route::Missing => "missing".to_owned(),
            Route::Other => "other".to_owned(),
            Route::Discovery(discovery) => format!("{discovery:?}"),
            Route::Resource(t) => {
                let subresource = t.subresource.map_or("-", |s| s.name);
                format!("{} {:?} {:?} {subresource} {:?}", t.kind.plural, t.namespace, t.name, t.rest)
            }
        };
        assert_eq!(text, expected, "{path}");
    }

    #[test]
    fn paths() {
        check("/healthz", "other");
        check("/api", "Core");
        check("/api/", "Core");
        check("/apis/apps", r#"Group("apps")"#);
        check("/apis/nope", "other");
        check("/api/v1", r#"Version("", "v1")"#);
        check("/api/v1/namespaces", r#"namespaces "" "" - """#);
        check("/api/v1/namespaces/a", r#"namespaces "" "a" - """#);
        check("/api/v1/namespaces/a/status", r#"namespaces "" "a" status """#);
        check("/api/v1/namespaces/a/pods", r#"pods "a" "" - """#);
        check("/api/v1/namespaces/a/pods/b/", r#"pods "a" "b" - """#);
        check("/api/v1/namespaces//configmaps", r#"configmaps "" "" - """#);
        check("/api/v1/pods", r#"pods "" "" - """#);
        check("/api/v1/pods/b", "missing");
        check("/api/v1/namespaces/a/nodes", "missing");
        check("/api/v1/namespaces/a/pods/b/nope", "missing");
        check("/api/v1/nodes/n/proxy/x/y", r#"nodes "" "n" proxy "x/y""#);
        check("/api/v1/watch/namespaces/a/configmaps/b", r#"configmaps "a" "b" - """#);
        check("/apis/apps/v1/deployments", r#"deployments "" "" - """#);
        check("/apis/apps/v9/deployments", "missing");
    }

    #[test]
    fn keys_are_upstreams() {
        let check = |group, plural, namespace, name, expected: &str| {
            let kind = kinds::lookup(group, "v1", plural).unwrap();
            assert_eq!(key(kind, namespace, name), expected);
        };
        check("", "pods", "a", "b", "/registry/pods/a/b");
        check("", "pods", "a", "", "/registry/pods/a/");
        check("", "pods", "", "", "/registry/pods/");
        check("", "nodes", "", "n", "/registry/minions/n");
        check("", "services", "a", "s", "/registry/services/specs/a/s");
        check("events.k8s.io", "events", "a", "e", "/registry/events/a/e");
    }
}
