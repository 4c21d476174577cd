//! `/system/namespaces` and `/system/namespace/NAME`, as each edition implements them.
#![allow(clippy::result_large_err, reason = "a response is moved only a few times per request")]

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::flavour::Flavour;
use crate::functions::DEFAULT_NAMESPACE;
use crate::record::Request;
use crate::rest::{Result, authorise};
use crate::serve::State;
use crate::validate::is_dns_label;

/// The label and annotation of a namespace that OpenFaaS may use.
const MARK: &str = "openfaas";

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NamespaceState {
    /// Its name.
    pub name: String,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// All namespaces by name.
#[derive(Debug)]
pub(crate) struct Namespaces {
    known: BTreeMap<String, NamespaceState>,
    /// Whether every other name exists as well.
    every: bool,
}

impl Namespaces {
    pub(crate) fn new(names: Option<&[String]>) -> Self {
        let mark = || BTreeMap::from([(MARK.to_owned(), "1".to_owned())]);
        let marked =
            |name: &String| (name.clone(), NamespaceState { name: name.clone(), labels: mark(), annotations: mark() });
        Self { known: names.into_iter().flatten().map(marked).collect(), every: names.is_none() }
    }

    /// Whether faasd serves functions in this namespace.
    pub(crate) fn is_for_faasd(&self, name: &str) -> bool {
        let labelled = |namespace: &NamespaceState| namespace.labels.contains_key(MARK);
        name == DEFAULT_NAMESPACE || self.known.get(name).map_or(self.every, labelled)
    }

    /// Whether Kubernetes has this namespace and it is annotated for use by OpenFaaS.
    pub(crate) fn is_annotated(&self, name: &str) -> bool {
        self.known.get(name).map_or(self.every, |namespace| namespace.annotations.contains_key(MARK))
    }

    fn get(&self, name: &str) -> Option<NamespaceState> {
        let every = || self.every.then(|| NamespaceState { name: name.to_owned(), ..NamespaceState::default() });
        self.known.get(name).cloned().or_else(every)
    }

    pub(crate) fn put(&mut self, name: &str, labels: BTreeMap<String, String>, annotations: BTreeMap<String, String>) {
        self.known.insert(name.to_owned(), NamespaceState { name: name.to_owned(), labels, annotations });
    }

    pub(crate) fn states(&self) -> Vec<NamespaceState> {
        self.known.values().cloned().collect()
    }
}

/// Handles `GET /system/namespaces`.
pub(crate) fn list(state: &State, head: &Request) -> Result {
    let mut names: Vec<String> = state.namespaces().known.keys().cloned().collect();
    match state.flavour {
        Flavour::Ce => names = vec![DEFAULT_NAMESPACE.to_owned()],
        // It adds its default namespace, even if that has the label.
        Flavour::Faasd => {
            names.retain(|name| state.namespaces().is_for_faasd(name));
            names.push(DEFAULT_NAMESPACE.to_owned());
        }
        Flavour::Enterprise => {
            names.retain(|name| state.namespaces().is_annotated(name));
            if state.namespaces().every {
                names.extend(state.functions().states().into_iter().map(|function| function.namespace));
                names.push(DEFAULT_NAMESPACE.to_owned());
                names.sort_unstable();
                names.dedup();
            }
        }
    }
    let permission = |name: &String| authorise(state, &head.headers, "Namespace:List", &format!("{name}:*"));
    if let Some(refusal) = names.first().and_then(|first| permission(first).err())
        && names.iter().all(|name| permission(name).is_err())
    {
        return Err(refusal);
    }
    names.retain(|name| permission(name).is_ok());
    Ok(answer::json(StatusCode::OK, &json!(names)))
}

/// Handles a request to `/system/namespace/NAME`.
pub(crate) fn answer(state: &State, head: &Request, in_path: &str, body: &[u8]) -> Result {
    if state.flavour == Flavour::Ce {
        return Err(answer::error(StatusCode::NOT_FOUND, "404 page not found"));
    }
    let method = head.method.as_str();
    let action = match method {
        "GET" => "Namespace:Get",
        "POST" => "Namespace:Create",
        "PUT" => "Namespace:Update",
        "DELETE" => "Namespace:Delete",
        _ => return Err(answer::empty(StatusCode::METHOD_NOT_ALLOWED)),
    };
    let request = parse(method, in_path, body)?;
    authorise(state, &head.headers, action, &format!("{}:*", request.name))?;
    if method != "GET" && request.labels.get(MARK).is_none_or(|value| value != "1") {
        return Err(bad("request does not have openfaas=1 label"));
    }
    let found = state.namespaces().get(&request.name);
    match (method, found) {
        ("POST", None) => create(state, request),
        ("POST", Some(_)) => {
            Err(answer::error(StatusCode::CONFLICT, format!("namespace {} already exists", request.name)))
        }
        (_, None) => Err(answer::error(StatusCode::NOT_FOUND, format!("namespace {} not found", request.name))),
        ("GET", Some(found)) => {
            let text = format!("{}\n", serde_json::to_value(found).unwrap_or_default());
            Ok(answer::with_body(StatusCode::OK, Some("application/json"), text.into()))
        }
        ("DELETE", Some(_)) => delete(state, &request.name),
        (_, Some(_)) => {
            let (name, labels, annotations) = keeps(state, request);
            state.namespaces().put(&name, labels, annotations);
            Ok(answer::empty(StatusCode::ACCEPTED))
        }
    }
}

/// The namespace in the path, and in the body except for `GET`.
fn parse(method: &str, in_path: &str, body: &[u8]) -> Result<NamespaceState> {
    if in_path.is_empty() && method != "POST" {
        return Err(bad("namespace not specified in URL"));
    }
    if method == "GET" {
        return Ok(NamespaceState { name: in_path.to_owned(), ..NamespaceState::default() });
    }
    let parsing = |error: serde_json::Error| bad(format!("error parsing request body: {error}"));
    let raw: Value = serde_json::from_slice(body).map_err(parsing)?;
    let request = NamespaceState::deserialize(&raw).map_err(parsing)?;
    if method != "POST" && request.name != in_path {
        return Err(bad("namespace in request body does not match namespace in URL"));
    }
    if request.name.is_empty() {
        return Err(bad("namespace not specified in request body"));
    }
    Ok(request)
}

type Kept = (String, BTreeMap<String, String>, BTreeMap<String, String>);

/// What the edition stores: faasd has no annotations.
fn keeps(state: &State, request: NamespaceState) -> Kept {
    let NamespaceState { name, labels, annotations } = request;
    (name, labels, if state.flavour == Flavour::Faasd { BTreeMap::new() } else { annotations })
}

fn create(state: &State, request: NamespaceState) -> Result {
    if !is_dns_label(&request.name) {
        return Err(bad(format!("namespace: ({}) is invalid, must be a valid DNS entry", request.name)));
    }
    let (name, labels, annotations) = keeps(state, request);
    state.namespaces().put(&name, labels, annotations);
    if state.flavour == Flavour::Faasd && !state.publishes_events {
        return Err(bad("failed publishing event: namespace is required: failed precondition: unknown"));
    }
    Ok(answer::empty(StatusCode::CREATED))
}

/// Kubernetes deletes what is in the namespace. faasd refuses if it ever held a function.
fn delete(state: &State, name: &str) -> Result {
    if state.flavour == Flavour::Faasd && state.functions().ever_in(name) {
        let left = "images, blobs, snapshots on \"native\" snapshotter, snapshots on \"overlayfs\" snapshotter";
        let text = format!("namespace \"{name}\" must be empty, but it still has {left}: failed precondition");
        return Err(answer::error(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    state.namespaces().known.remove(name);
    if state.flavour == Flavour::Enterprise {
        state.functions().delete_namespace(name);
        state.secrets().delete_namespace(name);
    }
    Ok(answer::empty(StatusCode::ACCEPTED))
}

fn bad(text: impl std::fmt::Display) -> Answer {
    answer::error(StatusCode::BAD_REQUEST, text)
}
