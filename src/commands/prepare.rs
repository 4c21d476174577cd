//! What every command begins with: the stack file read, the gateway known, and every problem found before anything is sent.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use url::Url;

use crate::commands::token_guard::Tokens;
use crate::commands::trust::{Distrust, trusted};
use crate::config::{
    self, Config, Credentials, Deploy, Environment, GatewayUrl, Invalid, Problems, Selection, TagFormat, Task,
};
use crate::console::log::quote;
use crate::diagnostic::Diagnostic;
use crate::files::input;
use crate::function::FunctionName;
use crate::function::command::Command;
use crate::function::outcome::Outcome;
use crate::gateway::{self, Authenticator, Gateway};
use crate::http::ca_cert::{self, CaCert};
use crate::http::fetch::{self, fetch};
use crate::image_tag::git;
use crate::image_tag::handler_digest;
use crate::registry::Http;
use crate::report::Places;
use crate::shutdown::Stop;
use crate::stack::owner_label;
use crate::stack::{self, Stack, Surroundings, Tag};

/// The gateway that faas-cli writes into every new stack file, which no pipeline can mean.
const PLACEHOLDER: &str = "http://127.0.0.1:8080";
/// The names that faas-cli looks for.
pub(super) const STACK_FILES: [&str; 2] = ["stack.yaml", "stack.yml"];
/// Larger files hold more than certificates.
const CA_LIMIT: usize = 1024 * 1024;

/// One run of the pipe, from variables to an outcome.
pub(crate) struct Run<'a> {
    pub(crate) config: &'a Config,
    pub(crate) stop: &'a Stop,
    pub(crate) started: Instant,
    pub(crate) preparation: Preparation<'a>,
}

/// Reads what the variables name, and collects all that is wrong.
pub(crate) struct Preparation<'a> {
    environment: &'a Environment,
    command: Command,
    places: &'a Places,
    /// For fetching a stack file; `None` if variables are wrong: then nothing is sent anywhere.
    config: Option<(&'a Config, &'a Stop)>,
    variables: Problems,
    /// Names that are no variable; kept apart, since they are errors also if all else about the stack file is a warning.
    names: Problems,
    stack: Vec<stack::Problem>,
}

/// What is wrong with variables and stack file; nothing was sent.
pub(crate) struct Rejected {
    /// About variables.
    pub variables: Problems,
    /// About the stack file.
    pub stack: Vec<stack::Problem>,
}

impl Rejected {
    /// Writes what is wrong with the stack file into the log, and gives the last line, which tells the variables.
    pub(crate) fn tell(self) -> String {
        self.stack.iter().for_each(|problem| problem.diagnostic.log());
        match self.stack.len() {
            _ if !self.variables.is_empty() => self.variables.report(),
            1 => "1 problem in the stack file, nothing was sent".to_owned(),
            count => format!("{count} problems in the stack file, nothing was sent"),
        }
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new(environment: &'a Environment, config: &'a Config, stop: &'a Stop) -> Self {
        let preparation = Preparation {
            environment,
            command: config.task.command(),
            places: &config.places,
            config: Some((config, stop)),
            variables: Problems::default(),
            names: Problems::default(),
            stack: Vec::new(),
        };
        Self { config, stop, started: Instant::now(), preparation }
    }

    /// The gateway; `None` if something is wrong, which [`Preparation::finish`] returns.
    pub(crate) fn gateway(&mut self, loaded: Option<&Loaded>) -> Option<Gateway> {
        let Self { config, stop, preparation, .. } = self;
        let url = preparation.address(&config.gateway_url, &config.credentials, config.allow_http, loaded);
        if config.tls_no_verify {
            tracing::warn!("`TLS_NO_VERIFY` is set: anyone on the way can read the token; use `CA_CERT` instead");
        }
        if matches!(config.credentials, Credentials::Password { .. }) {
            tracing::info!("`OPENFAAS_PASSWORD` is set: basic auth is used, not the step's token");
        }
        // `CA_CERT` is checked without an address too, so that all problems are reported at once.
        let ca_cert = preparation.ca_cert(config.ca_cert.as_deref());
        let ca_cert = ca_cert.map_err(|error| preparation.problem("CA_CERT", error)).ok()?;
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
        Gateway::new(settings, stop).map_err(|error| preparation.problem("CA_CERT", error)).ok()
    }

    /// The client for registries and clouds if it is wanted; `None` also if `CA_CERT` is wrong.
    pub(crate) fn registry_client(&mut self, wanted: bool) -> Option<Http> {
        if !wanted {
            return None;
        }
        let Self { config, preparation, .. } = self;
        let ca_cert = preparation.ca_cert(config.ca_cert.as_deref());
        let ca_cert = ca_cert.map_err(|error| preparation.problem("CA_CERT", error)).ok()?;
        let http = Http::new(ca_cert.as_ref(), config.parallel);
        http.map_err(|error| preparation.problem("CA_CERT", error)).ok()
    }

    /// An outcome with nothing in it yet.
    pub(crate) fn outcome(&self, gateway: String) -> Outcome {
        Outcome { duration: self.started.elapsed(), ..Outcome::new(self.config.task.command(), gateway) }
    }
}

/// Adds what is wrong with the files that the variables name to what is wrong with the variables.
pub(crate) async fn reject(environment: &Environment, invalid: Invalid) -> Rejected {
    let Invalid { problems, command, task, selection, gateway_url, credentials, ca_cert, places } = invalid;
    let mut preparation = Preparation {
        environment,
        command,
        places: &places,
        config: None,
        variables: problems,
        names: Problems::default(),
        stack: Vec::new(),
    };
    let loaded = match (&task, &selection) {
        (Some(Task::Whoami(whoami)), _) => preparation.stack_if_any(&whoami.deploy).await,
        (Some(Task::Deploy(deploy) | Task::Diff(deploy)), _) => {
            preparation.stack(&deploy.selection, Some(deploy)).await
        }
        (Some(Task::Login(login)), _) if login.registries.is_none() => preparation.stack(&login.selection, None).await,
        (_, Some(selection)) if ![Command::Whoami, Command::Invoke, Command::Login].contains(&command) => {
            preparation.stack(selection, None).await
        }
        _ => {
            preparation.warn(&BTreeSet::new());
            None
        }
    };
    let sends = !matches!(&task, None | Some(Task::Login(_) | Task::Deploy(Deploy { dry_run: true, .. })));
    if let Some(url) = gateway_url.filter(|_| sends) {
        preparation.address(&url, &credentials, true, loaded.as_ref());
        if let Err(error) = preparation.ca_cert(ca_cert.as_deref()) {
            preparation.problem("CA_CERT", error);
        }
    }
    preparation.rejected()
}

impl Preparation<'_> {
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
        let is_well = rejected.variables.is_empty() && rejected.stack.is_empty();
        prepared.filter(|_| is_well).ok_or(rejected)
    }

    /// Reads the stack file that the variables select; `deploy` is what they put over it.
    ///
    /// Gives nothing where something is wrong, which is kept for [`Preparation::finish`].
    pub(crate) async fn stack(&mut self, selection: &Selection, deploy: Option<&Deploy>) -> Option<Loaded> {
        let source = match self.source(selection).await {
            Ok(Some(source)) => source,
            Ok(None) => return None,
            Err(message) => {
                self.problem("STACK_FILE", message);
                self.warn(&BTreeSet::new());
                return None;
            }
        };
        let options = stack::Options {
            namespace: selection.namespace.clone(),
            filter: selection.filter.clone(),
            regex: selection.regex.clone(),
            is_literal: !selection.envsubst,
            tag: self.tag(selection.tag_format, &source.base),
            env_vars: deploy.map(|deploy| deploy.env_vars.clone()).unwrap_or_default(),
            labels: deploy.map(|deploy| deploy.labels.clone()).unwrap_or_default(),
            annotations: deploy.map(|deploy| deploy.annotations.clone()).unwrap_or_default(),
            secrets: deploy.map(|deploy| deploy.secrets.clone()).unwrap_or_default(),
            constraints: deploy.map(|deploy| deploy.constraints.clone()).unwrap_or_default(),
            read_only: deploy.is_some_and(|deploy| deploy.read_only),
            prune: deploy.is_some_and(|deploy| deploy.prune),
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

    /// [`Preparation::stack`] for where none is needed: nothing where none is there, and only warnings where one is wrong.
    pub(crate) async fn stack_if_any(&mut self, deploy: &Deploy) -> Option<Loaded> {
        // Images do not matter here, so that nothing has to be known of the commit.
        let selection = Selection { tag_format: TagFormat::Latest, ..deploy.selection.clone() };
        let is_there = |name: &&str| input::find(name, self.places.clone_dir.as_deref()).is_ok();
        if selection.stack_file.is_none() && !STACK_FILES.iter().any(is_there) {
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

    /// Tells what is set and probably not what was meant.
    pub(crate) fn warn(&mut self, substituted: &BTreeSet<String>) {
        config::check_names(self.environment, substituted, &mut self.names);
        for warning in config::warnings(self.environment, self.command, substituted, &self.variables) {
            tracing::warn!("{warning}");
        }
    }

    /// The same, and what a person should look at in the stack file.
    fn warn_of_stack(&mut self, substituted: &BTreeSet<String>, warnings: &[stack::Problem]) {
        self.warn(substituted);
        warnings.iter().for_each(|warning| warning.diagnostic.log());
    }

    /// The stack file's text, from a path or a URL; `None` if it is not fetched because variables are wrong.
    async fn source(&self, selection: &Selection) -> Result<Option<stack::Source>, String> {
        let clone_dir = self.places.clone_dir.as_deref();
        let Some(wanted) = &selection.stack_file else {
            let found = STACK_FILES.iter().find_map(|name| input::find(name, clone_dir).ok());
            let (path, base) = found.ok_or_else(|| {
                "neither `stack.yaml` nor `stack.yml` is in the working directory or the clone directory: \
                 write the stack file's path"
                    .to_owned()
            })?;
            return read_source(&path, base, clone_dir).map(Some);
        };
        if wanted.starts_with("http://") {
            let shown = Url::parse(wanted).map_or_else(|_| String::new(), |url| format!("`{}` ", fetch::shown(&url)));
            return Err(format!("{shown}is not encrypted: write an `https://` URL"));
        }
        if wanted.starts_with("https://") {
            // Not quoted: what makes it none may be a password.
            let url = Url::parse(wanted).map_err(|error| format!("is not a URL: {error}"))?;
            let Some((config, stop)) = self.config else { return Ok(None) };
            let ca_cert = self.ca_cert(config.ca_cert.as_deref()).map_err(|error| format!("`CA_CERT`: {error}"))?;
            let limits = fetch::Limits { timeout: config.timeout, retries: config.retries, size: stack::MAX_FILE };
            let text = tokio::select! {
                text = fetch(&url, ca_cert.as_ref(), limits, stop) => text.map_err(|error| error.to_string())?,
                _ = stop.grace_over() => return Err("the run was stopped".to_owned()),
            };
            let name = fetch::shown(&url);
            return Ok(Some(stack::Source { name, text, base: ".".into(), is_remote: true, clone_dir: None }));
        }
        let (path, base) = input::find(wanted, clone_dir).map_err(|error| error.to_string())?;
        read_source(&path, base, clone_dir).map(Some)
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

    /// The URL of the gateway, which `OPENFAAS_URL` names, else the stack file.
    fn address(
        &mut self,
        given: &GatewayUrl,
        credentials: &Credentials,
        allow_http: bool,
        loaded: Option<&Loaded>,
    ) -> Option<Url> {
        let blank = match given {
            GatewayUrl::Set(url) => return Some(url.clone()),
            GatewayUrl::Unset { blank } => *blank,
        };
        let named = loaded.and_then(|loaded| loaded.stack.gateway.as_deref()).map(str::trim).unwrap_or_default();
        if !named.is_empty() && named.trim_end_matches('/') != PLACEHOLDER {
            let is_remote = loaded.is_some_and(|loaded| loaded.path.starts_with("https://"));
            let trusted = if is_remote { Err(Distrust::Remote) } else { trusted(named, credentials, allow_http) };
            return trusted.map_err(|distrust| self.problem("OPENFAAS_URL", distrust)).ok();
        }
        // A stack file that could not be read may name it.
        if self.stack.is_empty() {
            let message = config::missing(blank);
            self.problem(
                "OPENFAAS_URL",
                format!("{message}; write the gateway's address, for example `https://gw.example.com`"),
            );
        }
        None
    }

    /// The PEM text of `CA_CERT`.
    fn ca_cert(&self, value: Option<&str>) -> Result<Option<CaCert>, InvalidCaCert> {
        let Some(value) = value else { return Ok(None) };
        if CaCert::is_inline(value) {
            return Ok(Some(CaCert::parse(value.as_bytes())?));
        }
        let (path, _) = input::find(value, self.places.clone_dir.as_deref())?;
        let certificates = CaCert::parse(&input::read(&path, CA_LIMIT)?);
        certificates.map(Some).map_err(|source| InvalidCaCert::File { path: value.to_owned(), source })
    }

    /// The stack file's path from the clone directory, where it lies in it, as Bitbucket's reports name files. It is the
    /// path as it was named: two links to one file are two stack files.
    fn shown_path(&self, source: &stack::Source) -> String {
        let relative = || {
            let clone_dir = self.places.clone_dir.as_ref()?;
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

/// A path without `.` and `..`, links not followed.
fn without_dots(path: &Path) -> Option<PathBuf> {
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

/// What is wrong with `CA_CERT`.
#[derive(Debug, thiserror::Error)]
enum InvalidCaCert {
    #[error(transparent)]
    Value(#[from] ca_cert::Error),
    #[error(transparent)]
    Unreadable(#[from] input::Error),
    #[error("`{}` {source}", quote(path))]
    File { path: String, source: ca_cert::Error },
}

/// A stack file that was read.
pub(crate) struct Loaded {
    /// Its path, from the clone directory where it lies in it.
    pub path: String,
    /// What it says.
    pub stack: Stack,
    /// The value of the label that all its functions carry (`OWNER_LABEL`).
    pub owner: Option<String>,
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

fn read_source(path: &Path, base: PathBuf, clone_dir: Option<&Path>) -> Result<stack::Source, String> {
    let text = input::read(path, stack::MAX_FILE).map_err(|error| error.to_string())?;
    let clone_dir = clone_dir.map(Path::to_owned);
    Ok(stack::Source { name: path.display().to_string(), text, base, is_remote: false, clone_dir })
}
