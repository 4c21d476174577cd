//! Functions put together from a stack file, environment files and the pipe's options, as `faas-cli deploy` does, and checked, also
//! for slips: misspelt fields, files of other tools, typing errors.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ops::Range;
use std::rc::Rc;

use super::decode::{Decoder, Entry, Pair, Text};
use super::diagnostics::{Findings, SourceMap};
use super::envsubst::OWN_SECRET;
use super::kubernetes::{Rule, request_above_limit};
use super::schema::{self, AMOUNTS, Amounts, FIELDS, Fields, Root, UNUSED, Unknown, nearest, synonym};
use super::yaml::{Document, Meaning, NodeId};
use super::{Context, Function, Options, Source, Tag};
use crate::console::log::{quote, shown_later, whole_or_length};
use crate::diagnostic::{Diagnostic, Severity};
use crate::function::FunctionName;
use crate::function::api::{Deployment, Resources};
use crate::function::image::{self, Reference};
use crate::function::outcome::Location;
use crate::text::{self, variable_name};

const WRITE_IMAGE: &str = "write `image: registry.example.com/name:tag`";

/// The first characters of fields that people add on purpose, as Docker Compose and GitLab have them.
const EXTENSIONS: [&str; 2] = ["x-", "."];

/// Fields that a function works without.
const METADATA: [&str; 2] = ["labels", "annotations"];

/// Files that people take for stack files, by the fields that all of a kind have.
const OTHER_FILES: [(&[&str], &str); 8] = [
    (&["apiVersion", "kind"], "a Kubernetes resource"),
    (&["services"], "a Docker Compose file"),
    (&["pipelines"], "the configuration of Bitbucket Pipelines"),
    (&["jobs"], "the configuration of another CI system"),
    (&["resolver"], "a file of Haskell's `stack`"),
    (&["snapshot"], "a file of Haskell's `stack`"),
    (&["environment"], "an environment file"),
    (&["language"], "the `template.yml` of a template"),
];

/// The variables of an environment file, or the `fprocess` of a template.
pub(super) type Entries = BTreeMap<String, Entry>;

pub(super) struct Resolver<'a> {
    pub(super) source: &'a Source,
    pub(super) options: &'a Options,
    pub(super) context: &'a Context<'a>,
    pub(super) source_map: SourceMap<'a>,
    pub(super) document: &'a Document,
    /// The values of the files that were read so far, by whether each is a template, and by its name; `None` if it cannot be used.
    pub(super) files: BTreeMap<(bool, String), Option<Rc<Entries>>>,
    /// The problems reported of nodes that several functions may share.
    pub(super) reported: BTreeSet<(NodeId, String)>,
    pub(super) found: &'a mut Findings,
    /// All functions, selected or not.
    pub(super) named: Vec<FunctionName>,
    /// Values that the run does not use.
    pub(super) unused: Vec<NodeId>,
}

impl Resolver<'_> {
    /// The selected functions; what is wrong is in `found`.
    pub(super) fn functions(&mut self) -> (Root, Vec<Function>) {
        let mut decoder = Decoder::new(self.document, self.source_map);
        let root = schema::root(&mut decoder, self.document.root());
        let mut functions = Vec::new();
        let is_root_whole = decoder.found.is_empty();
        self.check_options();
        self.check_fields(&root.unknown);
        for pair in &root.functions {
            let before = decoder.found.len();
            let fields = schema::function(&mut decoder, pair.value, &pair.name);
            self.named.push(FunctionName::new(&pair.name, self.namespace(&fields)));
            if !self.options.selects(&pair.name) {
                self.unused.push(pair.value);
                continue;
            }
            self.note_unused(&fields);
            if decoder.is_exhausted || self.is_full() {
                continue;
            }
            // What is wrong with a function may be why it has no image.
            let is_whole = decoder.found.len() == before;
            let function = self.function(pair, &fields, is_whole);
            if !self.found.has_errors() && decoder.found.is_empty() {
                functions.push(function);
            }
        }
        self.found.extend(decoder.found);
        self.unused.extend(decoder.unused);
        self.unused.extend(root.gateway_node.filter(|_| self.options.has_gateway));
        if let Some(problem) = self.another_file(&root) {
            self.found.replace(self.source_map.file.problem_of_all(problem));
        } else if is_root_whole {
            self.check_root(&root);
            if root.functions.is_empty() && !root.lists_near("functions") {
                let message = format!("`{}` has no functions", self.source_map.file.name);
                let hint = "write `functions:` with the name of a function and its `image:` below it";
                self.found.add(self.source_map.file.problem_of_all(Diagnostic::error(message).with_hint(hint)));
            }
        }
        (root, functions)
    }

    /// Fields that faas-cli reads, but this run does not.
    fn note_unused(&mut self, fields: &Fields) {
        let is_unused = |name: &str| match name {
            "handler" => self.options.tag != Tag::Digest,
            // The template is only read for its `fprocess`.
            "lang" => non_empty(fields.process.as_ref()).is_some(),
            _ => false,
        };
        let unused = fields.pairs.iter().filter(|pair| is_unused(&pair.name)).map(|pair| pair.value);
        self.unused.extend(unused.collect::<Vec<_>>());
    }

    /// The places of the values that the run does not use, in bytes of the text.
    pub(super) fn unused(&self) -> Vec<Range<usize>> {
        let text = &self.source_map.substituted.text;
        // Through an alias, a value may be used after all.
        let nodes = self.unused.iter().filter(|node| !self.document.has_alias(**node));
        let extents = nodes.map(|node| self.document.extent(*node)).map(|Range { start, end }| {
            // A value that is nothing has its place at the colon of its name.
            let blank =
                text.get(end..).unwrap_or_default().bytes().take_while(|byte| b": \t\"'".contains(byte)).count();
            start..end + blank
        });
        extents.collect()
    }

    pub(super) fn is_full(&self) -> bool {
        !self.found.has_room(Severity::Error)
    }

    pub(super) fn problem(&mut self, node: NodeId, message: &str, hint: &str) {
        self.report(node, Diagnostic::error(message).with_hint(hint));
    }

    pub(super) fn report(&mut self, node: NodeId, diagnostic: Diagnostic) {
        if self.found.has_room(diagnostic.severity) && self.reported.insert((node, diagnostic.message.clone())) {
            self.found.add(self.source_map.problem(self.document.written(node), diagnostic));
        }
    }

    fn check_root(&mut self, root: &Root) {
        match &root.provider_name {
            Some(name) if name.value == "openfaas" => {}
            Some(name) => {
                let message = format!("`provider.name` must be `openfaas`, not `{}`", whole_or_length(&name.value));
                self.problem(name.node, &message, "write `name: openfaas`");
            }
            None if root.lists_near("provider") => {}
            None => {
                let message = format!("{}: `provider.name` is missing", self.source_map.file.name);
                let problem = Diagnostic::error(message).with_hint("write\nprovider:\n  name: openfaas");
                self.found.add(self.source_map.file.problem_of_all(problem));
            }
        }
        if let Some(version) = &root.version
            && !matches!(version.value.as_str(), "" | "1.0")
        {
            let message = format!("`version` must be `1.0`, not `{}`", whole_or_length(&version.value));
            self.problem(version.node, &message, "write `version: 1.0`");
        }
    }

    /// Puts a function together; if the stack file is wrong about it, only what it has is checked.
    fn function(&mut self, pair: &Pair, fields: &Fields, is_whole: bool) -> Function {
        self.check_fields(&fields.unknown);
        let image = self.image(pair, fields, is_whole);
        self.check_texts(pair, fields);
        let env_vars = self.environment(fields);
        let env_process = self.process(fields);
        let resources = |amounts: &Amounts| {
            let (memory, cpu) = (non_empty(amounts.memory.as_ref()), non_empty(amounts.cpu.as_ref()));
            (memory.is_some() || cpu.is_some()).then_some(Resources { memory, cpu })
        };
        // The option's, then those of the file that are not among them.
        let given = &self.options.secrets;
        // Named twice, it would be mounted twice.
        let own = fields.secrets.iter().map(|text| &text.value).filter(|name| !given.contains(name));
        let deployment = Deployment {
            service: pair.name.clone(),
            image,
            namespace: self.namespace(fields),
            env_process,
            env_vars,
            constraints: match &fields.constraints {
                Some(own) => own.iter().map(|text| text.value.clone()).collect(),
                None => self.options.constraints.clone(),
            },
            secrets: given.iter().chain(own).cloned().collect(),
            labels: overlay(&fields.labels, &self.options.labels),
            annotations: overlay(&fields.annotations, &self.options.annotations),
            limits: resources(&fields.limits),
            requests: resources(&fields.requests),
            read_only_root_filesystem: fields.read_only || self.options.read_only,
        };
        let lines = fields.pairs.iter().map(|pair| (pair.name.clone(), self.line(pair.key))).collect();
        let location = Location { file: self.source_map.file.name.as_str().into(), line: self.line(pair.key) };
        Function { deployment, location, lines }
    }

    fn namespace(&self, fields: &Fields) -> Option<String> {
        let own = || non_empty(fields.namespace.as_ref());
        self.options.namespace.clone().or_else(own).or_else(|| self.options.default_namespace.clone())
    }

    fn line(&self, node: NodeId) -> usize {
        self.source_map.line(self.document.written(node).start)
    }

    fn image(&mut self, pair: &Pair, fields: &Fields, is_whole: bool) -> String {
        let name = shown_later(&pair.name);
        let Some(text) = fields.image.as_ref().filter(|text| !text.value.is_empty()) else {
            if is_whole {
                let node = fields.pairs.iter().find(|pair| pair.name == "image").map_or(pair.key, |image| image.value);
                self.problem(node, &format!("function `{name}` has no image"), WRITE_IMAGE);
            }
            return String::new();
        };
        if let Some(fault) = Reference::parse(&text.value).err() {
            let bare = text.value.split_once("://").map(|(_, name)| name).filter(|name| Reference::parse(name).is_ok());
            let without_scheme = || bare.map(|name| format!("write `image: {}`", whole_or_length(name)));
            let hint = self.slip(&text.value).or_else(without_scheme).unwrap_or_else(|| WRITE_IMAGE.to_owned());
            self.problem(text.node, &invalid_image(&text.value, fault), &hint);
            return String::new();
        }
        let mut digest = String::new();
        if self.options.tag == Tag::Digest {
            match self.digest(fields) {
                Ok(found) => digest = found,
                Err(error) => {
                    let node = fields.handler.as_ref().map_or(pair.key, |text| text.node);
                    let error = quote(&error.to_string());
                    let message = format!("`TAG_FORMAT: digest` needs the handler of `{name}`: {error}");
                    let hint = "write `handler:` with the function's folder, or use another `TAG_FORMAT`";
                    self.problem(node, &message, hint);
                    return String::new();
                }
            }
        }
        let tagged = image::tagged(&text.value, &self.options.tag, &digest);
        if let Some(fault) = Reference::parse(&tagged).err() {
            let message = format!("with `TAG_FORMAT`, {}", invalid_image(&tagged, fault));
            let hint = "use `TAG_FORMAT: sha` if the branch or git tag has a character that no image tag can have, such as `/`; \
                        leave `TAG_FORMAT` out if the image has a digest";
            self.problem(text.node, &message, hint);
        }
        tagged
    }

    fn digest(&self, fields: &Fields) -> Result<String, Box<dyn Error>> {
        let handler = non_empty(fields.handler.as_ref()).ok_or("`handler` is missing")?;
        if self.source.url.is_some() {
            return Err("a stack file from a URL cannot name local folders".into());
        }
        (self.context.folder_digest)(&self.source.path(&handler))
    }

    fn check_options(&mut self) {
        for (variable, rule, text) in self.options.texts() {
            if let Some(violation) = rule.check(text) {
                self.found.add(violation.at(format!("`{variable}`")));
            }
        }
    }

    /// Checks all texts of a function, but for its image, against the rules of Kubernetes, and for the step's tokens.
    fn check_texts(&mut self, pair: &Pair, fields: &Fields) {
        // One that the option replaces is not sent.
        let namespace = if self.options.namespace.is_some() { Rule::Any } else { Rule::Namespace };
        let Fields { image, namespace: own, process, limits, requests, secrets, constraints, .. } = fields;
        let single = [
            (own, namespace),
            (image, Rule::Any),
            (process, Rule::Any),
            (&limits.memory, Rule::Memory),
            (&limits.cpu, Rule::Cpu),
            (&requests.memory, Rule::Memory),
            (&requests.cpu, Rule::Cpu),
        ];
        let single = single.into_iter().filter_map(|(text, rule)| Some((text.as_ref()?, rule)));
        let secrets = secrets.iter().map(|text| (text, Rule::SecretName));
        let constraints = constraints.iter().flatten().map(|text| (text, Rule::Any));
        let mut texts: Vec<(NodeId, Rule, &str)> = vec![(pair.key, Rule::FunctionName, &pair.name)];
        let values = single.chain(secrets).chain(constraints);
        texts.extend(values.map(|(text, rule)| (text.node, rule, text.value.as_str())));
        let maps = [
            (&fields.environment, Rule::VariableName, Rule::Any),
            (&fields.labels, Rule::LabelKey, Rule::LabelValue),
            (&fields.annotations, Rule::AnnotationKey, Rule::Any),
        ];
        for (map, of_key, of_value) in maps {
            for (name, entry) in map {
                texts.extend([(entry.key, of_key, name.as_str()), (entry.node, of_value, entry.value.as_str())]);
            }
        }
        for (node, rule, text) in texts {
            if let Some(found) = rule.check(text) {
                // Whoever typed a wrong quote needs to hear of it, not what names may contain.
                let hint = self.slip(text).or_else(|| found.hint.clone());
                self.report(node, Diagnostic { hint, ..found });
            } else {
                self.check_slip(node, text);
            }
            self.check_token(node, "this", text);
        }
        for (what, request, limit) in
            [("memory", &requests.memory, &limits.memory), ("CPU", &requests.cpu, &limits.cpu)]
        {
            if let (Some(request), Some(limit)) = (request, limit)
                && let Some(found) = request_above_limit(what, &request.value, &limit.value)
            {
                self.report(request.node, found);
            }
        }
    }

    /// Refuses fields that faas-cli would silently ignore and that look like others, if the function would lack something without
    /// them, and warns about all others.
    fn check_fields(&mut self, unknown: &[Unknown]) {
        for Unknown { pair: Pair { name, key, value }, owner, known } in unknown {
            let message = format!("unknown field `{}` in {owner}", whole_or_length(name));
            if let Some(odd) = text::odd_character(name) {
                self.report(*key, Diagnostic::error(message).with_hint(format!("it contains {odd}")));
            } else if let Some(field) = nearest(name, known) {
                let is_harmless = UNUSED.contains(&field) || METADATA.contains(&field);
                let found = if is_harmless { Diagnostic::warning(message) } else { Diagnostic::error(message) };
                self.report(*key, found.with_hint(format!("write `{field}`")));
            } else if EXTENSIONS.iter().all(|start| !name.starts_with(start)) && !self.document.has_alias(*value) {
                let below = match name.as_str() {
                    field if FIELDS.contains(&field) => Some("write it below a function, in `functions`"),
                    amount if AMOUNTS.contains(&amount) => Some("write it below `limits`"),
                    timeout if timeout.ends_with("_timeout") => Some("write it below `environment`"),
                    _ => None,
                };
                let hint = below.map(str::to_owned).or_else(|| synonym(name).map(|field| format!("write `{field}`")));
                self.report(*key, Diagnostic { hint, ..Diagnostic::warning(format!("{message}: it is ignored")) });
            }
        }
    }

    /// The problem with a file that is no stack file at all; the rules for stack files would only hide it.
    fn another_file(&self, root: &Root) -> Option<Diagnostic> {
        let name = &self.source_map.file.name;
        if self.document.meaning(self.document.root()) == Meaning::Null {
            let hint = "write `provider:` and `functions:`, or the path of another file in `STACK_FILE`";
            return Some(Diagnostic::error(format!("`{name}` is empty")).with_hint(hint));
        }
        if !root.functions.is_empty() || root.provider_name.is_some() {
            return None;
        }
        let has = |field: &&str| root.unknown.iter().any(|unknown| unknown.pair.name == **field);
        let (_, what) = OTHER_FILES.iter().find(|(fields, _)| fields.iter().all(has))?;
        let hint = "write the stack file's path in `STACK_FILE`";
        Some(Diagnostic::error(format!("`{name}` is {what}, not a stack file")).with_hint(hint))
    }

    /// The slip that makes a text invalid.
    fn slip(&self, text: &str) -> Option<String> {
        if let Some(odd) = text::odd_character(text) {
            return Some(format!("it contains {odd}"));
        }
        if self.options.is_literal {
            return None;
        }
        if let Some(reference) = text::bare_reference(text) {
            return Some(format!("`{reference}` is substituted only with braces: write `${{{}}}`", &reference[1..]));
        }
        text::placeholder(text).map(not_filled_in)
    }

    /// Warns about a text that is valid, but not what its author sees.
    fn check_slip(&mut self, node: NodeId, text: &str) {
        if let Some(quotes) = text::typographic_quotes(text) {
            return self.report(node, Diagnostic::warning(format!("this contains {quotes}")));
        }
        let name = variable_name(text).filter(|_| !text.contains('{') && !self.options.is_literal);
        // `$$NAME` is how the text `$NAME` is written.
        let is_escaped = || self.source_map.file.source.contains(&format!("${}", text.trim()));
        if let Some(name) = name.filter(|name| !is_escaped() && (self.context.variables.value)(name).is_some()) {
            let message = format!("`${name}` is not substituted, although the variable is set");
            let hint = format!("write `${{{name}}}`, or `$${name}` for the text itself");
            return self.report(node, Diagnostic::warning(message).with_hint(hint));
        }
        // In angle brackets is HTML, and `$${NAME}` is how the text `${NAME}` is written.
        let is_reported = self.reported.range((node, String::new())..).next().is_some_and(|(known, _)| *known == node);
        let whole = text::placeholder(text)
            .filter(|_| !is_reported)
            .filter(|found| *found == text.trim() && !found.starts_with(['<', '`']));
        if let Some(placeholder) = whole.filter(|found| !found.starts_with("${") && !self.options.is_literal) {
            self.report(node, Diagnostic::warning(not_filled_in(placeholder)));
        }
    }

    /// Refuses a text that contains one of the step's tokens, whatever name it came in under.
    pub(super) fn check_token(&mut self, node: NodeId, what: &str, text: &str) {
        if let Some(fault) = (self.context.token_fault)(text) {
            self.problem(node, &format!("{what} {fault}"), OWN_SECRET);
        }
    }
}

impl Options {
    /// The texts that variables put into every function, each with its variable and the rule for it.
    pub(crate) fn texts(&self) -> Vec<(&'static str, Rule, &str)> {
        let mut texts: Vec<(_, _, &str)> = Vec::new();
        for (variable, name) in [("OPENFAAS_NAMESPACE", &self.namespace), ("OPENFAAS_NS", &self.default_namespace)] {
            texts.extend(name.iter().map(|name| (variable, Rule::Namespace, name.as_str())));
        }
        for (variable, of_key, of_value, pairs) in [
            ("ENV_VARS", Rule::VariableName, Rule::Any, &self.env_vars),
            ("LABELS", Rule::LabelKey, Rule::LabelValue, &self.labels),
            ("ANNOTATIONS", Rule::AnnotationKey, Rule::Any, &self.annotations),
        ] {
            texts.extend(
                pairs.iter().flat_map(|(key, value)| [(variable, of_key, &**key), (variable, of_value, value)]),
            );
        }
        texts.extend(self.secrets.iter().map(|name| ("SECRETS", Rule::SecretName, name.as_str())));
        texts.extend(self.constraints.iter().map(|text| ("CONSTRAINTS", Rule::Any, text.as_str())));
        texts
    }
}

/// The problem with a template of another program.
fn not_filled_in(placeholder: &str) -> String {
    format!("`{}` is not filled in: the pipe substitutes only `${{NAME}}`", whole_or_length(placeholder))
}

pub(super) fn invalid_image(image: &str, fault: &str) -> String {
    format!("invalid image name `{}`: {fault}", whole_or_length(image))
}

pub(super) fn non_empty(text: Option<&Text>) -> Option<String> {
    text.map(|text| text.value.clone()).filter(|value| !value.is_empty())
}

pub(super) fn overlay(own: &BTreeMap<String, Entry>, given: &[(String, String)]) -> BTreeMap<String, String> {
    let own = own.iter().map(|(name, entry)| (name.clone(), entry.value.clone()));
    own.chain(given.iter().cloned()).collect()
}
