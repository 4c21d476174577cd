//! Errors of requests to the gateway, and their remedies.

mod refused;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::CALL_ID;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain, Failure};
use crate::function::FunctionName;
use crate::http::cause::Cause;
use crate::http::client::{SafeUrl, is_cluster_name};
use crate::http::responder::is_web_page;
use crate::oidc::IamAction;
pub(crate) use refused::{Refused, body_limit};

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No response, or only a part of one.
    #[error(transparent)]
    Transport(Box<Transport>),
    /// A response other than success.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// Not followed, so that no token goes to an address that the user did not write.
    #[error(transparent)]
    Redirect(Box<Redirect>),
    /// There is no usable token, or the body cannot be read.
    #[error("{}", .0.message)]
    NotSent(Box<Diagnostic>),
    /// A successful response that the gateway's API does not have.
    #[error("{request}: the response is not what a gateway returns: {source}")]
    Shape { request: String, source: ShapeError },
    /// Community Edition did not carry an update out, and reported it only in its own log.
    #[error("{request}: Community Edition did not update the function")]
    Ignored { request: String },
    #[error("its deletion was accepted, but it still exists after {}", log::duration(*.0))]
    NotGone(Duration),
    /// Why the look failed.
    #[error("its deletion was accepted, but it was not seen to be gone: {0}")]
    NotSeenGone(Box<Self>),
    /// The response to the creation.
    #[error("the gateway does not find it to update it, but does not create it either: {0}")]
    Incomplete(Box<Self>),
    #[error("stopped before the response arrived")]
    Stopped(Failure),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShapeError {
    #[error("it is longer than {} KiB", .0 / 1024)]
    TooLong(usize),
    #[error("it is not the expected JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("it is not the status of this function")]
    OtherStatus,
    #[error("it contains more than the pipe can hold")]
    TooMuch,
    #[error("it contains no access token")]
    NoToken,
    #[error("its access token is longer than any gateway accepts")]
    TokenTooLong,
    #[error("its access token cannot be sent in a header")]
    InvalidToken,
}

impl ShapeError {
    /// Without the library's words, which may quote a token.
    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        Self::NotJson { line: error.line(), column: error.column() }
    }
}

impl Explain for Error {
    fn failure(&self) -> Failure {
        match self {
            Self::Transport(transport) => transport.failure(),
            Self::Refused(refused) => refused.failure(),
            Self::NotSent(problem) => problem.failure,
            Self::Redirect(redirect) => redirect.failure(),
            Self::Stopped(failure) => *failure,
            Self::NotSeenGone(error) | Self::Incomplete(error) => error.failure(),
            // Something else responds in the gateway's place.
            Self::Shape { .. } => Failure::Unreachable,
            Self::Ignored { .. } | Self::NotGone(_) => Failure::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Transport(transport) => return transport.hint(),
            Self::Refused(refused) => return refused.hint(),
            Self::NotSent(problem) => return problem.hint.clone(),
            Self::Redirect(redirect) => return redirect.hint(),
            Self::Stopped(_) => return None,
            Self::NotSeenGone(error) => return error.hint(),
            Self::Incomplete(_) => {
                "a part of it is missing in the cluster, such as its Service, or something else is removing it: set \
                 `STRATEGY: replace` for a run, which creates all of it"
            }
            Self::Shape { .. } => "check that `OPENFAAS_URL` is the gateway's URL, with its base path if it has one",
            Self::Ignored { .. } => {
                "it returns 200 without a reason if Kubernetes refuses an update, or something else changes the function \
                 at the same time; also if the image is not public. The reason is in the log of faas-netes: \
                 `kubectl logs -n openfaas deploy/gateway -c faas-netes`"
            }
            Self::NotGone(_) => {
                "its replicas have not stopped: check that they handle SIGTERM, and what keeps their pods running"
            }
        };
        Some(hint.to_owned())
    }
}

impl Error {
    pub(crate) fn not_sent(problem: Diagnostic) -> Self {
        Self::NotSent(Box::new(problem))
    }

    /// The action that the Policy lacks, and the function, if that is why the request was refused.
    pub(crate) fn lacks(&self) -> Option<(IamAction, &FunctionName)> {
        self.refused()?.lacks()
    }

    fn refused(&self) -> Option<&Refused> {
        if let Self::Refused(refused) = self { Some(refused) } else { None }
    }

    /// Why the provider behind the gateway refused a deployment.
    pub(crate) fn provider_says(&self) -> Option<&str> {
        let refused = self.refused()?;
        let is_of_provider = matches!(refused.status.as_u16(), 400 | 422 | 500) && refused.is_from_gateway();
        (is_of_provider && !refused.text.is_empty()).then_some(&refused.text)
    }

    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Transport(_)) || self.refused().is_some_and(|refused| refused.is_transient)
    }

    /// True if the gateway is not available: no connection, a connection that was closed, no response in time, 503 or 429.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Transport(_)) || self.says_unavailable()
    }

    /// True if a response says that the gateway is not available (503 or 429).
    pub(crate) fn says_unavailable(&self) -> bool {
        self.refused().is_some_and(Refused::is_unavailable)
    }

    /// True if the gateway may still be processing the request: its response is missing, or is one that a proxy sends when it has
    /// waited long enough.
    pub(crate) fn may_be_under_way(&self) -> bool {
        match self {
            Self::Transport(transport) => !transport.unsent,
            Self::Refused(refused) => {
                refused.is_transient && matches!(refused.status.as_u16(), 500 | 502 | 504 | 520..=530)
            }
            Self::NotSeenGone(_) => true,
            _ => false,
        }
    }

    pub(crate) fn has_timed_out(&self) -> bool {
        matches!(self, Self::Transport(transport) if transport.source.is_silence())
    }

    /// True if the gateway received the request, and may respond to another one.
    pub(crate) fn has_reached_gateway(&self) -> bool {
        match self {
            Self::Transport(transport) => !transport.unsent && !self.has_timed_out(),
            Self::Refused(_) | Self::Redirect { .. } | Self::Shape { .. } => true,
            Self::NotSent(_) | Self::Ignored { .. } | Self::NotGone(_) | Self::Stopped(_) => false,
            Self::NotSeenGone(error) | Self::Incomplete(error) => error.has_reached_gateway(),
        }
    }

    /// True if the response is one of a gateway, or something before it, that did not process the request.
    pub(crate) fn is_unprocessed(&self) -> bool {
        match self {
            Self::Redirect { .. } | Self::NotSent(_) => true,
            Self::Refused(refused) => {
                let status = refused.status.as_u16();
                matches!(status, 401 | 403 | 405 | 413) || !refused.is_from_gateway() && status < 500
            }
            Self::Transport(transport) => transport.unsent,
            _ => false,
        }
    }

    pub(crate) fn says_being_deleted(&self) -> bool {
        self.refused().is_some_and(|refused| refused.text.contains("being deleted"))
    }

    /// True if the Policy lacks an action (403).
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status() == Some(StatusCode::FORBIDDEN)
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(refused) => Some(refused.status),
            Self::Redirect(redirect) => Some(redirect.status),
            _ => None,
        }
    }
}

/// A request without a complete response.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{request} at `{}`: {source}", SafeUrl(gateway))]
pub(crate) struct Transport {
    pub(super) request: String,
    pub(super) gateway: Url,
    pub(crate) source: Cause,
    /// True if no connection was made, so that nobody can have received the request.
    pub(super) unsent: bool,
}

impl Explain for Transport {
    fn failure(&self) -> Failure {
        match self.source {
            Cause::Body(_) => Failure::Failed,
            _ => Failure::Unreachable,
        }
    }

    fn hint(&self) -> Option<String> {
        let host = self.gateway.host_str().unwrap_or("HOST");
        let port = self.gateway.port_or_known_default().unwrap_or(443);
        let url = SafeUrl(&self.gateway);
        let is_list = self.request.starts_with("GET ") && self.request.ends_with("/system/functions");
        match &self.source {
            Cause::Closed if is_list => Some(
                "a gateway lists no functions while its Prometheus is not available: check whether Prometheus runs"
                    .to_owned(),
            ),
            Cause::UnknownName if is_cluster_name(&self.gateway) => Some(format!(
                "`{host}` is a name inside a cluster, which only a runner there can reach (`runs-on: self.hosted`): use that, \
                 or the gateway's public URL"
            )),
            Cause::UnknownName => Some(format!("check the host name `{host}` in `OPENFAAS_URL` (`{url}`)")),
            Cause::ConnectionRefused => Some(format!(
                "nothing listens on port {port} of `{host}`: check `OPENFAAS_URL` (`{url}`), and whether the gateway runs"
            )),
            Cause::NoRoute => Some(format!(
                "a Bitbucket runner in the cloud cannot reach a private address: use the gateway's public one instead of \
                 `{url}`, or a self-hosted runner"
            )),
            // A firewall would have kept the connection from being made.
            Cause::TimedOut(_) => {
                Some("the connection was made, so no firewall is in the way: raise `TIMEOUT`".to_owned())
            }
            Cause::ConnectTimedOut(_) => {
                Some(format!("check whether a firewall admits Bitbucket's addresses to port {port} of `{host}`"))
            }
            Cause::ClientCertificate => Some(format!(
                "the pipe has no client certificate: let `/oauth/token`, `/system/` and `/function/` of `{host}` pass without \
                 one; the step's token authenticates these requests"
            )),
            Cause::NotTls => Some(format!(
                "`OPENFAAS_URL` (`{url}`) begins with `https://`, but the server does not speak TLS: check the port; inside a \
                 cluster write `http://…`, with `ALLOW_HTTP: 'true'`"
            )),
            Cause::SpeaksTls => Some(format!("write `OPENFAAS_URL: '{}'`", with_https(&self.gateway))),
            Cause::Closed => Some(
                "the gateway or an ingress in front of it closed the connection: check their logs for a restart or a timeout"
                    .to_owned(),
            ),
            Cause::Lost => Some("check whether the gateway still runs, and the network in between".to_owned()),
            Cause::NotHttp(_) => Some(format!("check whether the gateway responds at `{url}`")),
            Cause::Body(_) => Some("find out what changes the file during the run".to_owned()),
            cause => cause.hint(host, port),
        }
    }
}

/// A gateway's URL with the other scheme. The port stays: it is the one that speaks TLS.
pub(super) fn with_https(gateway: &Url) -> String {
    SafeUrl(gateway).to_string().replacen("http://", "https://", 1)
}

/// The words of servers, in a 400, about the connection that the request came over: the whole text of Go's server, or a page of
/// nginx or Apache httpd. A provider or a function may quote them, of a connection of its own.
pub(super) fn connection_fault(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Cause> {
    const FAULTS: [(&str, Cause); 3] = [
        ("plain HTTP request was sent to HTTPS port", Cause::SpeaksTls),
        ("speaking plain HTTP to an SSL", Cause::SpeaksTls),
        ("No required SSL certificate was sent", Cause::ClientCertificate),
    ];
    if status != StatusCode::BAD_REQUEST || headers.contains_key(CALL_ID) {
        return None;
    }
    if body.trim_ascii() == b"Client sent an HTTP request to an HTTPS server." {
        return Some(Cause::SpeaksTls);
    }
    let words = String::from_utf8_lossy(if is_web_page(headers, body) { body } else { b"" });
    FAULTS.into_iter().find(|(phrase, _)| words.contains(phrase)).map(|(_, cause)| cause)
}

/// A redirect, which is not followed: no token goes to an address that the user did not write.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{request}: {status}, a redirect to `{}`", quote(location))]
pub(crate) struct Redirect {
    pub(crate) request: String,
    pub(crate) url: Url,
    pub(crate) gateway: Url,
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    /// The gateway sets it on what it passes on from a function.
    pub(crate) has_call_id: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The same request with HTTPS, at this gateway URL.
    Https(String),
    /// The same request at another address, for good, at this gateway URL.
    Moved(String),
    /// Another request: a sign-in, as a rule.
    Elsewhere,
}

impl Redirect {
    pub(crate) fn destination(&self) -> Destination {
        let Self { gateway, url, .. } = self;
        let Ok(target) = url.join(&self.location) else { return Destination::Elsewhere };
        let same_query = target.query() == url.query() && target.username().is_empty() && target.password().is_none();
        let upgrade = gateway.scheme() == "http" && target.scheme() == "https" && gateway.host() == target.host();
        if upgrade && same_query && target.path() == url.path() {
            let mut secure = gateway.clone();
            // The port of plain HTTP is not that of HTTPS.
            let _ = secure.set_port(target.port());
            let _ = secure.set_scheme("https");
            return Destination::Https(SafeUrl(&secure).to_string());
        }
        // A temporary redirect is how sign-ins begin; following one by hand would send the token there.
        let is_permanent = matches!(self.status.as_u16(), 301 | 307 | 308);
        let requested = url.path().strip_prefix(gateway.path().trim_end_matches('/'));
        let base = requested.and_then(|requested| target.path().strip_suffix(requested));
        match base.filter(|_| is_permanent && same_query && target != *url) {
            Some(base) => Destination::Moved(format!("{}{base}", target.origin().ascii_serialization())),
            None => Destination::Elsewhere,
        }
    }
}

impl Explain for Redirect {
    fn failure(&self) -> Failure {
        match self.destination() {
            Destination::Elsewhere => Failure::Unreachable,
            Destination::Https(_) | Destination::Moved(_) => Failure::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self.destination() {
            Destination::Https(url) => {
                format!("the gateway requires HTTPS: write `OPENFAAS_URL: '{}'`", quote(&url))
            }
            Destination::Moved(url) => format!(
                "redirects are not followed, so that no token goes to another address; if the gateway has moved there, \
                 write `OPENFAAS_URL: '{}'`",
                quote(&url)
            ),
            Destination::Elsewhere => {
                "a proxy in front of the gateway redirects the request, probably to its own sign-in: let `/oauth/token` \
                 and `/system/` pass there"
                    .to_owned()
            }
        })
    }
}

/// Method and path, as the log names a request.
pub(super) fn request_name(method: &Method, url: &Url) -> String {
    format!("{method} {}", quote(url.path()))
}
