//! Slips in variables: names that are nearly right, values that were not expanded, lists in place of texts.

use std::collections::BTreeSet;

use super::calls::is_json;
use super::value::{absent, not_expanded, not_filled_in};
use super::variables::{CALL, VARIABLES, ValueKind, Variable};
use super::{Environment, Problems, list};
use crate::console::log::whole_or_length;
use crate::console::redact;
use crate::function::Command;
use crate::text::{self, variable_name};

/// How many characters may differ from the name that was meant.
const NEAR: usize = 2;

/// Variables that mean the same in the stack file as here.
const SAME_IN_STACK_FILES: [&str; 3] = ["OPENFAAS_URL", "OPENFAAS_NAMESPACE", "OPENFAAS_NS"];

/// The remedy for several names in place of one wildcard or expression.
const SEVERAL_NAMES: &str = "write `REGEX: '^(first|second)$'`";

/// Names of other tools for what the pipe has a variable for.
const OF_FAAS_CLI: [(&str, &str); 7] = [
    ("NAMESPACE", "OPENFAAS_NAMESPACE"),
    ("TAG", "TAG_FORMAT"),
    ("YAML", "STACK_FILE"),
    ("STACK", "STACK_FILE"),
    ("GATEWAY", "OPENFAAS_URL"),
    ("OPENFAAS_GATEWAY", "OPENFAAS_URL"),
    ("FUNCTION_NAME", "FUNCTION"),
];

/// Warnings about what is set and probably not what was meant, except for variables that have a problem already.
/// `substituted` are the names that the stack file takes from the environment, which may be similar to any variable.
pub fn warnings(
    environment: &Environment,
    command: Command,
    substituted: &BTreeSet<String>,
    problems: &Problems,
) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, meant) in OF_FAAS_CLI {
        if environment.text(name).is_some() && !substituted.contains(name) {
            warnings.push(format!("`{name}` is not a variable of this pipe: use `{meant}`"));
        }
    }
    for variable in VARIABLES.iter().filter(|variable| !problems.concerns(variable.name)) {
        let Variable { name, kind, .. } = *variable;
        let is_set = |name: &str| environment.text(name).is_some() || environment.numbered(name).next().is_some();
        let value = environment.text(name);
        // Any other text may be meant. A token that is not one is an error of its own.
        if let Some(value) = value.filter(|_| kind.is_free() && name != "BITBUCKET_STEP_OIDC_TOKEN")
            && variable_name(value).is_some()
        {
            warnings.push(format!("`{name}` {}", not_expanded(value)));
        }
        if is_set(name) && !substituted.contains(name) {
            if !variable.is_used_by(command) {
                let used_by = used_by(environment, variable);
                warnings.push(format!("`{name}` is not used by `COMMAND: {command}`, {used_by}"));
            } else if let Some(needed) = needed(environment, variable, command).filter(|needed| !is_set(needed)) {
                warnings
                    .push(format!("`{name}` is used by `COMMAND: {command}` only with `{needed}`, which is not set"));
            }
        }
        warnings.extend(value_warnings(environment, variable));
        // A list may hold keys and passwords.
        let parts = environment.numbered(name).filter(|_| kind.is_list());
        let clashes =
            parts.chain([name]).filter(|part| substituted.contains(*part) && !SAME_IN_STACK_FILES.contains(part));
        warnings.extend(clashes.map(|part| {
            format!(
                "the stack file substitutes `{part}`, which is also a variable of this pipe: \
                 choose another name in the stack file"
            )
        }));
    }
    warnings
}

/// Warnings about secrets that cannot be masked, and about values that are not what was typed.
fn value_warnings(environment: &Environment, variable: &Variable) -> Vec<String> {
    let name = variable.name;
    let is_short = |value: &str| (1..redact::SHORTEST).contains(&value.trim().len());
    let too_short = |what: String| {
        format!("{what} is too short to be masked in the log: it has fewer than {} characters", redact::SHORTEST)
    };
    match variable.kind {
        ValueKind::Secret => {
            let short = environment.text(name).filter(|value| is_short(value));
            short.map(|_| too_short(format!("`{name}`"))).into_iter().collect()
        }
        ValueKind::SecretList => {
            let items = list::items(environment, name).into_iter().enumerate();
            let short = items.filter(|(_, item)| is_short(list::value_of(item)));
            let short = short.map(|(index, _)| too_short(format!("the value of item {} of `{name}`", index + 1)));
            short.chain(changed_values(environment, variable)).collect()
        }
        ValueKind::Headers | ValueKind::List => changed_values(environment, variable),
        ValueKind::Verbatim => payload_warnings(environment, variable),
        _ => Vec::new(),
    }
}

/// Warnings about values of a list that may be meant, but are more often left over from a shell or from YAML.
fn changed_values(environment: &Environment, variable: &Variable) -> Vec<String> {
    let name = variable.name;
    let mut warnings = Vec::new();
    for (index, item) in list::items(environment, name).iter().enumerate() {
        let Some((_, value)) = item.split_once(['=', ':']) else { continue };
        let of_item = format!("the value of item {} of `{name}`", index + 1);
        if variable.kind == ValueKind::List && text::is_unquoted_json(value) {
            let what = "is JSON without its quotes, which a shell or Bitbucket removed: write `\\\"` for each of them";
            warnings.push(format!("{of_item} {what}"));
        } else if text::is_quoted(value) {
            warnings.push(format!("{of_item} is in quotes, which are a part of it: remove them if they are not meant"));
        } else if let Some(odd) = text::invisible_character(value) {
            warnings.push(format!("{of_item} contains {odd}"));
        } else if value.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
            warnings.push(format!("{of_item} contains a line separator that is no line feed: type the line again"));
        } else if !is_trimmed(variable) && (value.starts_with(' ') || value.ends_with(['\n', '\r'])) {
            let what = if value.starts_with(' ') { "begins with a space" } else { "ends with a line break" };
            warnings.push(format!("{of_item} {what}, which is a part of it"));
        } else if let Some(reference) =
            text::unexpanded(value).or_else(|| text::placeholder(value).filter(|found| *found == value.trim()))
        {
            // Other values may be secrets.
            let what = if variable.kind == ValueKind::List { format!("`{reference}`") } else { "a name".to_owned() };
            warnings.push(format!("{of_item} contains {what} that was not expanded, and is sent as it is"));
        }
    }
    warnings
}

/// True if the values of a list are used without the white space around them, or if it may stand around an operator.
fn is_trimmed(variable: &Variable) -> bool {
    variable.kind != ValueKind::List
        || matches!(variable.name, "CONSTRAINTS" | "SECRET_FILES" | "STACK_FILE" | "VERIFY")
}

/// Warnings about a body that may be meant.
fn payload_warnings(environment: &Environment, variable: &Variable) -> Vec<String> {
    let name = variable.name;
    let Some(text) = environment.text(name).filter(|text| variable_name(text).is_none()) else { return Vec::new() };
    let mut warnings = Vec::new();
    if let Some(reference) = text::unexpanded(text) {
        warnings.push(format!("`{name}` contains `{reference}`, which was not expanded, and is sent as it is"));
    }
    let content_type = environment.text("CONTENT_TYPE").filter(|content_type| is_json(content_type));
    if content_type.is_some()
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text)
    {
        warnings.push(format!("`{name}` is not valid JSON, which `CONTENT_TYPE` says it is: {error}"));
    }
    warnings
}

/// The variable without which a command does not use another.
fn needed(environment: &Environment, variable: &Variable, command: Command) -> Option<&'static str> {
    let is_describe = || environment.text("TAG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("describe"));
    match variable.name {
        _ if variable.used_by == CALL && command == Command::Deploy => Some("VERIFY"),
        "OPENFAAS_USERNAME" => Some("OPENFAAS_PASSWORD"),
        "REPORT_PROXY" => Some("REPORT"),
        "REGISTRY_HOST" => Some("REGISTRY_USERNAME"),
        "GCP_SERVICE_ACCOUNT" => Some("GCP_WORKLOAD_IDENTITY_PROVIDER"),
        "GIT_DESCRIBE" if !is_describe() => Some("TAG_FORMAT: describe"),
        _ => None,
    }
}

/// The commands that use a variable, and whether one of them was meant.
fn used_by(environment: &Environment, variable: &Variable) -> String {
    let commands: Vec<_> = variable.used_by.iter().map(|command| format!("`{}`", command.name())).collect();
    let meant = match (variable.used_by, environment.text("COMMAND")) {
        ([command], None) => format!(": if that was meant, write `COMMAND: {command}`"),
        _ => String::new(),
    };
    match commands.split_last() {
        Some((last, first @ [_, ..])) => format!("only by {} and {last}", first.join(", ")),
        _ => format!("only by {}{meant}", commands.join("")),
    }
}

/// Adds the names that are probably misspelt: a misspelt `DRY_RUN` would do the opposite of what its author wants.
pub(crate) fn check_names(environment: &Environment, substituted: &BTreeSet<String>, problems: &mut Problems) {
    for name in environment.names().filter(|name| !substituted.contains(*name)) {
        if let Some(meant) = near_miss(name) {
            problems.add(name, format!("is not a variable of this pipe: write `{meant}` if that was meant"));
        }
    }
}

/// Adds what is wrong with variables that take one text, in place of what was found so far, which only follows from it.
pub(super) fn check_texts(environment: &Environment, command: Command, problems: &mut Problems) {
    for variable in VARIABLES.iter().filter(|variable| !variable.kind.is_list()) {
        let name = variable.name;
        if environment.numbered(name).next().is_some() {
            problems.replace(name, is_a_list(environment, variable));
        } else if variable.is_used_by(command)
            && !variable.kind.is_free()
            && let Some(wrong) = environment.text(name).and_then(|value| wrong_text(name, value))
        {
            problems.replace(name, wrong);
        }
    }
}

/// The problem with a text that no variable of the pipe can have.
fn wrong_text(name: &str, value: &str) -> Option<String> {
    if let Some(reference) = text::reference(value) {
        return Some(not_expanded(reference));
    }
    if name == "REGEX" {
        return text::odd_character(value).map(|odd| format!("contains {odd}"));
    }
    // A robot account's name has a `$`, and `DOCKER_CONFIG` has a rule of its own.
    let may_be_meant = name.ends_with("_USERNAME") || name == "DOCKER_CONFIG";
    if let Some(reference) = text::bare_reference(value).filter(|_| !may_be_meant) {
        return Some(not_expanded(reference));
    }
    if let Some(placeholder) = text::placeholder(value) {
        return Some(not_filled_in(placeholder));
    }
    if text::is_absent(value) {
        return Some(absent(value));
    }
    if name.ends_with("_USERNAME") && value.contains(':') {
        // What follows may be the password (RFC 7617, section 2).
        return Some("contains a `:`: write only the user name, and the password in a variable of its own".to_owned());
    }
    if text::is_quoted(value) {
        return Some("is in quotes, which are a part of the value: remove them".to_owned());
    }
    if let Some(end) = value.chars().next_back().filter(|end| [',', ';'].contains(end)) {
        return Some(format!("ends with `{end}`: remove it"));
    }
    if name == "FILTER" && value.contains([',', ' ', ';']) {
        return Some(format!("is one wildcard, not several: {SEVERAL_NAMES}"));
    }
    // A file may be named so.
    text::odd_character(value).map(|odd| format!("contains {odd}")).filter(|_| name != "CA_CERT")
}

/// A list is never read in part: with an item as its value, a `FILTER` would select less than its author wrote, and without
/// one everything.
fn is_a_list(environment: &Environment, variable: &Variable) -> String {
    let name = variable.name;
    let item = |index: usize| environment.text(&format!("{name}_{index}"));
    let write = match (variable.kind, name) {
        (ValueKind::Secret, _) => format!("write `{name}: $VARIABLE`, with the name of a secured variable"),
        (_, "FILTER" | "REGEX") if item(1).is_some() => SEVERAL_NAMES.to_owned(),
        _ => {
            let shown = whole_or_length(&item(0).unwrap_or("…").replace('\'', "''"));
            format!("write `{name}: '{}'`", if shown.starts_with('<') { "…" } else { &shown })
        }
    };
    format!("is a list, but takes one text: {write}")
}

/// The variable that `name` was probably meant to be, if it is not one itself.
fn near_miss(name: &str) -> Option<&'static str> {
    let is_of_faas_cli = OF_FAAS_CLI.iter().any(|(known, _)| *known == name);
    if name.starts_with("BITBUCKET_") || name.len() < 4 || is_of_faas_cli || is_known(name) {
        return None;
    }
    let bare = |name: &str| name.replace(|character: char| !character.is_alphanumeric(), "").to_ascii_uppercase();
    // `OPENFAAS_DRY_RUN` is `DRY_RUN`.
    let name = name.strip_prefix("OPENFAAS_").filter(|rest| is_known(rest)).unwrap_or(name);
    let written = bare(name);
    let candidates = VARIABLES.iter().map(|variable| (bare(variable.name), variable.name));
    // A difference in length is one in letters, and cheaper to find than a distance.
    let candidates = candidates.filter(|(known, _)| known.len().abs_diff(written.len()) <= NEAR);
    let candidates = candidates.map(|(known, name)| (strsim::osa_distance(&written, &known), name));
    let (distance, nearest) = candidates.min_by_key(|(distance, _)| *distance)?;
    // Short names are near to many others: `TAG` to none, `SECRET` to `SECRETS`.
    (distance <= NEAR.min(nearest.len() / 4)).then_some(nearest)
}

fn is_known(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.owns(name))
        || ["PAGER", "SHELL", "NO_COLOR", "HOME", "PATH", "HOSTNAME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
            .contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_name_is_near_to_the_name_that_was_meant() {
        for (written, meant) in [
            ("STACK_FLIE", "STACK_FILE"),
            ("STACKFILE", "STACK_FILE"),
            ("stack_file", "STACK_FILE"),
            ("SECRET", "SECRETS"),
            ("FUNCTIONS", "FUNCTION"),
            ("OPENFAS_URL", "OPENFAAS_URL"),
            ("ENV_VAR", "ENV_VARS"),
            ("PAYLOADFILE", "PAYLOAD_FILE"),
            ("OPENFAAS_DRY_RUN", "DRY_RUN"),
            ("\u{feff}DRY_RUN", "DRY_RUN"),
            ("DRY_RUN[0]", "DRY_RUN"),
        ] {
            assert_eq!(near_miss(written), Some(meant), "{written}");
        }
    }

    #[test]
    fn other_names_are_near_to_none() {
        for name in [
            "TAG",
            "OWNER",
            "REPO",
            "REGISTRY",
            "SERVER",
            "PATH",
            "HOME",
            "LANG",
            "BITBUCKET_COMMIT",
            "NAMESPACE",
            "ENV_VARS_0",
            "LABELS_COUNT",
            "VERSION",
            "ENVIRONMENT",
            "CI",
            "DOCKER_HOST",
            "COMMIT",
        ] {
            assert_eq!(near_miss(name), None, "{name}");
        }
    }
}
