//! Reads a token's claims, for explaining them.

use jsonwebtoken::errors::ErrorKind;
use serde_json::{Map, Value};

use super::{LONGEST_TOKEN, TokenError};
use crate::console::log::quote;
use crate::text::variable_name;

/// The claims of a token; those that Bitbucket documents have a method each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

/// Reads the claims of a JWT **without verifying anything**: not the signature, not the times, not the audience.
///
/// They serve to explain a refusal and to fill in a proposal, and to decide that a token is *not* sent. No access may depend on
/// them: the gateway verifies the token, and decides. This is the only place where a token is decoded; it accepts any bytes.
///
/// # Errors
/// If the bytes are not a JWT with a JSON object of claims.
pub fn decode_unverified(token: &[u8]) -> Result<Claims, TokenError> {
    let token = token.trim_ascii();
    refuse_non_token(token)?;
    check_shape(token)?;
    match jsonwebtoken::dangerous::insecure_decode_claims(token) {
        Ok(Value::Object(claims)) => Ok(Claims(claims)),
        Ok(_) => Err(TokenError::NotObject),
        Err(error) => Err(match error.kind() {
            ErrorKind::Json(error) => TokenError::NotJson { column: error.column() },
            _ => TokenError::NotBase64,
        }),
    }
}

/// Refuses what cannot be meant as a token.
pub(super) fn refuse_non_token(value: &[u8]) -> Result<(), TokenError> {
    if value.trim_ascii().is_empty() {
        return Err(TokenError::Empty);
    }
    if value.len() > LONGEST_TOKEN {
        return Err(TokenError::TooLong(value.len()));
    }
    match std::str::from_utf8(value) {
        // A name in lower case may be a password that begins with `$`, which no message may show.
        Ok(text) if variable_name(text).is_some_and(|name| name.len() <= 64 && !name.contains(char::is_lowercase)) => {
            Err(TokenError::Unexpanded(quote(text)))
        }
        _ => Ok(()),
    }
}

/// Refuses a text that is not `HEADER.CLAIMS.SIGNATURE` (RFC 7519, section 3), with what it looks like.
fn check_shape(token: &[u8]) -> Result<(), TokenError> {
    // Checked by hand: the library says only that the token is invalid.
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    Err(TokenError::NotJwt(match parts.as_slice() {
        _ if token.starts_with(b"Bearer ") => "it begins with `Bearer`, which is not part of the token",
        _ if token.iter().any(u8::is_ascii_whitespace) => "it contains white space: it was wrapped, or is two values",
        _ if token.starts_with(b"\"") || token.starts_with(b"'") => "it is in quotes",
        [_] => "it has one part instead of three, like a password or an opaque access token",
        [_, _] | [_, _, b""] => "it has no signature; it was truncated",
        [b"", _, _] | [_, b"", _] => "one of its three parts is empty",
        [_, _, _] => return Ok(()),
        _ => "it has more than three parts",
    }))
}

impl Claims {
    /// A claim that is a text and not blank.
    pub fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str().filter(|text| !text.trim().is_empty())
    }

    /// `iss`: who made the token.
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// The workspace that a Bitbucket issuer's URL names; `None` if another issuer made the token.
    pub fn workspace(&self) -> Option<&str> {
        self.issuer()?
            .strip_prefix("https://api.bitbucket.org/2.0/workspaces/")?
            .strip_suffix("/pipelines-config/identity/oidc")
            .filter(|workspace| !workspace.is_empty() && !workspace.contains('/'))
    }

    /// `repositoryUuid`, in braces.
    pub fn repository(&self) -> Option<&str> {
        self.text("repositoryUuid")
    }

    /// `branchName`; `None` in builds of tags.
    pub fn branch(&self) -> Option<&str> {
        self.text("branchName")
    }

    /// `deploymentEnvironmentUuid`, in braces; only on a step with `deployment:`.
    pub fn environment(&self) -> Option<&str> {
        self.text("deploymentEnvironmentUuid")
    }

    /// `aud`: a text, or a list if the step has custom audiences (RFC 7519, section 4.1.3).
    pub fn audiences(&self) -> Vec<&str> {
        match self.0.get("aud") {
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// A time in seconds since 1970, as a number or as a text of one (`exp`, `iat`, `nbf`).
    pub fn time(&self, claim: &str) -> Option<u64> {
        let seconds = match self.0.get(claim)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        // The cast saturates, below at 0.
        seconds.filter(|seconds| seconds.is_finite()).map(|seconds| seconds as u64)
    }

    /// All claims, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(claim, value)| (claim.as_str(), value))
    }

    pub fn get(&self, claim: &str) -> Option<&Value> {
        self.0.get(claim)
    }
}

#[cfg(test)]
impl From<Map<String, Value>> for Claims {
    fn from(claims: Map<String, Value>) -> Self {
        Self(claims)
    }
}
