//! `COMMAND: whoami`: what the step's token says, what the gateway makes of it, and the resources that would admit it.

mod clouds;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::commands::prepare::{Loaded, Rejected, Run};
use crate::commands::{permissions, progress};
use crate::config::{Credentials, Whoami};
use crate::console::log::{self, quote};
use crate::console::table;
use crate::function::FunctionName;
use crate::function::outcome::{Failure, Outcome, Problem};
use crate::gateway::{Error, Gateway, Granted};
use crate::oidc::{self, Claims, Facts, Grant, IamAction, IdToken, Severity};

/// Explains the step's token; changes nothing. Returns the last line too.
pub(crate) async fn run(mut run: Run<'_>, whoami: &Whoami) -> Result<(Outcome, String), Rejected> {
    let loaded = run.preparation.stack_if_any(&whoami.deploy).await;
    let gateway = run.gateway(loaded.as_ref());
    let credentials = &run.config.registries.credentials;
    let http = run.registry_client(credentials.aws.is_some() || credentials.google.is_some());
    let gateway = run.preparation.finish(gateway)?;
    let result = match &run.config.credentials {
        Credentials::Password { username, .. } => password(&gateway, username).await,
        Credentials::IdToken(Err(error)) => Err(error.problem(&gateway.address())),
        Credentials::IdToken(Ok(token)) => {
            explain(&gateway, token, &run.config.facts, &needs(whoami, loaded.as_ref())).await
        }
    };
    let mut outcome = run.outcome(gateway.address());
    let gateway = quote(&outcome.gateway);
    let mut last_line = format!("`{gateway}` accepts this step");
    if let Err(problem) = result {
        progress::tell("", &problem);
        last_line = format!("`{gateway}` does not accept this step");
        outcome.problem = Some(problem);
    }
    if let Some(problem) = clouds::explain(&run, http.as_ref(), loaded.as_ref()).await {
        if outcome.problem.is_none() {
            last_line.push_str(", but not every cloud does");
        }
        let both = outcome.problem.take().into_iter().chain([problem]);
        outcome.problem = Problem::worst(both);
    }
    outcome.stack_file = loaded.map(|loaded| loaded.path);
    outcome.duration = run.started.elapsed();
    Ok((outcome, last_line))
}

/// With a password there is nothing to explain but whether it is right.
async fn password(gateway: &Gateway, username: &str) -> Result<(), Problem> {
    tracing::info!(
        "`OPENFAAS_PASSWORD` is set: `{}` signs in with it, and neither the step's token nor any Role is used",
        quote(username)
    );
    gateway.info().await.map(|_| ()).map_err(not_accepted)
}

async fn explain(gateway: &Gateway, token: &IdToken, facts: &Facts, grants: &[Grant]) -> Result<(), Problem> {
    let address = gateway.address();
    let claims = token.claims().map_err(|error| error.problem(&address))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let rows: Vec<_> =
        oidc::claims_table(&claims, &address, now).into_iter().map(|row| [row.claim, row.value, row.meaning]).collect();
    log::plain(table::render(["CLAIM", "VALUE", "WHAT IAM MAKES OF IT"], &rows));
    for finding in oidc::findings(&claims, &address, now, facts) {
        let text = format!("{}\nhint: {}", finding.message, finding.hint);
        match finding.severity {
            Severity::Note => tracing::info!("{text}"),
            Severity::Warning => tracing::warn!("{text}"),
            Severity::Error => tracing::error!("{text}"),
        }
    }
    let exchanged = gateway.try_exchange(token).await;
    if let Ok(granted) = &exchanged {
        tracing::info!("{}", accepted(granted));
    }
    propose(&claims, &address, facts, grants);
    exchanged.map(|_| ()).map_err(not_accepted)
}

/// What the gateway's token says.
fn accepted(granted: &Granted) -> String {
    let lifetime = granted.lifetime.map(|lifetime| format!(", valid for {}", log::duration(lifetime)));
    let policies = granted.claims.as_ref().and_then(|claims| claims.get("policy")).map(policies);
    let policies = policies.filter(|names| !names.is_empty()).map(|names| format!(", with the policies {names}"));
    format!("the exchange is accepted{}{}", lifetime.unwrap_or_default(), policies.unwrap_or_default())
}

fn policies(value: &Value) -> String {
    let names = match value {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect::<Vec<_>>(),
    };
    names.into_iter().map(|name| format!("`{}`", quote(name))).collect::<Vec<_>>().join(", ")
}

/// Prints the resources that admit the step.
fn propose(claims: &Claims, gateway: &str, facts: &Facts, grants: &[Grant]) {
    match oidc::resources(claims, gateway, facts, grants) {
        Some(yaml) => {
            tracing::info!(
                "these resources admit this step to what its variables ask for: save them as `iam.yaml`, then \
                 `kubectl apply -f iam.yaml`"
            );
            log::plain(yaml.trim_end());
        }
        None => tracing::warn!(
            "no resources are proposed: the token does not say its issuer or its repository, and without them a Role would \
             admit anyone"
        ),
    }
}

/// The problem, as one of not being let in: that is all this command asks.
fn not_accepted(error: Error) -> Problem {
    let problem = error.problem();
    match problem.failure {
        Failure::Interrupted | Failure::Terminated => problem,
        _ => Problem { failure: Failure::Permission, ..problem },
    }
}

/// What the Policy has to permit for the command in whose place this one stands: a deploy, an invocation, or both.
fn needs(whoami: &Whoami, loaded: Option<&Loaded>) -> Vec<Grant> {
    let Whoami { deploy, function } = whoami;
    let mut grants = Vec::new();
    if loaded.is_some() || function.is_none() {
        let all = || vec![FunctionName::all_of(deploy.selection.namespace.clone())];
        grants = permissions::of_deploy(deploy, loaded.map_or_else(all, |loaded| loaded.names().collect()));
    }
    if let Some(function) = function {
        grants.extend(permissions::of_all(IamAction::FunctionInvoke, vec![function.clone()]));
    }
    grants
}
