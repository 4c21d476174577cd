//! The forms of values: booleans, durations, numbers, choices and lists.

use std::ops::RangeInclusive;
use std::time::Duration;

use saphyr_parser::{Event, Parser};

use super::variables::Entry;
use super::{NOT_UTF8, Problems};
use crate::console::log::whole_or_length;

/// Longer lists are taken for a mistake.
const MAX_ITEMS: usize = 10_000;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("`{}` is not a boolean: write 'true' or 'false'", whole_or_length(.0))]
    Boolean(String),
    #[error("`{}` is not a duration: write for example '90s', '1m30s' or '500ms'", whole_or_length(.0))]
    Duration(String),
    #[error("must be more than 0")]
    Zero,
    #[error("`{}` is not a whole number from {} to {}", whole_or_length(value), bounds.start(), bounds.end())]
    Number { value: String, bounds: RangeInclusive<usize> },
    #[error("unallowed value `{}`: write one of {allowed}", whole_or_length(value))]
    Choice { value: String, allowed: String },
    #[error("looks like a YAML list but is not valid: write ['first', 'second'], or one item per line")]
    List,
}

impl<'a> Entry<'a> {
    /// The value, else the default; `None` if both are empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.or(Some(self.variable.default).filter(|default| !default.is_empty()))
    }

    pub(super) fn owned(&self) -> Option<String> {
        self.value.map(str::to_owned)
    }

    /// The value that the command cannot do without.
    pub(super) fn required(&self, problems: &mut Problems) -> Option<&'a str> {
        if self.value.is_none() {
            problems.add(self.variable.name, super::missing(self.is_blank()));
        }
        self.value
    }

    /// `true`, `yes`, `on`, `1` and their opposites, in any case.
    pub(super) fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        self.parsed(problems, |text| boolean(text).ok_or_else(|| ValueError::Boolean(text.to_owned())))
    }

    /// A duration above zero.
    pub(super) fn duration(&self, problems: &mut Problems) -> Option<Duration> {
        self.parsed(problems, |text| match duration(text) {
            Some(duration) if !duration.is_zero() => Ok(duration),
            Some(_) => Err(ValueError::Zero),
            None => Err(ValueError::Duration(text.to_owned())),
        })
    }

    pub(super) fn number(&self, bounds: RangeInclusive<usize>, problems: &mut Problems) -> Option<usize> {
        self.parsed(problems, |text| {
            let number = text.parse().ok().filter(|number| bounds.contains(number));
            number.ok_or_else(|| ValueError::Number { value: text.to_owned(), bounds: bounds.clone() })
        })
    }

    /// One of some words, in any case.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)], problems: &mut Problems) -> Option<T> {
        self.parsed(problems, |text| {
            let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
            found.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                ValueError::Choice { value: text.to_owned(), allowed: words.join(", ") }
            })
        })
    }

    /// The value or the default, parsed; an error becomes a problem of the variable.
    fn parsed<T>(&self, problems: &mut Problems, parse: impl Fn(&str) -> Result<T, ValueError>) -> Option<T> {
        let parsed = parse(self.value.unwrap_or(self.variable.default));
        parsed.map_err(|error| problems.add(self.variable.name, error)).ok()
    }

    /// A list in any of the forms it can arrive in.
    pub(super) fn list(&self, problems: &mut Problems) -> Option<Vec<String>> {
        let name = self.variable.name;
        match (self.numbered_items(problems)?, self.value) {
            (Some(_), Some(_)) => {
                problems.add(name, format!("is set twice, as `{name}` and as `{name}_COUNT`: remove one"));
                None
            }
            (Some(items), None) => Some(items),
            (None, text) => text_items(text.unwrap_or_default()).map_err(|error| problems.add(name, error)).ok(),
        }
    }

    /// A list of keys and values, each item split at its first separator.
    pub(super) fn pairs(&self, separator: char, problems: &mut Problems) -> Option<Vec<(String, String)>> {
        let items = self.list(problems)?;
        let pair = |(index, item): (usize, &String)| match item.split_once(separator) {
            Some((key, value)) if !key.trim().is_empty() => Some((key.trim().to_owned(), value.to_owned())),
            _ => {
                let form = if separator == '=' { "key=value" } else { "Key: Value" };
                // The item is not shown: it may be a secret whose key was forgotten.
                problems.add(self.variable.name, format!("item {index} is not of the form `{form}`"));
                None
            }
        };
        // All items are looked at, also after the first that is wrong.
        let pairs: Vec<_> = items.iter().enumerate().map(pair).collect();
        pairs.into_iter().collect()
    }

    /// The list as Bitbucket passes it: `NAME_COUNT`, `NAME_0`, `NAME_1`, …; `None` within if there is none.
    fn numbered_items(&self, problems: &mut Problems) -> Option<Option<Vec<String>>> {
        let (name, environment) = (self.variable.name, self.environment);
        let count_name = format!("{name}_COUNT");
        let Some(count) = environment.text(&count_name) else {
            let first = format!("{name}_0");
            if environment.is_garbled(&count_name) {
                problems.add(count_name, NOT_UTF8);
            } else if environment.get(&first).is_some() || environment.is_garbled(&first) {
                problems.add(first, format!("is set, but `{count_name}` is not: write `{name}` as a YAML list"));
            } else {
                return Some(None);
            }
            return None;
        };
        let count = match count.parse::<usize>() {
            Ok(count) if count <= MAX_ITEMS => count,
            Ok(_) => {
                problems.add(count_name, format!("more than {MAX_ITEMS} items"));
                return None;
            }
            Err(_) => {
                let count = whole_or_length(count);
                problems.add(count_name, format!("`{count}` is not a whole number: write `{name}` as a YAML list"));
                return None;
            }
        };
        let mut item = |index| {
            let item = format!("{name}_{index}");
            let value = environment.get(&item).map(str::to_owned);
            if value.is_none() {
                let message = format!("is missing: `{count_name}` is {count}");
                let garbled = environment.is_garbled(&item);
                problems.add(item, if garbled { NOT_UTF8 } else { &message });
            }
            value
        };
        (0..count).map(&mut item).collect::<Option<Vec<_>>>().map(Some)
    }
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `500ms`, `90s`, `1m30s`, `2h`; a bare whole number is seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, length) = match rest.as_bytes() {
            [b'm', b's', ..] => (Duration::from_millis(1), 2),
            [b's', ..] => (Duration::from_secs(1), 1),
            [b'm', ..] => (Duration::from_secs(60), 1),
            [b'h', ..] => (Duration::from_secs(3600), 1),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number)?)?;
        rest = &rest[length..];
    }
    (!text.is_empty()).then_some(total)
}

/// The list as one text: a YAML list, or one item per line.
pub(super) fn text_items(text: &str) -> Result<Vec<String>, ValueError> {
    let start = text.trim_start();
    if start.starts_with('[') || start.starts_with("- ") {
        return yaml_items(text.trim()).ok_or(ValueError::List);
    }
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(lines.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn yaml_items(text: &str) -> Option<Vec<String>> {
    let mut items = Vec::new();
    let mut depth = 0;
    for event in Parser::new_from_str(text) {
        match event.ok()?.0 {
            Event::SequenceStart(..) => depth += 1,
            Event::Scalar(value, ..) if depth == 1 => items.push(value.into_owned()),
            Event::Scalar(..) | Event::MappingStart(..) | Event::Alias(_) => return None,
            _ => {}
        }
        if depth > 1 || items.len() > MAX_ITEMS {
            return None;
        }
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_all_their_forms() {
        let rows = [
            ("500ms", Some(500)),
            ("90s", Some(90_000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("7", Some(7_000)),
            ("1h1m1s1ms", Some(3_661_001)),
            ("", None),
            ("s", None),
            ("5 s", None),
            ("-1s", None),
            ("1.5s", None),
            ("5x", None),
            ("10m5", None),
            ("99999999999999999999s", None),
        ];
        for (text, milliseconds) in rows {
            assert_eq!(duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn booleans_are_read_in_any_case() {
        for text in ["true", "True", "YES", "on", "1"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["false", "No", "OFF", "0"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        assert_eq!(boolean("maybe"), None);
    }

    #[test]
    fn lists_are_read_from_text() {
        let items = |text| text_items(text);
        assert_eq!(items("a=1\r\n\n b=2 \n"), Ok(vec!["a=1".to_owned(), " b=2 ".to_owned()]));
        assert_eq!(items("['a', \"b c\", d]"), Ok(vec!["a".to_owned(), "b c".to_owned(), "d".to_owned()]));
        assert_eq!(items("- a\n- 'b: c'\n"), Ok(vec!["a".to_owned(), "b: c".to_owned()]));
        assert_eq!(items("[]"), Ok(vec![]));
        for broken in ["['a'", "[a, [b]]", "[{a: b}]", "['a'] b"] {
            assert!(items(broken).is_err(), "{broken}");
        }
    }
}
