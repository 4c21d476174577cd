//! The step's ID token: its claims, how the gateway's IAM reads them, and the resources that give the step access.
//!
//! Everything here explains; the gateway alone verifies the token and decides.

mod audience;
mod claims;
mod exchange;
mod explain;
mod findings;
mod resources;
mod system;
#[cfg(test)]
mod tests;
mod yaml;

use crate::console::redact::Secret;
use crate::diagnostic::{Explain, Failure};

pub(crate) use audience::{is_meant_for, workspace_audience};
pub use claims::{Claims, decode_unverified};
pub(crate) use exchange::{ExchangeRefused, Exchanged};
pub use explain::{Refusal, claims_table, explain_refusal};
pub use findings::{BuildContext, Subject, findings};
pub(crate) use resources::{Grant, IamAction, MissingPermissions, issuer, missing, missing_action, resources};

/// Longer tokens are not read: one of Bitbucket's has about 2 KiB, and proxies refuse headers far below this.
const LONGEST_TOKEN: usize = 64 * 1024;

/// The variable that the token comes in.
const VARIABLE: &str = "BITBUCKET_STEP_OIDC_TOKEN";

/// The remedy for a token that is not the step's own.
fn own_token() -> String {
    format!("remove `{VARIABLE}` from all variables: Bitbucket passes the step's own token by itself")
}

/// The ID token that Bitbucket made for the step.
#[derive(Debug)]
pub(crate) struct IdToken(Secret);

impl IdToken {
    /// Takes the variable's value, trimmed, and hides it in all output from now on.
    pub(crate) fn new(value: &str) -> Result<Self, TokenError> {
        let value = value.trim();
        // Checked first: what is not a secret must stay readable in the log.
        claims::refuse_non_token(value.as_bytes())?;
        Ok(Self(Secret::token(value.to_owned())))
    }

    /// The token, for the exchange request's body only.
    pub(crate) fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// Not verified, see [`decode_unverified`].
    pub(crate) fn claims(&self) -> Result<Claims, TokenError> {
        decode_unverified(self.reveal().as_bytes())
    }
}

/// Why a value is not an ID token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("no ID token: the step has no `oidc` block")]
    Empty,
    #[error("`{VARIABLE}` is the text `{0}`, not a token")]
    Unexpanded(String),
    #[error("`{VARIABLE}` is not an ID token of Bitbucket: it has {0} bytes, more than the limit of {LONGEST_TOKEN}")]
    TooLong(usize),
    /// Not `HEADER.CLAIMS.SIGNATURE` (RFC 7519, section 3).
    #[error("`{VARIABLE}` is not a JWT: {0}")]
    NotJwt(&'static str),
    #[error("`{VARIABLE}` is not a JWT: its claims are not base64url; it was truncated or changed")]
    NotBase64,
    #[error("`{VARIABLE}` is not a JWT: its claims are not JSON (column {column})")]
    NotJson { column: usize },
    #[error("`{VARIABLE}` is not a JWT: its claims are JSON, but not an object")]
    NotObject,
}

impl TokenError {
    /// For the gateway at this URL, which the remedy names.
    pub fn at<'a>(&'a self, gateway: &'a str) -> Unusable<'a> {
        Unusable { error: self, gateway }
    }
}

/// There is no token that could be exchanged at a gateway.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unusable<'a> {
    error: &'a TokenError,
    gateway: &'a str,
}

impl Explain for Unusable<'_> {
    fn failure(&self) -> Failure {
        Failure::Permission
    }

    fn hint(&self) -> Option<String> {
        let block = audience::block(&[audience::wanted(self.gateway)]);
        Some(match self.error {
            TokenError::Empty => format!(
                "add an `oidc` block to the step; Bitbucket then passes the token by itself, without `{VARIABLE}` in \
                 `variables:`\n{block}\n    script:\n      - pipe: …\n\
                 OpenFaaS CE and Standard have no IAM: set `OPENFAAS_PASSWORD` there instead (an empty value counts as not set)"
            ),
            _ => format!(
                "remove `{VARIABLE}` from the pipe's `variables:` and from the repository and workspace variables; Bitbucket \
                 passes it by itself if the step has\n{block}"
            ),
        })
    }
}
