//! The table that a command about several functions ends with, and its last line.

use crate::console::log::{self, quote};
use crate::console::render_table;
use crate::diagnostic::Failure;
use crate::function::outcome::{Action, CallOutcome, FunctionOutcome, Left, Outcome, ResourceOutcome, Verdict};
use crate::text::count;

/// The log is readable in a window of this width.
const WIDTH: usize = 100;
/// How much of a digest is shown, in hexadecimal digits.
const DIGEST: usize = 12;

const HEAD: [&str; 6] = ["FUNCTION", "NAMESPACE", "IMAGE", "RESULT", "TIME", "URL"];

/// Prints one row per function; the URLs are a line below if the table is too wide with them.
pub(super) fn table<'a>(outcomes: impl Iterator<Item = &'a FunctionOutcome>) {
    let rows: Vec<_> = outcomes.map(row).collect();
    if rows.is_empty() {
        return;
    }
    let whole = render_table(HEAD, &rows);
    let has_urls = rows.iter().any(|[.., url]| !url.is_empty());
    if has_urls && whole.lines().all(|line| line.chars().count() <= WIDTH) {
        return log::plain(whole);
    }
    let [head @ .., _] = HEAD;
    let narrow: Vec<_> = rows.iter().map(|[cells @ .., _]| cells.clone()).collect();
    log::plain(render_table(head, &narrow));
    // One stands for all: they differ only in name and namespace, which the table has.
    let url = rows.iter().find_map(|[name, namespace, .., url]| {
        let base = url.strip_suffix(&format!(".{namespace}")).unwrap_or(url).strip_suffix(name.as_str())?;
        Some(format!("{base}NAME{}", if namespace == "-" { "" } else { ".NAMESPACE" }))
    });
    if let Some(url) = url {
        log::plain(format!("URL: {url}"));
    }
}

/// Prints one row per call of `VERIFY`, if there are any.
pub(crate) fn calls_table(calls: &[CallOutcome]) {
    if calls.is_empty() {
        return;
    }
    let rows: Vec<_> = calls
        .iter()
        .map(|call| {
            let status = call.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            [call.call.clone(), call.method.clone(), status, call.result().to_owned(), log::duration(call.duration)]
        })
        .collect();
    log::plain(render_table(["VERIFY", "METHOD", "STATUS", "RESULT", "TIME"], &rows));
}

fn row(outcome: &FunctionOutcome) -> [String; 6] {
    let result = match (&outcome.problem, outcome.action) {
        (Some(problem), Action::Failed) => match problem.failure {
            Failure::Permission => "not permitted",
            Failure::Input => "image missing",
            Failure::Unreachable => "unreachable",
            _ => "failed",
        },
        (Some(problem), action) if action.is_current() => match problem.failure {
            Failure::Permission | Failure::NotReady if outcome.ready.is_none() => "readiness unknown",
            failure => failure.as_str(),
        },
        (_, action) => action.as_str(),
    };
    [
        outcome.function.name.clone(),
        outcome.function.namespace.clone().unwrap_or_else(|| "-".to_owned()),
        outcome.image.as_deref().map_or_else(|| "-".to_owned(), short),
        result.to_owned(),
        log::duration(outcome.duration),
        if outcome.action.is_current() { outcome.url.clone() } else { String::new() },
    ]
}

/// An image with the beginning of its digest; the JSON has all of it.
fn short(image: &str) -> String {
    match image.rsplit_once(':') {
        Some((name, digest)) if name.contains('@') && digest.len() > DIGEST && digest.is_ascii() => {
            format!("{name}:{}…", &digest[..DIGEST])
        }
        _ => image.to_owned(),
    }
}

/// The words of the last line for functions that are not left as they were.
const LEFT: [(Left, &str); 5] = [
    (Left::Gone, "gone and must be redeployed"),
    (Left::Leaving, "will be gone and must be redeployed"),
    (Left::Down, "no longer running and must be redeployed"),
    (Left::Unknown, "may be gone"),
    (Left::NotRolledBack, "the rollback failed"),
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
    let is_undecided = |function: &FunctionOutcome| {
        function.action == Action::Failed && matches!(function.left, Left::Undecided | Left::Unknown)
    };
    let undecided = number(is_undecided);
    let restored = number(|function| function.action == Action::RolledBack);
    let absent = number(|function| function.action == Action::Absent);
    let unchanged = number(|function| function.action == Action::Unchanged);
    let changed = asked.len() - absent - unchanged;
    let as_it_was = also(&[(unchanged, "unchanged"), (absent, "not found")]);
    let all = format!("{done} {}{as_it_was}", count(changed, "function"));
    let left = pruned.iter().filter(|function| function.problem.is_some()).count();
    let open = pruned.iter().filter(|function| is_undecided(function)).count();
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
            let removed = pruned.iter().filter(|function| function.action == Action::Removed).count();
            let removed = also(&[(removed, "removed")]);
            return format!("{all}{removed} in {}", log::duration(outcome.duration));
        }
        Some(_) if outcome.functions.is_empty() => return format!("nothing was {done}"),
        Some(Failure::Terminated | Failure::Interrupted) => {
            (format!("{} of {of} {done}{as_it_was}", changed - missing), 0)
        }
        Some(_) if undecided == missing && missing > 0 => (format!("{missing} of {of} not known to be {done}"), 0),
        Some(_) if missing > 0 => {
            let more = if undecided > 0 { format!(", {undecided} not known to be {done}") } else { String::new() };
            (format!("{} of {of} not {done}{more}", missing - undecided), 0)
        }
        Some(_) if unready > 0 => (format!("{unready} of {of} {done}, but {readiness}"), 1),
        Some(_) if restored > 0 => (format!("{restored} of {of} {rolled_back}"), 2),
        Some(_) if left > 0 || calls > 0 => (all, 2),
        Some(_) => (format!("{all}, with errors"), 2),
    };
    let calls_failed = if calls == 1 { "`VERIFY` call failed" } else { "`VERIFY` calls failed" };
    let more = [
        (unready, readiness),
        (restored, "rolled back"),
        (left - open, "not removed"),
        (open, "not known to be removed"),
    ];
    let is_failed = |resource: &&ResourceOutcome| resource.problem.is_some() || resource.action == Action::NotStarted;
    let failed = |resources: &[ResourceOutcome]| resources.iter().filter(is_failed).count();
    let resources = [
        (failed(&outcome.namespaces), "namespace", if done == "removed" { "deleted" } else { "created" }),
        (failed(&outcome.secrets), "secret", "written"),
    ];
    let resources = resources.iter().filter(|(number, ..)| *number > 0);
    let resources: String =
        resources.map(|(number, what, done)| format!(", {} not {done}", count(*number, what))).collect();
    // The head has the first of them already.
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
    use crate::diagnostic::Diagnostic;
    use crate::function::Command;
    use crate::function::FunctionName;
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
        let absent = (Absent, None, None);
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
            (
                &[fine, same, absent],
                &[Some(Permission)],
                "deployed 1 function, 1 unchanged, 1 not found, 1 not removed",
            ),
            (&[fine, not_started], &[], "1 of 2 functions deployed"),
            (&[fine, same, not_started], &[], "1 of 3 functions deployed, 1 unchanged"),
            (&[stopped, stopped], &[], "2 of 2 functions deployed, 2 not known to be ready"),
        ] {
            assert_eq!(last_line(functions, pruned), expected);
        }
    }

    #[test]
    fn digest_of_any_kind_is_shortened_and_a_tag_is_not() {
        let long = "0a".repeat(40);
        for algorithm in ["sha256", "sha512"] {
            assert_eq!(short(&format!("a/f:1@{algorithm}:{long}")), format!("a/f:1@{algorithm}:0a0a0a0a0a0a…"));
        }
        let tagged = format!("a/f:{long}");
        assert_eq!(short(&tagged), tagged);
    }

    #[test]
    fn last_line_does_not_deny_what_may_have_been_done() {
        let functions = |lefts: &[Left]| {
            let failed = lefts.iter().map(|left| FunctionOutcome {
                action: Action::Failed,
                problem: Some(Diagnostic::new(Failure::Failed, "")),
                place: Some(Location { file: "stack.yml".into(), line: 1 }),
                left: left.clone(),
                ..FunctionOutcome::new(FunctionName::new("f", None::<String>), String::new())
            });
            Outcome { functions: failed.collect(), ..Outcome::new(Command::Deploy, String::new()) }
        };
        for (lefts, expected) in [
            (&[Left::Untouched][..], "1 of 1 function not deployed"),
            (&[Left::Undecided], "1 of 1 function not known to be deployed"),
            (&[Left::Undecided, Left::Untouched], "1 of 2 functions not deployed, 1 not known to be deployed"),
            (&[Left::Unknown], "1 of 1 function not known to be deployed; may be gone: `f`"),
            (&[Left::Gone], "1 of 1 function not deployed; gone and must be redeployed: `f`"),
        ] {
            assert_eq!(summary(&functions(lefts), "deployed"), expected);
        }
        // What the stack file no longer names has no place in it.
        let mut pruned = functions(&[Left::Untouched, Left::Undecided]);
        pruned.functions.iter_mut().for_each(|function| function.place = None);
        assert_eq!(summary(&pruned, "deployed"), "deployed 0 functions, 1 not removed, 1 not known to be removed");
        for (function, action) in pruned.functions.iter_mut().zip([Action::Absent, Action::Removed]) {
            (function.action, function.problem, function.left) = (action, None, Left::Untouched);
        }
        assert_eq!(summary(&pruned, "deployed"), "deployed 0 functions, 1 removed in 0 ms");
    }
}
