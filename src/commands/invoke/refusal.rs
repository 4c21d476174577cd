//! Why a call was not answered with 2xx, and what to change.

use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::caller::asks_for_function_token;
use crate::console::log::quote;
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::function::outcome::{Failure, Problem};
use crate::gateway::{Error, Gateway};
use crate::http::retry;
use crate::oidc::{IamAction, missing_action};

/// An answer other than 2xx.
pub(crate) struct Refusal<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) function: &'a FunctionName,
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// The beginning of the body.
    pub(crate) start: &'a str,
    /// Whether a function token was sent.
    pub(crate) with_token: bool,
    /// Whether `HEADERS` has an `Authorization`.
    pub(crate) with_own_token: bool,
    pub(crate) call_id: Option<&'a str>,
    /// Whether the call may be repeated, so that transient failures were retried already.
    pub(crate) idempotent: bool,
}

impl Refusal<'_> {
    pub(crate) async fn problem(&self) -> Problem {
        let failure = match self.status.as_u16() {
            401 | 403 => Failure::Permission,
            _ => Failure::Failed,
        };
        let hint = match self.status.as_u16() {
            _ if self.is_from_ingress() => Some(self.ingress()),
            401 if self.is_from_watchdog() => Some(self.unauthorized()),
            403 if self.is_from_watchdog() || self.with_token => Some(self.forbidden()),
            401 | 403 => Some(
                "this is not OpenFaaS' IAM: the function, or something before the gateway, requires credentials of its \
                 own; send them with `HEADERS`"
                    .to_owned(),
            ),
            404 => Some(self.not_found().await),
            429 | 502..=504 if !self.idempotent => Some(
                "not retried, since the function may have run; if it may run twice, set `IDEMPOTENT: 'true'`".to_owned(),
            ),
            _ => None,
        };
        let call = self.call_id.map(|id| format!(", call id `{}`", quote(id))).unwrap_or_default();
        let name = quote(&self.function.to_string());
        let message = match self.is_from_ingress() {
            true => {
                let title = quote(&retry::title(self.start.as_bytes()));
                let title = if title.is_empty() { String::new() } else { format!(" (`{title}`)") };
                format!("an ingress answered {}, not `{name}`: a web page{title}", self.status)
            }
            false => format!("`{name}` answered {} to {} {}{call}", self.status, self.method, quote(self.url.path())),
        };
        Problem { failure, message, hint }
    }

    /// A page for people without any trace of the gateway: a function's own page has the gateway's call id.
    fn is_from_ingress(&self) -> bool {
        self.call_id.is_none() && retry::is_web_page(self.headers, self.start.as_bytes())
    }

    /// OpenFaaS' watchdogs say so in a header.
    fn is_from_watchdog(&self) -> bool {
        self.headers.contains_key("x-openfaas-internal") || asks_for_function_token(self.headers)
    }

    fn ingress(&self) -> String {
        match self.status.as_u16() {
            401 | 403 => {
                "it requires a sign-in of its own, or admits only some addresses: let `/function/` pass through \
                          the proxy or ingress before the gateway"
                    .to_owned()
            }
            404 => format!("check `OPENFAAS_URL` (`{}`), including its base path", self.gateway.address()),
            _ => "check that the gateway runs, and the timeouts of the ingress before it".to_owned(),
        }
    }

    /// What OpenFaaS' watchdog says when it does not accept a token.
    fn unauthorized(&self) -> String {
        let says = |words: &str| self.start.to_ascii_lowercase().contains(words);
        let hint = if self.with_own_token && !self.with_token {
            "the function does not accept the token in `HEADERS`: remove `Authorization` there, and the pipe gets a \
             function token"
        } else if !self.with_token {
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
        if self.with_own_token && !self.with_token {
            return format!(
                "the token in `HEADERS` is for another function, not for `{}`: remove `Authorization` there, and the pipe \
                 gets a token for this one",
                self.function.resource()
            );
        }
        let lacking = missing_action(IamAction::FunctionInvoke, self.function);
        match &self.function.namespace {
            Some(_) => lacking,
            None => format!(
                "the token is for `{}`: if the gateway's default namespace is another one, set `OPENFAAS_NAMESPACE`; \
                 otherwise {lacking}",
                self.function.resource()
            ),
        }
    }

    /// Similar names, if listing is permitted.
    async fn not_found(&self) -> String {
        let wanted = &self.function.name;
        let distance = |function: &Status| strsim::osa_distance(&function.name, wanted);
        let is_near = |function: &Status| distance(function) <= function.name.len() / 3 + 1;
        let Ok(functions) = self.gateway.list(self.function.namespace.as_deref(), is_near).await else {
            return "either the function itself answers 404, or there is no function with this name: check its name and \
                    namespace, and that it was deployed"
                .to_owned();
        };
        if functions.iter().any(|function| function.name == *wanted) {
            return "the function exists, so this is its own answer: check the path".to_owned();
        }
        let mut near: Vec<_> = functions.iter().map(|function| (distance(function), &function.name)).collect();
        near.sort_unstable();
        let namespace = quote(self.function.namespace());
        if near.is_empty() {
            return format!("there is no function `{}` in namespace `{namespace}`", quote(wanted));
        }
        let names: Vec<_> = near.iter().take(3).map(|(_, name)| format!("`{}`", quote(name))).collect();
        format!(
            "there is no function `{}` in namespace `{namespace}`; similar names: {}",
            quote(wanted),
            names.join(", ")
        )
    }
}

/// The problem of a call without an answer. A function's own redirect says nothing about the gateway's address.
pub(crate) fn unanswered(function: &FunctionName, url: &Url, error: &Error) -> Problem {
    match error {
        Error::Redirect { status, location, .. } if !is_upgrade(url, location) => Problem {
            failure: Failure::Failed,
            message: format!(
                "`{}` answered {status}, a redirect to `{}`",
                quote(&function.to_string()),
                quote(location)
            ),
            hint: Some("redirects are not followed: call the path that it redirects to".to_owned()),
        },
        _ => error.problem(),
    }
}

/// Whether a redirect leads to the same address with HTTPS, which an ingress does.
fn is_upgrade(url: &Url, location: &str) -> bool {
    let target = url.join(location).ok();
    target.is_some_and(|target| url.scheme() == "http" && target.scheme() == "https" && target.path() == url.path())
}
