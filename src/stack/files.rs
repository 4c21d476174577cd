//! Environment files and templates: read whole, at most 1 MiB, once each.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::decode::Decoder;
use super::diagnostics::{Page, Problem};
use super::envsubst::Substituted;
use super::yaml::{Document, NodeId};
use super::{MAX_FILE, Source, schema};
use crate::files::input;

/// The files read so far; `None` stands for one whose problems are told already, or a template that is not there.
#[derive(Default)]
pub(super) struct Files {
    environments: BTreeMap<String, Option<Rc<BTreeMap<String, String>>>>,
    templates: BTreeMap<String, Option<String>>,
}

impl Files {
    /// The variables of an environment file; why it cannot be opened, or the problems within it.
    pub(super) fn environment(
        &mut self,
        source: &Source,
        name: &str,
    ) -> Result<Rc<BTreeMap<String, String>>, FileFault> {
        if let Some(known) = self.environments.get(name) {
            return known.clone().ok_or(FileFault::Known);
        }
        let read = input::read(&source.path(name), MAX_FILE).map_err(FileFault::Open).and_then(|bytes| {
            let environment = decode(name, &bytes, schema::environment_file).map_err(FileFault::Content)?;
            Ok(Rc::new(environment.into_iter().map(|(key, entry)| (key, entry.value)).collect()))
        });
        self.environments.insert(name.to_owned(), read.as_ref().ok().cloned());
        read
    }

    /// The command of a language's template, where there is one.
    pub(super) fn template_process(&mut self, source: &Source, language: &str) -> Result<Option<String>, FileFault> {
        if let Some(known) = self.templates.get(language) {
            return Ok(known.clone());
        }
        let is_name = !language.contains(['/', '\\', '\0']) && !matches!(language, "." | "..");
        let read = if is_name { read_template(source, language) } else { Ok(None) };
        self.templates.insert(language.to_owned(), read.as_ref().ok().cloned().flatten());
        read
    }
}

fn read_template(source: &Source, language: &str) -> Result<Option<String>, FileFault> {
    let name = format!("template/{language}/template.yml");
    match input::read(&source.path(&name), MAX_FILE) {
        Ok(bytes) => decode(&name, &bytes, schema::template).map_err(FileFault::Content),
        Err(input::Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileFault::Open(error)),
    }
}

/// Why a file gives nothing.
#[derive(Debug)]
pub(super) enum FileFault {
    /// It was said before.
    Known,
    Open(input::Error),
    Content(Vec<Problem>),
}

fn decode<T>(name: &str, bytes: &[u8], read: fn(&mut Decoder<'_>, NodeId) -> T) -> Result<T, Vec<Problem>> {
    let text = super::decode_text(name, bytes).map_err(|problem| vec![problem])?;
    let page = Page::new(name, text);
    let unchanged = Substituted::unchanged(text);
    let document = Document::parse(text)
        .map_err(|error| vec![page.problem(error.at..error.at, &error.message, error.hint.map(str::to_owned))])?;
    let mut decoder = Decoder::new(&document);
    let value = read(&mut decoder, document.root());
    let problems = decoder.findings.iter().map(|finding| {
        let at = document.offset(finding.node);
        page.problem_after(&unchanged, at, &finding.message, finding.hint.clone())
    });
    let problems: Vec<Problem> = problems.collect();
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}
