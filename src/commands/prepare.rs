//! What every command begins with: it reads the stack file, finds the gateway, and reports every problem before it sends anything.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use url::Url;

use crate::commands::progress::Reporter;
use crate::commands::session::Session;
use crate::commands::token_guard::Tokens;
use crate::commands::trust::trusted;
use crate::config::{self, Config, Credentials, Deploy, Environment, GatewayUrl, Problems, Selection, TagFormat, Task};
use crate::console::log::quote;
use crate::diagnostic::Diagnostic;
use crate::files::input;
use crate::function::FunctionName;
use crate::function::outcome::Outcome;
use crate::gateway::{self, Authenticator, Gateway};
use crate::http::ca_cert::CaCert;
use crate::http::fetch::{self, fetch};
use crate::image_tag::git;
use crate::image_tag::handler_digest;
use crate::registry::Http;
use crate::shutdown::Shutdown;
use crate::stack::owner_label;
use crate::stack::{self, Stack, Surroundings, Tag};

/// The gateway that faas-cli writes into every new stack file. No pipeline has one there.
const PLACEHOLDER: &str = "http://127.0.0.1:8080";
/// The default names, as in faas-cli.
pub(super) const STACK_FILES: [&str; 2] = ["stack.yaml", "stack.yml"];
/// Larger files hold more than certificates.
const CA_LIMIT: usize = 1024 * 1024;

/// One run of the pipe: its variables, and what is wrong with them and with the files that they name.
pub(crate) struct Run<'a> {
    pub(crate) config: &'a Config,
    pub(crate) shutdown: &'a Shutdown,
    environment: &'a Environment,
    /// Whether variables are wrong: then not even a stack file is fetched.
    is_rejected: bool,
    variables: Problems,
    /// Names that are not a variable; kept apart, since they are errors also if all else about the stack file is a warning.
    names: Problems,
    stack: Vec<stack::FileProblem>,
}

/// What is wrong with variables and stack file; nothing was sent.
pub(crate) struct Rejected {
    variables: Problems,
    stack: Vec<stack::FileProblem>,
}

impl Rejected {
    /// Logs the problems of the stack file, and returns the last line, which has those of the variables.
    pub(crate) fn report(self) -> String {
        self.stack.iter().for_each(|problem| problem.diagnostic.log());
        match self.stack.len() {
            _ if !self.variables.is_empty() => self.variables.report(),
            1 => "1 problem in the stack file, nothing was sent".to_owned(),
            count => format!("{count} problems in the stack file, nothing was sent"),
        }
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new(environment: &'a Environment, config: &'a Config, shutdown: &'a Shutdown) -> Self {
        Self {
            config,
            shutdown,
            environment,
            is_rejected: false,
            variables: Problems::default(),
            names: Problems::default(),
            stack: Vec::new(),
        }
    }

    /// Adds what is wrong with the files that the variables name to what is wrong with the variables.
    pub(crate) async fn reject(mut self, problems: &Problems) -> Rejected {
        self.is_rejected = true;
        self.variables = problems.clone();
        let loaded = self.load().await;
        let is_sent = match &self.config.task {
            Task::Login(_) => false,
            Task::Deploy(deploy) => !deploy.dry_run && !problems.concerns("COMMAND") && !problems.concerns("DRY_RUN"),
            _ => true,
        };
        if is_sent {
            let allow_http = self.config.allow_http || problems.concerns("ALLOW_HTTP");
            self.address(allow_http, loaded.as_ref());
            self.checked_ca_cert();
        }
        self.rejected()
    }

    fn rejected(&mut self) -> Rejected {
        let mut variables = std::mem::take(&mut self.variables);
        variables.append(std::mem::take(&mut self.names));
        Rejected { variables, stack: std::mem::take(&mut self.stack) }
    }

    pub(crate) fn problem(&mut self, name: &str, message: impl ToString) {
        match config::unexpanded(self.environment, name) {
            Some(unexpanded) => self.variables.add(name, unexpanded),
            None => self.variables.add(name, message),
        }
    }

    /// Ends the preparation: returns what was prepared if nothing is wrong.
    pub(crate) fn finish<T>(&mut self, prepared: Option<T>) -> Result<T, Rejected> {
        let rejected = self.rejected();
        let is_valid = rejected.variables.is_empty() && rejected.stack.is_empty();
        prepared.filter(|_| is_valid).ok_or(rejected)
    }

    /// An outcome with nothing in it yet.
    pub(crate) fn outcome(&self, gateway: String) -> Outcome {
        Outcome::new(self.config.task.command(), gateway)
    }

    pub(crate) fn session<'s>(&self, gateway: &'s Gateway, reporter: &'s Reporter<'s>) -> Session<'s>
    where
        'a: 's,
    {
        Session { gateway, shutdown: self.shutdown, parallel: self.config.parallel, reporter }
    }

    /// The gateway; `None` if something is wrong, which [`Run::finish`] returns.
    pub(crate) fn gateway(&mut self, loaded: Option<&Loaded>) -> Option<Gateway> {
        let config = self.config;
        let url = self.address(config.allow_http, loaded);
        if config.tls_no_verify {
            tracing::warn!(
                "`TLS_NO_VERIFY` is set: anyone on the network path can read the token; use `CA_CERT` instead"
            );
        }
        if matches!(config.credentials, Credentials::Password { .. }) {
            tracing::info!("`OPENFAAS_PASSWORD` is set: basic auth is used, not the step's token");
        }
        // `CA_CERT` is checked without an address too, so that all problems are reported at once.
        let ca_cert = self.checked_ca_cert()?;
        let settings = gateway::Settings {
            url: url?,
            ca_cert,
            accept_any_certificate: config.tls_no_verify,
            authenticator: match &config.credentials {
                Credentials::Password { username, password } => Authenticator::password(username, password),
                Credentials::IdToken(token) => Authenticator::id_token(token),
            },
            timeout: config.timeout,
            retries: config.retries,
            parallel: config.parallel,
            facts: config.facts.clone(),
        };
        Gateway::new(settings, self.shutdown).map_err(|error| self.problem("CA_CERT", error)).ok()
    }

    /// The client for registries and clouds; `None` if `CA_CERT` is wrong.
    pub(crate) fn registry_client(&mut self) -> Option<Http> {
        let ca_cert = self.checked_ca_cert()?;
        Http::new(ca_cert.as_ref(), self.config.parallel).map_err(|error| self.problem("CA_CERT", error)).ok()
    }

    /// Reads the stack file if the command needs one. `None` also if something is wrong, which [`Run::finish`] returns.
    pub(crate) async fn load(&mut self) -> Option<Loaded> {
        let config = self.config;
        match &config.task {
            Task::Deploy(deploy) | Task::Diff(deploy) => self.stack(&deploy.selection, Some(deploy)).await,
            Task::Remove(selection) => self.stack(selection, None).await,
            Task::Login(login) if login.registries.is_none() => self.stack(&login.selection, None).await,
            Task::Whoami(whoami) => self.stack_if_any(&whoami.deploy).await,
            Task::Login(_) | Task::Invoke(_) => {
                self.warn(&BTreeSet::new());
                None
            }
        }
    }

    /// Reads the stack file that the variables select; `deploy` has priority over what the file says.
    async fn stack(&mut self, selection: &Selection, deploy: Option<&Deploy>) -> Option<Loaded> {
        let source = match self.source(selection).await {
            Ok(source) => source?,
            Err(error) => {
                self.problem("STACK_FILE", error);
                self.warn(&BTreeSet::new());
                return None;
            }
        };
        let over = deploy.map(|deploy| stack::Options {
            env_vars: deploy.env_vars.clone(),
            labels: deploy.labels.clone(),
            annotations: deploy.annotations.clone(),
            secrets: deploy.secrets.clone(),
            constraints: deploy.constraints.clone(),
            read_only: deploy.read_only,
            prune: deploy.prune,
            ..stack::Options::default()
        });
        let options = stack::Options {
            namespace: selection.namespace.clone(),
            filter: selection.filter.clone(),
            regex: selection.regex.clone(),
            is_literal: !selection.envsubst,
            tag: self.tag(selection.tag_format, &source.base),
            ..over.unwrap_or_default()
        };
        let substituted = RefCell::default();
        let tokens = Tokens::new(self.environment);
        let surroundings = Surroundings {
            variable: &|name| {
                BTreeSet::insert(&mut substituted.borrow_mut(), name.to_owned());
                self.environment.get(name).map(str::to_owned)
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
        if let Some(deploy) = deploy {
            tokens.check_variables(deploy, &mut self.variables);
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

    /// [`Run::stack`] for a command that can do without one: if it is wrong, there are only warnings.
    async fn stack_if_any(&mut self, deploy: &Deploy) -> Option<Loaded> {
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

    /// Warns of variables that are set and probably not what was meant.
    fn warn(&mut self, substituted: &BTreeSet<String>) {
        config::check_names(self.environment, substituted, &mut self.names);
        let command = self.config.task.command();
        for warning in config::warnings(self.environment, command, substituted, &self.variables) {
            tracing::warn!("{warning}");
        }
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
                let shown = Url::parse(url).map_or_else(|_| String::new(), |url| format!("`{}` ", fetch::shown(&url)));
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
        let name = fetch::shown(&url);
        Ok(Some(stack::Source { name, text, base: ".".into(), is_remote: true, clone_dir: None }))
    }

    /// What `TAG_FORMAT` makes of image names.
    fn tag(&mut self, format: TagFormat, base: &Path) -> Tag {
        let format = match format {
            TagFormat::Latest => return Tag::Latest,
            TagFormat::Digest => return Tag::Digest,
            TagFormat::Git(format) => format,
        };
        let commit = self.environment.text("BITBUCKET_COMMIT");
        let branch = self.environment.text("BITBUCKET_BRANCH");
        match git::version(format, base, commit, branch) {
            Ok((version, warning)) => {
                if let Some(warning) = warning {
                    Diagnostic::warning(warning.to_string()).with_hint(warning.hint()).log();
                }
                Tag::Version(version)
            }
            Err(error) => {
                self.problem("TAG_FORMAT", format!("{error}; {}", error.hint()));
                Tag::Latest
            }
        }
    }

    /// The URL of the gateway: `OPENFAAS_URL`, else the one in the stack file.
    fn address(&mut self, allow_http: bool, loaded: Option<&Loaded>) -> Option<Url> {
        let config = self.config;
        let blank = match &config.gateway_url {
            GatewayUrl::Set(url) => return Some(url.clone()),
            GatewayUrl::Wrong => return None,
            GatewayUrl::Unset { blank } => *blank,
        };
        let named = loaded.and_then(|loaded| Some((loaded, loaded.stack.gateway.as_deref()?.trim())));
        let is_named = |(_, url): &(&Loaded, &str)| !url.is_empty() && url.trim_end_matches('/') != PLACEHOLDER;
        if let Some((loaded, url)) = named.filter(is_named) {
            let trusted = trusted(url, &loaded.path, &config.credentials, allow_http);
            return trusted.map_err(|error| self.problem("OPENFAAS_URL", error)).ok();
        }
        // A stack file that could not be read may name it.
        if self.stack.is_empty() {
            let message = config::missing(blank);
            let example = "write the gateway's address, for example `https://gw.example.com`";
            self.problem("OPENFAAS_URL", format!("{message}; {example}"));
        }
        None
    }

    /// [`Run::ca_cert`]; `None` if it is wrong, which is added to the problems.
    fn checked_ca_cert(&mut self) -> Option<Option<CaCert>> {
        self.ca_cert().map_err(|error| self.problem("CA_CERT", error)).ok()
    }

    /// The certificates of `CA_CERT`.
    fn ca_cert(&self) -> Result<Option<CaCert>, Diagnostic> {
        let Some(value) = &self.config.ca_cert else { return Ok(None) };
        if CaCert::is_inline(value) {
            return Ok(Some(CaCert::parse(value.as_bytes())?));
        }
        let (path, _) = input::find(value, self.config.places.clone_dir.as_deref())?;
        let certificates = CaCert::parse(&input::read(&path, CA_LIMIT)?);
        certificates.map(Some).map_err(|error| Diagnostic::error(format!("`{}` {error}", quote(value))))
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
pub(super) fn without_dots(path: &Path) -> Option<PathBuf> {
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
