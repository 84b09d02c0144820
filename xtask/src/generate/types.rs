//! The type table out of recorded OpenAPI v3 documents and the Go sources of the API types.
//!
//! The format is described where it is read: `apiserver-lite/core/src/schema/table.rs`.

use super::gosource::{GoField, GoPackage};
use super::{Error, Result, gosource};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEAD: &str =
    "#\tThe types of the built-in API of Kubernetes 1.36. Generated: cargo xtask generate-kinds\n";
const VERSION: &str = "v0.36.2";
const REF: &str = "#/components/schemas/";

/// Types that are no structs, with the name of their shape.
const SHAPES: &[(&str, &str)] = &[
    ("io.k8s.apimachinery.pkg.api.resource.Quantity", "quantity"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", "fields"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", "microtime"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Patch", "any"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", "time"),
    ("io.k8s.apimachinery.pkg.runtime.RawExtension", "raw"),
    ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", "intorstring"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON", "json"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray", "schema-or-array"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool", "schema-or-bool"),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
        "schema-or-strings",
    ),
];

/// Every schema of every recorded document, by full name.
type Schemas = BTreeMap<String, Map<String, Value>>;

pub fn generate(openapi: &Value, modules: &Path) -> Result<String> {
    let schemas = schemas(openapi);
    let mut out = HEAD.to_owned();
    let mut sources = Sources { modules: modules.to_owned(), packages: BTreeMap::new() };
    let mut package = "";
    for (name, schema) in &schemas {
        let (path, short) = split(name);
        if path != package {
            let _ = writeln!(out, "%package\t{}\t{path}", alias(path));
            package = path;
        }
        type_lines(&mut out, path, short, schema, &mut sources).map_err(|e| Error(format!("{name}: {e}")))?;
    }
    Ok(out)
}

fn schemas(openapi: &Value) -> Schemas {
    let mut all = Schemas::new();
    for case in openapi.as_object().into_iter().flat_map(|cases| cases.values()) {
        for (name, schema) in case[0]["response"]["body"]["schemas"].as_object().into_iter().flatten() {
            let Some(schema) = schema.as_object() else {
                continue;
            };
            let merged = all.entry(name.clone()).or_default();
            let gvks = merge_gvks(merged, schema);
            merged.extend(schema.iter().map(|(k, v)| (k.clone(), v.clone())));
            if !gvks.is_empty() {
                merged.insert(GVK.to_owned(), Value::Array(gvks));
            }
        }
    }
    all
}

const GVK: &str = "x-kubernetes-group-version-kind";

/// DeleteOptions and WatchEvent name one group and version in each document: they belong to all.
fn merge_gvks(one: &Map<String, Value>, other: &Map<String, Value>) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for gvk in [one, other].iter().filter_map(|s| s.get(GVK)?.as_array()).flatten() {
        if !found.contains(gvk) {
            found.push(gvk.clone());
        }
    }
    found
}

/// The Go packages, read when first asked for.
struct Sources {
    modules: PathBuf,
    packages: BTreeMap<String, GoPackage>,
}

impl Sources {
    /// None for packages without protobuf (`io.k8s.apimachinery.pkg.version`).
    fn package(&mut self, path: &str) -> Result<Option<&GoPackage>> {
        let Some(rest) = path.strip_prefix("io.k8s.") else {
            return Ok(None);
        };
        let Some((module, rest)) = rest.split_once('.') else {
            return Ok(None);
        };
        if !["api", "apimachinery", "apiextensions-apiserver", "kube-aggregator"].contains(&module)
            || rest == "pkg.version"
        {
            return Ok(None);
        }
        if !self.packages.contains_key(path) {
            let folder = self.modules.join(format!("k8s.io/{module}@{VERSION}/{}", rest.replace('.', "/")));
            self.packages.insert(path.to_owned(), gosource::read(&folder)?);
        }
        Ok(self.packages.get(path))
    }
}

fn type_lines(
    out: &mut String,
    path: &str,
    short: &str,
    schema: &Map<String, Value>,
    sources: &mut Sources,
) -> Result<()> {
    let full = format!("{path}.{short}");
    let shape = SHAPES.iter().find(|(name, _)| *name == full).map_or("object", |(_, shape)| shape);
    let atomic = if schema.get("x-kubernetes-map-type").is_some() { "\tatomic" } else { "" };
    let _ = writeln!(out, "%type\t{short}\t{shape}{atomic}");
    for gvk in schema.get(GVK).and_then(Value::as_array).into_iter().flatten() {
        let word = |key: &str| gvk[key].as_str().unwrap_or_default();
        let _ = writeln!(out, "%gvk\t{}/{}\t{}", word("group"), word("version"), word("kind"));
    }
    if let Some(unions) = schema.get("x-kubernetes-unions") {
        let _ = writeln!(out, "%unions\t{unions}");
    }
    if let Some(required) = schema.get("required").and_then(Value::as_array) {
        let names: Vec<&str> = required.iter().filter_map(Value::as_str).collect();
        let _ = writeln!(out, "%required\t{}", names.join("\t"));
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    let package = sources.package(path)?;
    let go = match package {
        Some(package) => flat_fields(package, short, &[])?,
        None => BTreeMap::new(),
    };
    let package_name = package.map_or("", |p| p.name.as_str());
    for (name, property) in properties {
        let facts = go.get(name);
        if facts.is_none() && package.is_some() {
            return Err(Error(format!("the Go struct has no field {name}")));
        }
        field_line(out, path, package_name, name, property, facts)?;
    }
    Ok(())
}

/// A field with the numbers of the inlined structs around it, outermost first.
struct FlatField<'a> {
    outer: Vec<u32>,
    field: &'a GoField,
}

/// The fields by JSON name, those of inlined structs among them.
fn flat_fields<'a>(
    package: &'a GoPackage,
    name: &str,
    outer: &[u32],
) -> Result<BTreeMap<String, FlatField<'a>>> {
    let fields = package.structs.get(name).ok_or_else(|| Error(format!("no Go struct {name}")))?;
    let mut flat = BTreeMap::new();
    for field in fields {
        if !field.json.is_empty() {
            flat.insert(field.json.clone(), FlatField { outer: outer.to_vec(), field });
        } else if field.ty.ends_with("TypeMeta") {
            flat.extend(type_meta());
        } else {
            flat.extend(flat_fields(package, &field.ty, &[outer, &[field.tag]].concat())?);
        }
    }
    Ok(flat)
}

/// `metav1.TypeMeta` travels in the protobuf envelope, so its fields have no numbers.
fn type_meta() -> BTreeMap<String, FlatField<'static>> {
    static NAMES: std::sync::LazyLock<Vec<GoField>> = std::sync::LazyLock::new(|| {
        let field = |json: &str| GoField {
            json: json.to_owned(),
            ty: "string".to_owned(),
            tag: 0,
            omitempty: true,
            omitzero: false,
        };
        vec![field("apiVersion"), field("kind")]
    });
    NAMES.iter().map(|f| (f.json.clone(), FlatField { outer: Vec::new(), field: f })).collect()
}

fn field_line(
    out: &mut String,
    path: &str,
    package: &str,
    name: &str,
    property: &Value,
    go: Option<&FlatField<'_>>,
) -> Result<()> {
    let (ty, mut facts) = type_word(path, property, true)?;
    let (tag, presence) = match go {
        None => ("0".to_owned(), "-".to_owned()),
        Some(FlatField { outer, field }) => {
            let tag = outer.iter().chain([&field.tag]).map(u32::to_string).collect::<Vec<_>>().join(".");
            (tag, presence(field))
        }
    };
    if let Some(default) =
        property.get("default").filter(|d| !(is_ref(property) && **d == Value::Object(Map::new())))
    {
        facts.push(format!("default={default}"));
    }
    for (key, fact) in FACTS {
        match property.get(*key) {
            Some(Value::String(value)) => facts.push(format!("{fact}={value}")),
            Some(Value::Array(values)) => {
                let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                facts.push(format!("{fact}={}", values.join(",")));
            }
            _ => {}
        }
    }
    if let Some(go_type) =
        go.map(|g| go_type(&g.field.ty, package)).filter(|g| *g != derived_go_type(&ty, package))
    {
        facts.push(format!("go={go_type}"));
    }
    let _ =
        writeln!(out, "{}", [&[name.to_owned(), ty, tag, presence], facts.as_slice()].concat().join("\t"));
    Ok(())
}

/// OpenAPI's words and ours.
const FACTS: &[(&str, &str)] = &[
    ("x-kubernetes-list-type", "list"),
    ("x-kubernetes-list-map-keys", "keys"),
    ("x-kubernetes-map-type", "map"),
    ("x-kubernetes-patch-strategy", "patch"),
    ("x-kubernetes-patch-merge-key", "merge"),
];

fn is_ref(property: &Value) -> bool {
    property.get("allOf").is_some() || property.get("$ref").is_some()
}

/// `p` a pointer, `o` omitempty, `z` omitzero.
fn presence(field: &GoField) -> String {
    let mut word = String::new();
    for (set, letter) in [(field.ty.starts_with('*'), 'p'), (field.omitempty, 'o'), (field.omitzero, 'z')] {
        if set {
            word.push(letter);
        }
    }
    if word.is_empty() { "-".to_owned() } else { word }
}

/// The type of a property in the table's words, and the facts about its leaf. Items of lists and values of maps always have
/// the zero default, which the reader knows.
fn type_word(path: &str, schema: &Value, top: bool) -> Result<(String, Vec<String>)> {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return Ok((format!("!{}", ref_word(path, target)), Vec::new()));
    }
    if let Some(target) = schema["allOf"][0].get("$ref").and_then(Value::as_str) {
        let mark = if schema.get("default").is_some() || !top { '@' } else { '?' };
        return Ok((format!("{mark}{}", ref_word(path, target)), Vec::new()));
    }
    let leaf = |word: &str| {
        let facts = schema.get("enum").and_then(Value::as_array).map(|values| {
            let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            format!("enum={}", values.join(","))
        });
        (word.to_owned(), facts.into_iter().collect())
    };
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    match (schema["type"].as_str().unwrap_or_default(), format) {
        ("string", "byte") => Ok(leaf("bytes")),
        ("string", "") => Ok(leaf("string")),
        ("boolean", "") => Ok(leaf("bool")),
        ("integer", "int32") => Ok(leaf("int32")),
        ("integer", "int64") => Ok(leaf("int64")),
        ("number", "double") => Ok(leaf("float64")),
        ("array", "") => {
            type_word(path, &schema["items"], false).map(|(word, facts)| (format!("[]{word}"), facts))
        }
        ("object", "") => type_word(path, &schema["additionalProperties"], false)
            .map(|(word, facts)| (format!("{{}}{word}"), facts)),
        other => Err(Error(format!("unknown type {other:?}"))),
    }
}

fn ref_word(path: &str, target: &str) -> String {
    let (target_path, short) = split(target.strip_prefix(REF).unwrap_or(target));
    if target_path == path { short.to_owned() } else { format!("{}.{short}", alias(target_path)) }
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// `io.k8s.api.core.v1` → `core/v1`.
fn alias(path: &str) -> String {
    let mut words = path.rsplit('.');
    let last = words.next().unwrap_or_default();
    format!("{}/{last}", words.next().unwrap_or_default())
}

/// A type as Go's reflection prints it: `[]v1.Container`. Errors about wrong types show it.
fn go_type(ty: &str, package: &str) -> String {
    let ty = ty.trim_start_matches('*');
    if let Some(item) = ty.strip_prefix("[]") {
        let pointer = if item.starts_with('*') { "*" } else { "" };
        return format!("[]{pointer}{}", go_type(item, package));
    }
    if let Some((key, value)) = ty.strip_prefix("map[").and_then(|m| m.split_once(']')) {
        return format!("map[{}]{}", go_type(key, package), go_type(value, package));
    }
    match ty {
        "byte" => "uint8".to_owned(),
        _ => match ty.split_once('.') {
            Some((import, name)) if import.ends_with("v1") => format!("v1.{name}"),
            Some(_) => ty.to_owned(),
            None if ty.starts_with(char::is_uppercase) => format!("{package}.{ty}"),
            None => ty.to_owned(),
        },
    }
}

/// What the reader derives from the type's word when the table has no `go=`.
fn derived_go_type(word: &str, package: &str) -> String {
    if let Some(item) = word.strip_prefix("[]") {
        return format!("[]{}", derived_go_type(item, package));
    }
    if let Some(value) = word.strip_prefix("{}") {
        return format!("map[string]{}", derived_go_type(value, package));
    }
    match word.strip_prefix(['@', '?', '!']) {
        None if word == "bytes" => "[]uint8".to_owned(),
        None => word.to_owned(),
        Some(target) => match target.rsplit_once('/') {
            Some((_, name)) => name.to_owned(),
            None => format!("{package}.{target}"),
        },
    }
}
