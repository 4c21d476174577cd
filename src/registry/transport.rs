//! Requests to registries and clouds: bounded in time and size, with retries, without redirects.

use std::fmt;
use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use url::{Host, Url};

use super::challenge::is_private;
use crate::console::log::{self, quote};
use crate::http::ca_cert::CaCert;
use crate::http::cause::Cause;
use crate::http::client;
use crate::http::retry;

/// All that is asked of registries and clouds takes less, whatever `TIMEOUT` says: a registry that is down must not hold up
/// a deploy for long.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A registry that is down is rarely back within the time that there is.
const RETRIES: u32 = 3;

/// Tokens and errors are far shorter.
pub(super) const ANSWER_LIMIT: usize = 64 * 1024;

/// Storage services redirect once.
const MOST_REDIRECTS: usize = 3;

/// The client for registries and clouds.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    deadline: Instant,
}

/// An answer with its body, of which no more than a limit was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The body was longer than the limit.
    pub(super) cut: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("`{host}`: {cause}")]
    Transport { host: String, cause: Cause },
    #[error("`{host}` did not answer: the {} s for all registries and clouds are over", TIME_LIMIT.as_secs())]
    OutOfTime { host: String },
    #[error("`{host}` redirects to `{}`, which is not followed", log::brief(.to))]
    Redirect { host: String, to: String },
}

impl Http {
    /// A client whose time begins now. Certificates are always verified, also with `TLS_NO_VERIFY`.
    pub(crate) fn new(ca_cert: Option<&CaCert>, parallel: usize) -> Result<Self, client::Error> {
        let client = client::verifying(ca_cert, TIME_LIMIT)?.pool_max_idle_per_host(parallel).build()?;
        Ok(Self { client, deadline: Instant::now() + TIME_LIMIT })
    }

    pub(super) fn request(&self, method: http::Method, url: Url) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request, again if what went wrong is transient and the time allows it.
    pub(super) async fn send(&self, request: reqwest::RequestBuilder, limit: usize) -> Result<Answer, Unanswered> {
        self.send_until(request, limit, |answer| is_transient(answer.status)).await
    }

    /// [`Http::send`] with another test of what is transient.
    pub(super) async fn send_until(
        &self,
        request: reqwest::RequestBuilder,
        limit: usize,
        is_transient: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, Unanswered> {
        let request = request
            .build()
            .map_err(|error| Unanswered::Transport { host: String::new(), cause: Cause::of(&error, TIME_LIMIT) })?;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let mut number = 1;
        loop {
            let Some(copy) = request.try_clone() else {
                return Err(Unanswered::OutOfTime { host });
            };
            let result = self.once(copy, &host, limit).await;
            let wait = match &result {
                Ok(answer) if is_transient(answer) => retry::wait_after(&answer.headers, number),
                Err(Unanswered::Transport { cause, .. }) if cause.is_transient() => retry::backoff(number),
                _ => return result,
            };
            if number > RETRIES || Instant::now() + wait >= self.deadline {
                return result;
            }
            tracing::debug!("`{host}`: retry {number} of {RETRIES} in {}", log::duration(wait));
            tokio::time::sleep(wait).await;
            number += 1;
        }
    }

    /// Sends a request for a blob, and follows redirects to where it is stored, without its credentials.
    pub(super) async fn send_for_blob(
        &self,
        request: reqwest::RequestBuilder,
        registry: &Url,
        limit: usize,
    ) -> Result<Answer, Unanswered> {
        let mut answer = self.send(request, limit).await?;
        let mut url = registry.clone();
        for _ in 0..MOST_REDIRECTS {
            if !answer.status.is_redirection() {
                return Ok(answer);
            }
            let to = location(&answer.headers);
            let refused =
                || Unanswered::Redirect { host: registry.host_str().unwrap_or_default().to_owned(), to: to.clone() };
            url = url.join(&to).ok().filter(|url| may_follow(url, registry)).ok_or_else(refused)?;
            answer = self.send(self.request(http::Method::GET, url.clone()), limit).await?;
        }
        Ok(answer)
    }

    async fn once(&self, request: reqwest::Request, host: &str, limit: usize) -> Result<Answer, Unanswered> {
        let started = Instant::now();
        // Without the query: redirects to storage carry signatures there.
        let name =
            format!("{} {}{}", request.method(), request.url().origin().ascii_serialization(), request.url().path());
        let result = tokio::time::timeout_at(self.deadline, self.exchange(request, limit)).await;
        let result = match result {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                Err(Unanswered::Transport { host: host.to_owned(), cause: Cause::of(&error, TIME_LIMIT) })
            }
            Err(_) => Err(Unanswered::OutOfTime { host: host.to_owned() }),
        };
        let said: &dyn fmt::Display = match &result {
            Ok(answer) => &answer.status,
            Err(error) => error,
        };
        tracing::debug!("{}: {said} in {}", quote(&name), log::duration(started.elapsed()));
        result
    }

    async fn exchange(&self, request: reqwest::Request, limit: usize) -> reqwest::Result<Answer> {
        let mut response = self.client.execute(request).await?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        let mut cut = false;
        while let Some(chunk) = response.chunk().await? {
            let room = limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                cut = true;
                break;
            }
        }
        Ok(Answer { status, headers, body, cut })
    }
}

pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error()
}

/// Where an answer redirects to.
pub(super) fn location(headers: &HeaderMap) -> String {
    headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// Whether a blob may be fetched from there: encrypted, and not from a private address unless that is the registry's own.
fn may_follow(url: &Url, registry: &Url) -> bool {
    let is_own = |host: &Host<&str>| registry.host().as_ref() == Some(host);
    (url.scheme() == "https" || url.scheme() == registry.scheme())
        && url.host().is_some_and(|host| !is_private(&host) || is_own(&host))
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
        assert!(![200, 307, 400, 401, 403, 404, 405].into_iter().any(transient));
    }
}
