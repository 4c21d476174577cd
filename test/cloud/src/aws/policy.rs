//! IAM policy documents, limited to the features of trust and pull policies.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;

use super::PolicyError;

/// A policy document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct Policy {
    #[serde(default)]
    #[expect(dead_code, reason = "both versions have the same meaning here")]
    version: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "informational")]
    id: Option<String>,
    statement: OneOrMany<Statement>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Statement {
    #[serde(default)]
    #[expect(dead_code, reason = "informational")]
    sid: Option<String>,
    effect: Effect,
    #[serde(default)]
    principal: Option<Principal>,
    action: OneOrMany<String>,
    #[serde(default)]
    resource: Option<OneOrMany<String>>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, OneOrMany<String>>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Principal {
    federated: OneOrMany<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn iter(&self) -> std::slice::Iter<'_, T> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
    }
}

/// The request that a policy is evaluated for.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The ARN of the identity provider, in a trust policy.
    pub(crate) federated: Option<&'a str>,
    pub(crate) action: &'a str,
    /// The ARN, in a permissions policy.
    pub(crate) resource: Option<&'a str>,
    /// Condition keys and their values. A claim that is an array has several values.
    pub(crate) keys: Vec<(String, Vec<String>)>,
}

impl Policy {
    pub(crate) fn parse(json: &str) -> Result<Self, PolicyError> {
        let policy: Self = serde_json::from_str(json)?;
        for operator in policy.statement.iter().flat_map(|statement| statement.condition.keys()) {
            if Operator::parse(operator).is_none() {
                return Err(PolicyError::Operator(operator.clone()));
            }
        }
        Ok(policy)
    }

    /// Whether at least one statement allows the request and none denies it.
    pub(crate) fn allows(&self, context: &Context<'_>) -> bool {
        let mut applies = self.statement.iter().filter(|statement| statement.applies(context)).peekable();
        applies.peek().is_some() && applies.all(|statement| statement.effect == Effect::Allow)
    }
}

impl Statement {
    fn applies(&self, context: &Context<'_>) -> bool {
        let principal = match (&self.principal, context.federated) {
            (Some(principal), Some(federated)) => principal.federated.iter().any(|given| given == federated),
            (None, None) => true,
            _ => false,
        };
        let resource = match (&self.resource, context.resource) {
            (Some(resources), Some(resource)) => resources.iter().any(|pattern| like(pattern, resource)),
            (None, None) => true,
            _ => false,
        };
        let action = context.action.to_ascii_lowercase();
        let action = self.action.iter().any(|pattern| like(&pattern.to_ascii_lowercase(), &action));
        let conditions = self.condition.iter().all(|(operator, keys)| {
            let operator = Operator::parse(operator);
            keys.iter().all(|(key, wanted)| operator.is_some_and(|operator| operator.holds(key, wanted, context)))
        });
        principal && resource && action && conditions
    }
}

#[derive(Clone, Copy, Debug)]
struct Operator {
    over: Over,
    test: Test,
    negated: bool,
}

/// Which of a key's values must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// The key has one value. A key with several values does not match.
    Single,
    Any,
    All,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    IpAddress,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (over, name) = match name.split_once(':') {
            Some(("ForAnyValue", name)) => (Over::Any, name),
            Some(("ForAllValues", name)) => (Over::All, name),
            Some(_) => return None,
            None => (Over::Single, name),
        };
        let (test, negated) = match name {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            "IpAddress" => (Test::IpAddress, false),
            "NotIpAddress" => (Test::IpAddress, true),
            _ => return None,
        };
        Some(Self { over, test, negated })
    }

    fn holds(self, key: &str, wanted: &OneOrMany<String>, context: &Context<'_>) -> bool {
        let values = context.keys.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, values)| values);
        let Some(values) = values else {
            return self.negated || self.over == Over::All;
        };
        let matches = |value: &String| wanted.iter().any(|wanted| self.test.matches(wanted, value)) != self.negated;
        match self.over {
            Over::Single => values.len() == 1 && values.iter().all(matches),
            Over::Any => values.iter().any(matches),
            Over::All => values.iter().all(matches),
        }
    }
}

impl Test {
    fn matches(self, wanted: &str, value: &str) -> bool {
        match self {
            Self::Equals => wanted == value,
            Self::EqualsIgnoreCase => wanted.eq_ignore_ascii_case(value),
            Self::Like => like(wanted, value),
            Self::IpAddress => in_range(wanted, value).unwrap_or(false),
        }
    }
}

/// Whether a text matches a pattern with `*` and `?`.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| like(rest, &text[at..]))
        }
        Some(wanted) => {
            let mut given = text.chars();
            given.next().is_some_and(|given| wanted == '?' || wanted == given)
                && like(&pattern[wanted.len_utf8()..], given.as_str())
        }
    }
}

fn in_range(range: &str, address: &str) -> Option<bool> {
    let (network, bits) = range.split_once('/').unwrap_or((range, "32"));
    let (network, address): (Ipv4Addr, Ipv4Addr) = (network.parse().ok()?, address.parse().ok()?);
    let shift = 32_u32.checked_sub(bits.parse().ok()?)?;
    let prefix = |address: Ipv4Addr| u64::from(u32::from(address)) >> shift;
    Some(prefix(network) == prefix(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/example.com";

    fn trusts(condition: &str, keys: &[(&str, &[&str])]) -> bool {
        let policy = format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
                "Principal": {{"Federated": "{PROVIDER}"}}, "Condition": {condition}}}]}}"#
        );
        let own = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let keys = keys.iter().map(|(key, values)| ((*key).to_owned(), own(values))).collect();
        let action = "sts:AssumeRoleWithWebIdentity";
        let context = Context { federated: Some(PROVIDER), action, resource: None, keys };
        Policy::parse(&policy).unwrap().allows(&context)
    }

    #[test]
    fn conditions_are_evaluated_as_documented() {
        for (condition, keys, trusted) in [
            (r#"{}"#, &[][..], true),
            (r#"{"StringEquals": {"x:aud": "a"}}"#, &[("x:aud", &["a"][..])][..], true),
            (r#"{"StringEquals": {"X:AUD": ["b", "a"]}}"#, &[("x:aud", &["a"])], true),
            (r#"{"StringEquals": {"x:aud": "a"}}"#, &[("x:aud", &["a", "b"])], false),
            (r#"{"ForAnyValue:StringEquals": {"x:aud": "a"}}"#, &[("x:aud", &["a", "b"])], true),
            (r#"{"ForAllValues:StringEquals": {"x:aud": "a"}}"#, &[("x:aud", &["a", "b"])], false),
            (r#"{"StringEquals": {"x:aud": "a"}}"#, &[], false),
            (r#"{"StringLike": {"x:sub": "{r}:*"}}"#, &[("x:sub", &["{r}:{s}"])], true),
            (r#"{"StringLike": {"x:sub": "{r}*:{e}:*"}}"#, &[("x:sub", &["{r}:{e}:{s}"])], true),
            (r#"{"StringLike": {"x:sub": "{r}:*"}}"#, &[("x:sub", &["{q}:{s}"])], false),
            (r#"{"StringNotLike": {"x:sub": "{r}:*"}}"#, &[("x:sub", &["{q}:{s}"])], true),
            (r#"{"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "1.2.3.4"]}}"#, &[("aws:SourceIp", &["10.9.9.9"])], true),
            (r#"{"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "1.2.3.4"]}}"#, &[("aws:SourceIp", &["1.2.3.5"])], false),
        ] {
            assert_eq!(trusts(condition, keys), trusted, "{condition} {keys:?}");
        }
    }

    #[test]
    fn deny_overrides_allow() {
        let policy = r#"{"Statement": [
            {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "ecr:BatchGetImage", "Resource": "arn:aws:ecr:*:repository/secret/*"}]}"#;
        let policy = Policy::parse(policy).unwrap();
        let allows = |action, resource| {
            policy.allows(&Context { federated: None, action, resource: Some(resource), keys: Vec::new() })
        };
        assert!(allows("ecr:GetAuthorizationToken", "*"));
        assert!(allows("ecr:BatchGetImage", "arn:aws:ecr:eu-west-1:123456789012:repository/etl"));
        assert!(!allows("ecr:BatchGetImage", "arn:aws:ecr:eu-west-1:123456789012:repository/secret/x"));
    }

    #[test]
    fn unknown_operator_is_rejected() {
        let policy = r#"{"Statement": {"Effect": "Allow", "Action": "*", "Condition": {"Bool": {"a": "true"}}}}"#;
        assert!(matches!(Policy::parse(policy), Err(PolicyError::Operator(operator)) if operator == "Bool"));
    }
}
