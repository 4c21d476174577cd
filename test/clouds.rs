//! AWS and Google: the step's token is exchanged for registry credentials, and a rejection explains what to change in
//! the cloud.

use std::fs;

use local_cloud::aws::{EcrError, ROLE, StsError};
use local_cloud::google::{PROVIDER, SERVICE_ACCOUNT};
use local_cloud::{Cloud, Fault, Image};
use local_gateway::Gateway;

use crate::support::{Pipe, Ran, issuer, one_audience, stack_of, start, step_in};

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const GOOGLE: &str = "europe-docker.pkg.dev";
const GOOGLE_IMAGE: &str = "europe-docker.pkg.dev/acme-prod/etl/import:1.0";

/// Clouds that trust the step. Each has an image, to be deployed with `PIN_IMAGES`.
fn clouds() -> (Cloud, Gateway) {
    let cloud = Cloud::start().expect("cannot start cloud");
    cloud.aws().set_up(&issuer());
    cloud.google().set_up(&issuer());
    cloud.registry(ECR).put_image("etl", "1.0", &Image::oci("linux/amd64"));
    cloud.registry(GOOGLE).put_image("acme-prod/etl/import", "1.0", &Image::oci("linux/amd64"));
    (cloud, one_audience())
}

fn aws(cloud: &Cloud, gateway: &Gateway) -> Pipe {
    let pipe = step_in(cloud, gateway).stack(&stack_of(&[&format!("{ECR}/etl:1.0")]));
    pipe.var("PIN_IMAGES", "true").var("AWS_OIDC_ROLE_ARN", ROLE)
}

fn google(cloud: &Cloud, gateway: &Gateway) -> Pipe {
    let pipe = step_in(cloud, gateway).stack(&stack_of(&[GOOGLE_IMAGE]));
    pipe.var("PIN_IMAGES", "true").var("GCP_WORKLOAD_IDENTITY_PROVIDER", PROVIDER)
}

/// Checks that the log contains no secret of the cloud, DEBUG lines included.
#[track_caller]
fn silent(ran: &Ran, cloud: &Cloud) {
    let mut secrets = cloud.secrets();
    secrets.push(issuer().token().mint());
    for secret in secrets.iter().filter(|secret| secret.len() > 8) {
        assert!(!ran.log.contains(secret.as_str()), "`{secret}` is in\n{}", ran.log);
    }
}

#[test]
fn aws_role_is_assumed_once_and_one_password_requested_per_region() {
    let (cloud, gateway) = clouds();
    let other = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    cloud.registry(ECR).put_image("etl", "1.1", &Image::oci("linux/amd64"));
    cloud.registry(other).put_image("etl", "1.0", &Image::oci("linux/amd64"));
    let images = [format!("{ECR}/etl:1.0"), format!("{ECR}/etl:1.1"), format!("{other}/etl:1.0")];
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let ran = aws(&cloud, &gateway).stack(&stack_of(&images)).var("DEBUG", "true").run().exits(0);
    silent(&ran, &cloud);
    let lines = cloud.request_lines();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("POST sts."), count("POST api.ecr."), count("HEAD ")), (1, 2, 3), "{lines:?}");
    let exchange =
        cloud.requests().into_iter().find(|request| request.host().starts_with("sts.")).expect("missing exchange");
    let form = exchange.form();
    let session = form.iter().find(|(name, _)| name == "RoleSessionName").map(|(_, value)| value.as_str());
    assert_eq!(session, Some("etl-7"));
    assert_eq!(exchange.header("authorization"), None);
}

#[test]
fn google_token_is_requested_once_directly_or_through_a_service_account() {
    let (cloud, gateway) = clouds();
    for account in ["", SERVICE_ACCOUNT] {
        for prefix in ["", "//iam.googleapis.com/", "https://iam.googleapis.com/"] {
            cloud.clear_requests();
            let pipe = google(&cloud, &gateway).var("GCP_SERVICE_ACCOUNT", account).var("DEBUG", "true");
            let pipe = pipe.var("GCP_WORKLOAD_IDENTITY_PROVIDER", format!("{prefix}{PROVIDER}"));
            silent(&pipe.run().exits(0), &cloud);
            assert_eq!(cloud.requests_to("sts.googleapis.com").len(), 1);
            let impersonated = cloud.requests_to("iamcredentials.googleapis.com").len();
            assert_eq!(impersonated, usize::from(!account.is_empty()));
            assert_eq!(cloud.requests_to(GOOGLE).len(), 1, "{:?}", cloud.request_lines());
        }
    }
}

#[test]
fn token_is_sent_only_for_registries_whose_full_host_name_matches() {
    let (cloud, gateway) = clouds();
    let images = [format!("{ECR}.evil.example/etl:1.0"), "evil-europe-docker.pkg.dev.evil.example/a/b/c:1".to_owned()];
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let pipe = aws(&cloud, &gateway).var("GCP_WORKLOAD_IDENTITY_PROVIDER", PROVIDER);
    pipe.stack(&stack_of(&images)).run();
    assert!(cloud.request_lines().iter().all(|line| line.contains("evil.example")), "{:?}", cloud.request_lines());
    let credentials =
        cloud.requests().into_iter().filter_map(|request| request.header("authorization").map(str::to_owned));
    assert!(credentials.into_iter().all(|value| value.starts_with("Bearer ")));
}

#[test]
fn every_sts_error_is_explained_and_fails_a_pinned_deploy() {
    for (error, says) in [
        (StsError::AccessDenied, "its trust policy does not admit this step"),
        (
            StsError::InvalidIdentityToken("Incorrect token audience".to_owned()),
            "add-client-id-to-open-id-connect-provider",
        ),
        (
            StsError::InvalidIdentityToken("No OpenIDConnect provider found in your account for https://x".to_owned()),
            "aws iam create-open-id-connect-provider",
        ),
        (StsError::InvalidIdentityToken("Missing a required claim: aud".to_owned()), "could not verify the token"),
        (StsError::ExpiredToken, "ran longer than its token is valid"),
        (StsError::IdpRejectedClaim, "rejected it, or it has expired"),
        (StsError::RegionDisabled, "STS is not activated in `eu-west-1`"),
        (StsError::Validation("1 validation error detected".to_owned()), "compare it with the ARN"),
    ] {
        let (cloud, gateway) = clouds();
        cloud.aws().fail_sts(std::slice::from_ref(&error));
        let ran = aws(&cloud, &gateway).run().exits(3).says("stack.yml:5: AWS STS refused the step's token").says(says);
        silent(&ran, &cloud);
        cloud.aws().fail_sts(&[error]);
        aws(&cloud, &gateway).var("PIN_IMAGES", "").var("CHECK_IMAGES", "true").run().exits(0).says(says);
    }
}

#[test]
fn transient_failures_of_aws_are_retried() {
    let (cloud, gateway) = clouds();
    cloud.aws().fail_sts(&[StsError::IdpCommunicationError, StsError::Throttling]);
    cloud.aws().fail_ecr(&[EcrError::Server]);
    aws(&cloud, &gateway).run().exits(0);
}

#[test]
fn unavailable_cloud_fails_only_a_pinned_deploy() {
    let (cloud, gateway) = clouds();
    cloud.fault(Fault::on("POST", "/").host("sts.eu-west-1.amazonaws.com").status(503).header("Retry-After", "3600"));
    cloud.fault(Fault::on("POST", "/").host("sts.googleapis.com").status(503).header("Retry-After", "3600"));
    for pipe in [aws(&cloud, &gateway), google(&cloud, &gateway)] {
        pipe.run().exits(4);
        pipe.var("PIN_IMAGES", "").var("CHECK_IMAGES", "true").run().exits(0).says("WARNING: stack.yml:5: ");
    }
}

#[test]
fn missing_ecr_permissions_are_named() {
    let (cloud, gateway) = clouds();
    let nothing = r#"{"Version": "2012-10-17", "Statement": []}"#;
    cloud.aws().put_permissions(ROLE, nothing).expect("invalid policy");
    aws(&cloud, &gateway).run().exits(3).says("AWS ECR").says("\"ecr:GetAuthorizationToken\"");
    let no_pull = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}]}"#;
    cloud.aws().put_permissions(ROLE, no_pull).expect("invalid policy");
    let ran = aws(&cloud, &gateway).run().exits(3);
    ran.says("ecr:BatchGetImage").says("arn:aws:ecr:eu-west-1:123456789012:repository/etl");
}

#[test]
fn missing_image_in_a_cloud_registry_is_reported_as_missing() {
    let (cloud, gateway) = clouds();
    let ran = aws(&cloud, &gateway).stack(&stack_of(&[&format!("{ECR}/etl:1.1")])).run().exits(2);
    ran.says("does not exist").says("similar tags: `1.0`");
    let missing = GOOGLE_IMAGE.replace("1.0", "1.1");
    google(&cloud, &gateway).stack(&stack_of(&[&missing])).run().exits(2).says("does not exist");
}

#[test]
fn role_of_another_partition_is_rejected_before_any_request() {
    let (cloud, gateway) = clouds();
    let pipe = aws(&cloud, &gateway).var("AWS_OIDC_ROLE_ARN", "arn:aws-cn:iam::123456789012:role/deploy");
    pipe.run().exits(3).says("is in partition `aws-cn`, and region `eu-west-1` in `aws`");
    assert_eq!(cloud.requests().len(), 0);
}

#[test]
fn token_is_sent_to_the_cloud_even_if_the_gateway_uses_a_password() {
    let (cloud, _) = clouds();
    let gateway = start(Gateway::builder().basic_auth("admin", "s3cr3t-password"));
    aws(&cloud, &gateway).var("OPENFAAS_PASSWORD", "s3cr3t-password").run().exits(0);
    assert_eq!(cloud.requests_to("sts.eu-west-1.amazonaws.com").len(), 1);
}

#[test]
fn cloud_login_without_a_token_is_an_error() {
    let (cloud, _) = clouds();
    let gateway = start(Gateway::builder().basic_auth("admin", "s3cr3t-password"));
    let pipe = aws(&cloud, &gateway).var("OPENFAAS_PASSWORD", "s3cr3t-password").without("BITBUCKET_STEP_OIDC_TOKEN");
    pipe.run().exits(3).says("needs the step's token, and the step has none");
    assert_eq!(cloud.requests().len(), 0);
}

/// `COMMAND: whoami` instead of the deploy.
fn whoami(pipe: Pipe) -> Pipe {
    pipe.without("PIN_IMAGES").var("COMMAND", "whoami")
}

/// The lines of a log after a text, up to the next line with a level.
fn block(ran: &Ran, after: &str) -> String {
    let (_, rest) = ran.log.split_once(after).unwrap_or_else(|| panic!("`{after}` is not in\n{}", ran.log));
    let rest = rest.split_once('\n').expect("missing line").1;
    let lines = rest
        .lines()
        .take_while(|line| !["INFO: ", "ERROR: ", "WARNING: ", "✔ ", "✖ "].iter().any(|level| line.starts_with(level)));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn policies_printed_by_whoami_are_sufficient_for_aws() {
    let (cloud, gateway) = clouds();
    cloud
        .aws()
        .put_role(
            ROLE,
            r#"{"Version": "2012-10-17", "Statement": []}"#,
            r#"{"Version": "2012-10-17", "Statement": []}"#,
        )
        .expect("invalid policy");
    let pipe = whoami(aws(&cloud, &gateway));
    let ran = pipe
        .run()
        .exits(3)
        .says("AWS STS refused the step's token")
        .says("accepts the credentials of this step, but not every cloud does");
    // The error does not repeat it.
    assert_eq!(ran.log.matches("\"StringEquals\"").count(), 1, "{}", ran.log);
    let trust = block(&ran, "this trust policy of role `deploy` admits");
    let permissions = block(&ran, "these permissions let role `deploy`");
    cloud.aws().put_role(ROLE, &trust, &permissions).expect("invalid policy");
    pipe.run().exits(0).says("AWS accepts the step's token");
    aws(&cloud, &gateway).run().exits(0);
}

#[test]
fn commands_printed_by_whoami_are_sufficient_for_google() {
    for account in ["", "ci@acme-prod.iam.gserviceaccount.com"] {
        let cloud = Cloud::start().expect("cannot start cloud");
        let gateway = one_audience();
        cloud.registry(GOOGLE).put_image("acme-prod/etl/import", "1.0", &Image::oci("linux/amd64"));
        cloud.google().project("acme-prod", "123456789012");
        cloud
            .google()
            .gcloud("gcloud artifacts repositories create etl --location=europe --repository-format=docker")
            .expect("command failed");
        if !account.is_empty() {
            cloud.google().gcloud("gcloud iam service-accounts create ci").expect("command failed");
        }
        let pipe = whoami(google(&cloud, &gateway)).var("GCP_SERVICE_ACCOUNT", account);
        let ran = pipe.run().exits(3).says("Google STS refused the step's token");
        let commands = block(&ran, "these commands let the steps of this repository");
        cloud.google().gcloud(&commands).unwrap_or_else(|error| panic!("{error}\n{commands}"));
        pipe.run().exits(0).says("Google accepts the step's token");
        google(&cloud, &gateway).var("GCP_SERVICE_ACCOUNT", account).run().exits(0);
    }
}

#[test]
fn whoami_skips_clouds_that_are_not_configured() {
    let (cloud, gateway) = clouds();
    step_in(&cloud, &gateway).var("COMMAND", "whoami").run().exits(0).does_not_say("AWS").does_not_say("Google");
    assert_eq!(cloud.requests().len(), 0);
}

#[test]
fn whoami_proposes_the_one_audience_that_clouds_and_gateway_accept() {
    let (cloud, _) = clouds();
    let gateway = start(Gateway::builder().iam_yaml("").issuer(&issuer()).public_url("https://gw.example.com"));
    let pipe = whoami(aws(&cloud, &gateway));
    let ran = pipe.run().exits(3).does_not_say("Not in the token yet").does_not_say("WARNING");
    let (_, resources) = ran.log.split_once("# Whose tokens").expect("no resources");
    let (resources, _) = resources.split_once("# ----- to here -----").expect("missing end of the resources");
    gateway.apply(&format!("#{resources}")).expect("invalid resources");
    pipe.run().exits(0).says("accepts the credentials of this step\n");
}

#[test]
fn several_audiences_cause_a_warning() {
    let (cloud, gateway) = clouds();
    let token = issuer().token().audience("https://gw.example.com").mint();
    let ran = whoami(aws(&cloud, &gateway)).var("BITBUCKET_STEP_OIDC_TOKEN", token).run();
    ran.says("WARNING: the token has 2 audiences").says("oidc: true").says("ari:cloud:bitbucket::workspace/");
}

/// A change that makes Google reject the exchange.
type Change<'a> = &'a dyn Fn(&Cloud, Pipe) -> Pipe;

#[test]
fn google_errors_are_explained() {
    let provider = PROVIDER.replace("acme", "other");
    let refusals: [(&str, Change<'_>); 4] = [
        ("invalid_grant", &|cloud, pipe| {
            update(cloud, "--allowed-audiences=https://other.example");
            pipe
        }),
        ("unauthorized_client", &|cloud, pipe| {
            update(
                cloud,
                "--attribute-condition=\"assertion.repositoryUuid=='{00000000-0000-4000-8000-000000000000}'\"",
            );
            pipe
        }),
        ("invalid_target", &|_, pipe| pipe.var("GCP_WORKLOAD_IDENTITY_PROVIDER", provider.clone())),
        ("Permission 'iam.serviceAccounts.getAccessToken' denied", &|_, pipe| {
            pipe.var("GCP_SERVICE_ACCOUNT", "nobody@acme-prod.iam.gserviceaccount.com")
        }),
    ];
    for (says, change) in refusals {
        let (cloud, gateway) = clouds();
        let pipe = change(&cloud, google(&cloud, &gateway));
        let ran = pipe.run().exits(3).says(says).says("hint: ").says("gcloud ");
        silent(&ran, &cloud);
    }
}

fn update(cloud: &Cloud, flag: &str) {
    let command = "gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global";
    cloud.google().gcloud(&format!("{command} {flag}")).expect("command failed");
}

#[test]
fn missing_artifact_registry_permission_is_explained_with_a_command() {
    let (cloud, gateway) = clouds();
    let image = "europe-docker.pkg.dev/acme-prod/secret/import:1.0";
    cloud
        .google()
        .gcloud("gcloud artifacts repositories create secret --location=europe --repository-format=docker")
        .expect("command failed");
    cloud.registry(GOOGLE).put_image("acme-prod/secret/import", "1.0", &Image::oci("linux/amd64"));
    let ran = google(&cloud, &gateway).stack(&stack_of(&[image])).run().exits(3);
    ran.says("gcloud artifacts repositories add-iam-policy-binding secret --location=europe --project=acme-prod");
}

#[test]
fn result_file_contains_no_cloud_secret() {
    let (cloud, gateway) = clouds();
    let pipe = aws(&cloud, &gateway).var("BITBUCKET_PIPE_STORAGE_DIR", "storage");
    pipe.run().exits(0);
    let result = fs::read_to_string(pipe.dir().join("storage/openfaas-pipe.json")).expect("cannot read file");
    assert!(cloud.secrets().iter().all(|secret| !result.contains(secret.as_str())));
}
