//! Who a request comes from, as far as that is a decision: what a token may claim, whom a caller may impersonate, and the
//! review APIs of `authentication.k8s.io`. Keys, signatures and certificates are the shell's (`apiserver-lite/src/authn`).

pub mod impersonation;
pub mod reviews;
pub mod tokens;

use kedge_api::Identity;

pub const AUTHENTICATED: &str = "system:authenticated";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
pub const ANONYMOUS: &str = "system:anonymous";

const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Whoever shows no credentials.
pub fn anonymous() -> Identity {
    Identity { user: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Identity::default() }
}

pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// The groups of every service account of a namespace, without `system:authenticated`.
pub fn service_account_groups(namespace: &str) -> [String; 2] {
    ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}

/// Namespace and name behind a service account's user name; None if the user is none (or is not well formed).
pub fn split_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let label = |text: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        text.len() <= 63
            && text.starts_with(ends)
            && text.ends_with(ends)
            && text.chars().all(|c| c == '-' || ends(c))
    };
    let subdomain = name.len() <= 253 && name.split('.').all(label);
    (label(namespace) && subdomain).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_account_names() {
        assert_eq!(split_service_account("system:serviceaccount:a:b.c"), Some(("a", "b.c")));
        assert_eq!(split_service_account(&service_account_user("a", "b")), Some(("a", "b")));
        for user in
            ["jane", "system:serviceaccount:A_:x", "system:serviceaccount:a", "system:serviceaccount::x"]
        {
            assert_eq!(split_service_account(user), None, "{user}");
        }
        assert_eq!(split_service_account("system:serviceaccount:a:b:c"), None);
    }
}
