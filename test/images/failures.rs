//! Registries that refuse, fail or return nonsense: an error with PIN_IMAGES, a warning with CHECK_IMAGES.

use std::time::{Duration, Instant};

use local_cloud::{Fault, Image, Quirk};

use super::world::{GHCR, IMAGE, OTHER, World, errors, warnings};

/// A fault of every look at a manifest.
fn manifests(method: &str) -> Fault {
    Fault::on(method, "/v2/acme/etl/manifests/").host(GHCR)
}

/// Runs with PIN_IMAGES, which must end with the code and change nothing, then with CHECK_IMAGES, which must deploy.
/// Returns the error and the warning.
#[track_caller]
fn refused(world: &World, image: &str, code: i32) -> (String, String) {
    let pinned = world.pin(&[image]).run().exits(code);
    world.is_unchanged();
    let checked = world.check(&[image]).run().exits(0);
    assert_eq!(world.deployed("f0").as_deref(), Some(image));
    (errors(&pinned), warnings(&checked))
}

#[test]
fn digest_that_is_none_is_not_believed() {
    let (world, _) = World::with_image();
    world.cloud.registry(GHCR).quirk(Quirk::MalformedDigestHeader);
    let (error, warning) = refused(&world, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned `sha256:abc ?`, which is not a digest
    ");
    insta::assert_snapshot!(warning, @"
    WARNING: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned `sha256:abc ?`, which is not a digest
    ");
}

#[test]
fn digest_of_other_bytes_is_not_believed_for_a_reference_by_digest() {
    let (world, digest) = World::with_image();
    world.cloud.registry(GHCR).quirk(Quirk::WrongDigestHeader);
    let (error, _) = refused(&world, &format!("{IMAGE}@{digest}"), 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0@sha256:5886692f92963f19524c449d43199957faad231636a6622d38f316208c88a300`: `ghcr.io` returned something other than `sha256:5886692f92963f19524c449d43199957faad231636a6622d38f316208c88a300`
      hint: do not deploy it: what a registry returns must have the digest that it was asked for
    ");
}

#[test]
fn long_rate_limit_is_not_waited_for() {
    let (world, _) = World::with_image();
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    world.cloud.fault(manifests("HEAD").status(429).header("Retry-After", "3600").body(body));
    let started = Instant::now();
    let (error, warning) = refused(&world, IMAGE, 4);
    assert!(started.elapsed() < Duration::from_secs(10));
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` answered 429
      hint: registries limit anonymous requests by address, and Bitbucket's are shared: set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
    ");
    insta::assert_snapshot!(warning, @"
    WARNING: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` answered 429
      hint: registries limit anonymous requests by address, and Bitbucket's are shared: set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
    ");
}

#[test]
fn transient_failures_of_connections_and_token_endpoints_are_retried() {
    for fault in [
        manifests("HEAD").times(1).status(429).header("Retry-After", "1"),
        Fault::on("GET", "/token").host(GHCR).times(1).status(500),
        manifests("HEAD").after(1).times(1).reset(),
    ] {
        let (world, digest) = World::with_image();
        world.cloud.fault(fault);
        world.pin(&[IMAGE]).run().exits(0);
        assert_eq!(world.deployed("f0"), Some(format!("{IMAGE}@{digest}")));
    }
}

#[test]
fn server_errors_that_last_are_reported() {
    let (world, _) = World::with_image();
    world.cloud.fault(manifests("HEAD").status(502).header("Retry-After", "0").web_page(502));
    let (error, warning) = refused(&world, IMAGE, 4);
    insta::assert_snapshot!(error, @"ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` answered 502: a web page");
    insta::assert_snapshot!(warning, @"WARNING: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` answered 502: a web page");
}

#[test]
fn endless_answers_are_cut() {
    let (world, _) = World::with_image();
    world.cloud.registry(GHCR).quirk(Quirk::NoDigestHeader);
    world.cloud.fault(manifests("GET").body("{\"schemaVersion\": 2} ").endless_body());
    let (error, _) = refused(&world, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: its manifest is longer than 4 MiB
    ");

    let (world, _) = World::with_image();
    world.cloud.fault(Fault::on("GET", "/token").host(GHCR).body("{\"token\": \"").endless_body());
    let (error, _) = refused(&world, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: the token endpoint of registry `ghcr.io` returned an answer without a token
      hint: look for a proxy that answers in its place
    ");
}

#[test]
fn redirect_of_a_manifest_is_not_followed() {
    let (world, _) = World::with_image();
    world.cloud.fault(manifests("HEAD").redirect(307, "https://elsewhere.example.com/v2/"));
    let (error, _) = refused(&world, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0` could not be looked up: `ghcr.io` answered 307
      hint: it redirects to `https://elsewhere.example.com/v2/`: write the image with that registry's name
    ");
    assert!(world.cloud.requests_to("elsewhere.example.com").is_empty());
}

#[test]
fn what_a_registry_says_forges_no_line_of_the_log() {
    let (world, _) = World::with_image();
    let body = "{\"errors\":[{\"code\":\"X\",\"message\":\"one\\nINFO: two\\u001b[31m\"}]}";
    world.cloud.fault(manifests("HEAD").status(403));
    world.cloud.fault(manifests("GET").status(403).body(body));
    let (error, _) = refused(&world, IMAGE, 3);
    assert!(!error.contains("\nINFO: two") && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn certificates_of_registries_are_verified_with_tls_no_verify_too() {
    let (world, _) = World::with_image();
    let ran = world.pin(&[IMAGE]).without("CA_CERT").var("TLS_NO_VERIFY", "true").run().exits(4);
    insta::assert_snapshot!(errors(&ran), @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io`: the certificate's issuer is not trusted
      hint: if a private CA issued it, set `CA_CERT` to the CA's certificate; otherwise check that the server sends the intermediate certificates
    ");
    assert!(world.cloud.requests().is_empty());
}

#[test]
fn one_registry_that_fails_keeps_a_pinned_deploy_back_whole() {
    let (world, _) = World::with_image();
    let other = world.cloud.registry(OTHER);
    other.use_no_auth();
    other.put_image("etl", "1", &Image::oci("linux/amd64"));
    world.cloud.disconnect(GHCR);
    world.pin(&["registry.example.com/etl:1", IMAGE]).run().exits(4);
    world.is_unchanged();
}
