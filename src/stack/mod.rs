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

use crate::console::log::{brief, quote};
use crate::function::FunctionName;
use crate::function::api::Deployment;
use decode::Decoder;
use diagnostics::Page;
pub use diagnostics::{Problem, Problems};
use envsubst::{Fault, Replacement, Substituted};
use filter::Selection;
pub use image::Tag;
use yaml::Document;

/// The largest stack file that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// How many names without a value are warned about.
const MAX_WARNINGS: usize = 100;

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
    /// `CONSTRAINTS`, where the file has none.
    pub constraints: Vec<String>,
    /// `READ_ONLY`: forces a read-only root filesystem.
    pub read_only: bool,
    /// `ENVSUBST`: whether variables are substituted.
    pub envsubst: bool,
    /// `TAG_FORMAT`, with what it takes from the clone.
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
    /// Its bytes.
    pub text: Vec<u8>,
    /// The directory that environment files, handlers and templates are relative to.
    pub base: PathBuf,
}

impl Source {
    /// The path of a file that it names.
    fn path(&self, name: &str) -> PathBuf {
        // Without a `./` that nobody wrote.
        if self.base == Path::new(".") { name.into() } else { self.base.join(name) }
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
    /// What a person should look at, although it can be deployed.
    pub warnings: Vec<Problem>,
    /// The names of all variables that the file substitutes.
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
    /// What is sent.
    pub deployment: Deployment,
    /// The line of its name in the stack file, from 1.
    pub line: usize,
    /// The lines of its fields.
    lines: Vec<(&'static str, usize)>,
}

impl Function {
    /// The line, from 1, where the stack file has a field (`image`, `namespace`, `secrets`, `constraints`, `limits`,
    /// `requests`, `labels`, `annotations`, `environment`); the function's own where it has it not.
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
    let text = decode_text(&source.name, &source.text)?;
    let page = Page::new(&source.name, text);
    let start = text.trim_start();
    if start.starts_with('<') && !start.starts_with("<<") {
        let hint = "take the address that leads to the file's text alone, which is often called raw";
        return Err(Problem::new(format!("`{}` is a web page, not a stack file", page.name), Some(hint)).into());
    }
    let substituted = if options.envsubst {
        envsubst::substitute(text, surroundings.variable).map_err(|faults| substitution_problems(&page, &faults))?
    } else {
        Substituted::unchanged(text)
    };
    let yaml = std::str::from_utf8(&substituted.text).map_err(|error| {
        let message = "what a substitution cuts out here is not whole characters";
        let hint = "offsets and lengths count bytes, and `é` has two of them".to_owned();
        page.problem_after(&substituted, error.valid_up_to(), message, Some(hint))
    })?;
    let mut substitutions = unset_variables(&page, &substituted);
    substitutions.extend(several_lines(&page, &substituted));
    let document = match Document::parse(yaml) {
        Ok(document) => document,
        Err(error) => return Err(refuse(vec![page.syntax_problem(&substituted, &error)], substitutions, Vec::new())),
    };
    let rest = document.rest().map(|at| {
        let message = "faas-cli reads the first document only; what follows is ignored";
        let hint = "move it into the first document, or into a file of its own".to_owned();
        page.warning_after(&substituted, at, message, Some(hint))
    });

    let mut decoder = Decoder::new(&document);
    let root = schema::root(&mut decoder, document.root());
    let selection = Selection::new(options.filter.as_deref(), options.regex.as_ref());
    let place = resolve::Place { page: &page, substituted: &substituted, document: &document };
    let mut assembly = resolve::Assembly::new(source, options, surroundings, place);
    let functions = assembly.stack(decoder, &root, &selection);
    let (problems, mut warnings, named) = (assembly.problems, assembly.warnings, assembly.named);
    warnings.extend(rest);
    if problems.is_empty() {
        warnings.append(&mut substitutions);
        warnings.sort_by_key(|warning| warning.line);
        Ok(Stack {
            gateway: root.gateway.map(|gateway| gateway.value).filter(|gateway| !gateway.is_empty()),
            functions,
            named,
            warnings,
            substituted: substituted.names.into_keys().collect(),
        })
    } else {
        Err(refuse(problems, substitutions, warnings))
    }
}

/// The problems, with the warnings that may explain them; of those about substitutions, what no problem tells already.
fn refuse(mut problems: Vec<Problem>, mut substitutions: Vec<Problem>, mut warnings: Vec<Problem>) -> Problems {
    substitutions.retain(|warning| !problems.iter().any(|problem| problem.tells_too(warning)));
    warnings.append(&mut substitutions);
    warnings.sort_by_key(|warning| warning.line);
    problems.sort_by_key(|problem| problem.line);
    Problems { problems, warnings }
}

/// The text of a file without its byte order mark.
fn decode_text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    let name = &quote(name);
    if bytes.len() > MAX_FILE {
        let hint = "a stack file holds settings only; is this the right file?";
        return Err(Problem::new(format!("`{name}` is larger than 1 MiB"), Some(hint)));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Problem::new(format!("`{name}` is UTF-16 text"), Some("save it as UTF-8")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let page = Page::new(name, &before);
        page.problem(
            before.len()..before.len(),
            "what follows here is not UTF-8",
            Some("save the file as UTF-8".to_owned()),
        )
    })
}

fn substitution_problems(page: &Page<'_>, faults: &[Fault]) -> Problems {
    let problem = |fault: &Fault| page.problem(fault.at.clone(), &fault.kind.to_string(), Some(fault.kind.hint()));
    Problems { problems: faults.iter().map(problem).collect(), warnings: Vec::new() }
}

/// One warning for each expression whose value YAML takes apart.
fn several_lines(page: &Page<'_>, substituted: &Substituted) -> Vec<Problem> {
    let broken = substituted.replacements(0..usize::MAX).filter(Replacement::has_several_lines).take(MAX_WARNINGS);
    broken
        .map(|change| {
            let expression = &page.source[change.source.clone()];
            let message =
                format!("`{}` has several lines, which do not reach the function as they are", brief(expression));
            page.problem(change.source, &message, Some(diagnostics::several_lines(expression)))
        })
        .collect()
}

/// One warning for each name that has neither a value nor a default.
fn unset_variables(page: &Page<'_>, substituted: &Substituted) -> Vec<Problem> {
    let missing = substituted.names.iter().filter_map(|(name, used)| Some((name, used.missing?))).take(MAX_WARNINGS);
    missing
        .map(|(name, at)| {
            let (length, name) = (name.len(), brief(name));
            let message = format!("`{name}` is empty or not set, and nothing is put in its place");
            let mut hint = diagnostics::pass_variables(std::slice::from_ref(&name));
            hint.push_str(&format!("\nor give it a default: `${{{name}:-default}}`"));
            page.problem(at..at + length, &message, Some(hint))
        })
        .collect()
}
