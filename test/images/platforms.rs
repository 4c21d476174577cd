//! `IMAGE_PLATFORMS`.

use local_cloud::{Image, Quirk};

use super::setup::{GHCR, IMAGE, Setup, errors};

#[test]
fn all_platforms_of_an_index_are_checked_with_one_request() {
    let (setup, _) = Setup::with_image();
    setup.deploy(&[IMAGE]).list("IMAGE_PLATFORMS", &["linux/amd64", "linux/arm64"]).run().exits(0);
    assert_eq!(setup.deployed("f0").as_deref(), Some(IMAGE));
    let digest = Image::index(&["linux/amd64", "linux/arm64"]).digest();
    let manifests = setup.manifests();
    assert_eq!(
        manifests[1..],
        ["HEAD /v2/acme/etl/manifests/1.0".to_owned(), format!("GET /v2/acme/etl/manifests/{digest}")]
    );
}

#[test]
fn missing_platform_is_reported_with_the_existing_ones() {
    for image in [
        Image::index(&["linux/amd64", "linux/arm/v7"]).attestations(),
        Image::docker_list(&["linux/amd64", "linux/arm/v7"]),
    ] {
        let (setup, _) = Setup::with_image();
        setup.cloud.registry(GHCR).put_image("acme/etl", "1.0", &image);
        let ran = setup.deploy(&[IMAGE]).list("IMAGE_PLATFORMS", &["linux/amd64", "linux/arm64"]).run().exits(2);
        insta::allow_duplicates! { insta::assert_snapshot!(errors(&ran), @"
        ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0` does not exist for `linux/arm64`; its platforms: `linux/amd64`, `linux/arm/v7`
          hint: build it for all of them: `docker buildx build --platform linux/amd64,linux/arm64 --push`
          in Bitbucket Pipelines, build each platform in a step of its own (`runtime: cloud: arch: arm`), and join the images with `docker manifest create`
        "); }
        setup.assert_unchanged();
    }
}

#[test]
fn manifest_with_another_digest_is_rejected() {
    let (setup, _) = Setup::with_image();
    setup.cloud.registry(GHCR).quirk(Quirk::WrongBytes);
    let ran = setup.pin(&[IMAGE]).list("IMAGE_PLATFORMS", &["linux/amd64"]).run().exits(3);
    insta::assert_snapshot!(errors(&ran), @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned something other than `sha256:5886692f92963f19524c449d43199957faad231636a6622d38f316208c88a300`
      hint: do not deploy it: what a registry returns must have the digest that it was asked for
    ");
    setup.assert_unchanged();
}
