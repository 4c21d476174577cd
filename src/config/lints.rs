//! Warnings about variables that are set and probably not what was meant.

use std::collections::BTreeSet;

use super::value::text_items;
use super::variables::{Kind, VARIABLES};
use super::{Environment, Problems};
use crate::console::redact;
use crate::function::command::Command;
use crate::text::variable_name;

/// How many characters may differ from the name that was meant.
const NEAR: usize = 2;

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
    for variable in VARIABLES {
        let name = variable.name;
        if problems.concerns(name) {
            continue;
        }
        let listed = environment.text(&format!("{name}_COUNT")).is_some();
        let value = environment.text(name);
        if let Some((value, referred)) = value.and_then(|value| Some((value, variable_name(value)?))) {
            warnings.push(format!("`{name}` {}", is_the_text(name, value, referred)));
        } else if variable.kind.is_list() {
            let numbered = (0..).map_while(|index| environment.get(&format!("{name}_{index}")).map(str::to_owned));
            let items = value.and_then(text_items).unwrap_or_else(|| numbered.collect());
            for (index, item) in items.iter().enumerate() {
                let part = item.split_once(['=', ':']).map_or(item.as_str(), |(_, value)| value).trim();
                if let Some(referred) = variable_name(part) {
                    warnings.push(format!(
                        "item {index} of `{name}` contains the text `{part}`, not the variable's value: define `{referred}` as a \
                         repository or deployment variable, and write `{part}` without quotes or a backslash"
                    ));
                } else if variable.kind == Kind::SecretList && (1..redact::SHORTEST).contains(&part.len()) {
                    warnings.push(too_short(&format!("the value of item {index} of `{name}`")));
                }
            }
        }
        // `whoami` takes the variables of the command that it is run in place of.
        let is_used = command == Command::Whoami || variable.used_by.contains(&command);
        if (listed || value.is_some()) && !is_used && !substituted.contains(name) {
            let commands: Vec<_> = variable.used_by.iter().map(|command| command.name()).collect();
            let commands = commands.join(" or ");
            warnings.push(format!("`{name}` is not used by `COMMAND: {command}`, only by {commands}"));
        }
        if variable.kind == Kind::Secret && value.is_some_and(|value| value.trim().len() < redact::SHORTEST) {
            warnings.push(too_short(&format!("`{name}`")));
        }
        if substituted.contains(name) {
            warnings.push(format!(
                "the stack file substitutes `{name}`, which is also a variable of this pipe: \
                 choose another name in the stack file"
            ));
        }
    }
    warnings
}

/// Adds the names that are probably misspelt: a misspelt `DRY_RUN` would do the opposite of what its author wants.
pub(crate) fn check_names(environment: &Environment, substituted: &BTreeSet<String>, problems: &mut Problems) {
    for name in environment.names().filter(|name| !substituted.contains(*name)) {
        if let Some(meant) = near_miss(name) {
            problems.add(name, format!("is not a variable of this pipe: write `{meant}` if that was meant"));
        }
    }
}

/// What is wrong with a variable whose value is a variable's name, and what to write; `None` if it is not.
pub(crate) fn unexpanded(environment: &Environment, name: &str) -> Option<String> {
    let value = environment.text(name)?;
    Some(is_the_text(name, value, variable_name(value)?))
}

fn is_the_text(name: &str, value: &str, referred: &str) -> String {
    format!(
        "is the text `{value}`, not the variable's value: write `{name}: {value}`, and define `{referred}` as a repository or \
         deployment variable"
    )
}

fn too_short(what: &str) -> String {
    format!("{what} is too short to be masked in the log: it has fewer than {} characters", redact::SHORTEST)
}

/// The variable that `name` was probably meant to be, if it is not one itself.
fn near_miss(name: &str) -> Option<&'static str> {
    let is_of_faas_cli = OF_FAAS_CLI.iter().any(|(known, _)| *known == name);
    if name.starts_with("BITBUCKET_") || name.len() < 4 || is_of_faas_cli || is_known(name) {
        return None;
    }
    let bare = |name: &str| name.replace(['_', '-'], "").to_ascii_uppercase();
    let written = bare(name);
    let candidates = VARIABLES.iter().map(|variable| (bare(variable.name), variable.name));
    // A difference in length is one in letters, and cheaper to find than a distance.
    let candidates = candidates.filter(|(known, _)| known.len().abs_diff(written.len()) <= NEAR);
    let candidates = candidates.map(|(known, name)| (strsim::osa_distance(&written, &known), name));
    let (distance, nearest) = candidates.min_by_key(|(distance, _)| *distance)?;
    (distance <= NEAR.min(nearest.len() / 4)).then_some(nearest)
}

/// A variable's name, or that of an item of a list.
fn is_known(name: &str) -> bool {
    VARIABLES.iter().any(|variable| {
        name.strip_prefix(variable.name).is_some_and(|rest| {
            rest.is_empty()
                || rest == "_COUNT"
                || rest.strip_prefix('_').is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
        })
    }) || ["PAGER", "SHELL", "NO_COLOR", "HOME", "PATH", "HOSTNAME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
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
