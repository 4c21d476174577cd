//! AWS: a role for the step's token, and ECR's password for the role.

mod credentials;
mod exchange;
mod explain;
mod names;
mod setup;
mod sigv4;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::login::RegistryLogin;
use super::step::Step;
use crate::diagnostic::Diagnostic;
use crate::http::service::{ServiceClient, denied};
use exchange::RoleSession;
use explain::AwsRefusal;

pub(crate) use explain::explicit_deny;
pub(crate) use names::{EcrHost, RoleArn};
pub(crate) use setup::{claims_table, create_provider, pull_policy, trust_policy, trust_proposal};

type LoginCell = Arc<OnceCell<Result<Arc<RegistryLogin>, Diagnostic>>>;

/// Session and logins that AWS returns for the step's token, each requested once.
pub(crate) struct Aws<'a> {
    http: &'a ServiceClient,
    role: &'a RoleArn,
    step: &'a Step<'a>,
    session: OnceCell<Result<RoleSession, Diagnostic>>,
    /// By region.
    logins: Mutex<BTreeMap<String, LoginCell>>,
}

impl<'a> Aws<'a> {
    pub(crate) fn new(http: &'a ServiceClient, role: &'a RoleArn, step: &'a Step<'a>) -> Self {
        Self { http, role, step, session: OnceCell::new(), logins: Mutex::default() }
    }

    /// The login for a registry.
    pub(crate) async fn login(&self, host: &EcrHost) -> Result<Arc<RegistryLogin>, Diagnostic> {
        // The lock is not held while a login is requested: other regions are requested meanwhile.
        let cell = {
            let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(logins.entry(host.region.clone()).or_default())
        };
        cell.get_or_init(|| self.request_login(host)).await.clone()
    }

    async fn request_login(&self, host: &EcrHost) -> Result<Arc<RegistryLogin>, Diagnostic> {
        if host.partition != self.role.partition {
            return Err(denied(
                format!(
                    "role `{}` is in partition `{}`, and region `{}` in `{}`",
                    self.role, self.role.partition, host.region, host.partition
                ),
                "a role is valid only in its own partition: set `AWS_OIDC_ROLE_ARN` to a role in the registry's"
                    .to_owned(),
            ));
        }
        let session = self.session.get_or_init(|| self.assume_role(host)).await.as_ref().map_err(Clone::clone)?;
        self.authorization_token(host, session).await
    }

    fn context<'h>(&'h self, host: &'h EcrHost) -> AwsRefusal<'h> {
        AwsRefusal { role: self.role, host, step: self.step }
    }
}
