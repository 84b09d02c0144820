//! The kind table: every built-in resource of Kubernetes 1.36, in the order in which discovery lists them.
//!
//! The facts lie in `kinds/kinds.tbl`, a text that `cargo xtask generate-kinds` writes from recorded discovery documents and
//! tables. It is text and not Rust constants so that a change shows up as a readable diff, costs no compile time, and a test
//! can parse a table with a row more.

mod table;

pub use table::{ParseError, parse};

use std::sync::OnceLock;

/// One resource in one version: a row of the kind table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub namespaced: bool,
    /// `PodList`; empty where the resource cannot be listed.
    pub list_kind: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    /// Sorted, as in discovery.
    pub verbs: &'static [&'static str],
    pub subresources: &'static [Subresource],
    /// The group and version under which the object is stored. Differs from `group` and `version` only for the second
    /// face of a kind (`autoscaling/v1` is stored as `autoscaling/v2`, `events.k8s.io/v1` as `v1`).
    pub stored_as: GroupVersion,
    /// Discovery's `storageVersionHash`; empty for kinds that are not stored.
    pub storage_version_hash: &'static str,
    /// The columns of its Table; empty where none were recorded (reviews and bindings).
    pub columns: &'static [Column],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
}

/// `pods/eviction` and its like. The group, version and kind are those of the request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    pub name: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub verbs: &'static [&'static str],
}

/// A column definition of the Table format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: &'static str,
    pub format: &'static str,
    pub priority: i32,
    pub description: &'static str,
}

impl GroupVersion {
    /// `v1`, or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

impl Kind {
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group, version: self.version }
    }

    /// `v1`, or `apps/v1`.
    pub fn api_version(&self) -> String {
        self.group_version().api_version()
    }

    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Is the object kept in the store? Reviews and bindings are answered and forgotten.
    pub fn is_stored(&self) -> bool {
        !self.storage_version_hash.is_empty()
    }

    /// The row under whose version the object is stored: the row itself, unless it is a second face.
    pub fn stored_kind(&self) -> &'static Kind {
        by_kind(self.stored_as.group, self.stored_as.version, self.kind)
            .expect("the table was checked when it was parsed")
    }

    /// Where upstream keeps the objects below `/registry`: mostly the plural, with names from before 1.0 for the oldest.
    pub fn storage_prefix(&self) -> String {
        match (self.stored_as.group, self.plural) {
            ("", "nodes") => "minions".to_owned(),
            ("", "replicationcontrollers") => "controllers".to_owned(),
            ("", "services") => "services/specs".to_owned(),
            ("", "endpoints") => "services/endpoints".to_owned(),
            ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
            (group @ ("apiextensions.k8s.io" | "apiregistration.k8s.io"), plural) => {
                format!("{group}/{plural}")
            }
            (_, plural) => plural.to_owned(),
        }
    }
}

/// All rows, core group first, then in discovery's order of groups, versions and plurals.
pub fn kinds() -> &'static [Kind] {
    static KINDS: OnceLock<&'static [Kind]> = OnceLock::new();
    KINDS.get_or_init(|| {
        let kinds = parse(include_str!("kinds/kinds.tbl")).expect("a test parses the committed table");
        Vec::leak(kinds)
    })
}

/// The resource behind a path: `lookup("apps", "v1", "deployments")`.
pub fn lookup(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.plural == plural && k.version == version && k.group == group)
}

/// The resource of an object: `by_kind("apps", "v1", "Deployment")`.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.kind == kind && k.version == version && k.group == group)
}

/// The row under which objects of a group and plural are stored, whichever version asks.
pub fn stored(group: &str, plural: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.plural == plural && k.group == group && k.stored_as == k.group_version())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_by_plural_and_by_kind() {
        let deployments = lookup("apps", "v1", "deployments").expect("deployments");
        assert_eq!(deployments.kind, "Deployment");
        assert_eq!(deployments.list_kind, "DeploymentList");
        assert_eq!(deployments.short_names, ["deploy"]);
        assert_eq!(deployments.categories, ["all"]);
        assert_eq!(
            deployments.subresource("scale").map(|s| (s.group, s.kind)),
            Some(("autoscaling", "Scale"))
        );
        assert_eq!(by_kind("apps", "v1", "Deployment"), Some(deployments));
        assert_eq!(lookup("apps", "v2", "deployments"), None);
    }

    #[test]
    fn second_faces_are_stored_once() {
        for (group, version, plural, stored) in [
            ("autoscaling", "v1", "horizontalpodautoscalers", "autoscaling/v2"),
            ("autoscaling", "v2", "horizontalpodautoscalers", "autoscaling/v2"),
            ("events.k8s.io", "v1", "events", "v1"),
            ("", "v1", "events", "v1"),
            ("apps", "v1", "deployments", "apps/v1"),
        ] {
            let kind = lookup(group, version, plural).expect(plural);
            assert_eq!(kind.stored_kind().api_version(), stored, "{group}/{version} {plural}");
        }
    }

    #[test]
    fn storage_prefixes_are_upstreams() {
        for (group, plural, prefix) in
            [("", "pods", "pods"), ("", "nodes", "minions"), ("networking.k8s.io", "ingresses", "ingress")]
        {
            assert_eq!(stored(group, plural).expect(plural).storage_prefix(), prefix);
        }
    }

    #[test]
    fn only_answered_kinds_have_no_store() {
        let unstored: Vec<_> = kinds().iter().filter(|k| !k.is_stored()).map(|k| k.plural).collect();
        let expected = [
            "bindings",
            "componentstatuses",
            "selfsubjectreviews",
            "tokenreviews",
            "localsubjectaccessreviews",
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
            "subjectaccessreviews",
        ];
        assert_eq!(unstored, expected);
    }
}
