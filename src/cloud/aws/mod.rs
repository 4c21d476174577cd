//! AWS: a role for the step's token (STS, *AssumeRoleWithWebIdentity*), and the login that ECR accepts from docker for the role
//! (ECR API reference, *GetAuthorizationToken*).

mod explain;
mod names;
mod sigv4;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{ACCEPT, DATE};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::fault::{self, Body};
use super::{LoginResult, RegistryLogin, Step};
use crate::console::log::quote;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::client::secret_header;
use crate::http::service::{ServiceClient, ServiceResponse, denied, incomplete};
use sigv4::Signer;

pub(crate) use explain::{claims_table, create_provider, explicit_deny, pull_policy, trust_policy, trust_proposal};
pub(crate) use names::{EcrHost, RoleArn};

/// Every role may be assumed for an hour.
const SESSION_SECONDS: &str = "3600";

/// Session and logins that AWS returns for the step's token, each requested once.
pub(crate) struct Aws<'a> {
    http: &'a ServiceClient,
    role: &'a RoleArn,
    step: &'a Step<'a>,
    session: OnceCell<Result<RoleSession, Diagnostic>>,
    /// By region.
    logins: Mutex<BTreeMap<String, Arc<OnceCell<LoginResult>>>>,
}

impl<'a> Aws<'a> {
    pub(crate) fn new(http: &'a ServiceClient, role: &'a RoleArn, step: &'a Step<'a>) -> Self {
        Self { http, role, step, session: OnceCell::new(), logins: Mutex::default() }
    }

    pub(crate) async fn login(&self, host: &EcrHost) -> LoginResult {
        // The lock is not held while a login is requested: other regions are requested meanwhile.
        let cell = {
            let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(logins.entry(host.region.clone()).or_default())
        };
        cell.get_or_init(|| self.request_login(host)).await.clone()
    }

    async fn request_login(&self, host: &EcrHost) -> LoginResult {
        let role = self.role;
        if host.partition != role.partition {
            let (region, partition) = (&host.region, host.partition);
            let message =
                format!("role `{role}` is in partition `{}`, and region `{region}` in `{partition}`", role.partition);
            let hint = "a role is valid only in its own partition: set `AWS_OIDC_ROLE_ARN` to a role in the registry's";
            return Err(denied(message).with_hint(hint));
        }
        let session = self.session.get_or_init(|| self.assume_role(host)).await.as_ref().map_err(Clone::clone)?;
        self.authorization_token(host, session).await
    }

    async fn assume_role(&self, host: &EcrHost) -> Result<RoleSession, Diagnostic> {
        const SERVICE: &str = "AWS STS";
        let role = self.role;
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &role.to_string()),
            ("RoleSessionName", &self.step.session_name()),
            ("WebIdentityToken", self.step.token.reveal()),
            ("DurationSeconds", SESSION_SECONDS),
        ];
        let request = self.http.request(Method::POST, format!("https://{}/", host.sts()));
        let request = request.header(ACCEPT, "application/json").form(&form);
        let refused = format!("refused the step's token for role `{role}`");
        let remedy = |error: &_| explain::sts(role, host, self.step, error);
        let response = fault::send(self.http, SERVICE, request, &refused, remedy).await?;
        let session = RoleSession::read(&response).ok_or_else(|| incomplete(SERVICE, "credentials"))?;
        tracing::info!("AWS: role `{}` assumed", quote(&role.to_string()));
        Ok(session)
    }

    async fn authorization_token(&self, host: &EcrHost, session: &RoleSession) -> LoginResult {
        const SERVICE: &str = "AWS ECR";
        const BODY: &str = "{}";
        let endpoint = host.api();
        let date = super::basic(session.now());
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
            // One of them is the session's token; no log needs the others.
            let value = secret_header(value).map_err(|_| incomplete("AWS STS", "valid credentials"))?;
            request = request.header(name, value);
        }
        let refused = format!("returned no authorization token for role `{}`", self.role);
        let remedy = |error: &_| explain::ecr(self.role, host, error);
        let response = fault::send(self.http, SERVICE, request, &refused, remedy).await?;
        ecr_login(&response).ok_or_else(|| incomplete(SERVICE, "credentials"))
    }
}

struct RoleSession {
    access_key_id: String,
    secret_access_key: Secret,
    token: Secret,
    /// The server's time when it answered, and when that was here: signatures are valid for five minutes, and this machine's clock
    /// may be wrong.
    time: (SystemTime, Instant),
}

impl RoleSession {
    fn read(response: &ServiceResponse) -> Option<Self> {
        let body = Body::of(response);
        let [id, secret, token] = ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| body.text(name));
        let access_key_id = id.filter(|id| !id.is_empty())?;
        // Useless without the key, but it is masked as well.
        let _ = Secret::new(access_key_id.clone());
        let date = response.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let time = (date.unwrap_or_else(SystemTime::now), Instant::now());
        let [secret_access_key, token] = [secret, token].map(|text| text.and_then(super::token));
        Some(Self { access_key_id, secret_access_key: secret_access_key?, token: token?, time })
    }

    fn now(&self) -> SystemTime {
        let (time, then) = self.time;
        time + then.elapsed()
    }
}

/// The login that ECR accepts from docker: the base64 of `AWS:PASSWORD`, which is used as it is.
fn ecr_login(response: &ServiceResponse) -> Option<Arc<RegistryLogin>> {
    let json: Value = serde_json::from_slice(&response.body).ok()?;
    let data = json.pointer("/authorizationData/0")?;
    let basic = data.get("authorizationToken")?.as_str()?;
    let decoded = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    let _ = Secret::token(password.to_owned());
    let seconds = data.get("expiresAt").and_then(Value::as_f64);
    let expires = seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?));
    Some(Arc::new(RegistryLogin { basic: Secret::token(basic.to_owned()), identity_token: None, expires }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::{basic, readable};

    fn response(body: &str) -> ServiceResponse {
        ServiceResponse::success(body.as_bytes())
    }

    #[test]
    fn credentials_are_read_from_xml_and_json() {
        let xml = r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId>
            <SecretAccessKey>secret&amp;key/of+xml</SecretAccessKey><SessionToken>
            session-token-of-xml==</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration></Credentials>
            </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"#;
        let json = r#"{"AssumeRoleWithWebIdentityResponse":{"AssumeRoleWithWebIdentityResult":{"Credentials":{
            "AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"secret&key/of+xml","SessionToken":"session-token-of-xml==",
            "Expiration":1893456000.0}}}}"#;
        for body in [xml, json] {
            let session = RoleSession::read(&response(body)).unwrap();
            assert_eq!(session.access_key_id, "ASIAEXAMPLE");
            assert_eq!(session.secret_access_key.reveal(), "secret&key/of+xml");
            assert_eq!(session.token.reveal(), "session-token-of-xml==");
        }
        for body in [
            "",
            "{}",
            "<html>",
            "<Credentials><AccessKeyId>a</AccessKeyId></Credentials>",
            &json.replace("ASIAEXAMPLE", ""),
            // It would be masked wherever the word occurs.
            &json.replace("session-token-of-xml==", "deployed"),
        ] {
            assert!(RoleSession::read(&response(body)).is_none(), "{body}");
        }
    }

    #[test]
    fn requests_are_signed_with_the_servers_time() {
        let mut response = response(
            "<Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>some-secret-key</SecretAccessKey>\
             <SessionToken>some-session-token</SessionToken></Credentials>",
        );
        response.headers.insert("date", "Tue, 01 Jan 2030 00:00:00 GMT".parse().unwrap());
        assert_eq!(basic(RoleSession::read(&response).unwrap().now())[..8], *"20300101");
    }

    #[test]
    fn password_of_ecr_is_used_as_it_is() {
        let body = r#"{"authorizationData":[{"authorizationToken":"QVdTOmVjci1wYXNzd29yZA==","expiresAt":1893456000.123,"proxyEndpoint":"https://1.dkr.ecr.r.amazonaws.com"}]}"#;
        let login = ecr_login(&response(body)).unwrap();
        assert_eq!(login.basic.reveal(), "QVdTOmVjci1wYXNzd29yZA==");
        assert_eq!(login.expires.map(readable).as_deref(), Some("2030-01-01 00:00 UTC"));
        for body in ["", "{}", r#"{"authorizationData":[]}"#, r#"{"authorizationData":[{"authorizationToken":"!"}]}"#] {
            assert!(ecr_login(&response(body)).is_none(), "{body}");
        }
    }
}
