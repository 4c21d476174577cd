//! Secrets and namespaces of a run: written before the functions are deployed, and deleted after they are removed.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::commands::concurrent::{Session, UNDECIDED};
use crate::commands::prepare::WantedSecret;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::outcome::{Action, FunctionOutcome, Resource, ResourceOutcome};
use crate::gateway::provider::Provider;
use crate::gateway::resources::Namespace;
use crate::gateway::{Deletion, Error, Gateway};
use crate::stack::labels;

/// The label of a namespace that names the repository whose run created it.
const CREATOR: &str = "com.openfaas-pipe.created-by";
/// More functions that keep a namespace are not named.
const MOST_NAMED: usize = 5;

/// An error if the provider has no namespaces but its own.
pub(crate) async fn check_provider(gateway: &Gateway, variable: &str) -> Result<(), Error> {
    if gateway.provider().await != Provider::CommunityEdition {
        return Ok(());
    }
    let message = format!("`{variable}`: OpenFaaS Community Edition has only the namespace `openfaas-fn`");
    let hint = format!("remove `{variable}`, or use OpenFaaS for Enterprises");
    Err(Error::not_sent(Diagnostic::new(Failure::Input, message).with_hint(hint)))
}

/// Creates those of the namespaces that do not exist.
pub(crate) async fn create_namespaces(
    session: &Session<'_>,
    names: BTreeSet<String>,
    repository: &str,
) -> Vec<ResourceOutcome> {
    let label = creator(repository);
    let names = names.into_iter().map(|name| (Resource::Namespace(name.clone()), name));
    each(session, names, async |_, name| session.gateway.create_namespace(&name, (CREATOR, &label)).await).await
}

/// Writes secrets; those in a namespace that this run `created` do not exist yet.
pub(crate) async fn write_secrets(
    session: &Session<'_>,
    secrets: &[WantedSecret],
    created: &[ResourceOutcome],
) -> Vec<ResourceOutcome> {
    let is_created = |outcome: &ResourceOutcome| outcome.action == Action::Created;
    let created: BTreeSet<_> = created.iter().filter(|outcome| is_created(outcome)).map(|new| &new.resource).collect();
    let secrets = secrets.iter().map(|secret| (resource(secret), secret));
    each(session, secrets, async |_, WantedSecret { namespace, name, value }| {
        let is_new = namespace.clone().is_some_and(|namespace| created.contains(&Resource::Namespace(namespace)));
        session.gateway.write_secret(namespace.as_deref(), name, value, is_new).await
    })
    .await
}

/// Logs what a deploy would create and write, for commands that change nothing.
pub(crate) fn planned(namespaces: BTreeSet<String>, condition: &str, secrets: &[WantedSecret]) {
    let namespaces = namespaces.into_iter().map(|name| format!("\n{}", Resource::Namespace(name))).collect::<String>();
    if !namespaces.is_empty() {
        tracing::info!("a deploy would create these namespaces{condition}:{namespaces}");
    }
    let secrets = secrets.iter().map(|secret| format!("\n{}", resource(secret))).collect::<String>();
    if !secrets.is_empty() {
        tracing::info!("a deploy would write these secrets, which cannot be compared with the present ones:{secrets}");
    }
}

/// A secret as log and results name it.
fn resource(secret: &WantedSecret) -> Resource {
    Resource::Secret { namespace: secret.namespace.clone(), name: secret.name.clone() }
}

/// The namespaces as they were found, by name.
pub(crate) type Found = BTreeMap<String, Result<Option<Namespace>, Error>>;

/// Looks namespaces up.
pub(crate) async fn find_namespaces(session: &Session<'_>, names: BTreeSet<String>) -> Found {
    let find = async |name: String| {
        let found = session.gateway.namespace(&name).await;
        (name, found)
    };
    stream::iter(names).map(find).buffer_unordered(session.parallel).collect().await
}

/// Those that do not exist.
pub(crate) fn missing(found: &Found) -> BTreeSet<String> {
    found.iter().filter(|(_, found)| matches!(found, Ok(None))).map(|(name, _)| name.clone()).collect()
}

/// Deletes those of the namespaces that a run of this repository created and that have no function any more.
pub(crate) async fn delete_namespaces(
    session: &Session<'_>,
    found: Found,
    repository: &str,
    functions: &[FunctionOutcome],
) -> Vec<ResourceOutcome> {
    let label = creator(repository);
    let found = found.into_iter().map(|(name, found)| (Resource::Namespace(name.clone()), (name, found)));
    each(session, found, async |outcome: &mut ResourceOutcome, (name, found)| {
        let Some(namespace) = found? else { return Ok(Action::Absent) };
        let is_left = |function: &FunctionOutcome| {
            function.problem.is_some() && function.function.namespace.as_deref() == Some(name.as_str())
        };
        let reason = match namespace.labels.get(CREATOR) {
            _ if functions.iter().any(is_left) => "not all of its functions were removed".to_owned(),
            Some(value) if *value != label => format!("another repository created it: its label is `{}`", quote(value)),
            None => format!("it has no label `{CREATOR}`, so no run of the pipe created it"),
            Some(_) => match &session.gateway.list(Some(&name), |_| true).await?[..] {
                [] => {
                    return match session.gateway.delete_namespace(&name).await? {
                        Deletion::Accepted => Ok(Action::Deleted),
                        Deletion::NotFound => Ok(Action::Absent),
                        Deletion::Unknown(error) => Err(error),
                    };
                }
                left => {
                    let left = log::names(left.iter().map(|status| &status.spec.service), MOST_NAMED);
                    format!("it still has functions: {left}")
                }
            },
        };
        outcome.problem = Some(Diagnostic::new(Failure::Failed, format!("not deleted: {reason}")));
        Ok(Action::Kept)
    })
    .await
}

/// The value of the label for a repository.
fn creator(repository: &str) -> String {
    labels::owner(repository, "")
}

/// Acts on each resource, `parallel` at once, and logs each as it ends. Nothing new is started after a signal, or after one
/// failed because the gateway is not available.
async fn each<T>(
    session: &Session<'_>,
    resources: impl IntoIterator<Item = (Resource, T)>,
    act: impl AsyncFn(&mut ResourceOutcome, T) -> Result<Action, Error>,
) -> Vec<ResourceOutcome> {
    let is_unavailable = Cell::new(false);
    let run = async |(resource, given): (Resource, T)| {
        let mut outcome = ResourceOutcome { resource, action: Action::NotStarted, problem: None };
        if let Some(failure) = session.shutdown.requested() {
            outcome.problem = Some(Diagnostic::new(failure, "the run was stopped"));
            return outcome;
        }
        if is_unavailable.get() {
            return outcome;
        }
        match act(&mut outcome, given).await {
            Ok(action) => outcome.action = action,
            Err(error) => {
                is_unavailable.set(is_unavailable.get() || error.is_unavailable());
                outcome.action = Action::Failed;
                let mut problem = session.reporter.failed(&error);
                if error.may_be_under_way() {
                    problem.message.push_str(UNDECIDED);
                }
                outcome.problem = Some(problem);
            }
        }
        if outcome.problem.is_none() {
            session.reporter.resource_ended(&outcome);
        }
        outcome
    };
    let outcomes: Vec<_> = stream::iter(resources).map(run).buffered(session.parallel).collect().await;
    // Errors last, and in the order of the stack file.
    let failed = outcomes.iter().filter(|outcome| outcome.problem.is_some());
    failed.for_each(|outcome| session.reporter.resource_ended(outcome));
    session.reporter.flush();
    let is_left = |outcome: &&ResourceOutcome| outcome.action == Action::NotStarted && outcome.problem.is_none();
    let left: String = outcomes.iter().filter(is_left).map(|left| format!("\n{}", left.resource)).collect();
    if !left.is_empty() {
        tracing::error!("not started, since the gateway is not available:{left}");
    }
    outcomes
}

/// True if all of them are as they should be.
pub(crate) fn are_done(outcomes: &[ResourceOutcome]) -> bool {
    outcomes.iter().all(|outcome| outcome.problem.is_none() && outcome.action != Action::NotStarted)
}
