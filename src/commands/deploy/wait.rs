//! `WAIT`: watches deployed functions side by side until each has an available replica of the new version.
//!
//! The gateway reports a function's image, and how many replicas are desired and available, but not which image the
//! available ones run: the image is that of the newest version, while old replicas count until they are gone. faas-netes
//! rolls with `maxUnavailable: 0` and `maxSurge: 1`, so the count of a version that never starts is the same as that of one
//! that runs. Once the gateway reports the new image, [`ReadinessTracker`] therefore counts as new:
//!
//! - any available replica if there was none before the deploy (new, replaced, or not ready before);
//! - one more than were desired at any time: the surge of a rolling update;
//! - one that became available after old ones were removed;
//! - otherwise as many as are desired, if they stay available for [`SETTLE`]: long enough for a provider that removes old
//!   replicas first, and all that can be known of one that keeps them.
//!
//! A function with no desired replicas is scaled to zero, which counts as ready.

use futures_util::future::join_all;
use tokio::time::{Duration, Instant, Interval, interval_at, sleep, sleep_until};

use super::function_log::FunctionLogs;
use super::readiness::{Baseline, ReadinessTracker};
use crate::commands::concurrent::Session;
use crate::commands::progress::Reporter;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::FunctionName;
use crate::function::outcome::{Action, FunctionOutcome, Replicas};
use crate::gateway::Error;
use crate::gateway::statuses::{StatusResult, Statuses};
use crate::text::count;

/// How long replicas have to stay available if nothing else shows that they are new; at most half of `WAIT_TIMEOUT`.
const SETTLE: Duration = Duration::from_secs(10);
/// Between two rounds of requests; it grows to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(2);
/// Between two requests: 40 a second, which one gateway serves easily.
const GAP: Duration = Duration::from_millis(25);
/// How often the log says what is still waited for.
const PROGRESS: Duration = Duration::from_secs(10);
/// More functions are not named in one line.
const MOST_NAMED: usize = 10;
/// The log of so many functions is shown.
const MOST_LOGS: usize = 10;

pub(super) struct Waiter<'a> {
    pub(super) session: Session<'a>,
    /// `WAIT_TIMEOUT`.
    pub(super) limit: Duration,
}

struct Waiting<'a> {
    outcome: &'a mut FunctionOutcome,
    tracker: ReadinessTracker,
    /// Why its status could not be read last.
    error: Option<Error>,
}

enum Round {
    Read(Vec<StatusResult>),
    TimeIsUp,
    Stopped(Failure),
}

impl Waiter<'_> {
    /// Waits for all functions that were deployed, and sets the result in their outcomes. `before` is what ran before the
    /// deploy, in the same order.
    pub(super) async fn wait(&self, outcomes: &mut [FunctionOutcome], before: &[StatusResult]) {
        let started = Instant::now();
        let settle = SETTLE.min(self.limit / 2);
        let statuses = Statuses::new(self.session.gateway, self.session.parallel).paced(GAP);
        let mut waiting = watched(outcomes, before);
        let mut ticks = interval_at(started + PROGRESS, PROGRESS);
        let mut pause = Duration::ZERO;
        let mut assumed = 0;
        if !waiting.is_empty() {
            tracing::info!(
                "waiting until {} {} ready, at most {}",
                count(waiting.len(), "function"),
                if waiting.len() == 1 { "is" } else { "are" },
                log::duration(self.limit)
            );
        }
        while !waiting.is_empty() {
            match self.round(&statuses, &waiting, pause, &mut ticks, started).await {
                Round::Read(readings) => {
                    let mut readings = readings.into_iter();
                    waiting.retain_mut(|function| {
                        let Some(reading) = readings.next() else { return true };
                        let goes_on = function.update(reading, settle, started, self.session.reporter);
                        assumed += usize::from(function.tracker.assumed);
                        goes_on
                    });
                }
                Round::TimeIsUp => {
                    self.not_ready(&mut waiting, started).await;
                    break;
                }
                Round::Stopped(failure) => {
                    for function in &mut waiting {
                        function.set(None, started);
                        let message = "deployed; the run was stopped before it was ready";
                        function.outcome.problem = Some(Diagnostic::new(failure, message));
                    }
                    break;
                }
            }
            // The last round is shortly before the time is up.
            let left = self.limit.saturating_sub(started.elapsed()).saturating_sub(PAUSE);
            pause = (pause * 3 / 2).clamp(PAUSE, PAUSE_MOST).min(left);
        }
        if assumed > 0 {
            tracing::info!(
                "assuming {} ready: all replicas stayed available for {} (the gateway does not distinguish old replicas \
                 from new ones)",
                if assumed == 1 { "1 function is".to_owned() } else { format!("{assumed} functions are") },
                log::duration(settle)
            );
        }
    }

    /// Reads the status of all functions once, after a pause, and logs the progress meanwhile.
    async fn round(
        &self,
        statuses: &Statuses<'_>,
        waiting: &[Waiting<'_>],
        pause: Duration,
        ticks: &mut Interval,
        started: Instant,
    ) -> Round {
        let targets: Vec<&FunctionName> = waiting.iter().map(|function| &function.outcome.function).collect();
        let look = async {
            sleep(pause).await;
            statuses.read(&targets).await
        };
        tokio::pin!(look);
        loop {
            tokio::select! {
                readings = &mut look => return Round::Read(readings),
                _ = ticks.tick() => tracing::info!("{}", progress(waiting, started.elapsed(), self.limit)),
                () = sleep_until(started + self.limit) => return Round::TimeIsUp,
                failure = self.session.shutdown.wait() => return Round::Stopped(failure),
            }
        }
    }

    /// Reports what is not ready when the time is up, with the end of its log.
    async fn not_ready(&self, waiting: &mut [Waiting<'_>], started: Instant) {
        for function in &mut *waiting {
            // If its status could not be read, the function may be ready.
            let ready = if function.error.is_some() { None } else { Some(false) };
            function.set(ready, started);
            let problem = function.problem(self.limit);
            self.session.reporter.problem(function.outcome, &problem);
            function.outcome.problem = Some(problem);
        }
        let logs = FunctionLogs::new(self.session);
        let logs = waiting.iter().take(MOST_LOGS).map(|function| logs.show(&function.outcome.function));
        join_all(logs).await;
    }
}

impl Waiting<'_> {
    /// Evaluates a status; returns whether to continue waiting.
    fn update(&mut self, reading: StatusResult, settle: Duration, started: Instant, reporter: &Reporter<'_>) -> bool {
        match reading {
            Ok(status) => {
                self.error = None;
                if !self.tracker.is_ready(status.as_ref(), Instant::now(), settle) {
                    return true;
                }
                self.set(Some(true), started);
                let (name, took) = (&self.outcome.function, log::duration(started.elapsed()));
                tracing::info!("`{name}` is ready after {took}: {} available", self.count());
                false
            }
            Err(error) if error.problem().failure == Failure::Permission => {
                self.set(None, started);
                let problem = reporter.failed(&error);
                let message = format!("deployed, but whether it is ready is not known: {}", problem.message);
                let problem = Diagnostic { message, ..problem };
                reporter.problem(self.outcome, &problem);
                self.outcome.problem = Some(problem);
                false
            }
            // A transient failure: the next round may succeed.
            Err(error) => {
                self.error = Some(error);
                true
            }
        }
    }

    fn set(&mut self, ready: Option<bool>, started: Instant) {
        self.outcome.ready = ready;
        self.outcome.replicas = self.tracker.seen.as_ref().map(|(replicas, _)| *replicas);
        self.outcome.duration += started.elapsed();
    }

    /// Available of desired replicas.
    fn count(&self) -> String {
        match &self.tracker.seen {
            Some((Replicas { desired: 0, .. }, _)) => "scaled to zero, no replica".to_owned(),
            Some((Replicas { desired, available }, _)) => format!("{available}/{desired}"),
            None => "-".to_owned(),
        }
    }

    fn problem(&self, limit: Duration) -> Diagnostic {
        let limit = log::duration(limit);
        let not_ready =
            |seen: &str| Diagnostic::new(Failure::NotReady, format!("deployed, but not ready within {limit}: {seen}"));
        match (&self.error, &self.tracker.seen) {
            (Some(error), _) => {
                let problem = error.problem();
                let message = format!("deployed, but not known to be ready within {limit}: {}", problem.message);
                Diagnostic { failure: Failure::NotReady, message, ..problem }
            }
            (None, None) => not_ready("the gateway does not have it").with_hint("was it deleted by something else?"),
            (None, Some((Replicas { desired, available }, image))) => {
                let seen = format!("{available} of {desired} replicas available, image `{}`", quote(image));
                not_ready(&seen).with_hint(
                    "check that the image exists and can be pulled, and that the function starts; if it only needs more \
                     time, increase `WAIT_TIMEOUT`",
                )
            }
        }
    }
}

/// The functions that were deployed, with the replicas of the previous version.
fn watched<'a>(outcomes: &'a mut [FunctionOutcome], before: &[StatusResult]) -> Vec<Waiting<'a>> {
    let deployed = outcomes.iter_mut().enumerate().filter(|(_, outcome)| outcome.problem.is_none());
    let watched = deployed.map(|(index, outcome)| {
        let baseline = match (outcome.action, before.get(index)) {
            (Action::Created | Action::Replaced | Action::Unchanged, _) => Baseline::NONE,
            (_, Some(Ok(Some(status)))) => Baseline::from(status),
            _ => Baseline::UNKNOWN,
        };
        let tracker = ReadinessTracker::new(outcome.image.as_deref().unwrap_or_default(), baseline);
        Waiting { outcome, tracker, error: None }
    });
    watched.collect()
}

/// `still waiting for 2 functions, 10 s of 5 min: a 0/1, b 1/2`.
fn progress(waiting: &[Waiting<'_>], elapsed: Duration, limit: Duration) -> String {
    let named = waiting.iter().take(MOST_NAMED);
    let named: Vec<_> = named.map(|function| format!("`{}` {}", function.outcome.function, function.count())).collect();
    let more = waiting.len().saturating_sub(MOST_NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(
        "still waiting for {}, {} of {}: {}{more} available",
        count(waiting.len(), "function"),
        log::duration(Duration::from_secs(elapsed.as_secs())),
        log::duration(limit),
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::api::Status;

    /// The progress of functions, each with its available and desired replicas.
    fn progress_of(functions: &[(String, Option<(u64, u64)>)], elapsed: Duration) -> String {
        let outcome = |name: &str| FunctionOutcome::new(FunctionName::new(name, None::<String>), String::new());
        let mut outcomes: Vec<_> = functions.iter().map(|(name, _)| outcome(name)).collect();
        let waiting = outcomes.iter_mut().zip(functions).map(|(outcome, (_, seen))| {
            let mut tracker = ReadinessTracker::new("acme/f:2", Baseline::UNKNOWN);
            let status = seen.map(|(available_replicas, replicas)| Status {
                image: "acme/f:2".to_owned(),
                available_replicas,
                replicas,
                ..Status::default()
            });
            tracker.is_ready(status.as_ref(), Instant::now(), SETTLE);
            Waiting { outcome, tracker, error: None }
        });
        progress(&waiting.collect::<Vec<_>>(), elapsed, Duration::from_secs(300))
    }

    #[test]
    fn progress_is_one_line_with_replica_counts() {
        let some = [("a".to_owned(), Some((0, 1))), ("b".to_owned(), Some((1, 2))), ("c".to_owned(), None)];
        insta::assert_snapshot!(
            progress_of(&some, Duration::from_millis(10_004)),
            @"still waiting for 3 functions, 10 s of 5 min: `a` 0/1, `b` 1/2, `c` - available"
        );
        let many: Vec<_> = (0..200).map(|number| (format!("f{number}"), Some((0, 1)))).collect();
        let line = progress_of(&many, Duration::from_secs(20));
        assert!(line.ends_with("`f9` 0/1 and 190 more available"), "{line}");
    }
}
