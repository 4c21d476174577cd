//! `WAIT`: watches deployed functions side by side until each has an available replica of the new version.
//!
//! The gateway reports a function's image, and how many replicas are desired and available, but not which image the
//! available ones run: the image is that of the newest version, while old replicas count until they are gone. faas-netes
//! rolls with `maxUnavailable: 0` and `maxSurge: 1`, so the count of a version that never starts is the same as that of one
//! that runs, but for a moment: when the first new replica is available, and the old one is not removed yet, one more than
//! desired is available. With a Kubernetes of its own that was between 14 and 70 ms, after every update that succeeded, and
//! after none that failed. Once the gateway reports the new image, [`ReadinessTracker`] therefore counts as new:
//!
//! - any available replica if there was none before the deploy (new, replaced, or not ready before);
//! - one more than were desired at any time: the surplus of a rolling update;
//! - one that became available after old ones were removed;
//! - otherwise as many as are desired, if they stay available for [`SETTLE`]. That is an assumption: a rollback may not rely on
//!   it.
//!
//! A function with no desired replicas is scaled to zero, which counts as ready. faasd does not scale to zero when it deploys:
//! there it is a process that has ended.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Duration, Instant, interval_at, sleep_until};

use super::readiness::{NONE, ReadinessTracker, Rollout, State, UNKNOWN, Updated};
use super::verify::FunctionLogs;
use crate::commands::concurrent::Session;
use crate::commands::progress::Reporter;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::function::FunctionName;
use crate::function::api::Deployment;
use crate::function::outcome::{Action, FunctionOutcome, Left, Replicas};
use crate::gateway::provider::{Provider, Reported};
use crate::gateway::statuses::{StatusResult, Statuses};
use crate::gateway::{Creation, Error};
use crate::text::{count, list};

/// How long looks are dense: in this time most updates have their first new replica.
pub(super) const DENSE: Duration = Duration::from_secs(15);
/// How long replicas have to stay available if nothing else shows that they are new; at most half of `WAIT_TIMEOUT`.
const SETTLE: Duration = DENSE;
/// How long a process of faasd has to run; at most half of `WAIT_TIMEOUT`.
const LASTING: Duration = Duration::from_secs(2);
/// Between two rounds of looks that are not dense; it grows to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(2);
/// Dense rounds under way at once.
pub(super) const MOST_ROUNDS: usize = 16;
/// How long a function has to be missing to be created again: a status may lag behind its creation.
const MISSING: Duration = Duration::from_millis(500);
/// How often the log says what is still waited for.
const PROGRESS: Duration = Duration::from_secs(10);
/// More functions are not named in one line.
const MOST_NAMED: usize = 10;
/// Of how many functions the log is shown.
const MOST_LOGS: usize = 10;

pub(super) struct Waiter<'a> {
    pub(super) session: Session<'a>,
    /// `WAIT_TIMEOUT`.
    pub(super) limit: Duration,
    /// True if an update is assumed to be ready if nothing shows that it is not. If it would be rolled back otherwise, and no
    /// call verifies it, only what is seen counts.
    pub(super) may_assume: bool,
    /// The fields of functions that the gateway reports.
    pub(super) reported: Reported,
}

impl Waiter<'_> {
    /// Waits for all functions that were deployed, and sets the result in their outcomes. `before` is what ran before the
    /// deploy, and `deployments` what was sent, in the same order; `early` is what was seen meanwhile.
    pub(super) async fn wait(
        &self,
        outcomes: &mut [FunctionOutcome],
        deployments: &[&Deployment],
        before: &[StatusResult],
        early: Vec<Updated>,
    ) {
        let started = Instant::now();
        let mut waited = self.watched(outcomes, deployments, before, early, started).await;
        let left = open(&mut waited).count();
        if left == 0 {
            return;
        }
        let (functions, are) = (count(left, "function"), if left == 1 { "is" } else { "are" });
        tracing::info!("waiting until {functions} {are} ready, at most {}", log::duration(self.limit));
        self.watch(&mut waited, started).await;
        warn_of_assumed(&waited, self.settle());
        self.session.reporter.flush();
        let unready = waited.iter().filter(|function| function.outcome.ready == Some(false)).take(MOST_LOGS);
        let logs = FunctionLogs::new(self.session);
        join_all(unready.map(|function| logs.show(&function.outcome.function))).await;
        logs.ended();
    }

    /// Looks at the functions until all are done, the time is up or the run is stopped.
    async fn watch(&self, waited: &mut [Waited<'_>], started: Instant) {
        let Session { gateway, shutdown, .. } = self.session;
        let names: Vec<FunctionName> = waited.iter().map(|function| function.outcome.function.clone()).collect();
        let statuses = Statuses::watching(gateway).await;
        let (mut rounds, mut creations) = (FuturesUnordered::new(), FuturesUnordered::new());
        let (mut pause, mut next) = (Duration::ZERO, started);
        let mut ticks = interval_at(started + PROGRESS, PROGRESS);
        let stopped = loop {
            if open(waited).next().is_none() {
                return;
            }
            let is_dense = is_dense(waited, started);
            let may_begin = rounds.is_empty() || is_dense && rounds.len() < MOST_ROUNDS;
            tokio::select! {
                biased;
                failure = shutdown.wait() => break Some(failure),
                () = sleep_until(started + self.limit) => break None,
                Some(round) = rounds.next() => {
                    let (places, readings): (Vec<usize>, Vec<StatusResult>) = round;
                    if !is_dense || readings.iter().all(Result::is_err) {
                        // The last round is shortly before the time is up.
                        let left = self.limit.saturating_sub(started.elapsed()).saturating_sub(PAUSE);
                        pause = (pause * 3 / 2).clamp(PAUSE, PAUSE_MOST).min(left);
                        next = Instant::now() + pause;
                    }
                    for (place, reading) in places.into_iter().zip(readings) {
                        // Another round may have been faster.
                        if !waited[place].is_done {
                            waited[place].look(reading);
                        }
                    }
                    for (place, function) in open(waited).filter(|(_, function)| function.is_missing()) {
                        // No other creation is begun while this one is under way.
                        function.is_created_again = true;
                        let (target, body) = (&names[place], function.deployment.to_json());
                        creations.push(async move { (place, gateway.create(target, body).await) });
                    }
                }
                Some((place, created)) = creations.next() => waited[place].created(created),
                _ = ticks.tick() => tracing::info!("{}", progress(waited, started.elapsed(), self.limit)),
                // Dense rounds overlap if the gateway is far.
                () = sleep_until(next), if may_begin => {
                    let places: Vec<usize> = open(waited).map(|(place, _)| place).collect();
                    let targets: Vec<&FunctionName> = places.iter().map(|place| &names[*place]).collect();
                    let readings = statuses.read(&targets);
                    rounds.push(async move { (places, readings.await) });
                    next = statuses.next_turn();
                }
            }
        };
        // A creation that is under way may be carried out all the same: its response decides.
        while let Some((place, created)) = creations.next().await {
            waited[place].created(created);
        }
        for (_, function) in open(waited) {
            match stopped {
                Some(failure) => function.stop(failure),
                None => function.give_up(self.limit),
            }
        }
    }

    fn settle(&self) -> Duration {
        SETTLE.min(self.limit / 2)
    }

    /// The tracker of a function that was deployed, before its first status request.
    pub(super) async fn tracker(
        &self,
        action: Action,
        deployment: &Deployment,
        before: Option<&StatusResult>,
    ) -> ReadinessTracker {
        let old = match (action, before) {
            (Action::Created | Action::Replaced | Action::Unchanged, _) => NONE,
            (_, Some(Ok(Some(status)))) => Replicas::from(status),
            _ => UNKNOWN,
        };
        // An update that changes nothing may replace no replica.
        let is_unchanged = matches!(before, Some(Ok(Some(status))) if self.reported.is_complete()
            && self.reported.differences(status, deployment).is_empty());
        let rollout = match self.session.gateway.provider().await {
            Provider::Faasd => Rollout::Faasd { lasting: LASTING.min(self.limit / 2) },
            provider => Rollout::Kubernetes {
                settle: (self.may_assume || is_unchanged).then(|| self.settle()),
                scales_to_zero: provider != Provider::Unknown,
            },
        };
        ReadinessTracker::new(&deployment.image, old, rollout)
    }

    /// The functions that were deployed, with what was seen of them.
    async fn watched<'o>(
        &'o self,
        outcomes: &'o mut [FunctionOutcome],
        deployments: &[&'o Deployment],
        before: &[StatusResult],
        early: Vec<Updated>,
        started: Instant,
    ) -> Vec<Waited<'o>> {
        let mut early: BTreeMap<usize, Updated> = early.into_iter().map(|updated| (updated.place, updated)).collect();
        let mut watched = Vec::new();
        for (place, (outcome, deployment)) in outcomes.iter_mut().zip(deployments).enumerate() {
            if outcome.problem.is_some() {
                continue;
            }
            let (tracker, started, ready_after) = match early.remove(&place) {
                Some(Updated { tracker, since, ready_after, .. }) => (tracker, since, ready_after),
                None => (self.tracker(outcome.action, deployment, before.get(place)).await, started, None),
            };
            let mut function = Waited::new(outcome, deployment, tracker, started, self.session.reporter);
            if let Some(took) = ready_after {
                function.set_after(Some(true), took);
            }
            watched.push(function);
        }
        watched
    }
}

/// The functions that are not done, with their places.
fn open<'w, 'a>(waited: &'w mut [Waited<'a>]) -> impl Iterator<Item = (usize, &'w mut Waited<'a>)> {
    waited.iter_mut().enumerate().filter(|(_, function)| !function.is_done)
}

/// True if looks are dense now: in the first seconds, and as long as a function would be rolled back if its moment is missed.
fn is_dense(waited: &[Waited<'_>], started: Instant) -> bool {
    let is_early = started.elapsed() < DENSE;
    waited.iter().any(|function| {
        let Waited { tracker, is_done, .. } = function;
        !is_done && tracker.needs_dense_looks() && (is_early || !tracker.may_be_assumed())
    })
}

fn warn_of_assumed(waited: &[Waited<'_>], settle: Duration) {
    let assumed: Vec<_> = waited.iter().filter(|function| function.is_assumed).collect();
    if assumed.is_empty() {
        return;
    }
    let names = log::names(assumed.iter().map(|function| function.outcome.function.to_string()), MOST_NAMED);
    let message = format!(
        "assumed to be ready: {names}; all replicas stayed available for {}, but they may be old ones: the gateway does not \
         distinguish them, and the new version was not seen",
        log::duration(settle)
    );
    let hint =
        "to be certain, add a `VERIFY` call whose response differs between the versions, or use `STRATEGY: replace`";
    Diagnostic::warning(message).with_hint(hint).log();
}

/// `still waiting for 2 functions, 10 s of 5 min: a 0/1, b 1/2`.
fn progress(waited: &[Waited<'_>], elapsed: Duration, limit: Duration) -> String {
    let open: Vec<_> = waited.iter().filter(|function| !function.is_done).collect();
    let named = open.iter().map(|function| format!("`{}` {}", function.outcome.function, function.tracker.count()));
    let named = list(named, MOST_NAMED);
    format!(
        "still waiting for {}, {} of {}: {named} available",
        count(open.len(), "function"),
        log::duration(Duration::from_secs(elapsed.as_secs())),
        log::duration(limit),
    )
}

/// A function that was deployed.
struct Waited<'a> {
    outcome: &'a mut FunctionOutcome,
    deployment: &'a Deployment,
    tracker: ReadinessTracker,
    /// When the watch began.
    started: Instant,
    reporter: &'a Reporter<'a>,
    is_done: bool,
    /// It is ready, but nothing shows that the ready replicas are new.
    is_assumed: bool,
    /// Why its status could not be read last.
    error: Option<Error>,
    /// Since when the gateway does not have it.
    missing_since: Option<Instant>,
    is_created_again: bool,
}

impl<'a> Waited<'a> {
    fn new(
        outcome: &'a mut FunctionOutcome,
        deployment: &'a Deployment,
        tracker: ReadinessTracker,
        started: Instant,
        reporter: &'a Reporter<'a>,
    ) -> Self {
        Self {
            outcome,
            deployment,
            tracker,
            started,
            reporter,
            is_done: false,
            is_assumed: false,
            error: None,
            missing_since: None,
            is_created_again: false,
        }
    }

    fn look(&mut self, reading: StatusResult) {
        match reading {
            Ok(status) => {
                self.error = None;
                let now = Instant::now();
                self.missing_since = if status.is_some() { None } else { self.missing_since.or(Some(now)) };
                match self.tracker.look(status.as_ref(), now) {
                    State::Waiting => {}
                    State::Ready => {
                        self.set(Some(true));
                        self.tracker.log_ready(&self.outcome.function, self.started.elapsed());
                    }
                    // The warning of all that are assumed names it.
                    State::Assumed => {
                        self.is_assumed = true;
                        self.set(Some(true));
                    }
                    State::Ended => self.end(Some(false), self.ended()),
                }
            }
            Err(error) if error.failure() == Failure::Permission => {
                self.fail(None, "deployed, readiness unknown", &error);
            }
            // A transient failure: the next look may succeed.
            Err(error) => self.error = Some(error),
        }
    }

    fn fail(&mut self, ready: Option<bool>, state: &str, error: &Error) {
        let problem = self.reporter.failed(error);
        let message = format!("{state}: {}", problem.message);
        self.end(ready, Diagnostic { message, ..problem });
    }

    fn end(&mut self, ready: Option<bool>, problem: Diagnostic) {
        self.set(ready);
        self.reporter.problem(self.outcome, &problem);
        self.outcome.problem = Some(problem);
    }

    fn set(&mut self, ready: Option<bool>) {
        self.set_after(ready, self.started.elapsed());
    }

    fn set_after(&mut self, ready: Option<bool>, took: Duration) {
        self.is_done = true;
        self.outcome.ready = ready;
        self.outcome.replicas = self.tracker.seen.as_ref().map(|(replicas, _)| *replicas);
        self.outcome.duration += took;
    }

    fn stop(&mut self, failure: Failure) {
        self.set(None);
        let message = "deployed; the run was stopped before it was ready";
        self.outcome.problem = Some(Diagnostic::new(failure, message));
    }

    fn give_up(&mut self, limit: Duration) {
        // If its status could not be read, the function may be ready.
        let ready = if self.error.is_some() || !self.is_read() { None } else { Some(false) };
        self.end(ready, self.problem(limit));
    }

    /// True if it has to be created again: something else removed it, or its removal was under way when it was deployed.
    fn is_missing(&self) -> bool {
        !self.is_done && !self.is_created_again && self.missing_since.is_some_and(|since| since.elapsed() >= MISSING)
    }

    fn is_read(&self) -> bool {
        self.tracker.seen.is_some() || self.missing_since.is_some()
    }

    fn created(&mut self, created: Result<Creation, Error>) {
        match created {
            Ok(Creation::Accepted) => {
                let name = &self.outcome.function;
                tracing::warn!(
                    "`{name}` was removed by something else after this run deployed it: it is created again"
                );
                self.outcome.action = Action::Created;
                self.missing_since = None;
                self.tracker.created_again();
            }
            // The removal is not complete yet, or it is there again.
            Ok(Creation::Exists { .. }) => {
                self.is_created_again = false;
                self.missing_since = None;
            }
            Err(Error::Stopped(failure)) => self.stop(failure),
            Err(error) => {
                let is_open = error.may_be_under_way();
                let again = if is_open { "it is not known whether it was created again" } else { "not created again" };
                self.fail(Some(false), &format!("deployed, but then removed by something else, and {again}"), &error);
                self.outcome.left = if is_open { Left::Unknown } else { Left::Gone };
            }
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
            (None, None) if !self.is_read() => {
                problem("not known to be ready", "the gateway did not report its status")
            }
            (None, None) => problem("not ready", "the function no longer exists")
                .with_hint("check whether something else deleted it"),
            (None, Some((_, image))) if self.tracker.runs_other() => problem(
                "not ready",
                &format!("the gateway reports image `{}`, which this run did not deploy", quote(image)),
            )
            .with_hint(
                "check whether something else deployed the function at the same time, such as another pipeline, \
                         and whether a proxy in front of the gateway returns old responses",
            ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::api::Status;

    /// The progress of functions, each with its available and desired replicas.
    fn progress_of(functions: &[(String, Option<(u64, u64)>)], elapsed: Duration) -> String {
        let outcome = |name: &str| FunctionOutcome::new(FunctionName::new(name, None::<String>), String::new());
        let mut outcomes: Vec<_> = functions.iter().map(|(name, _)| outcome(name)).collect();
        let deployment = Deployment::default();
        let reporter = Reporter::new(&|_| Vec::new());
        let waited = outcomes.iter_mut().zip(functions).map(|(outcome, (_, seen))| {
            let mut tracker =
                ReadinessTracker::new("acme/f:2", UNKNOWN, Rollout::Kubernetes { settle: None, scales_to_zero: true });
            let status = seen.map(|(available_replicas, replicas)| Status {
                spec: Deployment { image: "acme/f:2".to_owned(), ..Deployment::default() },
                available_replicas,
                replicas,
                ..Status::default()
            });
            tracker.look(status.as_ref(), Instant::now());
            Waited::new(outcome, &deployment, tracker, Instant::now(), &reporter)
        });
        progress(&waited.collect::<Vec<_>>(), elapsed, Duration::from_secs(300))
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
