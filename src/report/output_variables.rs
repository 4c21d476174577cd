//! The output variables of the step, in the file that Bitbucket reads them from.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::console::log::quote;
use crate::console::redact;
use crate::diagnostic::Diagnostic;
use crate::function::Command;
use crate::function::outcome::Outcome;

/// Bitbucket's limit for all variables of a step.
const MOST_BYTES: usize = 100_000;

pub(crate) const NAMES: [&str; 5] =
    ["OPENFAAS_URL", "OPENFAAS_FUNCTIONS", "OPENFAAS_IMAGES", "OPENFAAS_STATUS", "OPENFAAS_CALL_ID"];

/// Appends the variables that are wanted; if the file cannot be written, logs their values instead.
///
/// A run that had no gateway did nothing, and does not change what an earlier one of the step handed on.
pub(super) fn write(path: Option<&Path>, outcome: &Outcome, wanted: &[String]) {
    if wanted.is_empty() {
        return;
    }
    if outcome.gateway.is_empty() {
        if outcome.problem.is_none() {
            tracing::warn!("no output variables were set: nothing was sent to a gateway");
        }
        return;
    }
    // `whoami` takes the variables of the step that it stands for.
    let is_missing = |name: &&String| outcome.command != Command::Whoami && !is_set_by(outcome.command, name);
    let missing: Vec<_> = wanted.iter().filter(is_missing).map(|name| format!("`{name}`")).collect();
    if !missing.is_empty() {
        tracing::warn!("`COMMAND: {}` does not set {}", outcome.command, missing.join(", "));
    }
    let mut variables = variables(outcome);
    variables.retain(|(name, _)| wanted.iter().any(|wanted| wanted == name));
    match path.ok_or_else(|| io::Error::other("`BITBUCKET_PIPELINES_VARIABLES_PATH` is not set")).and_then(open) {
        Ok((file, before)) => append(file, &before, &variables),
        Err(error) => {
            variables.retain(|(_, value)| redact::redact(value) == *value);
            let values: String = variables.iter().map(|(name, value)| format!("\n{name}={}", quote(value))).collect();
            let error = quote(&error.to_string());
            tracing::warn!("no output variables were set: the file of the step cannot be written: {error}{values}");
        }
    }
}

/// True if a command has a value for a variable, unless it fails.
fn is_set_by(command: Command, name: &str) -> bool {
    match name {
        "OPENFAAS_STATUS" | "OPENFAAS_CALL_ID" => command == Command::Invoke,
        "OPENFAAS_FUNCTIONS" | "OPENFAAS_IMAGES" => command == Command::Deploy,
        _ => true,
    }
}

fn append(mut file: File, before: &[u8], variables: &[(&'static str, String)]) {
    const IN_RESULT: &str = "`openfaas-pipe.json` in the storage directories has all values";
    let mut lines = String::new();
    if before.last().is_some_and(|byte| *byte != b'\n') {
        lines.push('\n');
    }
    for (name, value) in variables {
        let line = format!("{name}={value}\n");
        let (reason, hint) = if redact::redact(value) != *value {
            (
                "it contains the value of a secret, and would be wrong if masked",
                "choose a longer secret that does not occur in names or addresses",
            )
        } else if !is_plain(name, value) {
            ("its value contains characters that a shell may interpret", IN_RESULT)
        } else if before.len() + lines.len() + line.len() > MOST_BYTES {
            ("the limit of 100 KB for all variables of a step would be exceeded", IN_RESULT)
        } else {
            lines.push_str(&line);
            continue;
        };
        Diagnostic::warning(format!("the output variable `{name}` was not set: {reason}")).with_hint(hint).log();
    }
    match file.write_all(lines.as_bytes()) {
        Ok(()) => tracing::debug!("output variables were set"),
        Err(error) => tracing::warn!("no output variables were set: {error}"),
    }
}

/// The file for appending, and what is in it. It is Bitbucket's: neither made nor replaced here.
fn open(path: &Path) -> io::Result<(File, Vec<u8>)> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut file = OpenOptions::new().read(true).append(true).open(path)?;
    let mut before = Vec::new();
    // If there is one byte more than is allowed, the file is full.
    (&mut file).take(MOST_BYTES as u64 + 1).read_to_end(&mut before)?;
    Ok((file, before))
}

/// Names and values, the most important ones first, in case that not all fit.
///
/// Only a deploy has the lists: an invocation after it in the same step must not empty them.
fn variables(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let mut variables = vec![("OPENFAAS_URL", outcome.gateway.clone())];
    if let Some(invocation) = &outcome.invocation {
        if let Some(status) = invocation.status {
            variables.push(("OPENFAAS_STATUS", status.to_string()));
        }
        if let Some(id) = &invocation.call_id {
            variables.push(("OPENFAAS_CALL_ID", id.clone()));
        }
    }
    if outcome.command == Command::Deploy {
        let deployed: Vec<_> = outcome.functions.iter().filter(|function| function.action.is_current()).collect();
        let names: Vec<_> = deployed.iter().map(|function| function.function.name.as_str()).collect();
        let images: Vec<_> = deployed.iter().filter_map(|function| function.image.as_deref()).collect();
        variables.push(("OPENFAAS_FUNCTIONS", names.join(",")));
        variables.push(("OPENFAAS_IMAGES", images.join(",")));
    }
    variables
}

/// True if a value means itself on one line, also to a shell that reads the file: a call id is a server's text.
fn is_plain(name: &str, value: &str) -> bool {
    // The pipeline's own address may have an IPv6 host in brackets, and a path such as `/~user`.
    let special = if name == "OPENFAAS_URL" { "\"'`$\\;&|<>(){}*?#!" } else { "\"'`$\\;&|<>(){}*?#![]~" };
    !value
        .contains(|character: char| character.is_control() || character.is_whitespace() || special.contains(character))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn all() -> Vec<String> {
        NAMES.map(str::to_owned).into()
    }

    fn appended(before: &str, outcome: &Outcome) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("variables");
        fs::write(&path, before).unwrap();
        write(Some(&path), outcome, &all());
        fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn deploy_hands_on_what_it_deployed() {
        insta::assert_snapshot!(appended("", &sample::deploy()), @r"
        OPENFAAS_URL=https://gateway.example.com
        OPENFAAS_FUNCTIONS=hello,late
        OPENFAAS_IMAGES=ghcr.io/acme/hello:1,ghcr.io/acme/late:1
        ");
    }

    #[test]
    fn invocation_hands_on_its_answer_and_leaves_the_lists_alone() {
        insta::assert_snapshot!(appended("OPENFAAS_FUNCTIONS=hello", &sample::invoke()), @r"
        OPENFAAS_FUNCTIONS=hello
        OPENFAAS_URL=https://gateway.example.com
        OPENFAAS_STATUS=200
        OPENFAAS_CALL_ID=0b2f8a7e-5a3c
        ");
    }

    #[test]
    fn run_without_a_gateway_leaves_alone_what_an_earlier_one_handed_on() {
        let before = "OPENFAAS_URL=https://gateway.example.com\nOPENFAAS_FUNCTIONS=hello\n";
        assert_eq!(appended(before, &Outcome::new(Command::Deploy, String::new())), before);
    }

    #[test]
    fn servers_text_cannot_set_another_variable_or_run_a_command() {
        for id in ["1\nPATH=/tmp", "$(id)", "`id`", "1; id", "*", "[a-z]", "?", "~root", "a#b", "!!"] {
            let mut outcome = sample::invoke();
            outcome.invocation.as_mut().unwrap().call_id = Some(id.to_owned());
            assert_eq!(appended("", &outcome), "OPENFAAS_URL=https://gateway.example.com\nOPENFAAS_STATUS=200\n");
        }
    }

    #[test]
    fn address_may_have_an_ipv6_host() {
        let outcome = Outcome::new(Command::Remove, "http://[::1]:8080/~a".to_owned());
        assert_eq!(appended("", &outcome), "OPENFAAS_URL=http://[::1]:8080/~a\n");
    }

    #[test]
    fn value_that_contains_a_secret_is_left_out_and_not_changed() {
        let _password = redact::Secret::new("output-s3cret".to_owned());
        let mut outcome = sample::deploy();
        outcome.functions[0].image = Some("ghcr.io/output-s3cret/hello:1".to_owned());
        insta::assert_snapshot!(appended("", &outcome), @r"
        OPENFAAS_URL=https://gateway.example.com
        OPENFAAS_FUNCTIONS=hello,late
        ");
    }

    #[test]
    fn list_that_is_too_large_is_left_out() {
        let text = appended("", &sample::failing(0, 5000));
        assert!(text.contains("OPENFAAS_FUNCTIONS=function-0,"));
        assert!(!text.contains("OPENFAAS_IMAGES"));
        assert!(text.len() <= MOST_BYTES);
    }

    #[test]
    fn missing_file_is_not_made_and_a_link_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        write(Some(&missing), &sample::deploy(), &all());
        assert!(!missing.exists());

        let target = dir.path().join("target");
        fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &missing).unwrap();
        write(Some(&missing), &sample::deploy(), &all());
        assert_eq!(fs::read_to_string(&target).unwrap(), "");
    }
}
