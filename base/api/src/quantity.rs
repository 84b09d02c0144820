//! Resource quantities: `500m`, `1Gi`, `1e3`.
//!
//! A quantity is a fixed-point number of billionths with the notation it was written in. An i128 of billionths holds every
//! amount below 10^29; larger ones are capped, as binary ones are at 2^63-1.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

const NANOS: i128 = 1_000_000_000;

/// The notation of a quantity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `12M`
    #[default]
    DecimalSi,
    /// `12Mi`
    BinarySi,
    /// `12e6`
    DecimalExponent,
}

/// An amount. Two quantities are equal when their amounts are, whatever their notation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Number,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    pub const ZERO: Quantity = Quantity { nanos: 0, format: Format::DecimalSi };

    /// Whole units.
    pub fn from_value(value: i64, format: Format) -> Quantity {
        Quantity { nanos: i128::from(value) * NANOS, format }
    }

    /// Thousandths (of a CPU, for example).
    pub fn from_milli(milli: i64) -> Quantity {
        Quantity { nanos: i128::from(milli) * (NANOS / 1_000), format: Format::DecimalSi }
    }

    /// Whole units, rounded away from zero and capped.
    pub fn value(self) -> i64 {
        self.scaled(NANOS)
    }

    /// Thousandths, rounded away from zero and capped.
    pub fn milli_value(self) -> i64 {
        self.scaled(NANOS / 1_000)
    }

    /// The amount as a float, for scores and reports.
    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// No smaller than one unit is in it.
    pub fn is_whole(self) -> bool {
        self.nanos % NANOS == 0
    }

    pub fn is_whole_milli(self) -> bool {
        self.nanos % (NANOS / 1_000) == 0
    }

    pub fn format(self) -> Format {
        self.format
    }

    fn scaled(self, unit: i128) -> i64 {
        let (whole, rest) = (self.nanos / unit, self.nanos % unit);
        let rounded = whole + rest.signum();
        i64::try_from(rounded).unwrap_or(if rounded > 0 { i64::MAX } else { i64::MIN })
    }
}

/// The text that the API server stores for a text that it received. A text that is canonical by the letter of upstream's
/// fast path (`1.500`, `+5`) stays as it is.
pub fn canonicalize(text: &str) -> Result<String, QuantityError> {
    let quantity: Quantity = text.parse()?;
    if text == "0" || stays_as_written(&Parts::split(text)?) {
        Ok(text.to_owned())
    } else {
        Ok(quantity.to_string())
    }
}

fn stays_as_written(parts: &Parts<'_>) -> bool {
    let digits = format!("{}{}", parts.whole, parts.fraction);
    let places = parts.fraction.len() as i32;
    match parts.unit {
        Unit::Binary(power) => {
            let fits = parts.whole.len() as i32 + (power as f32 * 3.0 / 10.0) as i32 <= 14;
            let value: i64 = parts.whole.parse().unwrap_or(0);
            fits && parts.fraction.is_empty() && !parts.no_point_but_dot() && value & 7 != 0
        }
        Unit::Decimal(power) | Unit::Exponent(power) => {
            let fits = digits.len() <= 18 && power - places >= -9;
            fits && (power - places) % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0')
        }
    }
}

enum Unit {
    Decimal(i32),
    Binary(u32),
    Exponent(i32),
}

struct Parts<'a> {
    negative: bool,
    /// Without leading zeros; `0` if nothing is left.
    whole: &'a str,
    fraction: &'a str,
    dotted: bool,
    unit: Unit,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Parts<'a>, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let negative = text.starts_with('-');
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let number_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let letters_end = suffix.find(|c: char| !"eEinumkKMGTP".contains(c)).unwrap_or(suffix.len());
        let exponent = suffix[letters_end..].strip_prefix(['-', '+']).unwrap_or(&suffix[letters_end..]);
        if !exponent.bytes().all(|b| b.is_ascii_digit()) || fraction.contains('.') {
            return Err(QuantityError::Format);
        }
        if whole.is_empty() && fraction.is_empty() && !unsigned.is_empty() {
            return Err(QuantityError::Number);
        }
        let stripped = whole.trim_start_matches('0');
        let whole = if stripped.is_empty() { "0" } else { stripped };
        Ok(Parts { negative, whole, fraction, dotted: number.contains('.'), unit: unit(suffix)? })
    }

    /// `1.Gi`: a dot without digits.
    fn no_point_but_dot(&self) -> bool {
        self.dotted && self.fraction.is_empty()
    }
}

fn unit(suffix: &str) -> Result<Unit, QuantityError> {
    Ok(match suffix {
        "" => Unit::Decimal(0),
        "n" => Unit::Decimal(-9),
        "u" => Unit::Decimal(-6),
        "m" => Unit::Decimal(-3),
        "k" => Unit::Decimal(3),
        "M" => Unit::Decimal(6),
        "G" => Unit::Decimal(9),
        "T" => Unit::Decimal(12),
        "P" => Unit::Decimal(15),
        "E" => Unit::Decimal(18),
        "Ki" => Unit::Binary(10),
        "Mi" => Unit::Binary(20),
        "Gi" => Unit::Binary(30),
        "Ti" => Unit::Binary(40),
        "Pi" => Unit::Binary(50),
        "Ei" => Unit::Binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
            Unit::Exponent(exponent.parse().map_err(|_| QuantityError::Suffix)?)
        }
    })
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Quantity, QuantityError> {
        let parts = Parts::split(text)?;
        let (power, factor, format) = match parts.unit {
            Unit::Decimal(power) => (power, 1, Format::DecimalSi),
            Unit::Exponent(power) => (power, 1, Format::DecimalExponent),
            Unit::Binary(shift) => (0, 1i128 << shift, Format::BinarySi),
        };
        let places = parts.fraction.len() as i32;
        let digits = parts.whole.bytes().chain(parts.fraction.bytes());
        let mut nanos = Some(0i128);
        for digit in digits {
            nanos = nanos.and_then(|n| n.checked_mul(10)?.checked_add(i128::from(digit - b'0')));
        }
        let nanos =
            nanos.and_then(|n| n.checked_mul(factor)).and_then(|n| shift_decimal(n, power - places + 9));
        let mut nanos = nanos.unwrap_or(i128::MAX);
        let mut format = format;
        if format == Format::BinarySi {
            nanos = nanos.min(i128::from(i64::MAX) * NANOS);
            if nanos > 0 && nanos < NANOS {
                format = Format::DecimalSi;
            }
        }
        Ok(Quantity { nanos: if parts.negative { -nanos } else { nanos }, format })
    }
}

/// `value × 10^power`, rounded away from zero; None where it does not fit.
fn shift_decimal(value: i128, power: i32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    if power >= 0 {
        return value.checked_mul(10i128.checked_pow(power.unsigned_abs())?);
    }
    let Some(divisor) = 10i128.checked_pow(power.unsigned_abs()) else {
        return Some(1);
    };
    Some(value / divisor + i128::from(value % divisor != 0))
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest unit that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANOS;
        if self.format == Format::BinarySi && !small && self.is_whole() {
            let mut value = self.nanos / NANOS;
            let mut index = 0;
            while value % 1024 == 0 && index < 6 {
                value /= 1024;
                index += 1;
            }
            return write!(f, "{value}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][index]);
        }
        let exponential = self.format == Format::DecimalExponent;
        let (mut value, mut power) = (self.nanos, -9);
        while value % 1000 == 0 && (exponential || power < 18) {
            value /= 1000;
            power += 3;
        }
        match (exponential, power) {
            (_, 0) => write!(f, "{value}"),
            (true, power) => write!(f, "{value}e{power}"),
            (false, power) => {
                let suffix = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][((power + 9) / 3) as usize];
                write!(f, "{value}{suffix}")
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos
    }
}
impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// A sum keeps the notation of its left side, unless that is zero.
impl Add for Quantity {
    type Output = Quantity;
    fn add(self, other: Quantity) -> Quantity {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Quantity { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}
impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}
impl Sub for Quantity {
    type Output = Quantity;
    fn sub(self, other: Quantity) -> Quantity {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Quantity { nanos: self.nanos.saturating_sub(other.nanos), format }
    }
}
impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Quantity) {
        *self = *self - other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantity {
        text.parse().expect(text)
    }

    #[test]
    fn canonical() {
        for (given, stored) in [
            ("0", "0"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1024Mi", "1Gi"),
            ("1025Mi", "1025Mi"),
            ("1000Mi", "1000Mi"),
            ("0.5Gi", "512Mi"),
            ("1.5Gi", "1536Mi"),
            ("1000k", "1M"),
            ("2000000", "2M"),
            ("1e3", "1e3"),
            ("1000e3", "1e6"),
            ("1E3", "1E3"),
            ("12e6", "12e6"),
            ("100", "100"),
            ("512", "512"),
            ("0.1n", "1n"),
            ("00", "0"),
            ("0Gi", "0"),
            ("-1", "-1"),
            ("16Ei", "9223372036854775807"),
            ("1u", "1u"),
            ("0.5Mi", "512Ki"),
            ("5.", "5."),
            (".5", "500m"),
        ] {
            assert_eq!(canonicalize(given).as_deref(), Ok(stored), "{given}");
        }
    }

    #[test]
    fn refused() {
        use QuantityError::{Format, Number, Suffix};
        for (given, error) in [
            ("", Format),
            ("1GiB", Format),
            ("x", Format),
            (".m", Number),
            ("1.2.3", Format),
            ("1ki", Suffix),
            ("1 ", Format),
            ("1e", Suffix),
        ] {
            assert_eq!(given.parse::<Quantity>(), Err(error), "{given}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(q("1500m").value(), 2);
        assert_eq!(q("1500m").milli_value(), 1500);
        assert_eq!(q("1Gi").value(), 1 << 30);
        assert_eq!(q("-1500m").value(), -2);
        assert_eq!((q("1Gi") + q("1Mi")).to_string(), "1025Mi");
        assert_eq!((q("1") - q("200m")).to_string(), "800m");
        assert!(q("1Ki") > q("1k"));
        assert_eq!(q("1000m"), q("1"));
        assert_eq!(q("1e40").value(), i64::MAX);
    }
}
