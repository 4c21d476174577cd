//! The handle of a running gateway: returns what it holds and the recorded requests, sets faults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::background::Background;
use crate::builder::Builder;
use crate::fault::Fault;
use crate::functions::{FunctionState, Ready};
use crate::iam::IamError;
use crate::namespaces::NamespaceState;
use crate::record::Request;
use crate::secrets::SecretState;
use crate::serve::State;
use crate::validate::Deployment;

/// A running gateway. Dropping it closes all connections.
pub struct Gateway {
    url: String,
    public_url: String,
    address: SocketAddr,
    ca_pem: String,
    state: Arc<State>,
    _background: Background,
}

impl Gateway {
    pub(crate) fn new(
        url: String,
        public_url: String,
        address: SocketAddr,
        ca_pem: String,
        state: Arc<State>,
        background: Background,
    ) -> Self {
        Self { url, public_url, address, ca_pem, state, _background: background }
    }

    /// A builder with the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL for clients, including the base path: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The public URL, which is the audience of ID tokens.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate authority in PEM format. Empty without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// All requests so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state.record.requests()
    }

    /// Clears the recorded requests.
    pub fn clear_requests(&self) {
        self.state.record.clear();
    }

    /// Switches recording of requests on or off.
    pub fn record(&self, recording: bool) {
        self.state.recording.store(recording, Ordering::Relaxed);
    }

    /// All functions, sorted by namespace and name.
    #[must_use]
    pub fn functions(&self) -> Vec<FunctionState> {
        self.state.functions().states()
    }

    /// One function.
    #[must_use]
    pub fn function(&self, namespace: &str, name: &str) -> Option<FunctionState> {
        self.functions().into_iter().find(|function| function.namespace == namespace && function.name == name)
    }

    /// Creates a function from the JSON of a `POST`, without validation and ready at once.
    ///
    /// # Panics
    ///
    /// The JSON is not a deployment.
    pub fn put_function(&self, raw: &Value) {
        let deployment: Deployment = serde_json::from_value(raw.clone()).expect("the JSON is a deployment");
        self.state.functions().preset(deployment, raw.clone());
    }

    /// All secrets that were written, sorted by namespace and name.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretState> {
        self.state.secrets().states()
    }

    /// The value of a secret that was written.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Vec<u8>> {
        self.secrets().into_iter().find(|secret| secret.namespace == namespace && secret.name == name).map(|s| s.value)
    }

    /// Writes a secret.
    pub fn put_secret(&self, namespace: &str, name: &str, value: &[u8]) {
        self.state.secrets().write(namespace, name, value.to_vec());
    }

    /// All namespaces, sorted by name: those of [`Builder::namespaces`] and those that were created.
    #[must_use]
    pub fn namespaces(&self) -> Vec<NamespaceState> {
        self.state.namespaces().states()
    }

    /// Creates a namespace, or replaces its labels and annotations.
    pub fn put_namespace(&self, name: &str, labels: &[(&str, &str)], annotations: &[(&str, &str)]) {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        self.state.namespaces().put(name, map(labels), map(annotations));
    }

    /// Sets when a function (by name, `NAME.NAMESPACE` or image) becomes ready after a deployment, including the
    /// current one.
    pub fn set_ready(&self, which: &str, ready: Ready) {
        self.state.functions().set_ready(which, ready);
    }

    /// Adds a line to the log of a function. Returns `false` if the function does not exist.
    pub fn log(&self, namespace: &str, name: &str, line: &str) -> bool {
        self.state.functions().log(namespace, name, line).is_ok()
    }

    /// Applies IAM resources, as `kubectl apply` does.
    ///
    /// # Errors
    ///
    /// A resource is invalid. Those before it are applied.
    pub fn apply(&self, yaml: &str) -> Result<(), IamError> {
        self.state.authority.apply(yaml)
    }

    /// Adds a fault.
    pub fn fault(&self, fault: Fault) {
        self.state.faults.add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }
}
