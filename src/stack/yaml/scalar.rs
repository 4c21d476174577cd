//! What yaml.v3 makes of plain scalars.

use super::Meaning;

/// What a plain scalar means, and its implicit tag in yaml.v3.
pub(super) fn implicit(text: &str) -> (Meaning, &'static str) {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => (Meaning::Null, "!!null"),
        "true" | "True" | "TRUE" => (Meaning::Boolean(true), "!!bool"),
        "false" | "False" | "FALSE" => (Meaning::Boolean(false), "!!bool"),
        // What begins otherwise is not looked at as a number.
        _ if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => {
            (Meaning::Text, "!!str")
        }
        _ if is_timestamp(text) => (Meaning::Other, "!!timestamp"),
        _ if is_integer(text) => (Meaning::Other, "!!int"),
        _ if is_float(text) => (Meaning::Other, "!!float"),
        _ => (Meaning::Text, "!!str"),
    }
}

fn is_integer(text: &str) -> bool {
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    !digits.starts_with(['-', '+']) && u64::from_str_radix(digits, radix).is_ok()
}

fn is_float(text: &str) -> bool {
    let plain = text.replace('_', "");
    let plain = if text.starts_with('.') { text } else { plain.as_str() };
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(plain, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let is_numeric = unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    is_numeric
        && unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && plain.parse::<f64>().is_ok()
}

/// `2001-1-1`, alone or with a time after `T`, `t` or a space.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = text.split_once(['T', 't', ' ']).map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.split('-');
    let mut part = |lengths: std::ops::RangeInclusive<usize>| {
        parts.next().is_some_and(|part| lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_date = part(4..=4) && part(1..=2) && part(1..=2) && parts.next().is_none();
    is_date && time.is_none_or(|time| time.bytes().filter(|byte| *byte == b':').count() >= 2 && !time.contains(' '))
}
