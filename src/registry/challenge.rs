//! Challenges of registries in `WWW-Authenticate` (RFC 9110, section 11.6.1; distribution, *Token Authentication*).

use std::collections::HashMap;
use std::sync::LazyLock;

use regex_lite::Regex;
use url::Url;

use crate::console::log::whole_or_length;
use crate::diagnostic::Explain;
use crate::http::client::is_private;
use crate::text::is_loopback;

const NOT_HTTPS: &str = "not `https`";

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer(Bearer),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    scope: Option<String>,
}

/// Why no token may be requested from the endpoint that the challenge names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry names `{}` as its token endpoint, which is {reason}", whole_or_length(.realm))]
pub(crate) struct RefusedRealm {
    realm: String,
    reason: &'static str,
}

impl Explain for RefusedRealm {
    /// The likeliest cause of a realm that is not encrypted.
    fn hint(&self) -> Option<String> {
        let hint = "the proxy in front of the registry must send it `X-Forwarded-Proto: https`, and the registry's own URL must \
                    begin with `https://`";
        (self.reason == NOT_HTTPS).then(|| hint.to_owned())
    }
}

impl Challenge {
    /// The challenge to answer among those of all `WWW-Authenticate` headers: a token endpoint before a password.
    pub(crate) fn of<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let challenges: Vec<_> = headers.into_iter().flat_map(parse).collect();
        // With a token, the password goes to the token endpoint alone, and not along with each request.
        let bearer = challenges.iter().find_map(Parsed::bearer).map(Self::Bearer);
        bearer.or_else(|| challenges.iter().any(|challenge| challenge.scheme == "basic").then_some(Self::Basic))
    }

    /// The challenge to expect for other repositories of the registry: each has a scope with its own name.
    pub(crate) fn of_any_repository(mut self) -> Self {
        if let Self::Bearer(bearer) = &mut self {
            bearer.scope.take_if(|scope| scope.contains("repository:"));
        }
        self
    }
}

impl Bearer {
    /// The scopes to request for pulling from a repository.
    ///
    /// Those of the challenge, since only the registry knows them (ECR Public wants `aws`); except for the placeholder of
    /// GHCR, and for rights beyond pulling, which are never needed.
    pub(crate) fn scopes(&self, repository: &str) -> Vec<String> {
        const PLACEHOLDER: &str = "repository:user/image:pull";
        let asked = self.scope.as_deref().unwrap_or_default().split_ascii_whitespace().map(str::to_owned);
        let mut scopes: Vec<_> = asked
            .filter(|scope| scope != PLACEHOLDER && !scope.contains(":push") && !scope.contains(",push"))
            // The list of all repositories, which some ask for at their base.
            .filter(|scope| !scope.starts_with("registry:"))
            .collect();
        if scopes.is_empty() {
            scopes.push(format!("repository:{repository}:pull"));
        }
        scopes
    }

    /// The token endpoint, if a credential for `registry` may go there.
    pub(crate) fn endpoint(&self, registry: &Url) -> Result<Url, RefusedRealm> {
        let refused = |reason| Err(RefusedRealm { realm: self.realm.clone(), reason });
        let Ok(url) = Url::parse(&self.realm) else { return refused("not a URL") };
        match url.host() {
            Some(_) if !url.username().is_empty() || url.password().is_some() => refused("not a URL"),
            None => refused("not a URL"),
            Some(host) if is_private(&host) && registry.host().as_ref() != Some(&host) => refused("a private address"),
            Some(host) if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&host)) => {
                refused(NOT_HTTPS)
            }
            Some(_) => Ok(url),
        }
    }
}

/// A scheme with its parameters; names are in lower case.
struct Parsed {
    scheme: String,
    parameters: HashMap<String, String>,
}

impl Parsed {
    fn bearer(&self) -> Option<Bearer> {
        let parameter = |name: &str| self.parameters.get(name).cloned();
        let realm = parameter("realm").filter(|_| self.scheme == "bearer")?;
        Some(Bearer { realm, service: parameter("service"), scope: parameter("scope") })
    }
}

/// A word, which is the scheme of a challenge, or the name of a parameter if a value follows, quoted or not. Unquoted values may
/// hold more than a token: `realm=https://…`.
static WORD: LazyLock<Regex> = LazyLock::new(|| {
    let word = r#"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*(?:(=)[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^, \t]*)))?"#;
    Regex::new(word).expect("a valid expression, as tests show")
});

/// The challenges of one header. What is malformed is skipped: the rest may still be of use.
fn parse(header: &str) -> Vec<Parsed> {
    let mut challenges: Vec<Parsed> = Vec::new();
    for found in WORD.captures_iter(header) {
        let text = |group| found.get(group).map(|group| group.as_str());
        let word = text(1).unwrap_or_default().to_ascii_lowercase();
        let value = text(3).map(|quoted| quoted.replace("\\\"", "\""));
        match (text(2), challenges.last_mut()) {
            (None, _) => challenges.push(Parsed { scheme: word, parameters: HashMap::new() }),
            (Some(_), Some(challenge)) => {
                let value = value.or_else(|| text(4).map(str::to_owned)).filter(|value| !value.is_empty());
                challenge.parameters.extend(value.map(|value| (word, value)));
            }
            (Some(_), None) => {}
        }
    }
    challenges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(headers: &[&str]) -> Bearer {
        match Challenge::of(headers.iter().copied()) {
            Some(Challenge::Bearer(bearer)) => bearer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn challenge_of_docker_hub_is_read() {
        let hub = bearer(&[
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull""#,
        ]);
        assert_eq!(hub.realm, "https://auth.docker.io/token");
        assert_eq!(hub.service.as_deref(), Some("registry.docker.io"));
        assert_eq!(hub.scopes("library/alpine"), ["repository:library/alpine:pull"]);
    }

    #[test]
    fn bearer_is_found_among_several_challenges_in_any_order() {
        for headers in [
            &[r#"Bearer realm="https://codeberg.org/v2/token",service="container_registry",Basic realm="x""#][..],
            &[r#"Basic realm="quay", Bearer realm="https://codeberg.org/v2/token" , service="container_registry""#],
            &[r#"Basic realm="x""#, r#"bearer REALM="https://codeberg.org/v2/token", Service=container_registry"#],
            &[r#"Negotiate, Bearer realm=https://codeberg.org/v2/token,service="container_registry""#],
            &[r#"NTLM TlRMTVNTUAAB==, Bearer realm = "https://codeberg.org/v2/token" ,service="container_registry""#],
        ] {
            let found = bearer(headers);
            assert_eq!(found.realm, "https://codeberg.org/v2/token", "{headers:?}");
            assert_eq!(found.service.as_deref(), Some("container_registry"), "{headers:?}");
        }
    }

    #[test]
    fn commas_and_escapes_in_quotes_belong_to_the_value() {
        let found =
            bearer(&[r#"Bearer realm="https://r.io/\"t",scope="repository:a:pull repository:b,c:pull",service="s""#]);
        assert_eq!(found.realm, "https://r.io/\"t");
        assert_eq!(found.scopes("a"), ["repository:a:pull", "repository:b,c:pull"]);
        assert_eq!(found.service.as_deref(), Some("s"));
    }

    #[test]
    fn scope_is_the_registrys_unless_it_is_missing_a_placeholder_or_asks_for_more_than_pulling() {
        let scopes = |scope: &str| bearer(&[&format!(r#"Bearer realm="https://r.io/t"{scope}"#)]).scopes("acme/fn");
        let own = ["repository:acme/fn:pull"];
        assert_eq!(scopes(""), own);
        assert_eq!(scopes(r#",scope="""#), own);
        assert_eq!(scopes(r#",scope="repository:user/image:pull""#), own);
        assert_eq!(scopes(r#",scope="repository:acme/fn:pull,push""#), own);
        assert_eq!(scopes(r#",scope="registry:catalog:*""#), own);
        assert_eq!(scopes(r#",scope="aws""#), ["aws"]);
        assert_eq!(scopes(r#",scope="*""#), ["*"]);
        assert_eq!(scopes(r#",scope="repository:upstream/fn:pull""#), ["repository:upstream/fn:pull"]);
    }

    #[test]
    fn scope_for_one_repository_is_not_requested_for_another() {
        let other = |scope: &str| {
            let challenge = Challenge::of([format!(r#"Bearer realm="https://r.io/t"{scope}"#).as_str()]).unwrap();
            let Challenge::Bearer(bearer) = challenge.of_any_repository() else { panic!("no token endpoint") };
            bearer.scopes("acme/other")
        };
        assert_eq!(other(r#",scope="repository:acme/fn:pull""#), ["repository:acme/other:pull"]);
        assert_eq!(other(r#",scope="aws""#), ["aws"]);
    }

    #[test]
    fn password_is_sent_only_if_no_token_endpoint_is_named() {
        assert_eq!(
            Challenge::of([r#"Basic realm="https://1.dkr.ecr.r.amazonaws.com/",service="ecr.amazonaws.com""#]),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::of([r#"Bearer service="no realm""#, "basic"]), Some(Challenge::Basic));
        assert_eq!(Challenge::of(["Negotiate"]), None);
        assert_eq!(Challenge::of([]), None);
    }

    #[test]
    fn malformed_headers_are_survived() {
        for header in
            ["", ",,,", "=", "\"", "Bearer realm=\"", "Bearer realm=\"a\\", "é Bearer", "Bearer ===,", "a=b,c=d"]
        {
            let _ = Challenge::of([header]);
        }
        assert_eq!(Challenge::of([",".repeat(10_000).as_str(), &"a ".repeat(10_000)]), None);
    }

    #[test]
    fn token_endpoint_must_be_encrypted_and_public() {
        let endpoint = |realm: &str, registry: &str| {
            let bearer = Bearer { realm: realm.to_owned(), service: None, scope: None };
            bearer.endpoint(&Url::parse(registry).unwrap())
        };
        for (realm, registry) in [
            ("https://auth.docker.io/token", "https://registry-1.docker.io"),
            ("https://gitlab.com/jwt/auth?x=1", "https://registry.gitlab.com"),
            ("https://10.0.0.5/token", "https://10.0.0.5:5000"),
            ("http://localhost:5001/token", "http://localhost:5000"),
        ] {
            assert_eq!(endpoint(realm, registry).unwrap().as_str(), realm);
        }
        for realm in [
            "http://r.io/t",
            "ftp://r.io/t",
            "/v2/token",
            "https://10.0.0.5/t",
            "https://192.168.0.1/t",
            "https://169.254.169.254/latest",
            "https://127.0.0.1/t",
            "https://2130706433/t",
            "https://100.64.0.1/t",
            "https://0.0.0.0/t",
            "https://192.0.0.192/t",
            "https://198.18.0.1/t",
            "https://[64:ff9b::a9fe:a9fe]/t",
            "https://metadata.google.internal/t",
            "https://[::1]/t",
            "https://[fe80::1]/t",
            "https://[fd00::1]/t",
            "https://[::ffff:10.0.0.1]/t",
            "https://localhost/t",
            "https://user:pass@r.io/t",
        ] {
            assert!(endpoint(realm, "https://r.io").is_err(), "{realm}");
        }
        assert!(endpoint("http://r.io/t", "http://localhost:5000").is_err());
    }
}
