//! The gateway's own tokens: the exchange (RFC 8693) that issues them, and what they permit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::{Value, json};

use crate::iam::{Iam, IamError};
use crate::jwt::{self, Claims, Key, Token};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const SUBJECT_TOKEN_TYPES: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:access_token"];
/// The clock skew that a watchdog accepts (faas-middleware, `jwt.WithLeeway`).
const WATCHDOG_LEEWAY: i64 = 1;

/// The `expires_in` in the response of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiresIn {
    /// The lifetime in seconds.
    #[default]
    Seconds,
    /// `0`, which some issuers use for "unknown".
    Zero,
    /// Omitted.
    Absent,
}

/// A rejected exchange: `error` and `error_description` (RFC 6749 section 5.2).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: &'static str,
    pub(crate) description: String,
}

fn refuse(description: impl Into<String>) -> Refusal {
    Refusal { error: "invalid_request", description: description.into() }
}

fn invalid(reason: impl std::fmt::Display) -> Refusal {
    refuse(format!("Could not validate JWT token, {reason}"))
}

/// The bearer of an access token.
#[derive(Debug)]
pub(crate) struct Bearer {
    /// The claims of the original token, which conditions refer to.
    claims: Claims,
    policies: Vec<String>,
    exp: i64,
}

/// Issues and verifies the gateway's tokens.
pub(crate) struct Authority {
    /// The public URL of the gateway.
    url: String,
    key: Key,
    iam: RwLock<Iam>,
    /// The keys of the trusted issuers by `iss`.
    jwks: RwLock<HashMap<String, Value>>,
    expires_in: ExpiresIn,
    /// Verified access tokens, so that a benchmark does not measure signatures.
    verified: Mutex<HashMap<String, Arc<Bearer>>>,
}

impl Authority {
    pub(crate) fn new(url: String, expires_in: ExpiresIn) -> Self {
        let (iam, jwks, verified) = (RwLock::default(), RwLock::default(), Mutex::default());
        Self { url, key: Key::ec(), iam, jwks, expires_in, verified }
    }

    /// Applies IAM resources.
    pub(crate) fn apply(&self, yaml: &str) -> Result<(), IamError> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.iam.write().unwrap_or_else(PoisonError::into_inner).apply(yaml)
    }

    /// Trusts the keys of a set for tokens of `iss`.
    pub(crate) fn trust(&self, iss: &str, jwks: Value) {
        self.jwks.write().unwrap_or_else(PoisonError::into_inner).insert(iss.to_owned(), jwks);
    }

    /// The document at `/.well-known/openid-configuration`.
    pub(crate) fn discovery(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/.well-known/keys", self.url),
            "token_endpoint": format!("{}/oauth/token", self.url),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// The keys that verify its tokens.
    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": [self.key.jwk()]})
    }

    /// Handles `POST /oauth/token`.
    pub(crate) fn exchange(&self, form: &[(String, String)]) -> Result<Value, Refusal> {
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match field("grant_type") {
            Some(GRANT_TYPE) => {}
            Some(other) => {
                let description = format!("Unsupported grant type: {other}");
                return Err(Refusal { error: "unsupported_grant_type", description });
            }
            None => return Err(refuse("grant_type is required")),
        }
        if !field("subject_token_type").is_some_and(|given| SUBJECT_TOKEN_TYPES.contains(&given)) {
            return Err(refuse("subject_token_type is missing or not supported"));
        }
        let token = field("subject_token").filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| refuse("subject_token is required"))?;

        let (subject, expiry) = self.subject(token)?;
        let sub = subject.claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if subject.policies.is_empty() {
            return Err(refuse(format!("No policies found for subject: {sub}")));
        }

        let audience: Vec<&str> =
            form.iter().filter(|(key, _)| key == "audience").map(|(_, value)| value.as_str()).collect();
        let function = field("scope").is_some_and(|scope| scope.split(' ').any(|one| one == "function"));
        let claims = self.claims(&subject, expiry, function.then_some(&audience));
        let mut answer = json!({
            "access_token": self.key.sign(&claims),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
        });
        if function {
            answer["scope"] = json!("function");
        }
        match self.expires_in {
            ExpiresIn::Seconds => answer["expires_in"] = json!(expiry),
            ExpiresIn::Zero => answer["expires_in"] = json!(0),
            ExpiresIn::Absent => {}
        }
        Ok(answer)
    }

    /// The claims of a new token: those of the original, with the gateway's own.
    fn claims(&self, subject: &Bearer, expiry: i64, function: Option<&Vec<&str>>) -> Claims {
        let now = jwt::now();
        let mut claims = subject.claims.clone();
        let sub = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        let fed_iss = claims.get("iss").cloned().unwrap_or_default();
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        set("fed:iss", fed_iss);
        set("iss", json!(self.url));
        set("aud", json!(self.url));
        set("sub", json!(format!("fed:{sub}")));
        set("jti", json!(jwt::uuid()));
        set("iat", json!(now));
        set("exp", json!(now + expiry));
        match function {
            None => set("policy", json!(subject.policies)),
            Some(audience) => {
                let iam = self.iam.read().unwrap_or_else(PoisonError::into_inner);
                let permissions = iam.resources(&subject.policies, &subject.claims, "Function:Invoke");
                let mut function = json!({"permissions": permissions});
                if !audience.is_empty() {
                    function["audience"] = json!(audience);
                }
                set("function", function)
            }
        };
        claims
    }

    /// Verifies a subject token: an ID token of an issuer, or an access token of the gateway itself. Also returns the
    /// lifetime of the new token in seconds.
    fn subject(&self, text: &str) -> Result<(Bearer, i64), Refusal> {
        let token = Token::parse(text).ok_or_else(|| invalid("token is malformed"))?;
        let iss = token.claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if iss == self.url {
            let bearer = self.bearer(text).ok_or_else(|| invalid("it is not an access token of this gateway"))?;
            let (claims, policies, exp) = (bearer.claims.clone(), bearer.policies.clone(), bearer.exp);
            return Ok((Bearer { claims, policies, exp }, exp - jwt::now()));
        }

        let iam = self.iam.read().unwrap_or_else(PoisonError::into_inner);
        let issuer = iam.issuer(iss).ok_or_else(|| invalid(format!("issuer is not registered: {iss}")))?;
        let jwks = self.jwks.read().unwrap_or_else(PoisonError::into_inner);
        let keys = jwks.get(iss).and_then(|set| set["keys"].as_array()).map_or(&[][..], Vec::as_slice);
        let key = keys.iter().find(|key| token.kid().is_some() && key["kid"].as_str() == token.kid());
        let key = key.ok_or_else(|| invalid("JWKS keys missing"))?;
        if !token.is_signed_by(key) {
            return Err(invalid("token signature is invalid"));
        }
        let claims = token.claims;
        let exp = claims.get("exp").and_then(Value::as_i64).ok_or_else(|| invalid("token has no exp claim"))?;
        if exp <= jwt::now() {
            return Err(invalid("token is expired"));
        }
        if !audiences(&claims).any(|aud| issuer.aud.iter().any(|known| known == aud)) {
            return Err(invalid("audience is not valid"));
        }
        let policies = iam.policies_for(&claims);
        let expiry = issuer.token_expiry.as_secs().cast_signed();
        Ok((Bearer { claims, policies, exp }, expiry))
    }

    /// Verifies an access token for the REST API. `None` if it is invalid or expired.
    pub(crate) fn bearer(&self, token: &str) -> Option<Arc<Bearer>> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let bearer = match verified.get(token) {
            Some(bearer) => Arc::clone(bearer),
            None => {
                let bearer = Arc::new(self.verify(token)?);
                verified.insert(token.to_owned(), Arc::clone(&bearer));
                bearer
            }
        };
        (bearer.exp > jwt::now()).then_some(bearer)
    }

    fn verify(&self, token: &str) -> Option<Bearer> {
        let mut claims = self.own_claims(token).ok()?;
        // A function token has no policies and is not valid for the REST API.
        let policies = serde_json::from_value(claims.remove("policy")?).ok()?;
        let exp = claims.get("exp")?.as_i64()?;
        let sub = claims.get("sub")?.as_str()?.strip_prefix("fed:")?.to_owned();
        let iss = claims.remove("fed:iss")?;
        claims.insert("sub".to_owned(), sub.into());
        claims.insert("iss".to_owned(), iss);
        Some(Bearer { claims, policies, exp })
    }

    /// Whether the bearer is permitted to do `action` on `resource` (`NAMESPACE:FUNCTION`, or `*`).
    pub(crate) fn allows(&self, bearer: &Bearer, action: &str, resource: &str) -> bool {
        let iam = self.iam.read().unwrap_or_else(PoisonError::into_inner);
        iam.allows(&bearer.policies, &bearer.claims, action, resource)
    }

    /// What a watchdog reads in a function token: `function.permissions` and `function.audience`.
    ///
    /// # Errors
    ///
    /// The reason why it is not valid, as in the response of the watchdog.
    pub(crate) fn function_claim(&self, token: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let claims = self.own_claims(token)?;
        let exp = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
        if exp + WATCHDOG_LEEWAY < jwt::now() {
            return Err("token has invalid claims: token is expired".to_owned());
        }
        let list = |name: &str| {
            let values = claims.get("function").and_then(|function| function.get(name)?.as_array());
            values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Ok((list("permissions"), list("audience")))
    }

    /// The claims of a token of the gateway itself, without a check of its expiry.
    fn own_claims(&self, token: &str) -> Result<Claims, String> {
        let token = Token::parse(token).ok_or("token is malformed")?;
        if token.kid() != Some(self.key.kid()) {
            return Err(format!(
                "token is unverifiable: error while executing keyfunc: invalid kid: {}",
                token.kid().unwrap_or_default()
            ));
        }
        if !token.is_signed_by(&self.key.jwk()) {
            return Err("token signature is invalid".to_owned());
        }
        let claims = token.claims;
        let is_own = |name: &str| claims.get(name).and_then(Value::as_str) == Some(&self.url);
        if !is_own("iss") {
            return Err("token has invalid claims: token has invalid issuer".to_owned());
        }
        if !is_own("aud") {
            return Err("token has invalid claims: token has invalid audience".to_owned());
        }
        Ok(claims)
    }
}

/// `aud` is a string or an array of strings (RFC 7519 section 4.1.3).
fn audiences(claims: &Claims) -> impl Iterator<Item = &str> {
    let aud = claims.get("aud");
    let many = aud.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    aud.and_then(Value::as_str).into_iter().chain(many)
}
