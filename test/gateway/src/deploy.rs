//! `POST`, `PUT` and `DELETE /system/functions`, as each edition implements them.
#![allow(clippy::result_large_err, reason = "a response is moved only a few times per request")]

use hyper::StatusCode;
use serde::Deserialize as _;
use serde_json::Value;

use crate::answer::{self, Answer};
use crate::fault::Incident;
use crate::flavour::{Flavour, full_image};
use crate::functions::{DEFAULT_NAMESPACE, Functions, Refused};
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
pub(crate) fn deploy(state: &State, head: &Request, body: &[u8], incident: Option<Incident>) -> Result {
    let raw: Value = serde_json::from_slice(body).map_err(|error| unmarshal(state, &error))?;
    let deployment = Deployment::deserialize(&raw).map_err(|error| unmarshal(state, &error))?;
    let (creates, name) = (head.method == "POST", deployment.service.clone());
    let namespace = Functions::namespace_of(&deployment);

    let action = if creates { "Function:Create" } else { "Function:Update" };
    authorise(state, &head.headers, action, &format!("{namespace}:{name}"))?;
    let request = DeployRequest { creates, name, namespace, deployment, raw };
    match state.flavour {
        Flavour::Enterprise => to_enterprise(state, request),
        Flavour::Ce => to_ce(state, request),
        Flavour::Faasd => to_faasd(state, request, incident),
    }
}

/// The error of Go for a body that is not JSON.
fn unmarshal(state: &State, error: &serde_json::Error) -> Answer {
    let text = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
    match state.flavour {
        Flavour::Faasd => bad(text),
        Flavour::Enterprise | Flavour::Ce => bad(format!("failed to unmarshal request: {text}")),
    }
}

impl State {
    /// The first secret of the deployment that does not exist.
    fn missing_secret(&self, request: &DeployRequest) -> Option<String> {
        let secrets = self.secrets();
        request.deployment.secrets.iter().find(|secret| !secrets.may_name(&request.namespace, secret)).cloned()
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
            Refused::NoService => {
                let text = format!("unable update Service: {name}., error: services \"{name}\" not found");
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
    let DeployRequest { name, namespace, deployment, .. } = &request;
    deployment.validate().and_then(|()| deployment.quantities()).and_then(|()| deployment.admit()).map_err(bad)?;
    if !is_dns_label(namespace) {
        return Err(bad(format!("namespace: ({namespace}) is invalid, must be a valid DNS entry")));
    }
    serves(state, namespace)?;
    if let Some(secret) = state.missing_secret(&request) {
        return Err(bad(format!("unable to fetch secrets: secrets \"{secret}\" not found")));
    }
    let (name, namespace) = (name.clone(), namespace.clone());
    state.apply(request).map_err(|refused| state.refused(&refused, &name, &namespace))?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}

/// Community Edition looks up images anonymously. If an update fails for another reason than an object that does not
/// exist, it only logs the reason and responds with an empty 200.
fn to_ce(state: &State, request: DeployRequest) -> Result {
    let (name, namespace) = (request.name.clone(), request.namespace.clone());
    let deployment = &request.deployment;
    deployment.validate().map_err(bad)?;
    serves(state, &namespace)?;
    if !request.creates && state.functions().status(&namespace, &name).is_none() {
        return Err(state.refused(&Refused::NotFound, &name, &namespace));
    }
    let secret = state.missing_secret(&request).map(|secret| format!("secrets \"{secret}\" not found"));
    let private = state
        .is_unreachable(&deployment.image)
        .then(|| "the Community Edition license agreement only allows public images".to_owned());
    let (quantities, admitted) = (deployment.quantities(), deployment.admit());
    if request.creates {
        if let Some(text) = secret {
            return Err(bad(format!("unable to fetch secrets: {text}")));
        }
        private.map_or(Ok(()), Err).and(quantities).map_err(bad)?;
        admitted.map_err(|text| {
            answer::error(StatusCode::INTERNAL_SERVER_ERROR, format!("unable create Deployment: {text}"))
        })?;
    } else {
        if private.is_some() || quantities.is_err() || secret.is_none() && admitted.is_err() {
            return Ok(answer::empty(StatusCode::OK));
        }
        if let Some(text) = secret {
            return Err(bad(format!("unable update Deployment: {name}.{namespace}, error: {text}")));
        }
    }
    state.apply(request).map_err(|refused| state.refused(&refused, &name, &namespace))?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}

fn to_faasd(state: &State, request: DeployRequest, incident: Option<Incident>) -> Result {
    serves(state, &request.namespace)?;
    if request.creates { faasd_creates(state, request, incident) } else { faasd_updates(state, request, incident) }
}

fn faasd_creates(state: &State, request: DeployRequest, incident: Option<Incident>) -> Result {
    if let Some(secret) = state.missing_secret(&request) {
        return Err(bad(format!("unable to find secret: {secret}")));
    }
    if request.deployment.image.is_empty() {
        return Err(bad("invalid reference format"));
    }
    if let Some(text) = state.pull_error(&request.deployment.image) {
        return Err(bad(text));
    }
    let (name, namespace) = (request.name.clone(), request.namespace.clone());
    if name.is_empty() {
        let rule = "create container failed validation: container.ID: identifier must not be empty: invalid argument";
        return Err(bad(format!("unable to create container: , error: {rule}")));
    }
    state.apply(request).map_err(|_| {
        let text = format!("unable to create container: {name}, error: snapshot \"{name}-snapshot\": already exists");
        answer::error(state.exists_status, text)
    })?;
    if incident == Some(Incident::TaskDoesNotStart) {
        state.functions().kill(&namespace, &name);
        return Err(bad(task_error(&name, NO_PROGRAM)));
    }
    Ok(answer::empty(StatusCode::OK))
}

/// Removes the old version of a function that faasd is about to update. Returns whether there was one.
pub(crate) fn removes_first(state: &State, body: &[u8]) -> bool {
    let Ok(deployment) = serde_json::from_slice::<Deployment>(body) else { return false };
    let namespace = Functions::namespace_of(&deployment);
    let mut functions = state.functions();
    let exists = functions.status(&namespace, &deployment.service).is_some();
    functions.remove(&namespace, &deployment.service);
    exists
}

/// faasd deletes a function before it creates the new version, even if it has found a problem already.
fn faasd_updates(state: &State, request: DeployRequest, incident: Option<Incident>) -> Result {
    let (name, namespace) = (request.name.clone(), request.namespace.clone());
    if state.functions().status(&namespace, &name).is_none() {
        return Err(answer::error(StatusCode::NOT_FOUND, format!("service {name} not found")));
    }
    let secret = state.missing_secret(&request);
    if let Some(text) = state.pull_error(&request.deployment.image) {
        state.functions().remove(&namespace, &name);
        return Err(answer::error(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}\n{text}")));
    }
    if incident == Some(Incident::TaskDoesNotEnd) {
        state.functions().kill(&namespace, &name);
        let text = format!("cannot delete running task {name}: failed precondition");
        return Err(answer::error(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    let (image, mut lines) = (request.deployment.image.clone(), Vec::new());
    lines.extend(secret.as_ref().map(|secret| format!("unable to find secret: {secret}")));
    if let Err(refused) = state.apply(request) {
        return Err(bad(format!("unable to create container: {name}, image {image}: {refused:?}")));
    }
    lines.extend(match (secret, incident) {
        (Some(secret), _) => Some(task_error(&name, &format!("{NO_MOUNT}/{secret}: no such file or directory"))),
        (None, Some(Incident::TaskDoesNotStart)) => Some(task_error(&name, NO_PROGRAM)),
        (None, _) => None,
    });
    if lines.is_empty() {
        return Ok(answer::empty(StatusCode::OK));
    }
    // The new container exists, but its process did not start.
    state.functions().kill(&namespace, &name);
    Err(bad(lines.join("\n")))
}

const NO_PROGRAM: &str = "unable to start container process: exec: \"/nope\": stat /nope: no such file or directory";
const NO_MOUNT: &str = "error mounting \"/var/lib/faasd-provider/secrets";

fn task_error(name: &str, reason: &str) -> String {
    format!(
        "unable to start task: {name}, error: failed to create shim task: OCI runtime create failed: {reason}: unknown"
    )
}

impl State {
    /// The error of faasd for an image that cannot be pulled.
    fn pull_error(&self, image: &str) -> Option<String> {
        let image = full_image(image);
        let resolve = format!("cannot pull: failed to resolve reference \"{image}\": {image}: not found");
        self.is_unreachable(&image).then(|| format!("unable to pull image {image}: {resolve}"))
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
        (Flavour::Faasd, Err(_)) => Err(answer::error(StatusCode::NOT_FOUND, format!("service {name} not found"))),
        // The deployment is still terminating, but its service is deleted already.
        (_, Err(Refused::NoService)) => {
            Err(answer::text(StatusCode::NOT_FOUND, format!("services \"{name}\" not found")))
        }
        (_, Err(_)) => Err(answer::text(StatusCode::NOT_FOUND, not_found(&name))),
    }
}
