//! YAML bodies, read into the same tree as JSON.

use super::json::{self, Node};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads one document. The second part are problems of strict decoding: keys that come twice, in one text as Go's decoder
/// reports them.
pub fn parse(body: &[u8]) -> Result<(Node, Vec<String>), String> {
    let text =
        std::str::from_utf8(body).map_err(|_| "yaml: control characters are not allowed".to_owned())?;
    let Tree(node) = serde_yaml_ng::from_str(text).map_err(|e| error_text(&e, text))?;
    let twice: Vec<String> = json::duplicates(&node).iter().map(|path| complaint(text, path)).collect();
    let problems = if twice.is_empty() {
        Vec::new()
    } else {
        vec![format!("yaml: unmarshal errors:\n{}", twice.join("\n"))]
    };
    Ok((without_duplicates(node), problems))
}

/// An unfinished document ends at its last line, not at the empty one behind it.
fn error_text(error: &serde_yaml_ng::Error, document: &str) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    match error.location() {
        Some(place) => format!("yaml: line {}: {what}", place.line().min(document.lines().count())),
        None => format!("yaml: {what}"),
    }
}

/// The reader has no positions, so the line is that of the key's second mention.
fn complaint(text: &str, path: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or_default();
    let mention = format!("{key}:");
    let mentions = text.match_indices(&mention).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || matches!(c, '{' | ',' | '"' | '\''))
    });
    let line = mentions.map(|(at, _)| text[..at].matches('\n').count() + 1).nth(1).unwrap_or(1);
    format!("  line {line}: key {key:?} already set in map")
}

/// The duplicates are told; the walk over the type must not tell them again.
fn without_duplicates(node: Node) -> Node {
    match node {
        Node::Object(entries) => {
            let mut kept: Vec<(String, Node)> = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let value = without_duplicates(value);
                match kept.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, old)) => *old = value,
                    None => kept.push((key, value)),
                }
            }
            Node::Object(kept)
        }
        Node::Array(items) => Node::Array(items.into_iter().map(without_duplicates).collect()),
        leaf => leaf,
    }
}

struct Tree(Node);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(Reader).map(Tree)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(Tree(node)) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Node::Array(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some((Tree(key), Tree(value))) = entries.next_entry()? {
            let key = match key {
                Node::String(text) | Node::Number(text) => text,
                Node::Bool(value) => value.to_string(),
                Node::Null => "null".to_owned(),
                Node::Array(_) | Node::Object(_) => return Err(serde::de::Error::custom("invalid map key")),
            };
            nodes.push((key, value));
        }
        Ok(Node::Object(nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn reads_yaml() {
        let check = |text: &str, value: Value, problems: &[&str]| {
            let (node, found) = parse(text.as_bytes()).expect(text);
            assert_eq!(
                (node.into_value(), found),
                (value, problems.iter().map(|p| (*p).to_owned()).collect()),
                "{text}"
            );
        };
        check("a: [1, \"1\", true, null, 1.5]\n", json!({"a": [1, "1", true, null, 1.5]}), &[]);
        check("1: x\n", json!({"1": "x"}), &[]);
        check(
            "a: 1\na: 2\n",
            json!({"a": 2}),
            &["yaml: unmarshal errors:\n  line 2: key \"a\" already set in map"],
        );
    }

    #[test]
    fn refuses_what_is_none() {
        assert_eq!(parse(b"{").expect_err("open"), "yaml: line 1: did not find expected node content");
    }
}
