//! `ROLLBACK`: redeploys what ran before if the new version does not become ready, and deletes what this run created.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::update::{UpdateRequest, update};
use crate::commands::concurrent::Session;
use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::FunctionName;
use crate::function::api::{Deployment, Status};
use crate::function::compare::compare;
use crate::function::image::{is_same_image, is_same_tag};
use crate::function::outcome::{Action, FunctionOutcome, Left};
use crate::gateway::statuses::StatusResult;
use crate::gateway::{Creation, Deletion, Error, Repeat, Update};

/// Why a name does not restore an image, and what does.
const PIN: &str = "which cannot be restored by its name";

pub(super) struct Rollback<'a>(pub(super) Session<'a>);

enum RollbackPlan<'a> {
    /// The previous version is redeployed.
    Redeploy(&'a Status),
    /// This run created it.
    Delete,
}

enum RollbackResult {
    /// The version of this image was redeployed.
    Redeployed(String),
    /// All but the image, whose name is the same before and after.
    Reconfigured(String),
    Deleted,
    /// Why it was left as it is.
    Left(String),
    Failed(Error, Left),
}

/// The body of a deployment that restores the function as this status reports it.
pub(super) fn redeployment(target: &FunctionName, status: &Status) -> Bytes {
    let deployment =
        Deployment { service: target.name.clone(), namespace: target.namespace.clone(), ..status.deployment() };
    deployment.to_json()
}

impl Rollback<'_> {
    /// Rolls back the functions that are not ready. `before` is what ran before the deploy, in the same order.
    pub(super) async fn run(&self, outcomes: &mut [FunctionOutcome], before: &[StatusResult]) {
        let unready = outcomes.iter_mut().zip(before).filter(|(outcome, _)| outcome.ready == Some(false));
        stream::iter(unready)
            .for_each_concurrent(self.0.parallel, async |(outcome, before)| {
                if self.0.shutdown.requested().is_some() {
                    return;
                }
                let result = match plan(outcome.action, before) {
                    Ok(plan) => self.undo(outcome, plan).await,
                    Err(reason) => RollbackResult::Left(reason.to_owned()),
                };
                self.note(outcome, result);
            })
            .await;
    }

    /// Undoes a deploy, unless something else deployed since.
    async fn undo(&self, outcome: &FunctionOutcome, plan: RollbackPlan<'_>) -> RollbackResult {
        let target = &outcome.function;
        let is_deployed =
            |status: &Status| outcome.image.as_ref().is_some_and(|image| is_same_image(&status.image, image));
        match (self.0.gateway.get(target, Repeat::Always).await, plan) {
            (Ok(Some(status)), _) if !is_deployed(&status) => RollbackResult::Left(format!(
                "it now runs image `{}`, which this run did not deploy",
                quote(&status.image)
            )),
            (Ok(Some(now)), RollbackPlan::Redeploy(status))
                if is_same_tag(&now.image, &status.image)
                    && compare(&now.deployment(), &status.deployment()).is_empty() =>
            {
                RollbackResult::Left(format!("its image has the same name `{}` as before, {PIN}", quote(&status.image)))
            }
            (Ok(_), RollbackPlan::Redeploy(status)) => self.redeploy(target, status, outcome.image.as_deref()).await,
            (Ok(None), RollbackPlan::Delete) => RollbackResult::Deleted,
            (Ok(Some(_)), RollbackPlan::Delete) => match self.0.gateway.delete(target).await {
                Ok(Deletion::Accepted | Deletion::NotFound) => RollbackResult::Deleted,
                Ok(Deletion::Unknown(error)) | Err(error) => RollbackResult::Failed(error, Left::Untouched),
            },
            (Err(error), _) => RollbackResult::Left(format!(
                "its current version is not known: {}",
                self.0.reporter.failed(&error).message
            )),
        }
    }

    async fn redeploy(&self, target: &FunctionName, status: &Status, new_image: Option<&str>) -> RollbackResult {
        let sent = async {
            let body = redeployment(target, status);
            let now = self.0.gateway.get(target, Repeat::NotAfterTimeout).await;
            let change = UpdateRequest { target, image: &status.image, body: &body, before: Some(&now) };
            if let Update::NotFound = update(&self.0, &change).await?
                && let Creation::Exists { error, .. } = self.0.gateway.create(target, body.clone()).await?
            {
                return Err(error);
            }
            Ok(())
        };
        match sent.await {
            Ok(()) if new_image.is_some_and(|new| is_same_tag(new, &status.image)) => {
                RollbackResult::Reconfigured(status.image.clone())
            }
            Ok(()) => RollbackResult::Redeployed(status.image.clone()),
            Err(error) => match self.0.gateway.get(target, Repeat::Always).await {
                // faasd removes a function before it creates its new version.
                Ok(None) => RollbackResult::Failed(error, Left::Gone),
                Err(_) if self.0.gateway.provider().await.may_remove() => RollbackResult::Failed(error, Left::Unknown),
                _ => RollbackResult::Failed(error, Left::Untouched),
            },
        }
    }

    fn note(&self, outcome: &mut FunctionOutcome, result: RollbackResult) {
        let name = outcome.function.clone();
        let Some(mut problem) = outcome.problem.take() else { return };
        match result {
            RollbackResult::Redeployed(image) => {
                let image = quote(&image);
                tracing::warn!("`{name}` is rolled back: image `{image}`, which ran before, is redeployed");
                problem.message.push_str(&format!("; rolled back to image `{image}`"));
                outcome.action = Action::RolledBack;
            }
            RollbackResult::Reconfigured(image) => {
                let image = quote(&image);
                let done = format!(
                    "its previous configuration is redeployed, but its image has the same name `{image}` as before, {PIN}"
                );
                tracing::warn!("`{name}` is rolled back in part: {done}");
                problem.message.push_str(&format!("; rolled back in part: {done}"));
            }
            RollbackResult::Deleted => {
                tracing::warn!("`{name}` is rolled back: it was new, and is deleted");
                problem.message.push_str("; deleted again, since it was new");
                outcome.action = Action::RolledBack;
            }
            RollbackResult::Left(reason) => {
                let left = Diagnostic::warning(format!("not rolled back: {reason}"));
                self.0.reporter.problem(outcome, &left);
                problem.message.push_str(&format!("; not rolled back: {reason}"));
            }
            RollbackResult::Failed(error, _) if outcome.action == Action::Created && error.is_forbidden() => {
                let Diagnostic { message, hint, .. } = self.0.reporter.failed(&error);
                let left = format!("new, but not deleted: {message}");
                let left = Diagnostic { hint: hint.clone(), ..Diagnostic::new(Failure::NotReady, left) };
                self.0.reporter.problem(outcome, &left);
                problem.message.push_str("; not deleted");
                problem.hint = hint;
            }
            RollbackResult::Failed(error, left) => {
                let Diagnostic { failure, message, hint, .. } = self.0.reporter.failed(&error);
                let gone = match left {
                    Left::Gone => "; it is gone",
                    Left::Unknown => "; it may be gone",
                    _ => "",
                };
                let failed = format!("the rollback failed: {message}{gone}");
                let problem_of_it = Diagnostic { hint: hint.clone(), ..Diagnostic::new(failure, failed.clone()) };
                self.0.reporter.problem(outcome, &problem_of_it);
                problem.message.push_str(&format!("; {failed}"));
                problem.hint = hint;
                problem.failure = problem.failure.min(failure);
                outcome.left = left;
            }
        }
        outcome.problem = Some(problem);
    }
}

/// How to roll a function back, else why that is not possible.
fn plan(action: Action, before: &StatusResult) -> Result<RollbackPlan<'_>, &'static str> {
    match (action, before) {
        (Action::Unchanged, _) => Err("this run did not change it"),
        (_, Ok(Some(status))) => Ok(RollbackPlan::Redeploy(status)),
        (Action::Created, Ok(None)) => Ok(RollbackPlan::Delete),
        (_, Ok(None)) => {
            Err("something else created it after this run read its status, so its previous version is not known")
        }
        (_, Err(_)) => Err("the previous version is not known"),
    }
}
