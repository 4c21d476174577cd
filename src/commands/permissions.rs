//! The actions that a Policy has to permit for a run with these variables.

use std::collections::BTreeSet;

use crate::config::{Deploy, Strategy};
use crate::function::FunctionName;
use crate::oidc::{Grant, IamAction};

/// For a deploy of these functions, from the first request to the last; `secrets` are the namespaces that secrets are written to.
pub(crate) fn of_deploy(
    deploy: &Deploy,
    secrets: &BTreeSet<Option<String>>,
    functions: Vec<FunctionName>,
) -> Vec<Grant> {
    let mut actions = vec![IamAction::FunctionCreate];
    match deploy.strategy {
        Strategy::Update => actions.push(IamAction::FunctionUpdate),
        Strategy::Replace => {
            actions.extend([IamAction::FunctionUpdate, IamAction::FunctionDelete, IamAction::FunctionGet])
        }
        Strategy::Create => {}
    }
    if deploy.wait.is_some() || deploy.only_changed {
        actions.push(IamAction::FunctionGet);
    }
    if deploy.rollback {
        actions.extend([IamAction::FunctionUpdate, IamAction::FunctionDelete]);
    }
    // What is removed is what the stack file no longer names.
    let pruned =
        pruned(deploy, &functions, &[IamAction::FunctionList, IamAction::FunctionDelete, IamAction::FunctionGet]);
    let calls = deploy.verify.as_ref().map(|verify| {
        let called: BTreeSet<_> = verify.calls.iter().map(|call| call.function(&functions)).collect();
        // Functions without a guard need it as little as the pipe can know which have one.
        let purpose = "`VERIFY`: one call for each item of the list.";
        Grant { purpose, actions: vec![IamAction::FunctionInvoke], functions: called.into_iter().collect() }
    });
    let created = on_named(
        deploy.creator.is_some(),
        "`CREATE_NAMESPACE`: a namespace that exists is used as it is.",
        &functions,
        &[IamAction::NamespaceGet, IamAction::NamespaceCreate],
    );
    let written = on_all_of(
        secrets,
        "`SECRET_VALUES`, `SECRET_FILES`: one secret for each item, permitted on whole namespaces only.",
        &[IamAction::SecretUpdate, IamAction::SecretCreate],
    );
    let purpose = "`COMMAND: deploy`: the functions of the stack file that the variables select; without one, the whole namespace.";
    let deployed = Grant { purpose, actions, functions };
    created.into_iter().chain(written).chain([deployed]).chain(pruned).chain(calls).collect()
}

pub(crate) fn of_remove(deletes_namespaces: bool, functions: Vec<FunctionName>) -> Vec<Grant> {
    let actions = [IamAction::NamespaceGet, IamAction::NamespaceDelete, IamAction::FunctionList];
    let purpose = "`DELETE_NAMESPACE`: namespaces that a run of this repository created, once they have no function.";
    let deleted = on_named(deletes_namespaces, purpose, &functions, &actions);
    let purpose =
        "`COMMAND: remove`: the functions that the stack file names; `Function:Get` to see that they are gone.";
    let removed = Grant { purpose, actions: vec![IamAction::FunctionDelete, IamAction::FunctionGet], functions };
    [removed].into_iter().chain(deleted).collect()
}

pub(crate) fn of_diff(deploy: &Deploy, functions: Vec<FunctionName>) -> Vec<Grant> {
    let pruned = pruned(deploy, &functions, &[IamAction::FunctionList]);
    let found = on_named(deploy.creator.is_some(), "", &functions, &[IamAction::NamespaceGet]);
    of_all(IamAction::FunctionGet, "", functions).into_iter().chain(found).chain(pruned).collect()
}

/// On the namespaces that functions name, if that is asked for.
fn on_named(is_asked: bool, purpose: &'static str, functions: &[FunctionName], actions: &[IamAction]) -> Option<Grant> {
    let named = functions.iter().map(|function| function.namespace.clone()).filter(Option::is_some).collect();
    on_all_of(&named, purpose, actions).filter(|_| is_asked)
}

/// The grant of `PRUNE`, for all namespaces of these functions.
fn pruned(deploy: &Deploy, functions: &[FunctionName], actions: &[IamAction]) -> Option<Grant> {
    let namespaces = functions.iter().map(|function| function.namespace.clone()).collect();
    let purpose =
        "`PRUNE`: those of `OWNER_LABEL` that the stack file no longer names and `FILTER` or `REGEX` matches.";
    on_all_of(&namespaces, purpose, actions).filter(|_| deploy.selection.options.prune)
}

fn on_all_of(namespaces: &BTreeSet<Option<String>>, purpose: &'static str, actions: &[IamAction]) -> Option<Grant> {
    let functions: Vec<_> = namespaces.iter().cloned().map(FunctionName::all_of).collect();
    (!functions.is_empty()).then(|| Grant { purpose, actions: actions.to_vec(), functions })
}

/// For one action on all of these functions.
pub(crate) fn of_all(action: IamAction, purpose: &'static str, functions: Vec<FunctionName>) -> Vec<Grant> {
    vec![Grant { purpose, actions: vec![action], functions }]
}
