//! `COMMAND: login`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use local_cloud::aws::ROLE;
use local_cloud::google::PROVIDER;
use local_cloud::{Cloud, Fault};
use local_gateway::Request;
use serde_json::Value;

use crate::support::{Pipe, issuer, one_audience, stack_of, step_in};

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const GOOGLE: &str = "europe-docker.pkg.dev";

/// A login without a gateway, in clouds that trust the step.
fn login() -> (Cloud, Pipe) {
    let cloud = Cloud::start().expect("cannot start cloud");
    cloud.aws().set_up(&issuer());
    cloud.google().set_up(&issuer());
    let pipe = step_in(&cloud, &one_audience()).without("OPENFAAS_URL").var("COMMAND", "login");
    (cloud, pipe.var("AWS_OIDC_ROLE_ARN", ROLE).var("GCP_WORKLOAD_IDENTITY_PROVIDER", PROVIDER))
}

fn config(pipe: &Pipe, directory: &str) -> Value {
    let text = fs::read(pipe.dir().join(directory).join("config.json")).expect("cannot read file");
    serde_json::from_slice(&text).expect("invalid JSON")
}

/// User and password for a host.
fn user(config: &Value, key: &str) -> (String, String) {
    let auth = config["auths"][key]["auth"].as_str().unwrap_or_else(|| panic!("no `{key}` in {config:#}"));
    let auth = String::from_utf8(STANDARD.decode(auth).expect("invalid base64")).expect("invalid text");
    let (user, password) = auth.split_once(':').expect("missing password");
    (user.to_owned(), password.to_owned())
}

#[test]
fn login_to_clouds_uses_the_step_token() {
    let (cloud, pipe) = login();
    let pipe = pipe.list("REGISTRIES", &[ECR, GOOGLE]).var("DEBUG", "true");
    let ran = pipe.run().exits(0);
    assert_eq!(user(&config(&pipe, ".docker"), ECR).0, "AWS");
    assert_eq!(user(&config(&pipe, ".docker"), GOOGLE).0, "oauth2accesstoken");
    let ran = ran
        .says(&format!("INFO: signed in to `{ECR}`, until 20"))
        .says("\nexport DOCKER_CONFIG=\"$BITBUCKET_CLONE_DIR/.docker\"\n");
    for secret in cloud.secrets() {
        assert!(!ran.log.contains(&secret), "{}", ran.log);
    }
    let mode = |path: &str| fs::metadata(pipe.dir().join(path)).expect(path).permissions().mode() & 0o777;
    assert_eq!(mode(".docker/config.json"), 0o600);
    assert_eq!(fs::read_to_string(pipe.dir().join(".docker/.gitignore")).expect("cannot read file"), "*\n");
}

#[test]
fn registries_are_taken_from_the_stack_file() {
    let (cloud, pipe) = login();
    let hub = cloud.registry("registry-1.docker.io");
    hub.add_user("hub-user", "password-of-hub-user");
    let images = [&format!("{ECR}/etl:1"), "acme/etl:1", "ghcr.io/acme/etl:1"];
    let pipe = pipe
        .stack(&stack_of(&images))
        .var("REGISTRY_USERNAME", "hub-user")
        .var("REGISTRY_PASSWORD", "password-of-hub-user");
    pipe.run().exits(0).says("signed in to `docker.io`").does_not_say("password-of-hub-user");
    let config = config(&pipe, ".docker");
    let hosts: Vec<_> = config["auths"].as_object().expect("missing hosts").keys().cloned().collect();
    assert_eq!(hosts, [ECR, "https://index.docker.io/v1/"]);
    assert!(cloud.requests_to("sts.googleapis.com").is_empty());
}

#[test]
fn entries_of_other_hosts_are_kept() {
    let (_cloud, pipe) = login();
    let pipe = pipe
        .list("REGISTRIES", &[ECR])
        .var("DOCKER_CONFIG", "build/docker")
        .file("build/docker/config.json", r#"{"auths":{"ghcr.io":{"auth":"dTpw"}},"credsStore":"desktop"}"#)
        .file("build/docker/.gitignore", "config.json\n");
    pipe.run().exits(0).says("export DOCKER_CONFIG=\"$BITBUCKET_CLONE_DIR/build/docker\"");
    let config = config(&pipe, "build/docker");
    assert_eq!((&config["auths"]["ghcr.io"]["auth"], &config["credsStore"]), (&"dTpw".into(), &"desktop".into()));
    assert_eq!(config["credHelpers"][ECR], "");
    let ignored = fs::read_to_string(pipe.dir().join("build/docker/.gitignore")).expect("cannot read file");
    assert_eq!(ignored, "config.json\n*\n");
}

#[test]
fn settings_that_docker_would_follow_too_cause_a_warning() {
    let (_cloud, pipe) = login();
    let config = r#"{"auths":{},"credHelpers":{},"proxies":{"default":{}},"currentContext":"other","plugins":null,"aliases":{}}"#;
    let pipe = pipe.list("REGISTRIES", &[ECR]).file(".docker/config.json", config).file(".docker/contexts/x", "");
    let ran = pipe.run().exits(0);
    ran.says(
        "WARNING: `.docker` existed before this run, and docker also uses its other settings: `currentContext`, `proxies`, \
         `contexts/`\n  hint: ",
    );
    // What the first run wrote is no reason for a warning.
    let (_cloud, pipe) = login();
    let pipe = pipe.list("REGISTRIES", &[ECR]);
    pipe.run().exits(0).does_not_say("WARNING");
    pipe.run().exits(0).does_not_say("WARNING");
}

#[test]
fn image_that_would_contain_the_login_causes_a_warning() {
    let (_cloud, pipe) = login();
    let pipe = pipe.list("REGISTRIES", &[ECR]).file("Dockerfile", "FROM scratch\nCOPY . .\n");
    let says = "WARNING: there is a `Dockerfile` beside `.docker`: `COPY . .` would copy the logins into the image";
    pipe.run().exits(0).says(says);
    let pipe = pipe.file(".dockerignore", ".git\n");
    pipe.run().exits(0).says(says);
    pipe.file(".dockerignore", ".git\n.docker\n").run().exits(0).does_not_say("WARNING");
}

#[test]
fn config_that_git_tracks_causes_a_warning() {
    let (_cloud, pipe) = login();
    let pipe = pipe.list("REGISTRIES", &[ECR]).file(".docker/config.json", "{}");
    let pipe = pipe.file("sub/.docker/config.json", "{}");
    let git = |words: &[&str]| {
        let status = Command::new("git").args(words).current_dir(pipe.dir()).status().expect("cannot run git");
        assert!(status.success());
    };
    git(&["init", "--quiet"]);
    let says = "WARNING: git tracks `.docker/config.json`, so that a commit would contain the logins";
    pipe.run().exits(0).does_not_say("git tracks");
    git(&["add", "--force", "sub/.docker/config.json"]);
    pipe.run().exits(0).does_not_say("git tracks");
    git(&["add", "--force", ".docker/config.json"]);
    pipe.run().exits(0).says(says);
}

#[test]
fn directory_that_a_shell_would_change_is_an_error() {
    let (cloud, pipe) = login();
    let pipe = pipe.list("REGISTRIES", &[ECR]);
    for directory in ["$HOME/.docker", "a\"b", "a$(id)", "a\nb"] {
        let ran = pipe.run_with("DOCKER_CONFIG", directory).exits(2);
        ran.says("DOCKER_CONFIG:\n").says("which a shell interprets").does_not_say("export DOCKER_CONFIG");
    }
    assert_eq!(cloud.requests().len(), 0);
}

#[test]
fn linked_config_is_not_read() {
    let (cloud, pipe) = login();
    let pipe = pipe.list("REGISTRIES", &[ECR]).file("elsewhere.json", r#"{"auths":{}}"#).file(".docker/.keep", "");
    std::os::unix::fs::symlink("../elsewhere.json", pipe.dir().join(".docker/config.json")).expect("cannot link");
    pipe.run().exits(2).says("config.json` is a link: remove it");
    assert_eq!(cloud.requests().len(), 0);
}

#[test]
fn empty_config_is_read_as_docker_reads_it() {
    let (_cloud, pipe) = login();
    let pipe = pipe.list("REGISTRIES", &[ECR]).file(".docker/config.json", "");
    pipe.run().exits(0);
    assert_eq!(user(&config(&pipe, ".docker"), ECR).0, "AWS");
}

/// A run that signs in at a server.
fn at(answer: impl Fn(&Request) -> Response<Bytes> + Send + Sync + 'static) -> (Cloud, Pipe) {
    let (cloud, pipe) = login();
    cloud.serve("registry.example.com", answer);
    let pipe = pipe
        .list("REGISTRIES", &["registry.example.com"])
        .var("REGISTRY_HOST", "registry.example.com")
        .var("REGISTRY_USERNAME", "bob")
        .var("REGISTRY_PASSWORD", "the-right-password");
    (cloud, pipe)
}

fn response(status: u16, body: &'static str) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::from(body)).expect("invalid response")
}

#[test]
fn login_is_shown_to_a_registry_that_answers_without_one() {
    let right = format!("Basic {}", STANDARD.encode("bob:the-right-password"));
    let (cloud, pipe) = at(move |request| match request.header("authorization") {
        Some(given) if given != right => response(401, "{}"),
        _ => response(200, "{}"),
    });
    pipe.run().exits(0).says("signed in to `registry.example.com`").says("it responds without a login too");
    assert!(cloud.requests().iter().any(|request| request.header("authorization").is_some()));
    let ran = pipe.run_with("REGISTRY_PASSWORD", "a-wrong-password").exits(3);
    ran.says("refused the user name and password").does_not_say("signed in to");
}

#[test]
fn login_to_what_is_no_registry_fails() {
    for (status, body) in [(200, "<!doctype html><title>Sign in</title>"), (201, "{}"), (404, "")] {
        let (_cloud, pipe) = at(move |_| response(status, body));
        pipe.run().exits(3).says("which is not what a registry returns").does_not_say("signed in to");
        assert!(!pipe.dir().join(".docker").exists());
    }
}

#[test]
fn password_in_a_host_is_not_shown() {
    let (cloud, pipe) = login();
    const HOST: &str = "https://bob:canary-password@registry.example.com";
    let docker = format!(r#"{{"auths":{{"{HOST}":{{"auth":"Ym9iOnBhc3N3b3Jk"}}}}}}"#);
    let pipe = pipe.list("REGISTRIES", &[HOST]).var("REGISTRY_HOST", HOST).var("DOCKER_AUTH_CONFIG", docker);
    let ran = pipe.run().exits(2).does_not_say("canary-password");
    assert_eq!(ran.log.matches("contains a user name or password").count(), 3, "{}", ran.log);
    assert_eq!(cloud.requests().len(), 0);
}

#[test]
fn nothing_is_written_if_one_registry_rejects_the_login() {
    let (cloud, pipe) = login();
    cloud.registry("ghcr.io").add_user("robot", "the-right-password");
    let pipe = pipe
        .list("REGISTRIES", &[ECR, "ghcr.io"])
        .var("REGISTRY_HOST", "ghcr.io")
        .var("REGISTRY_USERNAME", "robot")
        .var("REGISTRY_PASSWORD", "a-wrong-password");
    let ran = pipe.run().exits(3).does_not_say("a-wrong-password");
    ran.says("registry `ghcr.io` refused the user name and password in `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`");
    assert!(!pipe.dir().join(".docker").exists());

    cloud.fault(Fault::on("GET", "/v2/").host("ghcr.io").status(503).header("Retry-After", "3600"));
    pipe.run().exits(4);
    assert!(!pipe.dir().join(".docker").exists());
}

#[test]
fn cloud_error_is_reported_once_for_all_its_registries() {
    let (cloud, pipe) = login();
    cloud.aws().delete_role(ROLE);
    let other = "210987654321.dkr.ecr.eu-west-1.amazonaws.com";
    let ran = pipe.list("REGISTRIES", &[ECR, other]).run().exits(3);
    assert_eq!(ran.log.matches("ERROR: ").count(), 1, "{}", ran.log);
    assert_eq!(cloud.requests_to("sts.eu-west-1.amazonaws.com").len(), 1);
}

#[test]
fn missing_credentials_and_outside_directory_are_errors() {
    let (cloud, pipe) = login();
    let ran = pipe.list("REGISTRIES", &["ghcr.io", "-no-host"]).run().exits(2);
    ran.says("REGISTRIES:\n")
        .says("`-no-host` is not a valid registry host name")
        .does_not_say("OPENFAAS_URL")
        .does_not_say("STACK_FILE");
    let ran =
        pipe_with(&cloud).list("REGISTRIES", &["ghcr.io"]).var("DOCKER_CONFIG", "/elsewhere/.docker").run().exits(2);
    ran.says("there are no credentials for `ghcr.io`")
        .says("DOCKER_CONFIG:\n- `/elsewhere/.docker` is outside of the clone");
    let ran = pipe_with(&cloud).stack(&stack_of(&["ghcr.io/acme/etl:1"])).run().exits(2);
    ran.says("there are no credentials for any registry of the stack file's images (`ghcr.io`)");
    assert_eq!(cloud.requests().len(), 0);
}

fn pipe_with(cloud: &Cloud) -> Pipe {
    step_in(cloud, &one_audience()).without("OPENFAAS_URL").var("COMMAND", "login")
}

#[test]
fn login_to_a_cloud_requires_a_token() {
    let (cloud, pipe) = login();
    let ran = pipe.without("BITBUCKET_STEP_OIDC_TOKEN").list("REGISTRIES", &[ECR]).run().exits(3);
    ran.says("`oidc: true`");
    assert_eq!(cloud.requests().len(), 0);
}
