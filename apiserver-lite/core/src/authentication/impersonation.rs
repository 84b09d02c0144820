//! Impersonation: acting as somebody else, when RBAC allows each part of it.

use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, service_account_groups, split_service_account};
use crate::attributes::Attributes;
use crate::authorization::{Authorizer, forbidden, rule::go_list};
use crate::status::ApiError;
use kedge_api::Identity;
use std::collections::BTreeMap;

const EXTRA_PREFIX: &str = "impersonate-extra-";

/// Whom the headers ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Reads the `Impersonate-…` headers; names come in lower case. None: nobody else is asked for.
pub fn wanted<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Option<Wanted>, ApiError> {
    let mut wanted = Wanted::default();
    for (name, value) in headers {
        match name {
            "impersonate-user" => wanted.user = value.to_owned(),
            "impersonate-uid" => wanted.uid = value.to_owned(),
            "impersonate-group" => wanted.groups.push(value.to_owned()),
            _ => {
                if let Some(key) = name.strip_prefix(EXTRA_PREFIX) {
                    wanted.extra.entry(unescape(key)).or_default().push(value.to_owned());
                }
            }
        }
    }
    match wanted {
        wanted if wanted == Wanted::default() => Ok(None),
        wanted if wanted.user.is_empty() => Err(ApiError::bad_request(format!(
            "requested {} without impersonating a user name",
            go_struct(&wanted)
        ))),
        wanted => Ok(Some(wanted)),
    }
}

/// The identity to go on with, or the 403 for the first part that `requestor` may not take on.
pub fn impersonate(
    authorizer: &Authorizer,
    requestor: &Identity,
    wanted: Wanted,
) -> Result<Identity, ApiError> {
    for attributes in required(requestor, &wanted) {
        let decision = authorizer.authorize(&attributes);
        if !decision.allowed {
            return Err(forbidden(&attributes, &decision.reason));
        }
    }
    let mut groups = wanted.groups;
    if groups.is_empty()
        && let Some((namespace, _)) = split_service_account(&wanted.user)
    {
        groups = service_account_groups(namespace).to_vec();
    }
    let has = |group: &str| groups.iter().any(|own| own == group);
    let implied = match wanted.user.as_str() {
        ANONYMOUS => (!has(UNAUTHENTICATED)).then_some(UNAUTHENTICATED),
        _ => (!has(AUTHENTICATED) && !has(UNAUTHENTICATED)).then_some(AUTHENTICATED),
    };
    groups.extend(implied.map(str::to_owned));
    Ok(Identity { user: wanted.user, uid: wanted.uid, groups, extra: wanted.extra })
}

/// One permission for each part: user, groups, extra values, uid.
fn required(requestor: &Identity, wanted: &Wanted) -> Vec<Attributes> {
    let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
        user: requestor.clone(),
        verb: "impersonate".to_owned(),
        is_resource: true,
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    const GROUP: &str = "authentication.k8s.io";
    let mut required = vec![match split_service_account(&wanted.user) {
        Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name),
        None => ask("", "users", "", "", &wanted.user),
    }];
    required.extend(wanted.groups.iter().map(|group| ask("", "groups", "", "", group)));
    for (key, values) in &wanted.extra {
        required.extend(values.iter().map(|value| ask(GROUP, "userextras", key, "", value)));
    }
    if !wanted.uid.is_empty() {
        required.push(ask(GROUP, "uids", "", "", &wanted.uid));
    }
    required
}

/// `%2F` and the like in the key of an extra header; what is not well formed stays as it is.
fn unescape(key: &str) -> String {
    let bytes = key.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let digits = key.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = digits else { return key.to_owned() };
        out.push(byte);
        at += 3;
    }
    String::from_utf8(out).unwrap_or_else(|_| key.to_owned())
}

/// Upstream prints the request as Go does, and clients have seen it.
fn go_struct(wanted: &Wanted) -> String {
    let strings = |list: &[String]| match list {
        [] => "[]string(nil)".to_owned(),
        list => format!("[]string{{{}}}", go_list(list).trim_matches(['[', ']']).replace("\" \"", "\", \"")),
    };
    let extra = match wanted.extra.is_empty() {
        true => "map[string][]string(nil)".to_owned(),
        false => {
            let pairs: Vec<String> =
                wanted.extra.iter().map(|(key, values)| format!("{key:?}:{}", strings(values))).collect();
            format!("map[string][]string{{{}}}", pairs.join(", "))
        }
    };
    let (uid, groups) = (&wanted.uid, strings(&wanted.groups));
    format!("&user.DefaultInfo{{Name:\"\", UID:{uid:?}, Groups:{groups}, Extra:{extra}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::reviews;
    use crate::authorization::tests::{bootstrapped, replay};
    use serde_json::Value;

    fn headers_of(request: &Value) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        for (name, value) in request["headers"].as_object().unwrap() {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            headers.extend(values.iter().map(|v| (name.to_lowercase(), v.as_str().unwrap().to_owned())));
        }
        headers
    }

    #[test]
    fn recorded_impersonations() {
        let authorizer = bootstrapped();
        let admin = Identity { uid: "admin".into(), ..Identity::new("admin", &["system:masters"]) };
        let compared = replay("impersonation", |request, response| {
            let headers = headers_of(request);
            let wanted = wanted(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let identity = wanted.and_then(|wanted| match wanted {
                None => Ok(admin.clone()),
                Some(wanted) => impersonate(&authorizer, &admin, wanted),
            });
            match identity {
                Err(error) => assert_eq!(error.to_status(), response["body"], "{request}"),
                Ok(identity) if response["body"]["kind"] == "SelfSubjectReview" => {
                    let got = reviews::self_subject_review(&identity, "<time>");
                    assert_eq!(got, response["body"], "{request}");
                }
                Ok(identity) => assert_ne!(identity.user, "admin", "{request}"),
            }
        });
        assert_eq!(compared, 14);
    }

    #[test]
    fn each_part_needs_a_permission() {
        let authorizer = bootstrapped();
        let jane = Identity::new("jane", &[]);
        let check = |headers: &[(&'static str, &'static str)], message: &str| {
            let wanted = wanted(headers.iter().copied()).unwrap().unwrap();
            assert_eq!(impersonate(&authorizer, &jane, wanted).unwrap_err().message, message);
        };
        check(
            &[("impersonate-user", "joe")],
            r#"users "joe" is forbidden: User "jane" cannot impersonate resource "users" in API group "" at the cluster scope"#,
        );
        check(
            &[("impersonate-user", "system:serviceaccount:a:b")],
            r#"serviceaccounts "b" is forbidden: User "jane" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "a""#,
        );
    }

    #[test]
    fn extra_keys_are_unescaped() {
        assert_eq!(unescape("acme.com%2fproject"), "acme.com/project");
        assert_eq!(unescape("a%zz"), "a%zz");
        assert_eq!(unescape("a%2"), "a%2");
        assert_eq!(unescape("a%ff"), "a%ff");
    }
}
