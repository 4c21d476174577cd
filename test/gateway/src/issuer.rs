//! Bitbucket as an OIDC issuer: its discovery document, its keys, and ID tokens of steps with any claim changed or
//! removed.

use serde_json::{Value, json};
use thiserror::Error;

use crate::jwt::{self, Claims, Key, Token};

/// The UUID of the default workspace, with braces as in Bitbucket's claims.
pub const WORKSPACE_UUID: &str = "{7d9a2c4e-1f3b-4a58-9c6d-0e2f4b6a8c10}";
/// The UUID of the default repository.
pub const REPOSITORY_UUID: &str = "{b1f8e7d6-5c4b-4a39-8271-605f4e3d2c1b}";
/// The UUID of a deployment environment, for [`TokenBuilder::deployment`].
pub const ENVIRONMENT_UUID: &str = "{3c5e7a91-d2f4-4b68-8a0c-e1f3050709bd}";
/// The UUID of the default pipeline.
pub const PIPELINE_UUID: &str = "{e4d3c2b1-a098-4f76-8e5d-4c3b2a190807}";
/// The UUID of the default step.
pub const STEP_UUID: &str = "{0a1b2c3d-4e5f-4061-9273-8495a6b7c8d9}";

/// The issuer of step tokens of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    iss: String,
    workspace: String,
}

impl Issuer {
    /// The issuer of Bitbucket Cloud for a workspace.
    #[must_use]
    pub fn bitbucket(workspace: &str) -> Self {
        let iss = format!("https://api.bitbucket.org/2.0/workspaces/{workspace}/pipelines-config/identity/oidc");
        Self { iss, workspace: workspace.to_owned() }
    }

    /// Another issuer, whose tokens have the claims that are set.
    #[must_use]
    pub fn other(iss: &str) -> Self {
        Self { iss: iss.to_owned(), workspace: String::new() }
    }

    /// The `iss` of its tokens: the base URL of the discovery document.
    #[must_use]
    pub fn iss(&self) -> &str {
        &self.iss
    }

    /// The name of the workspace.
    #[must_use]
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// The public keys of its tokens as a JSON Web Key Set (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({"keys": [Key::shared_rsa().jwk()]})
    }

    /// The document at `{iss}/.well-known/openid-configuration` (OpenID Connect Discovery 1.0).
    #[must_use]
    pub fn discovery(&self) -> Value {
        json!({
            "issuer": self.iss,
            "jwks_uri": format!("{}/keys.json", self.iss),
            "subject_types_supported": ["public"],
            "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    /// Verifies that this issuer signed a token, and returns its claims.
    ///
    /// # Errors
    ///
    /// The token is malformed, names another key, or has an invalid signature.
    pub fn verify(&self, token: &str) -> Result<Claims, Unverified> {
        let token = Token::parse(token).ok_or(Unverified::Malformed)?;
        let key = Key::shared_rsa();
        if token.kid() != Some(key.kid()) {
            return Err(Unverified::UnknownKey);
        }
        if !token.is_signed_by(&key.jwk()) {
            return Err(Unverified::Signature);
        }
        Ok(token.claims)
    }

    /// The path of the issuer's URL, for a server that replaces Bitbucket's.
    pub(crate) fn path(&self) -> &str {
        self.iss.strip_prefix("https://api.bitbucket.org").unwrap_or(&self.iss)
    }

    /// The token of a step on branch `main` without `deployment:`, valid for one hour.
    ///
    /// Without [`TokenBuilder::audience`] its `aud` is a string, the workspace, which no gateway accepts.
    pub fn token(&self) -> TokenBuilder {
        let now = jwt::now();
        let mut claims = Claims::new();
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        set("iss", json!(self.iss));
        set("aud", json!(format!("ari:cloud:bitbucket::workspace/{}", WORKSPACE_UUID.trim_matches(['{', '}']))));
        set("sub", json!(format!("{REPOSITORY_UUID}:{STEP_UUID}")));
        set("branchName", json!("main"));
        set("repositoryUuid", json!(REPOSITORY_UUID));
        set("workspaceUuid", json!(WORKSPACE_UUID));
        set("pipelineUuid", json!(PIPELINE_UUID));
        set("pipelineRunUuid", json!("{9f8e7d6c-5b4a-4938-a716-f5e4d3c2b1a0}"));
        set("stepUuid", json!(STEP_UUID));
        set("iat", json!(now));
        set("exp", json!(now + 3600));
        let header = json!({"alg": "RS256", "kid": Key::shared_rsa().kid(), "typ": "JWT"});
        TokenBuilder { claims, header, key: Signature::Issuer }
    }
}

/// Why a token could not be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unverified {
    /// It is not a JSON Web Token.
    #[error("it is not a JSON Web Token")]
    Malformed,
    /// Its `kid` is not a key of the issuer.
    #[error("it names a key that the issuer does not have")]
    UnknownKey,
    /// The issuer did not sign it.
    #[error("its signature is invalid")]
    Signature,
}

/// The claims of a token, without verification of the signature. `None` if it is malformed.
#[must_use]
pub fn unverified_claims(token: &str) -> Option<Claims> {
    Token::parse(token).map(|token| token.claims)
}

/// The key that signs a token.
#[derive(Clone, Copy, Debug)]
enum Signature {
    Issuer,
    Stranger,
    Nobody,
}

/// A step's token before it is signed.
#[derive(Clone, Debug)]
#[must_use = "a token is made by `mint`"]
pub struct TokenBuilder {
    claims: Claims,
    header: Value,
    key: Signature,
}

impl TokenBuilder {
    /// Adds a custom audience, like `oidc: audiences:` of a step: `aud` becomes an array.
    pub fn audience(mut self, audience: &str) -> Self {
        let mut audiences = match self.claims.remove("aud") {
            Some(Value::Array(audiences)) => audiences,
            Some(one) => vec![one],
            None => Vec::new(),
        };
        audiences.push(json!(audience));
        self.claim("aud", Value::Array(audiences))
    }

    /// The token of a step with `deployment:`. The environment is part of `sub` and has a claim of its own.
    pub fn deployment(self, environment: &str) -> Self {
        let uuid = |name: &str| self.claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let sub = format!("{}:{environment}:{}", uuid("repositoryUuid"), uuid("stepUuid"));
        self.claim("sub", sub).claim("deploymentEnvironmentUuid", environment)
    }

    /// The token of another repository, also in `sub`.
    pub fn repository(self, uuid: &str) -> Self {
        let step = self.claims.get("stepUuid").and_then(Value::as_str).unwrap_or_default();
        let sub = format!("{uuid}:{step}");
        self.claim("sub", sub).claim("repositoryUuid", uuid)
    }

    /// The token of a build on another branch.
    pub fn branch(self, name: &str) -> Self {
        self.claim("branchName", name)
    }

    /// The token of a tag build, which has no `branchName`.
    pub fn tag(self) -> Self {
        self.without("branchName")
    }

    /// Sets the seconds until the token expires. Negative for an expired one.
    pub fn expires_in(self, seconds: i64) -> Self {
        self.claim("exp", jwt::now() + seconds)
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Signs with another key but keeps the issuer's key id: the signature is invalid.
    pub fn forged(mut self) -> Self {
        self.key = Signature::Stranger;
        self
    }

    /// Sets a key id that is not in the issuer's JWKS.
    pub fn kid(mut self, kid: &str) -> Self {
        self.header["kid"] = json!(kid);
        self
    }

    /// Removes the signature and sets `"alg": "none"` (RFC 7519 section 6).
    pub fn unsigned(mut self) -> Self {
        self.header["alg"] = json!("none");
        self.key = Signature::Nobody;
        self
    }

    /// The current claims.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The signed token.
    #[must_use]
    pub fn mint(&self) -> String {
        match self.key {
            Signature::Issuer => Key::shared_rsa().sign_as(&self.header, &self.claims),
            Signature::Stranger => Key::stranger_rsa().sign_as(&self.header, &self.claims),
            Signature::Nobody => format!("{}.", jwt::unsigned(&self.header, &self.claims)),
        }
    }
}
