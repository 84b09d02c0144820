//! A JSON reader that keeps what serde_json's values lose: duplicate keys, the order of keys, the digits of numbers. Its errors
//! are in the words of Go's `encoding/json`, which clients show to people.

use serde_json::{Map, Number, Value};

/// Deeper documents are refused, and so are objects that a patch made deeper. Go allows 10,000; no object of the API comes near
/// this, each level costs stack, and what is stored must be readable by serde_json, which stops at 128.
pub const DEPTH_MAX: usize = 100;

/// Whether the value nests no deeper than `levels`. It looks no further than that.
pub fn is_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_within(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|item| is_within(item, levels - 1)),
        _ => true,
    }
}

/// A JSON value as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    /// Its digits.
    Number(String),
    String(String),
    Array(Vec<Node>),
    /// In the order of the text; a key may come twice.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// What Go's decoder calls it in errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "bool",
            Node::Number(_) => "number",
            Node::String(_) => "string",
            Node::Array(_) => "array",
            Node::Object(_) => "object",
        }
    }

    /// The last value of a key, which is the one that counts.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Object(entries) => entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A plain value; of duplicate keys the last one stays.
    pub fn into_value(self) -> Value {
        match self {
            Node::Null => Value::Null,
            Node::Bool(b) => Value::Bool(b),
            Node::Number(digits) => number(&digits),
            Node::String(s) => Value::String(s),
            Node::Array(items) => Value::Array(items.into_iter().map(Node::into_value).collect()),
            Node::Object(entries) => {
                Value::Object(entries.into_iter().map(|(k, v)| (k, v.into_value())).collect::<Map<_, _>>())
            }
        }
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Node {
        match value {
            Value::Null => Node::Null,
            Value::Bool(b) => Node::Bool(b),
            Value::Number(n) => Node::Number(n.to_string()),
            Value::String(s) => Node::String(s),
            Value::Array(items) => Node::Array(items.into_iter().map(Node::from).collect()),
            Value::Object(map) => Node::Object(map.into_iter().map(|(k, v)| (k, Node::from(v))).collect()),
        }
    }
}

/// Whole numbers of 64 bits stay whole, all others become floats.
fn number(digits: &str) -> Value {
    let whole = digits.parse::<i64>().map(Number::from).or_else(|_| digits.parse::<u64>().map(Number::from));
    match whole {
        Ok(number) => Value::Number(number),
        Err(_) => digits.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number),
    }
}

/// Reads one document and nothing after it.
pub fn parse(bytes: &[u8]) -> Result<Node, String> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let node = reader.value()?;
    reader.space();
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err(reader.unexpected("after top-level value")),
    }
}

/// The paths of all keys that occur twice in their object, in the order of the text: `[0].op`, `data.a`.
pub fn duplicates(node: &Node) -> Vec<String> {
    let mut found = Vec::new();
    collect_duplicates(node, "", &mut found);
    found
}

fn collect_duplicates(node: &Node, path: &str, found: &mut Vec<String>) {
    match node {
        Node::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_duplicates(item, &format!("{path}[{index}]"), found);
            }
        }
        Node::Object(entries) => {
            for (index, (key, value)) in entries.iter().enumerate() {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if entries[..index].iter().any(|(k, _)| k == key) && !found.contains(&below) {
                    found.push(below.clone());
                }
                collect_duplicates(value, &below, found);
            }
        }
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) => {}
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

const END: &str = "unexpected end of JSON input";

impl Reader<'_> {
    fn value(&mut self) -> Result<Node, String> {
        self.space();
        match self.peek().ok_or(END)? {
            b'{' => self.nested(Reader::object),
            b'[' => self.nested(Reader::array),
            b'"' => self.string().map(Node::String),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true", Node::Bool(true)),
            b'f' => self.literal("false", Node::Bool(false)),
            b'n' => self.literal("null", Node::Null),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Node, String>) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.unexpected("exceeded max depth"));
        }
        self.at += 1;
        let node = read(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn object(&mut self) -> Result<Node, String> {
        let mut entries = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(Node::Object(entries));
        }
        loop {
            self.space();
            if self.peek().ok_or(END)? != b'"' {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let key = self.string()?;
            self.expect(b':', "after object key")?;
            entries.push((key, self.value()?));
            self.space();
            if self.take(b'}') {
                return Ok(Node::Object(entries));
            }
            self.expect(b',', "after object key:value pair")?;
        }
    }

    fn array(&mut self) -> Result<Node, String> {
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Node::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.space();
            if self.take(b']') {
                return Ok(Node::Array(items));
            }
            self.expect(b',', "after array element")?;
        }
    }

    /// Bytes that are no UTF-8 and halves of surrogate pairs become U+FFFD, one for each.
    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|b| b >= 0x20 && b != b'"' && b != b'\\') {
                self.at += 1;
            }
            push_lossy(&mut text, &self.bytes[start..self.at]);
            match self.peek().ok_or(END)? {
                b'"' => {
                    self.at += 1;
                    return Ok(text);
                }
                b'\\' => text.push(self.escape()?),
                _ => return Err(self.unexpected("in string literal")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        self.at += 1;
        let letter = self.peek().ok_or(END)?;
        let plain = match letter {
            b'"' | b'\\' | b'/' => letter as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, String> {
        let high = self.hex4()?;
        if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 1;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The four digits after the `u` that the reader stands on.
    fn hex4(&mut self) -> Result<u32, String> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let digit = (self.peek().ok_or(END)? as char).to_digit(16);
            code = code * 16 + digit.ok_or_else(|| self.unexpected("in \\u hexadecimal character escape"))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Node, String> {
        let start = self.at;
        self.take(b'-');
        match self.peek().ok_or(END)? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.take(b'.') {
            self.some_digits("after decimal point in numeric literal")?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(Node::Number(String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()))
    }

    fn some_digits(&mut self, place: &str) -> Result<(), String> {
        match self.peek().ok_or(END)?.is_ascii_digit() {
            true => self.digits(),
            false => return Err(self.unexpected(place)),
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &str, node: Node) -> Result<Node, String> {
        for expected in word.bytes() {
            if self.peek().ok_or(END)? != expected {
                return Err(self.unexpected(&format!("in literal {word} (expecting '{}')", expected as char)));
            }
            self.at += 1;
        }
        Ok(node)
    }

    fn expect(&mut self, byte: u8, place: &str) -> Result<(), String> {
        self.space();
        self.peek().ok_or(END)?;
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(place)) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn unexpected(&self, place: &str) -> String {
        let shown = match self.peek() {
            None => return END.to_owned(),
            Some(b'\'') => "'\\''".to_owned(),
            Some(b'"') => "'\"'".to_owned(),
            Some(byte @ 0x20..=0x7e) => format!("'{}'", byte as char),
            Some(b'\n') => "'\\n'".to_owned(),
            Some(b'\t') => "'\\t'".to_owned(),
            Some(b'\r') => "'\\r'".to_owned(),
            Some(byte @ ..0x80) => format!("'\\x{byte:02x}'"),
            Some(byte) => format!("'{}'", byte as char),
        };
        format!("invalid character {shown} {place}")
    }
}

/// One U+FFFD for every byte that belongs to no character, as Go does it.
fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for _ in chunk.invalid() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_json_is() {
        let check = |text: &str, value: Value| {
            assert_eq!(parse(text.as_bytes()).map(Node::into_value), Ok(value), "{text}")
        };
        check(" null ", json!(null));
        check("[1, -2.5e1, true, false]", json!([1, -25.0, true, false]));
        check("{\"a\": {\"b\": []}}", json!({"a": {"b": []}}));
        check(r#""\ud83d\ude00 \u0000\n\/""#, json!("😀 \u{0}\n/"));
        check(r#""\ud83d x""#, json!("\u{fffd} x"));
        check("{\"a\":1,\"a\":2}", json!({"a": 2}));
        assert_eq!(parse(b"\"\xff\xfe\"").map(Node::into_value), Ok(json!("\u{fffd}\u{fffd}")));
    }

    #[test]
    fn refuses_in_gos_words() {
        let check =
            |text: &str, error: &str| assert_eq!(parse(text.as_bytes()), Err(error.to_owned()), "{text}");
        check("", "unexpected end of JSON input");
        check("{\"a\"", "unexpected end of JSON input");
        check("nope", "invalid character 'o' in literal null (expecting 'u')");
        check("data: 1", "invalid character 'd' looking for beginning of value");
        check("{} x", "invalid character 'x' after top-level value");
        check("{}{", "invalid character '{' after top-level value");
        check("{a:1}", "invalid character 'a' looking for beginning of object key string");
        check("{\"a\" 1}", "invalid character '1' after object key");
        check("{\"a\":1 2}", "invalid character '2' after object key:value pair");
        check("[1 2]", "invalid character '2' after array element");
        check("[1,]", "invalid character ']' looking for beginning of value");
        check("1.x", "invalid character 'x' after decimal point in numeric literal");
        check("\"\n\"", "invalid character '\\n' in string literal");
        check("\"\\q\"", "invalid character 'q' in string escape code");
        check("'a'", "invalid character '\\'' looking for beginning of value");
        check(&"[".repeat(DEPTH_MAX + 1), "invalid character '[' exceeded max depth");
    }

    #[test]
    fn finds_duplicates_at_their_paths() {
        let check = |text: &str, paths: &[&str]| {
            assert_eq!(duplicates(&parse(text.as_bytes()).expect(text)), paths, "{text}")
        };
        check(r#"{"data":{"a":"1","a":"2"}}"#, &["data.a"]);
        check(r#"[{"op":"add","op":"add"}]"#, &["[0].op"]);
        check(r#"{"a":1,"a":2,"a":3}"#, &["a"]);
        check(r#"{"a":1,"b":[{"a":1}]}"#, &[]);
    }
}
