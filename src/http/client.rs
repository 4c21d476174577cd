//! The one place that builds HTTP clients, and what all of them do with requests and responses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{InvalidHeaderValue, LOCATION};
use http::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use url::{Host, Url};

use super::tls::{self, CaCert};
use crate::console::log::quote;
use crate::text::is_loopback;

const USER_AGENT: &str = concat!("openfaas-pipe/", env!("CARGO_PKG_VERSION"));

/// A host that accepts connections accepts one within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval of HTTP/2 pings on a connection with requests under way, and the timeout of their responses. Without them, a
/// connection that was lost without notice would take every retry with it.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(10));

/// The timeout of a connection, below that of the request: then it is certain that a request which timed out had one.
pub(crate) fn connect_timeout(request: Duration) -> Duration {
    CONNECT_TIMEOUT.min(request * 9 / 10)
}

/// A client that trusts the built-in roots and `CA_CERT`. `timeout` bounds one request.
pub(crate) fn verifying(ca_cert: Option<&CaCert>, timeout: Duration) -> reqwest::ClientBuilder {
    builder(ca_cert, false, timeout)
}

/// `accept_any` accepts any certificate: for the gateway with `TLS_NO_VERIFY`, never for a cloud or a registry.
pub(crate) fn builder(ca_cert: Option<&CaCert>, accept_any: bool, timeout: Duration) -> reqwest::ClientBuilder {
    let (interval, limit) = KEEP_ALIVE;
    reqwest::Client::builder()
        // The library's own choice verifies with the platform's certificates, and an empty image has none.
        .tls_backend_preconfigured(tls::config(ca_cert, accept_any))
        .user_agent(USER_AGENT)
        // A URL's query may hold a secret.
        .referer(false)
        // The library would send the body, and headers that it does not know, to any address.
        .redirect(Policy::none())
        .connect_timeout(connect_timeout(timeout))
        .timeout(timeout)
        .http2_keep_alive_interval(interval)
        .http2_keep_alive_timeout(limit)
}

pub(crate) fn build(builder: reqwest::ClientBuilder) -> reqwest::Client {
    builder.build().expect("only a TLS configuration of another library's could be refused")
}

/// The beginning of a body that arrives in pieces, and whether it has more than `limit` bytes.
pub(crate) async fn read_up_to<E>(
    limit: usize,
    mut next: impl AsyncFnMut() -> Result<Option<Bytes>, E>,
) -> Result<(Vec<u8>, bool), E> {
    let mut body = Vec::new();
    while let Some(piece) = next().await? {
        let free = limit - body.len();
        body.extend_from_slice(&piece[..piece.len().min(free)]);
        if piece.len() > free {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

/// The beginning of a response's body, and whether it has more than `limit` bytes.
pub(crate) async fn read(response: &mut reqwest::Response, limit: usize) -> reqwest::Result<(Vec<u8>, bool)> {
    read_up_to(limit, async || response.chunk().await).await
}

pub(crate) fn location(headers: &HeaderMap) -> String {
    headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// A header value that no debug output shows and no HTTP/2 table keeps.
pub(crate) fn secret_header(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// True if a URL's host is a name that only a cluster's own DNS knows, such as `gateway.openfaas`.
pub(crate) fn is_cluster_name(url: &Url) -> bool {
    let Some(Host::Domain(name)) = url.host() else { return false };
    let suffixes = [".svc", ".cluster.local", ".openfaas"];
    suffixes.iter().any(|suffix| name.ends_with(suffix)) || (!name.contains('.') && name != "localhost")
}

pub(crate) fn is_local(url: &Url) -> bool {
    url.host().is_some_and(|host| is_loopback(&host))
}

/// True if a host is reachable only from this machine or its network.
pub(crate) fn is_private(host: &Host<&str>) -> bool {
    let address = match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            return is_loopback(&Host::Domain(name))
                || name.ends_with(".localhost")
                || name == "metadata.google.internal";
        }
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => embedded(*address).map_or(IpAddr::V6(*address), IpAddr::V4),
    };
    match address {
        IpAddr::V4(address) => {
            let [first, second, third, _] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_broadcast()
                // This network, addresses that carriers share, protocol assignments, networks under test (RFC 6890).
                || first == 0
                || (first == 100 && (64..128).contains(&second))
                || (first, second, third) == (192, 0, 0)
                || (first == 198 && (18..20).contains(&second))
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, or behind a translator (RFC 6052).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let translated = || match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    };
    address.to_ipv4_mapped().or_else(translated)
}

/// A URL as it is shown: without its user, its password and its query, which may be secrets, and without a slash at its end.
pub(crate) struct SafeUrl<'a>(pub(crate) &'a Url);

impl fmt::Display for SafeUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        // Neither fails if the URL has a host.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_fragment(None);
        shown.set_query(None);
        let query = if self.0.query().is_some() { "?…" } else { "" };
        write!(f, "{}{query}", quote(shown.as_str().trim_end_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_shown_without_password_and_query() {
        let shown = |url: &str| SafeUrl(&Url::parse(url).unwrap()).to_string();
        assert_eq!(shown("https://host/stack.yml"), "https://host/stack.yml");
        assert_eq!(shown("https://me:pass@host/a%20b?token=secret#x"), "https://host/a%20b?…");
        assert_eq!(shown("https://host/"), "https://host");
    }
}
