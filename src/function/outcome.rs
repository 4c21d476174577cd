//! The outcome of a run: the source of the log's table, the exit code and the result files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::image::pinned;
use super::{Command, FunctionName};
use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Failure};

/// The action on a function, a namespace or a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    /// It did not exist before.
    Created,
    Updated,
    /// It was deleted and created again.
    Replaced,
    /// A secret that was created or updated: faasd does not report which.
    Written,
    /// The running function equals the one to send (`ONLY_CHANGED`), or the namespace to create exists.
    Unchanged,
    /// A function.
    Removed,
    /// A namespace.
    Deleted,
    /// It was to be deleted and did not exist.
    Absent,
    /// A namespace that was not deleted; the problem has the reason.
    Kept,
    /// The new version did not become ready. The previous version was redeployed, or the new function deleted.
    RolledBack,
    Failed,
    /// The run ended before it was begun.
    #[default]
    NotStarted,
}

impl Action {
    /// True if the new version was deployed, and was not rolled back.
    pub(crate) fn is_deployed(self) -> bool {
        matches!(self, Self::Created | Self::Updated | Self::Replaced)
    }

    /// True if the version of the stack file runs, deployed by this run or before it.
    pub(crate) fn is_current(self) -> bool {
        self.is_deployed() || self == Self::Unchanged
    }

    /// The word for it in table and JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Replaced => "replaced",
            Self::Written => "written",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
            Self::Deleted => "deleted",
            Self::Absent => "absent",
            Self::Kept => "kept",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::NotStarted => "not started",
        }
    }

    fn verdict(self, problem: Option<&Diagnostic>) -> Verdict {
        match self {
            Self::NotStarted => Verdict::Skipped,
            Self::Failed | Self::RolledBack => Verdict::Failed,
            _ if problem.is_some() => Verdict::Failed,
            _ => Verdict::Passed,
        }
    }
}

/// The replicas of a function that the gateway reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replicas {
    pub(crate) desired: u64,
    pub(crate) available: u64,
}

/// The verdict of a report on one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was done as asked.
    Passed,
    /// It was tried, and it failed.
    Failed,
    /// It was not tried.
    Skipped,
}

/// A line of a stack file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The stack file's path as the user wrote it, relative to the clone directory if it is in it; or its URL.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The state of a function that was not deployed, removed or rolled back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Left {
    /// The previous version.
    #[default]
    Untouched,
    /// The change may have been carried out, although no response says so.
    Undecided,
    /// The new version, since the rollback failed.
    NotRolledBack,
    /// The previous version, redeployed; its image.
    Restored(String),
    /// A version that does not run, in the place of one that ran.
    Down,
    Gone,
    /// It is being deleted.
    Leaving,
    /// It is not known: what runs, or nothing.
    Unknown,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FunctionOutcome {
    pub(crate) function: FunctionName,
    /// The image that was sent; absent for a removal.
    pub(crate) image: Option<String>,
    /// The digest of the image, if its registry was asked.
    pub(crate) digest: Option<String>,
    pub(crate) action: Action,
    pub(crate) problem: Option<Diagnostic>,
    /// From the first request about it to the last response.
    pub(crate) duration: Duration,
    /// Where it can be invoked.
    pub(crate) url: String,
    /// Where a stack file names it; absent for a function that no stack file of the run names.
    pub(crate) place: Option<Location>,
    /// True if it became ready; absent if the run did not wait for it.
    pub(crate) ready: Option<bool>,
    /// Its state, if it was not deployed or not rolled back.
    pub(crate) left: Left,
    /// Its replicas as last reported, if they were requested.
    pub(crate) replicas: Option<Replicas>,
}

impl FunctionOutcome {
    pub(crate) fn new(function: FunctionName, url: String) -> Self {
        Self { function, url, ..Self::default() }
    }

    /// The image with its digest, if that is known.
    pub(crate) fn pinned_image(&self) -> Option<String> {
        Some(pinned(self.image.as_ref()?, self.digest.as_ref()?))
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.action.verdict(self.problem.as_ref())
    }
}

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

#[derive(Clone, Debug)]
pub(crate) struct ResourceOutcome {
    pub(crate) resource: Resource,
    pub(crate) action: Action,
    pub(crate) problem: Option<Diagnostic>,
}

impl ResourceOutcome {
    pub(crate) fn verdict(&self) -> Verdict {
        self.action.verdict(self.problem.as_ref())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct InvocationOutcome {
    pub(crate) function: FunctionName,
    /// True if the function may have received it.
    pub(crate) sent: bool,
    /// The HTTP status of the response, if there was one.
    pub(crate) status: Option<u16>,
    /// The gateway's id of the call (`X-Call-Id`).
    pub(crate) call_id: Option<String>,
    /// True if it was queued rather than answered.
    pub(crate) asynchronous: bool,
    /// Size of the response's body in bytes.
    pub(crate) response_bytes: u64,
    /// How long the function ran, if the gateway reports it (`X-Duration-Seconds`).
    pub(crate) function_seconds: Option<f64>,
    pub(crate) problem: Option<Diagnostic>,
    /// From the first request to the last byte.
    pub(crate) duration: Duration,
}

/// The result of a `VERIFY` call.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallOutcome {
    /// As it was written.
    pub(crate) call: String,
    pub(crate) function: FunctionName,
    pub(crate) method: String,
    pub(crate) url: String,
    /// True if it was made: it is not if a function of the run is not ready.
    pub(crate) made: bool,
    pub(crate) status: Option<u16>,
    /// The gateway's id of the call (`X-Call-Id`).
    pub(crate) call_id: Option<String>,
    pub(crate) problem: Option<Diagnostic>,
    /// From the first attempt to the verdict.
    pub(crate) duration: Duration,
}

impl CallOutcome {
    pub(crate) fn verdict(&self) -> Verdict {
        match &self.problem {
            Some(_) => Verdict::Failed,
            None if self.made => Verdict::Passed,
            None => Verdict::Skipped,
        }
    }

    /// The word for it in table and JSON.
    pub(crate) fn result(&self) -> &'static str {
        match self.verdict() {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Skipped => "not made",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) command: Command,
    pub(crate) gateway: String,
    /// The stack files of the run, in its order.
    pub(crate) stack_files: Vec<Arc<str>>,
    /// One entry a function, in stack-file order.
    pub(crate) functions: Vec<FunctionOutcome>,
    /// The namespaces that were created or deleted.
    pub(crate) namespaces: Vec<ResourceOutcome>,
    /// The secrets that were written.
    pub(crate) secrets: Vec<ResourceOutcome>,
    /// The calls of `VERIFY`, in their order.
    pub(crate) calls: Vec<CallOutcome>,
    pub(crate) invocation: Option<InvocationOutcome>,
    /// Why the run failed as a whole, beside what failed about single functions.
    pub(crate) problem: Option<Diagnostic>,
    pub(crate) duration: Duration,
}

impl Outcome {
    pub(crate) fn new(command: Command, gateway: String) -> Self {
        Self { command, gateway, ..Self::default() }
    }

    /// The stack file of a run that has one.
    pub(crate) fn stack_file(&self) -> Option<&str> {
        if let [file] = &self.stack_files[..] { Some(file) } else { None }
    }

    /// The failure that decides the exit code.
    pub(crate) fn worst(&self) -> Option<Failure> {
        let functions = self.functions.iter().map(|function| &function.problem);
        let calls = self.calls.iter().map(|call| &call.problem);
        let resources = self.resources().map(|resource| &resource.problem);
        let invocation = self.invocation.iter().map(|invocation| &invocation.problem);
        let problems = functions.chain(calls).chain(resources).chain(invocation).chain([&self.problem]);
        problems.flatten().map(|problem| problem.failure).min()
    }

    /// Namespaces and secrets.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &ResourceOutcome> {
        self.namespaces.iter().chain(&self.secrets)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.worst().map_or(0, Failure::exit_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_failures_permission_comes_first_then_reach_then_function_then_readiness() {
        use Failure::*;
        let problem = |failure| Diagnostic::new(failure, "");
        let worst =
            |failures: &[Failure]| Diagnostic::worst(failures.iter().copied().map(problem)).map(|worst| worst.failure);
        assert_eq!(worst(&[NotReady, Failed, Unreachable, Permission]), Some(Permission));
        assert_eq!(worst(&[NotReady, Failed, Unreachable]), Some(Unreachable));
        assert_eq!(worst(&[NotReady, Failed]), Some(Failed));
        assert_eq!(worst(&[]), None);
    }

    #[test]
    fn function_passed_only_where_it_was_tried_and_nothing_is_wrong() {
        let verdict = |action, problem| {
            FunctionOutcome { action, problem, ..FunctionOutcome::new(FunctionName::default(), String::new()) }
                .verdict()
        };
        let problem = Diagnostic::new(Failure::NotReady, "");
        assert_eq!(verdict(Action::Updated, None), Verdict::Passed);
        assert_eq!(verdict(Action::Absent, None), Verdict::Passed);
        assert_eq!(verdict(Action::Created, Some(problem.clone())), Verdict::Failed);
        assert_eq!(verdict(Action::RolledBack, None), Verdict::Failed);
        assert_eq!(verdict(Action::NotStarted, Some(problem)), Verdict::Skipped);
    }
}
