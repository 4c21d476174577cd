//! Secrets and namespaces: their names, and what a run did with them.

use std::fmt;

use super::outcome::Verdict;
use crate::console::log::quote;
use crate::diagnostic::Diagnostic;

/// A secret or a namespace. Its `Display` is how the log names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    Namespace(String),
    Secret {
        /// Absent: the gateway's default.
        namespace: Option<String>,
        name: String,
    },
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "namespace `{}`", quote(name)),
            Self::Secret { namespace: Some(namespace), name } => {
                write!(f, "secret `{}` in namespace `{}`", quote(name), quote(namespace))
            }
            Self::Secret { namespace: None, name } => write!(f, "secret `{}`", quote(name)),
        }
    }
}

/// The action on a secret or a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ResourceAction {
    Created,
    Updated,
    /// Created or updated: faasd does not report which.
    Written,
    /// A namespace that was to be created already exists.
    Unchanged,
    Deleted,
    /// A namespace that was to be deleted does not exist.
    Absent,
    /// A namespace that was not deleted; [`ResourceOutcome::problem`] has the reason.
    Kept,
    Failed,
    #[default]
    NotStarted,
}

impl ResourceAction {
    /// The word for it in log and JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Written => "written",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Absent => "absent",
            Self::Kept => "kept",
            Self::Failed => "failed",
            Self::NotStarted => "not started",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ResourceOutcome {
    pub(crate) resource: Resource,
    pub(crate) action: ResourceAction,
    pub(crate) problem: Option<Diagnostic>,
}

impl ResourceOutcome {
    pub(crate) fn new(resource: Resource) -> Self {
        Self { resource, action: ResourceAction::NotStarted, problem: None }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.action {
            ResourceAction::NotStarted => Verdict::Skipped,
            _ if self.problem.is_some() => Verdict::Failed,
            _ => Verdict::Passed,
        }
    }
}
