//! Problems of a stack file as a person reads them: the place, the line with a marker under it, and what to write.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::envsubst::{Replacement, Substituted};
use super::yaml::SyntaxError;
use crate::console::log::{brief, quote};
use crate::console::redact;

/// How far from a place on the same line expressions are told about, and how many.
const NEAR: usize = 200;
const MAX_NOTES: usize = 8;
/// How many names without a value are listed beside those of the line.
const MAX_NAMES: usize = 20;
/// How many characters of a line are shown on each side of the marker at least.
const CONTEXT: usize = 60;

/// One problem, or one warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong; begins with file, line and column where there is a place.
    pub message: String,
    /// The line with a marker under the place; what substitutions became there.
    pub excerpt: Vec<String>,
    /// What to write instead; may have several lines.
    pub hint: Option<String>,
    /// The line, from 1.
    pub line: Option<usize>,
}

impl Problem {
    /// A problem without a place.
    pub fn new(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self { message: message.into(), excerpt: Vec::new(), hint: hint.map(str::to_owned), line: None }
    }

    /// Adds a line below the excerpt.
    pub(super) fn note(&mut self, note: &str) {
        self.excerpt.push(format!("{:GUTTER$} = {note}", ""));
    }

    /// Whether the hint tells what that of a warning about a substitution does: how to pass all variables, or this one.
    pub(super) fn tells_too(&self, warning: &Self) -> bool {
        let is_about_passing = |hint: &Option<String>| hint.as_ref().is_some_and(|hint| hint.starts_with(PASSED));
        self.hint == warning.hint || is_about_passing(&self.hint) && is_about_passing(&warning.hint)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for line in &self.excerpt {
            write!(f, "\n{line}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// All that is to be said of a stack file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What may explain it.
    pub warnings: Vec<Problem>,
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], warnings: Vec::new() }
    }
}

/// The text of a file, by lines.
pub(super) struct Page<'a> {
    pub(super) name: String,
    pub(super) source: &'a str,
    /// Where each line begins, in bytes.
    lines: Vec<u32>,
}

impl<'a> Page<'a> {
    pub(super) fn new(name: &str, source: &'a str) -> Self {
        let ends = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = ends.map(|(offset, _)| u32::try_from(offset + 1).unwrap_or(u32::MAX));
        Self { name: quote(name), source, lines: std::iter::once(0).chain(starts).collect() }
    }

    /// The number of the line, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start as usize <= offset)
    }

    /// The bytes of a line, from 1, without its end.
    fn line_range(&self, line: usize) -> Range<usize> {
        let start = self.lines.get(line - 1).map_or(0, |start| *start as usize);
        let end = self.lines.get(line).map_or(self.source.len(), |next| *next as usize - 1);
        start..start + self.source[start..end].trim_end_matches('\r').len()
    }

    /// A problem at a place in the file itself.
    pub(super) fn problem(&self, at: Range<usize>, message: &str, hint: Option<String>) -> Problem {
        let start = at.start.min(self.source.len());
        let line = self.line(start);
        let range = self.line_range(line);
        let start = start.min(range.end);
        let text = &self.source[range.clone()];
        let before = &self.source[range.start..start];
        let marked = &self.source[start..at.end.clamp(start, range.end)];
        let column = before.chars().count() + 1;
        Problem {
            message: format!("{}:{line}:{column}: {message}", self.name),
            excerpt: excerpt(line, text, before, marked),
            hint,
            line: Some(line),
        }
    }

    /// A problem at a place in the text that came out of the substitution: told by the source, with what became of it.
    ///
    /// Where an expression without a value stands in the word at the place, that is what the message begins with.
    pub(super) fn problem_after(
        &self,
        substituted: &Substituted,
        text: usize,
        message: &str,
        hint: Option<String>,
    ) -> Problem {
        let at = substituted.source_range(text);
        let mut problem = self.problem(at.clone(), message, hint);
        let changes = self.changes(substituted, &at, self.line(at.start));
        // What is nothing at all has its place at the colon of its name.
        let word_ends = |between: &str| between.trim_start_matches([':', ' ']).contains([' ', '\t', ',', '}', ']']);
        let is_cause = |change: &&Replacement<'_>| {
            change.missing.is_some()
                && change.source.start >= at.start
                && !self.source.get(at.end..change.source.start).is_some_and(word_ends)
        };
        if changes.replacements.iter().any(|change| is_cause(&change)) {
            self.blame(&mut problem, &changes, &at, message);
        } else {
            self.note(&mut problem, &changes);
        }
        self.advise(&mut problem, substituted, &changes);
        problem
    }

    /// A warning there: what expressions became stands below it, and what it says and advises is its own.
    pub(super) fn warning_after(
        &self,
        substituted: &Substituted,
        text: usize,
        message: &str,
        hint: Option<String>,
    ) -> Problem {
        let at = substituted.source_range(text);
        let mut problem = self.problem(at.clone(), message, hint);
        self.note(&mut problem, &self.changes(substituted, &at, self.line(at.start)));
        problem
    }

    /// The same for what is no YAML, which may only be noticed on the line behind the cause.
    pub(super) fn syntax_problem(&self, substituted: &Substituted, error: &SyntaxError) -> Problem {
        let at = substituted.source_range(error.at);
        let mut problem = self.problem(at.clone(), &error.message, error.hint.map(str::to_owned));
        let line = self.line(at.start);
        let mut changes = self.changes(substituted, &at, line);
        if changes.replacements.is_empty() && line > 1 {
            changes = self.changes(substituted, &self.line_range(line - 1), line - 1);
        } else if changes.replacements.iter().any(|change| change.missing.is_some()) {
            self.blame(&mut problem, &changes, &at, &error.message);
            self.advise(&mut problem, substituted, &changes);
            return problem;
        }
        self.note(&mut problem, &changes);
        self.advise(&mut problem, substituted, &changes);
        problem
    }

    /// What the expressions near a place on its line became.
    fn changes<'s>(&self, substituted: &'s Substituted, at: &Range<usize>, line: usize) -> Changes<'s> {
        let line = self.line_range(line);
        let start = self.source.floor_char_boundary(at.start.saturating_sub(NEAR));
        let end = self.source.floor_char_boundary(at.end.saturating_add(NEAR));
        let near = line.start.max(start)..line.end.min(end);
        Changes { replacements: substituted.replacements(near.clone()).take(MAX_NOTES).collect(), near }
    }

    /// The names that had no value, each once.
    fn missing(&self, changes: &Changes<'_>) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in changes.replacements.iter().filter_map(|change| change.missing.clone()) {
            let name = brief(&self.source[name]);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Makes names without a value the cause of a problem: they come first, and what came of them below the line.
    fn blame(&self, problem: &mut Problem, changes: &Changes<'_>, at: &Range<usize>, message: &str) {
        let names: Vec<String> = self.missing(changes).iter().map(|name| format!("`{name}`")).collect();
        let (names, are) = match names.as_slice() {
            [names @ .., last] if !names.is_empty() => (format!("{} and {last}", names.join(", ")), "are"),
            names => (names.concat(), "is"),
        };
        let mut left = String::new();
        let mut copied = changes.near.start;
        for change in &changes.replacements {
            left.push_str(&self.source[copied..change.source.start]);
            left.push_str(&String::from_utf8_lossy(change.value));
            copied = change.source.end;
        }
        left.push_str(self.source.get(copied..changes.near.end).unwrap_or_default());
        let left = brief(left.trim());
        *problem = self.problem(at.clone(), &format!("{names} {are} empty or not set, which leaves `{left}`"), None);
        problem.note(message);
        self.note(problem, changes);
    }

    /// Says what expressions became.
    fn note(&self, problem: &mut Problem, changes: &Changes<'_>) {
        for Replacement { source, value, missing } in &changes.replacements {
            let expression = brief(&self.source[source.clone()]);
            let value = String::from_utf8_lossy(value);
            let became = if value.is_empty() { "nothing".to_owned() } else { format!("`{}`", brief(&value)) };
            let why = match missing {
                Some(name) => format!(": `{}` is empty or not set", brief(&self.source[name.clone()])),
                None => String::new(),
            };
            problem.note(&format!("`{expression}` became {became}{why}"));
        }
    }

    /// Says how to pass what is missing there, with all else that is, or what has several lines.
    fn advise(&self, problem: &mut Problem, substituted: &Substituted, changes: &Changes<'_>) {
        let mut missing = self.missing(changes);
        if !missing.is_empty() {
            let unset = substituted.names.iter().filter(|(_, used)| used.missing.is_some());
            let others = unset.map(|(name, _)| brief(name)).filter(|name| !missing.contains(name));
            let others: Vec<String> = others.take(MAX_NAMES).collect();
            missing.extend(others);
            problem.hint = Some(pass_variables(&missing));
        } else if let Some(change) = changes.replacements.iter().find(|change| change.has_several_lines()) {
            problem.hint = Some(several_lines(&self.source[change.source.clone()]));
        }
    }
}

/// What became of the expressions in a part of a line.
struct Changes<'a> {
    /// The part, in bytes of the source.
    near: Range<usize>,
    replacements: Vec<Replacement<'a>>,
}

/// What a hint to pass variables begins with.
const PASSED: &str = "a pipe sees only the variables that are passed to it";

/// How to pass variables to the pipe.
pub(super) fn pass_variables(names: &[String]) -> String {
    let lines: String = names.iter().map(|name| format!("\n    {name}: ${name}")).collect();
    format!("{PASSED}; add\n  variables:{lines}")
}

/// How a value with line breaks reaches a function.
pub(super) fn several_lines(expression: &str) -> String {
    format!(
        "the line breaks of `{}` would become spaces even in double quotes: pass it with `ENV_VARS`, or as an OpenFaaS \
         secret",
        brief(expression)
    )
}

/// The width of the line numbers.
const GUTTER: usize = 5;

/// The line, cut to what surrounds the marked part, and the marker.
fn excerpt(number: usize, line: &str, before: &str, marked: &str) -> Vec<String> {
    // No part of a secret may be left at a cut. What is hidden moves what is marked.
    if let Cow::Owned(hidden) = redact::redact(line) {
        return vec![format!("{number:GUTTER$} | {}", brief(&hidden))];
    }
    let skipped = before.char_indices().rev().nth(CONTEXT).map_or(0, |(offset, _)| offset);
    let rest = &line[before.len()..];
    let length = rest.char_indices().nth(2 * CONTEXT).map_or(rest.len(), |(offset, _)| offset);
    let visible = |text: &str| text.replace(|character: char| character.is_control(), " ");
    let shown_before = visible(&before[skipped..]);
    let (left, right) = (if skipped > 0 { "…" } else { "" }, if length < rest.len() { "…" } else { "" });
    let width = marked.chars().take(2 * CONTEXT).count().max(1);
    let indent = shown_before.chars().count() + left.chars().count();
    vec![
        format!("{number:GUTTER$} | {left}{shown_before}{}{right}", visible(&rest[..length])),
        format!("{:GUTTER$} | {}{}", "", " ".repeat(indent), "^".repeat(width)),
    ]
}
