//! Credentials for registries: which are used for which host, and the message if they do not grant access.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use local_cloud::{Challenges, Image, Quirk};
use local_gateway::raw::{self, Behaviour};
use serde_json::json;

use super::setup::{GHCR, HUB, IMAGE, OTHER, Setup, errors, warnings};
use crate::support::Pipe;

const PRIVATE: &str = "registry.example.com/etl:1";
const USER: &str = "bot";
const PASSWORD: &str = "canary+registry/password";

/// A registry that requires credentials.
fn private() -> Setup {
    let setup = Setup::new();
    let registry = setup.cloud.registry(OTHER);
    registry.put_image("etl", "1", &Image::oci("linux/amd64"));
    registry.make_private("etl");
    registry.add_user(USER, PASSWORD);
    setup
}

fn with_login(pipe: Pipe, host: &str) -> Pipe {
    pipe.var("REGISTRY_HOST", host).var("REGISTRY_USERNAME", USER).var("REGISTRY_PASSWORD", PASSWORD)
}

fn auths(host: &str, entry: serde_json::Value) -> String {
    json!({"auths": {host: entry}}).to_string()
}

#[test]
fn private_image_is_found_with_every_kind_of_credentials() {
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let plain = auths(OTHER, json!({"auth": auth}));
    for config in [
        plain.clone(),
        STANDARD.encode(&plain),
        auths("https://registry.example.com/v2/", json!({"auth": auth})),
        auths(OTHER, json!({"username": USER, "password": PASSWORD})),
    ] {
        let setup = private();
        setup.pin(&[PRIVATE]).var("DOCKER_AUTH_CONFIG", config).run().exits(0);
    }
    let setup = private();
    with_login(setup.pin(&[PRIVATE]), OTHER).run().exits(0);

    let setup = private();
    setup.cloud.registry(OTHER).add_identity_token("canary-identity-token");
    let config = auths(OTHER, json!({"identitytoken": "canary-identity-token"}));
    setup.pin(&[PRIVATE]).var("DOCKER_AUTH_CONFIG", config).run().exits(0);
}

#[test]
fn docker_hub_credentials_are_found_under_all_its_names() {
    for (key, value) in [
        ("DOCKER_AUTH_CONFIG", auths("https://index.docker.io/v1/", json!({"username": USER, "password": PASSWORD}))),
        ("DOCKER_AUTH_CONFIG", auths("docker.io", json!({"username": USER, "password": PASSWORD}))),
        ("REGISTRY_HOST", String::new()),
        ("REGISTRY_HOST", "docker.io".to_owned()),
    ] {
        let setup = Setup::new();
        let hub = setup.cloud.registry(HUB);
        hub.put_image("acme/etl", "1", &Image::oci("linux/amd64"));
        hub.make_private("acme/etl");
        hub.add_user(USER, PASSWORD);
        let pipe = setup.pin(&["acme/etl:1"]);
        let pipe = if key == "REGISTRY_HOST" { with_login(pipe, &value) } else { pipe.var(key, value) };
        pipe.run().exits(0);
    }
}

#[test]
fn docker_auth_config_takes_precedence_over_registry_username() {
    let setup = private();
    let config = auths(OTHER, json!({"username": USER, "password": PASSWORD}));
    let pipe = setup.pin(&[PRIVATE]).var("DOCKER_AUTH_CONFIG", config);
    pipe.var("REGISTRY_HOST", OTHER).var("REGISTRY_USERNAME", "x").var("REGISTRY_PASSWORD", "y").run().exits(0);
}

#[test]
fn credentials_are_sent_only_to_their_host_and_its_realm() {
    let setup = private();
    let ghcr = setup.cloud.registry(GHCR);
    ghcr.put_image("acme/etl", "1.0", &Image::oci("linux/amd64"));
    with_login(setup.pin(&[PRIVATE, IMAGE]), OTHER).run().exits(0);
    for request in setup.cloud.requests().iter().filter(|request| request.host() != OTHER) {
        assert!(request.header("authorization").is_none_or(|value| value.starts_with("Bearer ")), "{request:?}");
    }
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let shown: Vec<_> = (setup.cloud.requests().into_iter())
        .filter(|request| request.header("authorization") == Some(&basic))
        .map(|request| format!("{}{}", request.host(), request.path))
        .collect();
    assert_eq!(shown, ["registry.example.com/token"]);
}

#[test]
fn unsafe_realm_is_rejected() {
    for (realm, reason) in [
        ("http://registry.example.com/token", "which is not `https`"),
        ("https://169.254.169.254/token", "which is a private address"),
        ("https://10.0.0.1/token", "which is a private address"),
    ] {
        let setup = private();
        setup.cloud.registry(OTHER).challenge_realm(realm);
        let ran = with_login(setup.pin(&[PRIVATE]), OTHER).run().exits(3);
        let error = errors(&ran).replace(realm, "[REALM]").replace(reason, "[REASON]");
        let error = error.lines().next().unwrap_or_default();
        insta::allow_duplicates! { insta::assert_snapshot!(error, @"
        ERROR: stack.yml:5: image `registry.example.com/etl:1`: registry `registry.example.com`: the registry names `[REALM]` as its token endpoint, [REASON]
        "); }
        assert_eq!(setup.cloud.tunnels(), ["registry.example.com:443"]);
    }
}

#[test]
fn challenges_are_parsed_in_every_form() {
    for challenges in [
        Challenges::BearerThenBasic,
        Challenges::BasicThenBearer,
        Challenges::TwoLines,
        Challenges::Unusual,
        Challenges::UnknownFirst,
        Challenges::QuotedCommas,
    ] {
        let setup = private();
        setup.cloud.registry(OTHER).challenges(challenges);
        let ran = with_login(setup.pin(&[PRIVATE]), OTHER).run();
        assert_eq!(ran.code, 0, "{challenges:?}\n{}", ran.log);
    }
}

#[test]
fn public_image_needs_no_credentials() {
    for (host, name) in [
        (HUB, "acme/etl:1"),
        (GHCR, "ghcr.io/acme/etl:1"),
        ("quay.io", "quay.io/acme/etl:1"),
        ("registry.gitlab.com", "registry.gitlab.com/acme/etl:1"),
        ("public.ecr.aws", "public.ecr.aws/acme/etl:1"),
    ] {
        let setup = Setup::new();
        let digest = setup.cloud.registry(host).put_image("acme/etl", "1", &Image::oci("linux/amd64"));
        setup.pin(&[name]).run().exits(0);
        assert_eq!(setup.deployed("f0"), Some(format!("{name}@{digest}")));
    }
}

#[test]
fn placeholder_scope_of_a_challenge_is_replaced() {
    let (setup, _) = Setup::with_image();
    setup.cloud.registry(GHCR).challenge_scope("repository:user/image:pull");
    setup.pin(&[IMAGE]).run().exits(0);
}

#[test]
fn token_without_a_lifetime_is_reused() {
    let setup = Setup::new();
    let registry = setup.cloud.registry("public.ecr.aws");
    registry.put_image("acme/etl", "1", &Image::oci("linux/amd64"));
    registry.put_image("acme/etl", "2", &Image::oci("linux/amd64"));
    registry.token_response(&["token"], None);
    setup.pin(&["public.ecr.aws/acme/etl:1", "public.ecr.aws/acme/etl:2"]).run().exits(0);
    let tokens = setup.cloud.requests().into_iter().filter(|request| request.path == "/token/").count();
    assert_eq!(tokens, 1);
}

#[test]
fn unauthorized_image_is_explained() {
    for (host, image) in [
        (HUB, "acme/etl:1"),
        (GHCR, "ghcr.io/acme/etl:1"),
        ("registry.gitlab.com", "registry.gitlab.com/acme/etl:1"),
        ("quay.io", "quay.io/acme/etl:1"),
        (OTHER, "registry.example.com/acme/etl:1"),
    ] {
        let setup = Setup::new();
        let registry = setup.cloud.registry(host);
        registry.put_image("acme/etl", "1", &Image::oci("linux/amd64"));
        registry.make_private("acme/etl");
        let ran = setup.pin(&[image]).run().exits(3);
        setup.assert_unchanged();
        let error = errors(&ran);
        match host {
            HUB => insta::assert_snapshot!(error, @"
            ERROR: stack.yml:5: image `acme/etl:1` could not be looked up: `docker.io` returned 401: UNAUTHORIZED: authentication required
              hint: it does not exist, or is private; for a private one set `REGISTRY_USERNAME` and `REGISTRY_PASSWORD` for Docker Hub
            "),
            GHCR => insta::assert_snapshot!(error, @"
            ERROR: stack.yml:5: image `ghcr.io/acme/etl:1`: registry `ghcr.io` requires credentials: 403: DENIED: requested access to the resource is denied
              hint: for a private image set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
            "),
            _ => assert!(error.contains("REGISTRY_HOST") && error.contains(host), "{error}"),
        }
        let ran = setup.check(&[image]).run().exits(0);
        let warning = warnings(&ran);
        assert!(warning.contains("REGISTRY_USERNAME"), "{warning}");
        assert_eq!(setup.deployed("f0").as_deref(), Some(image));
    }
}

#[test]
fn rejected_credentials_are_named() {
    let setup = private();
    let pipe = setup.pin(&[PRIVATE]).var("REGISTRY_HOST", OTHER).var("REGISTRY_USERNAME", USER);
    let ran = pipe.var("REGISTRY_PASSWORD", "wrong-password").run().exits(3).does_not_say("wrong-password");
    insta::assert_snapshot!(errors(&ran), @"
    ERROR: stack.yml:5: image `registry.example.com/etl:1`: registry `registry.example.com` refused the user name and password in `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`: 401: UNAUTHORIZED: incorrect username or password
      hint: check both; many registries want an access token in place of the password
    ");

    let config = auths(OTHER, json!({"username": USER, "password": "wrong-password"}));
    let ran = setup.pin(&[PRIVATE]).var("DOCKER_AUTH_CONFIG", config).run().exits(3);
    insta::assert_snapshot!(errors(&ran.does_not_say("wrong-password")), @"
    ERROR: stack.yml:5: image `registry.example.com/etl:1`: registry `registry.example.com` refused the login in `DOCKER_AUTH_CONFIG`: 401: UNAUTHORIZED: incorrect username or password
      hint: sign in to `registry.example.com` again, and store the new login
    ");
    setup.assert_unchanged();
}

#[test]
fn login_is_shown_to_a_registry_that_hides_private_images() {
    for status in [401, 403, 404] {
        let setup = Setup::new();
        let image = Image::oci("linux/amd64");
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let manifest = image.parts().manifests.remove(0);
        setup.cloud.serve(OTHER, move |request| {
            let response = Response::builder().header("content-type", manifest.media_type);
            match request.header("authorization") {
                Some(given) if given == basic => response.status(200).body(manifest.bytes.clone()),
                _ if request.path == "/v2/" => {
                    response.status(401).header("www-authenticate", "Basic realm=\"r\"").body(Bytes::new())
                }
                _ => response.status(status).body(Bytes::new()),
            }
            .expect("invalid response")
        });
        with_login(setup.pin(&[PRIVATE]), OTHER).run().exits(0);
        assert_eq!(setup.deployed("f0"), Some(format!("{PRIVATE}@{}", image.digest())));
        let anonymous = setup.pin(&[PRIVATE]).run();
        assert_eq!(anonymous.code, if status == 404 { 2 } else { 3 }, "{}", anonymous.log);
    }
}

#[test]
fn robot_account_whose_name_was_expanded_is_recognized() {
    let setup = private();
    let ran = with_login(setup.pin(&[PRIVATE]), OTHER).var("REGISTRY_USERNAME", "robot").run().exits(3);
    ran.says("\n  a robot account of Harbor is called `robot$NAME`: ");
}

#[test]
fn realm_without_https_points_to_the_registrys_proxy() {
    let setup = private();
    setup.cloud.registry(OTHER).challenge_realm("http://registry.example.com/token");
    with_login(setup.pin(&[PRIVATE]), OTHER).run().exits(3).says("`X-Forwarded-Proto: https`");
}

#[test]
fn registry_on_this_machine_is_not_reached_through_a_proxy() {
    let setup = Setup::new();
    let head = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n\r\n";
    let server = raw::serve(Behaviour::Bytes(head.to_vec())).expect("cannot start server");
    let host = server.url().trim_start_matches("http://").to_owned();
    let pipe = with_login(setup.pin(&[&format!("{host}/etl:1")]), &host);
    // Nothing listens there.
    pipe.var("HTTP_PROXY", "http://127.0.0.1:1").run().exits(3).says("refused the user name and password");
}

#[test]
fn credential_helpers_cause_a_warning() {
    let (setup, _) = Setup::with_image();
    let config = json!({"auths": {}, "credsStore": "desktop", "credHelpers": {"ghcr.io": "gcloud"}}).to_string();
    let ran = setup.check(&[IMAGE]).var("DOCKER_AUTH_CONFIG", config).run().exits(0);
    insta::assert_snapshot!(warnings(&ran), @"
    WARNING: `DOCKER_AUTH_CONFIG` names the credential helper `docker-credential-gcloud` for `ghcr.io`, which the pipe does not have
      hint: for ECR set `AWS_OIDC_ROLE_ARN`, for Artifact Registry `GCP_WORKLOAD_IDENTITY_PROVIDER`, else write an `auth`
    WARNING: `DOCKER_AUTH_CONFIG` names the credential helper `docker-credential-desktop`, which the pipe does not have
      hint: for ECR set `AWS_OIDC_ROLE_ARN`, for Artifact Registry `GCP_WORKLOAD_IDENTITY_PROVIDER`, else write an `auth`
    ");
}

#[test]
fn invalid_docker_auth_config_is_an_error() {
    for (config, canary) in
        [("not JSON canary-text", "canary-text"), (r#"{"auths": {"ghcr.io": {"auth": "canary~"}}}"#, "canary~")]
    {
        let (setup, _) = Setup::with_image();
        let ran = setup.check(&[IMAGE]).var("DOCKER_AUTH_CONFIG", config).run().exits(2);
        let ran = ran.says("DOCKER_AUTH_CONFIG:").does_not_say(canary);
        assert!(setup.cloud.requests().is_empty() && setup.gateway.requests().is_empty(), "{}", ran.log);
    }
}

#[test]
fn username_without_password_is_an_error() {
    let (setup, _) = Setup::with_image();
    let ran = setup.check(&[IMAGE]).var("REGISTRY_USERNAME", "bot").run().exits(2);
    ran.says("REGISTRY_PASSWORD:");
    let ran = setup.check(&[IMAGE]).var("REGISTRY_PASSWORD", "canary-password").run().exits(2);
    ran.says("REGISTRY_USERNAME:").does_not_say("canary-password");
}

#[test]
fn log_contains_no_registry_secret() {
    for quirk in [None, Some(Quirk::RedirectBlobs), Some(Quirk::NoDigestHeader), Some(Quirk::WrongBytes)] {
        for fault in [None, Some(403), Some(500)] {
            let setup = private();
            let registry = setup.cloud.registry(OTHER);
            registry.add_identity_token("canary-identity-token");
            quirk.into_iter().for_each(|quirk| registry.quirk(quirk));
            if let Some(status) = fault {
                // The registry echoes the request.
                let echo = local_cloud::Fault::on("GET", "/v2/").host(OTHER).echo();
                setup.cloud.fault(echo.status(status).header("Retry-After", "0"));
                let echo = local_cloud::Fault::on("GET", "/token").host(OTHER).after(1).echo();
                setup.cloud.fault(echo.status(status).header("Retry-After", "0"));
                registry.quirk(Quirk::NoDigestHeader);
            }
            let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
            for config in
                [auths(OTHER, json!({"auth": auth})), auths(OTHER, json!({"identitytoken": "canary-identity-token"}))]
            {
                let pipe = setup.check(&[PRIVATE]).list("IMAGE_PLATFORMS", &["linux/amd64"]).var("DEBUG", "true");
                let ran = pipe.var("DOCKER_AUTH_CONFIG", &config).run();
                let mut ran = ran.does_not_say(&auth).does_not_say(&config);
                assert!(ran.log.contains("DEBUG: "), "{}", ran.log);
                for secret in setup.cloud.secrets() {
                    ran = ran.does_not_say(&secret);
                }
            }
        }
    }
}
