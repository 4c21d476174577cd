//! Remedies for refusals of Google Cloud (Security Token Service, *v1.token*; IAM credentials API), with the commands that set a
//! project up for this step, ready to paste.

use std::collections::BTreeSet;

use super::{ServiceAccount, WorkloadIdentityProvider};
use crate::cloud::fault::CloudError;
use crate::cloud::{EXPIRED, Step, shell_word};
use crate::console::log::pastable;
use crate::function::image::Host;

const DELAY: &str = "changes of IAM take up to 5 minutes";

/// Requirements of these commands and roles for a provider.
const MAPPING: &str =
    "--attribute-mapping='google.subject=assertion.sub,attribute.repository_uuid=assertion.repositoryUuid'";

/// The remedy if the token is refused.
pub(super) fn sts(provider: &WorkloadIdentityProvider, step: &Step<'_>, error: &CloudError) -> String {
    let WorkloadIdentityProvider { project, pool, id } = provider;
    let message = error.message.to_ascii_lowercase();
    let says = |text: &str| message.contains(text);
    let update = |flag: &str| {
        let update = "gcloud iam workload-identity-pools providers update-oidc";
        pastable(format!("{update} {id} {} \\\n  {flag}", pool_flags(provider)))
    };
    match error.code.as_str() {
        "invalid_grant" if says("audience") => step.with_audiences(format!(
            "the provider `{id}` does not allow the token's audience; this command allows it:\n{}\n\
             it replaces the audiences that are there: to keep them, add them with commas\nthe token has\n{}",
            update(&audience_flag(step)),
            step.claims()
        )),
        "invalid_grant" if says("issuer") => format!(
            "the provider `{id}` is for another issuer; this command sets the token's:\n{}",
            update(&issuer_flag(step))
        ),
        "invalid_grant" if says("expired") || says("exp ") => EXPIRED.to_owned(),
        _ if says("127 bytes") => format!(
            "the value that the provider maps to `google.subject` is too long; this command sets the usual mapping:\n{}",
            update(MAPPING)
        ),
        "invalid_target" => format!(
            "provider `{id}` or pool `{pool}` does not exist in project {project}, is disabled or was deleted: compare it with\n\
             gcloud iam workload-identity-pools providers list {}\nor create it:\n{}",
            pool_flags(provider),
            create_provider(provider, step)
        ),
        "unauthorized_client" => format!(
            "the provider's attribute condition does not admit this step; for this repository it is:\n{}\n\
             it replaces the condition that is there: to keep other repositories, write\n  \
             --attribute-condition=\"assertion.repositoryUuid in ['{}','{{OTHER_UUID}}']\"\n{DELAY}",
            update(&condition_flag(step)),
            step.repository()
        ),
        "invalid_request" if says("subject_token") => {
            "the step has no token: give it `oidc: true`, and leave `BITBUCKET_STEP_OIDC_TOKEN` out of `variables:`"
                .to_owned()
        }
        "invalid_request" if says("audience") => format!(
            "`GCP_WORKLOAD_IDENTITY_PROVIDER` is `{provider}`: compare it, the project's number included, with what this \
             prints\n\
             gcloud iam workload-identity-pools providers describe {id} {} --format='value(name)'",
            pool_flags(provider)
        ),
        _ => step.with_audiences(format!(
            "the token has\n{}\nthis provider admits it:\n{}",
            step.claims(),
            create_provider(provider, step)
        )),
    }
}

/// The remedy if the service account may not be used.
pub(super) fn service_account(
    provider: &WorkloadIdentityProvider,
    account: &ServiceAccount,
    step: &Step<'_>,
    error: &CloudError,
) -> String {
    if error.code == "SERVICE_DISABLED" || error.message.contains("has not been used in project") {
        let project = account.project().map(|project| format!(" --project={project}")).unwrap_or_default();
        return format!(
            "the IAM Service Account Credentials API is not enabled in the account's project; this command enables it:\n\
             gcloud services enable iamcredentials.googleapis.com{project}\n{DELAY}"
        );
    }
    format!(
        "`{account}` does not exist, or this step may not act as it; this command permits it:\n{}\n{DELAY}",
        bind_account(provider, account, step)
    )
}

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

fn pool_flags(provider: &WorkloadIdentityProvider) -> String {
    format!("--workload-identity-pool={} --location=global --project={}", provider.pool, provider.project)
}

fn audience_flag(step: &Step<'_>) -> String {
    format!("--allowed-audiences={}", shell_word(&step.workspace_audience()))
}

fn issuer_flag(step: &Step<'_>) -> String {
    format!("--issuer-uri={}", shell_word(step.issuer()))
}

fn condition_flag(step: &Step<'_>) -> String {
    format!("--attribute-condition=\"assertion.repositoryUuid=='{}'\"", step.repository())
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
fn create_provider(provider: &WorkloadIdentityProvider, step: &Step<'_>) -> String {
    let create =
        format!("gcloud iam workload-identity-pools providers create-oidc {} {}", provider.id, pool_flags(provider));
    let flags = [issuer_flag(step), audience_flag(step), MAPPING.to_owned(), condition_flag(step)];
    pastable(format!("{create} \\\n  {}", flags.join(" \\\n  ")))
}

/// Lets the steps of this repository act as the service account.
fn bind_account(provider: &WorkloadIdentityProvider, account: &ServiceAccount, step: &Step<'_>) -> String {
    pastable(format!(
        "gcloud iam service-accounts add-iam-policy-binding {account} \\\n  \
         --role=roles/iam.workloadIdentityUser \\\n  --member='{}'",
        provider.principal_set(step.repository())
    ))
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
    pastable(format!(
        "gcloud artifacts repositories add-iam-policy-binding {name} {flags} \\\n  \
         --role=roles/artifactregistry.reader \\\n  --member='{member}'"
    ))
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
    let mut commands = vec![pastable(pool), create_provider(provider, step)];
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
    use serde_json::{Value, json};

    use super::*;
    use crate::cloud::sample::{BUILD, token};

    const PROVIDER: &str = "projects/123456/locations/global/workloadIdentityPools/bitbucket/providers/acme";

    fn repository(host: &str, path: &str) -> Option<ArtifactRepository> {
        ArtifactRepository::of(&Host::parse(host).unwrap(), path)
    }

    fn provider() -> WorkloadIdentityProvider {
        WorkloadIdentityProvider::parse(PROVIDER).unwrap()
    }

    fn error(code: &str, message: &str) -> CloudError {
        CloudError { code: code.to_owned(), message: message.to_owned() }
    }

    fn sts_with(claims: Value, code: &str, description: &str) -> String {
        sts(&provider(), &Step::new(&token(claims), &BUILD), &error(code, description))
    }

    fn sts_of(code: &str, description: &str) -> String {
        sts_with(json!({}), code, description)
    }

    /// A text without the command that creates the provider, which has a test of its own.
    fn without_command(text: String) -> String {
        let token = token(json!({}));
        text.replace(&create_provider(&provider(), &Step::new(&token, &BUILD)), "[COMMAND]")
    }

    #[test]
    fn audience_that_is_not_allowed_names_the_command_that_allows_it() {
        insta::assert_snapshot!(sts_of("invalid_grant", "The audience in ID Token [ari:cloud:bitbucket::workspace/8d1c] does not match the expected audience."), @r"
        the provider `acme` does not allow the token's audience; this command allows it:
        gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global --project=123456 \
          --allowed-audiences='ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7'
        it replaces the audiences that are there: to keep them, add them with commas
        the token has
          iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
          aud: ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7
          sub: {3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:{5e1c}
        ");
    }

    #[test]
    fn several_audiences_are_named_as_a_possible_cause() {
        let claims = json!({"aud": ["ari:cloud:bitbucket::workspace/8d1c", "https://gw.example.com"]});
        let text = sts_with(claims, "invalid_grant", "The audience in ID Token does not match the expected audience.");
        assert!(text.contains("the token has 2 audiences"), "{text}");
    }

    #[test]
    fn attribute_condition_that_refuses_is_shown_as_it_should_be() {
        insta::assert_snapshot!(sts_of("unauthorized_client", "The given credential is rejected by the attribute condition."), @r#"
        the provider's attribute condition does not admit this step; for this repository it is:
        gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global --project=123456 \
          --attribute-condition="assertion.repositoryUuid=='{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}'"
        it replaces the condition that is there: to keep other repositories, write
          --attribute-condition="assertion.repositoryUuid in ['{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}','{OTHER_UUID}']"
        changes of IAM take up to 5 minutes
        "#);
    }

    #[test]
    fn target_that_is_invalid_is_looked_for_and_created() {
        insta::assert_snapshot!(without_command(sts_of("invalid_target", "The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.")), @r#"
        provider `acme` or pool `bitbucket` does not exist in project 123456, is disabled or was deleted: compare it with
        gcloud iam workload-identity-pools providers list --workload-identity-pool=bitbucket --location=global --project=123456
        or create it:
        [COMMAND]
        "#);
    }

    #[test]
    fn token_that_is_empty_needs_an_oidc_block() {
        insta::assert_snapshot!(sts_of("invalid_request", "subject_token must be nonempty."), @"the step has no token: give it `oidc: true`, and leave `BITBUCKET_STEP_OIDC_TOKEN` out of `variables:`");
    }

    #[test]
    fn provider_name_that_is_wrong_is_compared_with_the_right_one() {
        insta::assert_snapshot!(sts_of("invalid_request", "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider."), @"
        `GCP_WORKLOAD_IDENTITY_PROVIDER` is `projects/123456/locations/global/workloadIdentityPools/bitbucket/providers/acme`: compare it, the project's number included, with what this prints
        gcloud iam workload-identity-pools providers describe acme --workload-identity-pool=bitbucket --location=global --project=123456 --format='value(name)'
        ");
    }

    #[test]
    fn other_refusals_of_the_token_have_a_remedy_each() {
        let texts = [
            ("invalid_grant", "The issuer in ID Token https://x does not match the expected ones."),
            ("invalid_grant", "The token is expired."),
            ("invalid_request", "The size of mapped attribute google.subject exceeds the 127 bytes limit."),
            ("something_new", ""),
        ]
        .map(|(code, description)| format!("{code}: {}", without_command(sts_of(code, description))))
        .join("\n");
        insta::assert_snapshot!(texts, @r#"
        invalid_grant: the provider `acme` is for another issuer; this command sets the token's:
        gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global --project=123456 \
          --issuer-uri='https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc'
        invalid_grant: the step ran longer than its token is valid: run the pipe earlier, or in a step of its own
        invalid_request: the value that the provider maps to `google.subject` is too long; this command sets the usual mapping:
        gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global --project=123456 \
          --attribute-mapping='google.subject=assertion.sub,attribute.repository_uuid=assertion.repositoryUuid'
        something_new: the token has
          iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
          aud: ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7
          sub: {3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:{5e1c}
        this provider admits it:
        [COMMAND]
        "#);
    }

    #[test]
    fn service_account_needs_a_binding_or_its_api() {
        let account = ServiceAccount::parse("ci@proj.iam.gserviceaccount.com").unwrap();
        let token = token(json!({}));
        let text =
            |code, message| service_account(&provider(), &account, &Step::new(&token, &BUILD), &error(code, message));
        let denied = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
        insta::assert_snapshot!(text("IAM_PERMISSION_DENIED", denied), @r"
        `ci@proj.iam.gserviceaccount.com` does not exist, or this step may not act as it; this command permits it:
        gcloud iam service-accounts add-iam-policy-binding ci@proj.iam.gserviceaccount.com \
          --role=roles/iam.workloadIdentityUser \
          --member='principalSet://iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/bitbucket/attribute.repository_uuid/{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}'
        changes of IAM take up to 5 minutes
        ");
        insta::assert_snapshot!(text("SERVICE_DISABLED", "IAM Service Account Credentials API has not been used in project 1 before or it is disabled."), @"
        the IAM Service Account Credentials API is not enabled in the account's project; this command enables it:
        gcloud services enable iamcredentials.googleapis.com --project=proj
        changes of IAM take up to 5 minutes
        ");
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
        let provider = provider();
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
