//! Compares the registries of `local-cloud` with the program `docker-registry` of Debian, and runs the pipe with that
//! program.
//!
//! `cargo test --test registry`, after `apt-get install docker-registry`.

#![allow(clippy::unwrap_used, reason = "clippy allows it in tests, but not in their helpers")]

#[allow(dead_code, reason = "used by other tests")]
mod pipe_binary;
#[allow(dead_code, reason = "used by other tests")]
mod support;

use local_cloud::docker_registry::{Auth, DockerRegistry, PASSWORD, USER};
use local_cloud::registry::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest};
use local_cloud::{Cloud, Image};
use reqwest::{Client, Method, Proxy, RequestBuilder, Response};
use serde_json::Value;

const REAL: &str = "registry.example.com";
const FAKE: &str = "fake.example.com";
const TYPES: [&str; 4] = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];

/// A registry client that can push.
struct Registry {
    client: Client,
    host: &'static str,
    /// Whether it gets a token from `auth.HOST`.
    token: bool,
    user: bool,
}

impl Registry {
    fn new(cloud: &Cloud, host: &'static str, token: bool, user: bool) -> Self {
        let tls = local_gateway::client_config(cloud.ca_pem());
        let client = Client::builder().tls_backend_preconfigured(tls).proxy(Proxy::https(cloud.proxy_url()).unwrap());
        Self { client: client.build().unwrap(), host, token, user }
    }

    /// A request with the credentials that the registry requires.
    async fn request(&self, method: Method, name: &str, path: &str) -> RequestBuilder {
        let url = format!("https://{}/v2/{name}/{path}", self.host);
        let request = self.client.request(method, url);
        if !self.token {
            return if self.user { request.basic_auth(USER, Some(PASSWORD)) } else { request };
        }
        let scope = format!("repository:{name}:pull,push");
        let url = format!("https://auth.{}/token?service={}&scope={scope}", self.host, self.host);
        let token = self.client.get(url).basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
        let token: Value = serde_json::from_slice(&token.bytes().await.unwrap()).unwrap();
        request.bearer_auth(token["token"].as_str().unwrap())
    }

    async fn push(&self, name: &str, tag: &str, image: &Image) {
        let parts = image.parts();
        for blob in &parts.blobs {
            let upload = self.request(Method::POST, name, "blobs/uploads/").await.send().await.unwrap();
            assert_eq!(upload.status(), 202, "{upload:?}");
            let location = upload.headers()["location"].to_str().unwrap();
            let path = location.split_once(&format!("/v2/{name}/")).unwrap().1;
            let path = format!("{path}&digest={}", digest(blob));
            let put = self.request(Method::PUT, name, &path).await.body(blob.clone());
            let put = put.header("content-type", "application/octet-stream").send().await.unwrap();
            assert_eq!(put.status(), 201, "{put:?}");
        }
        // The manifests that an index refers to are pushed before it.
        for (index, manifest) in parts.manifests.iter().enumerate().rev() {
            let reference = if index == 0 { tag.to_owned() } else { manifest.digest() };
            let put = self.request(Method::PUT, name, &format!("manifests/{reference}")).await;
            let put = put.header("content-type", manifest.media_type).body(manifest.bytes.clone());
            let put = put.send().await.unwrap();
            assert_eq!((put.status().as_u16(), header(&put, "docker-content-digest")), (201, manifest.digest()));
        }
    }
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// What a client sees of a response: status, content type, digest, error code, and the challenge without its host.
async fn seen(response: Response, host: &str) -> (u16, String, String, String, String) {
    let headers = ["content-type", "docker-content-digest", "www-authenticate"];
    let [mut media_type, digest, challenge] = headers.map(|name| header(&response, name));
    let status = response.status().as_u16();
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
    if status != 200 {
        media_type.clear();
    }
    let code = body["errors"][0]["code"].as_str().unwrap_or_default().to_owned();
    (status, media_type, digest, code, challenge.replace(host, "HOST"))
}

fn start(auth: Auth) -> (Cloud, DockerRegistry) {
    let cloud = Cloud::start().unwrap();
    let registry = DockerRegistry::start(&cloud, REAL, auth).unwrap();
    (cloud, registry)
}

fn images() -> [(&'static str, Image); 4] {
    let platforms = ["linux/amd64", "linux/arm64/v8"];
    [
        ("index", Image::index(&platforms)),
        ("list", Image::docker_list(&platforms)),
        ("oci", Image::oci("linux/amd64")),
        ("docker", Image::docker("linux/amd64")),
    ]
}

#[tokio::test]
async fn local_registry_responds_like_docker_registry() {
    let (cloud, _running) = start(Auth::Htpasswd);
    let real = Registry::new(&cloud, REAL, false, true);
    let fake = Registry::new(&cloud, FAKE, false, true);
    let set_up = cloud.registry(FAKE);
    set_up.use_basic_auth();
    set_up.add_user(USER, PASSWORD);
    let all = TYPES.join(", ");
    let accepts: Vec<&str> = TYPES.into_iter().chain(["*/*", &all]).collect();
    let mut cases = Vec::new();
    for (name, path) in [
        ("public/etl", "manifests/missing"),
        ("public/missing", "manifests/1"),
        ("public/missing", "tags/list"),
        ("public/etl", "blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b856"),
    ] {
        cases.push((name, path.to_owned(), &accepts[..]));
    }
    for (tag, image) in images() {
        real.push("public/etl", tag, &image).await;
        set_up.put_image("public/etl", tag, &image);
        for reference in [tag, &image.digest()] {
            // The program converts Docker's own types to schema 1 if they are not accepted, or fails to.
            let accepts = if ["index", "oci"].contains(&tag) { &accepts[..] } else { &accepts[5..] };
            cases.push(("public/etl", format!("manifests/{reference}"), accepts));
        }
    }
    for (name, path, accepts) in cases {
        for &accept in accepts {
            for method in [Method::HEAD, Method::GET] {
                let mut answers = Vec::new();
                for registry in [&real, &fake] {
                    let request = registry.request(method.clone(), name, &path).await.header("accept", accept);
                    answers.push(seen(request.send().await.unwrap(), registry.host).await);
                }
                let (fake, real) = (answers.pop(), answers.pop());
                assert_eq!(fake, real, "{method} {name} {path}, accept {accept}");
            }
        }
    }
    let without = [Registry { user: false, ..real }, Registry { user: false, ..fake }];
    let mut answers = Vec::new();
    for registry in &without {
        let request = registry.request(Method::HEAD, "public/etl", "manifests/index").await;
        answers.push(seen(request.send().await.unwrap(), registry.host).await);
    }
    assert_eq!(answers[1], answers[0]);
}

#[tokio::test]
async fn docker_registry_accepts_tokens_of_the_local_service() {
    let (cloud, _running) = start(Auth::Token);
    let registry = Registry::new(&cloud, REAL, true, true);
    for name in ["public/etl", "private/etl"] {
        registry.push(name, "1.0", &Image::index(&["linux/amd64"])).await;
    }
    for (name, scope, status) in
        [("public/etl", "public/etl", 200), ("private/etl", "private/etl", 401), ("private/etl", "public/etl", 401)]
    {
        let url = format!("https://auth.{REAL}/token?service={REAL}&scope=repository:{scope}:pull");
        let token = registry.client.get(url).send().await.unwrap().bytes().await.unwrap();
        let token: Value = serde_json::from_slice(&token).unwrap();
        let head = registry.client.head(format!("https://{REAL}/v2/{name}/manifests/1.0")).header("accept", OCI_INDEX);
        let answer = head.bearer_auth(token["token"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), status, "{name} with a token for {scope}");
    }
    let answer = registry.client.head(format!("https://{REAL}/v2/private/etl/manifests/1.0")).send().await.unwrap();
    let challenge =
        format!(r#"Bearer realm="https://auth.{REAL}/token",service="{REAL}",scope="repository:private/etl:pull""#);
    assert_eq!(header(&answer, "www-authenticate"), challenge);
}

#[tokio::test]
async fn pipe_checks_pins_and_logs_in_to_docker_registry() {
    for auth in [Auth::Htpasswd, Auth::Token] {
        let token = matches!(auth, Auth::Token);
        let (cloud, _running) = start(auth);
        let registry = Registry::new(&cloud, REAL, token, true);
        let platforms = ["linux/amd64", "linux/arm64/v8"];
        registry.push("private/etl", "1.0", &Image::index(&platforms)).await;
        registry.push("private/etl", "docker", &Image::docker("linux/amd64")).await;
        let digest = Image::index(&platforms).digest();
        let gateway = support::one_audience();
        let image = |tag: &str| format!("{REAL}/private/etl:{tag}");
        let deploy = |tag: &str| {
            let pipe = support::step_in(&cloud, &gateway).stack(&support::stack_of(&[&image(tag)]));
            pipe.var("REGISTRY_HOST", REAL).var("REGISTRY_USERNAME", USER).var("REGISTRY_PASSWORD", PASSWORD)
        };
        deploy("1.0").run_with("PIN_IMAGES", "true").exits(0);
        let deployed = gateway.functions().pop().unwrap().deployment["image"].clone();
        assert_eq!(deployed, format!("{}@{digest}", image("1.0")));
        deploy("1.0").run_with("IMAGE_PLATFORMS", "linux/arm64").exits(0).does_not_say("WARNING");
        deploy("docker").run_with("IMAGE_PLATFORMS", "linux/arm64").exits(2).says("its platforms: `linux/amd64`");
        deploy("1.1").run_with("CHECK_IMAGES", "true").exits(2).says("does not exist");
        let anonymous = deploy("1.0").without("REGISTRY_USERNAME").without("REGISTRY_PASSWORD");
        anonymous.run_with("CHECK_IMAGES", "true").exits(0).says("WARNING: stack.yml:5: image");
        anonymous.run_with("PIN_IMAGES", "true").exits(3);
        let wrong = deploy("1.0").var("REGISTRY_PASSWORD", "not-the-password");
        let refused = "refused the user name and password in `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`: 401";
        wrong.run_with("PIN_IMAGES", "true").exits(3).says(refused);
        wrong.run_with("COMMAND", "login").exits(3);
        deploy("1.0").run_with("COMMAND", "login").exits(0).says(&format!("signed in to `{REAL}`"));
    }
}

#[tokio::test]
async fn every_image_type_is_pinned_and_no_secret_is_logged() {
    for auth in [Auth::Htpasswd, Auth::Token] {
        let (cloud, _running) = start(auth);
        let registry = Registry::new(&cloud, REAL, auth == Auth::Token, true);
        let gateway = support::one_audience();
        for (tag, image) in images() {
            registry.push("private/etl", tag, &image).await;
            let name = format!("{REAL}/private/etl:{tag}");
            let pinned = format!("{name}@{}", image.digest());
            let pipe = support::step_in(&cloud, &gateway).stack(&support::stack_of(&[&name])).var("DEBUG", "true");
            let pipe =
                pipe.var("REGISTRY_HOST", REAL).var("REGISTRY_USERNAME", USER).var("REGISTRY_PASSWORD", PASSWORD);
            let pipe = pipe.var("PIN_IMAGES", "true").list("IMAGE_PLATFORMS", &["linux/amd64"]);
            let ran = pipe.run().exits(0).says("DEBUG: HEAD ");
            cloud.secrets().iter().fold(ran, |ran, secret| ran.does_not_say(secret));
            assert_eq!(gateway.functions().pop().unwrap().deployment["image"], pinned, "{auth:?}");
        }
    }
}

#[tokio::test]
async fn public_image_needs_no_login() {
    let (cloud, _running) = start(Auth::Token);
    let registry = Registry::new(&cloud, REAL, true, true);
    let gateway = support::one_audience();
    registry.push("public/etl", "1.0", &Image::oci("linux/amd64")).await;
    let pipe = support::step_in(&cloud, &gateway).stack(&support::stack_of(&[&format!("{REAL}/public/etl:1.0")]));
    pipe.run_with("PIN_IMAGES", "true").exits(0);
}
