//! What the operators of an expression do with a value. Lengths and offsets count bytes.

use super::parse::Operator;

/// The longest value that a pattern is matched with, in bytes: trying each of its prefixes takes the square of the time.
const MAX_MATCHED: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    NegativeLength,
    TooLong,
}

/// What an operator makes of a value; nothing longer than `limit`.
pub(super) fn apply(operator: Operator, value: &str, arguments: &[Vec<u8>], limit: usize) -> Result<Vec<u8>, Stop> {
    let bytes = value.as_bytes();
    let first = arguments.first().map_or(&[][..], Vec::as_slice);
    let second = arguments.get(1).map(Vec::as_slice);
    Ok(match operator {
        Operator::Value => bytes.to_vec(),
        Operator::Length => bytes.len().to_string().into_bytes(),
        Operator::Default if value.is_empty() => arguments.concat(),
        Operator::Default => bytes.to_vec(),
        Operator::Substring => substring(bytes, first, second)?.to_vec(),
        Operator::TrimPrefix { .. } | Operator::TrimSuffix { .. } if value.len() > MAX_MATCHED => {
            return Err(Stop::TooLong);
        }
        Operator::TrimPrefix { longest } => bytes[matched_prefix(bytes, first, longest)..].to_vec(),
        Operator::TrimSuffix { longest } => {
            let (reversed, pattern) = (reverse(bytes), reverse(first));
            let length = matched_prefix(&reversed, &pattern, longest);
            reverse(&reversed[length..])
        }
        Operator::ReplaceFirst => replace(bytes, first, second.unwrap_or_default(), 1, limit)?,
        Operator::ReplaceAll => replace(bytes, first, second.unwrap_or_default(), usize::MAX, limit)?,
        Operator::ReplacePrefix => match second {
            Some(second) if bytes.starts_with(first) => replace(bytes, first, second, 1, limit)?,
            _ => bytes.to_vec(),
        },
        Operator::ReplaceSuffix => match (second, bytes.strip_suffix(first)) {
            (Some(second), Some(rest)) => [rest, second].concat(),
            _ => bytes.to_vec(),
        },
        Operator::LowerFirst => change_first(value, lower),
        Operator::Lower => value.chars().map(lower).collect::<String>().into_bytes(),
        Operator::UpperFirst => change_first(value, upper),
        Operator::Upper => value.chars().map(upper).collect::<String>().into_bytes(),
    })
}

/// From an offset, which counts from the end if it is negative; the whole value if offset or length is not a number.
fn substring<'a>(value: &'a [u8], offset: &[u8], length: Option<&[u8]>) -> Result<&'a [u8], Stop> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    let size = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let Some(mut start) = number(offset) else {
        return Ok(value);
    };
    if start < 0 {
        start = size.saturating_add(start).max(0);
    }
    let end = match length.map(number) {
        Some(None) => return Ok(value),
        Some(Some(length)) => start.wrapping_add(length),
        None => size,
    };
    if end >= size {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        return Ok(value.get(start..).unwrap_or_default());
    }
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) => value.get(start..end).ok_or(Stop::NegativeLength),
        _ => Err(Stop::NegativeLength),
    }
}

/// Replaces the first `times` occurrences; an empty pattern is found before each character and at the end.
fn replace(value: &[u8], pattern: &[u8], with: &[u8], times: usize, limit: usize) -> Result<Vec<u8>, Stop> {
    let mut out = Vec::new();
    let (mut at, mut done) = (0, 0);
    while at < value.len() || pattern.is_empty() {
        if out.len() > limit {
            return Err(Stop::TooLong);
        }
        if done < times && value[at..].starts_with(pattern) {
            out.extend_from_slice(with);
            done += 1;
            at += pattern.len();
            if !pattern.is_empty() {
                continue;
            }
        }
        let length = if pattern.is_empty() { decode(&value[at..]).map_or(0, |(_, length)| length) } else { 1 };
        if length == 0 {
            break;
        }
        out.extend_from_slice(&value[at..at + length]);
        at += length;
    }
    if out.len() > limit { Err(Stop::TooLong) } else { Ok(out) }
}

/// The length of the shortest or longest prefix, not empty, that a pattern matches; 0 if it matches none.
fn matched_prefix(value: &[u8], pattern: &[u8], longest: bool) -> usize {
    let mut lengths = 1..=value.len();
    let is_matched = |length: &usize| matches(pattern, &value[..*length]);
    let found = if longest { lengths.rev().find(is_matched) } else { lengths.find(is_matched) };
    found.unwrap_or_default()
}

/// Whether a pattern of `*`, `?`, `[a-z]`, `[^a-z]` and `\c` matches a whole text; `*` matches `/` too.
///
/// A pattern that is wrong matches nothing.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last `*`, with one byte more for it.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, t));
                continue;
            }
            None if t == text.len() => return true,
            Some(_) if t < text.len() => {
                if let Some((pattern, text)) = match_one(&pattern[p..], &text[t..]) {
                    p += pattern;
                    t += text;
                    continue;
                }
            }
            _ => {}
        }
        match &mut star {
            Some((after, from)) if *from < text.len() => {
                *from += 1;
                (p, t) = (*after, *from);
            }
            _ => return false,
        }
    }
}

/// Matches one element other than `*` at the start of a text that is not empty: how many bytes it takes of each. An element
/// that is malformed matches nothing.
fn match_one(pattern: &[u8], text: &[u8]) -> Option<(usize, usize)> {
    let (character, length) = decode(text)?;
    match pattern {
        [b'?', ..] => Some((1, length)),
        [b'[', class @ ..] => {
            let (is_member, used) = match_class(class, character)?;
            is_member.then_some((used + 1, length))
        }
        [b'\\', byte, ..] if *byte == text[0] => Some((2, 1)),
        [byte, ..] if *byte != b'\\' && *byte == text[0] => Some((1, 1)),
        _ => None,
    }
}

/// Whether a class, from after its `[`, holds a character, and its length; `None` if it is malformed.
fn match_class(class: &[u8], character: char) -> Option<(bool, usize)> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    let mut members = 0;
    while members == 0 || class.get(at) != Some(&b']') {
        let low = class_member(class, &mut at)?;
        let mut high = low;
        if class.get(at) == Some(&b'-') {
            at += 1;
            high = class_member(class, &mut at)?;
        }
        found |= (low..=high).contains(&character);
        members += 1;
    }
    Some((found != negated, at + 1))
}

/// A member of a class; something must follow it.
fn class_member(class: &[u8], at: &mut usize) -> Option<char> {
    match class.get(*at)? {
        b'-' | b']' => return None,
        b'\\' => *at += 1,
        _ => {}
    }
    let (character, length) = decode(&class[*at..])?;
    *at += length;
    let is_invalid = character == char::REPLACEMENT_CHARACTER && length == 1;
    (!is_invalid && *at < class.len()).then_some(character)
}

/// The first character and its length; a byte that is no UTF-8 counts as U+FFFD of length 1.
fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let length = match bytes.first()? {
        0..0x80 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    let character = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()?.chars().next());
    Some(character.map_or((char::REPLACEMENT_CHARACTER, 1), |character| (character, length)))
}

fn reverse(mut bytes: &[u8]) -> Vec<u8> {
    let mut characters = Vec::with_capacity(bytes.len());
    while let Some((character, length)) = decode(bytes) {
        characters.push(character);
        bytes = &bytes[length..];
    }
    characters.into_iter().rev().collect::<String>().into_bytes()
}

fn change_first(value: &str, change: fn(char) -> char) -> Vec<u8> {
    let mut characters = value.chars();
    let first = characters.next().map(change);
    first.into_iter().chain(characters).collect::<String>().into_bytes()
}

/// One character stays one: `İ` becomes `i`.
fn lower(character: char) -> char {
    character.to_lowercase().next().unwrap_or(character)
}

/// One character stays one: `ß` has no upper case.
fn upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => character,
    }
}
