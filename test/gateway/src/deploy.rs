//! `POST`, `PUT` and `DELETE /system/functions`, as each edition implements them.
#![allow(clippy::result_large_err, reason = "a response is moved only a few times per request")]

use hyper::StatusCode;
use serde::Deserialize as _;
use serde_json::Value;

use crate::answer::{self, Answer};
use crate::flavour::{Flavour, full_image};
use crate::functions::{DEFAULT_NAMESPACE, Functions, Ready, Refused};
use crate::record::Request;
use crate::rest::{Named, Result, authorise, namespace, not_found, serves};
use crate::serve::State;
use crate::validate::{Deployment, is_dns_label};

/// A valid deployment for an existing namespace.
struct DeployRequest {
    creates: bool,
    name: String,
    namespace: String,
    deployment: Deployment,
    raw: Value,
}

fn bad(text: impl std::fmt::Display) -> Answer {
    answer::error(StatusCode::BAD_REQUEST, text)
}

/// Handles `POST` (create) and `PUT` (update).
pub(crate) fn deploy(state: &State, head: &Request, body: &[u8]) -> Result {
    let unmarshal = |error: serde_json::Error| bad(format!("failed to unmarshal request: {error}"));
    let raw: Value = serde_json::from_slice(body).map_err(unmarshal)?;
    let deployment = Deployment::deserialize(&raw).map_err(unmarshal)?;
    let (creates, name) = (head.method == "POST", deployment.service.clone());
    let namespace = Functions::namespace_of(&deployment);

    let action = if creates { "Function:Create" } else { "Function:Update" };
    authorise(state, &head.headers, action, &format!("{namespace}:{name}"))?;
    deployment.validate().map_err(bad)?;
    if !is_dns_label(&namespace) {
        return Err(bad(format!("namespace: ({namespace}) is invalid, must be a valid DNS entry")));
    }
    serves(state, &namespace)?;
    let request = DeployRequest { creates, name, namespace, deployment, raw };
    match state.flavour {
        Flavour::Enterprise => to_enterprise(state, request),
        Flavour::Ce => to_ce(state, request),
        Flavour::Faasd => to_faasd(state, request),
    }
}

impl State {
    /// The first secret of the deployment that does not exist.
    fn missing_secret<'a>(&self, deployment: &'a Deployment) -> Option<&'a String> {
        let known = self.secrets.as_ref()?;
        deployment.secrets.iter().find(|secret| !known.contains(secret))
    }

    /// Whether the image cannot be looked up or pulled.
    fn is_unreachable(&self, image: &str) -> bool {
        self.unreachable_images.iter().any(|part| image.contains(part.as_str()))
    }

    fn apply(&self, request: DeployRequest) -> std::result::Result<(), Refused> {
        let DeployRequest { creates, deployment, raw, .. } = request;
        let mut functions = self.functions();
        if creates { functions.create(deployment, raw) } else { functions.update(deployment, raw) }
    }

    /// The error of Kubernetes.
    fn refused(&self, refused: &Refused, name: &str, namespace: &str) -> Answer {
        let being = match refused {
            Refused::NotFound => {
                let text = format!("unable update Deployment: {name}.{namespace}, error: {}", not_found(name));
                return answer::error(StatusCode::NOT_FOUND, text);
            }
            Refused::Terminating => "object is being deleted: ",
            Refused::Exists => "",
        };
        let text = format!("unable create Deployment: {being}deployments.apps \"{name}\" already exists");
        answer::error(self.exists_status, text)
    }
}

fn to_enterprise(state: &State, request: DeployRequest) -> Result {
    let DeployRequest { name, namespace, .. } = &request;
    if state.namespaces.as_ref().is_some_and(|known| !known.contains(namespace)) {
        return Err(bad(format!("namespace: {namespace} not found or not annotated for use by OpenFaaS")));
    }
    if let Some(secret) = state.missing_secret(&request.deployment) {
        return Err(bad(format!("unable to fetch secrets: secrets \"{secret}\" not found")));
    }
    let (name, namespace) = (name.clone(), namespace.clone());
    state.apply(request).map_err(|refused| state.refused(&refused, &name, &namespace))?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}

/// Community Edition status_requests up images anonymously. If it rejects an update, it only logs the reason and
/// responds with an empty 200.
fn to_ce(state: &State, request: DeployRequest) -> Result {
    let (name, namespace) = (request.name.clone(), request.namespace.clone());
    let refusal = if let Some(secret) = state.missing_secret(&request.deployment) {
        Some(format!("unable to fetch secrets: secrets \"{secret}\" not found"))
    } else if state.is_unreachable(&request.deployment.image) {
        Some("the Community Edition license agreement only allows public images".to_owned())
    } else {
        None
    };
    match refusal {
        Some(text) if request.creates => return Err(bad(text)),
        Some(_) if state.functions().status(&namespace, &name).is_some() => return Ok(answer::empty(StatusCode::OK)),
        _ => {}
    }
    state.apply(request).map_err(|refused| state.refused(&refused, &name, &namespace))?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}

/// faasd deletes a function before it creates the new version, even if it has found a problem already.
fn to_faasd(state: &State, request: DeployRequest) -> Result {
    let (name, namespace, creates) = (request.name.clone(), request.namespace.clone(), request.creates);
    let secret = state.missing_secret(&request.deployment).map(|secret| format!("unable to find secret: {secret}"));
    let image = full_image(&request.deployment.image);
    let pull = state.is_unreachable(&image).then(|| format!("unable to pull image {image}: not found"));
    if !creates && state.functions().status(&namespace, &name).is_none() {
        return Err(answer::error(StatusCode::NOT_FOUND, format!("function: {name}.{namespace} not found")));
    }
    match (creates, secret, pull) {
        (true, Some(text), _) | (true, None, Some(text)) => return Err(bad(text)),
        (false, _, Some(text)) => {
            state.functions().remove(&namespace, &name);
            return Err(answer::error(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}\n{text}")));
        }
        // The container exists, but its task does not start.
        (false, Some(text), None) => {
            let mut functions = state.functions();
            functions.remove(&namespace, &name);
            let _ = functions.create(request.deployment, request.raw);
            functions.set_ready(&format!("{name}.{namespace}"), Ready::Never);
            return Err(bad(text));
        }
        (_, None, None) => {}
    }
    match state.apply(request) {
        Ok(()) => Ok(answer::empty(StatusCode::OK)),
        Err(_) => {
            let text =
                format!("unable to create container: {name}, error: snapshot \"{name}-snapshot\": already exists");
            Err(answer::error(state.exists_status, text))
        }
    }
}

/// Handles `DELETE`.
pub(crate) fn delete(state: &State, head: &Request, body: &[u8]) -> Result {
    let request: Named = serde_json::from_slice(body).map_err(|_| answer::empty(StatusCode::BAD_REQUEST))?;
    let name = request.function_name;
    if name.is_empty() {
        return Err(answer::empty(StatusCode::BAD_REQUEST));
    }
    let in_body = Some(request.namespace).filter(|namespace| !namespace.is_empty());
    let namespace = match state.flavour {
        // The namespace in the body is ignored.
        Flavour::Ce => namespace(head),
        Flavour::Faasd => in_body.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        Flavour::Enterprise => in_body.unwrap_or_else(|| namespace(head)),
    };
    authorise(state, &head.headers, "Function:Delete", &format!("{namespace}:{name}"))?;
    serves(state, &namespace)?;
    let deleted = state.functions().delete(&namespace, &name);
    match (state.flavour, deleted) {
        (Flavour::Faasd, Ok(())) => Ok(answer::empty(StatusCode::OK)),
        (_, Ok(())) => Ok(answer::empty(StatusCode::ACCEPTED)),
        (Flavour::Faasd, Err(_)) => {
            Err(answer::error(StatusCode::NOT_FOUND, format!("function {name}.{namespace} not found")))
        }
        // The deployment is still terminating, but its service is deleted already.
        (_, Err(Refused::Terminating)) => {
            Err(answer::text(StatusCode::NOT_FOUND, format!("services \"{name}\" not found")))
        }
        (_, Err(_)) => Err(answer::text(StatusCode::NOT_FOUND, not_found(&name))),
    }
}
