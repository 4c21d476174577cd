//! The step's ID token: its claims, how the gateway's IAM reads them, and the resources that give the step access; and the request
//! and the responses of a token exchange (RFC 8693), which the gateway and Google implement.
//!
//! Everything here explains; the gateway alone verifies the token and decides.

mod audience;
mod claims;
mod explain;
mod findings;
mod resources;
mod system;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Deserialize;

use crate::console::redact::Secret;
use crate::diagnostic::{Diagnostic, Failure};

pub(crate) use audience::{is_meant_for, workspace_audience};
pub use claims::{Claims, decode_unverified};
pub use explain::{Refusal, claims_table, explain_refusal};
pub use findings::{BuildContext, Subject, findings};
pub(crate) use resources::{Grant, IamAction, MissingPermissions, issuer, missing, missing_action, resources};

/// Longer tokens are not read: one of Bitbucket's has about 2 KiB, and proxies refuse headers far below this.
const LONGEST_TOKEN: usize = 64 * 1024;

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

    /// The form that exchanges the token as one of this type (RFC 8693, section 2.1 and 3).
    pub(crate) fn exchange_form<'a>(
        &'a self,
        token_type: &'a str,
        more: &[(&'a str, &'a str)],
    ) -> Vec<(&'a str, &'a str)> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", token_type),
            ("subject_token", self.reveal()),
        ];
        [&form[..], more].concat()
    }
}

/// A success (RFC 8693, section 2.2.1).
#[derive(Deserialize)]
pub(crate) struct Exchanged {
    pub(crate) access_token: String,
    #[serde(default)]
    expires_in: Option<serde_json::Number>,
}

impl Exchanged {
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        let seconds = self.expires_in.as_ref()?.as_f64().filter(|seconds| *seconds > 0.0)?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// A refusal (RFC 6749, section 5.2).
#[derive(Default, Deserialize)]
pub(crate) struct ExchangeRefused {
    pub(crate) error: Option<String>,
    pub(crate) error_description: Option<String>,
}

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
    /// There is no token that could be exchanged at the gateway with this URL.
    pub fn at(&self, gateway: &str) -> Diagnostic {
        let block = audience::block(&[audience::wanted(gateway)]);
        let hint = match self {
            Self::Empty => format!(
                "add an `oidc` block to the step; Bitbucket then passes the token by itself, without `{VARIABLE}` in \
                 `variables:`\n{block}\n    script:\n      - pipe: …\n\
                 OpenFaaS CE and Standard have no IAM: set `OPENFAAS_PASSWORD` there instead (an empty value counts as not set)"
            ),
            _ => format!(
                "remove `{VARIABLE}` from the pipe's `variables:` and from the repository and workspace variables; Bitbucket \
                 passes it by itself if the step has\n{block}"
            ),
        };
        Diagnostic::new(Failure::Permission, self.to_string()).with_hint(hint)
    }
}
