//! Registries from a client's view.

use std::time::Duration;

use crate::common::{ACCEPT, client, cloud, header, json};
use local_cloud::registry::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use local_cloud::{Challenges, Cloud, Fault, Image, Quirk, Registry};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

fn at(host: &str) -> (Cloud, Registry, Client) {
    let cloud = cloud();
    let registry = cloud.registry(host);
    let client = client(&cloud);
    (cloud, registry, client)
}

/// A registry without authentication.
fn open() -> (Cloud, Registry, Client) {
    let (cloud, registry, client) = at("registry.example.com");
    registry.use_no_auth();
    (cloud, registry, client)
}

fn manifest(client: &Client, host: &str, name: &str, reference: &str) -> RequestBuilder {
    client.get(format!("https://{host}/v2/{name}/manifests/{reference}")).header("accept", ACCEPT)
}

async fn challenge(client: &Client, host: &str, name: &str) -> String {
    let answer = manifest(client, host, name, "1").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let lines = answer.headers().get_all("www-authenticate").iter().map(|line| line.to_str().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

async fn token(client: &Client, url: &str) -> String {
    let (status, body) = json(client.get(url).send().await.unwrap()).await;
    assert_eq!(status, 200, "{body}");
    body["token"].as_str().unwrap().to_owned()
}

fn code(body: &Value) -> &str {
    body["errors"][0]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn manifest_is_found_by_tag_and_digest_with_its_type() {
    let (_cloud, registry, client) = open();
    for (image, media_type) in [
        (Image::index(&["linux/amd64"]), OCI_INDEX),
        (Image::docker_list(&["linux/amd64"]), DOCKER_LIST),
        (Image::oci("linux/amd64"), OCI_MANIFEST),
        (Image::docker("linux/amd64"), DOCKER_MANIFEST),
    ] {
        let digest = registry.put_image("a/b", "1", &image);
        for reference in ["1", &digest] {
            let head = client.head(format!("https://{}/v2/a/b/manifests/{reference}", registry.host()));
            let answer = head.header("accept", ACCEPT).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(
                (header(&answer, "content-type"), header(&answer, "docker-content-digest")),
                (media_type, &*digest)
            );
            let length: usize = header(&answer, "content-length").parse().unwrap();
            assert_eq!(answer.bytes().await.unwrap().len(), 0);
            let answer = manifest(&client, registry.host(), "a/b", reference).send().await.unwrap();
            assert_eq!(answer.bytes().await.unwrap().len(), length);
        }
        // Only its own type is accepted, not `*/*`.
        for accept in [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST, "*/*"] {
            let url = format!("https://{}/v2/a/b/manifests/1", registry.host());
            let (status, body) = json(client.get(url).header("accept", accept).send().await.unwrap()).await;
            let expected = if accept == media_type { (200, "") } else { (404, "MANIFEST_UNKNOWN") };
            assert_eq!((status, code(&body)), expected, "{media_type} {accept}");
        }
    }
}

#[tokio::test]
async fn missing_resources_are_not_found() {
    let (_cloud, registry, client) = open();
    registry.put_image("a/b", "1", &Image::oci("linux/amd64"));
    for (path, expected) in [
        ("a/b/manifests/2", "MANIFEST_UNKNOWN"),
        ("other/manifests/1", "MANIFEST_UNKNOWN"),
        ("a/b/blobs/sha256:00", "BLOB_UNKNOWN"),
        ("other/tags/list", "NAME_UNKNOWN"),
    ] {
        let url = format!("https://{}/v2/{path}", registry.host());
        let (status, body) = json(client.get(url).header("accept", ACCEPT).send().await.unwrap()).await;
        assert_eq!((status, code(&body)), (404, expected), "{path}");
    }
    let answer = client.get("https://unknown.example.com/v2/").send().await.unwrap();
    assert_eq!(answer.status(), 421);
}

#[tokio::test]
async fn tags_are_paginated() {
    let (_cloud, registry, client) = open();
    for tag in ["1", "2", "3"] {
        registry.put_image("a", tag, &Image::oci("linux/amd64"));
    }
    let url = format!("https://{}/v2/a/tags/list?n=2", registry.host());
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(header(&answer, "link"), r#"</v2/a/tags/list?n=2&last=2>; rel="next""#);
    assert_eq!(json(answer).await.1["tags"], serde_json::json!(["1", "2"]));
    let (_, body) = json(client.get(url + "&last=2").send().await.unwrap()).await;
    assert_eq!(body["tags"], serde_json::json!(["3"]));
}

#[tokio::test]
async fn digests_and_bytes_can_be_wrong() {
    for (quirk, digest) in [
        (Quirk::NoDigestHeader, ""),
        (Quirk::WrongDigestHeader, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (Quirk::MalformedDigestHeader, "sha256:abc ?"),
    ] {
        let (_cloud, registry, client) = open();
        registry.put_image("a", "1", &Image::oci("linux/amd64"));
        registry.quirk(quirk);
        let answer = manifest(&client, registry.host(), "a", "1").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "docker-content-digest")), (200, digest));
    }
    let (_cloud, registry, client) = open();
    registry.put_image("a", "1", &Image::oci("linux/amd64"));
    let whole = manifest(&client, registry.host(), "a", "1").send().await.unwrap().bytes().await.unwrap();
    registry.quirk(Quirk::WrongBytes);
    let spoiled = manifest(&client, registry.host(), "a", "1").send().await.unwrap().bytes().await.unwrap();
    assert!(whole != spoiled && whole.len() == spoiled.len());
    registry.quirk(Quirk::NoHead);
    let head = client.head(format!("https://{}/v2/a/manifests/1", registry.host())).header("accept", ACCEPT);
    assert_eq!(head.send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn redirected_blobs_require_the_signature() {
    let (_cloud, registry, client) = at("registry.example.com");
    registry.use_basic_auth();
    registry.add_user("bot", "secret");
    registry.put_image("a", "1", &Image::oci("linux/amd64"));
    registry.quirk(Quirk::RedirectBlobs);
    let get = |url: &str| client.get(url).header("accept", ACCEPT).basic_auth("bot", Some("secret"));
    let (_, body) = json(get("https://registry.example.com/v2/a/manifests/1").send().await.unwrap()).await;
    let digest = body["config"]["digest"].as_str().unwrap();
    let answer = get(&format!("https://registry.example.com/v2/a/blobs/{digest}")).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    let location = header(&answer, "location");
    assert!(
        location.starts_with(&format!("https://{}/a/{digest}?X-Amz-Signature=", registry.blob_host())),
        "{location}"
    );
    assert_eq!(get(location).send().await.unwrap().status(), 400);
    assert_eq!(client.get(location.split('?').next().unwrap()).send().await.unwrap().status(), 403);
    let (status, config) = json(client.get(location).send().await.unwrap()).await;
    assert_eq!((status, &config["architecture"]), (200, &Value::from("amd64")));
}

#[tokio::test]
async fn challenges_match_the_real_registries() {
    for (host, expected) in [
        (
            "registry-1.docker.io",
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#,
        ),
        ("ghcr.io", r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull""#),
        ("quay.io", r#"Bearer realm="https://quay.io/v2/auth",service="quay.io",scope="repository:a/b:pull""#),
        (
            "registry.gitlab.com",
            r#"Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",scope="repository:a/b:pull""#,
        ),
        ("public.ecr.aws", r#"Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws""#),
    ] {
        let (_cloud, registry, client) = at(host);
        registry.put_image("a/b", "1", &Image::oci("linux/amd64"));
        let given = challenge(&client, host, "a/b").await;
        assert_eq!(given, expected);
        let part =
            |name: &str| given.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let url = format!("{}?service={}&scope={}", part("realm"), part("service"), part("scope"));
        let token = token(&client, &url).await;
        assert_eq!(manifest(&client, host, "a/b", "1").bearer_auth(token).send().await.unwrap().status(), 200);
        let wrong = url.replace("service=", "service=x");
        assert_eq!(client.get(wrong).send().await.unwrap().status(), 400);
    }
    let (_cloud, _registry, client) = at("ghcr.io");
    let answer = client.get("https://ghcr.io/v2/").send().await.unwrap();
    assert!(header(&answer, "www-authenticate").ends_with(r#"scope="repository:user/image:pull""#));
}

#[tokio::test]
async fn challenges_have_several_formats() {
    let bearer = r#"Bearer realm="https://r.example.com/token",service="r.example.com",scope="repository:a:pull""#;
    for (challenges, expected) in [
        (Challenges::BearerThenBasic, format!(r#"{bearer}, Basic realm="r.example.com""#)),
        (Challenges::BasicThenBearer, format!(r#"Basic realm="r.example.com",{bearer}"#)),
        (Challenges::TwoLines, format!("Basic realm=\"r.example.com\"\n{bearer}")),
        (
            Challenges::Unusual,
            r#"bearer  REALM = "https://r.example.com/token" , SERVICE=r.example.com , SCOPE = "repository:a:pull""#
                .to_owned(),
        ),
        (Challenges::UnknownFirst, format!(r#"Negotiate, Digest nonce="a,b", qop=auth, {bearer}"#)),
        (
            Challenges::QuotedCommas,
            format!(r#"{bearer},error_description="first, second: \"third\", Basic realm=x",charset="UTF-8""#),
        ),
    ] {
        let (_cloud, registry, client) = at("r.example.com");
        registry.challenges(challenges);
        assert_eq!(challenge(&client, "r.example.com", "a").await, expected);
    }
    let (_cloud, registry, client) = at("r.example.com");
    registry.challenge_realm("https://169.254.169.254/token");
    registry.challenge_scope("repository:b:pull,push");
    let expected =
        r#"Bearer realm="https://169.254.169.254/token",service="r.example.com",scope="repository:b:pull,push""#;
    assert_eq!(challenge(&client, "r.example.com", "a").await, expected);
}

/// The response of the registry with a new token, or of the realm if it returns no token.
async fn after_token(client: &Client, host: &str, realm: &str, name: &str, user: Option<(&str, &str)>) -> Response {
    let url = format!("{realm}&scope=repository:{name}:pull");
    let mut request = client.get(url);
    if let Some((user, password)) = user {
        request = request.basic_auth(user, Some(password));
    }
    let answer = request.send().await.unwrap();
    if answer.status() != 200 {
        return answer;
    }
    let token = json(answer).await.1["token"].as_str().unwrap().to_owned();
    manifest(client, host, name, "1").bearer_auth(token).send().await.unwrap()
}

#[tokio::test]
async fn missing_and_private_repositories_are_denied_like_by_the_real_registries() {
    for (host, realm, missing, private) in [
        ("registry-1.docker.io", "https://auth.docker.io/token?service=registry.docker.io", 401, 401),
        ("ghcr.io", "https://ghcr.io/token?service=ghcr.io", 403, 403),
        ("quay.io", "https://quay.io/v2/auth?service=quay.io", 401, 401),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth?service=container_registry", 403, 403),
        ("r.example.com", "https://r.example.com/token?service=r.example.com", 404, 401),
    ] {
        let (_cloud, registry, client) = at(host);
        registry.put_image("private", "1", &Image::oci("linux/amd64"));
        registry.make_private("private");
        registry.add_user("bot", "secret");
        assert_eq!(after_token(&client, host, realm, "missing", None).await.status(), missing, "{host}");
        assert_eq!(after_token(&client, host, realm, "private", None).await.status(), private, "{host}");
        assert_eq!(after_token(&client, host, realm, "private", Some(("bot", "secret"))).await.status(), 200, "{host}");
        assert_eq!(after_token(&client, host, realm, "private", Some(("bot", "wrong"))).await.status(), 401, "{host}");
    }
}

#[tokio::test]
async fn token_is_limited_to_its_scope_and_lifetime() {
    let (_cloud, registry, client) = at("r.example.com");
    for name in ["a", "b"] {
        registry.put_image(name, "1", &Image::oci("linux/amd64"));
    }
    let realm = "https://r.example.com/token?service=r.example.com";
    let one = token(&client, &format!("{realm}&scope=repository:a:pull")).await;
    assert_eq!(manifest(&client, "r.example.com", "a", "1").bearer_auth(&one).send().await.unwrap().status(), 200);
    let answer = manifest(&client, "r.example.com", "b", "1").bearer_auth(&one).send().await.unwrap();
    assert!(header(&answer, "www-authenticate").ends_with(r#"error="insufficient_scope""#));
    let both = token(&client, &format!("{realm}&scope=repository:a:pull&scope=repository:b:pull")).await;
    assert_eq!(manifest(&client, "r.example.com", "b", "1").bearer_auth(&both).send().await.unwrap().status(), 200);
    registry.expire_tokens();
    let answer = manifest(&client, "r.example.com", "a", "1").bearer_auth(&one).send().await.unwrap();
    assert!(header(&answer, "www-authenticate").ends_with(r#"error="invalid_token""#));
}

#[tokio::test]
async fn ecr_public_returns_400_without_a_challenge_for_an_expired_token() {
    let (_cloud, registry, client) = at("public.ecr.aws");
    registry.put_image("a/b", "1", &Image::oci("linux/amd64"));
    let token = token(&client, "https://public.ecr.aws/token/?service=public.ecr.aws&scope=aws").await;
    registry.expire_tokens();
    let answer = manifest(&client, "public.ecr.aws", "a/b", "1").bearer_auth(token).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "www-authenticate")), (400, ""));
    let own = "https://public.ecr.aws/token/?service=public.ecr.aws&scope=repository:a/b:pull";
    assert_eq!(client.get(own).send().await.unwrap().status(), 400);
    let without_slash = "https://public.ecr.aws/token?service=public.ecr.aws&scope=aws";
    assert_eq!(client.get(without_slash).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn refresh_token_is_exchanged() {
    let (_cloud, registry, client) = at("r.example.com");
    registry.add_identity_token("refresh");
    registry.token_response(&["access_token"], None);
    registry.put_image("a", "1", &Image::oci("linux/amd64"));
    registry.make_private("a");
    let form = |token| {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("service", "r.example.com")];
        let fields = fields.into_iter().chain([("scope", "repository:a:pull"), ("client_id", "test")]);
        let form: Vec<(&str, &str)> = fields.collect();
        client.post("https://r.example.com/token").form(&form)
    };
    assert_eq!(form("wrong").send().await.unwrap().status(), 401);
    let (status, body) = json(form("refresh").send().await.unwrap()).await;
    assert_eq!((status, body.get("token"), body.get("expires_in")), (200, None, None));
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(manifest(&client, "r.example.com", "a", "1").bearer_auth(token).send().await.unwrap().status(), 200);
    registry.refuse_oauth();
    assert_eq!(form("refresh").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn fault_can_be_limited_to_a_host() {
    let (cloud, registry, client) = open();
    registry.put_image("a", "1", &Image::oci("linux/amd64"));
    let other = cloud.registry("other.example.com");
    other.use_no_auth();
    other.put_image("a", "1", &Image::oci("linux/amd64"));
    let limited = Fault::on("GET", "/v2/").host("registry.example.com").times(1).status(429).header("Retry-After", "7");
    cloud.fault(limited);
    let answer = manifest(&client, registry.host(), "a", "1").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (429, "7"));
    assert_eq!(manifest(&client, other.host(), "a", "1").send().await.unwrap().status(), 200);
    assert_eq!(manifest(&client, registry.host(), "a", "1").send().await.unwrap().status(), 200);

    cloud.fault(Fault::any().host("registry.example.com").hang());
    let hung = manifest(&client, registry.host(), "a", "1").timeout(Duration::from_millis(50)).send().await;
    assert!(hung.unwrap_err().is_timeout());
    cloud.disconnect("other.example.com");
    // The client may still have an open connection, so this uses a new one.
    assert!(crate::common::client(&cloud).get("https://other.example.com/v2/").send().await.is_err());
}

#[tokio::test]
async fn round_trip_time_is_added() {
    let cloud = Cloud::builder().http1_only().round_trip(Duration::from_millis(30)).start().unwrap();
    cloud.registry("r.example.com").use_no_auth();
    let client = client(&cloud);
    client.get("https://r.example.com/v2/").send().await.unwrap();
    let before = std::time::Instant::now();
    client.get("https://r.example.com/v2/").send().await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(30));
    let requests = cloud.requests_to("r.example.com");
    assert_eq!(requests[1].version, reqwest::Version::HTTP_11);
}
