//! AWS: a role for the step's token (STS, *AssumeRoleWithWebIdentity*), and ECR's password for the role (ECR API reference,
//! *GetAuthorizationToken*).

mod answer;
mod explain;
mod host;
mod setup;
mod sigv4;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use http::header::ACCEPT;
use tokio::sync::OnceCell;

use super::clock;
use super::error::{about, denied, incomplete, unavailable};
use super::login::RegistryLogin;
use super::step::Step;
use super::transport::{Answer, Http, is_transient};
use crate::console::log::quote;
use crate::function::outcome::Problem;
use crate::http::client::secret_header;
use answer::{Fault, Session};
use explain::Context;
use sigv4::Signer;

pub(crate) use host::{EcrHost, RoleArn};
pub(crate) use setup::{claims_table, create_provider, pull_policy, trust_policy, trust_proposal};

/// Every role may be assumed for an hour.
const SESSION_SECONDS: &str = "3600";

type LoginCell = Arc<OnceCell<Result<Arc<RegistryLogin>, Problem>>>;

/// What AWS returns for the step's token, each requested once.
pub(crate) struct Aws<'a> {
    http: &'a Http,
    role: &'a RoleArn,
    step: &'a Step<'a>,
    session: OnceCell<Result<Session, Problem>>,
    /// By region.
    logins: Mutex<BTreeMap<String, LoginCell>>,
}

impl<'a> Aws<'a> {
    pub(crate) fn new(http: &'a Http, role: &'a RoleArn, step: &'a Step<'a>) -> Self {
        Self { http, role, step, session: OnceCell::new(), logins: Mutex::default() }
    }

    /// The login for a registry.
    pub(crate) async fn login(&self, host: &EcrHost) -> Result<Arc<RegistryLogin>, Problem> {
        let cell = {
            let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(logins.entry(host.region.clone()).or_default())
        };
        cell.get_or_init(|| self.request_login(host)).await.clone()
    }

    async fn request_login(&self, host: &EcrHost) -> Result<Arc<RegistryLogin>, Problem> {
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

    async fn assume_role(&self, host: &EcrHost) -> Result<Session, Problem> {
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.role.to_string()),
            ("RoleSessionName", &self.step.session_name()),
            ("WebIdentityToken", self.step.token.reveal()),
            ("DurationSeconds", SESSION_SECONDS),
        ];
        let request = self.http.request(Method::POST, format!("https://{}/", host.sts()));
        let answer = self.send("AWS STS", request.header(ACCEPT, "application/json").form(&form)).await?;
        if !answer.status.is_success() {
            return Err(self.refused(host, "AWS STS", "refused the step's token", &answer, |context, fault| {
                context.of_sts(fault)
            }));
        }
        let session = Session::read(&answer).ok_or_else(|| incomplete("AWS STS", "credentials"))?;
        tracing::info!("AWS: role `{}` assumed", quote(&self.role.to_string()));
        Ok(session)
    }

    async fn authorization_token(&self, host: &EcrHost, session: &Session) -> Result<Arc<RegistryLogin>, Problem> {
        const BODY: &str = "{}";
        let endpoint = host.api();
        let date = clock::basic(session.now());
        let signer = Signer {
            access_key_id: &session.access_key_id,
            secret_access_key: session.secret_access_key.reveal(),
            region: &host.region,
            service: "ecr",
            date: &date,
        };
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-date", &date),
            ("x-amz-security-token", session.token.reveal()),
            ("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"),
        ];
        let host_header = [("host", endpoint.as_str())];
        let authorization = signer.authorization("POST", &[&headers[..], &host_header].concat(), BODY.as_bytes());
        let mut request = self.http.request(Method::POST, format!("https://{endpoint}/")).body(BODY);
        for (name, value) in headers.into_iter().chain([("authorization", authorization.as_str())]) {
            let value = secret_header(value).map_err(|_| incomplete("AWS STS", "valid credentials"))?;
            request = request.header(name, value);
        }
        let answer = self.send("AWS ECR", request).await?;
        if !answer.status.is_success() {
            let what = "returned no authorization token";
            return Err(self.refused(host, "AWS ECR", what, &answer, |context, fault| context.of_ecr(fault)));
        }
        answer::ecr_login(&answer).ok_or_else(|| incomplete("AWS ECR", "credentials"))
    }

    async fn send(&self, service: &str, request: reqwest::RequestBuilder) -> Result<Answer, Problem> {
        let is_transient = |answer: &Answer| is_transient(answer.status) || Fault::of(answer).is_transient();
        let answer = self.http.send_until(request, is_transient).await;
        answer.map_err(|error| about(format!("{service} could not be reached"), error))
    }

    fn refused(
        &self,
        host: &EcrHost,
        service: &str,
        what: &str,
        answer: &Answer,
        hint: impl Fn(&Context<'_>, &Fault) -> String,
    ) -> Problem {
        let fault = Fault::of(answer);
        let hint = hint(&Context { role: self.role, host, step: self.step }, &fault);
        let (status, said) = (answer.status.as_u16(), quote(&fault.to_string()));
        if is_transient(answer.status) || fault.is_transient() {
            let hint = fault.code.starts_with("IDP").then_some(hint);
            return unavailable(format!("{service} answered {status}: {said}"), hint);
        }
        denied(format!("{service} {what} for role `{}`: {status} {said}", self.role), hint)
    }
}
