//! The forms of values: booleans, durations, numbers, choices and lists.

use std::ops::RangeInclusive;
use std::time::Duration;

use saphyr_parser::{Event, Parser};

use super::variables::Entry;
use super::{NOT_UTF8, Problems};
use crate::console::log::whole_or_length;

/// A longer list is a mistake.
const MAX_ITEMS: usize = 10_000;

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
    pub(super) fn boolean(&self, problems: &mut Problems) -> bool {
        self.parsed(problems, boolean, |shown| format!("`{shown}` is not a boolean: write 'true' or 'false'"))
    }

    /// A duration above zero.
    pub(super) fn duration(&self, problems: &mut Problems) -> Duration {
        let form = |shown: &str| match duration(shown) {
            Some(_) => "must be more than 0".to_owned(),
            None => format!("`{shown}` is not a duration: write for example '90s', '1m30s' or '500ms'"),
        };
        self.parsed(problems, |text| duration(text).filter(|duration| !duration.is_zero()), form)
    }

    pub(super) fn number(&self, bounds: RangeInclusive<u32>, problems: &mut Problems) -> u32 {
        let parse = |text: &str| text.parse().ok().filter(|number| bounds.contains(number));
        let (least, most) = (bounds.start(), bounds.end());
        self.parsed(problems, parse, |shown| format!("`{shown}` is not a whole number from {least} to {most}"))
    }

    /// One of some words, in any case.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)], problems: &mut Problems) -> T {
        let parse =
            |text: &str| choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        self.parsed(problems, parse, |shown| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            format!("unallowed value `{shown}`: write one of {}", words.join(", "))
        })
    }

    /// The value parsed; the default if the variable is not set, or if its value is wrong, which becomes a problem.
    fn parsed<T>(
        &self,
        problems: &mut Problems,
        parse: impl Fn(&str) -> Option<T>,
        wrong: impl Fn(&str) -> String,
    ) -> T {
        let parsed = self.value.map(&parse);
        if let (Some(value), Some(None)) = (self.value, &parsed) {
            problems.add(self.variable.name, wrong(&whole_or_length(value)));
        }
        parsed.flatten().or_else(|| parse(self.variable.default)).expect("the defaults in the table are valid")
    }

    /// A value with a parser of its own; `None` if it is not set, or wrong.
    pub(super) fn parsed_by<T, E: ToString>(
        &self,
        problems: &mut Problems,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.value.and_then(|text| parse(text).map_err(|error| problems.add(self.variable.name, error)).ok())
    }

    /// A list in any of the forms it can arrive in, without what is wrong.
    pub(super) fn list(&self, problems: &mut Problems) -> Vec<String> {
        let name = self.variable.name;
        match (self.numbered_items(problems), self.value) {
            (Some(_), Some(_)) => {
                problems.add(name, format!("is set twice, as `{name}` and as `{name}_COUNT`: remove one"));
                Vec::new()
            }
            (Some(items), None) => items,
            (None, text) => text_items(text.unwrap_or_default()).unwrap_or_else(|| {
                let wrong = "looks like a YAML list but is not valid: write ['first', 'second'], or one item per line";
                problems.add(name, wrong);
                Vec::new()
            }),
        }
    }

    /// A list whose items have a parser of their own.
    pub(super) fn list_of<T, E: ToString>(
        &self,
        problems: &mut Problems,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let items = self.list(problems);
        let parsed = items.iter().map(|item| parse(item).map_err(|error| problems.add(self.variable.name, error)));
        parsed.filter_map(Result::ok).collect()
    }

    /// A list of keys and values, each item split at its first separator.
    pub(super) fn pairs(&self, separator: char, problems: &mut Problems) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (index, item) in self.list(problems).iter().enumerate() {
            match item.split_once(separator) {
                Some((key, value)) if !key.trim().is_empty() => pairs.push((key.trim().to_owned(), value.to_owned())),
                _ => {
                    let form = if separator == '=' { "key=value" } else { "Key: Value" };
                    // The item is not shown: it may be a secret whose key was forgotten.
                    problems.add(self.variable.name, format!("item {index} is not of the form `{form}`"));
                }
            }
        }
        pairs
    }

    /// The list as Bitbucket passes it: `NAME_COUNT`, `NAME_0`, `NAME_1`, …; `None` if it does not.
    fn numbered_items(&self, problems: &mut Problems) -> Option<Vec<String>> {
        let (name, environment) = (self.variable.name, self.environment);
        let count_name = format!("{name}_COUNT");
        let Some(count) = environment.text(&count_name) else {
            let first = format!("{name}_0");
            if environment.is_garbled(&count_name) {
                problems.add(count_name, NOT_UTF8);
            } else if environment.get(&first).is_some() || environment.is_garbled(&first) {
                problems.add(first, format!("is set, but `{count_name}` is not: write `{name}` as a YAML list"));
            }
            return None;
        };
        let Some(number) = count.parse::<usize>().ok().filter(|number| *number <= MAX_ITEMS) else {
            let count = whole_or_length(count);
            let message = format!("`{count}` is not a whole number up to {MAX_ITEMS}: write `{name}` as a YAML list");
            problems.add(count_name, message);
            return Some(Vec::new());
        };
        let mut items = Vec::new();
        for item in (0..number).map(|index| format!("{name}_{index}")) {
            match environment.get(&item) {
                Some(value) => items.push(value.to_owned()),
                None if environment.is_garbled(&item) => problems.add(item, NOT_UTF8),
                None => problems.add(item, format!("is missing: `{count_name}` is {number}")),
            }
        }
        Some(items)
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
pub(super) fn text_items(text: &str) -> Option<Vec<String>> {
    let start = text.trim_start();
    if start.starts_with('[') || start.starts_with("- ") {
        return yaml_items(text.trim());
    }
    Some(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
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
        let items = |text| text_items(text).expect(text);
        assert_eq!(items("a=1\r\n\n b=2 \n"), ["a=1", " b=2 "]);
        assert_eq!(items("['a', \"b c\", d]"), ["a", "b c", "d"]);
        assert_eq!(items("- a\n- 'b: c'\n"), ["a", "b: c"]);
        assert_eq!(items("[]"), [""; 0]);
        for broken in ["['a'", "[a, [b]]", "[{a: b}]", "['a'] b"] {
            assert_eq!(text_items(broken), None, "{broken}");
        }
    }
}
