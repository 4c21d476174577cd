//! Problems of a stack file, with their place, the line with a marker under it, and what to write.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::MAX_PROBLEMS;
use super::envsubst::{Replacement, Substituted};
use super::yaml::{Document, SyntaxError};
use crate::console::log::{quote, whole_or_length};
use crate::console::redact;
use crate::diagnostic::{Diagnostic, Severity};
use crate::text;

/// How many expressions are listed below a place.
const MAX_NOTES: usize = 8;
/// How many characters of a line are shown on each side of the marker at least.
const CONTEXT: usize = 60;
const GUTTER: usize = 5;

/// A problem or a warning, until all are known and sorted.
#[derive(Debug)]
pub(super) struct Found {
    /// With a place, the line follows the message, with a marker under the place.
    diagnostic: Diagnostic,
    line: Option<usize>,
    /// Its causes: variables without a value, or expressions with several lines.
    causes: Vec<String>,
}

impl From<Diagnostic> for Found {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, line: None, causes: Vec::new() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Found>);

impl Findings {
    pub(super) fn add(&mut self, found: impl Into<Found>) {
        let found = found.into();
        if self.has_room(found.diagnostic.severity) {
            self.0.push(found);
        }
    }

    pub(super) fn extend(&mut self, found: impl IntoIterator<Item = Found>) {
        found.into_iter().for_each(|found| self.add(found));
    }

    pub(super) fn has_room(&self, severity: Severity) -> bool {
        self.0.iter().filter(|found| found.diagnostic.severity == severity).count() < MAX_PROBLEMS
    }

    pub(super) fn has_errors(&self) -> bool {
        self.0.iter().any(|found| found.diagnostic.severity == Severity::Error)
    }

    /// One error in place of all.
    pub(super) fn replace(&mut self, error: Diagnostic) {
        self.0.clear();
        self.add(error);
    }

    /// Errors before warnings, each in the order of the file; a cause is one mistake, however many places suffer from it.
    pub(super) fn sorted(mut self) -> Vec<Diagnostic> {
        let mut reported = BTreeSet::new();
        // A stable sort: problems of one line stay in the order in which they were found.
        self.0.sort_by_key(|found| (Reverse(found.diagnostic.severity), found.line));
        // One unset variable breaks every line that uses it.
        self.0.retain(|found| {
            let is_new = found.causes.is_empty() || found.causes.iter().any(|name| !reported.contains(name));
            reported.extend(found.causes.iter().cloned());
            is_new
        });
        self.0.into_iter().map(|found| found.diagnostic).collect()
    }
}

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
    pub(super) fn conflict(&self) -> Option<Found> {
        let at = text::conflict_marker(self.source)?;
        let hint = "keep one version, remove the lines with the markers, and commit the file";
        Some(self.problem(at..at + 7, Diagnostic::error("this is a merge conflict of git").with_hint(hint)))
    }

    pub(super) fn problem_of_all(&self, diagnostic: Diagnostic) -> Diagnostic {
        if self.is_shown { diagnostic } else { hidden(diagnostic).at(&self.name) }
    }

    /// A problem at a place in the file.
    pub(super) fn problem(&self, at: Range<usize>, diagnostic: Diagnostic) -> Found {
        let start = at.start.min(self.source.len());
        let line = self.line(start);
        let range = self.line_range(line);
        let start = start.min(range.end);
        let text = &self.source[range.clone()];
        let before = &self.source[range.start..start];
        // Of a part with several lines, the rest of the first is marked.
        let marked = &self.source[start..at.end.clamp(start, range.end)];
        let place = format!("{}:{line}:{}", self.name, before.chars().count() + 1);
        let diagnostic = if self.is_shown {
            let message = format!("{}{}", diagnostic.message, excerpt(line, text, before, marked));
            Diagnostic { message, ..diagnostic }
        } else {
            hidden(diagnostic)
        };
        Found { line: Some(line), ..diagnostic.at(place).into() }
    }
}

/// In place of a problem whose message would show what the file holds.
fn hidden(diagnostic: Diagnostic) -> Diagnostic {
    let message = "a problem that is not shown, because the file is outside the clone directory".to_owned();
    let hint = "copy the file into the clone directory to see what is wrong with it";
    Diagnostic { message, ..diagnostic }.with_hint(hint)
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
    pub(super) fn problem(&self, text: Range<usize>, diagnostic: Diagnostic) -> Found {
        let at = self.substituted.source_range(text.start);
        // A value that is nothing has its place at the colon of its name.
        let after = self.substituted.text.get(text.end..).unwrap_or_default();
        let blank = after.bytes().take_while(|byte| text.is_empty() && b": \t".contains(byte)).count();
        let inside: Vec<_> = self.substituted.replacements(text.start..text.end + blank).take(MAX_NOTES).collect();
        let is_whole = |change: &Replacement<'_>| {
            let is_shown_whole =
                !change.value.contains(['\n', '\r']) && !whole_or_length(change.value).starts_with('<');
            text.start <= change.text.start && change.text.end <= text.end && is_shown_whole
        };
        let message = if text.is_empty() || inside.iter().all(is_whole) {
            diagnostic.message
        } else {
            self.without_values(&diagnostic.message)
        };
        self.explain(at, &inside, Diagnostic { message, ..diagnostic })
    }

    /// The hint of a problem at a place in the text, unless its line has a character that its author does not see.
    pub(super) fn hint(&self, text: usize, hint: &str) -> String {
        self.invisible_character(self.line(text)).unwrap_or_else(|| hint.to_owned())
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

    /// A hint for a line, from 1, with a character that its author does not see.
    fn invisible_character(&self, line: usize) -> Option<String> {
        let range = if line > 0 { self.file.line_range(line) } else { 0..0 };
        let odd = text::invisible_character(&self.file.source[range])?;
        Some(format!("line {line} contains {odd}"))
    }

    /// The problem of a text that is not YAML, which may be noticed only on the line below its cause.
    pub(super) fn syntax_problem(&self, error: SyntaxError) -> Found {
        let at = self.substituted.source_range(error.at);
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
        let hint = odd.or(error.hint.map(str::to_owned));
        self.explain(at, &near, Diagnostic { hint, ..Diagnostic::error(error.message) })
    }

    /// One warning for each variable that has neither a value nor a default, and one for each expression whose value is not
    /// what YAML makes of it; but for what a deploy does not use.
    pub(super) fn value_warnings(&self, document: Option<&Document>, unused: &[Range<usize>]) -> Vec<Found> {
        let mut missing = BTreeMap::new();
        for name in self.used_replacements(unused).flat_map(|change| change.missing) {
            missing.entry(&self.file.source[name.clone()]).or_insert(name.start);
        }
        let unset = missing.into_iter().map(|(name, at)| {
            let message = format!("`{}` is not set or empty: it is replaced with an empty text", whole_or_length(name));
            let warning = Diagnostic::warning(message).with_hint(pass_variables(&[name]));
            Found { causes: vec![name.to_owned()], ..self.file.problem(at..at + name.len(), warning) }
        });
        let broken = self.used_replacements(unused).filter_map(|change| {
            let expression = &self.file.source[change.source.clone()];
            let (what, hint) = if change.has_several_lines() {
                ("has several lines, and YAML does not keep its line breaks", SEVERAL_LINES)
            } else if document.is_some_and(|document| self.is_cut(document, &change))
                && !unused.iter().any(|part| part.contains(&change.text.start))
            {
                ("has a `#`, where a comment of YAML begins: the rest is cut off", "write the expression in quotes")
            } else if text::is_absent(change.value) && !expression.contains(change.value.trim()) {
                let hint = "check the command that writes the variable";
                ("is a word such as `null`, which scripts write for a value that is missing", hint)
            } else {
                return None;
            };
            let warning = Diagnostic::warning(format!("`{}` {what}", quote(expression))).with_hint(hint);
            Some(Found { causes: vec![expression.to_owned()], ..self.file.problem(change.source, warning) })
        });
        unset.take(MAX_PROBLEMS).chain(broken.take(MAX_PROBLEMS)).collect()
    }

    /// True if a value is not read whole, since a `#` in it begins a comment.
    fn is_cut(&self, document: &Document, change: &Replacement<'_>) -> bool {
        let Some(end) = document.end_of_plain(change.text.start).filter(|_| change.value.contains('#')) else {
            return false;
        };
        let rest = self.substituted.text.get(end..change.text.end).unwrap_or_default();
        // The place of a value that is nothing is the colon of its name.
        let gap = rest.bytes().take_while(|byte| b": \t".contains(byte)).count();
        end + gap >= change.text.start && rest[gap..].starts_with('#')
    }

    /// The expressions that are not in these parts of the text.
    fn used_replacements(&self, unused: &[Range<usize>]) -> impl Iterator<Item = Replacement<'_>> {
        let is_used = |change: &Replacement<'_>| {
            !unused.iter().any(|part| part.start <= change.text.start && change.text.end <= part.end)
        };
        self.substituted.replacements(0..usize::MAX).filter(is_used)
    }

    /// If a variable in it has no value, that is the cause, and what the message begins with.
    fn explain(&self, at: Range<usize>, inside: &[Replacement<'_>], mut diagnostic: Diagnostic) -> Found {
        let mut unset: Vec<&str> = Vec::new();
        for name in inside.iter().flat_map(|change| change.missing) {
            unset.extend(Some(&self.file.source[name.clone()]).filter(|name| !unset.contains(name)));
        }
        let mut causes: Vec<String> = unset.iter().map(|name| (*name).to_owned()).collect();
        if unset.is_empty() {
            let broken = inside.iter().filter(|change| change.has_several_lines());
            causes = broken.map(|change| self.file.source[change.source.clone()].to_owned()).collect();
            if !causes.is_empty() {
                diagnostic.hint = Some(SEVERAL_LINES.to_owned());
            }
        } else {
            let names: Vec<String> = unset.iter().map(|name| format!("`{}`", whole_or_length(name))).collect();
            let are = if names.len() == 1 { "is" } else { "are" };
            diagnostic.message = format!("{} {are} not set or empty: {}", names.join(" and "), diagnostic.message);
            diagnostic.hint = Some(pass_variables(&unset));
        }
        let mut found = self.file.problem(at, diagnostic);
        for change in inside.iter().filter(|change| change.missing.is_empty() && self.file.is_shown) {
            let expression = quote(&self.file.source[change.source.clone()]);
            let value = whole_or_length(change.value);
            found.diagnostic.message += &format!("\n{:GUTTER$} = `{expression}` is replaced with `{value}`", "");
        }
        Found { causes, ..found }
    }
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
