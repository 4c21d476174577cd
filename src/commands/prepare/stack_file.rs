//! Reads the stack files, from paths and URLs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use url::Url;

use super::secrets::{Tokens, WantedSecret};
use super::stack_paths::{StackPath, fetch, named_files};
use super::{Preparation, Rejected};
use crate::config::{self, Credentials, Deploy, Selection, TagFormat, Task};
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain as _, Severity};
use crate::files::input::{self, without_dots};
use crate::function::FunctionName;
use crate::function::image::Reference;
use crate::gateway::Gateway;
use crate::gateway::provider::Provider;
use crate::http::client::SafeUrl;
use crate::image_tag::git;
use crate::image_tag::handler_digest;
use crate::stack::envsubst::Lookup;
use crate::stack::{self, Context, Function, Stack, Tag, labels};
use crate::text::count;

/// More names are not listed in a warning.
const MOST_NAMES: usize = 10;

/// The default names, as in faas-cli.
pub(crate) const STACK_FILES: [&str; 2] = ["stack.yaml", "stack.yml"];

impl Preparation<'_> {
    /// Reads the stack files that the variables select; `deploy` has priority over what they say.
    pub(super) async fn stack(&mut self, selection: &Selection, deploy: Option<&Deploy>) -> Option<Loaded> {
        let sources = self.sources(selection).await;
        self.problems.files = sources.len();
        let tag = sources.first().map(|source| self.tag(selection.tag_format.clone(), &source.base));
        let options = stack::Options { tag: tag.unwrap_or_default(), ..selection.options.clone() };
        let mut loaded = Loaded::default();
        let mut found = Vec::new();
        let mut substituted = BTreeSet::new();
        for source in &sources {
            let of_file = match self.read(source, &options, deploy.is_some(), &mut substituted) {
                Ok(mut stack) => {
                    let (path, warnings) = (self.shown_path(source), std::mem::take(&mut stack.warnings));
                    let owner = deploy.and_then(|deploy| deploy.owner.as_deref()).map(|repository| {
                        labels::owner(repository, &source.url.as_ref().map_or_else(|| path.clone(), labels::identity))
                    });
                    loaded.add(path.into(), stack, owner);
                    warnings
                }
                Err(problems) => problems,
            };
            for diagnostic in of_file {
                // What is about the variables is the same for each file.
                if !found.contains(&diagnostic) {
                    found.push(diagnostic);
                }
            }
        }
        for name in substituted.iter().filter(|name| self.environment.is_garbled(name)) {
            self.problems.variables.add(name, config::NOT_UTF8);
        }
        if deploy.is_some() {
            Tokens::new(self.environment).check_variables(&options, &mut self.problems.variables);
        }
        found.extend(loaded.duplicates());
        let (mut problems, warnings): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
        if let Some(selector) = &options.selector
            && !self.problems.variables.concerns(selector.variable())
            && problems.is_empty()
            && !loaded.files.is_empty()
            && loaded.functions.is_empty()
        {
            let shown = loaded.files.iter().filter(|file| file.stack.is_shown);
            problems.push(selector.selects_none(shown.map(|file| (&*file.path, &file.stack.named[..]))));
        }
        if let Some(labels) = deploy.and_then(|deploy| deploy.git_labels.as_ref()) {
            loaded.functions.iter_mut().for_each(|function| labels.add_to(&mut function.deployment));
        }
        self.warn(&substituted);
        self.warn_of_own(&options, &loaded);
        let is_deploy = matches!(&self.config.task, Task::Deploy(deploy) if !deploy.dry_run);
        let (refused, warnings): (Vec<_>, Vec<_>) =
            warnings.into_iter().partition(|warning| is_deploy && stack::is_refused_silently(warning));
        warnings.iter().for_each(Diagnostic::log);
        match &self.config.credentials {
            // A gateway that exchanges tokens is OpenFaaS for Enterprises, on Kubernetes.
            Credentials::IdToken => problems.extend(refused.into_iter().map(Diagnostic::into_error)),
            Credentials::Password { .. } => loaded.refused = refused,
        }
        self.problems.stack = problems;
        (self.problems.stack.is_empty() && !loaded.files.is_empty()).then_some(loaded)
    }

    /// Warns of variables that functions do not follow, since the stack file has its own word.
    fn warn_of_own(&self, options: &stack::Options, loaded: &Loaded) {
        let names = |is_own: &dyn Fn(&Function) -> bool| {
            let own = loaded.functions.iter().filter(|function| is_own(function));
            log::names(own.map(|function| &function.deployment.service), MOST_NAMES)
        };
        let is_writable = self.environment.text("READ_ONLY").is_some() && !options.read_only;
        for (variable, names) in [
            ("CONSTRAINTS", names(&|function| !options.constraints.is_empty() && function.sets("constraints"))),
            ("READ_ONLY", names(&|function| is_writable && function.deployment.read_only_root_filesystem)),
        ] {
            if !names.is_empty() {
                tracing::warn!(
                    "`{variable}` has no effect on functions for which the stack file says otherwise: {names}"
                );
            }
        }
    }

    /// Reads one stack file, and adds the names of the variables that it substitutes.
    fn read(
        &self,
        source: &stack::Source,
        options: &stack::Options,
        is_deployed: bool,
        substituted: &mut BTreeSet<String>,
    ) -> Result<Stack, Vec<Diagnostic>> {
        let names = RefCell::new(substituted);
        let tokens = Tokens::new(self.environment);
        let context = Context {
            variables: Lookup {
                value: &|name| {
                    names.borrow_mut().insert(name.to_owned());
                    self.environment.get(name).map(str::to_owned)
                },
                is_secret: &|name| config::is_secret(self.environment, name),
            },
            folder_digest: &|folder| handler_digest::folder(folder).map_err(|error| error.in_one_line().into()),
            token_fault: &|text| is_deployed.then(|| tokens.fault(text)).flatten(),
        };
        stack::read(source, options, &context)
    }

    /// [`Preparation::stack`] for a command that can do without one: what is wrong with it does not end the run.
    pub(super) async fn stack_if_any(&mut self, deploy: &Deploy) -> Option<Loaded> {
        // Images do not matter here, so that nothing has to be known of the commit.
        let selection = Selection { tag_format: TagFormat::Latest, ..deploy.selection.clone() };
        let exists = |name: &&str| input::find(name, self.config.places.clone_dir.as_deref()).is_ok();
        if selection.stack_files.is_empty() && !STACK_FILES.iter().any(exists) {
            self.warn(&BTreeSet::new());
            return None;
        }
        let before = std::mem::take(&mut self.problems.variables);
        let loaded = self.stack(&selection, Some(deploy)).await;
        let wrong = std::mem::replace(&mut self.problems.variables, before);
        let problems = wrong.lines().map(Diagnostic::error).chain(std::mem::take(&mut self.problems.stack));
        self.wrong_stack = Diagnostic::worst(problems.inspect(Diagnostic::log));
        loaded
    }

    /// The texts of the stack files; what is wrong is added to the problems.
    async fn sources(&mut self, selection: &Selection) -> Vec<stack::Source> {
        let clone_dir = self.config.places.clone_dir.clone();
        let mut sources: Vec<stack::Source> = Vec::new();
        let mut problems = Vec::new();
        for item in named_files(&selection.stack_files, clone_dir.as_deref(), &mut problems) {
            let source = match item {
                StackPath::Url(url) => self.fetched(&url).await,
                StackPath::File { path, base } => {
                    let (name, clone_dir) = (path.display().to_string(), clone_dir.clone());
                    let text = input::read(&path, stack::MAX_FILE).map_err(Diagnostic::from);
                    text.map(|text| Some(stack::Source { name, text, base, url: None, clone_dir }))
                }
            };
            let named = |source: &stack::Source| (self.shown_path(source), source.url.clone());
            match source {
                // Two patterns may match one file.
                Ok(Some(source)) if sources.iter().any(|other| named(other) == named(&source)) => {}
                Ok(source) => sources.extend(source),
                Err(error) => problems.push(error),
            }
        }
        // All of them, unless the variable itself is wrong.
        if !self.problems.variables.concerns("STACK_FILE") {
            problems.into_iter().for_each(|problem| self.problems.variables.add("STACK_FILE", problem));
        }
        sources
    }

    async fn fetched(&mut self, url: &str) -> Result<Option<stack::Source>, Diagnostic> {
        // The URL is not quoted: it may be invalid because of a password in it.
        let url = Url::parse(url).map_err(|error| Diagnostic::error(format!("is not a URL: {error}")))?;
        if self.is_rejected {
            return Ok(None);
        }
        // What is wrong with it is a problem of its own.
        let Some(ca_cert) = self.ca_cert() else { return Ok(None) };
        let text = tokio::select! {
            text = fetch(&url, ca_cert.as_ref(), self.config, self.shutdown) => text?,
            _ = self.shutdown.grace_over() => return Err(Diagnostic::error("the run was stopped")),
        };
        let name = SafeUrl(&url).to_string();
        Ok(Some(stack::Source { name, text, base: ".".into(), url: Some(url), clone_dir: None }))
    }

    /// The tag that `TAG_FORMAT` gives image names.
    fn tag(&mut self, format: TagFormat, base: &Path) -> Tag {
        let format = match format {
            TagFormat::Described(text) => return Tag::Version(text),
            TagFormat::Latest => return Tag::Latest,
            TagFormat::Digest => return Tag::Digest,
            TagFormat::Git(format) => format,
        };
        let commit = self.environment.text("BITBUCKET_COMMIT");
        let branch = self.environment.text("BITBUCKET_BRANCH");
        match git::version(format, base, commit, branch) {
            Ok((version, warning)) => {
                if let Some(warning) = warning {
                    warning.log();
                }
                Tag::Version(version)
            }
            Err(error) => {
                self.problem("TAG_FORMAT", error.in_one_line());
                Tag::Latest
            }
        }
    }

    /// The stack file's path as Bitbucket's reports name files: relative to the clone directory, if it is in it. Links are
    /// not resolved: two links to one file are two stack files.
    fn shown_path(&self, source: &stack::Source) -> String {
        let relative = || {
            let clone_dir = self.config.places.clone_dir.as_ref()?;
            let directories = [clone_dir.clone(), clone_dir.canonicalize().ok()?];
            let name = std::path::absolute(&source.name).ok()?;
            let path = without_dots(&name)?;
            let relative = directories.iter().find_map(|directory| path.strip_prefix(without_dots(directory)?).ok());
            Some(relative?.display().to_string())
        };
        relative().filter(|_| source.url.is_none()).unwrap_or_else(|| source.name.clone())
    }
}

/// The stack files of a run.
#[derive(Default)]
pub(crate) struct Loaded {
    /// In the order of `STACK_FILE`.
    pub(crate) files: Vec<StackFile>,
    /// The selected functions of all files.
    pub(crate) functions: Vec<Function>,
    /// The secrets that `SECRET_VALUES` and `SECRET_FILES` write.
    pub(crate) secrets: Vec<WantedSecret>,
    /// Warnings that are errors if the provider is on Kubernetes.
    pub(crate) refused: Vec<Diagnostic>,
}

/// A stack file that was read.
pub(crate) struct StackFile {
    /// Relative to the clone directory, if it is in it.
    pub(crate) path: Arc<str>,
    /// The value of the label that all its functions carry (`OWNER_LABEL`).
    pub(crate) owner: Option<String>,
    /// All but its selected functions and its warnings.
    pub(crate) stack: Stack,
}

impl Loaded {
    fn add(&mut self, path: Arc<str>, mut stack: Stack, owner: Option<String>) {
        self.functions.extend(std::mem::take(&mut stack.functions).into_iter().map(|mut function| {
            let label = owner.clone().map(|owner| (labels::OWNER.to_owned(), owner));
            function.deployment.labels.extend(label);
            function.location.file = path.clone();
            function
        }));
        self.files.push(StackFile { path, owner, stack });
    }

    /// The problems of functions that two stack files deploy: the second would replace the first.
    fn duplicates(&self) -> Vec<Diagnostic> {
        let mut places = BTreeMap::new();
        let duplicate = |function: &Function| {
            let name = function.name();
            let place = function.location.clone();
            // Two URLs may be shown in the same way.
            let first = places.insert(name.resource(), place.clone())?;
            let hint =
                "a function belongs to one stack file: remove one of the two, or give it another name or namespace";
            let message = format!("`{}` is in `{first}` too", quote(&name.to_string()));
            Some(Diagnostic::error(message).with_hint(hint).at(place.to_string()))
        };
        self.functions.iter().filter_map(duplicate).collect()
    }

    /// Reports what Kubernetes refuses in the stack files, once the provider is known; the error is that it is on Kubernetes.
    pub(crate) async fn check_refused(&mut self, gateway: &Gateway) -> Result<(), Rejected> {
        let refused = std::mem::take(&mut self.refused);
        if refused.is_empty() || gateway.provider().await == Provider::Faasd {
            refused.iter().for_each(Diagnostic::log);
            return Ok(());
        }
        let stack = refused.into_iter().map(Diagnostic::into_error).collect();
        Err(Rejected { stack, files: self.files.len(), ..Rejected::default() })
    }

    /// The stack file, or how many there are, for the log.
    pub(crate) fn shown(&self) -> String {
        match &self.files[..] {
            [file] => format!("`{}`", file.path),
            files => format!("{} stack files", files.len()),
        }
    }

    /// `2 functions of `stack.yml``.
    pub(crate) fn in_words(&self) -> String {
        format!("{} of {}", count(self.functions.len(), "function"), self.shown())
    }

    pub(crate) fn paths(&self) -> Vec<Arc<str>> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// The images of the functions, but for those whose names are invalid.
    pub(crate) fn images(&self) -> impl Iterator<Item = Reference> {
        self.functions.iter().filter_map(|function| Reference::parse(&function.deployment.image).ok())
    }

    /// The functions that are selected, by namespace and name.
    pub(crate) fn names(&self) -> impl Iterator<Item = FunctionName> {
        self.functions.iter().map(Function::name)
    }
}
