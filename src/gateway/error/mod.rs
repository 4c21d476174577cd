//! Errors of requests to the gateway, and their remedies.

mod redirect;
mod refused;
mod transport;

use std::time::Duration;

use http::{Method, StatusCode};
use url::Url;

use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::FunctionName;
use crate::http::cause::Cause;
use crate::oidc::IamAction;
pub(crate) use redirect::{Destination, Redirect};
pub(crate) use refused::{Refused, body_limit};
pub(crate) use transport::Transport;
pub(super) use transport::{connection_fault, with_https};

/// The cause of a failed request.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No response, or only a part of one.
    #[error(transparent)]
    Transport(Box<Transport>),
    /// A response other than success.
    #[error("{}", .0.message())]
    Refused(Box<Refused>),
    /// Not followed, so that no token goes to an address that the user did not write.
    #[error(transparent)]
    Redirect(Box<Redirect>),
    #[error(transparent)]
    NotSent(Box<NotSent>),
    /// A successful response that the gateway's API does not have.
    #[error("{request}: the response is not what a gateway returns: {source}")]
    Shape {
        /// Method and path.
        request: String,
        source: ShapeError,
    },
    /// Community Edition did not carry an update out, and reported it only in its own log.
    #[error("{request}: Community Edition did not update the function")]
    Ignored {
        /// Method and path.
        request: String,
    },
    /// A deletion was accepted, but is not complete.
    #[error("its deletion was accepted, but it still exists after {}", log::duration(*.0))]
    NotGone(Duration),
    /// The run was stopped while the request was under way.
    #[error("stopped before the response arrived")]
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

/// Why a successful response is useless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShapeError {
    #[error("it is longer than {} KiB", .0 / 1024)]
    TooLong(usize),
    #[error("it is not the expected JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
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

impl Error {
    /// As the problem of a function or a run, with what to change.
    pub(crate) fn problem(&self) -> Diagnostic {
        let (failure, hint) = match self {
            Self::Transport(transport) => return transport.problem(),
            Self::Refused(refused) => return refused.problem(),
            Self::NotSent(not_sent) => return not_sent.0.clone(),
            Self::Redirect(redirect) => return redirect.problem(),
            Self::Shape { .. } => (
                Failure::Failed,
                Some("check that `OPENFAAS_URL` is the gateway's URL, with its base path if it has one".to_owned()),
            ),
            Self::Ignored { .. } => (
                Failure::Failed,
                Some(
                    "it answers 200 without a reason if Kubernetes refuses an update, or something else changes the function \
                     at the same time; also if the image is not public. The reason is in the log of faas-netes: \
                     `kubectl logs -n openfaas deploy/gateway -c faas-netes`"
                        .to_owned(),
                ),
            ),
            Self::NotGone(_) => (
                Failure::Failed,
                Some("its replicas have not stopped: see whether they handle SIGTERM, and what keeps their pods".to_owned()),
            ),
            Self::Stopped(failure) => (*failure, None),
        };
        Diagnostic { hint, ..Diagnostic::new(failure, self.to_string()) }
    }

    /// The action that the Policy lacks, and the function, if that is why the request was refused.
    pub(crate) fn lacks(&self) -> Option<(IamAction, &FunctionName)> {
        match self {
            Self::Refused(refused) => refused.lacks(),
            _ => None,
        }
    }

    /// Why the provider behind the gateway refused a deployment.
    pub(crate) fn provider_says(&self) -> Option<&str> {
        match self {
            Self::Refused(refused)
                if matches!(refused.status.as_u16(), 400 | 422 | 500) && refused.is_from_gateway() =>
            {
                Some(&refused.text).filter(|text| !text.is_empty()).map(String::as_str)
            }
            _ => None,
        }
    }

    /// True if the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Refused(refused) => refused.is_transient,
            _ => false,
        }
    }

    /// True if the gateway is not available: no connection, a connection that was closed, no response in time, 503 or 429.
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Refused(refused) => refused.is_unavailable(),
            _ => false,
        }
    }

    /// True if a response says that the gateway is not available (503 or 429).
    pub(crate) fn says_unavailable(&self) -> bool {
        matches!(self, Self::Refused(_)) && self.is_unavailable()
    }

    /// True if the gateway may still be processing the request: its response is missing, or is one that a proxy sends when it has
    /// waited long enough.
    pub(crate) fn may_be_under_way(&self) -> bool {
        match self {
            Self::Transport(transport) => !transport.unsent,
            Self::Refused(refused) => {
                refused.is_transient && matches!(refused.status.as_u16(), 500 | 502 | 504 | 520..=530)
            }
            _ => false,
        }
    }

    /// True if a response took too long.
    pub(crate) fn has_timed_out(&self) -> bool {
        matches!(self, Self::Transport(transport) if matches!(transport.source, Cause::TimedOut(_)))
    }

    /// True if the gateway received the request, and may respond to another one.
    pub(crate) fn has_reached_gateway(&self) -> bool {
        match self {
            Self::Transport(transport) => !transport.unsent && !self.has_timed_out(),
            Self::Refused(_) | Self::Redirect { .. } | Self::Shape { .. } => true,
            Self::NotSent(_) | Self::Ignored { .. } | Self::NotGone(_) | Self::Stopped(_) => false,
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
            _ => self.is_unsent(),
        }
    }

    /// True if nobody can have received the request.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Transport(transport) if transport.unsent)
    }

    /// True if Kubernetes says that the function is being deleted.
    pub(crate) fn says_being_deleted(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.text.contains("being deleted"))
    }

    /// True if the Policy lacks an action (403).
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status() == Some(StatusCode::FORBIDDEN)
    }

    /// The status of the response, if there was one.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(refused) => Some(refused.status),
            Self::Redirect(redirect) => Some(redirect.status),
            _ => None,
        }
    }
}

/// Method and path, as the log names a request.
pub(super) fn request_name(method: &Method, url: &Url) -> String {
    format!("{method} {}", quote(url.path()))
}

#[cfg(test)]
mod tests;
