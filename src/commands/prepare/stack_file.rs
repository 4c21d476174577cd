//! Reads the stack file, from a path or a URL.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use url::Url;

use super::Preparation;
use super::token_guard::Tokens;
use crate::config::{self, Config, Deploy, Selection, TagFormat};
use crate::diagnostic::Diagnostic;
use crate::files::input;
use crate::function::FunctionName;
use crate::http::client::SafeUrl;
use crate::http::fetch::{self, fetch};
use crate::image_tag::git::{self, Warning};
use crate::image_tag::handler_digest;
use crate::stack::envsubst::Variables;
use crate::stack::owner_label;
use crate::stack::{self, Stack, Surroundings, Tag};

/// The default names, as in faas-cli.
pub(crate) const STACK_FILES: [&str; 2] = ["stack.yaml", "stack.yml"];

impl Preparation<'_> {
    /// Reads the stack file that the variables select; `deploy` has priority over what the file says.
    pub(super) async fn stack(&mut self, selection: &Selection, deploy: Option<&Deploy>) -> Option<Loaded> {
        let source = match self.source(selection).await {
            Ok(source) => source?,
            Err(error) => {
                self.problem("STACK_FILE", error);
                self.warn(&BTreeSet::new());
                return None;
            }
        };
        let tag = self.tag(selection.tag_format.clone(), &source.base);
        let options = stack::Options { tag, ..selection.options.clone() };
        let substituted = RefCell::default();
        let tokens = Tokens::new(self.environment);
        let surroundings = Surroundings {
            variables: Variables {
                value: &|name| {
                    BTreeSet::insert(&mut substituted.borrow_mut(), name.to_owned());
                    self.environment.get(name).map(str::to_owned)
                },
                is_secret: &|name| config::is_secret(self.environment, name),
            },
            folder_digest: &|folder| {
                handler_digest::folder(folder).map_err(|error| format!("{error}; {}", error.hint()).into())
            },
            token_fault: &|text| deploy.and_then(|_| tokens.fault(text)),
        };
        let read = stack::read(&source, &options, &surroundings);
        let substituted = substituted.take();
        for name in substituted.iter().filter(|name| self.environment.is_garbled(name)) {
            self.variables.add(name, config::NOT_UTF8);
        }
        if deploy.is_some() {
            tokens.check_variables(&options, &mut self.variables);
        }
        let mut stack = match read {
            Ok(stack) => stack,
            Err(problems) => {
                self.warn_of_stack(&substituted, &problems.warnings);
                self.stack = problems.problems;
                return None;
            }
        };
        self.warn_of_stack(&substituted, &stack.warnings);
        let path = self.shown_path(&source);
        let owner = deploy.and_then(|deploy| deploy.owner.as_deref());
        let owner = owner.map(|repository| owner_label::value(repository, owner_label::identity(&path)));
        if let Some(owner) = &owner {
            for function in &mut stack.functions {
                function.deployment.labels.insert(owner_label::LABEL.to_owned(), owner.clone());
            }
        }
        Some(Loaded { path, stack, owner })
    }

    /// [`Preparation::stack`] for a command that can do without one: if it is wrong, there are only warnings.
    pub(super) async fn stack_if_any(&mut self, deploy: &Deploy) -> Option<Loaded> {
        // Images do not matter here, so that nothing has to be known of the commit.
        let selection = Selection { tag_format: TagFormat::Latest, ..deploy.selection.clone() };
        let exists = |name: &&str| input::find(name, self.config.places.clone_dir.as_deref()).is_ok();
        if selection.stack_file.is_none() && !STACK_FILES.iter().any(exists) {
            self.warn(&BTreeSet::new());
            return None;
        }
        let before = std::mem::take(&mut self.variables);
        let loaded = self.stack(&selection, Some(deploy)).await;
        let wrong = std::mem::replace(&mut self.variables, before);
        for line in wrong.lines() {
            tracing::warn!("{line}");
        }
        for problem in std::mem::take(&mut self.stack) {
            tracing::warn!("{problem}");
        }
        loaded
    }

    fn warn_of_stack(&mut self, substituted: &BTreeSet<String>, warnings: &[stack::FileProblem]) {
        self.warn(substituted);
        warnings.iter().for_each(|warning| warning.diagnostic.log());
    }

    /// The stack file's text, from a path or a URL; `None` if it is not fetched because variables are wrong.
    async fn source(&self, selection: &Selection) -> Result<Option<stack::Source>, Diagnostic> {
        let clone_dir = self.config.places.clone_dir.as_deref();
        let (path, base) = match selection.stack_file.as_deref() {
            None => STACK_FILES.iter().find_map(|name| input::find(name, clone_dir).ok()).ok_or_else(|| {
                Diagnostic::error(
                    "neither `stack.yaml` nor `stack.yml` is in the working directory or the clone directory: write the \
                     stack file's path",
                )
            })?,
            Some(url) if url.starts_with("http://") => {
                let shown = Url::parse(url).map_or_else(|_| String::new(), |url| format!("`{}` ", SafeUrl(&url)));
                return Err(Diagnostic::error(format!("{shown}is not encrypted: write an `https://` URL")));
            }
            Some(url) if url.starts_with("https://") => return self.fetched(url).await,
            Some(path) => input::find(path, clone_dir)?,
        };
        let text = input::read(&path, stack::MAX_FILE)?;
        let clone_dir = clone_dir.map(Path::to_owned);
        Ok(Some(stack::Source { name: path.display().to_string(), text, base, is_remote: false, clone_dir }))
    }

    async fn fetched(&self, url: &str) -> Result<Option<stack::Source>, Diagnostic> {
        // The URL is not quoted: it may be invalid because of a password in it.
        let url = Url::parse(url).map_err(|error| Diagnostic::error(format!("is not a URL: {error}")))?;
        if self.is_rejected {
            return Ok(None);
        }
        let ca_cert = self.ca_cert().map_err(|error| Diagnostic::error(format!("`CA_CERT`: {error}")))?;
        let Config { timeout, retries, .. } = *self.config;
        let limits = fetch::Limits { timeout, retries, size: stack::MAX_FILE };
        let text = tokio::select! {
            text = fetch(&url, ca_cert.as_ref(), limits, self.shutdown) => text?,
            _ = self.shutdown.grace_over() => return Err(Diagnostic::error("the run was stopped")),
        };
        let name = SafeUrl(&url).to_string();
        Ok(Some(stack::Source { name, text, base: ".".into(), is_remote: true, clone_dir: None }))
    }

    /// What `TAG_FORMAT` makes of image names.
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
                    Diagnostic::warning(warning.to_string()).with_hint(Warning::HINT).log();
                }
                Tag::Version(version)
            }
            Err(error) => {
                self.problem("TAG_FORMAT", format!("{error}; {}", error.hint()));
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
        let is_url = source.name.starts_with("https://");
        relative().filter(|_| !is_url).unwrap_or_else(|| source.name.clone())
    }
}

/// A path without `.` and `..`, links not followed; `None` if it leads out of where it starts.
pub(crate) fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop().then_some(())?;
            }
            part => clean.push(part),
        }
    }
    Some(clean)
}

/// A stack file that was read.
pub(crate) struct Loaded {
    /// Relative to the clone directory, if it is in it.
    pub(crate) path: String,
    pub(crate) stack: Stack,
    /// The value of the label that all its functions carry (`OWNER_LABEL`).
    pub(crate) owner: Option<String>,
}

impl Loaded {
    /// All functions of the stack file, selected or not: `PRUNE` leaves them alone.
    pub(crate) fn named(&self) -> &[FunctionName] {
        &self.stack.named
    }

    /// The functions that are selected, by namespace and name.
    pub(crate) fn names(&self) -> impl Iterator<Item = FunctionName> {
        self.stack.functions.iter().map(|function| FunctionName::from(&function.deployment))
    }
}
