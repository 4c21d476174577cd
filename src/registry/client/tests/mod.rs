//! The client against a registry on loopback that answers as each test says.

mod logins;

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::diagnostic::Failure;
use crate::function::image::Reference;
use crate::registry::DockerAuthConfig;
use crate::registry::manifest;
use crate::shutdown::Shutdown;

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    authorization: String,
    accept: String,
    body: String,
}

/// Status, headers and body of a response.
type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

struct Registry {
    host: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Registry {
    fn start(response: impl Fn(&Request, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (seen, own, response) = (Arc::clone(&requests), host.clone(), Arc::new(response));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, seen, own, response) =
                    (stream.unwrap(), Arc::clone(&seen), own.clone(), Arc::clone(&response));
                thread::spawn(move || {
                    let Some(request) = read(&mut BufReader::new(&stream)) else { return };
                    seen.lock().unwrap().push(request.clone());
                    let (status, headers, body) = response(&request, &own);
                    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                    let length = body.len();
                    let _ = write!(
                        stream,
                        "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
                    );
                    if request.method != "HEAD" {
                        let _ = stream.write_all(&body);
                    }
                });
            }
        });
        Self { host, requests }
    }

    fn image(&self, version: &str) -> Reference {
        Reference::parse(&format!("{}/acme/fn{version}", self.host)).unwrap()
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Method and target of each request.
    fn asked(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    /// Looks an image up with a login in `DOCKER_AUTH_CONFIG`, if one is given.
    fn look_up(&self, version: &str, login: Option<&str>, platforms: bool) -> Result<FoundImage, Diagnostic> {
        let mut credentials = RegistryCredentials::default();
        if let Some(login) = login {
            credentials.docker =
                DockerAuthConfig::parse(&format!(r#"{{"auths":{{"{}":{login}}}}}"#, self.host)).unwrap();
        }
        run(async {
            let http = ServiceClient::new(None, 4, &Shutdown::none());
            Registries::new(&http, &credentials, None).look_up(&self.image(version), platforms).await
        })
    }

    /// The error as a person sees it.
    fn refusal(&self, version: &str, login: Option<&str>) -> String {
        let error = self.look_up(version, login, false).unwrap_err();
        let hint = error.hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        format!("{:?}: {}{hint}", error.failure, error.message).replace(&self.host, "HOST")
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let (authorization, accept) = (header("authorization"), header("accept"));
    Some(Request { method, target, authorization, accept, body: String::from_utf8_lossy(&body).into_owned() })
}

const MANIFEST: &[u8] =
    br#"{"schemaVersion":2,"manifests":[{"digest":"sha256:1","platform":{"os":"linux","architecture":"amd64"}}]}"#;

fn digest() -> String {
    manifest::sha256(MANIFEST)
}

/// The manifest, with its digest in the header.
fn manifest() -> Reply {
    (200, vec![("docker-content-digest", digest())], MANIFEST.to_vec())
}

fn errors(status: u16, code: &str, message: &str) -> Reply {
    (status, Vec::new(), format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#).into_bytes())
}

fn unauthorized(challenge: String) -> Reply {
    (401, vec![("www-authenticate", challenge)], Vec::new())
}

#[test]
fn image_is_found_by_one_request_with_all_types() {
    let registry = Registry::start(|_, _| manifest());
    assert_eq!(registry.look_up(":1", None, false).unwrap().digest, digest());
    let requests = registry.requests();
    assert_eq!(registry.asked(), ["HEAD /v2/acme/fn/manifests/1"]);
    assert_eq!(requests[0].accept.matches("application/vnd.").count(), 4);
    assert_eq!(requests[0].authorization, "");
}

#[test]
fn missing_digest_header_is_made_up_for_by_the_hash_of_the_manifest() {
    let registry = Registry::start(|_, _| (200, Vec::new(), MANIFEST.to_vec()));
    assert_eq!(registry.look_up(":1", None, false).unwrap().digest, digest());
    assert_eq!(registry.asked(), ["HEAD /v2/acme/fn/manifests/1", "GET /v2/acme/fn/manifests/1"]);
}

#[test]
fn image_with_a_digest_is_looked_up_by_it_and_must_have_it() {
    let registry = Registry::start(|_, _| manifest());
    let found = registry.look_up(&format!(":1@{}", digest()), None, false).unwrap();
    assert_eq!(found.digest, digest());
    assert_eq!(registry.asked(), [format!("HEAD /v2/acme/fn/manifests/{}", digest())]);
    let other = format!("@sha256:{}", "0".repeat(64));
    assert_eq!(registry.look_up(&other, None, false).unwrap_err().failure, Failure::Permission);
    let silent = Registry::start(|_, _| (200, Vec::new(), MANIFEST.to_vec()));
    assert_eq!(silent.look_up(&other, None, false).unwrap_err().failure, Failure::Permission);
}

#[test]
fn malformed_digest_is_refused() {
    let registry = Registry::start(|_, _| (200, vec![("docker-content-digest", "sha256:12".to_owned())], Vec::new()));
    insta::assert_snapshot!(registry.refusal(":1", None), @"Permission: image `HOST/acme/fn:1`: `HOST` returned `sha256:12`, which is not a digest");
}

#[test]
fn absent_image_is_told_in_the_registrys_words_with_near_tags() {
    let registry = Registry::start(|request, _| match request.target.as_str() {
        target if target.contains("/tags/list") => {
            (200, Vec::new(), br#"{"name":"acme/fn","tags":["latest","1.2.3","1.2.4","0.9"]}"#.to_vec())
        }
        _ => errors(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    });
    insta::assert_snapshot!(registry.refusal(":1.2.5", None), @"
    Input: image `HOST/acme/fn:1.2.5` does not exist: `1.2.5` was not found in repository `acme/fn` of `HOST`: MANIFEST_UNKNOWN: manifest unknown
    hint: push the image before the deploy, or correct its tag; similar tags: `1.2.3`, `1.2.4`
    ");
}

#[test]
fn absent_repository_is_told() {
    let registry = Registry::start(|_, _| errors(404, "NAME_UNKNOWN", "repository name not known"));
    insta::assert_snapshot!(registry.refusal(":1", None), @"
    Input: image `HOST/acme/fn:1` does not exist, or is private: repository `acme/fn` was not found in `HOST`: NAME_UNKNOWN: repository name not known
    hint: push the image before the deploy, or correct its name; if it is private, set `REGISTRY_HOST: HOST`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
    ");
}

#[test]
fn registry_that_knows_no_head_is_asked_by_get() {
    for status in [404, 405, 501] {
        let registry = Registry::start(move |request, _| match request.method.as_str() {
            "HEAD" => (status, Vec::new(), Vec::new()),
            _ => manifest(),
        });
        assert_eq!(registry.look_up(":1", None, false).unwrap().digest, digest(), "{status}");
        let registry = Registry::start(move |request, _| match request.method.as_str() {
            "HEAD" => (status, Vec::new(), Vec::new()),
            _ => errors(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        });
        assert_eq!(registry.look_up(":1", None, false).unwrap_err().failure, Failure::Input, "{status}");
    }
}

#[test]
fn only_a_manifest_has_a_digest() {
    for body in [
        "",
        "{}",
        "null",
        r#"{"errors":[{"code":"UNKNOWN"}]}"#,
        r#"{"manifests":[{}]}"#,
        "<!doctype html><title>Sign in</title>",
    ] {
        let registry = Registry::start(|_, _| (200, Vec::new(), body.as_bytes().to_vec()));
        let error = registry.look_up(":1", None, false).unwrap_err();
        assert_eq!(error.failure, Failure::Permission, "{body}");
    }
    let registry = Registry::start(|_, _| (200, Vec::new(), b"{}".to_vec()));
    insta::assert_snapshot!(registry.refusal(":1", None), @"
    Permission: image `HOST/acme/fn:1`: the registry returned something other than a manifest or an index
    hint: look for a proxy or a sign-in page that responds in the registry's place
    ");
    let registry = Registry::start(|_, _| (200, Vec::new(), b"<html><title>Sign in</title>".to_vec()));
    insta::assert_snapshot!(registry.refusal(":1", None), @"
    Permission: image `HOST/acme/fn:1`: `HOST` returned 200 with a web page (`Sign in`), which is not what a registry returns
    hint: look for a proxy or a sign-in page that responds in the registry's place
    ");
}

#[test]
fn refusals_name_the_credentials_that_would_help() {
    for status in [401, 403] {
        let registry =
            Registry::start(move |_, _| errors(status, "DENIED", "requested access to the resource is denied"));
        let refusal = registry.refusal(":1", None);
        if status == 403 {
            insta::assert_snapshot!(refusal, @"
            Permission: image `HOST/acme/fn:1` could not be looked up: `HOST` returned 403: DENIED: requested access to the resource is denied
            hint: it does not exist, or is private; for a private one set `REGISTRY_HOST: HOST`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
            ");
        }
        assert!(refusal.starts_with("Permission: "), "{refusal}");
    }
    let registry = Registry::start(|_, _| errors(403, "DENIED", "no"));
    insta::assert_snapshot!(registry.refusal(":1", Some(r#"{"username":"robot","password":"robot-password"}"#)), @"
    Permission: image `HOST/acme/fn:1` could not be looked up: `HOST` returned 403: DENIED: no
    hint: it does not exist, or the login for `HOST` in `DOCKER_AUTH_CONFIG` may not read it
    ");
}

#[test]
fn other_answers_decide_nothing() {
    for (status, kind) in
        [(400, Failure::Permission), (405, Failure::Permission), (307, Failure::Permission), (451, Failure::Permission)]
    {
        let registry = Registry::start(move |_, _| {
            (status, vec![("location", "https://other.example/v2/".to_owned())], Vec::new())
        });
        assert_eq!(registry.look_up(":1", None, false).unwrap_err().failure, kind, "{status}");
    }
}

#[test]
fn longer_retry_after_than_there_is_time_is_not_waited_for() {
    let registry = Registry::start(|_, _| {
        let (status, _, body) = errors(429, "TOOMANYREQUESTS", "You have reached your pull rate limit");
        (status, vec![("retry-after", "3600".to_owned())], body)
    });
    insta::assert_snapshot!(registry.refusal(":1", None), @"
    Unreachable: image `HOST/acme/fn:1`: `HOST` returned 429
    hint: registries limit anonymous requests by address, and Bitbucket's are shared: set `REGISTRY_HOST: HOST`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
    ");
    assert_eq!(registry.asked().len(), 1);
}

#[test]
fn server_error_is_retried() {
    let count = Mutex::new(0);
    let registry = Registry::start(move |_, _| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count == 1 { (503, vec![("retry-after", "0".to_owned())], Vec::new()) } else { manifest() }
    });
    assert_eq!(registry.look_up(":1", None, false).unwrap().digest, digest());
}

#[test]
fn registry_that_nobody_serves_is_unavailable() {
    let registry = Registry { host: "127.0.0.1:1".to_owned(), requests: Arc::default() };
    let error = registry.look_up(":1", None, false).unwrap_err();
    assert_eq!(error.failure, Failure::Unreachable);
}

#[test]
fn password_goes_to_a_registry_only_after_it_asked() {
    let registry = Registry::start(|request, _| match request.authorization.as_str() {
        "Basic cm9ib3Q6cm9ib3QtcGFzc3dvcmQ=" => manifest(),
        _ => unauthorized("Basic realm=\"registry\"".to_owned()),
    });
    let login = r#"{"username":"robot","password":"robot-password"}"#;
    assert_eq!(registry.look_up(":1", Some(login), false).unwrap().digest, digest());
    let requests = registry.requests();
    assert_eq!(requests.iter().map(|request| request.authorization.is_empty()).collect::<Vec<_>>(), [true, false]);
}

/// A registry with a token endpoint; `accepts` says whether a request for a token is granted.
fn with_tokens(accepts: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Registry {
    Registry::start(move |request, host| match request.target.as_str() {
        target if target.starts_with("/token") => accepts(request),
        _ if request.authorization == "Bearer the-granted-token" => manifest(),
        _ => unauthorized(format!(
            r#"Bearer realm="http://{host}/token?account=x",service="the service",scope="repository:acme/fn:pull""#
        )),
    })
}

fn granted() -> Reply {
    (200, Vec::new(), br#"{"token":"the-granted-token","expires_in":300}"#.to_vec())
}

#[test]
fn token_is_the_first_that_is_not_empty() {
    for body in [
        r#"{"token":"","access_token":"the-granted-token"}"#,
        r#"{"token":null,"access_token":"the-granted-token"}"#,
        r#"{"token":"the-granted-token","access_token":"another-token"}"#,
    ] {
        let registry = with_tokens(|_| (200, Vec::new(), body.as_bytes().to_vec()));
        assert_eq!(registry.look_up(":1", None, false).unwrap().digest, digest(), "{body}");
    }
    for token in [String::new(), "x".repeat(LONGEST_TOKEN + 1)] {
        let registry = with_tokens(move |_| (200, Vec::new(), format!(r#"{{"token":"{token}"}}"#).into_bytes()));
        assert!(registry.look_up(":1", None, false).unwrap_err().message.ends_with("a response without a token"));
    }
}

#[test]
fn anonymous_token_is_requested_for_what_the_challenge_says() {
    let registry = with_tokens(|_| granted());
    assert_eq!(registry.look_up(":1", None, false).unwrap().digest, digest());
    assert_eq!(
        registry.asked(),
        [
            "HEAD /v2/acme/fn/manifests/1",
            "GET /token?account=x&service=the+service&scope=repository%3Aacme%2Ffn%3Apull",
            "HEAD /v2/acme/fn/manifests/1",
        ]
    );
}

#[test]
fn token_is_requested_once_for_all_images_of_a_repository() {
    let registry = with_tokens(|_| granted());
    let credentials = RegistryCredentials::default();
    run(async {
        let http = ServiceClient::new(None, 4, &Shutdown::none());
        let registries = Registries::new(&http, &credentials, None);
        for version in [":1", ":2", ":3"] {
            registries.look_up(&registry.image(version), false).await.unwrap();
        }
    });
    let tokens = registry.asked().iter().filter(|request| request.contains("/token")).count();
    assert_eq!((tokens, registry.requests().len()), (1, 5));
}

#[test]
fn identity_token_is_refreshed_or_used_as_a_password_where_that_is_unknown() {
    let registry = with_tokens(|request| match request.method.as_str() {
        "POST" => {
            assert_eq!(
                request.body,
                "grant_type=refresh_token&refresh_token=the-identity-token&client_id=openfaas-pipe\
                 &scope=repository%3Aacme%2Ffn%3Apull&service=the+service"
            );
            (200, Vec::new(), br#"{"access_token":"the-granted-token"}"#.to_vec())
        }
        _ => (400, Vec::new(), Vec::new()),
    });
    let login = r#"{"identitytoken":"the-identity-token"}"#;
    assert_eq!(registry.look_up(":1", Some(login), false).unwrap().digest, digest());

    let old = with_tokens(|request| match request.method.as_str() {
        "POST" => (404, Vec::new(), Vec::new()),
        _ if request.authorization == format!("Basic {}", STANDARD.encode("<token>:the-identity-token")) => granted(),
        _ => (400, Vec::new(), Vec::new()),
    });
    assert_eq!(old.look_up(":1", Some(login), false).unwrap().digest, digest());
}

#[test]
fn token_endpoint_that_refuses_is_explained() {
    let registry = with_tokens(|_| errors(403, "DENIED", "requested access to the resource is denied"));
    insta::assert_snapshot!(registry.refusal(":1", None), @"
    Permission: image `HOST/acme/fn:1`: registry `HOST` requires credentials: 403: DENIED: requested access to the resource is denied
    hint: for a private image set `REGISTRY_HOST: HOST`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
    ");
    insta::assert_snapshot!(registry.refusal(":1", Some(r#"{"username":"bob","password":"bobs-password"}"#)), @"
    Permission: image `HOST/acme/fn:1`: registry `HOST` refused the login in `DOCKER_AUTH_CONFIG`: 403: DENIED: requested access to the resource is denied
    hint: sign in to `HOST` again, and store the new login
    ");
}

#[test]
fn token_with_too_little_access_is_refused_by_the_registry() {
    let registry = Registry::start(|request, host| match request.target.as_str() {
        target if target.starts_with("/token") => granted(),
        _ => unauthorized(format!(r#"Bearer realm="http://{host}/token",service="s",error="insufficient_scope""#)),
    });
    let error = registry.look_up(":1", None, false).unwrap_err();
    assert_eq!(error.failure, Failure::Permission);
    assert!(registry.requests().len() < 8, "{:?}", registry.asked());
}

#[test]
fn realm_at_a_private_address_gets_nothing() {
    let registry =
        Registry::start(|_, _| unauthorized(r#"Bearer realm="http://169.254.169.254/token",service="s""#.to_owned()));
    insta::assert_snapshot!(registry.refusal(":1", None), @"Permission: image `HOST/acme/fn:1`: registry `HOST`: the registry names `http://169.254.169.254/token` as its token endpoint, which is a private address");
}

#[test]
fn platforms_of_an_index_cost_one_more_request_by_digest() {
    let registry = Registry::start(|_, _| manifest());
    let found = registry.look_up(":1", None, true).unwrap();
    assert_eq!(found.platforms, ["linux/amd64".parse().unwrap()]);
    assert_eq!(registry.asked()[1], format!("GET /v2/acme/fn/manifests/{}", digest()));
}

#[test]
fn platform_of_a_single_manifest_is_in_its_configuration_which_is_fetched_without_credentials_from_elsewhere() {
    const CONFIG: &[u8] = br#"{"os":"linux","architecture":"arm64"}"#;
    let single = || format!(r#"{{"config":{{"digest":"{}"}}}}"#, manifest::sha256(CONFIG)).into_bytes();
    let registry = Registry::start(move |request, host| match request.target.as_str() {
        "/storage" => (200, Vec::new(), CONFIG.to_vec()),
        _ if request.authorization.is_empty() => unauthorized("Basic realm=\"r\"".to_owned()),
        target if target.contains("/blobs/") => (307, vec![("location", format!("http://{host}/storage"))], Vec::new()),
        _ => (200, vec![("docker-content-digest", manifest::sha256(&single()))], single()),
    });
    let login = r#"{"username":"robot","password":"robot-password"}"#;
    assert_eq!(registry.look_up(":1", Some(login), true).unwrap().platforms, ["linux/arm64".parse().unwrap()]);
    let last = registry.requests().pop().unwrap();
    assert_eq!((last.target.as_str(), last.authorization.as_str()), ("/storage", ""));
}

#[test]
fn platforms_that_an_index_does_not_name_are_not_known() {
    const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[{"digest":"sha256:1","size":1}]}"#;
    let registry =
        Registry::start(|_, _| (200, vec![("docker-content-digest", manifest::sha256(INDEX))], INDEX.to_vec()));
    let problem = registry.look_up(":1", None, true).unwrap_err();
    assert_eq!((problem.failure, problem.hint), (Failure::Permission, None));
    assert!(problem.message.ends_with("an index that names its platforms, which are not known"), "{}", problem.message);
    assert!(registry.look_up(":1", None, false).is_ok());
}

#[test]
fn manifest_that_is_not_what_its_digest_says_is_refused() {
    let registry = Registry::start(|request, _| match request.method.as_str() {
        "HEAD" => manifest(),
        _ => (200, Vec::new(), b"{\"manifests\":[]}".to_vec()),
    });
    assert_eq!(registry.look_up(":1", None, true).unwrap_err().failure, Failure::Permission);
}
