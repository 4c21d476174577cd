//! Kubernetes quantities (`resource.ParseQuantity`): `0.5` CPU and `500m` are the same, and a provider reports the second
//! for the first.

const BILLION: u128 = 1_000_000_000;

/// True if two quantities are equal; what is not a quantity is equal only to the same text.
pub(crate) fn is_equal(one: &str, other: &str) -> bool {
    one == other || nanos(one).is_some_and(|value| Some(value) == nanos(other))
}

/// A quantity in billionths, rounded up and saturating, as Kubernetes does; negative ones as 0.
pub(crate) fn nanos(text: &str) -> Option<u128> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end =
        unsigned.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent: Option<i32> = suffix.strip_prefix(['e', 'E']).and_then(|digits| digits.parse().ok());
    let place = |suffixes: &[&str]| Some(suffixes.iter().position(|known| *known == suffix)? as u32);
    let unit = if let Some(power) = place(&["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]) {
        1000_u128.pow(power)
    } else if let Some(power) = place(&["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) {
        BILLION * 1024_u128.pow(power + 1)
    } else {
        BILLION.saturating_mul(10_u128.saturating_pow(exponent?.max(0).unsigned_abs()))
    };
    let smaller = u32::try_from(fraction.len()).ok()?.saturating_add(exponent.unwrap_or(0).min(0).unsigned_abs());
    if text.starts_with('-') {
        return Some(0);
    }
    let digits = format!("{whole}{fraction}").parse().unwrap_or(u128::MAX);
    Some(digits.saturating_mul(unit).div_ceil(10_u128.saturating_pow(smaller)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_by_value() {
        for (one, other) in
            [("0.5", "500m"), ("1024Mi", "1Gi"), ("1", "1000m"), ("0.1", "100m"), ("1e3", "1k"), ("128M", "128000000")]
        {
            assert!(is_equal(one, other), "{one} {other}");
        }
        for (one, other) in [("128Mi", "128M"), ("1", "2"), ("100m", "100"), ("", "0"), ("x", "y"), (".", "0")] {
            assert!(!is_equal(one, other), "{one} {other}");
        }
        assert!(is_equal("as it is", "as it is"));
        assert!(!is_equal("999999999999999999999999999999999999999E", "1e99999999999"));
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        let rows = [
            ("1", BILLION),
            (".5", BILLION / 2),
            ("5.", 5 * BILLION),
            ("+2", 2 * BILLION),
            ("-2", 0),
            ("100m", BILLION / 10),
            ("1e-3", BILLION / 1000),
            ("1Ki", 1024 * BILLION),
            ("2E", 2 * BILLION * BILLION * BILLION),
            ("0.0000000001", 1),
            ("1e99", u128::MAX),
        ];
        for (text, expected) in rows {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
        for text in ["", ".", "m", "1.2.3", "1 Mi", "128MB", "128mb", "1K", "0x10", "1e", "inf", "--1"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
