//! `COMMAND: remove`, and the deletions of `PRUNE`: functions are deleted side by side.

use crate::config::Selection;
use crate::each::{begun, each};
use crate::gateway::{Error, Found, Gateway, Target};
use crate::outcome::{Action, FunctionOutcome, Outcome};
use crate::run::{Rejected, Run};
use crate::show::{self, Teller, count};
use crate::stop::Stop;
use crate::{grants, oidc};

/// Deletes what the variables select.
pub async fn run(mut run: Run<'_>, selection: &Selection) -> Result<Outcome, Rejected> {
    let loaded = run.stack(selection, None).await;
    let gateway = run.gateway(loaded.as_ref().map(|loaded| &loaded.stack));
    let (loaded, gateway) = run.ready(loaded.zip(gateway))?;
    let mut outcome = run.outcome(gateway.address());
    let functions = &loaded.stack.functions;
    tracing::info!("removing {} of `{}` from `{}`", count(functions.len()), loaded.path, gateway.address());
    outcome.stack_file = Some(loaded.path.clone());
    let needs = |functions| grants::of_all(oidc::Action::FunctionDelete, functions);
    let teller = &Teller::new(&needs);
    match gateway.sign_in(functions.len()).await {
        // The table is to say that nothing was started.
        Ok(()) | Err(Error::Stopped(_)) => {
            let targets = functions.iter().map(|function| (Target::from(&function.deployment), Some(function.line)));
            outcome.functions = remove(&gateway, run.stop, run.config.parallel, targets.collect(), teller).await;
            teller.lacking(loaded.names());
            show::table(&outcome.functions);
        }
        Err(error) => outcome.problem = Some(teller.run_failed(&error)),
    }
    outcome.duration = run.started.elapsed();
    Ok(outcome)
}

/// Deletes functions, some at once, each with its line in the stack file; the outcomes are in their order.
pub async fn remove(
    gateway: &Gateway,
    stop: &Stop,
    parallel: usize,
    targets: Vec<(Target, Option<usize>)>,
    teller: &Teller<'_>,
) -> Vec<FunctionOutcome> {
    let begun = targets.into_iter().map(|(target, line)| (FunctionOutcome { line, ..begun(gateway, target) }, ()));
    each(begun, parallel, stop, teller, async |target, ()| match gateway.delete(target).await {
        Ok(Found::Accepted) => Ok(Action::Removed),
        Ok(Found::Absent) => Ok(Action::Absent),
        Err(error) => Err(teller.failed(&error)),
    })
    .await
}

/// The last line.
pub fn summary(outcome: &Outcome) -> String {
    show::summary(outcome, "removed")
}
