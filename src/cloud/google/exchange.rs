//! A federated token for the step's token (Workload Identity Federation: Security Token Service API, *v1.token*).

use std::time::Duration;

use http::Method;

use super::{Google, SCOPE, token};
use crate::cloud::fault;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::service::incomplete;
use crate::oidc::Exchanged;

const STS: &str = "https://sts.googleapis.com/v1/token";

impl Google<'_> {
    /// A federated token, and how long it is valid.
    pub(super) async fn exchange(&self) -> Result<(Secret, Option<Duration>), Diagnostic> {
        const SERVICE: &str = "Google STS";
        let audience = self.provider.audience();
        let form = self.step.token.exchange_form(
            "urn:ietf:params:oauth:token-type:jwt",
            &[
                ("audience", &audience),
                ("scope", SCOPE),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ],
        );
        let response = fault::send(self.http, SERVICE, self.http.request(Method::POST, STS).form(&form)).await?;
        if !response.status.is_success() {
            let what = format!("refused the step's token for provider `{}`", self.provider);
            return Err(fault::refused(SERVICE, &what, &response, |fault| self.context().of_sts(fault)));
        }
        let exchanged: Option<Exchanged> = serde_json::from_slice(&response.body).ok();
        let exchanged = exchanged.ok_or_else(|| incomplete(SERVICE, "a token"))?;
        let lifetime = exchanged.lifetime();
        let token = token(exchanged.access_token).ok_or_else(|| incomplete(SERVICE, "a token"))?;
        tracing::info!("Google: token of provider `{}` received", self.provider);
        Ok((token, lifetime))
    }
}
