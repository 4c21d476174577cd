//! Deploys and invokes OpenFaaS functions from a Bitbucket pipeline.
//!
//! # Layout
//!
//! One run: [`config`] reads the variables, [`commands`] prepares and carries out what `COMMAND` asks for, [`report`] leaves
//! the result for later steps. Imports run down this list only.
//!
//! - [`commands`]: what a user asks for, one file per `COMMAND`; `prepare.rs` finds every problem before anything is sent,
//!   and `deploy/` holds the checks before a deploy, waiting, rollback and pruning.
//! - [`report`]: what a run leaves behind: JSON, JUnit, Code Insights, output variables, shared variables.
//! - [`gateway`]: HTTP requests to OpenFaaS: token exchange, functions, invocations, logs. Knows nothing of YAML or variables.
//! - [`config`]: the environment, read once: the table of variables, their values, the warnings about them.
//! - [`image_tag`]: what `TAG_FORMAT` needs: the git repository, the digest of a handler's folder.
//! - [`stack`]: the stack file: YAML, substitution, checks, and what a deploy sends for each function. Pure but for reading files.
//! - [`registry`]: images in their registries, and the credentials that AWS and Google exchange for the step's token. Knows
//!   nothing of YAML or variables.
//! - [`http`]: what all HTTP clients share: how they are built, TLS, retries, the causes of a failed request.
//! - [`oidc`]: the step's ID token: its claims, why it may be refused, the resources that would admit it. Pure.
//! - [`shutdown`]: SIGTERM, SIGINT and the grace period.
//! - [`function`]: the vocabulary: OpenFaaS' function resource, quantities, what became of a function.
//! - [`diagnostic`]: what a person is told about something wrong, with what to change.
//! - [`files`]: reading and writing files.
//! - [`console`]: the one way to standard output: the log, tables, and the redaction of secrets.

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

use std::ffi::OsString;
use std::{panic, thread};

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use commands::prepare::{Rejected, Run};
use commands::{deploy, diff, invoke, login, prepare, remove, whoami};
use config::{Config, Environment, Invalid, Task};
use console::log;
use function::outcome::{Failure, Outcome, Problem};
use shutdown::Stop;

/// Runs the pipe with these variables, and gives the process's exit code.
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
        let stop = Stop::listen().context("signals cannot be received")?;
        let (sender, ended) = oneshot::channel();
        let working = stop.clone();
        thread::Builder::new()
            .spawn(move || sender.send(work(&environment, &working)))
            .context("the work could not be started")?;
        tokio::select! {
            // A thread that panicked sends nothing, and the hook has reported it; the shipped build has aborted by then.
            exit_code = ended => exit_code.unwrap_or(Ok(Failure::Failed.exit_code())),
            failure = stop.at_once() => {
                files::atomic::abandon();
                log::failure(format!("stopped by {}, with work under way", shutdown::signal_name(failure)));
                Ok(failure.exit_code())
            }
        }
    })
}

fn work(environment: &Environment, stop: &Stop) -> anyhow::Result<u8> {
    let config = config::read(environment);
    let runtime = runtime()?;
    let failure = runtime.block_on(command(environment, config, stop));
    // A thread that still reads a file or resolves a name must not delay the end.
    runtime.shutdown_background();
    Ok(failure.map_or(0, Failure::exit_code))
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime could not be started")
}

/// Runs the command, and says how it ended.
async fn command(environment: &Environment, config: Result<Config, Box<Invalid>>, stop: &Stop) -> Option<Failure> {
    let (command, places) = match &config {
        Ok(config) => (config.task.command(), config.places.clone()),
        Err(invalid) => (invalid.command, invalid.places.clone()),
    };
    tracing::info!("openfaas-pipe {}: {command}", env!("CARGO_PKG_VERSION"));
    let ended = match config {
        Ok(config) => task(Run::new(environment, &config, stop)).await,
        Err(invalid) => Err(prepare::reject(environment, *invalid).await),
    };
    let (mut outcome, mut last_line) = match ended {
        Ok(ended) => ended,
        Err(rejected) => {
            // A stop is not a mistake in the variables, though what could not be read then looks like one.
            let last_line = match stop.requested() {
                Some(_) => "nothing was sent".to_owned(),
                None => rejected.tell(),
            };
            let problem = Problem { failure: Failure::Input, message: last_line.clone(), hint: None };
            (Outcome { problem: Some(problem), ..Outcome::new(command, String::new()) }, last_line)
        }
    };
    // Also where all was done in time: whoever stopped the run is not to take it for a whole one.
    outcome.problem = stop.problem().or(outcome.problem);
    if let Some(context) = &places.insights {
        report::insights::send::send(&outcome, context).await;
        outcome.problem = stop.problem().or(outcome.problem);
    }
    // Last, so that no stop is missing in them.
    report::write(&outcome, &places);
    let stopped = stop.problem();
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
async fn task(run: Run<'_>) -> Result<(Outcome, String), Rejected> {
    let (outcome, summary): (_, fn(&Outcome) -> String) = match &run.config.task {
        Task::Deploy(deploy) if deploy.dry_run => (deploy::dry_run(run, deploy).await?, deploy::dry_summary),
        Task::Deploy(deploy) => (deploy::run(run, deploy).await?, deploy::summary),
        Task::Invoke(invoke) => (invoke::run(run, invoke).await?, invoke::summary),
        Task::Whoami(whoami) => return whoami::run(run, whoami).await,
        Task::Diff(deploy) => (diff::run(run, deploy).await?, diff::summary),
        Task::Login(login) => (login::run(run, login).await?, login::summary),
        Task::Remove(selection) => (remove::run(run, selection).await?, remove::summary),
    };
    let last_line = summary(&outcome);
    Ok((outcome, last_line))
}
