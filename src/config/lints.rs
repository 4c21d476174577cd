//! Slips in variables: names that are nearly right, values that were not expanded, lists in place of texts.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use super::calls::is_json;
use super::value::{absent, is_switch, is_unexpanded, not_expanded, not_filled_in};
use super::variables::{TOKENS, VARIABLES, ValueKind, Variable, is_list_suffix};
use super::{Environment, Problems, effect, list};
use crate::console::log::{names, whole_or_length};
use crate::console::redact;
use crate::function::{Command, compare};
use crate::text::{self, variable_name};

/// More names are not listed.
const MOST_NAMES: usize = 10;

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
    let unused = unused(environment, substituted);
    if !unused.is_empty() {
        let names = names(unused, MOST_NAMES);
        warnings.push(format!("set, but used neither by the pipe nor by the stack file: {names}"));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        if environment.text(name).is_some_and(|text| text.contains("*.")) {
            warnings.push(format!("`{name}`: `*.example.com` matches no host: write `.example.com`"));
        }
    }
    for variable in VARIABLES.iter().filter(|variable| !problems.concerns(variable.name)) {
        let Variable { name, kind, .. } = *variable;
        let value = environment.text(name);
        // Any other text may be meant. A token that is not one is an error of its own.
        if let Some(value) = value.filter(|_| kind.is_free() && name != "BITBUCKET_STEP_OIDC_TOKEN")
            && variable_name(value).is_some()
        {
            warnings.push(format!("`{name}` {}", not_expanded(value)));
        }
        if !substituted.contains(name) {
            warnings.extend(effect::missing(environment, variable, command));
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
            let Some(value) = environment.text(name) else { return Vec::new() };
            let slip = secret_slip(value).filter(|_| !TOKENS.contains(&name)).map(|slip| format!("`{name}` {slip}"));
            slip.into_iter().chain(is_short(value).then(|| too_short(format!("`{name}`")))).collect()
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

/// Probable mistakes in the value of a password, which is not shown.
fn secret_slip(value: &str) -> Option<&'static str> {
    let is_whole = |found: Option<&str>| found.is_some_and(|found| found == value);
    if text::is_quoted(value) {
        Some("is in quotes, which are a part of it: remove them if they are not meant")
    } else if text::is_absent(value) {
        Some("is a word such as `null`, which scripts write for a value that is missing")
    } else if is_whole(text::placeholder(value)) {
        Some("is a command or a placeholder, which nothing has run or filled in")
    } else {
        None
    }
}

/// Warnings about values of a list that may be meant, but are more often left over from a shell or from YAML.
fn changed_values(environment: &Environment, variable: &Variable) -> Vec<String> {
    let name = variable.name;
    let items = list::items(environment, name).into_iter().enumerate();
    let warning = |(index, item): (usize, String)| {
        Some(format!("the value of item {} of `{name}` {}", index + 1, changed_value(environment, variable, &item)?))
    };
    items.filter_map(warning).collect()
}

fn changed_value(environment: &Environment, variable: &Variable, item: &str) -> Option<String> {
    let Variable { name, kind, .. } = *variable;
    let (key, value) = item.split_once(['=', ':'])?;
    Some(if kind == ValueKind::List && text::is_unquoted_json(value) {
        "is JSON without its quotes, which a shell or Bitbucket removed: write `\\\"` for each of them".into()
    } else if text::is_quoted(value) {
        "is in quotes, which are a part of it: remove them if they are not meant".into()
    } else if text::is_absent(value) {
        absent(value)
    } else if list::is_several(item) {
        "has a line that looks like an item of its own: write an item for each".into()
    } else if value.contains(" #") && list::is_lines(environment, name) {
        "contains ` #`, which begins no comment here, and is a part of it".into()
    } else if name == "QUERY" && percent_decode_str(value).collect::<Vec<_>>() != value.as_bytes() {
        "is encoded once more: write it as the function should receive it".into()
    } else if let Some(odd) = text::invisible_character(value) {
        format!("contains {odd}")
    } else if value.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        "contains a line separator that is no line feed: type the line again".into()
    } else if !is_trimmed(variable) && value.starts_with(' ') {
        "begins with a space, which is a part of it".into()
    } else if !is_trimmed(variable) && value.ends_with(['\n', '\r']) {
        "ends with a line break, which is a part of it".into()
    } else {
        let placeholder = || text::placeholder(value).filter(|found| *found == value.trim());
        let reference = text::unexpanded(value).or_else(|| text::command(value)).or_else(placeholder)?;
        // Other values may be secrets.
        let is_shown = kind == ValueKind::List && !compare::is_secret(key, value);
        let what = if is_shown { format!("`{reference}`") } else { "a name".to_owned() };
        format!("contains {what} that was not expanded, and is sent as it is")
    })
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
    let command = || text::command(text).filter(|command| *command == text);
    if let Some(reference) = text::unexpanded(text).or_else(command) {
        warnings.push(format!("`{name}` contains `{reference}`, which was not expanded, and is sent as it is"));
    }
    let path = text.strip_prefix(['@', '<']).map(str::trim);
    if path.is_some_and(|path| path.contains('.') && !path.contains(|c: char| c.is_whitespace() || "<>@".contains(c))) {
        let path = whole_or_length(path.unwrap_or_default());
        warnings.push(format!(
            "`{name}` reads no file, and is sent as it is: write `PAYLOAD_FILE: {path}` for its content"
        ));
    }
    if text::is_unquoted_json(text) {
        warnings.push(format!(
            "`{name}` is JSON without its quotes, which a shell or Bitbucket removed: use `PAYLOAD_FILE`"
        ));
    }
    let content_type = environment.text("CONTENT_TYPE").filter(|content_type| is_json(content_type));
    if content_type.is_some()
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text)
    {
        warnings.push(format!("`{name}` is not valid JSON, which `CONTENT_TYPE` says it is: {error}"));
    }
    warnings
}

/// The variables that are set and blank, as `X: $UNSET` arrives, which counts as not set.
pub(crate) fn blank(environment: &Environment, command: Command) -> Vec<&'static str> {
    let is_blank = |name: &str| environment.get(name).is_some_and(|value| value.trim().is_empty());
    // `pipe.yml` passes these in every step, and Bitbucket the token.
    let is_always_set = |name: &str| name.starts_with("OPENFAAS_") || TOKENS.contains(&name);
    let used = VARIABLES.iter().filter(|variable| variable.is_used_by(command)).map(|variable| variable.name);
    used.filter(|name| is_blank(name) && !is_always_set(name)).collect()
}

/// The names that a step passes and that nothing reads. Outside of a pipeline, the environment is not the author's.
fn unused<'a>(environment: &'a Environment, substituted: &BTreeSet<String>) -> Vec<&'a str> {
    let of_runner = |name: &str| {
        ["BITBUCKET_", "PIPELINES_", "DOCKER_", "LC_"].iter().any(|start| name.starts_with(start))
            || ["CI", "PWD", "OLDPWD", "SHLVL", "TERM", "LANG", "TZ", "USER", "container", "_"].contains(&name)
            || name.to_ascii_lowercase().ends_with("_proxy")
    };
    let is_named = |name: &str| substituted.contains(name) || OF_FAAS_CLI.iter().any(|(known, _)| *known == name);
    let is_in_pipeline = environment.text("BITBUCKET_BUILD_NUMBER").is_some();
    let names = environment.names().filter(|name| is_in_pipeline && environment.text(name).is_some());
    names.filter(|name| !of_runner(name) && !is_known(name) && !is_named(name) && near_miss(name).is_none()).collect()
}

/// Adds the names that are probably misspelt: a misspelt `DRY_RUN` would do the opposite of what its author wants.
pub(crate) fn check_names(environment: &Environment, substituted: &BTreeSet<String>, problems: &mut Problems) {
    for name in environment.names().filter(|name| !substituted.contains(*name)) {
        if let Some(meant) = near_miss(name) {
            problems.add(of_list(name), format!("is not a variable of this pipe: write `{meant}` if that was meant"));
        }
    }
}

/// Adds what is wrong with variables that take one text, in place of what was found so far, which only follows from it.
pub(super) fn check_texts(environment: &Environment, command: Command, problems: &mut Problems) {
    for variable in VARIABLES.iter().filter(|variable| !variable.kind.is_list()) {
        let name = variable.name;
        if environment.numbered(name).next().is_some() {
            problems.replace(name, is_a_list(environment, variable));
            continue;
        }
        let text = environment.text(name).filter(|_| variable.is_used_by(command) && !variable.kind.is_free());
        let Some(text) = text else { continue };
        if let Some(wrong) = wrong_text(variable, text) {
            problems.replace(name, wrong);
        } else if text.contains('\n') && !matches!(name, "CA_CERT" | "DOCKER_CONFIG") && !problems.concerns(name) {
            let several = if matches!(name, "FILTER" | "REGEX") { SEVERAL_NAMES } else { "write one" };
            problems.add(name, format!("has several lines, but takes one text: {several}"));
        }
    }
}

/// The problem with a text that no variable of the pipe can have.
fn wrong_text(variable: &Variable, value: &str) -> Option<String> {
    let name = variable.name;
    let is_user = name.ends_with("_USERNAME");
    // The user of nvcr.io is `$oauthtoken`.
    let is_meant = |reference: &&str| is_user && !reference.starts_with("${") && !is_unexpanded(reference);
    if let Some(reference) = text::reference(value).filter(|reference| !is_meant(reference)) {
        return Some(not_expanded(reference));
    }
    if name == "REGEX" {
        return text::odd_character(value).map(|odd| format!("contains {odd}"));
    }
    // A robot account's name has a `$`, and `DOCKER_CONFIG` has a rule of its own.
    let may_be_meant = is_user || name == "DOCKER_CONFIG";
    if let Some(reference) = text::bare_reference(value).filter(|_| !may_be_meant) {
        return Some(not_expanded(reference));
    }
    if let Some(placeholder) = text::placeholder(value).filter(|_| name != "DOCKER_CONFIG") {
        return Some(not_filled_in(placeholder));
    }
    if text::is_absent(value) {
        return Some(absent(value));
    }
    // One with a default is a choice of words, or says what it takes.
    if variable.kind == ValueKind::Text && variable.default.is_empty() && is_switch(value) {
        return Some(format!("is the boolean `{value}`, but takes a text"));
    }
    let is_path = name.ends_with("_FILE") || matches!(name, "CA_CERT" | "IMAGES_FROM");
    if is_path && (value.starts_with("~/") || value.contains("://")) {
        return Some(format!("`{}` is no path of the step: write a relative path", whole_or_length(value)));
    }
    if is_user && value.contains(':') {
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

/// The name that was written for what arrives as this one: `VERFIY` for `VERFIY_COUNT` and `VERFIY_0` of a list.
fn of_list(name: &str) -> &str {
    name.rfind('_').filter(|at| is_list_suffix(&name[*at..])).map_or(name, |at| &name[..at])
}

/// The variable that `name` was probably meant to be, if it is not one itself.
fn near_miss(name: &str) -> Option<&'static str> {
    let name = of_list(name);
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
    // Short names are near to many others: `TAG` to none, `SECRET` to `SECRETS`. A prefix that both have says nothing.
    let own = nearest.strip_prefix("OPENFAAS_").filter(|_| written.starts_with("OPENFAAS"));
    (distance <= NEAR.min(own.map_or(nearest.len() / 4, |own| (own.len() + 1) / 4))).then_some(nearest)
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
            ("OPENFAAS_ULR", "OPENFAAS_URL"),
            ("OPENFAAS_NAMESPCAE", "OPENFAAS_NAMESPACE"),
            ("ENV_VAR", "ENV_VARS"),
            ("PAYLOADFILE", "PAYLOAD_FILE"),
            ("OPENFAAS_DRY_RUN", "DRY_RUN"),
            ("\u{feff}DRY_RUN", "DRY_RUN"),
            ("DRY_RUN[0]", "DRY_RUN"),
            ("VERFIY_COUNT", "VERIFY"),
            ("SECRTS_0", "SECRETS"),
            ("STACK_FLIE_COUNT", "STACK_FILE"),
        ] {
            assert_eq!(near_miss(written), Some(meant), "{written}");
        }
    }

    #[test]
    fn other_names_are_near_to_none() {
        for name in [
            "TAG",
            "OPENFAAS_FN",
            "OPENFAAS_CA",
            "OPENFAAS_GW",
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
