//! `ROLLBACK`: redeploys what ran before if the new version does not become ready, and deletes what this run created.

use futures_util::StreamExt as _;
use futures_util::stream;

use super::strategy::{WantedFunction, redeployment, update};
use crate::commands::concurrent::{Session, UNDECIDED};
use crate::commands::removal::delete;
use crate::config::Deploy;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::function::compare::compare;
use crate::function::image::{is_same_image, is_same_tag};
use crate::function::outcome::{Action, FunctionOutcome, Left};
use crate::gateway::provider::Reported;
use crate::gateway::statuses::{StatusResult, Statuses};
use crate::gateway::{Creation, Error, Repeat, Update};
use crate::stack::Function;
use crate::text::count;

/// Why a name does not restore an image, and what does.
const PIN: &str = "which cannot be restored by its name";
/// More functions are not named in one line.
const MOST_NAMED: usize = 10;

/// Of faasd, whose single statuses have no limits.
const NO_LIST: &str = "the gateway did not return the list of functions, which faasd's memory limits are read from: check that its Prometheus is running";

/// The functions before anything is deployed: for `WAIT`, for `ROLLBACK`, and for what faasd leaves after an update that failed.
pub(super) struct Before {
    /// In the order of the functions; empty if it is not needed.
    pub(super) readings: Vec<StatusResult>,
    /// The fields that the gateway reports, if they were needed.
    pub(super) reported: Reported,
}

impl Before {
    /// Reads it as far as it is needed. An error if a rollback needs it and it cannot be read.
    pub(super) async fn read(session: &Session<'_>, deploy: &Deploy, functions: &[Function]) -> Result<Self, Error> {
        let Session { gateway, parallel, .. } = *session;
        let is_lost_easily = gateway.provider().await.may_remove();
        let is_needed = deploy.wait.is_some() || deploy.only_changed;
        if session.shutdown.requested().is_some() || !is_needed && !is_lost_easily {
            return Ok(Self { readings: Vec::new(), reported: Reported::NONE });
        }
        let targets: Vec<_> = functions.iter().map(|function| FunctionName::from(&function.deployment)).collect();
        let targets: Vec<_> = targets.iter().collect();
        // Otherwise it only decides what is said of an update that fails.
        let repeat = if is_needed { Repeat::Always } else { Repeat::NotAfterTimeout };
        let statuses = Statuses::complete(gateway, parallel).await.repeating(repeat);
        let readings = statuses.read(&targets).await;
        let mut before = Self { readings, reported: Reported::NONE };
        if (deploy.rollback || deploy.only_changed)
            && let Err(error) = session.reporter.first_error(&before.readings)
        {
            let variable = if deploy.only_changed { "ONLY_CHANGED" } else { "ROLLBACK" };
            let problem = session.reporter.failed(&error);
            let message = format!(
                "nothing is deployed: `{variable}` needs the previous version, which could not be read: {}",
                problem.message
            );
            // What the Policy lacks is reported at the end, with what to paste.
            let hint = problem.hint.filter(|_| error.lacks().is_none());
            return Err(Error::not_sent(Diagnostic { message, hint, ..problem }));
        }
        if deploy.rollback {
            let namespaces = targets.iter().map(|target| target.namespace.as_deref()).collect();
            before.reported = gateway.reported(&namespaces).await;
            before.reported.memory_limits &= !statuses.lacks_limits();
            before.can_roll_back()?;
            before.warn_of_tags(functions, deploy.only_changed);
        } else if statuses.lacks_limits() && before.readings.iter().any(|reading| matches!(reading, Ok(Some(_)))) {
            let message =
                "a version that has to be restored would lose its memory limit, which only the list of functions has";
            Diagnostic::warning(message).with_hint(NO_LIST).log();
        }
        Ok(before)
    }

    /// A function of which the gateway does not report all cannot be redeployed as it was.
    fn can_roll_back(&self) -> Result<(), Error> {
        let running = self.readings.iter().filter(|reading| matches!(reading, Ok(Some(_)))).count();
        if running == 0 || self.reported.is_complete() {
            return Ok(());
        }
        let functions = count(running, "function");
        // The other fields that faasd does not report are those that it does not support.
        let missing = if self.reported.memory_limits { self.reported.missing() } else { "memory limits".to_owned() };
        let message = format!(
            "nothing is deployed: `ROLLBACK` could not restore {functions}, since the gateway does not report: {missing}"
        );
        let hint = match self.reported.memory_limits {
            true => {
                "leave `ROLLBACK` out: Community Edition never reports these fields; of another gateway that takes a \
                 password they count as reported only if some function of the namespace shows them"
            }
            false => NO_LIST,
        };
        Err(Error::not_sent(Diagnostic::new(Failure::Input, message).with_hint(hint)))
    }

    /// A tag that was moved since stands for the new image before and after.
    fn warn_of_tags(&self, functions: &[Function], only_changed: bool) {
        let moved: Vec<_> = functions
            .iter()
            .zip(&self.readings)
            .filter_map(|(function, reading)| {
                let status = reading.as_ref().ok()?.as_ref()?;
                let is_sent = !only_changed || !self.reported.changes(status, &function.deployment).is_empty();
                (is_sent && is_same_tag(&function.deployment.image, &status.spec.image)).then_some(&function.deployment)
            })
            .collect();
        let Some(first) = moved.first() else { return };
        let message = format!(
            "`ROLLBACK` cannot restore the image of {}: its name, such as `{}`, is the same before and after",
            log::names(moved.iter().map(|function| FunctionName::from(*function).to_string()), MOST_NAMED),
            quote(&first.image)
        );
        let hint =
            "set `PIN_IMAGES: 'true'`, which deploys each image by its digest, or give each version a tag of its own";
        Diagnostic::warning(message).with_hint(hint).log();
    }
}

pub(super) struct Rollback<'a>(pub(super) Session<'a>);

enum RollbackResult {
    /// The version of this image was redeployed.
    Redeployed(String),
    Deleted,
    /// Why it was left as it is.
    Left(String),
    Failed(Error, Left),
}

impl Rollback<'_> {
    /// Rolls back the functions that are not ready. `before` is what ran before the deploy, in the same order.
    pub(super) async fn run(&self, outcomes: &mut [FunctionOutcome], before: &[StatusResult]) {
        let unready = outcomes.iter_mut().zip(before).filter(|(outcome, _)| outcome.ready == Some(false));
        stream::iter(unready)
            .for_each_concurrent(self.0.parallel, async |(outcome, before)| {
                if self.0.shutdown.requested().is_none() {
                    let result = self.undo(outcome, before).await;
                    self.note(outcome, result);
                }
            })
            .await;
    }

    /// Undoes a deploy, unless something else deployed since.
    async fn undo(&self, outcome: &FunctionOutcome, before: &StatusResult) -> RollbackResult {
        let left = RollbackResult::Left;
        let target = &outcome.function;
        let previous = match (outcome.action, before) {
            (Action::Unchanged, _) => return left("this run did not change it".to_owned()),
            (_, Ok(Some(status))) => Some(status),
            (Action::Created, Ok(None)) => None,
            (_, Ok(None)) => {
                let other = "something else created it after this run read its status";
                return left(format!("{other}, so its previous version is not known"));
            }
            (_, Err(_)) => return left("the previous version is not known".to_owned()),
        };
        let is_deployed =
            |now: &Status| outcome.image.as_ref().is_some_and(|image| is_same_image(&now.spec.image, image));
        match (self.0.gateway.get(target, Repeat::Always).await, previous) {
            (Err(error), _) => {
                left(format!("its current version is not known: {}", self.0.reporter.failed(&error).message))
            }
            (Ok(Some(now)), _) if !is_deployed(&now) => {
                left(format!("it now runs image `{}`, which this run did not deploy", quote(&now.spec.image)))
            }
            (Ok(Some(now)), Some(status))
                if is_same_tag(&now.spec.image, &status.spec.image)
                    && compare(&now.deployment(), &status.deployment()).is_empty() =>
            {
                left(format!("its image has the same name `{}` as before, {PIN}", quote(&status.spec.image)))
            }
            (Ok(_), Some(status)) => self.redeploy(target, status).await,
            (Ok(None), None) => left("it was new, and something else removed it".to_owned()),
            (Ok(Some(_)), None) => match delete(self.0.gateway, target).await {
                Ok(_) => RollbackResult::Deleted,
                Err(error) => RollbackResult::Failed(error, Left::NotRolledBack),
            },
        }
    }

    async fn redeploy(&self, target: &FunctionName, status: &Status) -> RollbackResult {
        let gateway = self.0.gateway;
        let sent = async {
            let deployment = redeployment(target, status);
            let now = gateway.get(target, Repeat::NotAfterTimeout).await;
            let previous = WantedFunction { target, deployment: &deployment, before: Some(&now) };
            if let Update::NotFound = update(&self.0, &previous).await?
                && let Creation::Exists { error, .. } = gateway.create(target, deployment.to_json()).await?
            {
                return Err(error);
            }
            Ok(())
        };
        let Err(error) = sent.await else { return RollbackResult::Redeployed(status.spec.image.clone()) };
        let left = match gateway.get(target, Repeat::Always).await {
            // faasd removes a function before it creates its new version.
            Ok(None) => Left::Gone,
            Err(_) if gateway.provider().await.may_remove() => Left::Unknown,
            _ => Left::NotRolledBack,
        };
        RollbackResult::Failed(error, left)
    }

    fn note(&self, outcome: &mut FunctionOutcome, result: RollbackResult) {
        let Some(mut problem) = outcome.problem.take() else { return };
        match result {
            RollbackResult::Redeployed(image) => outcome.restored(&image, &mut problem),
            RollbackResult::Deleted => {
                tracing::warn!("`{}` is rolled back: it was new, and is deleted", outcome.function);
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
                outcome.left = Left::NotRolledBack;
            }
            RollbackResult::Failed(error, left) => {
                let Diagnostic { failure, message, hint, .. } = self.0.reporter.failed(&error);
                let gone = match left {
                    Left::Gone => "; it is gone",
                    Left::Unknown => "; it may be gone",
                    _ if error.may_be_under_way() => UNDECIDED,
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
