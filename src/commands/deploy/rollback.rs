//! `ROLLBACK`: deploys again what ran before, where the new version did not get ready.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;

use crate::commands::progress::Reporter;
use crate::console::log::quote;
use crate::function::FunctionName;
use crate::function::api::{Deployment, Status};
use crate::function::outcome::{Action, Failure, FunctionOutcome, Problem};
use crate::gateway::statuses::{Reading, Statuses};
use crate::gateway::{Creation, Error, Found, Gateway};
use crate::shutdown::Stop;

/// How a function was brought back.
enum Undone {
    /// To the version of this image.
    Restored(String),
    /// By deleting it: it was new.
    Deleted,
}

/// Brings back the functions that did not get ready to what they were before the deploy; what each did is noted on it.
///
/// A replacement that deleted the old version and could not create the new one is one of them. What the gateway does not
/// tell of a function cannot be restored.
pub(super) async fn roll_back(
    gateway: &Gateway,
    stop: &Stop,
    parallel: usize,
    outcomes: &mut [FunctionOutcome],
    before: &[Reading],
    reporter: &Reporter<'_>,
) {
    let concerned = outcomes.iter().enumerate().zip(before).filter_map(|((index, outcome), before)| {
        let status = before.as_ref().ok()?.as_ref();
        let failed = outcome.action == Action::Failed && status.is_some();
        (failed || outcome.ready == Some(false)).then(|| (index, outcome.function.clone(), failed, status))
    });
    let concerned: Vec<_> = concerned.collect();
    let statuses = &Statuses::new(gateway, parallel);
    let undone: Vec<_> = stream::iter(concerned)
        .map(|(index, target, failed, status)| async move {
            if stop.requested().is_some() {
                return None;
            }
            // A deploy that failed has mostly left what was there.
            let untouched = failed && !matches!(statuses.read(&[&target]).await.as_slice(), [Ok(None)]);
            if untouched || stop.requested().is_some() {
                return None;
            }
            Some((index, undo(gateway, &target, status).await))
        })
        .buffer_unordered(parallel)
        .filter_map(std::future::ready)
        .collect()
        .await;
    for (index, result) in undone {
        if let Some(outcome) = outcomes.get_mut(index) {
            note(outcome, result, reporter);
        }
    }
}

async fn undo(gateway: &Gateway, target: &FunctionName, before: Option<&Status>) -> Result<Undone, Error> {
    let Some(status) = before else {
        return gateway.delete(target).await.map(|_| Undone::Deleted);
    };
    let deployment =
        Deployment { service: target.name.clone(), namespace: target.namespace.clone(), ..status.deployment() };
    let body = Bytes::from(serde_json::to_vec(&deployment).unwrap_or_default());
    if gateway.update(target, body.clone()).await? == Found::Absent
        && let Creation::Exists { error, .. } = gateway.create(target, body).await?
    {
        return Err(error);
    }
    Ok(Undone::Restored(status.image.clone()))
}

fn note(outcome: &mut FunctionOutcome, result: Result<Undone, Error>, reporter: &Reporter<'_>) {
    let name = outcome.function.clone();
    let was_new = outcome.action == Action::Created;
    let Some(mut problem) = outcome.problem.take() else { return };
    match result {
        Ok(Undone::Restored(image)) => {
            let image = quote(&image);
            tracing::warn!("`{name}` is rolled back: what ran before, image `{image}`, is deployed again");
            problem.message.push_str(&format!("; rolled back to image `{image}`"));
            outcome.action = Action::RolledBack;
        }
        Ok(Undone::Deleted) => {
            tracing::warn!("`{name}` is rolled back: it was new, and is deleted");
            problem.message.push_str("; deleted again, since it was new");
            outcome.action = Action::RolledBack;
        }
        Err(error) if was_new && error.is_forbidden() => {
            let Problem { message, hint, .. } = reporter.failed(&error);
            let left = format!("new, and left as it is, since it may not be deleted: {message}");
            reporter.problem(outcome, &Problem { failure: Failure::NotReady, message: left, hint: hint.clone() });
            problem.message.push_str("; left as it is, since it may not be deleted");
            problem.hint = hint;
        }
        Err(error) => {
            let Problem { failure, message, hint } = reporter.failed(&error);
            let failed = format!("the rollback failed: {message}");
            reporter.problem(outcome, &Problem { failure, message: failed.clone(), hint: hint.clone() });
            problem.message.push_str(&format!("; {failed}"));
            problem.hint = hint;
            problem.failure = Failure::worst([problem.failure, failure]).unwrap_or(failure);
        }
    }
    outcome.problem = Some(problem);
}
