//! The same with several functions, side by side.

use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::commands::progress::Reporter;
use crate::function::FunctionName;
use crate::function::outcome::{Action, FunctionOutcome, Problem};
use crate::gateway::Gateway;
use crate::shutdown::Stop;

/// The outcome of a function that nothing was done with yet.
pub(crate) fn begun(gateway: &Gateway, target: FunctionName) -> FunctionOutcome {
    let url = gateway.function_url(&target).into();
    FunctionOutcome::new(target, url)
}

/// Does something with each function, so many at once, and tells each as it ends; the outcomes are in the order given.
/// Nothing new is begun once the run is to stop.
pub(crate) async fn each<T>(
    functions: impl IntoIterator<Item = (FunctionOutcome, T)>,
    parallel: usize,
    stop: &Stop,
    reporter: &Reporter<'_>,
    act: impl AsyncFn(&FunctionName, T) -> Result<Action, Problem>,
) -> Vec<FunctionOutcome> {
    let act = &act;
    let mut outcomes: Vec<_> = stream::iter(functions.into_iter().enumerate())
        .map(|(index, (mut outcome, given))| async move {
            let started = Instant::now();
            if let Some(failure) = stop.requested() {
                outcome.problem = Some(Problem { failure, message: "the run was stopped".to_owned(), hint: None });
            } else {
                let done = act(&outcome.function.clone(), given).await;
                outcome.action = *done.as_ref().unwrap_or(&Action::Failed);
                outcome.problem = done.err();
            }
            outcome.duration = started.elapsed();
            (index, outcome)
        })
        .buffer_unordered(parallel)
        .inspect(|(_, outcome)| reporter.ended(outcome))
        .collect()
        .await;
    outcomes.sort_unstable_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
