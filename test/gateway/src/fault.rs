//! Faults: what goes wrong with which request, how often, and how.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

/// Something that goes wrong with the requests it matches.
///
/// A fault says which requests (method, path, text in the body), how often (always, [`Fault::times`], [`Fault::nth`]),
/// and what happens. Where several match, the one set first counts until it is used up.
///
/// ```
/// # use local_gateway::Fault;
/// # use std::time::Duration;
/// // The first two deployments are answered with 503, later ones as usual.
/// Fault::on("PUT", "/system/functions").times(2).status(503).header("Retry-After", "1").body("try later");
/// // The third one is done, but its answer never arrives.
/// Fault::on("PUT", "/system/functions").nth(3).lose();
/// // Every exchange takes its time.
/// Fault::on("POST", "/oauth/token").delay(Duration::from_millis(200));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until it is given to `Gateway::fault`"]
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
    unread: bool,
    pub(crate) processed: bool,
    pub(crate) dies: bool,
    pub(crate) effect: Effect,
}

#[derive(Clone, Debug)]
enum PathMatch {
    Prefix(String),
    Exact(String),
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is processed as usual, or answered with the status that was set.
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
    /// A fault of the requests with a method and a path that begins so (without the base path).
    pub fn on(method: &str, path_prefix: &str) -> Self {
        Self { method: Some(method.to_owned()), ..Self::any() }.path_prefix(path_prefix)
    }

    /// A fault of every request.
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
            unread: false,
            processed: false,
            dies: false,
            effect: Effect::Answer,
        }
    }

    /// Only requests to this host, whatever the port.
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Only requests whose path begins so.
    pub fn path_prefix(mut self, prefix: &str) -> Self {
        self.path = PathMatch::Prefix(prefix.to_owned());
        self
    }

    /// Only requests with exactly this path.
    pub fn path(mut self, path: &str) -> Self {
        self.path = PathMatch::Exact(path.to_owned());
        self
    }

    /// Only requests whose body holds this text, such as a function's name. Bodies of invocations are not looked at.
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    /// Only the `nth` matching request, counted from 1.
    pub fn nth(mut self, nth: u64) -> Self {
        self.skip = nth.saturating_sub(1);
        self.times = Some(1);
        self
    }

    /// Leaves the first `count` matching requests alone.
    pub fn after(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Only so many matching requests; without it all of them.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Waits before the request is processed.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits before the request is processed until the latch is opened, however long a test takes until then.
    pub fn held_by(mut self, latch: &Latch) -> Self {
        self.latch = Some(latch.clone());
        self
    }

    /// Waits after the request was processed, before it is answered.
    pub fn delay_answer(mut self, delay: Duration) -> Self {
        self.delay_answer = delay;
        self
    }

    /// Answers with a status in place of processing the request.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// A header of the answer, over one that it has.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body of an answer given by [`Fault::status`].
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Answers with 301, 302, 307 or 308 to another address.
    pub fn redirect(self, status: u16, location: &str) -> Self {
        self.status(status).header("Location", location)
    }

    /// Resets the connection before anything is done, an invocation's body read included.
    pub fn reset(self) -> Self {
        self.effect(Effect::Reset)
    }

    /// Processes the request, then resets the connection in place of an answer.
    pub fn lose(self) -> Self {
        self.processed().reset()
    }

    /// Strikes before the body is read: a refusal of a request that nobody can have carried out. It cannot be combined
    /// with [`Fault::containing`].
    pub fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// Carries the request out, whatever its answer becomes: with [`Fault::status`] a 502 of a proxy, with
    /// [`Fault::hang`] an answer that never comes.
    pub fn processed(mut self) -> Self {
        self.processed = true;
        self
    }

    /// In place of an answer the gateway dies: connections are closed, and no further one is accepted.
    pub fn dies(mut self) -> Self {
        self.dies = true;
        self
    }

    /// Answers with the web page of an ingress.
    pub fn web_page(self, status: u16) -> Self {
        let page = "<html>\r\n<head><title>Error</title></head>\r\n<body><center>nginx</center></body>\r\n</html>\r\n";
        self.status(status).header("Content-Type", "text/html").body(page)
    }

    /// Makes [`Fault::reset`] and [`Fault::lose`] close the connection in order (a FIN, no RST); on HTTP/2 only the
    /// stream is reset, and others on the connection go on.
    pub fn orderly(mut self) -> Self {
        self.orderly = true;
        self
    }

    /// Ends the answer after so many bytes of its body, although it announced more.
    pub fn cut_off(self, bytes: usize) -> Self {
        self.effect(Effect::CutOff(bytes))
    }

    /// Writes these bytes where HTTP is expected (within TLS, where there is some), then closes.
    pub fn raw(self, bytes: impl Into<Bytes>) -> Self {
        self.body(bytes).effect(Effect::Raw { endless: false })
    }

    /// Writes these bytes again and again where HTTP is expected: header lines without end, say.
    pub fn raw_endless(self, bytes: impl Into<Bytes>) -> Self {
        self.body(bytes).effect(Effect::Raw { endless: true })
    }

    /// Answers with the request: its headers as `x-echo-NAME` headers, and all of it as the body. Status 200, or the
    /// one that was set.
    pub fn echo(self) -> Self {
        self.effect(Effect::Echo)
    }

    /// Answers with the body that was set, again and again without end.
    pub fn endless_body(self) -> Self {
        self.effect(Effect::Endless)
    }

    /// Answers with a byte of the body that was set at each beat, without end.
    pub fn slow_body(self, beat: Duration) -> Self {
        self.effect(Effect::Slow(beat))
    }

    /// Answers with an endless `Content-Encoding: gzip` body, 158 times as large when unpacked.
    pub fn gzip_bomb(self) -> Self {
        self.header("Content-Encoding", "gzip").effect(Effect::GzipBomb)
    }

    /// Never answers.
    pub fn hang(self) -> Self {
        self.effect(Effect::Hang)
    }

    fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    fn matches(&self, host: &str, method: &str, path: &str, body: Option<&[u8]>) -> bool {
        let path_matches = match &self.path {
            PathMatch::Prefix(prefix) => path.starts_with(prefix.as_str()),
            PathMatch::Exact(exact) => path == exact,
        };
        let known = body.unwrap_or_default();
        let contains = |text: &String| text.is_empty() || known.windows(text.len()).any(|part| part == text.as_bytes());
        path_matches
            && self.unread == body.is_none()
            && self.host.as_ref().is_none_or(|wanted| wanted == host)
            && self.method.as_ref().is_none_or(|wanted| wanted == method)
            && self.containing.as_ref().is_none_or(contains)
    }
}

/// Holds requests back ([`Fault::held_by`]) until it is opened.
#[derive(Clone, Debug)]
pub struct Latch(Arc<Semaphore>);

impl Latch {
    /// One that is closed.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets through what it holds, and whatever comes later.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn opened(&self) {
        // It never has a permit: what ends the wait is that it is closed for good.
        let _ = self.0.acquire().await;
    }
}

/// The faults that are set, each with how many matching requests it has seen.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<(Fault, u64)>>);

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((fault, 0));
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fault that strikes a request, before its body is read or after. Every fault that matches counts it, whether
    /// it strikes or not.
    pub(crate) fn strike(&self, host: &str, method: &str, path: &str, body: Option<&[u8]>) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut struck = None;
        for (fault, seen) in faults.iter_mut().filter(|(fault, _)| fault.matches(host, method, path, body)) {
            *seen += 1;
            let due = *seen > fault.skip && fault.times.is_none_or(|times| *seen - fault.skip <= times);
            if due && struck.is_none() {
                struck = Some(fault.clone());
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(faults: &Faults, count: usize) -> Vec<Option<u16>> {
        (0..count)
            .map(|_| faults.strike("localhost", "PUT", "/system/functions", Some(b"{}")).and_then(|fault| fault.status))
            .collect()
    }

    #[test]
    fn the_nth_request_is_struck_and_no_other() {
        let faults = Faults::default();
        faults.add(Fault::on("PUT", "/system").nth(2).status(503));
        assert_eq!(strikes(&faults, 3), [None, Some(503), None]);
    }

    #[test]
    fn the_fault_set_first_strikes_first() {
        let faults = Faults::default();
        faults.add(Fault::any().times(1).status(500));
        faults.add(Fault::any().nth(2).status(502));
        assert_eq!(strikes(&faults, 3), [Some(500), Some(502), None]);
    }

    #[test]
    fn a_fault_strikes_only_what_it_names() {
        for (fault, strikes) in [
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
            let struck =
                faults.strike("localhost", "PUT", "/system/functions", Some(br#"{"service":"import-csv"}"#)).is_some();
            assert_eq!(struck, strikes, "{fault:?}");
        }
    }
}
