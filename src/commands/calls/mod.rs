//! Calls of functions, for `COMMAND: invoke` and for `VERIFY`: the request, and a function token if the function asks for one.

mod payload;
mod refusal;

use std::cell::Cell;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use url::Url;

use crate::commands::prepare::Preparation;
use crate::config::{Auth, CallOptions};
use crate::console::log::quote;
use crate::diagnostic::{Explain as _, Failure};
use crate::function::FunctionName;
use crate::gateway::{self, AccessToken, CALL_ID, Error, Gateway, Invoked, NoResponse};
use crate::http::responder::{bearer_challenges, is_web_page};
pub(crate) use payload::Payload;
pub(crate) use refusal::{no_response, refused};

const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");

/// The realm by which a function's watchdog asks for a function token.
const FUNCTION_REALM: &str = "IAM function invoke";

pub(crate) struct Caller<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) options: &'a CallOptions,
    pub(crate) payload: &'a Payload,
    /// True if the functions could not be listed for a hint: once is enough.
    pub(crate) unlisted: Cell<bool>,
}

pub(crate) struct Call<'a> {
    pub(crate) function: &'a FunctionName,
    /// As the log names it.
    pub(crate) name: String,
    /// With path and query.
    pub(crate) url: Url,
    /// True if the gateway queues it.
    pub(crate) asynchronous: bool,
    /// True if `ASYNC` could be set instead; a call of `VERIFY` needs the response.
    pub(crate) may_be_queued: bool,
    pub(crate) idempotent: bool,
    pub(crate) retries: u32,
    /// How much of a refused response the log shows, in bytes.
    pub(crate) shown: usize,
}

pub(crate) struct CallResponse {
    pub(crate) response: reqwest::Response,
    /// How long the last attempt took.
    pub(crate) took: Duration,
    /// True if a function token went with the call.
    pub(crate) with_token: bool,
}

impl Call<'_> {
    /// The other remedy for a function that takes long.
    pub(super) fn or_queue(&self) -> &'static str {
        if self.may_be_queued { ", or call it with `ASYNC: 'true'`" } else { "" }
    }
}

impl CallResponse {
    /// True if a proxy's sign-in page may have been taken for the function's response.
    pub(crate) fn is_doubtful(&self, body: &[u8]) -> bool {
        let is_success = self.response.status().is_success();
        is_success && self.call_id().is_none() && is_web_page(self.response.headers(), body)
    }

    pub(crate) fn call_id(&self) -> Option<String> {
        text(self.response.headers(), &CALL_ID)
    }

    pub(crate) fn function_seconds(&self) -> Option<f64> {
        text(self.response.headers(), &DURATION).and_then(|seconds| seconds.parse().ok())
    }
}

impl Caller<'_> {
    /// The response, with a function token if the function wants one.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<CallResponse, NoResponse> {
        if self.options.auth == Auth::Auto && call.asynchronous {
            return self.once(call, self.token_of_queued_call(call.function).await?).await;
        }
        if self.options.auth != Auth::Always {
            let answered = self.once(call, None).await?;
            let response = &answered.response;
            let wanted = response.status().as_u16() == 401 && asks_for_function_token(response.headers());
            if self.options.auth == Auth::Never || !wanted {
                return Ok(answered);
            }
            tracing::info!("`{}` requires a function token", quote(&call.function.to_string()));
            // Its connection is free for the next request.
            drop(answered);
        }
        let token = self.gateway.function_token(call.function).await?;
        self.once(call, Some(token)).await
    }

    /// The queue accepts every call, and the 401 of a guarded function would be lost: the token is sent with the call.
    async fn token_of_queued_call(&self, function: &FunctionName) -> Result<Option<AccessToken>, Error> {
        if !self.gateway.has_id_token() || self.options.headers.contains_key(AUTHORIZATION) {
            return Ok(None);
        }
        match self.gateway.function_token(function).await {
            Ok(token) => Ok(Some(token)),
            Err(error) if error.failure() == Failure::Permission => {
                tracing::warn!(
                    "the call carries no function token, and is lost if the function requires one: {}",
                    error
                );
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn once(&self, call: &Call<'_>, token: Option<AccessToken>) -> Result<CallResponse, NoResponse> {
        let with_token = token.is_some();
        let mut headers = self.options.headers.clone();
        // The user's own have priority: they may name another content type.
        if let Some(content_type) = &self.options.content_type {
            headers.entry(CONTENT_TYPE).or_insert_with(|| content_type.clone());
        }
        if let Some((name, key)) = &self.options.sign {
            headers.entry(name).or_insert(self.payload.signature(key)?);
        }
        self.payload.describe(&mut headers);
        let invocation = gateway::Invocation {
            method: &self.options.method,
            target: call.function,
            url: call.url.clone(),
            headers: &headers,
            idempotent: call.idempotent,
            retries: call.retries,
        };
        let Invoked { response, took } = self.gateway.invoke(&invocation, token, || self.payload.body()).await?;
        Ok(CallResponse { response, took, with_token })
    }
}

/// Real watchdogs do not quote the realm, others may.
fn asks_for_function_token(headers: &HeaderMap) -> bool {
    bearer_challenges(headers).any(|challenges| challenges.contains(&FUNCTION_REALM.to_ascii_lowercase()))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Opens the body of the calls.
pub(crate) fn open_payload(preparation: &mut Preparation<'_>, options: &CallOptions) -> Option<Payload> {
    let payload = Payload::open(&options.payload, preparation.config.places.clone_dir.as_deref());
    payload.map_err(|error| preparation.problem("PAYLOAD_FILE", error)).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    #[test]
    fn realm_of_functions_is_found_among_several_challenges() {
        for (header, expected) in [
            ("Bearer realm=IAM function invoke", true),
            ("bearer realm=\"IAM function invoke\"", true),
            ("Basic realm=\"x\", Bearer realm=\"IAM function invoke\"", true),
            ("Negotiate,Bearer scope=\"a\", realm=\"IAM function invoke\"", true),
            ("Basic realm=\"IAM function invoke\"", false),
            ("Basic realm=\"IAM function invoke\", Bearer realm=\"x\"", false),
        ] {
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static(header))]);
            assert_eq!(asks_for_function_token(&headers), expected, "{header}");
        }
    }
}
