//! The statuses of many functions in few requests: a list of a namespace if that is permitted, else one request each.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::function::FunctionName;
use crate::function::api::Status;
use crate::gateway::provider::Provider;
use crate::gateway::{Error, Gateway, Repeat};

/// One function: its status, `None` if it does not exist, or why it could not be read.
pub(crate) type StatusResult = Result<Option<Status>, Error>;

/// Requests under way at once while functions are watched: with a distant gateway they overlap.
const MOST_AT_ONCE: usize = 16;
/// Between two requests while functions are watched: 40 a second, which one gateway serves easily.
const GAP: Duration = Duration::from_millis(25);
/// So much time has to pass for each byte of a response: 1 MB a second.
const PER_BYTE: Duration = Duration::from_micros(1);

/// Reads statuses from a gateway, and remembers what it permits.
pub(crate) struct Statuses<'a> {
    gateway: &'a Gateway,
    repeat: Repeat,
    room: Semaphore,
    pace: Option<RateLimiter>,
    /// By namespace.
    lists: RefCell<BTreeMap<Option<String>, Lists>>,
    /// True if to read lists, also for a single function; absent if their number decides.
    listed: Option<bool>,
    /// Some list had a function with available replicas: a list of faasd never has.
    lists_replicas: Cell<bool>,
}

/// The state of the lists of a namespace.
#[derive(Clone, Copy, Default)]
struct Lists {
    /// The way that turned out to be permitted if the preferred request failed: lists (`Function:List`), or else single
    /// functions (`Function:Get`).
    are_permitted: Option<bool>,
    /// True if the last one was not read.
    has_failed: bool,
    /// How long the last one was, in bytes.
    size: u64,
}

/// The functions to read of one namespace.
struct Part<'t> {
    namespace: Option<&'t str>,
    /// The places of its functions among all targets.
    places: Vec<usize>,
    targets: Vec<&'t FunctionName>,
    as_list: bool,
}

impl<'a> Statuses<'a> {
    pub(crate) fn new(gateway: &'a Gateway, parallel: usize) -> Self {
        Self {
            gateway,
            repeat: Repeat::Always,
            room: Semaphore::new(parallel),
            pace: None,
            lists: RefCell::default(),
            listed: None,
            lists_replicas: Cell::new(false),
        }
    }

    /// With all fields that the gateway reports: a single status of faasd has no limits, which its list has.
    pub(crate) async fn complete(gateway: &'a Gateway, parallel: usize) -> Self {
        let listed = (gateway.provider().await == Provider::Faasd).then_some(true);
        Self { listed, ..Self::new(gateway, parallel) }
    }

    /// To be read again and again: no request is repeated, and they keep to a pace. A list of faasd is of no use here.
    pub(crate) async fn watching(gateway: &'a Gateway) -> Self {
        let listed = (gateway.provider().await == Provider::Faasd).then_some(false);
        let pace = Some(RateLimiter::new(gateway.received()));
        Self { repeat: Repeat::Never, pace, listed, ..Self::new(gateway, MOST_AT_ONCE) }
    }

    /// Sends requests again after these failures only.
    pub(crate) fn repeating(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    /// True if a list that has limits was wanted for that (faasd), and could not be read.
    pub(crate) fn lacks_limits(&self) -> bool {
        self.listed == Some(true) && self.lists.borrow().values().any(|lists| lists.are_permitted == Some(false))
    }

    /// When the next request may be sent, after those that are planned already.
    pub(crate) fn next_turn(&self) -> Instant {
        self.pace.as_ref().map_or_else(Instant::now, RateLimiter::next_turn)
    }

    /// Reads the functions' statuses, in their order.
    ///
    /// One function of a namespace is read by itself, several by a list; if that is refused, the other way. If neither is
    /// permitted, the error is that of a single function.
    pub(crate) fn read<'s, 't>(
        &'s self,
        targets: &[&'t FunctionName],
    ) -> impl Future<Output = Vec<StatusResult>> + use<'s, 'a, 't> {
        let mut namespaces: BTreeMap<Option<&'t str>, (Vec<usize>, Vec<&'t FunctionName>)> = BTreeMap::new();
        for (place, target) in targets.iter().enumerate() {
            let (places, targets) = namespaces.entry(target.namespace.as_deref()).or_default();
            places.push(place);
            targets.push(target);
        }
        // Planned before the future is polled: `next_turn` counts these requests at once.
        let parts: Vec<_> = namespaces
            .into_iter()
            .map(|(namespace, (places, targets))| {
                let as_list = self.reads_list(namespace, targets.len());
                self.plan(if as_list { 1 } else { targets.len() });
                Part { namespace, places, targets, as_list }
            })
            .collect();
        async move {
            let parts = parts.into_iter().map(async |part| {
                let readings = self.of_namespace(&part).await;
                part.places.into_iter().zip(readings)
            });
            let mut readings: Vec<(usize, StatusResult)> = join_all(parts).await.into_iter().flatten().collect();
            readings.sort_unstable_by_key(|(place, _)| *place);
            readings.into_iter().map(|(_, reading)| reading).collect()
        }
    }

    /// True if so many functions of a namespace are read by a list: if that is permitted, and faster at this pace.
    fn reads_list(&self, namespace: Option<&str>, number: usize) -> bool {
        let Lists { are_permitted, size, .. } = *self.lists(namespace);
        // A list of thousands may take longer to transfer than a request for each of a few.
        let is_long =
            self.pace.is_some() && duration_of(size) > GAP.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
        are_permitted.or(self.listed).unwrap_or(number > 1 && !is_long)
    }

    fn lists(&self, namespace: Option<&str>) -> RefMut<'_, Lists> {
        RefMut::map(self.lists.borrow_mut(), |lists| lists.entry(namespace.map(str::to_owned)).or_default())
    }

    async fn of_namespace(&self, part: &Part<'_>) -> Vec<StatusResult> {
        let Part { namespace, targets, as_list, .. } = part;
        if *as_list {
            let error = match self.list(*namespace, targets).await {
                Ok(readings) => return readings,
                Err(error) => error,
            };
            // Not permitted, too long, or closed: without its Prometheus a gateway lists nothing.
            let is_refused = error.has_reached_gateway() && !error.says_unavailable();
            // While functions are watched, lists are given up only after two transient failures in a row.
            let may_pass = self.pace.is_some() && error.is_transient();
            if !is_refused || may_pass && !std::mem::replace(&mut self.lists(*namespace).has_failed, true) {
                return targets.iter().map(|_| Err(error.clone())).collect();
            }
            self.lists(*namespace).are_permitted = Some(false);
            self.plan(targets.len());
            return self.each(targets).await;
        }
        let readings = self.each(targets).await;
        let is_refused = readings.iter().any(|reading| reading.as_ref().is_err_and(Error::is_forbidden));
        if is_refused && self.lists(*namespace).are_permitted.is_none() {
            self.plan(1);
            if let Ok(readings) = self.list(*namespace, targets).await {
                self.lists(*namespace).are_permitted = Some(true);
                return readings;
            }
        }
        readings
    }

    async fn list(&self, namespace: Option<&str>, targets: &[&FunctionName]) -> Result<Vec<StatusResult>, Error> {
        let permit = self.turn().await;
        let names: BTreeSet<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let wanted = |status: &Status| {
            self.lists_replicas.set(self.lists_replicas.get() || status.available_replicas > 0);
            names.contains(status.spec.service.as_str())
        };
        // Single functions are requested instead.
        let repeat = if self.repeat == Repeat::Always { Repeat::NotIfUnderWay } else { self.repeat };
        let listed = self.gateway.list_with(namespace, wanted, repeat).await;
        self.count_bytes();
        drop(permit);
        let (functions, size) = listed?;
        self.lists(namespace).has_failed = false;
        self.lists(namespace).size = size;
        let mut statuses: BTreeMap<String, Status> =
            functions.into_iter().map(|status| (status.spec.service.clone(), status)).collect();
        let listed = targets.iter().map(|target| (*target, statuses.remove(&target.name)));
        Ok(join_all(listed.map(|(target, status)| self.with_replicas(target, status))).await)
    }

    /// The status from a list. One without available replicas is read again by itself, unless lists are known to have them:
    /// faasd leaves them out.
    async fn with_replicas(&self, target: &FunctionName, status: Option<Status>) -> StatusResult {
        let Some(listed) = status else { return Ok(None) };
        if listed.available_replicas > 0 || listed.replicas == 0 || self.lists_replicas.get() {
            return Ok(Some(listed));
        }
        self.plan(1);
        match self.one(target).await {
            Ok(Some(Status { replicas, available_replicas, .. })) => {
                Ok(Some(Status { replicas, available_replicas, ..listed }))
            }
            Ok(None) => Ok(None),
            // Lists are permitted, and single functions are not.
            Err(error) if error.is_forbidden() => Ok(Some(listed)),
            Err(error) => Err(error),
        }
    }

    async fn each(&self, targets: &[&FunctionName]) -> Vec<StatusResult> {
        join_all(targets.iter().map(|target| self.one(target))).await
    }

    async fn one(&self, target: &FunctionName) -> StatusResult {
        let _permit = self.turn().await;
        let reading = self.gateway.get(target, self.repeat).await;
        self.count_bytes();
        reading
    }

    /// Counts requests that will wait for their turn.
    fn plan(&self, requests: usize) {
        if let Some(pace) = &self.pace {
            pace.planned.set(pace.planned.get() + requests);
        }
    }

    fn count_bytes(&self) {
        if let Some(pace) = &self.pace {
            pace.count(self.gateway.received());
        }
    }

    /// Waits for the turn of a planned request; it is over when the permit is dropped.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed.
        let permit = self.room.acquire().await.ok();
        if let Some(pace) = &self.pace {
            pace.turn().await;
            pace.planned.set(pace.planned.get().saturating_sub(1));
        }
        permit
    }
}

fn duration_of(bytes: u64) -> Duration {
    PER_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// Keeps the starts of requests apart, also after the machine was suspended, and further apart if responses are long.
struct RateLimiter {
    queue: Mutex<()>,
    next: Cell<Instant>,
    /// Requests that wait for their turn.
    planned: Cell<usize>,
    /// Bytes that were counted.
    bytes: Cell<u64>,
}

impl RateLimiter {
    fn new(received: u64) -> Self {
        let (next, planned, bytes) = (Cell::new(Instant::now()), Cell::new(0), Cell::new(received));
        Self { queue: Mutex::new(()), next, planned, bytes }
    }

    async fn turn(&self) {
        let _turn = self.queue.lock().await;
        // A response that arrives meanwhile may put it off.
        while Instant::now() < self.next.get() {
            sleep_until(self.next.get()).await;
        }
        self.next.set(Instant::now() + GAP);
    }

    /// Puts the next request off by the time that the bytes since the last call are worth. `received` is their total.
    fn count(&self, received: u64) {
        let new = received.saturating_sub(self.bytes.replace(received));
        self.next.set(self.next.get().max(Instant::now()) + duration_of(new));
    }

    fn next_turn(&self) -> Instant {
        let planned = u32::try_from(self.planned.get()).unwrap_or(u32::MAX);
        self.next.get().max(Instant::now()) + GAP.saturating_mul(planned)
    }
}
