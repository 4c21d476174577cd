//! Deploys and invokes OpenFaaS functions from a Bitbucket pipeline.
//!
//! # Layout
//!
//! [`config`] reads the variables, [`commands`] prepares and does what `COMMAND` asks for, and [`report`] writes the result
//! for later steps. Imports run down this list only.
//!
//! - [`commands`]: one file or folder per `COMMAND`, none of which imports another, and beside them what they share:
//!   `prepare/` finds every problem before anything is sent, `images.rs` asks registries, `concurrent.rs` does the same for
//!   several functions, `calls/` calls them, `removal.rs` removes them, `resources.rs` writes secrets and namespaces. `deploy/` has the strategies, waiting, `VERIFY` and rollback.
//! - [`gateway`]: HTTP requests to OpenFaaS: token exchange, functions, secrets, namespaces, invocations, logs. Knows nothing of YAML or variables.
//! - [`config`]: the environment, read once: the table of variables, their values, and warnings about them.
//! - [`report`]: the files and reports of a run: JSON, JUnit, Code Insights, output variables, shared variables.
//! - [`image_tag`]: the sources of `TAG_FORMAT`: the git repository, and the digest of a handler's folder.
//! - [`stack`]: the stack file: YAML, substitution, checks, and the deployment of each function. Does no I/O except to read files.
//! - [`registry`]: images in their registries, and the credentials for them. Knows nothing of YAML or variables.
//! - [`cloud`]: what AWS and Google exchange the step's token for. Both have the same files.
//! - [`http`]: what all HTTP clients share: TLS, timeouts, retries, the causes of a failed request.
//! - [`oidc`]: the step's ID token: its claims, the causes of a refusal, and the IAM resources that accept it. Does no I/O.
//! - [`shutdown`]: SIGTERM, SIGINT and the grace period.
//! - [`function`]: the vocabulary: names of functions and images, OpenFaaS' function resource, quantities, outcomes.
//! - [`diagnostic`]: the one type for something wrong: severity, failure, place, message, hint.
//! - [`files`]: reading and writing files.
//! - [`console`]: the only way to standard output: the log, tables, and the redaction of secrets.
//! - [`text`]: small functions on text.

mod cloud;
mod commands;
pub mod config;
mod console;
pub mod diagnostic;
mod files;
pub mod function;
mod gateway;
mod http;
mod image_tag;
pub mod oidc;
mod registry;
mod report;
mod shutdown;
pub mod stack;
mod text;

use std::ffi::OsString;
use std::time::Instant;
use std::{panic, thread};

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use commands::prepare::{Preparation, Rejected};
use commands::{deploy, diff, invoke, login, remove, whoami};
use config::{Environment, Task};
use console::log;
use diagnostic::{Diagnostic, Failure};
use function::outcome::Outcome;
use shutdown::Shutdown;

/// Runs the pipe with these variables, and returns the exit code of the process.
pub fn run(variables: impl IntoIterator<Item = (OsString, OsString)>) -> u8 {
    let environment = Environment::new(variables);
    log::init(log::Style { colour: config::colour(&environment), debug: config::debug(&environment) });
    panic::set_hook(Box::new(|info| {
        // The message is left out: it may hold anything.
        let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
        log::failure(format!("internal error{place}: please report it with the version of the pipe"));
    }));
    match start(environment) {
        Ok(exit_code) => exit_code,
        Err(error) => {
            log::failure(format!("{error:#}"));
            Failure::Failed.exit_code()
        }
    }
}

/// Runs the work on a thread and a runtime of its own. The work blocks its thread now and then, to read files or to parse a large
/// stack file; a signal is still handled at once, since this thread only waits for signals and for the end.
fn start(environment: Environment) -> anyhow::Result<u8> {
    runtime()?.block_on(async {
        let shutdown = Shutdown::listen().context("signals cannot be received")?;
        // A panic drops the sender, so that this thread never waits for a worker that is gone.
        let (sender, ended) = oneshot::channel();
        let shutdown_of_work = shutdown.clone();
        thread::Builder::new()
            .spawn(move || sender.send(work(&environment, &shutdown_of_work)))
            .context("the work could not be started")?;
        tokio::select! {
            // A thread that panicked sends nothing, and the hook has reported it; the shipped build has aborted by then.
            exit_code = ended => exit_code.unwrap_or(Ok(Failure::Failed.exit_code())),
            failure = shutdown.forced() => {
                files::atomic::abandon();
                log::failure(format!("stopped by {}, with work under way", shutdown::signal_name(failure)));
                Ok(failure.exit_code())
            }
        }
    })
}

fn work(environment: &Environment, shutdown: &Shutdown) -> anyhow::Result<u8> {
    let runtime = runtime()?;
    let failure = runtime.block_on(command(environment, shutdown));
    // A thread that still reads a file or resolves a name must not delay the end.
    runtime.shutdown_background();
    Ok(failure.map_or(0, Failure::exit_code))
}

fn runtime() -> anyhow::Result<Runtime> {
    // Threads for files and name resolution. Each reserves 2 MB, and the default limit is 512 of them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build();
    runtime.context("the runtime could not be started")
}

/// Runs the command, and reports how it ended.
async fn command(environment: &Environment, shutdown: &Shutdown) -> Option<Failure> {
    let read = config::read(environment);
    let (config, problems) = match &read {
        Ok(config) => (config, None),
        Err(invalid) => (&invalid.config, Some(&invalid.problems)),
    };
    let command = config.task.command();
    tracing::info!("openfaas-pipe {}: {command}", env!("CARGO_PKG_VERSION"));
    let preparation = Preparation::new(environment, config, shutdown);
    let ended = match problems {
        None => task(preparation).await,
        Some(problems) => Err(preparation.reject(problems).await),
    };
    let (mut outcome, mut last_line) = match ended {
        Ok(ended) => ended,
        Err(rejected) => {
            // A file that could not be read because of a signal is not a mistake in the variables.
            let last_line = match shutdown.requested() {
                Some(_) => "nothing was sent".to_owned(),
                None => rejected.report(),
            };
            let problem = Diagnostic::new(Failure::Input, last_line.clone());
            (Outcome { problem: Some(problem), ..Outcome::new(command, String::new()) }, last_line)
        }
    };
    // Also if everything was done in time: the user who stopped the run must not take it for a complete one.
    outcome.problem = shutdown.problem().or(outcome.problem);
    if let Some(context) = &config.places.insights {
        report::insights::send(&outcome, context).await;
        outcome.problem = shutdown.problem().or(outcome.problem);
    }
    // Last, so that the files report a signal that was received until here.
    report::write(&outcome, &config.places);
    let stopped = shutdown.problem();
    if let Some(stopped) = &stopped {
        last_line = format!("{}: {last_line}", stopped.message);
    }
    let failure = stopped.map(|stopped| stopped.failure).or_else(|| outcome.worst());
    match failure {
        None => log::success(last_line),
        Some(_) => log::failure(last_line),
    }
    failure
}

/// Does what `COMMAND` asks for; returns the outcome and the last line of the log.
async fn task(preparation: Preparation<'_>) -> Result<(Outcome, String), Rejected> {
    let started = Instant::now();
    let (mut outcome, summary): (_, fn(&Outcome) -> String) = match &preparation.config.task {
        Task::Deploy(deploy) if deploy.dry_run => (deploy::dry_run(preparation, deploy).await?, deploy::dry_summary),
        Task::Deploy(deploy) => (deploy::run(preparation, deploy).await?, deploy::summary),
        Task::Invoke(invoke) => (invoke::run(preparation, invoke).await?, invoke::summary),
        Task::Whoami(whoami) => {
            let (outcome, last_line) = whoami::run(preparation, whoami).await?;
            return Ok((Outcome { duration: started.elapsed(), ..outcome }, last_line));
        }
        Task::Diff(deploy) => (diff::run(preparation, deploy).await?, diff::summary),
        Task::Login(login) => (login::run(preparation, login).await?, login::summary),
        Task::Remove(options) => (remove::run(preparation, options).await?, remove::summary),
    };
    outcome.duration = started.elapsed();
    let last_line = summary(&outcome);
    Ok((outcome, last_line))
}
