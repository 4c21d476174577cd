//! Variables that take one text: a list in place of it, a name in place of a value, and characters that nobody typed on purpose.

use super::lints::not_expanded;
use super::variables::{VARIABLES, ValueKind, Variable};
use super::{Environment, Problems};
use crate::console::log::whole_or_length;
use crate::function::Command;
use crate::stack::slips;
use crate::text::variable_name;

/// Adds what is wrong with scalars in place of what was found so far, which only follows from it.
pub(super) fn check(environment: &Environment, command: Command, problems: &mut Problems) {
    for variable in VARIABLES.iter().filter(|variable| !variable.kind.is_list()) {
        let name = variable.name;
        if environment.numbered(name).next().is_some() {
            problems.replace(name.to_owned(), is_a_list(variable, environment));
        } else if variable.is_used_by(command)
            && !variable.kind.is_free()
            && let Some(value) = environment.text(name)
            && let Some(wrong) = wrong(name, value)
        {
            problems.replace(name.to_owned(), wrong);
        }
    }
}

/// The problem with a scalar that no variable of the pipe can have.
fn wrong(name: &str, value: &str) -> Option<String> {
    if let Some(text) = unexpanded(value) {
        return Some(text);
    }
    if name == "FILTER" && value.contains([',', ' ', ';']) {
        let names: Vec<&str> = value.split([',', ' ', ';']).filter(|name| !name.is_empty()).collect();
        return Some(format!("is one wildcard, not several: write `REGEX: {}`", regex_of(&names)));
    }
    // A file may be named so.
    slips::odd_character(value).map(|odd| format!("contains {odd}")).filter(|_| name != "CA_CERT")
}

/// The problem with a value that is or contains a variable's name in place of its value.
pub(super) fn unexpanded(value: &str) -> Option<String> {
    let is_whole = variable_name(value).is_some();
    let reference = if is_whole { value.trim() } else { slips::braced_reference(value)? };
    Some(not_expanded(reference))
}

/// A list is never read in part: with an item as its value, a `FILTER` would select less than its author wrote, and without
/// one everything.
fn is_a_list(variable: &Variable, environment: &Environment) -> String {
    let items: Vec<&str> =
        (0..).map_while(|index| environment.get(&format!("{}_{index}", variable.name))).map(str::trim).collect();
    format!("is a list, but takes one text: {}", write_instead(variable, &items))
}

fn write_instead(variable: &Variable, items: &[&str]) -> String {
    let name = variable.name;
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    if variable.kind == ValueKind::Secret {
        return format!("write `{name}: $VARIABLE`, with the name of a secured variable");
    }
    let text = match (name, items) {
        (_, []) => return format!("write `{name}: '…'`, or remove it"),
        ("FILTER", [_, _, ..]) => {
            return format!("write a wildcard such as `{name}: 'name-*'`, or `REGEX: {}`", regex_of(items));
        }
        ("REGEX", [_, _, ..]) => quoted(&items.join("|")),
        (_, [item]) => quoted(item),
        (_, [first, ..]) => return format!("write one of them, {name}: {}", whole_or_length(&quoted(first))),
    };
    let text = whole_or_length(&text);
    if text.starts_with('<') { format!("write `{name}: '…'`") } else { format!("write `{name}: {text}`") }
}

/// The regular expression for what any of some wildcards matches, in quotes.
fn regex_of(wildcards: &[&str]) -> String {
    let regex = wildcards.iter().map(|item| regex_of_wildcard(item)).collect::<Vec<_>>().join("|");
    let regex = whole_or_length(&format!("'^({})$'", regex.replace('\'', "''")));
    if regex.starts_with('<') { "'^(a|b)$'".to_owned() } else { regex }
}

/// The regular expression that matches what a wildcard of `FILTER` matches.
fn regex_of_wildcard(pattern: &str) -> String {
    let special = |character: &char| "\\.+?()|[]{}^$".contains(*character);
    let escaped = |character: char| special(&character).then_some('\\').into_iter().chain([character]);
    pattern.split('*').map(|text| text.chars().flat_map(escaped).collect()).collect::<Vec<String>>().join(".*")
}
