//! Environment files and templates: read whole, at most 1 MiB, once each, and only from the clone directory.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::decode::{Decoder, Entry};
use super::diagnostics::{Findings, Found, SourceFile, SourceMap};
use super::envsubst::Substituted;
use super::schema::FileValues;
use super::yaml::{Document, NodeId};
use super::{MAX_FILE, MAX_PROBLEMS, Source};
use crate::console::log::whole_or_length;
use crate::diagnostic::Diagnostic;
use crate::files::input;

type Entries = BTreeMap<String, Entry>;

/// The files of one kind that were read so far; `None` is one that cannot be used.
#[derive(Default)]
pub(super) struct Files(BTreeMap<String, Option<Rc<Entries>>>);

/// The reason that a file cannot be used.
pub(super) enum FileFault {
    /// As was said before.
    Known,
    /// The stack file comes from a URL.
    Remote,
    /// It is not in the clone directory, or a link in its path leads out of it: a function must not get what the step has there.
    Outside,
    Open(input::Error),
    Content(Vec<Found>),
}

impl Files {
    /// Reads a file, unless it is known. What is ignored in it becomes a warning.
    pub(super) fn load(
        &mut self,
        source: &Source,
        name: &str,
        values: fn(&mut Decoder<'_>, NodeId) -> FileValues,
        found: &mut Findings,
    ) -> Result<Rc<Entries>, FileFault> {
        if let Some(known) = self.0.get(name) {
            return known.clone().ok_or(FileFault::Known);
        }
        let file = read(source, name, values, found).map(Rc::new);
        self.0.insert(name.to_owned(), file.as_ref().ok().cloned());
        file
    }
}

fn read(
    source: &Source,
    name: &str,
    values: fn(&mut Decoder<'_>, NodeId) -> FileValues,
    found: &mut Findings,
) -> Result<Entries, FileFault> {
    if source.is_remote {
        return Err(FileFault::Remote);
    }
    let path = source.path(name);
    let bytes = input::read(&path, MAX_FILE).map_err(FileFault::Open)?;
    if !source.shows(&path) {
        return Err(FileFault::Outside);
    }
    let refused = |problem| FileFault::Content(vec![problem]);
    let text = super::decode_text(name, &bytes, true).map_err(refused)?;
    let file = SourceFile::new(name, text, true);
    if let Some(problem) = file.conflict() {
        return Err(refused(problem));
    }
    let source_map = SourceMap { file: &file, substituted: &Substituted::unchanged(text) };
    let document = Document::parse(text).map_err(|error| refused(source_map.syntax_problem(error)))?;
    let mut decoder = Decoder::new(&document, source_map);
    let FileValues { values, unknown } = values(&mut decoder, document.root());
    if !decoder.found.is_empty() {
        return Err(FileFault::Content(decoder.found));
    }
    found.extend(unknown.iter().take(MAX_PROBLEMS).map(|key| {
        let message =
            format!("unknown field `{}`: only what is below `environment` is read", whole_or_length(&key.value));
        let warning = Diagnostic::warning(message).with_hint("move it below `environment`");
        source_map.problem(document.written(key.node), warning)
    }));
    Ok(values)
}
