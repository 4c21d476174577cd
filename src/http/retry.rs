//! Which failures are transient, and how long to wait before a retry.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::responder::is_web_page;
use crate::console::log;
use crate::shutdown::Shutdown;

/// The backoff before the first retry; it doubles with each.
const FIRST: Duration = Duration::from_millis(500);
/// How long a failure waits for others like it, to share a line of the log.
const GATHER: Duration = Duration::from_millis(200);
/// No backoff is longer.
const LONGEST: Duration = Duration::from_secs(15);
/// A longer `Retry-After` counts as this: a step's minutes cost money.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// True if the same request may succeed later.
///
/// A 500 with a text of its own comes from the gateway or the function, and would come again; an empty one or a web page comes
/// from a proxy in front of it.
pub(crate) fn is_transient(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    match status.as_u16() {
        // From 520 on they are Cloudflare's: it got no usable response.
        408 | 425 | 429 | 502 | 503 | 504 | 520..=530 => true,
        500 => body.trim_ascii().is_empty() || is_web_page(headers, body),
        _ => false,
    }
}

/// The wait that a server asks for (RFC 9110, section 10.2.3), as seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_ASKED))
}

/// The backoff before retry `number` (from 1), with jitter so that many pipes do not come back at once.
pub(crate) fn backoff(number: u32) -> Duration {
    // The same for all requests of a run: those that fail together retry together, and share a line of the log.
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let full = FIRST.saturating_mul(2u32.saturating_pow(number.saturating_sub(1))).min(LONGEST);
    // The hasher's keys are random, which is enough to spread pipes out.
    let jitter = KEYS.hash_one(number) % 1000;
    let half = full / 2;
    half + half.mul_f64(jitter as f64 / 1000.0)
}

/// [`is_transient`] for a response whose body is not read yet.
pub(crate) fn is_transient_response(response: &reqwest::Response) -> bool {
    // Of a body that is not read, only its absence is known.
    let body: &[u8] = if response.content_length() == Some(0) { b"" } else { b"unread" };
    is_transient(response.status(), response.headers(), body)
}

/// How long to wait after a response before retry `number` (from 1).
pub(crate) fn wait_after(headers: &HeaderMap, number: u32) -> Duration {
    retry_after(headers, SystemTime::now()).unwrap_or_else(|| backoff(number))
}

pub(crate) struct Attempt<T> {
    pub(crate) result: T,
    /// If another attempt may end differently: how long to wait before it, and what the log says of this one.
    pub(crate) retry: Option<(Duration, String)>,
}

/// Retries of the requests to one server.
pub(crate) struct Retries {
    /// How many each request may have.
    most: u32,
    shutdown: Shutdown,
    budget: Mutex<Budget>,
    /// The waits of requests that failed alike at about the same time, which share a line of the log: by the number of the retry
    /// and what is said of the failure.
    rounds: Mutex<BTreeMap<(u32, String), Vec<Duration>>>,
}

impl Retries {
    pub(crate) fn new(most: u32, shutdown: &Shutdown) -> Self {
        let full = LONGEST_ASKED.saturating_mul(most);
        let budget = Mutex::new(Budget { full, left: full, waiting_until: None });
        Self { most, shutdown: shutdown.clone(), budget, rounds: Mutex::default() }
    }

    /// Makes attempts, numbered from 1, until a result is final or the retries are used up.
    pub(crate) async fn run<T>(&self, mut attempt: impl AsyncFnMut(u32) -> Attempt<T>) -> T {
        let mut number = 1;
        loop {
            let Attempt { result, retry } = attempt(number).await;
            match retry {
                Some((wait, said)) if self.wait(&said, wait, number).await => number += 1,
                // The server has recovered: another outage may be waited for as long.
                None if number > 1 => {
                    let mut budget = self.budget();
                    budget.left = budget.full;
                    return result;
                }
                _ => return result,
            }
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits before retry `number` (from 1) of a request that failed as `said`. Returns whether to send it again.
    async fn wait(&self, said: &str, wait: Duration, number: u32) -> bool {
        if number > self.most || self.shutdown.requested().is_some() {
            return false;
        }
        if !self.budget().take(Instant::now(), wait) {
            tracing::debug!("{said}; no retry: the run has waited long enough for retries");
            return false;
        }
        let until = tokio::time::Instant::now() + wait;
        // The first one waits for those that fail alike, and logs for all.
        let is_first = self.note(said, number, wait);
        if is_first && self.pause_until(until.min(tokio::time::Instant::now() + GATHER)).await {
            self.log(said, number);
        }
        self.pause_until(until).await
    }

    /// Notes a retry; returns whether it is the first of its round, which logs them all.
    fn note(&self, said: &str, number: u32, wait: Duration) -> bool {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = rounds.entry((number, said.to_owned())).or_default();
        waits.push(wait);
        waits.len() == 1
    }

    /// One line for all requests that failed alike.
    fn log(&self, said: &str, number: u32) {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = rounds.remove(&(number, said.to_owned())).unwrap_or_default();
        let (Some(shortest), Some(longest)) = (waits.iter().min(), waits.iter().max()) else { return };
        let requests = if waits.len() > 1 { format!("{} requests: ", waits.len()) } else { String::new() };
        let [shortest, longest] = [shortest, longest].map(|wait| log::duration(*wait));
        let wait = if shortest == longest { shortest } else { format!("{shortest} to {longest}") };
        tracing::warn!("{requests}{said}; retrying in {wait} ({number} of {})", self.most);
    }

    /// Returns whether the time came before a signal.
    async fn pause_until(&self, time: tokio::time::Instant) -> bool {
        tokio::select! {
            () = tokio::time::sleep_until(time) => true,
            _ = self.shutdown.wait() => false,
        }
    }
}

/// How long a run may wait for retries until one succeeds: as long as a single request may. Otherwise hundreds of functions, one
/// after the other, would wait for a server that is down. Time in which several requests wait counts once.
struct Budget {
    full: Duration,
    left: Duration,
    waiting_until: Option<Instant>,
}

impl Budget {
    /// True if there is time for a wait that begins now.
    fn take(&mut self, now: Instant, wait: Duration) -> bool {
        let until = now + wait;
        let from = self.waiting_until.map_or(now, |already| already.max(now));
        match self.left.checked_sub(until.saturating_duration_since(from)) {
            Some(left) => {
                self.left = left;
                self.waiting_until = Some(until.max(from));
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn transient_statuses_are_distinguished_from_final_ones() {
        let transient = |status: u16, body: &str| {
            is_transient(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
        };
        for status in [408, 425, 429, 502, 503, 504, 522, 530] {
            assert!(transient(status, "text"), "{status}");
        }
        for status in [400, 401, 403, 404, 409, 501] {
            assert!(!transient(status, ""), "{status}");
        }
        assert!(transient(500, " \n"));
        assert!(transient(500, "<html><h1>Internal Server Error</h1>"));
        assert!(!transient(500, "no such secret"));
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_date_and_capped() {
        let now = httpdate::parse_http_date("Fri, 20 Nov 2026 10:00:00 GMT").unwrap();
        let wait = |value: &str| retry_after(&headers("retry-after", value), now);
        assert_eq!(wait("3"), Some(Duration::from_secs(3)));
        assert_eq!(wait("Fri, 20 Nov 2026 10:00:07 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Fri, 20 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("86400"), Some(LONGEST_ASKED));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-1"), None);
    }

    #[test]
    fn backoff_doubles_with_jitter_and_stays_bounded() {
        for (number, full) in [(1, 500), (2, 1000), (3, 2000), (10, 15_000), (u32::MAX, 15_000)] {
            let wait = backoff(number).as_millis();
            assert!((full / 2..=full).contains(&wait), "{number}: {wait}");
        }
    }

    #[tokio::test]
    async fn server_that_recovered_is_waited_for_again() {
        let wait = Duration::from_millis(5);
        let retries = Retries::new(1, &Shutdown::none());
        *retries.budget.lock().unwrap() = Budget { full: wait, left: wait, waiting_until: None };
        let attempts = async |fails: u32| {
            let attempt =
                async |number| Attempt { result: number, retry: (number <= fails).then(|| (wait, "503".to_owned())) };
            retries.run(attempt).await
        };
        for _ in 0..3 {
            assert_eq!(attempts(1).await, 2);
        }
        // One that is down is not, whatever it answered before.
        assert_eq!(attempts(9).await, 2);
        assert_eq!(attempts(9).await, 1);
    }

    #[test]
    fn waiting_for_retries_is_bounded_however_many_requests_wait() {
        let start = Instant::now();
        let second = |number| start + Duration::from_secs(number);
        let full = Duration::from_secs(10);
        let mut budget = Budget { full, left: full, waiting_until: None };
        // Side by side they take no more time than one alone.
        assert!((0..100).all(|_| budget.take(second(0), Duration::from_secs(4))));
        assert!(budget.take(second(2), Duration::from_secs(4)));
        // Six of ten seconds are used up, and time in which nobody waits does not count.
        assert!(!budget.take(second(100), Duration::from_secs(5)));
        assert!(budget.take(second(100), Duration::from_secs(4)));
        assert!(!budget.take(second(104), Duration::from_millis(1)));
    }
}
