//! Google: an access token for the step's token.

mod credentials;
mod exchange;
mod explain;
mod names;
mod setup;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::login::{RegistryLogin, SHORTEST_TOKEN};
use super::step::Step;
use crate::console::log::quote;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::service::{Answer, Http, about, is_transient, unavailable};
use explain::Context;

pub(crate) use names::{ServiceAccount, WorkloadIdentityProvider, is_google};
pub(crate) use setup::{ArtifactRepository, bind_reader, claims_table, commands};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// What Google returns for the step's token, requested once.
pub(crate) struct Google<'a> {
    http: &'a Http,
    provider: &'a WorkloadIdentityProvider,
    account: Option<&'a ServiceAccount>,
    step: &'a Step<'a>,
    login: OnceCell<Result<Arc<RegistryLogin>, Diagnostic>>,
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
    pub(crate) async fn login(&self) -> Result<Arc<RegistryLogin>, Diagnostic> {
        let login = self.login.get_or_init(|| async {
            let (federated, lifetime) = self.exchange().await?;
            self.registry_login(federated, lifetime).await
        });
        login.await.clone()
    }

    async fn send(&self, service: &str, request: reqwest::RequestBuilder) -> Result<Answer, Diagnostic> {
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

/// A token, unless it is a word that would be masked wherever it occurs.
fn token(text: String) -> Option<Secret> {
    (text.len() >= SHORTEST_TOKEN).then(|| Secret::token(text))
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}
