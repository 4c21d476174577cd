//! Variables that are set and have no effect: what they lack, and what overrules them.

use super::value::boolean;
use super::variables::{CALL, Variable};
use super::{Environment, list};
use crate::function::Command;

/// Variables that only checks of images use, apart from `login`.
const CREDENTIALS: [&str; 4] =
    ["REGISTRY_USERNAME", "DOCKER_AUTH_CONFIG", "AWS_OIDC_ROLE_ARN", "GCP_WORKLOAD_IDENTITY_PROVIDER"];
const CHECKS: [&str; 3] = ["CHECK_IMAGES", "PIN_IMAGES", "IMAGE_PLATFORMS"];

/// Bitbucket's variables that the reports need, with the report that is not made without each.
const OF_REPORT: [(&str, &str); 4] = [
    ("BITBUCKET_COMMIT", "Code Insights report"),
    ("BITBUCKET_WORKSPACE", "Code Insights report"),
    ("BITBUCKET_REPO_SLUG", "Code Insights report"),
    ("BITBUCKET_CLONE_DIR", "JUnit report"),
];

fn is_set(environment: &Environment, name: &str) -> bool {
    environment.text(name).is_some() || environment.numbered(name).next().is_some()
}

/// True if a text is set, and no boolean that is false.
fn is_on(environment: &Environment, name: &str) -> bool {
    is_set(environment, name) && environment.text(name).and_then(boolean) != Some(false)
}

fn is_choice(environment: &Environment, name: &str, choice: &str) -> bool {
    environment.text(name).is_some_and(|text| text.eq_ignore_ascii_case(choice))
}

/// Why a variable that is set has no effect, as a warning.
pub(super) fn missing(environment: &Environment, variable: &Variable, command: Command) -> Option<String> {
    let name = variable.name;
    if !is_set(environment, name) {
        return None;
    }
    if !variable.is_used_by(command) {
        let used_by = used_by(environment, variable);
        return Some(format!("`{name}` is not used by `COMMAND: {command}`, {used_by}"));
    }
    if let Some(lacking) = lacking(environment, variable, command) {
        return Some(format!("`{name}` is used by `COMMAND: {command}` only {lacking}"));
    }
    if let Some(other) = overruled(environment, name, command) {
        return Some(format!("`{name}` has no effect with `{other}`: remove one of the two"));
    }
    let is_callback = |item: &String| item.to_ascii_lowercase().starts_with("x-callback-url");
    let is_unused = name == "HEADERS" && !is_on(environment, "ASYNC");
    if is_unused && list::items(environment, name).iter().any(is_callback) {
        return Some("`X-Callback-Url` has no effect without `ASYNC: 'true'`".to_owned());
    }
    let of_bitbucket = |of: &&str| name == "REPORT" && is_on(environment, name) && !is_set(environment, of);
    let missing = OF_REPORT.iter().find(|(of, _)| of_bitbucket(of));
    missing.map(|(of, what)| format!("`REPORT`: without `{of}`, which Bitbucket sets, there is no {what}"))
}

/// The end of a sentence about a variable that a command uses only with one of others, if none of them is set.
fn lacking(environment: &Environment, variable: &Variable, command: Command) -> Option<String> {
    let is_deploy = command == Command::Deploy;
    let has_body = || environment.text("METHOD").is_some() && !is_choice(environment, "METHOD", "GET");
    let with_method = || if has_body() { "" } else { "METHOD: POST" };
    let with_describe = || if is_choice(environment, "TAG_FORMAT", "describe") { "" } else { "TAG_FORMAT: describe" };
    let needed: &[&str] = match variable.name {
        "CONTENT_TYPE" if is_deploy && is_set(environment, "VERIFY") => &[with_method()],
        _ if variable.used_by == CALL && is_deploy => &["VERIFY"],
        "WAIT_TIMEOUT" if !is_choice(environment, "STRATEGY", "replace") => &["WAIT", "VERIFY"],
        "OPENFAAS_USERNAME" => &["OPENFAAS_PASSWORD"],
        "REPORT_PROXY" => &["REPORT"],
        "REGISTRY_HOST" => &["REGISTRY_USERNAME"],
        "GCP_SERVICE_ACCOUNT" => &["GCP_WORKLOAD_IDENTITY_PROVIDER"],
        name if CREDENTIALS.contains(&name) && !matches!(command, Command::Login | Command::Whoami) => &CHECKS,
        "GIT_DESCRIBE" => &[with_describe()],
        _ => return None,
    };
    if needed.iter().any(|needed| needed.is_empty() || is_on(environment, needed)) {
        return None;
    }
    let names: Vec<_> = needed.iter().map(|needed| format!("`{needed}`")).collect();
    let which = match names.len() {
        1 => "which is not set",
        _ if needed == CHECKS => "of which none is set: the cluster pulls images with credentials of its own",
        _ => "of which none is set",
    };
    Some(format!("with {}, {which}", names.join(" or ")))
}

/// The variable that makes another have no effect.
fn overruled(environment: &Environment, name: &str, command: Command) -> Option<&'static str> {
    let is_false = environment.text(name).and_then(boolean) == Some(false);
    let others: &[&str] = match (name, command) {
        ("WAIT", _) if is_false => &["VERIFY"],
        ("CHECK_IMAGES", _) if is_false => &CHECKS[1..],
        ("OUTPUT_FILE", Command::Invoke) => &["ASYNC"],
        ("STACK_FILE" | "FILTER" | "REGEX" | "TAG_FORMAT", Command::Login) => &["REGISTRIES"],
        _ => &[],
    };
    others.iter().find(|other| is_on(environment, other)).copied()
}

/// The commands that use a variable, and the one that was probably meant.
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
