//! Why an image could not be looked up, or why signing in to a registry or cloud failed.

use std::fmt;

use crate::function::outcome::{Failure, Problem};

/// No access, or an answer that decides nothing.
pub(super) fn denied(message: String, hint: impl Into<Option<String>>) -> Problem {
    Problem { failure: Failure::Permission, message, hint: hint.into() }
}

/// No answer, or one that may be another later.
pub(super) fn unavailable(message: String, hint: impl Into<Option<String>>) -> Problem {
    Problem { failure: Failure::Unreachable, message, hint: hint.into() }
}

/// A success of `service` without what was asked for.
pub(super) fn incomplete(service: &str, missing: &str) -> Problem {
    let hint = "look for a proxy that answers in its place".to_owned();
    denied(format!("{service} returned an answer without {missing}"), hint)
}

/// A problem with what it is about.
pub(super) fn about(what: impl fmt::Display, problem: Problem) -> Problem {
    Problem { message: format!("{what}: {}", problem.message), ..problem }
}
