//! A federated token for the step's token (Workload Identity Federation: Security Token Service API, *v1.token*).

use http::Method;
use serde_json::Value;

use super::{Google, SCOPE, json, text};
use crate::console::log::quote;
use crate::console::redact::Secret;
use crate::function::outcome::Problem;
use crate::http::service::{denied, incomplete};

const STS: &str = "https://sts.googleapis.com/v1/token";

impl Google<'_> {
    /// A federated token, and how many seconds it is valid.
    pub(super) async fn exchange(&self) -> Result<(Secret, Option<u64>), Problem> {
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
}
