//! `COMMAND: invoke`: one function is called, and its answer shown or stored.

mod answer;
mod payload;

use std::time::Instant;

use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::commands::prepare::{Rejected, Run};
use crate::commands::progress;
use crate::config::{Auth, Invoke};
use crate::console::log::{self, quote};
use crate::files::atomic::{self, Attributes};
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::function::outcome::{Failure, InvocationOutcome, Outcome, Problem};
use crate::gateway::{self, Error, FunctionToken, Gateway, Unanswered, may_be_set};
use crate::http::retry;
use crate::oidc::{IamAction, missing_action};
use answer::Answer;
use payload::Payload;

const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");

/// The realm by which a function's watchdog asks for a function token.
const FUNCTION_REALM: &str = "IAM function invoke";

/// Invokes what the variables name.
pub(crate) async fn run(mut run: Run<'_>, invoke: &Invoke) -> Result<Outcome, Rejected> {
    let payload = Payload::open(&invoke.payload, run.config.places.clone_dir.as_deref());
    let payload = payload.map_err(|error| run.preparation.problem("PAYLOAD_FILE", error.to_string())).ok();
    let names = invoke.headers.keys().map(|name| ("HEADERS", name));
    let names = names.chain(invoke.sign.as_ref().map(|(name, _)| ("SIGN_HEADER", name)));
    for (variable, name) in names.filter(|(_, name)| !may_be_set(name)) {
        run.preparation
            .problem(variable, format!("`{name}` is set by the connection itself: write another, or leave it out"));
    }
    // Found before the function runs, rather than when its answer is lost.
    if let Some(Err(error)) = invoke.output_file.as_deref().map(atomic::check_path) {
        run.preparation.problem("OUTPUT_FILE", error.to_string());
    }
    let gateway = run.gateway(None);
    run.preparation.warn(&std::collections::BTreeSet::new());
    let (payload, gateway) = run.preparation.finish(payload.zip(gateway))?;
    let target = invoke.function.clone();
    let started = Instant::now();
    let mut invocation = InvocationOutcome {
        function: target.clone(),
        sent: false,
        status: None,
        call_id: None,
        asynchronous: invoke.asynchronous,
        response_bytes: 0,
        function_seconds: None,
        problem: None,
        duration: started.elapsed(),
    };
    tracing::info!("invoking `{}`", gateway.invocation_url(&target, invoke.asynchronous));
    let invoker = Invoker { gateway: &gateway, invoke, target: &target, payload: &payload };
    if let Err(problem) = invoker.call(&mut invocation, &run).await {
        progress::tell("", &problem);
        invocation.problem = Some(problem);
    }
    invocation.duration = started.elapsed();
    let mut outcome = run.outcome(gateway.address());
    outcome.invocation = Some(invocation);
    Ok(outcome)
}

struct Invoker<'a> {
    gateway: &'a Gateway,
    invoke: &'a Invoke,
    target: &'a FunctionName,
    payload: &'a Payload,
}

impl Invoker<'_> {
    async fn call(&self, invocation: &mut InvocationOutcome, run: &Run<'_>) -> Result<(), Problem> {
        let (mut response, with_token) = match self.response().await {
            Ok(answered) => answered,
            Err(Unanswered { error, sent }) => {
                invocation.sent = sent;
                if let Error::Redirect { status, .. } = &error {
                    invocation.status = sent.then_some(status.as_u16());
                }
                return Err(error.problem());
            }
        };
        invocation.sent = true;
        invocation.status = Some(response.status().as_u16());
        invocation.call_id = text(response.headers(), &CALL_ID);
        invocation.function_seconds = text(response.headers(), &DURATION).and_then(|seconds| seconds.parse().ok());
        let status = response.status();
        if status.is_success() {
            tracing::info!("{}", self.answered(status, invocation));
        }
        let attributes = Attributes::inherited_from(run.config.places.clone_dir.as_deref());
        // An error's text is not the data that a later step expects in the file.
        let output_file = self.invoke.output_file.as_deref().filter(|_| status.is_success());
        let mut answer = Answer::new(output_file, attributes)?;
        let url = response.url().clone();
        while let Some(chunk) =
            self.gateway.chunk(&self.invoke.method, &mut response).await.map_err(|error| error.problem())?
        {
            answer.push(&chunk)?;
        }
        invocation.response_bytes = answer.size();
        if status.is_success() {
            return answer.finish();
        }
        let start = answer.start();
        if let Some(error) = self.gateway.wants_tls(&self.invoke.method, &url, status, start.as_bytes()) {
            return Err(error.problem());
        }
        let refused = Refused { status, headers: response.headers(), start: &start, with_token };
        Err(self.problem(&refused, &url).await)
    }

    fn answered(&self, status: StatusCode, invocation: &InvocationOutcome) -> String {
        let call = invocation.call_id.as_deref().map(|id| format!(", call id `{}`", quote(id))).unwrap_or_default();
        let took = invocation.function_seconds.map(|seconds| format!(" after {seconds:.3} s")).unwrap_or_default();
        if self.invoke.asynchronous {
            format!("queued: {status}{call}")
        } else {
            format!("answered: {status}{took}{call}")
        }
    }

    /// The answer, with a function token where it is wanted; says whether there was one.
    async fn response(&self) -> Result<(reqwest::Response, bool), Unanswered> {
        if self.invoke.auth == Auth::Auto && self.invoke.asynchronous {
            let token = self.token_of_queued_call().await?;
            let with_token = token.is_some();
            return Ok((self.once(token).await?, with_token));
        }
        if self.invoke.auth != Auth::Always {
            let response = self.once(None).await?;
            let wanted = response.status() == StatusCode::UNAUTHORIZED && asks_for_function_token(response.headers());
            if self.invoke.auth == Auth::Never || !wanted {
                return Ok((response, false));
            }
            tracing::info!("the function wants a token of its own");
            // Its connection is free for the next request.
            drop(response);
        }
        let token = self.gateway.function_token(self.target).await?;
        Ok((self.once(Some(token)).await?, true))
    }

    /// The queue accepts every call, and nobody sees the 401 of a guarded function: the token goes with the call.
    async fn token_of_queued_call(&self) -> Result<Option<FunctionToken>, Error> {
        if !self.gateway.has_id_token() || self.invoke.headers.contains_key(AUTHORIZATION) {
            return Ok(None);
        }
        match self.gateway.function_token(self.target).await {
            Ok(token) => Ok(Some(token)),
            Err(error) if error.problem().failure == Failure::Permission => {
                tracing::warn!(
                    "the call carries no function token, and is lost if the function wants one: {}",
                    error.problem().message
                );
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn once(&self, token: Option<FunctionToken>) -> Result<reqwest::Response, Unanswered> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, self.invoke.content_type.clone());
        if let Some((name, key)) = &self.invoke.sign {
            headers.insert(name.clone(), self.payload.signature(key)?);
        }
        // The user's own come last: they may say another content type.
        for name in self.invoke.headers.keys() {
            headers.remove(name);
        }
        for (name, value) in &self.invoke.headers {
            headers.append(name.clone(), value.clone());
        }
        self.payload.describe(&mut headers);
        let invocation = gateway::Invocation {
            method: &self.invoke.method,
            target: self.target,
            query: &self.invoke.query,
            headers: &headers,
            asynchronous: self.invoke.asynchronous,
            idempotent: self.invoke.idempotent,
        };
        self.gateway.invoke(&invocation, token, || self.payload.body()).await
    }

    async fn problem(&self, refused: &Refused<'_>, url: &url::Url) -> Problem {
        let Refused { status, start, .. } = refused;
        let name = self.target.to_string();
        let said = if start.trim().is_empty() { String::new() } else { format!(": `{}`", quote(start)) };
        let (failure, hint) = match status.as_u16() {
            401 => (Failure::Permission, Some(self.unauthorized(refused))),
            403 => (Failure::Permission, Some(self.forbidden(refused))),
            404 => (Failure::Failed, Some(self.not_found(refused).await)),
            429 | 502..=504 if !self.invoke.idempotent => (
                Failure::Failed,
                Some(
                    "not tried again, since the function may have run; where it may run twice, set `IDEMPOTENT: 'true'`"
                        .to_owned(),
                ),
            ),
            _ => (Failure::Failed, None),
        };
        let method = &self.invoke.method;
        Problem {
            failure,
            message: format!("`{name}` answered {status} to {method} {}{said}", quote(url.path())),
            hint,
        }
    }

    fn unauthorized(&self, refused: &Refused<'_>) -> String {
        match refused.with_token {
            false if asks_for_function_token(refused.headers) => {
                "the function wants a token: set `AUTH: auto`, or leave `AUTH` out".to_owned()
            }
            _ if refused.is_web_page() => PROXY.to_owned(),
            false => "what it asks for is not an OpenFaaS token: the function, or something before the gateway, wants \
                      credentials of its own, which `HEADERS` can carry"
                .to_owned(),
            true => "the function does not accept the token that the gateway made for it: its watchdog knows another \
                     gateway as issuer, or its clock is wrong"
                .to_owned(),
        }
    }

    fn forbidden(&self, refused: &Refused<'_>) -> String {
        match refused.with_token {
            _ if refused.is_web_page() => PROXY.to_owned(),
            true => missing_action(IamAction::FunctionInvoke, self.target),
            false => {
                "no token was asked for, so no Policy decides this: the function, or something before the gateway, \
                      refuses the request; what it wants to see can be sent with `HEADERS`"
                    .to_owned()
            }
        }
    }

    /// Names close to one that is not there, where listing is permitted.
    async fn not_found(&self, refused: &Refused<'_>) -> String {
        let wanted = &self.target.name;
        let distance = |function: &Status| strsim::osa_distance(&function.name, wanted);
        let is_near = |function: &Status| distance(function) <= function.name.len() / 3 + 1;
        let Ok(functions) = self.gateway.list(self.target.namespace.as_deref(), is_near).await else {
            return if refused.is_web_page() {
                format!(
                    "unless the function made this page, it is not OpenFaaS that answers at `{}`: check `OPENFAAS_URL`, also for a missing base path",
                    self.gateway.address()
                )
            } else {
                "unless the function itself says so, there is none of that name: check `FUNCTION` and \
                 `OPENFAAS_NAMESPACE`, and that it was deployed"
                    .to_owned()
            };
        };
        if functions.iter().any(|function| function.name == *wanted) {
            return "the function is there, and the answer is its own".to_owned();
        }
        let mut near: Vec<_> = functions.iter().map(|function| (distance(function), &function.name)).collect();
        near.sort_unstable();
        let namespace =
            self.target.namespace.as_deref().map(|name| format!(" in namespace `{name}`")).unwrap_or_default();
        if near.is_empty() {
            return format!("there is no function of that name{namespace}: check `FUNCTION` and `OPENFAAS_NAMESPACE`");
        }
        let names: Vec<_> = near.iter().take(3).map(|(_, name)| format!("`{}`", quote(name))).collect();
        format!("there is no function of that name{namespace}; there is {}", names.join(", "))
    }
}

/// An answer other than 2xx.
struct Refused<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
    /// The beginning of its body.
    start: &'a str,
    /// Whether a function token was sent.
    with_token: bool,
}

impl Refused<'_> {
    fn is_web_page(&self) -> bool {
        retry::is_web_page(self.headers, self.start.as_bytes())
    }
}

const PROXY: &str = "a web page answered, not OpenFaaS: unless the function made it, a proxy or an ingress before the gateway \
    wants a sign-in of its own, or lets only some addresses in";

/// Real watchdogs do not quote the realm, others may.
fn asks_for_function_token(headers: &HeaderMap) -> bool {
    headers.get_all(WWW_AUTHENTICATE).iter().any(|value| {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        value.trim_start().starts_with("bearer") && value.contains(&FUNCTION_REALM.to_ascii_lowercase())
    })
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The last line of an invocation.
pub(crate) fn summary(outcome: &Outcome) -> String {
    let Some(invocation) = &outcome.invocation else { return "nothing was invoked".to_owned() };
    let name = &invocation.function;
    let took = log::duration(invocation.duration);
    match (&invocation.problem, invocation.status) {
        (None, _) if invocation.asynchronous => format!("`{name}` is queued"),
        (None, _) => format!("`{name}` answered in {took}"),
        (Some(_), Some(200..=299)) => format!("the answer of `{name}` was not received or stored whole"),
        (Some(_), Some(status)) => format!("`{name}` answered with status {status}"),
        (Some(_), None) if invocation.sent => format!("no answer from `{name}`"),
        (Some(_), None) => format!("`{name}` was not invoked"),
    }
}
