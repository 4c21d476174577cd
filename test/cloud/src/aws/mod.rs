//! Amazon Web Services: OIDC providers, roles with real policy documents, STS and the ECR API.

mod ecr;
mod policy;
pub(crate) mod sigv4;
mod sts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use local_gateway::issuer::REPOSITORY_UUID;
use local_gateway::{Issuer, Request};
use thiserror::Error;

use crate::reply::Reply;
use crate::secret::Secrets;
pub use ecr::EcrError;
pub(crate) use ecr::registry;
use policy::{Context, Policy};
pub use sts::StsError;

/// The account in [`Aws::set_up`].
pub const ACCOUNT: &str = "123456789012";
/// The role in [`Aws::set_up`].
pub const ROLE: &str = "arn:aws:iam::123456789012:role/deploy";

/// The permissions to pull every image of the account.
pub const PULL: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
    {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:ListImages"],
     "Resource": "arn:aws:ecr:*:123456789012:repository/*"}]}"#;

/// Why a policy document was rejected.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// It is not JSON, or has fields that a policy document does not have.
    #[error("the policy document is malformed: {0}")]
    Json(#[from] serde_json::Error),
    /// A condition has an operator that does not exist or is not supported.
    #[error("condition operator `{0}` is not supported")]
    Operator(String),
}

/// AWS: its accounts, sessions and tokens.
#[derive(Clone)]
pub struct Aws {
    state: Arc<Mutex<State>>,
    secrets: Secrets,
}

#[derive(Default)]
pub(crate) struct State {
    /// By ARN.
    providers: HashMap<String, Provider>,
    /// By ARN.
    roles: HashMap<String, Role>,
    /// By access key id.
    sessions: HashMap<String, Session>,
    /// By token, which is the base64 encoding of user and password.
    registry_tokens: HashMap<String, RegistryToken>,
    sts_failures: Vec<StsError>,
    ecr_failures: Vec<EcrError>,
}

#[derive(Clone, Debug)]
struct Provider {
    audiences: Vec<String>,
}

#[derive(Clone, Debug)]
struct Role {
    trust: Policy,
    permissions: Policy,
    max_session: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    secret: String,
    token: String,
    role: String,
    name: String,
}

#[derive(Clone, Debug)]
struct RegistryToken {
    session: Session,
    region: String,
}

impl Aws {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { state: Arc::default(), secrets }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The setup in Atlassian's guide: in [`ACCOUNT`] a provider for the issuer, with the workspace as audience, and
    /// [`ROLE`] with pull permissions, which the issuer's default repository may assume.
    pub fn set_up(&self, issuer: &Issuer) {
        let provider = provider(issuer);
        self.put_provider(ACCOUNT, issuer, &[&crate::audience()]);
        let trust = format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{
                "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
                "Principal": {{"Federated": "arn:aws:iam::{ACCOUNT}:oidc-provider/{provider}"}},
                "Condition": {{"StringEquals": {{"{provider}:aud": "{}"}},
                    "StringLike": {{"{provider}:sub": "{REPOSITORY_UUID}:*"}}}}}}]}}"#,
            crate::audience()
        );
        self.put_role(ROLE, &trust, PULL).expect("both policies are well-formed");
    }

    /// Creates or replaces the identity provider of an account.
    pub fn put_provider(&self, account: &str, issuer: &Issuer, audiences: &[&str]) {
        let arn = format!("arn:aws:iam::{account}:oidc-provider/{}", provider(issuer));
        let audiences = audiences.iter().map(|&audience| audience.to_owned()).collect();
        self.state().providers.insert(arn, Provider { audiences });
    }

    /// Creates or replaces a role with its trust policy and permissions.
    ///
    /// # Errors
    ///
    /// A policy is malformed.
    pub fn put_role(&self, arn: &str, trust: &str, permissions: &str) -> Result<(), PolicyError> {
        let (trust, permissions) = (Policy::parse(trust)?, Policy::parse(permissions)?);
        self.state().roles.insert(arn.to_owned(), Role { trust, permissions, max_session: 3600 });
        Ok(())
    }

    /// Replaces the permissions of a role.
    ///
    /// # Errors
    ///
    /// The policy is malformed.
    pub fn put_permissions(&self, arn: &str, permissions: &str) -> Result<(), PolicyError> {
        let permissions = Policy::parse(permissions)?;
        if let Some(role) = self.state().roles.get_mut(arn) {
            role.permissions = permissions;
        }
        Ok(())
    }

    /// Deletes a role.
    pub fn delete_role(&self, arn: &str) {
        self.state().roles.remove(arn);
    }

    /// The next calls of STS fail with these errors, in this order.
    pub fn fail_sts(&self, errors: &[StsError]) {
        self.state().sts_failures.extend_from_slice(errors);
    }

    /// The next calls of the ECR API fail with these errors, in this order.
    pub fn fail_ecr(&self, errors: &[EcrError]) {
        self.state().ecr_failures.extend_from_slice(errors);
    }

    pub(crate) fn reply(&self, host: &str, request: &Request) -> Option<Reply> {
        if let Some(region) = sts::region(host) {
            return Some(self.assume_role(region, request));
        }
        let region = ecr::api_region(host)?;
        Some(self.authorization_token(region, request))
    }
}

impl State {
    /// Whether the role of a session permits an action.
    fn permits(&self, session: &Session, action: &str, resource: &str) -> bool {
        let context = Context { federated: None, action, resource: Some(resource), keys: Vec::new() };
        self.roles.get(&session.role).is_some_and(|role| role.permissions.allows(&context))
    }
}

impl Session {
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    fn arn(&self) -> String {
        let (partition, account) = (arn_part(&self.role, 1), arn_part(&self.role, 4));
        let role = self.role.rsplit('/').next().unwrap_or_default();
        format!("arn:{partition}:sts::{account}:assumed-role/{role}/{}", self.name)
    }

    fn account(&self) -> &str {
        arn_part(&self.role, 4)
    }
}

/// The issuer's URL without its scheme, as in ARNs and condition keys.
fn provider(issuer: &Issuer) -> &str {
    issuer.iss().trim_start_matches("https://")
}

/// A part of an ARN, counted from 0.
fn arn_part(arn: &str, part: usize) -> &str {
    arn.split(':').nth(part).unwrap_or_default()
}

/// The DNS suffixes of the partitions.
const SUFFIXES: [(&str, &str); 7] = [
    ("amazonaws.com.cn", "aws-cn"),
    ("amazonaws.com", "aws"),
    ("amazonaws.eu", "aws-eusc"),
    ("c2s.ic.gov", "aws-iso"),
    ("sc2s.sgov.gov", "aws-iso-b"),
    ("cloud.adc-e.uk", "aws-iso-e"),
    ("csp.hci.ic.gov", "aws-iso-f"),
];

/// The partition that a region belongs to.
fn partition(region: &str) -> &'static str {
    match region.split('-').collect::<Vec<_>>()[..] {
        ["us", "gov", ..] => "aws-us-gov",
        ["cn", ..] => "aws-cn",
        ["eusc", ..] => "aws-eusc",
        ["us", "iso", ..] => "aws-iso",
        ["us", "isob", ..] => "aws-iso-b",
        ["eu", "isoe", ..] => "aws-iso-e",
        ["us", "isof", ..] => "aws-iso-f",
        _ => "aws",
    }
}

/// The DNS suffix of a region's partition.
fn suffix(region: &str) -> &'static str {
    let partition = if partition(region) == "aws-us-gov" { "aws" } else { partition(region) };
    SUFFIXES.iter().find(|(_, of)| *of == partition).map_or("amazonaws.com", |(suffix, _)| suffix)
}
