//! What authorizers and the audit see of a request: read from its path alone, whether or not the path exists.

use super::options::QueryString;
use crate::attributes::Attributes;
use kedge_api::Identity;

/// `path` is percent-decoded.
pub fn attributes(user: Identity, method: &str, path: &str, query: &QueryString) -> Attributes {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut attributes = Attributes { user, path: path.to_owned(), ..Attributes::default() };
    let rest = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => {
            attributes.version = (*version).to_owned();
            rest
        }
        ["apis", group, version, rest @ ..] if !rest.is_empty() => {
            attributes.group = (*group).to_owned();
            attributes.version = (*version).to_owned();
            rest
        }
        _ => {
            attributes.verb = method.to_ascii_lowercase();
            return attributes;
        }
    };
    attributes.is_resource = true;
    let (watch_path, rest) = match rest {
        ["watch", rest @ ..] => (true, rest),
        all => (false, all),
    };
    place(&mut attributes, rest);
    attributes.verb = verb(method, watch_path, query, &attributes.name).to_owned();
    attributes.dry_run = query.get("dryRun").is_some_and(|value| !value.is_empty());
    if matches!(attributes.verb.as_str(), "list" | "watch" | "deletecollection") {
        attributes.field_selector = query.text("fieldSelector");
        attributes.label_selector = query.text("labelSelector");
        if attributes.name.is_empty() {
            attributes.name = selected_name(&attributes.field_selector);
        }
    }
    attributes
}

/// Subresources of a namespace; anything else below one is a resource in it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

fn place(attributes: &mut Attributes, parts: &[&str]) {
    let parts = match parts {
        ["namespaces", namespace, rest @ ..] => {
            attributes.namespace = (*namespace).to_owned();
            match rest {
                [] => parts,
                [word, ..] if NAMESPACE_SUBRESOURCES.contains(word) => parts,
                _ => rest,
            }
        }
        _ => parts,
    };
    let mut parts = parts.iter().map(|part| (*part).to_owned());
    attributes.resource = parts.next().unwrap_or_default();
    attributes.name = parts.next().unwrap_or_default();
    attributes.subresource = parts.next().unwrap_or_default();
}

fn verb(method: &str, watch_path: bool, query: &QueryString, name: &str) -> &'static str {
    let watch = watch_path || query.flag("watch").unwrap_or(false);
    match method {
        "GET" | "HEAD" if watch_path => "watch",
        "GET" | "HEAD" if name.is_empty() && watch => "watch",
        "GET" | "HEAD" if name.is_empty() => "list",
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if name.is_empty() => "deletecollection",
        "DELETE" => "delete",
        _ => "",
    }
}

/// The one name that a field selector asks for: roles may allow it by name.
fn selected_name(selector: &str) -> String {
    let terms = selector.split(',').filter_map(|term| term.split_once('='));
    let names: Vec<&str> = terms
        .filter(|(field, _)| *field == "metadata.name")
        .map(|(_, name)| name.trim_start_matches('='))
        .collect();
    match names.as_slice() {
        [name] => (*name).to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, query: &str, expected: &str) {
        let a = attributes(Identity::default(), method, path, &QueryString::parse(query));
        let seen = match a.is_resource {
            true => format!(
                "{} {}/{} {} {:?} {:?} {}",
                a.verb, a.group, a.version, a.resource, a.namespace, a.name, a.subresource
            ),
            false => format!("{} {}", a.verb, a.path),
        };
        assert_eq!(seen.trim(), expected, "{method} {path}");
    }

    #[test]
    fn requests() {
        check("GET", "/healthz", "", "get /healthz");
        check("GET", "/api/v1", "", "get /api/v1");
        check("GET", "/api/v1/pods", "", "list /v1 pods \"\" \"\"");
        check("GET", "/api/v1/pods", "watch=1", "watch /v1 pods \"\" \"\"");
        check("GET", "/api/v1/namespaces/a/pods/b/log", "", "get /v1 pods \"a\" \"b\" log");
        check("POST", "/apis/apps/v1/namespaces/a/deployments", "", "create apps/v1 deployments \"a\" \"\"");
        check("DELETE", "/api/v1/namespaces/a/pods", "", "deletecollection /v1 pods \"a\" \"\"");
        check("PUT", "/api/v1/namespaces/a/finalize", "", "update /v1 namespaces \"a\" \"a\" finalize");
        check("GET", "/api/v1/namespaces/a", "", "get /v1 namespaces \"a\" \"a\"");
        check("GET", "/api/v1/secrets", "fieldSelector=metadata.name%3Dx", "list /v1 secrets \"\" \"x\"");
        check("GET", "/api/v1/nope/x", "", "get /v1 nope \"\" \"x\"");
    }
}
