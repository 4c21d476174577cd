//! `COMMAND: whoami`: the claims of the step's token, how the gateway reads them, and the resources that give it access.

mod clouds;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::commands::permissions;
use crate::commands::prepare::{Loaded, Preparation, Rejected, STACK_FILES};
use crate::config::{Credentials, Whoami};
use crate::console::log::{self, quote};
use crate::console::table;
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::files::atomic::{self, Attributes};
use crate::function::FunctionName;
use crate::function::outcome::Outcome;
use crate::gateway::{Error, Gateway, Granted, Repeat};
use crate::oidc::{self, BuildContext, Claims, Grant, IamAction, IdToken};
use crate::text::to_paste;

/// Explains the step's token; changes nothing. Returns the last line too.
pub(crate) async fn run(mut preparation: Preparation<'_>, whoami: &Whoami) -> Result<(Outcome, String), Rejected> {
    let loaded = preparation.load().await;
    preparation.output_file(whoami.output_file.as_deref());
    let gateway = preparation.gateway(loaded.as_ref());
    let credentials = &preparation.config.registries;
    let http =
        (credentials.aws.is_some() || credentials.google.is_some()).then(|| preparation.registry_client()).flatten();
    let gateway = preparation.finish(gateway)?;
    let result = match (&preparation.config.credentials, &preparation.config.id_token) {
        (Credentials::Password { username, .. }, _) => password(&gateway, username).await,
        (Credentials::IdToken, Err(error)) => Err(error.at(&gateway.address()).diagnostic()),
        (Credentials::IdToken, Ok(token)) => {
            let scope = scope_name(whoami, loaded.as_ref());
            let attributes = Attributes::inherited_from(preparation.config.places.clone_dir.as_deref());
            let output = whoami.output_file.as_deref().map(|path| (path, attributes));
            let proposal = Proposal { scope, grants: needs(whoami, loaded.as_ref()), output };
            explain(&gateway, token, &preparation.config.build, &proposal).await
        }
    };
    let mut outcome = preparation.outcome(gateway.address());
    let gateway = quote(&outcome.gateway);
    let mut last_line = match &result {
        // What its policies permit is not known before it is used.
        Ok(()) => format!("`{gateway}` accepts the credentials of this step"),
        Err(problem) if problem.failure == Failure::Permission => format!("`{gateway}` does not accept this step"),
        Err(_) => format!("`{gateway}` could not be queried"),
    };
    if let Err(problem) = result {
        problem.log();
        outcome.problem = Some(problem);
    }
    if let Some(problem) = clouds::explain(&preparation, http.as_ref(), loaded.as_ref()).await {
        if outcome.problem.is_none() {
            last_line.push_str(", but not every cloud does");
        }
        let both = outcome.problem.take().into_iter().chain([problem]);
        outcome.problem = Diagnostic::worst(both);
    }
    outcome.stack_files = loaded.map(|loaded| loaded.paths()).unwrap_or_default();
    Ok((outcome, last_line))
}

/// Checks the password: there is nothing else to explain.
async fn password(gateway: &Gateway, username: &str) -> Result<(), Diagnostic> {
    tracing::info!(
        "`OPENFAAS_PASSWORD` is set: the user is `{}`, and neither the step's token nor a Role is used",
        quote(username)
    );
    gateway.info(Repeat::Always).await.map(|_| ()).map_err(not_accepted)
}

/// The subject of the proposed resources.
struct Proposal<'a> {
    /// The part of their names beside what a Role is bound to.
    scope: Option<String>,
    grants: Vec<Grant>,
    /// The file that they are written to.
    output: Option<(&'a Path, Attributes)>,
}

async fn explain(
    gateway: &Gateway,
    token: &IdToken,
    build: &BuildContext,
    proposal: &Proposal<'_>,
) -> Result<(), Diagnostic> {
    let address = gateway.address();
    let claims = token.claims().map_err(|error| error.at(&address).diagnostic())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let rows = oidc::claims_table(&claims, &address, now);
    tracing::info!("the claims of the token, and how the gateway's IAM reads each");
    log::plain(table::remarks(&rows));
    oidc::findings(&claims, &address, now, build).iter().for_each(|(_, finding)| finding.log());
    let exchanged = gateway.try_exchange(token).await;
    if let Ok(granted) = &exchanged {
        tracing::info!("{}", accepted(granted));
    }
    let proposed = proposal.show(&claims, &address, build);
    exchanged.map(|_| ()).map_err(not_accepted).and(proposed)
}

/// The gateway's own token, as far as it is known.
fn accepted(granted: &Granted) -> String {
    let lifetime = granted.lifetime.map(|lifetime| format!(", valid for {}", log::duration(lifetime)));
    let policies = granted.claims.as_ref().and_then(|claims| claims.get("policy")).map(policies);
    let policies = policies.filter(|names| !names.is_empty()).map(|names| format!(", with the policies {names}"));
    format!("the gateway exchanged the token{}{}", lifetime.unwrap_or_default(), policies.unwrap_or_default())
}

fn policies(value: &Value) -> String {
    let names = match value {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect::<Vec<_>>(),
    };
    names.into_iter().map(|name| format!("`{}`", quote(name))).collect::<Vec<_>>().join(", ")
}

impl Proposal<'_> {
    /// Prints the resources that give the step access, or writes them to the file.
    fn show(&self, claims: &Claims, gateway: &str, build: &BuildContext) -> Result<(), Diagnostic> {
        match oidc::resources(claims, gateway, build, self.scope.as_deref(), &self.grants) {
            Ok(yaml) => {
                match self.output {
                    None => tracing::info!(
                        "to give this step the access that its variables need, save these resources as `iam.yaml` and run \
                         `kubectl apply -f iam.yaml`"
                    ),
                    Some((path, _)) => tracing::info!(
                        "these resources give this step the access that its variables need; `kubectl apply -f` takes them \
                         from `{}` too",
                        quote(&path.display().to_string())
                    ),
                }
                log::plain(to_paste(&yaml));
                self.output.map_or(Ok(()), |(path, attributes)| write(path, &yaml, attributes))
            }
            Err(unbound) => {
                if let Some(yaml) = oidc::issuer(claims, gateway, build) {
                    tracing::info!("to let the gateway accept tokens of this issuer, apply this resource");
                    log::plain(to_paste(&yaml));
                }
                unbound.warning().log();
                Ok(())
            }
        }
    }
}

fn write(path: &Path, yaml: &str, attributes: Attributes) -> Result<(), Diagnostic> {
    let written =
        atomic::create_parents(path, attributes).and_then(|()| atomic::write(path, yaml.as_bytes(), attributes));
    written.map_err(|error| {
        let path = quote(&path.display().to_string());
        Diagnostic::new(Failure::Failed, format!("the resources were not written to `{path}`: {error}"))
    })
}

/// The problem of a gateway that refused or could not be reached. Any refusal is one of permission here.
fn not_accepted(error: Error) -> Diagnostic {
    let problem = error.diagnostic();
    // The hint of a refusal is to run this command.
    let hint = problem
        .hint
        .map(|hint| hint.lines().filter(|line| !line.contains("`COMMAND: whoami`")).collect::<Vec<_>>().join("\n"));
    let failure = match problem.failure {
        Failure::Interrupted | Failure::Terminated | Failure::Unreachable => problem.failure,
        _ => Failure::Permission,
    };
    Diagnostic { hint, ..Diagnostic::new(failure, problem.message) }
}

/// The part of the resources' names beside what a Role is bound to: a stack file other than the default one, or the
/// function to invoke. Without it, the resources of two steps could have the same name.
fn scope_name(whoami: &Whoami, loaded: Option<&Loaded>) -> Option<String> {
    match (loaded, &whoami.function) {
        (Some(loaded), _) => match &loaded.paths()[..] {
            [path] if STACK_FILES.contains(&&**path) => None,
            paths => Some(format!("stack-{}", paths.join(","))),
        },
        (None, Some(function)) => Some(format!("invoke-{function}")),
        (None, None) => None,
    }
}

/// The actions that the Policy has to permit for the command that this one is run in place of: a deploy, an invocation, or both.
fn needs(whoami: &Whoami, loaded: Option<&Loaded>) -> Vec<Grant> {
    let Whoami { deploy, function, deletes_namespaces, .. } = whoami;
    let mut grants = Vec::new();
    if loaded.is_some() || function.is_none() {
        let options = &deploy.selection.options;
        let namespace = options.namespace.as_ref().or(options.default_namespace.as_ref()).cloned();
        let all = || vec![FunctionName::all_of(namespace.clone())];
        let functions = loaded.map_or_else(all, |loaded| loaded.names().collect());
        let secrets = match loaded {
            Some(loaded) => loaded.secret_namespaces(deploy),
            None if deploy.given_secrets.is_empty() => BTreeSet::new(),
            None => BTreeSet::from([namespace]),
        };
        if *deletes_namespaces {
            grants.extend(permissions::of_remove(true, functions.clone()));
        }
        if !*deletes_namespaces || deploy.creator.is_some() {
            grants.extend(permissions::of_deploy(deploy, &secrets, functions));
        }
    }
    if let Some(function) = function {
        grants.extend(permissions::of_all(IamAction::FunctionInvoke, vec![function.clone()]));
    }
    grants
}
