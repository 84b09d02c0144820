//! Tables: the columns of the kind table, and per kind the code that fills them.

use crate::status::ApiError;
use kedge_api::Time;
use kedge_api::kinds::Kind;
use serde_json::{Value, json};

/// Which part of an object a row carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl Include {
    pub fn parse(word: &str) -> Result<Include, ApiError> {
        match word {
            "" | "Metadata" => Ok(Include::Metadata),
            "None" => Ok(Include::None),
            "Object" => Ok(Include::Object),
            other => Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be \
                 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// The table of some objects of a kind, without list metadata. `version` is that of meta.k8s.io.
pub fn table(kind: &Kind, version: &str, objects: Vec<Value>, now: Time, include: Include) -> Value {
    let columns: Vec<Value> = kind
        .columns
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "type": c.kind, "format": c.format, "description": c.description,
                "priority": c.priority,
            })
        })
        .collect();
    let rows: Vec<Value> = objects.into_iter().map(|object| row(kind, version, object, now, include)).collect();
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": {},
        "columnDefinitions": columns, "rows": rows,
    })
}

fn row(kind: &Kind, version: &str, mut object: Value, now: Time, include: Include) -> Value {
    let cells = cells(kind, &object, now);
    let shown = match include {
        Include::None => Value::Null,
        Include::Object => object,
        Include::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
            "metadata": object["metadata"].take(),
        }),
    };
    json!({"cells": cells, "object": shown})
}

fn cells(_kind: &Kind, object: &Value, _now: Time) -> Vec<Value> {
    vec![object["metadata"]["name"].clone(), object["metadata"]["creationTimestamp"].clone()]
}
