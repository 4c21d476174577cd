//! `CHECK_IMAGES`, `PIN_IMAGES` and `IMAGE_PLATFORMS` at registries under their real names.

mod access;
mod failures;
mod many;
mod platforms;
mod world;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_cloud::{Cloud, Fault, Image, Latch, Quirk};
use local_gateway::Gateway;

use crate::support::{Pipe, Ran, Running, changes, one_audience, stack_of, step_in, until};

const GHCR: &str = "ghcr.io/acme/etl:1.0";
const HUB: &str = "registry-1.docker.io";

fn cloud() -> Cloud {
    Cloud::start().expect("a cloud")
}

/// A registry at GHCR with `acme/etl:1.0`, a gateway, and a deploy of that image.
fn ghcr() -> (Cloud, Gateway, Pipe) {
    let (cloud, gateway) = (cloud(), one_audience());
    cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &Image::oci("linux/amd64"));
    let pipe = step_in(&cloud, &gateway).stack(&stack_of(&[GHCR]));
    (cloud, gateway, pipe)
}

/// Both options at the same registry: whether each deploys, and what it ends with.
fn check_and_pin(pipe: &Pipe, gateway: &Gateway, check: i32, pin: i32) -> Ran {
    let before = changes(gateway).len();
    let checked = pipe.run_with("CHECK_IMAGES", "true").exits(check);
    assert_eq!(changes(gateway).len() > before, check == 0, "{}", checked.log);
    let before = changes(gateway).len();
    let pinned = pipe.run_with("PIN_IMAGES", "true").exits(pin);
    assert_eq!(changes(gateway).len() > before, pin == 0, "{}", pinned.log);
    checked
}

/// The images that were deployed last, in the order of the requests.
fn deployed(gateway: &Gateway) -> Vec<String> {
    let requests = gateway.requests().into_iter();
    let deploys = requests.filter(|request| request.method == "PUT" && request.path.ends_with("/system/functions"));
    deploys.map(|request| request.json()["image"].as_str().expect("an image").to_owned()).collect()
}

#[test]
fn no_registry_is_asked_unless_a_variable_asks_for_it() {
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
fn image_that_exists_is_deployed() {
    let (cloud, gateway, pipe) = ghcr();
    pipe.var("CHECK_IMAGES", "true").run().exits(0).says("INFO: checked 1 image in ");
    assert_eq!(
        cloud.asked(),
        ["HEAD ghcr.io/v2/acme/etl/manifests/1.0", "GET ghcr.io/token", "HEAD ghcr.io/v2/acme/etl/manifests/1.0"]
    );
    assert_eq!(deployed(&gateway)[0], GHCR);
}

#[test]
fn pinned_image_is_deployed_reported_and_compared_by_its_digest() {
    let (cloud, gateway, pipe) = ghcr();
    let index = Image::index(&["linux/amd64", "linux/arm64"]).attestations();
    let digest = cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &index);
    let pinned = format!("{GHCR}@{digest}");
    let pipe = pipe.var("PIN_IMAGES", "true").var("BITBUCKET_PIPE_STORAGE_DIR", "storage");
    pipe.run().exits(0).says(&pinned);
    assert_eq!(deployed(&gateway)[0], pinned);
    let result = std::fs::read_to_string(pipe.dir().join("storage/openfaas-pipe.json")).expect("a result");
    let result: serde_json::Value = serde_json::from_str(&result).expect("JSON");
    assert_eq!(result["functions"][0]["image"], pinned.as_str());
    assert_eq!(result["functions"][0]["digest"], digest.as_str());

    let diff = pipe.var("COMMAND", "diff");
    diff.run().exits(0);
    let moved = cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &Image::oci("linux/amd64").version("2"));
    diff.run().exits(6).says(&format!("~ image: {pinned} -> {GHCR}@{moved}"));
    diff.run_with("PIN_IMAGES", "false").exits(6).says(&format!("~ image: {pinned} -> {GHCR}"));
}

#[test]
fn missing_image_is_refused_with_its_line_before_anything_is_sent() {
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
    ERROR: stack.yml:7: image `ghcr.io/acme/etl:1.2` does not exist: `1.2` is not in repository `acme/etl` of `ghcr.io`: MANIFEST_UNKNOWN: manifest unknown
      hint: push the image before the deploy, or correct its tag; similar tags: `1.0`, `1.1`
    FUNCTION  NAMESPACE  IMAGE  RESULT  TIME  URL
    f0  -  ghcr.io/acme/etl:1.0  not started  [TIME]  http://[GATEWAY]/function/f0
    f1  -  ghcr.io/acme/etl:1.2  failed: image …  [TIME]  http://[GATEWAY]/function/f1
    ✖ 2 of 2 functions not deployed
    ");
    pipe.run_with("COMMAND", "diff").exits(2).says("stack.yml:7: image `ghcr.io/acme/etl:1.2` does not exist");
}

#[test]
fn exit_code_of_a_missing_image_comes_before_that_of_a_refused_exchange() {
    let (_cloud, _, pipe) = ghcr();
    let pipe = pipe.stack(&stack_of(&["ghcr.io/acme/etl:2.0"])).var("CHECK_IMAGES", "true");
    let strict = crate::support::open();
    let ran = pipe.var("OPENFAAS_URL", strict.url()).run().exits(2);
    ran.says("does not exist").says("audience");
}

#[test]
fn image_that_may_not_be_read_is_a_warning_or_with_pinning_an_error() {
    let (cloud, gateway, pipe) = ghcr();
    cloud.registry("ghcr.io").make_private("acme/etl");
    let checked = check_and_pin(&pipe, &gateway, 0, 3);
    checked.says("WARNING: stack.yml:5: image `ghcr.io/acme/etl:1.0`").says("`REGISTRY_HOST: ghcr.io`");

    // Docker Hub does not tell a private repository from a missing one.
    let _ = cloud.registry(HUB);
    let pipe = pipe.stack(&stack_of(&["acme/nothing:1"]));
    let checked = check_and_pin(&pipe, &gateway, 0, 3);
    checked.says("`REGISTRY_USERNAME` and `REGISTRY_PASSWORD` for Docker Hub");
}

#[test]
fn answers_that_decide_nothing_are_a_warning_or_with_pinning_an_error() {
    for status in [400, 405] {
        let (cloud, gateway, pipe) = ghcr();
        cloud.fault(Fault::on("HEAD", "/v2/").status(status));
        check_and_pin(&pipe, &gateway, 0, 3);
    }
    for quirk in [Quirk::MalformedDigestHeader, Quirk::NoHead] {
        let (cloud, gateway, pipe) = ghcr();
        cloud.registry("ghcr.io").quirk(quirk);
        check_and_pin(&pipe, &gateway, 0, 3);
    }
}

#[test]
fn registry_that_is_down_keeps_only_a_pinned_deploy_back() {
    for status in [429, 500, 503] {
        let (cloud, gateway, pipe) = ghcr();
        cloud.fault(Fault::on("HEAD", "/v2/").status(status).header("Retry-After", "3600"));
        check_and_pin(&pipe, &gateway, 0, 4).says("WARNING: stack.yml:5: image `ghcr.io/acme/etl:1.0`");
    }
}

#[test]
fn registry_that_cannot_be_reached_keeps_only_a_pinned_deploy_back() {
    let (cloud, gateway, pipe) = ghcr();
    cloud.disconnect("ghcr.io");
    let started = Instant::now();
    check_and_pin(&pipe, &gateway, 0, 4);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn registry_that_never_answers_is_given_up_in_time() {
    let (cloud, gateway, pipe) = ghcr();
    cloud.fault(Fault::on("HEAD", "/v2/").hang());
    let started = Instant::now();
    pipe.var("CHECK_IMAGES", "true").var("TIMEOUT", "5m").run().exits(0).says("no complete answer within 20 s");
    assert!(started.elapsed() < Duration::from_secs(25));
    assert_eq!(deployed(&gateway)[0], GHCR);
}

#[test]
fn registries_are_asked_while_the_token_is_exchanged() {
    let (cloud, gateway, pipe) = ghcr();
    let latch = Latch::closed();
    gateway.fault(Fault::on("POST", "/oauth/token").held_by(&latch));
    let mut running = Running::of(pipe.var("CHECK_IMAGES", "true"));
    until("look-up", || cloud.asked().len() == 3);
    assert_eq!(changes(&gateway), []);
    latch.open();
    let ran = running.end();
    assert_eq!(ran.code, 0, "{}", ran.log);
}

#[test]
fn transient_failures_are_retried() {
    let (cloud, _gateway, pipe) = ghcr();
    cloud.fault(Fault::on("HEAD", "/v2/").times(2).status(503).header("Retry-After", "0"));
    pipe.var("PIN_IMAGES", "true").run().exits(0);
}

#[test]
fn missing_digest_header_is_made_up_for_and_a_wrong_one_is_found_out() {
    let (cloud, gateway, pipe) = ghcr();
    let digest = Image::oci("linux/amd64").digest();
    cloud.registry("ghcr.io").quirk(Quirk::NoDigestHeader);
    pipe.run_with("PIN_IMAGES", "true").exits(0);
    assert_eq!(deployed(&gateway).pop().expect("a deploy"), format!("{GHCR}@{digest}"));

    let (cloud, _gateway, pipe) = ghcr();
    cloud.registry("ghcr.io").quirk(Quirk::WrongBytes);
    pipe.run_with("IMAGE_PLATFORMS", "linux/amd64")
        .exits(0)
        .says("WARNING: stack.yml:5:")
        .says("returned something other than");
}

#[test]
fn image_with_a_digest_is_looked_up_by_it_whatever_its_tag() {
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
fn every_platform_must_be_there() {
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
fn platform_of_a_single_image_is_read_where_the_registry_redirects_to() {
    let (cloud, _gateway, pipe) = ghcr();
    let registry = cloud.registry("ghcr.io");
    registry.make_private("acme/etl");
    registry.add_user("robot", "robot-password-of-ghcr");
    registry.quirk(Quirk::RedirectBlobs);
    let pipe = pipe
        .var("REGISTRY_HOST", "ghcr.io")
        .var("REGISTRY_USERNAME", "robot")
        .var("REGISTRY_PASSWORD", "robot-password-of-ghcr");
    pipe.run_with("IMAGE_PLATFORMS", "linux/amd64").exits(0).is_silent_about("WARNING");
    let stored = cloud.requests_to(&registry.blob_host());
    assert!(!stored.is_empty() && stored.iter().all(|request| request.header("authorization").is_none()));
    pipe.run_with("IMAGE_PLATFORMS", "linux/s390x").exits(2).says("its platforms: `linux/amd64`");
}

#[test]
fn dry_run_asks_no_registry_and_says_so() {
    let (cloud, _gateway, pipe) = ghcr();
    pipe.var("PIN_IMAGES", "true").var("DRY_RUN", "true").run().exits(0).says("the digests of images are not known");
    assert_eq!(cloud.tunnels(), [""; 0]);
}

#[test]
fn each_image_is_looked_up_once_and_tokens_are_shared() {
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
    let tokens = cloud.asked().iter().filter(|asked| asked.contains("/token")).count();
    assert_eq!((cloud.asked().len(), tokens), (4, 1), "{:?}", cloud.asked());
}

#[test]
fn logins_are_used_at_their_own_registry_only() {
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
    ran.is_silent_about("stack.yml:5").is_silent_about("stack.yml:7");
    let ghcr = cloud.requests_to("ghcr.io");
    assert!(
        ghcr.iter().all(|request| request.header("authorization").is_none_or(|value| value.starts_with("Bearer ")))
    );
}

#[test]
fn identity_token_is_exchanged() {
    let (cloud, _gateway, pipe) = ghcr();
    let registry = cloud.registry("acme.azurecr.io");
    registry.put_image("etl", "1.0", &Image::oci("linux/amd64"));
    registry.make_private("etl");
    registry.add_identity_token("identity-token-of-acr");
    let pipe = pipe
        .stack(&stack_of(&["acme.azurecr.io/etl:1.0"]))
        .var("PIN_IMAGES", "true")
        .var("DOCKER_AUTH_CONFIG", r#"{"auths":{"acme.azurecr.io":{"identitytoken":"identity-token-of-acr"}}}"#);
    pipe.run().exits(0);
    registry.refuse_oauth();
    pipe.run();
}

#[test]
fn ecr_public_gets_the_scope_that_it_asks_for() {
    let (cloud, gateway, pipe) = ghcr();
    let digest = cloud.registry("public.ecr.aws").put_image("acme/etl", "1.0", &Image::oci("linux/amd64"));
    let image = "public.ecr.aws/acme/etl:1.0";
    let role = "arn:aws:iam::123456789012:role/deploy";
    pipe.stack(&stack_of(&[image])).var("PIN_IMAGES", "true").var("AWS_OIDC_ROLE_ARN", role).run().exits(0);
    assert_eq!(deployed(&gateway)[0], format!("{image}@{digest}"));
    assert!(cloud.requests_to("sts.us-east-1.amazonaws.com").is_empty());
}

#[test]
fn wrong_values_are_errors_that_show_no_secret() {
    let (_cloud, _gateway, pipe) = ghcr();
    let pipe = pipe
        .var("DOCKER_AUTH_CONFIG", "canary-of-docker-auth-config")
        .var("REGISTRY_HOST", "not a host")
        .var("REGISTRY_USERNAME", "robot")
        .var("AWS_OIDC_ROLE_ARN", "deploy")
        .var("GCP_WORKLOAD_IDENTITY_PROVIDER", "projects/acme/locations/global/workloadIdentityPools/p/providers/q")
        .var("GCP_SERVICE_ACCOUNT", "deploy")
        .list("IMAGE_PLATFORMS", &["linux"]);
    let ran = pipe.run().exits(2).is_silent_about("canary-of-docker-auth-config");
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
fn secrets_of_registries_never_become_part_of_a_function() {
    for name in ["DOCKER_AUTH_CONFIG", "REGISTRY_PASSWORD"] {
        let (_cloud, gateway, pipe) = ghcr();
        let stack = format!("{}    environment:\n      X: ${{{name}}}\n", stack_of(&[GHCR]));
        let value = r#"{"auths":{"ghcr.io":{"username":"robot","password":"canary-password"}}}"#;
        let pipe = pipe.stack(&stack).var("REGISTRY_USERNAME", "robot").var("REGISTRY_PASSWORD", "canary-password");
        let ran = pipe.var("DOCKER_AUTH_CONFIG", value).run().exits(2);
        ran.says(name).is_silent_about("canary-password");
        assert_eq!(changes(&gateway), []);
    }
}

#[test]
fn what_a_registry_echoes_is_masked() {
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
        let login = pipe_login(&ran);
        assert!(login.contains("***"), "{login}");
        ran.is_silent_about(PASSWORD).is_silent_about(&encoded);
    }
}

/// What the log says of the login that was refused.
fn pipe_login(ran: &Ran) -> String {
    ran.log.lines().filter(|line| line.contains("registry `ghcr.io` refused")).collect()
}
