//! Explains a response other than 2xx, or a missing one: its cause, and what to change.

use std::borrow::Cow;
use std::time::Duration;

use http::header::AUTHORIZATION;
use tokio::time::timeout;

use super::{Call, CallResponse, Caller, asks_for_function_token};
use crate::console::log::{self, quote};
use crate::console::redact;
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::gateway::{Destination, Error, Internal, Redirect, Repeat, body_limit};
use crate::http::cause::Cause;
use crate::http::responder::{self, Responder, status_name};
use crate::oidc::{IamAction, missing_action};

/// Connections that close while a larger body is sent are the work of an ingress; nginx accepts this much by default.
const LARGE_BODY: u64 = 1024 * 1024;
/// More similar names are not listed.
const MOST_NAMED: usize = 3;
/// A 502 or 504 after a longer time is a timeout, as a rule.
const LONG: Duration = Duration::from_secs(1);
/// A list of the functions that takes longer is not worth the wait for a hint.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// The problem of a response other than 2xx with a body that begins with `start`, of `size` bytes if that is known. Logs the body,
/// unless the message says all that it does.
pub(crate) async fn refused(
    caller: &Caller<'_>,
    call: &Call<'_>,
    answered: &CallResponse,
    start: &[u8],
    size: Option<u64>,
) -> Diagnostic {
    let (status, headers) = (answered.response.status(), answered.response.headers());
    // The gateway sets a call id on what a function returns, a web page included.
    let responder = match answered.call_id() {
        Some(_) => Responder::Server,
        None => Responder::of(status, headers, start),
    };
    let mut status_name = status_name(status);
    if (502..=504).contains(&status.as_u16()) && answered.took >= LONG {
        status_name.push_str(&format!(" after {}", log::duration(answered.took)));
    }
    let body = String::from_utf8_lossy(start);
    let problem =
        Refusal { caller, call, answered, body, responder, status: status.as_u16(), status_name }.problem().await;
    let is_told = match responder {
        Responder::Server => false,
        Responder::WebPage => !responder::title(start).is_empty(),
        _ => true,
    };
    if !is_told {
        show(call, start, size);
    }
    problem
}

/// Logs a body under a line that says whose it is, and indented, so that nothing in it can look like a line of the pipe.
fn show(call: &Call<'_>, start: &[u8], size: Option<u64>) {
    // Masked before it is cut, so that no part of a secret is left at the end, and before it is decoded, since bytes that are not
    // text may be next to a secret.
    let (masked, shown) = redact::redact_beginning(start, size == Some(start.len() as u64));
    let text = log::visible(&masked[..masked.len().min(call.shown)]).replace("\r\n", "\n");
    let text = text.trim_end();
    if text.is_empty() {
        return;
    }
    let shown = call.shown.min(shown) as u64;
    let more = match size.map(|size| size.saturating_sub(shown)) {
        Some(0) => String::new(),
        Some(left) => format!("\n… ({left} more bytes)"),
        None => "\n…".to_owned(),
    };
    tracing::info!("the response of `{}`:\n{text}{more}", quote(&call.name));
}

/// A response other than 2xx.
struct Refusal<'a> {
    caller: &'a Caller<'a>,
    call: &'a Call<'a>,
    answered: &'a CallResponse,
    /// The beginning of the body.
    body: Cow<'a, str>,
    responder: Responder,
    status: u16,
    /// With the time that it took, if that says something.
    status_name: String,
}

impl Refusal<'_> {
    async fn problem(&self) -> Diagnostic {
        let (name, status) = (quote(&self.call.function.to_string()), &self.status_name);
        let failure = match (self.responder, self.status) {
            (Responder::Cloudflare | Responder::KubernetesApi | Responder::UnroutedIngress, _) => Failure::Unreachable,
            (_, 200..=299) => Failure::Unreachable,
            (_, 401 | 403) => Failure::Permission,
            _ => Failure::Failed,
        };
        let message = match self.responder {
            Responder::Server => {
                let call_id =
                    self.answered.call_id().map(|id| format!(", call id `{}`", quote(&id))).unwrap_or_default();
                let call = format!("{} {}{call_id}", self.caller.options.method, quote(self.call.url.path()));
                match self.hint_of_openfaas() {
                    Some(_) => format!("OpenFaaS returned {status} in place of `{name}` to {call}"),
                    None => format!("`{name}` returned {status} to {call}"),
                }
            }
            Responder::Cloudflare => format!("`{name}` was not reached: {status}"),
            Responder::KubernetesApi => format!("the Kubernetes API returned {status}, not `{name}`"),
            Responder::UnroutedIngress => format!("an ingress returned {status}, not `{name}`"),
            Responder::WebPage => {
                format!("an ingress returned {status}, not `{name}`: {}", responder::web_page(self.body.as_bytes()))
            }
        };
        let hint = match self.responder {
            Responder::Server => match self.hint_of_openfaas() {
                Some(hint) => Some(hint.to_owned()),
                None => self.hint_of_function().await,
            },
            _ => Some(self.hint_of_ingress()),
        };
        Diagnostic { hint, ..Diagnostic::new(failure, message) }
    }

    /// The remedy if the provider or the gateway responded in place of the function.
    fn hint_of_openfaas(&self) -> Option<&'static str> {
        let by_proxy = Internal::of(self.answered.response.headers()) == Some(Internal::Proxy);
        match self.status {
            503 if by_proxy => Some(
                "no replica of the function runs: check its name and namespace, that it was deployed, and that it starts",
            ),
            500 if by_proxy => Some(
                "the function's replica does not accept connections: it may have just started, or have crashed; check its \
                 log",
            ),
            500 if self.body.starts_with("error scaling") => {
                Some("the gateway could not start a replica of the function: check that it is deployed and starts")
            }
            404 if self.call.asynchronous && self.body.trim() == "404 page not found" => {
                Some("the gateway has no queue (NATS), which `ASYNC: 'true'` requires: install it, or remove `ASYNC`")
            }
            // The function is called later, when nobody waits for it.
            500 | 502..=504 if self.call.asynchronous => {
                Some("the gateway did not queue the call: check its queue (NATS), and its log")
            }
            _ => None,
        }
    }

    async fn hint_of_function(&self) -> Option<String> {
        let headers = self.answered.response.headers();
        let is_guarded = Internal::of(headers) == Some(Internal::Watchdog) || asks_for_function_token(headers);
        let is_own_token = !self.answered.with_token && self.caller.options.headers.contains_key(AUTHORIZATION);
        let hint = match self.status {
            401 | 403 if is_guarded && is_own_token => format!(
                "the function does not accept the token in `HEADERS`: remove it, and `AUTH: never` if set, and the pipe \
                 gets one for `{}`",
                self.call.function.resource()
            ),
            401 if is_guarded => self.unauthorized().to_owned(),
            403 if is_guarded || self.answered.with_token => self.forbidden(),
            401 | 403 => {
                "this is not OpenFaaS' IAM: the function, or something in front of the gateway, requires credentials of its \
                 own; send them with `HEADERS`"
                    .to_owned()
            }
            404 => self.not_found().await,
            413 if self.answered.call_id().is_none() => body_limit(&self.caller.payload.size_in_words()),
            429 if is_guarded => {
                "the function did not run: as many requests as its `max_inflight` permits are under way; raise that, or \
                 `RETRIES`"
                    .to_owned()
            }
            502 | 504 if self.answered.took >= LONG => self.slow(),
            429 | 502..=504 if !self.call.idempotent => {
                "not retried, since the function may have run; if it may run twice, set `IDEMPOTENT: 'true'`".to_owned()
            }
            _ => return None,
        };
        Some(hint)
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
    fn unauthorized(&self) -> &'static str {
        let body = self.body.to_ascii_lowercase();
        if !self.answered.with_token {
            "the function requires a function token: set `AUTH: auto`, or remove `AUTH`"
        } else if body.contains("expired") || body.contains("not valid yet") {
            "the clocks of the gateway and of the function's node differ: synchronize them"
        } else {
            "the function does not accept the token that the gateway issued for it: restart or redeploy the function if \
             the gateway got new keys since it started, and check that `OPENFAAS_URL` is the gateway that it was \
             deployed by"
        }
    }

    fn forbidden(&self) -> String {
        let function = self.call.function;
        let lacking = missing_action(IamAction::FunctionInvoke, function);
        match &function.namespace {
            Some(_) => lacking,
            None => format!(
                "the token is for `{}`: if the gateway's default namespace is another one, set `OPENFAAS_NAMESPACE`; \
                 otherwise {lacking}",
                function.resource()
            ),
        }
    }

    /// Similar names, if listing is permitted.
    async fn not_found(&self) -> String {
        let (function, gateway) = (self.call.function, self.caller.gateway);
        let distance = |listed: &Status| strsim::osa_distance(&listed.spec.service, &function.name);
        let is_near = |listed: &Status| distance(listed) <= listed.spec.service.len() / 3 + 1;
        let listed = async {
            let list = gateway.list_with(function.namespace.as_deref(), is_near, Repeat::Never);
            Some(timeout(LIST_TIMEOUT, list).await.ok()?.ok()?.0)
        };
        let listed = if self.caller.unlisted.get() { None } else { listed.await };
        self.caller.unlisted.set(listed.is_none());
        let Some(mut near) = listed else {
            let unknown = "there is no function with this name: check its name and namespace, and that it was deployed";
            // Community Edition's own words.
            let is_said = self.body.starts_with("error finding function");
            return if is_said {
                unknown.to_owned()
            } else {
                format!("either the function itself returns 404, or {unknown}")
            };
        };
        near.sort_by_key(distance);
        if near.first().is_some_and(|nearest| nearest.spec.service == function.name) {
            return "the function exists, so this is its own response: check the path".to_owned();
        }
        let similar = log::names(near.iter().map(|listed| &listed.spec.service), MOST_NAMED);
        let similar = if near.is_empty() { similar } else { format!("; similar names: {similar}") };
        let (name, namespace) = (quote(&function.name), quote(function.namespace()));
        format!("there is no function `{name}` in namespace `{namespace}`{similar}")
    }

    /// The remedy if the response is not OpenFaaS'.
    fn hint_of_ingress(&self) -> String {
        let gateway = self.caller.gateway.address();
        match (self.responder, self.status) {
            (Responder::Cloudflare, _) => {
                "check whether the gateway runs, and what Cloudflare uses as its origin or tunnel".to_owned()
            }
            (Responder::KubernetesApi, _) => format!(
                "`{gateway}` is the Kubernetes API: write the gateway's own address as `OPENFAAS_URL`, such as that of its \
                 ingress"
            ),
            (_, 200..=299 | 401 | 403) => {
                let path = if self.call.asynchronous { "/async-function/" } else { "/function/" };
                format!(
                    "it requires a sign-in of its own, or admits only some addresses: let `{path}` pass through the proxy or \
                     ingress in front of the gateway"
                )
            }
            (_, 404) => format!("check `OPENFAAS_URL` (`{gateway}`), including its base path"),
            (_, 413) => body_limit(&self.caller.payload.size_in_words()),
            (_, 429) => "it limits requests: call the function less often".to_owned(),
            (_, 502 | 504) if self.answered.took >= LONG => self.slow(),
            _ => "check that the gateway runs, and the timeouts of the ingress in front of it".to_owned(),
        }
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
    let target = target.filter(|target| target.origin() == redirect.url.origin());
    let is_login = target.is_some_and(|target| target.path().ends_with("/auth/login"));
    if !is_login && !redirect.has_call_id {
        let message = format!("an ingress returned {status}, not `{name}`: a redirect to `{location}`");
        return Diagnostic::new(Failure::Unreachable, message).with_hint(
            "a proxy in front of the gateway redirects the request, probably to its own sign-in: let `/function/` pass there",
        );
    }
    let message = format!("`{name}` returned {status}, a redirect to `{location}`");
    Diagnostic::new(Failure::Failed, message).with_hint(match is_login {
        true => "the function has a browser login of its own: call a path that requires none, such as `/healthz`",
        false => "redirects are not followed: call the path that it redirects to",
    })
}
