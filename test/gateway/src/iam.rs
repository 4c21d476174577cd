//! OpenFaaS IAM: `JwtIssuer`, `Policy` and `Role` resources, and what they permit to the bearer of a token.
//!
//! Implements <https://docs.openfaas.com/openfaas-pro/iam/overview/>.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::jwt::Claims;

const API_VERSION: &str = "iam.openfaas.com/v1";

/// Why a resource was rejected.
#[derive(Debug, Error)]
pub enum IamError {
    /// Not YAML, or not a Kubernetes resource.
    #[error("the IAM resources cannot be read: {0}")]
    Yaml(String),
    /// Not one of the three kinds of `iam.openfaas.com/v1`.
    #[error("`{api_version}` `{kind}` is not a resource of OpenFaaS IAM")]
    Kind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// The resource has a field or value that IAM does not support.
    #[error("{kind} `{name}`: {reason}")]
    Invalid {
        /// The resource's kind.
        kind: String,
        /// The resource's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The applied resources by name.
#[derive(Debug, Default)]
pub(crate) struct Iam {
    issuers: BTreeMap<String, JwtIssuer>,
    policies: BTreeMap<String, Policy>,
    roles: BTreeMap<String, Role>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Value,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

/// A trusted issuer of tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JwtIssuer {
    pub(crate) iss: String,
    pub(crate) aud: Vec<String>,
    #[serde(rename = "tokenExpiry", deserialize_with = "go_duration")]
    pub(crate) token_expiry: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    statement: Vec<Statement>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(default, rename = "sid")]
    _sid: String,
    action: OneOrMany,
    #[serde(rename = "effect")]
    _effect: Effect,
    resource: OneOrMany,
    #[serde(default)]
    condition: Conditions,
}

/// There is no `Deny`.
#[derive(Debug, Deserialize)]
enum Effect {
    Allow,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    policy: Vec<String>,
    #[serde(default)]
    principal: Option<BTreeMap<String, OneOrMany>>,
    #[serde(default)]
    condition: Conditions,
}

/// Operator, then key, then values. One value must match for each key, and all keys and operators must match.
type Conditions = BTreeMap<Operator, BTreeMap<String, OneOrMany>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Operator {
    #[serde(rename = "StringEqual", alias = "StringEquals")]
    Equal,
    #[serde(rename = "StringEqualIgnoreCase", alias = "StringEqualsIgnoreCase")]
    EqualIgnoreCase,
    #[serde(rename = "StringLike")]
    Like,
    #[serde(rename = "ForAnyValue:StringEqual", alias = "ForAnyValue:StringEquals")]
    AnyEqual,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn iter(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
    }
}

impl Iam {
    /// Adds the resources of one or more YAML documents. A resource with an existing name replaces it.
    pub(crate) fn apply(&mut self, yaml: &str) -> Result<(), IamError> {
        let resources: Vec<Resource> =
            serde_saphyr::from_multiple(yaml).map_err(|error| IamError::Yaml(error.to_string()))?;
        resources.into_iter().try_for_each(|resource| self.add(resource))
    }

    fn add(&mut self, resource: Resource) -> Result<(), IamError> {
        let Resource { api_version, kind, metadata: Metadata { name }, spec } = resource;
        let invalid = |reason: String| IamError::Invalid { kind: kind.clone(), name: name.clone(), reason };
        if api_version != API_VERSION {
            return Err(IamError::Kind { api_version, kind });
        }
        match kind.as_str() {
            "JwtIssuer" => {
                let issuer = serde_json::from_value(spec).map_err(|error| invalid(error.to_string()))?;
                self.issuers.insert(name, issuer);
            }
            "Policy" => {
                let policy: Policy = serde_json::from_value(spec).map_err(|error| invalid(error.to_string()))?;
                policy.statement.iter().try_for_each(|statement| known_keys(&statement.condition)).map_err(invalid)?;
                self.policies.insert(name, policy);
            }
            "Role" => {
                let role: Role = serde_json::from_value(spec).map_err(|error| invalid(error.to_string()))?;
                known_keys(&role.condition).map_err(&invalid)?;
                if role.principal.iter().flatten().any(|(key, _)| key != "jwt:sub") {
                    return Err(invalid("the key of a principal must be `jwt:sub`".to_owned()));
                }
                self.roles.insert(name, role);
            }
            _ => return Err(IamError::Kind { api_version, kind }),
        }
        Ok(())
    }

    /// The registered issuer with this `iss`.
    pub(crate) fn issuer(&self, iss: &str) -> Option<&JwtIssuer> {
        self.issuers.values().find(|issuer| issuer.iss == iss)
    }

    /// The names of the policies of all roles that match the claims.
    pub(crate) fn policies_for(&self, claims: &Claims) -> Vec<String> {
        let roles = self.roles.values().filter(|role| role.matches(claims));
        let mut names: Vec<String> =
            roles.flat_map(|role| &role.policy).filter(|name| self.policies.contains_key(*name)).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether one of the policies permits `action` on `resource`.
    pub(crate) fn allows(&self, policies: &[String], claims: &Claims, action: &str, resource: &str) -> bool {
        self.statements(policies, claims, action).any(|statement| statement.resource.iter().any(|r| like(r, resource)))
    }

    /// The resource patterns for which the policies permit `action`.
    pub(crate) fn resources(&self, policies: &[String], claims: &Claims, action: &str) -> Vec<String> {
        self.statements(policies, claims, action).flat_map(|statement| statement.resource.iter()).cloned().collect()
    }

    fn statements<'a>(
        &'a self,
        policies: &'a [String],
        claims: &'a Claims,
        action: &'a str,
    ) -> impl Iterator<Item = &'a Statement> {
        policies
            .iter()
            .filter_map(|name| self.policies.get(name))
            .flat_map(|policy| &policy.statement)
            .filter(move |statement| statement.action.iter().any(|pattern| like(pattern, action)))
            .filter(move |statement| holds(&statement.condition, claims))
    }
}

impl Role {
    fn matches(&self, claims: &Claims) -> bool {
        let principal = self.principal.as_ref().is_none_or(|principal| {
            principal
                .values()
                .all(|subjects| subjects.iter().any(|sub| claims.get("sub") == Some(&sub.as_str().into())))
        });
        principal && holds(&self.condition, claims)
    }
}

/// Whether all conditions match.
fn holds(conditions: &Conditions, claims: &Claims) -> bool {
    conditions.iter().all(|(operator, keys)| {
        keys.iter().all(|(key, values)| {
            let claim = claims.get(key.strip_prefix("jwt:").unwrap_or(key)).unwrap_or(&Value::Null);
            values.iter().any(|value| operator.holds(claim, value))
        })
    })
}

impl Operator {
    fn holds(self, claim: &Value, value: &str) -> bool {
        match (self, claim) {
            (Self::Equal | Self::AnyEqual, Value::String(claim)) => claim == value,
            (Self::EqualIgnoreCase, Value::String(claim)) => claim.to_lowercase() == value.to_lowercase(),
            (Self::Like, Value::String(claim)) => like(value, claim),
            (Self::AnyEqual, Value::Array(claims)) => claims.iter().any(|claim| claim.as_str() == Some(value)),
            _ => false,
        }
    }
}

fn known_keys(conditions: &Conditions) -> Result<(), String> {
    match conditions.values().flat_map(BTreeMap::keys).find(|key| !key.starts_with("jwt:")) {
        Some(key) => Err(format!("condition key `{key}` does not begin with `jwt:`")),
        None => Ok(()),
    }
}

/// Whether the whole text matches a pattern. `*` matches any text.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut rest) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts = tail.split('*');
    let last = parts.next_back().unwrap_or_default();
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Deserializes a duration in Go's format: `30m`, `1h30m`, `1.5s`, `500ms`.
fn go_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a duration such as `30m`")))
}

/// Parses a duration in Go's format (`30m`, `1.5s`, `500ms`).
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests;
