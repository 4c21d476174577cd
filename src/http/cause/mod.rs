//! Why a request got no complete response, found out from what the HTTP library reports.

mod certificate;

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use rustls::AlertDescription;

use super::client::{connect_timeout, is_local};
use crate::console::log::{self, quote};
use certificate::Certificate;

/// Why there is no complete response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    /// It does not exist, or has no address.
    #[error("the host name cannot be resolved")]
    UnknownName,
    /// The name service did not answer.
    #[error("the host name could not be resolved: {0}")]
    NameLookup(String),
    #[error("connection refused")]
    ConnectionRefused,
    #[error("the connection was closed before the response was complete")]
    Closed,
    #[error("no route to the host")]
    NoRoute,
    #[error("timeout: no complete response within {}", log::duration(*.0))]
    TimedOut(Duration),
    #[error("timeout: no connection within {}", log::duration(*.0))]
    ConnectTimedOut(Duration),
    #[error("{0}")]
    Certificate(Certificate),
    #[error("the port does not speak TLS")]
    NotTls,
    #[error("TLS handshake failed: {0}")]
    Tls(String),
    #[error("the server requires a client certificate")]
    ClientCertificate,
    /// The HTTP library cannot do TLS with one through a tunnel.
    #[error("a proxy cannot be used for an IPv6 address")]
    Ipv6ThroughProxy,
    #[error("the response is not HTTP: {0}")]
    NotHttp(String),
    #[error("plain HTTP was sent to a port that requires TLS")]
    SpeaksTls,
    /// It was not reached, or returned an error.
    #[error("the proxy did not forward the request: {reason}")]
    Proxy {
        /// The variable that names the proxy.
        variable: &'static str,
        reason: String,
        is_transient: bool,
    },
    #[error("{0}")]
    Body(BodyError),
    /// Anything else, in the words of the library.
    #[error("the request failed: {0}")]
    Other(String),
}

/// Why the rest of a request's body cannot be sent; a stream of a body may end with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BodyError(pub(crate) String);

impl Cause {
    /// Finds the cause in what the HTTP library reports.
    pub(crate) fn of(error: &reqwest::Error, timeout: Duration) -> Self {
        let mut source = error.source();
        let mut chain = Vec::new();
        let mut found = None;
        while let Some(cause) = source {
            found = Self::of_source(cause, timeout);
            if found.is_some() {
                break;
            }
            chain.push(cause.to_string());
            source = cause.source();
        }
        if found.is_none() && error.is_timeout() {
            found = Some(Self::TimedOut(timeout));
        }
        let text = chain.join(": ");
        if text.contains("Invalid Server Name") {
            return Self::Ipv6ThroughProxy;
        }
        let found = found.or_else(|| Self::of_lookup(&text)).map(|found| match found {
            Self::TimedOut(_) if error.is_connect() => Self::ConnectTimedOut(connect_timeout(timeout)),
            found => found,
        });
        // What goes wrong on the way to a proxy, or in it, is reported within an error of the tunnel through it.
        if ["tunnel error", "proxy"].iter().any(|word| text.contains(word)) {
            return Self::of_tunnel(&text, found);
        }
        match found {
            // Plain HTTP takes no tunnel: what is connected to is the proxy.
            Some(cause) if error.is_connect() && error.url().is_some_and(goes_through_http_proxy) => {
                Self::Proxy { variable: "HTTP_PROXY", is_transient: cause.is_transient(), reason: cause.to_string() }
            }
            Some(cause) => cause,
            None => Self::Other(quote(if text.is_empty() { "unknown reason" } else { &text })),
        }
    }

    fn of_tunnel(text: &str, found: Option<Self>) -> Self {
        let (reason, is_transient) = match found {
            Some(cause) => (cause.to_string(), cause.is_transient()),
            // The status is not known here; it is usually 502 or 504, and a retry after another one does no harm.
            None if text.contains("unsuccessful") => ("it returned an error for CONNECT".to_owned(), true),
            None if text.contains("unexpected end of file") => ("it closed the connection".to_owned(), true),
            None if text.contains("authorization required") => {
                ("it requires a user name and a password (407)".to_owned(), false)
            }
            None => (quote(text), false),
        };
        Self::Proxy { variable: "HTTPS_PROXY", reason, is_transient }
    }

    fn of_source(cause: &(dyn StdError + 'static), timeout: Duration) -> Option<Self> {
        if let Some(error) = cause.downcast_ref() {
            Some(Self::of_tls(error))
        } else if let Some(error) = cause.downcast_ref() {
            Self::of_io(error, timeout)
        } else if let Some(error) = cause.downcast_ref() {
            Self::of_http(error)
        } else if let Some(error) = cause.downcast_ref() {
            Self::of_http2(error, timeout)
        } else {
            None
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::Certificate(Certificate::of(error)),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            // In TLS 1.3 a server says so after the handshake; before that version it sends the general alert.
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => Self::ClientCertificate,
            // The library's words are two names in one: `received fatal alert: the server …`.
            rustls::Error::AlertReceived(alert) => Self::Tls(format!("the server sent the alert `{alert:?}`")),
            error => Self::Tls(quote(&error.to_string())),
        }
    }

    fn of_io(error: &io::Error, timeout: Duration) -> Option<Self> {
        use io::ErrorKind as Kind;
        if let Some(inner) = error.get_ref() {
            if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                return Some(Self::of_tls(tls));
            }
            if let Some(error) = inner.downcast_ref::<BodyError>() {
                return Some(Self::Body(error.clone()));
            }
            if let Some(inner) = inner.downcast_ref::<io::Error>() {
                return Self::of_io(inner, timeout);
            }
        }
        match error.kind() {
            Kind::ConnectionRefused => Some(Self::ConnectionRefused),
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
                Some(Self::Closed)
            }
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::AddrNotAvailable | Kind::NetworkDown => {
                Some(Self::NoRoute)
            }
            Kind::TimedOut => Some(Self::TimedOut(timeout)),
            _ => Self::of_lookup(&error.to_string()),
        }
    }

    /// The resolver's errors have no type of their own; the words are those of `gai_strerror`.
    fn of_lookup(text: &str) -> Option<Self> {
        if text.contains("invalid dns name") {
            return Some(Self::UnknownName);
        }
        let words = text.split_once("failed to lookup address information: ")?.1;
        Some(if words.contains("not known") || words.contains("No address associated") {
            Self::UnknownName
        } else {
            Self::NameLookup(quote(words))
        })
    }

    fn of_http(error: &hyper::Error) -> Option<Self> {
        if error.is_parse() {
            Some(Self::NotHttp(quote(&error.to_string())))
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            Some(Self::Closed)
        } else {
            None
        }
    }

    fn of_http2(error: &h2::Error, timeout: Duration) -> Option<Self> {
        if let Some(error) = error.get_io() {
            return Self::of_io(error, timeout);
        }
        if error.is_library() {
            // What came broke the protocol.
            return Some(Self::NotHttp(quote(&error.to_string())));
        }
        error.is_remote().then_some(Self::Closed)
    }

    /// The remedy, if it is the same for all servers.
    pub(crate) fn hint(&self, host: &str, port: u16) -> Option<String> {
        match self {
            Self::Certificate(certificate) => Some(certificate.hint(host, port)),
            Self::NameLookup(_) => Some("the name service did not respond: run the step again".to_owned()),
            Self::Proxy { variable, .. } => {
                Some(format!("check the proxy that `{variable}` names, or add `{host}` to `NO_PROXY`"))
            }
            Self::Ipv6ThroughProxy => {
                let address = host.trim_matches(['[', ']']);
                Some(format!("use a host name instead of `{host}`, or add `{address}` to `NO_PROXY`"))
            }
            Self::Tls(_) => Some(format!(
                "the pipe supports TLS 1.2 and 1.3; this command shows what the server supports: \
                 `openssl s_client -connect {host}:{port}`"
            )),
            _ => None,
        }
    }

    /// True if the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Proxy { is_transient, .. } => *is_transient,
            Self::NameLookup(_) | Self::ConnectionRefused | Self::Closed | Self::NoRoute => true,
            Self::TimedOut(_) | Self::ConnectTimedOut(_) => true,
            _ => false,
        }
    }
}

/// True if a request to a URL is sent to the proxy that `HTTP_PROXY` names.
fn goes_through_http_proxy(url: &url::Url) -> bool {
    let uri = url.as_str().parse::<http::Uri>();
    url.scheme() == "http" && !is_local(url) && uri.is_ok_and(|uri| Matcher::from_env().intercept(&uri).is_some())
}

#[cfg(test)]
mod tests;
