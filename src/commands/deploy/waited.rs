//! One deployed function while `WAIT` watches it: what was seen of it, and what the log says in the end.

use tokio::time::{Duration, Instant};

use super::readiness::{ReadinessTracker, State};
use crate::commands::progress::Reporter;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::function::api::Deployment;
use crate::function::outcome::{Action, FunctionOutcome, Replicas};
use crate::gateway::statuses::StatusResult;
use crate::gateway::{Creation, Error};

/// How long a function has to be missing to be created again: a status may lag behind its creation.
const MISSING: Duration = Duration::from_millis(500);

/// A function that was deployed.
pub(super) struct Waited<'a> {
    pub(super) outcome: &'a mut FunctionOutcome,
    pub(super) deployment: &'a Deployment,
    pub(super) tracker: ReadinessTracker,
    pub(super) is_done: bool,
    /// It is ready, but nothing shows that the ready replicas are new.
    pub(super) is_assumed: bool,
    /// True if its status was read at all.
    is_read: bool,
    /// Why its status could not be read last.
    error: Option<Error>,
    /// Since when the gateway does not have it.
    missing_since: Option<Instant>,
    is_created_again: bool,
}

impl<'a> Waited<'a> {
    pub(super) fn new(outcome: &'a mut FunctionOutcome, deployment: &'a Deployment, tracker: ReadinessTracker) -> Self {
        Self {
            outcome,
            deployment,
            tracker,
            is_done: false,
            is_assumed: false,
            is_read: false,
            error: None,
            missing_since: None,
            is_created_again: false,
        }
    }

    /// Evaluates a status.
    pub(super) fn look(&mut self, reading: StatusResult, started: Instant, reporter: &Reporter<'_>) {
        match reading {
            Ok(status) => {
                (self.error, self.is_read) = (None, true);
                let now = Instant::now();
                self.missing_since = if status.is_some() { None } else { self.missing_since.or(Some(now)) };
                match self.tracker.look(status.as_ref(), now) {
                    State::Waiting => {}
                    State::Ready => self.is_ready(started),
                    // The warning of all that are assumed names it.
                    State::Assumed => {
                        self.is_assumed = true;
                        self.set(Some(true), started);
                    }
                    State::Ended => self.end(Some(false), started, self.ended(), reporter),
                }
            }
            Err(error) if error.failure() == Failure::Permission => {
                let problem = reporter.failed(&error);
                let message = format!("deployed, readiness unknown: {}", problem.message);
                self.end(None, started, Diagnostic { message, ..problem }, reporter);
            }
            // A transient failure: the next look may succeed.
            Err(error) => self.error = Some(error),
        }
    }

    fn is_ready(&mut self, started: Instant) {
        self.set(Some(true), started);
        let (name, took) = (&self.outcome.function, log::duration(started.elapsed()));
        tracing::info!("`{name}` is ready after {took}: {} available", self.count());
    }

    fn end(&mut self, ready: Option<bool>, started: Instant, problem: Diagnostic, reporter: &Reporter<'_>) {
        self.set(ready, started);
        reporter.problem(self.outcome, &problem);
        self.outcome.problem = Some(problem);
    }

    fn set(&mut self, ready: Option<bool>, started: Instant) {
        self.is_done = true;
        self.outcome.ready = ready;
        self.outcome.replicas = self.tracker.seen.as_ref().map(|(replicas, _)| *replicas);
        self.outcome.duration += started.elapsed();
    }

    /// The run was stopped.
    pub(super) fn stop(&mut self, failure: Failure, started: Instant) {
        self.set(None, started);
        let message = "deployed; the run was stopped before it was ready";
        self.outcome.problem = Some(Diagnostic::new(failure, message));
    }

    /// The time is up.
    pub(super) fn give_up(&mut self, limit: Duration, started: Instant, reporter: &Reporter<'_>) {
        // If its status could not be read, the function may be ready.
        let ready = if self.error.is_some() || !self.is_read { None } else { Some(false) };
        self.end(ready, started, self.problem(limit), reporter);
    }

    /// True if it has to be created again: something else removed it, or its removal was under way when it was deployed.
    pub(super) fn is_missing(&self) -> bool {
        !self.is_done && !self.is_created_again && self.missing_since.is_some_and(|since| since.elapsed() >= MISSING)
    }

    /// The creation is under way: no other one is begun.
    pub(super) fn creates(&mut self) {
        self.is_created_again = true;
    }

    pub(super) fn created(&mut self, created: Result<Creation, Error>, started: Instant, reporter: &Reporter<'_>) {
        match created {
            Ok(Creation::Accepted) => {
                let name = &self.outcome.function;
                tracing::warn!(
                    "`{name}` was removed by something else after this run deployed it: it is created again"
                );
                self.outcome.action = Action::Created;
                self.tracker.created_again();
            }
            // The removal is not complete yet, or it is there again.
            Ok(Creation::Exists { .. }) => {
                self.is_created_again = false;
                self.missing_since = None;
            }
            Err(error) => {
                let problem = reporter.failed(&error);
                let message =
                    format!("deployed, but then removed by something else, and not created again: {}", problem.message);
                self.end(Some(false), started, Diagnostic { message, ..problem }, reporter);
            }
        }
    }

    /// Available of desired replicas.
    pub(super) fn count(&self) -> String {
        match &self.tracker.seen {
            Some((Replicas { desired: 0, .. }, _)) => "scaled to zero, no replica".to_owned(),
            Some((Replicas { desired, available }, _)) => format!("{available}/{desired}"),
            None => "-".to_owned(),
        }
    }

    /// Why it is not ready when the time is up.
    fn problem(&self, limit: Duration) -> Diagnostic {
        let limit = log::duration(limit);
        let problem = |fault: &str, seen: &str| {
            Diagnostic::new(Failure::NotReady, format!("deployed, but {fault} within {limit}: {seen}"))
        };
        match (&self.error, &self.tracker.seen) {
            (Some(error), _) => {
                let (message, hint) = (error.to_string(), error.hint());
                Diagnostic { hint, ..problem("not known to be ready", &message) }
            }
            (None, None) if !self.is_read => problem("not known to be ready", "the gateway did not report its status"),
            (None, None) => problem("not ready", "the function no longer exists")
                .with_hint("check whether something else deleted it"),
            (None, Some((Replicas { desired, available }, image))) => {
                let seen = format!("{available} of {desired} replicas available, image `{}`", quote(image));
                if available >= desired && !self.tracker.may_be_assumed() {
                    return problem("not seen to be ready", &seen).with_hint(
                        "the available replicas may all be old: check that the new image exists and starts. If an update is \
                         ready and this is not seen, add a `VERIFY` call whose response differs between the versions, or use \
                         `STRATEGY: replace`",
                    );
                }
                problem("not ready", &seen).with_hint(
                    "check that the image exists and can be pulled, that the function starts, and that the cluster has room \
                     for it; if it only needs more time, increase `WAIT_TIMEOUT`",
                )
            }
        }
    }

    /// Why it will never be ready.
    fn ended(&self) -> Diagnostic {
        let image = self.tracker.seen.as_ref().map(|(_, image)| quote(image)).unwrap_or_default();
        let message = format!("deployed, but not ready: its process has ended, image `{image}`");
        Diagnostic::new(Failure::NotReady, message)
            .with_hint("faasd does not start it again: check that the function starts, and that its secrets are right")
    }
}
