//! Google: a federated token for the step's token (Workload Identity Federation: Security Token Service API, *v1.token*), and the
//! login that Artifact Registry accepts from docker: that token, or a service account's (IAM Service Account Credentials API,
//! *generateAccessToken*).

mod explain;
mod names;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;
use tokio::sync::OnceCell;

use super::fault::{self, Body};
use super::{LoginResult, RegistryLogin, Step, token};
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::service::{ServiceClient, incomplete};
use crate::oidc::Exchanged;

pub(crate) use explain::{ArtifactRepository, bind_reader, claims_table, commands};
pub(crate) use names::{ServiceAccount, WorkloadIdentityProvider, is_google};

const STS: &str = "https://sts.googleapis.com/v1/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The user under which Google's registries take an access token as the password.
const USER: &str = "oauth2accesstoken";

/// How long a service account's token is to be valid: the longest that is always allowed.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The login that Google returns for the step's token, requested once.
pub(crate) struct Google<'a> {
    http: &'a ServiceClient,
    provider: &'a WorkloadIdentityProvider,
    account: Option<&'a ServiceAccount>,
    step: &'a Step<'a>,
    login: OnceCell<LoginResult>,
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
    pub(crate) async fn login(&self) -> LoginResult {
        self.login.get_or_init(|| self.request_login()).await.clone()
    }

    async fn request_login(&self) -> LoginResult {
        let (federated, lifetime) = self.exchange().await?;
        let (token, lifetime) = match self.account {
            Some(account) => (self.impersonate(account, &federated).await?, Some(LIFETIME)),
            None => (federated, lifetime),
        };
        let basic = Secret::token(STANDARD.encode(format!("{USER}:{}", token.reveal())));
        let expires = lifetime.and_then(|lifetime| SystemTime::now().checked_add(lifetime));
        Ok(Arc::new(RegistryLogin { basic, identity_token: None, expires }))
    }

    /// A federated token, and how long it is valid.
    async fn exchange(&self) -> Result<(Secret, Option<Duration>), Diagnostic> {
        const SERVICE: &str = "Google STS";
        let provider = self.provider;
        let audience = provider.audience();
        let form = self.step.token.exchange_form(
            "urn:ietf:params:oauth:token-type:jwt",
            &[
                ("audience", &audience),
                ("scope", SCOPE),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ],
        );
        let request = self.http.request(Method::POST, STS).form(&form);
        let refused = format!("refused the step's token for provider `{provider}`");
        let remedy = |error: &_| explain::sts(provider, self.step, error);
        let response = fault::send(self.http, SERVICE, request, &refused, remedy).await?;
        let exchanged: Option<Exchanged> = serde_json::from_slice(&response.body).ok();
        let read = |exchanged: Exchanged| Some((exchanged.lifetime(), token(exchanged.access_token)?));
        let (lifetime, token) = exchanged.and_then(read).ok_or_else(|| incomplete(SERVICE, "a token"))?;
        tracing::info!("Google: token of provider `{provider}` received");
        Ok((token, lifetime))
    }

    async fn impersonate(&self, account: &ServiceAccount, federated: &Secret) -> Result<Secret, Diagnostic> {
        const SERVICE: &str = "Google's IAM Credentials API";
        let url = format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        );
        let body = json!({"scope": [SCOPE], "lifetime": format!("{}s", LIFETIME.as_secs())});
        let request = self.http.request(Method::POST, url).bearer_auth(federated.reveal()).json(&body);
        let refused = format!("refused a token of `{account}`");
        let remedy = |error: &_| explain::service_account(self.provider, account, self.step, error);
        let response = fault::send(self.http, SERVICE, request, &refused, remedy).await?;
        let token = Body::of(&response).text("accessToken").and_then(token);
        let token = token.ok_or_else(|| incomplete(SERVICE, "a token"))?;
        tracing::info!("Google: token of service account `{account}` received");
        Ok(token)
    }
}
