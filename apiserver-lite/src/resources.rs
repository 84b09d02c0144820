//! Requests about resources: which verb it is, whether the path has it, and the store steps.

use crate::answer::{self, Answer, Object, Wanted};
use crate::body;
use crate::body::BoxBody;
use crate::context::{Context, now};
use crate::service::{Call, not_allowed, not_found};
use crate::{special, watch};
use bytes::Bytes;
use http::header::{USER_AGENT, WARNING};
use http::{HeaderMap, Method};
use kedge_api::kinds::Kind;
use kedge_apiserver_core::attributes::Attributes;
use kedge_apiserver_core::authentication::tokens;
use kedge_apiserver_core::managed_fields;
use kedge_apiserver_core::objects::Objects;
use kedge_apiserver_core::patch::{self, Patch};
use kedge_apiserver_core::registry::convert;
use kedge_apiserver_core::registry::encode::Encoded;
use kedge_apiserver_core::registry::negotiate::Endpoint;
use kedge_apiserver_core::registry::options::{DeleteOptions, ListOptions, QueryString, WriteOptions};
use kedge_apiserver_core::registry::read::{self, Filter};
use kedge_apiserver_core::registry::route::Target;
use kedge_apiserver_core::registry::write::{Body, Call as Write, Reply, Step, Version};
use kedge_apiserver_core::registry::{delete, subresources, write};
use kedge_apiserver_core::schema;
use kedge_apiserver_core::schema::decode::Expected;
use kedge_apiserver_core::status::ApiError;
use kedge_apiserver_core::strategy::strategy_of;
use kedge_store::{Event, Revision, Sink, StoreError, Txn};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a write is decided again after somebody else was faster.
const ATTEMPTS_MAX: usize = 32;
/// How long a read waits for a revision that the store has not reached.
const REVISION_WAIT: Duration = Duration::from_secs(3);

/// How often and how fast a pod's creation looks for its namespace's default account.
const ACCOUNT_LOOKS: usize = 30;
const ACCOUNT_LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a path offers: upstream answers 405 where a path exists for another method, 404 where it does not exist.
fn offered(target: &Target) -> Vec<&'static str> {
    if let Some(subresource) = target.subresource {
        return subresource.verbs.to_vec();
    }
    let (item, own_scope) =
        (!target.name.is_empty(), !target.kind.namespaced || !target.namespace.is_empty());
    let here = |verb: &&'static str| match *verb {
        "get" | "update" | "patch" | "delete" => item,
        "create" | "deletecollection" => !item && own_scope,
        "list" | "watch" => !item,
        _ => false,
    };
    target.kind.verbs.iter().copied().filter(here).collect()
}

pub async fn handle(context: &Arc<Context>, call: Call, body: BoxBody, target: Target) -> Answer {
    if !(target.kind.group.is_empty() && target.kind.kind == "Endpoints") {
        return route(context, call, body, target).await;
    }
    let shown = Wanted::of_error(&call.parts.headers);
    let answered = route(context, call, body, target).await;
    let mut response = answered.unwrap_or_else(|error| answer::error(&error, &shown));
    if !response.headers().contains_key(WARNING) {
        answer::warn(&mut response, &[ENDPOINTS_WARNING.to_owned()]);
    }
    Ok(response)
}

const ENDPOINTS_WARNING: &str = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";

async fn route(context: &Arc<Context>, call: Call, body: BoxBody, target: Target) -> Answer {
    let offered = offered(&target);
    if offered.is_empty() {
        return Err(not_found());
    }
    // A proxied request may have any method.
    if target.subresource.is_some_and(|subresource| subresource.name == "proxy") {
        return special::stream(context, call, body, &target).await;
    }
    let verb = match (&call.method, target.name.is_empty()) {
        (&Method::GET, true) => "list",
        (&Method::GET, false) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "deletecollection",
        (&Method::DELETE, false) => "delete",
        _ => return Err(not_allowed()),
    };
    let streams = target.subresource.is_some_and(|s| special::is_stream(s.name));
    let served = offered.contains(&verb) || streams && verb == "get";
    if !served {
        return Err(not_allowed());
    }
    if streams {
        return special::stream(context, call, body, &target).await;
    }
    match verb {
        "list" => list_or_watch(context, &call, &target).await,
        "get" if target.watch => list_or_watch(context, &call, &target).await,
        "get" => get(context, &call, &target).await,
        "deletecollection" => delete_collection(context, call, body, target).await,
        "delete" => remove(context, call, body, target).await,
        _ => write_request(context, call, body, target, verb).await,
    }
}

fn wanted(headers: &HeaderMap, query: &QueryString) -> Result<Wanted, ApiError> {
    Wanted::read(headers, query.get("includeObject"), Endpoint::Objects)
}

async fn get(context: &Arc<Context>, call: &Call, target: &Target) -> Answer {
    let wanted = wanted(&call.parts.headers, &call.query)?;
    if !target.kind.is_stored() {
        return special::get(target, &wanted);
    }
    let asked = read::revision(&call.query.text("resourceVersion")).map_err(|error| ApiError {
        code: 500,
        reason: "",
        ..error
    })?;
    wait_for(context, asked).await?;
    let entry = context.store.get(&target.key()).ok_or_else(|| missing(target))?;
    let encoded = match target.subresource.map(|s| s.name) {
        Some("scale") => {
            let scale =
                subresources::scale_of(target.kind, &kedge_apiserver_core::registry::encode::decode(&entry));
            return Ok(answer::value(200, &scale, &wanted));
        }
        _ => Encoded::stored(&entry),
    };
    let object = Object { kind: target.kind, encoded: &encoded, revision: Some(entry.mod_revision) };
    answer::object(200, &object, &wanted)
}

fn missing(target: &Target) -> ApiError {
    ApiError::not_found(target.kind.group, target.kind.plural, &target.name)
}

/// Waits until the store has reached a revision.
async fn wait_for(context: &Context, asked: Revision) -> Result<(), ApiError> {
    let reached = || context.store.revision() >= asked;
    if reached() {
        return Ok(());
    }
    // Every revision has an event, and the watch stands before the store is looked at again.
    let news = Arc::new(tokio::sync::Notify::new());
    let watched = context.store.watch("", context.store.revision(), Box::new(News(news.clone())));
    let watched = watched.map_err(ApiError::internal)?;
    let waiting = async {
        while !reached() {
            news.notified().await;
        }
    };
    let waited = tokio::time::timeout(REVISION_WAIT, waiting).await;
    context.store.unwatch(watched.id);
    waited.map_err(|_| read::too_large(asked, context.store.revision()))
}

/// Tells that the store has moved.
struct News(Arc<tokio::sync::Notify>);

impl Sink for News {
    fn send(&self, _: &Arc<Event>) -> bool {
        self.0.notify_one();
        true
    }
}

async fn list_or_watch(context: &Arc<Context>, call: &Call, target: &Target) -> Answer {
    let options = ListOptions::read(&call.query, target.watch)?;
    options.check()?;
    let wanted = wanted(&call.parts.headers, &call.query)?;
    if !target.kind.is_stored() {
        return special::list(target, &wanted);
    }
    let filter = Filter::read(target, &options)?;
    let asked = read::not_before(&options)?;
    if options.watch {
        return watch::handle(context, target, &options, &wanted);
    }
    wait_for(context, asked).await?;
    let listing = read::list(&*context.store, target, &options, &filter)?;
    answer::list(target.kind, &listing, &wanted)
}

/// Everything about a write that does not change between two attempts.
struct Writing<'a> {
    context: &'a Context,
    target: &'a Target,
    attributes: &'a Attributes,
    options: &'a WriteOptions,
}

impl Writing<'_> {
    /// Decides and commits until the commit meets no conflict.
    async fn run(
        &self,
        decide: &(dyn Fn(&Write<'_>) -> Result<Step, ApiError> + Sync),
    ) -> Result<Committed, ApiError> {
        let context = self.context;
        let mut reply: Option<Reply> = None;
        for _ in 0..ATTEMPTS_MAX {
            let step = match (self.decide(decide), reply.take()) {
                (Ok(step), marked) => {
                    reply = marked;
                    step
                }
                // Somebody has removed what the first step marked: it is gone, as was asked.
                (Err(error), Some(marked)) if error.code == 404 => {
                    return Ok(Committed { reply: marked, revision: None });
                }
                (Err(error), _) => return Err(error),
            };
            let Some(txn) = step.txn else {
                context.services.release(&step.reserved);
                return Ok(Committed { reply: reply.unwrap_or(step.reply), revision: None });
            };
            match commit(context, txn).await {
                Ok(revision) => {
                    context.services.release(&step.freed);
                    if !step.again {
                        return Ok(Committed {
                            reply: reply.unwrap_or(step.reply),
                            revision: Some(revision),
                        });
                    }
                    // The second step deletes what the first has marked; the marked object is the answer.
                    reply = Some(fixed(step.reply, revision));
                }
                Err(StoreError::Conflict { .. }) => context.services.release(&step.reserved),
                Err(error) => {
                    context.services.release(&step.reserved);
                    return Err(ApiError::internal(error));
                }
            }
        }
        let kind = self.target.kind;
        let why = "the object changes faster than this request can; please try again";
        Err(ApiError::conflict(kind.group, kind.plural, &self.target.name, why))
    }

    fn decide(
        &self,
        decide: &(dyn Fn(&Write<'_>) -> Result<Step, ApiError> + Sync),
    ) -> Result<Step, ApiError> {
        let uid = uuid::Uuid::new_v4();
        let authorizer = self.context.access.read();
        decide(&Write {
            target: self.target,
            attributes: self.attributes,
            options: self.options,
            now: now(),
            uid: &uid.to_string(),
            suffix: &suffix(),
            store: &*self.context.store,
            objects: &self.context.objects,
            authorizer: &authorizer,
            services: &self.context.services,
        })
    }
}

/// A reply whose revision is known.
fn fixed(reply: Reply, revision: Revision) -> Reply {
    match reply.body {
        Body::Object(encoded, _) => Reply { body: Body::Object(encoded, Version::Of(revision)), ..reply },
        Body::Plain(_) => reply,
    }
}

/// Five characters that neither look alike nor make words, as upstream's.
fn suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uuid::Uuid::new_v4();
    random.as_bytes()[..5]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

async fn commit(context: &Context, txn: Txn) -> Result<Revision, StoreError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // The asker may be gone; the write stands all the same.
    context.store.commit(txn, Box::new(move |result| drop(sender.send(result))));
    receiver.await.unwrap_or(Err(StoreError::Closed))
}

struct Committed {
    reply: Reply,
    revision: Option<Revision>,
}

impl Committed {
    fn answer(self, kind: &'static Kind, wanted: &Wanted, more_warnings: Vec<String>) -> Answer {
        let mut response = match &self.reply.body {
            Body::Plain(plain) => answer::value(self.reply.code, plain, wanted),
            Body::Object(encoded, version) => {
                let revision = match version {
                    Version::OfCommit => self.revision,
                    Version::Of(revision) => Some(*revision),
                    Version::Absent => None,
                };
                answer::object(self.reply.code, &Object { kind, encoded, revision }, wanted)?
            }
        };
        let warnings: Vec<String> = more_warnings.into_iter().chain(self.reply.warnings).collect();
        answer::warn(&mut response, &warnings);
        Ok(response)
    }
}

async fn write_request(
    context: &Arc<Context>,
    call: Call,
    request_body: BoxBody,
    target: Target,
    verb: &str,
) -> Answer {
    let wanted = wanted(&call.parts.headers, &call.query)?;
    let name = match verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        _ => "PatchOptions",
    };
    let apply =
        body::content_type(&call.parts.headers).is_some_and(|t| t.starts_with("application/apply-patch"));
    let mut options = WriteOptions::read(&call.query, name, verb == "patch" && apply)?;
    let agent = call.parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    options.field_manager = managed_fields::manager_name(&options.field_manager, agent);
    let bytes = body::read(request_body).await?;
    let request = Request { headers: &call.parts.headers, bytes: &bytes };
    let writing = Writing { context, target: &target, attributes: &call.attributes, options: &options };
    match verb {
        "create" => create(&writing, &request, &wanted).await,
        "update" => put(&writing, &request, &wanted).await,
        _ => patch(&writing, &request, &wanted).await,
    }
}

struct Request<'a> {
    headers: &'a HeaderMap,
    bytes: &'a Bytes,
}

/// Decodes the body that the target takes: its kind, or the kind of its subresource.
fn decode(writing: &Writing<'_>, request: &Request<'_>) -> Result<(Value, Vec<String>), ApiError> {
    let target = writing.target;
    let validation = writing.options.field_validation;
    let own = target.subresource.filter(|s| s.kind != target.kind.kind);
    let decoded = match own {
        Some(subresource) => {
            let expected =
                Expected { group: subresource.group, version: subresource.version, kind: subresource.kind };
            let ty = schema::type_of_subresource(subresource).ok_or_else(not_allowed)?;
            body::decode_as(request.bytes, request.headers, ty, expected, validation)?
        }
        None => body::decode(request.bytes, request.headers, target.kind, validation)?,
    };
    let mut value = decoded.value;
    if own.is_none() {
        prepare(target.kind, &mut value);
    }
    Ok((value, decoded.warnings))
}

/// Brings an object that came from outside into the stored version, with its defaults.
fn prepare(kind: &Kind, value: &mut Value) {
    convert::to_stored(kind, value);
    let stored = kind.stored_kind();
    strategy_of(stored.group, stored.kind).default(value);
}

async fn create(writing: &Writing<'_>, request: &Request<'_>, wanted: &Wanted) -> Answer {
    let target = writing.target;
    if target.subresource.is_some_and(|s| s.name == "token") || !target.kind.is_stored() {
        let (mut value, warnings) = decode(writing, request)?;
        track(writing, &mut value);
        return special::create(writing.context, target, writing.attributes, value, wanted, &warnings);
    }
    let (value, warnings) = decode(writing, request)?;
    let committed = match target.subresource.map(|s| s.name) {
        None => {
            default_account(writing, &value).await;
            writing.run(&|call| write::create(call, value.clone())).await?
        }
        Some("binding") => writing.run(&|call| subresources::bind(call, &value)).await?,
        Some("eviction") => writing.run(&|call| subresources::evict(call, &value)).await?,
        Some(_) => return Err(not_allowed()),
    };
    committed.answer(target.kind, wanted, warnings)
}

/// Reviews and token requests say who set what, though nobody stores them.
fn track(writing: &Writing<'_>, value: &mut Value) {
    let (target, now) = (writing.target, now().to_string());
    let manager = &writing.options.field_manager;
    if target.subresource.is_some_and(|s| s.name == "token") {
        tokens::default_request(value);
    }
    match target.subresource.and_then(|s| Some((s, schema::type_of_subresource(s)?))) {
        Some((own, ty)) => {
            let version = format!("{}/{}", own.group, own.version);
            managed_fields::of_subresource(value, ty, &version, manager, own.name, &now);
        }
        None => managed_fields::update(None, value, target.kind, manager, "", &now),
    }
}

/// A namespace's first pod may come before its account `default`, which a controller makes: upstream waits for it as well.
/// What is missing in the end is admission's to say.
async fn default_account(writing: &Writing<'_>, pod: &Value) {
    let named = pod["spec"]["serviceAccountName"].as_str().unwrap_or_default();
    if writing.target.kind.plural != "pods" || !matches!(named, "" | "default") {
        return;
    }
    let (objects, namespace) = (&writing.context.objects, &writing.attributes.namespace);
    for _ in 0..ACCOUNT_LOOKS {
        let awaited = objects.get("", "namespaces", "", namespace).is_some()
            && objects.get("", "serviceaccounts", namespace, "default").is_none();
        if !awaited {
            return;
        }
        tokio::time::sleep(ACCOUNT_LOOK_EVERY).await;
    }
}

async fn put(writing: &Writing<'_>, request: &Request<'_>, wanted: &Wanted) -> Answer {
    let target = writing.target;
    let (value, warnings) = decode(writing, request)?;
    check_name(&value, &target.name)?;
    if target.subresource.is_some_and(|s| s.name == "scale") {
        let committed = writing.run(&|call| subresources::update_scale(call, &|_| Ok(value.clone()))).await?;
        return scale_answer(target, committed, wanted, warnings);
    }
    let committed = writing
        .run(&|call| match call.store.get(&call.target.key()) {
            None if target.subresource.is_none() && call.strategy().create_on_update() => {
                write::create(call, value.clone())
            }
            _ => write::replace(call, &value),
        })
        .await?;
    committed.answer(target.kind, wanted, warnings)
}

fn scale_answer(target: &Target, committed: Committed, wanted: &Wanted, warnings: Vec<String>) -> Answer {
    let Body::Object(encoded, version) = &committed.reply.body else {
        return Err(not_allowed());
    };
    let revision = match version {
        Version::OfCommit => committed.revision,
        Version::Of(revision) => Some(*revision),
        Version::Absent => None,
    };
    let scale = subresources::scale_of(target.kind, &encoded.decode(revision));
    let mut response = answer::value(200, &scale, wanted);
    answer::warn(&mut response, &warnings);
    Ok(response)
}

fn check_named(value: &Value, name: &str) -> Result<(), ApiError> {
    match value["metadata"]["name"].as_str().unwrap_or_default() {
        "" => Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        _ => Ok(()),
    }
}

fn check_name(value: &Value, name: &str) -> Result<(), ApiError> {
    check_named(value, name)?;
    match value["metadata"]["name"].as_str().unwrap_or_default() {
        given if given != name => Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        ))),
        _ => Ok(()),
    }
}

async fn patch(writing: &Writing<'_>, request: &Request<'_>, wanted: &Wanted) -> Answer {
    let target = writing.target;
    let Some(format) = patch::Format::parse(body::content_type(request.headers)) else {
        let message = "415: Unsupported Media Type";
        return Err(ApiError { details: json!({}), ..ApiError::new(415, "UnsupportedMediaType", message) });
    };
    let patch = Patch::parse(format, request.bytes)?;
    let own = target.subresource.filter(|s| s.kind != target.kind.kind);
    let (ty, expected) = match own {
        Some(s) => {
            let expected = Expected { group: s.group, version: s.version, kind: s.kind };
            (schema::type_of_subresource(s).ok_or_else(not_allowed)?, expected)
        }
        None => {
            let kind = target.kind;
            (schema::type_of(kind), Expected { group: kind.group, version: kind.version, kind: kind.kind })
        }
    };
    let warnings: Mutex<Vec<String>> = Mutex::default();
    let apply = |current: &Value| -> Result<Value, ApiError> {
        let decoded = patch.apply(current, ty, expected, writing.options.field_validation)?;
        *warnings.lock().expect("nothing panics while it is held") = decoded.warnings;
        Ok(decoded.value)
    };
    let taken = || std::mem::take(&mut *warnings.lock().expect("nothing panics while it is held"));
    if own.is_some() {
        let committed = writing.run(&|call| subresources::update_scale(call, &apply)).await?;
        return scale_answer(target, committed, wanted, taken());
    }
    let whole = |stored: &Value| -> Result<Value, ApiError> {
        let mut current = stored.clone();
        convert::from_stored(target.kind, &mut current);
        let mut changed = apply(&current)?;
        check_named(&changed, &target.name)?;
        prepare(target.kind, &mut changed);
        Ok(changed)
    };
    let committed = writing.run(&|call| write::update(call, &whole)).await?;
    committed.answer(target.kind, wanted, taken())
}

async fn remove(context: &Arc<Context>, call: Call, request_body: BoxBody, target: Target) -> Answer {
    let wanted = wanted(&call.parts.headers, &call.query)?;
    let options = delete_options(&call.query, &call.parts.headers, &body::read(request_body).await?)?;
    let write_options = WriteOptions::default();
    let writing = Writing { context, target: &target, attributes: &call.attributes, options: &write_options };
    let committed = writing.run(&|call| delete::delete(call, &options)).await?;
    committed.answer(target.kind, &wanted, Vec::new())
}

/// A body replaces the parameters of the query.
fn delete_options(
    query: &QueryString,
    headers: &HeaderMap,
    bytes: &Bytes,
) -> Result<DeleteOptions, ApiError> {
    if bytes.is_empty() {
        return DeleteOptions::from_query(query);
    }
    DeleteOptions::from_body(&body::delete_options(bytes, headers)?)
}

async fn delete_collection(
    context: &Arc<Context>,
    call: Call,
    request_body: BoxBody,
    target: Target,
) -> Answer {
    let wanted = wanted(&call.parts.headers, &call.query)?;
    let list_options = ListOptions::read(&call.query, false)?;
    list_options.check()?;
    let filter = Filter::read(&target, &list_options)?;
    let options = delete_options(&call.query, &call.parts.headers, &body::read(request_body).await?)?;
    let mut listing = read::list(&*context.store, &target, &list_options, &filter)?;
    let write_options = WriteOptions::default();
    for entry in &listing.entries {
        let name = entry.key.rsplit('/').next().unwrap_or_default();
        let one = Target { name: name.to_owned(), ..target.clone() };
        let attributes =
            Attributes { name: name.to_owned(), verb: "delete".to_owned(), ..call.attributes.clone() };
        let writing = Writing { context, target: &one, attributes: &attributes, options: &write_options };
        match writing.run(&|call| delete::delete(call, &options)).await {
            Ok(_) => {}
            // Somebody else was faster.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    listing.revision = context.store.revision();
    answer::list(target.kind, &listing, &wanted)
}
