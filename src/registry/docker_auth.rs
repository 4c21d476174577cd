//! `DOCKER_AUTH_CONFIG`: the logins in docker's `config.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use serde::Deserialize;

use crate::cloud::{RegistryLogin, TOKEN_USER};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::function::api::or_default;
use crate::function::image::{Host, InvalidHost};
use crate::http::tls::BASE64;
use crate::text;

#[derive(Debug, Default)]
pub(crate) struct DockerAuthConfig {
    logins: BTreeMap<Host, Arc<RegistryLogin>>,
    /// False if there is no `DOCKER_AUTH_CONFIG`.
    pub(super) is_set: bool,
    /// Programs that it names, with the host that each is for, or none if it is for all.
    pub(crate) helpers: Vec<(Option<String>, String)>,
}

/// Why `DOCKER_AUTH_CONFIG` cannot be used. None of them shows any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAuth {
    #[error("is neither JSON nor its base64")]
    Encoding,
    #[error("is not JSON as in docker's `config.json`: line {line}, column {column}")]
    Json { line: usize, column: usize },
    #[error("has no `auths`: write `{{\"auths\": {{\"HOST\": {{\"auth\": \"…\"}}}}}}`")]
    NoAuths,
    #[error("has an `auth` for `{0}` that is not the base64 of `USERNAME:PASSWORD`")]
    Auth(String),
    #[error("has a `username` and no `password` for `{0}`")]
    NoPassword(String),
    #[error("has a login for `{0}` that ends with a line break, as `echo` makes it: use `echo -n` or `printf`")]
    LineBreak(String),
    #[error("has the name of a variable for `{0}`, not its value, which nothing has filled in")]
    NotExpanded(String),
    #[error("has an entry whose key {0}")]
    Key(InvalidHost),
    #[error("is JSON without its quotes, which a shell or Bitbucket removed: pass the JSON as base64")]
    Quotes,
    #[error("contains typographic quotes (`“`, `”`): write `\"`")]
    TypographicQuotes,
}

/// As docker reads it: `null` is the same as nothing everywhere.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigJson {
    auths: Option<BTreeMap<String, Option<AuthJson>>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthJson {
    #[serde(deserialize_with = "or_default")]
    auth: String,
    #[serde(deserialize_with = "or_default")]
    username: String,
    #[serde(deserialize_with = "or_default")]
    password: String,
    #[serde(deserialize_with = "or_default")]
    identitytoken: String,
}

impl DockerAuthConfig {
    pub(super) fn login(&self, host: &Host) -> Option<&Arc<RegistryLogin>> {
        self.logins.get(host)
    }

    /// Reads the JSON of docker's `config.json`, or its base64.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidAuth> {
        let text = text.trim();
        // Hidden first, whatever is wrong with it.
        let _ = Secret::new(text.to_owned());
        let json = if text.starts_with('{') {
            text.as_bytes().to_vec()
        } else {
            // Encoders break lines.
            let unbroken: String = text.split_ascii_whitespace().collect();
            BASE64.decode(unbroken).map_err(|_| InvalidAuth::Encoding)?
        };
        let config: ConfigJson = serde_json::from_slice(&json).map_err(|error| InvalidAuth::json(&json, &error))?;
        let store = config.creds_store.filter(|store| !store.is_empty()).map(|store| (None, store));
        let helpers = config.cred_helpers.unwrap_or_default();
        let helpers: Vec<_> = helpers
            .into_iter()
            .filter_map(|(host, helper)| Some((Some(host), helper.filter(|helper| !helper.is_empty())?)))
            .chain(store)
            .collect();
        if config.auths.is_none() && helpers.is_empty() {
            return Err(InvalidAuth::NoAuths);
        }
        let mut logins: BTreeMap<Host, Arc<RegistryLogin>> = BTreeMap::new();
        for (key, auth) in config.auths.unwrap_or_default() {
            // Docker's own files may have keys without a login that name no host.
            let Some(auth) = auth.filter(|auth| !auth.is_empty()) else { continue };
            let host = Host::parse(&key).map_err(InvalidAuth::Key)?;
            let Some(login) = auth.login(&key)? else { continue };
            // A key that is the host itself wins over one that merely names it in a URL.
            let is_exact = key == host.as_str() || key == host.config_key();
            if is_exact || !logins.contains_key(&host) {
                logins.insert(host, Arc::new(login));
            }
        }
        Ok(Self { logins, is_set: true, helpers })
    }
}

impl InvalidAuth {
    /// The problem with JSON that cannot be read. The words of serde's errors quote values.
    fn json(text: &[u8], error: &serde_json::Error) -> Self {
        let text = String::from_utf8_lossy(text);
        if text.contains(['“', '”', '„']) {
            Self::TypographicQuotes
        } else if !text.trim_start().starts_with('{') {
            Self::Encoding
        } else if !text.contains('"') {
            Self::Quotes
        } else {
            Self::Json { line: error.line(), column: error.column() }
        }
    }
}

impl AuthJson {
    fn is_empty(&self) -> bool {
        [&self.auth, &self.username, &self.password, &self.identitytoken].iter().all(|field| field.is_empty())
    }

    /// The login; `None` if it is empty, which docker writes if a credential store has the login.
    fn login(self, key: &str) -> Result<Option<RegistryLogin>, InvalidAuth> {
        let Self { auth, username, password, identitytoken } = self;
        for secret in [&auth, &password, &identitytoken] {
            let _ = Secret::new(secret.clone());
        }
        let wrong = || InvalidAuth::Auth(whole_or_length(key));
        let (username, password) = if auth.is_empty() {
            (username, password)
        } else {
            // As docker's `decodeAuth`: cut at the first colon, without the zeros that some helpers append.
            let decoded = BASE64.decode(auth.trim()).map_err(|_| wrong())?;
            let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
            let (username, password) = decoded.split_once(':').ok_or_else(wrong)?;
            if username.is_empty() {
                return Err(wrong());
            }
            (username.to_owned(), password.trim_end_matches('\0').to_owned())
        };
        let is_broken = |text: &String| text.ends_with(['\n', '\r']);
        if [&username, &password, &identitytoken].into_iter().any(is_broken) {
            return Err(InvalidAuth::LineBreak(whole_or_length(key)));
        }
        let is_name = |text: &String| text::unexpanded(text).is_some_and(|name| name == text.trim());
        if [&username, &password, &identitytoken].into_iter().any(is_name) {
            return Err(InvalidAuth::NotExpanded(whole_or_length(key)));
        }
        if !identitytoken.is_empty() {
            return Ok(Some(RegistryLogin::identity_token(&identitytoken)));
        }
        match (username.as_str(), password.as_str()) {
            ("", "") => Ok(None),
            (_, "") => Err(InvalidAuth::NoPassword(whole_or_length(key))),
            (TOKEN_USER, token) => Ok(Some(RegistryLogin::identity_token(token))),
            (username, password) => Ok(Some(RegistryLogin::new(username, password))),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    /// A login as text, for comparing.
    fn shown(login: &RegistryLogin) -> String {
        match &login.identity_token {
            None => String::from_utf8(BASE64.decode(login.basic.reveal()).unwrap()).unwrap(),
            Some(token) => format!("token {}", token.reveal()),
        }
    }

    fn login(config: &str, at: &str) -> Option<String> {
        DockerAuthConfig::parse(config).unwrap().logins.get(&host(at)).map(|login| shown(login))
    }

    fn auths(entries: &str) -> String {
        format!(r#"{{"auths":{{{entries}}}}}"#)
    }

    #[test]
    fn login_is_read_from_every_field_that_docker_writes() {
        let user = STANDARD.encode("robot:pass:word");
        for (entry, expected) in [
            (format!(r#"{{"auth":"{user}"}}"#), "robot:pass:word"),
            (format!(r#"{{"auth":"{}"}}"#, user.trim_end_matches('=')), "robot:pass:word"),
            (format!(r#"{{"auth":"{user}","username":"other","password":"other-pass"}}"#), "robot:pass:word"),
            (format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("robot:padded\0\0")), "robot:padded"),
            (r#"{"username":"robot","password":"plain-pass","email":"x@y"}"#.to_owned(), "robot:plain-pass"),
            (r#"{"identitytoken":"refresh-token"}"#.to_owned(), "token refresh-token"),
            (
                format!(r#"{{"auth":"{}","identitytoken":"refresh-token"}}"#, STANDARD.encode("u:")),
                "token refresh-token",
            ),
            (format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("<token>:refresh-token")), "token refresh-token"),
        ] {
            assert_eq!(
                login(&auths(&format!(r#""ghcr.io":{entry}"#)), "ghcr.io").as_deref(),
                Some(expected),
                "{entry}"
            );
        }
    }

    #[test]
    fn base64_of_the_whole_is_read_too() {
        let json = auths(r#""ghcr.io":{"username":"robot","password":"encoded-pass"}"#);
        let encoded = STANDARD.encode(&json);
        let broken: String = encoded.as_bytes().chunks(20).map(|line| String::from_utf8_lossy(line) + "\n").collect();
        for text in [encoded.clone(), broken, encoded.trim_end_matches('=').to_owned(), format!("  {json}\n")] {
            assert_eq!(login(&text, "ghcr.io").as_deref(), Some("robot:encoded-pass"));
        }
    }

    #[test]
    fn keys_name_a_host_in_all_forms_and_the_exact_one_wins() {
        let entry = |key: &str, password: &str| format!(r#""{key}":{{"username":"u","password":"{password}"}}"#);
        for key in ["ghcr.io", "https://ghcr.io", "https://ghcr.io/v2/", "ghcr.io/v1/", "GHCR.io"] {
            assert_eq!(login(&auths(&entry(key, "some-pass")), "ghcr.io").as_deref(), Some("u:some-pass"), "{key}");
        }
        for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"] {
            assert_eq!(login(&auths(&entry(key, "hub-pass")), "docker.io").as_deref(), Some("u:hub-pass"), "{key}");
        }
        let both = [entry("ghcr.io", "exact-pass"), entry("https://ghcr.io/v2/", "other-pass")];
        assert_eq!(login(&auths(&both.join(",")), "ghcr.io").as_deref(), Some("u:exact-pass"));
        assert_eq!(login(&auths(&entry("ghcr.io", "some-pass")), "ghcr.io.evil.example"), None);
        assert_eq!(login(&auths(&entry("ghcr.io", "some-pass")), "ghcr.io:444"), None);
    }

    #[test]
    fn null_is_the_same_as_nothing() {
        for entry in [
            r#"{"auth":"cm9ib3Q6cGFzcw==","identitytoken":null}"#,
            r#"{"auth":null,"username":"robot","password":"pass"}"#,
            r#"{"auth":"cm9ib3Q6cGFzcw==","username":null,"password":null}"#,
        ] {
            let text = format!(
                r#"{{"auths":{{"quay.io":null,"ghcr.io":{entry}}},"credsStore":null,"credHelpers":{{"a.io":null}}}}"#
            );
            assert_eq!(login(&text, "ghcr.io").as_deref(), Some("robot:pass"), "{entry}");
            assert_eq!(login(&text, "quay.io"), None);
            assert!(DockerAuthConfig::parse(&text).unwrap().helpers.is_empty());
        }
        for text in [r#"{"auths":null}"#, "{}"] {
            assert_eq!(DockerAuthConfig::parse(text).unwrap_err(), InvalidAuth::NoAuths);
        }
        // Docker Desktop writes entries without a login.
        assert!(DockerAuthConfig::parse(&auths(r#""no host":{}"#)).is_ok());
    }

    #[test]
    fn helpers_are_named_and_entries_beside_them_are_no_login() {
        let text = r#"{"auths":{"a.io":{}},"credsStore":"desktop","credHelpers":{"b.io":"ecr-login","c.io":""}}"#;
        let config = DockerAuthConfig::parse(text).unwrap();
        assert!(config.logins.is_empty());
        assert_eq!(config.helpers, [(Some("b.io".to_owned()), "ecr-login".to_owned()), (None, "desktop".to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_shows_no_secret() {
        let canary = "canary-of-docker-auth-config";
        let errors = [
            canary.to_owned(),
            format!("{{{canary}"),
            format!(r#"{{"auths":"{canary}"}}"#),
            auths(&format!(r#""a.io":{{"auth":["{canary}"]}}"#)),
            format!(r#"{{"{canary}":{{}}}}"#),
            auths(&format!(r#""a.io":{{"auth":"{canary}!"}}"#)),
            auths(&format!(r#""a.io":{{"auth":"{}"}}"#, STANDARD.encode(canary))),
            auths(&format!(r#""a.io":{{"auth":"{}"}}"#, STANDARD.encode(format!(":{canary}")))),
            auths(r#""a.io":{"username":"robot"}"#),
            auths(&format!(r#""a.io":{{"auth":"{}"}}"#, STANDARD.encode(format!("robot:{canary}\n")))),
            auths(&format!(r#""a.io":{{"username":"robot","password":"{canary}\r\n"}}"#)),
            auths(r#""a.io":{"username":"robot","password":"$REGISTRY_TOKEN"}"#),
            auths(&format!(r#""https://robot:{canary}@a.io":{{"auth":"cm9ib3Q6cGFzcw=="}}"#)),
            auths(r#""a b":{"auth":"cm9ib3Q6cGFzcw=="}"#),
            STANDARD.encode(format!("robot:{canary}")),
            STANDARD.encode(format!("{{auths:{{a.io:{{auth:{canary}}}}}}}")),
            format!("{{“auths”:{{“a.io”:{{“auth”:“{canary}”}}}}}}"),
        ]
        .map(|text| DockerAuthConfig::parse(&text).unwrap_err().to_string())
        .join("\n");
        insta::assert_snapshot!(errors, @r#"
        is neither JSON nor its base64
        is JSON without its quotes, which a shell or Bitbucket removed: pass the JSON as base64
        is not JSON as in docker's `config.json`: line 1, column 39
        is not JSON as in docker's `config.json`: line 1, column 25
        has no `auths`: write `{"auths": {"HOST": {"auth": "…"}}}`
        has an `auth` for `a.io` that is not the base64 of `USERNAME:PASSWORD`
        has an `auth` for `a.io` that is not the base64 of `USERNAME:PASSWORD`
        has an `auth` for `a.io` that is not the base64 of `USERNAME:PASSWORD`
        has a `username` and no `password` for `a.io`
        has a login for `a.io` that ends with a line break, as `echo` makes it: use `echo -n` or `printf`
        has a login for `a.io` that ends with a line break, as `echo` makes it: use `echo -n` or `printf`
        has the name of a variable for `a.io`, not its value, which nothing has filled in
        has an entry whose key contains a user name or password: write only the host name, such as `registry.example.com`
        has an entry whose key `a b` is not a valid registry host name
        is neither JSON nor its base64
        is JSON without its quotes, which a shell or Bitbucket removed: pass the JSON as base64
        contains typographic quotes (`“`, `”`): write `"`
        "#);
        assert!(!errors.contains(canary));
    }
}
