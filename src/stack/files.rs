//! Environment files and templates: read whole, at most 1 MiB, once each.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::decode::{Decoder, Entry};
use super::diagnostics::{FileProblem, SourceFile, SourceMap};
use super::envsubst::Substituted;
use super::yaml::{Document, NodeId};
use super::{MAX_FILE, Source};
use crate::files::input;

/// The files of one kind that were read so far; `None` is one that cannot be used.
#[derive(Default)]
pub(super) struct Files(BTreeMap<String, Option<Rc<LocalFile>>>);

pub(super) struct LocalFile {
    pub(super) values: BTreeMap<String, Entry>,
    /// True if messages may show what it holds.
    pub(super) is_shown: bool,
}

/// Why a file cannot be used.
pub(super) enum FileFault {
    /// As was said before.
    Known,
    /// The stack file comes from a URL.
    Remote,
    Open(input::Error),
    Content(Vec<FileProblem>),
}

impl Files {
    pub(super) fn load(
        &mut self,
        source: &Source,
        name: &str,
        values: fn(&mut Decoder<'_>, NodeId) -> BTreeMap<String, Entry>,
    ) -> Result<Rc<LocalFile>, FileFault> {
        if let Some(known) = self.0.get(name) {
            return known.clone().ok_or(FileFault::Known);
        }
        let file = read(source, name, values).map(Rc::new);
        self.0.insert(name.to_owned(), file.as_ref().ok().cloned());
        file
    }
}

fn read(
    source: &Source,
    name: &str,
    values: fn(&mut Decoder<'_>, NodeId) -> BTreeMap<String, Entry>,
) -> Result<LocalFile, FileFault> {
    if source.is_remote {
        return Err(FileFault::Remote);
    }
    let path = source.path(name);
    let bytes = input::read(&path, MAX_FILE).map_err(FileFault::Open)?;
    let is_shown = source.shows(&path);
    let text = super::decode_text(name, &bytes, is_shown).map_err(|problem| FileFault::Content(vec![problem]))?;
    let source_map =
        SourceMap { file: &SourceFile::new(name, text, is_shown), substituted: &Substituted::unchanged(text) };
    let document = Document::parse(text)
        .map_err(|error| FileFault::Content(vec![source_map.syntax_problem(error.at, &error.message, error.hint)]))?;
    let mut decoder = Decoder::new(&document);
    let values = values(&mut decoder, document.root());
    let problems: Vec<FileProblem> =
        decoder.findings.iter().map(|finding| source_map.finding(&document, finding)).collect();
    if problems.is_empty() { Ok(LocalFile { values, is_shown }) } else { Err(FileFault::Content(problems)) }
}
