//! AWS: a role for the step's token (STS, *AssumeRoleWithWebIdentity*), and ECR's password for the role (ECR API reference,
//! *GetAuthorizationToken*).

mod answer;
mod explain;
mod host;
mod setup;
mod sigv4;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderValue, Method};
use tokio::sync::OnceCell;
use url::Url;

use super::clock;
use super::error::Error;
use super::step::Step;
use super::transport::{ANSWER_LIMIT, Answer, Http, is_transient};
use crate::console::log::quote;
use answer::{Fault, Session};
use explain::Context;
use sigv4::Signer;

pub(crate) use answer::EcrPassword;
pub(crate) use host::{EcrHost, RoleArn};
pub(crate) use setup::{create_provider, pull_policy, trust_policy};

/// Every role may be assumed for an hour.
const SESSION_SECONDS: &str = "3600";

type PasswordCell = Arc<OnceCell<Result<Arc<EcrPassword>, Error>>>;

/// What AWS gives for the step's token, each asked for once.
pub(crate) struct Aws<'a> {
    http: &'a Http,
    role: &'a RoleArn,
    step: &'a Step<'a>,
    session: OnceCell<Result<Session, Error>>,
    /// By region.
    passwords: Mutex<BTreeMap<String, PasswordCell>>,
}

impl<'a> Aws<'a> {
    pub(crate) fn new(http: &'a Http, role: &'a RoleArn, step: &'a Step<'a>) -> Self {
        Self { http, role, step, session: OnceCell::new(), passwords: Mutex::default() }
    }

    /// The password of a registry.
    pub(crate) async fn password(&self, host: &EcrHost) -> Result<Arc<EcrPassword>, Error> {
        let cell = {
            let mut passwords = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(passwords.entry(host.region.clone()).or_default())
        };
        cell.get_or_init(|| self.request_password(host)).await.clone()
    }

    async fn request_password(&self, host: &EcrHost) -> Result<Arc<EcrPassword>, Error> {
        if host.partition != self.role.partition {
            return Err(Error::denied(
                format!(
                    "role `{}` is in partition `{}`, and region `{}` in `{}`",
                    self.role, self.role.partition, host.region, host.partition
                ),
                "a role is good only in its own partition: set `AWS_OIDC_ROLE_ARN` to a role in the registry's"
                    .to_owned(),
            ));
        }
        let session = match self.session.get_or_init(|| self.assume_role(host)).await {
            Ok(session) => session,
            Err(error) => return Err(error.clone()),
        };
        self.authorization_token(host, session).await.map(Arc::new)
    }

    async fn assume_role(&self, host: &EcrHost) -> Result<Session, Error> {
        let endpoint = host.sts();
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", self.role.as_str()),
            ("RoleSessionName", &self.step.session_name()),
            ("WebIdentityToken", self.step.token.reveal()),
            ("DurationSeconds", SESSION_SECONDS),
        ];
        let request = self.http.request(Method::POST, url(&endpoint)?).header(ACCEPT, "application/json").form(&form);
        let sent = self.http.send_until(request, ANSWER_LIMIT, |answer| {
            // AWS could not reach the issuer.
            is_transient(answer.status) || Fault::of(answer).is_transient()
        });
        let answer = sent.await.map_err(|error| Error::unavailable(format!("AWS STS could not be asked: {error}")))?;
        if !answer.status.is_success() {
            return Err(self.refused("AWS STS", "refuses the step's token", &answer, |fault| {
                self.context(host).of_sts(&fault.code, &fault.message)
            }));
        }
        let session = Session::read(&answer).ok_or_else(|| unreadable("AWS STS", &endpoint))?;
        tracing::info!("AWS: role `{}` assumed", quote(self.role.as_str()));
        Ok(session)
    }

    async fn authorization_token(&self, host: &EcrHost, session: &Session) -> Result<EcrPassword, Error> {
        const BODY: &str = "{}";
        const CONTENT: &str = "application/x-amz-json-1.1";
        const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
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
            ("content-type", CONTENT),
            ("host", &endpoint),
            ("x-amz-date", &date),
            ("x-amz-security-token", session.token.reveal()),
            ("x-amz-target", TARGET),
        ];
        let authorization = signer.authorization("POST", &headers, BODY.as_bytes());
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| unreadable("AWS STS", &host.sts()))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        };
        let request = self
            .http
            .request(Method::POST, url(&endpoint)?)
            .header(CONTENT_TYPE, CONTENT)
            .header("x-amz-date", &date)
            .header("x-amz-target", TARGET)
            .header("x-amz-security-token", secret(session.token.reveal())?)
            .header(AUTHORIZATION, secret(&authorization)?)
            .body(BODY);
        let sent = self.http.send_until(request, ANSWER_LIMIT, |answer| {
            is_transient(answer.status) || Fault::of(answer).is_transient()
        });
        let answer = sent.await.map_err(|error| Error::unavailable(format!("AWS ECR could not be asked: {error}")))?;
        if !answer.status.is_success() {
            return Err(self.refused("AWS ECR", "returns no authorization token for the role", &answer, |fault| {
                self.context(host).of_ecr(&fault.code)
            }));
        }
        EcrPassword::read(&answer).ok_or_else(|| unreadable("AWS ECR", &endpoint))
    }

    fn context<'c>(&'c self, host: &'c EcrHost) -> Context<'c> {
        Context { role: self.role, host, step: self.step }
    }

    fn refused(&self, service: &str, what: &str, answer: &Answer, hint: impl Fn(&Fault) -> String) -> Error {
        let fault = Fault::of(answer);
        let (status, role) = (answer.status.as_u16(), self.role);
        if is_transient(answer.status) || fault.is_transient() {
            let hint = fault.code.starts_with("IDP").then(|| hint(&fault));
            let message = format!("{service} answered {status}: {}", quote(&fault.to_string()));
            return Error { hint, ..Error::unavailable(message) };
        }
        Error::denied(
            format!("{service} {what} for role `{role}`: {status} {}", quote(&fault.to_string())),
            hint(&fault),
        )
    }
}

fn url(endpoint: &str) -> Result<Url, Error> {
    Url::parse(&format!("https://{endpoint}/")).map_err(|error| Error::denied(format!("`{endpoint}`: {error}"), None))
}

fn unreadable(service: &str, endpoint: &str) -> Error {
    Error::denied(
        format!("{service} at `{endpoint}` returned an answer without credentials"),
        "look for a proxy that answers in its place".to_owned(),
    )
}

/// The server's time: signatures are valid for minutes, and this machine's clock may be wrong.
fn server_time(answer: &Answer) -> Option<u64> {
    let date = answer.headers.get(DATE)?.to_str().ok()?;
    let time = httpdate::parse_http_date(date).ok()?;
    Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}
