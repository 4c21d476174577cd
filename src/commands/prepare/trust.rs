//! Decides whether the credentials may be sent to a gateway that only the stack file names.

use url::Url;

use crate::config::{Config, Credentials, gateway_url};
use crate::console::log::whole_or_length;
use crate::diagnostic::Diagnostic;
use crate::oidc;

/// The gateway that only the stack file names, if the credentials may be sent to it. Unlike `OPENFAAS_URL`, the text of a stack
/// file is not trusted: its host may be the result of a substitution.
pub(super) fn trusted(named: &str, stack_file: &str, config: &Config, allow_http: bool) -> Result<Url, Diagnostic> {
    let refused = |reason: &str| {
        Diagnostic::error(format!("is not set, and {reason}: set `OPENFAAS_URL` to the gateway's address"))
    };
    if stack_file.starts_with("https://") {
        return Err(refused("a stack file from a URL cannot name the gateway"));
    }
    let url = gateway_url(named, allow_http)
        .map_err(|error| Diagnostic::error(format!("is not set, and `provider.gateway` of the stack file {error}")))?;
    if !config.gateway_headers.is_empty() {
        return Err(refused("`GATEWAY_HEADERS` are never sent to a gateway that only the stack file names"));
    }
    match (&config.credentials, &config.id_token) {
        (Credentials::Password { .. }, _) => {
            Err(refused("`OPENFAAS_PASSWORD` is never sent to a gateway that only the stack file names"))
        }
        (Credentials::IdToken, Err(_)) => {
            Err(refused("without an ID token the gateway that the stack file names is not used"))
        }
        (Credentials::IdToken, Ok(token)) => match token.claims() {
            Ok(claims) if oidc::is_meant_for(&claims, &url) => Ok(url),
            _ => Err(refused(&format!(
                "the step's token is not sent to `{}`, which only the stack file names and no audience of the token does",
                whole_or_length(named)
            ))),
        },
    }
}
