//! A role's session for the step's token (STS, *AssumeRoleWithWebIdentity*).

use std::time::{Instant, SystemTime};

use http::Method;
use http::header::{ACCEPT, DATE};

use super::{Aws, EcrHost};
use crate::cloud::fault::{self, Body};
use crate::cloud::login::SHORTEST_TOKEN;
use crate::console::log::quote;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::service::{ServiceResponse, incomplete};

/// Every role may be assumed for an hour.
const SESSION_SECONDS: &str = "3600";

impl Aws<'_> {
    pub(super) async fn assume_role(&self, host: &EcrHost) -> Result<RoleSession, Diagnostic> {
        const SERVICE: &str = "AWS STS";
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.role.to_string()),
            ("RoleSessionName", &self.step.session_name()),
            ("WebIdentityToken", self.step.token.reveal()),
            ("DurationSeconds", SESSION_SECONDS),
        ];
        let request = self.http.request(Method::POST, format!("https://{}/", host.sts()));
        let request = request.header(ACCEPT, "application/json").form(&form);
        let response = fault::send(self.http, SERVICE, request).await?;
        if !response.status.is_success() {
            let what = format!("refused the step's token for role `{}`", self.role);
            return Err(fault::refused(SERVICE, &what, &response, |fault| self.context(host).of_sts(fault)));
        }
        let session = RoleSession::read(&response).ok_or_else(|| incomplete(SERVICE, "credentials"))?;
        tracing::info!("AWS: role `{}` assumed", quote(&self.role.to_string()));
        Ok(session)
    }
}

/// The temporary credentials of a role.
pub(super) struct RoleSession {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    pub(super) token: Secret,
    /// The server's time when it answered, and when that was here: signatures are valid for minutes, and this machine's clock
    /// may be wrong.
    time: (SystemTime, Instant),
}

impl RoleSession {
    pub(super) fn read(response: &ServiceResponse) -> Option<Self> {
        let body = Body::of(response);
        let [id, secret, token] = ["AccessKeyId", "SecretAccessKey", "SessionToken"]
            .map(|name| body.text(name).filter(|text| !text.is_empty()));
        let access_key_id = id?;
        // Useless without the key, but it is masked as well.
        let _ = Secret::new(access_key_id.clone());
        // A self-hosted runner's clock may be minutes off, and AWS refuses signatures older than five minutes.
        let date = response.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let time = (date.unwrap_or_else(SystemTime::now), Instant::now());
        let [secret_access_key, token] =
            [secret, token].map(|text| text.filter(|text| text.len() >= SHORTEST_TOKEN).map(Secret::token));
        Some(Self { access_key_id, secret_access_key: secret_access_key?, token: token?, time })
    }

    /// The server's time now.
    pub(super) fn now(&self) -> SystemTime {
        let (time, then) = self.time;
        time + then.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::login;

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
        assert_eq!(login::basic(RoleSession::read(&response).unwrap().now())[..8], *"20300101");
    }
}
