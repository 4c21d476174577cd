//! Google: an access token for the step's token (Workload Identity Federation: Security Token Service API, *v1.token*;
//! IAM Service Account Credentials API, *generateAccessToken*).

mod explain;
mod names;
mod setup;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

use super::clock;
use super::error::Error;
use super::step::Step;
use super::transport::{ANSWER_LIMIT, Answer, Http, is_transient};
use crate::console::log::quote;
use crate::console::redact::Secret;
use explain::Context;

pub(crate) use names::{Provider, ServiceAccount, is_google};
pub(crate) use setup::{ArtifactRepository, bind_reader, commands};

/// The user under which Google's registries take an access token as the password.
pub(crate) const USER: &str = "oauth2accesstoken";

const STS: &str = "https://sts.googleapis.com/v1/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// What Google gives for the step's token, asked for once.
pub(crate) struct Google<'a> {
    http: &'a Http,
    provider: &'a Provider,
    account: Option<&'a ServiceAccount>,
    step: &'a Step<'a>,
    token: OnceCell<Result<AccessToken, Error>>,
}

/// A token for Google's APIs.
#[derive(Debug)]
pub(crate) struct AccessToken {
    pub(crate) token: Secret,
    /// In seconds since 1970.
    pub(crate) expires: Option<u64>,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generated {
    access_token: String,
    expire_time: Option<String>,
}

impl<'a> Google<'a> {
    pub(crate) fn new(
        http: &'a Http,
        provider: &'a Provider,
        account: Option<&'a ServiceAccount>,
        step: &'a Step<'a>,
    ) -> Self {
        Self { http, provider, account, step, token: OnceCell::new() }
    }

    /// The token that registries take.
    pub(crate) async fn token(&self) -> Result<&AccessToken, Error> {
        let token = self.token.get_or_init(|| async {
            let federated = self.exchange().await?;
            match self.account {
                Some(account) => self.impersonate(account, &federated).await,
                None => Ok(federated),
            }
        });
        token.await.as_ref().map_err(Clone::clone)
    }

    async fn exchange(&self) -> Result<AccessToken, Error> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", &self.provider.audience()),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", self.step.token.reveal()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        let request = self.http.request(Method::POST, url(STS)?).form(&form);
        let answer = self.send("Google STS", request).await?;
        if !answer.status.is_success() {
            let (code, description) = oauth_error(&answer);
            let said = if description.is_empty() { code.clone() } else { format!("{code}: {description}") };
            return Err(Error::denied(
                format!(
                    "Google STS refuses the step's token for provider `{}`: {} {}",
                    self.provider,
                    answer.status.as_u16(),
                    quote(&said)
                ),
                self.context().of_sts(&code, &description),
            ));
        }
        let exchanged: Exchanged = serde_json::from_slice(&answer.body).map_err(|_| unreadable("Google STS"))?;
        tracing::info!("Google: token of provider `{}` received", self.provider);
        let expires = exchanged.expires_in.map(|seconds| clock::now().saturating_add(seconds));
        Ok(AccessToken { token: Secret::token(exchanged.access_token), expires })
    }

    async fn impersonate(&self, account: &ServiceAccount, federated: &AccessToken) -> Result<AccessToken, Error> {
        const SERVICE: &str = "Google's IAM Credentials API";
        let endpoint = format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        );
        let request = self
            .http
            .request(Method::POST, url(&endpoint)?)
            .bearer_auth(federated.token.reveal())
            .json(&json!({"scope": [SCOPE], "lifetime": "3600s"}));
        let answer = self.send(SERVICE, request).await?;
        if !answer.status.is_success() {
            let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let message = json.pointer("/error/message").and_then(Value::as_str);
            let message = message.map_or_else(|| String::from_utf8_lossy(&answer.body).into_owned(), str::to_owned);
            let details = json.pointer("/error/details").and_then(Value::as_array).into_iter().flatten();
            let reason = details.filter_map(|detail| detail.get("reason")?.as_str()).next().unwrap_or_default();
            return Err(Error::denied(
                format!("{SERVICE} refuses a token of `{account}`: {} {}", answer.status.as_u16(), quote(&message)),
                self.context().of_account(account, reason, &message),
            ));
        }
        let generated: Generated = serde_json::from_slice(&answer.body).map_err(|_| unreadable(SERVICE))?;
        tracing::info!("Google: token of service account `{account}` received");
        let expires = generated.expire_time.and_then(|time| clock::parse(&time));
        Ok(AccessToken { token: Secret::token(generated.access_token), expires })
    }

    async fn send(&self, service: &str, request: reqwest::RequestBuilder) -> Result<Answer, Error> {
        let sent = self.http.send(request, ANSWER_LIMIT).await;
        let answer = sent.map_err(|error| Error::unavailable(format!("{service} could not be asked: {error}")))?;
        if is_transient(answer.status) {
            let said = quote(&String::from_utf8_lossy(&answer.body));
            return Err(Error::unavailable(format!("{service} answered {}: {said}", answer.status.as_u16())));
        }
        Ok(answer)
    }

    fn context(&self) -> Context<'_> {
        Context { provider: self.provider, step: self.step }
    }
}

fn url(endpoint: &str) -> Result<Url, Error> {
    Url::parse(endpoint).map_err(|error| Error::denied(format!("`{endpoint}`: {error}"), None))
}

fn unreadable(service: &str) -> Error {
    Error::denied(
        format!("{service} returned an answer without a token"),
        "look for a proxy that answers in its place".to_owned(),
    )
}

/// `error` and `error_description` (RFC 6749, section 5.2); the whole text if it is none.
fn oauth_error(answer: &Answer) -> (String, String) {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let field = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    match field("error") {
        Some(code) => (code, field("error_description").unwrap_or_default()),
        None => (String::from_utf8_lossy(&answer.body).into_owned(), String::new()),
    }
}
