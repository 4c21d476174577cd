//! `CHECK_IMAGES`, `PIN_IMAGES` and `IMAGE_PLATFORMS` with registries under their real host names.

mod access;
mod failures;
mod hostile;
mod many;
mod platforms;
mod setup;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_cloud::{Cloud, Fault, Image, Latch, Quirk};
use local_gateway::Gateway;

use crate::support::{Pipe, Ran, Running, changes, one_audience, stack_of, step_in, wait_for};

const GHCR: &str = "ghcr.io/acme/etl:1.0";
const HUB: &str = "registry-1.docker.io";

fn cloud() -> Cloud {
    Cloud::start().expect("cannot start cloud")
}

/// A registry at GHCR with `acme/etl:1.0`, a gateway, and a deploy of that image.
fn ghcr() -> (Cloud, Gateway, Pipe) {
    let (cloud, gateway) = (cloud(), one_audience());
    cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &Image::oci("linux/amd64"));
    let pipe = step_in(&cloud, &gateway).stack(&stack_of(&[GHCR]));
    (cloud, gateway, pipe)
}

/// Runs the pipe with `CHECK_IMAGES`, then with `PIN_IMAGES`. Checks both exit codes, and that exit code 0 means
/// deployed.
fn check_and_pin(pipe: &Pipe, gateway: &Gateway, check: i32, pin: i32) -> Ran {
    let before = changes(gateway).len();
    let checked = pipe.run_with("CHECK_IMAGES", "true").exits(check);
    assert_eq!(changes(gateway).len() > before, check == 0, "{}", checked.log);
    let before = changes(gateway).len();
    let pinned = pipe.run_with("PIN_IMAGES", "true").exits(pin);
    assert_eq!(changes(gateway).len() > before, pin == 0, "{}", pinned.log);
    checked
}

/// The images that were deployed, in the order of the requests.
fn deployed(gateway: &Gateway) -> Vec<String> {
    let requests = gateway.requests().into_iter();
    let deploys = requests.filter(|request| request.method == "PUT" && request.path.ends_with("/system/functions"));
    deploys.map(|request| request.json()["image"].as_str().expect("missing image").to_owned()).collect()
}

#[test]
fn registries_are_not_contacted_by_default() {
    let (cloud, gateway, pipe) = ghcr();
    let pipe = pipe
        .var("AWS_OIDC_ROLE_ARN", "arn:aws:iam::123456789012:role/deploy")
        .var("GCP_WORKLOAD_IDENTITY_PROVIDER", local_cloud::google::PROVIDER)
        .var("REGISTRY_USERNAME", "robot")
        .var("REGISTRY_PASSWORD", "robot-password");
    pipe.run().exits(0);
    pipe.run_with("COMMAND", "diff").exits(0);
    pipe.run_with("DRY_RUN", "true").exits(0);
    assert_eq!(cloud.tunnels(), [""; 0]);
    assert_eq!(deployed(&gateway)[0], GHCR);
}

#[test]
fn existing_image_is_deployed() {
    let (cloud, gateway, pipe) = ghcr();
    pipe.var("CHECK_IMAGES", "true").run().exits(0).says("INFO: checked 1 image in ");
    assert_eq!(
        cloud.request_lines(),
        ["HEAD ghcr.io/v2/acme/etl/manifests/1.0", "GET ghcr.io/token", "HEAD ghcr.io/v2/acme/etl/manifests/1.0"]
    );
    assert_eq!(deployed(&gateway)[0], GHCR);
}

#[test]
fn pinned_image_is_deployed_and_compared_by_digest() {
    let (cloud, gateway, pipe) = ghcr();
    let index = Image::index(&["linux/amd64", "linux/arm64"]).attestations();
    let digest = cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &index);
    let pinned = format!("{GHCR}@{digest}");
    let pipe = pipe.var("PIN_IMAGES", "true");
    // The digest is short in the table, and whole in the result.
    pipe.run().exits(0).says(&format!("  {}…  created", &pinned[..GHCR.len() + "@sha256:".len() + 12]));
    assert_eq!(deployed(&gateway)[0], pinned);
    let diff = pipe.var("COMMAND", "diff");
    diff.run().exits(0);
    let moved = cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &Image::oci("linux/amd64").version("2"));
    diff.run().exits(6).says(&format!("~ image: {pinned} -> {GHCR}@{moved}"));
    diff.run_with("PIN_IMAGES", "false").exits(6).says(&format!("~ image: {pinned} -> {GHCR}"));
}

#[test]
fn missing_image_is_reported_with_its_line_before_the_deploy() {
    let (cloud, gateway, pipe) = ghcr();
    let ghcr = cloud.registry("ghcr.io");
    ghcr.put_image("acme/etl", "1.1", &Image::oci("linux/amd64"));
    let pipe = pipe.stack(&stack_of(&[GHCR, "ghcr.io/acme/etl:1.2"])).var("CHECK_IMAGES", "true");
    let ran = pipe.run().exits(2);
    assert_eq!(changes(&gateway), []);
    let log = ran.scrubbed();
    insta::assert_snapshot!(log, @"
    INFO: openfaas-pipe [VERSION]: deploy
    INFO: deploying 2 functions of `stack.yml` to `http://[GATEWAY]`
    INFO: exchanged the step's token at `http://[GATEWAY]`, valid for 30 min
    ERROR: stack.yml:7: image `ghcr.io/acme/etl:1.2` does not exist: `1.2` was not found in repository `acme/etl` of `ghcr.io`: MANIFEST_UNKNOWN: manifest unknown
      hint: push the image before the deploy, or correct its tag; similar tags: `1.0`, `1.1`
    FUNCTION  NAMESPACE  IMAGE  RESULT  TIME
    f0  -  ghcr.io/acme/etl:1.0  not started  [TIME]
    f1  -  ghcr.io/acme/etl:1.2  image missing  [TIME]
    ✖ 2 of 2 functions not deployed
    ");
    pipe.run_with("COMMAND", "diff").exits(2).says("stack.yml:7: image `ghcr.io/acme/etl:1.2` does not exist");
}

#[test]
fn exit_code_of_a_missing_image_takes_precedence_over_a_rejected_exchange() {
    let (_cloud, _, pipe) = ghcr();
    let pipe = pipe.stack(&stack_of(&["ghcr.io/acme/etl:2.0"])).var("CHECK_IMAGES", "true");
    let strict = crate::support::open();
    let ran = pipe.var("OPENFAAS_URL", strict.url()).run().exits(2);
    ran.says("does not exist").says("audience");
}

#[test]
fn inconclusive_response_fails_only_a_pinned_deploy() {
    let (cloud, gateway, pipe) = ghcr();
    cloud.fault(Fault::on("HEAD", "/v2/").status(400));
    check_and_pin(&pipe, &gateway, 0, 3);
}

#[test]
fn registry_without_head_is_asked_with_get() {
    let (cloud, gateway, pipe) = ghcr();
    cloud.registry("ghcr.io").quirk(Quirk::NoHead);
    check_and_pin(&pipe, &gateway, 0, 0).does_not_say("WARNING");
    let digest = Image::oci("linux/amd64").digest();
    assert_eq!(deployed(&gateway).pop().expect("missing deploy"), format!("{GHCR}@{digest}"));
}

#[test]
fn unavailable_registry_fails_only_a_pinned_deploy() {
    for status in [500, 503] {
        let (cloud, gateway, pipe) = ghcr();
        cloud.fault(Fault::on("HEAD", "/v2/").status(status).header("Retry-After", "3600"));
        check_and_pin(&pipe, &gateway, 0, 4).says("WARNING: stack.yml:5: image `ghcr.io/acme/etl:1.0`");
    }
}

#[test]
fn unreachable_registry_fails_only_a_pinned_deploy() {
    let (cloud, gateway, pipe) = ghcr();
    cloud.disconnect("ghcr.io");
    check_and_pin(&pipe, &gateway, 0, 4).does_not_say("within 20 s");
}

#[test]
fn registry_lookup_times_out() {
    let (cloud, gateway, pipe) = ghcr();
    cloud.fault(Fault::on("HEAD", "/v2/").hang());
    pipe.var("CHECK_IMAGES", "true").var("TIMEOUT", "5m").run().exits(0).says("no complete response within 20 s");
    assert_eq!(deployed(&gateway)[0], GHCR);
}

#[test]
fn registry_lookups_run_during_the_token_exchange() {
    let (cloud, gateway, pipe) = ghcr();
    let latch = Latch::closed();
    gateway.fault(Fault::on("POST", "/oauth/token").held_by(&latch));
    let mut running = Running::of(pipe.var("CHECK_IMAGES", "true"));
    wait_for("three registry requests", || cloud.request_lines().len() == 3);
    assert_eq!(changes(&gateway), []);
    latch.open();
    let ran = running.end();
    assert_eq!(ran.code, 0, "{}", ran.log);
}

#[test]
fn missing_digest_header_is_computed_and_wrong_bytes_are_detected() {
    let (cloud, gateway, pipe) = ghcr();
    let digest = Image::oci("linux/amd64").digest();
    cloud.registry("ghcr.io").quirk(Quirk::NoDigestHeader);
    pipe.run_with("PIN_IMAGES", "true").exits(0);
    assert_eq!(deployed(&gateway).pop().expect("missing deploy"), format!("{GHCR}@{digest}"));

    let (cloud, _gateway, pipe) = ghcr();
    cloud.registry("ghcr.io").quirk(Quirk::WrongBytes);
    pipe.run_with("IMAGE_PLATFORMS", "linux/amd64")
        .exits(0)
        .says("WARNING: stack.yml:5:")
        .says("returned something other than");
}

#[test]
fn image_with_a_digest_is_looked_up_by_digest() {
    let (cloud, gateway, pipe) = ghcr();
    let digest = Image::oci("linux/amd64").digest();
    let image = format!("ghcr.io/acme/etl:gone@{digest}");
    let pipe = pipe.stack(&stack_of(&[&image])).var("PIN_IMAGES", "true");
    pipe.run().exits(0);
    assert_eq!(deployed(&gateway)[0], image);
    let other = format!("ghcr.io/acme/etl:1.0@sha256:{}", "0".repeat(64));
    pipe.stack(&stack_of(&[&other])).run().exits(2);
    assert!(cloud.requests().iter().all(|request| !request.path.ends_with("/manifests/1.0")));
}

#[test]
fn every_platform_must_exist() {
    let (cloud, gateway, pipe) = ghcr();
    let pipe = pipe.list("IMAGE_PLATFORMS", &["linux/amd64", "linux/arm64"]);
    pipe.run().exits(2).says("stack.yml:5: image `ghcr.io/acme/etl:1.0` does not exist for `linux/arm64`");
    assert_eq!(changes(&gateway), []);
    let both = ["linux/amd64", "linux/arm64/v8"];
    for image in [Image::index(&both).attestations(), Image::docker_list(&both)] {
        cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &image);
        pipe.run().exits(0);
    }
}

#[test]
fn platform_of_a_single_image_is_read_from_a_redirected_blob() {
    let (cloud, _gateway, pipe) = ghcr();
    let registry = cloud.registry("ghcr.io");
    registry.make_private("acme/etl");
    registry.add_user("robot", "robot-password-of-ghcr");
    registry.quirk(Quirk::RedirectBlobs);
    let pipe = pipe
        .var("REGISTRY_HOST", "ghcr.io")
        .var("REGISTRY_USERNAME", "robot")
        .var("REGISTRY_PASSWORD", "robot-password-of-ghcr");
    pipe.run_with("IMAGE_PLATFORMS", "linux/amd64").exits(0).does_not_say("WARNING");
    let stored = cloud.requests_to(&registry.blob_host());
    assert!(!stored.is_empty() && stored.iter().all(|request| request.header("authorization").is_none()));
    pipe.run_with("IMAGE_PLATFORMS", "linux/s390x").exits(2).says("its platforms: `linux/amd64`");
}

#[test]
fn dry_run_contacts_no_registry() {
    let (cloud, _gateway, pipe) = ghcr();
    pipe.var("PIN_IMAGES", "true").var("DRY_RUN", "true").run().exits(0).says("the digests of images are not known");
    assert_eq!(cloud.tunnels(), [""; 0]);
}

#[test]
fn each_image_is_looked_up_once_with_a_shared_token() {
    let (cloud, _gateway, pipe) = ghcr();
    let ghcr = cloud.registry("ghcr.io");
    ghcr.put_image("acme/etl", "1.1", &Image::oci("linux/amd64"));
    let images = [GHCR, GHCR, "ghcr.io/acme/etl:1.1", "GHCR.io/acme/etl:1.0"];
    pipe.stack(&stack_of(&images))
        .var("CHECK_IMAGES", "true")
        .var("PARALLEL", "1")
        .run()
        .exits(0)
        .says("checked 2 images");
    let tokens = cloud.request_lines().iter().filter(|line| line.contains("/token")).count();
    assert_eq!((cloud.request_lines().len(), tokens), (4, 1), "{:?}", cloud.request_lines());
}

#[test]
fn credentials_are_used_only_for_their_own_registry() {
    let (cloud, _gateway, pipe) = ghcr();
    for (host, user) in [("registry.gitlab.com", "gitlab-user"), (HUB, "hub-user"), ("ghcr.io", "nobody")] {
        let registry = cloud.registry(host);
        registry.put_image("acme/etl", "1.0", &Image::docker("linux/amd64"));
        registry.make_private("acme/etl");
        registry.add_user(user, &format!("password-of-{user}"));
    }
    let config = r#"{"auths":{"https://registry.gitlab.com/v2/":{"username":"gitlab-user","password":"password-of-gitlab-user"}},"credHelpers":{"ghcr.io":"gh"}}"#;
    let pipe = pipe
        .stack(&stack_of(&["registry.gitlab.com/acme/etl:1.0", "acme/etl:1.0", GHCR]))
        .var("CHECK_IMAGES", "true")
        .var("DOCKER_AUTH_CONFIG", config)
        .var("REGISTRY_USERNAME", "hub-user")
        .var("REGISTRY_PASSWORD", "password-of-hub-user");
    let ran = pipe.run().exits(0);
    let ran =
        ran.says("`docker-credential-gh` for `ghcr.io`").says("WARNING: stack.yml:9: image `ghcr.io/acme/etl:1.0`");
    ran.does_not_say("stack.yml:5").does_not_say("stack.yml:7");
    let ghcr = cloud.requests_to("ghcr.io");
    assert!(
        ghcr.iter().all(|request| request.header("authorization").is_none_or(|value| value.starts_with("Bearer ")))
    );
}

#[test]
fn ecr_public_scope_is_taken_from_the_challenge() {
    let (cloud, gateway, pipe) = ghcr();
    let digest = cloud.registry("public.ecr.aws").put_image("acme/etl", "1.0", &Image::oci("linux/amd64"));
    let image = "public.ecr.aws/acme/etl:1.0";
    let role = "arn:aws:iam::123456789012:role/deploy";
    pipe.stack(&stack_of(&[image])).var("PIN_IMAGES", "true").var("AWS_OIDC_ROLE_ARN", role).run().exits(0);
    assert_eq!(deployed(&gateway)[0], format!("{image}@{digest}"));
    assert!(cloud.requests_to("sts.us-east-1.amazonaws.com").is_empty());
}

#[test]
fn invalid_values_are_reported_without_secrets() {
    let (_cloud, _gateway, pipe) = ghcr();
    let pipe = pipe
        .var("DOCKER_AUTH_CONFIG", "canary-of-docker-auth-config")
        .var("REGISTRY_HOST", "not a host")
        .var("REGISTRY_USERNAME", "robot")
        .var("AWS_OIDC_ROLE_ARN", "deploy")
        .var("GCP_WORKLOAD_IDENTITY_PROVIDER", "projects/acme/locations/global/workloadIdentityPools/p/providers/q")
        .var("GCP_SERVICE_ACCOUNT", "deploy")
        .list("IMAGE_PLATFORMS", &["linux"]);
    let ran = pipe.run().exits(2).does_not_say("canary-of-docker-auth-config");
    insta::assert_snapshot!(ran.scrubbed(), @"
    INFO: openfaas-pipe [VERSION]: deploy
    ✖ Validation errors:
    AWS_OIDC_ROLE_ARN:
    - `deploy` is not the ARN of a role: write it as `arn:aws:iam::123456789012:role/NAME`
    DOCKER_AUTH_CONFIG:
    - is neither JSON nor its base64
    GCP_SERVICE_ACCOUNT:
    - `deploy` is not a service account: write its email address, `NAME@PROJECT.iam.gserviceaccount.com`
    GCP_WORKLOAD_IDENTITY_PROVIDER:
    - `acme` is a project's id, and its number is needed: `gcloud projects describe acme --format='value(projectNumber)'` prints it
    IMAGE_PLATFORMS:
    - `linux` is not a platform: write it as `linux/amd64` or `linux/arm/v7`
    REGISTRY_HOST:
    - `not a host` is not a valid registry host name
    REGISTRY_PASSWORD:
    - is not set, neither in the step nor as a workspace, repository or deployment variable
    ");
}

#[test]
fn service_account_without_a_provider_is_an_error() {
    let (cloud, gateway, pipe) = ghcr();
    let account = "deploy@acme-prod.iam.gserviceaccount.com";
    let ran = pipe.var("CHECK_IMAGES", "true").var("GCP_SERVICE_ACCOUNT", account).run().exits(2);
    ran.says("GCP_SERVICE_ACCOUNT:\n- has no effect without `GCP_WORKLOAD_IDENTITY_PROVIDER`");
    assert!(cloud.requests().is_empty() && gateway.requests().is_empty());
}

#[test]
fn registry_secrets_are_not_substituted() {
    for name in ["DOCKER_AUTH_CONFIG", "REGISTRY_PASSWORD"] {
        let (_cloud, gateway, pipe) = ghcr();
        let stack = format!("{}    environment:\n      X: ${{{name}}}\n", stack_of(&[GHCR]));
        let value = r#"{"auths":{"ghcr.io":{"username":"robot","password":"canary-password"}}}"#;
        let pipe = pipe.stack(&stack).var("REGISTRY_USERNAME", "robot").var("REGISTRY_PASSWORD", "canary-password");
        let ran = pipe.var("DOCKER_AUTH_CONFIG", value).run().exits(2);
        ran.says(name).does_not_say("canary-password");
        assert_eq!(changes(&gateway), []);
    }
}

#[test]
fn echoed_registry_credentials_are_masked() {
    const PASSWORD: &str = "canary-password-of-the-registry";
    let encoded = STANDARD.encode(format!("robot:{PASSWORD}"));
    let config = format!(r#"{{"auths":{{"ghcr.io":{{"auth":"{encoded}"}}}}}}"#);
    for variables in [
        vec![("DOCKER_AUTH_CONFIG", config.clone())],
        vec![("DOCKER_AUTH_CONFIG", STANDARD.encode(&config))],
        vec![
            ("REGISTRY_HOST", "ghcr.io".to_owned()),
            ("REGISTRY_USERNAME", "robot".to_owned()),
            ("REGISTRY_PASSWORD", PASSWORD.to_owned()),
        ],
    ] {
        let (cloud, _gateway, pipe) = ghcr();
        cloud.fault(Fault::on("GET", "/token").status(403).echo());
        let pipe = variables.into_iter().fold(pipe, |pipe, (name, value)| pipe.var(name, value));
        let ran = pipe.var("PIN_IMAGES", "true").var("DEBUG", "true").run().exits(3);
        let login = login_errors(&ran);
        assert!(login.contains("***"), "{login}");
        ran.does_not_say(PASSWORD).does_not_say(&encoded);
    }
}

/// The errors about rejected credentials in the log.
fn login_errors(ran: &Ran) -> String {
    ran.log.lines().filter(|line| line.contains("registry `ghcr.io` refused")).collect()
}
