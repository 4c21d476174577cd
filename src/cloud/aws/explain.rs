//! Remedies for refusals of AWS (STS and ECR API references, *Errors*; IAM guide, *OIDC federation*).

use super::{EcrHost, RoleArn, setup};
use crate::cloud::fault::CloudError;
use crate::cloud::step::{EXPIRED, Step};
use crate::console::log::quote;

/// The subject of a refusal.
pub(super) struct AwsRefusal<'a> {
    pub(super) role: &'a RoleArn,
    pub(super) host: &'a EcrHost,
    pub(super) step: &'a Step<'a>,
}

impl AwsRefusal<'_> {
    /// The remedy if STS refuses the token.
    pub(super) fn of_sts(&self, fault: &CloudError) -> String {
        let Self { role, host, step } = self;
        let message = fault.message.to_ascii_lowercase();
        let says = |text: &str| message.contains(text);
        let remedy = match fault.kind() {
            "AccessDenied" => {
                return explicit_deny(&fault.message).map_or_else(|| self.not_trusted(), str::to_owned);
            }
            "InvalidIdentityToken" if says("audience") && !says("claim") => format!(
                "the identity provider in account `{}` does not list the token's audience; this command adds it:\n{}",
                role.account,
                setup::add_audience(role, step)
            ),
            "InvalidIdentityToken" if says("thumbprint") => {
                return format!(
                    "the identity provider in account `{}` has the thumbprints of other certificates than its issuer's; this \
                     command sets them, with the thumbprint that AWS's guide to OIDC identity providers shows how to compute:\n{}",
                    role.account,
                    setup::update_thumbprint(role, step)
                );
            }
            "InvalidIdentityToken" if says("verification key") => {
                return format!(
                    "AWS could not read the keys of the token's issuer, `{}`: run the step again; if that does not help, compare the \
                     issuer with the URL of the identity provider in account `{}`",
                    quote(step.issuer()),
                    role.account
                );
            }
            "InvalidIdentityToken" if says("no openidconnect provider") => format!(
                "account `{}`, which `AWS_OIDC_ROLE_ARN` names, has no identity provider for the token's issuer: correct \
                 the account id, or create the provider there:\n{}",
                role.account,
                setup::create_provider(step)
            ),
            "InvalidIdentityToken" => format!(
                "AWS could not verify the token: its identity provider must have the token's issuer as its URL, character \
                 for character\n{}\nthis command creates it in account `{}`:\n{}",
                step.claims(),
                role.account,
                setup::create_provider(step)
            ),
            "ExpiredToken" => return EXPIRED.to_owned(),
            "IDPRejectedClaim" => {
                return format!(
                    "the token's issuer rejected it, or it has expired: run the step again; the token has\n{}",
                    step.claims()
                );
            }
            "IDPCommunicationError" => {
                return format!("AWS could not reach the token's issuer, `{}`: run the step again", step.issuer());
            }
            "RegionDisabled" => {
                return format!(
                    "STS is not activated in `{}`, the region of the image's registry: activate it in account `{}` (IAM \
                     console, Account settings, Security Token Service)",
                    host.region, role.account
                );
            }
            "MalformedPolicyDocument" | "PackedPolicyTooLarge" => {
                return "the pipe sends no session policy: look for a proxy between it and AWS that changes requests"
                    .to_owned();
            }
            "ValidationError" | "Validation" => {
                return format!("`AWS_OIDC_ROLE_ARN` is `{role}`: compare it with the ARN that the IAM console shows");
            }
            _ => return "see the error in AWS's documentation of `AssumeRoleWithWebIdentity`".to_owned(),
        };
        step.several_audiences().map_or_else(|| remedy.clone(), |warning| format!("{remedy}\n{warning}"))
    }

    /// The trust policy is last: `whoami` prints it by itself, and leaves it out here.
    fn not_trusted(&self) -> String {
        let Self { role, step, .. } = self;
        let mut lines = vec![
            "the role does not exist, or its trust policy does not admit this step; the token has".to_owned(),
            step.claims(),
            "an `aws:SourceIp` condition must list the current addresses of Bitbucket Pipelines".to_owned(),
        ];
        lines.extend(step.several_audiences());
        lines.extend(step.environment().map(|environment| {
            format!(
                "for this deployment environment only, write `{}:{environment}:*` in the trust policy",
                step.repository()
            )
        }));
        lines.push(setup::trust_proposal(role, step));
        lines.join("\n")
    }

    /// The remedy if ECR returns no password to the role.
    pub(super) fn of_ecr(&self, fault: &CloudError) -> String {
        let Self { role, host, .. } = self;
        match fault.kind() {
            "AccessDenied" if let Some(hint) = explicit_deny(&fault.message) => hint.to_owned(),
            "AccessDenied" => format!(
                "give the role `{}` these permissions; `ecr:GetAuthorizationToken` is for all resources or none:\n{}",
                role.name,
                setup::pull_policy([])
            ),
            "UnrecognizedClient" | "InvalidClientTokenId" => format!(
                "ECR in `{}` does not know the role's credentials: the region must be enabled in account `{}`",
                host.region, role.account
            ),
            "InvalidSignature" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => {
                "the signature of a request is valid for minutes: check the clock of the machine, and look for a proxy that \
                 changes requests"
                    .to_owned()
            }
            "ExpiredToken" => "the role's session has expired: check the clock of the machine".to_owned(),
            "InvalidParameter" => format!("check the region `{}` in the image's name", host.region),
            _ => "see the error in AWS's documentation of `GetAuthorizationToken`".to_owned(),
        }
    }
}

/// The remedy if a policy denies access by name: no permission of the role changes that.
pub(crate) fn explicit_deny(said: &str) -> Option<&'static str> {
    said.contains("explicit deny").then_some(
        "an explicit deny overrides every permission: whoever manages the policy that AWS names must change it; a service control \
         policy belongs to the AWS organization",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cloud::fault::CloudError;
    use crate::cloud::step::tests::{BUILD, token};
    use crate::function::image::Host;

    fn sts(code: &str, message: &str, claims: Value) -> String {
        let token = token(claims);
        let role = RoleArn::parse("arn:aws:iam::123456789012:role/ci/pipe").unwrap();
        let host = EcrHost::of(&Host::parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com").unwrap()).unwrap();
        let step = Step::new(&token, &BUILD);
        let fault = CloudError { code: code.to_owned(), message: message.to_owned() };
        AwsRefusal { role: &role, host: &host, step: &step }.of_sts(&fault)
    }

    fn ecr(code: &str) -> String {
        ecr_fault(code, "")
    }

    fn ecr_fault(code: &str, message: &str) -> String {
        let token = token(json!({}));
        let role = RoleArn::parse("arn:aws:iam::123456789012:role/ci/pipe").unwrap();
        let host = EcrHost::of(&Host::parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com").unwrap()).unwrap();
        let step = Step::new(&token, &BUILD);
        let fault = CloudError { code: code.to_owned(), message: message.to_owned() };
        AwsRefusal { role: &role, host: &host, step: &step }.of_ecr(&fault)
    }

    #[test]
    fn access_denied_shows_the_claims_and_a_trust_policy_that_admits_them() {
        let claims = json!({
            "deploymentEnvironmentUuid": "{e0}",
            "aud": ["ari:cloud:bitbucket::workspace/8d1c", "https://gw.example.com"],
        });
        let text = sts("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", claims);
        let (text, policy) = text.split_once("{\n").unwrap();
        assert!(policy.contains("oidc:sub\": \"{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:*\""), "{policy}");
        insta::assert_snapshot!(text, @"
        the role does not exist, or its trust policy does not admit this step; the token has
          iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
          aud: ari:cloud:bitbucket::workspace/8d1c, https://gw.example.com
          sub: {3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:{5e1c}
        an `aws:SourceIp` condition must list the current addresses of Bitbucket Pipelines
        the token has 2 audiences, and it is not confirmed that AWS and Google accept more than one: give the step `oidc: true`, without `audiences:`, and write the workspace's audience into the gateway's JwtIssuer:
          spec:
            aud:
              - ari:cloud:bitbucket::workspace/8d1c
        for this deployment environment only, write `{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:{e0}:*` in the trust policy
        this trust policy for `pipe` admits every step of the repository:
        ");
    }

    #[test]
    fn incorrect_token_audience_names_the_command_that_adds_it() {
        insta::assert_snapshot!(sts("InvalidIdentityToken", "Incorrect token audience", json!({})), @r"
        the identity provider in account `123456789012` does not list the token's audience; this command adds it:
        aws iam add-client-id-to-open-id-connect-provider \
          --open-id-connect-provider-arn 'arn:aws:iam::123456789012:oidc-provider/api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc' \
          --client-id 'ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7'
        ");
    }

    #[test]
    fn missing_provider_names_the_account_and_the_command_that_creates_it() {
        let message = "No OpenIDConnect provider found in your account for https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc";
        insta::assert_snapshot!(sts("InvalidIdentityToken", message, json!({})), @r"
        account `123456789012`, which `AWS_OIDC_ROLE_ARN` names, has no identity provider for the token's issuer: correct the account id, or create the provider there:
        aws iam create-open-id-connect-provider \
          --url 'https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc' \
          --client-id-list 'ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7'
        ");
    }

    #[test]
    fn token_that_aws_cannot_verify_points_to_the_issuer() {
        insta::assert_snapshot!(sts("InvalidIdentityToken", "Missing a required claim: aud", json!({})), @r"
        AWS could not verify the token: its identity provider must have the token's issuer as its URL, character for character
          iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
          aud: ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7
          sub: {3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:{5e1c}
        this command creates it in account `123456789012`:
        aws iam create-open-id-connect-provider \
          --url 'https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc' \
          --client-id-list 'ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7'
        ");
    }

    #[test]
    fn provider_that_exists_is_not_created_again() {
        let texts = [
            "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
            "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation",
        ]
        .map(|message| sts("InvalidIdentityToken", message, json!({})))
        .join("\n");
        insta::assert_snapshot!(texts, @r"
        the identity provider in account `123456789012` has the thumbprints of other certificates than its issuer's; this command sets them, with the thumbprint that AWS's guide to OIDC identity providers shows how to compute:
        aws iam update-open-id-connect-provider-thumbprint \
          --open-id-connect-provider-arn 'arn:aws:iam::123456789012:oidc-provider/api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc' \
          --thumbprint-list THUMBPRINT
        AWS could not read the keys of the token's issuer, `https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc`: run the step again; if that does not help, compare the issuer with the URL of the identity provider in account `123456789012`
        ");
    }

    #[test]
    fn explicit_deny_is_not_answered_with_permissions() {
        let denied = "User: arn:aws:sts::123456789012:assumed-role/pipe/etl-7 is not authorized to perform: \
                      ecr:GetAuthorizationToken on resource: * with an explicit deny in a service control policy";
        for hint in [sts("AccessDenied", denied, json!({})), ecr_fault("AccessDeniedException", denied)] {
            assert!(hint.starts_with("an explicit deny overrides every permission"), "{hint}");
        }
    }

    #[test]
    fn other_refusals_of_sts_have_a_remedy_each() {
        let codes = [
            "ExpiredTokenException",
            "IDPRejectedClaim",
            "IDPCommunicationError",
            "RegionDisabledException",
            "MalformedPolicyDocument",
            "PackedPolicyTooLarge",
            "ValidationError",
            "SomethingNew",
        ];
        let texts = codes.map(|code| format!("{code}: {}", sts(code, "", json!({})))).join("\n");
        insta::assert_snapshot!(texts, @"
        ExpiredTokenException: the step ran longer than its token is valid: run the pipe earlier, or in a step of its own
        IDPRejectedClaim: the token's issuer rejected it, or it has expired: run the step again; the token has
          iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
          aud: ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7
          sub: {3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:{5e1c}
        IDPCommunicationError: AWS could not reach the token's issuer, `https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc`: run the step again
        RegionDisabledException: STS is not activated in `eu-west-1`, the region of the image's registry: activate it in account `123456789012` (IAM console, Account settings, Security Token Service)
        MalformedPolicyDocument: the pipe sends no session policy: look for a proxy between it and AWS that changes requests
        PackedPolicyTooLarge: the pipe sends no session policy: look for a proxy between it and AWS that changes requests
        ValidationError: `AWS_OIDC_ROLE_ARN` is `arn:aws:iam::123456789012:role/ci/pipe`: compare it with the ARN that the IAM console shows
        SomethingNew: see the error in AWS's documentation of `AssumeRoleWithWebIdentity`
        ");
    }

    #[test]
    fn refusals_of_ecr_have_a_remedy_each() {
        let codes = [
            "AccessDeniedException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "ExpiredTokenException",
            "InvalidParameterException",
            "SomethingNew",
        ];
        let texts =
            codes.map(|code| format!("{code}: {}", ecr(code))).join("\n").replace(&setup::pull_policy([]), "[POLICY]");
        insta::assert_snapshot!(texts, @"
        AccessDeniedException: give the role `pipe` these permissions; `ecr:GetAuthorizationToken` is for all resources or none:
        [POLICY]
        UnrecognizedClientException: ECR in `eu-west-1` does not know the role's credentials: the region must be enabled in account `123456789012`
        InvalidSignatureException: the signature of a request is valid for minutes: check the clock of the machine, and look for a proxy that changes requests
        ExpiredTokenException: the role's session has expired: check the clock of the machine
        InvalidParameterException: check the region `eu-west-1` in the image's name
        SomethingNew: see the error in AWS's documentation of `GetAuthorizationToken`
        ");
    }
}
