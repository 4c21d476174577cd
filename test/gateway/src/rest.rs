//! The REST API below `/system`, as a Kubernetes provider behind OpenFaaS' gateway answers it.
#![allow(clippy::result_large_err, reason = "an answer is moved a few times a request, refused or not")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame};
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Interval;

use crate::answer::{self, Answer};
use crate::body::BodyError;
use crate::deploy;
use crate::flavour::Flavour;
use crate::serve::{Head, State};

/// Answers a request to `/system/…`.
pub(crate) fn answer(state: &Arc<State>, head: &Head, body: &[u8]) -> Answer {
    let result = match (head.method.as_str(), head.path.trim_start_matches("/system/")) {
        ("GET", "functions") => list(state, head),
        ("PUT" | "POST", "functions") => deploy::deploy(state, head, body),
        ("DELETE", "functions") => deploy::delete(state, head, body),
        ("GET", "namespaces") => namespaces(state, head),
        ("GET", "info") => info(state, head),
        ("GET", "logs") => logs(state, head),
        (method, rest) => match (method, rest.split_once('/')) {
            ("GET", Some(("function", name))) => get(state, head, name),
            ("POST", Some(("scale-function", name))) => scale(state, head, name, body),
            (_, Some(("function" | "scale-function", _))) => Err(answer::empty(StatusCode::METHOD_NOT_ALLOWED)),
            _ if ["functions", "namespaces", "info", "logs"].contains(&rest) => {
                Err(answer::empty(StatusCode::METHOD_NOT_ALLOWED))
            }
            _ => Err(answer::error(StatusCode::NOT_FOUND, "404 page not found")),
        },
    };
    result.unwrap_or_else(|refusal| refusal)
}

pub(crate) type Result<T = Answer> = std::result::Result<T, Answer>;

/// Whether the request may do `action` to `resource`.
pub(crate) fn authorise(state: &State, headers: &HeaderMap, action: &str, resource: &str) -> Result<()> {
    if state.basic.is_none() && !state.iam {
        return Ok(());
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, credentials) = given.split_once(' ').unwrap_or((given, ""));
    if let Some((user, password)) = &state.basic
        && (scheme.eq_ignore_ascii_case("basic") || !state.iam)
    {
        if scheme.eq_ignore_ascii_case("basic") && credentials == STANDARD.encode(format!("{user}:{password}")) {
            return Ok(());
        }
        let mut refusal = answer::text(StatusCode::UNAUTHORIZED, "invalid credentials");
        answer::set(&mut refusal, "www-authenticate", "Basic realm=\"Restricted\"");
        return Err(refusal);
    }
    let bearer = scheme.eq_ignore_ascii_case("bearer").then(|| state.authority.bearer(credentials)).flatten();
    let bearer = bearer.ok_or_else(|| answer::error(StatusCode::UNAUTHORIZED, "invalid or expired token"))?;
    if state.authority.allows(&bearer, action, resource) {
        Ok(())
    } else {
        Err(answer::error(StatusCode::FORBIDDEN, "insufficient permissions"))
    }
}

fn list(state: &State, head: &Head) -> Result {
    let namespace = namespace(state, head);
    authorise(state, &head.headers, "Function:List", &format!("{namespace}:*"))?;
    serves(state, &namespace)?;
    Ok(answer::json(StatusCode::OK, &Value::Array(state.functions().list(&namespace))))
}

/// The body of a request about one function.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Named {
    pub(crate) function_name: String,
    service_name: String,
    pub(crate) namespace: String,
    replicas: u64,
}

fn get(state: &State, head: &Head, name: &str) -> Result {
    let namespace = namespace(state, head);
    authorise(state, &head.headers, "Function:Get", &format!("{namespace}:{name}"))?;
    serves(state, &namespace)?;
    let status = state.functions().status(&namespace, name).ok_or_else(|| missing(state, name))?;
    Ok(answer::json(StatusCode::OK, &status))
}

fn scale(state: &State, head: &Head, name: &str, body: &[u8]) -> Result {
    let request: Named = serde_json::from_slice(body).map_err(|_| answer::empty(StatusCode::BAD_REQUEST))?;
    let name = if request.service_name.is_empty() { name } else { &request.service_name };
    let namespace = if request.namespace.is_empty() { namespace(state, head) } else { request.namespace };
    authorise(state, &head.headers, "Function:Scale", &format!("{namespace}:{name}"))?;
    serves(state, &namespace)?;
    if request.replicas == 0 && state.flavour != Flavour::Enterprise {
        return Err(answer::error(StatusCode::BAD_REQUEST, "replicas cannot be set to 0"));
    }
    match state.functions().scale(&namespace, name, request.replicas) {
        Ok(()) => Ok(answer::empty(StatusCode::ACCEPTED)),
        Err(_) => Err(missing(state, name)),
    }
}

/// The namespaces the caller may list.
fn namespaces(state: &State, head: &Head) -> Result {
    let all = state.namespaces.clone().unwrap_or_else(|| state.functions().namespaces());
    let listed = |namespace: &String| authorise(state, &head.headers, "Namespace:List", &format!("{namespace}:*"));
    let (allowed, refused): (Vec<_>, Vec<_>) =
        all.iter().map(|name| (name, listed(name))).partition(|(_, r)| r.is_ok());
    if let (true, Some((_, Err(refusal)))) = (allowed.is_empty(), refused.into_iter().next()) {
        return Err(refusal);
    }
    Ok(answer::json(StatusCode::OK, &allowed.into_iter().map(|(name, _)| name.as_str()).collect()))
}

fn info(state: &State, head: &Head) -> Result {
    authorise(state, &head.headers, "System:Info", "*")?;
    let (provider, orchestration) = state.flavour.provider();
    let info = json!({
        "provider": {
            "provider": provider,
            "version": {"sha": "", "release": env!("CARGO_PKG_VERSION")},
            "orchestration": orchestration,
        },
        "version": {"sha": "", "release": env!("CARGO_PKG_VERSION")},
        "arch": std::env::consts::ARCH,
    });
    Ok(answer::json(StatusCode::OK, &info))
}

fn logs(state: &Arc<State>, head: &Head) -> Result {
    let name = head.parameter("name").unwrap_or_default();
    let namespace = namespace(state, head);
    authorise(state, &head.headers, "Function:Logs", &format!("{namespace}:{name}"))?;
    let lines = state.functions().log_from(&namespace, &name, 0).ok_or_else(|| missing(state, &name))?;
    let tail =
        head.parameter("tail").and_then(|tail| tail.parse().ok()).filter(|tail| *tail > 0).unwrap_or(lines.len());
    let next = lines.len().saturating_sub(tail);
    let follow = head.parameter("follow").is_some_and(|follow| matches!(follow.as_str(), "1" | "true"));
    let beat = tokio::time::interval(Duration::from_millis(20));
    let log = Log { state: Arc::clone(state), namespace, name, next, follow, beat };
    Ok(answer::streamed(StatusCode::OK, Some("application/x-ndjson"), log.boxed_unsync()))
}

/// A function's log as JSON lines: what there is, and what comes where it is followed.
struct Log {
    state: Arc<State>,
    namespace: String,
    name: String,
    next: usize,
    follow: bool,
    beat: Interval,
}

impl HttpBody for Log {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BodyError>>> {
        loop {
            let lines = self.state.functions().log_from(&self.namespace, &self.name, self.next);
            let Some(lines) = lines else { return Poll::Ready(None) };
            if !lines.is_empty() {
                self.next += lines.len();
                let text: String = lines.iter().map(|line| self.line(line)).collect();
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
            if !self.follow {
                return Poll::Ready(None);
            }
            if self.beat.poll_tick(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Log {
    fn line(&self, text: &str) -> String {
        let timestamp = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let instance = format!("{}-5d7c8f9b6-x2x4z", self.name);
        let line = json!({
            "name": self.name,
            "namespace": self.namespace,
            "instance": instance,
            "timestamp": timestamp,
            "text": text,
        });
        format!("{line}\n")
    }
}

/// The namespace that the query names, else the default one.
pub(crate) fn namespace(state: &State, head: &Head) -> String {
    let given = head.parameter("namespace").filter(|namespace| !namespace.is_empty());
    given.unwrap_or_else(|| state.default_namespace.clone())
}

/// Refuses a namespace that the edition does not serve.
pub(crate) fn serves(state: &State, namespace: &str) -> Result<()> {
    let bad = |text: String| Err(answer::error(StatusCode::BAD_REQUEST, text));
    match (state.flavour, &state.namespaces) {
        (Flavour::Ce, _) if namespace != state.default_namespace => {
            bad(format!("namespace must be: {}", state.default_namespace))
        }
        (Flavour::Faasd, Some(known)) if !known.iter().any(|known| known == namespace) => {
            bad("namespace not valid".to_owned())
        }
        _ => Ok(()),
    }
}

/// What a status is answered with where there is no such function.
pub(crate) fn missing(state: &State, name: &str) -> Answer {
    match state.flavour {
        Flavour::Enterprise => answer::error(StatusCode::NOT_FOUND, not_found(name)),
        Flavour::Ce | Flavour::Faasd => answer::empty(StatusCode::NOT_FOUND),
    }
}

/// What Kubernetes says of a deployment that there is not.
pub(crate) fn not_found(name: &str) -> String {
    format!("deployments.apps \"{name}\" not found")
}
