//! The IAM resources that would admit a step, as YAML to paste (`iam.openfaas.com/v1`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::audience::{self, Audience};
use super::yaml::{quoted, scalar};
use super::{Claims, Facts};
use crate::function::FunctionName;

/// More functions than this are named by their namespace.
const MOST_NAMED: usize = 20;

/// What a Policy can permit, as far as the pipe needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IamAction {
    /// Deploy a function that is not there yet.
    FunctionCreate,
    /// Deploy a function anew.
    FunctionUpdate,
    /// Remove a function.
    FunctionDelete,
    /// Read a function's status.
    FunctionGet,
    /// List a namespace's functions.
    FunctionList,
    /// Read a function's logs.
    FunctionLogs,
    /// Invoke a function that asks for a token.
    FunctionInvoke,
}

impl fmt::Display for IamAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FunctionCreate => "Function:Create",
            Self::FunctionUpdate => "Function:Update",
            Self::FunctionDelete => "Function:Delete",
            Self::FunctionGet => "Function:Get",
            Self::FunctionList => "Function:List",
            Self::FunctionLogs => "Function:Logs",
            Self::FunctionInvoke => "Function:Invoke",
        })
    }
}

/// The actions that the gateway refused, and on which functions, by namespace and name.
pub type Lacking = BTreeMap<IamAction, BTreeSet<FunctionName>>;

/// What to add to a Policy where the gateway answered 403.
///
/// A listing is permitted on a whole namespace, whatever the function.
pub fn missing_action(action: IamAction, function: &FunctionName) -> String {
    missing(&BTreeMap::from([(action, BTreeSet::from([function.clone()]))]), &[])
}

/// What to add to a Policy where the gateway answered 403 and the run needs these grants: also what it was not refused yet,
/// so that one change is enough.
pub fn missing(lacking: &Lacking, grants: &[Grant]) -> String {
    let names: Vec<_> = lacking.keys().map(|action| format!("`{action}`")).collect();
    let each = lacking.iter().flat_map(|(action, functions)| functions.iter().map(|function| (*action, function)));
    let on: BTreeSet<_> = each.map(|(action, function)| resource(action, function)).collect();
    let resources = match on.first() {
        Some(one) if on.len() == 1 => format!("`{}`", crate::console::log::quote(one)),
        _ => format!("{} functions", on.len()),
    };
    let unforeseen = lacking.iter().filter(|(action, _)| !grants.iter().any(|grant| grant.actions.contains(action)));
    let unforeseen = unforeseen
        .map(|(action, functions)| Grant { actions: vec![*action], functions: functions.iter().cloned().collect() });
    let grants: Vec<_> = grants.iter().cloned().chain(unforeseen).collect();
    // `whoami` stands in for a deploy or an invocation only.
    let is_told = |action: &IamAction| {
        matches!(action, IamAction::FunctionCreate | IamAction::FunctionUpdate | IamAction::FunctionInvoke)
    };
    let whoami = if grants.iter().flat_map(|grant| &grant.actions).any(is_told) {
        "\n`COMMAND: whoami` prints the whole Policy that this step needs"
    } else {
        ""
    };
    format!(
        "the Policy lacks {} on {resources}; add to its `statement:`\n{}{whoami}",
        names.join(" and "),
        statements("openfaas-pipe", &grants).trim_end()
    )
}

/// Actions that are to be permitted on functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What may be done.
    pub actions: Vec<IamAction>,
    /// On what.
    pub functions: Vec<FunctionName>,
}

/// The JwtIssuer, Policy and Role that permit the grants to this step and to those like it: of the same repository and
/// deployment environment, else branch.
///
/// None where the token does not say its issuer or repository: a Role without them would admit anyone.
pub fn resources(claims: &Claims, gateway: &str, facts: &Facts, grants: &[Grant]) -> Option<String> {
    let (issuer, repository) = (claims.issuer()?, claims.repository()?);
    let policy = dns_name(&["bitbucket", facts.repository_slug.as_deref().unwrap_or(repository)]);
    Some(format!(
        "# Whose tokens the gateway accepts. Where a JwtIssuer with this `iss` is there, add only the `aud` to it.\n\
         {}---\n\
         # What may be done.\n\
         {}---\n\
         # Who may do it: all conditions must hold; several values of one are alternatives.\n\
         {}",
        jwt_issuer(claims, issuer, gateway),
        head("Policy", &policy) + "  statement:\n" + &statements("pipe", grants),
        role(claims, &policy, facts, &condition(claims)?),
    ))
}

fn jwt_issuer(claims: &Claims, issuer: &str, gateway: &str) -> String {
    let (trust, name) = match claims.workspace() {
        Some(workspace) => ("", workspace),
        None => ("# This issuer is not Bitbucket Pipelines: apply it only if you trust it.\n", issuer),
    };
    let missing = match Audience::of(claims, gateway) {
        Audience::Named => "",
        _ => "  # Not in the token so far: the step's `oidc: audiences:` must list it too.\n",
    };
    let as_written = claims.audiences().contains(&gateway);
    let audience = if as_written { gateway } else { audience::wanted(gateway) };
    format!(
        "{trust}{}  iss: {}\n  aud:\n{missing}  - {}\n  tokenExpiry: 30m\n",
        head("JwtIssuer", &dns_name(&["bitbucket", name])),
        scalar(issuer),
        scalar(audience),
    )
}

/// The JwtIssuer that lets a token in.
pub(super) fn issuer(claims: &Claims, gateway: &str) -> Option<String> {
    Some(jwt_issuer(claims, claims.issuer()?, gateway))
}

/// What a Role asks for that admits this step and those like it.
pub(super) fn condition(claims: &Claims) -> Option<String> {
    let (issuer, repository) = (claims.issuer()?, claims.repository()?);
    let narrowed = match (claims.environment(), claims.branch()) {
        (Some(uuid), _) => format!(
            "# Only steps with this `deployment:`, on whatever branch or tag.\n      \
             jwt:deploymentEnvironmentUuid: [{}]",
            quoted(uuid)
        ),
        (None, Some(branch)) => {
            format!(
                "# Only builds of this branch; builds of tags have none.\n      jwt:branchName: [{}]",
                quoted(branch)
            )
        }
        (None, None) => {
            "# The token has neither branch nor environment, so this admits every step of the repository;\n      \
             # give the step a `deployment:` and run `COMMAND: whoami` again to narrow it."
                .to_owned()
        }
    };
    Some(format!(
        "  condition:\n    StringEqual:\n      jwt:iss: [{}]\n      \
         # This repository; the braces belong to the UUID.\n      jwt:repositoryUuid: [{}]\n      {narrowed}\n",
        quoted(issuer),
        quoted(repository),
    ))
}

fn role(claims: &Claims, policy: &str, facts: &Facts, condition: &str) -> String {
    let narrowed = match (claims.environment(), claims.branch()) {
        (Some(uuid), _) => Some(facts.environment.as_deref().unwrap_or(uuid)),
        (None, branch) => branch,
    };
    let name = narrowed.map_or_else(|| policy.to_owned(), |narrowed| dns_name(&[policy, narrowed]));
    format!("{}  policy:\n  - {policy}\n{condition}", head("Role", &name))
}

/// The Policy's statements, one a grant, and apart from them the listing of whole namespaces.
fn statements(sid: &str, grants: &[Grant]) -> String {
    let mut yaml = String::new();
    let mut number = 0;
    for Grant { actions, functions } in grants {
        let actions: BTreeSet<IamAction> = actions.iter().copied().collect();
        let (listing, single): (BTreeSet<_>, BTreeSet<_>) =
            actions.into_iter().partition(|action| *action == IamAction::FunctionList);
        let named = functions.len() <= MOST_NAMED;
        for actions in [single, listing] {
            let Some(action) = actions.first().copied() else { continue };
            let on = functions.iter().map(|function| match named {
                true => resource(action, function),
                false => FunctionName::all_of(function.namespace.clone()).resource(),
            });
            number += 1;
            yaml.push_str(&statement(&format!("{sid}-{number}"), &actions, &on.collect()));
            yaml.push('\n');
        }
    }
    yaml
}

/// What an action is permitted on: `NAMESPACE:NAME`.
/// A listing is permitted on a whole namespace.
fn resource(action: IamAction, function: &FunctionName) -> String {
    match action {
        IamAction::FunctionList => FunctionName::all_of(function.namespace.clone()).resource(),
        _ => function.resource(),
    }
}

fn statement(sid: &str, actions: &BTreeSet<IamAction>, resources: &BTreeSet<String>) -> String {
    let actions: String = actions.iter().map(|action| format!("\n    - {action}")).collect();
    let resources: String = resources.iter().map(|resource| format!("\n    - {}", quoted(resource))).collect();
    format!("  - sid: {sid}\n    effect: Allow\n    action:{actions}\n    resource:{resources}")
}

fn head(kind: &str, name: &str) -> String {
    format!("apiVersion: iam.openfaas.com/v1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: openfaas\nspec:\n")
}

/// A name that Kubernetes takes (RFC 1123 subdomain): the parts in lower case, with what it does not take as `-`.
fn dns_name(parts: &[&str]) -> String {
    let mut name = String::new();
    for character in parts.join("-").chars() {
        match character.to_ascii_lowercase() {
            character @ ('a'..='z' | '0'..='9') => name.push(character),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    name.truncate(253);
    name.truncate(name.trim_end_matches('-').len());
    name
}
