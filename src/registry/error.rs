//! Why an image could not be looked up, or a registry or cloud not signed in to.

use crate::function::outcome::{Failure, Problem};

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The registry let the pipe look, and has no such image.
    NotFound,
    /// The image does not exist for a platform that it must have.
    Platform,
    /// No access, or an answer that decides nothing.
    Denied,
    /// No answer, or one that may be another later.
    Unavailable,
}

/// What went wrong, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Error {
    pub(super) fn denied(message: String, hint: impl Into<Option<String>>) -> Self {
        Self { kind: Kind::Denied, message, hint: hint.into() }
    }

    pub(super) fn unavailable(message: String) -> Self {
        Self { kind: Kind::Unavailable, message, hint: None }
    }

    /// As the problem of a run that needs what could not be had.
    pub(crate) fn problem(&self) -> Problem {
        let failure = match self.kind {
            Kind::NotFound | Kind::Platform => Failure::Input,
            Kind::Denied => Failure::Permission,
            Kind::Unavailable => Failure::Unreachable,
        };
        Problem { failure, message: self.message.clone(), hint: self.hint.clone() }
    }
}
