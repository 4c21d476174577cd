//! The forms of values: booleans, durations, numbers, choices and lists.

use std::time::Duration;

use saphyr_parser::{Event, Parser};

use super::variables::{Entry, Variable};
use super::{Environment, NOT_TEXT};

/// Items of one list beyond which it is taken for a mistake.
const MOST_ITEMS: usize = 10_000;

/// What is wrong with a variable, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invalid {
    /// The variable's name.
    pub name: String,
    /// What is wrong and what to write.
    pub message: String,
}

/// Collects what is wrong, so that all of it is told at once.
#[derive(Debug, Default)]
pub struct Problems(pub(super) Vec<Invalid>);

impl Problems {
    /// Adds one; told once however often it is found.
    pub fn add(&mut self, name: impl Into<String>, message: impl Into<String>) {
        let invalid = Invalid { name: name.into(), message: message.into() };
        if !self.0.contains(&invalid) {
            self.0.push(invalid);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each problem on a line of its own, for where it is only a warning.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|Invalid { name, message }| format!("`{name}`: {message}"))
    }

    /// The problems by name, in the shape that Bitbucket's official pipes have made known.
    pub fn report(mut self) -> String {
        self.0.sort();
        let mut text = "Validation errors:".to_owned();
        let mut last = String::new();
        for Invalid { name, message } in self.0 {
            if name != last {
                text.push_str(&format!("\n{name}:"));
                last = name;
            }
            text.push_str(&format!("\n- {message}"));
        }
        text
    }
}

impl<'a> Entry<'a> {
    /// The value, else the default; absent where both are empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.or(Some(self.variable.default).filter(|default| !default.is_empty()))
    }

    /// `true`, `yes`, `on`, `1` and their opposites, in any case.
    pub(super) fn boolean(&self, problems: &mut Problems) -> bool {
        self.parsed(problems, |text| {
            boolean(text).ok_or_else(|| {
                format!("`{}` is not a boolean: write 'true' or 'false'", crate::console::log::quote(text))
            })
        })
    }

    /// A duration above zero.
    pub(super) fn duration(&self, problems: &mut Problems) -> Duration {
        self.parsed(problems, |text| match duration(text) {
            Some(duration) if !duration.is_zero() => Ok(duration),
            Some(_) => Err("must be more than 0".to_owned()),
            None => Err(format!(
                "`{}` is not a duration: write for example '90s', '1m30s' or '500ms'",
                crate::console::log::quote(text)
            )),
        })
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, bounds: std::ops::RangeInclusive<usize>, problems: &mut Problems) -> usize {
        self.parsed(problems, |text| {
            text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
                let (from, to) = bounds.clone().into_inner();
                format!("`{}` is not a whole number from {from} to {to}", crate::console::log::quote(text))
            })
        })
    }

    /// One of some words, in any case.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)], problems: &mut Problems) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            problems.add(
                self.variable.name,
                format!("unallowed value `{}`: write one of {}", crate::console::log::quote(text), words.join(", ")),
            );
        }
        found.map(|(_, value)| *value)
    }

    /// A wrong value gives the default, so that the search for problems can go on.
    fn parsed<T: Default>(&self, problems: &mut Problems, parse: impl Fn(&str) -> Result<T, String>) -> T {
        match self.value.map(&parse) {
            Some(Ok(value)) => return value,
            Some(Err(message)) => problems.add(self.variable.name, message),
            None => {}
        }
        parse(self.variable.default).unwrap_or_default()
    }

    /// A list in any of the forms it can arrive in.
    pub(super) fn list(&self, environment: &Environment, problems: &mut Problems) -> Vec<String> {
        match numbered_items(self.variable, environment) {
            Ok(Some(_)) if self.value.is_some() => {
                let name = self.variable.name;
                problems.add(name, format!("given twice: as `{name}` and as `{name}_COUNT`; remove one"));
                Vec::new()
            }
            Ok(Some(items)) => items,
            Ok(None) => text_items(self.value.unwrap_or_default()).unwrap_or_else(|message| {
                problems.add(self.variable.name, message);
                Vec::new()
            }),
            Err((name, message)) => {
                problems.add(name, message);
                Vec::new()
            }
        }
    }

    /// A list of keys and values, each item split at its first separator.
    pub(super) fn pairs(
        &self,
        separator: char,
        environment: &Environment,
        problems: &mut Problems,
    ) -> Vec<(String, String)> {
        let items = self.list(environment, problems);
        let mut pairs = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.split_once(separator) {
                Some((key, value)) if !key.trim().is_empty() => pairs.push((key.trim().to_owned(), value.to_owned())),
                _ => {
                    let form = if separator == '=' { "key=value" } else { "Key: Value" };
                    // The item itself may be a secret without its key.
                    problems.add(self.variable.name, format!("item {index} is not of the form `{form}`"));
                }
            }
        }
        pairs
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

/// The list as Bitbucket passes it: `NAME_COUNT`, `NAME_0`, `NAME_1`, …
fn numbered_items(variable: &Variable, environment: &Environment) -> Result<Option<Vec<String>>, (String, String)> {
    let name = variable.name;
    let count_name = format!("{name}_COUNT");
    let Some(count) = environment.text(&count_name) else {
        if environment.is_garbled(&count_name) {
            return Err((count_name, NOT_TEXT.to_owned()));
        }
        let first = format!("{name}_0");
        if environment.get(&first).is_some() || environment.is_garbled(&first) {
            return Err((first, format!("is set, but `{count_name}` is not: write `{name}` as a YAML list")));
        }
        return Ok(None);
    };
    let count = match count.parse::<usize>() {
        Ok(count) if count <= MOST_ITEMS => count,
        Ok(_) => return Err((count_name, format!("more than {MOST_ITEMS} items"))),
        Err(_) => {
            let message =
                format!("`{}` is not a whole number: write `{name}` as a YAML list", crate::console::log::quote(count));
            return Err((count_name, message));
        }
    };
    let item = |index| {
        let item = format!("{name}_{index}");
        match environment.get(&item) {
            Some(value) => Ok(value.to_owned()),
            None if environment.is_garbled(&item) => Err((item, NOT_TEXT.to_owned())),
            None => Err((item, format!("is missing: `{count_name}` says {count} items"))),
        }
    };
    (0..count).map(item).collect::<Result<Vec<_>, _>>().map(Some)
}

/// The list as one text: a YAML list, or one item a line.
pub(super) fn text_items(text: &str) -> Result<Vec<String>, String> {
    let start = text.trim_start();
    if start.starts_with('[') || start.starts_with("- ") {
        return yaml_items(text.trim()).ok_or_else(|| {
            "looks like a list and cannot be read as one: write ['first', 'second'], or one item a line".to_owned()
        });
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
        if depth > 1 || items.len() > MOST_ITEMS {
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
