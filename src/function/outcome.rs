//! What a run did: the one account that the log's table, the exit code and the result files are made from.

use std::time::Duration;

use super::FunctionName;
use super::command::Command;
use crate::diagnostic::{Diagnostic, Severity};

/// The exit code's meaning, by which a later step or a person tells kinds of failure apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Variables or stack file are wrong; nothing was sent (2).
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
    /// Stopped by SIGINT (130).
    Interrupted,
    /// Stopped by SIGTERM (143).
    Terminated,
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Input => 2,
            Self::Permission => 3,
            Self::Unreachable => 4,
            Self::NotReady => 5,
            Self::Differences => 6,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The word for it in the result files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Input => "input",
            Self::Permission => "permission",
            Self::Unreachable => "unreachable",
            Self::NotReady => "not ready",
            Self::Differences => "differences",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// Of several failures in one run, the one that the exit code tells: being stopped, then 2, 3, 4, 1, 5, 6.
    pub fn worst(failures: impl IntoIterator<Item = Self>) -> Option<Self> {
        const ORDER: [Failure; 8] = [
            Failure::Terminated,
            Failure::Interrupted,
            Failure::Input,
            Failure::Permission,
            Failure::Unreachable,
            Failure::Failed,
            Failure::NotReady,
            Failure::Differences,
        ];
        let rank = |failure: &Self| ORDER.iter().position(|other| other == failure);
        failures.into_iter().min_by_key(rank)
    }
}

/// What was done with a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was not there before.
    Created,
    /// It was updated in place.
    Updated,
    /// It was deleted and created anew.
    Replaced,
    /// It was deleted.
    Removed,
    /// It was to be deleted and was not there.
    Absent,
    /// The new version did not get ready; what ran before was deployed again, or what was new was deleted.
    RolledBack,
    /// It was not done; [`FunctionOutcome::problem`] says why.
    Failed,
    /// The run was stopped before it was begun.
    NotStarted,
}

impl Action {
    /// Whether the new version was deployed, and was not rolled back.
    pub fn is_deployed(self) -> bool {
        matches!(self, Self::Created | Self::Updated | Self::Replaced)
    }

    /// The word for it in table and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
            Self::Absent => "absent",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::NotStarted => "not started",
        }
    }
}

/// Why something failed, in the form that the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind, for the exit code.
    pub failure: Failure,
    /// What happened: one line, or the list of what is wrong with the variables.
    pub message: String,
    /// What to change; may have several lines.
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self { failure, message: message.into(), hint: None }
    }

    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// As the log has it; `about` names what it is about, and is empty for the run as a whole.
    pub fn diagnostic(&self, about: &str) -> Diagnostic {
        let about = if about.is_empty() { String::new() } else { format!("`{about}`: ") };
        Diagnostic::new(Severity::Error, format!("{about}{}", self.message), self.hint.clone())
    }

    /// Of several problems, the one that the exit code tells.
    pub fn worst(problems: impl IntoIterator<Item = Self>) -> Option<Self> {
        let problems: Vec<_> = problems.into_iter().collect();
        let worst = Failure::worst(problems.iter().map(|problem| problem.failure))?;
        problems.into_iter().find(|problem| problem.failure == worst)
    }
}

/// How many replicas of a function the gateway tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// How many there are to be.
    pub desired: u64,
    /// How many can take calls.
    pub available: u64,
}

/// What a report says of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was asked for was done.
    Passed,
    /// It was tried, and it failed.
    Failed,
    /// It was not tried.
    Skipped,
}

/// What is left of a function that was not deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Left {
    /// What was there before.
    #[default]
    Untouched,
    /// What ran before, deployed again; its image.
    Restored(String),
    Gone,
    /// It is not known: what runs, or nothing.
    Unknown,
}

/// What became of one function.
#[derive(Clone, Debug)]
pub struct FunctionOutcome {
    pub function: FunctionName,
    /// The image that was sent; absent where none was (removal).
    pub image: Option<String>,
    /// The digest of the image, if its registry was asked.
    pub digest: Option<String>,
    /// What was done.
    pub action: Action,
    /// Why it failed, or why it is not ready.
    pub problem: Option<Problem>,
    /// From the first request about it to the last answer.
    pub duration: Duration,
    /// Where it can be invoked.
    pub url: String,
    /// Its line in the stack file, from 1.
    pub line: Option<usize>,
    /// Whether it got ready; absent where that was not waited for.
    pub ready: Option<bool>,
    /// What is left of it, if it was not deployed or not rolled back.
    pub left: Left,
    /// Its replicas as last seen; absent where they were not asked for.
    pub replicas: Option<Replicas>,
}

impl FunctionOutcome {
    /// A function that nothing was done with yet.
    pub fn new(function: FunctionName, url: String) -> Self {
        Self {
            function,
            image: None,
            digest: None,
            action: Action::NotStarted,
            problem: None,
            duration: Duration::ZERO,
            url,
            line: None,
            ready: None,
            left: Left::Untouched,
            replicas: None,
        }
    }

    /// The image with its digest, if that is known.
    pub fn pinned_image(&self) -> Option<String> {
        let (image, digest) = (self.image.as_ref()?, self.digest.as_ref()?);
        Some(if image.contains('@') { image.clone() } else { format!("{image}@{digest}") })
    }

    /// Whether it went well.
    pub fn verdict(&self) -> Verdict {
        match self.action {
            Action::NotStarted => Verdict::Skipped,
            Action::Failed | Action::RolledBack => Verdict::Failed,
            _ if self.problem.is_some() => Verdict::Failed,
            _ => Verdict::Passed,
        }
    }
}

/// What became of an invocation.
#[derive(Clone, Debug)]
pub struct InvocationOutcome {
    pub function: FunctionName,
    /// Whether the function may have received it.
    pub sent: bool,
    /// The HTTP status of the answer; absent where none came.
    pub status: Option<u16>,
    /// The gateway's id of the call (`X-Call-Id`).
    pub call_id: Option<String>,
    /// Whether it was queued rather than answered.
    pub asynchronous: bool,
    /// Size of the answer's body in bytes.
    pub response_bytes: u64,
    /// How long the function ran, where the gateway says so (`X-Duration-Seconds`).
    pub function_seconds: Option<f64>,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// From the first request to the last byte.
    pub duration: Duration,
}

/// What became of a call of `VERIFY`.
#[derive(Clone, Debug)]
pub struct CallOutcome {
    /// As it was written.
    pub call: String,
    pub function: FunctionName,
    pub method: String,
    pub url: String,
    /// Whether it was made: it is not if a function of the run is not ready.
    pub made: bool,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// The gateway's id of the call (`X-Call-Id`).
    pub call_id: Option<String>,
    pub problem: Option<Problem>,
    /// From the first attempt to the verdict.
    pub duration: Duration,
}

impl CallOutcome {
    /// A call that was not made yet.
    pub fn planned(call: String, function: FunctionName, method: String, url: String) -> Self {
        let duration = Duration::ZERO;
        Self { call, function, method, url, made: false, status: None, call_id: None, problem: None, duration }
    }

    pub fn verdict(&self) -> Verdict {
        match &self.problem {
            Some(_) => Verdict::Failed,
            None if self.made => Verdict::Passed,
            None => Verdict::Skipped,
        }
    }

    /// The word for it in table and JSON.
    pub fn result(&self) -> &'static str {
        match self.verdict() {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Skipped => "not made",
        }
    }
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The value of `COMMAND`.
    pub command: Command,
    /// The gateway's URL.
    pub gateway: String,
    /// The stack file's path as the user gave it, relative to the clone directory where it lies in it.
    pub stack_file: Option<String>,
    /// One entry a function, in stack-file order.
    pub functions: Vec<FunctionOutcome>,
    /// The calls of `VERIFY`, in their order.
    pub calls: Vec<CallOutcome>,
    /// The invocation, for `COMMAND: invoke`.
    pub invocation: Option<InvocationOutcome>,
    /// Why the run failed as a whole, beside what failed about single functions.
    pub problem: Option<Problem>,
    /// From start to end.
    pub duration: Duration,
}

impl Outcome {
    /// A run that did nothing yet.
    pub fn new(command: Command, gateway: String) -> Self {
        Self {
            command,
            gateway,
            stack_file: None,
            functions: Vec::new(),
            calls: Vec::new(),
            invocation: None,
            problem: None,
            duration: Duration::ZERO,
        }
    }

    /// Of all that failed, what the exit code tells.
    pub fn worst(&self) -> Option<Failure> {
        let functions = self.functions.iter().filter_map(|function| function.problem.as_ref());
        let invocation = self.invocation.iter().filter_map(|call| call.problem.as_ref());
        let calls = self.calls.iter().filter_map(|call| call.problem.as_ref());
        Failure::worst(functions.chain(invocation).chain(calls).chain(&self.problem).map(|problem| problem.failure))
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        self.worst().map_or(0, Failure::exit_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_failures_permission_comes_first_then_reach_then_function_then_readiness() {
        use Failure::*;
        assert_eq!(Failure::worst([NotReady, Failed, Unreachable, Permission]), Some(Permission));
        assert_eq!(Failure::worst([NotReady, Failed, Unreachable]), Some(Unreachable));
        assert_eq!(Failure::worst([NotReady, Failed]), Some(Failed));
        assert_eq!(Failure::worst([]), None);
    }

    #[test]
    fn function_passed_only_where_it_was_tried_and_nothing_is_wrong() {
        let verdict = |action, problem| {
            FunctionOutcome { action, problem, ..FunctionOutcome::new(FunctionName::default(), String::new()) }
                .verdict()
        };
        let problem = Problem { failure: Failure::NotReady, message: String::new(), hint: None };
        assert_eq!(verdict(Action::Updated, None), Verdict::Passed);
        assert_eq!(verdict(Action::Absent, None), Verdict::Passed);
        assert_eq!(verdict(Action::Created, Some(problem.clone())), Verdict::Failed);
        assert_eq!(verdict(Action::RolledBack, None), Verdict::Failed);
        assert_eq!(verdict(Action::NotStarted, Some(problem)), Verdict::Skipped);
    }
}
