//! One cause is said once: the problems of functions, grouped by what is wrong.

use std::collections::BTreeMap;

use crate::console::log::quote;
use crate::diagnostic::Diagnostic;
use crate::function::FunctionName;
use crate::text::count;

/// How many functions of a group are named; the table and the result have all.
const MOST_NAMED: usize = 100;
/// The longest line of names, in characters.
const LINE: usize = 96;

/// A problem of one or several functions.
pub(super) struct SharedProblem {
    pub(super) problem: Diagnostic,
    pub(super) functions: Vec<FunctionName>,
}

/// The problems in the order of their first function. Those that differ only in the function's name have one cause.
pub(super) fn group(problems: Vec<(FunctionName, Diagnostic)>) -> Vec<SharedProblem> {
    let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
    let mut groups: Vec<(String, Vec<(FunctionName, Diagnostic)>)> = Vec::new();
    for (function, problem) in problems {
        let kind = without_name(&problem.message, &function.name);
        // Equal messages are one kind, also if a function's name is a word of theirs.
        let same = kinds.get(&(problem.failure, problem.message.clone())).copied();
        let index = same.unwrap_or_else(|| *kinds.entry((problem.failure, kind.clone())).or_insert(groups.len()));
        kinds.entry((problem.failure, problem.message.clone())).or_insert(index);
        if index == groups.len() {
            groups.push((kind, Vec::new()));
        }
        groups[index].1.push((function, problem));
    }
    // They end in any order.
    groups.iter_mut().for_each(|(_, members)| members.sort_by(|(one, _), (other, _)| one.cmp(other)));
    groups.into_iter().map(|(kind, members)| merged(kind, members)).collect()
}

fn merged(kind: String, members: Vec<(FunctionName, Diagnostic)>) -> SharedProblem {
    let hint = members.iter().find_map(|(_, problem)| problem.hint.clone());
    let is_same = members.iter().all(|(_, problem)| problem.message == members[0].1.message);
    let (mut functions, mut problems): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    functions.sort();
    let first = Diagnostic { hint, ..problems.swap_remove(0) };
    let problem = match &functions[..] {
        [function] => first.at(format!("`{function}`")),
        _ => {
            let message = format!("{}\n{}", if is_same { &first.message } else { &kind }, names(&functions));
            Diagnostic { message, ..first }.at(count(functions.len(), "function"))
        }
    };
    SharedProblem { problem, functions }
}

/// The names of functions, on as many lines as they need.
pub(super) fn names(functions: &[FunctionName]) -> String {
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

/// A message with `NAME` in place of the function's name, as far as it stands there as a word.
fn without_name(message: &str, name: &str) -> String {
    let is_part = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_');
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find(name).filter(|_| !name.is_empty()) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let is_word =
            !is_part(before.chars().next_back().or(text.chars().next_back())) && !is_part(after.chars().next());
        text.push_str(before);
        text.push_str(if is_word { "NAME" } else { name });
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Failure;

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
            problem("e", "400", None),
            problem("a", "a web page", None),
            problem("b", "a web page", None),
        ]);
        let shown: Vec<_> = grouped.iter().map(|cause| cause.problem.to_string()).collect();
        assert_eq!(
            shown,
            [
                "2 functions: 503\n`a`, `c`\nhint: wait",
                "2 functions: image `r/NAME:1` is missing in a registry\n`b`, `d`",
                "`e`: 400",
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
