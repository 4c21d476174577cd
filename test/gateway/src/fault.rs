//! Faults: which requests fail, how often, and how.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

/// A failure of the requests that it matches.
///
/// A fault defines which requests it matches (method, path, text in the body), how often it applies (always,
/// [`Fault::times`], [`Fault::nth`]) and what happens. If several faults match, the one that was set first applies
/// until it is used up.
///
/// ```
/// # use local_gateway::Fault;
/// # use std::time::Duration;
/// // The first two deployments get a 503, later ones are processed normally.
/// Fault::on("PUT", "/system/functions").times(2).status(503).header("Retry-After", "1").body("try later");
/// // The third one is processed, but the response is lost.
/// Fault::on("PUT", "/system/functions").nth(3).lose();
/// // Every exchange is delayed.
/// Fault::on("POST", "/oauth/token").delay(Duration::from_millis(200));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault has no effect until it is passed to `Gateway::fault`"]
pub struct Fault {
    host: Option<String>,
    method: Option<String>,
    path: PathMatch,
    containing: Option<String>,
    skip: u64,
    times: Option<u64>,
    pub(crate) delay: Duration,
    pub(crate) latch: Option<Latch>,
    pub(crate) delay_answer: Duration,
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) orderly: bool,
    pub(crate) processed: bool,
    pub(crate) continues: bool,
    pub(crate) dies: bool,
    pub(crate) effect: Effect,
    pub(crate) incident: Option<Incident>,
}

/// What goes wrong in the provider while it processes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incident {
    /// The process of the new container cannot be started.
    TaskDoesNotStart,
    /// The process of the old container does not end in time.
    TaskDoesNotEnd,
    /// The old container is removed, and the new one is created after this time.
    Gap(Duration),
}

#[derive(Clone, Debug)]
enum PathMatch {
    Prefix(String),
    Exact(String),
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is processed normally, or gets the status that was set.
    Answer,
    Reset,
    CutOff(usize),
    Raw {
        endless: bool,
    },
    Echo,
    Endless,
    Slow(Duration),
    GzipBomb,
    Hang,
}

impl Fault {
    /// A fault for requests with this method and path prefix (without the base path).
    pub fn on(method: &str, path_prefix: &str) -> Self {
        Self { method: Some(method.to_owned()), ..Self::any() }.path_prefix(path_prefix)
    }

    /// A fault for every request.
    pub fn any() -> Self {
        Self {
            host: None,
            method: None,
            path: PathMatch::Prefix(String::new()),
            containing: None,
            skip: 0,
            times: None,
            delay: Duration::ZERO,
            latch: None,
            delay_answer: Duration::ZERO,
            status: None,
            headers: Vec::new(),
            body: Bytes::new(),
            orderly: false,
            processed: false,
            continues: false,
            dies: false,
            effect: Effect::Answer,
            incident: None,
        }
    }

    /// Matches only requests to this host, on any port.
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Matches only requests with this path prefix.
    pub fn path_prefix(mut self, prefix: &str) -> Self {
        self.path = PathMatch::Prefix(prefix.to_owned());
        self
    }

    /// Matches only requests with exactly this path.
    pub fn path(mut self, path: &str) -> Self {
        self.path = PathMatch::Exact(path.to_owned());
        self
    }

    /// Matches only requests whose body contains this text, such as a function's name. Bodies of invocations are
    /// ignored.
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    /// Applies only to the `nth` matching request, counted from 1.
    pub fn nth(mut self, nth: u64) -> Self {
        self.skip = nth.saturating_sub(1);
        self.times = Some(1);
        self
    }

    /// Skips the first `count` matching requests.
    pub fn after(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Applies only to this many matching requests.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Waits before the request is processed.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits before the request is processed until the latch is opened.
    pub fn held_by(mut self, latch: &Latch) -> Self {
        self.latch = Some(latch.clone());
        self
    }

    /// Waits after the request was processed, before the response is sent.
    pub fn delay_answer(mut self, delay: Duration) -> Self {
        self.delay_answer = delay;
        self
    }

    /// Responds with this status instead of processing the request.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets a header of the response.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body of a response with [`Fault::status`].
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Responds with a redirect (301, 302, 307 or 308) to another URL.
    pub fn redirect(self, status: u16, location: &str) -> Self {
        self.status(status).header("Location", location)
    }

    /// Resets the connection before the request is processed. The body of an invocation is not read.
    pub fn reset(self) -> Self {
        self.effect(Effect::Reset)
    }

    /// Processes the request, then resets the connection instead of sending a response.
    pub fn lose(self) -> Self {
        self.processed().reset()
    }

    /// Processes the request, whatever the response becomes: with [`Fault::status`] like a 502 of a proxy, with
    /// [`Fault::hang`] like a response that never arrives.
    pub fn processed(mut self) -> Self {
        self.processed = true;
        self
    }

    /// Continues with the request if the client leaves, such as during [`Fault::delay`]. Otherwise that ends it.
    pub fn continues(mut self) -> Self {
        self.continues = true;
        self
    }

    /// The gateway dies instead of responding: it closes all connections and accepts no new ones.
    pub fn dies(mut self) -> Self {
        self.dies = true;
        self
    }

    /// Responds with the web page of an ingress.
    pub fn web_page(self, status: u16) -> Self {
        let page = "<html>\r\n<head><title>Error</title></head>\r\n<body><center>nginx</center></body>\r\n</html>\r\n";
        self.status(status).header("Content-Type", "text/html").body(page)
    }

    /// Makes [`Fault::reset`] and [`Fault::lose`] close the connection with a FIN instead of a RST. With HTTP/2 only
    /// the stream is reset, and other requests on the connection continue.
    pub fn orderly(mut self) -> Self {
        self.orderly = true;
        self
    }

    /// Ends the response after this many bytes of its body, although it announced more.
    pub fn cut_off(self, bytes: usize) -> Self {
        self.effect(Effect::CutOff(bytes))
    }

    /// Sends these bytes instead of an HTTP response (inside TLS, if it is used), then closes the connection.
    pub fn raw(self, bytes: impl Into<Bytes>) -> Self {
        self.body(bytes).effect(Effect::Raw { endless: false })
    }

    /// Sends these bytes endlessly instead of an HTTP response, such as header lines.
    pub fn raw_endless(self, bytes: impl Into<Bytes>) -> Self {
        self.body(bytes).effect(Effect::Raw { endless: true })
    }

    /// Responds with the request: its headers as `x-echo-NAME` headers, and the whole request as the body. The status
    /// is 200 unless one was set.
    pub fn echo(self) -> Self {
        self.effect(Effect::Echo)
    }

    /// Responds with an endless repetition of the body that was set.
    pub fn endless_body(self) -> Self {
        self.effect(Effect::Endless)
    }

    /// Responds with the body that was set, one byte per interval, endlessly.
    pub fn slow_body(self, interval: Duration) -> Self {
        self.effect(Effect::Slow(interval))
    }

    /// Responds with an endless `Content-Encoding: gzip` body that is 158 times larger when decompressed.
    pub fn gzip_bomb(self) -> Self {
        self.header("Content-Encoding", "gzip").effect(Effect::GzipBomb)
    }

    /// Never responds.
    pub fn hang(self) -> Self {
        self.effect(Effect::Hang)
    }

    /// Responds like Community Edition to an update that Kubernetes refuses, such as one that conflicts with a controller's:
    /// 200 without a body. Nothing is changed.
    pub fn conflict(self) -> Self {
        self.status(200)
    }

    /// Responds like a provider to a call of a function whose process does not listen yet, or no longer.
    pub fn unreachable(self, function: &str) -> Self {
        self.internal(500, "proxy", format!("Can't reach service for: {function}.\n"))
    }

    /// Responds like a watchdog to a call above its `max_inflight`. The function does not run.
    pub fn overloaded(self) -> Self {
        let text = "Concurrent request limit exceeded. Max concurrent requests: 1\n";
        self.internal(429, "faas-middleware", text.to_owned())
    }

    fn internal(self, status: u16, component: &str, text: String) -> Self {
        self.status(status).header("X-OpenFaaS-Internal", component).header("Content-Type", "text/plain").body(text)
    }

    /// faasd creates the container of a `PUT` or `POST`, and responds with 400 because its process cannot be started. The
    /// function exists, but does not run. Other editions process the request as usual.
    pub fn task_does_not_start(self) -> Self {
        self.incident(Incident::TaskDoesNotStart)
    }

    /// faasd ends the process of the old version in a `PUT`, but not in time: it responds with 500 and changes nothing else.
    /// The function exists, but does not run. Other editions process the request as usual.
    pub fn task_does_not_end(self) -> Self {
        self.incident(Incident::TaskDoesNotEnd)
    }

    /// faasd removes the function at the start of a `PUT`, and creates the new version after this time, even if the client
    /// leaves. Other editions process the request as usual.
    pub fn gap(self, gap: Duration) -> Self {
        self.continues().incident(Incident::Gap(gap))
    }

    fn incident(mut self, incident: Incident) -> Self {
        self.incident = Some(incident);
        self
    }

    fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    fn matches(&self, host: &str, method: &str, path: &str, body: &[u8]) -> bool {
        let path_matches = match &self.path {
            PathMatch::Prefix(prefix) => path.starts_with(prefix.as_str()),
            PathMatch::Exact(exact) => path == exact,
        };
        let contains = |text: &String| text.is_empty() || body.windows(text.len()).any(|part| part == text.as_bytes());
        path_matches
            && self.host.as_ref().is_none_or(|wanted| wanted == host)
            && self.method.as_ref().is_none_or(|wanted| wanted == method)
            && self.containing.as_ref().is_none_or(contains)
    }
}

/// Holds requests ([`Fault::held_by`]) until it is opened.
#[derive(Clone, Debug)]
pub struct Latch(Arc<Semaphore>);

impl Latch {
    /// A closed latch.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Releases all requests that it holds, and lets later ones through.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn opened(&self) {
        // The semaphore never has a permit. Closing it ends the wait.
        let _ = self.0.acquire().await;
    }
}

/// The faults that are set, each with the number of matching requests so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<(Fault, u64)>>);

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((fault, 0));
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fault that applies to a request. Every matching fault counts the request, whether it applies or not.
    pub(crate) fn find(&self, host: &str, method: &str, path: &str, body: &[u8]) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for (fault, seen) in faults.iter_mut().filter(|(fault, _)| fault.matches(host, method, path, body)) {
            *seen += 1;
            let due = *seen > fault.skip && fault.times.is_none_or(|times| *seen - fault.skip <= times);
            if due && found.is_none() {
                found = Some(fault.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(faults: &Faults, count: usize) -> Vec<Option<u16>> {
        (0..count)
            .map(|_| faults.find("localhost", "PUT", "/system/functions", b"{}").and_then(|fault| fault.status))
            .collect()
    }

    #[test]
    fn nth_applies_to_one_request() {
        let faults = Faults::default();
        faults.add(Fault::on("PUT", "/system").nth(2).status(503));
        assert_eq!(statuses(&faults, 3), [None, Some(503), None]);
    }

    #[test]
    fn fault_set_first_applies_first() {
        let faults = Faults::default();
        faults.add(Fault::any().times(1).status(500));
        faults.add(Fault::any().nth(2).status(502));
        assert_eq!(statuses(&faults, 3), [Some(500), Some(502), None]);
    }

    #[test]
    fn fault_applies_only_to_matching_requests() {
        for (fault, applies) in [
            (Fault::any(), true),
            (Fault::on("GET", ""), false),
            (Fault::any().host("localhost"), true),
            (Fault::any().host("example.com"), false),
            (Fault::any().path("/system"), false),
            (Fault::any().path("/system/functions"), true),
            (Fault::any().containing("import-csv"), true),
            (Fault::any().containing("other"), false),
        ] {
            let faults = Faults::default();
            faults.add(fault.clone());
            let found = faults.find("localhost", "PUT", "/system/functions", br#"{"service":"import-csv"}"#).is_some();
            assert_eq!(found, applies, "{fault:?}");
        }
    }
}
