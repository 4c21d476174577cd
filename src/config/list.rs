//! Lists: the forms in which they arrive, and what cannot have been meant as an item.

use std::collections::BTreeSet;

use granit_parser::{Event, Parser, ScalarStyle};

use super::value::{absent, is_switch, is_unexpanded, not_expanded, not_filled_in};
use super::variables::{Entry, ValueKind};
use super::{Environment, NOT_UTF8};
use crate::console::log::whole_or_length;
use crate::text::{self, variable_name};

/// A longer list is a mistake.
const MAX_ITEMS: usize = 10_000;

impl Entry<'_> {
    /// A list in any of the forms it can arrive in; empty if anything is wrong with it.
    pub(super) fn list(&self) -> Vec<String> {
        let name = self.variable.name;
        let items = match (self.numbered_items(), self.value) {
            (Some(_), Some(_)) => {
                self.refuse(format!("is set twice, as `{name}` and as `{name}_COUNT`: remove one"));
                Vec::new()
            }
            (Some(items), None) => items,
            (None, text) => text_items(text.unwrap_or_default()).unwrap_or_else(|wrong| {
                self.refuse(wrong);
                Vec::new()
            }),
        };
        if let Some(switch) = self.value.filter(|text| is_switch(text)) {
            self.refuse(format!("is the boolean `{}`, but takes a list: write ['first', 'second']", switch.trim()));
        }
        for (index, item) in items.iter().enumerate() {
            if let Some(wrong) = wrong_item(item, self.variable.kind) {
                self.refuse(format!("item {} {wrong}", index + 1));
            } else if self.value.is_some_and(|text| !is_yaml(text)) && item.trim_end().ends_with([',', ';', '\\']) {
                self.refuse(format!(
                    "item {} ends with `,`, `;` or `\\`: remove it, or write a list, ['first', 'second'], if it is meant",
                    index + 1
                ));
            }
        }
        // A list is never used in part: what is left of it would deploy something else.
        if self.is_wrong() { Vec::new() } else { items }
    }

    /// A list of names, which have neither commas nor white space.
    pub(super) fn names(&self) -> Vec<String> {
        let is_gap = |character: char| ",;|،、，；".contains(character) || character.is_whitespace();
        let mut names = Vec::new();
        for item in self.list() {
            let parts: Vec<_> =
                with_breaks(&item).split(is_gap).filter(|part| !part.is_empty()).map(str::to_owned).collect();
            if parts.len() > 1 || item.trim().ends_with(is_gap) {
                self.refuse(format!("`{}` is several names: {}", whole_or_length(&item), write_list(&parts)));
            } else {
                names.push(item.trim().to_owned());
            }
        }
        names
    }

    /// A list of names that have a parser of their own.
    pub(super) fn list_of<T, E: ToString>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let names = self.names();
        names.iter().filter_map(|name| parse(name).map_err(|error| self.refuse(error)).ok()).collect()
    }

    /// A list of keys and values, each item split at its first separator: `=`, or `:` for headers.
    pub(super) fn pairs(&self, separator: char, key_fault: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (index, item) in self.items_with(separator).iter().enumerate() {
            let pair = pair(item, separator, self.variable.kind == ValueKind::List);
            match pair.and_then(|pair| key_fault(&pair.0).map_or(Ok(pair), Err)) {
                Ok(pair) => pairs.push(pair),
                Err(wrong) => self.refuse(format!("item {} {wrong}", index + 1)),
            }
        }
        pairs
    }

    /// A list of texts, many of which are keys and values, such as constraints. One line such as `A=1,B=2` is refused.
    pub(super) fn items_with(&self, separator: char) -> Vec<String> {
        let items = self.list();
        // What looks like another name may be a part of the first value.
        let form = |(index, name): (usize, &str)| match separator {
            _ if index > 0 => "…".to_owned(),
            '=' => format!("{name}=…"),
            _ => format!("{name}: …"),
        };
        self.check_lines(&items, |line| names_in_line(line, separator).into_iter().enumerate().map(form).collect());
        items
    }

    /// True if it arrived as a list, even an empty one.
    pub(super) fn is_a_list(&self) -> bool {
        self.value.is_some_and(is_yaml) || self.environment.text(&format!("{}_COUNT", self.variable.name)).is_some()
    }

    /// True if the list is several lines of text, without the brackets of a list.
    pub(super) fn is_lines(&self) -> bool {
        self.value.is_some_and(|text| !is_yaml(text) && text.trim().contains('\n'))
    }

    /// Refuses lines that are several items by their form: in lines of text, people separate items as they do elsewhere, while an
    /// item of a YAML list may have any text.
    pub(super) fn check_lines(&self, items: &[String], split: impl Fn(&str) -> Vec<String>) {
        if self.value.is_none_or(is_yaml) {
            return;
        }
        for parts in items.iter().map(|line| split(&with_breaks(line))).filter(|parts| parts.len() > 1) {
            // The keys of secrets may be parts of a value.
            let shown = if self.variable.kind == ValueKind::SecretList { &[][..] } else { &parts };
            self.refuse(format!(
                "is one line that looks like {} items: {}; if it is one item, write it as a list of one",
                parts.len(),
                write_list(shown)
            ));
        }
    }

    /// The list as Bitbucket passes it: `NAME_COUNT`, `NAME_0`, `NAME_1`, …; `None` if it does not.
    fn numbered_items(&self) -> Option<Vec<String>> {
        let (name, environment) = (self.variable.name, self.environment);
        let refuse = |part: &str, message: &str| self.problems.borrow_mut().add(part, message);
        let mut set: BTreeSet<&str> = environment.numbered(name).collect();
        let count_name = format!("{name}_COUNT");
        set.remove(count_name.as_str());
        if environment.is_garbled(&count_name) {
            refuse(&count_name, NOT_UTF8);
            return Some(Vec::new());
        }
        let Some(count) = environment.text(&count_name) else {
            for item in &set {
                refuse(item, &format!("is set, but `{count_name}` is not: write `{name}` as a YAML list"));
            }
            return (!set.is_empty()).then(Vec::new);
        };
        let Some(number) = count.parse::<usize>().ok().filter(|number| *number <= MAX_ITEMS) else {
            let count = whole_or_length(count);
            let message = format!("`{count}` is not a whole number up to {MAX_ITEMS}: write `{name}` as a YAML list");
            refuse(&count_name, &message);
            return Some(Vec::new());
        };
        let mut items = Vec::new();
        for item in (0..number).map(|index| format!("{name}_{index}")) {
            set.remove(item.as_str());
            match environment.get(&item) {
                Some(value) => items.push(value.to_owned()),
                None if environment.is_garbled(&item) => refuse(&item, NOT_UTF8),
                None => refuse(&item, &format!("is missing: `{count_name}` is {number}")),
            }
        }
        for item in set {
            refuse(item, &format!("is set, but `{count_name}` is {number}: write `{name}` as a YAML list"));
        }
        Some(items)
    }
}

/// With a comma for each `\n`: as text it is a line break that nothing has read as one.
fn with_breaks(line: &str) -> String {
    line.replace("\\n", ",")
}

/// The items of a list as far as they can be read.
pub(super) fn items(environment: &Environment, name: &str) -> Vec<String> {
    match environment.text(name) {
        Some(text) => text_items(text).unwrap_or_else(|_| text.lines().map(str::to_owned).collect()),
        None => (0..).map_while(|index| environment.get(&format!("{name}_{index}"))).map(str::to_owned).collect(),
    }
}

/// True if the list arrived as lines of text, without the brackets of a list.
pub(super) fn is_lines(environment: &Environment, name: &str) -> bool {
    environment.text(name).is_some_and(|text| !is_yaml(text))
}

/// True if the lines of an item are named as items are.
pub(super) fn is_several(item: &str) -> bool {
    let is_named = |line: &str| line.split_once('=').is_some_and(|(key, _)| is_key(key) && is_upper_case(key));
    is_named(item) && item.lines().skip(1).any(is_named)
}

/// The text after the first separator; the whole item if it has none.
pub(super) fn value_of(item: &str) -> &str {
    item.split_once(['=', ':']).map_or(item, |(_, value)| value)
}

fn wrong_item(item: &str, kind: ValueKind) -> Option<String> {
    if item.trim().is_empty() {
        return Some(
            "is empty: check that the variable it refers to is defined for this deployment environment".into(),
        );
    }
    let (key, value) = item.split_once(['=', ':']).unwrap_or((item, ""));
    if text::is_absent(item) || kind == ValueKind::SecretList && text::is_absent(value) {
        return Some(absent(if text::is_absent(item) { item } else { value }));
    }
    if let Some(quote) = item.trim_start().chars().next().filter(|first| ['\'', '"'].contains(first)) {
        return Some(format!("begins with `{quote}`, which is a part of it: remove quotes within quotes"));
    }
    if item.trim_start().starts_with('[') && item.trim_end().ends_with(']') {
        return Some("is a list within the list: write its items as items of their own".to_owned());
    }
    // A secret may begin with `$`: only what is written as a variable's name usually is counts as one.
    let is_name = |text: &&str| match kind {
        _ if is_unexpanded(text) => true,
        ValueKind::SecretList => false,
        _ => variable_name(text).is_some() && (*text == item || text.trim_start().starts_with("${")),
    };
    if let Some(text) = [item, value].into_iter().find(is_name) {
        return Some(not_expanded(text));
    }
    // The value is not shown: it may be a secret after all.
    if kind == ValueKind::SecretList && text::command(value).is_some_and(|command| command == value.trim()) {
        return Some(not_filled_in("$(command)"));
    }
    if let Some(reference) = text::unexpanded(key) {
        return Some(not_expanded(reference));
    }
    if let Some(placeholder) = text::placeholder(key) {
        return Some(not_filled_in(placeholder));
    }
    // A value may have any character, but not both quotes around it.
    let odd = text::odd_character(key).or_else(|| text::typographic_quotes(value));
    odd.map(|odd| format!("contains {odd}"))
}

/// The key and the value of an item, or what is wrong with it. The value is not shown: it may be a secret, and so may be an
/// item whose key was forgotten. Base64 then looks like a key before its padding: keys are shown in a plain list only.
fn pair(item: &str, separator: char, is_plain: bool) -> Result<(String, String), String> {
    let (form, other, end) = if separator == '=' { ("key=value", ':', "=…") } else { ("Key: Value", '=', ": …") };
    if item.trim_start().starts_with('{') {
        return Err(format!("is JSON or a YAML mapping: write ['{form}'], with an item for each key"));
    }
    match item.split_once(separator) {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(match item.split_once(other) {
            // Before a colon a name in lower case may be a user's, with a password after it.
            Some((key, _)) if is_key(key) && (other == '=' || is_upper_case(key)) => {
                let key = key.trim();
                if !is_plain {
                    return Err(format!("has `{other}` instead of `{separator}`: write `{form}`"));
                }
                format!("(`{key}`) has `{other}` instead of `{separator}`: write `{key}{end}`")
            }
            _ => format!("is not of the form `{form}`"),
        }),
    }
}

/// True if a text looks like the name of a variable, a label or a header.
fn is_key(text: &str) -> bool {
    let text = text.trim();
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.len() <= 80
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "_-./".contains(character))
}

fn is_upper_case(text: &str) -> bool {
    !text.contains(|character: char| character.is_ascii_lowercase())
}

/// The names of the items that one line of text can be meant as, such as `A` and `B` of `A=1,B=2`.
fn names_in_line(line: &str, separator: char) -> Vec<&str> {
    // Headers have spaces and `&` in their values, and a space after their colon.
    let (gaps, end): (&[char], &str) =
        if separator == '=' { (&[',', ';', '&', '|', ' ', '\t', '，', '；'], "=") } else { (&[',', ';'], ": ") };
    // A constraint compares: `node.role == worker`, `node.os != linux`.
    let compares = |(key, rest): &(&str, &str)| key.ends_with('!') || rest.starts_with('=');
    let pair = line.split_once(separator).filter(|(key, _)| is_key(key.trim_end_matches('!')));
    let Some(pair @ (first, _)) = pair else { return Vec::new() };
    let after_gaps = line.match_indices(gaps).filter_map(|(at, gap)| {
        let other = line[at + gap.len()..].trim_start().split_once(end)?;
        let key = other.0.trim_end_matches('!').trim_end();
        // `DSN=host=db user=x` is one item: the names of its author have upper case letters.
        let is_alike = is_upper_case(key) || !is_upper_case(first);
        (is_key(key) && !key.contains(' ') && is_alike && compares(&other) == compares(&pair)).then_some(key)
    });
    // `A=1, B=2` has two gaps before `B`.
    std::iter::once(first.trim_end_matches('!').trim()).chain(after_gaps).fold(Vec::new(), |mut names, name| {
        if names.last() != Some(&name) {
            names.push(name);
        }
        names
    })
}

fn write_list(items: &[String]) -> String {
    let items = items.iter().map(|item| format!("'{}'", item.replace('\'', "''"))).collect::<Vec<_>>().join(", ");
    let shown = whole_or_length(&items);
    if shown.is_empty() || shown.starts_with('<') {
        "write a list, ['first', 'second']".to_owned()
    } else {
        format!("write a list, [{shown}]")
    }
}

fn is_yaml(text: &str) -> bool {
    let start = text.trim_start();
    start.starts_with('[') || start.starts_with("- ")
}

/// The list as one text: a YAML list, or one item per line.
fn text_items(text: &str) -> Result<Vec<String>, &'static str> {
    if text.trim_start().starts_with('{') {
        return Err("is JSON or a YAML mapping: write a list, ['first', 'second']");
    }
    if is_yaml(text) {
        let wrong = "looks like a YAML list but is not valid: write ['first', 'second'], or one item per line";
        return yaml_items(text.trim()).ok_or(wrong);
    }
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn yaml_items(text: &str) -> Option<Vec<String>> {
    let mut items = Vec::new();
    let mut depth = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        match event {
            // YAML takes a line that is indented too far for a part of the one above.
            Event::Scalar(_, ScalarStyle::Plain, ..) if span.start.line() < span.end.line() => return None,
            Event::SequenceStart(..) => depth += 1,
            // As `- $NAME` is read if the variable has no value.
            Event::Scalar(value, ScalarStyle::Plain, ..) if depth == 1 && value == "~" => items.push(String::new()),
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
    fn lists_are_read_from_text() {
        let items = |text| text_items(text).expect(text);
        assert_eq!(items("a=1\r\n\n b=2 \n"), ["a=1", " b=2 "]);
        assert_eq!(items("['a', \"b c\", d]"), ["a", "b c", "d"]);
        assert_eq!(items("- a\n- 'b: c'\n"), ["a", "b: c"]);
        assert_eq!(items("- a # c\n\n- b\n- |-\n  c\n  d\n"), ["a", "b", "c\nd"]);
        assert_eq!(items("[\n  a,\n  b\n]"), ["a", "b"]);
        assert_eq!(items("[]"), [""; 0]);
        for broken in
            ["- a\n  - b", "- a\n   b\n- c", "['a'", "[a, [b]]", "[{a: b}]", "['a'] b", "{a: b}", "{\"A\":\"1\"}"]
        {
            assert!(text_items(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn line_of_several_items_is_told_from_a_value() {
        for (line, names) in [
            ("A=1,B=2", vec!["A", "B"]),
            ("A=1, B=2", vec!["A", "B"]),
            ("A=1 B=2 C=3", vec!["A", "B", "C"]),
            ("a=1&b=2", vec!["a", "b"]),
            ("a.b/c=1;d=2", vec!["a.b/c", "d"]),
            ("DSN=host=db user=x", vec!["DSN"]),
            ("JAVA_OPTS=-Xmx1g -Dfoo=bar", vec!["JAVA_OPTS"]),
            ("URL=https://x/?a=1&b=2", vec!["URL"]),
            ("TEXT=one, two", vec!["TEXT"]),
            ("KEY=YWJj,ZA==", vec!["KEY"]),
            ("A", vec![]),
        ] {
            assert_eq!(names_in_line(line, '='), names, "{line}");
        }
        for (line, names) in [
            ("A: 1, B: 2", vec!["A", "B"]),
            ("Accept: text/html, application/json", vec!["Accept"]),
            ("Cookie: a=1; b=2", vec!["Cookie"]),
            ("X-Url: a,http://b", vec!["X-Url"]),
        ] {
            assert_eq!(names_in_line(line, ':'), names, "{line}");
        }
    }

    #[test]
    fn item_of_another_form_is_refused() {
        let wrong = |item, separator| pair(item, separator, separator == '=').expect_err(item);
        assert_eq!(wrong("A: 1", '='), "(`A`) has `:` instead of `=`: write `A=…`");
        // The second may be base64 whose name was forgotten.
        for header in ["X-Key=1", "c3VwZXItc2VjcmV0=="] {
            assert_eq!(wrong(header, ':'), "has `=` instead of `:`: write `Key: Value`");
        }
        assert_eq!(pair("ABCDEF:rest", '=', false), Err("has `:` instead of `=`: write `key=value`".to_owned()));
        insta::assert_snapshot!(wrong("{\"A\": 1}", '='), @"is JSON or a YAML mapping: write ['key=value'], with an item for each key");
        // It may be a secret whose key was forgotten.
        for item in ["user:password", "postgres://user:password@host", "=1", "secret"] {
            assert_eq!(wrong(item, '='), "is not of the form `key=value`", "{item}");
        }
        assert_eq!(pair("A=b: c", '=', true), Ok(("A".to_owned(), "b: c".to_owned())));
        assert_eq!(pair("X-Time: a=1", ':', false), Ok(("X-Time".to_owned(), " a=1".to_owned())));
    }
}
