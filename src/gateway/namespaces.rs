//! Namespaces in the gateway's REST API, which OpenFaaS for Enterprises and faasd have.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::send::{ApiCall, Response};
use super::{Deletion, Error, Gateway, RESPONSE_LIMIT, parse};
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

impl Gateway {
    /// `GET /system/namespace/NAME`; `None` if it does not exist.
    pub(crate) async fn namespace(&self, name: &str) -> Result<Option<Namespace>, Error> {
        let target = FunctionName::all_of(Some(name.to_owned()));
        let url = self.path(&["system", "namespace", name]);
        let call = self.question(url, Some(IamAction::NamespaceGet), Some(&target), RESPONSE_LIMIT);
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200 => parse(&call, &response).map(Some),
            404 if response.is_not_found() => Ok(None),
            _ => Err(self.refused(&call, &response)),
        }
    }

    /// Creates a namespace with a label, unless it exists.
    pub(crate) async fn create_namespace(&self, name: &str, label: (&str, &str)) -> Result<Action, Error> {
        if self.namespace(name).await?.is_some() {
            return Ok(Action::Unchanged);
        }
        let target = FunctionName::all_of(Some(name.to_owned()));
        let body = json!({"name": name, "labels": {MARK.0: MARK.1, label.0: label.1}, "annotations": {MARK.0: MARK.1}});
        // With a slash at the end, as go-sdk has it.
        let (call, response) =
            self.send_namespace(Method::POST, "", IamAction::NamespaceCreate, &target, &body).await?;
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
        let (call, response) =
            self.send_namespace(Method::DELETE, name, IamAction::NamespaceDelete, &target, &body).await?;
        match response.status.as_u16() {
            200..=202 => Ok(Deletion::Accepted),
            404 if response.response_lost => Ok(Deletion::Accepted),
            404 if response.is_not_found() => Ok(Deletion::NotFound),
            // A namespace is deleted after all that it contains: a retry can find it on its way out.
            409 if response.response_lost => Ok(Deletion::Accepted),
            _ if response.status.is_server_error() && matches!(self.namespace(name).await, Ok(None)) => {
                Ok(Deletion::Accepted)
            }
            _ => Err(self.refused(&call, &response)),
        }
    }

    async fn send_namespace<'a>(
        &self,
        method: Method,
        name: &str,
        action: IamAction,
        target: &'a FunctionName,
        body: &Value,
    ) -> Result<(ApiCall<'a>, Response), Error> {
        let call = self.change(method, &["system", "namespace", name], action, target, body.to_string().into());
        let response = self.send(&call).await?;
        Ok((call, response))
    }
}
