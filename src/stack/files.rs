//! Environment files and templates: read whole, at most 1 MiB, once each.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::decode::Decoder;
use super::diagnostics::{Page, Place, Problem};
use super::envsubst::Substituted;
use super::yaml::{Document, NodeId};
use super::{MAX_FILE, Source, schema};
use crate::files::input;

/// The files read so far; `None` is one whose problems are reported already, or a template that does not exist.
#[derive(Default)]
pub(super) struct Files {
    environments: BTreeMap<String, Option<Rc<Environment>>>,
    templates: BTreeMap<String, Option<String>>,
}

/// An environment file.
pub(super) struct Environment {
    pub(super) variables: BTreeMap<String, String>,
    /// Whether messages may show what it holds.
    pub(super) is_shown: bool,
}

impl Files {
    pub(super) fn environment(&mut self, source: &Source, name: &str) -> Result<Rc<Environment>, FileFault> {
        if let Some(known) = self.environments.get(name) {
            return known.clone().ok_or(FileFault::Known);
        }
        let read = read(source, name, schema::environment_file).map(|(entries, is_shown)| {
            let variables = entries.into_iter().map(|(name, entry)| (name, entry.value)).collect();
            Rc::new(Environment { variables, is_shown })
        });
        self.environments.insert(name.to_owned(), read.as_ref().ok().cloned());
        read
    }

    /// The command of a language's template, if there is one. A stack file from a URL has none: it reads no local files.
    pub(super) fn template_process(&mut self, source: &Source, language: &str) -> Result<Option<String>, FileFault> {
        if let Some(known) = self.templates.get(language) {
            return Ok(known.clone());
        }
        let is_name = !language.contains(['/', '\\', '\0']) && !matches!(language, "." | "..");
        let read = match read(source, &format!("template/{language}/template.yml"), schema::template) {
            _ if !is_name || source.is_remote => Ok(None),
            Ok((process, _)) => Ok(process),
            Err(FileFault::Open(input::Error::Unreadable { source, .. }))
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(fault) => Err(fault),
        };
        self.templates.insert(language.to_owned(), read.as_ref().ok().cloned().flatten());
        read
    }
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(super) enum FileFault {
    /// It has been reported before.
    Known,
    /// The stack file comes from a URL.
    Remote,
    Open(input::Error),
    Content(Vec<Problem>),
}

/// What a file holds, and whether messages may show it.
fn read<T>(source: &Source, name: &str, read: fn(&mut Decoder<'_>, NodeId) -> T) -> Result<(T, bool), FileFault> {
    if source.is_remote {
        return Err(FileFault::Remote);
    }
    let path = source.path(name);
    let bytes = input::read(&path, MAX_FILE).map_err(FileFault::Open)?;
    let is_shown = source.shows(&path);
    let text = super::decode_text(name, &bytes, is_shown).map_err(|problem| FileFault::Content(vec![problem]))?;
    let (page, substituted) = (Page::new(name, text, is_shown), Substituted::unchanged(text));
    let place = Place { page: &page, substituted: &substituted };
    let document = Document::parse(text)
        .map_err(|error| FileFault::Content(vec![place.syntax_problem(error.at, &error.message, error.hint)]))?;
    let mut decoder = Decoder::new(&document);
    let value = read(&mut decoder, document.root());
    let problems: Vec<Problem> = decoder.findings.iter().map(|finding| place.finding(&document, finding)).collect();
    if problems.is_empty() { Ok((value, is_shown)) } else { Err(FileFault::Content(problems)) }
}
