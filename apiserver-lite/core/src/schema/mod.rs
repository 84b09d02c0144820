//! Structural facts of the built-in types: fields, list types, merge keys, defaults; pruning and field validation.
//!
//! Objects are JSON values. What upstream's Go structs would make of a body (which fields survive, which zero values appear,
//! how times and quantities are written) is decided by one walk over the value and its type, [`conform`]. Start reading there;
//! [`decode`] puts the parsing of bodies and upstream's words for its failures around it.

pub mod conform;
pub mod decode;
pub mod json;
pub mod table;
pub mod times;
mod yaml;

pub use conform::{Conformed, TypeError, conform, normalize};
pub use decode::{Decoded, Expected, FieldValidation, Media, decode};

use kedge_api::kinds::{Kind, Subresource};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A number of [`Types`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeId(u16);

/// All types of the built-in API.
pub struct Types {
    types: Vec<Type>,
    by_name: BTreeMap<&'static str, TypeId>,
    by_gvk: BTreeMap<(&'static str, &'static str, &'static str), TypeId>,
}

/// One named type.
pub struct Type {
    /// `PodSpec`.
    pub name: &'static str,
    /// `io.k8s.api.core.v1.PodSpec`.
    pub full_name: &'static str,
    /// `v1`, as Go's reflection prints it.
    pub go_package: &'static str,
    pub shape: Shape,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
    pub fields: Fields,
    /// Those that protobuf has, by number.
    pub by_number: &'static [&'static Field],
    /// In OpenAPI's order.
    pub required: &'static [&'static str],
    /// The groups, versions and kinds that this type is the body of.
    pub gvks: &'static [(&'static str, &'static str, &'static str)],
    /// JSON of `x-kubernetes-unions`; mostly empty.
    pub unions: &'static str,
}

/// How the JSON of a named type looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Its fields.
    Object,
    Quantity,
    /// `metav1.FieldsV1`: an object of any content.
    Fields,
    Time,
    MicroTime,
    Any,
    /// `runtime.RawExtension`.
    Raw,
    /// `apiextensions.JSON`.
    Json,
    IntOrString,
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrStrings,
}

/// Sorted by name.
#[derive(Clone, Copy)]
pub struct Fields(pub(crate) &'static [Field]);

impl Fields {
    pub fn get(&self, name: &str) -> Option<&'static Field> {
        let fields = self.0;
        fields.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &fields[i])
    }

    pub fn iter(&self) -> std::slice::Iter<'static, Field> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub struct Field {
    pub name: &'static str,
    pub ty: Ty,
    /// Protobuf field numbers, outermost inlined struct first; `[0]`: not in protobuf.
    pub numbers: &'static [u32],
    pub presence: Presence,
    /// JSON.
    pub default: Option<&'static str>,
    pub enums: &'static [&'static str],
    pub list: ListType,
    /// `x-kubernetes-list-map-keys`.
    pub keys: &'static [&'static str],
    /// `x-kubernetes-map-type`: empty, `atomic` or `granular`.
    pub map: &'static str,
    /// `x-kubernetes-patch-strategy`: `merge`, `replace`, `retainKeys`.
    pub patch: &'static [&'static str],
    /// `x-kubernetes-patch-merge-key`.
    pub merge_key: &'static str,
    /// The Go type, where it is not the one derived from `ty`.
    go: &'static str,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence {
    pub pointer: bool,
    pub omitempty: bool,
    pub omitzero: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    String,
    Bool,
    Int32,
    Int64,
    Float64,
    /// base64 in JSON.
    Bytes,
    Ref(TypeId, RefForm),
    List(&'static Ty),
    /// By string.
    Map(&'static Ty),
}

/// How OpenAPI writes the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefForm {
    /// `allOf` with the default `{}`.
    Defaulted,
    /// `allOf` without default.
    Plain,
    /// `$ref` alone.
    Bare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Handled as atomic.
    Unset,
    Atomic,
    Set,
    Map,
}

/// The types, parsed when first asked for.
pub fn types() -> &'static Types {
    static TYPES: OnceLock<Types> = OnceLock::new();
    TYPES.get_or_init(|| table::parse(include_str!("types.tbl")).expect("a test parses the committed table"))
}

impl Types {
    pub fn get(&'static self, id: TypeId) -> &'static Type {
        &self.types[usize::from(id.0)]
    }

    /// By full name: `io.k8s.api.core.v1.Pod`.
    pub fn named(&'static self, full_name: &str) -> Option<&'static Type> {
        self.by_name.get(full_name).map(|id| self.get(*id))
    }

    pub fn id_of(&self, full_name: &str) -> Option<TypeId> {
        self.by_name.get(full_name).copied()
    }

    /// By group, version and kind.
    pub fn of(&'static self, group: &str, version: &str, kind: &str) -> Option<&'static Type> {
        self.by_gvk.get(&(group, version, kind)).map(|id| self.get(*id))
    }

    pub fn iter(&'static self) -> impl Iterator<Item = &'static Type> {
        self.types.iter()
    }
}

/// The type of a kind's objects.
pub fn type_of(kind: &Kind) -> &'static Type {
    types().of(kind.group, kind.version, kind.kind).expect("a test finds the type of every kind")
}

/// The type of a subresource's body; None for those that take none (`exec`, `proxy`, `log`).
pub fn type_of_subresource(subresource: &Subresource) -> Option<&'static Type> {
    types().of(subresource.group, subresource.version, subresource.kind)
}

impl Type {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.get(name)
    }

    /// `v1.PodSpec`.
    pub fn go_name(&self) -> String {
        format!("{}.{}", self.go_package, self.name)
    }
}

impl Field {
    /// Whether protobuf has this list as a message of its own: Go's lists marked `+protobuf.nullable=true`, which among the types
    /// of fields is one (`ExtraValue` stands in maps only, where every list is a message).
    pub fn is_message_list(&self) -> bool {
        self.go == "v1.Verbs"
    }

    /// The field's type as Go's reflection prints it.
    pub fn go_type(&self) -> String {
        if self.go.is_empty() { self.ty.go_name() } else { self.go.to_owned() }
    }

    /// The Go type of an item or a map's value.
    pub(crate) fn go_item(&self) -> String {
        let go = self.go_type();
        let item = go
            .strip_prefix("[]")
            .or_else(|| go.strip_prefix("map[").and_then(|m| Some(m.split_once(']')?.1)));
        match (item, self.ty) {
            (Some(item), _) => item.to_owned(),
            (None, Ty::List(item) | Ty::Map(item)) => item.go_name(),
            (None, _) => go,
        }
    }
}

impl Ty {
    /// The named type, if it is one.
    pub fn target(self) -> Option<&'static Type> {
        match self {
            Ty::Ref(id, _) => Some(types().get(id)),
            _ => None,
        }
    }

    fn go_name(self) -> String {
        match self {
            Ty::String => "string".to_owned(),
            Ty::Bool => "bool".to_owned(),
            Ty::Int32 => "int32".to_owned(),
            Ty::Int64 => "int64".to_owned(),
            Ty::Float64 => "float64".to_owned(),
            Ty::Bytes => "[]uint8".to_owned(),
            Ty::Ref(id, _) => types().get(id).go_name(),
            Ty::List(item) => format!("[]{}", item.go_name()),
            Ty::Map(value) => format!("map[string]{}", value.go_name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_api::kinds::kinds;

    #[test]
    fn every_kind_has_a_type() {
        for kind in kinds() {
            let ty = type_of(kind);
            assert!(ty.field("metadata").is_some(), "{}", ty.full_name);
        }
    }

    #[test]
    fn every_numbered_field_has_its_own_number() {
        for ty in types().iter() {
            let mut numbers: Vec<_> = ty.fields.iter().map(|f| f.numbers).filter(|n| *n != [0]).collect();
            numbers.sort();
            numbers.dedup();
            let unnumbered = ty.fields.iter().filter(|f| f.numbers == [0]).count();
            assert_eq!(numbers.len() + unnumbered, ty.fields.iter().len(), "{}", ty.full_name);
        }
    }

    #[test]
    fn facts_of_a_field() {
        let spec = types().named("io.k8s.api.core.v1.PodSpec").expect("PodSpec");
        let containers = spec.field("containers").expect("containers");
        assert_eq!((containers.list, containers.keys), (ListType::Map, ["name"].as_slice()));
        assert_eq!((containers.patch, containers.merge_key), (["merge"].as_slice(), "name"));
        assert_eq!(containers.go_type(), "[]v1.Container");
        let container = containers.ty;
        assert!(matches!(container, Ty::List(Ty::Ref(_, RefForm::Defaulted))));
    }
}
