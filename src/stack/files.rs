//! Environment files and templates: read whole, at most 1 MiB, once each, and only from the clone directory.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;

use super::decode::{Decoder, Entry, Text};
use super::diagnostics::{Found, SourceFile, SourceMap};
use super::envsubst::Substituted;
use super::kubernetes::Rule;
use super::resolve::{Entries, Resolver, non_empty, overlay};
use super::schema::{Fields, text as text_of};
use super::yaml::{Document, NodeId};
use super::{MAX_FILE, MAX_PROBLEMS, decode_text};
use crate::console::log::{quote, whole_or_length};
use crate::diagnostic::Diagnostic;
use crate::files::input;
use crate::text;

const ENVIRONMENT: &str = "write\n  environment:\n    NAME: value";

impl Resolver<'_> {
    /// Inline, then environment files in order, then the option.
    pub(super) fn environment(&mut self, fields: &Fields) -> BTreeMap<String, String> {
        let mut environment = overlay(&fields.environment, &[]);
        for Text { value: path, node } in &fields.environment_files {
            if self.is_full() {
                break;
            }
            let Some(found) = self.load(*node, path, false) else { continue };
            if found.is_empty() {
                let hint = "check the command that writes it, or remove it from `environment_file`";
                self.report(*node, Diagnostic::warning("this file has no variables").with_hint(hint));
            }
            for (name, Entry { value, .. }) in found.iter() {
                self.check_token(*node, &format!("`{}` of this file", quote(name)), &format!("{name}={value}"));
                environment.insert(name.clone(), value.clone());
            }
        }
        environment.extend(self.options.env_vars.iter().cloned());
        environment
    }

    /// The file's, else the template's if that exists. A stack file from a URL has none: it reads no local files.
    pub(super) fn process(&mut self, fields: &Fields) -> Option<String> {
        let own = non_empty(fields.process.as_ref());
        let Some(Text { value: language, node }) = fields.language.as_ref().filter(|_| own.is_none()) else {
            return own;
        };
        let is_name = !language.contains(['/', '\\', '\0']) && !matches!(language.as_str(), "" | "." | "..");
        if !is_name || language.eq_ignore_ascii_case("dockerfile") || self.source.url.is_some() {
            return None;
        }
        let template = self.load(*node, &format!("template/{language}/template.yml"), true)?;
        let process = template.get("fprocess").map(|entry| entry.value.clone()).filter(|text| !text.is_empty())?;
        self.check_token(*node, "the template's `fprocess`", &process);
        Some(process)
    }

    /// The values of a file, read once. What is wrong with it is reported where it is named first; a template need not exist.
    fn load(&mut self, node: NodeId, name: &str, is_template: bool) -> Option<Rc<Entries>> {
        let key = (is_template, name.to_owned());
        if let Some(known) = self.files.get(&key) {
            return known.clone();
        }
        let entries = self.read(node, name, is_template).map(Rc::new);
        self.files.insert(key, entries.clone());
        entries
    }

    fn read(&mut self, node: NodeId, name: &str, is_template: bool) -> Option<Entries> {
        if self.source.url.is_some() {
            let hint = "commit the stack file to the repository, or write the variables under `environment`";
            self.problem(node, "a stack file from a URL cannot read local files", hint);
            return None;
        }
        let path = self.source.path(name);
        let bytes = match input::read(&path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(input::Error::Unreadable { source, .. }) if is_template && source.kind() == ErrorKind::NotFound => {
                return None;
            }
            Err(error) => {
                let hint = "a path is relative to the working directory; commit the file, or pass it as an artifact";
                self.problem(node, &error.to_string(), hint);
                return None;
            }
        };
        // A link in its path may lead out of the clone directory: a function must not get what the step has there.
        if !self.source.shows(&path) {
            let hint = "copy the file into the clone directory: no other files of the step are read";
            self.problem(node, "this file is outside the clone directory", hint);
            return None;
        }
        let text = decode_text(name, &bytes, true).map_err(|problem| self.found.add(problem)).ok()?;
        let file = SourceFile::new(name, text, true);
        if let Some(problem) = file.conflict() {
            self.found.add(problem);
            return None;
        }
        let source_map = SourceMap { file: &file, substituted: &Substituted::unchanged(text) };
        let document = Document::parse(text);
        let document = document.map_err(|error| self.found.add(source_map.syntax_problem(error))).ok()?;
        let mut decoder = Decoder::new(&document, source_map);
        let (entries, ignored) = if is_template {
            (template(&mut decoder, document.root()), Vec::new())
        } else {
            environment_file(&mut decoder, document.root())
        };
        let invalid = entries.iter().filter_map(|(name, entry)| {
            Some(source_map.problem(document.written(entry.key), Rule::VariableName.check(name)?))
        });
        let problems: Vec<_> = decoder.found.into_iter().chain(invalid).take(MAX_PROBLEMS).collect();
        if !problems.is_empty() {
            self.found.extend(problems);
            return None;
        }
        self.found.extend(not_used(source_map, &document, &entries).into_iter().take(MAX_PROBLEMS));
        self.found.extend(ignored.iter().take(MAX_PROBLEMS).map(|key| {
            let name = whole_or_length(&key.value);
            let message = format!("unknown field `{name}`: only what is below `environment` is read");
            let warning = Diagnostic::warning(message).with_hint("move it below `environment`");
            source_map.problem(document.written(key.node), warning)
        }));
        Some(entries)
    }
}

/// Warnings about what is not read, or not as its author may think.
fn not_used(source_map: SourceMap<'_>, document: &Document, entries: &Entries) -> Vec<Found> {
    let rest = document.rest.map(|at| {
        let warning = Diagnostic::warning("only the first document is read: what follows is ignored");
        source_map.problem(at..at, warning.with_hint("move it into the first document"))
    });
    let of_values = entries.values().filter_map(|entry| {
        let warning = if let Some(quotes) = text::typographic_quotes(&entry.value) {
            Diagnostic::warning(format!("this contains {quotes}"))
        } else {
            let reference = text::reference(&entry.value)?;
            Diagnostic::warning(format!("`{reference}` is not substituted: only the stack file is"))
                .with_hint("write it under `environment` in the stack file, or pass it with `ENV_VARS`")
        };
        Some(source_map.problem(document.written(entry.node), warning))
    });
    rest.into_iter().chain(of_values).collect()
}

/// The environment of an environment file, and the keys that are ignored.
fn environment_file(decoder: &mut Decoder<'_>, node: NodeId) -> (Entries, Vec<Text>) {
    let (mut environment, mut ignored) = (None, Vec::new());
    if !decoder.is_mapping_or_null(node) {
        decoder.report(node, "the environment file has no `environment`", ENVIRONMENT);
        return (Entries::new(), ignored);
    }
    for pair in decoder.pairs(node, "the environment file").unwrap_or_default() {
        if pair.name == "environment" {
            environment = Some(decoder.map(pair.value, "`environment`").unwrap_or_default());
        } else {
            ignored.push(Text { value: pair.name, node: pair.key });
        }
    }
    if let Some(first) = ignored.first().filter(|_| environment.is_none()) {
        let message = "the environment file has no `environment`, so that nothing in it is read";
        decoder.report(first.node, message, ENVIRONMENT);
    }
    (environment.unwrap_or_default(), ignored)
}

/// The command of a template, which is its `fprocess`.
fn template(decoder: &mut Decoder<'_>, node: NodeId) -> Entries {
    let pairs = decoder.pairs(node, "the template").unwrap_or_default();
    let process = pairs.into_iter().find(|pair| pair.name == "fprocess").and_then(|pair| {
        let value = text_of(decoder, &pair)?.value;
        Some((pair.name, Entry { value, key: pair.key, node: pair.value }))
    });
    process.into_iter().collect()
}
