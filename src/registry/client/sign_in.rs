//! Signing in for docker: a login that was checked, or what a cloud returned for the step's token.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::Registries;
use crate::cloud::RegistryLogin;
use crate::diagnostic::Diagnostic;
use crate::function::image::Host;
use crate::http::retry;
use crate::http::service::{SHORT, denied, is_transient, unavailable};
use crate::registry::credentials::{self, CredentialSource};
use crate::registry::explain;

/// A login that a registry or a cloud accepted.
pub(crate) struct SignedIn {
    pub(crate) login: Arc<RegistryLogin>,
    /// The registry answers without a login too, so that it may not have looked at it.
    pub(crate) is_optional: bool,
}

impl Registries<'_> {
    /// Signs in to a host. What a cloud returns is new; any other login is shown to the registry, as docker does, without any
    /// image.
    pub(crate) async fn sign_in(&self, host: &Host) -> Result<SignedIn, Diagnostic> {
        let access = self.access(host).await?;
        let Some(login) = &access.login else {
            let hint = format!("set {}", credentials::wanted(host));
            return Err(denied(format!("there are no credentials for registry `{host}`"), hint));
        };
        let signed_in = |is_optional| Ok(SignedIn { login: Arc::clone(login), is_optional });
        if let CredentialSource::Aws(..) | CredentialSource::Google(..) = self.credentials.of(host) {
            return signed_in(false);
        }
        let base = access.url("")?;
        let mut asked = access.ask(Method::GET, &base, SHORT, None).await?;
        let is_optional = asked.response.status.is_success() && !asked.is_authorized;
        if is_optional {
            asked = access.send(Method::GET, &base, SHORT, access.basic()).await?;
        }
        let response = &asked.response;
        match response.status {
            StatusCode::OK if !retry::is_web_page(&response.headers, &response.body) => signed_in(is_optional),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(explain::login_refused(host, response, self.context()))
            }
            status if is_transient(status) => {
                Err(unavailable(format!("registry `{host}` returned {}", status.as_u16()), None))
            }
            _ => Err(explain::not_registry(host, response)),
        }
    }
}
