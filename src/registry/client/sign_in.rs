//! Signing in for docker: a login that was checked, or what a cloud returned for the step's token.

use std::sync::Arc;

use http::Method;

use super::Registries;
use crate::cloud::RegistryLogin;
use crate::diagnostic::Diagnostic;
use crate::function::image::Host;
use crate::http::service::is_transient;
use crate::http::service::{denied, unavailable};
use crate::registry::credentials::{self, CredentialSource};
use crate::registry::explain;

impl Registries<'_> {
    /// The login for a host. What a cloud returns is new; any other is checked as docker does, without any image.
    pub(crate) async fn sign_in(&self, host: &Host) -> Result<Arc<RegistryLogin>, Diagnostic> {
        let access = self.access(host).await?;
        let Some(login) = &access.login else {
            let hint = format!("set {}", credentials::wanted(host));
            return Err(denied(format!("there are no credentials for registry `{host}`"), hint));
        };
        if let CredentialSource::Aws(..) | CredentialSource::Google(..) = self.credentials.of(host) {
            return Ok(Arc::clone(login));
        }
        let answer = access.ask(Method::GET, &access.url("")?, "*/*", None).await?;
        match answer.status {
            status if status.is_success() => Ok(Arc::clone(login)),
            status if is_transient(status) => {
                Err(unavailable(format!("registry `{host}` answered {}", status.as_u16()), None))
            }
            _ => Err(explain::login_refused(host, &answer, self.context())),
        }
    }
}
