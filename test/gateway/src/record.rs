//! Recorded requests, with their bodies up to a limit.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Version};
use serde_json::Value;

/// How much of a body is kept, so that an invocation with 1 GB is not.
const KEPT: usize = 1024 * 1024;

/// A request that arrived.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path as it was sent: percent-encoded, and including the base path.
    pub path: String,
    /// The query as it was sent, without the `?`.
    pub query: Option<String>,
    /// The headers. With HTTP/2, `host` has the value of `:authority`.
    pub headers: HeaderMap,
    /// The first mebibyte of the body.
    pub body: Vec<u8>,
    /// The length of the whole body.
    pub body_length: u64,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The number of its connection, counted from 1.
    pub connection: u64,
    /// When its head arrived.
    pub arrived: Instant,
    /// The status of the response. `None` if there is no response (yet).
    pub status: Option<u16>,
}

impl Request {
    /// A request that arrived now, without its body.
    pub(crate) fn new<B>(request: &hyper::Request<B>, connection: u64) -> Self {
        Self {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
            headers: headers(request),
            body: Vec::new(),
            body_length: 0,
            version: request.version(),
            connection,
            arrived: Instant::now(),
            status: None,
        }
    }

    /// The value of a header if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The host without the port.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.header(HOST.as_str()).unwrap_or_default();
        let authority: Option<hyper::http::uri::Authority> = host.parse().ok();
        authority.map(|authority| authority.host().to_ascii_lowercase()).unwrap_or_default()
    }

    /// The body as text. Invalid UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON. `null` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The fields of an `application/x-www-form-urlencoded` body.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The first value of a query parameter, decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut parameters = form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes());
        parameters.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.body_length += bytes.len() as u64;
        let room = KEPT.saturating_sub(self.body.len());
        self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// The headers of a request, with HTTP/2's `:authority` as `host`.
fn headers<B>(request: &hyper::Request<B>) -> HeaderMap {
    let mut headers = request.headers().clone();
    if request.version() == Version::HTTP_2
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.entry(HOST).or_insert(host);
    }
    headers
}

/// A request whose body may still be arriving.
pub(crate) type Entry = Arc<Mutex<Request>>;

/// The recorded requests.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Vec<Entry>>);

impl Record {
    pub(crate) fn add(&self, request: Request) -> Entry {
        let entry = Arc::new(Mutex::new(request));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&entry));
        entry
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|entry| entry.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Records the bytes of a body.
pub(crate) fn keep(entry: &Entry, bytes: &[u8]) {
    entry.lock().unwrap_or_else(PoisonError::into_inner).keep(bytes);
}

/// Records the status of the response.
pub(crate) fn answered(entry: &Entry, status: u16) {
    entry.lock().unwrap_or_else(PoisonError::into_inner).status = Some(status);
}

/// A body that is recorded while it is read.
pub(crate) struct Recorded<B> {
    body: B,
    entry: Option<Entry>,
}

impl<B> Recorded<B> {
    pub(crate) fn new(body: B, entry: Option<Entry>) -> Self {
        Self { body, entry }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Recorded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(entry)) = (&frame, &self.entry)
            && let Some(bytes) = frame.data_ref()
        {
            keep(entry, bytes);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
