//! The removal of functions: for `remove`, and of those that are no longer in the stack file they were deployed from (`PRUNE`).

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::commands::concurrent::{Failed, Session, begun, each};
use crate::commands::prepare::Loaded;
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::function::outcome::{Action, FunctionOutcome, Location};
use crate::gateway::{Deletion, Error, Gateway, Repeat};
use crate::stack::{self, labels};

/// How long a removal may take. Kubernetes gives the processes of a function 30 s by default.
const REMOVAL: Duration = Duration::from_secs(120);
/// The pause between two looks at a function that is removed; it grows to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(2);

/// Deletes functions concurrently, each with its place in the stack file; the outcomes are in the same order. Those of
/// namespaces that do not exist are not there either: a provider refuses requests for them.
pub(crate) async fn remove(
    session: &Session<'_>,
    gone: &BTreeSet<String>,
    targets: Vec<(FunctionName, Option<Location>)>,
) -> Vec<FunctionOutcome> {
    let gateway = session.gateway;
    let begun = targets.into_iter().map(|(target, place)| (FunctionOutcome { place, ..begun(gateway, target) }, ()));
    let unseen = Cell::new(false);
    let outcomes = each(session, begun, async |target, ()| {
        if target.namespace.as_ref().is_some_and(|namespace| gone.contains(namespace)) {
            return Ok(Action::Absent);
        }
        match delete(gateway, target).await? {
            Deletion::NotFound => Ok(Action::Absent),
            _ => until_gone(session, target, &unseen).await,
        }
    })
    .await;
    if unseen.get() {
        tracing::info!("without `Function:Get` a removal counts as done when the gateway has accepted it");
    }
    outcomes
}

/// Deletes a function. If no response says so and the function no longer exists, only the response was lost.
pub(crate) async fn delete(gateway: &Gateway, target: &FunctionName) -> Result<Deletion, Error> {
    match gateway.delete(target).await? {
        Deletion::Unknown(error)
            if (error.status().is_none() || error.is_transient())
                && matches!(gateway.get(target, Repeat::Always).await, Ok(None)) =>
        {
            Ok(Deletion::Accepted)
        }
        Deletion::Unknown(error) => Err(error),
        known => Ok(known),
    }
}

/// Waits until a function is gone: Kubernetes keeps it until its replicas have stopped, and what is deployed meanwhile is removed
/// with it.
async fn until_gone(session: &Session<'_>, target: &FunctionName, unseen: &Cell<bool>) -> Result<Action, Failed> {
    let started = Instant::now();
    let mut pause = PAUSE;
    let mut created_at = None;
    loop {
        match session.gateway.get(target, Repeat::NotAfterTimeout).await {
            Ok(Some(status)) if *created_at.get_or_insert(status.created_at.clone()) == status.created_at => {}
            // It is gone, also if something else has created another one.
            Ok(_) => return Ok(Action::Removed),
            // A Policy for removals does not permit to look: all that is known is that the deletion was accepted.
            Err(error) if error.is_forbidden() => {
                unseen.set(true);
                return Ok(Action::Removed);
            }
            Err(error) => return Err(Error::NotSeenGone(error.into()).into()),
        }
        if started.elapsed() >= REMOVAL {
            return Err(Error::NotGone(REMOVAL).into());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            failure = session.shutdown.wait() => return Err(Error::NotSeenGone(Error::Stopped(failure).into()).into()),
        }
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

/// The functions that carry the owner label of a stack file, in the namespaces that it names, and that no stack file of the run
/// names, whatever selection is deployed; of those, the ones that the selection matches.
pub(crate) async fn left_over(
    gateway: &Gateway,
    loaded: &Loaded,
    options: &stack::Options,
) -> Result<Vec<FunctionName>, Error> {
    let named: Vec<FunctionName> = loaded.files.iter().flat_map(|file| file.stack.named.iter().cloned()).collect();
    let namespaces: BTreeSet<Option<&str>> = named.iter().map(|target| target.namespace.as_deref()).collect();
    let mut found = BTreeSet::new();
    for namespace in namespaces {
        let is_in = |target: &FunctionName| target.namespace.as_deref() == namespace;
        let files = loaded.files.iter().filter(|file| file.stack.named.iter().any(is_in));
        let owners: Vec<&str> = files.filter_map(|file| file.owner.as_deref()).collect();
        let is_wanted = |status: &Status| {
            let is_left_over = owners.iter().any(|owner| is_left_over(status, namespace, owner, &named));
            is_left_over && options.selects(&status.spec.service) && is_name(&status.spec.service)
        };
        for status in gateway.list(namespace, is_wanted).await? {
            let reported = status.spec.namespace.filter(|reported| !reported.is_empty());
            found.insert((namespace.map(str::to_owned).or(reported), status.spec.service));
        }
    }
    Ok(found.into_iter().map(|(namespace, name)| FunctionName { name, namespace }).collect())
}

/// True if a function that was listed in `namespace` is one to remove.
///
/// If the stack file has no namespace, a function of the same name in any namespace counts as the one that it names: it is
/// safer to keep one too many.
fn is_left_over(status: &Status, namespace: Option<&str>, owner: &str, named: &[FunctionName]) -> bool {
    let is_named = named.iter().filter(|target| target.name == status.spec.service).any(|target| {
        let of_target = target.namespace.as_deref();
        of_target.is_none() || of_target == namespace || of_target == status.spec.namespace.as_deref()
    });
    status.spec.labels.get(labels::OWNER).is_some_and(|value| value == owner) && !is_named
}

/// True if a function can have this name. No request is sent for another one, whatever a gateway lists.
fn is_name(name: &str) -> bool {
    let is_inner = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    !name.is_empty() && name.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::api::Deployment;

    fn status(name: &str, label: Option<&str>) -> Status {
        let labels = label.map(|value| (labels::OWNER.to_owned(), value.to_owned()));
        let spec = Deployment {
            service: name.to_owned(),
            namespace: Some("openfaas-fn".to_owned()),
            labels: labels.into_iter().collect(),
            ..Deployment::default()
        };
        Status { spec, ..Status::default() }
    }

    fn named(namespace: Option<&str>) -> [FunctionName; 1] {
        [FunctionName { name: "kept".to_owned(), namespace: namespace.map(str::to_owned) }]
    }

    #[test]
    fn only_what_carries_the_very_label_and_is_not_named_is_left_over() {
        let left_over = |name, label| is_left_over(&status(name, label), None, "shop.1", &named(None));
        assert!(left_over("gone", Some("shop.1")));
        assert!(!left_over("kept", Some("shop.1")));
        for label in [None, Some(""), Some("shop.2"), Some("shop.11"), Some("SHOP.1")] {
            assert!(!left_over("gone", label), "{label:?}");
        }
    }

    #[test]
    fn names_that_no_function_can_have_are_not_removed() {
        for name in ["", "../x", "f.ns", "a/b", "a b", "a\n", "é"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("a-1") && is_name("Rec_A"));
    }

    #[test]
    fn function_is_kept_by_any_way_to_write_its_namespace() {
        for (listed, written) in
            [(None, None), (None, Some("openfaas-fn")), (Some("openfaas-fn"), None), (Some("a"), Some("a"))]
        {
            let kept = !is_left_over(&status("kept", Some("shop.1")), listed, "shop.1", &named(written));
            assert!(kept, "{listed:?} {written:?}");
        }
        assert!(is_left_over(&status("kept", Some("shop.1")), None, "shop.1", &named(Some("other"))));
    }
}
