//! Decides from a function's statuses so far whether its available replicas are of the new version. Pure.

use tokio::time::{Duration, Instant};

use crate::console::log;
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::function::image::is_same_image;
use crate::function::outcome::Replicas;

/// The replicas before the deploy if there were none: every available replica is new.
pub(super) const NONE: Replicas = Replicas { desired: 0, available: 0 };
/// The replicas before the deploy if there may have been any number.
pub(super) const UNKNOWN: Replicas = Replicas { desired: u64::MAX, available: u64::MAX };

impl From<&Status> for Replicas {
    fn from(status: &Status) -> Self {
        Self { desired: status.replicas, available: status.available_replicas }
    }
}

/// How the rollout behind the gateway runs functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rollout {
    /// It rolls an update out: old replicas count as available until new ones are.
    Kubernetes {
        /// How long replicas have to stay available to be assumed ready if nothing shows that they are new; absent if they never
        /// are.
        settle: Option<Duration>,
        /// True if no wanted replica is known to mean that the function is scaled to zero, rather than a process of faasd that has
        /// ended.
        scales_to_zero: bool,
    },
    /// It removes the old process before it starts the new one, and does not restart a process that has ended.
    Faasd {
        /// How long a process has to run: right after the deploy all that is known is that it was started.
        lasting: Duration,
    },
}

/// The state of a function by its statuses so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Ready,
    /// Nothing shows that the available replicas are new, and nothing that they are not.
    Assumed,
    /// Its process has ended, and will not be started again.
    Ended,
}

/// One function that is watched until it is ready.
#[derive(Debug)]
pub(super) struct ReadinessTracker {
    image: String,
    rollout: Rollout,
    /// The replicas of the version before.
    baseline: Replicas,
    /// The most replicas that were desired at any time: the old version had no more of them.
    most: u64,
    /// The fewest available replicas since the deploy.
    fewest: u64,
    /// Since when as many replicas as desired have been available; with faasd also since when none has.
    stable_since: Option<(bool, Instant)>,
    pub(super) seen: Option<(Replicas, String)>,
}

/// An update that was accepted while others are still deployed, and what was seen of it so far.
pub(super) struct Updated {
    /// The function's place in the run.
    pub(super) place: usize,
    pub(super) since: Instant,
    pub(super) tracker: ReadinessTracker,
    /// How long after the update it was ready, if it is.
    pub(super) ready_after: Option<Duration>,
}

impl ReadinessTracker {
    pub(super) fn new(image: &str, baseline: Replicas, rollout: Rollout) -> Self {
        let image = image.to_owned();
        Self { image, rollout, baseline, most: baseline.desired, fewest: u64::MAX, stable_since: None, seen: None }
    }

    /// True if only a moment of the update shows that the new version is ready: the moment in which its first replica is
    /// available, and the old one is not removed yet.
    pub(super) fn needs_dense_looks(&self) -> bool {
        matches!(self.rollout, Rollout::Kubernetes { .. }) && self.baseline.available > 0
    }

    /// Available of desired replicas.
    pub(super) fn count(&self) -> String {
        match &self.seen {
            Some((Replicas { desired: 0, .. }, _)) => "scaled to zero, no replica".to_owned(),
            Some((Replicas { desired, available }, _)) => format!("{available}/{desired}"),
            None => "-".to_owned(),
        }
    }

    pub(super) fn log_ready(&self, name: &FunctionName, took: Duration) {
        tracing::info!("`{name}` is ready after {}: {} available", log::duration(took), self.count());
    }

    pub(super) fn may_be_assumed(&self) -> bool {
        matches!(self.rollout, Rollout::Kubernetes { settle: Some(_), .. })
    }

    /// True if what was seen last is not the version that is waited for.
    pub(super) fn runs_other(&self) -> bool {
        self.seen.as_ref().is_some_and(|(_, image)| !is_same_image(image, &self.image))
    }

    /// It did not exist any more, and was created again.
    pub(super) fn created_again(&mut self) {
        *self = Self::new(&self.image, NONE, self.rollout);
    }

    pub(super) fn look(&mut self, status: Option<&Status>, now: Instant) -> State {
        self.seen = status.map(|status| (Replicas::from(status), status.spec.image.clone()));
        let Some(status) = status.filter(|status| is_same_image(&status.spec.image, &self.image)) else {
            self.stable_since = None;
            return State::Waiting;
        };
        let replicas = Replicas::from(status);
        match self.rollout {
            Rollout::Kubernetes { settle, scales_to_zero } => {
                let is_scaled_to_zero = scales_to_zero && replicas.desired == 0;
                if is_scaled_to_zero { State::Ready } else { self.rolled_out(replicas, now, settle) }
            }
            Rollout::Faasd { lasting } => {
                let runs = replicas.available > 0;
                match (runs, self.lasted(runs, now) >= lasting) {
                    (_, false) => State::Waiting,
                    (true, true) => State::Ready,
                    (false, true) => State::Ended,
                }
            }
        }
    }

    fn rolled_out(&mut self, replicas: Replicas, now: Instant, settle: Option<Duration>) -> State {
        let Replicas { desired, available } = replicas;
        self.most = self.most.max(desired);
        // Old replicas that went and came back as new ones are seen only at their fewest.
        self.fewest = self.fewest.min(available);
        let all_are_new = self.baseline.available == 0 && available > 0;
        let more_than_old_ones = available > self.most;
        let came_after_old_ones_went = self.fewest < self.baseline.available.min(desired) && available > self.fewest;
        let steady = self.lasted(available >= desired, now);
        if all_are_new || more_than_old_ones || came_after_old_ones_went {
            State::Ready
        } else if available >= desired && available > 0 && settle.is_some_and(|settle| steady >= settle) {
            State::Assumed
        } else {
            State::Waiting
        }
    }

    /// For how long this has been so.
    fn lasted(&mut self, is_so: bool, now: Instant) -> Duration {
        let (_, since) = self.stable_since.filter(|(was_so, _)| *was_so == is_so).unwrap_or((is_so, now));
        self.stable_since = Some((is_so, since));
        now.saturating_duration_since(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::api::Deployment;

    const KUBERNETES: Rollout = Rollout::Kubernetes { settle: Some(Duration::from_secs(10)), scales_to_zero: true };
    const FAASD: Rollout = Rollout::Faasd { lasting: Duration::from_secs(2) };

    /// The second at which a function on Kubernetes is ready.
    fn ready_at(baseline: Replicas, seen: &[(u64, &str, u64, u64)]) -> Option<u64> {
        ended_at(KUBERNETES, baseline, seen).map(|(second, state)| {
            assert!(matches!(state, State::Ready | State::Assumed));
            second
        })
    }

    /// The second at which the watch is over, for statuses (second, image, desired, available) seen one after the other, and how.
    fn ended_at(rollout: Rollout, baseline: Replicas, seen: &[(u64, &str, u64, u64)]) -> Option<(u64, State)> {
        let start = Instant::now();
        let mut tracker = ReadinessTracker::new("acme/f:2", baseline, rollout);
        seen.iter().find_map(|(second, image, replicas, available_replicas)| {
            let status = Status {
                spec: Deployment { image: (*image).to_owned(), ..Deployment::default() },
                replicas: *replicas,
                available_replicas: *available_replicas,
                ..Status::default()
            };
            let now = start + Duration::from_secs(*second);
            let state = tracker.look(Some(&status), now);
            (state != State::Waiting).then_some((*second, state))
        })
    }

    fn old(desired: u64, available: u64) -> Replicas {
        Replicas { desired, available }
    }

    const NEW: &str = "acme/f:2";

    #[test]
    fn of_a_function_without_old_replicas_one_available_is_enough() {
        assert_eq!(ready_at(NONE, &[(0, NEW, 3, 0), (1, NEW, 3, 1)]), Some(1));
        assert_eq!(ready_at(old(1, 0), &[(0, NEW, 1, 0), (1, NEW, 1, 1)]), Some(1));
        assert_eq!(ready_at(NONE, &[(0, NEW, 1, 0), (600, NEW, 1, 0)]), None);
    }

    #[test]
    fn scaled_to_zero_is_ready() {
        assert_eq!(ready_at(old(0, 0), &[(0, NEW, 0, 0)]), Some(0));
        assert_eq!(ready_at(old(2, 2), &[(0, NEW, 0, 0)]), Some(0));
    }

    #[test]
    fn of_an_unknown_provider_no_wanted_replica_may_be_a_process_that_has_ended() {
        let unknown = Rollout::Kubernetes { settle: Some(Duration::from_secs(10)), scales_to_zero: false };
        for baseline in [NONE, old(0, 0), old(1, 1), UNKNOWN] {
            assert_eq!(ended_at(unknown, baseline, &[(0, NEW, 0, 0), (100, NEW, 0, 0), (200, NEW, 0, 0)]), None);
        }
        assert_eq!(ended_at(unknown, NONE, &[(0, NEW, 1, 1)]), Some((0, State::Ready)));
    }

    #[test]
    fn another_image_is_never_ready() {
        assert_eq!(ready_at(NONE, &[(0, "acme/f:1", 1, 1), (60, "acme/f:1", 1, 1), (61, NEW, 1, 1)]), Some(61));
    }

    #[test]
    fn one_more_than_there_were_is_new() {
        assert_eq!(ready_at(old(1, 1), &[(0, NEW, 1, 1), (3, NEW, 1, 2), (4, NEW, 1, 1)]), Some(3));
        // Scaled down meanwhile: three of them may be old.
        assert_eq!(ready_at(old(3, 3), &[(0, NEW, 1, 3), (1, NEW, 1, 1)]), None);
        // Scaled up with the update: the second may be old.
        assert_eq!(ready_at(old(1, 1), &[(0, NEW, 2, 1), (1, NEW, 2, 2)]), None);
    }

    #[test]
    fn one_that_comes_after_old_ones_went_is_new() {
        assert_eq!(ready_at(old(1, 1), &[(0, NEW, 1, 1), (1, NEW, 1, 0), (2, NEW, 1, 0), (3, NEW, 1, 1)]), Some(3));
        assert_eq!(ready_at(old(3, 3), &[(0, NEW, 3, 3), (1, NEW, 3, 2), (2, NEW, 3, 3)]), Some(2));
    }

    #[test]
    fn where_nothing_tells_them_apart_all_have_to_stay_available_for_a_while() {
        assert_eq!(ready_at(old(1, 1), &[(0, NEW, 1, 1), (9, NEW, 1, 1), (10, NEW, 1, 1)]), Some(10));
        assert_eq!(ready_at(UNKNOWN, &[(0, NEW, 1, 1), (9, NEW, 1, 1), (10, NEW, 1, 1)]), Some(10));
        assert_eq!(ready_at(old(1, 1), &[(0, NEW, 2, 1), (100, NEW, 2, 1), (200, NEW, 2, 1)]), None);
    }

    #[test]
    fn function_that_is_not_there_is_not_ready() {
        let mut tracker = ReadinessTracker::new(NEW, NONE, KUBERNETES);
        assert_eq!(tracker.look(None, Instant::now()), State::Waiting);
        assert!(tracker.seen.is_none());
    }

    #[test]
    fn what_the_gateway_shows_is_certain_and_the_rest_is_an_assumption() {
        let state = |seen| ended_at(KUBERNETES, old(1, 1), seen).map(|(_, state)| state);
        assert_eq!(state(&[(0, NEW, 1, 1), (1, NEW, 1, 2)]), Some(State::Ready));
        assert_eq!(state(&[(0, NEW, 1, 1), (10, NEW, 1, 1)]), Some(State::Assumed));
        // The surplus counts also after a long time, and whatever else was seen before.
        assert_eq!(state(&[(0, NEW, 1, 1), (5, NEW, 1, 0), (9, NEW, 1, 0), (300, NEW, 1, 2)]), Some(State::Ready));
    }

    #[test]
    fn without_assumptions_old_replicas_never_count() {
        let strict = Rollout::Kubernetes { settle: None, scales_to_zero: true };
        assert_eq!(ended_at(strict, old(1, 1), &[(0, NEW, 1, 1), (100, NEW, 1, 1), (300, NEW, 1, 1)]), None);
        assert_eq!(ended_at(strict, old(1, 1), &[(0, NEW, 1, 1), (300, NEW, 1, 2)]), Some((300, State::Ready)));
        assert_eq!(ended_at(strict, UNKNOWN, &[(0, NEW, 1, 1), (300, NEW, 1, 1)]), None);
    }

    #[test]
    fn process_of_faasd_has_to_last() {
        assert_eq!(ended_at(FAASD, old(1, 1), &[(0, NEW, 1, 1), (1, NEW, 1, 1)]), None);
        assert_eq!(ended_at(FAASD, NONE, &[(0, NEW, 1, 1), (2, NEW, 1, 1)]), Some((2, State::Ready)));
        // Started, ended and not started again.
        let crash = [(0, NEW, 1, 1), (1, NEW, 0, 0), (2, NEW, 0, 0), (3, NEW, 0, 0)];
        assert_eq!(ended_at(FAASD, NONE, &crash), Some((3, State::Ended)));
        assert_eq!(ended_at(FAASD, old(1, 1), &[(0, NEW, 0, 0), (2, NEW, 0, 0)]), Some((2, State::Ended)));
        assert_eq!(ended_at(FAASD, NONE, &[(0, NEW, 0, 0), (1, NEW, 1, 1), (3, NEW, 1, 1)]), Some((3, State::Ready)));
    }

    #[test]
    fn only_an_update_of_available_replicas_needs_dense_looks() {
        let needs = |rollout, baseline| ReadinessTracker::new(NEW, baseline, rollout).needs_dense_looks();
        assert!(needs(KUBERNETES, old(1, 1)) && needs(KUBERNETES, UNKNOWN));
        assert!(!needs(KUBERNETES, NONE) && !needs(KUBERNETES, old(1, 0)) && !needs(FAASD, old(1, 1)));
        let mut tracker = ReadinessTracker::new(NEW, old(1, 1), KUBERNETES);
        tracker.created_again();
        assert!(!tracker.needs_dense_looks());
    }
}
