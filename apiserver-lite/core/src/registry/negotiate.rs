//! Content negotiation: which representation an Accept header gets.

use crate::status::ApiError;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Json,
    Yaml,
    Protobuf,
}

/// What the object is turned into before it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transform {
    #[default]
    None,
    /// With the version of meta.k8s.io that was asked for.
    Table(&'static str),
    Partial(&'static str),
    PartialList(&'static str),
    /// `apidiscovery.k8s.io/v2`.
    Discovery,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Representation {
    pub format: Format,
    pub transform: Transform,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
            Format::Protobuf => PROTOBUF,
        }
    }
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

const ACCEPTED: &str = "only the following media types are accepted: application/json, application/yaml, \
    application/vnd.kubernetes.protobuf";

/// Who answers: what may be asked of it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// An object or a list.
    Objects,
    Discovery,
    /// A Status or a review: no transforms.
    Plain,
}

/// One `type/subtype;parameters` of the header.
struct Clause<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

/// Chooses the first acceptable clause, the better ones by `q` first.
pub fn negotiate(accept: Option<&str>, endpoint: Endpoint) -> Result<Representation, ApiError> {
    let accept = accept.filter(|accept| !accept.trim().is_empty()).unwrap_or("*/*");
    let mut clauses: Vec<Clause<'_>> = accept.split(',').map(clause).collect();
    if endpoint == Endpoint::Discovery {
        // Upstream prefers the aggregated form wherever it stands in the header.
        let aggregated = |clause: &Clause<'_>| {
            format(clause.media) == Some(Format::Json)
                && transform(clause, endpoint) == Some(Transform::Discovery)
        };
        let found = clauses.iter().any(aggregated);
        if found {
            return Ok(Representation { format: Format::Json, transform: Transform::Discovery });
        }
    }
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    let chosen = clauses.iter().find_map(|clause| {
        let format = format(clause.media)?;
        let transform = transform(clause, endpoint)?;
        // Tables have no form in protobuf.
        let exists = format != Format::Protobuf || !matches!(transform, Transform::Table(_));
        exists.then_some(Representation { format, transform })
    });
    chosen.ok_or_else(|| ApiError::new(406, "NotAcceptable", ACCEPTED))
}

fn clause(text: &str) -> Clause<'_> {
    let mut words = text.split(';').map(str::trim);
    let media = words.next().unwrap_or_default();
    let parameters: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
    let quality = parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, q)| q.parse().ok());
    Clause { media, parameters, quality: quality.unwrap_or(1.0) }
}

fn format(media: &str) -> Option<Format> {
    match media {
        "application/json" | "application/*" | "*/*" => Some(Format::Json),
        "application/yaml" => Some(Format::Yaml),
        PROTOBUF => Some(Format::Protobuf),
        _ => None,
    }
}

/// None: the clause asks for something that is not there.
fn transform(clause: &Clause<'_>, endpoint: Endpoint) -> Option<Transform> {
    let get = |name: &str| clause.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let version = match get("v") {
        Some("v1") => Some("v1"),
        Some("v1beta1") => Some("v1beta1"),
        _ => None,
    };
    match (get("as"), get("g"), endpoint) {
        (None, _, _) => Some(Transform::None),
        (Some("Table"), Some("meta.k8s.io"), Endpoint::Objects) => version.map(Transform::Table),
        (Some("PartialObjectMetadata"), Some("meta.k8s.io"), Endpoint::Objects) => {
            version.map(Transform::Partial)
        }
        (Some("PartialObjectMetadataList"), Some("meta.k8s.io"), Endpoint::Objects) => {
            version.map(Transform::PartialList)
        }
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Endpoint::Discovery) => {
            (get("v") == Some("v2")).then_some(Transform::Discovery)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, endpoint: Endpoint, expected: &str) {
        let seen = match negotiate(Some(accept), endpoint) {
            Ok(r) => format!("{:?} {:?}", r.format, r.transform),
            Err(e) => e.code.to_string(),
        };
        assert_eq!(seen, expected, "{accept}");
    }

    #[test]
    fn headers() {
        use Endpoint::{Discovery, Objects};
        check("", Objects, "Json None");
        check("application/vnd.kubernetes.protobuf, */*", Objects, "Protobuf None");
        check("application/vnd.kubernetes.protobuf;stream=watch", Objects, "Protobuf None");
        check("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", Objects, "406");
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            Objects,
            "Protobuf PartialList(\"v1\")",
        );
        check("text/html,application/json", Objects, "Json None");
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Objects, "Json Table(\"v1\")");
        check("application/json;as=Nope;v=v1;g=meta.k8s.io", Objects, "406");
        check("application/json;as=Nope;v=v1;g=meta.k8s.io,application/json", Objects, "Json None");
        check("application/yaml", Objects, "Yaml None");
        check(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Discovery,
            "Json Discovery",
        );
        check("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", Discovery, "406");
        check(
            "application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList,application/json",
            Discovery,
            "Json None",
        );
    }
}
