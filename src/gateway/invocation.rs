//! Invocations: sent again only where that does no harm, their answers handed on as they come.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method};
use url::Url;

use super::{Error, FunctionToken, Gateway, error};
use crate::function::FunctionName;
use crate::http::retry::{self, pause, response_may_pass, wait_of};

/// One invocation, as it is sent.
pub(crate) struct Invocation<'a> {
    /// The method.
    pub method: &'a Method,
    /// The function.
    pub target: &'a FunctionName,
    /// Where, with path and query.
    pub url: Url,
    /// All headers but the token's.
    pub headers: &'a HeaderMap,
    /// Whether sending it twice does no harm.
    pub idempotent: bool,
    /// How many times to retry after a transient failure.
    pub retries: u32,
}

/// Why an invocation has no answer to hand on.
pub(crate) struct Unanswered {
    /// What went wrong.
    pub error: Error,
    /// Whether the function may have received it.
    pub sent: bool,
}

/// What goes wrong before anything is sent.
impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self { error, sent: false }
    }
}

impl Gateway {
    /// Invokes a function, with this token or, once that is about to run out, another. The body is made anew for each try;
    /// a try beyond the first is made only where nobody received the one before, or where sending it twice does no harm.
    pub(crate) async fn invoke<B, F>(
        &self,
        invocation: &Invocation<'_>,
        mut token: Option<FunctionToken>,
        body: B,
    ) -> Result<reqwest::Response, Unanswered>
    where
        B: Fn() -> F,
        F: Future<Output = Result<reqwest::Body, Error>>,
    {
        let url = &invocation.url;
        self.not_stopped()?;
        let mut number = 0;
        let mut sent = false;
        loop {
            if token.as_ref().is_some_and(|token| !token.is_good()) {
                token = Some(self.function_token(invocation.target).await.map_err(|error| Unanswered { error, sent })?);
            }
            let mut headers = invocation.headers.clone();
            if let Some(token) = &token {
                // In place of one that the user set.
                headers.insert(AUTHORIZATION, token.header().clone());
            }
            let request = self
                .http
                .request(invocation.method.clone(), url.clone())
                .timeout(self.timeout)
                .headers(headers)
                .body(body().await.map_err(|error| Unanswered { error, sent })?);
            let result = self.once(invocation.method, url, request).await;
            sent |= !matches!(&result, Err(Error::Transport(transport)) if transport.unsent);
            let again = match &result {
                Err(Error::Transport(transport)) => {
                    let harmless = invocation.idempotent || transport.unsent;
                    let wait = (harmless && transport.cause.may_pass()).then(|| retry::backoff(number + 1));
                    wait.map(|wait| (wait, transport.to_string()))
                }
                Ok(response) => (invocation.idempotent && response_may_pass(response)).then(|| {
                    let name = error::request_name(invocation.method, url);
                    (wait_of(response.headers(), number + 1), format!("{name}: {}", response.status()))
                }),
                Err(_) => None,
            };
            match again {
                Some((wait, said)) if pause(&self.stop, &said, wait, number + 1, invocation.retries).await => {
                    number += 1
                }
                _ => return result.map_err(|error| Unanswered { error, sent }),
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
            chunk = response.chunk() => chunk.map_err(|error| self.transport(method, &url, &error)),
            failure = self.stop.grace_over() => Err(Error::Stopped(failure)),
        }
    }
}

/// Whether a user may set this header on an invocation; the others are the connection's own.
pub(crate) fn may_be_set(name: &HeaderName) -> bool {
    ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING, PROXY_AUTHORIZATION].contains(name)
}
