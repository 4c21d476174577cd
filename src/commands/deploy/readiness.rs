//! Decides from a function's statuses so far whether its available replicas are of the new version. Pure.

use tokio::time::{Duration, Instant};

use crate::function::api::Status;
use crate::function::image::is_same_image;
use crate::function::outcome::Replicas;

/// The replicas of the version before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Baseline {
    available: u64,
    desired: u64,
}

impl Baseline {
    /// There was none: every available replica is new.
    pub(crate) const NONE: Self = Self { available: 0, desired: 0 };
    /// There may have been any number.
    pub(crate) const UNKNOWN: Self = Self { available: u64::MAX, desired: u64::MAX };
}

impl From<&Status> for Baseline {
    fn from(status: &Status) -> Self {
        Self { available: status.available_replicas, desired: status.replicas }
    }
}

/// One function that is watched until it is ready.
#[derive(Debug)]
pub(crate) struct ReadinessTracker {
    image: String,
    baseline: Baseline,
    /// The most replicas that were desired at any time: the old version had no more of them.
    most: u64,
    /// The fewest available replicas since the deploy.
    fewest: u64,
    /// Since when as many replicas as desired have been available.
    stable_since: Option<Instant>,
    /// It is assumed to be ready only because nothing changed for a while.
    pub(super) assumed: bool,
    pub(super) seen: Option<(Replicas, String)>,
}

impl ReadinessTracker {
    pub(crate) fn new(image: &str, baseline: Baseline) -> Self {
        Self {
            image: image.to_owned(),
            baseline,
            most: baseline.desired,
            fewest: u64::MAX,
            stable_since: None,
            assumed: false,
            seen: None,
        }
    }

    /// Evaluates the status at this time; returns whether the function is ready. If nothing else distinguishes old replicas
    /// from new ones, it is ready after `settle`.
    pub(crate) fn is_ready(&mut self, status: Option<&Status>, now: Instant, settle: Duration) -> bool {
        let replicas = |status: &Status| Replicas { desired: status.replicas, available: status.available_replicas };
        self.seen = status.map(|status| (replicas(status), status.image.clone()));
        let Some(status) = status.filter(|status| is_same_image(&status.image, &self.image)) else {
            self.stable_since = None;
            return false;
        };
        let Replicas { desired, available } = replicas(status);
        self.most = self.most.max(desired);
        self.fewest = self.fewest.min(available);
        let none_is_wanted = desired == 0;
        let all_are_new = self.baseline.available == 0 && available > 0;
        let more_than_old_ones = available > self.most;
        let came_after_old_ones_went = self.fewest < self.baseline.available.min(desired) && available > self.fewest;
        if available >= desired {
            self.stable_since.get_or_insert(now);
        } else {
            self.stable_since = None;
        }
        let is_stable = self.stable_since.is_some_and(|since| now.duration_since(since) >= settle);
        let certain = none_is_wanted || all_are_new || more_than_old_ones || came_after_old_ones_went;
        self.assumed = is_stable && !certain;
        certain || is_stable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(10);

    /// The second at which the watch is over, for statuses (second, image, desired, available) seen one after the other.
    fn ready_at(baseline: Baseline, seen: &[(u64, &str, u64, u64)]) -> Option<u64> {
        let start = Instant::now();
        let mut tracker = ReadinessTracker::new("acme/f:2", baseline);
        seen.iter().find_map(|(second, image, replicas, available_replicas)| {
            let status = Status {
                image: (*image).to_owned(),
                replicas: *replicas,
                available_replicas: *available_replicas,
                ..Status::default()
            };
            let now = start + Duration::from_secs(*second);
            tracker.is_ready(Some(&status), now, SETTLE).then_some(*second)
        })
    }

    fn old(desired: u64, available: u64) -> Baseline {
        Baseline { available, desired }
    }

    const NEW: &str = "acme/f:2";

    #[test]
    fn of_a_function_without_old_replicas_one_available_is_enough() {
        assert_eq!(ready_at(Baseline::NONE, &[(0, NEW, 3, 0), (1, NEW, 3, 1)]), Some(1));
        assert_eq!(ready_at(old(1, 0), &[(0, NEW, 1, 0), (1, NEW, 1, 1)]), Some(1));
        assert_eq!(ready_at(Baseline::NONE, &[(0, NEW, 1, 0), (600, NEW, 1, 0)]), None);
    }

    #[test]
    fn scaled_to_zero_is_ready() {
        assert_eq!(ready_at(old(0, 0), &[(0, NEW, 0, 0)]), Some(0));
        assert_eq!(ready_at(old(2, 2), &[(0, NEW, 0, 0)]), Some(0));
    }

    #[test]
    fn another_image_is_never_ready() {
        assert_eq!(
            ready_at(Baseline::NONE, &[(0, "acme/f:1", 1, 1), (60, "acme/f:1", 1, 1), (61, NEW, 1, 1)]),
            Some(61)
        );
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
        assert_eq!(ready_at(Baseline::UNKNOWN, &[(0, NEW, 1, 1), (9, NEW, 1, 1), (10, NEW, 1, 1)]), Some(10));
        assert_eq!(ready_at(old(1, 1), &[(0, NEW, 2, 1), (100, NEW, 2, 1), (200, NEW, 2, 1)]), None);
    }

    #[test]
    fn function_that_is_not_there_is_not_ready() {
        let mut tracker = ReadinessTracker::new(NEW, Baseline::NONE);
        assert!(!tracker.is_ready(None, Instant::now(), SETTLE));
        assert!(tracker.seen.is_none());
    }
}
