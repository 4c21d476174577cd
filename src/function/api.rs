//! OpenFaaS' function resource, as the gateway's REST API reads and writes it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::FunctionName;

/// A function as it is sent to `/system/functions` (faas-provider, `types.FunctionDeployment`).
///
/// `labels` and `annotations` are always sent, every other field only if it has a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deployment {
    pub service: String,
    pub image: String,
    /// The OpenFaaS namespace; the gateway's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The command the watchdog starts (`fprocess`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_process: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env_vars: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// The most a replica may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Resources>,
    /// The resources reserved for a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Resources>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root_filesystem: bool,
}

impl Deployment {
    /// The body of a request.
    pub(crate) fn to_json(&self) -> Bytes {
        serde_json::to_vec(self).expect("maps of texts are JSON").into()
    }
}

impl From<&Deployment> for FunctionName {
    fn from(deployment: &Deployment) -> Self {
        Self { name: deployment.service.clone(), namespace: deployment.namespace.clone() }
    }
}

/// Memory and CPU as Kubernetes quantities (`128Mi`, `100m`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
}

/// A function as `/system/functions` and `/system/function/NAME` show it (faas-provider, `types.FunctionStatus`); a field
/// that is zero is left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) namespace: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) image: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) env_process: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) env_vars: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) constraints: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) secrets: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The most a replica may use.
    pub(crate) limits: Option<Resources>,
    /// The resources reserved for a replica.
    pub(crate) requests: Option<Resources>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) read_only_root_filesystem: bool,
    /// Replicas wanted; 0 if it is scaled to zero.
    #[serde(deserialize_with = "or_default")]
    pub(crate) replicas: u64,
    /// Replicas that can be invoked, old ones included.
    #[serde(deserialize_with = "or_default")]
    pub(crate) available_replicas: u64,
    /// When it was created; with faasd also when it was updated last.
    #[serde(deserialize_with = "or_default")]
    pub(crate) created_at: String,
}

impl Status {
    /// The deployment that results in this function, without what the provider itself adds.
    ///
    /// Known of faas-netes, as controller and as operator: labels `faas_function`, `app`, `controller` and `uid`;
    /// annotations `prometheus.io.scrape` and `com.openfaas.function.spec`; `fprocess` among the environment variables; a
    /// quantity `0` for one that was not given.
    pub(crate) fn deployment(&self) -> Deployment {
        let mut deployment = Deployment {
            service: self.name.clone(),
            image: self.image.clone(),
            namespace: Some(self.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            env_process: Some(self.env_process.clone()).filter(|command| !command.is_empty()),
            env_vars: self.env_vars.clone(),
            constraints: self.constraints.clone(),
            secrets: self.secrets.clone(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            limits: self.limits.as_ref().and_then(Resources::given),
            requests: self.requests.as_ref().and_then(Resources::given),
            read_only_root_filesystem: self.read_only_root_filesystem,
        };
        deployment.env_vars.retain(|name, value| name != "fprocess" || *value != self.env_process);
        deployment.labels.retain(|key, value| match key.as_str() {
            "faas_function" | "app" | "controller" => *value != self.name,
            "uid" => !value.bytes().all(|byte| byte.is_ascii_digit()),
            _ => true,
        });
        deployment.annotations.retain(|key, value| match key.as_str() {
            "prometheus.io.scrape" => value != "false",
            "com.openfaas.function.spec" => false,
            _ => true,
        });
        deployment
    }
}

impl Resources {
    /// Without empty and zero quantities; absent if none is left.
    fn given(&self) -> Option<Self> {
        let given = |quantity: &Option<String>| quantity.clone().filter(|text| !text.is_empty() && text != "0");
        let resources = Self { memory: given(&self.memory), cpu: given(&self.cpu) };
        (resources != Self::default()).then_some(resources)
    }
}

/// Reads `null` as empty: Go writes it for an empty map or list.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The first character of a name that a URL's path cannot contain.
pub(crate) fn unaddressable(name: &str) -> Option<char> {
    name.chars().find(|character| !character.is_ascii_alphanumeric() && !"-_.~".contains(*character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_provider_adds_is_not_sent_again() {
        let status: Status = serde_json::from_str(
            r#"{
                "name": "f", "namespace": "etl", "image": "acme/f:1", "envProcess": "./f",
                "envVars": {"fprocess": "./f", "A": "1"}, "secrets": ["s"], "constraints": null,
                "labels": {"faas_function": "f", "uid": "81726354", "app": "f", "controller": "f", "tier": "web"},
                "annotations": {"prometheus.io.scrape": "false", "com.openfaas.function.spec": "{}", "topic": "t"},
                "limits": {"memory": "128Mi", "cpu": "0"}, "requests": {"memory": "0", "cpu": "0"},
                "readOnlyRootFilesystem": true, "replicas": 1, "availableReplicas": 1, "invocationCount": 7
            }"#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_value(status.deployment()).unwrap(),
            serde_json::json!({
                "service": "f", "namespace": "etl", "image": "acme/f:1", "envProcess": "./f", "envVars": {"A": "1"},
                "secrets": ["s"], "labels": {"tier": "web"}, "annotations": {"topic": "t"},
                "limits": {"memory": "128Mi"}, "readOnlyRootFilesystem": true,
            })
        );
    }

    #[test]
    fn labels_that_a_user_may_have_written_are_kept() {
        let labels = [("app", "shop"), ("uid", "blue"), ("controller", "")];
        let labels: BTreeMap<_, _> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let status = Status { name: "f".to_owned(), labels: labels.clone(), ..Status::default() };
        assert_eq!(status.deployment().labels, labels);
    }
}
