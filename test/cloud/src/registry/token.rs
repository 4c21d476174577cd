//! The token service of a registry.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>, and `…/auth/oauth/` for `POST`

use std::collections::HashMap;

use local_gateway::Request;
use serde_json::{Map, json};

use super::auth::{ANONYMOUS, Access, Users, google_credential, google_denial};
use super::{Registry, Repository};
use crate::reply::{self, Reply};
use crate::secret::{Secrets, basic};

/// How access to a missing or private repository is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// 404 `NAME_UNKNOWN` from the registry if it is missing, 401 if it is private.
    NotFound,
    /// 401 from the registry in both cases, as in Docker Hub.
    AtRegistry,
    /// 403 from the token service in both cases, as in GHCR.
    AtRealm,
}

/// The token authentication of a registry.
pub(super) struct TokenAuth {
    /// `HOST/PATH`.
    realm: String,
    service: String,
    /// The only scope of the service, such as `aws` in ECR Public.
    pub(super) fixed_scope: Option<String>,
    pub(super) challenge_scope: Option<String>,
    pub(super) challenge_realm: Option<String>,
    pub(super) denial: Denial,
    pub(super) users: Users,
    pub(super) identity_tokens: Vec<String>,
    pub(super) oauth: bool,
    pub(super) names: &'static [&'static str],
    pub(super) expires_in: Option<u64>,
    pub(super) tokens: HashMap<String, Grant>,
}

/// The access that a token grants.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// The repositories in its scopes. `None` means all.
    names: Option<Vec<String>>,
    user: bool,
    pub(super) expired: bool,
}

impl Grant {
    /// Whether the repository is in its scope.
    pub(super) fn covers(&self, name: Option<&str>) -> bool {
        name.is_none_or(|name| self.names.as_ref().is_none_or(|names| names.iter().any(|own| own == name)))
    }

    /// Whether it permits reading a repository.
    pub(super) fn reads(&self, name: Option<&str>, public: bool) -> bool {
        name.is_none() || self.covers(name) && (public || self.user)
    }
}

impl TokenAuth {
    pub(super) fn new(realm: &str, service: &str) -> Box<Self> {
        Box::new(Self {
            realm: realm.to_owned(),
            service: service.to_owned(),
            fixed_scope: None,
            challenge_scope: None,
            challenge_realm: None,
            denial: Denial::NotFound,
            users: Users::new(),
            identity_tokens: Vec::new(),
            oauth: true,
            names: &["token", "access_token"],
            expires_in: Some(300),
            tokens: HashMap::new(),
        })
    }

    pub(super) fn denies(mut self: Box<Self>, denial: Denial) -> Box<Self> {
        self.denial = denial;
        self
    }

    pub(super) fn scope(mut self: Box<Self>, scope: &str) -> Box<Self> {
        self.fixed_scope = Some(scope.to_owned());
        self
    }

    /// The parameters of a challenge. The `name` of a request for `/v2/` is `None`.
    pub(super) fn challenge(&self, name: Option<&str>, error: Option<&'static str>) -> Vec<(&'static str, String)> {
        let realm = self.challenge_realm.clone().unwrap_or_else(|| format!("https://{}", self.realm));
        let own = self.fixed_scope.clone().or_else(|| self.challenge_scope.clone());
        let scope = own.or_else(|| name.map(|name| format!("repository:{name}:pull")));
        // GHCR uses this placeholder without a repository.
        let placeholder = || (self.service == "ghcr.io").then(|| "repository:user/image:pull".to_owned());
        let scope = scope.or_else(placeholder);
        let mut parameters = vec![("realm", realm), ("service", self.service.clone())];
        parameters.extend(scope.map(|scope| ("scope", scope)));
        parameters.extend(error.map(|error| ("error", error.to_owned())));
        parameters
    }

    fn is_realm(&self, host: &str, request: &Request) -> bool {
        self.realm == format!("{host}{}", request.path)
    }

    /// The response of the token service.
    fn reply(
        &mut self,
        request: &Request,
        repositories: &std::collections::BTreeMap<String, Repository>,
        secrets: &Secrets,
    ) -> Reply {
        let wrong = |message: &str| reply::distribution(400, "UNSUPPORTED", message);
        let (fields, user) = match request.method.as_str() {
            "GET" => {
                let query = request.query.as_deref().unwrap_or_default();
                let fields: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                match request.header("authorization") {
                    None => (fields, false),
                    Some(header) => match basic(header) {
                        Some((user, password)) if self.users.get(&user) == Some(&password) => (fields, true),
                        _ => return reply::distribution(401, "UNAUTHORIZED", "incorrect username or password"),
                    },
                }
            }
            "POST" if self.oauth => {
                let form = request.form();
                let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                if field("client_id").is_none_or(|id| id.is_empty()) {
                    return wrong("client_id is required");
                }
                let valid = match field("grant_type").as_deref() {
                    Some("refresh_token") => {
                        field("refresh_token").is_some_and(|it| self.identity_tokens.contains(&it))
                    }
                    Some("password") => {
                        let user = field("username").unwrap_or_default();
                        field("password").is_some() && self.users.get(&user) == field("password").as_ref()
                    }
                    _ => return wrong("unknown grant_type"),
                };
                if !valid {
                    return reply::distribution(401, "UNAUTHORIZED", "invalid refresh token");
                }
                (form, true)
            }
            _ => return reply::text(404, "404 page not found\n"),
        };
        let all = |name: &str| fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect();
        let (services, scopes): (Vec<String>, Vec<String>) = (all("service"), all("scope"));
        if services != [self.service.clone()] {
            return wrong(&format!("service must be {}", self.service));
        }
        let grant = match self.grant(&scopes, user) {
            Ok(grant) => grant,
            Err(message) => return wrong(&message),
        };
        if self.denial == Denial::AtRealm {
            let readable = |name: &String| repositories.get(name).is_some_and(|repository| user || !repository.private);
            if !grant.names.iter().flatten().all(readable) {
                return reply::distribution(403, "DENIED", "requested access to the resource is denied");
            }
        }
        let token = secrets.token("eyJ", 300);
        self.tokens.insert(token.clone(), grant);
        let mut reply = Map::new();
        reply.extend(self.names.iter().map(|name| ((*name).to_owned(), json!(token))));
        reply.extend(self.expires_in.map(|seconds| ("expires_in".to_owned(), json!(seconds))));
        reply::json(200, &reply.into())
    }

    fn grant(&self, scopes: &[String], user: bool) -> Result<Grant, String> {
        let names = match &self.fixed_scope {
            Some(fixed) if scopes == std::slice::from_ref(fixed) => None,
            Some(fixed) => return Err(format!("scope must be {fixed}")),
            None => Some(scopes.iter().map(|scope| repository(scope)).collect::<Result<_, _>>()?),
        };
        Ok(Grant { names, user, expired: false })
    }
}

/// The repository in `repository:NAME:pull[,push]`.
fn repository(scope: &str) -> Result<String, String> {
    let wrong = || format!("scope {scope} is malformed");
    let (name, actions) = scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wrong)?;
    if actions.split(',').any(|action| action == "pull") { Ok(name.to_owned()) } else { Err(wrong()) }
}

impl Registry {
    /// The response of the token service. `None` if the request is not for it.
    pub(super) fn token_reply(&self, host: &str, request: &Request) -> Option<Reply> {
        let mut state = self.state();
        let state = &mut *state;
        match &mut state.access {
            Access::Token(auth) if auth.is_realm(host, request) => {
                Some(auth.reply(request, &state.repositories, &self.0.secrets))
            }
            Access::Google(google) if host == self.host() && request.path == "/v2/token" => {
                let scope = request.parameter("scope").unwrap_or_default();
                let token = match request.header("authorization") {
                    None => None,
                    Some(header) => match google_credential(header).filter(|token| google.knows(token)) {
                        Some(token) => Some(token),
                        None => return Some(reply::distribution(401, "UNAUTHORIZED", "authentication failed")),
                    },
                };
                let Ok(name) = repository(&scope) else {
                    return Some(reply::distribution(400, "UNSUPPORTED", "scope is malformed"));
                };
                if !google.permits(token.as_deref(), host, &name) {
                    return Some(google_denial(token.as_deref(), host, &name));
                }
                let token = token.unwrap_or_else(|| ANONYMOUS.to_owned());
                Some(reply::json(200, &json!({"token": token, "expires_in": 3600})))
            }
            _ => None,
        }
    }
}
