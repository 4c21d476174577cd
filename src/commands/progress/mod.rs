//! The log of a command for several functions: a line as each ends, each cause once, and at the end a table and a line of all.

mod summary;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::function::FunctionName;
use crate::function::outcome::{Action, FunctionOutcome, ResourceOutcome};
use crate::gateway::Error;
use crate::oidc::{self, Grant, MissingPermissions};
use crate::text::count;
pub(crate) use summary::{calls_table, summary};

/// How many functions of a group are named; the table and the result have all.
const MOST_NAMED: usize = 100;
/// The start of a hint that says no more than where a function is, which a group of functions does not have.
pub(crate) const FUNCTION_IS_AT: &str = "the function is at ";
/// The longest line of names, in characters.
const LINE: usize = 96;

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

    /// The first of the errors, all of which count for what the Policy lacks.
    pub(crate) fn first_error<'r, T: 'r>(
        &self,
        results: impl IntoIterator<Item = &'r Result<T, Error>>,
    ) -> Result<(), Error> {
        let errors = results.into_iter().filter_map(|result| result.as_ref().err());
        errors.inspect(|error| _ = self.failed(error)).reduce(|first, _| first).cloned().map_or(Ok(()), Err)
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
        // What the Policy lacks is said at the end, for everything together.
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
        for (problem, functions) in group(self.pending.take()) {
            problem.log();
            if functions.len() > 1 {
                self.listed.borrow_mut().extend(functions);
            }
        }
    }

    /// Logs which functions were not started because of a problem of the run.
    pub(crate) fn not_started(&self, problem: &Diagnostic, functions: Vec<FunctionName>) {
        if functions.is_empty() {
            return;
        }
        let not_started = format!("{} not started", count(functions.len(), "function"));
        tracing::error!("{}; {not_started}\n{}", problem.message, names(&functions));
        self.listed.borrow_mut().extend(functions);
    }

    /// True if the log has named a function together with others that failed alike, so that the table does not repeat it.
    fn is_listed(&self, outcome: &FunctionOutcome) -> bool {
        matches!(outcome.action, Action::Failed | Action::NotStarted)
            && self.listed.borrow().contains(&outcome.function)
    }

    /// Prints a row for each function that no line above has named with others.
    pub(crate) fn table(&self, outcomes: &[FunctionOutcome]) {
        summary::table(outcomes.iter().filter(|outcome| !self.is_listed(outcome)));
    }
}

/// The problems of functions, in the order of their first one, each with the functions that have it. Those that differ only in the
/// function's name have one cause.
fn group(problems: Vec<(FunctionName, Diagnostic)>) -> Vec<(Diagnostic, Vec<FunctionName>)> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, problem) in &problems {
        *times.entry(&problem.message).or_default() += 1;
    }
    let kind = |(function, problem): &(FunctionName, Diagnostic)| match times[problem.message.as_str()] {
        1 => without_name(&problem.message, &function.name),
        // Equal messages are one kind, also if a function's name is a word of theirs.
        _ => problem.message.clone(),
    };
    let kinds: Vec<_> = problems.iter().map(kind).collect();
    let mut groups = BTreeMap::<_, (usize, Vec<_>)>::new();
    for (index, (kind, (function, problem))) in kinds.into_iter().zip(problems).enumerate() {
        groups.entry((problem.failure, kind)).or_insert((index, Vec::new())).1.push((function, problem));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (first, _))| *first);
    let merged = groups.into_iter().map(|((_, kind), (_, mut members))| {
        // They end in any order.
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        let is_of_all = |hint: &String| members.len() == 1 || !hint.starts_with(FUNCTION_IS_AT);
        let hint = members.iter().find_map(|(_, problem)| problem.hint.clone()).filter(is_of_all);
        let is_same = members.iter().all(|(_, problem)| problem.message == members[0].1.message);
        let (functions, mut problems): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let first = Diagnostic { hint, ..problems.swap_remove(0) };
        let problem = match &functions[..] {
            [function] => first.at(format!("`{function}`")),
            _ => {
                let message = format!("{}\n{}", if is_same { &first.message } else { &kind }, names(&functions));
                Diagnostic { message, ..first }.at(count(functions.len(), "function"))
            }
        };
        (problem, functions)
    });
    merged.collect()
}

/// A message with `NAME` in place of the function's name, as far as it stands there as a word.
fn without_name(message: &str, name: &str) -> String {
    let word = Regex::new(&format!(r"\b{}\b", regex_lite::escape(name))).expect("an escaped name is a pattern");
    word.replace_all(message, "NAME").into_owned()
}

/// The names of functions, on as many lines as they need.
fn names(functions: &[FunctionName]) -> String {
    let mut text = String::new();
    let mut width = 0;
    for (index, function) in functions.iter().take(MOST_NAMED).enumerate() {
        let name = format!("`{}`", quote(&function.to_string()));
        let separator = match (index, width + name.len() + 2 > LINE) {
            (0, _) => "",
            (_, true) => ",\n",
            (_, false) => ", ",
        };
        width = if separator.ends_with('\n') { 0 } else { width + separator.len() } + name.len();
        text.push_str(separator);
        text.push_str(&name);
    }
    if functions.len() > MOST_NAMED {
        text.push_str(&format!(" and {} more", functions.len() - MOST_NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str, message: &str, hint: Option<&str>) -> (FunctionName, Diagnostic) {
        let problem = Diagnostic { hint: hint.map(str::to_owned), ..Diagnostic::new(Failure::Failed, message) };
        (FunctionName::new(name, None::<String>), problem)
    }

    #[test]
    fn equal_problems_are_one_with_the_names_of_the_functions() {
        let grouped = group(vec![
            problem("a", "503", Some("wait")),
            problem("b", "image `r/b:1` is missing in a registry", None),
            problem("c", "503", None),
            problem("d", "image `r/d:1` is missing in a registry", None),
            problem("e", "400", Some("the function is at stack.yml:7")),
            problem("a", "a web page", Some("the function is at stack.yml:7")),
            problem("b", "a web page", None),
        ]);
        let shown: Vec<_> = grouped.iter().map(|(problem, _)| problem.to_string()).collect();
        assert_eq!(
            shown,
            [
                "2 functions: 503\n`a`, `c`\nhint: wait",
                "2 functions: image `r/NAME:1` is missing in a registry\n`b`, `d`",
                "`e`: 400\nhint: the function is at stack.yml:7",
                "2 functions: a web page\n`a`, `b`",
            ]
        );
    }

    #[test]
    fn names_are_wrapped_and_bounded() {
        let functions: Vec<_> =
            (0..120).map(|number| FunctionName::new(format!("function-{number}"), None::<String>)).collect();
        let names = names(&functions);
        assert!(names.lines().all(|line| line.len() <= LINE + 1), "{names}");
        assert!(names.ends_with("`function-99` and 20 more"), "{names}");
    }
}
