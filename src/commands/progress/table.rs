//! The table that a command about several functions ends with.

use crate::console::log;
use crate::console::table;
use crate::diagnostic::Failure;
use crate::function::outcome::{Action, CallOutcome, FunctionOutcome};

/// The log is readable in a window of this width.
const WIDTH: usize = 100;
/// How much of a digest is shown, in hexadecimal digits.
const DIGEST: usize = 12;

const HEAD: [&str; 6] = ["FUNCTION", "NAMESPACE", "IMAGE", "RESULT", "TIME", "URL"];

/// Prints one row per function; the URLs are a line below if the table is too wide with them.
pub(super) fn print<'a>(outcomes: impl Iterator<Item = &'a FunctionOutcome>) {
    let rows: Vec<_> = outcomes.map(row).collect();
    if rows.is_empty() {
        return;
    }
    let whole = table::render(HEAD, &rows);
    let has_urls = rows.iter().any(|[.., url]| !url.is_empty());
    if has_urls && whole.lines().all(|line| line.chars().count() <= WIDTH) {
        return log::plain(whole);
    }
    let [head @ .., _] = HEAD;
    let narrow: Vec<_> = rows.iter().map(|[cells @ .., _]| cells.clone()).collect();
    log::plain(table::render(head, &narrow));
    let url = rows.iter().find_map(|[name, namespace, .., url]| {
        let base = url.strip_suffix(&format!(".{namespace}")).unwrap_or(url).strip_suffix(name.as_str())?;
        Some(format!("{base}NAME{}", if namespace == "-" { "" } else { ".NAMESPACE" }))
    });
    if let Some(url) = url {
        log::plain(format!("URL: {url}"));
    }
}

/// Prints one row per call of `VERIFY`, if there are any.
pub(crate) fn calls(calls: &[CallOutcome]) {
    if calls.is_empty() {
        return;
    }
    let rows: Vec<_> = calls
        .iter()
        .map(|call| {
            let status = call.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            [call.call.clone(), call.method.clone(), status, call.result().to_owned(), log::duration(call.duration)]
        })
        .collect();
    log::plain(table::render(["VERIFY", "METHOD", "STATUS", "RESULT", "TIME"], &rows));
}

fn row(outcome: &FunctionOutcome) -> [String; 6] {
    let result = match (&outcome.problem, outcome.action) {
        (Some(problem), Action::Failed) => match problem.failure {
            Failure::Permission => "not permitted",
            Failure::Input => "image missing",
            Failure::Unreachable => "unreachable",
            _ => "failed",
        },
        (Some(problem), action) if action.is_current() => match problem.failure {
            Failure::Permission => "readiness unknown",
            failure => failure.as_str(),
        },
        (_, action) => action.as_str(),
    };
    [
        outcome.function.name.clone(),
        outcome.function.namespace.clone().unwrap_or_else(|| "-".to_owned()),
        outcome.image.as_deref().map_or_else(|| "-".to_owned(), short),
        result.to_owned(),
        log::duration(outcome.duration),
        if outcome.action.is_current() { outcome.url.clone() } else { String::new() },
    ]
}

/// An image with the beginning of its digest; the JSON has all of it.
fn short(image: &str) -> String {
    match image.split_once("@sha256:") {
        Some((name, digest)) if digest.len() > DIGEST && digest.is_ascii() => {
            format!("{name}@sha256:{}…", &digest[..DIGEST])
        }
        _ => image.to_owned(),
    }
}
