//! Several images in one deploy.

use local_cloud::{Fault, Image, Latch, Quirk};

use super::setup::{GHCR, HUB, IMAGE, OTHER, Setup, errors};
use crate::support::{Running, issuer, wait_for};

#[test]
fn image_with_several_names_is_looked_up_once() {
    let setup = Setup::new();
    let hub = setup.cloud.registry(HUB);
    hub.put_image("library/nginx", "latest", &Image::oci("linux/amd64"));
    hub.put_image("acme/etl", "1.0", &Image::oci("linux/amd64"));
    let images = ["nginx", "nginx:latest", "docker.io/library/nginx", "acme/etl:1.0", "acme/etl:1.0"];
    setup.pin(&images).run().exits(0);
    // The first request to a registry has no token and gets a 401.
    let looked = setup.cloud.requests().into_iter().filter(|request| request.path.contains("/manifests/"));
    let mut found: Vec<_> = looked.filter(|request| request.status == Some(200)).map(|request| request.path).collect();
    found.sort();
    assert_eq!(found, ["/v2/acme/etl/manifests/1.0", "/v2/library/nginx/manifests/latest"]);
    let nginx = Image::oci("linux/amd64").digest();
    assert_eq!(setup.deployed("f0"), Some(format!("nginx:latest@{nginx}")));
    assert_eq!(setup.deployed("f2"), Some(format!("docker.io/library/nginx:latest@{nginx}")));
}

#[test]
fn registry_that_asked_for_a_token_once_is_not_asked_without_one_again() {
    let setup = Setup::new();
    let names = ["ghcr.io/acme/one:1", "ghcr.io/acme/two:1", "ghcr.io/acme/three:1"];
    for name in ["acme/one", "acme/two", "acme/three"] {
        setup.cloud.registry(GHCR).put_image(name, "1", &Image::oci("linux/amd64"));
    }
    setup.check(&names).var("PARALLEL", "1").run().exits(0);
    let statuses: Vec<_> = setup.cloud.requests().into_iter().filter_map(|request| request.status).collect();
    // One challenge, then a token and a lookup for each repository.
    assert_eq!(statuses, [401, 200, 200, 200, 200, 200, 200]);
}

#[test]
fn missing_images_are_reported_with_their_lines() {
    let (setup, _) = Setup::with_image();
    let images = ["ghcr.io/acme/etl:2", IMAGE, "ghcr.io/acme/etl:3", "ghcr.io/acme/etl:2"];
    let ran = setup.check(&images).run().exits(2);
    insta::assert_snapshot!(errors(&ran), @"
    ERROR: stack.yml:5, stack.yml:11: image `ghcr.io/acme/etl:2` does not exist: `2` was not found in repository `acme/etl` of `ghcr.io`: MANIFEST_UNKNOWN: manifest unknown
      hint: push the image before the deploy, or correct its name
    ERROR: stack.yml:9: image `ghcr.io/acme/etl:3` does not exist: `3` was not found in repository `acme/etl` of `ghcr.io`: MANIFEST_UNKNOWN: manifest unknown
    ");
    setup.assert_unchanged();
}

#[test]
fn at_most_parallel_lookups_run_at_once() {
    let setup = Setup::new();
    let registry = setup.cloud.registry(OTHER);
    registry.use_no_auth();
    let latch = Latch::closed();
    setup.cloud.fault(Fault::on("HEAD", "/v2/").held_by(&latch));
    let names: Vec<String> = (0..6).map(|index| format!("{OTHER}/etl:{index}")).collect();
    for index in 0..6 {
        registry.put_image("etl", &index.to_string(), &Image::oci("linux/amd64"));
    }
    let images: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut running = Running::of(setup.check(&images).var("PARALLEL", "4"));
    wait_for("four lookups", || setup.manifests().len() == 4);
    // The lookups do not block the token exchange.
    wait_for("the token exchange", || {
        setup.gateway.requests().iter().any(|request| request.path == "/oauth/token" && request.status == Some(200))
    });
    assert_eq!(setup.manifests().len(), 4);
    setup.assert_unchanged();
    latch.open();
    running.end().exits(0);
    assert_eq!(setup.manifests().len(), 6);
}

#[test]
fn step_token_is_sent_only_to_the_gateway() {
    let (setup, _) = Setup::with_image();
    let token = issuer().token().mint();
    setup.pin(&[IMAGE]).var("BITBUCKET_STEP_OIDC_TOKEN", &token).run().exits(0);
    for request in setup.cloud.requests() {
        let headers = format!("{:?}", request.headers);
        assert!(!headers.contains(&token) && !request.text().contains(&token));
    }
}

#[test]
fn result_and_output_variables_contain_pinned_images() {
    let (setup, digest) = Setup::with_image();
    let pipe = setup
        .pin(&[IMAGE])
        .list("OUTPUT_VARIABLES", &["OPENFAAS_IMAGES"])
        .var("BITBUCKET_PIPELINES_VARIABLES_PATH", "variables")
        .var("BITBUCKET_PIPE_STORAGE_DIR", "storage")
        .file("storage/.keep", "")
        .file("variables", "");
    pipe.run().exits(0);
    let read = |path: &str| std::fs::read_to_string(pipe.dir().join(path)).expect("cannot read file");
    let pinned = format!("{IMAGE}@{digest}");
    assert!(read("variables").contains(&format!("OPENFAAS_IMAGES={pinned}\n")));
    let result: serde_json::Value = serde_json::from_str(&read("storage/openfaas-pipe.json")).expect("invalid JSON");
    let function = &result["functions"][0];
    assert_eq!((&function["image"], &function["digest"]), (&pinned.into(), &digest.into()));
}

#[test]
fn missing_image_is_reported_without_a_tag_list() {
    let (setup, _) = Setup::with_image();
    setup.cloud.registry(GHCR).quirk(Quirk::NoTagsList);
    let ran = setup.check(&["ghcr.io/acme/etl:2.0"]).run().exits(2);
    insta::assert_snapshot!(errors(&ran), @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:2.0` does not exist, or is private: `2.0` was not found in repository `acme/etl` of `ghcr.io`: MANIFEST_UNKNOWN: manifest unknown
      hint: push the image before the deploy, or correct its name; if it is private, set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
    ");
    setup.assert_unchanged();
}
