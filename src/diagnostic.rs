//! The one type for something wrong: what it counts as, where it is, what happened, and what to change.
//!
//! This is the one place that writes `hint:`, so that every message of the log and of the reports has the same form.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Note,
    Warning,
    Error,
}

/// The kind of a failure, which decides the exit code. Of several failures in one run, the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Stopped by SIGTERM (143).
    Terminated,
    /// Stopped by SIGINT (130).
    Interrupted,
    /// Variables or stack file are wrong; nothing was changed (2).
    Input,
    /// No token, exchange refused, 401 or 403 (3).
    Permission,
    /// The gateway could not be reached, or did not answer in time (4).
    Unreachable,
    /// A function was not deployed, or the invocation was not answered with 2xx (1).
    Failed,
    /// Deployed, but not ready in time (5).
    NotReady,
    /// `diff` found differences (6).
    Differences,
}

impl Failure {
    /// Its exit code, and the word for it in the result files.
    fn names(self) -> (u8, &'static str) {
        match self {
            Self::Failed => (1, "failed"),
            Self::Input => (2, "input"),
            Self::Permission => (3, "permission"),
            Self::Unreachable => (4, "unreachable"),
            Self::NotReady => (5, "not ready"),
            Self::Differences => (6, "differences"),
            Self::Interrupted => (130, "interrupted"),
            Self::Terminated => (143, "terminated"),
        }
    }

    pub fn exit_code(self) -> u8 {
        self.names().0
    }

    pub fn as_str(self) -> &'static str {
        self.names().1
    }
}

/// A message with its place and its remedy. `Display` is `place: message`, then `hint: …` on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    pub severity: Severity,
    /// A function in backticks, or file and line; empty for the run as a whole, and where the reader names it.
    pub place: String,
    /// One line, or the list of all problems with the variables.
    pub message: String,
    /// The remedy; may have several lines.
    pub hint: Option<String>,
    /// The kind of failure that it counts as if it is an error.
    pub failure: Failure,
}

/// An error that knows what it counts as and its remedy.
pub trait Explain: std::error::Error {
    fn failure(&self) -> Failure {
        Failure::Failed
    }

    fn hint(&self) -> Option<String>;

    fn diagnostic(&self) -> Diagnostic {
        Diagnostic { hint: self.hint(), ..Diagnostic::new(self.failure(), self.to_string()) }
    }

    fn warning(&self) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..self.diagnostic() }
    }

    /// Message and remedy as one line, for lists of problems.
    fn in_one_line(&self) -> String {
        self.hint().map_or_else(|| self.to_string(), |hint| format!("{self}; {hint}"))
    }
}

impl Diagnostic {
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place: String::new(), message: message.into(), hint: None, failure }
    }

    /// An error in the variables, or in a file that they name.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Failure::Input, message)
    }

    /// A failure that does not fail the run.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(Failure::Failed, message) }
    }

    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self { place: place.into(), ..self }
    }

    /// A warning that turned out to fail the run.
    #[must_use]
    pub fn into_error(self) -> Self {
        Self { severity: Severity::Error, ..self }
    }

    /// Of several, the one that decides the exit code.
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().min_by_key(|diagnostic| diagnostic.failure)
    }

    pub fn log(&self) {
        match self.severity {
            Severity::Note => tracing::info!("{self}"),
            Severity::Warning => tracing::warn!("{self}"),
            Severity::Error => tracing::error!("{self}"),
        }
    }
}

// For `?` where files that variables name are read; an error with a remedy is an [`Explain`].
impl<E: std::error::Error> From<E> for Diagnostic {
    fn from(error: E) -> Self {
        Self::error(error.to_string())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_comes_first_and_the_hint_is_on_a_line_of_its_own() {
        let plain = Diagnostic::error("403 Forbidden");
        assert_eq!(plain.to_string(), "403 Forbidden");
        assert_eq!(plain.with_hint("ask").at("`f`").to_string(), "`f`: 403 Forbidden\nhint: ask");
    }
}
