//! The statuses of many functions in few requests: a list of a namespace if that is permitted, else one request each.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::function::FunctionName;
use crate::function::api::Status;
use crate::gateway::{Error, Gateway};

/// One function: its status, `None` if it does not exist, or why it could not be read.
pub(crate) type StatusResult = Result<Option<Status>, Error>;

/// Reads statuses from a gateway, and remembers what it permits.
pub(crate) struct Statuses<'a> {
    gateway: &'a Gateway,
    /// Requests under way at once.
    room: Semaphore,
    pace: Option<RateLimiter>,
    /// The way that turned out to be permitted in a namespace if the preferred request was refused: lists (`Function:List`), or else
    /// single functions (`Function:Get`).
    permits_lists: RefCell<BTreeMap<Option<String>, bool>>,
    /// Lists, also for a single function.
    listed: bool,
    /// Some list had a function with available replicas: a list of faasd never has.
    lists_replicas: Cell<bool>,
}

impl<'a> Statuses<'a> {
    /// Reads with so many requests at once.
    pub(crate) fn new(gateway: &'a Gateway, parallel: usize) -> Self {
        Self {
            gateway,
            room: Semaphore::new(parallel),
            pace: None,
            permits_lists: RefCell::default(),
            listed: false,
            lists_replicas: Cell::new(false),
        }
    }

    /// Prefers a list to single statuses, which have fewer fields with faasd.
    pub(crate) fn listed(self) -> Self {
        Self { listed: true, ..self }
    }

    /// Begins requests with at least this time between two of them.
    pub(crate) fn paced(self, gap: Duration) -> Self {
        Self { pace: Some(RateLimiter { gap, next: Mutex::new(Instant::now()) }), ..self }
    }

    /// Reads the functions' statuses, in their order.
    ///
    /// One function of a namespace is read by itself, several by a list; if that is refused, the other way. If neither is
    /// permitted, the error is that of a single function.
    pub(crate) async fn read(&self, targets: &[&FunctionName]) -> Vec<StatusResult> {
        let mut namespaces: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for (index, target) in targets.iter().enumerate() {
            namespaces.entry(target.namespace.as_deref()).or_default().push(index);
        }
        let of_namespaces = join_all(namespaces.into_iter().map(|(namespace, indices)| async move {
            let targets: Vec<&FunctionName> = indices.iter().filter_map(|index| targets.get(*index)).copied().collect();
            let readings = self.of_namespace(namespace, &targets).await;
            indices.into_iter().zip(readings)
        }));
        let mut readings: Vec<(usize, StatusResult)> = of_namespaces.await.into_iter().flatten().collect();
        readings.sort_unstable_by_key(|(index, _)| *index);
        readings.into_iter().map(|(_, reading)| reading).collect()
    }

    async fn of_namespace(&self, namespace: Option<&str>, targets: &[&FunctionName]) -> Vec<StatusResult> {
        let known = self.permits_lists.borrow().get(&namespace.map(str::to_owned)).copied();
        let remember = |lists| self.permits_lists.borrow_mut().insert(namespace.map(str::to_owned), lists);
        if known.unwrap_or(self.listed || targets.len() > 1) {
            return match self.list(namespace, targets).await {
                Ok(readings) => readings,
                // Not permitted, or too long.
                Err(error) if error.status().is_some() || matches!(error, Error::Shape { .. }) => {
                    remember(false);
                    self.each(targets).await
                }
                Err(error) => targets.iter().map(|_| Err(error.clone())).collect(),
            };
        }
        let readings = self.each(targets).await;
        let is_refused = readings.iter().any(|reading| reading.as_ref().is_err_and(Error::is_forbidden));
        if is_refused
            && known.is_none()
            && let Ok(readings) = self.list(namespace, targets).await
        {
            remember(true);
            return readings;
        }
        readings
    }

    async fn list(&self, namespace: Option<&str>, targets: &[&FunctionName]) -> Result<Vec<StatusResult>, Error> {
        let permit = self.turn().await;
        let names: BTreeSet<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let wanted = |status: &Status| {
            self.lists_replicas.set(self.lists_replicas.get() || status.available_replicas > 0);
            names.contains(status.name.as_str())
        };
        let statuses = self.gateway.list(namespace, wanted).await?;
        drop(permit);
        let mut statuses: BTreeMap<String, Status> =
            statuses.into_iter().map(|status| (status.name.clone(), status)).collect();
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
        let _permit = self.turn().await;
        match self.gateway.get(target).await {
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
        join_all(targets.iter().map(|target| async {
            let _permit = self.turn().await;
            self.gateway.get(target).await
        }))
        .await
    }

    /// Waits for this request's turn; it is over when the permit is dropped.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed.
        let permit = self.room.acquire().await.ok();
        if let Some(pace) = &self.pace {
            pace.turn().await;
        }
        permit
    }
}

/// Keeps the starts of requests apart, also after the machine was suspended.
struct RateLimiter {
    gap: Duration,
    next: Mutex<Instant>,
}

impl RateLimiter {
    async fn turn(&self) {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + self.gap;
    }
}
