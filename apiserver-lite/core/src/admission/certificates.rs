//! Who may approve and who may sign for which signer: verbs on `signers`.

use super::{Operation, Plugin, Request, text};
use crate::attributes::Attributes;
use crate::status::ApiError;
use serde_json::{Value, json};

pub struct CertificateApproval;
pub struct CertificateSigning;

const GROUP: &str = "certificates.k8s.io";
const RESOURCE: &str = "certificatesigningrequests";

/// Who asks is not the client's to say. Upstream writes it down before its chain; here it is the first of these two.
impl Plugin for CertificateApproval {
    fn admit(&self, request: Request<'_>, object: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !request.is(GROUP, RESOURCE, "") || request.operation != Operation::Create {
            return Ok(());
        }
        let user = &request.attributes.user;
        let Some(spec) = object["spec"].as_object_mut() else { return Ok(()) };
        let words = [("username", json!(user.user)), ("uid", json!(user.uid))];
        let lists = [("groups", json!(user.groups)), ("extra", json!(user.extra))];
        for (field, value) in words.into_iter().chain(lists) {
            let empty = value.as_str() == Some("")
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty);
            match empty {
                true => spec.remove(field),
                false => spec.insert(field.to_owned(), value),
            };
        }
        Ok(())
    }

    fn validate(&self, request: Request<'_>, _: Option<&Value>, old: Option<&Value>) -> Result<(), ApiError> {
        match (request.is(GROUP, RESOURCE, "approval"), request.operation, old) {
            (true, Operation::Update, Some(old)) => {
                require(request, "approve", text(&old["spec"]["signerName"]))
            }
            _ => Ok(()),
        }
    }
}

impl Plugin for CertificateSigning {
    fn validate(
        &self,
        request: Request<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let (true, Operation::Update, Some(object), Some(old)) =
            (request.is(GROUP, RESOURCE, "status"), request.operation, object, old)
        else {
            return Ok(());
        };
        // Only what a signer writes needs the permission: the certificate, or a failure.
        let failed = |request: &Value| -> Vec<Value> {
            let conditions = request["status"]["conditions"].as_array().into_iter().flatten();
            conditions.filter(|condition| condition["type"] == "Failed").cloned().collect()
        };
        if object["status"]["certificate"] == old["status"]["certificate"] && failed(object) == failed(old) {
            return Ok(());
        }
        require(request, "sign", text(&old["spec"]["signerName"]))
    }
}

/// The verb on the signer, or on all signers of its domain.
fn require(request: Request<'_>, verb: &str, signer: &str) -> Result<(), ApiError> {
    let domain = signer.split('/').next().unwrap_or_default();
    let holds = |name: &str| {
        let attributes = Attributes {
            user: request.attributes.user.clone(),
            verb: verb.to_owned(),
            is_resource: true,
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        request.authorizer.authorize(&attributes).allowed
    };
    if holds(signer) || holds(&format!("{domain}/*")) {
        return Ok(());
    }
    Err(request.forbidden(None, &format!("user not permitted to {verb} requests with signerName {signer:?}")))
}
