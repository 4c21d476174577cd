//! Secrets in the gateway's REST API: created or replaced, never read and never deleted.

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::provider::Provider;
use super::send::{ApiCall, Response};
use super::{Error, Gateway};
use crate::console::redact::Secret;
use crate::function::FunctionName;
use crate::function::outcome::Action;
use crate::oidc::IamAction;

/// The value of a secret, as a request carries it.
#[derive(Debug)]
pub(crate) enum SecretValue {
    Text(Secret),
    /// The bytes of a file.
    Base64(Secret),
}

impl Gateway {
    /// Creates a secret, or replaces its value. Both can be repeated, so that a lost response needs no other care. `is_new`
    /// says that the namespace did not exist before, nor did the secret: it saves a round trip.
    pub(crate) async fn write_secret(
        &self,
        namespace: Option<&str>,
        name: &str,
        value: &SecretValue,
        is_new: bool,
    ) -> Result<Action, Error> {
        let target = FunctionName::all_of(namespace.map(str::to_owned));
        let mut body = match value {
            SecretValue::Text(text) => json!({"name": name, "value": text.reveal()}),
            SecretValue::Base64(text) => json!({"name": name, "rawValue": text.reveal()}),
        };
        if let Some(namespace) = namespace {
            body["namespace"] = namespace.into();
        }
        let body = Bytes::from(body.to_string());
        if !is_new {
            let (call, response) = self.send_secret(Method::PUT, &target, &body).await?;
            match response.status.as_u16() {
                // faasd creates the secret too.
                200..=202 if self.provider().await == Provider::Faasd => return Ok(Action::Written),
                200..=202 => return Ok(Action::Updated),
                404 if response.is_not_found() => {}
                _ => return Err(self.refused(&call, &response)),
            }
        }
        let (call, response) = self.send_secret(Method::POST, &target, &body).await?;
        let was_created = match response.status.as_u16() {
            200..=202 => return Ok(Action::Created),
            409 => response.response_lost,
            _ => return Err(self.refused(&call, &response)),
        };
        let (call, response) = self.send_secret(Method::PUT, &target, &body).await?;
        match response.status.as_u16() {
            200..=202 if was_created => Ok(Action::Created),
            200..=202 => Ok(Action::Updated),
            _ => Err(self.refused(&call, &response)),
        }
    }

    async fn send_secret<'a>(
        &self,
        method: Method,
        target: &'a FunctionName,
        body: &Bytes,
    ) -> Result<(ApiCall<'a>, Response), Error> {
        let action = if method == Method::PUT { IamAction::SecretUpdate } else { IamAction::SecretCreate };
        let call = self.change(method, &["system", "secrets"], action, target, body.clone());
        let response = self.send(&call).await?;
        Ok((call, response))
    }
}
