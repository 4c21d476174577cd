//! Whether the credentials may be sent to a gateway that only the stack file names.

use url::Url;

use crate::config::{Credentials, UrlError, gateway_url};
use crate::console::log::whole_or_length;
use crate::oidc;

/// The gateway that only the stack file names, if the credentials may be sent to it: unlike `OPENFAAS_URL`, a stack file is
/// anyone's text, and a substitution in it may have made up the host.
pub(super) fn trusted(named: &str, credentials: &Credentials, allow_http: bool) -> Result<Url, Distrust> {
    let url = gateway_url(named, allow_http)?;
    match credentials {
        Credentials::Password { .. } => Err(Distrust::Password),
        Credentials::IdToken(Err(_)) => Err(Distrust::NoToken),
        Credentials::IdToken(Ok(token)) => match token.claims() {
            Ok(claims) if oidc::is_meant_for(&claims, &url) => Ok(url),
            _ => Err(Distrust::Audience(named.to_owned())),
        },
    }
}

/// Why a gateway that only the stack file names is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Distrust {
    #[error("is not set, and `provider.gateway` of the stack file {0}")]
    Url(#[from] UrlError),
    #[error(
        "is not set, and a stack file from a URL cannot name the gateway: set `OPENFAAS_URL` to the gateway's address"
    )]
    Remote,
    #[error(
        "is not set, and `OPENFAAS_PASSWORD` is never sent to a gateway that only the stack file names: set `OPENFAAS_URL` to \
         the gateway's address"
    )]
    Password,
    #[error(
        "is not set, and without an ID token the gateway that the stack file names is not used: set `OPENFAAS_URL` to the \
         gateway's address"
    )]
    NoToken,
    #[error(
        "is not set, and the step's token is not sent to `{}`, which only the stack file names and no audience of the token \
         does: set `OPENFAAS_URL` to the gateway's address",
        whole_or_length(.0)
    )]
    Audience(String),
}
