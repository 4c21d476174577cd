//! Compares a token's audiences with the gateway's URL, and says how they differ.

use url::Url;

use super::Claims;
use crate::text::yaml_scalar;

/// How many custom audiences a step may have, and how long each may be: Bitbucket's limits.
pub(super) const MOST: usize = 10;
pub(super) const LONGEST: usize = 150;

/// The beginning of the audience that Bitbucket adds to every token.
const DEFAULT: &str = "ari:cloud:bitbucket::workspace/";

/// How a token's `aud` compares with the gateway's URL. The gateway accepts a token if its JwtIssuer lists exactly one of the
/// token's audiences; by convention that is the gateway's public URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Audience<'a> {
    Named,
    /// One is nearly the gateway's URL.
    Near {
        audience: &'a str,
        /// How it differs, as an ending for "it …".
        differs: String,
    },
    /// There are custom audiences, and none is similar to the gateway's URL.
    Other(Vec<&'a str>),
    /// Only the audience that Bitbucket always adds.
    Default,
}

impl<'a> Audience<'a> {
    /// Compares the token's audiences with the gateway's URL as the user wrote it.
    pub(super) fn of(claims: &'a Claims, gateway: &str) -> Self {
        let custom = custom(claims);
        if custom.iter().any(|audience| *audience == gateway || *audience == wanted(gateway)) {
            return Self::Named;
        }
        let near = custom.iter().find_map(|audience| Some((*audience, difference(audience, wanted(gateway))?)));
        match near {
            Some((audience, differs)) => Self::Near { audience, differs },
            None if custom.is_empty() => Self::Default,
            None => Self::Other(custom),
        }
    }
}

/// The audience that every token of the workspace has.
pub(crate) fn workspace_audience(claims: &Claims) -> String {
    let found = claims.audiences().into_iter().find(|audience| audience.starts_with(DEFAULT));
    found.map(str::to_owned).unwrap_or_else(|| {
        let uuid = claims.text("workspaceUuid").unwrap_or("WORKSPACE_UUID");
        format!("{DEFAULT}{}", uuid.trim_matches(['{', '}']))
    })
}

/// True if the step asked for a token for this address: one of its own audiences has the same scheme, host, port and path, and
/// nothing else. A slash at the end does not matter.
pub(crate) fn is_meant_for(claims: &Claims, gateway: &Url) -> bool {
    let address = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let mut audiences = custom(claims).into_iter().filter_map(|audience| Url::parse(audience).ok());
    audiences.any(|audience| address(&audience) == address(gateway))
}

/// The audience to write for a gateway: its URL without a slash at the end.
pub(super) fn wanted(gateway: &str) -> &str {
    gateway.trim().trim_end_matches('/')
}

/// The audiences that the step asked for.
pub(super) fn custom(claims: &Claims) -> Vec<&str> {
    let mut audiences = claims.audiences();
    audiences.retain(|audience| !audience.starts_with(DEFAULT));
    audiences
}

/// The YAML that adds audiences to a step's token.
pub(super) fn block(audiences: &[&str]) -> String {
    let items: String = audiences.iter().map(|audience| format!("\n        - {}", yaml_scalar(audience))).collect();
    format!("- step:\n    oidc:\n      audiences:{items}")
}

/// How an audience differs from the URL that is wanted; `None` if their hosts differ.
fn difference(audience: &str, wanted: &str) -> Option<String> {
    const NAMES: [&str; 4] = ["scheme", "host", "port", "path"];
    let (is, should) = (parts(audience.trim()), parts(wanted));
    if !is[1].eq_ignore_ascii_case(should[1]) {
        return None;
    }
    let mut found = Vec::new();
    if audience.trim() != audience {
        found.push("has white space around it".to_owned());
    }
    for ((name, is), should) in NAMES.into_iter().zip(is).zip(should) {
        match (is, should) {
            (is, should) if is == should => {}
            ("/", "") => found.push("ends with `/`".to_owned()),
            (is, "") => found.push(format!("has the {name} `{is}`")),
            ("" | "/", should) => found.push(format!("has no {name} `{should}`")),
            (is, should) if is.trim_end_matches('/') == should => found.push("ends with `/`".to_owned()),
            (is, should) => found.push(format!("has the {name} `{is}` instead of `{should}`")),
        }
    }
    Some(found.join(" and "))
}

/// Scheme, host, port and path of a URL, as they are written: a parser would normalise the differences away.
fn parts(url: &str) -> [&str; 4] {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_port = |at: &usize| authority[at + 1..].bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = authority.split_at(authority.rfind(':').filter(is_port).unwrap_or(authority.len()));
    [scheme, host, port, path]
}
