//! The table that a command about several functions ends with.

use crate::console::log;
use crate::console::table;
use crate::function::outcome::{Action, CallOutcome, FunctionOutcome};

/// No reason is longer, so that one does not push the columns behind it out of sight; the line above has all of it.
const REASON_WIDTH: usize = 72;

const HEAD: [&str; 6] = ["FUNCTION", "NAMESPACE", "IMAGE", "RESULT", "TIME", "URL"];

/// Prints one row per function.
pub(crate) fn print(outcomes: &[FunctionOutcome]) {
    let rows: Vec<_> = outcomes.iter().map(row).collect();
    log::plain(table::render(HEAD, &rows));
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
        (Some(problem), Action::Failed) => format!("failed: {}", cut(&problem.message)),
        (Some(_), action @ (Action::NotStarted | Action::RolledBack)) => action.as_str().to_owned(),
        (Some(problem), action) => format!("{}, {}", action.as_str(), problem.failure.as_str()),
        (_, action) => action.as_str().to_owned(),
    };
    [
        outcome.function.name.clone(),
        outcome.function.namespace.clone().unwrap_or_else(|| "-".to_owned()),
        outcome.image.clone().unwrap_or_else(|| "-".to_owned()),
        result,
        log::duration(outcome.duration),
        outcome.url.clone(),
    ]
}

/// Values are shown whole or not at all: Bitbucket does not mask a part of a secured variable's value.
fn cut(text: &str) -> String {
    if width(text) <= REASON_WIDTH {
        return text.to_owned();
    }
    let unquoted = text.split('`').next().unwrap_or_default();
    unquoted.chars().take(REASON_WIDTH - 1).chain(['…']).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}
