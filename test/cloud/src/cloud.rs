//! The handle of a cloud: one TLS server for all host names, and the proxy that resolves them to it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use local_gateway::proxy::{self, Proxy};
use local_gateway::relay::{self, Relay};
use local_gateway::server::{self, Server};
use local_gateway::{CertificateAuthority, Fault, Request, StartError};

use crate::aws::Aws;
use crate::google::Google;
use crate::registry::{Registries, Registry};
use crate::reply::{self, Reply};
use crate::secret::Secrets;

/// A port that nothing listens on.
const CLOSED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// A cloud to be started.
#[derive(Clone, Copy, Debug)]
#[must_use = "a cloud is started by `start`"]
pub struct Builder {
    http2: bool,
    rtt: Duration,
}

impl Builder {
    /// Disables HTTP/2.
    pub fn http1_only(mut self) -> Self {
        self.http2 = false;
        self
    }

    /// Adds a round-trip time to every connection.
    pub fn round_trip(mut self, rtt: Duration) -> Self {
        self.rtt = rtt;
        self
    }

    /// Starts server and proxy.
    ///
    /// # Errors
    ///
    /// No port or no thread is available.
    pub fn start(self) -> Result<Cloud, StartError> {
        let authority = Arc::new(CertificateAuthority::new("local-cloud authority")?);
        let services = Services::default();
        let serving = services.clone();
        let server = server::start(Arc::clone(&authority), self.http2, move |request| serving.reply(request))?;
        let listen = |source: io::Error| StartError::Listen { address: server.address(), source };
        let relay = match self.rtt {
            Duration::ZERO => None,
            rtt => Some(relay::start(server.address(), rtt).map_err(listen)?),
        };
        let proxy = proxy::start().map_err(listen)?;
        proxy.resolve_others(relay.as_ref().map_or(server.address(), Relay::address));
        Ok(Cloud { services, proxy, authority, server, _relay: relay })
    }
}

/// A running cloud. Dropping it closes its connections.
pub struct Cloud {
    services: Services,
    proxy: Proxy,
    authority: Arc<CertificateAuthority>,
    server: Server,
    _relay: Option<Relay>,
}

impl Cloud {
    /// A builder with the defaults.
    pub fn builder() -> Builder {
        Builder { http2: true, rtt: Duration::ZERO }
    }

    /// Starts a cloud without registries, roles and projects.
    ///
    /// # Errors
    ///
    /// No port or no thread is available.
    pub fn start() -> Result<Self, StartError> {
        Self::builder().start()
    }

    /// The value of `HTTPS_PROXY`.
    #[must_use]
    pub fn proxy_url(&self) -> String {
        self.proxy.url()
    }

    /// The certificate authority, which is the value of `CA_CERT`.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    /// All requests so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// The requests to one host.
    #[must_use]
    pub fn requests_to(&self, host: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.host() == host).collect()
    }

    /// All requests as `METHOD HOST/PATH`.
    #[must_use]
    pub fn request_lines(&self) -> Vec<String> {
        let line = |request: &Request| format!("{} {}{}", request.method, request.host(), request.path);
        self.requests().iter().map(line).collect()
    }

    /// Clears the recorded requests.
    pub fn clear_requests(&self) {
        self.server.clear_requests();
    }

    /// The `HOST:PORT` of all tunnels through the proxy.
    #[must_use]
    pub fn tunnels(&self) -> Vec<String> {
        let requests = self.proxy.requests();
        requests.into_iter().filter(|request| request.method == "CONNECT").map(|request| request.path).collect()
    }

    /// Adds a fault. [`Fault::host`] limits it to a host.
    pub fn fault(&self, fault: Fault) {
        self.server.fault(fault);
    }

    /// Resolves a host name to another server.
    pub fn resolve(&self, host: &str, address: SocketAddr) {
        self.proxy.resolve(host, address);
    }

    /// Adds a server for a host that the cloud does not have.
    pub fn serve(&self, host: &str, answer: impl Fn(&Request) -> Response<Bytes> + Send + Sync + 'static) {
        let mut others = self.services.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.insert(host.to_owned(), Arc::new(answer));
    }

    /// The authority that issues the cloud's certificates.
    #[must_use]
    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Makes a host unreachable.
    pub fn disconnect(&self, host: &str) {
        self.proxy.resolve(host, CLOSED);
    }

    /// Amazon Web Services: IAM, STS and the ECR API.
    #[must_use]
    pub fn aws(&self) -> &Aws {
        &self.services.aws
    }

    /// Google Cloud: workload identity pools, service accounts, STS and IAM Credentials.
    #[must_use]
    pub fn google(&self) -> &Google {
        &self.services.google
    }

    /// The registry with this host name, created on first use, with the behaviour of the real one of that name.
    #[must_use]
    pub fn registry(&self, host: &str) -> Registry {
        let Services { aws, google, registries, secrets, .. } = &self.services;
        registries.get_or_insert(host, aws, google, secrets)
    }

    pub(crate) fn store(&self) -> &Secrets {
        &self.services.secrets
    }

    /// All secrets that were configured or issued. None of them may appear in the output of a client.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.services.secrets.all()
    }
}

type Responder = dyn Fn(&Request) -> Response<Bytes> + Send + Sync;

/// The services behind the server.
#[derive(Clone)]
struct Services {
    aws: Aws,
    google: Google,
    registries: Registries,
    others: Arc<Mutex<HashMap<String, Arc<Responder>>>>,
    secrets: Secrets,
}

impl Default for Services {
    fn default() -> Self {
        let secrets = Secrets::default();
        Self {
            aws: Aws::new(secrets.clone()),
            google: Google::new(secrets.clone()),
            registries: Registries::default(),
            others: Arc::default(),
            secrets,
        }
    }
}

impl Services {
    fn other(&self, host: &str, request: &Request) -> Option<Reply> {
        let answer = self.others.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
        answer.map(|answer| answer(request))
    }

    fn reply(&self, request: &Request) -> Response<Bytes> {
        let host = request.host();
        (self.aws.reply(&host, request))
            .or_else(|| self.google.reply(&host, request))
            .or_else(|| self.registries.reply(&host, request))
            .or_else(|| self.other(&host, request))
            .unwrap_or_else(|| reply::text(421, format!("local-cloud has no `{host}`\n")))
    }
}
