//! The bytes of an object: `{"kind":…,"apiVersion":…,"metadata":{…},…}` without resourceVersion.
//!
//! An object is encoded once per revision. The resourceVersion is known only when the store has accepted the write, so it is
//! spliced in when the bytes go out: always as the first member of metadata. Kind and apiVersion come first so that the items
//! of a list, which upstream sends without them, are a suffix of the same bytes.

use bytes::Bytes;
use kedge_store::{Entry, Revision};
use serde_json::{Map, Value};

const METADATA: &[u8] = b"\"metadata\":{";

/// An encoded object and where its resourceVersion goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub bytes: Bytes,
    /// Offset of the first member of metadata.
    splice: usize,
}

impl Encoded {
    /// Encodes an object; its resourceVersion is left out.
    pub fn of(object: &Value) -> Encoded {
        let mut out = Vec::with_capacity(1024);
        out.push(b'{');
        for key in ["kind", "apiVersion"] {
            member(&mut out, key, &object[key]);
        }
        out.extend_from_slice(METADATA);
        let splice = out.len();
        members(&mut out, object["metadata"].as_object(), &["resourceVersion"]);
        out.push(b'}');
        if object.as_object().is_some_and(|o| o.keys().any(|k| !LEADING.contains(&k.as_str()))) {
            out.push(b',');
            members(&mut out, object.as_object(), &LEADING);
        }
        out.push(b'}');
        Encoded { bytes: out.into(), splice }
    }

    /// The encoded object in an entry of the store.
    pub fn stored(entry: &Entry) -> Encoded {
        let bytes = entry.value.clone();
        let found = bytes.windows(METADATA.len()).position(|window| window == METADATA);
        let splice = found.expect("the registry wrote every object with its metadata") + METADATA.len();
        Encoded { bytes, splice }
    }

    /// Appends the object as it is sent on its own.
    pub fn write(&self, out: &mut Vec<u8>, revision: Option<Revision>) {
        self.write_from(out, 0, revision);
    }

    /// Appends the object as an item of a list: without kind and apiVersion.
    pub fn write_item(&self, out: &mut Vec<u8>, revision: Option<Revision>) {
        out.push(b'{');
        self.write_from(out, self.splice - METADATA.len(), revision);
    }

    fn write_from(&self, out: &mut Vec<u8>, start: usize, revision: Option<Revision>) {
        out.extend_from_slice(&self.bytes[start..self.splice]);
        if let Some(revision) = revision {
            out.extend_from_slice(b"\"resourceVersion\":\"");
            out.extend_from_slice(revision.to_string().as_bytes());
            out.push(b'"');
            if self.bytes[self.splice] != b'}' {
                out.push(b',');
            }
        }
        out.extend_from_slice(&self.bytes[self.splice..]);
    }

    pub fn to_vec(&self, revision: Option<Revision>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 40);
        self.write(&mut out, revision);
        out
    }

    /// The object with its resourceVersion.
    pub fn decode(&self, revision: Option<Revision>) -> Value {
        let mut object: Value =
            serde_json::from_slice(&self.bytes).expect("the registry wrote every object as JSON");
        if let Some(revision) = revision {
            object["metadata"]["resourceVersion"] = revision.to_string().into();
        }
        object
    }
}

const LEADING: [&str; 3] = ["kind", "apiVersion", "metadata"];

fn member(out: &mut Vec<u8>, key: &str, value: &Value) {
    json(out, &Value::from(key));
    out.push(b':');
    json(out, value);
    out.push(b',');
}

fn members(out: &mut Vec<u8>, map: Option<&Map<String, Value>>, without: &[&str]) {
    let mut first = true;
    for (key, value) in map.into_iter().flatten().filter(|(key, _)| !without.contains(&key.as_str())) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        json(out, &Value::from(key.as_str()));
        out.push(b':');
        json(out, value);
    }
}

fn json(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("a Value always serialises into memory");
}

/// The object of an entry of the store, with its resourceVersion.
pub fn decode(entry: &Entry) -> Value {
    Encoded::stored(entry).decode(Some(entry.mod_revision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn splices() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"metadata\":{": "1"},
            "metadata": {"name": "a", "resourceVersion": "3"},
        });
        let encoded = Encoded::of(&object);
        let text = |out: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            out(&mut bytes);
            String::from_utf8(bytes).unwrap()
        };
        let tail = r#""name":"a"},"data":{"metadata\":{":"1"}}"#;
        let head = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"#;
        assert_eq!(text(&|o| encoded.write(o, None)), format!("{head}{tail}"));
        assert_eq!(
            text(&|o| encoded.write(o, Some(Revision(7)))),
            format!(r#"{head}"resourceVersion":"7",{tail}"#)
        );
        assert_eq!(
            text(&|o| encoded.write_item(o, Some(Revision(7)))),
            format!(r#"{{"metadata":{{"resourceVersion":"7",{tail}"#)
        );
        let bare = Encoded::of(&json!({"apiVersion": "v1", "kind": "Status", "metadata": {}}));
        assert_eq!(
            text(&|o| bare.write(o, Some(Revision(7)))),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{"resourceVersion":"7"}}"#
        );
    }

    #[test]
    fn an_entry_is_read_back() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        let entry = Entry::new("/k".into(), Encoded::of(&object).bytes, Revision(2), Revision(5), 1);
        assert_eq!(decode(&entry)["metadata"], json!({"name": "a", "resourceVersion": "5"}));
        assert_eq!(Encoded::stored(&entry), Encoded::of(&object));
    }
}
