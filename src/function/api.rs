//! OpenFaaS' function resource, as the gateway's REST API reads and writes it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::FunctionName;

const BILLION: u128 = 1_000_000_000;

/// A function as it is sent to `/system/functions` (faas-provider, `types.FunctionDeployment`).
///
/// `labels` and `annotations` are always sent, every other field only if it has a value. Go writes `null` for an empty map or list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deployment {
    /// A status has it as `name`.
    #[serde(alias = "name")]
    pub service: String,
    #[serde(deserialize_with = "or_default")]
    pub image: String,
    /// The OpenFaaS namespace; the gateway's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The command the watchdog starts (`fprocess`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_process: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub env_vars: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub constraints: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub secrets: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// The most a replica may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Resources>,
    /// The resources reserved for a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Resources>,
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub read_only_root_filesystem: bool,
}

impl Deployment {
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
    /// With what the provider added to it.
    #[serde(flatten)]
    pub(crate) spec: Deployment,
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
        let mut deployment = self.spec.clone();
        deployment.namespace.take_if(|namespace| namespace.is_empty());
        deployment.env_process.take_if(|command| command.is_empty());
        deployment.limits = deployment.limits.and_then(Resources::given);
        deployment.requests = deployment.requests.and_then(Resources::given);
        let command = self.spec.env_process.as_deref().unwrap_or_default();
        deployment.env_vars.retain(|name, value| name != "fprocess" || value != command);
        deployment.labels.retain(|key, value| match key.as_str() {
            "faas_function" | "app" | "controller" => *value != self.spec.service,
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
    fn given(self) -> Option<Self> {
        let given = |quantity: Option<String>| quantity.filter(|text| !text.is_empty() && text != "0");
        Some(Self { memory: given(self.memory), cpu: given(self.cpu) }).filter(|given| *given != Self::default())
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

/// True if two quantities are equal, as `0.5` CPU and `500m` are; what is not a quantity is equal only to the same text.
pub(crate) fn is_same_quantity(one: &str, other: &str) -> bool {
    one == other || nanos(one).is_some_and(|value| Some(value) == nanos(other))
}

/// A Kubernetes quantity in billionths, rounded up and saturating (`resource.ParseQuantity`); a negative one is 0.
pub(crate) fn nanos(text: &str) -> Option<u128> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end =
        unsigned.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent: Option<i32> = suffix.strip_prefix(['e', 'E']).and_then(|digits| digits.parse().ok());
    let place = |suffixes: &[&str]| Some(suffixes.iter().position(|known| *known == suffix)? as u32);
    let unit = if let Some(power) = place(&["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]) {
        1000_u128.pow(power)
    } else if let Some(power) = place(&["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) {
        BILLION * 1024_u128.pow(power + 1)
    } else {
        BILLION.saturating_mul(10_u128.saturating_pow(exponent?.max(0).unsigned_abs()))
    };
    // A negative exponent divides, as the digits behind the point do, so that nothing is lost before it is rounded.
    let smaller = u32::try_from(fraction.len()).ok()?.saturating_add(exponent.unwrap_or(0).min(0).unsigned_abs());
    // Only now: what follows the sign must be a quantity too.
    if text.starts_with('-') {
        return Some(0);
    }
    let digits = format!("{whole}{fraction}").parse().unwrap_or(u128::MAX);
    Some(digits.saturating_mul(unit).div_ceil(10_u128.saturating_pow(smaller)))
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
        let status = Status {
            spec: Deployment { service: "f".to_owned(), labels: labels.clone(), ..Deployment::default() },
            ..Status::default()
        };
        assert_eq!(status.deployment().labels, labels);
    }

    #[test]
    fn quantities_are_compared_by_value() {
        for (one, other) in
            [("0.5", "500m"), ("1024Mi", "1Gi"), ("1", "1000m"), ("0.1", "100m"), ("1e3", "1k"), ("128M", "128000000")]
        {
            assert!(is_same_quantity(one, other), "{one} {other}");
        }
        for (one, other) in [("128Mi", "128M"), ("1", "2"), ("100m", "100"), ("", "0"), ("x", "y"), (".", "0")] {
            assert!(!is_same_quantity(one, other), "{one} {other}");
        }
        assert!(is_same_quantity("as it is", "as it is"));
        assert!(!is_same_quantity("999999999999999999999999999999999999999E", "1e99999999999"));
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        let rows = [
            ("1", BILLION),
            (".5", BILLION / 2),
            ("5.", 5 * BILLION),
            ("+2", 2 * BILLION),
            ("-2", 0),
            ("100m", BILLION / 10),
            ("1e-3", BILLION / 1000),
            ("1Ki", 1024 * BILLION),
            ("2E", 2 * BILLION * BILLION * BILLION),
            ("0.0000000001", 1),
            ("1e99", u128::MAX),
        ];
        for (text, expected) in rows {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
        for text in ["", ".", "m", "1.2.3", "1 Mi", "128MB", "128mb", "1K", "0x10", "1e", "inf", "--1"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
