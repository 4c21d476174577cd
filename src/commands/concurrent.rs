//! The same with several functions, side by side.

use std::cell::Cell;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::commands::progress::count;
use crate::commands::session::Session;
use crate::console::log::quote;
use crate::function::FunctionName;
use crate::function::outcome::{Action, Failure, FunctionOutcome, Left, Problem};
use crate::gateway::Gateway;

/// The outcome of a function that nothing was done with yet.
pub(crate) fn begun(gateway: &Gateway, target: FunctionName) -> FunctionOutcome {
    let url = gateway.function_url(&target).into();
    FunctionOutcome::new(target, url)
}

/// Why nothing came of it.
pub(crate) struct Failed {
    pub(crate) problem: Problem,
    /// The gateway cannot be reached, or takes no requests: what follows would fail as well.
    pub(crate) is_unavailable: bool,
    pub(crate) left: Left,
}

/// Does something with each function, `parallel` at once, and reports each as it ends; the outcomes are in the order given.
/// Nothing new is begun once the run is to stop, or after `parallel` functions in a row failed because the gateway is not
/// available.
pub(crate) async fn each<T>(
    session: &Session<'_>,
    functions: impl IntoIterator<Item = (FunctionOutcome, T)>,
    act: impl AsyncFn(&FunctionName, T) -> Result<Action, Failed>,
) -> Vec<FunctionOutcome> {
    let Session { stop, parallel, reporter, .. } = *session;
    let act = &act;
    let row = &Row { longest: parallel, failed: Cell::new(0), failure: Cell::new(Failure::Unreachable) };
    let mut outcomes: Vec<_> = stream::iter(functions.into_iter().enumerate())
        .map(|(index, (mut outcome, given))| async move {
            let started = Instant::now();
            if let Some(failure) = stop.requested() {
                outcome.problem = Some(Problem { failure, message: "the run was stopped".to_owned(), hint: None });
            } else if row.is_full() {
                outcome.problem = Some(row.problem());
            } else {
                let done = act(&outcome.function.clone(), given).await;
                row.note(&done);
                outcome.take(done);
            }
            outcome.duration = started.elapsed();
            (index, outcome)
        })
        .buffer_unordered(parallel)
        .inspect(|(_, outcome)| reporter.ended(outcome))
        .collect()
        .await;
    outcomes.sort_unstable_by_key(|(index, _)| *index);
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    if row.is_full() {
        let left = outcomes.iter().filter(|outcome| outcome.action == Action::NotStarted).count();
        tracing::error!("{}; {} not started", row.problem().message, count(left));
    }
    outcomes
}

/// Functions that failed one after the other because the gateway is not available, none succeeding in between.
struct Row {
    longest: usize,
    failed: Cell<usize>,
    failure: Cell<Failure>,
}

impl Row {
    fn note(&self, done: &Result<Action, Failed>) {
        match done {
            Ok(_) => self.failed.set(0),
            Err(Failed { is_unavailable: true, problem, .. }) => {
                self.failed.set(self.failed.get() + 1);
                self.failure.set(problem.failure);
            }
            Err(_) => {}
        }
    }

    fn is_full(&self) -> bool {
        self.failed.get() >= self.longest
    }

    fn problem(&self) -> Problem {
        let message = format!("the gateway is not available: {} in a row failed", count(self.longest));
        Problem { failure: self.failure.get(), message, hint: None }
    }
}

impl FunctionOutcome {
    /// Takes in what was done, or why nothing was.
    fn take(&mut self, done: Result<Action, Failed>) {
        let Failed { mut problem, left, .. } = match done {
            Ok(action) => {
                self.action = action;
                return;
            }
            Err(failed) => failed,
        };
        self.action = Action::Failed;
        match &left {
            Left::Untouched => {}
            Left::Gone => problem.message.push_str("; the previous version is gone"),
            Left::Unknown => problem.message.push_str("; the previous version is perhaps gone"),
            Left::Restored(image) => {
                let image = quote(image);
                tracing::warn!("`{}` is rolled back: image `{image}`, which ran before, is redeployed", self.function);
                problem.message.push_str(&format!("; rolled back to image `{image}`"));
                self.action = Action::RolledBack;
            }
        }
        self.problem = Some(problem);
        self.left = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_because_the_gateway_is_not_available_count() {
        let row = Row { longest: 2, failed: Cell::new(0), failure: Cell::new(Failure::Unreachable) };
        let failed = |is_unavailable| {
            let problem = Problem { failure: Failure::Failed, message: String::new(), hint: None };
            Err(Failed { problem, is_unavailable, left: Left::Untouched })
        };
        row.note(&failed(true));
        row.note(&Ok(Action::Updated));
        row.note(&failed(true));
        row.note(&failed(false));
        assert!(!row.is_full());
        row.note(&failed(true));
        assert!(row.is_full());
        assert_eq!(row.problem().failure, Failure::Failed);
    }
}
