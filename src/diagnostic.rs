//! A message about something wrong: what happened, and on lines of its own what to change.
//!
//! This is the one place that writes `hint:`, so that every message of the log and of the reports has the same form.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Note,
    Warning,
    Error,
}

/// A message with its remedy. `Display` is the message, then `hint: …` on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// What happened, and to which thing.
    pub message: String,
    /// What to change; may have several lines.
    pub hint: Option<String>,
}

/// An error that knows its remedy.
pub trait Hint: std::error::Error {
    fn hint(&self) -> String;
}

impl Diagnostic {
    pub fn new(severity: Severity, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { severity, message: message.into(), hint }
    }

    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message, None)
    }

    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message, None)
    }

    pub fn note(message: impl Into<String>) -> Self {
        Self::new(Severity::Note, message, None)
    }

    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A failure that does not fail the run.
    pub fn warn_of(error: &impl Hint) -> Self {
        Self::warning(error.to_string()).with_hint(error.hint())
    }

    /// Writes it into the log, at the level of its severity.
    pub fn log(&self) {
        match self.severity {
            Severity::Note => tracing::info!("{self}"),
            Severity::Warning => tracing::warn!("{self}"),
            Severity::Error => tracing::error!("{self}"),
        }
    }
}

impl<E: std::error::Error> From<E> for Diagnostic {
    fn from(error: E) -> Self {
        Self::error(error.to_string())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    fn hint_is_on_a_line_of_its_own() {
        let plain = Diagnostic::error("`f`: 403 Forbidden");
        assert_eq!(plain.to_string(), "`f`: 403 Forbidden");
        assert_eq!(plain.with_hint("ask").to_string(), "`f`: 403 Forbidden\nhint: ask");
    }
}
