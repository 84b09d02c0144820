//! One line per figure: what, value, the peer or floor of the same run with the ratio, and the target.

/// Prints a figure.
pub fn line(what: &str, value: f64, unit: &str, target: &str) {
    println!("{what:<52} {value:>10.2} {unit:<6} target {target}");
}

/// Prints a figure beside the one it is held against.
pub fn against(what: &str, value: f64, unit: &str, peer: (&str, f64), target: &str) {
    let (name, floor) = peer;
    let ratio = if floor > 0.0 { value / floor } else { f64::NAN };
    println!("{what:<52} {value:>10.2} {unit:<6} {name} {floor:.2}, ratio {ratio:.2}; target {target}");
}

/// The smallest, the middle and the 99th percentile.
pub fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values.get(((values.len() as f64 * part) as usize).min(values.len() - 1)).copied();
    match values.first() {
        Some(first) => (*first, at(0.5).unwrap_or(*first), at(0.99).unwrap_or(*first)),
        None => (f64::NAN, f64::NAN, f64::NAN),
    }
}

/// Prints minimum, p50 and p99 of the same thing.
pub fn distribution(what: &str, values: Vec<f64>, unit: &str, target: &str) {
    let count = values.len();
    let (min, p50, p99) = spread(values);
    println!("{what:<52} min {min:.2} p50 {p50:.2} p99 {p99:.2} {unit} of {count}; target {target}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_sorted_values() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert!(spread(Vec::new()).0.is_nan());
    }
}
