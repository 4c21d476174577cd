//! Status requests for updated functions while others are still being deployed: the surplus of a rolling update is short, and a
//! request that is retried for another function may outlast it.

use std::cell::RefCell;
use std::convert::Infallible;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Duration, Instant, sleep_until};

use super::readiness::{State, Updated};
use super::wait::{DENSE, MOST_ROUNDS, Waiter};
use crate::function::FunctionName;
use crate::function::outcome::Action;
use crate::gateway::Error;
use crate::gateway::statuses::{StatusResult, Statuses};
use crate::stack::Function;

/// Until there is something to look at.
const IDLE: Duration = Duration::from_millis(25);
/// After a round of which nothing could be read.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct EarlyLooks<'a> {
    waiter: Option<&'a Waiter<'a>>,
    functions: &'a [Function],
    before: &'a [StatusResult],
    names: Vec<FunctionName>,
    updated: RefCell<Vec<Updated>>,
}

impl<'a> EarlyLooks<'a> {
    pub(super) fn new(waiter: Option<&'a Waiter<'a>>, functions: &'a [Function], before: &'a [StatusResult]) -> Self {
        let names = functions.iter().map(|function| FunctionName::from(&function.deployment)).collect();
        Self { waiter, functions, before, names, updated: RefCell::default() }
    }

    /// The same result, with looks at what it has updated.
    pub(super) async fn during<T>(&self, deploy: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            result = deploy => result,
            never = self.look() => match never {},
        }
    }

    /// Notes that the function at this place was deployed. Only an update has a moment that may be missed.
    pub(super) async fn deployed(&self, place: usize, action: Action) {
        let Some(waiter) = self.waiter else { return };
        let deployment = &self.functions[place].deployment;
        let tracker = waiter.tracker(action, deployment, self.before.get(place)).await;
        if tracker.needs_dense_looks() {
            self.updated.borrow_mut().push(Updated { place, since: Instant::now(), tracker, ready_after: None });
        }
    }

    pub(super) fn into_updated(self) -> Vec<Updated> {
        self.updated.into_inner()
    }

    async fn look(&self) -> Infallible {
        let Some(waiter) = self.waiter else { return std::future::pending().await };
        let statuses = Statuses::watching(waiter.session.gateway).await;
        let (mut rounds, mut next) = (FuturesUnordered::new(), Instant::now());
        loop {
            tokio::select! {
                Some(round) = rounds.next() => {
                    let (places, readings): (Vec<usize>, Vec<StatusResult>) = round;
                    if readings.iter().any(|reading| reading.as_ref().is_err_and(Error::says_unavailable)) {
                        // A gateway that limits requests has none to spare beside those that deploy.
                        return std::future::pending().await;
                    }
                    if readings.iter().all(Result::is_err) {
                        next = Instant::now() + PAUSE;
                    }
                    places.into_iter().zip(readings).for_each(|(place, reading)| self.seen(place, reading));
                }
                () = sleep_until(next), if rounds.len() < MOST_ROUNDS => {
                    let is_open = |updated: &&Updated| {
                        let is_early = updated.since.elapsed() < DENSE || !updated.tracker.may_be_assumed();
                        is_early && updated.ready_after.is_none()
                    };
                    let places: Vec<_> = self.updated.borrow().iter().filter(is_open).map(|open| open.place).collect();
                    if places.is_empty() {
                        next = Instant::now() + IDLE;
                        continue;
                    }
                    let targets: Vec<_> = places.iter().map(|place| &self.names[*place]).collect();
                    let readings = statuses.read(&targets);
                    rounds.push(async move { (places, readings.await) });
                    next = statuses.next_turn();
                }
            }
        }
    }

    fn seen(&self, place: usize, reading: StatusResult) {
        let mut updated = self.updated.borrow_mut();
        let open = updated.iter_mut().find(|updated| updated.place == place && updated.ready_after.is_none());
        if let (Some(updated), Ok(status)) = (open, reading)
            && updated.tracker.look(status.as_ref(), Instant::now()) == State::Ready
        {
            let took = updated.since.elapsed();
            updated.ready_after = Some(took);
            updated.tracker.log_ready(&self.names[place], took);
        }
    }
}
