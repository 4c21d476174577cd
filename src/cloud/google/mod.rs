//! Google: an access token for the step's token.

mod credentials;
mod exchange;
mod explain;
mod names;
mod setup;

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::login::{RegistryLogin, SHORTEST_TOKEN};
use super::step::Step;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::service::ServiceClient;
use explain::GoogleRefusal;

pub(crate) use names::{ServiceAccount, WorkloadIdentityProvider, is_google};
pub(crate) use setup::{ArtifactRepository, bind_reader, claims_table, commands};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The login that Google returns for the step's token, requested once.
pub(crate) struct Google<'a> {
    http: &'a ServiceClient,
    provider: &'a WorkloadIdentityProvider,
    account: Option<&'a ServiceAccount>,
    step: &'a Step<'a>,
    login: OnceCell<Result<Arc<RegistryLogin>, Diagnostic>>,
}

impl<'a> Google<'a> {
    pub(crate) fn new(
        http: &'a ServiceClient,
        provider: &'a WorkloadIdentityProvider,
        account: Option<&'a ServiceAccount>,
        step: &'a Step<'a>,
    ) -> Self {
        Self { http, provider, account, step, login: OnceCell::new() }
    }

    /// The login for every registry of Google.
    pub(crate) async fn login(&self) -> Result<Arc<RegistryLogin>, Diagnostic> {
        let login = self.login.get_or_init(|| async {
            let (federated, lifetime) = self.exchange().await?;
            self.registry_login(federated, lifetime).await
        });
        login.await.clone()
    }

    fn context(&self) -> GoogleRefusal<'_> {
        GoogleRefusal { provider: self.provider, step: self.step }
    }
}

/// A token, unless it is a word that would be masked wherever it occurs.
fn token(text: String) -> Option<Secret> {
    (text.len() >= SHORTEST_TOKEN).then(|| Secret::token(text))
}
