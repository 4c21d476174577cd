//! `COMMAND: remove`: deletes the functions of a stack file.

use crate::commands::permissions;
use crate::commands::prepare::{Preparation, Rejected};
use crate::commands::progress::{self, Reporter};
use crate::commands::removal::remove;
use crate::commands::resources;
use crate::config::Remove;
use crate::function::outcome::Outcome;
use crate::gateway::Error;

pub(crate) async fn run(mut preparation: Preparation<'_>, options: &Remove) -> Result<Outcome, Rejected> {
    let loaded = preparation.load_for_gateway().await;
    let (loaded, gateway) = preparation.finish(loaded)?;
    let mut outcome = preparation.outcome(gateway.address(), Some(&loaded));
    let functions = &loaded.functions;
    tracing::info!("removing {} from `{}`", loaded.in_words(), gateway.address());
    let needs = |functions| permissions::of_remove(options.creator.is_some(), functions);
    let reporter = &Reporter::new(&needs);
    match gateway.sign_in().await {
        // The table reports that nothing was started.
        Ok(()) | Err(Error::Stopped(_)) => {
            let session = preparation.session(&gateway, reporter);
            let targets = functions.iter().map(|function| (function.name(), Some(function.location.clone())));
            if options.creator.is_some()
                && let Err(error) = resources::check_provider(&gateway, "DELETE_NAMESPACE").await
            {
                outcome.problem = Some(reporter.run_failed(&error));
                return Ok(outcome);
            }
            let named = loaded.namespaces_for("DELETE_NAMESPACE", options.creator.is_some());
            let found = resources::find_namespaces(&session, named).await;
            outcome.functions = remove(&session, &resources::missing(&found), targets.collect()).await;
            if let Some(repository) = &options.creator {
                outcome.namespaces =
                    resources::delete_namespaces(&session, found, repository, &outcome.functions).await;
            }
            reporter.lacking(loaded.names());
            reporter.table(&outcome.functions);
        }
        Err(error) => outcome.problem = Some(reporter.run_failed(&error)),
    }
    Ok(outcome)
}

pub(crate) fn summary(outcome: &Outcome) -> String {
    progress::summary(outcome, "removed")
}
