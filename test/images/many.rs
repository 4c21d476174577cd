//! Several images in one deploy.

use local_cloud::{Fault, Image, Latch, Quirk};

use super::world::{GHCR, HUB, IMAGE, OTHER, World, errors};
use crate::support::{Running, issuer, until};

#[test]
fn every_image_is_looked_up_once_whatever_its_name() {
    let world = World::new();
    let hub = world.cloud.registry(HUB);
    hub.put_image("library/nginx", "latest", &Image::oci("linux/amd64"));
    hub.put_image("acme/etl", "1.0", &Image::oci("linux/amd64"));
    let images = ["nginx", "nginx:latest", "docker.io/library/nginx", "acme/etl:1.0", "acme/etl:1.0"];
    world.pin(&images).run().exits(0);
    // Each first look is refused for want of a token.
    let looked = world.cloud.requests().into_iter().filter(|request| request.path.contains("/manifests/"));
    let mut found: Vec<_> = looked.filter(|request| request.status == Some(200)).map(|request| request.path).collect();
    found.sort();
    assert_eq!(found, ["/v2/acme/etl/manifests/1.0", "/v2/library/nginx/manifests/latest"]);
    let nginx = Image::oci("linux/amd64").digest();
    assert_eq!(world.deployed("f0"), Some(format!("nginx:latest@{nginx}")));
    assert_eq!(world.deployed("f2"), Some(format!("docker.io/library/nginx:latest@{nginx}")));
}

#[test]
fn registry_that_asked_for_a_token_once_is_not_asked_without_one_again() {
    let world = World::new();
    let names = ["ghcr.io/acme/one:1", "ghcr.io/acme/two:1", "ghcr.io/acme/three:1"];
    for name in ["acme/one", "acme/two", "acme/three"] {
        world.cloud.registry(GHCR).put_image(name, "1", &Image::oci("linux/amd64"));
    }
    world.check(&names).var("PARALLEL", "1").run().exits(0);
    let statuses: Vec<_> = world.cloud.requests().into_iter().filter_map(|request| request.status).collect();
    // A token and a look for each, and what the registry asks for once.
    assert_eq!(statuses, [401, 200, 200, 200, 200, 200, 200]);
}

#[test]
fn every_missing_image_is_named_with_its_lines() {
    let (world, _) = World::with_image();
    let images = ["ghcr.io/acme/etl:2", IMAGE, "ghcr.io/acme/etl:3", "ghcr.io/acme/etl:2"];
    let ran = world.check(&images).run().exits(2);
    insta::assert_snapshot!(errors(&ran), @"
    ERROR: stack.yml:5,11: image `ghcr.io/acme/etl:2` does not exist: `2` is not in repository `acme/etl` of `ghcr.io`: MANIFEST_UNKNOWN: manifest unknown
      hint: push the image before the deploy, or correct its name
    ERROR: stack.yml:9: image `ghcr.io/acme/etl:3` does not exist: `3` is not in repository `acme/etl` of `ghcr.io`: MANIFEST_UNKNOWN: manifest unknown
      hint: push the image before the deploy, or correct its name
    ");
    world.is_unchanged();
}

#[test]
fn at_most_parallel_look_ups_run_at_once() {
    let world = World::new();
    let registry = world.cloud.registry(OTHER);
    registry.use_no_auth();
    let latch = Latch::closed();
    world.cloud.fault(Fault::on("HEAD", "/v2/").held_by(&latch));
    let names: Vec<String> = (0..6).map(|index| format!("{OTHER}/etl:{index}")).collect();
    for index in 0..6 {
        registry.put_image("etl", &index.to_string(), &Image::oci("linux/amd64"));
    }
    let images: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut running = Running::of(world.check(&images).var("PARALLEL", "4"));
    until("look-ups", || world.manifests().len() == 4);
    // The exchange is not held up by them.
    until("exchange", || {
        world.gateway.requests().iter().any(|request| request.path == "/oauth/token" && request.status == Some(200))
    });
    assert_eq!(world.manifests().len(), 4);
    world.is_unchanged();
    latch.open();
    running.end().exits(0);
    assert_eq!(world.manifests().len(), 6);
}

#[test]
fn step_s_token_goes_to_the_gateway_alone() {
    let (world, _) = World::with_image();
    let token = issuer().token().mint();
    world.pin(&[IMAGE]).var("BITBUCKET_STEP_OIDC_TOKEN", &token).run().exits(0);
    for request in world.cloud.requests() {
        let headers = format!("{:?}", request.headers);
        assert!(!headers.contains(&token) && !request.text().contains(&token));
    }
}

#[test]
fn result_and_output_variables_have_the_pinned_names() {
    let (world, digest) = World::with_image();
    let pipe = world
        .pin(&[IMAGE])
        .list("OUTPUT_VARIABLES", &["OPENFAAS_IMAGES"])
        .var("BITBUCKET_PIPELINES_VARIABLES_PATH", "variables")
        .var("BITBUCKET_PIPE_STORAGE_DIR", "storage")
        .file("storage/.keep", "")
        .file("variables", "");
    pipe.run().exits(0);
    let read = |path: &str| std::fs::read_to_string(pipe.dir().join(path)).expect("a file");
    let pinned = format!("{IMAGE}@{digest}");
    assert!(read("variables").contains(&format!("OPENFAAS_IMAGES={pinned}\n")));
    let result: serde_json::Value = serde_json::from_str(&read("storage/openfaas-pipe.json")).expect("JSON");
    let function = &result["functions"][0];
    assert_eq!((&function["image"], &function["digest"]), (&pinned.into(), &digest.into()));
}

#[test]
fn missing_image_is_explained_without_a_list_of_tags() {
    let (world, _) = World::with_image();
    world.cloud.registry(GHCR).quirk(Quirk::NoTagsList);
    let ran = world.check(&["ghcr.io/acme/etl:2.0"]).run().exits(2);
    insta::assert_snapshot!(errors(&ran), @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:2.0` does not exist: `2.0` is not in repository `acme/etl` of `ghcr.io`: MANIFEST_UNKNOWN: manifest unknown
      hint: push the image before the deploy, or correct its name
    ");
    world.is_unchanged();
}
