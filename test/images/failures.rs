//! Registries that reject requests, fail or return nonsense: an error with `PIN_IMAGES`, a warning with `CHECK_IMAGES`.

use local_cloud::{Fault, Image, Quirk};

use super::setup::{GHCR, IMAGE, OTHER, Setup, errors, warnings};

/// A fault for every request of a manifest.
fn manifests(method: &str) -> Fault {
    Fault::on(method, "/v2/acme/etl/manifests/").host(GHCR)
}

/// Runs the pipe with `PIN_IMAGES`, which must exit with this code and change nothing, then with `CHECK_IMAGES`, which
/// must deploy. Returns the error and the warning.
#[track_caller]
fn refused(setup: &Setup, image: &str, code: i32) -> (String, String) {
    let pinned = setup.pin(&[image]).run().exits(code);
    setup.assert_unchanged();
    let checked = setup.check(&[image]).run().exits(0);
    assert_eq!(setup.deployed("f0").as_deref(), Some(image));
    (errors(&pinned), warnings(&checked))
}

#[test]
fn malformed_digest_header_is_rejected() {
    let (setup, _) = Setup::with_image();
    setup.cloud.registry(GHCR).quirk(Quirk::MalformedDigestHeader);
    let (error, warning) = refused(&setup, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned `sha256:abc ?`, which is not a digest
    ");
    insta::assert_snapshot!(warning, @"
    WARNING: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned `sha256:abc ?`, which is not a digest
    ");
}

#[test]
fn what_is_no_manifest_is_not_pinned() {
    for body in ["", "{}", r#"{"errors":[{"code":"UNKNOWN"}]}"#, "just text"] {
        let (setup, _) = Setup::with_image();
        setup.cloud.fault(manifests("HEAD").status(200));
        setup.cloud.fault(manifests("GET").status(200).body(body));
        let (error, _) = refused(&setup, IMAGE, 3);
        insta::allow_duplicates! { insta::assert_snapshot!(error, @"
        ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: the registry returned something other than a manifest or an index
          hint: look for a proxy or a sign-in page that responds in the registry's place
        "); }
    }
    let (setup, _) = Setup::with_image();
    setup.cloud.fault(manifests("HEAD").web_page(200));
    setup.cloud.fault(manifests("GET").web_page(200));
    let (error, _) = refused(&setup, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned 200 with a web page (`Error`), which is not what a registry returns
      hint: look for a proxy or a sign-in page that responds in the registry's place
    ");
}

#[test]
fn wrong_digest_header_is_rejected_for_a_reference_by_digest() {
    let (setup, digest) = Setup::with_image();
    setup.cloud.registry(GHCR).quirk(Quirk::WrongDigestHeader);
    let (error, _) = refused(&setup, &format!("{IMAGE}@{digest}"), 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0@sha256:5886692f92963f19524c449d43199957faad231636a6622d38f316208c88a300`: `ghcr.io` returned something other than `sha256:5886692f92963f19524c449d43199957faad231636a6622d38f316208c88a300`
      hint: do not deploy it: what a registry returns must have the digest that it was asked for
    ");
}

#[test]
fn long_retry_after_is_not_awaited() {
    let (setup, _) = Setup::with_image();
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    setup.cloud.fault(manifests("HEAD").status(429).header("Retry-After", "3600").body(body));
    let (error, warning) = refused(&setup, IMAGE, 4);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned 429
      hint: registries limit anonymous requests by address, and Bitbucket's are shared: set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
    ");
    insta::assert_snapshot!(warning, @"
    WARNING: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned 429
      hint: registries limit anonymous requests by address, and Bitbucket's are shared: set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
    ");
}

#[test]
fn transient_registry_failures_are_retried() {
    for fault in [
        manifests("HEAD").times(2).status(503).header("Retry-After", "0"),
        manifests("HEAD").times(1).status(429).header("Retry-After", "1"),
        Fault::on("GET", "/token").host(GHCR).times(1).status(500),
        manifests("HEAD").after(1).times(1).reset(),
    ] {
        let (setup, digest) = Setup::with_image();
        setup.cloud.fault(fault);
        setup.pin(&[IMAGE]).run().exits(0);
        assert_eq!(setup.deployed("f0"), Some(format!("{IMAGE}@{digest}")));
    }
}

#[test]
fn persistent_server_errors_are_reported() {
    let (setup, _) = Setup::with_image();
    setup.cloud.fault(manifests("HEAD").status(502).header("Retry-After", "0").web_page(502));
    let (error, warning) = refused(&setup, IMAGE, 4);
    insta::assert_snapshot!(error, @"ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned 502: a web page");
    insta::assert_snapshot!(warning, @"
    WARNING: `ghcr.io`: 502 Bad Gateway; retrying in [TIME] (1 of 3)
    WARNING: `ghcr.io`: 502 Bad Gateway; retrying in [TIME] (2 of 3)
    WARNING: `ghcr.io`: 502 Bad Gateway; retrying in [TIME] (3 of 3)
    WARNING: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned 502: a web page
    ");
}

#[test]
fn endless_responses_are_cut_off() {
    let (setup, _) = Setup::with_image();
    setup.cloud.registry(GHCR).quirk(Quirk::NoDigestHeader);
    setup.cloud.fault(manifests("GET").body("{\"schemaVersion\": 2} ").endless_body());
    let (error, _) = refused(&setup, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: its manifest is longer than 4 MiB
    ");

    let (setup, _) = Setup::with_image();
    setup.cloud.fault(Fault::on("GET", "/token").host(GHCR).body("{\"token\": \"").endless_body());
    let (error, _) = refused(&setup, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: the token endpoint of registry `ghcr.io` returned a response without a token
      hint: look for a proxy that responds in its place
    ");
}

#[test]
fn manifest_redirect_is_not_followed() {
    let (setup, _) = Setup::with_image();
    setup.cloud.fault(manifests("HEAD").redirect(307, "https://elsewhere.example.com/v2/"));
    let (error, _) = refused(&setup, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0` could not be looked up: `ghcr.io` returned 307
      hint: it redirects to `https://elsewhere.example.com/v2/`: write the image with that registry's name
    ");
    assert!(setup.cloud.requests_to("elsewhere.example.com").is_empty());
}

#[test]
fn redirect_to_a_sign_in_page_is_not_taken_for_a_registry() {
    let (setup, _) = Setup::with_image();
    setup.cloud.fault(manifests("HEAD").redirect(302, "https://login.example.com/start?rd=%2Fv2%2Facme"));
    let (error, _) = refused(&setup, IMAGE, 3);
    insta::assert_snapshot!(error, @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0` could not be looked up: `ghcr.io` returned 302
      hint: a proxy in front of the registry requires its own sign-in: let `/v2/` pass there, or write the registry's own name
    ");
}

#[test]
fn registry_messages_cannot_forge_log_lines() {
    let (setup, _) = Setup::with_image();
    let body = "{\"errors\":[{\"code\":\"X\",\"message\":\"one\\nINFO: two\\u001b[31m\"}]}";
    setup.cloud.fault(manifests("HEAD").status(403));
    setup.cloud.fault(manifests("GET").status(403).body(body));
    let (error, _) = refused(&setup, IMAGE, 3);
    assert!(!error.contains("\nINFO: two") && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn registry_certificates_are_verified_despite_tls_no_verify() {
    let (setup, _) = Setup::with_image();
    let ran = setup.pin(&[IMAGE]).without("CA_CERT").var("TLS_NO_VERIFY", "true").run().exits(4);
    insta::assert_snapshot!(errors(&ran), @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io`: the certificate's issuer is not trusted
      hint: if a private CA issued it, set `CA_CERT` to the CA's certificate; otherwise check that the server sends the intermediate certificates
    ");
    assert!(setup.cloud.requests().is_empty());
}

#[test]
fn one_failing_registry_fails_the_whole_pinned_deploy() {
    let (setup, _) = Setup::with_image();
    let other = setup.cloud.registry(OTHER);
    other.use_no_auth();
    other.put_image("etl", "1", &Image::oci("linux/amd64"));
    setup.cloud.disconnect(GHCR);
    setup.pin(&["registry.example.com/etl:1", IMAGE]).run().exits(4);
    setup.assert_unchanged();
}
