//! Admission: an ordered chain of pure mutators and validators over what is asked, what is stored and who asks.
//!
//! The order is upstream's. Places that other issues fill are named in [`CHAIN`]; webhooks and CEL policies run between the two
//! passes, in the shell.

mod certificates;
mod defaults;
mod lifecycle;
mod limit_ranger;
mod node_restriction;
mod priority;
mod runtime_class;
mod service_account;
mod tolerations;

use crate::attributes::Attributes;
use crate::authorization::Authorizer;
use crate::objects::Objects;
use crate::status::ApiError;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// `exec`, `attach`, `portforward`, `proxy`.
    Connect,
}

/// One write as the chain sees it. A PATCH or PUT that creates is a `Create`.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub attributes: &'a Attributes,
    pub operation: Operation,
    pub objects: &'a dyn Objects,
    pub authorizer: &'a Authorizer,
    /// Five random characters, for the name of a pod's token volume.
    pub suffix: &'a str,
}

/// One rule of the chain.
trait Plugin: Sync {
    /// May change an object that is created or updated.
    fn admit(&self, _: Request<'_>, _: &mut Value, _old: Option<&Value>) -> Result<(), ApiError> {
        Ok(())
    }

    /// `object` is None for a delete.
    fn validate(
        &self,
        _: Request<'_>,
        _object: Option<&Value>,
        _old: Option<&Value>,
    ) -> Result<(), ApiError> {
        Ok(())
    }
}

const CHAIN: &[&dyn Plugin] = &[
    &lifecycle::NamespaceLifecycle,
    &limit_ranger::LimitRanger,
    &service_account::ServiceAccount,
    &node_restriction::NodeRestriction,
    &tolerations::TaintNodesByCondition,
    // PodSecurity
    &priority::Priority,
    &tolerations::DefaultTolerationSeconds,
    &defaults::DefaultStorageClass,
    // StorageObjectInUseProtection: the strategies of claims and volumes put its finalizers on
    // PersistentVolumeClaimResize
    &runtime_class::RuntimeClass,
    &certificates::CertificateApproval,
    &certificates::CertificateSigning,
    &defaults::DefaultIngressClass,
    // MutatingAdmissionPolicy, webhooks, ValidatingAdmissionPolicy, ResourceQuota
];

/// The mutating pass, before validation by the strategy. `old` is the stored object of an update.
pub fn mutate(request: Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    CHAIN.iter().try_for_each(|plugin| plugin.admit(request, object, old))
}

/// The validating pass, after it; the only one of a delete.
pub fn validate(request: Request<'_>, object: Option<&Value>, old: Option<&Value>) -> Result<(), ApiError> {
    CHAIN.iter().try_for_each(|plugin| plugin.validate(request, object, old))
}

impl Request<'_> {
    /// Group, plural and subresource.
    fn is(&self, group: &str, resource: &str, subresource: &str) -> bool {
        let a = self.attributes;
        (a.group.as_str(), a.resource.as_str(), a.subresource.as_str()) == (group, resource, subresource)
    }

    /// The 403 of an admission plugin; `object` gives the name that a create does not have yet.
    fn forbidden(&self, object: Option<&Value>, why: &str) -> ApiError {
        let a = self.attributes;
        let of = |field: &str| object.map(|object| text(&object["metadata"][field])).unwrap_or_default();
        let name = [a.name.as_str(), of("name"), of("generateName"), "Unknown"];
        let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        ApiError::forbidden(&a.group, &a.resource, name, why)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The array in `object[field]`, made if missing.
fn list<'a>(object: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    if !object[field].is_array() {
        object[field] = Value::Array(Vec::new());
    }
    object[field].as_array_mut().expect("it was made an array")
}

#[cfg(test)]
mod tests;
