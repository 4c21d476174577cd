//! One request: sent, its answer read up to a limit, and retried after a transient failure.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::Url;

use super::array_filter::{ArrayError, ArrayFilter, Wanted};
use super::error::{self, Error, Refused, ShapeError, Transport};
use super::{Gateway, LIST_LIMIT};
use crate::console::log::{self, quote};
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::http::cause::Cause;
use crate::http::retry::{self, wait_after};
use crate::oidc::IamAction;

/// How long a server may take to show whether it speaks TLS.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// One request to the gateway's own API.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
    /// Whether it carries the system token; the exchange does not.
    pub(super) authenticated: bool,
    /// How much of the answer is kept, in bytes.
    pub(super) limit: usize,
    /// If the answer is a list of functions: which of them are kept.
    pub(super) wanted: Option<Wanted<'a>>,
    /// Whether a part of an answer is useless.
    pub(super) whole: bool,
    /// What the Policy has to permit for it.
    pub(super) action: Option<IamAction>,
    pub(super) target: Option<&'a FunctionName>,
}

/// An answer with as much of its body as is of use.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The wanted functions of a list, which has no `body`.
    pub(super) functions: Vec<Status>,
    /// An earlier try got no answer.
    pub(super) answer_lost: bool,
}

impl Gateway {
    /// Sends a request until its answer is final or the retries are used up.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answer, Error> {
        self.send_noting(call, &mut false).await
    }

    /// The same; `answer_lost` is set if some try may have been carried out although no answer says so.
    pub(super) async fn send_noting(&self, call: &Call<'_>, answer_lost: &mut bool) -> Result<Answer, Error> {
        let mut number = 0;
        let mut renewed = false;
        loop {
            let token = if call.authenticated { Some(self.authorization().await?) } else { None };
            let result = self.attempt(call, token.as_ref().map(|token| &token.header)).await;
            let wait = match &result {
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && !renewed => {
                    if let Some(token) = &token
                        && self.forget(token).await
                    {
                        renewed = true;
                        tracing::info!("{}: 401, the token is exchanged again", call.name());
                        continue;
                    }
                    None
                }
                Ok(answer) if retry::is_transient(answer.status, &answer.headers, &answer.body) => {
                    // What stands between may have passed the request on and lost the answer.
                    *answer_lost |= matches!(answer.status.as_u16(), 500 | 502 | 504);
                    Some(wait_after(&answer.headers, number + 1))
                }
                Ok(_) => None,
                Err(Error::Transport(transport)) => {
                    *answer_lost |= !transport.unsent;
                    transport.source.is_transient().then(|| retry::backoff(number + 1))
                }
                Err(Error::Stopped(_)) => {
                    *answer_lost = true;
                    None
                }
                Err(_) => None,
            };
            if let Some(wait) = wait {
                let said = match &result {
                    Ok(answer) => self.refused(call, answer).problem().message,
                    Err(error) => error.problem().message,
                };
                if self.retries.wait(&said, wait, number + 1).await {
                    number += 1;
                    continue;
                }
            }
            return match result {
                Ok(answer) => Ok(Answer { answer_lost: *answer_lost, ..answer }),
                // Of all tries, not of the last one.
                Err(Error::Transport(transport)) => {
                    Err(Error::Transport(Box::new(Transport { unsent: !*answer_lost, ..*transport })))
                }
                Err(error) => Err(error),
            };
        }
    }

    async fn attempt(&self, call: &Call<'_>, authorization: Option<&HeaderValue>) -> Result<Answer, Error> {
        let mut request = self.http.request(call.method.clone(), call.url.clone());
        if !call.content_type.is_empty() {
            request = request.header(CONTENT_TYPE, call.content_type).body(call.body.clone());
        }
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let mut response = self.once(&call.method, &call.url, request).await?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        if let Some(wanted) = call.wanted.filter(|_| status.is_success()) {
            let functions = self.read_list(call, &headers, &mut response, wanted).await?;
            return Ok(Answer { status, headers, body: Bytes::new(), functions, answer_lost: false });
        }
        let (body, cut) = self.read(call, &mut response).await?;
        if cut && status.is_success() && call.whole {
            return Err(call.shape(ShapeError::TooLong(call.limit)));
        }
        match self.wants_tls(&call.method, &call.url, status, &body) {
            Some(error) => Err(error),
            None => Ok(Answer { status, headers, body, functions: Vec::new(), answer_lost: false }),
        }
    }

    /// One request, up to the head of its answer.
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
                quote(url.as_str()),
                response.status(),
                response.version()
            ),
            Err(error) => tracing::debug!("{method} {}: {} after {took}", quote(url.as_str()), error.problem().message),
        }
        let response = result?;
        self.has_answered.store(true, Ordering::Relaxed);
        if response.status().is_redirection() {
            let location =
                response.headers().get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            return Err(Error::Redirect {
                request: error::request_name(method, url),
                gateway: Box::new(self.url.clone()),
                status: response.status(),
                location: location.unwrap_or_default(),
            });
        }
        Ok(response)
    }

    /// The beginning of the body, and whether there was more than the limit allows.
    async fn read(&self, call: &Call<'_>, response: &mut reqwest::Response) -> Result<(Bytes, bool), Error> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&call.method, response).await? {
            let room = call.limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                return Ok((body.into(), true));
            }
        }
        Ok((body.into(), false))
    }

    /// The wanted functions of a list.
    async fn read_list(
        &self,
        call: &Call<'_>,
        headers: &HeaderMap,
        response: &mut reqwest::Response,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Status>, Error> {
        let mut filter = ArrayFilter::new(wanted);
        let mut size = 0;
        let mut is_web_page = false;
        let shape = |error: ArrayError, is_web_page| match error {
            ArrayError::NotJson(_) if is_web_page => call.shape(ShapeError::WebPage),
            error => call.shape(ShapeError::Array(error)),
        };
        while let Some(chunk) = self.chunk(&call.method, response).await? {
            is_web_page |= size == 0 && retry::is_web_page(headers, &chunk);
            size += chunk.len();
            let read = if size > LIST_LIMIT { Err(ArrayError::TooLong) } else { filter.push(&chunk) };
            read.map_err(|error| shape(error, is_web_page))?;
        }
        filter.finish().map_err(|error| shape(error, is_web_page))
    }

    pub(super) async fn transport(&self, method: &Method, url: &Url, error: &reqwest::Error) -> Error {
        let mut transport = Transport {
            request: error::request_name(method, url),
            gateway: self.url.clone(),
            source: Cause::of(error, self.timeout),
            unsent: error.is_connect(),
        };
        if matches!(transport.source, Cause::Closed | Cause::NotHttp(_)) && self.speaks_tls().await {
            transport.source = Cause::SpeaksTls;
            transport.unsent = true;
        }
        Error::Transport(Box::new(transport))
    }

    /// Whether TLS is spoken at an `http://` URL. Servers say so in many ways: some send a text, some a TLS alert, some just
    /// close the connection.
    async fn speaks_tls(&self) -> bool {
        if self.url.scheme() != "http" || self.has_answered.load(Ordering::Relaxed) {
            return false;
        }
        let probe = || async {
            let url = error::with_https(&self.url);
            let answer = tokio::select! {
                answer = self.http.get(url).timeout(PROBE_TIMEOUT).send() => answer,
                _ = self.shutdown.grace_over() => return false,
            };
            answer.map_or_else(
                |error| matches!(Cause::of(&error, PROBE_TIMEOUT), Cause::Certificate(_) | Cause::Tls(_)),
                |_| true,
            )
        };
        *self.speaks_tls.get_or_init(probe).await
    }

    /// To be checked before something new is begun.
    pub(super) fn not_stopped(&self) -> Result<(), Error> {
        self.shutdown.requested().map_or(Ok(()), |failure| Err(Error::Stopped(failure)))
    }

    /// The error of an answer that says that plain HTTP was sent to a port that speaks TLS.
    pub(crate) fn wants_tls(&self, method: &Method, url: &Url, status: StatusCode, body: &[u8]) -> Option<Error> {
        let transport = Transport {
            request: error::request_name(method, url),
            gateway: self.url.clone(),
            source: Cause::SpeaksTls,
            unsent: true,
        };
        (url.scheme() == "http" && error::wants_tls(status, body)).then(|| Error::Transport(Box::new(transport)))
    }

    pub(super) fn refused(&self, call: &Call<'_>, answer: &Answer) -> Error {
        let is_web_page = retry::is_web_page(&answer.headers, &answer.body);
        let text =
            if is_web_page { retry::title(&answer.body) } else { String::from_utf8_lossy(&answer.body).into_owned() };
        Error::Refused(Box::new(Refused {
            request: call.name(),
            status: answer.status,
            text: quote(&text),
            is_web_page,
            action: call.action,
            target: call.target.cloned(),
            password: self.authenticator.is_password(),
            is_exchange: !call.authenticated,
            gateway: self.url.clone(),
        }))
    }
}

impl Call<'_> {
    /// Method and path.
    pub(super) fn name(&self) -> String {
        error::request_name(&self.method, &self.url)
    }

    /// The error of an answer that is not what a gateway returns.
    pub(super) fn shape(&self, source: ShapeError) -> Error {
        Error::Shape { request: self.name(), is_exchange: !self.authenticated, source }
    }
}
