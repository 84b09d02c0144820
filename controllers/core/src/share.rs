//! A number of things, or a percentage of them.

use kedge_api::IntOrString;

/// `25%` or a number, of `total`.
pub fn share(value: Option<&IntOrString>, total: i64, round_up: bool) -> i64 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => i64::from(*number),
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            let product = percent * total;
            if round_up { product.div_euclid(100) + i64::from(product % 100 != 0) } else { product / 100 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let check = |value: IntOrString, total, up, expected| {
            assert_eq!(share(Some(&value), total, up), expected, "{value}")
        };
        check(IntOrString::String("25%".into()), 10, true, 3);
        check(IntOrString::String("25%".into()), 10, false, 2);
        check(IntOrString::Int(2), 10, true, 2);
        assert_eq!(share(None, 10, true), 0);
    }
}
