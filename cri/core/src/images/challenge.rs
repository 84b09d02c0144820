//! The `WWW-Authenticate` header of a registry (RFC 9110, section 11.6.1).

/// How a registry wants a client to prove itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// A token from `realm`, for `service` and `scope`.
    Bearer {
        realm: String,
        service: String,
        scope: String,
    },
}

/// The best challenge of a header's value: a bearer one before a basic one; `None` if there is neither.
pub fn parse(header: &str) -> Option<Challenge> {
    let mut basic = None;
    for (scheme, parameters) in challenges(header) {
        let parameter = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        if scheme.eq_ignore_ascii_case("bearer") && !parameter("realm").is_empty() {
            return Some(Challenge::Bearer {
                realm: parameter("realm"),
                service: parameter("service"),
                scope: parameter("scope"),
            });
        }
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

type Parameters = Vec<(String, String)>;

/// Splits at commas outside quotes; a part that begins with `word word` or is one word opens the next challenge.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    for part in split_unquoted(header) {
        let part = part.trim();
        let before_equals = part.split('=').next().unwrap_or_default().trim_end();
        let parameter = match before_equals.split_once(' ') {
            Some((scheme, _)) => {
                found.push((scheme.to_owned(), Vec::new()));
                part[scheme.len()..].trim_start()
            }
            None if !part.contains('=') && !part.is_empty() => {
                found.push((part.to_owned(), Vec::new()));
                continue;
            }
            None => part,
        };
        if let (Some((key, value)), Some((_, parameters))) = (parameter.split_once('='), found.last_mut()) {
            parameters.push((key.trim().to_owned(), unquote(value.trim())));
        }
    }
    found
}

fn split_unquoted(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        plain.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let bearer = |realm: &str, service: &str, scope: &str| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.into(), scope: scope.into() })
        };
        let check =
            |header: &str, expected: Option<Challenge>| assert_eq!(parse(header), expected, "{header}");
        check("Basic realm=\"x\"", Some(Challenge::Basic));
        check("basic", Some(Challenge::Basic));
        check(
            "Bearer realm=\"https://a/token\",service=\"a b\",scope=\"repository:x:pull,push\"",
            bearer("https://a/token", "a b", "repository:x:pull,push"),
        );
        check("Basic realm=\"r\", Bearer realm=\"https://t\" , error=\"e\"", bearer("https://t", "", ""));
        check("Bearer realm=plain", bearer("plain", "", ""));
        check(r#"Bearer realm="a\"b""#, bearer("a\"b", "", ""));
        check("Negotiate", None);
        check("", None);
        check("Bearer", None);
        check("=,=,\"", None);
    }
}
