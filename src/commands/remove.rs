//! `COMMAND: remove`, and the deletions of `PRUNE`: deletes functions side by side.

use crate::commands::concurrent::{begun, each};
use crate::commands::permissions;
use crate::commands::prepare::{Rejected, Run};
use crate::commands::progress::{self, Reporter, count};
use crate::commands::session::Session;
use crate::function::FunctionName;
use crate::function::outcome::{Action, FunctionOutcome, Outcome};
use crate::gateway::{Deletion, Error};
use crate::oidc;

pub(crate) async fn run(mut run: Run<'_>) -> Result<Outcome, Rejected> {
    let loaded = run.load().await;
    let gateway = run.gateway(loaded.as_ref());
    let (loaded, gateway) = run.finish(loaded.zip(gateway))?;
    let mut outcome = run.outcome(gateway.address());
    let functions = &loaded.stack.functions;
    tracing::info!("removing {} of `{}` from `{}`", count(functions.len()), loaded.path, gateway.address());
    outcome.stack_file = Some(loaded.path.clone());
    let needs = |functions| permissions::of_all(oidc::IamAction::FunctionDelete, functions);
    let reporter = &Reporter::new(&needs);
    match gateway.sign_in().await {
        // The table reports that nothing was started.
        Ok(()) | Err(Error::Stopped(_)) => {
            let session = run.session(&gateway, reporter);
            let targets =
                functions.iter().map(|function| (FunctionName::from(&function.deployment), Some(function.line)));
            outcome.functions = remove(&session, targets.collect()).await;
            reporter.lacking(loaded.names());
            progress::table(&outcome.functions);
        }
        Err(error) => outcome.problem = Some(reporter.run_failed(&error)),
    }
    Ok(outcome)
}

/// Deletes functions concurrently, each with its line in the stack file; the outcomes are in the same order.
pub(crate) async fn remove(session: &Session<'_>, targets: Vec<(FunctionName, Option<usize>)>) -> Vec<FunctionOutcome> {
    let gateway = session.gateway;
    let begun = targets.into_iter().map(|(target, line)| (FunctionOutcome { line, ..begun(gateway, target) }, ()));
    each(session, begun, async |target, ()| match gateway.delete(target).await {
        Ok(Deletion::Accepted) => Ok(Action::Removed),
        Ok(Deletion::NotFound) => Ok(Action::Absent),
        // If the function no longer exists, only the answer was lost.
        Ok(Deletion::Unknown(error)) if error.status().is_none() || error.is_transient() => {
            match gateway.get(target).await {
                Ok(None) => Ok(Action::Removed),
                _ => Err(error.into()),
            }
        }
        Ok(Deletion::Unknown(error)) | Err(error) => Err(error.into()),
    })
    .await
}

pub(crate) fn summary(outcome: &Outcome) -> String {
    progress::summary(outcome, "removed")
}
