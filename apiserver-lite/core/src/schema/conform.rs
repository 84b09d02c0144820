//! What upstream's Go structs would make of a document: one walk over a value and its type.
//!
//! - Unknown and duplicate fields are found, and do not survive.
//! - A value of the wrong type ends the walk, in the words of Go's decoder.
//! - Zero values appear where Go prints them (`metadata: {}`, `containers: null`) and go where it does not (`args: []`). Objects
//!   pass through protobuf on their way into upstream's store, which makes no difference between an empty list and none; so a
//!   list that must appear is `null` when empty.
//! - Quantities, times and bytes are written canonically.

use super::json::Node;
use super::{Field, Shape, Ty, Type, times, types};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kedge_api::quantity;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Upstream stops counting here, too.
const PROBLEMS_MAX: usize = 100;

/// A document that fits its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Conformed {
    pub value: Value,
    /// `unknown field "spec.foo"`, `duplicate field "metadata.name"`, in the order of the document.
    pub problems: Vec<String>,
}

/// A value has the wrong type. The text is what Go's decoder says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(pub String);

/// Fits a document to a type.
pub fn conform(node: Node, ty: &'static Type) -> Result<Conformed, TypeError> {
    Walk::default().run(node, ty)
}

/// The same for a document that upstream converts without writing it down as JSON (strategic merge patch), which only differs
/// in what it says about wrong types.
pub fn conform_unstructured(node: Node, ty: &'static Type) -> Result<Conformed, TypeError> {
    Walk { unstructured: true, ..Walk::default() }.run(node, ty)
}

/// Brings an object that our own code changed into the form that upstream prints: zero values and canonical leaves.
pub fn normalize(value: Value, ty: &'static Type) -> Result<Value, TypeError> {
    conform(Node::from(value), ty).map(|c| c.value)
}

#[derive(Default)]
struct Walk {
    unstructured: bool,
    problems: Vec<String>,
    /// Where the walk stands: `spec.containers[0]`.
    path: String,
    /// The same in Go's errors, which know no indices and no map keys.
    go_path: Vec<&'static str>,
}

/// The struct and field that a value is for.
#[derive(Clone, Copy)]
struct Place {
    owner: &'static Type,
    field: &'static Field,
    /// Inside the list or map of the field.
    inner: bool,
}

impl Walk {
    fn run(mut self, node: Node, ty: &'static Type) -> Result<Conformed, TypeError> {
        let value = match node {
            Node::Null => self.object(ty, Vec::new())?,
            Node::Object(entries) => self.object(ty, entries)?,
            other => return Err(go_value_error(&other, &ty.go_name())),
        };
        Ok(Conformed { value, problems: self.problems })
    }

    fn object(&mut self, ty: &'static Type, entries: Vec<(String, Node)>) -> Result<Value, TypeError> {
        let mut map = Map::new();
        let mut seen: BTreeSet<&'static str> = BTreeSet::new();
        for (key, node) in entries {
            let length = self.push_key(&key);
            match ty.field(&key) {
                None => self.problem("unknown"),
                Some(field) => {
                    if !seen.insert(field.name) {
                        self.problem("duplicate");
                    }
                    self.go_path.push(field.name);
                    match self.field(ty, field, node)? {
                        Some(value) => map.insert(key, value),
                        None => map.remove(&key),
                    };
                    self.go_path.pop();
                }
            }
            self.path.truncate(length);
        }
        for field in ty.fields.iter().filter(|f| !seen.contains(f.name)) {
            if let Some(zero) = zero_of(field) {
                map.insert(field.name.to_owned(), zero);
            }
        }
        Ok(Value::Object(map))
    }

    /// None: Go would not print the field.
    fn field(
        &mut self,
        owner: &'static Type,
        field: &'static Field,
        node: Node,
    ) -> Result<Option<Value>, TypeError> {
        if node == Node::Null {
            return Ok(zero_of(field));
        }
        let value = self.value(field.ty, node, Place { owner, field, inner: false })?;
        Ok(if field.presence.pointer || !is_zero(field.ty, &value) { Some(value) } else { zero_of(field) })
    }

    fn value(&mut self, ty: Ty, node: Node, place: Place) -> Result<Value, TypeError> {
        match (ty, node) {
            (_, Node::Null) => Ok(zero_value(ty)),
            (Ty::String, Node::String(text)) => Ok(Value::String(text)),
            (Ty::Bool, Node::Bool(value)) => Ok(Value::Bool(value)),
            (Ty::Int32, Node::Number(digits)) => match digits.parse::<i32>() {
                Ok(number) => Ok(number.into()),
                Err(_) => Err(self.misfit(&format!("number {digits}"), place)),
            },
            (Ty::Int64, Node::Number(digits)) => match digits.parse::<i64>() {
                Ok(number) => Ok(number.into()),
                Err(_) => Err(self.misfit(&format!("number {digits}"), place)),
            },
            (Ty::Float64, Node::Number(digits)) => match digits.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number.into()),
                _ => Err(self.misfit(&format!("number {digits}"), place)),
            },
            (Ty::Bytes, Node::String(text)) => bytes(&text),
            (Ty::List(item), Node::Array(nodes)) => self.list(*item, nodes, place),
            (Ty::Map(value), Node::Object(entries)) => self.map(*value, entries, place),
            (Ty::Ref(id, _), node) => self.named(types().get(id), node, place),
            (_, node) => Err(self.misfit(node.kind(), place)),
        }
    }

    fn list(&mut self, item: Ty, nodes: Vec<Node>, place: Place) -> Result<Value, TypeError> {
        let length = self.path.len();
        let mut items = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.into_iter().enumerate() {
            self.path.push_str(&format!("[{index}]"));
            items.push(self.value(item, node, Place { inner: true, ..place })?);
            self.path.truncate(length);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, ty: Ty, entries: Vec<(String, Node)>, place: Place) -> Result<Value, TypeError> {
        let mut map = Map::new();
        for (key, node) in entries {
            let length = self.push_key(&key);
            if map.contains_key(&key) {
                self.problem("duplicate");
            }
            let value = self.value(ty, node, Place { inner: true, ..place })?;
            map.insert(key, value);
            self.path.truncate(length);
        }
        Ok(Value::Object(map))
    }

    fn named(&mut self, ty: &'static Type, node: Node, place: Place) -> Result<Value, TypeError> {
        match (ty.shape, node) {
            (Shape::Object, Node::Object(entries)) => self.object(ty, entries),
            (Shape::Object, node) => Err(self.misfit(node.kind(), place)),
            (Shape::Quantity, Node::String(text) | Node::Number(text)) => canonical_quantity(text.trim()),
            (Shape::Quantity, _) => canonical_quantity(""),
            (Shape::Time, node) => time(node, times::seconds),
            (Shape::MicroTime, node) => time(node, times::micros),
            (Shape::IntOrString, Node::String(text)) => Ok(Value::String(text)),
            (Shape::IntOrString, Node::Number(digits)) => match digits.parse::<i32>() {
                Ok(number) => Ok(number.into()),
                Err(_) => Err(TypeError(format!(
                    "json: cannot unmarshal number {digits} into Go value of type int32"
                ))),
            },
            (Shape::IntOrString, node) => Err(go_value_error(&node, "int32")),
            (Shape::Fields | Shape::Any | Shape::Raw | Shape::Json, node) => Ok(node.into_value()),
            (Shape::SchemaOrArray, Node::Array(nodes)) => self.schemas(nodes, place),
            (Shape::SchemaOrBool, Node::Bool(allowed)) => Ok(Value::Bool(allowed)),
            (Shape::SchemaOrStrings, Node::Array(nodes)) => self.list(Ty::String, nodes, place),
            (Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings, Node::Object(entries)) => {
                self.object(json_schema_props(), entries)
            }
            (Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings, node) => {
                Err(go_value_error(&node, "v1.JSONSchemaProps"))
            }
        }
    }

    fn schemas(&mut self, nodes: Vec<Node>, place: Place) -> Result<Value, TypeError> {
        let items = nodes.into_iter().map(|node| self.named(json_schema_props(), node, place));
        items.collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    fn push_key(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }

    fn problem(&mut self, what: &str) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(format!("{what} field \"{}\"", self.path));
        }
    }

    /// `json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool`.
    fn misfit(&self, found: &str, place: Place) -> TypeError {
        if self.unstructured {
            return unstructured_misfit(found, place);
        }
        let (owner, path) = (place.owner.name, self.go_path.join("."));
        let wanted = if place.inner { place.field.go_item() } else { place.field.go_type() };
        TypeError(format!(
            "json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}"
        ))
    }
}

/// The words of upstream's converter of unstructured content, which names Go's kinds and no field.
fn unstructured_misfit(found: &str, place: Place) -> TypeError {
    let found = match found {
        "array" => "slice",
        "object" => "map",
        "number" => "int64",
        number if number.starts_with("number ") => "float64",
        other => other,
    };
    let mut wanted = place.field.ty;
    if let (true, Ty::List(item) | Ty::Map(item)) = (place.inner, wanted) {
        wanted = *item;
    }
    TypeError(match wanted {
        Ty::Ref(..) => format!("cannot restore struct from: {found}"),
        Ty::List(_) | Ty::Bytes => format!("cannot restore slice from {found}"),
        Ty::Map(_) => format!("cannot restore map from {found}"),
        Ty::String | Ty::Bool | Ty::Int32 | Ty::Int64 | Ty::Float64 => {
            let wanted = if place.inner { place.field.go_item() } else { place.field.go_type() };
            format!("cannot convert {found} to {wanted}")
        }
    })
}

fn go_value_error(found: &Node, wanted: &str) -> TypeError {
    TypeError(format!("json: cannot unmarshal {} into Go value of type {wanted}", found.kind()))
}

fn json_schema_props() -> &'static Type {
    types()
        .named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
        .expect("the type table has the schema of custom resources")
}

fn canonical_quantity(text: &str) -> Result<Value, TypeError> {
    quantity::canonicalize(text).map(Value::String).map_err(|e| TypeError(e.to_string()))
}

fn time(node: Node, parse: fn(&str) -> Result<String, String>) -> Result<Value, TypeError> {
    match node {
        Node::String(text) => parse(&text).map(Value::String).map_err(TypeError),
        node => Err(go_value_error(&node, "string")),
    }
}

fn bytes(text: &str) -> Result<Value, TypeError> {
    let packed: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match STANDARD.decode(&packed) {
        Ok(bytes) => Ok(Value::String(STANDARD.encode(bytes))),
        Err(error) => {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                    packed.len() / 4 * 4
                }
            };
            Err(TypeError(format!("illegal base64 data at input byte {at}")))
        }
    }
}

/// What Go prints for a field that is not set; None: nothing.
fn zero_of(field: &Field) -> Option<Value> {
    let presence = field.presence;
    if presence.pointer {
        return if presence.omitempty { None } else { Some(Value::Null) };
    }
    match field.ty {
        Ty::Ref(id, _) => match types().get(id).shape {
            // Go prints a zero `intstr.IntOrString` even with omitempty, but every such field has a default.
            Shape::IntOrString if presence.omitempty => None,
            _ if presence.omitzero => None,
            _ => Some(zero_value(field.ty)),
        },
        _ if presence.omitempty || presence.omitzero => None,
        Ty::List(_) | Ty::Map(_) | Ty::Bytes => Some(Value::Null),
        ty => Some(zero_value(ty)),
    }
}

fn zero_value(ty: Ty) -> Value {
    match ty {
        Ty::String => Value::String(String::new()),
        Ty::Bool => Value::Bool(false),
        Ty::Int32 | Ty::Int64 => Value::from(0),
        Ty::Float64 => Value::from(0.0),
        Ty::Bytes | Ty::List(_) | Ty::Map(_) => Value::Null,
        Ty::Ref(id, _) => {
            let ty = types().get(id);
            match ty.shape {
                Shape::Object => {
                    let zeros = ty.fields.iter().filter_map(|f| Some((f.name.to_owned(), zero_of(f)?)));
                    Value::Object(zeros.collect())
                }
                Shape::Quantity => Value::from("0"),
                Shape::IntOrString => Value::from(0),
                _ => Value::Null,
            }
        }
    }
}

fn is_zero(ty: Ty, value: &Value) -> bool {
    match (ty, value) {
        (Ty::Ref(..), _) => false,
        (_, Value::Null) => true,
        (_, Value::Bool(b)) => !b,
        (_, Value::Number(n)) => n.as_f64() == Some(0.0),
        (_, Value::String(s)) => s.is_empty(),
        (_, Value::Array(items)) => items.is_empty(),
        (_, Value::Object(map)) => map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;
    use serde_json::json;

    fn pod() -> &'static Type {
        types().of("", "v1", "Pod").expect("Pod")
    }

    fn run(text: &str, ty: &'static Type) -> Result<Conformed, TypeError> {
        conform(json::parse(text.as_bytes()).expect(text), ty)
    }

    #[test]
    fn zero_values_are_those_that_go_prints() {
        let check = |kind: &str, text: &str, expected: Value| {
            let ty = types().of(if kind == "Deployment" { "apps" } else { "" }, "v1", kind).expect(kind);
            assert_eq!(run(text, ty).expect(text).value, expected, "{text}");
        };
        check("ConfigMap", "{}", json!({"metadata": {}}));
        check("ConfigMap", r#"{"data":{},"metadata":{"labels":null,"name":""}}"#, json!({"metadata": {}}));
        check("ConfigMap", r#"{"data":{"a":null}}"#, json!({"metadata": {}, "data": {"a": ""}}));
        check("Secret", r#"{"data":{"a":"YQ=="}}"#, json!({"metadata": {}, "data": {"a": "YQ=="}}));
        check("Pod", "{}", json!({"metadata": {}, "spec": {"containers": null}, "status": {}}));
        check(
            "Pod",
            r#"{"spec":{"hostNetwork":false,"containers":[{"args":[]}],"terminationGracePeriodSeconds":0}}"#,
            json!({"metadata": {}, "status": {},
                   "spec": {"containers": [{"name": "", "resources": {}}], "terminationGracePeriodSeconds": 0}}),
        );
        check(
            "Deployment",
            "{}",
            json!({"metadata": {}, "status": {}, "spec": {"selector": null, "strategy": {},
                   "template": {"metadata": {}, "spec": {"containers": null}}}}),
        );
        check(
            "Event",
            "{}",
            json!({"metadata": {}, "involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null,
                   "eventTime": null, "reportingComponent": "", "reportingInstance": ""}),
        );
    }

    #[test]
    fn leaves_are_canonical() {
        let check = |text: &str, pointer: &str, expected: Value| {
            assert_eq!(run(text, pod()).expect(text).value.pointer(pointer), Some(&expected), "{text}");
        };
        let limits = |amount: &str| {
            format!(r#"{{"spec":{{"containers":[{{"resources":{{"limits":{{"cpu":{amount}}}}}}}]}}}}"#)
        };
        check(&limits("\"1000m\""), "/spec/containers/0/resources/limits/cpu", json!("1"));
        check(&limits("0.5"), "/spec/containers/0/resources/limits/cpu", json!("500m"));
        check(
            r#"{"metadata":{"creationTimestamp":"2020-01-01T01:00:00+01:00"}}"#,
            "/metadata/creationTimestamp",
            json!("2020-01-01T00:00:00Z"),
        );
    }

    #[test]
    fn problems_come_in_the_order_of_the_document() {
        let text = r#"{"metadata":{"name":"p","zz":1},"nope":{"a":1},"spec":{"containers":[{"name":"c","image":"i",
            "imagE":"x","foo":1,"image":"j"}],"bar":[],"nodeName":"","nodeName":""}}"#;
        let found = run(text, pod()).expect(text);
        let expected = [
            "unknown field \"metadata.zz\"",
            "unknown field \"nope\"",
            "unknown field \"spec.containers[0].imagE\"",
            "unknown field \"spec.containers[0].foo\"",
            "duplicate field \"spec.containers[0].image\"",
            "unknown field \"spec.bar\"",
            "duplicate field \"spec.nodeName\"",
        ];
        assert_eq!(found.problems, expected);
        assert_eq!(found.value["spec"]["containers"][0]["image"], "j");
    }

    #[test]
    fn wrong_types_are_refused_in_gos_words() {
        let check = |text: &str, error: &str| {
            assert_eq!(run(text, pod()), Err(TypeError(error.to_owned())), "{text}")
        };
        check(
            r#"{"spec":{"containers":[{"command":"sh"}]}}"#,
            "json: cannot unmarshal string into Go struct field Container.spec.containers.command of type []string",
        );
        check(
            r#"{"metadata":{"labels":{"a":1}}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        );
        check(
            r#"{"metadata":{"labels":["a"]}}"#,
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        );
        check(
            r#"{"metadata":{"generation":99999999999999999999}}"#,
            "json: cannot unmarshal number 99999999999999999999 into Go struct field ObjectMeta.metadata.generation of type int64",
        );
        check(
            r#"{"spec":"x"}"#,
            "json: cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec",
        );
        check(
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"a"}}}]}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
    }

    #[test]
    fn schemas_of_custom_resources_keep_their_alternatives() {
        let ty = json_schema_props();
        let text =
            r#"{"items":[{"type":"string"}],"additionalProperties":false,"default":{"a":[]},"enum":["a",1]}"#;
        let expected = json!({"items": [{"type": "string"}], "additionalProperties": false, "default": {"a": []}, "enum": ["a", 1]});
        assert_eq!(run(text, ty).expect(text).value, expected);
    }
}
