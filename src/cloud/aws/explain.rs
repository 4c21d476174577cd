//! Remedies for refusals of AWS (STS and ECR API references, *Errors*; IAM guide, *OIDC federation*), with the policies and
//! commands that an account needs for this step, ready to paste.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{EcrHost, RoleArn};
use crate::cloud::fault::CloudError;
use crate::cloud::{EXPIRED, Step, shell_word};
use crate::console::log::{pastable, quote};

/// The remedy if STS refuses the token.
pub(super) fn sts(role: &RoleArn, host: &EcrHost, step: &Step<'_>, error: &CloudError) -> String {
    let account = &role.account;
    match error.kind() {
        "AccessDenied" => explicit_deny(&error.message).map_or_else(|| not_trusted(role, step), str::to_owned),
        "InvalidIdentityToken" => step.with_audiences(not_verified(role, step, error)),
        "ExpiredToken" => EXPIRED.to_owned(),
        "IDPRejectedClaim" => {
            let claims = step.claims();
            format!("the token's issuer rejected it, or it has expired: run the step again; the token has\n{claims}")
        }
        "IDPCommunicationError" => {
            format!("AWS could not reach the token's issuer, `{}`: run the step again", step.issuer())
        }
        "RegionDisabled" => format!(
            "STS is not activated in `{}`, the region of the image's registry: activate it in account `{account}` (IAM \
             console, Account settings, Security Token Service)",
            host.region
        ),
        "ValidationError" | "Validation" => {
            format!("`AWS_OIDC_ROLE_ARN` is `{role}`: compare it with the ARN that the IAM console shows")
        }
        _ => "see the error in AWS's documentation of `AssumeRoleWithWebIdentity`".to_owned(),
    }
}

/// The remedy if the identity provider in the account does not fit the token. AWS has one code for all causes.
fn not_verified(role: &RoleArn, step: &Step<'_>, error: &CloudError) -> String {
    let account = &role.account;
    let message = error.message.to_ascii_lowercase();
    let says = |text: &str| message.contains(text);
    if says("audience") && !says("claim") {
        let flag = format!("--client-id {}", shell_word(&step.workspace_audience()));
        format!(
            "the identity provider in account `{account}` does not list the token's audience; this command adds it:\n{}",
            update_provider("add-client-id-to-open-id-connect-provider", role, step, &flag)
        )
    } else if says("thumbprint") {
        let flag = "--thumbprint-list THUMBPRINT";
        format!(
            "the thumbprints of the identity provider in account `{account}` are not those of its issuer's certificates; this command sets them (AWS's guide to OIDC identity providers shows how to compute a thumbprint):\n{}",
            update_provider("update-open-id-connect-provider-thumbprint", role, step, flag)
        )
    } else if says("verification key") {
        format!(
            "AWS could not read the keys of the token's issuer, `{}`: run the step again; if that does not help, compare the \
             issuer with the URL of the identity provider in account `{account}`",
            quote(step.issuer())
        )
    } else if says("no openidconnect provider") {
        format!(
            "account `{account}`, which `AWS_OIDC_ROLE_ARN` names, has no identity provider for the token's issuer: correct \
             the account id, or create the provider there:\n{}",
            create_provider(step)
        )
    } else {
        format!(
            "AWS could not verify the token: its identity provider must have the token's issuer as its URL, character for \
             character\n{}\nthis command creates it in account `{account}`:\n{}",
            step.claims(),
            create_provider(step)
        )
    }
}

/// The trust policy is last: `whoami` prints it by itself, and leaves it out here.
fn not_trusted(role: &RoleArn, step: &Step<'_>) -> String {
    let text = format!(
        "the role does not exist, or its trust policy does not admit this step; the token has\n{}\n\
         an `aws:SourceIp` condition must list the current addresses of Bitbucket Pipelines",
        step.claims()
    );
    let mut lines = vec![step.with_audiences(text)];
    lines.extend(step.claims.environment().map(|environment| {
        let repository = step.repository();
        format!("for this deployment environment only, write `{repository}:{environment}:*` in the trust policy")
    }));
    lines.push(trust_proposal(role, step));
    lines.join("\n")
}

/// The remedy if ECR returns no password to the role.
pub(super) fn ecr(role: &RoleArn, host: &EcrHost, error: &CloudError) -> String {
    let region = &host.region;
    match error.kind() {
        "AccessDenied" if let Some(hint) = explicit_deny(&error.message) => hint.to_owned(),
        "AccessDenied" => format!(
            "give the role `{}` these permissions; `ecr:GetAuthorizationToken` is for all resources or none:\n{}",
            role.name,
            pull_policy([])
        ),
        "UnrecognizedClient" | "InvalidClientTokenId" => format!(
            "ECR in `{region}` does not know the role's credentials: the region must be enabled in account `{}`",
            role.account
        ),
        "InvalidSignature" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => {
            "the signature of a request is valid for minutes: check the clock of the machine, and look for a proxy that \
             changes requests"
                .to_owned()
        }
        "ExpiredToken" => "the role's session has expired: check the clock of the machine".to_owned(),
        "InvalidParameter" => format!("check the region `{region}` in the image's name"),
        _ => "see the error in AWS's documentation of `GetAuthorizationToken`".to_owned(),
    }
}

/// The remedy if a policy denies access by name: no permission of the role changes that.
pub(crate) fn explicit_deny(said: &str) -> Option<&'static str> {
    said.contains("explicit deny").then_some(
        "an explicit deny overrides every permission: whoever manages the policy that AWS names must change it; a service control \
         policy belongs to the AWS organization",
    )
}

/// The claims as AWS reads them: claim, value, meaning.
pub(crate) fn claims_table(role: &RoleArn, step: &Step<'_>) -> Vec<[String; 3]> {
    step.table([
        ("iss", format!("the URL of an identity provider in account `{}`", role.account)),
        ("aud", format!("the provider must list it; the trust policy's `{}:aud`", step.issuer_path())),
        ("sub", "differs in every step: a condition on it ends with `:*`".to_owned()),
    ])
}

/// The trust policy of a role that admits the steps of this repository.
pub(crate) fn trust_policy(role: &RoleArn, step: &Step<'_>) -> String {
    let issuer = step.issuer_path();
    pretty(&json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn(role, step)},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {format!("{issuer}:aud"): step.workspace_audience()},
                "StringLike": {format!("{issuer}:sub"): format!("{}:*", step.repository())},
            },
        }],
    }))
}

/// The trust policy with what it does, as the end of a hint.
pub(crate) fn trust_proposal(role: &RoleArn, step: &Step<'_>) -> String {
    format!("this trust policy for `{}` admits every step of the repository:\n{}", role.name, trust_policy(role, step))
}

/// The command that creates the identity provider of the workspace.
pub(crate) fn create_provider(step: &Step<'_>) -> String {
    let (issuer, audience) = (shell_word(step.issuer()), shell_word(&step.workspace_audience()));
    pastable(format!("aws iam create-open-id-connect-provider \\\n  --url {issuer} \\\n  --client-id-list {audience}"))
}

/// A command that changes the identity provider of the token's issuer.
fn update_provider(command: &str, role: &RoleArn, step: &Step<'_>, flag: &str) -> String {
    let provider = shell_word(&provider_arn(role, step));
    pastable(format!("aws iam {command} \\\n  --open-id-connect-provider-arn {provider} \\\n  {flag}"))
}

fn provider_arn(role: &RoleArn, step: &Step<'_>) -> String {
    format!("arn:{}:iam::{}:oidc-provider/{}", role.partition, role.account, step.issuer_path())
}

/// The permissions of a role that may look up images, push none, and pull none but their platforms.
pub(crate) fn pull_policy<'a>(images: impl IntoIterator<Item = (&'a EcrHost, &'a str)>) -> String {
    let repositories: BTreeSet<_> = images
        .into_iter()
        .map(|(host, repository)| {
            format!("arn:{}:ecr:{}:{}:repository/{repository}", host.partition, host.region, host.account)
        })
        .collect();
    let resource = if repositories.is_empty() { json!("*") } else { json!(repositories) };
    pretty(&json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
            {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "Resource": resource},
        ],
    }))
}

fn pretty(json: &Value) -> String {
    pastable(serde_json::to_string_pretty(json).expect("maps of texts are JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::sample::{BUILD, token};
    use crate::function::image::Host;

    const ROLE: &str = "arn:aws:iam::123456789012:role/ci/pipe";

    fn host(region: &str) -> EcrHost {
        EcrHost::of(&Host::parse(&format!("123456789012.dkr.ecr.{region}.amazonaws.com")).unwrap()).unwrap()
    }

    fn sts_of(code: &str, message: &str, claims: Value) -> String {
        let (role, token) = (RoleArn::parse(ROLE).unwrap(), token(claims));
        let error = CloudError { code: code.to_owned(), message: message.to_owned() };
        sts(&role, &host("eu-west-1"), &Step::new(&token, &BUILD), &error)
    }

    fn ecr_of(code: &str, message: &str) -> String {
        let error = CloudError { code: code.to_owned(), message: message.to_owned() };
        ecr(&RoleArn::parse(ROLE).unwrap(), &host("eu-west-1"), &error)
    }

    #[test]
    fn access_denied_shows_the_claims_and_a_trust_policy_that_admits_them() {
        let claims = json!({
            "deploymentEnvironmentUuid": "{e0}",
            "aud": ["ari:cloud:bitbucket::workspace/8d1c", "https://gw.example.com"],
        });
        let text = sts_of("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", claims);
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
        insta::assert_snapshot!(sts_of("InvalidIdentityToken", "Incorrect token audience", json!({})), @r"
        the identity provider in account `123456789012` does not list the token's audience; this command adds it:
        aws iam add-client-id-to-open-id-connect-provider \
          --open-id-connect-provider-arn 'arn:aws:iam::123456789012:oidc-provider/api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc' \
          --client-id 'ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7'
        ");
    }

    #[test]
    fn missing_provider_names_the_account_and_the_command_that_creates_it() {
        let message = "No OpenIDConnect provider found in your account for https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc";
        insta::assert_snapshot!(sts_of("InvalidIdentityToken", message, json!({})), @r"
        account `123456789012`, which `AWS_OIDC_ROLE_ARN` names, has no identity provider for the token's issuer: correct the account id, or create the provider there:
        aws iam create-open-id-connect-provider \
          --url 'https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc' \
          --client-id-list 'ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7'
        ");
    }

    #[test]
    fn token_that_aws_cannot_verify_points_to_the_issuer() {
        insta::assert_snapshot!(sts_of("InvalidIdentityToken", "Missing a required claim: aud", json!({})), @r"
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
        .map(|message| sts_of("InvalidIdentityToken", message, json!({})))
        .join("\n");
        insta::assert_snapshot!(texts, @r"
        the thumbprints of the identity provider in account `123456789012` are not those of its issuer's certificates; this command sets them (AWS's guide to OIDC identity providers shows how to compute a thumbprint):
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
        for hint in [sts_of("AccessDenied", denied, json!({})), ecr_of("AccessDeniedException", denied)] {
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
            "ValidationError",
            "SomethingNew",
        ];
        let texts = codes.map(|code| format!("{code}: {}", sts_of(code, "", json!({})))).join("\n");
        insta::assert_snapshot!(texts, @"
        ExpiredTokenException: the step ran longer than its token is valid: run the pipe earlier, or in a step of its own
        IDPRejectedClaim: the token's issuer rejected it, or it has expired: run the step again; the token has
          iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
          aud: ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7
          sub: {3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:{5e1c}
        IDPCommunicationError: AWS could not reach the token's issuer, `https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc`: run the step again
        RegionDisabledException: STS is not activated in `eu-west-1`, the region of the image's registry: activate it in account `123456789012` (IAM console, Account settings, Security Token Service)
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
            codes.map(|code| format!("{code}: {}", ecr_of(code, ""))).join("\n").replace(&pull_policy([]), "[POLICY]");
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

    #[test]
    fn trust_policy_is_filled_in_from_the_token_and_the_role() {
        let token = token(json!({}));
        let role = RoleArn::parse(ROLE).unwrap();
        insta::assert_snapshot!(trust_policy(&role, &Step::new(&token, &BUILD)), @r#"
        {
          "Statement": [
            {
              "Action": "sts:AssumeRoleWithWebIdentity",
              "Condition": {
                "StringEquals": {
                  "api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc:aud": "ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7"
                },
                "StringLike": {
                  "api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc:sub": "{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}:*"
                }
              },
              "Effect": "Allow",
              "Principal": {
                "Federated": "arn:aws:iam::123456789012:oidc-provider/api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc"
              }
            }
          ],
          "Version": "2012-10-17"
        }
        "#);
    }

    #[test]
    fn pull_policy_names_the_repositories() {
        let host = host("us-gov-west-1");
        insta::assert_snapshot!(pull_policy([(&host, "team/fn"), (&host, "team/fn"), (&host, "other")]), @r#"
        {
          "Statement": [
            {
              "Action": "ecr:GetAuthorizationToken",
              "Effect": "Allow",
              "Resource": "*"
            },
            {
              "Action": [
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer"
              ],
              "Effect": "Allow",
              "Resource": [
                "arn:aws-us-gov:ecr:us-gov-west-1:123456789012:repository/other",
                "arn:aws-us-gov:ecr:us-gov-west-1:123456789012:repository/team/fn"
              ]
            }
          ],
          "Version": "2012-10-17"
        }
        "#);
    }
}
