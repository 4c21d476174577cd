//! The preparation of every command: reads the stack file, finds the gateway, and reports every problem before anything is sent.

mod gateway;
mod secrets;
mod stack_file;
mod stack_paths;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::commands::concurrent::Session;
use crate::commands::progress::Reporter;
use crate::config::{self, Config, Environment, ImagesFrom, Problems, Task, VerifyCall};
use crate::console::log::{self, quote};
use crate::diagnostic::Diagnostic;
use crate::files::{atomic, input};
use crate::function::image::Reference;
use crate::function::outcome::Outcome;
use crate::gateway::Gateway;
use crate::report::{DEPLOYED_FILE, DeployedFunction, read_deployed};
use crate::shutdown::Shutdown;
use crate::stack::Function;
use crate::text::count;
pub(crate) use secrets::WantedSecret;
pub(crate) use stack_file::{Loaded, STACK_FILES};

/// One run of the pipe: its variables, and what is wrong with them and with the files that they name.
pub(crate) struct Preparation<'a> {
    pub(crate) config: &'a Config,
    pub(crate) shutdown: &'a Shutdown,
    environment: &'a Environment,
    /// True if variables are wrong: then not even a stack file is fetched.
    is_rejected: bool,
    problems: Rejected,
    /// A problem of a stack file that the command can do without.
    pub(crate) wrong_stack: Option<Diagnostic>,
    /// Names that are not a variable; kept apart, since they are errors also if all else about the stack file is a warning.
    names: Problems,
}

/// Problems with variables and stack files; nothing was sent.
#[derive(Default)]
pub(crate) struct Rejected {
    variables: Problems,
    stack: Vec<Diagnostic>,
    /// How many stack files there are.
    files: usize,
}

impl Rejected {
    /// Logs the problems of the stack file, and returns the last line, which has those of the variables.
    pub(crate) fn report(self) -> String {
        self.stack.iter().for_each(Diagnostic::log);
        if !self.variables.is_empty() {
            return self.variables.report();
        }
        let files = if self.files > 1 { "files" } else { "file" };
        format!("{} in the stack {files}, nothing was sent", count(self.stack.len(), "problem"))
    }
}

impl<'a> Preparation<'a> {
    pub(crate) fn new(environment: &'a Environment, config: &'a Config, shutdown: &'a Shutdown) -> Self {
        let problems = Rejected::default();
        Self {
            config,
            shutdown,
            environment,
            is_rejected: false,
            problems,
            wrong_stack: None,
            names: Problems::default(),
        }
    }

    /// Adds what is wrong with the files that the variables name to what is wrong with the variables.
    pub(crate) async fn reject(mut self, problems: &Problems) -> Rejected {
        self.is_rejected = true;
        self.problems.variables = problems.clone();
        let loaded = self.load().await;
        let is_sent = match &self.config.task {
            Task::Login(_) => false,
            // It may be meant to be something else, and a dry run has no gateway.
            Task::Deploy(deploy) => !deploy.dry_run && !problems.concerns("COMMAND") && !problems.concerns("DRY_RUN"),
            _ => true,
        };
        if is_sent {
            let allow_http = self.config.allow_http || problems.concerns("ALLOW_HTTP");
            self.address(allow_http, loaded.as_ref());
        }
        self.ca_cert();
        self.rejected()
    }

    fn rejected(&mut self) -> Rejected {
        let mut rejected = std::mem::take(&mut self.problems);
        rejected.variables.append(std::mem::take(&mut self.names));
        rejected
    }

    /// Adds what is wrong with a variable, unless it follows from what is known to be wrong with it.
    pub(crate) fn problem(&mut self, name: &str, message: impl ToString) {
        if !self.problems.variables.concerns(name) {
            self.problems.variables.add(name, message);
        }
    }

    /// Checks `OUTPUT_FILE` before anything is sent: what it is to hold would be lost.
    pub(crate) fn output_file(&mut self, path: Option<&Path>) {
        let Some(path) = path else { return };
        let places = &self.config.places;
        let directories = [&places.clone_dir, &places.storage_dir, &places.shared_storage_dir];
        let directories: Vec<_> = directories.into_iter().flatten().map(PathBuf::as_path).collect();
        // Without a clone directory the pipe does not run in Bitbucket, and no container takes the file with it.
        let is_lost = places.clone_dir.is_some() && atomic::is_outside(path, &directories);
        let shown = quote(&path.to_string_lossy());
        if let Err(error) = atomic::check_path(path) {
            self.problem("OUTPUT_FILE", error);
        } else if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            self.problem("OUTPUT_FILE", format!("`{shown}` is a directory: write the path of a file"));
        } else if is_lost {
            let message = "is outside of the clone directory, and lost when the pipe ends: write a relative path";
            self.problem("OUTPUT_FILE", format!("`{shown}` {message}"));
        }
    }

    /// Ends the preparation: returns what was prepared if nothing is wrong.
    pub(crate) fn finish<T>(&mut self, prepared: Option<T>) -> Result<T, Rejected> {
        let rejected = self.rejected();
        let is_valid = rejected.variables.is_empty() && rejected.stack.is_empty();
        prepared.filter(|_| is_valid).ok_or(rejected)
    }

    /// An outcome with nothing in it yet.
    pub(crate) fn outcome(&self, gateway: String, loaded: Option<&Loaded>) -> Outcome {
        let stack_files = loaded.map(Loaded::paths).unwrap_or_default();
        Outcome { stack_files, ..Outcome::new(self.config.task.command(), gateway) }
    }

    pub(crate) fn session<'s>(&self, gateway: &'s Gateway, reporter: &'s Reporter<'s>) -> Session<'s>
    where
        'a: 's,
    {
        Session { gateway, shutdown: self.shutdown, parallel: self.config.parallel, reporter }
    }

    /// The stack file and the gateway, for a command that needs both.
    pub(crate) async fn load_for_gateway(&mut self) -> Option<(Loaded, Gateway)> {
        let loaded = self.load().await;
        let gateway = self.gateway(loaded.as_ref());
        loaded.zip(gateway)
    }

    /// Reads the stack file if the command needs one. `None` also if something is wrong, which [`Preparation::finish`] returns.
    pub(crate) async fn load(&mut self) -> Option<Loaded> {
        let config = self.config;
        match &config.task {
            Task::Deploy(deploy) | Task::Diff(deploy) => {
                let mut loaded = self.stack(&deploy.selection, Some(deploy)).await;
                let secrets = self.secrets(deploy, loaded.as_ref());
                if let (Task::Deploy(_), Some(loaded), Some(verify)) = (&config.task, &loaded, deploy.verify.as_ref()) {
                    self.calls(&verify.calls, loaded);
                }
                if let Some(loaded) = &mut loaded {
                    loaded.secrets = secrets;
                    if let Some(from) = &deploy.images_from {
                        self.promote(from, loaded);
                    }
                }
                loaded
            }
            Task::Remove(remove) => self.stack(&remove.selection, None).await,
            Task::Login(login) if login.registries.is_none() => self.stack(&login.selection, None).await,
            Task::Whoami(whoami) => {
                let loaded = self.stack_if_any(&whoami.deploy).await;
                if let Some(loaded) = &loaded {
                    self.secret_names(&whoami.deploy, loaded);
                }
                loaded
            }
            Task::Login(_) | Task::Invoke(_) => {
                self.warn(&BTreeSet::new());
                None
            }
        }
    }

    /// Checks the calls of `VERIFY` to functions that no stack file has: they would only fail once all is deployed.
    fn calls(&mut self, calls: &[VerifyCall], loaded: &Loaded) {
        let known: BTreeSet<&str> =
            loaded.files.iter().flat_map(|file| &file.stack.named).map(|function| function.name.as_str()).collect();
        for VerifyCall { text, name, .. } in calls.iter().filter(|call| !known.contains(&*call.name)) {
            let (_, rest) = text.split_once('/').unwrap_or_default();
            let is_near = |other: &&&str| strsim::osa_distance(other, &name.to_lowercase()) * 3 <= other.len();
            let message = format!("`{}` calls `{}`, which no stack file has", quote(text), quote(name));
            if known.contains(rest.split(['/', '?']).next().unwrap_or_default()) {
                self.problems.variables.add("VERIFY", format!("{message}: write `{}`", quote(rest)));
            } else if let Some(near) = known.iter().find(is_near) {
                tracing::warn!("`VERIFY`: {message}: write `{}` if that was meant", quote(near));
            }
        }
    }

    /// `IMAGES_FROM`: gives all functions the images, by digest, that an earlier run deployed, or adds what is wrong to the problems.
    fn promote(&mut self, from: &ImagesFrom, loaded: &mut Loaded) {
        if self.environment.text("TAG_FORMAT").is_some() {
            tracing::warn!(
                "`TAG_FORMAT` does not apply with `IMAGES_FROM`: the images have the names of the earlier run"
            );
        }
        match self.deployed(from) {
            Ok(deployed) => {
                for function in &mut loaded.functions {
                    match promoted(function, &deployed) {
                        Ok(image) => function.deployment.image = image,
                        Err(reason) => {
                            let (name, place) = (quote(&function.deployment.service), &function.location);
                            self.problems.variables.add("IMAGES_FROM", format!("`{name}` ({place}) {reason}"));
                        }
                    }
                }
            }
            Err(error) => self.problem("IMAGES_FROM", error),
        }
    }

    /// The images that the earlier run deployed.
    fn deployed(&self, from: &ImagesFrom) -> Result<Vec<DeployedFunction>, Diagnostic> {
        let places = &self.config.places;
        match from {
            ImagesFrom::File(path) => read_deployed(&input::find(path, places.clone_dir.as_deref())?.0),
            ImagesFrom::Pipeline => {
                let dir = places.shared_storage_dir.as_ref().ok_or_else(|| {
                    Diagnostic::error(
                        "`pipeline` needs `BITBUCKET_PIPE_SHARED_STORAGE_DIR`, which Bitbucket sets for pipes",
                    )
                })?;
                let path = dir.join(DEPLOYED_FILE);
                if !path.exists() {
                    let message = "no deploy of this pipeline has succeeded yet: a step before this one has to deploy";
                    return Err(Diagnostic::error(format!("{message}, with `PIN_IMAGES: 'true'`")));
                }
                read_deployed(&path)
            }
        }
    }

    /// Warns of variables that are set and probably not what was meant.
    fn warn(&mut self, substituted: &BTreeSet<String>) {
        config::check_names(self.environment, substituted, &mut self.names);
        let command = self.config.task.command();
        let blank = config::blank(self.environment, command);
        if !blank.is_empty() {
            tracing::info!("set but empty, which counts as not set: {}", log::names(blank, usize::MAX));
        }
        for warning in config::warnings(self.environment, command, substituted, &self.problems.variables) {
            tracing::warn!("{warning}");
        }
    }
}

/// The image that the earlier run deployed for a function, in whatever namespace.
fn promoted(function: &Function, deployed: &[DeployedFunction]) -> Result<String, String> {
    let same = deployed.iter().filter(|other| other.name == function.deployment.service);
    let images: BTreeSet<&str> = same.filter_map(|other| other.image.as_deref()).collect();
    let mut images = images.into_iter();
    let image = match (images.next(), images.next()) {
        (None, _) => return Err("was not deployed by that run".to_owned()),
        (Some(image), None) => image,
        (Some(one), Some(other)) => {
            return Err(format!("has two images in that run: `{}` and `{}`", quote(one), quote(other)));
        }
    };
    let shown = quote(image);
    let reference = Reference::parse(image).map_err(|error| format!("has the image `{shown}` in that run: {error}"))?;
    // By now the tag may be that of another image.
    if reference.digest.is_none() {
        return Err(format!("was deployed as `{shown}`, without a digest: deploy it there with `PIN_IMAGES: 'true'`"));
    }
    // A function of the same name may be another program.
    let own = Reference::parse(&function.deployment.image)?;
    if (&own.host, &own.repository) != (&reference.host, &reference.repository) {
        let own = quote(&function.deployment.image);
        return Err(format!(
            "has the image `{own}` in the stack file, but `{shown}` of another repository in that run"
        ));
    }
    Ok(image.to_owned())
}
