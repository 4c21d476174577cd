//! The step's ID token: its claims, what the gateway's IAM makes of them, and the resources that would admit it.
//!
//! Everything here explains. Nothing here decides: the gateway alone verifies the token, and its word is final.

mod audience;
mod claims;
mod explain;
mod findings;
mod resources;
#[cfg(test)]
mod tests;
mod yaml;

use crate::console::redact::Secret;
use crate::function::outcome::{Failure, Problem};

pub use audience::Audience;
pub(crate) use audience::is_meant_for;
pub use claims::{Claims, decode_unverified};
pub use explain::{Refusal, Row, claims_table, explain_refusal, missing_token};
pub use findings::{Facts, Finding, Severity, Subject, findings};
pub use resources::{Grant, IamAction, Lacking, missing, missing_action, resources};

/// Longer tokens are not read: one of Bitbucket's has about 2 KiB, and proxies refuse headers far below this.
const LONGEST_TOKEN: usize = 64 * 1024;

/// The variable that the token comes in.
const VARIABLE: &str = "BITBUCKET_STEP_OIDC_TOKEN";

/// The ID token that Bitbucket made for the step.
#[derive(Debug)]
pub struct IdToken(Secret);

impl IdToken {
    /// Takes the variable's value, trimmed, and hides it in all output from now on.
    ///
    /// # Errors
    /// Where it cannot be a token: empty, a variable's name, too long.
    pub fn new(value: &str) -> Result<Self, TokenError> {
        let value = value.trim();
        // Checked first: what is not a secret must stay readable in the log.
        claims::refuse_non_token(value.as_bytes())?;
        Ok(Self(Secret::token(value.to_owned())))
    }

    /// The token, for the exchange request's body only.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// What the token says of the step; not verified, see [`decode_unverified`].
    ///
    /// # Errors
    /// Where it is not a JWT with a JSON object of claims.
    pub fn claims(&self) -> Result<Claims, TokenError> {
        decode_unverified(self.reveal().as_bytes())
    }
}

/// Why a value is not an ID token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing, or white space.
    #[error("no ID token: the step has no `oidc` block")]
    Empty,
    /// A variable's name that nothing was put in the place of.
    #[error("`{VARIABLE}` holds a variable's name, `{0}`, and not a token")]
    Unexpanded(String),
    /// More than 64 KiB.
    #[error("`{VARIABLE}` has {0} bytes, and at most {LONGEST_TOKEN} are read: that is not an ID token of Bitbucket's")]
    TooLong(usize),
    /// Not `HEADER.CLAIMS.SIGNATURE` (RFC 7519, section 3).
    #[error("`{VARIABLE}` is not a JWT: {0}")]
    NotJwt(&'static str),
    /// The middle part is not base64url.
    #[error("`{VARIABLE}` is not a JWT: its claims are not base64url; it was cut or changed on its way")]
    NotBase64,
    /// The claims are not JSON.
    #[error("`{VARIABLE}` is not a JWT: its claims are not JSON (column {column})")]
    NotJson {
        /// Where reading stopped.
        column: usize,
    },
    /// The claims are JSON, but not an object.
    #[error("`{VARIABLE}` is not a JWT: its claims are JSON, but not an object")]
    NotObject,
}

impl TokenError {
    /// The error with its remedy, for the gateway at this URL.
    pub fn problem(&self, gateway: &str) -> Problem {
        if *self == Self::Empty {
            return missing_token(gateway);
        }
        Problem {
            failure: Failure::Permission,
            message: self.to_string(),
            hint: Some(format!(
                "take `{VARIABLE}` out of the pipe's `variables:`, and out of the variables of repository and workspace; \
                 Bitbucket passes it itself, where the step has\n{}",
                audience::block(&[audience::wanted(gateway)])
            )),
        }
    }
}
