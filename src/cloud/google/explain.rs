//! Remedies for refusals of Google Cloud (Security Token Service, *v1.token*; IAM credentials API).

use super::{ServiceAccount, WorkloadIdentityProvider, setup};
use crate::cloud::fault::CloudError;
use crate::cloud::step::{EXPIRED, Step, shell_word};

const DELAY: &str = "changes of IAM take up to 5 minutes";

/// The subject of a refusal.
pub(super) struct GoogleRefusal<'a> {
    pub(super) provider: &'a WorkloadIdentityProvider,
    pub(super) step: &'a Step<'a>,
}

impl GoogleRefusal<'_> {
    /// The remedy if the token is refused.
    pub(super) fn of_sts(&self, fault: &CloudError) -> String {
        let Self { provider, step } = self;
        let words = fault.message.to_ascii_lowercase();
        let says = |text: &str| words.contains(text);
        match fault.code.as_str() {
            "invalid_grant" if says("audience") => self.with_audiences(format!(
                "the provider `{}` does not allow the token's audience; this command allows it:\n{}\nthe token has\n{}",
                provider.id,
                setup::update_provider(
                    provider,
                    &format!("--allowed-audiences={}", shell_word(&step.workspace_audience()))
                ),
                step.claims()
            )),
            "invalid_grant" if says("issuer") => format!(
                "the provider `{}` is for another issuer; this command sets the token's:\n{}",
                provider.id,
                setup::update_provider(provider, &format!("--issuer-uri={}", shell_word(step.issuer())))
            ),
            "invalid_grant" if says("expired") || says("exp ") => EXPIRED.to_owned(),
            _ if says("127 bytes") => format!(
                "the provider maps something too long to `google.subject`; this command sets the usual mapping:\n{}",
                setup::update_provider(
                    provider,
                    "--attribute-mapping='google.subject=assertion.sub,attribute.repository_uuid=assertion.repositoryUuid'"
                )
            ),
            "invalid_target" => format!(
                "provider `{}` or pool `{}` does not exist in project {}, is disabled or was deleted: compare it with\n\
                 gcloud iam workload-identity-pools providers list --workload-identity-pool={} --location=global --project={}\n\
                 or create it:\n{}",
                provider.id,
                provider.pool,
                provider.project,
                provider.pool,
                provider.project,
                setup::create_provider(provider, step)
            ),
            "unauthorized_client" => format!(
                "the provider's attribute condition does not admit this step; for this repository it is:\n{}\n{DELAY}",
                setup::update_provider(
                    provider,
                    &format!("--attribute-condition=\"assertion.repositoryUuid=='{}'\"", step.repository())
                )
            ),
            "invalid_request" if says("subject_token") => {
                "the step has no token: give it `oidc: true`, and leave `BITBUCKET_STEP_OIDC_TOKEN` out of `variables:`"
                    .to_owned()
            }
            "invalid_request" if says("audience") => format!(
                "`GCP_WORKLOAD_IDENTITY_PROVIDER` is `{provider}`: compare it, the project's number included, with what this \
                 prints\n\
                 gcloud iam workload-identity-pools providers describe {} --workload-identity-pool={} --location=global \
                 --project={} --format='value(name)'",
                provider.id, provider.pool, provider.project
            ),
            _ => self.with_audiences(format!(
                "the token has\n{}\nthis provider admits it:\n{}",
                step.claims(),
                setup::create_provider(provider, step)
            )),
        }
    }

    /// The remedy if the service account may not be used.
    pub(super) fn of_account(&self, account: &ServiceAccount, fault: &CloudError) -> String {
        let Self { provider, step } = self;
        let message = &fault.message;
        if fault.code == "SERVICE_DISABLED" || message.contains("has not been used in project") {
            let project = account.project();
            return format!(
                "the IAM Service Account Credentials API is not enabled; this command enables it:\n\
                 gcloud services enable iamcredentials.googleapis.com --project={project}\n{DELAY}"
            );
        }
        if message.contains("lifetime") {
            return "the pipe asks for one hour, which is always allowed: look for a proxy that changes requests"
                .to_owned();
        }
        format!(
            "`{account}` does not exist, or this step may not act as it; this command permits it:\n{}\n{DELAY}",
            setup::bind_account(provider, account, step)
        )
    }

    fn with_audiences(&self, text: String) -> String {
        match self.step.several_audiences() {
            Some(warning) => format!("{text}\n{warning}"),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cloud::step::tests::{BUILD, token};

    fn with_context<T>(claims: Value, use_it: impl FnOnce(&GoogleRefusal<'_>) -> T) -> T {
        let token = token(claims);
        let step = Step::new(&token, &BUILD);
        let provider = WorkloadIdentityProvider::parse(
            "projects/123456/locations/global/workloadIdentityPools/bitbucket/providers/acme",
        )
        .unwrap();
        use_it(&GoogleRefusal { provider: &provider, step: &step })
    }

    fn fault(code: &str, message: &str) -> CloudError {
        CloudError { code: code.to_owned(), message: message.to_owned() }
    }

    fn sts(code: &str, description: &str) -> String {
        with_context(json!({}), |context| context.of_sts(&fault(code, description)))
    }

    /// A text without the command that creates the provider, which `setup` has a test of.
    fn without_command(text: String) -> String {
        with_context(json!({}), |context| {
            text.replace(&setup::create_provider(context.provider, context.step), "[COMMAND]")
        })
    }

    #[test]
    fn audience_that_is_not_allowed_names_the_command_that_allows_it() {
        insta::assert_snapshot!(sts("invalid_grant", "The audience in ID Token [ari:cloud:bitbucket::workspace/8d1c] does not match the expected audience."), @r"
        the provider `acme` does not allow the token's audience; this command allows it:
        gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global --project=123456 \
          --allowed-audiences='ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7'
        the token has
          iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
          aud: ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7
          sub: {3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:{5e1c}
        ");
    }

    #[test]
    fn several_audiences_are_named_as_a_possible_cause() {
        let claims = json!({"aud": ["ari:cloud:bitbucket::workspace/8d1c", "https://gw.example.com"]});
        let text = with_context(claims, |context| {
            context.of_sts(&fault("invalid_grant", "The audience in ID Token does not match the expected audience."))
        });
        assert!(text.contains("the token has 2 audiences"), "{text}");
    }

    #[test]
    fn attribute_condition_that_refuses_is_shown_as_it_should_be() {
        insta::assert_snapshot!(sts("unauthorized_client", "The given credential is rejected by the attribute condition."), @r#"
        the provider's attribute condition does not admit this step; for this repository it is:
        gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global --project=123456 \
          --attribute-condition="assertion.repositoryUuid=='{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}'"
        changes of IAM take up to 5 minutes
        "#);
    }

    #[test]
    fn target_that_is_invalid_is_looked_for_and_created() {
        insta::assert_snapshot!(without_command(sts("invalid_target", "The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.")), @r#"
        provider `acme` or pool `bitbucket` does not exist in project 123456, is disabled or was deleted: compare it with
        gcloud iam workload-identity-pools providers list --workload-identity-pool=bitbucket --location=global --project=123456
        or create it:
        [COMMAND]
        "#);
    }

    #[test]
    fn token_that_is_empty_needs_an_oidc_block() {
        insta::assert_snapshot!(sts("invalid_request", "subject_token must be nonempty."), @"the step has no token: give it `oidc: true`, and leave `BITBUCKET_STEP_OIDC_TOKEN` out of `variables:`");
    }

    #[test]
    fn provider_name_that_is_wrong_is_compared_with_the_right_one() {
        insta::assert_snapshot!(sts("invalid_request", "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider."), @"
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
        .map(|(code, description)| format!("{code}: {}", without_command(sts(code, description))))
        .join("\n");
        insta::assert_snapshot!(texts, @r#"
        invalid_grant: the provider `acme` is for another issuer; this command sets the token's:
        gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global --project=123456 \
          --issuer-uri='https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc'
        invalid_grant: the step ran longer than its token is valid: run the pipe earlier, or in a step of its own
        invalid_request: the provider maps something too long to `google.subject`; this command sets the usual mapping:
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
        let text = |reason: &str, message: &str| {
            with_context(json!({}), |context| context.of_account(&account, &fault(reason, message)))
        };
        let denied = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
        insta::assert_snapshot!(text("IAM_PERMISSION_DENIED", denied), @r"
        `ci@proj.iam.gserviceaccount.com` does not exist, or this step may not act as it; this command permits it:
        gcloud iam service-accounts add-iam-policy-binding ci@proj.iam.gserviceaccount.com \
          --role=roles/iam.workloadIdentityUser \
          --member='principalSet://iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/bitbucket/attribute.repository_uuid/{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}'
        changes of IAM take up to 5 minutes
        ");
        insta::assert_snapshot!(text("SERVICE_DISABLED", "IAM Service Account Credentials API has not been used in project 1 before or it is disabled."), @"
        the IAM Service Account Credentials API is not enabled; this command enables it:
        gcloud services enable iamcredentials.googleapis.com --project=proj
        changes of IAM take up to 5 minutes
        ");
        insta::assert_snapshot!(text("", "The access token lifetime cannot exceed 3600 seconds."), @"the pipe asks for one hour, which is always allowed: look for a proxy that changes requests");
    }
}
