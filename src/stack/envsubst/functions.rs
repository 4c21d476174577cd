//! The operators of an expression.

use super::super::MAX_FILE;
use super::FaultKind;
use crate::console::log::whole_or_length;

/// The longest value that a pattern is matched with, in bytes: trying each of its prefixes takes the square of the time.
const MAX_MATCHED: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Value,
    Length,
    Default,
    Substring,
    /// Of a prefix or a suffix.
    Trim {
        suffix: bool,
        longest: bool,
    },
    ReplaceFirst,
    ReplaceAll,
    ReplacePrefix,
    ReplaceSuffix,
    /// Of all letters or of the first.
    Case {
        upper: bool,
        all: bool,
    },
}

/// Applies an operator to the value of the variable `name`. Lengths and offsets count bytes, as they do in faas-cli.
pub(super) fn apply(operator: Operator, name: &str, value: &str, arguments: &[String]) -> Result<String, FaultKind> {
    let first = arguments.first().map_or("", String::as_str);
    let second = arguments.get(1).map(String::as_str);
    Ok(match operator {
        Operator::Length => value.len().to_string(),
        Operator::Default if value.is_empty() => arguments.concat(),
        Operator::Value | Operator::Default => value.to_owned(),
        Operator::Substring => substring(name, value, first, second)?.to_owned(),
        Operator::Trim { .. } if value.len() > MAX_MATCHED => return Err(FaultKind::TooLong),
        Operator::Trim { suffix, longest } => trim(value, first, suffix, longest),
        Operator::ReplaceFirst => replace(value, first, second.unwrap_or_default(), 1)?,
        Operator::ReplaceAll => replace(value, first, second.unwrap_or_default(), usize::MAX)?,
        Operator::ReplacePrefix => match (second, value.strip_prefix(first)) {
            (Some(second), Some(rest)) => [second, rest].concat(),
            _ => value.to_owned(),
        },
        Operator::ReplaceSuffix => match (second, value.strip_suffix(first)) {
            (Some(second), Some(rest)) => [rest, second].concat(),
            _ => value.to_owned(),
        },
        Operator::Case { upper: is_upper, all } => {
            let change = if is_upper { upper } else { lower };
            if all { value.chars().map(change).collect() } else { change_first(value, change) }
        }
    })
}

/// From an offset, which counts from the end if it is negative; the whole value if offset or length is not a number.
fn substring<'a>(name: &str, value: &'a str, offset: &str, length: Option<&str>) -> Result<&'a str, FaultKind> {
    let size = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let Ok(start) = offset.parse::<i64>() else { return Ok(value) };
    let start = if start < 0 { size.saturating_add(start).max(0) } else { start };
    // Sums wrap around as they do in Go, whose program faas-cli is.
    let end = match length.map(str::parse::<i64>) {
        Some(Err(_)) => return Ok(value),
        Some(Ok(length)) => start.wrapping_add(length),
        None => size,
    };
    let (start, end) = if end >= size { (start.min(size), size) } else { (start, end) };
    if end < start {
        return Err(FaultKind::NegativeLength { name: whole_or_length(name) });
    }
    value.get(start as usize..end as usize).ok_or(FaultKind::CutCharacter)
}

/// Replaces the first `times` occurrences; an empty pattern is found before each character and at the end.
fn replace(value: &str, pattern: &str, with: &str, times: usize) -> Result<String, FaultKind> {
    let count = value.matches(pattern).take(times).count();
    if count.saturating_mul(with.len()) > MAX_FILE {
        return Err(FaultKind::TooLong);
    }
    Ok(value.replacen(pattern, with, times))
}

/// Removes the shortest or longest prefix or suffix, not empty, that a pattern matches.
fn trim(value: &str, pattern: &str, suffix: bool, longest: bool) -> String {
    let [mut text, mut pattern] = [value, pattern].map(|text| text.chars().collect::<Vec<char>>());
    // As in faas-cli: text and pattern are reversed to match a suffix. A class such as `[a-z]` is not valid when reversed.
    if suffix {
        text.reverse();
        pattern.reverse();
    }
    let mut lengths = 1..=text.len();
    let is_matched = |length: &usize| matches(&pattern, &text[..*length]);
    let found = if longest { lengths.rev().find(is_matched) } else { lengths.find(is_matched) };
    text.drain(..found.unwrap_or_default());
    if suffix {
        text.reverse();
    }
    text.into_iter().collect()
}

/// True if a pattern of `*`, `?`, `[a-z]`, `[^a-z]` and `\c` matches a whole text; `*` matches `/` too.
///
/// A pattern that is malformed matches nothing. Going back to the last `*` only is enough, and never takes long.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last `*`, with one character more for it.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                star = Some((p, t));
                continue;
            }
            None if t == text.len() => return true,
            Some(_) if t < text.len() => {
                if let Some(used) = match_one(&pattern[p..], text[t]) {
                    p += used;
                    t += 1;
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

/// How long the first element of a pattern is, other than `*`, if it matches a character.
fn match_one(pattern: &[char], character: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', class @ ..] => Some(1 + match_class(class, character)?),
        ['\\', escaped, ..] => (*escaped == character).then_some(2),
        [plain, ..] => (*plain != '\\' && *plain == character).then_some(1),
        [] => None,
    }
}

/// How long a class is, from after its `[`, if it is well-formed and holds a character.
fn match_class(class: &[char], character: char) -> Option<usize> {
    let is_negated = class.first() == Some(&'^');
    let start = usize::from(is_negated);
    let mut at = start;
    let mut found = false;
    while at == start || *class.get(at)? != ']' {
        let low = class_member(class, &mut at)?;
        let mut high = low;
        if class.get(at) == Some(&'-') {
            at += 1;
            high = class_member(class, &mut at)?;
        }
        found |= (low..=high).contains(&character);
    }
    (found != is_negated).then_some(at + 1)
}

fn class_member(class: &[char], at: &mut usize) -> Option<char> {
    match class.get(*at)? {
        '-' | ']' => return None,
        '\\' => *at += 1,
        _ => {}
    }
    let character = class.get(*at)?;
    *at += 1;
    Some(*character)
}

fn change_first(value: &str, change: fn(char) -> char) -> String {
    let mut characters = value.chars();
    let first = characters.next().map(change);
    first.into_iter().chain(characters).collect()
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
