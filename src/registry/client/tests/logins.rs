//! When a login is shown, and what a registry must answer for it to count.

use super::*;

const LOGIN: &str = r#"{"username":"bob","password":"bobs-password"}"#;

fn basic() -> String {
    format!("Basic {}", STANDARD.encode("bob:bobs-password"))
}

/// A registry that hides its images from requests without a login, and asks for one only at its base.
fn hiding(status: u16, base: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Registry {
    Registry::start(move |request, host| match request.target.as_str() {
        "/v2/" => base(host),
        target if target.ends_with("scope=repository%3Aacme%2Ffn%3Apull") && request.authorization == basic() => {
            granted()
        }
        target if target.starts_with("/token") => errors(401, "UNAUTHORIZED", "no"),
        _ if [basic().as_str(), "Bearer the-granted-token"].contains(&request.authorization.as_str()) => {
            if request.target.ends_with("/1") {
                manifest()
            } else {
                errors(404, "MANIFEST_UNKNOWN", "manifest unknown")
            }
        }
        _ => errors(status, "MANIFEST_UNKNOWN", "manifest unknown"),
    })
}

#[test]
fn login_is_shown_before_a_registry_is_believed() {
    for status in [401, 403, 404] {
        let bearer = |host: &str| unauthorized(format!(r#"Bearer realm="http://{host}/token",service="s""#));
        let scoped = |host: &str| {
            let scope = "registry:catalog:* repository:other/app:pull";
            unauthorized(format!(r#"Bearer realm="http://{host}/token",service="s",scope="{scope}""#))
        };
        for registry in [
            hiding(status, |_| unauthorized("Basic realm=\"r\"".to_owned())),
            hiding(status, bearer),
            hiding(status, scoped),
            // It asks for nothing anywhere.
            hiding(status, |_| (200, Vec::new(), b"{}".to_vec())),
            hiding(status, |_| (404, Vec::new(), Vec::new())),
            hiding(status, |_| unauthorized("Negotiate".to_owned())),
        ] {
            assert_eq!(registry.look_up(":1", Some(LOGIN), false).unwrap().digest, digest(), "{:?}", registry.asked());
            assert_eq!(registry.look_up(":2", Some(LOGIN), false).unwrap_err().failure, Failure::Input, "{status}");
            // Nothing is shown to it that is not there.
            let anonymous = registry.look_up(":1", None, false).unwrap_err().failure;
            assert_eq!(anonymous, if status == 404 { Failure::Input } else { Failure::Permission });
        }
    }
}

#[test]
fn challenge_of_the_base_is_requested_once_for_all_images() {
    let registry = hiding(404, |_| unauthorized("Basic realm=\"r\"".to_owned()));
    let docker = DockerAuthConfig::parse(&format!(r#"{{"auths":{{"{}":{LOGIN}}}}}"#, registry.host)).unwrap();
    let credentials = RegistryCredentials { docker, ..RegistryCredentials::default() };
    run(async {
        let http = ServiceClient::new(None, 4, &Shutdown::none());
        let registries = Registries::new(&http, &credentials, None);
        for version in [":1", "/b:1", "/c:1"] {
            registries.look_up(&registry.image(version), false).await.unwrap();
        }
    });
    assert_eq!(
        registry.asked(),
        [
            "HEAD /v2/acme/fn/manifests/1",
            "GET /v2/",
            "HEAD /v2/acme/fn/manifests/1",
            "HEAD /v2/acme/fn/b/manifests/1",
            "HEAD /v2/acme/fn/c/manifests/1",
        ]
    );
}

#[test]
fn registry_whose_base_does_not_answer_gives_no_verdict() {
    let registry = hiding(404, |_| (503, vec![("retry-after", "3600".to_owned())], Vec::new()));
    assert_eq!(registry.look_up(":1", Some(LOGIN), false).unwrap_err().failure, Failure::Unreachable);
}

fn sign_in(registry: &Registry, login: &str) -> Result<(String, bool), Diagnostic> {
    let docker = DockerAuthConfig::parse(&format!(r#"{{"auths":{{"{}":{login}}}}}"#, registry.host)).unwrap();
    let credentials = RegistryCredentials { docker, ..RegistryCredentials::default() };
    run(async {
        let http = ServiceClient::new(None, 4, &Shutdown::none());
        let host = Host::parse(&registry.host).unwrap();
        let signed_in = Registries::new(&http, &credentials, None).sign_in(&host).await?;
        Ok((signed_in.login.basic.reveal().to_owned(), signed_in.is_optional))
    })
}

#[test]
fn signing_in_is_checked_without_an_image() {
    let registry =
        with_tokens(
            |request| if request.authorization.is_empty() { errors(401, "UNAUTHORIZED", "no") } else { granted() },
        );
    assert_eq!(sign_in(&registry, LOGIN).unwrap(), (STANDARD.encode("bob:bobs-password"), false));
    assert_eq!(registry.asked()[0], "GET /v2/");
    assert!(sign_in(&registry, "{}").is_err());
}

#[test]
fn registry_that_answers_without_a_login_is_shown_it() {
    let registry = Registry::start(|request, _| match request.authorization.as_str() {
        authorization if authorization.is_empty() || authorization == basic() => (200, Vec::new(), b"{}".to_vec()),
        _ => errors(401, "UNAUTHORIZED", "no"),
    });
    assert_eq!(sign_in(&registry, LOGIN).unwrap(), (STANDARD.encode("bob:bobs-password"), true));
    let wrong = sign_in(&registry, r#"{"username":"bob","password":"wrong-password"}"#).unwrap_err();
    assert!(wrong.message.contains("refused the login in `DOCKER_AUTH_CONFIG`"), "{}", wrong.message);
}

#[test]
fn what_is_no_registry_accepts_no_login() {
    for (status, body) in [(200, "<!doctype html><title>Sign in</title>"), (201, "{}"), (204, ""), (302, ""), (404, "")]
    {
        let registry = Registry::start(move |_, _| (status, Vec::new(), body.as_bytes().to_vec()));
        let error = sign_in(&registry, LOGIN).unwrap_err();
        assert_eq!(error.failure, Failure::Permission, "{status}");
        assert!(error.message.ends_with("which is not what a registry returns"), "{}", error.message);
    }
}

#[test]
fn robot_whose_name_a_shell_cut_is_recognized() {
    let registry = Registry::start(|_, _| unauthorized("Basic realm=\"r\"".to_owned()));
    for (name, is_cut) in [("robot", true), ("robot+ci", true), ("robot$ci", false), ("robots", false)] {
        let login = format!(r#"{{"username":"{name}","password":"some-password"}}"#);
        let hint = sign_in(&registry, &login).unwrap_err().hint.unwrap();
        assert_eq!(hint.contains("robot$NAME"), is_cut, "{name}: {hint}");
    }
}
