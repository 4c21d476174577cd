//! The IAM resources that give a step access, as YAML to paste (`iam.openfaas.com/v1`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::audience::{self, Audience};
use super::system::{Binding, Condition, System, Unbound};
use super::{BuildContext, Claims};
use crate::console::log::to_paste;
use crate::function::FunctionName;
use crate::text::{hex, yaml_quoted, yaml_scalar};

/// More functions than this are permitted as a whole namespace.
const MAX_NAMED: usize = 20;

/// How the names of a Policy's statements begin, in what `whoami` prints and in errors.
const SID: &str = "openfaas-pipe";

/// The longest label of a name: five of them, with dots between, are valid in Kubernetes (63 characters for a label, 253 for
/// the name).
const MAX_LABEL: usize = 48;
/// Characters of the hash in a label that could not be taken over as it is.
const HASH: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IamAction {
    FunctionCreate,
    FunctionUpdate,
    FunctionDelete,
    FunctionGet,
    FunctionList,
    FunctionLogs,
    FunctionInvoke,
    SecretCreate,
    SecretUpdate,
    NamespaceCreate,
    NamespaceGet,
    NamespaceDelete,
}

impl IamAction {
    /// True if it is permitted on whole namespaces only.
    pub(crate) fn is_of_namespace(self) -> bool {
        !matches!(
            self,
            Self::FunctionCreate
                | Self::FunctionUpdate
                | Self::FunctionDelete
                | Self::FunctionGet
                | Self::FunctionLogs
                | Self::FunctionInvoke
        )
    }
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
            Self::SecretCreate => "Secret:Create",
            Self::SecretUpdate => "Secret:Update",
            Self::NamespaceCreate => "Namespace:Create",
            Self::NamespaceGet => "Namespace:Get",
            Self::NamespaceDelete => "Namespace:Delete",
        })
    }
}

/// The actions that the gateway refused, and on which functions.
pub(crate) type MissingPermissions = BTreeMap<IamAction, BTreeSet<FunctionName>>;

/// The statement that a Policy lacks if the gateway answered 403.
///
/// A listing is permitted on a whole namespace, whatever the function.
pub(crate) fn missing_action(action: IamAction, function: &FunctionName) -> String {
    missing(&BTreeMap::from([(action, BTreeSet::from([function.clone()]))]), &[])
}

/// The statements that a Policy lacks if the gateway answered 403 and the run needs these grants: also what it did not refuse yet, so that
/// one change is enough.
pub(crate) fn missing(lacking: &MissingPermissions, grants: &[Grant]) -> String {
    let names: Vec<_> = lacking.keys().map(|action| format!("`{action}`")).collect();
    let each = lacking.iter().flat_map(|(action, functions)| functions.iter().map(|function| (*action, function)));
    let on: BTreeSet<_> = each.map(|(action, function)| resource(action, function)).collect();
    let resources = match on.first() {
        Some(one) if on.len() == 1 => format!("`{}`", crate::console::log::quote(one)),
        _ if lacking.keys().all(|action| action.is_of_namespace()) => format!("{} namespaces", on.len()),
        _ => format!("{} functions", on.len()),
    };
    let unforeseen = lacking.iter().filter(|(action, _)| !grants.iter().any(|grant| grant.actions.contains(action)));
    let unforeseen = unforeseen.map(|(action, functions)| Grant {
        purpose: "",
        actions: vec![*action],
        functions: functions.iter().cloned().collect(),
    });
    // The refusal says what it is for.
    let grants: Vec<_> = grants.iter().cloned().chain(unforeseen).map(|grant| Grant { purpose: "", ..grant }).collect();
    // `whoami` prints what a deploy, an invocation or the removal of a namespace needs.
    let printed =
        [IamAction::FunctionCreate, IamAction::FunctionUpdate, IamAction::FunctionInvoke, IamAction::NamespaceDelete];
    let whoami = match grants.iter().any(|grant| grant.actions.iter().any(|action| printed.contains(action))) {
        true => "\n`COMMAND: whoami` prints the complete Policy that this step needs",
        false => "",
    };
    format!(
        "the Policy lacks {} on {resources}; add to its `statement:`\n{}{whoami}",
        names.join(" and "),
        to_paste(&statements(&grants))
    )
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The variable that needs it, and the rule that limits it: a comment in the Policy.
    pub(crate) purpose: &'static str,
    pub(crate) actions: Vec<IamAction>,
    pub(crate) functions: Vec<FunctionName>,
}

/// The JwtIssuer, Policy and Role that permit the grants to this step and to those like it: of the same repository and
/// deployment environment, else branch. `of` distinguishes steps that a Role cannot: by their stack file or function.
pub(crate) fn resources(
    claims: &Claims,
    gateway: &str,
    build: &BuildContext,
    of: Option<&str>,
    grants: &[Grant],
) -> Result<String, Unbound> {
    let issuer = claims.issuer().ok_or(Unbound::Issuer)?;
    let condition = condition(claims, build)?;
    let name = name(claims, build, of)?;
    Ok(format!(
        "# Whose tokens the gateway accepts. If a JwtIssuer with this `iss` exists, only add the `aud` to it.\n\
         {}---\n\
         # What is permitted.\n\
         {}---\n\
         # To whom: all conditions must match; several values of one are alternatives.\n\
         {}",
        jwt_issuer(claims, issuer, gateway, build),
        head("Policy", &name) + "  statement:\n" + &statements(grants),
        format_args!("{}  policy:\n  - {name}\n{condition}", head("Role", &name)),
    ))
}

/// The name of Policy and Role: a label for each thing that they are bound to, so that no step's resources replace or widen
/// those of another.
fn name(claims: &Claims, build: &BuildContext, of: Option<&str>) -> Result<String, Unbound> {
    let system = System::of(claims);
    let issuer = claims.workspace().or(claims.issuer()).ok_or(Unbound::Issuer)?;
    let Binding { repository, bound: (kind, bound), .. } = system.binding(claims, build)?;
    let labels = [system.prefix().to_owned(), label("", issuer), label("", repository), label(kind, bound)];
    Ok(labels.into_iter().chain(of.map(|of| label("", of))).collect::<Vec<_>>().join("."))
}

fn jwt_issuer(claims: &Claims, issuer: &str, gateway: &str, build: &BuildContext) -> String {
    let system = System::of(claims);
    let (trust, name) = match claims.workspace() {
        Some(workspace) => (String::new(), workspace),
        None if system == System::Bitbucket => {
            ("# This issuer is not Bitbucket Pipelines: apply this only if you trust it.\n".to_owned(), issuer)
        }
        None => (format!("# This issuer is {}: apply this only if you trust it.\n", system.name()), issuer),
    };
    let as_written = claims.audiences().contains(&gateway);
    let (note, audience) = match Audience::of(claims, gateway) {
        _ if build.clouds => (
            "  # The workspace's, which every token has: one audience for the gateway, AWS and Google.\n",
            audience::workspace_audience(claims),
        ),
        Audience::Named if as_written => ("", gateway.to_owned()),
        Audience::Named => ("", audience::wanted(gateway).to_owned()),
        _ if system == System::Bitbucket => (
            "  # Not in the token yet: the step's `oidc: audiences:` must list it too.\n",
            audience::wanted(gateway).to_owned(),
        ),
        _ => (
            "  # Not in the token yet: it must be requested for this audience.\n",
            audience::wanted(gateway).to_owned(),
        ),
    };
    format!(
        "{trust}{}  iss: {}\n  aud:\n{note}  - {}\n  tokenExpiry: 30m\n",
        head("JwtIssuer", &format!("{}.{}", system.prefix(), label("", name))),
        yaml_scalar(issuer),
        yaml_scalar(&audience),
    )
}

/// The JwtIssuer that accepts the token's issuer.
pub(crate) fn issuer(claims: &Claims, gateway: &str, build: &BuildContext) -> Option<String> {
    Some(jwt_issuer(claims, claims.issuer()?, gateway, build))
}

/// The conditions of a Role for this step and those like it.
pub(super) fn condition(claims: &Claims, build: &BuildContext) -> Result<String, Unbound> {
    let issuer = claims.issuer().ok_or(Unbound::Issuer)?;
    let conditions = System::of(claims).binding(claims, build)?.conditions;
    let lines: String = conditions
        .iter()
        .map(|Condition { comment, claim, value }| {
            format!("      # {comment}\n      jwt:{claim}: [{}]\n", yaml_quoted(value))
        })
        .collect();
    Ok(format!("  condition:\n    StringEqual:\n      jwt:iss: [{}]\n{lines}", yaml_quoted(issuer)))
}

/// The Policy's statements, one a grant, and apart from them what is permitted on whole namespaces.
fn statements(grants: &[Grant]) -> String {
    let mut yaml = String::new();
    let mut number = 0;
    for Grant { purpose, actions, functions } in grants {
        if !purpose.is_empty() {
            yaml.push_str(&format!("  # {purpose}\n"));
        }
        let actions: BTreeSet<IamAction> = actions.iter().copied().collect();
        let (listing, single): (BTreeSet<_>, BTreeSet<_>) =
            actions.into_iter().partition(|action| action.is_of_namespace());
        let named = functions.len() <= MAX_NAMED;
        // What is permitted on a namespace is not permitted on a function of it: one statement cannot name both.
        for actions in [single, listing] {
            let Some(action) = actions.first().copied() else { continue };
            let on = functions.iter().map(|function| match named {
                true => resource(action, function),
                false => FunctionName::all_of(function.namespace.clone()).resource(),
            });
            number += 1;
            yaml.push_str(&statement(&format!("{SID}-{number}"), &actions, &on.collect()));
            yaml.push('\n');
        }
    }
    yaml
}

fn resource(action: IamAction, function: &FunctionName) -> String {
    match action.is_of_namespace() {
        true => FunctionName::all_of(function.namespace.clone()).resource(),
        false => function.resource(),
    }
}

fn statement(sid: &str, actions: &BTreeSet<IamAction>, resources: &BTreeSet<String>) -> String {
    let actions: String = actions.iter().map(|action| format!("\n    - {action}")).collect();
    let resources: String = resources.iter().map(|resource| format!("\n    - {}", yaml_quoted(resource))).collect();
    format!("  - sid: {sid}\n    effect: Allow\n    action:{actions}\n    resource:{resources}")
}

fn head(kind: &str, name: &str) -> String {
    format!("apiVersion: iam.openfaas.com/v1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: openfaas\nspec:\n")
}

/// A text as a DNS label (RFC 1123): if a character had to change or it is too long, with a hash of the text, so that different
/// texts never become the same label.
fn label(prefix: &str, text: &str) -> String {
    let mut clean = String::new();
    for character in text.chars() {
        match character.to_ascii_lowercase() {
            character @ ('a'..='z' | '0'..='9') => clean.push(character),
            _ if clean.ends_with('-') || clean.is_empty() => {}
            _ => clean.push('-'),
        }
    }
    let label = format!("{prefix}{}", clean.trim_end_matches('-'));
    // A text that ends like a hash might be the label of another.
    let end = text.rsplit('-').next().unwrap_or_default();
    let ends_like_hash = end.len() == HASH && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    if clean == text && label.len() <= MAX_LABEL && !clean.ends_with('-') && !ends_like_hash {
        return label;
    }
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hash = hex(hash);
    let label = &label[..label.len().min(MAX_LABEL - HASH - 1)];
    let label = label.trim_end_matches('-');
    if label.is_empty() { hash[..HASH].to_owned() } else { format!("{label}-{}", &hash[..HASH]) }
}
