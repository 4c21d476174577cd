//! One request: sent, its response read up to a limit, and retried after a transient failure.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::Url;

use super::error::{self, Error, Redirect, Refused, ShapeError, Transport};
use super::{CALL_ID, Gateway, RESPONSE_LIMIT};
use crate::console::log::{self, quote};
use crate::function::FunctionName;
use crate::http::cause::Cause;
use crate::http::client::{self, SafeUrl};
use crate::http::responder::{self, Responder, names_error, status_name};
use crate::http::retry::{self, Attempt, wait_after};
use crate::oidc::IamAction;

/// The 404 of Go's HTTP server for a path that it does not have.
const NO_SUCH_PATH: &[u8] = b"404 page not found";

/// How long a server may take to show whether it speaks TLS.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// After which transient failures a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// After all of them.
    Always,
    /// Not after a timeout: a gateway that accepts requests and never responds would hold up the run for hours.
    NotAfterTimeout,
    /// Only if the gateway cannot be processing it any more.
    NotIfUnderWay,
    Never,
}

/// One request to the gateway's own API.
pub(super) struct ApiCall<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
    /// True if it carries the system token; the exchange does not.
    pub(super) authenticated: bool,
    /// How much of the response is kept, in bytes.
    pub(super) limit: usize,
    /// True if a part of a response is useless.
    pub(super) whole: bool,
    /// The action that the Policy has to permit for it.
    pub(super) action: Option<IamAction>,
    pub(super) target: Option<&'a FunctionName>,
    pub(super) repeat: Repeat,
}

/// A response with as much of its body as is of use.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// An earlier try got no response.
    pub(super) response_lost: bool,
}

impl Repeat {
    /// True if a request is sent again that may still be under way, or that got no response in time.
    fn permits(self, under_way: bool, timed_out: bool) -> bool {
        match self {
            Self::Always => true,
            Self::NotAfterTimeout => !timed_out,
            Self::NotIfUnderWay => !under_way,
            Self::Never => false,
        }
    }
}

impl ApiCall<'_> {
    /// The reason of a retry, alike for all functions and namespaces, so that their retries share a line of the log.
    fn without_name(&self, said: &str) -> String {
        let (path, name) = self.url.path().rsplit_once('/').unwrap_or_default();
        let is_named = !name.is_empty() && (path.ends_with("/system/function") || path.ends_with("/system/namespace"));
        if is_named { said.replace(&format!("{path}/{name}"), &format!("{path}/NAME")) } else { said.to_owned() }
    }
}

impl Response {
    /// Who sent it, as far as it shows.
    pub(super) fn responder(&self) -> Responder {
        Responder::of(self.status, &self.headers, &self.body)
    }

    /// True if it is the provider's 404. Something else that answers, or a gateway without the path, knows of no function.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
            && self.responder() == Responder::Server
            && self.body.trim_ascii() != NO_SUCH_PATH
    }

    pub(super) fn is_transient(&self) -> bool {
        retry::is_transient(self.status, &self.headers, &self.body)
    }
}

impl Gateway {
    /// Sends a request until its response is final or the retries are used up.
    pub(super) async fn send(&self, call: &ApiCall<'_>) -> Result<Response, Error> {
        self.send_noting(call, &mut false).await
    }

    /// The same; `response_lost` is set if some try may have been carried out although no response says so.
    pub(super) async fn send_noting(&self, call: &ApiCall<'_>, response_lost: &mut bool) -> Result<Response, Error> {
        let mut renewed = false;
        let result = self.retries.run(async |number| {
            let result = match self.authorized(call, &mut renewed).await {
                Ok(result) => result,
                // The exchange has retries of its own.
                Err(error) => return Attempt { result: Err(error), retry: None },
            };
            let (wait, said) = match &result {
                Ok(response) if response.is_transient() => {
                    // A proxy may have passed the request on and lost the response. Envoy reports that as 503.
                    *response_lost |= response.status.as_u16() >= 500;
                    let under_way = matches!(response.status.as_u16(), 500 | 502 | 504 | 520..=530);
                    let timed_out = matches!(response.status.as_u16(), 504 | 524);
                    let again = call.repeat.permits(under_way, timed_out);
                    (again.then(|| wait_after(&response.headers, number)), self.refused(call, response).to_string())
                }
                Err(error @ Error::Transport(transport)) => {
                    *response_lost |= !transport.unsent;
                    let timed_out = transport.source.is_silence();
                    let again = transport.source.is_transient() && call.repeat.permits(!transport.unsent, timed_out);
                    (again.then(|| retry::backoff(number)), error.to_string())
                }
                // The signal came while the request was under way: the gateway may carry it out.
                Err(Error::Stopped(_)) => {
                    *response_lost = true;
                    (None, String::new())
                }
                _ => (None, String::new()),
            };
            let wait = wait.filter(|_| !self.is_down());
            Attempt { result: Ok(result), retry: wait.map(|wait| (wait, call.without_name(&said))) }
        });
        let result = result.await?;
        match &result {
            Ok(response) if !response.is_transient() => self.has_answered.store(true, Ordering::Relaxed),
            Err(Error::Stopped(_)) => {}
            Ok(_) | Err(_) => self.has_failed.store(true, Ordering::Relaxed),
        }
        match result {
            Ok(response) => Ok(Response { response_lost: *response_lost, ..response }),
            // Of all tries, not of the last one.
            Err(Error::Transport(transport)) => {
                Err(Error::Transport(Box::new(Transport { unsent: !*response_lost, ..*transport })))
            }
            Err(error) => Err(error),
        }
    }

    /// True if the retries of some request were used up, and none has got a usable response so far. Others would only repeat that.
    pub(crate) fn is_down(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed) && !self.has_answered.load(Ordering::Relaxed)
    }

    /// One attempt with the system token; after a 401 once more, with another. The outer error is that there is no token.
    async fn authorized(&self, call: &ApiCall<'_>, renewed: &mut bool) -> Result<Result<Response, Error>, Error> {
        loop {
            let token = if call.authenticated { Some(self.authorization().await?) } else { None };
            let result = self.attempt(call, token.as_ref().map(|token| &token.header)).await;
            let is_refused = result.as_ref().is_ok_and(|response| response.status == StatusCode::UNAUTHORIZED);
            match token {
                Some(token) if is_refused && !*renewed && self.forget(&token).await => {
                    *renewed = true;
                    tracing::info!("{}: 401, the token is exchanged again", call.name());
                }
                _ => return Ok(result),
            }
        }
    }

    async fn attempt(&self, call: &ApiCall<'_>, authorization: Option<&HeaderValue>) -> Result<Response, Error> {
        let mut request = self.http.request(call.method.clone(), call.url.clone());
        if !call.content_type.is_empty() {
            request = request.header(CONTENT_TYPE, call.content_type).body(call.body.clone());
        }
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let mut response = self.once(&call.method, &call.url, request).await?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        // A refusal is short.
        let limit = if status.is_success() { call.limit } else { call.limit.min(RESPONSE_LIMIT) };
        let next = async || match self.chunk(&call.method, &mut response).await {
            // If a refusal breaks off, its status is known anyway.
            Err(_) if !status.is_success() => Ok(None),
            piece => piece,
        };
        let (body, cut) = client::read_up_to(limit, next).await?;
        self.received.fetch_add(body.len() as u64, Ordering::Relaxed);
        if cut && status.is_success() && call.whole {
            return Err(call.shape(ShapeError::TooLong(call.limit)));
        }
        if let Some(error) = self.connection_fault(&call.method, &call.url, status, &headers, &body) {
            return Err(error);
        }
        let response = Response { status, headers, body: body.into(), response_lost: false };
        // A sign-in page with 200 would pass for a deployment that succeeded.
        let is_other = || {
            response.responder() != Responder::Server
                || call.method != Method::GET && call.authenticated && names_error(&response.body)
        };
        if status.is_success() && is_other() {
            return Err(self.refused(call, &response));
        }
        Ok(response)
    }

    /// One request, up to the head of its response.
    pub(super) async fn once(
        &self,
        method: &Method,
        url: &Url,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Error> {
        let started = Instant::now();
        let result = tokio::select! {
            result = request.send() => match result {
                Ok(response) => Ok(response),
                Err(error) => Err(self.transport(method, url, &error).await),
            },
            failure = self.shutdown.grace_over() => Err(Error::Stopped(failure)),
        };
        let took = log::duration(started.elapsed());
        match &result {
            Ok(response) => tracing::debug!(
                "{method} {}: {} in {took} ({:?})",
                SafeUrl(url),
                status_name(response.status()),
                response.version()
            ),
            Err(error) => tracing::debug!("{method} {}: {error} after {took}", SafeUrl(url)),
        }
        let response = result?;
        self.has_responded.store(true, Ordering::Relaxed);
        if response.status().is_redirection() && response.headers().contains_key(LOCATION) {
            return Err(Error::Redirect(Box::new(Redirect {
                request: error::request_name(method, url),
                url: url.clone(),
                gateway: self.settings.url.clone(),
                status: response.status(),
                location: client::location(response.headers()),
                has_call_id: response.headers().contains_key(CALL_ID),
            })));
        }
        Ok(response)
    }

    pub(super) async fn transport(&self, method: &Method, url: &Url, error: &reqwest::Error) -> Error {
        match Cause::of(error, self.settings.timeout) {
            Cause::Closed | Cause::NotHttp(_) if self.speaks_tls().await => {
                self.no_response(method, url, Cause::SpeaksTls, true)
            }
            cause => self.no_response(method, url, cause, error.is_connect()),
        }
    }

    fn no_response(&self, method: &Method, url: &Url, source: Cause, unsent: bool) -> Error {
        let (request, gateway) = (error::request_name(method, url), self.settings.url.clone());
        Error::Transport(Box::new(Transport { request, gateway, source, unsent }))
    }

    /// True if TLS is spoken at an `http://` URL. Servers say so in many ways: some send a text, some a TLS alert, some just
    /// close the connection.
    async fn speaks_tls(&self) -> bool {
        if self.settings.url.scheme() != "http" || self.has_responded.load(Ordering::Relaxed) {
            return false;
        }
        let probe = || async {
            let url = error::with_https(&self.settings.url);
            let response = tokio::select! {
                response = self.http.get(url).timeout(PROBE_TIMEOUT).send() => response,
                _ = self.shutdown.grace_over() => return false,
            };
            response.map_or_else(
                |error| matches!(Cause::of(&error, PROBE_TIMEOUT), Cause::Certificate(_) | Cause::Tls(_)),
                |_| true,
            )
        };
        *self.speaks_tls.get_or_init(probe).await
    }

    /// Fails if shutdown was requested.
    pub(super) fn not_stopped(&self) -> Result<(), Error> {
        self.shutdown.requested().map_or(Ok(()), |failure| Err(Error::Stopped(failure)))
    }

    /// The error of a response that is about the connection, such as plain HTTP to a port that requires TLS.
    pub(crate) fn connection_fault(
        &self,
        method: &Method,
        url: &Url,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Error> {
        let fault = error::connection_fault(status, headers, body)?;
        let fits = match fault {
            Cause::SpeaksTls => url.scheme() == "http",
            _ => url.scheme() == "https",
        };
        fits.then(|| self.no_response(method, url, fault, true))
    }

    pub(super) fn refused(&self, call: &ApiCall<'_>, response: &Response) -> Error {
        let responder = response.responder();
        let text = match responder {
            // Its title says the same once more.
            Responder::WebPage if response.status.is_server_error() => {
                "a web page from a proxy in front of the gateway".to_owned()
            }
            Responder::WebPage => responder::web_page(&response.body),
            // Cloudflare's pages say what its status says; a text may have a further number.
            Responder::Cloudflare if responder::is_web_page(&response.headers, &response.body) => String::new(),
            _ => quote(&String::from_utf8_lossy(&response.body)),
        };
        Error::Refused(Box::new(Refused {
            request: call.name(),
            status: response.status,
            text,
            responder,
            is_transient: response.is_transient(),
            action: call.action,
            target: call.target.cloned(),
            password: self.settings.authenticator.password_remedy(&response.headers),
            is_exchange: !call.authenticated,
            gateway: self.settings.url.clone(),
        }))
    }
}

impl ApiCall<'_> {
    /// A request to the gateway's own API, without a body.
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            content_type: "",
            body: Bytes::new(),
            authenticated: true,
            limit: RESPONSE_LIMIT,
            whole: false,
            action: None,
            target: None,
            repeat: Repeat::Always,
        }
    }

    /// Method and path.
    pub(super) fn name(&self) -> String {
        error::request_name(&self.method, &self.url)
    }

    /// The error of a response that is not what a gateway returns.
    pub(super) fn shape(&self, source: ShapeError) -> Error {
        Error::Shape { request: self.name(), source }
    }
}
