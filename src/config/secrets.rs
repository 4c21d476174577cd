//! Hides the environment's secrets in all output, whether the command uses them or not.

use super::{Environment, Kind, VARIABLES};
use crate::console::redact::Secret;
use crate::stack::envsubst::TOKENS;
use crate::text::variable_name;

/// Variables of URLs that may hold a password; errors show these URLs.
const URLS: [&str; 9] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "REPORT_PROXY",
    "OPENFAAS_URL",
    "STACK_FILE",
];

/// A [`Secret`] is hidden from the moment that it is made.
pub(super) fn hide(environment: &Environment) {
    let secrets = VARIABLES.iter().filter(|variable| variable.kind == Kind::Secret).map(|variable| variable.name);
    // Bitbucket's own token is never used, but must not be shown either.
    for name in secrets.chain(["PIPELINES_JWT_TOKEN"]) {
        // What cannot be a token is shown in the error that says so.
        let is_token = |value: &&str| name != "BITBUCKET_STEP_OIDC_TOKEN" || variable_name(value).is_none();
        let secret = if TOKENS.contains(&name) { Secret::token } else { Secret::new };
        let _ = environment.text(name).filter(is_token).map(|value| secret(value.to_owned()));
    }
    for name in URLS {
        let Some((userinfo, password)) = environment.text(name).and_then(password_in_url) else { continue };
        for text in [userinfo, password] {
            let _ = Secret::new(text.to_owned());
            let _ = Secret::new(percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
        }
    }
}

/// The user information of a URL, and the password in it (RFC 3986, section 3.2.1), also if the URL is not valid. A user name
/// alone may be a token.
fn password_in_url(text: &str) -> Option<(&str, &str)> {
    let (has_scheme, rest) = text.split_once("://").map_or((false, text), |(_, rest)| (true, rest));
    let (userinfo, _) = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?;
    match userinfo.split_once(':') {
        Some((_, password)) => Some((userinfo, password)),
        None => has_scheme.then_some((userinfo, userinfo)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_found_in_valid_and_invalid_urls() {
        for (text, password) in [
            ("https://user:secret@host/stack.yml", Some("secret")),
            ("user:secret@host:3128", Some("secret")),
            ("https://user:secret@host:99999", Some("secret")),
            ("https://user:se:cr@et@host", Some("se:cr@et")),
            ("https://token@host", Some("token")),
            ("https://host/a@b:c", None),
            ("https://host:8080", None),
            ("stack@v1.yml", None),
            ("dir:1/stack@v1.yml", None),
        ] {
            assert_eq!(password_in_url(text).map(|(_, password)| password), password, "{text}");
        }
    }
}
