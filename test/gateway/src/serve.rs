//! One request after another: recording it, letting a fault strike it, and finding who answers it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{HeaderMap, StatusCode, Version};
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;

use crate::answer::{self, Answer};
use crate::body;
use crate::fault::{Effect, Fault, Faults};
use crate::flavour::Flavour;
use crate::functions::Functions;
use crate::invoke;
use crate::issuer::Issuer;
use crate::record::{self, Record, Recorded, Request};
use crate::rest;
use crate::token::Authority;
use crate::wire::Breaker;

/// The most a request to the REST API may hold.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Everything that the gateway knows.
pub(crate) struct State {
    pub(crate) base_path: String,
    pub(crate) authority: Authority,
    pub(crate) iam: bool,
    pub(crate) basic: Option<(String, String)>,
    pub(crate) flavour: Flavour,
    pub(crate) default_namespace: String,
    /// Parts of the names of images that the provider cannot look up or pull.
    pub(crate) unreachable_images: Vec<String>,
    /// Whether the watchdog keeps to itself why it refused a token, as its newest version does.
    pub(crate) terse_watchdog: bool,
    pub(crate) life: watch::Sender<Life>,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) functions: Mutex<Functions>,
    pub(crate) namespaces: Option<Vec<String>>,
    pub(crate) secrets: Option<Vec<String>>,
    /// What a `POST` of a function that exists is answered with.
    pub(crate) exists_status: StatusCode,
    pub(crate) faults: Faults,
    pub(crate) record: Record,
    pub(crate) recording: AtomicBool,
}

impl State {
    pub(crate) fn functions(&self) -> MutexGuard<'_, Functions> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the gateway has come so far.
    pub(crate) async fn reached(&self, stage: Life) {
        // The sender is kept as long as this.
        let _ = self.life.subscribe().wait_for(|life| *life >= stage).await;
    }
}

/// How far a gateway that dies has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Life {
    Alive,
    /// No further connection is accepted.
    Dying,
    /// Every connection is closed.
    Dead,
}

/// A request without its body.
pub(crate) struct Head {
    pub(crate) method: String,
    /// Without the base path.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
}

impl Head {
    /// The first value of a parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let mut parameters = form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes());
        parameters.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// A request that is not answered: the connection, or on HTTP/2 the stream, ends.
#[derive(Debug, Error)]
#[error("no answer, on purpose")]
pub(crate) struct NoAnswer;

/// Answers a request.
pub(crate) async fn request(
    state: Arc<State>,
    breaker: Arc<Breaker>,
    connection: u64,
    request: hyper::Request<Incoming>,
) -> Result<Answer, NoAnswer> {
    let arrived = Instant::now();
    let (parts, incoming) = request.into_parts();
    let mut headers = parts.headers;
    if parts.version == Version::HTTP_2
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.entry(HOST).or_insert(host);
    }
    let full_path = parts.uri.path();
    let head = Head {
        method: parts.method.to_string(),
        path: full_path.strip_prefix(&state.base_path).unwrap_or_default().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers,
    };
    let entry = state.recording.load(Ordering::Relaxed).then(|| {
        state.record.add(Request {
            method: head.method.clone(),
            path: full_path.to_owned(),
            query: head.query.clone(),
            headers: head.headers.clone(),
            body: Vec::new(),
            body_length: 0,
            version: parts.version,
            connection,
            arrived,
            status: None,
        })
    });

    if let Some(fault) = state.faults.strike(&head.method, &head.path, None) {
        let answer = strike(&state, &breaker, &head, Input::Whole(Bytes::new()), fault).await?;
        if let Some(entry) = &entry {
            record::answered(entry, answer.status().as_u16());
        }
        return Ok(answer);
    }
    let streamed = head.path.starts_with("/function/") || head.path.starts_with("/async-function/");
    let input = if streamed {
        Input::Streamed(Recorded::new(incoming, entry.clone()))
    } else {
        let collected = Limited::new(incoming, MAX_BODY).collect().await;
        let bytes = collected.map_err(|_| NoAnswer)?.to_bytes();
        if let Some(entry) = &entry {
            record::keep(entry, &bytes);
        }
        Input::Whole(bytes)
    };
    let known: &[u8] = if let Input::Whole(bytes) = &input { bytes } else { &[] };
    let answer = match state.faults.strike(&head.method, &head.path, Some(known)) {
        Some(fault) => strike(&state, &breaker, &head, input, fault).await?,
        None => route(&state, &head, input).await,
    };
    if let Some(entry) = &entry {
        record::answered(entry, answer.status().as_u16());
    }
    Ok(answer)
}

/// A request's body: read before anybody looks at the request, or as it comes.
enum Input {
    Whole(Bytes),
    Streamed(invoke::Input),
}

async fn route(state: &Arc<State>, head: &Head, input: Input) -> Answer {
    let body = match input {
        Input::Streamed(input) => return invoke::answer(state, head, input).await,
        Input::Whole(bytes) => bytes,
    };
    let not_found = || answer::error(StatusCode::NOT_FOUND, "404 page not found");
    match (head.method.as_str(), head.path.as_str()) {
        (_, path) if path.starts_with("/system/") => rest::answer(state, head, &body),
        ("POST", "/oauth/token") if state.iam => exchange(state, head, &body),
        ("GET", "/.well-known/openid-configuration") if state.iam => {
            answer::json(StatusCode::OK, &state.authority.discovery())
        }
        ("GET", "/.well-known/keys") if state.iam => answer::json(StatusCode::OK, &state.authority.jwks()),
        ("GET", "/healthz") => answer::text(StatusCode::OK, "OK"),
        ("GET", path) => {
            // What Bitbucket would serve for a workspace, under the same path.
            let issuer = state.issuers.iter().find_map(|issuer| Some((issuer, path.strip_prefix(issuer.path())?)));
            match issuer {
                Some((issuer, "/.well-known/openid-configuration")) => {
                    answer::json(StatusCode::OK, &issuer.discovery())
                }
                Some((issuer, "/keys.json")) => answer::json(StatusCode::OK, &issuer.jwks()),
                _ => not_found(),
            }
        }
        _ => not_found(),
    }
}

fn exchange(state: &State, head: &Head, body: &[u8]) -> Answer {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        let error = json!({"error": "invalid_request", "error_description": "the request is not a form"});
        return answer::json(StatusCode::BAD_REQUEST, &error);
    }
    let form: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    match state.authority.exchange(&form) {
        Ok(token) => answer::json(StatusCode::OK, &token),
        Err(refusal) => {
            let error = json!({"error": refusal.error, "error_description": refusal.description});
            answer::json(StatusCode::BAD_REQUEST, &error)
        }
    }
}

/// Does to a request what the fault says.
async fn strike(
    state: &Arc<State>,
    breaker: &Breaker,
    head: &Head,
    input: Input,
    fault: Fault,
) -> Result<Answer, NoAnswer> {
    tokio::time::sleep(fault.delay).await;
    if let Some(latch) = &fault.latch {
        latch.opened().await;
    }
    let (processed, input) = if fault.processed {
        (Some(route(state, head, input).await), Input::Whole(Bytes::new()))
    } else {
        (None, input)
    };
    if fault.dies {
        state.life.send_replace(Life::Dying);
        std::future::pending::<()>().await;
    }
    let mut answer = match fault.effect {
        Effect::Reset => {
            tokio::time::sleep(fault.delay_answer).await;
            return Err(end(breaker, fault.orderly).await);
        }
        Effect::Hang => std::future::pending().await,
        Effect::Raw { endless } => {
            breaker.speak(fault.body.clone(), endless);
            answer::empty(StatusCode::OK)
        }
        Effect::Answer | Effect::CutOff(_) => match (fault.status, processed) {
            (Some(_), _) => answer::with_body(StatusCode::OK, None, fault.body.clone()),
            (None, Some(answer)) => answer,
            (None, None) => route(state, head, input).await,
        },
        Effect::Echo => echo(head, input).await,
        Effect::Endless => answer::streamed(StatusCode::OK, None, body::endless(&fault.body)),
        Effect::Slow(beat) => answer::streamed(StatusCode::OK, None, body::slow(fault.body.clone(), beat)),
        Effect::GzipBomb => answer::streamed(StatusCode::OK, None, body::gzip_bomb()),
    };
    if let Some(status) = fault.status.and_then(|status| StatusCode::from_u16(status).ok()) {
        *answer.status_mut() = status;
    }
    for (name, value) in &fault.headers {
        answer::set(&mut answer, name, value);
    }
    if let Effect::CutOff(length) = fault.effect {
        answer = cut_off(answer, length).await;
    }
    tokio::time::sleep(fault.delay_answer).await;
    Ok(answer)
}

/// Ends a connection without an answer.
async fn end(breaker: &Breaker, orderly: bool) -> NoAnswer {
    if !orderly {
        breaker.reset();
        // The connection's task drops this one.
        std::future::pending::<()>().await;
    }
    NoAnswer
}

async fn cut_off(answer: Answer, length: usize) -> Answer {
    let (parts, body) = answer.into_parts();
    let whole = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let announced = whole.len().max(length) as u64 + 1;
    Answer::from_parts(parts, body::cut_off(whole.slice(..length.min(whole.len())), announced))
}

async fn echo(head: &Head, input: Input) -> Answer {
    let body = match input {
        Input::Whole(bytes) => bytes,
        Input::Streamed(input) => input.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default(),
    };
    let query = head.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let mut text = format!("{} {}{query}\n", head.method, head.path);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let mut answer = answer::text(StatusCode::OK, format!("{text}\n{}", String::from_utf8_lossy(&body)));
    for (name, value) in &head.headers {
        answer::set(&mut answer, &format!("x-echo-{name}"), &String::from_utf8_lossy(value.as_bytes()));
    }
    answer
}
