//! Stack files: from text to the functions to deploy, as faas-cli reads them.
//!
//! The text goes through [`envsubst`], [`yaml`] and [`decode`]; what comes out is put together with the pipe's options as
//! `faas-cli deploy` does, and all is checked before anything is sent.

mod decode;
mod diagnostics;
pub mod envsubst;
mod files;
mod kubernetes;
pub(crate) mod labels;
mod resolve;
mod schema;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use url::Url;

use crate::console::log::{quote, whole_or_length};
use crate::diagnostic::{Diagnostic, Explain as _};
use crate::files::input::is_below;
use crate::function::FunctionName;
use crate::function::api::Deployment;
use crate::function::image::Reference;
pub use crate::function::image::Tag;
use crate::function::outcome::Location;
use decode::{Decoder, Pair};
use diagnostics::{Findings, Found, SourceFile, SourceMap};
use envsubst::{Fault, Lookup, Substituted};
pub(crate) use kubernetes::{is_refused_silently, secret_name_fault};
use resolve::Resolver;
use schema::{Fields, Root};
use yaml::{Document, NodeId};

/// The largest file that is read, and the largest text that substitution may make of it, in bytes.
pub(crate) const MAX_FILE: usize = 1 << 20;
/// How deep collections, merge keys and expressions may be nested. yaml.v3 takes 10,000; a stack file needs five.
const MAX_DEPTH: usize = 128;
/// How many problems, and how many warnings, are kept.
const MAX_PROBLEMS: usize = 100;
/// The value of an expression whose own value must not matter: a private-use character, which no stack file has.
const PLACEHOLDER: &str = "\u{e000}";

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `OPENFAAS_NAMESPACE`; overrides the file.
    pub namespace: Option<String>,
    /// `OPENFAAS_NS`; used if neither the option above nor the file has one.
    pub default_namespace: Option<String>,
    /// `OPENFAAS_URL` is set: the file's `gateway` is not used.
    pub has_gateway: bool,
    /// All functions if it is absent.
    pub selector: Option<Selector>,
    /// `ENV_VARS`, `LABELS`, `ANNOTATIONS`: over what the file says.
    pub env_vars: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
    /// `SECRETS`, before those of the file.
    pub secrets: Vec<String>,
    /// `CONSTRAINTS`, if the file has none.
    pub constraints: Vec<String>,
    /// `READ_ONLY`: forces a read-only root filesystem.
    pub read_only: bool,
    /// `ENVSUBST: 'false'`: variables are not substituted.
    pub is_literal: bool,
    /// `TAG_FORMAT`, with what it takes from the clone.
    pub tag: Tag,
    /// `PRUNE`: the names of functions must not depend on variables.
    pub prune: bool,
    /// `COMMAND: remove`: no name and no namespace may lack the value of a variable.
    pub is_removal: bool,
}

impl Options {
    pub(crate) fn selects(&self, function: &str) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.selects(function))
    }
}

/// `FILTER` or `REGEX`.
#[derive(Clone, Debug)]
pub enum Selector {
    /// `FILTER`: a wildcard that names must match.
    Filter(String),
    /// `REGEX`: a regular expression that must be found in names.
    Regex(Regex),
}

impl Selector {
    pub(crate) fn variable(&self) -> &'static str {
        match self {
            Self::Filter(_) => "FILTER",
            Self::Regex(_) => "REGEX",
        }
    }

    pub(crate) fn selects(&self, name: &str) -> bool {
        match self {
            Self::Filter(pattern) => matches_wildcard(pattern, name),
            Self::Regex(regex) => regex.is_match(name),
        }
    }

    /// The problem if it selects no function of these stack files; `files` are the paths of those that may be shown, with the
    /// functions that they name.
    pub(crate) fn selects_none<'a>(&self, files: impl Iterator<Item = (&'a str, &'a [FunctionName])>) -> Diagnostic {
        let pattern = match self {
            Self::Filter(pattern) => pattern,
            Self::Regex(regex) => regex.as_str(),
        };
        let names = |named: &[FunctionName]| {
            named.iter().map(|function| format!("`{}`", whole_or_length(&function.name))).collect::<Vec<_>>().join(", ")
        };
        let has: Vec<_> =
            files.map(|(file, named)| format!("`{}` has {}", quote(file), quote(&names(named)))).collect();
        let message = format!("no function name matches `{}` `{}`", self.variable(), whole_or_length(pattern));
        Diagnostic { hint: (!has.is_empty()).then(|| has.join("; ")), ..Diagnostic::error(message) }
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
    /// Where it comes from, if that is a URL: then it may not make the pipe read local files.
    pub url: Option<Url>,
    /// No message shows what files outside of this directory hold.
    pub clone_dir: Option<PathBuf>,
}

impl Source {
    fn path(&self, name: &str) -> PathBuf {
        // Without a `./` that nobody wrote.
        if self.base == Path::new(".") { name.into() } else { self.base.join(name) }
    }

    /// True if messages may show what a file holds. A link in the clone may lead out of it, to the step's own files.
    fn shows(&self, path: &Path) -> bool {
        self.clone_dir.as_ref().is_none_or(|clone_dir| is_below(path, clone_dir))
    }
}

/// The hash of a handler's folder, for [`Tag::Digest`].
pub type FolderDigest<'a> = dyn Fn(&Path) -> Result<String, Box<dyn Error>> + 'a;

/// The values and functions that a stack file needs from outside of it.
pub struct Context<'a> {
    pub variables: Lookup<'a>,
    pub folder_digest: &'a FolderDigest<'a>,
    /// The problem with a text that holds one of the step's tokens.
    pub token_fault: &'a dyn Fn(&str) -> Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Stack {
    pub gateway: Option<String>,
    /// The selected functions, in the file's order.
    pub functions: Vec<Function>,
    /// All functions of the file, selected or not, in its order.
    pub named: Vec<FunctionName>,
    /// True if messages may show what the file holds.
    pub is_shown: bool,
    pub warnings: Vec<Diagnostic>,
}

#[derive(Clone, Debug, Default)]
pub struct Function {
    pub deployment: Deployment,
    /// Its name in the stack file.
    pub location: Location,
    /// The lines of its fields.
    lines: Vec<(String, usize)>,
}

impl Function {
    pub(crate) fn name(&self) -> FunctionName {
        FunctionName::from(&self.deployment)
    }

    pub(crate) fn sets(&self, field: &str) -> bool {
        self.lines.iter().any(|(name, _)| *name == field)
    }

    /// The place of a field such as `image`, if the stack file has it; else the function's own.
    pub(crate) fn place_of(&self, field: &str) -> Location {
        let found = self.lines.iter().find(|(name, _)| *name == field);
        Location { line: found.map_or(self.location.line, |(_, line)| *line), ..self.location.clone() }
    }
}

/// Reads a stack file. The error is all that can be found at once, with warnings that may be causes; nothing may be sent then.
pub fn read(source: &Source, options: &Options, context: &Context<'_>) -> Result<Stack, Vec<Diagnostic>> {
    let mut found = Findings::default();
    let stack = read_into(&mut found, source, options, context);
    let has_errors = found.has_errors();
    let found = found.sorted();
    match stack {
        Some(stack) if !has_errors => Ok(Stack { warnings: found, ..stack }),
        _ => Err(found),
    }
}

fn read_into(found: &mut Findings, source: &Source, options: &Options, context: &Context<'_>) -> Option<Stack> {
    let is_shown = source.url.is_some() || source.shows(Path::new(&source.name));
    let text = decode_text(&source.name, &source.text, is_shown).map_err(|problem| found.add(problem)).ok()?;
    let file = SourceFile::new(&source.name, text, is_shown);
    let start = text.trim_start();
    if start.starts_with('<') && !start.starts_with("<<") {
        let message = format!("`{}` is a web page, not a stack file", file.name);
        found.add(file.problem_of_all(Diagnostic::error(message).with_hint("use the URL of the raw file")));
        return None;
    }
    if let Some(problem) = file.conflict() {
        found.add(problem);
        return None;
    }
    let substituted = if options.is_literal {
        Substituted::unchanged(text)
    } else {
        let fault = |fault: Fault| file.problem(fault.at, fault.kind.diagnostic());
        let substituted = envsubst::substitute(text, context.variables);
        substituted.map_err(|faults| found.extend(faults.into_iter().map(fault))).ok()?
    };
    let source_map = SourceMap { file: &file, substituted: &substituted };
    let document = match Document::parse(&substituted.text) {
        Ok(document) => document,
        Err(error) => {
            found.extend(unset_images(source_map));
            if !found.has_errors() {
                found.add(source_map.syntax_problem(error));
            }
            found.extend(source_map.value_warnings(None, &[]));
            return None;
        }
    };
    if let Some(at) = document.rest {
        let warning = Diagnostic::warning("faas-cli reads only the first document: what follows is ignored");
        let hint = "move it into the first document, or into a file of its own";
        found.add(source_map.problem(at..at, warning.with_hint(hint)));
    }
    let mut resolver = Resolver {
        source,
        options,
        context,
        source_map,
        document: &document,
        files: BTreeMap::new(),
        reported: BTreeSet::new(),
        found,
        named: Vec::new(),
        unused: Vec::new(),
    };
    let (root, functions) = resolver.functions();
    let unused = resolver.unused();
    let named = resolver.named;
    found.extend(source_map.value_warnings(Some(&document), &unused));
    if options.prune {
        found.extend(varying_names(source_map, &document, &root));
    }
    if options.is_removal {
        found.extend(unset_names(source_map, options));
    }
    Some(Stack {
        gateway: root.gateway.map(|gateway| gateway.value).filter(|gateway| !gateway.is_empty()),
        functions,
        named,
        is_shown,
        warnings: Vec::new(),
    })
}

/// The text of a file without its byte order mark.
fn decode_text<'a>(name: &str, bytes: &'a [u8], is_shown: bool) -> Result<&'a str, Found> {
    let quoted = quote(name);
    if bytes.len() > MAX_FILE {
        let hint = "check that it is the right file: a stack file contains only settings";
        return Err(Diagnostic::error(format!("`{quoted}` is larger than 1 MiB")).with_hint(hint).into());
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Diagnostic::error(format!("`{quoted}` is UTF-16 text")).with_hint("save it as UTF-8").into());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let problem = Diagnostic::error("invalid UTF-8").with_hint("save the file as UTF-8");
        SourceFile::new(name, &before, is_shown).problem(before.len()..before.len(), problem)
    })
}

/// The images that lack the value of a variable, in a text that is no YAML for that lack: `image: app:${TAG}` becomes
/// `image: app:`, and the parser stops at the first. With the values filled in it finds all.
fn unset_images(source_map: SourceMap<'_>) -> Vec<Found> {
    unset(source_map, |_, fields| {
        let image = fields.image.as_ref().filter(|image| image.value.contains(PLACEHOLDER));
        let problem = image.and_then(|image| {
            let name = image.value.replace(PLACEHOLDER, "");
            let fault = Reference::parse(&name).err()?;
            Some((image.node, Diagnostic::error(resolve::invalid_image(&name, fault))))
        });
        problem.into_iter().collect()
    })
}

/// The names and namespaces that lack the value of a variable: `${PREFIX}api` would remove `api`.
fn unset_names(source_map: SourceMap<'_>, options: &Options) -> Vec<Found> {
    unset(source_map, |pair, fields| {
        if !options.selects(&pair.name.replace(PLACEHOLDER, "")) {
            return Vec::new();
        }
        let namespace = fields.namespace.as_ref().filter(|_| options.namespace.is_none());
        let texts = [Some((pair.name.as_str(), pair.key)), namespace.map(|text| (text.value.as_str(), text.node))];
        let unset = texts.into_iter().flatten().filter(|(text, _)| text.contains(PLACEHOLDER));
        let error = || {
            Diagnostic::error("`COMMAND: remove` would remove another function than this one")
                .with_hint("define the variable, or write `${NAME:-}` if it may be empty")
        };
        unset.map(|(_, node)| (node, error())).collect()
    })
}

/// The results of `find` for each function, with a placeholder for each variable that has no value.
fn unset(source_map: SourceMap<'_>, find: impl Fn(&Pair, &Fields) -> Vec<(NodeId, Diagnostic)>) -> Vec<Found> {
    let filled = source_map.substituted.with_placeholder(PLACEHOLDER, true);
    let Ok(document) = Document::parse(&filled.text) else { return Vec::new() };
    let source_map = SourceMap { substituted: &filled, ..source_map };
    let mut decoder = Decoder::new(&document, source_map);
    let root = schema::root(&mut decoder, document.root());
    let found =
        root.functions.iter().flat_map(|pair| find(pair, &schema::function(&mut decoder, pair.value, &pair.name)));
    found.take(MAX_PROBLEMS).map(|(node, problem)| source_map.problem(document.written(node), problem)).collect()
}

/// True if other values of the variables may make other functions, which `PRUNE` would take for each other's remains: so it is
/// if the names are not the same once every expression has another value.
fn varying_names(source_map: SourceMap<'_>, document: &Document, root: &Root) -> Option<Found> {
    let filled = source_map.substituted.with_placeholder(PLACEHOLDER, false);
    let at = match Document::parse(&filled.text) {
        Ok(filled_document) => {
            let other = schema::root(&mut Decoder::new(&filled_document, source_map), filled_document.root()).functions;
            let names: BTreeSet<&str> = other.iter().map(|pair| pair.name.as_str()).collect();
            let varying = root.functions.iter().find(|pair| !names.contains(pair.name.as_str()));
            // A function may also be there only with other values, as after `${OFF}` on the same line.
            let other = || other.iter().find(|pair| !root.functions.iter().any(|known| known.name == pair.name));
            match varying {
                Some(varying) => source_map.substituted.source_range(document.written(varying.key).start),
                None => filled.source_range(filled_document.written(other()?.key).start),
            }
        }
        // An expression that is no value, such as one on a line of its own.
        Err(error) => filled.source_range(error.at),
    };
    let message =
        "the names of functions depend on variables: with other values, `PRUNE` would remove what is deployed now";
    let hint = "write `${…}` only in values, not in names or in place of whole functions, or remove `PRUNE`";
    Some(source_map.file.problem(at, Diagnostic::error(message).with_hint(hint)))
}

/// `*` matches any text, every other character itself (ryanuber/go-glob).
fn matches_wildcard(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    // The leftmost match of each part is enough: only the last part is tied to the end.
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}
