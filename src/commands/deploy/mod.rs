//! `COMMAND: deploy`: the functions of a stack file, side by side.

mod provider_hints;
pub(crate) mod prune;
mod readiness;
mod rollback;
mod wait;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::commands::concurrent::{begun, each};
use crate::commands::deploy::prune::left_over;
use crate::commands::deploy::rollback::roll_back;
use crate::commands::deploy::wait::Waiter;
use crate::commands::permissions;
use crate::commands::prepare::{Loaded, Rejected, Run};
use crate::commands::progress::{self, Reporter, count};
use crate::commands::remove::remove;
use crate::config::{Deploy, Strategy};
use crate::console::log;
use crate::function::FunctionName;
use crate::function::api::Deployment;
use crate::function::outcome::{Action, FunctionOutcome, Outcome, Problem};
use crate::gateway::statuses::{Reading, Statuses};
use crate::gateway::{Creation, Error, Found, Gateway};
use crate::shutdown::Stop;
use crate::stack::Function;

/// How long a function that is being deleted may take to be gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(120);
/// The time between two looks at whether it is; it grows to [`GONE_PAUSE_MOST`].
const GONE_PAUSE: Duration = Duration::from_millis(100);
const GONE_PAUSE_MOST: Duration = Duration::from_secs(2);

/// Deploys what the variables select.
pub(crate) async fn run(mut run: Run<'_>, deploy: &Deploy) -> Result<Outcome, Rejected> {
    let loaded = run.stack(&deploy.selection, Some(deploy)).await;
    let gateway = run.gateway(loaded.as_ref().map(|loaded| &loaded.stack));
    let (mut loaded, gateway) = run.ready(loaded.zip(gateway))?;
    let bodies = loaded.stack.functions.iter_mut().map(|function| body(&mut function.deployment)).collect();
    let mut outcome = run.outcome(gateway.address());
    outcome.stack_file = Some(loaded.path.clone());
    tracing::info!("deploying {} of `{}` to `{}`", count(loaded.stack.functions.len()), loaded.path, gateway.address());
    let needs = |functions| permissions::of_deploy(deploy, functions);
    let reporter = &Reporter::new(&needs);
    match gateway.sign_in().await {
        // The table is to say that nothing was started.
        Ok(()) | Err(Error::Stopped(_)) => {
            let deployer = Deployer {
                gateway: &gateway,
                file: &loaded.path,
                deploy,
                parallel: run.config.parallel,
                stop: run.stop,
                reporter,
            };
            if let Err(error) = deployer.all(&loaded, bodies, &mut outcome.functions).await {
                outcome.problem = Some(reporter.run_failed(&error));
            }
            reporter.lacking(loaded.names());
        }
        Err(error) => outcome.problem = Some(reporter.run_failed(&error)),
    }
    if !outcome.functions.is_empty() {
        progress::table(&outcome.functions);
    }
    outcome.duration = run.started.elapsed();
    Ok(outcome)
}

/// `DRY_RUN`: shows what would be sent.
pub(crate) async fn dry_run(mut run: Run<'_>, deploy: &Deploy) -> Result<Outcome, Rejected> {
    let loaded = run.stack(&deploy.selection, Some(deploy)).await;
    let loaded = run.ready(loaded)?;
    tracing::info!("dry run: this would be sent, and nothing is");
    let deployments: Vec<_> = loaded.stack.functions.iter().map(|function| &function.deployment).collect();
    // Maps of strings and lists of strings: nothing that JSON could not hold.
    log::plain(log::json(&serde_json::to_string_pretty(&deployments).unwrap_or_default()));
    Ok(Outcome { stack_file: Some(loaded.path), ..run.outcome(String::new()) })
}

/// What is sent for a function. The values go with it: as JSON they take a quarter of the memory.
fn body(deployment: &mut Deployment) -> Bytes {
    let body = serde_json::to_vec(deployment).unwrap_or_default().into_boxed_slice();
    deployment.labels = BTreeMap::new();
    deployment.annotations = BTreeMap::new();
    deployment.env_vars = BTreeMap::new();
    body.into()
}

/// Deploys functions to a gateway.
struct Deployer<'a> {
    gateway: &'a Gateway,
    /// The stack file's path.
    file: &'a str,
    deploy: &'a Deploy,
    parallel: usize,
    stop: &'a Stop,
    reporter: &'a Reporter<'a>,
}

impl Deployer<'_> {
    /// Deploys, waits, rolls back and prunes, as far as that is asked for. An error is one of the run as a whole.
    async fn all(&self, loaded: &Loaded, bodies: Vec<Bytes>, outcomes: &mut Vec<FunctionOutcome>) -> Result<(), Error> {
        let functions = &loaded.stack.functions;
        let before = self.before(functions).await?;
        *outcomes = self.each(functions, bodies).await;
        if let Some(limit) = self.deploy.wait {
            let Self { gateway, stop, parallel, .. } = *self;
            Waiter { gateway, stop, limit, parallel }.wait(outcomes, &before, self.reporter).await;
        }
        if self.deploy.rollback {
            roll_back(self.gateway, self.stop, self.parallel, outcomes, &before, self.reporter).await;
        }
        if self.deploy.prune && self.stop.requested().is_none() {
            self.prune(loaded, outcomes).await?;
        }
        Ok(())
    }

    /// What runs before anything is deployed, where that matters later; in the order of the functions.
    ///
    /// # Errors
    /// Where it must be known, for a rollback, and cannot be read.
    async fn before(&self, functions: &[Function]) -> Result<Vec<Reading>, Error> {
        if self.deploy.wait.is_none() || self.stop.requested().is_some() {
            return Ok(Vec::new());
        }
        let targets: Vec<_> = functions.iter().map(|function| FunctionName::from(&function.deployment)).collect();
        let targets: Vec<_> = targets.iter().collect();
        let before = Statuses::new(self.gateway, self.parallel).read(&targets).await;
        if self.deploy.rollback
            && let Some(error) = self.reporter.first(before.iter().filter_map(|reading| reading.as_ref().err()))
        {
            tracing::error!("nothing is deployed: `ROLLBACK` has to know what runs before");
            return Err(error.clone());
        }
        Ok(before)
    }

    /// Removes what the stack file no longer names, where all went well.
    async fn prune(&self, loaded: &Loaded, outcomes: &mut Vec<FunctionOutcome>) -> Result<(), Error> {
        let Some(owner) = &loaded.owner else { return Ok(()) };
        if outcomes.iter().any(|outcome| outcome.problem.is_some()) {
            tracing::warn!("nothing is pruned, since not all functions were deployed well");
            return Ok(());
        }
        let left_over = left_over(self.gateway, owner, &loaded.named).await?;
        if left_over.is_empty() {
            tracing::info!("nothing to prune");
            return Ok(());
        }
        tracing::info!("pruning {} that `{}` no longer names", count(left_over.len()), loaded.path);
        let targets = left_over.into_iter().map(|target| (target, None)).collect();
        outcomes.append(&mut remove(self.gateway, self.stop, self.parallel, targets, self.reporter).await);
        Ok(())
    }

    async fn each(&self, functions: &[Function], bodies: Vec<Bytes>) -> Vec<FunctionOutcome> {
        let begun = functions.iter().zip(bodies).map(|(function, body)| {
            let outcome = FunctionOutcome {
                image: Some(function.deployment.image.clone()),
                line: Some(function.line),
                ..begun(self.gateway, FunctionName::from(&function.deployment))
            };
            (outcome, (function, body))
        });
        each(begun, self.parallel, self.stop, self.reporter, async |target, (function, body)| {
            self.send(target, body).await.map_err(|error| self.failed(function, &error))
        })
        .await
    }

    fn failed(&self, function: &Function, error: &Error) -> Problem {
        let problem = self.reporter.failed(error);
        let advice = || error.provider_says().map(|text| provider_hints::advice(text, function, self.file));
        Problem { hint: problem.hint.or_else(advice), ..problem }
    }

    async fn send(&self, target: &FunctionName, body: Bytes) -> Result<Action, Error> {
        match self.deploy.strategy {
            Strategy::Update => self.update(target, body).await,
            Strategy::Create => self.create(target, body).await,
            Strategy::Replace => self.replace(target, body).await,
        }
    }

    /// As faas-cli does: update, and create only where that says that there is nothing to update.
    async fn update(&self, target: &FunctionName, body: Bytes) -> Result<Action, Error> {
        if self.gateway.update(target, body.clone()).await? == Found::Accepted {
            return Ok(Action::Updated);
        }
        match self.gateway.create(target, body.clone()).await? {
            Creation::Accepted => Ok(Action::Created),
            // Created meanwhile, by our own try whose answer was lost or by another pipe: what we send is to hold.
            Creation::Exists { answer_lost, error } => match self.gateway.update(target, body).await? {
                Found::Accepted if answer_lost => Ok(Action::Created),
                Found::Accepted => Ok(Action::Updated),
                Found::Absent => Err(error),
            },
        }
    }

    async fn create(&self, target: &FunctionName, body: Bytes) -> Result<Action, Error> {
        match self.gateway.create(target, body.clone()).await? {
            Creation::Accepted => Ok(Action::Created),
            Creation::Exists { answer_lost: true, error } => match self.gateway.update(target, body).await? {
                Found::Accepted => Ok(Action::Created),
                Found::Absent => Err(error),
            },
            Creation::Exists { error, .. } => Err(error),
        }
    }

    async fn replace(&self, target: &FunctionName, body: Bytes) -> Result<Action, Error> {
        if self.gateway.delete(target).await? == Found::Absent {
            return self.create(target, body).await;
        }
        let created = self.create_again(target, body).await;
        if created.is_err() {
            tracing::warn!("`{}` was deleted, and is not there until it is deployed again", target.name);
        }
        created
    }

    /// Creates what is being deleted, as soon as it is gone.
    async fn create_again(&self, target: &FunctionName, body: Bytes) -> Result<Action, Error> {
        let deadline = Instant::now() + GONE_TIMEOUT;
        let mut pause = GONE_PAUSE;
        // Not every policy lets the pipe look; then trying to create it shows whether it is gone.
        let mut may_look = true;
        loop {
            if may_look {
                match self.gateway.get(target).await {
                    Ok(None) => may_look = false,
                    Ok(Some(_)) => {}
                    Err(error) if error.status().is_some() => may_look = false,
                    Err(error) => return Err(error),
                }
            }
            if !may_look {
                match self.gateway.create(target, body.clone()).await? {
                    Creation::Accepted => return Ok(Action::Replaced),
                    Creation::Exists { error, .. } if Instant::now() > deadline => return Err(error),
                    Creation::Exists { .. } => {}
                }
            }
            if Instant::now() > deadline {
                may_look = false;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Not at the first sign of a stop: a function that was deleted is better created anew while there is time.
                failure = self.stop.grace_over() => return Err(Error::Stopped(failure)),
            }
            pause = (pause * 2).min(GONE_PAUSE_MOST);
        }
    }
}

/// The last line of a dry run.
pub(crate) fn dry_summary(_: &Outcome) -> String {
    "dry run: nothing was sent".to_owned()
}

/// The last line of a deploy.
pub(crate) fn summary(outcome: &Outcome) -> String {
    progress::summary(outcome, "deployed")
}
