//! Problems of a stack file, with their place, the line with a marker under it, and what to write.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use super::decode::Finding;
use super::envsubst::{Replacement, Substituted};
use super::slips;
use super::yaml::Document;
use crate::console::log::{quote, whole_or_length};
use crate::console::redact;
use crate::diagnostic::{Diagnostic, Failure, Severity};

/// How many expressions are listed below a place.
const MAX_NOTES: usize = 8;
/// How many characters of a line are shown on each side of the marker at least.
const CONTEXT: usize = 60;
/// The width of the line numbers.
const GUTTER: usize = 5;

/// One problem, or one warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// With a place, the line follows the message, with a marker under the place.
    pub diagnostic: Diagnostic,
    /// The line, from 1.
    pub line: Option<usize>,
    /// Its causes: variables without a value, or expressions with several lines.
    causes: Box<[String]>,
    /// True for a warning of what Kubernetes refuses, and Community Edition does not report.
    is_refused_silently: bool,
}

impl FileProblem {
    /// An error without a place.
    pub(crate) fn new(message: impl Into<String>, hint: Option<String>) -> Self {
        Diagnostic { hint, ..Diagnostic::error(message) }.into()
    }
}

impl FileProblem {
    /// True for a warning of what Kubernetes refuses, and Community Edition does not report.
    pub(crate) fn is_refused_silently(&self) -> bool {
        self.is_refused_silently
    }

    pub(super) fn refused_silently(self) -> Self {
        Self { is_refused_silently: true, ..self }
    }

    pub(crate) fn into_error(mut self) -> Self {
        self.diagnostic.severity = Severity::Error;
        self
    }

    fn at(self, place: String) -> Self {
        Self { diagnostic: self.diagnostic.at(place), ..self }
    }
}

impl From<Diagnostic> for FileProblem {
    fn from(diagnostic: Diagnostic) -> Self {
        let is_refused_silently = diagnostic.severity == Severity::Warning && diagnostic.failure == Failure::Input;
        Self { diagnostic, line: None, causes: Box::default(), is_refused_silently }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

/// Why a stack file cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(FileProblem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct FileProblems {
    pub problems: Vec<FileProblem>,
    /// Possible causes.
    pub warnings: Vec<FileProblem>,
}

impl FileProblems {
    /// Adds those of another stack file; what is about the variables is the same for each of them.
    pub(crate) fn add(&mut self, problems: Vec<FileProblem>, warnings: Vec<FileProblem>) {
        for (all, more) in [(&mut self.problems, problems), (&mut self.warnings, warnings)] {
            for problem in more {
                if problem.line.is_some() || !all.contains(&problem) {
                    all.push(problem);
                }
            }
        }
    }
}

impl From<FileProblem> for FileProblems {
    fn from(problem: FileProblem) -> Self {
        Self { problems: vec![problem], warnings: Vec::new() }
    }
}

impl FileProblems {
    /// In the order of the file; a cause is one mistake, however many places suffer from it.
    pub(super) fn sorted(mut self) -> Self {
        let mut reported = BTreeSet::new();
        self.warnings.iter_mut().for_each(|warning| warning.diagnostic.severity = Severity::Warning);
        for list in [&mut self.problems, &mut self.warnings] {
            list.sort_by_key(|problem| problem.line);
            // One unset variable breaks every line that uses it.
            list.retain(|problem| {
                let is_new = problem.causes.is_empty() || problem.causes.iter().any(|name| !reported.contains(name));
                reported.extend(problem.causes.iter().cloned());
                is_new
            });
        }
        self
    }
}

/// The text of a file, by lines.
pub(super) struct SourceFile<'a> {
    pub(super) name: String,
    pub(super) source: &'a str,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
    /// True if messages may show what the file holds.
    is_shown: bool,
}

impl<'a> SourceFile<'a> {
    pub(super) fn new(name: &str, source: &'a str, is_shown: bool) -> Self {
        let starts = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        Self { name: quote(name), source, lines: std::iter::once(0).chain(starts).collect(), is_shown }
    }

    /// The number of the line, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    /// The bytes of a line, from 1, without its end.
    fn line_range(&self, line: usize) -> Range<usize> {
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let end = self.lines.get(line).map_or(self.source.len(), |next| next - 1);
        start..start + self.source[start..end].trim_end_matches('\r').len()
    }

    /// A marker of git between two versions that somebody has yet to choose from.
    pub(super) fn conflict(&self) -> Option<FileProblem> {
        let at = slips::conflict_marker(self.source)?;
        let hint = "keep one version, remove the lines with the markers, and commit the file".to_owned();
        Some(self.problem(at..at + 7, "this is a merge conflict of git", Some(hint)))
    }

    /// A problem of the file as a whole.
    pub(super) fn problem_of_all(&self, message: String, hint: &str) -> FileProblem {
        if self.is_shown { FileProblem::new(message, Some(hint.to_owned())) } else { self.hidden(self.name.clone()) }
    }

    /// A problem at a place in the file.
    pub(super) fn problem(&self, at: Range<usize>, message: &str, hint: Option<String>) -> FileProblem {
        let start = at.start.min(self.source.len());
        let line = self.line(start);
        let range = self.line_range(line);
        let start = start.min(range.end);
        let text = &self.source[range.clone()];
        let before = &self.source[range.start..start];
        // Of a part with several lines, the rest of the first is marked.
        let marked = &self.source[start..at.end.clamp(start, range.end)];
        let place = format!("{}:{line}:{}", self.name, before.chars().count() + 1);
        if !self.is_shown {
            return FileProblem { line: Some(line), ..self.hidden(place) };
        }
        let message = format!("{message}{}", excerpt(line, text, before, marked));
        FileProblem { line: Some(line), ..FileProblem::new(message, hint).at(place) }
    }

    fn hidden(&self, place: String) -> FileProblem {
        let hint = "copy the file into the clone directory to see what is wrong with it".to_owned();
        FileProblem::new("a problem that is not shown, because the file is outside the clone directory", Some(hint))
            .at(place)
    }
}

/// A file and what substitution made of it.
#[derive(Clone, Copy)]
pub(super) struct SourceMap<'a> {
    pub(super) file: &'a SourceFile<'a>,
    pub(super) substituted: &'a Substituted,
}

impl SourceMap<'_> {
    pub(super) fn line(&self, text: usize) -> usize {
        self.file.line(self.substituted.source_range(text).start)
    }

    /// A problem at a part of the substituted text, shown in the source, with the values of the expressions in that part.
    pub(super) fn problem(&self, text: Range<usize>, message: &str, hint: Option<String>) -> FileProblem {
        let at = self.substituted.source_range(text.start);
        // A value that is nothing has its place at the colon of its name.
        let after = self.substituted.text.get(text.end..).unwrap_or_default();
        let blank = after.bytes().take_while(|byte| text.is_empty() && b": \t".contains(byte)).count();
        let inside: Vec<_> = self.substituted.replacements(text.start..text.end + blank).take(MAX_NOTES).collect();
        let is_whole = |change: &Replacement<'_>| {
            text.start <= change.text.start && change.text.end <= text.end && is_shown_whole(change.value)
        };
        if inside.iter().all(is_whole) || text.is_empty() {
            self.explain(at, &inside, message, hint)
        } else {
            self.explain(at, &inside, &self.without_values(message), hint)
        }
    }

    /// A message in which the texts in backticks that are not in the file are hidden: they may be a part of a value, and
    /// Bitbucket masks the value of a secured variable only if it is printed whole, on one line.
    fn without_values(&self, message: &str) -> String {
        let hide = |(index, part): (usize, &str)| {
            let is_known = index % 2 == 0 || part.starts_with('<') || self.file.source.contains(part);
            if is_known { part.to_owned() } else { format!("<{} characters>", part.chars().count()) }
        };
        message.split('`').enumerate().map(hide).collect::<Vec<_>>().join("`")
    }

    /// A problem with a node.
    pub(super) fn finding(&self, document: &Document, finding: &Finding) -> FileProblem {
        let message = match finding.first {
            Some(first) => format!("{}, first on line {}", finding.message, self.line(document.written(first).start)),
            None => finding.message.clone(),
        };
        let at = document.written(finding.node);
        let odd = self.invisible_character(self.line(at.start));
        self.problem(at, &message, odd.or_else(|| Some(finding.hint.to_owned())))
    }

    /// A hint for a line, from 1, with a character that its author does not see.
    fn invisible_character(&self, line: usize) -> Option<String> {
        let range = if line > 0 { self.file.line_range(line) } else { 0..0 };
        let odd = slips::invisible_character(&self.file.source[range])?;
        Some(format!("line {line} contains {odd}"))
    }

    /// A problem of what is not YAML, which may be noticed only on the line below its cause.
    pub(super) fn syntax_problem(&self, text: usize, message: &str, hint: Option<&str>) -> FileProblem {
        let at = self.substituted.source_range(text);
        let line = self.file.line(at.start);
        let on_line = |line: usize| -> Vec<Replacement<'_>> {
            let range = self.file.line_range(line);
            let all = self.substituted.replacements(0..usize::MAX);
            all.filter(|change| range.contains(&change.source.start)).take(MAX_NOTES).collect()
        };
        let mut near = on_line(line);
        if near.is_empty() && line > 1 {
            near = on_line(line - 1);
        }
        let odd = self.invisible_character(line).or_else(|| self.invisible_character(line - 1));
        self.explain(at, &near, message, odd.or(hint.map(str::to_owned)))
    }

    /// One warning for each variable that has neither a value nor a default, unless a deploy does not use what it is in.
    pub(super) fn unset_variables(&self, unused: &[Range<usize>]) -> impl Iterator<Item = FileProblem> {
        let mut missing = BTreeMap::new();
        for name in self.used_replacements(unused).flat_map(|change| change.missing) {
            missing.entry(&self.file.source[name.clone()]).or_insert(name.start);
        }
        missing.into_iter().map(|(name, at)| {
            let message = format!("`{}` is not set or empty: it is replaced with an empty text", whole_or_length(name));
            let problem = self.file.problem(at..at + name.len(), &message, Some(pass_variables(&[name])));
            FileProblem { causes: Box::new([name.to_owned()]), ..problem }
        })
    }

    /// One warning for each expression whose value has line breaks that YAML does not keep.
    pub(super) fn several_lines(&self, unused: &[Range<usize>]) -> impl Iterator<Item = FileProblem> {
        let broken = self.used_replacements(unused).filter(Replacement::has_several_lines);
        broken.map(|change| {
            let expression = &self.file.source[change.source.clone()];
            let message = format!("`{}` has several lines, and YAML does not keep its line breaks", quote(expression));
            let causes = Box::new([expression.to_owned()]);
            FileProblem { causes, ..self.file.problem(change.source, &message, Some(SEVERAL_LINES.to_owned())) }
        })
    }

    /// The expressions that are not in these parts of the text.
    fn used_replacements(&self, unused: &[Range<usize>]) -> impl Iterator<Item = Replacement<'_>> {
        let is_used = |change: &Replacement<'_>| {
            !unused.iter().any(|part| part.start <= change.text.start && change.text.end <= part.end)
        };
        self.substituted.replacements(0..usize::MAX).filter(is_used)
    }

    /// If a variable in it has no value, that is the cause, and what the message begins with.
    fn explain(
        &self,
        at: Range<usize>,
        inside: &[Replacement<'_>],
        message: &str,
        hint: Option<String>,
    ) -> FileProblem {
        let mut unset: Vec<&str> = Vec::new();
        for name in inside.iter().flat_map(|change| change.missing) {
            unset.extend(Some(&self.file.source[name.clone()]).filter(|name| !unset.contains(name)));
        }
        let mut causes: Vec<String> = unset.iter().map(|name| (*name).to_owned()).collect();
        let mut problem = if unset.is_empty() {
            let broken = inside.iter().filter(|change| change.has_several_lines());
            causes = broken.map(|change| self.file.source[change.source.clone()].to_owned()).collect();
            self.file.problem(at, message, if causes.is_empty() { hint } else { Some(SEVERAL_LINES.to_owned()) })
        } else {
            let names: Vec<String> = unset.iter().map(|name| format!("`{}`", whole_or_length(name))).collect();
            let are = if names.len() == 1 { "is" } else { "are" };
            let message = format!("{} {are} not set or empty: {message}", names.join(" and "));
            self.file.problem(at, &message, Some(pass_variables(&unset)))
        };
        for change in inside.iter().filter(|change| change.missing.is_empty() && self.file.is_shown) {
            let expression = quote(&self.file.source[change.source.clone()]);
            let value = whole_or_length(change.value);
            problem.diagnostic.message += &format!("\n{:GUTTER$} = `{expression}` is replaced with `{value}`", "");
        }
        FileProblem { causes: causes.into(), ..problem }
    }
}

fn is_shown_whole(value: &str) -> bool {
    !value.contains(['\n', '\r']) && !whole_or_length(value).starts_with('<')
}

const SEVERAL_LINES: &str = "pass a value with line breaks with `ENV_VARS`, or as an OpenFaaS secret; a value of `build_args` \
                             is not used by a deploy, and need not be passed";

fn pass_variables(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| whole_or_length(name)).collect();
    let lines: String = names.iter().map(|name| format!("\n    {name}: ${name}")).collect();
    let default = names.first().map(|name| format!("`${{{name}:-default}}`")).unwrap_or_default();
    format!(
        "a pipe sees only the variables that are passed to it; add\n  variables:{lines}\nand define it as a repository \
         or deployment variable, or give it a default: {default}"
    )
}

/// The line, cut to what surrounds the marked part, and the marker.
fn excerpt(number: usize, line: &str, before: &str, marked: &str) -> String {
    // No part of a secret may be left at a cut. What is hidden moves what is marked.
    if let Cow::Owned(hidden) = redact::redact(line) {
        return format!("\n{number:GUTTER$} | {}", whole_or_length(&hidden));
    }
    let skipped = before.char_indices().rev().nth(CONTEXT).map_or(0, |(offset, _)| offset);
    let rest = &line[before.len()..];
    let length = rest.char_indices().nth(2 * CONTEXT).map_or(rest.len(), |(offset, _)| offset);
    let visible = |text: &str| text.replace(|character: char| character.is_control(), " ");
    let shown_before = visible(&before[skipped..]);
    let (left, right) = (if skipped > 0 { "…" } else { "" }, if length < rest.len() { "…" } else { "" });
    let width = marked.chars().take(2 * CONTEXT).count().max(1);
    let indent = shown_before.chars().count() + left.chars().count();
    let shown = visible(&rest[..length]);
    format!(
        "\n{number:GUTTER$} | {left}{shown_before}{shown}{right}\n{:GUTTER$} | {}{}",
        "",
        " ".repeat(indent),
        "^".repeat(width)
    )
}
