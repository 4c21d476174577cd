//! The gateway's handle: starting it in its own thread, asking it what it saw, telling it what goes wrong.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;
use thiserror::Error;

use crate::accept;
use crate::background::Background;
use crate::fault::{Fault, Faults};
use crate::flavour::Flavour;
use crate::functions::{DEFAULT_NAMESPACE, FunctionState, Functions, Ready};
use crate::guide::Guide;
use crate::iam::IamError;
use crate::issuer::Issuer;
use crate::life::Stage;
use crate::record::{Record, Request};
use crate::serve::{self, State};
use crate::tls::{Certificate, Tls};
use crate::token::{Authority, ExpiresIn};
use crate::validate::Deployment;

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address cannot be listened on, or the thread not started.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A file with IAM resources cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An IAM resource is wrong.
    #[error(transparent)]
    Iam(#[from] IamError),
    /// No certificate could be made, for a host name that is none.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
}

/// A gateway before it is started.
#[derive(Clone, Debug)]
#[must_use = "a gateway is started by `start`"]
pub struct Builder {
    address: SocketAddr,
    base_path: String,
    public_url: Option<String>,
    host_names: Vec<String>,
    certificate: Option<Certificate>,
    http2: bool,
    iam: Vec<Resources>,
    issuers: Vec<Issuer>,
    jwks: Vec<(String, Value)>,
    basic: Option<(String, String)>,
    expires_in: ExpiresIn,
    ready: Ready,
    ready_of: Vec<(String, Ready)>,
    deletion: Duration,
    namespaces: Option<Vec<String>>,
    secrets: Option<Vec<String>>,
    exists_status: Option<u16>,
    flavour: Flavour,
    default_namespace: String,
    unreachable_images: Vec<String>,
    terse_watchdog: bool,
    recording: bool,
}

#[derive(Clone, Debug)]
enum Resources {
    File(PathBuf),
    Yaml(String),
    Guide(Issuer),
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            base_path: String::new(),
            public_url: None,
            host_names: Vec::new(),
            certificate: None,
            http2: true,
            iam: Vec::new(),
            issuers: Vec::new(),
            jwks: Vec::new(),
            basic: None,
            expires_in: ExpiresIn::default(),
            ready: Ready::After(Duration::ZERO),
            ready_of: Vec::new(),
            deletion: Duration::ZERO,
            namespaces: None,
            secrets: None,
            exists_status: None,
            flavour: Flavour::Enterprise,
            default_namespace: DEFAULT_NAMESPACE.to_owned(),
            unreachable_images: Vec::new(),
            terse_watchdog: false,
            recording: true,
        }
    }
}

impl Builder {
    /// Where to listen; `127.0.0.1` and a free port unless told otherwise.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// A path below which everything lies, as an ingress may have it: `/openfaas`.
    pub fn base_path(mut self, path: &str) -> Self {
        self.base_path = path.trim_end_matches('/').to_owned();
        self
    }

    /// What the gateway calls itself in its tokens' `iss` and `aud`; unless told otherwise its own URL, with the first
    /// of the host names where it has some.
    pub fn public_url(mut self, url: &str) -> Self {
        self.public_url = Some(url.to_owned());
        self
    }

    /// Serves HTTPS, with an authority made at start ([`Gateway::ca_pem`]).
    pub fn tls(self) -> Self {
        self.certificate(Certificate::Valid)
    }

    /// Serves HTTPS with a certificate of which something may be wrong.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// One more name by which it is reached, such as a container's; the certificate has it.
    pub fn host_name(mut self, name: &str) -> Self {
        self.host_names.push(name.to_owned());
        self
    }

    /// Speaks HTTP/1.1 only. Else HTTP/2 as well: by ALPN with TLS, by prior knowledge without.
    pub fn http1_only(mut self) -> Self {
        self.http2 = false;
        self
    }

    /// IAM resources from a file of one or several YAML documents. Several calls add up.
    pub fn iam_file(mut self, path: impl AsRef<Path>) -> Self {
        self.iam.push(Resources::File(path.as_ref().to_owned()));
        self
    }

    /// IAM resources as YAML. Several calls add up.
    pub fn iam_yaml(mut self, yaml: &str) -> Self {
        self.iam.push(Resources::Yaml(yaml.to_owned()));
        self
    }

    /// The resources of the OpenFaaS guide for Bitbucket ([`Guide`]), filled in for an issuer's workspace, its default
    /// repository and the gateway's public URL, and the trust in that issuer.
    pub fn guide(mut self, issuer: &Issuer) -> Self {
        self.iam.push(Resources::Guide(issuer.clone()));
        self.issuer(issuer)
    }

    /// Knows an issuer's keys, and switches IAM on. That it is trusted takes a `JwtIssuer` as well.
    pub fn issuer(mut self, issuer: &Issuer) -> Self {
        self.issuers.push(issuer.clone());
        self
    }

    /// Takes these keys for those of an `iss`, in place of the ones it would fetch; an empty set for a stale cache.
    pub fn jwks(mut self, iss: &str, jwks: Value) -> Self {
        self.jwks.push((iss.to_owned(), jwks));
        self
    }

    /// The edition it is. Community Edition and faasd have no IAM: they want [`Builder::basic_auth`].
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// The namespace of a function that names none; `openfaas-fn` unless told otherwise.
    pub fn default_namespace(mut self, namespace: &str) -> Self {
        self.default_namespace = namespace.to_owned();
        self
    }

    /// Images with this in their names can be neither looked up nor pulled: Community Edition refuses them as not public,
    /// and faasd removes a function that is updated to one. Several calls add up.
    pub fn unreachable_image(mut self, part: &str) -> Self {
        self.unreachable_images.push(part.to_owned());
        self
    }

    /// Watchdogs do not say why they refuse a token, as the newest do not.
    pub fn terse_watchdog(mut self) -> Self {
        self.terse_watchdog = true;
        self
    }

    /// HTTP basic auth, as CE and Standard have it; with IAM resources, beside them.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.basic = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// What an exchange says of the token's life.
    pub fn expires_in(mut self, expires_in: ExpiresIn) -> Self {
        self.expires_in = expires_in;
        self
    }

    /// When a function that was created or updated has an available replica; at once unless told otherwise.
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }

    /// The same for one function, by name, `NAME.NAMESPACE` or image; an image comes before a name.
    pub fn ready_of(mut self, which: &str, ready: Ready) -> Self {
        self.ready_of.push((which.to_owned(), ready));
        self
    }

    /// How long a deleted function stays, terminating: it is still listed, and cannot be created anew.
    pub fn deletion(mut self, deletion: Duration) -> Self {
        self.deletion = deletion;
        self
    }

    /// The only namespaces there are; without it any name will do.
    pub fn namespaces(mut self, namespaces: &[&str]) -> Self {
        self.namespaces = Some(namespaces.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// The only secrets there are; without it any name will do.
    pub fn secrets(mut self, secrets: &[&str]) -> Self {
        self.secrets = Some(secrets.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// What a `POST` of a function that exists is answered with, unless told otherwise what the edition answers.
    pub fn exists_status(mut self, status: u16) -> Self {
        self.exists_status = Some(status);
        self
    }

    /// Whether requests are recorded; they are unless told otherwise.
    pub fn record(mut self, recording: bool) -> Self {
        self.recording = recording;
        self
    }

    /// Starts the gateway; it answers when this returns, and ends when the handle is dropped.
    ///
    /// # Errors
    ///
    /// The address is taken, or a resource cannot be read or is wrong.
    pub fn start(self) -> Result<Gateway, StartError> {
        let listen = |source| StartError::Listen { address: self.address, source };
        let listener = TcpListener::bind(self.address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let tls = self.certificate.map(|certificate| Tls::new(certificate, &self.host_names, self.http2));
        let tls = tls.transpose().map_err(|error| StartError::Certificate(error.to_string()))?;

        let scheme = if tls.is_some() { "https" } else { "http" };
        let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        let url = format!("{scheme}://{}{}", SocketAddr::new(ip, address.port()), self.base_path);
        let named =
            self.host_names.first().map(|name| format!("{scheme}://{name}:{}{}", address.port(), self.base_path));
        let public_url = self.public_url.clone().or(named).unwrap_or_else(|| url.clone());
        let state = Arc::new(self.state(&public_url)?);

        let (config, ca_pem) = tls.map_or((None, String::new()), |tls| (Some(tls.config), tls.ca_pem));
        let (serving, http2) = (Arc::clone(&state), self.http2);
        let life = Arc::clone(&state.life);
        let answer =
            move |breaker, connection, request| serve::request(Arc::clone(&serving), breaker, connection, request);
        let serve = move || accept::run(listener, config, http2, life, answer);
        let background = Background::start("local-gateway", serve).map_err(listen)?;
        Ok(Gateway { url, public_url, address, ca_pem, state, _background: background })
    }

    fn state(&self, public_url: &str) -> Result<State, StartError> {
        let authority = Authority::new(public_url.to_owned(), self.expires_in);
        for issuer in &self.issuers {
            authority.trust(issuer.iss(), issuer.jwks());
        }
        for (iss, jwks) in &self.jwks {
            authority.trust(iss, jwks.clone());
        }
        for resources in &self.iam {
            let yaml = match resources {
                Resources::File(path) => {
                    std::fs::read_to_string(path).map_err(|source| StartError::File { path: path.clone(), source })?
                }
                Resources::Yaml(yaml) => yaml.clone(),
                Resources::Guide(issuer) => Guide::new(issuer, public_url).iam(),
            };
            authority.apply(&yaml)?;
        }
        let mut functions = Functions::new(self.ready, self.deletion, self.flavour, self.default_namespace.clone());
        for (which, ready) in &self.ready_of {
            functions.set_ready(which, *ready);
        }
        let exists_status = self.exists_status.unwrap_or(self.flavour.exists_status());
        Ok(State {
            base_path: self.base_path.clone(),
            authority,
            iam: self.flavour.has_iam() && !(self.iam.is_empty() && self.issuers.is_empty()),
            basic: self.basic.clone(),
            flavour: self.flavour,
            default_namespace: self.default_namespace.clone(),
            unreachable_images: self.unreachable_images.clone(),
            terse_watchdog: self.terse_watchdog,
            life: Arc::default(),
            issuers: self.issuers.clone(),
            functions: Mutex::new(functions),
            namespaces: self.namespaces.clone(),
            secrets: self.secrets.clone(),
            exists_status: StatusCode::from_u16(exists_status).unwrap_or(StatusCode::CONFLICT),
            faults: Faults::default(),
            record: Record::default(),
            recording: AtomicBool::new(self.recording),
        })
    }
}

/// A running gateway. Dropping it closes every connection.
pub struct Gateway {
    url: String,
    public_url: String,
    address: SocketAddr,
    ca_pem: String,
    state: Arc<State>,
    _background: Background,
}

impl Gateway {
    /// A gateway to be set up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL a client uses, base path included: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the gateway calls itself; an ID token's audience.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate authority; empty without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Every request so far, in the order in which they arrived.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state.record.requests()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.state.record.clear();
    }

    /// Records requests from now on, or no longer.
    pub fn record(&self, recording: bool) {
        self.state.recording.store(recording, Ordering::Relaxed);
    }

    /// Every function, by namespace and name.
    #[must_use]
    pub fn functions(&self) -> Vec<FunctionState> {
        self.state.functions().states()
    }

    /// One function.
    #[must_use]
    pub fn function(&self, namespace: &str, name: &str) -> Option<FunctionState> {
        self.functions().into_iter().find(|function| function.namespace == namespace && function.name == name)
    }

    /// Puts a function there, as a `POST` or `PUT` of this JSON would, but unchecked and ready at once.
    ///
    /// # Panics
    ///
    /// The JSON is not a deployment: the test is wrong.
    pub fn put_function(&self, raw: &Value) {
        let deployment: Deployment = serde_json::from_value(raw.clone()).expect("the JSON is a deployment");
        self.state.functions().preset(deployment, raw.clone());
    }

    /// Says when a function (by name, `NAME.NAMESPACE` or image) is ready after a deployment, one under way included.
    pub fn set_ready(&self, which: &str, ready: Ready) {
        self.state.functions().set_ready(which, ready);
    }

    /// Adds a line to a function's log; `false` where there is no such function.
    pub fn log(&self, namespace: &str, name: &str, line: &str) -> bool {
        self.state.functions().log(namespace, name, line).is_ok()
    }

    /// Applies IAM resources, as `kubectl apply` would.
    ///
    /// # Errors
    ///
    /// A resource is wrong; those before it in the text are applied.
    pub fn apply(&self, yaml: &str) -> Result<(), IamError> {
        self.state.authority.apply(yaml)
    }

    /// Signs tokens with a new key. A guarded function that runs already knows the old one only, until it is deployed
    /// again.
    pub fn rotate_keys(&self) {
        self.state.authority.rotate();
        self.state.functions().keys += 1;
    }

    /// Dies: connections are closed, and no further one is accepted.
    pub fn die(&self) {
        self.state.life.enter(Stage::Dying);
    }

    /// Makes something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.state.faults.add(fault);
    }

    /// Takes every fault back.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }
}
