//! The log of a command for several functions: a line as each ends, each cause once, and at the end a table and a line of all.

mod summary;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::function::FunctionName;
use crate::function::outcome::{Action, FunctionOutcome, Resource, ResourceOutcome};
use crate::gateway::Error;
use crate::oidc::{self, Grant, MissingPermissions};
use crate::text::count;
pub(crate) use summary::{calls_table, summary};

/// How many functions an error of several names; the others are in the table. Secrets and namespaces are all named: no table has them.
const MOST_NAMED: usize = 100;
/// The start of a hint that says no more than where a function is, which a group of functions does not have.
pub(crate) const FUNCTION_IS_AT: &str = "the function is at ";
/// The longest line of names, in characters.
const LINE: usize = 96;

/// A function, a secret or a namespace that a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    kind: &'static str,
    /// Its texts that differ between equal messages: its namespace, if that is not in its name, and its name.
    names: [String; 2],
    /// As a list of its kind names it.
    shown: String,
}

/// Logs the problems of functions; the same hint is logged once.
pub(crate) struct Reporter<'a> {
    /// The kinds of problems whose hints were logged.
    hinted: RefCell<BTreeSet<(u8, String)>>,
    /// Problems that are not logged yet.
    pending: RefCell<Vec<(Subject, Diagnostic)>>,
    /// Subjects that an error of several names.
    listed: RefCell<BTreeSet<Subject>>,
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

    /// One line for a secret or a namespace as it ends; a problem is noted for [`Reporter::flush`].
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
        self.note(resource.into(), problem, is_reported_later);
    }

    /// Notes a problem of a function, for [`Reporter::flush`].
    pub(crate) fn problem(&self, outcome: &FunctionOutcome, problem: &Diagnostic) {
        let is_reported_later = self.lacking.borrow().values().any(|functions| functions.contains(&outcome.function));
        self.note((&outcome.function).into(), problem, is_reported_later);
    }

    fn note(&self, subject: Subject, problem: &Diagnostic, is_reported_later: bool) {
        let hint = problem.hint.clone().filter(|_| !is_reported_later);
        self.pending.borrow_mut().push((subject, Diagnostic { hint, ..problem.clone() }));
    }

    /// Logs the problems that were noted: one cause once, with all that have it.
    pub(crate) fn flush(&self) {
        for Group { kind, mut problem, subjects } in group(self.pending.take()) {
            problem.hint.take_if(|_| !self.hinted.borrow_mut().insert((problem.failure.exit_code(), kind)));
            problem.log();
            if subjects.len() > 1 {
                self.listed.borrow_mut().extend(subjects.into_iter().take(MOST_NAMED));
            }
        }
    }

    /// Logs which functions were not started because of a problem of the run.
    pub(crate) fn not_started(&self, problem: &Diagnostic, functions: Vec<FunctionName>) {
        if functions.is_empty() {
            return;
        }
        let not_started = format!("{} not started", count(functions.len(), "function"));
        let subjects: Vec<Subject> = functions.iter().map(Into::into).collect();
        tracing::error!("{}; {not_started}\n{}", problem.message, names(&subjects));
        self.listed.borrow_mut().extend(subjects.into_iter().take(MOST_NAMED));
    }

    /// True if the log has named a function together with others that failed alike, so that the table does not repeat it.
    fn is_listed(&self, outcome: &FunctionOutcome) -> bool {
        matches!(outcome.action, Action::Failed | Action::NotStarted)
            && self.listed.borrow().contains(&Subject::from(&outcome.function))
    }

    /// Prints a row for each function that no line above has named with others.
    pub(crate) fn table(&self, outcomes: &[FunctionOutcome]) {
        summary::table(outcomes.iter().filter(|outcome| !self.is_listed(outcome)));
    }
}

impl From<&FunctionName> for Subject {
    fn from(function: &FunctionName) -> Self {
        let names = [function.namespace.clone().unwrap_or_default(), function.name.clone()];
        Self { kind: "function", names, shown: format!("`{}`", quote(&function.to_string())) }
    }
}

impl From<&Resource> for Subject {
    fn from(resource: &Resource) -> Self {
        let (kind, name, namespace) = match resource {
            Resource::Namespace(name) => ("namespace", name, None),
            Resource::Secret { name, namespace } => ("secret", name, namespace.clone()),
        };
        let shown = resource.to_string().split_off(kind.len() + 1);
        Self { kind, names: [namespace.unwrap_or_default(), name.clone()], shown }
    }
}

impl Subject {
    fn place(&self) -> String {
        if self.kind == "function" { self.shown.clone() } else { format!("{} {}", self.kind, self.shown) }
    }
}

/// Problems with one cause, and what has it.
struct Group {
    /// The message without names.
    kind: String,
    problem: Diagnostic,
    subjects: Vec<Subject>,
}

/// The problems in the order of the first one of each cause. Those that differ only in names have one cause.
fn group(problems: Vec<(Subject, Diagnostic)>) -> Vec<Group> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, problem) in &problems {
        *times.entry(&problem.message).or_default() += 1;
    }
    let kind = |(subject, problem): &(Subject, Diagnostic)| match times[problem.message.as_str()] {
        1 => without_names(&problem.message, &subject.names),
        // Equal messages are one kind, also if a name is a word of theirs.
        _ => problem.message.clone(),
    };
    let kinds: Vec<_> = problems.iter().map(kind).collect();
    let mut groups = BTreeMap::<_, (usize, Vec<_>)>::new();
    for (index, (kind, (subject, problem))) in kinds.into_iter().zip(problems).enumerate() {
        let key = (subject.kind, problem.failure, kind);
        groups.entry(key).or_insert((index, Vec::new())).1.push((subject, problem));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (first, _))| *first);
    groups.into_iter().map(|((_, _, kind), (_, members))| merged(kind, members)).collect()
}

fn merged(kind: String, mut members: Vec<(Subject, Diagnostic)>) -> Group {
    // They end in any order.
    members.sort();
    let hints = members.iter().filter_map(|(subject, problem)| Some((subject, problem.hint.as_ref()?)));
    let mut hints = hints.filter(|(_, hint)| members.len() == 1 || !hint.starts_with(FUNCTION_IS_AT));
    let hint = hints.next().map(|(subject, hint)| match hints.all(|(_, other)| other == hint) {
        true => hint.clone(),
        false => format!("for {}: {hint}", subject.place()),
    });
    let (subjects, mut problems): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    let is_same = problems.iter().all(|problem| problem.message == problems[0].message);
    let mut problem = Diagnostic { hint, ..problems.swap_remove(0) };
    problem.place = subjects[0].place();
    if subjects.len() > 1 {
        if !is_same {
            // Those that all share stay.
            let first = &subjects[0].names;
            let differs = |place: &usize| subjects.iter().any(|other| other.names[*place] != first[*place]);
            let names = [0, 1].into_iter().filter(differs).map(|place| &first[place]);
            problem.message = without_names(&problem.message, names);
        }
        problem.message.push_str(&format!("\n{}", names(&subjects)));
        problem.place = count(subjects.len(), subjects[0].kind);
    }
    Group { kind, problem, subjects }
}

/// A message with `NAME` in place of names, as far as they stand there as words.
fn without_names<'n>(message: &str, names: impl IntoIterator<Item = &'n String>) -> String {
    let names = names.into_iter().filter(|name| !name.is_empty());
    names.fold(message.to_owned(), |message, name| {
        let word = Regex::new(&format!(r"\b{}\b", regex_lite::escape(name))).expect("an escaped name is a pattern");
        word.replace_all(&message, "NAME").into_owned()
    })
}

/// The names in a list, on as many lines as they need.
fn names(subjects: &[Subject]) -> String {
    let most = if subjects.iter().all(|subject| subject.kind == "function") { MOST_NAMED } else { subjects.len() };
    let mut text = String::new();
    let mut width = 0;
    for (index, Subject { shown, .. }) in subjects.iter().take(most).enumerate() {
        let separator = match (index, width + shown.len() + 2 > LINE) {
            (0, _) => "",
            (_, true) => ",\n",
            (_, false) => ", ",
        };
        width = if separator.ends_with('\n') { 0 } else { width + separator.len() } + shown.len();
        text.push_str(separator);
        text.push_str(shown);
    }
    if subjects.len() > most {
        text.push_str(&format!(" and {} more", subjects.len() - most));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str, message: &str, hint: Option<&str>) -> (Subject, Diagnostic) {
        let problem = Diagnostic { hint: hint.map(str::to_owned), ..Diagnostic::new(Failure::Failed, message) };
        let (name, namespace) = name.split_once('.').map_or((name, None), |(name, namespace)| (name, Some(namespace)));
        ((&FunctionName::new(name, namespace)).into(), problem)
    }

    fn shown(problems: Vec<(Subject, Diagnostic)>) -> Vec<String> {
        group(problems).iter().map(|group| group.problem.to_string()).collect()
    }

    #[test]
    fn equal_problems_are_one_with_the_names_of_the_functions() {
        let shown = shown(vec![
            problem("a", "503", Some("wait")),
            problem("b", "image `r/b:1` is missing in a registry", None),
            problem("c", "503", None),
            problem("d", "image `r/d:1` is missing in a registry", None),
            problem("e", "400", Some("the function is at stack.yml:7")),
            problem("a", "a web page", Some("the function is at stack.yml:7")),
            problem("b", "a web page", None),
        ]);
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
    fn remedy_of_one_in_a_group_says_of_which() {
        let missing = "secret `k` is missing";
        assert_eq!(
            shown(vec![
                problem("a.n1", missing, Some("create it in `n1`")),
                problem("b.n2", missing, Some("create it in `n2`")),
                problem("a.n1", "no namespace n1", Some("set it")),
                problem("a.n2", "no namespace n2", Some("set it")),
                problem("a.n3", "no a in n3", None),
                problem("b.n3", "no b in n3", None),
            ]),
            [
                "2 functions: secret `k` is missing\n`a.n1`, `b.n2`\nhint: for `a.n1`: create it in `n1`",
                "2 functions: no namespace NAME\n`a.n1`, `a.n2`\nhint: set it",
                "2 functions: no NAME in n3\n`a.n3`, `b.n3`",
            ]
        );
    }

    #[test]
    fn secrets_and_namespaces_that_fail_alike_are_one_error() {
        let failed =
            |resource: Resource, message: &str| (Subject::from(&resource), Diagnostic::new(Failure::Failed, message));
        let secret = |namespace: &str| Resource::Secret { name: "k".into(), namespace: Some(namespace.into()) };
        let namespace = |name: &str| Resource::Namespace(name.into());
        assert_eq!(
            shown(vec![
                failed(secret("n1"), "500"),
                failed(secret("n2"), "500"),
                failed(namespace("n1"), "GET /n1: 503"),
                failed(namespace("n2"), "GET /n2: 503"),
                failed(secret("n3"), "400"),
            ]),
            [
                "2 secrets: 500\n`k` in namespace `n1`, `k` in namespace `n2`",
                "2 namespaces: GET /NAME: 503\n`n1`, `n2`",
                "secret `k` in namespace `n3`: 400",
            ]
        );
    }

    #[test]
    fn names_are_wrapped_and_bounded_and_the_table_has_the_rest() {
        let functions: Vec<_> =
            (0..120).map(|number| FunctionName::new(format!("function-{number}"), None::<String>)).collect();
        let reporter = Reporter::new(&|_| Vec::new());
        let failed = |function: &FunctionName| FunctionOutcome {
            action: Action::Failed,
            ..FunctionOutcome::new(function.clone(), String::new())
        };
        let outcomes: Vec<_> = functions.iter().map(failed).collect();
        let problem = Diagnostic::new(Failure::Failed, "503");
        outcomes.iter().for_each(|outcome| reporter.problem(outcome, &problem));
        reporter.flush();
        assert_eq!(outcomes.iter().filter(|outcome| !reporter.is_listed(outcome)).count(), 20);
        let namespaces: Vec<_> =
            (0..120).map(|number| Subject::from(&Resource::Namespace(format!("n{number}")))).collect();
        assert!(names(&namespaces).ends_with("`n119`"));
        let names = names(&functions.iter().map(Subject::from).collect::<Vec<_>>());
        assert!(names.lines().all(|line| line.len() <= LINE + 1), "{names}");
        assert!(names.ends_with("`function-99` and 20 more"), "{names}");
    }
}
