//! Changes of one field, planted in recordings: who compares recordings must report them.

use serde_json::Value;

/// A sequence that a seed fixes (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// Changes one leaf, removes or adds one field. Returns what was done; None when there is nothing to change.
pub fn plant(value: &mut Value, dice: &mut Dice) -> Option<String> {
    let mut leaves = Vec::new();
    collect(value, &mut String::new(), &mut leaves);
    if leaves.is_empty() {
        return None;
    }
    let pointer = leaves.swap_remove(dice.below(leaves.len()));
    let (parent, key) = pointer.rsplit_once('/')?;
    match (dice.below(4), value.pointer_mut(parent)?) {
        (0, Value::Object(map)) => {
            map.remove(&key.replace("~1", "/").replace("~0", "~"));
            Some(format!("{pointer} is removed"))
        }
        (1, Value::Object(map)) => {
            map.insert("planted".to_owned(), Value::Bool(true));
            Some(format!("{parent}/planted is added"))
        }
        _ => {
            change(value.pointer_mut(&pointer)?);
            Some(format!("{pointer} is changed"))
        }
    }
}

/// The pointers of all leaves.
fn collect(value: &Value, at: &mut String, leaves: &mut Vec<String>) {
    let length = at.len();
    let mut below = |key: &str, item: &Value| {
        at.push('/');
        at.push_str(&key.replace('~', "~0").replace('/', "~1"));
        collect(item, at, leaves);
        at.truncate(length);
    };
    match value {
        Value::Object(map) if !map.is_empty() => map.iter().for_each(|(key, item)| below(key, item)),
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(index, item)| below(&index.to_string(), item));
        }
        _ => leaves.push(at.clone()),
    }
}

/// Another value of the same type, as a faulty server might send it.
fn change(leaf: &mut Value) {
    *leaf = match leaf {
        Value::Null => Value::Bool(false),
        Value::Bool(is) => Value::Bool(!*is),
        Value::Number(number) => Value::from(number.as_i64().map_or(7, |number| number.wrapping_add(1))),
        Value::String(text) => match text.pop() {
            None => Value::from("x"),
            Some('x') => Value::from(format!("{text}y")),
            Some(_) => Value::from(format!("{text}x")),
        },
        Value::Array(_) => Value::from(vec![0]),
        Value::Object(_) => serde_json::json!({"planted": true}),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn exactly_one_place_changes_and_a_seed_repeats_it() {
        let recorded = json!({"status": 200, "body": {"a/b": [{"c": "d"}, {}], "e": null, "f": true}});
        for seed in 0..200 {
            let (mut one, mut two) = (recorded.clone(), recorded.clone());
            let said = plant(&mut one, &mut Dice::new(seed));
            assert_eq!(plant(&mut two, &mut Dice::new(seed)), said);
            assert_eq!(one, two);
            assert_ne!(one, recorded, "{said:?}");
        }
    }
}
