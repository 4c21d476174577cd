//! What can go wrong between the pipe and the gateway, and what to change then.

use std::fmt;

use http::{Method, StatusCode};
use url::Url;

use crate::console::log::quote;
use crate::function::outcome::{Failure, Problem};
use crate::oidc::{IamAction, missing_action};

use crate::function::FunctionName;
use crate::http::cause::{Cause, Certificate};

/// Why a request did not do what it was for.
#[derive(Clone, Debug)]
pub(crate) enum Error {
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
    /// Community Edition did not carry an update out, and said so to nobody but its own log.
    Ignored {
        /// What was asked.
        request: String,
    },
    /// The run was stopped while the request was under way.
    Stopped(Failure),
}

/// An answer other than success.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// What was asked: method and path.
    pub request: String,
    /// The status.
    pub status: StatusCode,
    /// The start of the body, of a web page its title; made fit for the log.
    pub text: String,
    /// Whether the body is a page for people.
    pub is_web_page: bool,
    /// What the Policy has to permit for it.
    pub action: Option<IamAction>,
    /// What it was about.
    pub target: Option<FunctionName>,
    /// Whether basic auth was used, so that no Policy is involved.
    pub password: bool,
    /// The gateway's own address.
    pub gateway: Url,
}

impl Error {
    /// The error as the log has it.
    pub(crate) fn problem(&self) -> Problem {
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
            Self::Ignored { request } => Problem {
                failure: Failure::Failed,
                message: format!("{request}: Community Edition did not update the function"),
                hint: Some(
                    "it answers 200 without a reason if an update fails: check that the image is public and exists, and \
                     that the secrets exist; the reason is in the log of faas-netes, \
                     `kubectl logs -n openfaas deploy/gateway -c faas-netes`"
                        .to_owned(),
                ),
            },
            Self::Stopped(failure) => {
                Problem { failure: *failure, message: "stopped before the answer came".to_owned(), hint: None }
            }
        }
    }

    /// A request that could not be built, so that nothing was sent.
    pub(crate) fn unbuildable(error: &dyn std::error::Error) -> Self {
        let message = format!("the request could not be built: {}", quote(&error.to_string()));
        Self::Unsent(Box::new(Problem { failure: Failure::Failed, message, hint: None }))
    }

    /// What the Policy lacks, and on which function, where that is why the request was refused.
    pub(crate) fn lacks(&self) -> Option<(IamAction, &FunctionName)> {
        match self {
            Self::Refused(refused) => refused.lacks(),
            _ => None,
        }
    }

    /// What the provider behind the gateway has against a deployment.
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
            Self::Refused(refused) => match refused.status.as_u16() {
                408 | 425 | 429 | 502 | 503 | 504 => true,
                500 => refused.is_web_page || refused.text.is_empty(),
                _ => false,
            },
            Self::Redirect { .. } | Self::Unsent(_) | Self::Shape { .. } | Self::Ignored { .. } | Self::Stopped(_) => {
                false
            }
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

    /// The status of the answer, where there was one.
    pub(crate) fn status(&self) -> Option<StatusCode> {
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
pub(crate) fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

impl Refused {
    fn lacks(&self) -> Option<(IamAction, &FunctionName)> {
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
            return Some(missing_action(action, target));
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
            (404, Some(IamAction::FunctionCreate | IamAction::FunctionUpdate | IamAction::FunctionList)) => {
                Some(format!(
                    "nothing answers to this path at `{}`: check `OPENFAAS_URL`, also for a missing base path",
                    shown(&self.gateway)
                ))
            }
            (409, Some(IamAction::FunctionCreate)) if !self.text.contains("being deleted") => Some(
                "the function is there already: leave `STRATEGY` out, or set it to `update` or `replace`".to_owned(),
            ),
            _ => None,
        }
    }
}

/// A request without a whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    /// What was asked.
    pub request: String,
    /// The gateway's own address.
    pub gateway: Url,
    /// What happened.
    pub cause: Cause,
    /// Whether no connection was made, so that nobody can have received the request.
    pub unsent: bool,
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
