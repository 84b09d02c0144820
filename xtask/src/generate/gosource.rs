//! Reads the facts that no OpenAPI document tells from Go sources of API types: protobuf field numbers, pointers, `omitempty`.
//!
//! This is no Go parser. API types follow one layout: a field a line, tags in back quotes. What does not fit is left out, and
//! the generator ends with the name of a property that it then misses.

use super::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// One field of a Go struct, as its declaration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoField {
    /// Empty for an inlined struct.
    pub json: String,
    /// `*metav1.Time`, `[]Container`.
    pub ty: String,
    /// 0: none (`metav1.TypeMeta`).
    pub tag: u32,
    pub omitempty: bool,
    pub omitzero: bool,
}

/// The structs of one package by name, fields in their order.
#[derive(Debug, Default)]
pub struct GoPackage {
    /// The last word of its path: `v1`.
    pub name: String,
    pub structs: BTreeMap<String, Vec<GoField>>,
}

/// Reads every source of a folder but tests and generated code.
pub fn read(folder: &Path) -> Result<GoPackage> {
    let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut package = GoPackage { name, ..GoPackage::default() };
    let fail = |e| Error(format!("read {}: {e}", folder.display()));
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let generated = file.starts_with("zz_") || file.starts_with("generated");
        if file.ends_with(".go") && !file.ends_with("_test.go") && !generated {
            let source = std::fs::read_to_string(&path).map_err(fail)?;
            parse(&source, &mut package.structs);
        }
    }
    Ok(package)
}

fn parse(source: &str, structs: &mut BTreeMap<String, Vec<GoField>>) {
    let mut current: Option<(String, Vec<GoField>)> = None;
    let mut in_comment = false;
    for line in source.lines() {
        let line = line.trim();
        in_comment |= line.starts_with("/*");
        if in_comment {
            in_comment = !line.ends_with("*/");
            continue;
        }
        match &mut current {
            None => {
                if let Some(name) = line.strip_prefix("type ").and_then(|l| l.strip_suffix(" struct {")) {
                    current = Some((name.to_owned(), Vec::new()));
                }
            }
            Some((name, fields)) if line == "}" => {
                structs.insert(std::mem::take(name), std::mem::take(fields));
                current = None;
            }
            Some((_, fields)) => fields.extend(field(line)),
        }
    }
}

/// A field's line; None for comments, blank lines and fields that have no JSON.
fn field(line: &str) -> Option<GoField> {
    let (declaration, tags) = if line.starts_with("//") { None } else { line.split_once('`') }?;
    let tags = tags.split('`').next().unwrap_or_default();
    let mut words = tag(tags, "json")?.split(',');
    let name = words.next().filter(|name| *name != "-")?;
    let options: Vec<&str> = words.collect();
    Some(GoField {
        json: name.to_owned(),
        ty: declaration.split_whitespace().last()?.to_owned(),
        tag: tag(tags, "protobuf").and_then(|p| p.split(',').nth(1)?.parse().ok()).unwrap_or(0),
        omitempty: options.contains(&"omitempty"),
        omitzero: options.contains(&"omitzero"),
    })
}

/// The value of one key in `json:"a" protobuf:"b"`.
fn tag<'a>(tags: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = tags.split_once(&format!("{key}:\""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let check = |line: &str, expected: Option<(&str, &str, u32, bool)>| {
            let found = field(line);
            let found = found.as_ref().map(|f| (f.json.as_str(), f.ty.as_str(), f.tag, f.omitempty));
            assert_eq!(found, expected, "{line}");
        };
        check("// Name of it", None);
        check("", None);
        check(
            "Name string `json:\"name\" protobuf:\"bytes,1,opt,name=name\"`",
            Some(("name", "string", 1, false)),
        );
        check(
            "VolumeSource `json:\",inline\" protobuf:\"bytes,2,opt,name=volumeSource\"`",
            Some(("", "VolumeSource", 2, false)),
        );
        check("Hidden int `json:\"-\"`", None);
        check(
            "P *int32 `json:\"p,omitempty\" protobuf:\"varint,3,opt,name=p\"`",
            Some(("p", "*int32", 3, true)),
        );
        check("Bare string", None);
    }
}
