//! Explains a response other than 2xx, or a missing one: its cause, and what to change.

use std::time::Duration;

use http::StatusCode;
use http::header::AUTHORIZATION;

use super::caller::{Call, CallResponse, Caller, asks_for_function_token};
use crate::config::Auth;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::gateway::{Destination, Error, Internal, Redirect, body_limit};
use crate::http::cause::Cause;
use crate::http::responder::{Responder, status_name};
use crate::http::retry;
use crate::oidc::{IamAction, missing_action};

/// Connections that close while a larger body is sent are the work of an ingress; nginx accepts this much by default.
const LARGE_BODY: u64 = 1024 * 1024;
/// A 502 or 504 after a longer time is a timeout, as a rule.
const LONG: Duration = Duration::from_secs(1);

/// A response other than 2xx.
pub(crate) struct RefusedCall<'a> {
    pub(crate) caller: &'a Caller<'a>,
    pub(crate) call: &'a Call<'a>,
    pub(crate) answered: &'a CallResponse,
    /// The beginning of the body.
    pub(crate) start: &'a str,
}

impl RefusedCall<'_> {
    pub(crate) async fn problem(&self) -> Diagnostic {
        let name = quote(&self.call.function.to_string());
        let status = self.status();
        let status_name = status_name(status);
        let after = match status.as_u16() {
            502..=504 if self.answered.took >= LONG => format!(" after {}", log::duration(self.answered.took)),
            _ => String::new(),
        };
        let (who, page) = match self.responder() {
            Responder::Server => return self.problem_of_function(&name, &status_name, &after).await,
            Responder::WebPage => ("an ingress", format!(": {}", retry::web_page(self.start.as_bytes()))),
            Responder::UnroutedIngress => ("an ingress", String::new()),
            Responder::KubernetesApi => ("the Kubernetes API", String::new()),
            Responder::Cloudflare => {
                let message = format!("`{name}` was not reached: {status_name}");
                return Diagnostic::new(self.failure(), message).with_hint(self.instead());
            }
        };
        let message = format!("{who} returned {status_name}{after}, not `{name}`{page}");
        Diagnostic::new(self.failure(), message).with_hint(self.instead())
    }

    async fn problem_of_function(&self, name: &str, status_name: &str, after: &str) -> Diagnostic {
        let call_id = self.answered.call_id().map(|id| format!(", call id `{}`", quote(&id))).unwrap_or_default();
        let (method, path) = (&self.caller.options.method, quote(self.call.url.path()));
        let (answered, hint) = match self.hint_of_openfaas() {
            Some(hint) => (format!("OpenFaaS returned {status_name}{after} in place of `{name}`"), Some(hint)),
            None => (format!("`{name}` returned {status_name}{after}"), self.hint().await),
        };
        let message = format!("{answered} to {method} {path}{call_id}");
        Diagnostic { hint, ..Diagnostic::new(self.failure(), message) }
    }

    /// The remedy if the provider or the gateway responded in place of the function.
    fn hint_of_openfaas(&self) -> Option<String> {
        let by_proxy = Internal::of(self.answered.response.headers()) == Some(Internal::Proxy);
        match self.status().as_u16() {
            503 if by_proxy => Some(
                "no replica of the function runs: check its name and namespace, that it was deployed, and that it starts"
                    .to_owned(),
            ),
            500 if by_proxy => Some(
                "the function's replica does not accept connections: it may have just started, or have crashed; check its \
                 log"
                    .to_owned(),
            ),
            500 if self.start.starts_with("error scaling") => {
                Some("the gateway could not start a replica of the function: check that it is deployed and starts".to_owned())
            }
            404 if self.call.asynchronous && self.start.trim() == "404 page not found" => Some(
                "the gateway has no queue (NATS), which `ASYNC: 'true'` requires: install it, or remove `ASYNC`".to_owned(),
            ),
            _ => None,
        }
    }

    async fn hint(&self) -> Option<String> {
        let is_guarded = self.is_from_watchdog();
        match self.status().as_u16() {
            401 if is_guarded => Some(self.unauthorized()),
            403 if is_guarded || self.answered.with_token => Some(self.forbidden()),
            401 | 403 => Some(
                "this is not OpenFaaS' IAM: the function, or something in front of the gateway, requires credentials of its \
                 own; send them with `HEADERS`"
                    .to_owned(),
            ),
            404 => Some(self.not_found().await),
            413 if self.answered.call_id().is_none() => Some(body_limit(&self.caller.payload.size_in_words())),
            429 if is_guarded => Some(
                "the function did not run: as many requests as its `max_inflight` permits are under way; raise that, or \
                 `RETRIES`"
                    .to_owned(),
            ),
            502 | 504 if self.answered.took >= LONG => Some(self.slow()),
            429 | 502..=504 if !self.call.idempotent => Some(
                "not retried, since the function may have run; if it may run twice, set `IDEMPOTENT: 'true'`".to_owned(),
            ),
            _ => None,
        }
    }

    fn status(&self) -> StatusCode {
        self.answered.response.status()
    }

    fn failure(&self) -> Failure {
        match (self.status().as_u16(), self.responder()) {
            (_, Responder::Cloudflare | Responder::KubernetesApi | Responder::UnroutedIngress) => Failure::Unreachable,
            (401 | 403, _) => Failure::Permission,
            _ => Failure::Failed,
        }
    }

    /// Who sent the response. The gateway sets a call id on what a function returns, a web page included.
    fn responder(&self) -> Responder {
        match self.answered.call_id() {
            Some(_) => Responder::Server,
            None => Responder::of(self.status(), self.answered.response.headers(), self.start.as_bytes()),
        }
    }

    /// True if the message says all that the body does.
    pub(crate) fn is_body_told(&self) -> bool {
        match self.responder() {
            Responder::Server => false,
            Responder::WebPage => !retry::title(self.start.as_bytes()).is_empty(),
            _ => true,
        }
    }

    /// OpenFaaS' watchdogs set a header.
    fn is_from_watchdog(&self) -> bool {
        let headers = self.answered.response.headers();
        Internal::of(headers) == Some(Internal::Watchdog) || asks_for_function_token(headers)
    }

    /// True if the token that was refused is one that the user set in `HEADERS`.
    fn is_own_token(&self) -> bool {
        !self.answered.with_token && self.caller.options.headers.contains_key(AUTHORIZATION)
    }

    /// The remedy if the response is not OpenFaaS'.
    fn instead(&self) -> String {
        let gateway = self.caller.gateway.address();
        match (self.responder(), self.status().as_u16()) {
            (Responder::Cloudflare, _) => {
                "check whether the gateway runs, and what Cloudflare uses as its origin or tunnel".to_owned()
            }
            (Responder::KubernetesApi, _) => format!(
                "`{gateway}` is the Kubernetes API: write the gateway's own address as `OPENFAAS_URL`, such as that of its \
                 ingress"
            ),
            (_, 401 | 403) => {
                "it requires a sign-in of its own, or admits only some addresses: let `/function/` pass through the proxy or \
                 ingress in front of the gateway"
                    .to_owned()
            }
            (_, 404) => format!("check `OPENFAAS_URL` (`{gateway}`), including its base path"),
            (_, 413) => body_limit(&self.caller.payload.size_in_words()),
            (_, 429) => "it limits requests: call the function less often".to_owned(),
            (_, 502 | 504) if self.answered.took >= LONG => self.slow(),
            _ => "check that the gateway runs, and the timeouts of the ingress in front of it".to_owned(),
        }
    }

    fn slow(&self) -> String {
        format!(
            "if it always takes about {}, that is a timeout: raise `exec_timeout` of the function, `upstream_timeout` of the \
             gateway and the timeout of an ingress{}",
            log::duration(self.answered.took),
            self.call.or_queue()
        )
    }

    /// Why OpenFaaS' watchdog does not accept a token. The newest version does not say.
    fn unauthorized(&self) -> String {
        let says = |words: &str| self.start.to_ascii_lowercase().contains(words);
        let hint = if self.is_own_token() {
            return format!("the function does not accept the token in `HEADERS`: {}", self.without_own_token());
        } else if !self.answered.with_token {
            "the function requires a function token: set `AUTH: auto`, or remove `AUTH`"
        } else if says("invalid kid") {
            "the function was started before the gateway got new keys, and does not know the key of this token: restart \
             or redeploy the function"
        } else if says("invalid issuer") || says("invalid audience") {
            "the function trusts another gateway URL: it reads the issuer from the gateway that it was deployed by; \
             check that `OPENFAAS_URL` is that gateway"
        } else if says("expired") || says("not valid yet") {
            "the clocks of the gateway and of the function's node differ: synchronize them"
        } else {
            "the function does not accept the token that the gateway issued for it: restart or redeploy the function if \
             the gateway got new keys since it started, and check that `OPENFAAS_URL` is the gateway that it was \
             deployed by"
        };
        hint.to_owned()
    }

    fn forbidden(&self) -> String {
        let function = self.call.function;
        let resource = function.resource();
        if self.is_own_token() {
            let remedy = self.without_own_token();
            return format!("the token in `HEADERS` is for another function, not for `{resource}`: {remedy}");
        }
        let lacking = missing_action(IamAction::FunctionInvoke, function);
        match &function.namespace {
            Some(_) => lacking,
            None => format!(
                "the token is for `{resource}`: if the gateway's default namespace is another one, set \
                 `OPENFAAS_NAMESPACE`; otherwise {lacking}"
            ),
        }
    }

    fn without_own_token(&self) -> &'static str {
        match self.caller.options.auth {
            Auth::Never => {
                "remove `Authorization` there and `AUTH: never`, and the pipe gets a token for this function"
            }
            _ => "remove `Authorization` there, and the pipe gets a token for this function",
        }
    }

    /// Similar names, if listing is permitted.
    async fn not_found(&self) -> String {
        let wanted = &self.call.function.name;
        let distance = |function: &Status| strsim::osa_distance(&function.name, wanted);
        let is_near = |function: &Status| distance(function) <= function.name.len() / 3 + 1;
        let Ok(functions) = self.caller.gateway.list(self.call.function.namespace.as_deref(), is_near).await else {
            // Community Edition's own words.
            return if self.start.starts_with("error finding function") {
                "there is no function with this name: check its name and namespace, and that it was deployed".to_owned()
            } else {
                "either the function itself returns 404, or there is no function with this name: check its name and \
                 namespace, and that it was deployed"
                    .to_owned()
            };
        };
        if functions.iter().any(|function| function.name == *wanted) {
            return "the function exists, so this is its own response: check the path".to_owned();
        }
        let mut near: Vec<_> = functions.iter().map(|function| (distance(function), &function.name)).collect();
        near.sort_unstable();
        let namespace = quote(self.call.function.namespace());
        let names: Vec<_> = near.iter().take(3).map(|(_, name)| format!("`{}`", quote(name))).collect();
        let similar = if names.is_empty() { String::new() } else { format!("; similar names: {}", names.join(", ")) };
        format!("there is no function `{}` in namespace `{namespace}`{similar}", quote(wanted))
    }
}

/// The problem of a call without a response that can be passed on.
pub(crate) fn no_response(caller: &Caller<'_>, call: &Call<'_>, error: &Error) -> Diagnostic {
    match error {
        Error::Redirect(redirect) if !matches!(redirect.destination(), Destination::Https(_)) => {
            redirected(call.function, redirect)
        }
        Error::Transport(transport) => {
            let problem = error.diagnostic();
            match &transport.source {
                Cause::TimedOut(limit) if call.asynchronous => {
                    let limit = log::duration(*limit);
                    problem.with_hint(format!("the gateway did not queue the call within {limit}: raise `TIMEOUT`"))
                }
                Cause::TimedOut(limit) => problem.with_hint(format!(
                    "the function did not respond within {}, and may still run: raise `TIMEOUT`{}",
                    log::duration(*limit),
                    call.or_queue()
                )),
                Cause::Closed if caller.payload.size() >= LARGE_BODY => {
                    let limit = body_limit(&caller.payload.size_in_words());
                    problem.with_hint(format!("if this happens every time, {limit}"))
                }
                _ => problem,
            }
        }
        _ => error.diagnostic(),
    }
}

/// A function's own redirect says nothing about the gateway's address; one without a call id is not the function's.
fn redirected(function: &FunctionName, redirect: &Redirect) -> Diagnostic {
    let name = quote(&function.to_string());
    let (status, location) = (status_name(redirect.status), quote(&redirect.location));
    let target = redirect.url.join(&redirect.location).ok();
    let is_here = target.as_ref().is_some_and(|target| target.origin() == redirect.url.origin());
    let is_login = is_here && target.is_some_and(|target| target.path().ends_with("/auth/login"));
    if is_login {
        return Diagnostic::new(Failure::Failed, format!("`{name}` returned {status}, a redirect to `{location}`"))
            .with_hint(
                "the function has a browser login of its own: call a path that requires none, such as `/healthz`",
            );
    }
    if redirect.has_call_id {
        return Diagnostic::new(Failure::Failed, format!("`{name}` returned {status}, a redirect to `{location}`"))
            .with_hint("redirects are not followed: call the path that it redirects to");
    }
    Diagnostic::new(Failure::Unreachable, format!("an ingress returned {status}, not `{name}`: a redirect to `{location}`"))
        .with_hint(
            "a proxy in front of the gateway redirects the request, probably to its own sign-in: let `/function/` pass there",
        )
}
