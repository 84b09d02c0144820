//! CertificateSigningRequests. Who asks is filled in by the registry, which knows the user.

use super::access::Fill;
use super::usual::Usual;
use serde_json::json;

pub(super) static SIGNING_REQUEST: Usual = Usual {
    default: |object| {
        object.child("status");
    },
    status: Some(|_| json!({})),
    ..Usual::PLAIN
};
