//! Why a request got no whole answer, told from what the HTTP library says.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use super::CONNECT_TIMEOUT;
use crate::console::log::{self, quote};

/// What happened on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The name has no address.
    NoSuchName,
    /// The name could not be looked up just now.
    NameLookup(String),
    /// Nobody listens.
    Refused,
    /// The connection was ended by the other side.
    Closed,
    /// No way to the address.
    NoRoute,
    /// `TIMEOUT` was reached.
    TimedOut(Duration),
    /// No connection was made in the time that one may take.
    NotConnected(Duration),
    /// The certificate was not accepted.
    Certificate(Certificate),
    /// The other side does not speak TLS.
    NotTls,
    /// TLS failed otherwise.
    Tls(String),
    /// The other side does not speak HTTP, or TLS where plain HTTP was spoken to it.
    NotHttp(String),
    /// Plain HTTP was spoken to it, and it answered that it speaks TLS.
    WantsTls,
    /// The proxy was not reached, or did not let the request through.
    Proxy {
        /// What happened.
        words: String,
        /// Whether the same request may succeed later.
        may_pass: bool,
    },
    /// Anything else, in the words of the library.
    Other(String),
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// Its authority is not trusted.
    UnknownIssuer,
    /// It is for another name.
    WrongName(String),
    /// Its time is over, or has not begun.
    Expired,
    /// Anything else, in the words of the library.
    Other(String),
}

impl Cause {
    /// Tells the cause from what the HTTP library says.
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
        match found.or_else(|| Self::of_lookup(&text)) {
            // What is wrong on the way to a proxy, or in it, is told within an error of the tunnel through it.
            Some(found) if text.contains("tunnel") => {
                Self::Proxy { words: found.to_string(), may_pass: found.may_pass() }
            }
            Some(Self::TimedOut(_)) if error.is_connect() => Self::NotConnected(CONNECT_TIMEOUT.min(timeout)),
            Some(found) => found,
            None if text.contains("tunnel") || text.contains("proxy") => {
                Self::Proxy { words: quote(&text), may_pass: false }
            }
            None => Self::Other(quote(if text.is_empty() { "no reason is known" } else { &text })),
        }
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
        use rustls::CertificateError as Wrong;
        match error {
            rustls::Error::InvalidCertificate(wrong) => Self::Certificate(match wrong {
                Wrong::UnknownIssuer => Certificate::UnknownIssuer,
                Wrong::NotValidForName => Certificate::WrongName(String::new()),
                Wrong::NotValidForNameContext { presented, .. } => {
                    let names: Vec<_> = presented.iter().map(|name| bare_name(name)).collect();
                    Certificate::WrongName(quote(&names.join("`, `")))
                }
                Wrong::Expired
                | Wrong::ExpiredContext { .. }
                | Wrong::NotValidYet
                | Wrong::NotValidYetContext { .. } => Certificate::Expired,
                other => Certificate::Other(quote(&other.to_string())),
            }),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            other => Self::Tls(quote(&other.to_string())),
        }
    }

    fn of_io(error: &io::Error, timeout: Duration) -> Option<Self> {
        use io::ErrorKind as Kind;
        if let Some(inner) = error.get_ref() {
            if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                return Some(Self::of_tls(tls));
            }
            if let Some(inner) = inner.downcast_ref::<io::Error>() {
                return Self::of_io(inner, timeout);
            }
        }
        match error.kind() {
            Kind::ConnectionRefused => Some(Self::Refused),
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
            return Some(Self::NoSuchName);
        }
        let words = text.split_once("failed to lookup address information: ")?.1;
        Some(if words.contains("not known") || words.contains("No address associated") {
            Self::NoSuchName
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

    /// Whether the same request may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NameLookup(_) | Self::Refused | Self::Closed | Self::NoRoute => true,
            Self::TimedOut(_) | Self::NotConnected(_) => true,
            Self::Proxy { may_pass, .. } => *may_pass,
            _ => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchName => f.write_str("the host name has no address"),
            Self::NameLookup(words) => write!(f, "the host name could not be looked up: {words}"),
            Self::Refused => f.write_str("connection refused"),
            Self::Closed => f.write_str("the connection was closed before the answer was complete"),
            Self::NoRoute => f.write_str("no route to the host"),
            Self::TimedOut(timeout) => write!(f, "no complete answer within {}", log::duration(*timeout)),
            Self::NotConnected(limit) => write!(f, "no connection within {}", log::duration(*limit)),
            Self::Certificate(Certificate::UnknownIssuer) => f.write_str("the certificate's authority is not trusted"),
            Self::Certificate(Certificate::WrongName(names)) if names.is_empty() => {
                f.write_str("the certificate is for another host name")
            }
            Self::Certificate(Certificate::WrongName(names)) => {
                write!(f, "the certificate is not for this host name, but for `{names}`")
            }
            Self::Certificate(Certificate::Expired) => f.write_str("the certificate has expired, or is not valid yet"),
            Self::Certificate(Certificate::Other(words)) => write!(f, "the certificate is not accepted: {words}"),
            Self::NotTls => f.write_str("the port does not speak TLS"),
            Self::Tls(words) => write!(f, "TLS failed: {words}"),
            Self::NotHttp(words) => write!(f, "the answer is not HTTP: {words}"),
            Self::WantsTls => f.write_str("the port speaks TLS, and plain HTTP was spoken to it"),
            Self::Proxy { words, .. } => write!(f, "the request did not get through the proxy: {words}"),
            Self::Other(words) => write!(f, "the request failed: {words}"),
        }
    }
}

/// A certificate's name without the name of its kind: `DnsName("gw.example.com")`.
fn bare_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

#[cfg(test)]
mod tests;
