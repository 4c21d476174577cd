//! Explains an answer other than 2xx: its cause, and what to change.

use http::header::AUTHORIZATION;
use url::Url;

use super::caller::{Answered, Call, Caller, asks_for_function_token};
use crate::config::Auth;
use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::gateway::Error;
use crate::http::retry;
use crate::oidc::{IamAction, missing_action};

/// An answer other than 2xx.
pub(crate) struct RefusedCall<'a> {
    pub(crate) caller: &'a Caller<'a>,
    pub(crate) call: &'a Call<'a>,
    pub(crate) answered: &'a Answered,
    /// The beginning of the body.
    pub(crate) start: &'a str,
}

impl RefusedCall<'_> {
    pub(crate) async fn problem(&self) -> Diagnostic {
        let status = self.answered.response.status();
        let name = quote(&self.call.function.to_string());
        if self.is_from_ingress() {
            let title = quote(&retry::title(self.start.as_bytes()));
            let title = if title.is_empty() { String::new() } else { format!(" (`{title}`)") };
            let message = format!("an ingress answered {status}, not `{name}`: a web page{title}");
            return Diagnostic::new(self.failure(), message).with_hint(self.ingress());
        }
        let call_id = self.answered.call_id().map(|id| format!(", call id `{}`", quote(&id))).unwrap_or_default();
        let (method, path) = (&self.caller.options.method, quote(self.call.url.path()));
        let message = format!("`{name}` answered {status} to {method} {path}{call_id}");
        let is_guarded = self.is_from_watchdog();
        let hint = match status.as_u16() {
            401 if is_guarded => Some(self.unauthorized()),
            403 if is_guarded || self.answered.with_token => Some(self.forbidden()),
            401 | 403 => Some(
                "this is not OpenFaaS' IAM: the function, or something before the gateway, requires credentials of its \
                 own; send them with `HEADERS`"
                    .to_owned(),
            ),
            404 => Some(self.not_found().await),
            429 | 502..=504 if !self.call.idempotent => Some(
                "not retried, since the function may have run; if it may run twice, set `IDEMPOTENT: 'true'`".to_owned(),
            ),
            _ => None,
        };
        Diagnostic { hint, ..Diagnostic::new(self.failure(), message) }
    }

    fn failure(&self) -> Failure {
        match self.answered.response.status().as_u16() {
            401 | 403 => Failure::Permission,
            _ => Failure::Failed,
        }
    }

    /// A web page without the gateway's call id. A page that a function returns has one.
    fn is_from_ingress(&self) -> bool {
        let headers = self.answered.response.headers();
        self.answered.call_id().is_none() && retry::is_web_page(headers, self.start.as_bytes())
    }

    /// OpenFaaS' watchdogs set a header.
    fn is_from_watchdog(&self) -> bool {
        let headers = self.answered.response.headers();
        headers.contains_key("x-openfaas-internal") || asks_for_function_token(headers)
    }

    /// Whether the token that was refused is one that the user set in `HEADERS`.
    fn is_own_token(&self) -> bool {
        !self.answered.with_token && self.caller.options.headers.contains_key(AUTHORIZATION)
    }

    fn ingress(&self) -> String {
        match self.answered.response.status().as_u16() {
            401 | 403 => {
                "it requires a sign-in of its own, or admits only some addresses: let `/function/` pass through \
                          the proxy or ingress before the gateway"
                    .to_owned()
            }
            404 => format!("check `OPENFAAS_URL` (`{}`), including its base path", self.caller.gateway.address()),
            _ => "check that the gateway runs, and the timeouts of the ingress before it".to_owned(),
        }
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
            return "either the function itself answers 404, or there is no function with this name: check its name and \
                    namespace, and that it was deployed"
                .to_owned();
        };
        if functions.iter().any(|function| function.name == *wanted) {
            return "the function exists, so this is its own answer: check the path".to_owned();
        }
        let mut near: Vec<_> = functions.iter().map(|function| (distance(function), &function.name)).collect();
        near.sort_unstable();
        let namespace = quote(self.call.function.namespace());
        let names: Vec<_> = near.iter().take(3).map(|(_, name)| format!("`{}`", quote(name))).collect();
        let similar = if names.is_empty() { String::new() } else { format!("; similar names: {}", names.join(", ")) };
        format!("there is no function `{}` in namespace `{namespace}`{similar}", quote(wanted))
    }
}

/// The problem of a call without an answer. A function's own redirect says nothing about the gateway's address.
pub(crate) fn unanswered(function: &FunctionName, url: &Url, error: &Error) -> Diagnostic {
    match error {
        Error::Redirect { status, location, .. } if !is_upgrade(url, location) => {
            let (name, location) = (quote(&function.to_string()), quote(location));
            Diagnostic::new(Failure::Failed, format!("`{name}` answered {status}, a redirect to `{location}`"))
                .with_hint("redirects are not followed: call the path that it redirects to")
        }
        _ => error.problem(),
    }
}

/// Whether a redirect leads to the same address with HTTPS, which an ingress does.
fn is_upgrade(url: &Url, location: &str) -> bool {
    let target = url.join(location).ok();
    target.is_some_and(|target| url.scheme() == "http" && target.scheme() == "https" && target.path() == url.path())
}
