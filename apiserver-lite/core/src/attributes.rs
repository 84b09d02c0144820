//! What a request is about: the facts that authorization and admission look at.

use kedge_api::Identity;

/// One request, as the authorizers and the admission chain see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    pub user: Identity,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the lower-case HTTP method for paths
    /// that are no resource.
    pub verb: String,
    pub is_resource: bool,
    pub group: String,
    pub version: String,
    /// The plural.
    pub resource: String,
    /// Empty, or `status`, `scale`, `log`, …
    pub subresource: String,
    /// Empty for cluster-scoped resources and requests over all namespaces.
    pub namespace: String,
    /// Empty for collections and for creation with generateName.
    pub name: String,
    /// The path of a request that is no resource.
    pub path: String,
    /// Parsed selectors of list and watch, verbatim.
    pub field_selector: String,
    pub label_selector: String,
    pub dry_run: bool,
}
