//! The one place that builds HTTP clients, and what all of them do with requests and responses.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{InvalidHeaderValue, LOCATION};
use http::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use url::{Host, Url};

use super::ca_cert::CaCert;
use super::tls;
use crate::text::is_loopback;

const USER_AGENT: &str = concat!("openfaas-pipe/", env!("CARGO_PKG_VERSION"));

/// A host that accepts connections accepts one within this time.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval of HTTP/2 pings on a connection with requests under way, and the timeout of their answers. Without them, a
/// connection that was lost without notice would take every retry with it.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(10));

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Tls(#[from] tls::SetUpError),
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// A client that trusts the built-in roots and `CA_CERT`. `timeout` bounds one request.
pub(crate) fn verifying(ca_cert: Option<&CaCert>, timeout: Duration) -> Result<reqwest::ClientBuilder, Error> {
    builder(ca_cert, false, timeout)
}

/// A client that accepts any certificate: for the gateway with `TLS_NO_VERIFY`, never for a cloud or a registry.
pub(crate) fn accepting_any_certificate(timeout: Duration) -> Result<reqwest::ClientBuilder, Error> {
    builder(None, true, timeout)
}

fn builder(ca_cert: Option<&CaCert>, accept_any: bool, timeout: Duration) -> Result<reqwest::ClientBuilder, Error> {
    let (interval, limit) = KEEP_ALIVE;
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(ca_cert, accept_any)?)
        .user_agent(USER_AGENT)
        // A URL's query may hold a secret.
        .referer(false)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .http2_keep_alive_interval(interval)
        .http2_keep_alive_timeout(limit);
    Ok(builder)
}

/// The beginning of a response's body, and whether it has more than `limit` bytes.
pub(crate) async fn read(response: &mut reqwest::Response, limit: usize) -> reqwest::Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

/// Where a response redirects to.
pub(crate) fn location(headers: &HeaderMap) -> String {
    headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// A header value that no debug output shows and no HTTP/2 table keeps.
pub(crate) fn secret_header(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a URL names this machine.
pub(crate) fn is_local(url: &Url) -> bool {
    url.host().is_some_and(|host| is_loopback(&host))
}

/// Whether a host is reachable only from this machine or its network.
pub(crate) fn is_private(host: &Host<&str>) -> bool {
    let address = match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            return is_loopback(&Host::Domain(name)) || name.ends_with(".localhost");
        }
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => address.to_ipv4_mapped().map_or(IpAddr::V6(*address), IpAddr::V4),
    };
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                // Shared address space of carriers (RFC 6598).
                || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}
