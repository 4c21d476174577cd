//! How the log tells what becomes of functions: a line as each ends, and a table of them all.

mod table;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::gateway::{Error, Target};
use crate::log;
use crate::oidc;
use crate::outcome::{Action, Failure, FunctionOutcome, Outcome, Problem};
pub use table::print as table;

/// `1 function`, `2 functions`.
pub fn count(number: usize) -> String {
    format!("{number} function{}", if number == 1 { "" } else { "s" })
}

/// Tells functions' problems; the same advice is not given twice.
#[derive(Default)]
pub struct Teller {
    given: RefCell<BTreeSet<(u8, String)>>,
    /// What the Policy lacks, and on which functions (namespace, name).
    lacking: RefCell<BTreeMap<oidc::Action, Functions>>,
}

type Functions = BTreeSet<(Option<String>, String)>;

impl Teller {
    /// An error about a function as its problem. What the Policy lacks is told at the end for all functions together.
    pub fn failed(&self, error: &Error) -> Problem {
        if let Some((action, Target { name, namespace })) = error.lacks() {
            self.lacking.borrow_mut().entry(action).or_default().insert((namespace.clone(), name.clone()));
        }
        error.problem()
    }

    /// Tells what the Policy lacks, as statements to paste.
    pub fn lacking(&self) {
        let mut by_functions: BTreeMap<Functions, BTreeSet<oidc::Action>> = BTreeMap::new();
        for (action, functions) in self.lacking.take() {
            by_functions.entry(functions).or_default().insert(action);
        }
        for (functions, actions) in by_functions {
            let functions: Vec<_> =
                functions.iter().map(|(namespace, name)| (namespace.as_deref(), name.as_str())).collect();
            tracing::error!("{}", oidc::missing_actions(&actions, &functions));
        }
    }

    /// One line for a function as it ends.
    pub fn ended(&self, outcome: &FunctionOutcome) {
        let name = outcome.full_name();
        match &outcome.problem {
            None if outcome.action == Action::Absent => tracing::info!("`{name}` is not there"),
            None => tracing::info!("`{name}` {} in {}", outcome.action.as_str(), log::duration(outcome.duration)),
            Some(_) if outcome.action == Action::NotStarted => {}
            Some(problem) => self.problem(outcome, problem),
        }
    }

    /// What is wrong about a function.
    pub fn problem(&self, outcome: &FunctionOutcome, problem: &Problem) {
        let mut problem = problem.clone();
        let kind = problem.message.replace(&outcome.name, "");
        let function = (outcome.namespace.clone(), outcome.name.clone());
        let told_later = self.lacking.borrow().values().any(|functions| functions.contains(&function));
        if told_later || !self.given.borrow_mut().insert((problem.failure.exit_code(), kind)) {
            problem.hint = None;
        }
        tell(&outcome.full_name(), &problem);
    }
}

/// Writes a problem into the log: what happened, and on lines of its own what to change.
pub fn tell(about: &str, problem: &Problem) {
    let Problem { message, hint, .. } = problem;
    let about = if about.is_empty() { String::new() } else { format!("`{about}`: ") };
    match hint {
        Some(hint) => tracing::error!("{about}{message}\nhint: {hint}"),
        None => tracing::error!("{about}{message}"),
    }
}

/// The last line of a command that does the same with several functions: `done` is the word for it.
pub fn summary(outcome: &Outcome, done: &str) -> String {
    let functions = &outcome.functions;
    let all = functions.len();
    let with = |failure: Failure| {
        let problems = functions.iter().filter_map(|function| function.problem.as_ref());
        problems.filter(|problem| problem.failure == failure).count()
    };
    let failed = functions.iter().filter(|function| function.problem.is_some()).count();
    let not_ready = with(Failure::NotReady);
    let took = log::duration(outcome.duration);
    match outcome.worst() {
        None => {
            let number = |action| functions.iter().filter(|function| function.action == action).count();
            let (absent, removed) = (number(Action::Absent), number(Action::Removed));
            let absent = if absent == 0 { String::new() } else { format!(", {absent} not there") };
            let pruned = if done == "deployed" { removed } else { 0 };
            let removed = if pruned == 0 { String::new() } else { format!(", {pruned} removed") };
            let rest = all - number(Action::Absent) - pruned;
            format!("{done} {}{absent}{removed} in {took}", count(rest))
        }
        Some(Failure::Terminated | Failure::Interrupted) => {
            format!("{} of {} {done}", all - failed, count(all))
        }
        Some(_) if all == 0 => format!("nothing was {done}"),
        Some(_) if failed == 0 => format!("{done} {}, but not all was done", count(all)),
        Some(Failure::NotReady) => format!("{not_ready} of {} {done}, but not ready", count(all)),
        Some(_) if not_ready == 0 => format!("{failed} of {} not {done}", count(all)),
        Some(_) => format!("{} of {} not {done}, {not_ready} not ready", failed - not_ready, count(all)),
    }
}
