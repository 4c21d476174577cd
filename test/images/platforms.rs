//! IMAGE_PLATFORMS.

use local_cloud::{Image, Quirk};

use super::world::{GHCR, IMAGE, World, errors};

#[test]
fn index_is_searched_for_every_platform_with_one_request() {
    let (world, _) = World::with_image();
    world.deploy(&[IMAGE]).list("IMAGE_PLATFORMS", &["linux/amd64", "linux/arm64"]).run().exits(0);
    assert_eq!(world.deployed("f0").as_deref(), Some(IMAGE));
    let digest = Image::index(&["linux/amd64", "linux/arm64"]).digest();
    let asked = world.manifests();
    assert_eq!(
        asked[1..],
        ["HEAD /v2/acme/etl/manifests/1.0".to_owned(), format!("GET /v2/acme/etl/manifests/{digest}")]
    );
}

#[test]
fn image_without_a_platform_is_refused_with_those_that_it_has() {
    for image in [
        Image::index(&["linux/amd64", "linux/arm/v7"]).attestations(),
        Image::docker_list(&["linux/amd64", "linux/arm/v7"]),
    ] {
        let (world, _) = World::with_image();
        world.cloud.registry(GHCR).put_image("acme/etl", "1.0", &image);
        let ran = world.deploy(&[IMAGE]).list("IMAGE_PLATFORMS", &["linux/amd64", "linux/arm64"]).run().exits(2);
        insta::allow_duplicates! { insta::assert_snapshot!(errors(&ran), @"
        ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0` does not exist for `linux/arm64`; its platforms: `linux/amd64`, `linux/arm/v7`
          hint: build it for all of them: `docker buildx build --platform linux/amd64,linux/arm64 --push`
        "); }
        world.is_unchanged();
    }
}

#[test]
fn bytes_of_another_digest_are_not_believed() {
    let (world, _) = World::with_image();
    world.cloud.registry(GHCR).quirk(Quirk::WrongBytes);
    let ran = world.pin(&[IMAGE]).list("IMAGE_PLATFORMS", &["linux/amd64"]).run().exits(3);
    insta::assert_snapshot!(errors(&ran), @"
    ERROR: stack.yml:5: image `ghcr.io/acme/etl:1.0`: `ghcr.io` returned something other than `sha256:5886692f92963f19524c449d43199957faad231636a6622d38f316208c88a300`
      hint: do not deploy it: what a registry returns must have the digest that it was asked for
    ");
    world.is_unchanged();
}
