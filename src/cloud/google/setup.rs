//! Commands that set a Google Cloud project up for this step, ready to paste.

use std::collections::BTreeSet;

use super::{ServiceAccount, WorkloadIdentityProvider};
use crate::cloud::step::{Step, shell_word};
use crate::function::image::Host;

/// A repository of Artifact Registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ArtifactRepository {
    location: String,
    project: String,
    name: String,
}

impl ArtifactRepository {
    /// The repository that an image is in: `LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE`, or the one behind `gcr.io`.
    pub(crate) fn of(host: &Host, path: &str) -> Option<Self> {
        let (project, rest) = path.split_once('/')?;
        let (location, name) = match host.as_str() {
            "gcr.io" | "us.gcr.io" => ("us", host.as_str()),
            "eu.gcr.io" => ("europe", host.as_str()),
            "asia.gcr.io" => ("asia", host.as_str()),
            host => (host.strip_suffix("-docker.pkg.dev")?, rest.split('/').next().unwrap_or(rest)),
        };
        let [location, project, name] = [location, project, name].map(str::to_owned);
        Some(Self { location, project, name })
    }
}

/// The flags that name the pool of a provider.
fn pool(provider: &WorkloadIdentityProvider) -> String {
    format!("--workload-identity-pool={} --location=global --project={}", provider.pool, provider.project)
}

/// The claims as Google reads them: claim, value, meaning.
pub(crate) fn claims_table(provider: &WorkloadIdentityProvider, step: &Step<'_>) -> Vec<[String; 3]> {
    step.table([
        ("iss", format!("the issuer of provider `{}`", provider.id)),
        ("aud", "the provider must allow it (`--allowed-audiences`)".to_owned()),
        ("sub", "differs in every step: never bind a role to it".to_owned()),
        ("repositoryUuid", "`attribute.repository_uuid`, which roles are bound to".to_owned()),
    ])
}

/// Creates the provider, for the steps of this repository only.
pub(super) fn create_provider(provider: &WorkloadIdentityProvider, step: &Step<'_>) -> String {
    format!(
        "gcloud iam workload-identity-pools providers create-oidc {} {} \\\n  \
         --issuer-uri={} \\\n  \
         --allowed-audiences={} \\\n  \
         --attribute-mapping='google.subject=assertion.sub,attribute.repository_uuid=assertion.repositoryUuid' \\\n  \
         --attribute-condition=\"assertion.repositoryUuid=='{}'\"",
        provider.id,
        pool(provider),
        shell_word(step.issuer()),
        shell_word(&step.workspace_audience()),
        step.repository()
    )
}

/// Changes one setting of the provider.
pub(super) fn update_provider(provider: &WorkloadIdentityProvider, flag: &str) -> String {
    format!("gcloud iam workload-identity-pools providers update-oidc {} {} \\\n  {flag}", provider.id, pool(provider))
}

/// Lets the steps of this repository act as the service account.
pub(super) fn bind_account(provider: &WorkloadIdentityProvider, account: &ServiceAccount, step: &Step<'_>) -> String {
    format!(
        "gcloud iam service-accounts add-iam-policy-binding {account} \\\n  \
         --role=roles/iam.workloadIdentityUser \\\n  --member='{}'",
        provider.principal_set(step.repository())
    )
}

/// Lets the steps, or the service account that they act as, read a repository.
pub(crate) fn bind_reader(
    provider: &WorkloadIdentityProvider,
    account: Option<&ServiceAccount>,
    repository: Option<&ArtifactRepository>,
    step: &Step<'_>,
) -> String {
    let member = match account {
        Some(account) => format!("serviceAccount:{account}"),
        None => provider.principal_set(step.repository()),
    };
    let (name, flags) = match repository {
        Some(ArtifactRepository { location, project, name }) => {
            (name.as_str(), format!("--location={location} --project={project}"))
        }
        None => ("REPOSITORY", "--location=LOCATION --project=PROJECT".to_owned()),
    };
    format!(
        "gcloud artifacts repositories add-iam-policy-binding {name} {flags} \\\n  \
         --role=roles/artifactregistry.reader \\\n  --member='{member}'"
    )
}

/// All commands that admit the steps of this repository to these repositories.
pub(crate) fn commands(
    provider: &WorkloadIdentityProvider,
    account: Option<&ServiceAccount>,
    repositories: &BTreeSet<ArtifactRepository>,
    step: &Step<'_>,
) -> String {
    let pool = format!(
        "gcloud iam workload-identity-pools create {} --location=global --project={}",
        provider.pool, provider.project
    );
    let mut commands = vec![pool, create_provider(provider, step)];
    commands.extend(account.map(|account| bind_account(provider, account, step)));
    let bind = |repository| bind_reader(provider, account, repository, step);
    commands.extend(repositories.iter().map(|repository| bind(Some(repository))));
    if repositories.is_empty() {
        commands.push(bind(None));
    }
    commands.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cloud::step::tests::{BUILD, token};

    const PROVIDER: &str = "projects/123456/locations/global/workloadIdentityPools/bitbucket/providers/acme";

    fn repository(host: &str, path: &str) -> Option<ArtifactRepository> {
        ArtifactRepository::of(&Host::parse(host).unwrap(), path)
    }

    #[test]
    fn repository_is_read_from_the_images_name() {
        let repository = |host, path| repository(host, path).map(|found| [found.location, found.project, found.name]);
        let some = |parts: [&str; 3]| Some(parts.map(str::to_owned));
        assert_eq!(repository("europe-west1-docker.pkg.dev", "proj/repo/a/b"), some(["europe-west1", "proj", "repo"]));
        assert_eq!(repository("eu.gcr.io", "proj/fn"), some(["europe", "proj", "eu.gcr.io"]));
        assert_eq!(repository("gcr.io", "fn"), None);
    }

    #[test]
    fn commands_are_filled_in_for_direct_access_and_for_a_service_account() {
        let token = token(json!({}));
        let step = Step::new(&token, &BUILD);
        let provider = WorkloadIdentityProvider::parse(PROVIDER).unwrap();
        let repositories = BTreeSet::from_iter(repository("europe-docker.pkg.dev", "proj/repo/fn"));
        insta::assert_snapshot!(commands(&provider, None, &repositories, &step), @r#"
        gcloud iam workload-identity-pools create bitbucket --location=global --project=123456
        gcloud iam workload-identity-pools providers create-oidc acme --workload-identity-pool=bitbucket --location=global --project=123456 \
          --issuer-uri='https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc' \
          --allowed-audiences='ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7' \
          --attribute-mapping='google.subject=assertion.sub,attribute.repository_uuid=assertion.repositoryUuid' \
          --attribute-condition="assertion.repositoryUuid=='{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}'"
        gcloud artifacts repositories add-iam-policy-binding repo --location=europe --project=proj \
          --role=roles/artifactregistry.reader \
          --member='principalSet://iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/bitbucket/attribute.repository_uuid/{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}'
        "#);
        let account = ServiceAccount::parse("ci@proj.iam.gserviceaccount.com").unwrap();
        let all = commands(&provider, Some(&account), &BTreeSet::new(), &step);
        let binding = all.find("gcloud iam service-accounts").unwrap();
        insta::assert_snapshot!(all[binding..], @r"
        gcloud iam service-accounts add-iam-policy-binding ci@proj.iam.gserviceaccount.com \
          --role=roles/iam.workloadIdentityUser \
          --member='principalSet://iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/bitbucket/attribute.repository_uuid/{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}'
        gcloud artifacts repositories add-iam-policy-binding REPOSITORY --location=LOCATION --project=PROJECT \
          --role=roles/artifactregistry.reader \
          --member='serviceAccount:ci@proj.iam.gserviceaccount.com'
        ");
    }
}
