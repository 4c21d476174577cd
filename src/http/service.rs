//! Requests to registries and clouds: bounded in time and size, with retries, without redirects.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use reqwest::IntoUrl;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::{Host, Url};

use super::cause::Cause;
use super::client::{self, SafeUrl, is_local, is_private};
use super::retry::{self, Attempt, Retries};
use super::tls::CaCert;
use crate::console::log::{self, whole_or_length};
use crate::diagnostic::{Diagnostic, Failure};
use crate::shutdown::Shutdown;

/// All requests to registries and clouds together take less, whatever `TIMEOUT` says: a registry that is down must not hold
/// up a deploy for long.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A registry that is down is rarely back within the time that there is.
const RETRIES: u32 = 3;

/// Errors, tokens and what clouds return are shorter.
pub(crate) const SHORT: usize = 64 * 1024;
/// Manifests may be 4 MiB (OCI distribution specification, *Pushing manifests*).
pub(crate) const LONG: usize = 4 * 1024 * 1024;

/// How many bodies longer than [`SHORT`] are in memory at once, each from its first byte until it was read: 64 registries
/// side by side may each return one.
const LONG_BODIES: usize = 4;

/// The size of a stream's window: a server may send this much before it is read. 64 streams that wait for each other are within the window of their connection.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Storage services redirect once.
const MOST_REDIRECTS: usize = 3;

pub(crate) struct ServiceClient {
    client: reqwest::Client,
    retries: Retries,
    /// For this machine, whose registries get passwords over plain HTTP: never through a proxy.
    direct: reqwest::Client,
    long_bodies: Arc<Semaphore>,
    /// From the first request on.
    deadline: OnceLock<Instant>,
}

/// A response with its body, of which no more than the limit was read. It must not be kept while another request is sent: if its
/// body is long, that one may wait for its end.
#[derive(Debug)]
pub(crate) struct ServiceResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The body was longer than the limit.
    pub(crate) cut: bool,
    /// Held while a long body is in memory.
    _room: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
impl ServiceResponse {
    pub(crate) fn success(body: &[u8]) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: body.to_vec(), cut: false, _room: None }
    }
}

impl ServiceClient {
    /// A client whose time begins with its first request. Certificates are always verified, also with `TLS_NO_VERIFY`.
    pub(crate) fn new(ca_cert: Option<&CaCert>, parallel: usize, shutdown: &Shutdown) -> Self {
        let builder = || {
            let builder = client::verifying(ca_cert, TIME_LIMIT).pool_max_idle_per_host(parallel);
            builder.http2_initial_stream_window_size(STREAM_WINDOW)
        };
        Self {
            client: client::build(builder()),
            direct: client::build(builder().no_proxy()),
            long_bodies: Arc::new(Semaphore::new(LONG_BODIES)),
            retries: Retries::new(RETRIES, shutdown),
            deadline: OnceLock::new(),
        }
    }

    fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| Instant::now() + TIME_LIMIT)
    }

    pub(crate) fn request(&self, method: Method, url: impl IntoUrl) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request, and retries a transient failure if the time allows it. Of a body at most `limit` bytes are read.
    pub(crate) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        limit: usize,
    ) -> Result<ServiceResponse, Diagnostic> {
        self.send_until(request, limit, |response| is_transient(response.status)).await
    }

    /// [`ServiceClient::send`] with another test of what is transient.
    pub(crate) async fn send_until(
        &self,
        request: reqwest::RequestBuilder,
        limit: usize,
        is_transient: impl Fn(&ServiceResponse) -> bool,
    ) -> Result<ServiceResponse, Diagnostic> {
        let request = request.build().map_err(|error| unavailable(Cause::of(&error, TIME_LIMIT).to_string()))?;
        let result = self.retries.run(async |number| {
            let result = self.once(request.try_clone().expect("forms and JSON can be cloned"), limit).await;
            let (wait, said) = match &result {
                Ok(response) if is_transient(response) => {
                    (Some(retry::wait_after(&response.headers, number)), response.status.to_string())
                }
                Err(cause) => (cause.is_transient().then(|| retry::backoff(number)), cause.to_string()),
                Ok(_) => (None, String::new()),
            };
            let wait = wait.filter(|wait| Instant::now() + *wait < self.deadline());
            Attempt { retry: wait.map(|wait| (wait, format!("`{}`: {said}", host(request.url())))), result }
        });
        result.await.map_err(|cause| no_response(request.url(), &cause))
    }

    /// Follows the redirects of a blob to where it is stored, without its credentials.
    pub(crate) async fn follow(
        &self,
        mut response: ServiceResponse,
        registry: &Url,
    ) -> Result<ServiceResponse, Diagnostic> {
        let mut url = registry.clone();
        for _ in 0..MOST_REDIRECTS {
            if !response.status.is_redirection() {
                break;
            }
            let to = client::location(&response.headers);
            url = url.join(&to).ok().filter(|url| may_follow(url, registry)).ok_or_else(|| {
                let (host, to) = (host(registry), whole_or_length(&to));
                denied(format!("`{host}` redirects to `{to}`, which is not followed"))
            })?;
            // A new request, without the login: the URL itself is signed.
            response = self.send(self.request(Method::GET, url.clone()), LONG).await?;
        }
        Ok(response)
    }

    async fn once(&self, request: reqwest::Request, limit: usize) -> Result<ServiceResponse, Cause> {
        let started = Instant::now();
        // Redirects to storage carry signatures in the query, which is not shown.
        let name = format!("{} {}", request.method(), SafeUrl(request.url()));
        let exchange = async {
            let client = if is_local(request.url()) { &self.direct } else { &self.client };
            let mut received = client.execute(request).await?;
            let (status, headers) = (received.status(), std::mem::take(received.headers_mut()));
            // The words of an error are cut far earlier.
            let limit = if status.is_success() { limit } else { limit.min(SHORT) };
            let (mut size, mut room) = (0, None);
            let next = async || {
                let chunk = received.chunk().await?;
                size += chunk.as_ref().map_or(0, Bytes::len);
                // Before the rest is read: meanwhile the server can send no more than the stream's window.
                if size > SHORT && limit > SHORT && room.is_none() {
                    room = Arc::clone(&self.long_bodies).acquire_owned().await.ok();
                }
                Ok(chunk)
            };
            let (body, cut) = client::read_up_to(limit, next).await?;
            Ok(ServiceResponse { status, headers, body, cut, _room: room })
        };
        let result = match tokio::time::timeout_at(self.deadline(), exchange).await {
            Ok(result) => result.map_err(|error: reqwest::Error| Cause::of(&error, TIME_LIMIT)),
            Err(_) => Err(Cause::TimedOut(TIME_LIMIT)),
        };
        let said: &dyn fmt::Display = match &result {
            Ok(response) => &response.status,
            Err(cause) => cause,
        };
        tracing::debug!("{name}: {said} in {}", log::duration(started.elapsed()));
        result
    }
}

fn no_response(url: &Url, cause: &Cause) -> Diagnostic {
    let hint = match cause {
        Cause::TimedOut(_) => Some("this is the limit of all requests to registries and clouds together".to_owned()),
        cause => cause.hint(host(url), url.port_or_known_default().unwrap_or(443)),
    };
    Diagnostic { hint, ..unavailable(format!("`{}`: {cause}", host(url))) }
}

/// A URL of HTTP has one.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or("HOST")
}

pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
}

/// True if a blob may be fetched from there: encrypted, and not from a private address unless that is the registry's own.
fn may_follow(url: &Url, registry: &Url) -> bool {
    let is_own = |host: &Host<&str>| registry.host().as_ref() == Some(host);
    (url.scheme() == "https" || url.scheme() == registry.scheme())
        && url.host().is_some_and(|host| !is_private(&host) || is_own(&host))
}

/// No access, or a response that decides nothing.
pub(crate) fn denied(message: String) -> Diagnostic {
    Diagnostic::new(Failure::Permission, message)
}

/// No response, or one that may be another later.
pub(crate) fn unavailable(message: String) -> Diagnostic {
    Diagnostic::new(Failure::Unreachable, message)
}

/// A success of `service` without what was asked for.
pub(crate) fn incomplete(service: &str, missing: &str) -> Diagnostic {
    denied(format!("{service} returned a response without {missing}"))
        .with_hint("look for a proxy that responds in its place")
}

pub(crate) fn about(what: impl fmt::Display, problem: Diagnostic) -> Diagnostic {
    Diagnostic { message: format!("{what}: {}", problem.message), ..problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_fetched_only_from_encrypted_public_storage() {
        let registry = Url::parse("https://registry.example.com").unwrap();
        let may = |url: &str| may_follow(&Url::parse(url).unwrap(), &registry);
        assert!(may("https://prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com/x?X-Amz-Signature=1"));
        assert!(may("https://registry.example.com/other"));
        for url in [
            "http://storage.example.com/x",
            "https://169.254.169.254/latest",
            "https://10.0.0.1/x",
            "file:///etc/passwd",
        ] {
            assert!(!may(url), "{url}");
        }
        let own = Url::parse("https://10.0.0.1:5000").unwrap();
        assert!(may_follow(&Url::parse("https://10.0.0.1/x").unwrap(), &own));
    }

    #[test]
    fn overload_and_server_errors_are_transient() {
        let transient = |status| is_transient(StatusCode::from_u16(status).unwrap());
        assert!([408, 425, 429, 500, 502, 503, 504].into_iter().all(transient));
        assert!(![200, 307, 400, 401, 403, 404, 405, 501].into_iter().any(transient));
    }
}
