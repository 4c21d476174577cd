//! Handles a request: records it, applies faults and routes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use serde_json::json;

use crate::answer::{self, Answer};
use crate::deploy;
use crate::effect::{self, NoAnswer, Usual};
use crate::fault::{Faults, Incident};
use crate::flavour::Flavour;
use crate::functions::Functions;
use crate::invoke;
use crate::issuer::Issuer;
use crate::life::Life;
use crate::namespaces::Namespaces;
use crate::record::{self, Record, Recorded, Request};
use crate::rest;
use crate::secrets::Secrets;
use crate::token::Authority;
use crate::wire::Breaker;

/// The maximum size of a request to the REST API.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// The state of the gateway.
pub(crate) struct State {
    pub(crate) base_path: String,
    pub(crate) authority: Authority,
    pub(crate) iam: bool,
    pub(crate) basic: Option<(String, String)>,
    pub(crate) flavour: Flavour,
    /// Parts of the names of images that cannot be looked up or pulled.
    pub(crate) unreachable_images: Vec<String>,
    pub(crate) has_prometheus: bool,
    pub(crate) has_queue: bool,
    pub(crate) publishes_events: bool,
    pub(crate) life: Arc<Life>,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) functions: Mutex<Functions>,
    pub(crate) namespaces: Mutex<Namespaces>,
    pub(crate) secrets: Mutex<Secrets>,
    /// The status of a `POST` for a function that already exists.
    pub(crate) exists_status: StatusCode,
    pub(crate) faults: Faults,
    pub(crate) record: Record,
    pub(crate) recording: AtomicBool,
}

impl State {
    pub(crate) fn functions(&self) -> MutexGuard<'_, Functions> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn namespaces(&self) -> MutexGuard<'_, Namespaces> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handles a request.
pub(crate) async fn request(
    state: Arc<State>,
    breaker: Arc<Breaker>,
    connection: u64,
    request: hyper::Request<Incoming>,
) -> Result<Answer, NoAnswer> {
    let mut head = Request::new(&request, connection);
    let incoming = request.into_body();
    let entry = state.recording.load(Ordering::Relaxed).then(|| state.record.add(head.clone()));
    head.path = head.path.strip_prefix(&state.base_path).unwrap_or_default().to_owned();
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
    let fault = state.faults.find(&head.host(), &head.method, &head.path, known);
    let answer = match fault {
        Some(fault) => {
            let (state, head, continues) = (Arc::clone(&state), head.clone(), fault.continues);
            let work = async move {
                let mut input = Some(input);
                let usual = |usual| serve(&state, &head, input.take().expect("a request is handled once"), usual);
                let answer = effect::apply(fault, &breaker, &state.life, usual).await;
                // As nginx does (`lingering_close`): to close a connection with an unread body resets it, and the response is lost.
                if let (Ok(_), Some(Input::Streamed(unread))) = (&answer, input) {
                    tokio::spawn(unread.collect());
                }
                answer
            };
            if continues { tokio::spawn(work).await.map_err(|_| NoAnswer)?? } else { work.await? }
        }
        None => serve(&state, &head, input, Usual::Route(None)).await,
    };
    if !state.has_prometheus && is_list(&head, &answer) && !state.functions().states().is_empty() {
        return Err(NoAnswer);
    }
    if let Some(entry) = &entry {
        record::answered(entry, answer.status().as_u16());
    }
    Ok(answer)
}

/// Whether this is the list of functions, to which the gateway adds figures of Prometheus.
fn is_list(head: &Request, answer: &Answer) -> bool {
    head.method == "GET" && head.path == "/system/functions" && answer.status() == StatusCode::OK
}

/// The body of a request: read in advance, or streamed.
enum Input {
    Whole(Bytes),
    Streamed(invoke::Input),
}

impl Input {
    async fn collect(self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Streamed(input) => input.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default(),
        }
    }
}

async fn serve(state: &Arc<State>, head: &Request, input: Input, usual: Usual) -> Answer {
    match usual {
        Usual::Route(incident) => route(state, head, input, incident).await,
        Usual::Echo => effect::echo(head, input.collect().await),
    }
}

async fn route(state: &Arc<State>, head: &Request, input: Input, incident: Option<Incident>) -> Answer {
    let body = match input {
        Input::Streamed(input) => return invoke::answer(state, head, input).await,
        Input::Whole(bytes) => bytes,
    };
    if let (Some(Incident::Gap(gap)), Flavour::Faasd, "PUT") = (incident, state.flavour, head.method.as_str())
        && deploy::removes_first(state, &body)
    {
        tokio::time::sleep(gap).await;
        let head = Request { method: "POST".to_owned(), ..head.clone() };
        return rest::answer(state, &head, &body, None);
    }
    let not_found = || answer::error(StatusCode::NOT_FOUND, "404 page not found");
    match (head.method.as_str(), head.path.as_str()) {
        (_, path) if path.starts_with("/system/") => rest::answer(state, head, &body, incident),
        ("POST", "/oauth/token") if state.iam => exchange(state, head, &body),
        ("GET", "/.well-known/openid-configuration") if state.iam => {
            answer::json(StatusCode::OK, &state.authority.discovery())
        }
        ("GET", "/.well-known/keys") if state.iam => answer::json(StatusCode::OK, &state.authority.jwks()),
        ("GET", "/healthz") => answer::text(StatusCode::OK, "OK"),
        ("GET", path) => {
            // The documents that Bitbucket serves for a workspace, at the same paths.
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

fn exchange(state: &State, head: &Request, body: &[u8]) -> Answer {
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
