//! The query parameters of each verb, read and checked as upstream does.

use crate::schema::FieldValidation;
use crate::status::{ApiError, Finding, FindingKind, Findings};
use serde_json::Value;

/// A decoded query string, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryString(pub Vec<(String, String)>);

impl QueryString {
    pub fn parse(text: &str) -> QueryString {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        QueryString(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(key, value)| (decode(key, true), decode(value, true)))
                .collect(),
        )
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// Absent is None; anything but `false` and `0` is true.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| !(value == "0" || value.eq_ignore_ascii_case("false")))
    }

    pub fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let wrong = |_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(wrong)
    }
}

/// Percent-decodes; in queries a plus is a space. Malformed escapes stay as they are.
pub fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if plus && bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `metav1.ListOptions`, for list and watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    pub label_selector: String,
    pub field_selector: String,
    pub watch: bool,
    pub allow_watch_bookmarks: bool,
    pub resource_version: String,
    pub resource_version_match: String,
    pub timeout_s: Option<i64>,
    /// 0: no limit.
    pub limit: usize,
    pub continue_token: String,
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    pub fn read(query: &QueryString, watch_path: bool) -> Result<ListOptions, ApiError> {
        Ok(ListOptions {
            label_selector: query.text("labelSelector"),
            field_selector: query.text("fieldSelector"),
            watch: watch_path || query.flag("watch").unwrap_or(false),
            allow_watch_bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            resource_version: query.text("resourceVersion"),
            resource_version_match: query.text("resourceVersionMatch"),
            timeout_s: query.number("timeoutSeconds")?,
            limit: usize::try_from(query.number("limit")?.unwrap_or(0)).unwrap_or(0),
            continue_token: query.text("continue"),
            send_initial_events: query.flag("sendInitialEvents"),
        })
    }

    pub fn check(&self) -> Result<(), ApiError> {
        let findings = if self.watch { self.check_watch() } else { self.check_list() };
        refuse("ListOptions", findings)
    }

    fn check_list(&self) -> Findings {
        let matching = self.resource_version_match.as_str();
        let mut findings = Findings::new();
        if !matching.is_empty() {
            if self.resource_version.is_empty() {
                findings.push(forbidden_match(
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            if !self.continue_token.is_empty() {
                findings.push(forbidden_match("resourceVersionMatch is forbidden when continue is provided"));
            }
            if !["Exact", "NotOlderThan"].contains(&matching) {
                findings.push(unsupported("resourceVersionMatch", matching, &["Exact", "NotOlderThan", ""]));
            }
            if matching == "Exact" && self.resource_version == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                findings.push(forbidden_match(why));
            }
        }
        if self.send_initial_events.is_some() {
            findings.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        findings
    }

    fn check_watch(&self) -> Findings {
        // A watch that names no match and no initial events, but continues: the defaulted match is what is refused.
        let defaulted = self.resource_version_match.is_empty() && !self.continue_token.is_empty();
        let matching = if defaulted { "NotOlderThan" } else { self.resource_version_match.as_str() };
        let mut findings = Findings::new();
        if self.send_initial_events.is_some() && matching != "NotOlderThan" {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            findings.push(forbidden_match(why));
        }
        if !matching.is_empty() {
            if self.send_initial_events.is_none() && !defaulted {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                findings.push(forbidden_match(why));
            }
            if matching != "NotOlderThan" {
                findings.push(unsupported("resourceVersionMatch", matching, &["NotOlderThan"]));
            }
            if !self.continue_token.is_empty() {
                findings.push(forbidden_match("resourceVersionMatch is forbidden when continue is provided"));
            }
        }
        findings
    }
}

/// The options of create, update and patch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    pub dry_run: bool,
    /// Empty: the first word of the user agent.
    pub field_manager: String,
    pub field_validation: FieldValidation,
    pub force: Option<bool>,
}

impl WriteOptions {
    /// `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`; `apply` for server-side apply.
    pub fn read(query: &QueryString, kind: &'static str, apply: bool) -> Result<WriteOptions, ApiError> {
        let mut findings = Findings::new();
        let force = query.flag("force");
        let field_manager = query.text("fieldManager");
        if kind == "PatchOptions" {
            if apply && field_manager.is_empty() {
                findings.push(finding(
                    FindingKind::Required,
                    "fieldManager",
                    "Required value: is required for apply patch",
                ));
            }
            if !apply && force.is_some() {
                findings.push(forbidden("force", "may not be specified for non-apply patch"));
            }
        }
        findings.extend(check_field_manager(&field_manager));
        let dry_run = query.all("dryRun");
        findings.extend(check_dry_run(&dry_run));
        let validation = query.text("fieldValidation");
        let field_validation = FieldValidation::parse(&validation).unwrap_or_else(|| {
            findings.push(unsupported("fieldValidation", &validation, &["", "Ignore", "Strict", "Warn"]));
            FieldValidation::default()
        });
        refuse(kind, findings)?;
        Ok(WriteOptions { dry_run: !dry_run.is_empty(), field_manager, field_validation, force })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Foreground,
    Background,
    Orphan,
}

/// `metav1.DeleteOptions`, from the body or else from the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub dry_run: bool,
    pub grace_period_s: Option<i64>,
    pub propagation: Option<Propagation>,
    pub orphan_dependents: Option<bool>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    pub fn from_query(query: &QueryString) -> Result<DeleteOptions, ApiError> {
        let grace = query.number("gracePeriodSeconds")?;
        let policy = query.get("propagationPolicy").filter(|policy| !policy.is_empty());
        DeleteOptions::checked(
            grace,
            policy,
            query.flag("orphanDependents"),
            &query.all("dryRun"),
            &Value::Null,
        )
    }

    pub fn from_body(body: &Value) -> Result<DeleteOptions, ApiError> {
        let dry_run: Vec<String> = body["dryRun"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
        DeleteOptions::checked(
            body["gracePeriodSeconds"].as_i64(),
            body["propagationPolicy"].as_str(),
            body["orphanDependents"].as_bool(),
            &dry_run,
            &body["preconditions"],
        )
    }

    fn checked(
        grace_period_s: Option<i64>,
        policy: Option<&str>,
        orphan_dependents: Option<bool>,
        dry_run: &[String],
        preconditions: &Value,
    ) -> Result<DeleteOptions, ApiError> {
        let mut findings = Findings::new();
        if let (Some(_), Some(policy)) = (orphan_dependents, policy) {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let message = format!("Invalid value: {policy:?}: {why}");
            findings.push(finding(FindingKind::Invalid, "propagationPolicy", message));
        }
        let propagation = match policy {
            None => None,
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Background") => Some(Propagation::Background),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let known = &["Foreground", "Background", "Orphan", "nil"];
                findings.push(unsupported("propagationPolicy", other, known));
                None
            }
        };
        findings.extend(check_dry_run(dry_run));
        refuse("DeleteOptions", findings)?;
        Ok(DeleteOptions {
            dry_run: !dry_run.is_empty(),
            grace_period_s,
            propagation,
            orphan_dependents,
            uid: preconditions["uid"].as_str().map(str::to_owned),
            resource_version: preconditions["resourceVersion"].as_str().map(str::to_owned),
        })
    }
}

const FIELD_MANAGER_MAX: usize = 128;

fn check_field_manager(manager: &str) -> Findings {
    let mut findings = Findings::new();
    if manager.len() > FIELD_MANAGER_MAX {
        let message = format!("Too long: may not be more than {FIELD_MANAGER_MAX} bytes");
        findings.push(finding(FindingKind::TooLong, "fieldManager", message));
    }
    for (at, character) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        let point = u32::from(character);
        let message =
            format!("Invalid value: {}: invalid character U+{point:04X} (at position {at})", quoted(manager));
        findings.push(finding(FindingKind::Invalid, "fieldManager", message));
    }
    findings
}

/// As Go's `%q` writes a text with control characters.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            '\n' | '\r' | '\t' | '"' | '\\' => out.extend(character.escape_default()),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(character))),
            '\u{80}'..='\u{9f}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

fn check_dry_run(values: &[String]) -> Findings {
    if values.iter().all(|value| value == "All") {
        return Findings::new();
    }
    let shown = Value::from(values.to_vec());
    let message = format!("Unsupported value: {shown}: supported values: \"All\"");
    vec![finding(FindingKind::NotSupported, "dryRun", message)]
}

fn finding(kind: FindingKind, field: &str, message: impl Into<String>) -> Finding {
    Finding { kind, field: field.to_owned(), message: message.into() }
}

fn forbidden(field: &str, why: &str) -> Finding {
    finding(FindingKind::Forbidden, field, format!("Forbidden: {why}"))
}

fn forbidden_match(why: &str) -> Finding {
    forbidden("resourceVersionMatch", why)
}

fn unsupported(field: &str, value: &str, known: &[&str]) -> Finding {
    let known: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
    let message = format!("Unsupported value: {value:?}: supported values: {}", known.join(", "));
    finding(FindingKind::NotSupported, field, message)
}

fn refuse(kind: &str, findings: Findings) -> Result<(), ApiError> {
    match findings.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid("meta.k8s.io", kind, "", &findings)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(query: &str) -> String {
        let options =
            ListOptions::read(&QueryString::parse(query), false).and_then(|o| o.check().map(|()| o));
        options.map_or_else(|e| format!("{} {}", e.code, e.message), |o| format!("{}", o.limit))
    }

    #[test]
    fn list_options() {
        for (query, expected) in [
            ("limit=3", "3"),
            ("limit=-1", "0"),
            ("limit=x", "400 strconv.ParseInt: parsing \"x\": invalid syntax"),
            (
                "resourceVersionMatch=Exact",
                "422 ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
                 resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            (
                "watch=true&sendInitialEvents=true",
                "422 ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
                 sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (
                "watch=true&continue=abc",
                "422 ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
                 resourceVersionMatch is forbidden when continue is provided",
            ),
        ] {
            assert_eq!(list(query), expected, "{query}");
        }
    }

    #[test]
    fn decoding() {
        for (text, expected) in [("a%3Db", "a=b"), ("a+b", "a b"), ("%zz%", "%zz%"), ("%E2%82%AC", "€")] {
            assert_eq!(decode(text, true), expected);
        }
        assert_eq!(decode("a+b", false), "a+b");
    }

    #[test]
    fn delete_options_from_body() {
        let body = serde_json::json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}});
        let options = DeleteOptions::from_body(&body).unwrap();
        assert_eq!((options.grace_period_s, options.uid.as_deref()), (Some(0), Some("u")));
        let both = QueryString::parse("orphanDependents=true&propagationPolicy=Orphan");
        assert_eq!(DeleteOptions::from_query(&both).unwrap_err().code, 422);
    }
}
