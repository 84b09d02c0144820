//! The forms that names may have. Each check returns what is wrong, in the words that clients of Kubernetes know; nothing
//! wrong is an empty list.
//!
//! The forms are small regular languages; they are matched by hand so that this crate needs no regex engine.

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_UNDERSCORE: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

pub const DNS_LABEL_LENGTH_MAX: usize = 63;
pub const DNS_SUBDOMAIN_LENGTH_MAX: usize = 253;
pub const LABEL_VALUE_LENGTH_MAX: usize = 63;

/// The names that the API gives to namespaces, nodes' labels and container names: RFC 1123 labels.
pub fn dns_label(value: &str) -> Vec<String> {
    let mut wrong = longer_than(value, DNS_LABEL_LENGTH_MAX);
    if !is_label(value) {
        wrong.push(if is_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
                 end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    wrong
}

/// Most object names: RFC 1123 subdomains.
pub fn dns_subdomain(value: &str) -> Vec<String> {
    let mut wrong = longer_than(value, DNS_SUBDOMAIN_LENGTH_MAX);
    if !is_subdomain(value) {
        wrong.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
             and end with an alphanumeric character",
            &dotted(LABEL),
            &["example.com"],
        ));
    }
    wrong
}

/// CSI driver names: subdomains in any case.
pub fn dns_subdomain_caseless(value: &str) -> Vec<String> {
    let mut wrong = longer_than(value, DNS_SUBDOMAIN_LENGTH_MAX);
    if !is_subdomain(&value.to_ascii_lowercase()) {
        wrong.push(regex_error(
            "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an \
             alphanumeric character",
            &dotted(LABEL),
            &["Example.com"],
        ));
    }
    wrong
}

/// DNS search paths, which may hold underscores.
pub fn dns_subdomain_underscore(value: &str) -> Vec<String> {
    let mut wrong = longer_than(value, DNS_SUBDOMAIN_LENGTH_MAX);
    let label = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        is_run(part, |b| lower_alnum(b) || b == b'-' || b == b'_', lower_alnum, lower_alnum)
    };
    if !value.split('.').all(label) {
        wrong.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must \
             start and end with an alphanumeric character",
            &dotted(LABEL_UNDERSCORE),
            &["example.com"],
        ));
    }
    wrong
}

/// Service names: RFC 1035 labels, which start with a letter.
pub fn dns_1035_label(value: &str) -> Vec<String> {
    let mut wrong = longer_than(value, DNS_LABEL_LENGTH_MAX);
    let letter = |b: u8| b.is_ascii_lowercase();
    if !is_run(value, |b| lower_alnum(b) || b == b'-', letter, lower_alnum) {
        wrong.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    wrong
}

/// Hosts of Ingress rules that stand for all names below a domain.
pub fn wildcard_dns_subdomain(value: &str) -> Vec<String> {
    let mut wrong = longer_than(value, DNS_SUBDOMAIN_LENGTH_MAX);
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        wrong.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
             lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!("\\*\\.{}", dotted(LABEL)),
            &["*.example.com"],
        ));
    }
    wrong
}

/// Keys of labels and annotations, finalizers, extended resources: `name` or `example.com/name`.
pub fn qualified_name(value: &str) -> Vec<String> {
    const EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];
    let why = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let mut wrong = Vec::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(dns_subdomain(prefix).into_iter().map(|text| format!("prefix part {text}")));
            }
            name
        }
        _ => {
            let regex = regex_error(why, QUALIFIED, &EXAMPLES);
            return vec![format!(
                "a valid label key {regex} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_VALUE_LENGTH_MAX {
        wrong.push(format!("name part must be no more than {LABEL_VALUE_LENGTH_MAX} bytes"));
    }
    if !is_qualified_part(name) {
        wrong.push(format!("name part {}", regex_error(why, QUALIFIED, &EXAMPLES)));
    }
    wrong
}

/// Values of labels.
pub fn label_value(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > LABEL_VALUE_LENGTH_MAX {
        wrong.push(format!("must be no more than {LABEL_VALUE_LENGTH_MAX} bytes"));
    }
    if !value.is_empty() && !is_qualified_part(value) {
        wrong.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
             and end with an alphanumeric character",
            &format!("({QUALIFIED})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// Keys of ConfigMaps and Secrets: they become file names.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut wrong = longer_than(value, DNS_SUBDOMAIN_LENGTH_MAX);
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        wrong.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    wrong.extend(parent_directory_error(value));
    wrong
}

/// Names of environment variables, as the API has accepted them since 1.34: printable ASCII without `=`.
pub fn env_var_name(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.is_empty() {
        wrong.push("environment variable name must be non-empty".to_owned());
    }
    if !value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        wrong.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned(),
        );
    }
    wrong
}

/// Names of the variables that a shell can read (the prefix of envFrom has this form too).
pub fn c_identifier(value: &str) -> Vec<String> {
    let start = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let rest = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if is_run(value, rest, start, rest) {
        return Vec::new();
    }
    vec![regex_error(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters \
         or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// Names of ports (an IANA service name).
pub fn port_name(value: &str) -> Vec<String> {
    let mut wrong = longer_than(value, 15);
    if value.is_empty() || !value.bytes().all(|b| lower_alnum(b) || b == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

pub fn port_number(value: i64) -> Vec<String> {
    in_range(value, 1, 65535)
}

pub fn user_id(value: i64) -> Vec<String> {
    in_range(value, 0, i64::from(i32::MAX))
}

pub fn group_id(value: i64) -> Vec<String> {
    in_range(value, 0, i64::from(i32::MAX))
}

pub fn in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&value) {
        return Vec::new();
    }
    vec![format!("must be between {low} and {high}, inclusive")]
}

/// `25%`.
pub fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or("");
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    vec![regex_error(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

pub fn http_header_name(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// Names that become one segment of a URL path (RBAC objects and others with free names).
pub fn path_segment(value: &str) -> Vec<String> {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    ["/", "%"].iter().filter(|c| value.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// What stands after `must not` for names that step out of their directory.
pub fn parent_directory_error(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if value.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

pub fn max_length_error(length: usize) -> String {
    format!("must be no more than {length} characters")
}

/// A sentence, examples, and the regular expression behind it.
pub fn regex_error(sentence: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{sentence} (regex used for validation is '{regex}')");
    }
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{sentence} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

pub fn is_label(value: &str) -> bool {
    is_run(value, |b| lower_alnum(b) || b == b'-', lower_alnum, lower_alnum)
}

pub fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_label)
}

fn is_qualified_part(value: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_alphanumeric();
    is_run(value, |b| alnum(b) || b"-_.".contains(&b), alnum, alnum)
}

/// Not empty, every byte of one set, the first and last of narrower ones.
fn is_run(
    value: &str,
    middle: impl Fn(u8) -> bool,
    first: impl Fn(u8) -> bool,
    last: impl Fn(u8) -> bool,
) -> bool {
    let bytes = value.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&start), Some(&end)) => first(start) && last(end) && bytes.iter().all(|&b| middle(b)),
        _ => false,
    }
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn longer_than(value: &str, max: usize) -> Vec<String> {
    if value.len() > max { vec![max_length_error(max)] } else { Vec::new() }
}

fn dotted(label: &str) -> String {
    format!("{label}(\\.{label})*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: fn(&str) -> Vec<String>, good: &[&str], bad: &[&str]) {
        for value in good {
            assert_eq!(form(value), Vec::<String>::new(), "{value:?}");
        }
        for value in bad {
            assert_ne!(form(value), Vec::<String>::new(), "{value:?}");
        }
    }

    #[test]
    fn forms() {
        let long = "a".repeat(64);
        check(dns_label, &["a", "0", "a-b", "a--b"], &["", "A", "-a", "a-", "a.b", "a_b", &long]);
        check(dns_subdomain, &["a", "a.b", "0.b-c", &long], &["", ".", "a.", ".a", "a..b", "a.-b", "A.b"]);
        check(dns_subdomain_caseless, &["A.b"], &["A_b"]);
        check(dns_subdomain_underscore, &["_a._b", "a_b"], &["", "__a", "a_"]);
        check(dns_1035_label, &["a", "a0"], &["0a", "", "a-"]);
        check(wildcard_dns_subdomain, &["*.a"], &["*", "*.", "a.b", "*.*.a"]);
        check(qualified_name, &["a", "a/b", "e.com/A_b.c"], &["", "/a", "a/", "a/b/c", "A/b", "a/-"]);
        check(label_value, &["", "a", "A.b_c"], &["-", "a b", &long]);
        check(config_map_key, &["a", ".a", "a..b"], &["", ".", "..", "..a", "a/b"]);
        check(env_var_name, &["a", "1", "a b"], &["", "a=b", "é"]);
        check(port_name, &["http", "a-1"], &["", "1", "a--b", "-a", "aaaaaaaaaaaaaaaa", "A"]);
        check(percent, &["1%", "100%"], &["%", "1", "-1%"]);
        check(c_identifier, &["_a1"], &["1a", "", "a-"]);
        check(path_segment, &["a:b", "system:x"], &[".", "..", "a/b", "a%b"]);
    }

    #[test]
    fn texts() {
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            dns_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
              with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
    }
}
