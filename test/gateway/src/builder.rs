//! The options of a gateway, and its start.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::accept;
use crate::background::Background;
use crate::fault::Faults;
use crate::flavour::Flavour;
use crate::functions::{Functions, Ready, Times};
use crate::gateway::Gateway;
use crate::guide::Guide;
use crate::iam::IamError;
use crate::issuer::Issuer;
use crate::namespaces::Namespaces;
use crate::record::Record;
use crate::secrets::Secrets;
use crate::serve::{self, State};
use crate::tls::{Certificate, Tls};
use crate::token::{Authority, ExpiresIn};

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address is not available, or the thread could not be started.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// An IAM resource is invalid.
    #[error(transparent)]
    Iam(#[from] IamError),
    /// A certificate could not be created, for example because a host name is invalid.
    #[error("cannot create a certificate: {0}")]
    Certificate(String),
}

/// A gateway to be started.
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
    basic: Option<(String, String)>,
    expires_in: ExpiresIn,
    ready: Ready,
    ready_of: Vec<(String, Ready)>,
    times: Times,
    surplus: Option<Duration>,
    image_environments: Vec<(String, Map<String, Value>)>,
    has_prometheus: bool,
    has_queue: bool,
    publishes_events: bool,
    namespaces: Option<Vec<String>>,
    secrets: Option<Vec<String>>,
    exists_status: Option<u16>,
    flavour: Flavour,
    unreachable_images: Vec<String>,
    recording: bool,
}

#[derive(Clone, Debug)]
enum Resources {
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
            basic: None,
            expires_in: ExpiresIn::default(),
            ready: Ready::After(Duration::ZERO),
            ready_of: Vec::new(),
            times: Times::default(),
            surplus: None,
            image_environments: Vec::new(),
            has_prometheus: true,
            has_queue: true,
            publishes_events: false,
            namespaces: None,
            secrets: None,
            exists_status: None,
            flavour: Flavour::Enterprise,
            unreachable_images: Vec::new(),
            recording: true,
        }
    }
}

impl Builder {
    /// The address to listen on. By default `127.0.0.1` with a free port.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// The path below which everything is served, as behind an ingress: `/openfaas`.
    pub fn base_path(mut self, path: &str) -> Self {
        self.base_path = path.trim_end_matches('/').to_owned();
        self
    }

    /// The `iss` and `aud` of the gateway's tokens. By default its own URL, with the first host name if there is one.
    pub fn public_url(mut self, url: &str) -> Self {
        self.public_url = Some(url.to_owned());
        self
    }

    /// Serves HTTPS with a certificate authority created at start ([`Gateway::ca_pem`]).
    pub fn tls(self) -> Self {
        self.certificate(Certificate::Valid)
    }

    /// Serves HTTPS with this certificate, which may be invalid.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// An additional host name, which is added to the certificate.
    pub fn host_name(mut self, name: &str) -> Self {
        self.host_names.push(name.to_owned());
        self
    }

    /// Disables HTTP/2. Otherwise it is negotiated by ALPN with TLS, and by prior knowledge without.
    pub fn http1_only(mut self) -> Self {
        self.http2 = false;
        self
    }

    /// IAM resources as YAML. May be called several times.
    pub fn iam_yaml(mut self, yaml: &str) -> Self {
        self.iam.push(Resources::Yaml(yaml.to_owned()));
        self
    }

    /// The IAM resources of the OpenFaaS guide for Bitbucket ([`Guide`]) for the issuer's workspace, its default
    /// repository and the gateway's public URL. Also trusts that issuer.
    pub fn guide(mut self, issuer: &Issuer) -> Self {
        self.iam.push(Resources::Guide(issuer.clone()));
        self.issuer(issuer)
    }

    /// Adds the keys of an issuer and enables IAM. To trust the issuer, a `JwtIssuer` is required as well.
    pub fn issuer(mut self, issuer: &Issuer) -> Self {
        self.issuers.push(issuer.clone());
        self
    }

    /// The edition. Community Edition and faasd have no IAM and require [`Builder::basic_auth`].
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// Images whose names contain this text cannot be looked up or pulled: Community Edition rejects them as not
    /// public, and faasd deletes a function that is updated to one. May be called several times.
    pub fn unreachable_image(mut self, part: &str) -> Self {
        self.unreachable_images.push(part.to_owned());
        self
    }

    /// HTTP basic auth as in CE and Standard. Combined with IAM resources, both are accepted.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.basic = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// The `expires_in` in the response of an exchange.
    pub fn expires_in(mut self, expires_in: ExpiresIn) -> Self {
        self.expires_in = expires_in;
        self
    }

    /// When a created or updated function has an available replica. By default at once.
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }

    /// The same for one function, by name, `NAME.NAMESPACE` or image. An image takes precedence over a name.
    pub fn ready_of(mut self, which: &str, ready: Ready) -> Self {
        self.ready_of.push((which.to_owned(), ready));
        self
    }

    /// How long a deleted function is terminating: it is still listed and cannot be created again.
    pub fn deletion(mut self, deletion: Duration) -> Self {
        self.times.deletion = deletion;
        self
    }

    /// How long the service of a deleted function exists. By default as long as the function is terminating, so that
    /// Community Edition accepts updates until then. After this time it updates the deployment, and responds with a 404 that
    /// names the service.
    pub fn service_deletion(mut self, deletion: Duration) -> Self {
        self.times.service_deletion = Some(deletion);
        self
    }

    /// How long `availableReplicas` is above `replicas` in a rolling update, for each replica: from when a new replica is
    /// available ([`Builder::ready`]) until its predecessor has stopped. By default as in a real Kubernetes, where it was 14
    /// to 68 ms: 40 ms. With faasd this is never seen.
    pub fn surplus(mut self, surplus: Duration) -> Self {
        self.surplus = Some(surplus);
        self
    }

    /// The environment in images whose names contain this text. faasd reports it as that of the function, and `fprocess` as
    /// its process.
    pub fn image_environment(mut self, part: &str, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        self.image_environments.push((part.to_owned(), variables));
        self
    }

    /// Prometheus does not respond: if the gateway has a function, it closes the connection of a request for the list.
    pub fn without_prometheus(mut self) -> Self {
        self.has_prometheus = false;
        self
    }

    /// faasd responds to the creation of a namespace with 201. By default it creates the namespace as well, but responds
    /// with 400 because it cannot publish an event, as its last open version does.
    pub fn publishing_events(mut self) -> Self {
        self.publishes_events = true;
        self
    }

    /// There is no queue: `/async-function/` does not exist.
    pub fn without_queue(mut self) -> Self {
        self.has_queue = false;
        self
    }

    /// The namespaces that exist, for use by OpenFaaS. By default every name does.
    pub fn namespaces(mut self, namespaces: &[&str]) -> Self {
        self.namespaces = Some(namespaces.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// The secrets that exist, in every namespace. By default a deployment may name any secret. With an empty list, only
    /// those that were written exist.
    pub fn secrets(mut self, secrets: &[&str]) -> Self {
        self.secrets = Some(secrets.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// The status of a `POST` for a function that already exists. By default that of the edition.
    pub fn exists_status(mut self, status: u16) -> Self {
        self.exists_status = Some(status);
        self
    }

    /// Whether requests are recorded. By default they are.
    pub fn record(mut self, recording: bool) -> Self {
        self.recording = recording;
        self
    }

    /// Starts the gateway. It responds when this returns, and stops when the handle is dropped.
    ///
    /// # Errors
    ///
    /// The address is in use, or a resource is invalid.
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
        Ok(Gateway::new(url, public_url, address, ca_pem, state, background))
    }

    fn state(&self, public_url: &str) -> Result<State, StartError> {
        let authority = Authority::new(public_url.to_owned(), self.expires_in);
        for issuer in &self.issuers {
            authority.trust(issuer.iss(), issuer.jwks());
        }
        for resources in &self.iam {
            let yaml = match resources {
                Resources::Yaml(yaml) => yaml.clone(),
                Resources::Guide(issuer) => Guide::new(issuer, public_url).iam(),
            };
            authority.apply(&yaml)?;
        }
        let times = Times { surplus: self.surplus.unwrap_or_else(|| self.flavour.surplus()), ..self.times };
        let mut functions = Functions::new(self.ready, times, self.flavour, self.image_environments.clone());
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
            unreachable_images: self.unreachable_images.clone(),
            has_prometheus: self.has_prometheus,
            has_queue: self.has_queue,
            publishes_events: self.publishes_events,
            life: Arc::default(),
            issuers: self.issuers.clone(),
            functions: Mutex::new(functions),
            namespaces: Mutex::new(Namespaces::new(self.namespaces.as_deref())),
            secrets: Mutex::new(Secrets::new(self.secrets.as_deref())),
            exists_status: StatusCode::from_u16(exists_status).unwrap_or(StatusCode::CONFLICT),
            faults: Faults::default(),
            record: Record::default(),
            recording: AtomicBool::new(self.recording),
        })
    }
}
