//! `IntOrString`: a port by number or by name, a count or a percentage.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    Int(i32),
    String(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_round_trip() {
        for (text, value) in
            [("80", IntOrString::Int(80)), (r#""http""#, IntOrString::String("http".to_owned()))]
        {
            assert_eq!(serde_json::from_str::<IntOrString>(text).unwrap(), value);
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
        }
    }
}
