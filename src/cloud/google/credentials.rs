//! The login that Artifact Registry accepts from docker: the federated token, or a service account's (IAM Service Account Credentials API,
//! *generateAccessToken*).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use super::{Google, SCOPE, ServiceAccount, token};
use crate::cloud::fault::{self, Body};
use crate::cloud::login::RegistryLogin;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::service::incomplete;

/// The user under which Google's registries take an access token as the password.
const USER: &str = "oauth2accesstoken";

/// How long a service account's token is to be valid: the longest that is always allowed.
const LIFETIME: Duration = Duration::from_secs(3600);

impl Google<'_> {
    /// The login for a federated token, which is valid for `lifetime`.
    pub(super) async fn registry_login(
        &self,
        federated: Secret,
        lifetime: Option<Duration>,
    ) -> Result<Arc<RegistryLogin>, Diagnostic> {
        let (token, lifetime) = match self.account {
            Some(account) => (self.impersonate(account, &federated).await?, Some(LIFETIME)),
            None => (federated, lifetime),
        };
        let basic = Secret::token(STANDARD.encode(format!("{USER}:{}", token.reveal())));
        let expires = lifetime.and_then(|lifetime| SystemTime::now().checked_add(lifetime));
        Ok(Arc::new(RegistryLogin { basic, identity_token: None, expires }))
    }

    async fn impersonate(&self, account: &ServiceAccount, federated: &Secret) -> Result<Secret, Diagnostic> {
        const SERVICE: &str = "Google's IAM Credentials API";
        let url = format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        );
        let request = self.http.request(Method::POST, url).bearer_auth(federated.reveal());
        let request =
            request.json(&serde_json::json!({"scope": [SCOPE], "lifetime": format!("{}s", LIFETIME.as_secs())}));
        let response = fault::send(self.http, SERVICE, request).await?;
        if !response.status.is_success() {
            let what = format!("refused a token of `{account}`");
            return Err(fault::refused(SERVICE, &what, &response, |fault| self.context().of_account(account, fault)));
        }
        let text = Body::of(&response).text("accessToken");
        let token = text.and_then(token).ok_or_else(|| incomplete(SERVICE, "a token"))?;
        tracing::info!("Google: token of service account `{account}` received");
        Ok(token)
    }
}
