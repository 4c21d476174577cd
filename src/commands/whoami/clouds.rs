//! The step's token as AWS and Google read it, and what they need to accept it.

use std::collections::BTreeSet;

use crate::cloud::Step;
use crate::cloud::aws::{self, EcrHost, RoleArn};
use crate::cloud::google::{self, ArtifactRepository, ServiceAccount, WorkloadIdentityProvider};
use crate::commands::images::step;
use crate::commands::prepare::{Loaded, Preparation};
use crate::console::log;
use crate::console::table;
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::image::Reference;
use crate::http::service::ServiceClient;
use crate::registry::Registries;

/// Asks the clouds whose variables are set; returns the worst refusal.
pub(super) async fn explain(
    preparation: &Preparation<'_>,
    http: Option<&ServiceClient>,
    loaded: Option<&Loaded>,
) -> Option<Diagnostic> {
    let credentials = &preparation.config.registries;
    if credentials.aws.is_none() && credentials.google.is_none() {
        return None;
    }
    let Some((http, step)) = http.zip(step(preparation.config)) else {
        let problem = Diagnostic::new(Failure::Permission, "there is no token for AWS and Google: the step has none")
            .with_hint("give the step `oidc: true`");
        problem.log();
        return Some(problem);
    };
    if let Some(warning) = step.several_audiences() {
        tracing::warn!("{warning}");
    }
    let functions = loaded.into_iter().flat_map(|loaded| &loaded.functions);
    let images: Vec<_> = functions.filter_map(|function| Reference::parse(&function.deployment.image).ok()).collect();
    let registries = Registries::new(http, credentials, Some(&step));
    let mut problems = Vec::new();
    if let Some((aws, role)) = registries.aws().zip(credentials.aws.as_ref()) {
        let hosts: Vec<_> =
            images.iter().filter_map(|image| Some((EcrHost::of(&image.host)?, image.repository.as_str()))).collect();
        let region = hosts.first().map_or_else(|| EcrHost::default_of(role), |(host, _)| host.clone());
        let result = tokio::select! {
            result = aws.login(&region) => result,
            _ = preparation.shutdown.grace_over() => return preparation.shutdown.problem(),
        };
        match result {
            Ok(_) => tracing::info!("AWS accepts the step's token for role `{role}`"),
            Err(problem) => {
                let proposed = aws::trust_proposal(role, &step);
                problems.push(refused(problem, Some(&proposed)));
            }
        }
        propose_aws(role, &hosts, &step);
    }
    if let Some((google, (provider, account))) = registries.google().zip(credentials.google.as_ref()) {
        let result = tokio::select! {
            result = google.login() => result,
            _ = preparation.shutdown.grace_over() => return preparation.shutdown.problem(),
        };
        match result {
            Ok(_) => tracing::info!("Google accepts the step's token for provider `{provider}`"),
            Err(problem) => problems.push(refused(problem, None)),
        }
        let repositories =
            images.iter().filter_map(|image| ArtifactRepository::of(&image.host, &image.repository)).collect();
        propose_google(provider, account.as_ref(), &repositories, &step);
    }
    Diagnostic::worst(problems)
}

/// Logs a refusal, without what is proposed below it.
fn refused(mut problem: Diagnostic, proposed: Option<&str>) -> Diagnostic {
    if let Some(hint) = &mut problem.hint
        && let Some(rest) = proposed.and_then(|proposed| hint.strip_suffix(proposed))
    {
        *hint = rest.trim_end().to_owned();
    }
    problem.log();
    problem
}

fn propose_aws(role: &RoleArn, images: &[(EcrHost, &str)], step: &Step<'_>) {
    tracing::info!("the claims of the token, and what AWS makes of each");
    log::plain(table::remarks(&aws::claims_table(role, step)));
    tracing::info!("this command adds the workspace as an identity provider, once per AWS account:");
    log::plain(aws::create_provider(step));
    tracing::info!("this trust policy of role `{}` admits the steps of this repository:", role.name);
    log::plain(aws::trust_policy(role, step));
    tracing::info!("these permissions let role `{}` look images up; pushing needs more", role.name);
    log::plain(aws::pull_policy(images.iter().map(|(host, repository)| (host, *repository))));
}

fn propose_google(
    provider: &WorkloadIdentityProvider,
    account: Option<&ServiceAccount>,
    repositories: &BTreeSet<ArtifactRepository>,
    step: &Step<'_>,
) {
    tracing::info!("the claims of the token, and what Google makes of each");
    log::plain(table::remarks(&google::claims_table(provider, step)));
    tracing::info!(
        "these commands let the steps of this repository look images up; pushing needs `roles/artifactregistry.writer`"
    );
    log::plain(google::commands(provider, account, repositories, step));
}
