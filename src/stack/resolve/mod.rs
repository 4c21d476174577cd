//! Functions put together from a stack file, environment files and the pipe's options, as `faas-cli deploy` does, and checked.

mod checks;

use std::collections::{BTreeMap, BTreeSet};

use super::decode::{Decoder, Entry, Finding, Pair, Text};
use super::diagnostics::{Page, Problem};
use super::envsubst::Substituted;
use super::files::{FileFault, Files};
use super::filter::Selection;
use super::image::{self, Tag};
use super::schema::{self, Amounts, Fields, Root};
use super::yaml::{Document, NodeId};
use super::{Function, Named, Options, Source, Surroundings};
use crate::console::log::{Brief, brief, quote};
use crate::function::FunctionName;
use crate::function::api::{Deployment, Resources};

/// After so many problems or warnings no more are kept.
const MAX_PROBLEMS: usize = 100;
/// How many bytes all functions may take from environment files together.
const MAX_ENVIRONMENT: usize = 8 << 20;

/// Leads from a node to its place in the stack file.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) page: &'a Page<'a>,
    pub(super) substituted: &'a Substituted,
    pub(super) document: &'a Document,
}

impl Place<'_> {
    fn problem(&self, node: NodeId, message: &str, hint: Option<String>) -> Problem {
        let at = self.document.offset(node);
        self.page.problem_after(self.substituted, at, message, hint)
    }

    fn warning(&self, node: NodeId, message: &str, hint: Option<String>) -> Problem {
        let at = self.document.offset(node);
        self.page.warning_after(self.substituted, at, message, hint)
    }

    fn line(&self, node: NodeId) -> usize {
        let at = self.document.offset(node);
        self.page.line(self.substituted.source_range(at).start)
    }
}

/// What a warning is about: a place in the stack file, or one of the pipe's variables.
#[derive(Clone, Copy)]
enum At {
    Node(NodeId),
    Variable(&'static str),
}

pub(super) struct Assembly<'a> {
    source: &'a Source,
    options: &'a Options,
    surroundings: &'a Surroundings<'a>,
    place: Place<'a>,
    files: Files,
    digests: BTreeMap<String, Option<String>>,
    environment_bytes: usize,
    /// What was said of nodes that several functions may share.
    told: BTreeSet<(NodeId, String)>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// All functions, selected or not.
    pub(super) named: Vec<Named>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(
        source: &'a Source,
        options: &'a Options,
        surroundings: &'a Surroundings<'a>,
        place: Place<'a>,
    ) -> Self {
        Self {
            source,
            options,
            surroundings,
            place,
            files: Files::default(),
            digests: BTreeMap::new(),
            environment_bytes: 0,
            told: BTreeSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            named: Vec::new(),
        }
    }

    /// The selected functions; what is wrong is in `problems`.
    pub(super) fn stack(&mut self, mut decoder: Decoder<'_>, root: &Root, selection: &Selection) -> Vec<Function> {
        let mut functions = Vec::new();
        let mut is_any_selected = false;
        let is_root_whole = decoder.findings.is_empty();
        self.check_options();
        self.check_fields(&root.unknown);
        for pair in &root.functions {
            let before = decoder.findings.len();
            let fields = schema::function(&mut decoder, pair.value, &pair.name);
            self.named.push(self.named(pair, &fields));
            if !selection.takes(&pair.name) {
                continue;
            }
            is_any_selected = true;
            if decoder.is_exhausted || self.is_full() {
                continue;
            }
            let is_whole = decoder.findings.len() == before;
            let function = self.function(pair, &fields, is_whole);
            if self.problems.is_empty() && decoder.findings.is_empty() {
                functions.push(function);
            }
        }
        for finding in &decoder.findings {
            self.finding(finding);
        }
        if is_root_whole {
            self.check_root(root);
            if root.functions.is_empty() {
                let hint = "write `functions:` with the name of a function and its `image:` below it";
                self.add(Problem::new(format!("`{}` has no functions", self.place.page.name), Some(hint)));
            } else if !is_any_selected {
                self.add(self.none_selected(root));
            }
        }
        functions
    }

    fn add(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn problem(&mut self, node: NodeId, message: &str, hint: Option<String>) {
        if !self.is_full() {
            self.problems.push(self.place.problem(node, message, hint));
        }
    }

    fn finding(&mut self, finding: &Finding) {
        if self.is_full() {
            return;
        }
        let mut problem = self.place.problem(finding.node, &finding.message, finding.hint.clone());
        if let Some(first) = finding.first {
            problem.note(&format!("the first one is on line {}", self.place.line(first)));
        }
        self.problems.push(problem);
    }

    fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    fn warn(&mut self, at: At, message: String, hint: Option<String>) {
        if self.warnings.len() >= MAX_PROBLEMS {
            return;
        }
        match at {
            At::Variable(name) => self.warnings.push(Problem::new(format!("`{name}`: {message}"), hint.as_deref())),
            At::Node(node) if self.told.contains(&(node, message.clone())) => {}
            At::Node(node) => {
                self.warnings.push(self.place.warning(node, &message, hint));
                self.told.insert((node, message));
            }
        }
    }

    fn check_root(&mut self, root: &Root) {
        match &root.provider_name {
            Some(name) if name.value == "openfaas" => {}
            Some(name) => {
                let message =
                    format!("`provider.name` is `{}`, and faas-cli takes `openfaas` only", brief(&name.value));
                self.problem(name.node, &message, Some("write `name: openfaas`".to_owned()));
            }
            None => {
                let message = "`provider.name` is missing";
                let hint = "write\nprovider:\n  name: openfaas";
                match root.provider {
                    Some(node) => self.problem(node, message, Some(hint.to_owned())),
                    None => self.add(Problem::new(format!("{}: {message}", self.place.page.name), Some(hint))),
                }
            }
        }
        if let Some(version) = &root.version
            && !matches!(version.value.as_str(), "" | "1.0")
        {
            let message = format!("`version` is `{}`, and faas-cli takes `1.0` only", brief(&version.value));
            self.problem(version.node, &message, Some("write `version: 1.0`".to_owned()));
        }
    }

    fn none_selected(&self, root: &Root) -> Problem {
        let wanted = match (&self.options.filter, &self.options.regex) {
            (Some(filter), _) => format!("`FILTER` `{}`", brief(filter)),
            (None, Some(regex)) => format!("`REGEX` `{}`", brief(regex.as_str())),
            (None, None) => "the selection".to_owned(),
        };
        let names: Vec<String> =
            root.functions.iter().take(20).map(|pair| format!("`{}`", brief(&pair.name))).collect();
        let more = if root.functions.len() > 20 { ", …" } else { "" };
        let hint = format!("`{}` has {}{more}", self.place.page.name, names.join(", "));
        Problem::new(format!("no function's name matches {wanted}"), Some(&hint))
    }

    /// Puts a function together; where the stack file is wrong about it, only what needs no more than it has is checked.
    fn function(&mut self, pair: &Pair, fields: &Fields, is_whole: bool) -> Function {
        let name = &pair.name;
        self.check_name(name, pair.key);
        self.check_fields(&fields.unknown);
        self.check_kubernetes(fields);
        self.check_tokens(pair, fields);
        let namespace = self.namespace(fields);
        let image = self.image(pair, fields, is_whole);
        let env_vars = self.environment(fields);
        let env_process = self.process(fields);
        let resources = |amounts: &Amounts| {
            let (memory, cpu) = (non_empty(amounts.memory.as_ref()), non_empty(amounts.cpu.as_ref()));
            (memory.is_some() || cpu.is_some()).then_some(Resources { memory, cpu })
        };
        let deployment = Deployment {
            service: name.clone(),
            image,
            namespace,
            env_process,
            env_vars,
            constraints: match &fields.constraints {
                Some(own) => own.iter().map(|text| text.value.clone()).collect(),
                None => self.options.constraints.clone(),
            },
            secrets: self.secrets(&fields.secrets),
            labels: overlay(&fields.labels, &self.options.labels),
            annotations: overlay(&fields.annotations, &self.options.annotations),
            limits: resources(&fields.limits),
            requests: resources(&fields.requests),
            read_only_root_filesystem: fields.read_only || self.options.read_only,
        };
        Function { deployment, line: self.place.line(pair.key), lines: self.lines(fields) }
    }

    fn namespace(&self, fields: &Fields) -> Option<String> {
        self.options.namespace.clone().or_else(|| non_empty(fields.namespace.as_ref()))
    }

    fn named(&self, pair: &Pair, fields: &Fields) -> Named {
        let Place { document, substituted, .. } = self.place;
        // A key may be an alias of a text elsewhere.
        let is_made = |node| substituted.is_made_by_substitution(&document.written(node));
        Named {
            function: FunctionName::new(&pair.name, self.namespace(fields)),
            line: self.place.line(pair.key),
            is_name_substituted: is_made(pair.key) || is_made(document.resolve(pair.key)),
        }
    }

    fn lines(&self, fields: &Fields) -> Vec<(&'static str, usize)> {
        let first = |map: &BTreeMap<String, Entry>| map.values().map(|entry| entry.key).min();
        let amounts =
            |amounts: &Amounts| [&amounts.memory, &amounts.cpu].into_iter().flatten().map(|text| text.node).min();
        let nodes = [
            ("image", fields.image_node),
            ("namespace", fields.namespace.as_ref().map(|text| text.node)),
            ("secrets", fields.secrets.first().map(|text| text.node)),
            ("constraints", fields.constraints.iter().flatten().next().map(|text| text.node)),
            ("limits", amounts(&fields.limits)),
            ("requests", amounts(&fields.requests)),
            ("labels", first(&fields.labels)),
            ("annotations", first(&fields.annotations)),
            ("environment", first(&fields.environment)),
        ];
        nodes.into_iter().filter_map(|(name, node)| Some((name, self.place.line(node?)))).collect()
    }

    fn image(&mut self, pair: &Pair, fields: &Fields, is_whole: bool) -> String {
        let name = Brief(&pair.name);
        let Some(text) = fields.image.as_ref().filter(|text| !text.value.is_empty()) else {
            if is_whole {
                let node = fields.image_node.unwrap_or(pair.key);
                let hint = "write `image: registry.example.com/name:tag`".to_owned();
                self.problem(node, &format!("function `{name}` has no image"), Some(hint));
            }
            return String::new();
        };
        let mut digest = String::new();
        if self.options.tag == Tag::Digest {
            match self.digest(fields) {
                Ok(found) => digest = found,
                Err(message) => {
                    if let Some(message) = message {
                        let node = fields.handler.as_ref().map_or(pair.key, |text| text.node);
                        let message = format!("`TAG_FORMAT: digest` needs the handler of `{name}`: {message}");
                        let hint =
                            "write `handler:` with the function's folder, or use another `TAG_FORMAT`".to_owned();
                        self.problem(node, &message, Some(hint));
                    }
                    return String::new();
                }
            }
        }
        let tagged = image::tagged(&text.value, &self.options.tag, &digest);
        let hint = "write `image: registry.example.com/name:tag`".to_owned();
        if let Some(fault) = image::fault(&text.value) {
            let message = format!("`{}` is not an image name: {fault}", brief(&text.value));
            self.problem(text.node, &message, Some(hint));
        } else if let Some(fault) = image::warning(&text.value) {
            let message = format!("no container runtime takes the image name `{}`: {fault}", brief(&text.value));
            self.warn(At::Node(text.node), message, Some(hint));
        } else if let Some(fault) = image::fault(&tagged).or_else(|| image::warning(&tagged)) {
            let message = format!("with `TAG_FORMAT` the image becomes `{}`: {fault}", brief(&tagged));
            let hint = match self.options.tag.unfit() {
                Some(unfit) => format!("use `TAG_FORMAT: sha`: `{}` cannot stand in an image tag", brief(unfit)),
                None => "leave `TAG_FORMAT` out, or give the image a plain tag".to_owned(),
            };
            self.problem(text.node, &message, Some(hint));
        }
        tagged
    }

    /// The hash of the handler's folder; what is wrong with it, once.
    fn digest(&mut self, fields: &Fields) -> Result<String, Option<String>> {
        let Some(handler) = non_empty(fields.handler.as_ref()) else {
            return Err(Some("it has none".to_owned()));
        };
        if let Some(known) = self.digests.get(&handler) {
            return known.clone().ok_or(None);
        }
        let digest = (self.surroundings.folder_digest)(&self.source.path(&handler));
        self.digests.insert(handler, digest.as_ref().ok().cloned());
        digest.map_err(|message| Some(quote(&message)))
    }

    /// Inline, then environment files in order, then the option.
    fn environment(&mut self, fields: &Fields) -> BTreeMap<String, String> {
        let inline = fields.environment.iter();
        let mut environment: BTreeMap<String, String> =
            inline.map(|(name, entry)| (name.clone(), entry.value.clone())).collect();
        for file in &fields.environment_files {
            if self.is_full() {
                break;
            }
            match self.files.environment(self.source, &file.value) {
                Ok(variables) => {
                    self.environment_bytes +=
                        variables.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>();
                    if self.environment_bytes > MAX_ENVIRONMENT {
                        self.problem(file.node, "the environment files up to here are too large together", None);
                        return environment;
                    }
                    for (name, value) in variables.iter() {
                        let what = format!("`{}` of this file", brief(name));
                        self.check_token(file.node, &what, &format!("{name}={value}"));
                    }
                    environment.extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
                Err(fault) => self.file_problem(file.node, fault),
            }
        }
        environment.extend(self.options.env_vars.iter().cloned());
        environment
    }

    fn file_problem(&mut self, node: NodeId, fault: FileFault) {
        match fault {
            FileFault::Known => {}
            FileFault::Open(error) => {
                let hint =
                    "a path is relative to the folder the pipe runs in; commit the file, or pass it as an artifact"
                        .to_owned();
                self.problem(node, &error.to_string(), Some(hint));
            }
            FileFault::Content(problems) => {
                for problem in problems {
                    self.add(problem);
                }
            }
        }
    }

    /// The file's, else the template's where that is there.
    fn process(&mut self, fields: &Fields) -> Option<String> {
        let own = non_empty(fields.process.as_ref());
        let Some(language) = &fields.language else {
            return own;
        };
        if own.is_some() || language.value.is_empty() || language.value.eq_ignore_ascii_case("dockerfile") {
            return own;
        }
        match self.files.template_process(self.source, &language.value) {
            Ok(process) => process.filter(|process| !process.is_empty()).inspect(|process| {
                self.check_token(language.node, "the template's `fprocess`", process);
            }),
            Err(fault) => {
                self.file_problem(language.node, fault);
                None
            }
        }
    }

    /// The option's, then those of the file that are not among them.
    fn secrets(&self, own: &[Text]) -> Vec<String> {
        let given = &self.options.secrets;
        let own = own.iter().map(|text| &text.value).filter(|name| !given.contains(name));
        given.iter().chain(own).cloned().collect()
    }
}

fn non_empty(text: Option<&Text>) -> Option<String> {
    text.map(|text| text.value.clone()).filter(|value| !value.is_empty())
}

fn overlay(own: &BTreeMap<String, Entry>, given: &[(String, String)]) -> BTreeMap<String, String> {
    let own = own.iter().map(|(name, entry)| (name.clone(), entry.value.clone()));
    own.chain(given.iter().cloned()).collect()
}
