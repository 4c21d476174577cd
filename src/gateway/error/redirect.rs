//! A redirect, which is not followed: no token goes to an address that the user did not write.

use http::StatusCode;
use url::Url;

use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Failure};
use crate::http::client::SafeUrl;

#[derive(Clone, Debug, thiserror::Error)]
#[error("{request}: {status}, a redirect to `{}`", quote(location))]
pub(crate) struct Redirect {
    /// Method and path.
    pub(crate) request: String,
    pub(crate) url: Url,
    /// The gateway's own URL.
    pub(crate) gateway: Url,
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    /// The gateway sets it on what it passes on from a function.
    pub(crate) has_call_id: bool,
}

/// Where a redirect leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The same request with HTTPS, at this gateway URL.
    Https(String),
    /// The same request at another address, for good, at this gateway URL.
    Moved(String),
    /// Another request: a sign-in, as a rule.
    Elsewhere,
}

impl Redirect {
    pub(crate) fn destination(&self) -> Destination {
        let Self { gateway, url, .. } = self;
        let Ok(target) = url.join(&self.location) else { return Destination::Elsewhere };
        let same_query = target.query() == url.query() && target.username().is_empty() && target.password().is_none();
        let upgrade = gateway.scheme() == "http" && target.scheme() == "https" && gateway.host() == target.host();
        if upgrade && same_query && target.path() == url.path() {
            let mut secure = gateway.clone();
            // The port of plain HTTP is not that of HTTPS.
            let _ = secure.set_port(target.port());
            let _ = secure.set_scheme("https");
            return Destination::Https(SafeUrl(&secure).to_string());
        }
        // A temporary redirect is how sign-ins begin; following one by hand would send the token there.
        let is_permanent = matches!(self.status.as_u16(), 301 | 307 | 308);
        let requested = url.path().strip_prefix(gateway.path().trim_end_matches('/'));
        let base = requested.and_then(|requested| target.path().strip_suffix(requested));
        match base.filter(|_| is_permanent && same_query && target != *url) {
            Some(base) => Destination::Moved(format!("{}{base}", target.origin().ascii_serialization())),
            None => Destination::Elsewhere,
        }
    }

    pub(super) fn problem(&self) -> Diagnostic {
        let (failure, hint) = match self.destination() {
            Destination::Https(url) => {
                (Failure::Failed, format!("the gateway requires HTTPS: write `OPENFAAS_URL: '{}'`", quote(&url)))
            }
            Destination::Moved(url) => (
                Failure::Failed,
                format!(
                    "redirects are not followed, so that no token goes to another address; if the gateway has moved \
                     there, write `OPENFAAS_URL: '{}'`",
                    quote(&url)
                ),
            ),
            Destination::Elsewhere => (
                Failure::Unreachable,
                "a proxy in front of the gateway redirects the request, probably to its own sign-in: let `/oauth/token` \
                 and `/system/` pass there"
                    .to_owned(),
            ),
        };
        Diagnostic::new(failure, self.to_string()).with_hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(gateway: &str, path: &str, status: u16, location: &str) -> Destination {
        let gateway = Url::parse(gateway).unwrap();
        let url = Url::parse(&format!("{}{path}", SafeUrl(&gateway))).unwrap();
        let (request, status) = (format!("POST {path}"), StatusCode::from_u16(status).unwrap());
        Redirect { request, url, gateway, status, location: location.to_owned(), has_call_id: false }.destination()
    }

    #[test]
    fn same_request_with_https_needs_only_another_scheme() {
        let token = |location: &str| destination("http://gw.example.com/base", "/oauth/token", 302, location);
        for location in ["https://gw.example.com/base/oauth/token", "//gw.example.com/base/oauth/token"] {
            let expected = match location.starts_with("https") {
                true => Destination::Https("https://gw.example.com/base".to_owned()),
                false => Destination::Elsewhere,
            };
            assert_eq!(token(location), expected, "{location}");
        }
        assert_eq!(token("https://gw.example.com/login"), Destination::Elsewhere);
        assert_eq!(token("https://gw.example.com/base/oauth/token?rd=1"), Destination::Elsewhere);
        let port = destination("http://gw:8080", "/oauth/token", 308, "https://gw:8443/oauth/token");
        assert_eq!(port, Destination::Https("https://gw:8443".to_owned()));
    }

    #[test]
    fn permanent_redirect_of_the_same_request_is_a_move() {
        let token = |status, location: &str| destination("https://gw.example.com", "/oauth/token", status, location);
        for status in [301, 307, 308] {
            let moved = token(status, "https://new.example.com/openfaas/oauth/token");
            assert_eq!(moved, Destination::Moved("https://new.example.com/openfaas".to_owned()), "{status}");
        }
        for (status, location) in [
            (302, "https://new.example.com/oauth/token"),
            (303, "https://new.example.com/oauth/token"),
            (308, "https://new.example.com/oauth/token?rd=%2F"),
            (308, "https://user@new.example.com/oauth/token"),
            (
                302,
                "https://acme.cloudflareaccess.com/cdn-cgi/access/login/gw.example.com?redirect_url=%2Foauth%2Ftoken",
            ),
            (302, "https://login.microsoftonline.com/TENANT/oauth2/v2.0/authorize?client_id=x"),
            (301, "https://login.example.com/oauth2/start?rd=x"),
            (302, "/login?next=/oauth/token"),
            (308, "/oauth/token/"),
            (308, "/oauth/token"),
            (302, ""),
            (302, "https://["),
        ] {
            assert_eq!(token(status, location), Destination::Elsewhere, "{status} {location}");
        }
    }
}
