//! What can go wrong between the pipe and the gateway, and what to change then.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use http::{Method, StatusCode};
use url::Url;

use crate::log::{self, quote};
use crate::oidc::{Action, missing_action};
use crate::outcome::{Failure, Problem};

use super::{CONNECT_TIMEOUT, Target};

/// Why a request did not do what it was for.
#[derive(Clone, Debug)]
pub enum Error {
    /// No answer, or only a part of one.
    Transport(Box<Transport>),
    /// An answer other than success.
    Refused(Box<Refused>),
    /// An answer that points to another address; it is not followed, so that no token goes where the user did not say.
    Redirect {
        /// What was asked.
        request: String,
        /// The gateway's own address.
        gateway: Box<Url>,
        /// The answer's status.
        status: StatusCode,
        /// Where it points to.
        location: String,
    },
    /// What it takes was not to be had: a token, or its body.
    Unsent(Box<Problem>),
    /// An answer of another shape than the gateway's interface has.
    Shape {
        /// What was asked.
        request: String,
        /// What is wrong with the answer.
        detail: String,
    },
    /// The run was stopped while the request was under way.
    Stopped(Failure),
}

/// An answer other than success.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What was asked: method and path.
    pub request: String,
    /// The status.
    pub status: StatusCode,
    /// The start of the body, of a web page its title; made fit for the log.
    pub text: String,
    /// Whether the body is a page for people.
    pub is_web_page: bool,
    /// What the Policy has to permit for it.
    pub action: Option<Action>,
    /// What it was about.
    pub target: Option<Target>,
    /// Whether basic auth was used, so that no Policy is involved.
    pub password: bool,
    /// The gateway's own address.
    pub gateway: Url,
}

impl Error {
    /// The error as the log has it.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Transport(transport) => transport.problem(),
            Self::Refused(refused) => refused.problem(),
            Self::Redirect { request, gateway, status, location } => redirect(request, gateway, *status, location),
            Self::Unsent(problem) => (**problem).clone(),
            Self::Shape { request, detail } => Problem {
                failure: Failure::Failed,
                message: format!("{request}: the answer is not what a gateway gives: {detail}"),
                hint: Some(
                    "check that `OPENFAAS_URL` is the gateway's address, with its base path where it has one"
                        .to_owned(),
                ),
            },
            Self::Stopped(failure) => {
                Problem { failure: *failure, message: "stopped before the answer came".to_owned(), hint: None }
            }
        }
    }

    /// What the Policy lacks, and on which function, where that is why the request was refused.
    pub fn lacks(&self) -> Option<(Action, &Target)> {
        match self {
            Self::Refused(refused) => refused.lacks(),
            _ => None,
        }
    }

    /// What the provider behind the gateway has against a deployment.
    pub fn provider_says(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) if matches!(refused.status.as_u16(), 400 | 422 | 500) && !refused.is_web_page => {
                Some(&refused.text).filter(|text| !text.is_empty()).map(String::as_str)
            }
            _ => None,
        }
    }

    /// Whether the Policy lacks an action (403).
    pub fn is_forbidden(&self) -> bool {
        self.status() == Some(StatusCode::FORBIDDEN)
    }

    /// The status of the answer, where there was one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(refused) => Some(refused.status),
            Self::Redirect { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn redirect(request: &str, gateway: &Url, status: StatusCode, location: &str) -> Problem {
    let target = gateway.join(location).ok();
    let hint = match &target {
        Some(url) if gateway.scheme() == "http" && url.scheme() == "https" && url.host() == gateway.host() => {
            let mut secure = gateway.clone();
            // The port of plain HTTP is not that of HTTPS.
            let _ = secure.set_port(url.port());
            let _ = secure.set_scheme("https");
            format!("the gateway wants HTTPS: write `OPENFAAS_URL: '{}'`", shown(&secure))
        }
        Some(url) => format!(
            "redirects are not followed, so that no token goes to another address; \
             if the gateway is at `{}`, write that as `OPENFAAS_URL`",
            quote(url.origin().ascii_serialization().as_str())
        ),
        None => "redirects are not followed; check `OPENFAAS_URL`".to_owned(),
    };
    Problem {
        failure: Failure::Failed,
        message: format!("{request}: {status}, a redirect to `{}`", quote(location)),
        hint: Some(hint),
    }
}

const NOT_PASSED_ON: &str =
    "something before the gateway could not pass the request on: see whether the gateway runs, or raise `RETRIES`";

fn web_page(gateway: &Url) -> String {
    format!(
        "a web page answered at `{}`, not an OpenFaaS gateway: check `OPENFAAS_URL`, also for a missing base path",
        shown(gateway)
    )
}

/// A gateway's address without the slash that a URL without a path gets.
pub fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

impl Refused {
    fn lacks(&self) -> Option<(Action, &Target)> {
        let by_iam = self.status == StatusCode::FORBIDDEN && !self.is_web_page && !self.password;
        if by_iam { self.action.zip(self.target.as_ref()) } else { None }
    }

    fn problem(&self) -> Problem {
        let Self { request, status, text, .. } = self;
        let failure = match status.as_u16() {
            401 | 403 => Failure::Permission,
            _ => Failure::Failed,
        };
        let said = match text.as_str() {
            "" if self.is_web_page => ": a web page".to_owned(),
            "" => String::new(),
            title if self.is_web_page => format!(": a web page, `{title}`"),
            text => format!(": `{text}`"),
        };
        let message = format!("{request}: {status}{said}");
        Problem { failure, message, hint: self.hint() }
    }

    fn hint(&self) -> Option<String> {
        if let Some((action, target)) = self.lacks() {
            return Some(missing_action(action, target.namespace.as_deref(), &target.name));
        }
        match (self.status.as_u16(), self.action) {
            (401 | 403, ..) if self.is_web_page => Some(format!(
                "a web page answered at `{}`, not the gateway's IAM: a proxy or an ingress before it wants a sign-in of its \
                 own, or lets only some addresses in; let `/oauth/token` and `/system/` through there",
                shown(&self.gateway)
            )),
            (401 | 403, ..) if self.password => Some("check `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`".to_owned()),
            (401, Some(_)) => Some(
                "the gateway exchanged the step's token, but does not accept the token it gave for it: see whether \
                 several gateways with different keys answer at this address, and whether their clocks are right"
                    .to_owned(),
            ),
            (429, ..) => Some("the gateway is busy: lower `PARALLEL`, or raise `RETRIES`".to_owned()),
            (502..=504, ..) => Some(NOT_PASSED_ON.to_owned()),
            (500, ..) if self.is_web_page => Some(NOT_PASSED_ON.to_owned()),
            _ if self.is_web_page => Some(web_page(&self.gateway)),
            (404, Some(Action::FunctionCreate | Action::FunctionUpdate | Action::FunctionList)) => Some(format!(
                "nothing answers to this path at `{}`: check `OPENFAAS_URL`, also for a missing base path",
                shown(&self.gateway)
            )),
            (409, Some(Action::FunctionCreate)) if !self.text.contains("being deleted") => Some(
                "the function is there already: leave `STRATEGY` out, or set it to `update` or `replace`".to_owned(),
            ),
            _ => None,
        }
    }
}

/// A request without a whole answer.
#[derive(Clone, Debug)]
pub struct Transport {
    /// What was asked.
    pub request: String,
    /// The gateway's own address.
    pub gateway: Url,
    /// What happened.
    pub cause: Cause,
    /// Whether no connection was made, so that nobody can have received the request.
    pub unsent: bool,
}

/// What happened on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
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
pub enum Certificate {
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
    pub(super) fn of(error: &reqwest::Error, timeout: Duration) -> Self {
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
    pub(super) fn may_pass(&self) -> bool {
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

impl Transport {
    fn problem(&self) -> Problem {
        let host = self.gateway.host_str().unwrap_or_default();
        let port = self.gateway.port_or_known_default().unwrap_or_default();
        let url = shown(&self.gateway);
        let hint = match &self.cause {
            Cause::NoSuchName => Some(format!("check the host name `{host}` in `OPENFAAS_URL` (`{url}`)")),
            Cause::NameLookup(_) => Some("the name service did not answer; run the step again".to_owned()),
            Cause::Refused => Some(format!(
                "nothing listens on port {port} of `{host}`: check `OPENFAAS_URL` (`{url}`), and whether the gateway runs"
            )),
            Cause::NoRoute => Some(format!(
                "a Bitbucket runner in the cloud cannot reach a private address: use the gateway's public one instead of `{url}`, or a self-hosted runner"
            )),
            Cause::TimedOut(_) => Some(format!(
                "see whether a firewall lets Bitbucket's addresses through to `{host}`, or raise `TIMEOUT`"
            )),
            Cause::NotConnected(_) => {
                Some(format!("see whether a firewall lets Bitbucket's addresses through to `{host}`"))
            }
            Cause::Certificate(Certificate::UnknownIssuer) => Some(
                "for a private authority, write its certificate as `CA_CERT` (PEM text, or the path of a file)"
                    .to_owned(),
            ),
            Cause::Certificate(Certificate::WrongName(_)) => {
                Some("write the host name that the certificate is for in `OPENFAAS_URL`".to_owned())
            }
            Cause::Certificate(Certificate::Expired) => Some("renew the gateway's certificate".to_owned()),
            Cause::NotTls => Some(format!(
                "`OPENFAAS_URL` (`{url}`) begins with `https://`, but something other than TLS is spoken there: check the port; inside a cluster write `http://…`, with `ALLOW_HTTP: 'true'`"
            )),
            Cause::WantsTls => Some(format!("write `OPENFAAS_URL: '{}'`", with_https(&self.gateway))),
            Cause::NotHttp(_) if self.gateway.scheme() == "http" => {
                Some(format!("if TLS is spoken there, write `OPENFAAS_URL: '{}'`", with_https(&self.gateway)))
            }
            Cause::NotHttp(_) => Some(format!("see what answers at `{url}`: is it the gateway?")),
            Cause::Proxy { .. } => Some("check `HTTPS_PROXY`, or name the gateway's host in `NO_PROXY`".to_owned()),
            _ => None,
        };
        Problem { failure: Failure::Unreachable, message: self.to_string(), hint }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at `{}`: {}", self.request, shown(&self.gateway), self.cause)
    }
}

/// A gateway's address with the other scheme: the port stays, as it is the one that speaks TLS.
fn with_https(gateway: &Url) -> String {
    shown(gateway).replacen("http://", "https://", 1)
}

/// A certificate's name without the name of its kind: `DnsName("gw.example.com")`.
fn bare_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// Whether an answer says that its port wants TLS, in the words of Go's server, nginx or Apache httpd.
pub(super) fn wants_tls(status: StatusCode, body: &[u8]) -> bool {
    let words = String::from_utf8_lossy(body);
    status == StatusCode::BAD_REQUEST
        && [
            "HTTP request to an HTTPS server",
            "plain HTTP request was sent to HTTPS port",
            "speaking plain HTTP to an SSL",
        ]
        .iter()
        .any(|phrase| words.contains(phrase))
}

/// Method and path, as the log names a request.
pub(super) fn request_name(method: &Method, url: &Url) -> String {
    format!("{method} {}", quote(url.path()))
}

#[cfg(test)]
mod tests;
