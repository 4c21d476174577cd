//! What Artifact Registry accepts from docker: the federated token, or a service account's (IAM Service Account Credentials API,
//! *generateAccessToken*).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::Value;

use super::{Google, SCOPE, ServiceAccount, json, text, token};
use crate::cloud::login::RegistryLogin;
use crate::console::log::quote;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::service::{denied, incomplete};

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
        let answer = self.send(SERVICE, request).await?;
        if !answer.status.is_success() {
            let json = json(&answer);
            let message = json.pointer("/error/message").and_then(Value::as_str);
            let message = message.map_or_else(|| text(&answer), str::to_owned);
            let details = json.pointer("/error/details").and_then(Value::as_array).into_iter().flatten();
            let reason = details.filter_map(|detail| detail.get("reason")?.as_str()).next().unwrap_or_default();
            return Err(denied(
                format!("{SERVICE} refused a token of `{account}`: {} {}", answer.status.as_u16(), quote(&message)),
                self.context().of_account(account, reason, &message),
            ));
        }
        let json = json(&answer);
        let text = json.get("accessToken").and_then(Value::as_str).map(str::to_owned);
        let token = text.and_then(token).ok_or_else(|| incomplete(SERVICE, "a token"))?;
        tracing::info!("Google: token of service account `{account}` received");
        Ok(token)
    }
}
