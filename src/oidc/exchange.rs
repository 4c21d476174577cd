//! The request and the responses of a token exchange (RFC 8693), which the gateway and Google implement.

use std::time::Duration;

use serde::Deserialize;

use super::IdToken;

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

impl IdToken {
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
