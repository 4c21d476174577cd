//! Google: an access token for the step's token (Workload Identity Federation: Security Token Service API, *v1.token*;
//! IAM Service Account Credentials API, *generateAccessToken*).

mod explain;
mod names;
mod setup;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::error::{about, denied, incomplete, unavailable};
use super::login::RegistryLogin;
use super::step::Step;
use super::transport::{Answer, Http, is_transient};
use crate::console::log::quote;
use crate::console::redact::Secret;
use crate::function::outcome::Problem;
use explain::Context;

pub(crate) use names::{ServiceAccount, WorkloadIdentityProvider, is_google};
pub(crate) use setup::{ArtifactRepository, bind_reader, claims_table, commands};

/// The user under which Google's registries take an access token as the password.
const USER: &str = "oauth2accesstoken";

const STS: &str = "https://sts.googleapis.com/v1/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// How long a service account's token is to be valid, in seconds: the longest that is always allowed.
const LIFETIME: u64 = 3600;

/// What Google returns for the step's token, requested once.
pub(crate) struct Google<'a> {
    http: &'a Http,
    provider: &'a WorkloadIdentityProvider,
    account: Option<&'a ServiceAccount>,
    step: &'a Step<'a>,
    login: OnceCell<Result<Arc<RegistryLogin>, Problem>>,
}

impl<'a> Google<'a> {
    pub(crate) fn new(
        http: &'a Http,
        provider: &'a WorkloadIdentityProvider,
        account: Option<&'a ServiceAccount>,
        step: &'a Step<'a>,
    ) -> Self {
        Self { http, provider, account, step, login: OnceCell::new() }
    }

    /// The login for every registry of Google.
    pub(crate) async fn login(&self) -> Result<Arc<RegistryLogin>, Problem> {
        let login = self.login.get_or_init(|| async {
            let (federated, lifetime) = self.exchange().await?;
            let (token, lifetime) = match self.account {
                Some(account) => (self.impersonate(account, &federated).await?, Some(LIFETIME)),
                None => (federated, lifetime),
            };
            let basic = Secret::token(STANDARD.encode(format!("{USER}:{}", token.reveal())));
            let expires = lifetime.and_then(|seconds| SystemTime::now().checked_add(Duration::from_secs(seconds)));
            Ok(Arc::new(RegistryLogin { basic, identity_token: None, expires }))
        });
        login.await.clone()
    }

    /// A federated token, and how many seconds it is valid.
    async fn exchange(&self) -> Result<(Secret, Option<u64>), Problem> {
        const SERVICE: &str = "Google STS";
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", &self.provider.audience()),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", self.step.token.reveal()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        let answer = self.send(SERVICE, self.http.request(Method::POST, STS).form(&form)).await?;
        if !answer.status.is_success() {
            // `error` and `error_description` (RFC 6749, section 5.2).
            let json = json(&answer);
            let field = |name: &str| json.get(name).and_then(Value::as_str);
            let (code, said) = match (field("error"), field("error_description")) {
                (Some(code), Some(description)) => (code, format!("{code}: {description}")),
                (code, _) => (code.unwrap_or_default(), text(&answer)),
            };
            return Err(denied(
                format!(
                    "{SERVICE} refused the step's token for provider `{}`: {} {}",
                    self.provider,
                    answer.status.as_u16(),
                    quote(&said)
                ),
                self.context().of_sts(code, &said),
            ));
        }
        let json = json(&answer);
        let token = json.get("access_token").and_then(Value::as_str).ok_or_else(|| incomplete(SERVICE, "a token"))?;
        tracing::info!("Google: token of provider `{}` received", self.provider);
        Ok((Secret::token(token.to_owned()), json.get("expires_in").and_then(Value::as_u64)))
    }

    async fn impersonate(&self, account: &ServiceAccount, federated: &Secret) -> Result<Secret, Problem> {
        const SERVICE: &str = "Google's IAM Credentials API";
        let url = format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        );
        let request = self.http.request(Method::POST, url).bearer_auth(federated.reveal());
        let request = request.json(&serde_json::json!({"scope": [SCOPE], "lifetime": format!("{LIFETIME}s")}));
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
        let token = json.get("accessToken").and_then(Value::as_str).ok_or_else(|| incomplete(SERVICE, "a token"))?;
        tracing::info!("Google: token of service account `{account}` received");
        Ok(Secret::token(token.to_owned()))
    }

    async fn send(&self, service: &str, request: reqwest::RequestBuilder) -> Result<Answer, Problem> {
        let answer = self.http.send(request).await;
        let answer = answer.map_err(|error| about(format!("{service} could not be reached"), error))?;
        if is_transient(answer.status) {
            let message = format!("{service} answered {}: {}", answer.status.as_u16(), quote(&text(&answer)));
            return Err(unavailable(message, None));
        }
        Ok(answer)
    }

    fn context(&self) -> Context<'_> {
        Context { provider: self.provider, step: self.step }
    }
}

/// Null if the answer is not JSON.
fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}
