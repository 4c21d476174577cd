//! The login that ECR accepts from docker, for a role's session (ECR API reference, *GetAuthorizationToken*).

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::Value;

use super::exchange::RoleSession;
use super::sigv4::Signer;
use super::{Aws, EcrHost};
use crate::cloud::fault;
use crate::cloud::login;
use crate::cloud::login::RegistryLogin;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::client::secret_header;
use crate::http::service::{ServiceResponse, incomplete};

impl Aws<'_> {
    pub(super) async fn authorization_token(
        &self,
        host: &EcrHost,
        session: &RoleSession,
    ) -> Result<Arc<RegistryLogin>, Diagnostic> {
        const SERVICE: &str = "AWS ECR";
        const BODY: &str = "{}";
        let endpoint = host.api();
        let date = login::basic(session.now());
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
        let response = fault::send(self.http, SERVICE, request).await?;
        if !response.status.is_success() {
            let what = format!("returned no authorization token for role `{}`", self.role);
            return Err(fault::refused(SERVICE, &what, &response, |fault| self.context(host).of_ecr(fault)));
        }
        ecr_login(&response).ok_or_else(|| incomplete(SERVICE, "credentials"))
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

    fn response(body: &str) -> ServiceResponse {
        ServiceResponse::success(body.as_bytes())
    }

    #[test]
    fn password_of_ecr_is_used_as_it_is() {
        let body = r#"{"authorizationData":[{"authorizationToken":"QVdTOmVjci1wYXNzd29yZA==","expiresAt":1893456000.123,"proxyEndpoint":"https://1.dkr.ecr.r.amazonaws.com"}]}"#;
        let login = ecr_login(&response(body)).unwrap();
        assert_eq!(login.basic.reveal(), "QVdTOmVjci1wYXNzd29yZA==");
        assert_eq!(login.expires.map(login::readable).as_deref(), Some("2030-01-01 00:00 UTC"));
        for body in ["", "{}", r#"{"authorizationData":[]}"#, r#"{"authorizationData":[{"authorizationToken":"!"}]}"#] {
            assert!(ecr_login(&response(body)).is_none(), "{body}");
        }
    }
}
