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

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Duration, Instant, interval_at, sleep_until};

use super::function_log::FunctionLogs;
use super::readiness::{Baseline, ReadinessTracker, Rollout};
use super::waited::Waited;
use crate::commands::concurrent::Session;
use crate::commands::progress::Reporter;
use crate::console::log;
use crate::diagnostic::Diagnostic;
use crate::function::FunctionName;
use crate::function::api::Deployment;
use crate::function::outcome::{Action, FunctionOutcome};
use crate::gateway::provider::{Provider, Reported};
use crate::gateway::statuses::{StatusResult, Statuses};
use crate::gateway::{Creation, Error, Gateway};
use crate::text::count;

/// How long looks are dense: in this time most updates have their first new replica.
const DENSE: Duration = Duration::from_secs(15);
/// How long replicas have to stay available if nothing else shows that they are new; at most half of `WAIT_TIMEOUT`.
const SETTLE: Duration = DENSE;
/// How long a process of faasd has to run; at most half of `WAIT_TIMEOUT`.
const LASTING: Duration = Duration::from_secs(2);
/// Between two rounds of looks that are not dense; it grows to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(2);
/// Dense rounds under way at once.
const MOST_ROUNDS: usize = 16;
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

/// When the next round of looks begins.
struct Rhythm {
    started: Instant,
    limit: Duration,
    pause: Duration,
    next: Instant,
}

impl Rhythm {
    /// After a round, if it was not a dense one.
    fn rest(&mut self) {
        // The last round is shortly before the time is up.
        let left = self.limit.saturating_sub(self.started.elapsed()).saturating_sub(PAUSE);
        self.pause = (self.pause * 3 / 2).clamp(PAUSE, PAUSE_MOST).min(left);
        self.next = Instant::now() + self.pause;
    }
}

impl Waiter<'_> {
    /// Waits for all functions that were deployed, and sets the result in their outcomes. `before` is what ran before the
    /// deploy, and `deployments` what was sent, in the same order.
    pub(super) async fn wait(
        &self,
        outcomes: &mut [FunctionOutcome],
        deployments: &[&Deployment],
        before: &[StatusResult],
    ) {
        let started = Instant::now();
        let provider = self.session.gateway.provider().await;
        let mut waited = self.watched(provider, outcomes, deployments, before);
        if waited.is_empty() {
            return;
        }
        tracing::info!(
            "waiting until {} {} ready, at most {}",
            count(waited.len(), "function"),
            if waited.len() == 1 { "is" } else { "are" },
            log::duration(self.limit)
        );
        self.watch(&mut waited, started).await;
        warn_of_assumed(&waited, self.settle());
        self.session.reporter.flush();
        let unready = waited.iter().filter(|function| function.outcome.ready == Some(false)).take(MOST_LOGS);
        let logs = FunctionLogs::new(self.session);
        join_all(unready.map(|function| logs.show(&function.outcome.function))).await;
    }

    /// Looks at the functions until all are done, the time is up or the run is stopped.
    async fn watch(&self, waited: &mut [Waited<'_>], started: Instant) {
        let Session { gateway, shutdown, reporter, .. } = self.session;
        let names: Vec<FunctionName> = waited.iter().map(|function| function.outcome.function.clone()).collect();
        let statuses = Statuses::watching(gateway).await;
        let (mut rounds, mut creations) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut rhythm = Rhythm { started, limit: self.limit, pause: Duration::ZERO, next: started };
        let mut ticks = interval_at(started + PROGRESS, PROGRESS);
        while open(waited).next().is_some() {
            let is_dense = is_dense(waited, started);
            let may_begin = rounds.is_empty() || is_dense && rounds.len() < MOST_ROUNDS;
            tokio::select! {
                biased;
                failure = shutdown.wait() => open(waited).for_each(|(_, function)| function.stop(failure, started)),
                () = sleep_until(started + self.limit) => {
                    open(waited).for_each(|(_, function)| function.give_up(self.limit, started, reporter));
                }
                Some(round) = rounds.next() => {
                    let (places, readings): (Vec<usize>, Vec<StatusResult>) = round;
                    if !is_dense || readings.iter().all(Result::is_err) {
                        rhythm.rest();
                    }
                    evaluate(waited, &places, readings, started, reporter);
                    for (place, function) in open(waited).filter(|(_, function)| function.is_missing()) {
                        function.creates();
                        creations.push(create(gateway, place, &names[place], function.deployment));
                    }
                }
                Some((place, created)) = creations.next() => waited[place].created(created, started, reporter),
                _ = ticks.tick() => tracing::info!("{}", progress(waited, started.elapsed(), self.limit)),
                // Dense rounds overlap if the gateway is far.
                () = sleep_until(rhythm.next), if may_begin => {
                    let places: Vec<usize> = open(waited).map(|(place, _)| place).collect();
                    let targets: Vec<&FunctionName> = places.iter().map(|place| &names[*place]).collect();
                    let readings = statuses.read(&targets);
                    rounds.push(async move { (places, readings.await) });
                    rhythm.next = statuses.next_turn();
                }
            }
        }
    }

    fn settle(&self) -> Duration {
        SETTLE.min(self.limit / 2)
    }

    /// The functions that were deployed, with the replicas of the previous version.
    fn watched<'o>(
        &self,
        provider: Provider,
        outcomes: &'o mut [FunctionOutcome],
        deployments: &[&'o Deployment],
        before: &[StatusResult],
    ) -> Vec<Waited<'o>> {
        let all = outcomes.iter_mut().zip(deployments).enumerate();
        let deployed = all.filter(|(_, (outcome, _))| outcome.problem.is_none());
        let watched = deployed.map(|(index, (outcome, deployment))| {
            let before = before.get(index);
            let old = match (outcome.action, before) {
                (Action::Created | Action::Replaced | Action::Unchanged, _) => Baseline::NONE,
                (_, Some(Ok(Some(status)))) => Baseline::from(status),
                _ => Baseline::UNKNOWN,
            };
            // An update that changes nothing may replace no replica.
            let is_unchanged = matches!(before, Some(Ok(Some(status))) if self.reported.is_complete()
                && self.reported.differences(status, deployment).is_empty());
            let platform = match provider {
                Provider::Faasd => Rollout::Faasd { lasting: LASTING.min(self.limit / 2) },
                _ => Rollout::Kubernetes { settle: (self.may_assume || is_unchanged).then(|| self.settle()) },
            };
            let tracker = ReadinessTracker::new(outcome.image.as_deref().unwrap_or_default(), old, platform);
            Waited::new(outcome, deployment, tracker)
        });
        watched.collect()
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

fn evaluate(
    waited: &mut [Waited<'_>],
    places: &[usize],
    readings: Vec<StatusResult>,
    started: Instant,
    reporter: &Reporter<'_>,
) {
    for (place, reading) in places.iter().zip(readings) {
        // Another round may have been faster.
        if let Some(function) = waited.get_mut(*place).filter(|function| !function.is_done) {
            function.look(reading, started, reporter);
        }
    }
}

async fn create(
    gateway: &Gateway,
    place: usize,
    target: &FunctionName,
    deployment: &Deployment,
) -> (usize, Result<Creation, Error>) {
    (place, gateway.create(target, deployment.to_json()).await)
}

fn warn_of_assumed(waited: &[Waited<'_>], settle: Duration) {
    let assumed: Vec<_> = waited.iter().filter(|function| function.is_assumed).collect();
    if assumed.is_empty() {
        return;
    }
    let names = names(assumed.iter().map(|function| format!("`{}`", function.outcome.function)));
    let message = format!(
        "assumed to be ready: {names}; all replicas stayed available for {}, but they may be old ones: the gateway does not \
         distinguish them, and the new version was not seen",
        log::duration(settle)
    );
    let hint =
        "to be certain, add a `VERIFY` call whose response differs between the versions, or use `STRATEGY: replace`";
    Diagnostic::warning(message).with_hint(hint).log();
}

/// At most [`MOST_NAMED`] of them.
fn names(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(MOST_NAMED);
    let named: Vec<_> = all.take(MOST_NAMED).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", named.join(", "))
}

/// `still waiting for 2 functions, 10 s of 5 min: a 0/1, b 1/2`.
fn progress(waited: &[Waited<'_>], elapsed: Duration, limit: Duration) -> String {
    let open: Vec<_> = waited.iter().filter(|function| !function.is_done).collect();
    let named = names(open.iter().map(|function| format!("`{}` {}", function.outcome.function, function.count())));
    format!(
        "still waiting for {}, {} of {}: {named} available",
        count(open.len(), "function"),
        log::duration(Duration::from_secs(elapsed.as_secs())),
        log::duration(limit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::api::Status;
    use crate::function::outcome::FunctionOutcome;

    /// The progress of functions, each with its available and desired replicas.
    fn progress_of(functions: &[(String, Option<(u64, u64)>)], elapsed: Duration) -> String {
        let outcome = |name: &str| FunctionOutcome::new(FunctionName::new(name, None::<String>), String::new());
        let mut outcomes: Vec<_> = functions.iter().map(|(name, _)| outcome(name)).collect();
        let deployment = Deployment::default();
        let waited = outcomes.iter_mut().zip(functions).map(|(outcome, (_, seen))| {
            let mut tracker =
                ReadinessTracker::new("acme/f:2", Baseline::UNKNOWN, Rollout::Kubernetes { settle: None });
            let status = seen.map(|(available_replicas, replicas)| Status {
                image: "acme/f:2".to_owned(),
                available_replicas,
                replicas,
                ..Status::default()
            });
            tracker.look(status.as_ref(), Instant::now());
            Waited::new(outcome, &deployment, tracker)
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
