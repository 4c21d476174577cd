//! The REST API below `/system`, like that of a Kubernetes provider behind the OpenFaaS gateway.
#![allow(clippy::result_large_err, reason = "a response is moved only a few times per request")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::answer::{self, Answer};
use crate::deploy;
use crate::fault::Incident;
use crate::flavour::Flavour;
use crate::functions::DEFAULT_NAMESPACE;
use crate::namespaces;
use crate::record::Request;
use crate::secrets;
use crate::serve::State;

/// Handles a request to `/system/…`.
pub(crate) fn answer(state: &State, head: &Request, body: &[u8], incident: Option<Incident>) -> Answer {
    let result = match (head.method.as_str(), head.path.trim_start_matches("/system/")) {
        ("GET", "functions") => list(state, head),
        ("PUT" | "POST", "functions") => deploy::deploy(state, head, body, incident),
        ("DELETE", "functions") => deploy::delete(state, head, body),
        ("GET", "info") => info(state, head),
        ("GET", "logs") => logs(state, head),
        (method, "secrets") => secrets::answer(state, head, method, body),
        ("GET", "namespaces") => namespaces::list(state, head),
        (method, rest) => match (method, rest.split_once('/')) {
            (_, Some(("namespace", name))) => namespaces::answer(state, head, name, body),
            ("GET", Some(("function", name))) => get(state, head, name),
            (_, Some(("function", _))) => Err(answer::empty(StatusCode::METHOD_NOT_ALLOWED)),
            _ if ["functions", "info", "logs", "namespaces"].contains(&rest) => {
                Err(answer::empty(StatusCode::METHOD_NOT_ALLOWED))
            }
            _ => Err(answer::error(StatusCode::NOT_FOUND, "404 page not found")),
        },
    };
    result.unwrap_or_else(|refusal| refusal)
}

pub(crate) type Result<T = Answer> = std::result::Result<T, Answer>;

/// Whether the request is permitted to do `action` on `resource`.
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

fn list(state: &State, head: &Request) -> Result {
    let namespace = namespace(head);
    authorise(state, &head.headers, "Function:List", &format!("{namespace}:*"))?;
    if state.flavour == Flavour::Ce && serves(state, &namespace).is_err() {
        // Its message ends with two newlines.
        return Err(answer::error(StatusCode::BAD_REQUEST, format!("namespace must be: {DEFAULT_NAMESPACE}\n")));
    }
    serves(state, &namespace)?;
    Ok(answer::json(StatusCode::OK, &Value::Array(state.functions().list(&namespace))))
}

/// The body of a request about one function.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Named {
    pub(crate) function_name: String,
    pub(crate) namespace: String,
}

fn get(state: &State, head: &Request, name: &str) -> Result {
    let namespace = namespace(head);
    authorise(state, &head.headers, "Function:Get", &format!("{namespace}:{name}"))?;
    serves(state, &namespace)?;
    let status = state.functions().status(&namespace, name).ok_or_else(|| missing(state, name))?;
    Ok(answer::json(StatusCode::OK, &status))
}

fn info(state: &State, head: &Request) -> Result {
    authorise(state, &head.headers, "System:Info", "*")?;
    let (provider, orchestration) = state.flavour.provider();
    let info = json!({
        "provider": {
            "provider": provider,
            "version": {"sha": "", "release": env!("CARGO_PKG_VERSION")},
            "orchestration": orchestration,
        },
        "version": {"commit_message": "", "sha": "", "release": env!("CARGO_PKG_VERSION")},
        "arch": std::env::consts::ARCH,
    });
    Ok(answer::json(StatusCode::OK, &info))
}

/// The log of a function as JSON lines.
fn logs(state: &State, head: &Request) -> Result {
    let name = head.parameter("name").unwrap_or_default();
    let namespace = namespace(head);
    authorise(state, &head.headers, "Function:Logs", &format!("{namespace}:{name}"))?;
    let lines = state.functions().log_lines(&namespace, &name);
    let lines = match (lines, state.flavour) {
        (Some(lines), _) => lines,
        (None, Flavour::Enterprise) => return Err(missing(state, &name)),
        (None, Flavour::Ce) => {
            return Err(answer::error(StatusCode::INTERNAL_SERVER_ERROR, "unknown log request error (500)"));
        }
        (None, Flavour::Faasd) => Vec::new(),
    };
    let tail =
        head.parameter("tail").and_then(|tail| tail.parse().ok()).filter(|tail| *tail > 0).unwrap_or(lines.len());
    let timestamp = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let instance = format!("{name}-5d7c8f9b6-x2x4z");
    let lines = lines[lines.len().saturating_sub(tail)..].iter().map(|text| {
        let line = json!({
            "name": name, "namespace": namespace, "instance": instance, "timestamp": timestamp, "text": text,
        });
        format!("{line}\n")
    });
    let lines: String = lines.collect();
    Ok(answer::with_body(StatusCode::OK, Some("application/x-ndjson"), lines.into()))
}

/// The namespace in the query, or the default one.
pub(crate) fn namespace(head: &Request) -> String {
    let given = head.parameter("namespace").filter(|namespace| !namespace.is_empty());
    given.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
}

/// Rejects a namespace that the edition does not have.
pub(crate) fn serves(state: &State, namespace: &str) -> Result<()> {
    let text = match state.flavour {
        Flavour::Ce if namespace != DEFAULT_NAMESPACE => format!("namespace must be: {DEFAULT_NAMESPACE}"),
        Flavour::Faasd if !state.namespaces().is_for_faasd(namespace) => "namespace not valid".to_owned(),
        Flavour::Enterprise if !state.namespaces().is_annotated(namespace) => {
            format!("namespace: {namespace} not found or not annotated for use by OpenFaaS")
        }
        _ => return Ok(()),
    };
    Err(answer::error(StatusCode::BAD_REQUEST, text))
}

/// The response to a status request for a function that does not exist.
pub(crate) fn missing(state: &State, name: &str) -> Answer {
    match state.flavour {
        Flavour::Enterprise => answer::error(StatusCode::NOT_FOUND, not_found(name)),
        Flavour::Ce | Flavour::Faasd => answer::empty(StatusCode::NOT_FOUND),
    }
}

/// The error of Kubernetes for a deployment that does not exist.
pub(crate) fn not_found(name: &str) -> String {
    format!("deployments.apps \"{name}\" not found")
}
