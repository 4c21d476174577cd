//! Invocations: `/function/NAME` and `/async-function/NAME`, the guard of the watchdog, and the built-in functions.
#![allow(clippy::result_large_err, reason = "a response is moved only a few times per request")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value, json};

use crate::answer::{self, Answer};
use crate::body::{self, BodyError};
use crate::flavour::Flavour;
use crate::functions::{DEFAULT_NAMESPACE, Invoked};
use crate::iam::{like, parse_duration};
use crate::jwt;
use crate::record::{Recorded, Request};
use crate::serve::State;
use crate::validate::Deployment;

/// Selects a built-in function. Otherwise the image name does, then the function name.
const BEHAVIOUR: &str = "local-gateway/function";

pub(crate) type Input = Recorded<Incoming>;

/// Handles a request to `/function/…` or `/async-function/…`.
pub(crate) async fn answer(state: &Arc<State>, head: &Request, input: Input) -> Answer {
    let asynchronous = head.path.starts_with("/async-function/");
    let rest = head.path.split_once("function/").map_or("", |(_, rest)| rest);
    let (target, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (name, namespace) = target.split_once('.').unwrap_or((target, DEFAULT_NAMESPACE));

    let mut answer = call(state, head, input, (name, namespace, path), asynchronous).await;
    answer::set(&mut answer, "x-call-id", &jwt::uuid());
    answer
}

async fn call(
    state: &Arc<State>,
    head: &Request,
    input: Input,
    (name, namespace, path): (&str, &str, &str),
    asynchronous: bool,
) -> Answer {
    let target = head.path.split('/').nth(2).unwrap_or_default();
    if asynchronous && !state.has_queue {
        return answer::error(StatusCode::NOT_FOUND, "404 page not found");
    }
    let Some(Invoked { deployment, available }) = state.functions().invoke(namespace, name) else {
        if state.flavour == Flavour::Faasd {
            return no_endpoint(target);
        }
        let text = format!(
            "error finding function {name}.{namespace}: server returned non-200 status code (404) for function, {name}, body: "
        );
        return answer::text(StatusCode::NOT_FOUND, text);
    };
    if asynchronous {
        // The queue accepts the whole body. Nobody waits for the function.
        let drained = drain(input).await;
        return answer::empty(if drained.is_ok() { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST });
    }
    if !available {
        return match state.flavour {
            // The container has an address, but nothing listens there.
            Flavour::Faasd => {
                from_provider(StatusCode::INTERNAL_SERVER_ERROR, format!("Can't reach service for: {target}."))
            }
            Flavour::Enterprise | Flavour::Ce => no_endpoint(target),
        };
    }
    if let Err(refusal) = guard(state, head, &deployment, &format!("{namespace}:{name}")) {
        return refusal;
    }
    let started = Instant::now();
    let mut answer = run(head, input, path, behaviour(&deployment)).await;
    answer::set(&mut answer, "x-duration-seconds", &format!("{:.6}", started.elapsed().as_secs_f64()));
    answer
}

fn no_endpoint(target: &str) -> Answer {
    from_provider(StatusCode::SERVICE_UNAVAILABLE, format!("No endpoints available for: {target}."))
}

/// An error of the provider's proxy, which did not reach the function.
fn from_provider(status: StatusCode, text: String) -> Answer {
    let mut answer = answer::error(status, text);
    answer::set(&mut answer, "x-openfaas-internal", "proxy");
    answer
}

/// The check of callers in the of-watchdog (faas-middleware, `auth`).
fn guard(state: &State, head: &Request, deployment: &Deployment, function: &str) -> Result<(), Answer> {
    if !deployment.env_vars.get("jwt_auth").is_some_and(|value| matches!(value.as_str(), "true" | "1")) {
        return Ok(());
    }
    let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = given.strip_prefix("Bearer ").unwrap_or(given);
    if token.is_empty() {
        return Err(unauthorised("Bearer must be present in Authorization header"));
    }
    let refused = |reason| unauthorised(&format!("failed to parse JWT token: {reason}"));
    let (permissions, audience) = state.authority.function_claim(token).map_err(refused)?;
    // The pattern of the watchdog is not anchored: `etl:import` permits `etl:import-csv`.
    let matches = |pattern: &String| !pattern.is_empty() && like(&format!("*{pattern}*"), function);
    if permissions.iter().any(matches) && (audience.is_empty() || audience.iter().any(matches)) {
        return Ok(());
    }
    let mut refusal = answer::error(StatusCode::FORBIDDEN, "insufficient permissions");
    answer::set(&mut refusal, "x-openfaas-internal", "faas-middleware");
    Err(refusal)
}

fn unauthorised(text: &str) -> Answer {
    let mut refusal = answer::error(StatusCode::UNAUTHORIZED, text);
    answer::set(&mut refusal, "x-openfaas-internal", "faas-middleware");
    answer::set(&mut refusal, "www-authenticate", "Bearer realm=IAM function invoke");
    refusal
}

/// The behaviour of a built-in function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// Returns the body.
    Echo,
    /// Returns the request as JSON: method, path, query, headers, body.
    EchoJson,
    /// Returns the body like the Python function of the guide.
    ImportCsv,
    /// Returns the query's `status`, `body` and `location` after its `delay`.
    Status,
    /// Returns the length and the hash of the body.
    Sink,
    /// Returns as many bytes as the query's `bytes`.
    Source,
}

fn behaviour(deployment: &Deployment) -> Behaviour {
    let annotated = deployment.annotations.as_ref().and_then(|annotations| annotations.get(BEHAVIOUR));
    let last = deployment.image.rsplit('/').next().unwrap_or_default();
    let image = last.split([':', '@']).next().unwrap_or_default();
    let names = [annotated.map_or("", String::as_str), image, &deployment.service];
    names.into_iter().find_map(named).unwrap_or(Behaviour::Echo)
}

fn named(name: &str) -> Option<Behaviour> {
    Some(match name {
        "echo" => Behaviour::Echo,
        "echo-json" => Behaviour::EchoJson,
        "import-csv" => Behaviour::ImportCsv,
        "status" => Behaviour::Status,
        "sink" => Behaviour::Sink,
        "source" => Behaviour::Source,
        _ => return None,
    })
}

async fn run(head: &Request, input: Input, path: &str, behaviour: Behaviour) -> Answer {
    match behaviour {
        Behaviour::Echo => {
            let mut answer = answer::streamed(StatusCode::OK, None, input.map_err(BodyError::from).boxed_unsync());
            if let Some(content_type) = head.headers.get(CONTENT_TYPE) {
                answer.headers_mut().insert(CONTENT_TYPE, content_type.clone());
            }
            answer
        }
        Behaviour::EchoJson => echo_json(head, input, path).await,
        Behaviour::ImportCsv => {
            let body = input.map_err(BodyError::from).boxed_unsync();
            answer::streamed(StatusCode::OK, Some("text/html; charset=utf-8"), body)
        }
        Behaviour::Status => {
            // The function reads its input before it responds, like the handler of a template.
            let _ = drain(input).await;
            let delay = head.parameter("delay").and_then(|delay| parse_duration(&delay));
            tokio::time::sleep(delay.unwrap_or(Duration::ZERO)).await;
            let status = head.parameter("status").and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok());
            let text = head.parameter("body").unwrap_or_default();
            let mut answer = answer::text(status.unwrap_or(StatusCode::OK), text);
            if let Some(location) = head.parameter("location") {
                answer::set(&mut answer, "location", &location);
            }
            answer
        }
        Behaviour::Sink => match drain(input).await {
            Ok((bytes, sha256)) => answer::json(StatusCode::OK, &json!({"bytes": bytes, "sha256": sha256})),
            Err(error) => answer::error(StatusCode::BAD_REQUEST, error),
        },
        Behaviour::Source => {
            let bytes = head.parameter("bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
            answer::streamed(StatusCode::OK, Some("application/octet-stream"), body::source(bytes))
        }
    }
}

async fn echo_json(head: &Request, input: Input, path: &str) -> Answer {
    let body = match input.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return answer::error(StatusCode::BAD_REQUEST, error),
    };
    let mut headers = Map::new();
    for (name, value) in &head.headers {
        headers.insert(name.to_string(), json!(String::from_utf8_lossy(value.as_bytes())));
    }
    let request = json!({
        "method": head.method,
        "path": if path.is_empty() { "/" } else { path },
        "query": head.query.clone().map_or(Value::Null, Value::String),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    answer::json(StatusCode::OK, &request)
}

/// Reads a body to its end. Returns its length and SHA-256.
async fn drain(mut input: Input) -> Result<(u64, String), hyper::Error> {
    let mut bytes = 0;
    let mut hash = Context::new(&SHA256);
    while let Some(frame) = input.frame().await {
        let data: Bytes = frame?.into_data().unwrap_or_default();
        bytes += data.len() as u64;
        hash.update(&data);
    }
    Ok((bytes, hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()))
}
