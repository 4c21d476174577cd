//! Invocations: retried only if that does no harm; their responses are passed on as they arrive.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::{AccessToken, Error, Gateway, error};
use crate::function::FunctionName;
use crate::http::responder::{Responder, status_name};
use crate::http::retry::{self, Attempt, is_transient_response, wait_after};

pub(crate) struct Invocation<'a> {
    pub method: &'a Method,
    pub target: &'a FunctionName,
    /// With path and query.
    pub url: Url,
    /// All headers but the token's.
    pub headers: &'a HeaderMap,
    pub idempotent: bool,
    pub retries: u32,
}

/// The response to an invocation, of which only the head was read.
pub(crate) struct Invoked {
    pub response: reqwest::Response,
    /// How long the last attempt took.
    pub took: Duration,
}

/// The part of OpenFaaS that responded in place of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Internal {
    /// The provider's proxy, which did not reach the function.
    Proxy,
    /// The function's watchdog, which did not run the function.
    Watchdog,
}

impl Internal {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get("x-openfaas-internal")?;
        Some(if value.as_bytes().eq_ignore_ascii_case(b"proxy") { Self::Proxy } else { Self::Watchdog })
    }
}

/// True if a function that has just been started may respond otherwise soon.
pub(crate) fn may_recover(status: StatusCode, headers: &HeaderMap) -> bool {
    match (status.as_u16(), Internal::of(headers)) {
        (502..=504, _) | (500, Some(Internal::Proxy)) | (429, Some(Internal::Watchdog)) => true,
        _ => Responder::of(status, headers, b"") == Responder::Cloudflare,
    }
}

impl Invocation<'_> {
    /// True if a response is worth a retry. A watchdog with too many requests under way did not run the function.
    fn may_retry(&self, response: &reqwest::Response) -> bool {
        match (response.status(), Internal::of(response.headers())) {
            (StatusCode::TOO_MANY_REQUESTS, Some(Internal::Watchdog)) => true,
            (StatusCode::INTERNAL_SERVER_ERROR, Some(Internal::Proxy)) => self.idempotent,
            _ => self.idempotent && is_transient_response(response),
        }
    }
}

/// Why an invocation has no response to pass on.
pub(crate) struct NoResponse {
    pub error: Error,
    /// True if the function may have received it.
    pub sent: bool,
}

impl NoResponse {
    /// The status if the function's URL redirects, which is not followed.
    pub(crate) fn status(&self) -> Option<u16> {
        if let (Error::Redirect(redirect), true) = (&self.error, self.sent) {
            Some(redirect.status.as_u16())
        } else {
            None
        }
    }
}

/// An error from before anything is sent.
impl From<Error> for NoResponse {
    fn from(error: Error) -> Self {
        Self { error, sent: false }
    }
}

impl Gateway {
    /// Invokes a function, with this token or, once that is about to expire, another. `body` is called for each attempt. A
    /// transient failure is retried only if nobody received the request, or if it may be sent twice.
    pub(crate) async fn invoke(
        &self,
        invocation: &Invocation<'_>,
        mut token: Option<AccessToken>,
        body: impl AsyncFn() -> Result<reqwest::Body, Error>,
    ) -> Result<Invoked, NoResponse> {
        let url = &invocation.url;
        self.not_stopped()?;
        // Of all attempts: one that got no response may have run the function.
        let mut sent = false;
        let result = self.retries.run(async |number| {
            let result = self.try_to_invoke(invocation, &mut token, &body).await;
            // An error from before the request says nothing new about the earlier ones.
            sent |= result.as_ref().map_or_else(|no_response| no_response.sent, |_| true);
            let retry = match &result {
                Err(NoResponse { error: Error::Transport(transport), .. }) => {
                    let harmless = invocation.idempotent || transport.unsent;
                    let wait = (harmless && transport.source.is_transient()).then(|| retry::backoff(number));
                    wait.map(|wait| (wait, transport.to_string()))
                }
                Ok(Invoked { response, .. }) => invocation.may_retry(response).then(|| {
                    let name = error::request_name(invocation.method, url);
                    let status = status_name(response.status());
                    (wait_after(response.headers(), number), format!("{name}: {status}"))
                }),
                Err(_) => None,
            };
            Attempt { result, retry: retry.filter(|_| number <= invocation.retries) }
        });
        result.await.map_err(|NoResponse { error, .. }| NoResponse { error, sent })
    }

    async fn try_to_invoke(
        &self,
        invocation: &Invocation<'_>,
        token: &mut Option<AccessToken>,
        body: &impl AsyncFn() -> Result<reqwest::Body, Error>,
    ) -> Result<Invoked, NoResponse> {
        if token.as_ref().is_some_and(|token| !token.is_good()) {
            *token = Some(self.function_token(invocation.target).await?);
        }
        let mut headers = invocation.headers.clone();
        if let Some(token) = token {
            // Instead of one that the user set.
            headers.insert(AUTHORIZATION, token.header.clone());
        }
        let request = self.http.request(invocation.method.clone(), invocation.url.clone());
        let request = request.headers(headers).body(body().await?);
        let started = Instant::now();
        match self.once(invocation.method, &invocation.url, request).await {
            Ok(response) => Ok(Invoked { response, took: started.elapsed() }),
            Err(error) => {
                let sent = !matches!(&error, Error::Transport(transport) if transport.unsent);
                Err(NoResponse { error, sent })
            }
        }
    }

    /// The next piece of a body.
    pub(crate) async fn chunk(
        &self,
        method: &Method,
        response: &mut reqwest::Response,
    ) -> Result<Option<Bytes>, Error> {
        let url = response.url().clone();
        tokio::select! {
            chunk = response.chunk() => match chunk {
                Ok(chunk) => Ok(chunk),
                Err(error) => Err(self.transport(method, &url, &error).await),
            },
            failure = self.shutdown.grace_over() => Err(Error::Stopped(failure)),
        }
    }
}
