//! Policies and commands that an AWS account needs for this step, ready to paste.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{EcrHost, RoleArn};
use crate::cloud::step::{Step, shell_word};

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
    format!("aws iam create-open-id-connect-provider \\\n  --url {issuer} \\\n  --client-id-list {audience}")
}

/// The command that makes AWS accept the audience of the workspace's tokens.
pub(super) fn add_audience(role: &RoleArn, step: &Step<'_>) -> String {
    format!(
        "aws iam add-client-id-to-open-id-connect-provider \\\n  --open-id-connect-provider-arn {} \\\n  --client-id {}",
        shell_word(&provider_arn(role, step)),
        shell_word(&step.workspace_audience())
    )
}

/// The command that makes AWS accept the certificate of the token's issuer.
pub(super) fn update_thumbprint(role: &RoleArn, step: &Step<'_>) -> String {
    format!(
        "aws iam update-open-id-connect-provider-thumbprint \\\n  --open-id-connect-provider-arn {} \\\n  \
         --thumbprint-list THUMBPRINT",
        shell_word(&provider_arn(role, step))
    )
}

pub(super) fn provider_arn(role: &RoleArn, step: &Step<'_>) -> String {
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
    serde_json::to_string_pretty(json).expect("maps of texts are JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cloud::step::tests::{BUILD, token};
    use crate::function::image::Host;

    #[test]
    fn trust_policy_is_filled_in_from_the_token_and_the_role() {
        let token = token(json!({}));
        let role = RoleArn::parse("arn:aws:iam::123456789012:role/pipe").unwrap();
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
        let host = EcrHost::of(&Host::parse("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com").unwrap()).unwrap();
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
