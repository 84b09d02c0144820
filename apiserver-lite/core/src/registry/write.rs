//! Create and update as store steps: decide on what is stored, answer with a transaction and the reply that its success
//! makes true.

use super::convert;
use super::delete;
use super::encode::{Encoded, decode};
use super::metadata;
use super::options::WriteOptions;
use super::route::Target;
use super::services::{Allocator, Reservation};
use crate::admission::{self, Operation};
use crate::attributes::Attributes;
use crate::authorization::{self, Authorizer};
use crate::managed_fields;
use crate::objects::Objects;
use crate::schema::json;
use crate::status::{ApiError, Finding, FindingKind};
use crate::strategy::{self, Part, Strategy, strategy_of};
use kedge_api::Time;
use kedge_api::kinds::Kind;
use kedge_store::{Entry, Guard, Op, Revision, Store, Txn};
use serde_json::Value;
use std::sync::Arc;

/// Upstream refuses objects above the size that etcd takes.
const OBJECT_BYTES_MAX: usize = 1536 * 1024;

/// Everything a write is decided on.
pub struct Call<'a> {
    pub target: &'a Target,
    pub attributes: &'a Attributes,
    pub options: &'a WriteOptions,
    pub now: Time,
    /// For the object, should it be created.
    pub uid: &'a str,
    /// Five random characters for generateName.
    pub suffix: &'a str,
    pub store: &'a dyn Store,
    pub objects: &'a dyn Objects,
    pub authorizer: &'a Authorizer,
    pub services: &'a Allocator,
}

/// The outcome of a step.
#[derive(Debug)]
pub struct Step {
    /// None: nothing to write (dry run, no change).
    pub txn: Option<Txn>,
    pub reply: Reply,
    /// After the transaction the step is decided again: a pod with a grace period of zero is first marked, then deleted.
    pub again: bool,
    /// Addresses and ports held for this write; given back when it fails or was a dry run.
    pub reserved: Reservation,
    /// Addresses and ports that are free once the write has succeeded.
    pub freed: Reservation,
}

#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub body: Body,
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub enum Body {
    /// An object in its stored version, and where its resourceVersion comes from.
    Object(Encoded, Version),
    /// Anything else, such as a Status.
    Plain(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The revision of the step's transaction.
    OfCommit,
    Of(Revision),
    /// None: a dry run of a create.
    Absent,
}

impl Step {
    pub fn reply(code: u16, body: Body, warnings: Vec<String>) -> Step {
        Step {
            txn: None,
            reply: Reply { code, body, warnings },
            again: false,
            reserved: Reservation::default(),
            freed: Reservation::default(),
        }
    }

    pub fn commit(mut self, guard: Guard, op: Op) -> Step {
        self.txn = Some(Txn { guards: vec![guard], ops: vec![op] });
        self
    }
}

impl<'a> Call<'a> {
    pub fn kind(&self) -> &'static Kind {
        self.target.kind.stored_kind()
    }

    pub fn strategy(&self) -> &'static dyn Strategy {
        let kind = self.kind();
        strategy_of(kind.group, kind.kind)
    }

    /// The stored object.
    pub fn entry(&self) -> Result<Arc<Entry>, ApiError> {
        let missing =
            || ApiError::not_found(self.target.kind.group, self.target.kind.plural, &self.target.name);
        self.store.get(&self.target.key()).ok_or_else(missing)
    }

    fn part(&self) -> Part<'a> {
        match self.target.subresource.map(|s| s.name) {
            None => Part::Main,
            Some("status") => Part::Status,
            Some(name) => Part::Subresource(name),
        }
    }

    pub fn conflict(&self, why: &str) -> ApiError {
        ApiError::conflict(self.target.kind.group, self.target.kind.plural, &self.target.name, why)
    }
}

/// Creates an object. `body` is decoded, defaulted and in the stored version.
pub fn create(call: &Call<'_>, mut body: Value) -> Result<Step, ApiError> {
    let (kind, target) = (call.kind(), call.target);
    let versioned = body["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty());
    // A dry run stores nothing, and the store is who minds.
    if versioned && !call.options.dry_run {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::new(500, "", message));
    }
    check_namespace(target, &body)?;

    metadata::drop_unsettable(&mut body);
    call.track(None, &mut body);
    metadata::prepare_create(&mut body, &target.namespace, call.now, call.uid, call.suffix);
    authorization::confirm_no_escalation(call.authorizer, call.attributes, &body, None)?;
    admission::mutate(call.admission(Operation::Create), &mut body, None)?;
    let strategy = call.strategy();
    strategy.prepare_for_create(&mut body);
    let reserved = call.services.assign(kind, &mut body, None, call.options.dry_run)?;
    let checked = check_create(call, kind, strategy, &body);
    if let Err(error) = checked {
        call.services.release(&reserved);
        return Err(error);
    }
    let warnings = strategy.warnings(&body, None);
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    let key = super::route::key(kind, &target.namespace, name);
    if let Some(existing) = call.store.get(&key) {
        call.services.release(&reserved);
        return Err(already_exists(target.kind, name, &existing));
    }
    let encoded = encode(kind, &body).inspect_err(|_| call.services.release(&reserved))?;
    let version = if call.options.dry_run { Version::Absent } else { Version::OfCommit };
    let mut step = Step::reply(201, Body::Object(encoded.clone(), version), warnings);
    step.reserved = reserved;
    if !call.options.dry_run {
        let guard = Guard { key: key.clone(), mod_revision: Revision::ZERO };
        step = step.commit(guard, Op::Put { key, value: encoded.bytes });
    }
    Ok(step)
}

fn check_create(call: &Call<'_>, kind: &Kind, strategy: &dyn Strategy, body: &Value) -> Result<(), ApiError> {
    let mut findings = metadata::validate(kind, body);
    findings.extend(match call.target.kind {
        // A newer face may be stricter than the stored one.
        face if face.group != kind.group => {
            let mut shown = body.clone();
            convert::from_stored(face, &mut shown);
            strategy_of(face.group, face.kind).validate_create(&shown)
        }
        _ => strategy.validate_create(body),
    });
    refuse(kind, body, &findings)?;
    admission::validate(call.admission(Operation::Create), Some(body), None)
}

fn already_exists(kind: &Kind, name: &str, existing: &Entry) -> ApiError {
    let mut error = ApiError::already_exists(kind.group, kind.plural, name);
    if !decode(existing)["metadata"]["deletionTimestamp"].is_null() {
        error.message = format!("object is being deleted: {}", error.message);
    }
    error
}

/// Replaces the object or the part of it that the target's subresource names.
///
/// `make` turns the stored object into the wanted one: a PUT ignores it, a patch applies itself to it. Its result is
/// defaulted and in the stored version.
pub fn update(call: &Call<'_>, make: &dyn Fn(&Value) -> Result<Value, ApiError>) -> Result<Step, ApiError> {
    let entry = call.entry()?;
    let old = decode(&entry);
    let mut body = make(&old)?;
    check_namespace(call.target, &body)?;
    check_version(call, &body, &entry)?;
    if let Some(version) = body["metadata"].as_object_mut() {
        version.remove("resourceVersion");
    }
    change(call, &entry, &old, body)
}

/// Replaces an object by one that came whole: its uid, if it has one, must be that of the stored object.
pub fn replace(call: &Call<'_>, body: &Value) -> Result<Step, ApiError> {
    let entry = call.entry()?;
    check_uid(call, body, &decode(&entry), &entry.key)?;
    update(call, &|_| Ok(body.clone()))
}

/// Writes `body` in place of `old`: the shared end of every update.
pub fn change(call: &Call<'_>, entry: &Entry, old: &Value, mut body: Value) -> Result<Step, ApiError> {
    let (kind, strategy, part) = (call.kind(), call.strategy(), call.part());
    metadata::prepare_update(&mut body, old);
    call.track(Some(old), &mut body);
    authorization::confirm_no_escalation(call.authorizer, call.attributes, &body, Some(old))?;
    admission::mutate(call.admission(Operation::Update), &mut body, Some(old))?;
    strategy.prepare_for_update(&mut body, old, part);
    if kind.kind == "CertificateSigningRequest" {
        strategy::stamp_conditions(&mut body, old, call.now);
    }
    let reserved = call.services.assign(kind, &mut body, Some(old), call.options.dry_run)?;
    let checked = check_update(call, kind, strategy, &body, old, part);
    if let Err(error) = checked {
        call.services.release(&reserved);
        return Err(error);
    }
    let warnings = if part == Part::Main { strategy.warnings(&body, Some(old)) } else { Vec::new() };
    let written = put_or_delete(call, entry, old, &body, warnings);
    let mut step = written.inspect_err(|_| call.services.release(&reserved))?;
    let kept = (!delete::completes(kind, &body, old)).then_some(&body);
    step.freed = call.services.freed(kind, kept, old);
    step.reserved = reserved;
    Ok(step)
}

fn check_update(
    call: &Call<'_>,
    kind: &Kind,
    strategy: &dyn Strategy,
    body: &Value,
    old: &Value,
    part: Part<'_>,
) -> Result<(), ApiError> {
    let mut findings = metadata::validate_update(kind, body, old);
    findings.extend(strategy.validate_update(body, old, part));
    refuse(kind, body, &findings)?;
    admission::validate(call.admission(Operation::Update), Some(body), Some(old))
}

fn put_or_delete(
    call: &Call<'_>,
    entry: &Entry,
    old: &Value,
    body: &Value,
    warnings: Vec<String>,
) -> Result<Step, ApiError> {
    let kind = call.kind();
    let encoded = encode(kind, body)?;
    let key = entry.key.to_string();
    let guard = Guard { key: key.clone(), mod_revision: entry.mod_revision };
    if delete::completes(kind, body, old) {
        // The last finalizer went: the object goes with it, and its last state is the answer.
        let step = Step::reply(200, Body::Object(encoded, Version::Of(entry.mod_revision)), warnings);
        return Ok(if call.options.dry_run { step } else { step.commit(guard, Op::Delete { key }) });
    }
    if encoded.bytes == entry.value || call.options.dry_run {
        return Ok(Step::reply(200, Body::Object(encoded, Version::Of(entry.mod_revision)), warnings));
    }
    let step = Step::reply(200, Body::Object(encoded.clone(), Version::OfCommit), warnings);
    Ok(step.commit(guard, Op::Put { key, value: encoded.bytes }))
}

impl Call<'_> {
    /// The call as the admission chain sees it.
    pub fn admission(&self, operation: Operation) -> admission::Request<'_> {
        admission::Request {
            attributes: self.attributes,
            operation,
            objects: self.objects,
            authorizer: self.authorizer,
            suffix: self.suffix,
        }
    }

    /// Writes down who set what, in the version that the writer speaks.
    fn track(&self, old: Option<&Value>, body: &mut Value) {
        let face = self.target.kind;
        let subresource = self.target.subresource.map_or("", |subresource| subresource.name);
        // Scale has no place for the time, and upstream loses it on the way.
        let now = if subresource == "scale" { String::new() } else { self.now.to_string() };
        if face.stored_as == face.group_version() {
            return managed_fields::update(old, body, face, self.manager(), subresource, &now);
        }
        let shown = |object: &Value| {
            let mut object = object.clone();
            convert::from_stored(face, &mut object);
            object
        };
        let (old, mut seen) = (old.map(shown), shown(body));
        managed_fields::update(old.as_ref(), &mut seen, face, self.manager(), subresource, &now);
        body["metadata"]["managedFields"] = seen["metadata"]["managedFields"].take();
        metadata::drop_null(body, "managedFields");
    }

    /// Who is written down as the manager of the changed fields.
    pub fn manager(&self) -> &str {
        &self.options.field_manager
    }
}

/// The namespace in the body must be that of the path, or absent.
pub fn check_namespace(target: &Target, body: &Value) -> Result<(), ApiError> {
    let given = body["metadata"]["namespace"].as_str().unwrap_or_default();
    if given.is_empty() || given == target.namespace || !target.kind.namespaced {
        return Ok(());
    }
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    Err(ApiError::bad_request(message))
}

fn check_version(call: &Call<'_>, body: &Value, entry: &Entry) -> Result<(), ApiError> {
    let given = body["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if given.is_empty() || given == "0" {
        if call.strategy().unconditional_update() {
            return Ok(());
        }
        let message = "Invalid value: 0: must be specified for an update".to_owned();
        let field = "metadata.resourceVersion".to_owned();
        let finding = Finding { kind: FindingKind::Invalid, field, message };
        let kind = call.target.kind;
        return Err(ApiError::invalid(kind.group, kind.plural, &call.target.name, &[finding]));
    }
    let revision: u64 = given.parse().map_err(|_| {
        ApiError::new(500, "", format!("strconv.ParseUint: parsing {given:?}: invalid syntax"))
    })?;
    match Revision(revision) == entry.mod_revision {
        true => Ok(()),
        false => Err(call.conflict(
            "the object has been modified; please apply your changes to the latest version and try again",
        )),
    }
}

fn check_uid(call: &Call<'_>, body: &Value, old: &Value, key: &str) -> Result<(), ApiError> {
    let given = body["metadata"]["uid"].as_str().unwrap_or_default();
    let stored = old["metadata"]["uid"].as_str().unwrap_or_default();
    if given.is_empty() || given == stored {
        return Ok(());
    }
    // Upstream's dry runs do not know where the store keeps its keys.
    let key = if call.options.dry_run { key.strip_prefix("/registry").unwrap_or(key) } else { key };
    Err(call.conflict(&format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {given}, UID in object meta: {stored}"
    )))
}

fn refuse(kind: &Kind, object: &Value, findings: &[Finding]) -> Result<(), ApiError> {
    if findings.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(kind.group, kind.kind, name, findings))
}

fn encode(kind: &Kind, object: &Value) -> Result<Encoded, ApiError> {
    if !json::is_within(object, json::DEPTH_MAX) {
        let message = format!("{} nests too deep: the limit is {} levels", kind.kind, json::DEPTH_MAX);
        return Err(ApiError::bad_request(message));
    }
    let encoded = Encoded::of(object);
    if encoded.bytes.len() > OBJECT_BYTES_MAX {
        let message = format!(
            "{} is too large: {} bytes, the limit is {OBJECT_BYTES_MAX}",
            kind.kind,
            encoded.bytes.len()
        );
        return Err(ApiError::new(413, "RequestEntityTooLarge", message));
    }
    Ok(encoded)
}
