//! The log of a command for several functions: a line as each ends, and a table of all.

mod cause;
mod table;

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::function::FunctionName;
use crate::function::outcome::{Action, FunctionOutcome, Left, Outcome, ResourceOutcome, Verdict};
use crate::gateway::Error;
use crate::oidc::{self, Grant, MissingPermissions};
use crate::text::count;
pub(crate) use table::calls as calls_table;

/// Logs the problems of functions; the same hint is logged once.
pub(crate) struct Reporter<'a> {
    /// The kinds of problems whose hints were logged.
    hinted: RefCell<BTreeSet<(u8, String)>>,
    /// Problems of functions that are not logged yet.
    pending: RefCell<Vec<(FunctionName, Diagnostic)>>,
    /// The functions that were named with others that failed alike.
    listed: RefCell<BTreeSet<FunctionName>>,
    /// The actions that the Policy lacks.
    lacking: RefCell<MissingPermissions>,
    /// The actions that it has to permit for the whole run, if that is about these functions.
    needs: &'a dyn Fn(Vec<FunctionName>) -> Vec<Grant>,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(needs: &'a dyn Fn(Vec<FunctionName>) -> Vec<Grant>) -> Self {
        Self {
            hinted: RefCell::default(),
            pending: RefCell::default(),
            listed: RefCell::default(),
            lacking: RefCell::default(),
            needs,
        }
    }

    /// An error about a function as its problem. What the Policy lacks is reported at the end, for all functions together.
    pub(crate) fn failed(&self, error: &Error) -> Diagnostic {
        let mut problem = error.diagnostic();
        if let Some((action, function)) = error.lacks() {
            if !action.is_of_namespace() {
                let lacking = MissingPermissions::from([(action, BTreeSet::from([function.clone()]))]);
                problem.hint = Some(oidc::missing(&lacking, &(self.needs)(vec![function.clone()])));
            }
            self.lacking.borrow_mut().entry(action).or_default().insert(function.clone());
        }
        problem
    }

    /// The first of several errors, all of which count for what the Policy lacks.
    pub(crate) fn first<'e>(&self, errors: impl Iterator<Item = &'e Error>) -> Option<&'e Error> {
        errors.inspect(|error| _ = self.failed(error)).reduce(|first, _| first)
    }

    /// Logs an error of the run as a whole, and returns its problem.
    pub(crate) fn run_failed(&self, error: &Error) -> Diagnostic {
        let problem = self.failed(error);
        let hint = problem.hint.clone().filter(|_| error.lacks().is_none());
        Diagnostic { hint, ..problem.clone() }.log();
        problem
    }

    /// Logs what the Policy lacks for a run about these functions, as statements to paste.
    pub(crate) fn lacking(&self, functions: impl Iterator<Item = FunctionName>) {
        let lacking = self.lacking.take();
        if !lacking.is_empty() {
            tracing::error!("{}", oidc::missing(&lacking, &(self.needs)(functions.collect())));
        }
    }

    /// One line for a function as it ends.
    pub(crate) fn ended(&self, outcome: &FunctionOutcome) {
        let name = &outcome.function;
        match &outcome.problem {
            None if outcome.action == Action::Absent => tracing::info!("`{name}` does not exist"),
            None => tracing::info!("`{name}` {} in {}", outcome.action.as_str(), log::duration(outcome.duration)),
            Some(_) if outcome.action == Action::NotStarted => {}
            Some(problem) => self.problem(outcome, problem),
        }
    }

    /// One line for a secret or a namespace as it ends.
    pub(crate) fn resource_ended(&self, outcome: &ResourceOutcome) {
        let resource = &outcome.resource;
        let Some(problem) = &outcome.problem else {
            match outcome.action {
                Action::Unchanged => tracing::info!("{resource} exists"),
                Action::Absent => tracing::info!("{resource} does not exist"),
                action => tracing::info!("{resource} {}", action.as_str()),
            }
            return;
        };
        let is_reported_later = problem.failure == Failure::Permission && !self.lacking.borrow().is_empty();
        let is_new = self.hinted.borrow_mut().insert((problem.failure.exit_code(), problem.message.clone()));
        let hint = problem.hint.clone().filter(|_| is_new && !is_reported_later);
        Diagnostic { place: resource.to_string(), hint, ..problem.clone() }.log();
    }

    /// Notes a problem of a function, for [`Reporter::flush`].
    pub(crate) fn problem(&self, outcome: &FunctionOutcome, problem: &Diagnostic) {
        let mut problem = problem.clone();
        let kind = problem.message.replace(&outcome.function.name, "");
        let is_reported_later = self.lacking.borrow().values().any(|functions| functions.contains(&outcome.function));
        if is_reported_later || !self.hinted.borrow_mut().insert((problem.failure.exit_code(), kind)) {
            problem.hint = None;
        }
        self.pending.borrow_mut().push((outcome.function.clone(), problem));
    }

    /// Logs the problems of functions: one cause once, with the functions that have it.
    pub(crate) fn flush(&self) {
        for cause in cause::group(self.pending.take()) {
            cause.problem.log();
            if cause.functions.len() > 1 {
                self.listed.borrow_mut().extend(cause.functions);
            }
        }
    }

    /// Logs which functions were not started because of a problem of the run.
    pub(crate) fn not_started(&self, problem: &Diagnostic, functions: Vec<FunctionName>) {
        if functions.is_empty() {
            return;
        }
        let not_started = format!("{} not started", count(functions.len(), "function"));
        tracing::error!("{}; {not_started}\n{}", problem.message, cause::names(&functions));
        self.listed.borrow_mut().extend(functions);
    }

    /// True if the log has named a function together with others that failed alike, so that the table does not repeat it.
    fn is_listed(&self, outcome: &FunctionOutcome) -> bool {
        matches!(outcome.action, Action::Failed | Action::NotStarted)
            && self.listed.borrow().contains(&outcome.function)
    }

    /// Prints a row for each function that no line above has named with others.
    pub(crate) fn table(&self, outcomes: &[FunctionOutcome]) {
        table::print(outcomes.iter().filter(|outcome| !self.is_listed(outcome)));
    }
}

/// The words of the last line for functions that are not left as they were.
const LEFT: [(Left, &str); 3] = [
    (Left::Gone, "gone and must be redeployed"),
    (Left::Down, "no longer running and must be redeployed"),
    (Left::Unknown, "may be gone"),
];

/// The last line of a command that does the same with several functions: `done` is the word for it.
pub(crate) fn summary(outcome: &Outcome, done: &str) -> String {
    let names = |left: Left| {
        let left = outcome.functions.iter().filter(|function| function.left == left);
        let names: Vec<_> = left.map(|function| format!("`{}`", quote(&function.function.to_string()))).collect();
        names.join(", ")
    };
    let mut line = counts(outcome, done);
    for (left, words) in LEFT {
        let names = names(left);
        if !names.is_empty() {
            line.push_str(&format!("; {words}: {names}"));
        }
    }
    line
}

fn counts(outcome: &Outcome, done: &str) -> String {
    // What is pruned has no line in the stack file.
    let (asked, pruned): (Vec<_>, Vec<_>) = outcome.functions.iter().partition(|function| function.place.is_some());
    let number = |is: fn(&FunctionOutcome) -> bool| asked.iter().filter(|function| is(function)).count();
    let missing = number(|function| matches!(function.action, Action::Failed | Action::NotStarted));
    let restored = number(|function| function.action == Action::RolledBack);
    let left = pruned.iter().filter(|function| function.problem.is_some()).count();
    let unready = asked.iter().filter(|function| function.action.is_current() && function.problem.is_some());
    let is_known = unready.clone().all(|function| function.ready == Some(false));
    let (unready, readiness) = (unready.count(), if is_known { "not ready" } else { "not known to be ready" });
    let of = count(asked.len(), "function");
    let calls = outcome.calls.iter().filter(|call| call.verdict() == Verdict::Failed).count();
    // Otherwise a call or a refused update is why, which the line or an error says.
    let is_why = calls == 0
        && restored == number(|function| function.action == Action::RolledBack && function.ready == Some(false));
    let rolled_back = if is_why { "not ready and rolled back" } else { "rolled back" };
    let (head, mentioned) = match outcome.worst() {
        None => {
            let absent = number(|function| function.action == Action::Absent);
            let unchanged = number(|function| function.action == Action::Unchanged);
            let more = also(&[(unchanged, "unchanged"), (absent, "not found"), (pruned.len(), "removed")]);
            let number = count(asked.len() - absent - unchanged, "function");
            return format!("{done} {number}{more} in {}", log::duration(outcome.duration));
        }
        Some(_) if outcome.functions.is_empty() => return format!("nothing was {done}"),
        Some(Failure::Terminated | Failure::Interrupted) => (format!("{} of {of} {done}", asked.len() - missing), 0),
        Some(_) if missing > 0 => (format!("{missing} of {of} not {done}"), 0),
        Some(_) if unready > 0 => (format!("{unready} of {of} {done}, but {readiness}"), 1),
        Some(_) if restored > 0 => (format!("{restored} of {of} {rolled_back}"), 2),
        Some(_) if left > 0 || calls > 0 => (format!("{done} {of}"), 2),
        Some(_) => (format!("{done} {of}, with errors"), 2),
    };
    let calls_failed = if calls == 1 { "`VERIFY` call failed" } else { "`VERIFY` calls failed" };
    let more = [(unready, readiness), (restored, "rolled back"), (left, "not removed")];
    let failed = |resources: &[ResourceOutcome]| resources.iter().filter(|failed| failed.problem.is_some()).count();
    let resources = [
        (failed(&outcome.namespaces), "namespace", if done == "removed" { "deleted" } else { "created" }),
        (failed(&outcome.secrets), "secret", "written"),
    ];
    let resources = resources.iter().filter(|(number, ..)| *number > 0);
    let resources: String =
        resources.map(|(number, what, done)| format!(", {} not {done}", count(*number, what))).collect();
    head + &also(&more[mentioned..]) + &also(&[(calls, calls_failed)]) + &resources
}

/// The other counts that are not zero.
fn also(counts: &[(usize, &str)]) -> String {
    let some = counts.iter().filter(|(number, _)| *number > 0);
    some.map(|(number, what)| format!(", {number} {what}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::Command;
    use crate::function::outcome::{FunctionOutcome, Location};

    /// The last line of a deploy of these functions: what was done, what is wrong, and whether it became ready.
    fn last_line(functions: &[(Action, Option<Failure>, Option<bool>)], pruned: &[Option<Failure>]) -> String {
        let problem = |failure| Diagnostic::new(failure, "");
        let function = |action, failure: Option<Failure>| FunctionOutcome {
            action,
            problem: failure.map(problem),
            ..FunctionOutcome::new(FunctionName::default(), String::new())
        };
        let asked = functions.iter().map(|(action, failure, ready)| FunctionOutcome {
            ready: *ready,
            place: Some(Location { file: "stack.yml".into(), line: 1 }),
            ..function(*action, *failure)
        });
        let pruned = pruned.iter().map(|failure| match failure {
            None => function(Action::Removed, None),
            failure => function(Action::Failed, *failure),
        });
        let functions = asked.chain(pruned).collect();
        summary(&Outcome { functions, ..Outcome::new(Command::Deploy, String::new()) }, "deployed")
    }

    #[test]
    fn last_line_counts_what_is_not_deployed_apart_from_what_is_wrong_otherwise() {
        use Action::*;
        use Failure::{NotReady, Permission, Terminated};
        let fine = (Updated, None, Some(true));
        let refused = (Action::Failed, Some(Permission), None);
        let late = (Created, Some(NotReady), Some(false));
        let unseen = (Updated, Some(Permission), None);
        let restored = (RolledBack, Some(NotReady), Some(false));
        let same = (Unchanged, None, Some(true));
        let not_started = (NotStarted, Some(Terminated), None);
        let stopped = (Updated, Some(Terminated), None);
        for (functions, pruned, expected) in [
            (&[fine, fine][..], &[][..], "deployed 2 functions in 0 ms"),
            (&[fine], &[None, None], "deployed 1 function, 2 removed in 0 ms"),
            (&[fine, same, same], &[], "deployed 1 function, 2 unchanged in 0 ms"),
            (&[], &[], "deployed 0 functions in 0 ms"),
            (&[refused, fine], &[], "1 of 2 functions not deployed"),
            (&[refused, late, restored], &[], "1 of 3 functions not deployed, 1 not ready, 1 rolled back"),
            (&[late, fine], &[], "1 of 2 functions deployed, but not ready"),
            (&[unseen, unseen], &[], "2 of 2 functions deployed, but not known to be ready"),
            (&[unseen, late], &[], "2 of 2 functions deployed, but not known to be ready"),
            (&[restored], &[], "1 of 1 function not ready and rolled back"),
            (&[late, restored, fine], &[], "1 of 3 functions deployed, but not ready, 1 rolled back"),
            (&[fine, fine], &[Some(Permission), None], "deployed 2 functions, 1 not removed"),
            (&[fine, not_started], &[], "1 of 2 functions deployed"),
            (&[stopped, stopped], &[], "2 of 2 functions deployed, 2 not known to be ready"),
        ] {
            assert_eq!(last_line(functions, pruned), expected);
        }
    }
}
