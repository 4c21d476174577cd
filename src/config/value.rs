//! The forms of values: booleans, durations, numbers and choices.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::variables::Entry;
use crate::console::log::whole_or_length;

impl<'a> Entry<'a> {
    /// The value, else the default; `None` if both are empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.or(Some(self.variable.default).filter(|default| !default.is_empty()))
    }

    pub(super) fn owned(&self) -> Option<String> {
        self.value.map(str::to_owned)
    }

    /// The value that the command cannot do without.
    pub(super) fn required(&self) -> Option<&'a str> {
        if self.value.is_none() {
            self.refuse(super::missing(self.is_blank()));
        }
        self.value
    }

    /// `true`, `yes`, `on`, `1` and their opposites, in any case.
    pub(super) fn boolean(&self) -> bool {
        self.parsed(boolean, |shown| format!("`{shown}` is not a boolean: write 'true' or 'false'"))
    }

    /// A duration above zero.
    pub(super) fn duration(&self) -> Duration {
        let form = |shown: &str| match duration(shown) {
            Some(_) => "must be more than 0".to_owned(),
            None => format!("`{shown}` is not a duration: write for example '90s', '1m30s' or '500ms'"),
        };
        self.parsed(|text| duration(text).filter(|duration| !duration.is_zero()), form)
    }

    pub(super) fn number(&self, bounds: RangeInclusive<u32>) -> u32 {
        let parse = |text: &str| text.parse().ok().filter(|number| bounds.contains(number));
        let (least, most) = (bounds.start(), bounds.end());
        self.parsed(parse, |shown| format!("`{shown}` is not a whole number from {least} to {most}"))
    }

    /// One of some words, in any case.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> T {
        let parse =
            |text: &str| choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        self.parsed(parse, |shown| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            format!("unallowed value `{shown}`: write one of {}", words.join(", "))
        })
    }

    /// The value parsed; the default if the variable is not set, or if its value is wrong, which becomes a problem.
    fn parsed<T>(&self, parse: impl Fn(&str) -> Option<T>, wrong: impl Fn(&str) -> String) -> T {
        let parsed = self.value.map(&parse);
        if let (Some(value), Some(None)) = (self.value, &parsed) {
            self.refuse(wrong(&whole_or_length(value)));
        }
        parsed.flatten().or_else(|| parse(self.variable.default)).expect("the defaults in the table are valid")
    }

    /// A value with a parser of its own; `None` if it is not set, or wrong.
    pub(super) fn parsed_by<T, E: ToString>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        self.value.and_then(|text| parse(text).map_err(|error| self.refuse(error)).ok())
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
}
