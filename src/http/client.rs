//! The one place that builds HTTP clients.

use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::ClientConfig;
use url::{Host, Url};

use super::ca_cert::CaCert;
use super::tls;

const USER_AGENT: &str = concat!("openfaas-pipe/", env!("CARGO_PKG_VERSION"));

/// A host that accepts connections accepts one within this time.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a server is asked for a sign of life on an HTTP/2 connection with requests under way, and how long it may take.
/// Without it, a connection that was lost without notice would take every retry with it.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(10));

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("certificates cannot be verified: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// A client that trusts the built-in roots and `CA_CERT`. `timeout` bounds one request.
pub(crate) fn verifying(ca_cert: Option<&CaCert>, timeout: Duration) -> Result<reqwest::ClientBuilder, Error> {
    Ok(builder(tls::verifying(ca_cert)?, timeout))
}

/// A client that accepts any certificate: for the gateway with `TLS_NO_VERIFY`, never for a cloud or a registry.
pub(crate) fn accepting_any_certificate(timeout: Duration) -> Result<reqwest::ClientBuilder, Error> {
    Ok(builder(tls::accepting_any_certificate()?, timeout))
}

fn builder(tls: ClientConfig, timeout: Duration) -> reqwest::ClientBuilder {
    let (interval, limit) = KEEP_ALIVE;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        // A URL's query may hold a secret.
        .referer(false)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .http2_keep_alive_interval(interval)
        .http2_keep_alive_timeout(limit)
}

/// Whether a URL names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // Some resolvers look names below it up elsewhere.
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
