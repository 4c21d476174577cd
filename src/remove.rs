//! `COMMAND: remove`, and the deletions of `PRUNE`: functions are deleted side by side.

use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::config::Selection;
use crate::gateway::{Error, Found, Gateway, Target};
use crate::outcome::{Action, FunctionOutcome, Outcome};
use crate::run::{self, Rejected, Run};
use crate::show::{self, Teller, count};
use crate::stop::Stop;

/// Deletes what the variables select.
pub async fn run(mut run: Run<'_>, selection: &Selection) -> Result<Outcome, Rejected> {
    let loaded = run.stack(selection, None).await;
    let gateway = run.gateway(loaded.as_ref().map(|loaded| &loaded.stack));
    run.check()?;
    let (Some(loaded), Some(gateway)) = (loaded, gateway) else {
        return Ok(run.outcome(String::new()));
    };
    let mut outcome = run.outcome(gateway.address());
    let functions = &loaded.stack.functions;
    tracing::info!("removing {} of `{}` from `{}`", count(functions.len()), loaded.path, gateway.address());
    outcome.stack_file = Some(loaded.path);
    match gateway.sign_in(functions.len()).await {
        // The table is to say that nothing was started.
        Ok(()) | Err(Error::Stopped(_)) => {
            let targets = functions.iter().map(|function| (Target::from(&function.deployment), Some(function.line)));
            let teller = Teller::default();
            outcome.functions = remove(&gateway, run.stop, run.config.parallel, targets.collect(), &teller).await;
            teller.lacking();
            show::table(&outcome.functions);
        }
        Err(error) => {
            let problem = error.problem();
            run::tell("", &problem);
            outcome.problem = Some(problem);
        }
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
    teller: &Teller,
) -> Vec<FunctionOutcome> {
    let mut outcomes: Vec<_> = stream::iter(targets.into_iter().enumerate())
        .map(|(index, (target, line))| async move {
            let started = Instant::now();
            let (action, problem) = match stop.requested() {
                Some(failure) => show::not_started(failure),
                None => match gateway.delete(&target).await {
                    Ok(Found::Accepted) => (Action::Removed, None),
                    Ok(Found::Absent) => (Action::Absent, None),
                    Err(error) => (Action::Failed, Some(teller.failed(&error))),
                },
            };
            let outcome = FunctionOutcome {
                url: gateway.function_url(&target).into(),
                name: target.name,
                namespace: target.namespace,
                image: None,
                action,
                problem,
                duration: started.elapsed(),
                line,
                ready: None,
                replicas: None,
            };
            (index, outcome)
        })
        .buffer_unordered(parallel)
        .inspect(|(_, outcome)| teller.ended(outcome))
        .collect()
        .await;
    outcomes.sort_unstable_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The last line.
pub fn summary(outcome: &Outcome) -> String {
    show::summary(outcome, "removed")
}
