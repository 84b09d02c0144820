//! Kubectl, crictl, client libraries against the built kedge.
