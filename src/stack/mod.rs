//! Stack files: from text to the functions to deploy, as faas-cli reads them.
//!
//! The text goes through [`envsubst`], [`yaml`] and [`decode`]; what comes out is put together with the pipe's options as
//! `faas-cli deploy` does, and all is checked before anything is sent.

pub mod decode;
mod diagnostics;
pub mod envsubst;
mod files;
mod filter;
pub mod image;
mod kubernetes;
pub mod owner_label;
mod resolve;
mod schema;
#[cfg(test)]
mod tests;
pub mod yaml;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

use crate::console::log::quote;
use crate::function::FunctionName;
use crate::function::api::Deployment;
use decode::{Decoder, Text};
use diagnostics::{MAX_PROBLEMS, Page, Place};
pub use diagnostics::{Problem, Problems};
use envsubst::{Fault, Substituted};
pub use image::Tag;
use resolve::Assembly;
use yaml::Document;

/// The largest file that is read, and the largest text that substitution may make of it, in bytes.
pub const MAX_FILE: usize = 1 << 20;
/// How deep collections, merge keys and expressions may be nested. yaml.v3 takes 10,000; a stack file needs five.
const MAX_DEPTH: usize = 128;
/// Stands in for a value that is missing: a private-use character, which no stack file has.
const PLACEHOLDER: &str = "\u{e000}";

/// What the pipe's variables ask of a stack file.
#[derive(Clone, Debug)]
pub struct Options {
    /// `OPENFAAS_NAMESPACE`; overrides the file.
    pub namespace: Option<String>,
    /// `FILTER`: a wildcard that names must match.
    pub filter: Option<String>,
    /// `REGEX`: a regular expression that must be found in names. Only one of the two is set.
    pub regex: Option<Regex>,
    /// `ENV_VARS`, over what the file says.
    pub env_vars: Vec<(String, String)>,
    /// `LABELS`, over what the file says.
    pub labels: Vec<(String, String)>,
    /// `ANNOTATIONS`, over what the file says.
    pub annotations: Vec<(String, String)>,
    /// `SECRETS`, before those of the file.
    pub secrets: Vec<String>,
    /// `CONSTRAINTS`, if the file has none.
    pub constraints: Vec<String>,
    /// `READ_ONLY`: forces a read-only root filesystem.
    pub read_only: bool,
    /// `ENVSUBST`: whether variables are substituted.
    pub envsubst: bool,
    /// `TAG_FORMAT`, with the branch and version of the clone.
    pub tag: Tag,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: None,
            filter: None,
            regex: None,
            env_vars: Vec::new(),
            labels: Vec::new(),
            annotations: Vec::new(),
            secrets: Vec::new(),
            constraints: Vec::new(),
            read_only: false,
            envsubst: true,
            tag: Tag::Latest,
        }
    }
}

/// A stack file that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path or URL, for messages.
    pub name: String,
    pub text: Vec<u8>,
    /// The directory that environment files, handlers and templates are relative to.
    pub base: PathBuf,
    /// Whether it comes from a URL: then it may not make the pipe read local files.
    pub is_remote: bool,
    /// No message shows what files outside of this directory hold.
    pub clone_dir: Option<PathBuf>,
}

impl Source {
    /// The path of a file that it names.
    fn path(&self, name: &str) -> PathBuf {
        // Without a `./` that nobody wrote.
        if self.base == Path::new(".") { name.into() } else { self.base.join(name) }
    }

    /// Whether messages may show what a file holds. A link in the clone may lead out of it, to the step's own files.
    fn shows(&self, path: &Path) -> bool {
        let is_inside =
            |clone_dir: &PathBuf| Some(path.canonicalize().ok()?.starts_with(clone_dir.canonicalize().ok()?));
        self.clone_dir.as_ref().is_none_or(|clone_dir| is_inside(clone_dir).unwrap_or(false))
    }
}

/// What a stack file needs from outside of it.
pub struct Surroundings<'a> {
    /// The value of a variable that is set.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The hash of a handler's folder, for [`Tag::Digest`]; else what is wrong with the folder.
    pub folder_digest: &'a dyn Fn(&Path) -> Result<String, String>,
    /// What is wrong with a text that holds one of the step's tokens.
    pub token_fault: &'a dyn Fn(&str) -> Option<String>,
}

/// What a stack file asks for.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// `provider.gateway`.
    pub gateway: Option<String>,
    /// The selected functions, in the file's order.
    pub functions: Vec<Function>,
    /// All functions of the file, selected or not, in its order.
    pub named: Vec<Named>,
    /// What may be wrong, although it can be deployed.
    pub warnings: Vec<Problem>,
    pub substituted: BTreeSet<String>,
}

/// A function that the file names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub function: FunctionName,
    /// The line of its name, from 1.
    pub line: usize,
    /// Whether the name depends on a substituted variable, and may be another one in the next run.
    pub is_name_substituted: bool,
}

/// A function to deploy.
#[derive(Clone, Debug, Default)]
pub struct Function {
    pub deployment: Deployment,
    /// The line of its name in the stack file, from 1.
    pub line: usize,
    /// The lines of its fields.
    lines: Vec<(&'static str, usize)>,
}

impl Function {
    /// The line, from 1, where the stack file has a field (`image`, `namespace`, `secrets`, `constraints`, `limits`,
    /// `requests`, `labels`, `annotations`, `environment`); else the function's own.
    pub fn line_of(&self, field: &str) -> usize {
        let found = self.lines.iter().find(|(name, _)| *name == field);
        found.map_or(self.line, |(_, line)| *line)
    }
}

/// Reads a stack file.
///
/// # Errors
///
/// All problems that can be found at once; nothing may be sent then.
pub fn read(source: &Source, options: &Options, surroundings: &Surroundings<'_>) -> Result<Stack, Problems> {
    let is_shown = source.is_remote || source.shows(Path::new(&source.name));
    let text = decode_text(&source.name, &source.text, is_shown)?;
    let page = Page::new(&source.name, text, is_shown);
    let start = text.trim_start();
    if start.starts_with('<') && !start.starts_with("<<") {
        let hint = "use the URL of the raw file";
        return Err(page.problem_of_all(format!("`{}` is a web page, not a stack file", page.name), hint).into());
    }
    let substituted = if options.envsubst {
        envsubst::substitute(text, surroundings.variable).map_err(|faults| substitution_problems(&page, &faults))?
    } else {
        Substituted::unchanged(text)
    };
    let place = Place { page: &page, substituted: &substituted };
    let yaml = std::str::from_utf8(&substituted.text).map_err(|error| {
        let message = "the substitution cuts a character in two";
        let hint = "offsets and lengths count bytes, and `é` has two of them".to_owned();
        place.problem(error.valid_up_to()..error.valid_up_to(), message, Some(hint))
    })?;
    let mut warnings: Vec<Problem> = place.unset_variables().take(MAX_PROBLEMS).collect();
    warnings.extend(place.several_lines().take(MAX_PROBLEMS));
    let document = match Document::parse(yaml) {
        Ok(document) => document,
        Err(error) => {
            let mut problems = unset_images(&page, &substituted);
            if problems.is_empty() {
                problems.push(place.syntax_problem(error.at, &error.message, error.hint));
            }
            return Err(Problems { problems, warnings }.sorted());
        }
    };
    if let Some(at) = document.rest() {
        let message = "faas-cli reads only the first document: what follows is ignored";
        let hint = "move it into the first document, or into a file of its own".to_owned();
        warnings.push(place.problem(at..at, message, Some(hint)));
    }
    let mut assembly = Assembly::new(source, options, surroundings, place, &document);
    let (root, functions) = assembly.functions();
    let Assembly { mut found, named, .. } = assembly;
    found.warnings.append(&mut warnings);
    let found = found.sorted();
    if !found.problems.is_empty() {
        return Err(found);
    }
    Ok(Stack {
        gateway: root.gateway.map(|gateway| gateway.value).filter(|gateway| !gateway.is_empty()),
        functions,
        named,
        warnings: found.warnings,
        substituted: substituted.names.into_keys().collect(),
    })
}

/// The text of a file without its byte order mark.
fn decode_text<'a>(name: &str, bytes: &'a [u8], is_shown: bool) -> Result<&'a str, Problem> {
    let quoted = quote(name);
    if bytes.len() > MAX_FILE {
        let hint = "check that it is the right file: a stack file contains only settings".to_owned();
        return Err(Problem::new(format!("`{quoted}` is larger than 1 MiB"), Some(hint)));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Problem::new(format!("`{quoted}` is UTF-16 text"), Some("save it as UTF-8".to_owned())));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let at = before.len()..before.len();
        Page::new(name, &before, is_shown).problem(at, "invalid UTF-8", Some("save the file as UTF-8".to_owned()))
    })
}

fn substitution_problems(page: &Page<'_>, faults: &[Fault]) -> Problems {
    let problem = |fault: &Fault| page.problem(fault.at.clone(), &fault.kind.to_string(), Some(fault.kind.hint()));
    Problems { problems: faults.iter().map(problem).collect(), warnings: Vec::new() }
}

/// The images that lack the value of a variable, in a text that is no YAML for that lack: `image: app:${TAG}` becomes
/// `image: app:`, and the parser stops at the first. With the values filled in it finds all.
fn unset_images(page: &Page<'_>, substituted: &Substituted) -> Vec<Problem> {
    let filled = substituted.with_placeholder(PLACEHOLDER);
    let Some(document) = std::str::from_utf8(&filled.text).ok().and_then(|text| Document::parse(text).ok()) else {
        return Vec::new();
    };
    let place = Place { page, substituted: &filled };
    let mut decoder = Decoder::new(&document);
    let root = schema::root(&mut decoder, document.root());
    let images = root.functions.iter().filter_map(|pair| schema::function(&mut decoder, pair.value, &pair.name).image);
    let problem = |image: Text| {
        let name = image.value.replace(PLACEHOLDER, "");
        let fault = image::fault(&name).filter(|_| image.value.contains(PLACEHOLDER))?;
        Some(place.problem(document.written(image.node), &resolve::invalid_image(&name, fault), None))
    };
    images.filter_map(problem).take(MAX_PROBLEMS).collect()
}
