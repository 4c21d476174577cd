//! `COMMAND: deploy`: the functions of a stack file, side by side.

mod early;
mod provider_hints;
mod readiness;
mod rollback;
mod strategy;
mod verify;
mod wait;

use std::collections::BTreeSet;

use crate::commands::calls::{Payload, open_payload};
use crate::commands::concurrent::{self, Failed, each};
use crate::commands::deploy::early::EarlyLooks;
use crate::commands::deploy::rollback::{Before, Rollback};
use crate::commands::deploy::strategy::{Deployer, WantedFunction};
use crate::commands::deploy::verify::Verifier;
use crate::commands::deploy::wait::Waiter;
use crate::commands::images;
use crate::commands::permissions;
use crate::commands::prepare::{Loaded, Preparation, Rejected};
use crate::commands::progress::{self, Reporter};
use crate::commands::removal::{left_over, remove};
use crate::commands::resources;
use crate::config::Deploy;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::compare::changes;
use crate::function::outcome::{Action, FunctionOutcome, Outcome, ResourceOutcome, Verdict};
use crate::gateway::statuses::StatusResult;
use crate::gateway::{Error, Gateway};
use crate::stack::Function;
use crate::text::{count, list};

/// More namespaces are not named.
const MOST_NAMED: usize = 10;

pub(crate) async fn run(mut preparation: Preparation<'_>, deploy: &Deploy) -> Result<Outcome, Rejected> {
    let loaded = preparation.load_for_gateway().await;
    let payload = deploy.verify.as_ref().and_then(|verify| open_payload(&mut preparation, &verify.options));
    let http = deploy.images.check.then(|| preparation.registry_client()).flatten();
    let (mut loaded, gateway) = preparation.finish(loaded)?;
    let mut outcome = preparation.outcome(gateway.address(), Some(&loaded));
    tracing::info!("deploying {} to `{}`", loaded.in_words(), gateway.address());
    let secrets = loaded.secret_namespaces(deploy);
    let needs = |functions| permissions::of_deploy(deploy, &secrets, functions);
    let reporter = &Reporter::new(&needs);
    let (signed_in, checked) =
        tokio::join!(gateway.sign_in(), images::check(&preparation, http.as_ref(), &deploy.images, &loaded));
    if signed_in.is_ok() {
        loaded.check_refused(&gateway).await?;
    }
    let digests = checked.apply(&mut loaded.functions, deploy.images.pin);
    let refused = checked.worst().is_some();
    if refused {
        outcome.functions = begun(&gateway, &loaded.functions);
        for (outcome, function) in outcome.functions.iter_mut().zip(&loaded.functions) {
            outcome.problem = checked.problem(function).cloned();
            outcome.action = if outcome.problem.is_some() { Action::Failed } else { Action::NotStarted };
        }
    }
    match signed_in {
        Ok(()) | Err(Error::Stopped(_)) if refused => {}
        // The table reports that nothing was started.
        Ok(()) | Err(Error::Stopped(_)) => {
            let deployer = Deployer { session: preparation.session(&gateway, reporter), deploy };
            if let Err(error) = deployer.all(&loaded, payload.as_ref(), &mut outcome).await {
                let mut problem = reporter.run_failed(&error);
                let created = |namespace: &ResourceOutcome| namespace.action == Action::Created;
                if problem.failure == Failure::Input && outcome.namespaces.iter().any(created) {
                    // Not what code 2 says: something was changed.
                    problem.failure = Failure::Failed;
                }
                outcome.problem = Some(problem);
            }
            reporter.lacking(loaded.names());
        }
        Err(error) => outcome.problem = Some(reporter.run_failed(&error)),
    }
    for (function, digest) in outcome.functions.iter_mut().zip(digests) {
        function.digest = digest;
    }
    if !outcome.functions.is_empty() {
        reporter.table(&outcome.functions);
        progress::calls_table(&outcome.calls);
    }
    Ok(outcome)
}

/// The functions of the stack files, with which nothing was done yet.
fn begun(gateway: &Gateway, functions: &[Function]) -> Vec<FunctionOutcome> {
    let begun = functions.iter().map(|function| FunctionOutcome {
        image: Some(function.deployment.image.clone()),
        place: Some(function.location.clone()),
        ..concurrent::begun(gateway, function.name())
    });
    begun.collect()
}

/// `DRY_RUN`: shows what would be sent.
pub(crate) async fn dry_run(mut preparation: Preparation<'_>, deploy: &Deploy) -> Result<Outcome, Rejected> {
    let loaded = preparation.load().await;
    let _ = deploy.verify.as_ref().and_then(|verify| open_payload(&mut preparation, &verify.options));
    let _ = preparation.ca_cert();
    let loaded = preparation.finish(loaded)?;
    loaded.refused.iter().for_each(Diagnostic::log);
    tracing::info!("dry run: this would be sent");
    if deploy.images.check {
        tracing::info!("dry run: no registry is contacted, so the digests of images are not known");
    }
    let deployments: Vec<_> = loaded.functions.iter().map(|function| &function.deployment).collect();
    let json = serde_json::to_string_pretty(&deployments).expect("maps of texts are JSON");
    log::plain(log::json(&json));
    let namespaces = loaded.namespaces_for("CREATE_NAMESPACE", deploy.creator.is_some());
    resources::planned(namespaces, ", unless they exist", &loaded.secrets);
    if let Some(verify) = &deploy.verify {
        let deployed: Vec<_> = loaded.names().collect();
        let calls = verify.calls.iter().map(|call| {
            let query = call.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
            format!("\n{} /function/{}{}{query}", verify.options.method, call.function(&deployed), call.path)
        });
        tracing::info!("once all are ready, these calls would be made:{}", calls.collect::<String>());
    }
    Ok(preparation.outcome(String::new(), Some(&loaded)))
}

impl Deployer<'_> {
    /// Deploys, waits, rolls back and prunes, as far as that is asked for. An error is one of the run as a whole.
    async fn all(&self, loaded: &Loaded, payload: Option<&Payload>, outcome: &mut Outcome) -> Result<(), Error> {
        let functions = &loaded.functions;
        // Asked early: after a failure the gateway may not answer any more.
        self.session.gateway.provider().await;
        self.namespaces(loaded, outcome).await?;
        if !resources::are_done(&outcome.namespaces) {
            outcome.functions = begun(self.session.gateway, functions);
            return Ok(());
        }
        let before = Before::read(&self.session, self.deploy, functions).await?;
        self.secrets(loaded, outcome).await;
        if !resources::are_done(&outcome.secrets) {
            outcome.functions = begun(self.session.gateway, functions);
            return Ok(());
        }
        // A rollback must not depend on an assumption, unless the calls of `VERIFY` decide.
        let may_assume = !self.deploy.rollback || self.deploy.verify.is_some();
        let waiter = self.deploy.wait;
        let waiter = waiter.map(|limit| Waiter { session: self.session, limit, may_assume, reported: before.reported });
        let early = EarlyLooks::new(waiter.as_ref(), functions, &before.readings);
        outcome.functions = early.during(self.each(functions, &before.readings, &early)).await;
        if let Some(waiter) = &waiter {
            let deployments: Vec<_> = functions.iter().map(|function| &function.deployment).collect();
            waiter.wait(&mut outcome.functions, &deployments, &before.readings, early.into_updated()).await;
            self.session.reporter.flush();
        }
        if let Some((verify, payload)) = self.deploy.verify.as_deref().zip(payload) {
            let verifier = Verifier { session: self.session, verify, payload, limit: self.deploy.wait_timeout };
            self.verify(&verifier, loaded, outcome).await;
        }
        if self.deploy.rollback {
            Rollback(self.session).run(&mut outcome.functions, &before.readings).await;
            self.session.reporter.flush();
        }
        if self.deploy.selection.options.prune && self.session.shutdown.requested().is_none() {
            self.prune(loaded, outcome).await?;
        }
        Ok(())
    }

    /// Creates the namespaces that do not exist, if that is asked for.
    async fn namespaces(&self, loaded: &Loaded, outcome: &mut Outcome) -> Result<(), Error> {
        let Some(repository) = &self.deploy.creator else { return Ok(()) };
        resources::check_provider(self.session.gateway, "CREATE_NAMESPACE").await?;
        outcome.namespaces =
            resources::create_namespaces(&self.session, loaded.namespaces_for("CREATE_NAMESPACE", true), repository)
                .await;
        Ok(())
    }

    /// Writes the secrets, after everything that can fail without them.
    async fn secrets(&self, loaded: &Loaded, outcome: &mut Outcome) {
        if self.deploy.rollback && !loaded.secrets.is_empty() {
            tracing::warn!(
                "`ROLLBACK` does not restore secrets: the gateway does not return the values that they have now"
            );
        }
        outcome.secrets = resources::write_secrets(&self.session, &loaded.secrets, &outcome.namespaces).await;
    }

    /// True if the functions that run already as they would be sent are not sent again (`ONLY_CHANGED`).
    async fn skips_unchanged(&self, functions: &[Function], before: &[StatusResult]) -> bool {
        if !self.deploy.only_changed || !functions.iter().zip(before).any(|(function, before)| runs(function, before)) {
            return false;
        }
        let namespaces = functions.iter().map(|function| function.deployment.namespace.as_deref()).collect();
        let reported = self.session.gateway.reported(&namespaces).await;
        if !reported.is_complete() {
            let missing = reported.missing();
            tracing::info!("`ONLY_CHANGED`: all functions are sent, since the gateway does not report: {missing}");
        }
        reported.is_complete()
    }

    /// Calls what `VERIFY` lists. Functions are verified together: if a call fails, all of this run count as not ready.
    async fn verify(&self, verifier: &Verifier<'_>, loaded: &Loaded, outcome: &mut Outcome) {
        let deployed: Vec<_> = loaded.names().collect();
        outcome.calls = verifier.planned(&deployed);
        if outcome.functions.iter().any(|function| function.problem.is_some()) {
            tracing::warn!("no `VERIFY` call is made: not all functions are deployed and ready");
            return;
        }
        verifier.run(&mut outcome.calls).await;
        let failed = outcome.calls.iter().any(|call| call.verdict() == Verdict::Failed);
        if !failed || !self.deploy.rollback || self.session.shutdown.requested().is_some() {
            return;
        }
        for function in outcome.functions.iter_mut().filter(|function| function.action.is_deployed()) {
            function.ready = Some(false);
            let message = "deployed and ready, but a `VERIFY` call of this run failed";
            function.problem = Some(Diagnostic::new(Failure::NotReady, message));
        }
    }

    /// Removes what the stack file no longer names, if everything was deployed.
    async fn prune(&self, loaded: &Loaded, outcome: &mut Outcome) -> Result<(), Error> {
        if outcome.worst().is_some() {
            tracing::warn!("nothing is pruned because this deploy has errors");
            return Ok(());
        }
        let options = &self.deploy.selection.options;
        if let Some(selector) = &options.selector {
            tracing::info!("only functions that match `{}` are pruned", selector.variable());
        }
        let left_over = left_over(self.session.gateway, loaded, options).await?;
        if left_over.is_empty() {
            let named = loaded.files.iter().flat_map(|file| &file.stack.named);
            let namespaces: BTreeSet<_> = named.map(|function| function.namespace.as_deref()).collect();
            let shown = namespaces.into_iter().map(|namespace| match namespace {
                Some(name) => format!("`{}`", quote(name)),
                None => "the gateway's own namespace".to_owned(),
            });
            tracing::info!("nothing to prune in {}", list(shown, MOST_NAMED));
            return Ok(());
        }
        tracing::info!("pruning {} that {} no longer names", count(left_over.len(), "function"), loaded.shown());
        let targets = left_over.into_iter().map(|target| (target, None)).collect();
        outcome.functions.append(&mut remove(&self.session, &BTreeSet::new(), targets).await);
        Ok(())
    }

    async fn each(
        &self,
        functions: &[Function],
        before: &[StatusResult],
        early: &EarlyLooks<'_>,
    ) -> Vec<FunctionOutcome> {
        let skips_unchanged = self.skips_unchanged(functions, before).await;
        let begun = begun(self.session.gateway, functions).into_iter();
        // Not every deploy reads what runs before it.
        let before = before.iter().map(Some).chain(std::iter::repeat(None));
        let given = functions.iter().zip(before).enumerate();
        each(&self.session, begun.zip(given), async |target, (place, (function, before))| {
            if skips_unchanged && before.is_some_and(|before| runs(function, before)) {
                return Ok(Action::Unchanged);
            }
            let wanted = WantedFunction { target, deployment: &function.deployment, before };
            let options = &self.deploy.selection.options;
            let action = self.one(&wanted).await.map_err(|failed| {
                let hint = failed.error.provider_says().map(|text| provider_hints::advice(text, function, options));
                Failed { hint, ..failed }
            })?;
            early.deployed(place, action).await;
            Ok(action)
        })
        .await
    }
}

/// True if a function runs already as it would be sent; another commit in its labels alone is no change.
fn runs(function: &Function, before: &StatusResult) -> bool {
    matches!(before, Ok(Some(status)) if changes(&status.deployment(), &function.deployment).is_empty())
}

pub(crate) fn dry_summary(_: &Outcome) -> String {
    "dry run: nothing was sent".to_owned()
}

pub(crate) fn summary(outcome: &Outcome) -> String {
    progress::summary(outcome, "deployed")
}
