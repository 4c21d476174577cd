//! Kubernetes quantities: `0.5` CPU and `500m` are the same, and a provider gives back the second for the first.

/// Whether two quantities are equal; what is no quantity is compared to the letter.
pub(crate) fn is_equal(one: &str, other: &str) -> bool {
    one == other || nanos(one).is_some_and(|value| Some(value) == nanos(other))
}

/// A quantity in billionths; nothing for one that is none, too large, or not a whole number of them.
fn nanos(text: &str) -> Option<u128> {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let factor: u128 = match suffix {
        "n" => 1,
        "u" => 1000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        _ => 1_000_000_000_u128.checked_mul(unit(suffix)?)?,
    };
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(factor)?;
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    scaled.is_multiple_of(divisor).then_some(scaled / divisor)
}

fn unit(suffix: &str) -> Option<u128> {
    let power = |base: u128, exponent| base.checked_pow(exponent);
    match suffix {
        "k" => power(1000, 1),
        "M" => power(1000, 2),
        "G" => power(1000, 3),
        "T" => power(1000, 4),
        "P" => power(1000, 5),
        "E" => power(1000, 6),
        "Ki" => power(1024, 1),
        "Mi" => power(1024, 2),
        "Gi" => power(1024, 3),
        "Ti" => power(1024, 4),
        "Pi" => power(1024, 5),
        "Ei" => power(1024, 6),
        _ => power(10, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
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
}
