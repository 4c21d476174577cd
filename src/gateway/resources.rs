//! Namespaces and secrets in the gateway's REST API. Only OpenFaaS for Enterprises and faasd have namespaces; secrets are never
//! read and never deleted.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::functions::says;
use super::provider::Provider;
use super::{Deletion, Error, Gateway, RESPONSE_LIMIT};
use crate::console::redact::Secret;
use crate::function::FunctionName;
use crate::function::api::or_default;
use crate::function::outcome::Action;
use crate::oidc::IamAction;

/// The label, and on Kubernetes the annotation, that makes a namespace one of OpenFaaS (go-sdk, `CreateNamespace`).
const MARK: (&str, &str) = ("openfaas", "1");

/// A namespace as `/system/namespace/NAME` returns it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// The value of a secret, as a request carries it.
#[derive(Debug)]
pub(crate) enum SecretValue {
    Text(Secret),
    /// The bytes of a file.
    Base64(Secret),
}

impl Gateway {
    /// `GET /system/namespace/NAME`; `None` if it does not exist.
    pub(crate) async fn namespace(&self, name: &str) -> Result<Option<Namespace>, Error> {
        let target = FunctionName::all_of(Some(name.to_owned()));
        let url = self.path(&["system", "namespace", name]);
        self.find(&self.query(url, IamAction::NamespaceGet, &target, RESPONSE_LIMIT)).await
    }

    /// Creates a namespace with a label, unless it exists.
    pub(crate) async fn create_namespace(&self, name: &str, label: (&str, &str)) -> Result<Action, Error> {
        if self.namespace(name).await?.is_some() {
            return Ok(Action::Unchanged);
        }
        let target = FunctionName::all_of(Some(name.to_owned()));
        let body = json!({"name": name, "labels": {MARK.0: MARK.1, label.0: label.1}, "annotations": {MARK.0: MARK.1}});
        // With a slash at the end, as go-sdk has it.
        let body = body.to_string().into();
        let call = self.change(Method::POST, &["system", "namespace", ""], IamAction::NamespaceCreate, &target, body);
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200..=202 => return Ok(Action::Created),
            401 | 403 => return Err(self.refused(&call, &response)),
            _ => {}
        }
        // faasd may report an error although it created the namespace, and a retry finds what a lost request created.
        match self.namespace(name).await {
            Ok(Some(Namespace { labels })) if labels.get(label.0).is_some_and(|value| value == label.1) => {
                Ok(Action::Created)
            }
            Ok(Some(_)) => Ok(Action::Unchanged),
            // faasd returns none without a label of OpenFaaS. The functions will be refused with the reason.
            _ if response.status == StatusCode::CONFLICT => Ok(Action::Unchanged),
            _ => Err(self.refused(&call, &response)),
        }
    }

    /// `DELETE /system/namespace/NAME`.
    pub(crate) async fn delete_namespace(&self, name: &str) -> Result<Deletion, Error> {
        let target = FunctionName::all_of(Some(name.to_owned()));
        let body = json!({"name": name, "labels": {MARK.0: MARK.1}});
        let body = body.to_string().into();
        let call =
            self.change(Method::DELETE, &["system", "namespace", name], IamAction::NamespaceDelete, &target, body);
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200..=202 => Ok(Deletion::Accepted),
            404 if response.is_not_found() && !response.response_lost => Ok(Deletion::NotFound),
            404 if response.is_not_found() => Ok(Deletion::Accepted),
            // A namespace is deleted after all that it contains: a retry can find it on its way out, in the words of Kubernetes.
            409 if response.response_lost && says(&response.body, "all content is removed") => Ok(Deletion::Accepted),
            409 | 500..=599 if matches!(self.namespace(name).await, Ok(None)) => Ok(Deletion::Accepted),
            _ => Err(self.refused(&call, &response)),
        }
    }

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
        let call = |method, action| self.change(method, &["system", "secrets"], action, &target, body.clone());
        let update = call(Method::PUT, IamAction::SecretUpdate);
        if !is_new {
            let response = self.send(&update).await?;
            match response.status.as_u16() {
                // faasd creates the secret too.
                200..=202 if self.provider().await == Provider::Faasd => return Ok(Action::Written),
                200..=202 => return Ok(Action::Updated),
                404 if response.is_not_found() => {}
                _ => return Err(self.refused(&update, &response)),
            }
        }
        let create = call(Method::POST, IamAction::SecretCreate);
        let response = self.send(&create).await?;
        let was_created = match response.status.as_u16() {
            200..=202 => return Ok(Action::Created),
            409 => response.response_lost,
            _ => return Err(self.refused(&create, &response)),
        };
        let response = self.send(&update).await?;
        match response.status.as_u16() {
            200..=202 if was_created => Ok(Action::Created),
            200..=202 => Ok(Action::Updated),
            _ => Err(self.refused(&update, &response)),
        }
    }
}
