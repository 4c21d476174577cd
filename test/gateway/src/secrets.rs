//! `/system/secrets`, as each edition implements it.
#![allow(clippy::result_large_err, reason = "a response is moved only a few times per request")]

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;
use crate::flavour::Flavour;
use crate::functions::DEFAULT_NAMESPACE;
use crate::record::Request;
use crate::rest::{Result, authorise, serves};
use crate::serve::State;
use crate::validate::is_dns_label;

/// A secret that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretState {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// All secrets by namespace and name.
#[derive(Debug)]
pub(crate) struct Secrets {
    values: BTreeMap<(String, String), Vec<u8>>,
    /// Names that exist in every namespace. `None` means that a deployment may name any secret.
    everywhere: Option<BTreeSet<String>>,
}

impl Secrets {
    pub(crate) fn new(everywhere: Option<&[String]>) -> Self {
        Self { values: BTreeMap::new(), everywhere: everywhere.map(|names| names.iter().cloned().collect()) }
    }

    /// Whether a deployment may name this secret.
    pub(crate) fn may_name(&self, namespace: &str, name: &str) -> bool {
        self.everywhere.is_none() || self.exists(namespace, name)
    }

    fn exists(&self, namespace: &str, name: &str) -> bool {
        self.everywhere.as_ref().is_some_and(|names| names.contains(name))
            || self.values.contains_key(&(namespace.to_owned(), name.to_owned()))
    }

    pub(crate) fn write(&mut self, namespace: &str, name: &str, value: Vec<u8>) {
        self.values.insert((namespace.to_owned(), name.to_owned()), value);
    }

    /// Deletes a secret. Returns whether it existed.
    fn delete(&mut self, namespace: &str, name: &str) -> bool {
        let everywhere = self.everywhere.as_mut().is_some_and(|names| names.remove(name));
        self.values.remove(&(namespace.to_owned(), name.to_owned())).is_some() || everywhere
    }

    pub(crate) fn delete_namespace(&mut self, namespace: &str) {
        self.values.retain(|(of, _), _| of != namespace);
    }

    fn names(&self, namespace: &str) -> BTreeSet<&String> {
        let of_namespace = self.values.keys().filter(|(of, _)| of == namespace).map(|(_, name)| name);
        self.everywhere.iter().flatten().chain(of_namespace).collect()
    }

    pub(crate) fn states(&self) -> Vec<SecretState> {
        let state = |((namespace, name), value): (&(String, String), &Vec<u8>)| SecretState {
            name: name.clone(),
            namespace: namespace.clone(),
            value: value.clone(),
        };
        self.values.iter().map(state).collect()
    }
}

/// The body of a request.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Secret {
    name: String,
    namespace: String,
    value: String,
    raw_value: Option<String>,
}

impl Secret {
    /// The bytes: `rawValue` takes precedence unless it is empty. `None` if it is not base64.
    fn bytes(&self) -> Option<Vec<u8>> {
        match self.raw_value.as_deref().filter(|raw| !raw.is_empty()) {
            Some(raw) => STANDARD.decode(raw).ok(),
            None => Some(self.value.clone().into_bytes()),
        }
    }
}

/// Handles a request to `/system/secrets`.
pub(crate) fn answer(state: &State, head: &Request, method: &str, body: &[u8]) -> Result {
    let action = match method {
        "GET" => "Secret:List",
        "POST" => "Secret:Create",
        "PUT" => "Secret:Update",
        "DELETE" => "Secret:Delete",
        _ => return Err(answer::empty(StatusCode::BAD_REQUEST)),
    };
    let in_query = head.parameter("namespace").unwrap_or_default();
    let given = if method == "GET" { Ok(Secret::default()) } else { serde_json::from_slice(body) };
    let malformed = |error: &dyn std::fmt::Display| match state.flavour {
        Flavour::Faasd => answer::error(StatusCode::INTERNAL_SERVER_ERROR, error),
        Flavour::Enterprise | Flavour::Ce => {
            answer::error(StatusCode::BAD_REQUEST, "unable to unmarshal Secret request")
        }
    };
    let secret: Secret = given.map_err(|error| malformed(&error))?;
    let from_query = method == "GET" || state.flavour == Flavour::Faasd && method == "DELETE";
    let namespace = if from_query { in_query } else { secret.namespace.clone() };
    let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE.to_owned() } else { namespace };
    authorise(state, &head.headers, action, &format!("{namespace}:*"))?;
    let bytes = secret.bytes().ok_or_else(|| malformed(&"illegal base64 data at input byte 0"))?;
    match state.flavour {
        Flavour::Faasd => of_faasd(state, method, &namespace, &secret.name, bytes),
        Flavour::Enterprise | Flavour::Ce => of_kubernetes(state, method, &namespace, &secret.name, bytes),
    }
}

/// The bodies of refusals are empty.
fn of_kubernetes(state: &State, method: &str, namespace: &str, name: &str, bytes: Vec<u8>) -> Result {
    let refused = |status| Err(answer::empty(status));
    if serves(state, namespace).is_err() {
        return refused(StatusCode::BAD_REQUEST);
    }
    let mut secrets = state.secrets();
    if method == "GET" {
        return Ok(answer::json(StatusCode::OK, &listed(&secrets, namespace)));
    }
    let exists = secrets.exists(namespace, name);
    match method {
        "POST" if name.is_empty() || !name.split('.').all(is_dns_label) => {
            return refused(StatusCode::UNPROCESSABLE_ENTITY);
        }
        "POST" if exists => return refused(StatusCode::CONFLICT),
        "PUT" | "DELETE" if !exists => return refused(StatusCode::NOT_FOUND),
        "DELETE" => _ = secrets.delete(namespace, name),
        _ => secrets.write(namespace, name, bytes),
    }
    Ok(answer::empty(StatusCode::ACCEPTED))
}

/// faasd stores a file for each secret, and does not check the namespace before it writes one.
fn of_faasd(state: &State, method: &str, namespace: &str, name: &str, bytes: Vec<u8>) -> Result {
    if method == "GET" {
        serves(state, namespace)?;
        return Ok(answer::text(StatusCode::OK, listed(&state.secrets(), namespace).to_string()));
    }
    let refused = |status, text: &str| Err(answer::error(status, text));
    if method == "DELETE" {
        if state.secrets().delete(namespace, name) {
            return Ok(answer::empty(StatusCode::OK));
        }
        let text = format!("remove /var/lib/faasd-provider/secrets/{namespace}/{name}: no such file or directory");
        return refused(StatusCode::INTERNAL_SERVER_ERROR, &text);
    }
    if name.trim().is_empty() {
        return refused(StatusCode::BAD_REQUEST, "non-empty name is required");
    }
    if name.contains('/') || name.contains("..") {
        return refused(StatusCode::BAD_REQUEST, "directory traversal found in name");
    }
    state.secrets().write(namespace, name, bytes);
    Ok(answer::empty(StatusCode::OK))
}

/// Names only: no edition returns values.
fn listed(secrets: &Secrets, namespace: &str) -> Value {
    secrets.names(namespace).into_iter().map(|name| json!({"name": name, "namespace": namespace})).collect()
}
