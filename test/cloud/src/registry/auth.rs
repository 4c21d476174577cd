//! Authorization and authentication challenges (RFC 9110 section 11).

use std::collections::HashMap;

use local_gateway::Request;

use super::Registry;
use super::token::{Denial, TokenAuth};
use crate::aws::Aws;
use crate::google::Google;
use crate::reply::{self, Reply};
use crate::secret::{basic, scheme};

/// User names and passwords.
pub(super) type Users = HashMap<String, String>;

/// How a registry authenticates clients.
pub(super) enum Access {
    Open,
    Basic(Users),
    Token(Box<TokenAuth>),
    Ecr(Aws),
    Google(Google),
}

impl Access {
    /// The users. A registry without users switches to `Basic`.
    pub(super) fn users(&mut self) -> &mut Users {
        if matches!(self, Self::Open | Self::Ecr(_) | Self::Google(_)) {
            *self = Self::Basic(Users::new());
        }
        match self {
            Self::Basic(users) => users,
            Self::Token(auth) => &mut auth.users,
            Self::Open | Self::Ecr(_) | Self::Google(_) => unreachable!("other variants were replaced"),
        }
    }
}

/// The format of the challenges in a 401.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenges {
    /// One challenge in one header line.
    #[default]
    Usual,
    /// `Bearer …, Basic …` in one line.
    BearerThenBasic,
    /// `Basic …, Bearer …` in one line.
    BasicThenBearer,
    /// One line each, Basic first.
    TwoLines,
    /// The scheme in lower case, parameters without quotes if possible, and spaces around the commas.
    Unusual,
    /// An unknown scheme first, in the same line.
    UnknownFirst,
    /// Commas and an escaped quote inside quotes, in irrelevant parameters.
    QuotedCommas,
}

impl Registry {
    /// Whether a request is permitted. Otherwise returns the error response. The `action` of a request for `/v2/` is
    /// `None`.
    pub(super) fn authorise(&self, request: &Request, action: Option<(&str, &str)>) -> Result<(), Reply> {
        let mut state = self.state();
        let name = action.map(|(_, name)| name);
        let repository = name.and_then(|name| state.repositories.get(name));
        let public = repository.is_some_and(|repository| !repository.private);
        let known = repository.is_some();
        let challenges = state.challenges;
        let authorization = request.header("authorization");
        match &mut state.access {
            Access::Open => Ok(()),
            Access::Basic(users) => match authorization.and_then(basic) {
                Some((user, password)) if users.get(&user) == Some(&password) => Ok(()),
                _ => Err(unauthorised(&[format!(r#"Basic realm="{}""#, self.host())])),
            },
            Access::Ecr(aws) => {
                let aws = aws.clone();
                drop(state);
                aws.authorise(self.host(), request, action)
            }
            Access::Google(google) => {
                let google = google.clone();
                drop(state);
                self.authorise_google(&google, request, name)
            }
            Access::Token(auth) => {
                let challenge = |error| auth.challenge(name, error);
                let Some(given) = authorization.and_then(|header| scheme(header, "bearer")) else {
                    return Err(unauthorised(&lines(challenges, &challenge(None), self.host())));
                };
                match auth.tokens.get(given) {
                    Some(grant) if grant.expired && auth.fixed_scope.is_some() => {
                        // ECR Public responds with a 400 and without a challenge.
                        Err(reply::distribution(
                            400,
                            "DENIED",
                            "Your authorization token has expired. Reauthenticate and try again.",
                        ))
                    }
                    Some(grant) if !grant.expired && grant.reads(name, public) => Ok(()),
                    Some(grant) if !grant.expired && grant.covers(name) && !known => match auth.denial {
                        // The repository does not exist, and the registry says so.
                        Denial::NotFound => Ok(()),
                        _ => Err(unauthorised(&lines(challenges, &challenge(Some("insufficient_scope")), self.host()))),
                    },
                    Some(grant) if !grant.expired => {
                        Err(unauthorised(&lines(challenges, &challenge(Some("insufficient_scope")), self.host())))
                    }
                    _ => Err(unauthorised(&lines(challenges, &challenge(Some("invalid_token")), self.host()))),
                }
            }
        }
    }

    /// Artifact Registry: an access token as bearer token or password, or a token from the realm, which is the same
    /// token here.
    fn authorise_google(&self, google: &Google, request: &Request, name: Option<&str>) -> Result<(), Reply> {
        let host = self.host();
        let scope = name.map(|name| format!(r#",scope="repository:{name}:pull""#)).unwrap_or_default();
        let challenge = format!(r#"Bearer realm="https://{host}/v2/token",service="{host}"{scope}"#);
        let given = match request.header("authorization") {
            Some(header) => google_credential(header),
            None => return Err(unauthorised(&[challenge])),
        };
        let given = given.filter(|token| token == ANONYMOUS || google.knows(token));
        let given = given.ok_or_else(|| unauthorised(&[challenge]))?;
        let Some(name) = name else {
            return Ok(());
        };
        let token = (given != ANONYMOUS).then_some(given.as_str());
        if google.permits(token, host, name) { Ok(()) } else { Err(google_denial(token, host, name)) }
    }
}

/// The token that the realm of Artifact Registry returns without credentials.
pub(super) const ANONYMOUS: &str = "anonymous";

/// An access token as bearer token, or as the password of one of Google's user names.
pub(super) fn google_credential(header: &str) -> Option<String> {
    if let Some(token) = scheme(header, "bearer") {
        return Some(token.to_owned());
    }
    let (user, password) = basic(header)?;
    ["oauth2accesstoken", "_token"].contains(&user.as_str()).then_some(password)
}

pub(super) fn google_denial(token: Option<&str>, host: &str, name: &str) -> Reply {
    const PERMISSION: &str = "artifactregistry.repositories.downloadArtifacts";
    let resource = crate::google::repository(host, name).unwrap_or_default();
    let on = format!("on resource \"{resource}\" (or it may not exist)");
    let message = match token {
        Some(_) => format!("Permission \"{PERMISSION}\" denied {on}"),
        None => {
            format!("Unauthenticated request. Unauthenticated requests do not have permission \"{PERMISSION}\" {on}")
        }
    };
    reply::distribution(403, "DENIED", message)
}

fn unauthorised(challenges: &[String]) -> Reply {
    let mut reply = reply::distribution(401, "UNAUTHORIZED", "authentication required");
    for challenge in challenges {
        reply::add(&mut reply, "WWW-Authenticate", challenge);
    }
    reply
}

/// The header lines of a challenge with these `Bearer` parameters.
fn lines(challenges: Challenges, parameters: &[(&str, String)], host: &str) -> Vec<String> {
    let quoted: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let bearer = format!("Bearer {}", quoted.join(","));
    let basic = format!(r#"Basic realm="{host}""#);
    match challenges {
        Challenges::Usual => vec![bearer],
        Challenges::BearerThenBasic => vec![format!("{bearer}, {basic}")],
        Challenges::BasicThenBearer => vec![format!("{basic},{bearer}")],
        Challenges::TwoLines => vec![basic, bearer],
        Challenges::Unusual => {
            let bare = |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            let one = |(name, value): &(&str, String)| match bare(value) {
                true => format!("{}={value}", name.to_uppercase()),
                false => format!("{} = \"{value}\"", name.to_uppercase()),
            };
            vec![format!("bearer  {}", parameters.iter().map(one).collect::<Vec<_>>().join(" , "))]
        }
        Challenges::UnknownFirst => vec![format!("Negotiate, Digest nonce=\"a,b\", qop=auth, {bearer}")],
        Challenges::QuotedCommas => {
            vec![format!(r#"{bearer},error_description="first, second: \"third\", Basic realm=x",charset="UTF-8""#)]
        }
    }
}
