//! Runs the same action for several functions concurrently.

use std::cell::Cell;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::commands::progress::Reporter;
use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::FunctionName;
use crate::function::image::is_same_tag;
use crate::function::outcome::{Action, FunctionOutcome, Left};
use crate::gateway::{Error, Gateway};
use crate::shutdown::Shutdown;
use crate::text::count;

/// The session of a run, once everything is checked.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) shutdown: &'a Shutdown,
    pub(crate) parallel: usize,
    pub(crate) reporter: &'a Reporter<'a>,
}

/// The note on a change without a response.
pub(crate) const UNDECIDED: &str = "; it may have been carried out all the same";

/// The outcome of a function that nothing was done with yet.
pub(crate) fn begun(gateway: &Gateway, target: FunctionName) -> FunctionOutcome {
    let url = gateway.invocation_url(&target, false).into();
    FunctionOutcome::new(target, url)
}

pub(crate) struct Failed {
    pub(crate) error: Error,
    /// The remedy, if the error has none.
    pub(crate) hint: Option<String>,
    pub(crate) left: Left,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let left = left_by(&error);
        Self { error, hint: None, left }
    }
}

/// The state of a function after a request that failed, as far as the error says.
pub(crate) fn left_by(error: &Error) -> Left {
    if error.may_be_under_way() { Left::Undecided } else { Left::Untouched }
}

/// Runs `act` for each function, `parallel` at once, and reports each as it ends; the outcomes are in the order given. Nothing
/// new is started after a signal, or after `parallel` functions in a row failed because the gateway is not available.
pub(crate) async fn each<T>(
    session: &Session<'_>,
    functions: impl IntoIterator<Item = (FunctionOutcome, T)>,
    act: impl AsyncFn(&FunctionName, T) -> Result<Action, Failed>,
) -> Vec<FunctionOutcome> {
    let Session { gateway, shutdown, parallel, reporter } = *session;
    let breaker =
        CircuitBreaker { threshold: parallel, failed: Cell::new(0), failure: Cell::new(Failure::Unreachable) };
    let (mut outcomes, given): (Vec<_>, Vec<_>) = functions.into_iter().unzip();
    stream::iter(outcomes.iter_mut().zip(given))
        .for_each_concurrent(parallel, async |(outcome, given)| {
            let started = Instant::now();
            if let Some(failure) = shutdown.requested() {
                outcome.problem = Some(Diagnostic::new(failure, "the run was stopped"));
            } else if breaker.is_open() {
                outcome.problem = Some(breaker.problem());
            } else {
                match act(&outcome.function, given).await {
                    Ok(action) => {
                        // A success in between shows that the gateway is there.
                        breaker.failed.set(0);
                        outcome.action = action;
                    }
                    Err(Failed { error, hint, left }) => {
                        // The outage began before the first request: nothing shows that one was carried out.
                        let left = if error.says_unavailable() && gateway.is_down() { Left::Untouched } else { left };
                        let mut problem = reporter.failed(&error);
                        problem.hint = problem.hint.or(hint);
                        if left == Left::Undecided && !matches!(error, Error::NotSeenGone(_)) {
                            problem.message.push_str(UNDECIDED);
                        }
                        breaker.add(error.is_unavailable(), problem.failure);
                        outcome.fail(problem, left);
                    }
                }
            }
            outcome.duration = started.elapsed();
            reporter.ended(outcome);
        })
        .await;
    reporter.flush();
    if breaker.is_open() {
        let left = outcomes.iter().filter(|outcome| outcome.action == Action::NotStarted);
        reporter.not_started(&breaker.problem(), left.map(|outcome| outcome.function.clone()).collect());
    }
    outcomes
}

/// Stops a run once this many functions in a row failed because the gateway is not available.
struct CircuitBreaker {
    threshold: usize,
    failed: Cell<usize>,
    failure: Cell<Failure>,
}

impl CircuitBreaker {
    /// Only if the gateway is not available, the next functions would fail too.
    fn add(&self, is_unavailable: bool, failure: Failure) {
        if is_unavailable {
            self.failed.set(self.failed.get() + 1);
            self.failure.set(failure);
        }
    }

    fn is_open(&self) -> bool {
        self.failed.get() >= self.threshold
    }

    fn problem(&self) -> Diagnostic {
        let message = format!("the gateway is not available: {} in a row failed", count(self.threshold, "function"));
        Diagnostic::new(self.failure.get(), message)
    }
}

impl FunctionOutcome {
    fn fail(&mut self, mut problem: Diagnostic, left: Left) {
        self.action = Action::Failed;
        match &left {
            Left::Untouched | Left::Undecided | Left::NotRolledBack => {}
            Left::Gone => problem.message.push_str("; the previous version is gone"),
            Left::Leaving => problem.message.push_str("; the previous version is being deleted"),
            Left::Down => problem.message.push_str("; the previous version was replaced by one that does not run"),
            Left::Unknown => problem.message.push_str("; the previous version may be gone"),
            Left::Restored(image) => self.restored(image, &mut problem),
        }
        self.problem = Some(problem);
        self.left = left;
    }

    /// Notes that the previous version, with this image, was redeployed in place of the one with this problem.
    pub(crate) fn restored(&mut self, image: &str, problem: &mut Diagnostic) {
        let (name, shown) = (&self.function, quote(image));
        let rolled_back = if self.image.as_ref().is_some_and(|new| is_same_tag(new, image)) {
            // The name of the image stands for the new one by now.
            tracing::warn!(
                "`{name}` is rolled back in part: its previous configuration is redeployed, but its image has the same name \
                 `{shown}` as before, which cannot be restored by its name"
            );
            format!("rolled back in part: its image has the same name `{shown}` as before")
        } else {
            tracing::warn!("`{name}` is rolled back: image `{shown}`, which ran before, is redeployed");
            self.action = Action::RolledBack;
            format!("rolled back to image `{shown}`")
        };
        problem.message.push_str(&format!("; {rolled_back}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_because_the_gateway_is_not_available_count() {
        let breaker = CircuitBreaker { threshold: 2, failed: Cell::new(0), failure: Cell::new(Failure::Unreachable) };
        breaker.add(true, Failure::Failed);
        breaker.failed.set(0);
        breaker.add(true, Failure::Failed);
        breaker.add(false, Failure::Permission);
        assert!(!breaker.is_open());
        breaker.add(true, Failure::Failed);
        assert!(breaker.is_open());
        assert_eq!(breaker.problem().failure, Failure::Failed);
    }
}
