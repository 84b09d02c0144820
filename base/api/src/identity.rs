//! Who makes a request.

use std::collections::BTreeMap;

/// An authenticated user. In process it travels as a request extension of this type, which no header can set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// An identity in `system:authenticated` and the given groups.
    pub fn new(user: &str, groups: &[&str]) -> Identity {
        let mut groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        Identity { user: user.to_owned(), groups, ..Identity::default() }
    }
}
