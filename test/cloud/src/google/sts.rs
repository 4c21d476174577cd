//! Google's Security Token Service: exchanges a step's token for a federated one (RFC 8693).
//!
//! <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>

use local_gateway::issuer::unverified_claims;
use local_gateway::{Claims, Issuer, Request};
use serde_json::{Value, json};

use super::{Google, Provider, State};
use crate::reply::{self, Reply};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SUBJECT_TOKENS: [&str; 2] = ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];
const SCOPES: [&str; 2] = ["https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/iam"];
/// The maximum length of a mapped subject, in bytes.
const MAX_SUBJECT: usize = 127;

/// An error of RFC 6749 section 5.2.
struct Refused(&'static str, String);

fn refused(error: &'static str, description: impl Into<String>) -> Refused {
    Refused(error, description.into())
}

impl Google {
    pub(super) fn exchange(&self, request: &Request) -> Reply {
        if (request.method.as_str(), request.path.as_str()) != ("POST", "/v1/token") {
            return super::error(404, "NOT_FOUND", "Requested entity was not found.", &[]);
        }
        match self.federated(request) {
            Ok(token) => {
                let token = json!({
                    "access_token": token,
                    "issued_token_type": ACCESS_TOKEN,
                    "token_type": "Bearer",
                    "expires_in": 3599,
                });
                reply::json(200, &token)
            }
            Err(Refused(error, description)) => {
                reply::json(400, &json!({"error": error, "error_description": description}))
            }
        }
    }

    fn federated(&self, request: &Request) -> Result<String, Refused> {
        let fields = fields(request);
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if field("granttype") != Some(GRANT) {
            return Err(refused("unsupported_grant_type", "Invalid grant type."));
        }
        if field("requestedtokentype") != Some(ACCESS_TOKEN) {
            return Err(refused("invalid_request", "requested_token_type must be an access token."));
        }
        if !field("subjecttokentype").is_some_and(|given| SUBJECT_TOKENS.contains(&given)) {
            return Err(refused("invalid_request", "Invalid value for \"subject_token_type\"."));
        }
        if !field("scope").is_some_and(|scope| scope.split(' ').any(|scope| SCOPES.contains(&scope))) {
            return Err(refused("invalid_scope", "Invalid OAuth scope or ID token audience provided."));
        }
        let token = field("subjecttoken").filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| refused("invalid_request", "subject_token must be nonempty."))?;

        let mut state = self.state();
        let (pool, provider) = state.target(field("audience").unwrap_or_default())?;
        let claims = state.admitted(&pool, &provider, token)?;
        let members = State::members(&pool.name, &provider, &claims);
        Ok(self.issue(&mut state, "ya29.d.", members))
    }
}

/// The fields of a form or of JSON. `grant_type` and `grantType` are equivalent.
fn fields(request: &Request) -> Vec<(String, String)> {
    let fields = match request.json() {
        Value::Object(members) => {
            let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
            members.into_iter().map(|(name, value)| (name, text(value))).collect()
        }
        _ => request.form(),
    };
    let normal = |(name, value): (String, String)| (name.replace('_', "").to_ascii_lowercase(), value);
    fields.into_iter().map(normal).collect()
}

/// The pool and provider in an audience.
struct Target {
    name: String,
    provider: String,
}

impl State {
    fn target(&self, audience: &str) -> Result<(Target, Provider), Refused> {
        let path = audience.strip_prefix("//iam.googleapis.com/").unwrap_or_default();
        let parts: Vec<&str> = path.split('/').collect();
        let ["projects", number, "locations", "global", "workloadIdentityPools", pool, "providers", provider] =
            parts[..]
        else {
            return Err(invalid_audience());
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) || provider.is_empty() {
            return Err(invalid_audience());
        }
        let target = Target {
            name: format!("projects/{number}/locations/global/workloadIdentityPools/{pool}"),
            provider: provider.to_owned(),
        };
        let found = self.pools.get(&target.name).and_then(|pool| pool.providers.get(provider));
        match found.filter(|provider| !provider.disabled) {
            Some(found) => Ok((target, found.clone())),
            None => Err(refused(
                "invalid_target",
                "The target service indicated by the \"audience\" parameters is invalid. This might either be because \
                 the pool or provider is disabled or deleted or because it doesn't exist.",
            )),
        }
    }

    fn admitted(&self, pool: &Target, provider: &Provider, token: &str) -> Result<Claims, Refused> {
        let claims = unverified_claims(token)
            .ok_or_else(|| refused("invalid_grant", "Invalid JWT: the token cannot be parsed."))?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("iss") != provider.issuer {
            let message =
                format!("The issuer in ID Token {} does not match the expected ones: {}", text("iss"), provider.issuer);
            return Err(refused("invalid_grant", message));
        }
        // All local issuers have the same keys, so any of them can verify the token.
        if Issuer::bitbucket("any").verify(token).is_err() {
            return Err(refused("invalid_grant", "Invalid JWT signature."));
        }
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let exp = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
        if exp <= now {
            return Err(refused("invalid_grant", format!("ID Token issued at {} is stale to sign-in.", exp - 3600)));
        }
        let audiences: Vec<&str> = match claims.get("aud") {
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one],
            _ => Vec::new(),
        };
        let own = format!("iam.googleapis.com/{}/providers/{}", pool.name, pool.provider);
        let default = [format!("https://{own}"), format!("//{own}")];
        let allowed = if provider.audiences.is_empty() { &default[..] } else { &provider.audiences[..] };
        if !audiences.iter().any(|&audience| allowed.iter().any(|allowed| allowed == audience)) {
            let message =
                format!("The audience in ID Token [{}] does not match the expected audience.", audiences.join(", "));
            return Err(refused("invalid_grant", message));
        }
        for (target, claim) in &provider.mapping {
            let Some(value) = claims.get(claim).and_then(Value::as_str) else {
                if target == "google.subject" {
                    let message = "The mapped attribute google.subject must not be empty.";
                    return Err(refused("invalid_request", message));
                }
                continue;
            };
            if target == "google.subject" && value.len() > MAX_SUBJECT {
                let message = "The size of mapped attribute exceeds the 127 bytes limit.";
                return Err(refused("invalid_request", message));
            }
        }
        if provider.condition.iter().any(|(claim, wanted)| text(claim) != wanted) {
            let message = "The given credential is rejected by the attribute condition.";
            return Err(refused("unauthorized_client", message));
        }
        Ok(claims)
    }
}

fn invalid_audience() -> Refused {
    refused(
        "invalid_request",
        "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. See \
         https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.",
    )
}
