//! What a Policy has to permit for what the variables ask for.

use std::collections::BTreeSet;

use crate::config::{Deploy, Strategy};
use crate::oidc::{Action, Functions, Grant};

/// For a deploy of these functions, from the first request to the last.
pub(crate) fn of_deploy(deploy: &Deploy, functions: Functions) -> Vec<Grant> {
    let mut actions = vec![Action::FunctionCreate];
    match deploy.strategy {
        Strategy::Update => actions.push(Action::FunctionUpdate),
        Strategy::Replace => actions.extend([Action::FunctionUpdate, Action::FunctionDelete, Action::FunctionGet]),
        Strategy::Create => {}
    }
    if deploy.wait.is_some() {
        actions.push(Action::FunctionGet);
    }
    if deploy.rollback {
        actions.extend([Action::FunctionUpdate, Action::FunctionDelete]);
    }
    // What is removed is what the stack file no longer names.
    let pruned = of_namespaces(deploy, &functions, &[Action::FunctionList, Action::FunctionDelete]);
    [Grant { actions, functions }].into_iter().chain(pruned).collect()
}

/// For a `diff` of these functions.
pub(crate) fn of_diff(deploy: &Deploy, functions: Functions) -> Vec<Grant> {
    let pruned = of_namespaces(deploy, &functions, &[Action::FunctionList]);
    of_all(Action::FunctionGet, functions).into_iter().chain(pruned).collect()
}

/// For one action on all of these functions.
pub(crate) fn of_all(action: Action, functions: Functions) -> Vec<Grant> {
    vec![Grant { actions: vec![action], functions }]
}

/// What `PRUNE` needs in the namespaces of these functions.
fn of_namespaces(deploy: &Deploy, functions: &Functions, actions: &[Action]) -> Option<Grant> {
    let namespaces: BTreeSet<_> = functions.iter().map(|(namespace, _)| namespace.clone()).collect();
    let functions = namespaces.into_iter().map(|namespace| (namespace, "*".to_owned())).collect();
    deploy.prune.then(|| Grant { actions: actions.to_vec(), functions })
}
