//! Why a request got no complete response, found out from what the HTTP library reports.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use super::client::{connect_timeout, is_local};
use super::tls;
use crate::console::log::{self, quote};
use crate::text::list;

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
    /// It answers no pings of HTTP/2 any more.
    #[error("the connection was lost: the server no longer responds on it")]
    Lost,
    #[error("no route to the host")]
    NoRoute,
    #[error("timeout: no complete response within {}", log::duration(*.0))]
    TimedOut(Duration),
    #[error("timeout: no connection within {}", log::duration(*.0))]
    ConnectTimedOut(Duration),
    #[error("{}", .0.message)]
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
    Proxy { variable: &'static str, reason: String, is_transient: bool },
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
        } else if error.is_timeout() {
            Some(Self::Lost)
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

    /// True if the server fell silent, as it may for another request too.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Lost)
    }

    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Proxy { is_transient, .. } => *is_transient,
            Self::NameLookup(_) | Self::ConnectionRefused | Self::Closed | Self::NoRoute => true,
            Self::Lost | Self::TimedOut(_) | Self::ConnectTimedOut(_) => true,
            _ => false,
        }
    }
}

/// True if a request to a URL is sent to the proxy that `HTTP_PROXY` names.
fn goes_through_http_proxy(url: &url::Url) -> bool {
    let uri = url.as_str().parse::<http::Uri>();
    url.scheme() == "http" && !is_local(url) && uri.is_ok_and(|uri| Matcher::from_env().intercept(&uri).is_some())
}

/// The problem and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    message: String,
    /// With `HOST` and `PORT` in place of the server's.
    hint: &'static str,
}

/// How many of a certificate's names are shown; a server may have thousands.
const MOST_NAMES: usize = 5;
const NAMELESS: &str = "a certificate needs a subject alternative name; with `openssl req -x509`: \
    `-addext 'subjectAltName=DNS:HOST'`";
const REISSUE: &str = "issue the certificate again; this command shows it: \
    `openssl s_client -connect HOST:PORT -servername HOST -showcerts`";

impl Certificate {
    fn of(error: &CertificateError) -> Self {
        use CertificateError as Error;
        let (message, hint) = match error {
            Error::UnknownIssuer => (
                "the certificate's issuer is not trusted".to_owned(),
                "if a private CA issued it, set `CA_CERT` to the CA's certificate; otherwise check that the server sends the \
                 intermediate certificates",
            ),
            error if tls::is_not_issued_by_ca_cert(error) => (
                "the certificate's issuer is not trusted: it is not in `CA_CERT`".to_owned(),
                "set `CA_CERT` to the certificate of the CA that issued the server's, or let the server send the intermediate \
                 certificates; this command shows what it sends: \
                 `openssl s_client -connect HOST:PORT -servername HOST -showcerts`",
            ),
            error if tls::is_ca_used_as_server(error) => (
                "the certificate is self-signed and not trusted".to_owned(),
                "to trust this very certificate, set `CA_CERT` to it; this command shows it: \
                 `openssl s_client -connect HOST:PORT -servername HOST -showcerts`",
            ),
            Error::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                let names = presented.iter().map(|name| format!("`{}`", quote(&bare_name(name))));
                (
                    format!("the certificate is not for this host name, but for {}", list(names, MOST_NAMES)),
                    "use a host name that the certificate is for, or issue it for this one",
                )
            }
            Error::NotValidForName | Error::NotValidForNameContext { .. } => {
                ("the certificate is not for any host name".to_owned(), NAMELESS)
            }
            Error::ExpiredContext { not_after, .. } => {
                (format!("the certificate expired on {}", date(*not_after)), "renew the server's certificate")
            }
            Error::NotValidYetContext { not_before, .. } => {
                let hint = "check the clock of this machine, and the date from which the certificate is valid";
                (format!("the certificate is not valid before {}", date(*not_before)), hint)
            }
            Error::InvalidPurpose | Error::InvalidPurposeContext { .. } => (
                "the certificate is not for servers".to_owned(),
                "issue it for servers: `extendedKeyUsage = serverAuth`",
            ),
            Error::UnsupportedSignatureAlgorithmContext { .. }
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
                "the certificate's signature algorithm is not supported".to_owned(),
                "issue it with an ECDSA P-256 or an RSA key of 2048 bits or more, and SHA-256",
            ),
            Error::Revoked => ("the certificate has been revoked".to_owned(), REISSUE),
            Error::BadSignature => ("the certificate's signature is wrong".to_owned(), REISSUE),
            Error::BadEncoding => ("the certificate cannot be read".to_owned(), REISSUE),
            // A rule of RFC 5280, or of the library.
            Error::Other(error) => (format!("the certificate is not valid: {}", words(&error.0.to_string())), REISSUE),
            error => (format!("the certificate is not valid: {}", words(&format!("{error:?}"))), REISSUE),
        };
        Self { message, hint }
    }

    fn hint(&self, host: &str, port: u16) -> String {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let name = address.map_or_else(|_| format!("DNS:{host}"), |address| format!("IP:{address}"));
        self.hint.replace("DNS:HOST", &name).replace("PORT", &port.to_string()).replace("HOST", host)
    }
}

fn date(time: UnixTime) -> String {
    // Dates that HTTP cannot write are of certificates made by hand.
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    time.map(httpdate::fmt_http_date).unwrap_or_else(|| "an impossible date".to_owned())
}

/// The words of a library's name for an error: `PathLenConstraintViolated`.
fn words(name: &str) -> String {
    let name = name.split(['(', '{', ' ']).next().unwrap_or(name);
    let mut words = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
    }
    quote(&words)
}

/// A certificate's name without the name of its kind: `DnsName("gw.example.com")`.
fn bare_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    let inner = inner.trim_matches('"');
    // The library writes `0::1` for `::1`.
    inner.parse::<IpAddr>().map_or_else(|_| inner.to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests;
