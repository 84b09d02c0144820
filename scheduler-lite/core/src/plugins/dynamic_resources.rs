//! DynamicResources: no claims are allocated yet, so when a pod fits nowhere there is none to take back. Upstream says so in
//! every such message, and scripts read those messages.

use kedge_api::Pod;

use crate::framework::{Plugin, Refusal};
use crate::snapshot::{Row, Snapshot};

pub struct DynamicResources;

impl Plugin for DynamicResources {
    fn name(&self) -> &'static str {
        "DynamicResources"
    }

    fn post_filter(&self, _snapshot: &Snapshot, _pod: &Pod, _refusals: &[(Row, Refusal)]) -> Option<String> {
        Some("no new claims to deallocate".to_owned())
    }
}
