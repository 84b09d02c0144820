//! The text form of the type table, which `cargo xtask generate-kinds` writes.
//!
//! Words are separated by tabs. A `%type` line opens a type of the current package; the lines below belong to it:
//!
//! ```text
//! %package  <alias> <full name>
//! %type     <Name> <shape> [atomic]
//! %gvk      <group>/<version> <Kind>
//! %unions   <JSON of x-kubernetes-unions>
//! %required <field>…
//! <field>   <type> <field numbers, outermost inlined struct first> <presence> [<fact>=<value>]…
//! ```
//!
//! A type is a scalar (`string`, `bool`, `int32`, `int64`, `float64`, `bytes`), a named type of this package or, with an alias
//! before a dot, of another one, or `[]` or `{}` (a map by string) and a type. The mark before a name tells OpenAPI's form:
//! `@` with the default `{}`, `?` without default, `!` a bare `$ref`. Presence: `p` a pointer, `o` omitempty, `z` omitzero.

use super::{Field, Fields, ListType, Presence, RefForm, Shape, Ty, Type, TypeId, Types};
use std::collections::BTreeMap;

/// The table does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("type table, line {line}: {what}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    pub what: &'static str,
}

/// Parses a table. The types live as long as the process, so call it once.
pub fn parse(text: &'static str) -> Result<Types, ParseError> {
    let mut names = Names::default();
    names.collect(text)?;
    let mut building: Vec<Building> = Vec::new();
    let mut package = "";
    for (index, line) in text.lines().enumerate() {
        let fail = |what| ParseError { line: index + 1, what };
        let mut words = line.split('\t');
        match (words.next().unwrap_or_default(), building.last_mut()) {
            ("" | "#", _) => {}
            ("%package", _) => package = words.next().unwrap_or_default(),
            ("%type", _) => building.push(names.open(package, words).ok_or_else(|| fail("malformed type"))?),
            (_, None) => return Err(fail("a fact before the first type")),
            ("%gvk", Some(b)) => b.gvks.push(gvk(words).ok_or_else(|| fail("malformed gvk"))?),
            ("%unions", Some(b)) => b.ty.unions = words.next().unwrap_or_default(),
            ("%required", Some(b)) => b.ty.required = leak(words),
            (name, Some(b)) => {
                b.fields.push(names.field(package, name, words).ok_or_else(|| fail("malformed field"))?)
            }
        }
    }
    Ok(assemble(building, names))
}

fn assemble(building: Vec<Building>, names: Names) -> Types {
    let mut by_gvk = BTreeMap::new();
    let mut types = Vec::with_capacity(building.len());
    for (index, b) in building.into_iter().enumerate() {
        for gvk in &b.gvks {
            by_gvk.insert(*gvk, TypeId(index as u16));
        }
        let fields: &'static [Field] = Vec::leak(b.fields);
        let by_number = by_number(fields);
        types.push(Type { fields: Fields(fields), by_number, gvks: Vec::leak(b.gvks), ..b.ty });
    }
    let by_name = types.iter().enumerate().map(|(i, t)| (t.full_name, TypeId(i as u16))).collect();
    drop(names);
    Types { types, by_name, by_gvk }
}

fn by_number(fields: &'static [Field]) -> &'static [&'static Field] {
    let mut numbered: Vec<&'static Field> = fields.iter().filter(|field| field.numbers != [0]).collect();
    numbered.sort_by_key(|field| field.numbers);
    Vec::leak(numbered)
}

/// A type whose lists are still growing.
struct Building {
    ty: Type,
    fields: Vec<Field>,
    gvks: Vec<(&'static str, &'static str, &'static str)>,
}

type Words = std::str::Split<'static, char>;

/// The numbers of all types, so that a field may name a type below it.
#[derive(Default)]
struct Names {
    /// By package alias and name.
    ids: BTreeMap<(&'static str, &'static str), TypeId>,
    /// Full package names by alias.
    packages: BTreeMap<&'static str, &'static str>,
}

impl Names {
    fn collect(&mut self, text: &'static str) -> Result<(), ParseError> {
        let mut package = "";
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split('\t');
            match (words.next(), words.next(), words.next()) {
                (Some("%package"), Some(alias), Some(full)) => {
                    package = alias;
                    self.packages.insert(alias, full);
                }
                (Some("%type"), Some(name), _) => {
                    let id = TypeId(self.ids.len() as u16);
                    if self.ids.insert((package, name), id).is_some() {
                        return Err(ParseError { line: index + 1, what: "a type twice" });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn open(&self, package: &'static str, mut words: Words) -> Option<Building> {
        let name = words.next()?;
        let shape = shape(words.next()?)?;
        let atomic = words.next() == Some("atomic");
        let full_name = String::leak(format!("{}.{name}", self.packages.get(package)?));
        let go_package = package.rsplit('/').next().unwrap_or_default();
        let ty = Type {
            name,
            full_name,
            go_package,
            shape,
            atomic,
            fields: Fields(&[]),
            by_number: &[],
            required: &[],
            gvks: &[],
            unions: "",
        };
        Some(Building { ty, fields: Vec::new(), gvks: Vec::new() })
    }

    fn field(&self, package: &'static str, name: &'static str, mut words: Words) -> Option<Field> {
        let ty = self.ty(package, words.next()?)?;
        let numbers: Option<Vec<u32>> = words.next()?.split('.').map(|n| n.parse().ok()).collect();
        let presence = words.next()?;
        let mut field = Field {
            name,
            ty,
            numbers: Vec::leak(numbers?),
            presence: Presence {
                pointer: presence.contains('p'),
                omitempty: presence.contains('o'),
                omitzero: presence.contains('z'),
            },
            default: None,
            enums: &[],
            list: ListType::Unset,
            keys: &[],
            map: "",
            patch: &[],
            merge_key: "",
            go: "",
        };
        for (fact, value) in words.map(|word| word.split_once('=')).collect::<Option<Vec<_>>>()? {
            match fact {
                "default" => field.default = Some(value),
                "enum" => field.enums = leak(value.split(',')),
                "list" => field.list = list_type(value)?,
                "keys" => field.keys = leak(value.split(',')),
                "map" => field.map = value,
                "patch" => field.patch = leak(value.split(',')),
                "merge" => field.merge_key = value,
                "go" => field.go = value,
                _ => return None,
            }
        }
        Some(field)
    }

    fn ty(&self, package: &'static str, word: &'static str) -> Option<Ty> {
        if let Some(item) = word.strip_prefix("[]") {
            return Some(Ty::List(Box::leak(Box::new(self.ty(package, item)?))));
        }
        if let Some(value) = word.strip_prefix("{}") {
            return Some(Ty::Map(Box::leak(Box::new(self.ty(package, value)?))));
        }
        let form = match word.as_bytes().first()? {
            b'@' => RefForm::Defaulted,
            b'?' => RefForm::Plain,
            b'!' => RefForm::Bare,
            _ => return scalar(word),
        };
        let (package, name) = match word[1..].rsplit_once('.') {
            Some((alias, name)) => (alias, name),
            None => (package, &word[1..]),
        };
        Some(Ty::Ref(*self.ids.get(&(package, name))?, form))
    }
}

fn scalar(word: &str) -> Option<Ty> {
    Some(match word {
        "string" => Ty::String,
        "bool" => Ty::Bool,
        "int32" => Ty::Int32,
        "int64" => Ty::Int64,
        "float64" => Ty::Float64,
        "bytes" => Ty::Bytes,
        _ => return None,
    })
}

fn shape(word: &str) -> Option<Shape> {
    Some(match word {
        "object" => Shape::Object,
        "quantity" => Shape::Quantity,
        "fields" => Shape::Fields,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "any" => Shape::Any,
        "raw" => Shape::Raw,
        "json" => Shape::Json,
        "intorstring" => Shape::IntOrString,
        "schema-or-array" => Shape::SchemaOrArray,
        "schema-or-bool" => Shape::SchemaOrBool,
        "schema-or-strings" => Shape::SchemaOrStrings,
        _ => return None,
    })
}

fn list_type(word: &str) -> Option<ListType> {
    Some(match word {
        "atomic" => ListType::Atomic,
        "set" => ListType::Set,
        "map" => ListType::Map,
        _ => return None,
    })
}

fn gvk(mut words: Words) -> Option<(&'static str, &'static str, &'static str)> {
    let (group, version) = words.next()?.split_once('/')?;
    Some((group, version, words.next()?))
}

fn leak(words: Words) -> &'static [&'static str] {
    Vec::leak(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_table_names_its_line() {
        for (text, line) in [
            ("a\tstring\t1\t-\n", 1),
            ("%package\tx/v1\tx.v1\n%type\tA\tblob\n", 2),
            ("%package\tx/v1\tx.v1\n%type\tA\tobject\nb\t@Nope\t1\t-\n", 3),
            ("%package\tx/v1\tx.v1\n%type\tA\tobject\nb\tstring\t1\t-\twhat=1\n", 3),
            ("%package\tx/v1\tx.v1\n%type\tA\tobject\n%type\tA\tobject\n", 3),
        ] {
            assert_eq!(parse(text).err().map(|e| e.line), Some(line), "{text}");
        }
    }
}
