//! What can go wrong between the pipe and the gateway, and what to change.

use http::{Method, StatusCode};
use url::Url;

use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Failure};
use crate::oidc::{IamAction, missing_action};

use crate::function::FunctionName;
use crate::http::cause::Cause;
use crate::http::client::SafeUrl;

/// Why a request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No answer, or only a part of one.
    #[error(transparent)]
    Transport(Box<Transport>),
    /// An answer other than success.
    #[error("{}", .0.message())]
    Refused(Box<Refused>),
    /// Not followed, so that no token goes to an address that the user did not write.
    #[error("{request}: {status}, a redirect to `{}`", quote(location))]
    Redirect {
        /// Method and path.
        request: String,
        /// The gateway's own URL.
        gateway: Box<Url>,
        status: StatusCode,
        location: String,
    },
    #[error(transparent)]
    NotSent(Box<NotSent>),
    /// A successful answer that the gateway's API does not have.
    #[error("{request}: the answer is not what a gateway returns: {source}")]
    Shape {
        /// Method and path.
        request: String,
        /// Whether it is the token exchange.
        is_exchange: bool,
        source: ShapeError,
    },
    /// Community Edition did not carry an update out, and reported it only in its own log.
    #[error("{request}: Community Edition did not update the function")]
    Ignored {
        /// Method and path.
        request: String,
    },
    /// The run was stopped while the request was under way.
    #[error("stopped before the answer arrived")]
    Stopped(Failure),
}

/// Why a request was not sent: there is no usable token, or its body cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct NotSent(Diagnostic);

impl NotSent {
    pub(crate) fn because(problem: Diagnostic) -> Error {
        Error::NotSent(Box::new(Self(problem)))
    }
}

/// Why a successful answer is useless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShapeError {
    #[error("it is a web page")]
    WebPage,
    #[error("it is longer than {} KiB", .0 / 1024)]
    TooLong(usize),
    #[error("it is not the expected JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("it is not the expected JSON array (byte {0})")]
    NotArray(usize),
    #[error("it ends early")]
    Incomplete,
    #[error("it contains more than the pipe can hold")]
    TooMuch,
    #[error("it contains no access token")]
    NoToken,
    #[error("its access token is longer than any gateway accepts")]
    TokenTooLong,
    #[error("its access token cannot be sent in a header")]
    InvalidToken,
}

/// An answer other than success.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// Method and path.
    pub(super) request: String,
    pub(super) status: StatusCode,
    /// The start of the body, fit for the log; of a web page, which words it is reported in.
    pub(super) text: String,
    /// Whether the body is a page for people.
    pub(super) is_web_page: bool,
    /// Whether the same request may succeed later.
    pub(super) is_transient: bool,
    /// Whether it is the token exchange.
    pub(super) is_exchange: bool,
    /// What the Policy has to permit for it.
    pub(super) action: Option<IamAction>,
    pub(super) target: Option<FunctionName>,
    /// Whether basic auth was used, so that no Policy is involved.
    pub(super) password: bool,
    /// The gateway's own address.
    pub(super) gateway: Url,
}

impl Error {
    /// As the problem of a function or a run, with what to change.
    pub(crate) fn problem(&self) -> Diagnostic {
        let (failure, hint) = match self {
            Self::Transport(transport) => return transport.problem(),
            Self::Refused(refused) => return refused.problem(),
            Self::NotSent(not_sent) => return not_sent.0.clone(),
            Self::Redirect { gateway, location, .. } => (Failure::Failed, Some(redirect_hint(gateway, location))),
            Self::Shape { is_exchange, source, .. } => (
                web_page_failure(*is_exchange && matches!(source, ShapeError::WebPage), Failure::Failed),
                Some("check that `OPENFAAS_URL` is the gateway's URL, with its base path if it has one".to_owned()),
            ),
            Self::Ignored { .. } => (
                Failure::Failed,
                Some(
                    "it answers 200 without a reason if an update fails: check that the image is public and exists, and \
                     that the secrets exist; the reason is in the log of faas-netes, \
                     `kubectl logs -n openfaas deploy/gateway -c faas-netes`"
                        .to_owned(),
                ),
            ),
            Self::Stopped(failure) => (*failure, None),
        };
        Diagnostic { hint, ..Diagnostic::new(failure, self.to_string()) }
    }

    /// What the Policy lacks, and on which function, if that is why the request was refused.
    pub(crate) fn lacks(&self) -> Option<(IamAction, &FunctionName)> {
        match self {
            Self::Refused(refused) => refused.lacks(),
            _ => None,
        }
    }

    /// Why the provider behind the gateway refused a deployment.
    pub(crate) fn provider_says(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) if matches!(refused.status.as_u16(), 400 | 422 | 500) && !refused.is_web_page => {
                Some(&refused.text).filter(|text| !text.is_empty()).map(String::as_str)
            }
            _ => None,
        }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Refused(refused) => refused.is_transient,
            _ => false,
        }
    }

    /// Whether the gateway is not available: no connection, a connection that was closed, no answer in time, 503 or 429.
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Refused(refused) => matches!(refused.status.as_u16(), 429 | 503),
            _ => false,
        }
    }

    /// Whether nobody can have received the request.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Transport(transport) if transport.unsent)
    }

    /// Whether Kubernetes says that the function is being deleted.
    pub(crate) fn says_being_deleted(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.text.contains("being deleted"))
    }

    /// Whether the Policy lacks an action (403).
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status() == Some(StatusCode::FORBIDDEN)
    }

    /// The status of the answer, if there was one.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(refused) => Some(refused.status),
            Self::Redirect { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// A web page that answers the token exchange is not the gateway's.
fn web_page_failure(is_instead_of_gateway: bool, otherwise: Failure) -> Failure {
    if is_instead_of_gateway { Failure::Unreachable } else { otherwise }
}

fn redirect_hint(gateway: &Url, location: &str) -> String {
    match gateway.join(location).ok() {
        Some(url) if gateway.scheme() == "http" && url.scheme() == "https" && url.host() == gateway.host() => {
            let mut secure = gateway.clone();
            // The port of plain HTTP is not that of HTTPS.
            let _ = secure.set_port(url.port());
            let _ = secure.set_scheme("https");
            format!("the gateway requires HTTPS: write `OPENFAAS_URL: '{}'`", SafeUrl(&secure))
        }
        Some(url) => format!(
            "redirects are not followed, so that no token goes to another address; \
             if the gateway is at `{}`, write that as `OPENFAAS_URL`",
            quote(url.origin().ascii_serialization().as_str())
        ),
        None => "redirects are not followed; check `OPENFAAS_URL`".to_owned(),
    }
}

const NOT_PASSED_ON: &str = "a proxy before the gateway did not get an answer from it: check whether the gateway runs, or \
    raise `RETRIES`";

impl Refused {
    fn lacks(&self) -> Option<(IamAction, &FunctionName)> {
        let by_iam = self.status == StatusCode::FORBIDDEN && !self.is_web_page && !self.password;
        if by_iam { self.action.zip(self.target.as_ref()) } else { None }
    }

    fn message(&self) -> String {
        let Self { request, status, text, .. } = self;
        match text.as_str() {
            "" => format!("{request}: {status}"),
            page if self.is_web_page => format!("{request}: {status}, {page}"),
            text => format!("{request}: {status}: `{text}`"),
        }
    }

    fn problem(&self) -> Diagnostic {
        let failure = match self.status.as_u16() {
            401 | 403 => Failure::Permission,
            _ => Failure::Failed,
        };
        let failure = web_page_failure(self.is_exchange && self.is_web_page, failure);
        Diagnostic { hint: self.hint(), ..Diagnostic::new(failure, self.message()) }
    }

    fn hint(&self) -> Option<String> {
        if let Some((action, target)) = self.lacks() {
            return Some(missing_action(action, target));
        }
        match (self.status.as_u16(), self.action) {
            (401 | 403, ..) if self.is_web_page => Some(format!(
                "a web page answered at `{}`, not the gateway's IAM: a proxy or an ingress before it requires its own \
                 sign-in, or admits only some addresses; let `/oauth/token` and `/system/` pass there",
                SafeUrl(&self.gateway)
            )),
            (401 | 403, ..) if self.password => Some("check `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`".to_owned()),
            (401, Some(_)) => Some(
                "the gateway exchanged the step's token, but does not accept the token that it issued: check whether \
                 several gateways with different keys answer at this URL, and whether their clocks are right"
                    .to_owned(),
            ),
            (429, ..) => Some("the gateway is busy: lower `PARALLEL`, or raise `RETRIES`".to_owned()),
            (502..=504, ..) => Some(NOT_PASSED_ON.to_owned()),
            (500, ..) if self.is_web_page => Some(NOT_PASSED_ON.to_owned()),
            _ if self.is_web_page => Some(format!(
                "a web page answered at `{}`, not an OpenFaaS gateway: check `OPENFAAS_URL`, also for a missing base path",
                SafeUrl(&self.gateway)
            )),
            (404, Some(IamAction::NamespaceCreate | IamAction::NamespaceGet | IamAction::NamespaceDelete)) => Some(
                "the gateway has no API for namespaces: OpenFaaS for Enterprises and faasd have one; have the namespace \
                 created or deleted by other means, and leave `CREATE_NAMESPACE` and `DELETE_NAMESPACE` out"
                    .to_owned(),
            ),
            (500, Some(IamAction::NamespaceDelete)) if self.text.contains("must be empty") => Some(
                "faasd cannot delete a namespace that ever had a function: leave `DELETE_NAMESPACE` out".to_owned(),
            ),
            (400 | 404, Some(IamAction::SecretCreate | IamAction::SecretUpdate))
                if self.text.is_empty() || self.text.contains("namespace") =>
            {
                Some("check that the namespace exists; `CREATE_NAMESPACE: 'true'` creates it".to_owned())
            }
            (
                404,
                Some(
                    IamAction::FunctionCreate
                    | IamAction::FunctionUpdate
                    | IamAction::FunctionList
                    | IamAction::SecretCreate
                    | IamAction::SecretUpdate,
                ),
            ) => {
                Some(format!(
                    "the path does not exist at `{}`: check `OPENFAAS_URL`, also for a missing base path",
                    SafeUrl(&self.gateway)
                ))
            }
            (409, Some(IamAction::FunctionCreate)) if !self.text.contains("being deleted") => {
                Some("the function already exists: remove `STRATEGY`, or set it to `update` or `replace`".to_owned())
            }
            _ => None,
        }
    }
}

/// A request without a complete answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{request} at `{}`: {source}", SafeUrl(gateway))]
pub(crate) struct Transport {
    /// Method and path.
    pub(super) request: String,
    /// The gateway's own URL.
    pub(super) gateway: Url,
    pub(crate) source: Cause,
    /// Whether no connection was made, so that nobody can have received the request.
    pub(super) unsent: bool,
}

impl Transport {
    fn problem(&self) -> Diagnostic {
        let host = self.gateway.host_str().unwrap_or("HOST");
        let port = self.gateway.port_or_known_default().unwrap_or(443);
        let url = SafeUrl(&self.gateway);
        let hint = match &self.source {
            Cause::UnknownName => Some(format!("check the host name `{host}` in `OPENFAAS_URL` (`{url}`)")),
            Cause::ConnectionRefused => Some(format!(
                "nothing listens on port {port} of `{host}`: check `OPENFAAS_URL` (`{url}`), and whether the gateway runs"
            )),
            Cause::NoRoute => Some(format!(
                "a Bitbucket runner in the cloud cannot reach a private address: use the gateway's public one instead of `{url}`, or a self-hosted runner"
            )),
            Cause::TimedOut(_) => {
                Some(format!("check whether a firewall admits Bitbucket's addresses to `{host}`, or raise `TIMEOUT`"))
            }
            Cause::ConnectTimedOut(_) => {
                Some(format!("check whether a firewall admits Bitbucket's addresses to `{host}`"))
            }
            Cause::NotTls => Some(format!(
                "`OPENFAAS_URL` (`{url}`) begins with `https://`, but the server does not speak TLS: check the port; inside a cluster write `http://…`, with `ALLOW_HTTP: 'true'`"
            )),
            Cause::SpeaksTls => Some(format!("write `OPENFAAS_URL: '{}'`", with_https(&self.gateway))),
            Cause::NotHttp(_) => Some(format!("check whether the gateway answers at `{url}`")),
            Cause::Body(_) => Some("find out what changes the file during the run".to_owned()),
            cause => cause.hint(host, port),
        };
        let failure = match self.source {
            Cause::Body(_) => Failure::Failed,
            _ => Failure::Unreachable,
        };
        Diagnostic { hint, ..Diagnostic::new(failure, self.to_string()) }
    }
}

/// A gateway's URL with the other scheme. The port stays: it is the one that speaks TLS.
pub(super) fn with_https(gateway: &Url) -> String {
    SafeUrl(gateway).to_string().replacen("http://", "https://", 1)
}

/// Whether an answer says that its port requires TLS, in the words of Go's server, nginx or Apache httpd.
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
