//! `COMMAND: whoami`: the claims of the step's token, how gateway and clouds read them, and what gives it access to them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::cloud::Step;
use crate::cloud::aws::{self, Aws, EcrHost, RoleArn};
use crate::cloud::google::{self, ArtifactRepository, Google, ServiceAccount, WorkloadIdentityProvider};
use crate::commands::images::step;
use crate::commands::permissions;
use crate::commands::prepare::{Loaded, Preparation, Rejected, STACK_FILES};
use crate::config::{Config, Credentials, Whoami};
use crate::console::log::{self, quote, to_paste};
use crate::console::remarks;
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::files::atomic::{self, Attributes};
use crate::function::FunctionName;
use crate::function::image::Reference;
use crate::function::outcome::Outcome;
use crate::gateway::{Error, Gateway, Granted, Repeat};
use crate::http::service::ServiceClient;
use crate::oidc::{self, Grant, IamAction, IdToken};
use crate::registry::Registries;

/// Explains the step's token; changes nothing. Returns the last line too.
pub(crate) async fn run(mut preparation: Preparation<'_>, whoami: &Whoami) -> Result<(Outcome, String), Rejected> {
    let loaded = preparation.load().await;
    preparation.output_file(whoami.output_file.as_deref());
    let output = whoami.output_file.as_ref().and_then(|path| path.canonicalize().ok());
    let mut stack_files = loaded.iter().flat_map(Loaded::paths);
    if output.is_some() && stack_files.any(|path| Path::new(&*path).canonicalize().ok() == output) {
        preparation.problem("OUTPUT_FILE", "is the stack file, which would be lost: write another path");
    }
    let gateway = preparation.gateway(loaded.as_ref());
    let wrong_stack = preparation.wrong_stack.take();
    let config = preparation.config;
    let asks_clouds = config.registries.aws.is_some() || config.registries.google.is_some();
    let http = asks_clouds.then(|| preparation.registry_client()).flatten();
    let gateway = preparation.finish(gateway)?;
    let result = match (&config.credentials, &config.id_token) {
        (Credentials::Password { username, .. }, _) => {
            not_written(whoami);
            password(&gateway, username).await.inspect_err(Diagnostic::log)
        }
        (Credentials::IdToken, Err(error)) => Err(error.at(&gateway.address())).inspect_err(Diagnostic::log),
        (Credentials::IdToken, Ok(token)) => {
            let of_unread = wrong_stack.is_some() && whoami.function.is_none();
            let needs = (!of_unread).then(|| needs(whoami, loaded.as_ref()));
            explain(config, &gateway, token, whoami, loaded.as_ref(), needs).await
        }
    };
    let mut outcome = preparation.outcome(gateway.address(), loaded.as_ref());
    let gateway = quote(&outcome.gateway);
    let mut last_line = match &result {
        // What its policies permit is not known before it is used.
        Ok(()) => format!("`{gateway}` accepts the credentials of this step"),
        Err(problem) if problem.failure == Failure::Permission => format!("`{gateway}` does not accept this step"),
        Err(problem) if problem.failure == Failure::Input => {
            format!("`{gateway}` accepts the credentials of this step, but the resources were not written")
        }
        Err(_) => format!("`{gateway}` could not be queried"),
    };
    let of_clouds = match http {
        Some(http) => tokio::select! {
            problem = explain_clouds(config, &http, loaded.as_ref()) => problem,
            _ = preparation.shutdown.grace_over() => preparation.shutdown.problem(),
        },
        None => None,
    };
    if result.is_ok() && of_clouds.is_some() {
        last_line.push_str(", but not every cloud does");
    }
    if wrong_stack.is_some() {
        last_line.push_str(if result.is_ok() {
            ", but its stack file cannot be used"
        } else {
            ", and its stack file cannot be used"
        });
    }
    outcome.problem = Diagnostic::worst(result.err().into_iter().chain(of_clouds).chain(wrong_stack));
    Ok((outcome, last_line))
}

/// Says that there is nothing to write to `OUTPUT_FILE`.
fn not_written(whoami: &Whoami) {
    if let Some(path) = &whoami.output_file {
        let path = quote(&path.display().to_string());
        tracing::warn!("`{path}` (`OUTPUT_FILE`) was not written: there are no resources to propose");
    }
}

/// Checks the password: there is nothing else to explain.
async fn password(gateway: &Gateway, username: &str) -> Result<(), Diagnostic> {
    tracing::info!(
        "`OPENFAAS_PASSWORD` is set: the user is `{}`, and neither the step's token nor a Role is used",
        quote(username)
    );
    gateway.info(Repeat::Always).await.map(|_| ()).map_err(not_accepted)
}

async fn explain(
    config: &Config,
    gateway: &Gateway,
    token: &IdToken,
    whoami: &Whoami,
    loaded: Option<&Loaded>,
    needs: Option<Vec<Grant>>,
) -> Result<(), Diagnostic> {
    let (address, build) = (gateway.address(), &config.build);
    let claims = token.claims().map_err(|error| error.at(&address)).inspect_err(Diagnostic::log)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    tracing::info!("the claims of the token, and how the gateway's IAM reads each");
    log::plain(remarks(&oidc::claims_table(&claims, &address, now)));
    oidc::findings(&claims, &address, now, build).iter().for_each(|(_, finding)| finding.log());
    let exchanged = gateway.try_exchange(token).await.map_err(not_accepted);
    // Before the resources, which are the remedy only of a refusal.
    match &exchanged {
        Ok(granted) => tracing::info!("{}", accepted(granted)),
        Err(problem) => problem.log(),
    }
    let Some(needs) = needs else {
        tracing::warn!("no resources are proposed: what the Policy has to permit follows from the stack file");
        not_written(whoami);
        return exchanged.map(|_| ());
    };
    let scope = scope_name(whoami, loaded);
    let proposed = match oidc::resources(&claims, &address, build, scope.as_deref(), &needs) {
        Ok(yaml) => propose(&yaml, whoami.output_file.as_deref(), config.places.clone_dir.as_deref()),
        Err(unbound) => {
            if let Some(yaml) = oidc::issuer(&claims, &address, build) {
                tracing::info!("to let the gateway accept tokens of this issuer, apply this resource");
                log::plain(to_paste(&yaml));
            }
            unbound.warning().log();
            not_written(whoami);
            Ok(())
        }
    };
    exchanged.map(|_| ()).and(proposed.inspect_err(Diagnostic::log))
}

/// The gateway's own token, as far as it is known.
fn accepted(granted: &Granted) -> String {
    let mut line = "the gateway exchanged the token".to_owned();
    if let Some(lifetime) = granted.lifetime {
        line.push_str(&format!(", valid for {}", log::duration(lifetime)));
    }
    let policies = match granted.claims.as_ref().and_then(|claims| claims.get("policy")) {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    if !policies.is_empty() {
        line.push_str(&format!(", with the policies {}", log::names(policies, usize::MAX)));
    }
    line
}

/// Prints the resources that give the step access, and writes them to the file.
fn propose(yaml: &str, file: Option<&Path>, clone_dir: Option<&Path>) -> Result<(), Diagnostic> {
    let write = |path: &Path| {
        let attributes = Attributes::inherited_from(clone_dir);
        let written =
            atomic::create_parents(path, attributes).and_then(|()| atomic::write(path, yaml.as_bytes(), attributes));
        let shown = quote(&path.display().to_string());
        match written {
            Ok(()) => Ok(shown),
            Err(error) => {
                Err(Diagnostic::new(Failure::Input, format!("the resources were not written to `{shown}`: {error}")))
            }
        }
    };
    let written = file.map(write).transpose();
    match &written {
        Ok(None) if log::pastable(yaml.to_owned()) != yaml => tracing::warn!(
            "the resources that give this step the access that its variables need contain the value of a secret: set \
             `OUTPUT_FILE`, which has them whole"
        ),
        Ok(Some(path)) => tracing::info!(
            "these resources give this step the access that its variables need; `kubectl apply -f` takes them from `{path}` too"
        ),
        _ => tracing::info!(
            "to give this step the access that its variables need, save these resources as `iam.yaml` and run \
             `kubectl apply -f iam.yaml`"
        ),
    }
    log::plain(to_paste(yaml));
    written.map(|_| ())
}

/// The lines of a refusal's hint after which it says nothing new.
const REPEATED: [&str; 4] = ["a Role with this condition", "apiVersion: ", "claims of the token:", "`COMMAND: whoami`"];

/// The problem of a gateway that refused or could not be reached. Any refusal is one of permission here.
fn not_accepted(error: Error) -> Diagnostic {
    // After all retries, nobody has refused anything.
    let is_away = error.is_transient();
    let problem = error.diagnostic();
    // A refusal repeats the claims and the resources, which are printed anyway, and its hint is to run this command.
    let is_new = |line: &&str| !REPEATED.iter().any(|start| line.starts_with(start));
    let hint = problem.hint.map(|hint| hint.lines().take_while(is_new).collect::<Vec<_>>().join("\n"));
    let failure = match problem.failure {
        Failure::Interrupted | Failure::Terminated | Failure::Unreachable => problem.failure,
        _ if is_away => Failure::Unreachable,
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
        grants.extend(permissions::of_all(
            IamAction::FunctionInvoke,
            "`FUNCTION`: not needed if the function accepts calls without a token.",
            vec![function.clone()],
        ));
    }
    grants
}

/// Asks the clouds whose variables are set; returns the worst refusal.
async fn explain_clouds(config: &Config, http: &ServiceClient, loaded: Option<&Loaded>) -> Option<Diagnostic> {
    let Some(step) = step(config) else {
        let problem = Diagnostic::new(Failure::Permission, "there is no token for AWS and Google: the step has none")
            .with_hint("give the step `oidc: true`");
        problem.log();
        return Some(problem);
    };
    if let Some(warning) = step.several_audiences() {
        tracing::warn!("{warning}");
    }
    let images: Vec<_> = loaded.into_iter().flat_map(Loaded::images).collect();
    let registries = Registries::new(http, &config.registries, Some(&step));
    let mut problems = Vec::new();
    if let Some((aws, role)) = registries.aws.as_ref().zip(config.registries.aws.as_ref()) {
        problems.extend(explain_aws(aws, role, &images, &step).await);
    }
    if let Some((google, (provider, account))) = registries.google.as_ref().zip(config.registries.google.as_ref()) {
        problems.extend(explain_google(google, provider, account.as_ref(), &images, &step).await);
    }
    Diagnostic::worst(problems)
}

async fn explain_aws(aws: &Aws<'_>, role: &RoleArn, images: &[Reference], step: &Step<'_>) -> Option<Diagnostic> {
    let hosts: Vec<_> =
        images.iter().filter_map(|image| Some((EcrHost::of(&image.host)?, image.repository.as_str()))).collect();
    let region = hosts.first().map_or_else(|| EcrHost::default_of(role), |(host, _)| host.clone());
    let mut problem = aws.login(&region).await.err();
    match &mut problem {
        None => tracing::info!("AWS accepts the step's token for role `{role}`"),
        Some(problem) => {
            // The trust policy follows, in a form that can be pasted.
            let proposal = aws::trust_proposal(role, step);
            problem.hint = problem.hint.as_ref().map(|hint| hint.replace(&proposal, "").trim_end().to_owned());
            problem.log();
        }
    }
    tracing::info!("the claims of the token, and how AWS reads each");
    log::plain(remarks(&aws::claims_table(role, step)));
    tracing::info!("this command adds the workspace as an identity provider, once per AWS account:");
    log::plain(aws::create_provider(step));
    tracing::info!("this trust policy of role `{}` admits the steps of this repository:", role.name);
    log::plain(aws::trust_policy(role, step));
    tracing::info!("these permissions let role `{}` look images up; pushing needs more", role.name);
    log::plain(aws::pull_policy(hosts.iter().map(|(host, repository)| (host, *repository))));
    problem
}

async fn explain_google(
    google: &Google<'_>,
    provider: &WorkloadIdentityProvider,
    account: Option<&ServiceAccount>,
    images: &[Reference],
    step: &Step<'_>,
) -> Option<Diagnostic> {
    let problem = google.login().await.err();
    match &problem {
        None => tracing::info!("Google accepts the step's token for provider `{provider}`"),
        Some(problem) => problem.log(),
    }
    tracing::info!("the claims of the token, and how Google reads each");
    log::plain(remarks(&google::claims_table(provider, step)));
    tracing::info!(
        "these commands let the steps of this repository look images up; pushing needs `roles/artifactregistry.writer`"
    );
    let repositories =
        images.iter().filter_map(|image| ArtifactRepository::of(&image.host, &image.repository)).collect();
    log::plain(google::commands(provider, account, &repositories, step));
    problem
}
