//! The usual division of an object: the client owns the spec, controllers own the status.
//!
//! Most kinds decide nothing else, so one strategy with a few functions per kind serves them.

use super::access::{Fill, Read};
use super::{Part, Strategy};
use crate::status::Findings;
use serde_json::Value;

/// A kind in the usual division.
pub(super) struct Usual {
    pub default: fn(&mut Value),
    /// What a create sets beyond generation and status.
    pub on_create: fn(&mut Value),
    /// What is kept from the old object on an update of the main part.
    pub on_update: fn(&mut Value, &Value),
    /// The status that a created object starts with; None for kinds without a status.
    pub status: Option<fn(&Value) -> Value>,
    /// The fields (or `labels`) whose change raises `metadata.generation`; empty for kinds without a generation.
    pub generation: &'static [&'static str],
    pub validate: fn(&Value) -> Findings,
    pub validate_update: fn(&Value, &Value) -> Findings,
    /// Findings about a write to a subresource, the status among them.
    pub validate_part: fn(&Value, &Value, &str) -> Findings,
    pub warnings: fn(&Value) -> Vec<String>,
    /// Fields of the metadata that a write to the status leaves alone.
    pub status_keeps: &'static [&'static str],
    pub create_on_update: bool,
    pub unconditional_update: bool,
}

impl Usual {
    /// A kind without status, generation and rules.
    pub(super) const PLAIN: Usual = Usual {
        default: |_| {},
        on_create: |_| {},
        on_update: |_, _| {},
        status: None,
        generation: &[],
        validate: |_| Findings::new(),
        validate_update: |_, _| Findings::new(),
        validate_part: |_, _, _| Findings::new(),
        warnings: |_| Vec::new(),
        status_keeps: &[],
        create_on_update: false,
        unconditional_update: true,
    };
}

impl Strategy for Usual {
    fn default(&self, object: &mut Value) {
        (self.default)(object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        if let Some(status) = self.status {
            let status = status(object);
            object.drop_field("status");
            object.fill("status", status);
        }
        if !self.generation.is_empty() {
            start_generation(object);
        }
        (self.on_create)(object);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, part: Part<'_>) {
        match part {
            Part::Main => {
                if self.status.is_some() {
                    object.take_from(old, "status");
                }
                (self.on_update)(object, old);
                raise_generation(object, old, self.generation);
            }
            Part::Status => {
                keep_all_but_status(object, old);
                for field in self.status_keeps {
                    object.child("metadata").take_from(&old["metadata"], field);
                }
            }
            // An approval speaks through the status; a scale changes the spec as an update does.
            Part::Subresource("approval") => keep_all_but_status(object, old),
            Part::Subresource(_) => raise_generation(object, old, self.generation),
        }
    }

    fn validate_create(&self, object: &Value) -> Findings {
        (self.validate)(object)
    }

    fn validate_update(&self, object: &Value, old: &Value, part: Part<'_>) -> Findings {
        match part {
            Part::Main => (self.validate_update)(object, old),
            Part::Status => (self.validate_part)(object, old, "status"),
            Part::Subresource(name) => (self.validate_part)(object, old, name),
        }
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        (self.warnings)(object)
    }

    fn create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn unconditional_update(&self) -> bool {
        self.unconditional_update
    }
}

pub(super) fn start_generation(object: &mut Value) {
    object.child("metadata")["generation"] = 1.into();
}

/// A client cannot set the generation: it is the old one, and one more where a counted field changed.
pub(super) fn raise_generation(object: &mut Value, old: &Value, counted: &[&str]) {
    keep_generation(object, old);
    let of = |object: &Value, field: &str| match field {
        "labels" => object["metadata"].get(field).cloned(),
        field => object.get(field).cloned(),
    };
    if counted.iter().any(|field| of(object, field) != of(old, field)) {
        let generation = old["metadata"].number("generation").unwrap_or_default() + 1;
        object.child("metadata")["generation"] = generation.into();
    }
}

pub(super) fn keep_generation(object: &mut Value, old: &Value) {
    object.child("metadata").take_from(&old["metadata"], "generation");
}

/// What most kinds with their own idea of the matter leave alone in a write to the status.
pub(super) const ALL_METADATA: &[&str] = &["labels", "annotations", "finalizers", "ownerReferences"];

/// An update of the status leaves spec and data. Labels and annotations may travel with it: kubelets send them so.
pub(super) fn keep_all_but_status(object: &mut Value, old: &Value) {
    let fields: Vec<String> = keys(object).chain(keys(old)).filter(|key| !is_envelope(key)).collect();
    for field in fields {
        object.take_from(old, &field);
    }
    keep_generation(object, old);
}

fn keys(object: &Value) -> impl Iterator<Item = String> + '_ {
    object.as_object().into_iter().flatten().map(|(key, _)| key.clone())
}

fn is_envelope(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata" | "status")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KIND: Usual =
        Usual { status: Some(|_| json!({"phase": "Pending"})), generation: &["spec"], ..Usual::PLAIN };

    #[test]
    fn create_starts_over() {
        let mut object = json!({"metadata": {"generation": 9}, "spec": {}, "status": {"phase": "Done"}});
        KIND.prepare_for_create(&mut object);
        assert_eq!(
            object,
            json!({"metadata": {"generation": 1}, "spec": {}, "status": {"phase": "Pending"}})
        );
    }

    #[test]
    fn each_part_keeps_the_other() {
        let old = json!({"metadata": {"generation": 3, "labels": {"a": "b"}}, "spec": {"x": 1}, "status": {"s": 1}});
        let new = json!({"metadata": {"generation": 7}, "spec": {"x": 2}, "status": {"s": 2}});
        let mut main = new.clone();
        KIND.prepare_for_update(&mut main, &old, Part::Main);
        assert_eq!(main, json!({"metadata": {"generation": 4}, "spec": {"x": 2}, "status": {"s": 1}}));
        let mut status = new;
        KIND.prepare_for_update(&mut status, &old, Part::Status);
        let expected = json!({"metadata": {"generation": 3}, "spec": {"x": 1}, "status": {"s": 2}});
        assert_eq!(status, expected);
    }

    #[test]
    fn an_equal_spec_keeps_the_generation() {
        let old = json!({"metadata": {"generation": 3}, "spec": {"x": 1}});
        let mut object = json!({"metadata": {}, "spec": {"x": 1}});
        KIND.prepare_for_update(&mut object, &old, Part::Main);
        assert_eq!(object["metadata"]["generation"], 3);
    }
}
