//! Label selectors: the text form of `?labelSelector=` and the object form of `metav1.LabelSelector`.

use crate::names;
use serde_json::Value;
use std::fmt;

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`; kept apart from `In` so that the selector prints as it was written.
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without doubles.
    pub values: Vec<String>,
}

/// All requirements hold. An empty selector selects everything; `Selector::nothing()` selects nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub requirements: Vec<Requirement>,
    nothing: bool,
}

/// Why a text or an object is no selector. The text is what the API server answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

/// Something that has labels: a map of strings, or the JSON object of `metadata.labels`.
pub trait Labels {
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for std::collections::BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// `metadata.labels`; null and absent count as no labels.
impl Labels for Value {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

impl Selector {
    pub fn nothing() -> Selector {
        Selector { requirements: Vec::new(), nothing: true }
    }

    /// True when everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// The text form: `a=b,c in (d,e),!f`.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let mut parser = Parser { tokens: scan(text), position: 0 };
        let mut requirements = parser.requirements()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Selector { requirements, nothing: false })
    }

    /// A map of labels that must all be there (Service, ReplicationController).
    pub fn from_map(map: &Value) -> Selector {
        let requirements = map.as_object().into_iter().flatten().map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.as_str().unwrap_or_default().to_owned()],
        });
        Selector { requirements: requirements.collect(), nothing: false }
    }

    /// A `metav1.LabelSelector`: null selects nothing, `{}` everything.
    pub fn from_object(selector: &Value) -> Result<Selector, SelectorError> {
        if selector.is_null() {
            return Ok(Selector::nothing());
        }
        let mut requirements = Selector::from_map(&selector["matchLabels"]).requirements;
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError(format!("{other:?} is not a valid label selector operator")));
                }
            };
            let values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let key = expression["key"].as_str().unwrap_or_default();
            requirements.push(Requirement::new(key, operator, values.map(str::to_owned).collect())?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Selector { requirements, nothing: false })
    }
}

impl Requirement {
    /// A checked requirement; the values are sorted here.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Requirement, SelectorError> {
        values.sort();
        values.dedup();
        let mut wrong = Vec::new();
        check_key(key, "key", &mut wrong);
        let shown = || serde_json::to_string(&values).unwrap_or_default();
        let count = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                "for 'in', 'notin' operators, values set can't be empty"
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                "exact-match compatibility requires one single value"
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                "values set must be empty for exists and does not exist"
            }
            Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
                "for 'Gt', 'Lt' operators, exactly one value is required"
            }
            _ => "",
        };
        if !count.is_empty() {
            wrong.push(format!("values: Invalid value: {}: {count}", shown()));
        }
        let numeric = matches!(operator, Operator::GreaterThan | Operator::LessThan);
        for (index, value) in values.iter().enumerate() {
            if numeric && value.parse::<i64>().is_err() {
                wrong.push(format!(
                    "values[{index}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                ));
            }
        }
        for (index, value) in values.iter().enumerate() {
            let texts = names::label_value(value);
            if !texts.is_empty() {
                wrong.push(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", texts.join("; ")));
            }
        }
        match wrong.len() {
            0 => Ok(Requirement { key: key.to_owned(), operator, values }),
            1 => Err(SelectorError(wrong.remove(0))),
            _ => Err(SelectorError(format!("[{}]", wrong.join(", ")))),
        }
    }

    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        let found = labels.label(&self.key);
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        let compared = |holds: fn(&i64, &i64) -> bool| {
            let bound = self.values.first().and_then(|v| v.parse::<i64>().ok());
            let value = found.and_then(|v| v.parse::<i64>().ok());
            value.zip(bound).is_some_and(|(value, bound)| holds(&value, &bound))
        };
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => found.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !found.is_some_and(listed),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::GreaterThan => compared(i64::gt),
            Operator::LessThan => compared(i64::lt),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

fn check_key(key: &str, path: &str, wrong: &mut Vec<String>) {
    let texts = names::qualified_name(key);
    if !texts.is_empty() {
        wrong.push(format!("{path}: Invalid value: {key:?}: {}", texts.join("; ")));
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    End,
    Symbol(&'static str),
    /// `in` and `notin` are words too: where a value is expected they are values.
    Word(String),
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Token::End => "",
            Token::Symbol(symbol) => symbol,
            Token::Word(word) => word,
        }
    }
}

const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", ">", "<", "(", ")", ","];

fn scan(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', '\r', '\n']);
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest.find(|c: char| "=!(),>< \t\r\n".contains(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }
    tokens.push(Token::End);
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.position).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn starts_requirement(&self) -> bool {
        matches!(self.peek(), Token::Word(_) | Token::Symbol("!"))
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        if *self.peek() == Token::End {
            return Ok(requirements);
        }
        if !self.starts_requirement() {
            return Err(found(self.peek(), "!, identifier, or 'end of string'"));
        }
        loop {
            let requirement = self.requirement();
            requirements.push(
                requirement
                    .map_err(|error| SelectorError(format!("unable to parse requirement: {error}")))?,
            );
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") if self.starts_requirement() => {}
                Token::Symbol(",") => return Err(found(self.peek(), "identifier after ','")),
                other => return Err(found(&other, "',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = *self.peek() == Token::Symbol("!");
        if negated {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(found(&other, "identifier")),
        };
        let texts = names::qualified_name(&key);
        if !texts.is_empty() {
            return Err(SelectorError(format!("<nil>: Invalid value: {key:?}: {}", texts.join("; "))));
        }
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.set()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(&key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        let token = self.next();
        Ok(match token.text() {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            "=" => Operator::Equals,
            "==" => Operator::DoubleEquals,
            "!=" => Operator::NotEquals,
            ">" => Operator::GreaterThan,
            "<" => Operator::LessThan,
            _ => return Err(found(&token, "in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(_) => Ok(self.next().text().to_owned()),
            other => Err(found(other, "identifier")),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return Err(SelectorError(format!("found '{}' expected: '('", open.text())));
        }
        let mut values = Vec::new();
        loop {
            // An empty place between commas is the empty value.
            let value = match self.peek() {
                Token::Word(_) => self.next().text().to_owned(),
                Token::Symbol(",") | Token::Symbol(")") => String::new(),
                other => return Err(found(other, "',', ')' or identifier")),
            };
            values.push(value);
            match self.next() {
                Token::Symbol(")") => return Ok(values),
                Token::Symbol(",") => {}
                other => return Err(found(&other, "',' or ')'")),
            }
        }
    }
}

fn found(token: &Token, expected: &str) -> SelectorError {
    SelectorError(format!("found '{}', expected: {expected}", token.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(selector: &str, labels: Value, expected: bool) {
        assert_eq!(
            Selector::parse(selector).expect(selector).matches(&labels),
            expected,
            "{selector} on {labels}"
        );
    }

    #[test]
    fn matching() {
        check("", json!({}), true);
        check("a=b", json!({"a": "b"}), true);
        check("a==b,c!=d", json!({"a": "b"}), true);
        check("a=b", Value::Null, false);
        check("a!=b", json!({"a": "b"}), false);
        check("a in (b,c)", json!({"a": "c"}), true);
        check("a notin (b, c)", json!({}), true);
        check("a in (,x)", json!({"a": ""}), true);
        check("a", json!({"a": ""}), true);
        check("!a", json!({"a": ""}), false);
        check("a>3", json!({"a": "4"}), true);
        check("a<3", json!({"a": "x"}), false);
        check("in in (in)", json!({"in": "in"}), true);
        check("a=", json!({"a": ""}), true);
    }

    #[test]
    fn printing() {
        for (given, printed) in
            [("b,a=c", "a=c,b"), ("x in (b, a)", "x in (a,b)"), ("!q", "!q"), ("a notin ()", "a notin ()")]
        {
            assert_eq!(Selector::parse(given).expect(given).to_string(), printed);
        }
    }

    #[test]
    fn refused() {
        for (given, error) in [
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            assert_eq!(Selector::parse(given).expect_err(given).to_string(), error);
        }
    }

    #[test]
    fn objects() {
        let labels = json!({"app": "x"});
        assert!(!Selector::from_object(&Value::Null).expect("null").matches(&labels));
        assert!(Selector::from_object(&json!({})).expect("empty").matches(&labels));
        let selector = json!({"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "t", "operator": "DoesNotExist"}]});
        assert!(Selector::from_object(&selector).expect("both").matches(&labels));
        assert!(
            Selector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "Bad"}]})).is_err()
        );
    }
}
