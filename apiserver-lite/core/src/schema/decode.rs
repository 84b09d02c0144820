//! Request bodies: parsing, fitting to the expected type, and what to say when that fails.

use super::json::{self, Node};
use super::{Type, conform};
use crate::protobuf;
use crate::status::ApiError;
use serde_json::Value;

/// `fieldValidation` of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

impl FieldValidation {
    /// Of a query parameter's value; None: not supported.
    pub fn parse(word: &str) -> Option<FieldValidation> {
        match word {
            "" | "Warn" => Some(FieldValidation::Warn),
            "Ignore" => Some(FieldValidation::Ignore),
            "Strict" => Some(FieldValidation::Strict),
            _ => None,
        }
    }
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
    Protobuf,
}

impl Media {
    /// Of a Content-Type; an absent one means JSON.
    pub fn parse(content_type: Option<&str>) -> Result<Media, ApiError> {
        let name = content_type.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
        match name {
            "application/json" => Ok(Media::Json),
            "application/yaml" => Ok(Media::Yaml),
            "application/vnd.kubernetes.protobuf" => Ok(Media::Protobuf),
            _ => Err(ApiError::new(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: application/json, \
                 application/yaml, application/vnd.kubernetes.protobuf",
            )),
        }
    }
}

/// A body that fits its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// With the expected apiVersion and kind.
    pub value: Value,
    /// Texts for `Warning: 299` headers.
    pub warnings: Vec<String>,
}

/// What a handler expects in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
}

impl Expected<'_> {
    fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// Decodes a body. apiVersion and kind may be left out; if they are there they must be the expected ones.
pub fn decode(
    body: &[u8],
    media: Media,
    ty: &'static Type,
    expected: Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let (node, mut problems) = match media {
        Media::Protobuf => (protobuf::decode(body, expected)?.into(), Vec::new()),
        Media::Json => (parse(body, expected)?, Vec::new()),
        Media::Yaml => match parse_yaml(body) {
            Ok(parsed) => parsed,
            Err(why) => return Err(unrecognized(expected, &why, body)),
        },
    };
    let said = said(&node).map_err(|why| unrecognized(expected, &why, body))?;
    let cannot = |why: &str| {
        let kind = Some(said.kind.as_str()).filter(|k| !k.is_empty()).unwrap_or(expected.kind);
        let version =
            said.api_version.rsplit('/').next().filter(|v| !v.is_empty()).unwrap_or(expected.version);
        ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {}: {why}",
            expected.kind
        ))
    };
    check_kind(&said, expected, &node).map_err(|mismatch| match mismatch {
        Mismatch::Version(why) => ApiError::bad_request(why),
        Mismatch::Kind(why) => cannot(&why),
    })?;
    let conformed = conform(node, ty).map_err(|e| cannot(&e.0))?;
    problems.extend(conformed.problems);
    if validation == FieldValidation::Strict && !problems.is_empty() {
        return Err(cannot(&format!("strict decoding error: {}", problems.join(", "))));
    }
    let mut value = conformed.value;
    set_kind(&mut value, expected);
    let warnings = if validation == FieldValidation::Ignore { Vec::new() } else { problems };
    Ok(Decoded { value, warnings })
}

fn parse(body: &[u8], expected: Expected<'_>) -> Result<Node, ApiError> {
    json::parse(body).map_err(|why| unrecognized(expected, &parse_error(&why), body))
}

fn parse_error(why: &str) -> String {
    format!("couldn't get version/kind; json parse error: {why}")
}

/// The apiVersion and kind that a body gives.
struct Said {
    api_version: String,
    kind: String,
}

fn said(node: &Node) -> Result<Said, String> {
    const META: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    if !matches!(node, Node::Object(_) | Node::Null) {
        return Err(parse_error(&format!(
            "json: cannot unmarshal {} into Go value of type {META}",
            node.kind()
        )));
    }
    let word = |key: &str| match node.get(key) {
        None | Some(Node::Null) => Ok(String::new()),
        Some(Node::String(word)) => Ok(word.clone()),
        Some(other) => Err(parse_error(&format!(
            "json: cannot unmarshal {} into Go struct field .{key} of type string",
            other.kind()
        ))),
    };
    Ok(Said { api_version: word("apiVersion")?, kind: word("kind")? })
}

/// A body of another kind or version than the handler's. Upstream first decodes it as what it says it is.
enum Mismatch {
    /// Of the same kind.
    Version(String),
    Kind(String),
}

fn check_kind(said: &Said, expected: Expected<'_>, node: &Node) -> Result<(), Mismatch> {
    let wanted = expected.api_version();
    let kind_fits = said.kind.is_empty() || said.kind == expected.kind;
    let version_fits = said.api_version.is_empty() || said.api_version == wanted;
    if kind_fits && version_fits {
        return Ok(());
    }
    let kind = if said.kind.is_empty() { expected.kind } else { &said.kind };
    let api_version = if said.api_version.is_empty() { &wanted } else { &said.api_version };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(ty) = super::types().of(group, version, kind) else {
        return Err(Mismatch::Kind(format!(
            "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"{SCHEME}\""
        )));
    };
    conform(node.clone(), ty).map_err(|e| Mismatch::Kind(e.0))?;
    if kind == expected.kind {
        return Err(Mismatch::Version(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        )));
    }
    let internal = internal_package(expected.group);
    Err(Mismatch::Kind(format!(
        "converting ({version}.{kind}) to ({internal}.{}): unknown conversion",
        expected.kind
    )))
}

/// Where upstream's registry of kinds was made; its errors print it.
const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";

/// The Go package of a group's internal types, as errors of conversion print it.
fn internal_package(group: &str) -> &str {
    if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) }
}

/// Has a patch left apiVersion and kind alone?
pub fn check_patched_kind(patched: &Value, expected: Expected<'_>) -> Result<(), String> {
    let node = Node::from(patched.clone());
    check_kind(&said(&node)?, expected, &node).map_err(|mismatch| match mismatch {
        Mismatch::Version(why) | Mismatch::Kind(why) => why,
    })
}

/// Writes the expected apiVersion and kind into an object.
pub fn set_kind(value: &mut Value, expected: Expected<'_>) {
    value["apiVersion"] = expected.api_version().into();
    value["kind"] = expected.kind.into();
}

pub(crate) fn unrecognized(expected: Expected<'_>, why: &str, body: &[u8]) -> ApiError {
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({})",
        expected.kind,
        summary(body)
    ))
}

/// The beginning of a body: as text if it looks like an object, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let (head, more) = match body.get(..SHOWN) {
        Some(head) if body.len() > SHOWN => (head, " ..."),
        _ => (body, ""),
    };
    match head.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => format!("{}{more}", head.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    }
}

/// A YAML document with its strict-decoding problems (duplicate keys). JSON is YAML, and keeps its own reader's eyes.
fn parse_yaml(body: &[u8]) -> Result<(Node, Vec<String>), String> {
    if body.trim_ascii_start().first() == Some(&b'{')
        && let Ok(node) = json::parse(body)
    {
        return Ok((node, Vec::new()));
    }
    super::yaml::parse(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::types;
    use serde_json::json;

    const CONFIG_MAP: Expected<'static> = Expected { group: "", version: "v1", kind: "ConfigMap" };

    fn run(body: &str, media: Media, validation: FieldValidation) -> Result<Decoded, ApiError> {
        let ty = types().of("", "v1", "ConfigMap").expect("ConfigMap");
        decode(body.as_bytes(), media, ty, CONFIG_MAP, validation)
    }

    #[test]
    fn good_bodies() {
        let check = |body: &str, media: Media, data: Value, warnings: &[&str]| {
            let decoded = run(body, media, FieldValidation::Warn).expect(body);
            assert_eq!(decoded.value["data"], data, "{body}");
            assert_eq!(decoded.value["kind"], "ConfigMap");
            assert_eq!(decoded.warnings, warnings, "{body}");
        };
        check(r#"{"data":{"k":"v"}}"#, Media::Json, json!({"k": "v"}), &[]);
        check("null", Media::Json, Value::Null, &[]);
        check("apiVersion: v1\nkind: ConfigMap\ndata: {a: \"1\"}\n", Media::Yaml, json!({"a": "1"}), &[]);
        check(r#"{"data": {"k": "v"}}"#, Media::Yaml, json!({"k": "v"}), &[]);
        let twice = r#"{"metadata":{"name":"c","name":"d"}}"#;
        check(twice, Media::Json, Value::Null, &["duplicate field \"metadata.name\""]);
    }

    #[test]
    fn bad_bodies_are_refused_in_upstreams_words() {
        let check = |body: &str, message: &str| {
            let error = run(body, Media::Json, FieldValidation::Strict).expect_err(body);
            assert_eq!((error.code, error.message.as_str()), (400, message), "{body}");
        };
        let unrecognized = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error:";
        check("", &format!("{unrecognized} unexpected end of JSON input (<empty>)"));
        check(
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"}} x",
            &format!(
                "{unrecognized} invalid character 'x' after top-level value ({{\"apiVersion\":\"v1\",\"kind\":\"Con ...)"
            ),
        );
        check(
            "[]",
            &format!(
                "{unrecognized} json: cannot unmarshal array into Go value of type struct {{ APIVersion string \
                 \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }} (5b5d)"
            ),
        );
        check(
            r#"{"apiVersion": "v1", "items": [], "kind": "ConfigMapList"}"#,
            "ConfigMapList in version \"v1\" cannot be handled as a ConfigMap: converting (v1.ConfigMapList) to \
             (core.ConfigMap): unknown conversion",
        );
        check(
            r#"{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1","a":"2"},"x":1,"y":2}"#,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: duplicate field \
             \"data.a\", unknown field \"x\", unknown field \"y\"",
        );
    }

    #[test]
    fn duplicate_keys_of_yaml_name_their_line() {
        let body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: \"1\", a: \"2\"}\nx: 1\n";
        let error = run(body, Media::Yaml, FieldValidation::Strict).expect_err(body);
        let expected = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal \
                        errors:\n  line 4: key \"a\" already set in map, unknown field \"x\"";
        assert_eq!(error.message, expected);
    }

    #[test]
    fn media_types() {
        for (name, media) in [
            (None, Some(Media::Json)),
            (Some("application/json; charset=utf-8"), Some(Media::Json)),
            (Some("application/yaml"), Some(Media::Yaml)),
            (Some("application/vnd.kubernetes.protobuf"), Some(Media::Protobuf)),
            (Some("text/plain"), None),
            (Some(";;;"), None),
        ] {
            assert_eq!(Media::parse(name).ok(), media, "{name:?}");
        }
    }
}
