//! Reads what STS and ECR answer: JSON, or XML where an endpoint knows nothing else.

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::server_time;
use crate::console::redact::Secret;
use crate::registry::clock;
use crate::registry::transport::Answer;

/// The temporary credentials of a role.
pub(super) struct Session {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    pub(super) token: Secret,
    /// The server's time in seconds since 1970 when it answered, and when that was here.
    time: (u64, Instant),
}

impl Session {
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        let text = std::str::from_utf8(&answer.body).ok()?;
        let credentials = match serde_json::from_str::<Value>(text) {
            Ok(json) => {
                let pointer = "/AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials";
                let credentials = json.pointer(pointer)?.clone();
                ["AccessKeyId", "SecretAccessKey", "SessionToken"]
                    .map(|name| credentials.get(name).and_then(Value::as_str).map(str::to_owned))
            }
            Err(_) => {
                let credentials = element(text, "Credentials")?;
                ["AccessKeyId", "SecretAccessKey", "SessionToken"]
                    .map(|name| element(&credentials, name).map(|text| unescaped(text.trim()).into_owned()))
            }
        };
        let [Some(access_key_id), Some(secret), Some(token)] = credentials else { return None };
        let [secret_access_key, token] = [secret, token].map(Secret::token);
        // Of no use without the key, but nobody's business.
        let _ = Secret::new(access_key_id.clone());
        let is_empty = [access_key_id.as_str(), secret_access_key.reveal(), token.reveal()].contains(&"");
        let time = (server_time(answer).unwrap_or_else(clock::now), Instant::now());
        (!is_empty).then_some(Self { access_key_id, secret_access_key, token, time })
    }

    /// The server's time now.
    pub(super) fn now(&self) -> u64 {
        let (time, then) = self.time;
        time + then.elapsed().as_secs()
    }
}

/// What ECR accepts from docker.
#[derive(Debug)]
pub(crate) struct EcrPassword {
    /// The base64 of `AWS:PASSWORD`, which is used as it is.
    pub(crate) basic: Secret,
    /// In seconds since 1970.
    pub(crate) expires: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenJson {
    authorization_data: Vec<Authorization>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
    expires_at: Option<f64>,
}

impl EcrPassword {
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        let json: TokenJson = serde_json::from_slice(&answer.body).ok()?;
        let Authorization { authorization_token, expires_at } = json.authorization_data.into_iter().next()?;
        let decoded = String::from_utf8(STANDARD.decode(authorization_token.trim()).ok()?).ok()?;
        let (_, password) = decoded.split_once(':')?;
        let _ = Secret::token(password.to_owned());
        // The cast saturates.
        let expires = expires_at.filter(|seconds| seconds.is_finite()).map(|seconds| seconds as u64);
        Some(Self { basic: Secret::token(authorization_token), expires })
    }
}

/// An error of AWS.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: String,
    pub(super) message: String,
}

impl Fault {
    /// Reads an error in any of the forms that STS and ECR use.
    pub(super) fn of(answer: &Answer) -> Self {
        let text = String::from_utf8_lossy(&answer.body);
        let (code, message) = match serde_json::from_str::<Value>(&text) {
            Ok(json) => {
                let error = json.get("Error").unwrap_or(&json);
                let field = |names: &[&str]| names.iter().find_map(|name| Some(error.get(*name)?.as_str()?.to_owned()));
                (field(&["Code", "__type"]), field(&["Message", "message"]))
            }
            Err(_) => (element(&text, "Code"), element(&text, "Message")),
        };
        let header = || answer.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let code = code.or_else(header).unwrap_or_default();
        // `com.amazonaws.ecr#AccessDeniedException`, `AccessDeniedException:http://…`
        let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
        let message = message.unwrap_or_else(|| if code.is_empty() { text.into_owned() } else { String::new() });
        Self { code: unescaped(code.trim()).into_owned(), message: unescaped(message.trim()).into_owned() }
    }

    /// Whether the same request may succeed later, which AWS does not say by the status alone.
    pub(super) fn is_transient(&self) -> bool {
        let code = self.code.trim_end_matches("Exception");
        [
            "IDPCommunicationError",
            "Throttling",
            "ThrottledException",
            "TooManyRequests",
            "Server",
            "InternalFailure",
            "ServiceUnavailable",
            "RequestLimitExceeded",
        ]
        .contains(&code)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.message.as_str()) {
            ("", message) => f.write_str(message),
            (code, "") => f.write_str(code),
            (code, message) => write!(f, "{code}: {message}"),
        }
    }
}

/// The content of the first element of a name. The answers of STS have no attributes but namespaces, and no element within
/// another of its name.
fn element(xml: &str, name: &str) -> Option<String> {
    let open = format!("<{name}>");
    let start = xml.find(&open)? + open.len();
    let length = xml[start..].find(&format!("</{name}>"))?;
    Some(xml[start..start + length].to_owned())
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    Cow::Owned(entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(body: &str) -> Answer {
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: body.as_bytes().to_vec(), cut: false }
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
            let session = Session::read(&answer(body)).unwrap();
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
        ] {
            assert!(Session::read(&answer(body)).is_none(), "{body}");
        }
    }

    #[test]
    fn requests_are_signed_with_the_servers_time() {
        let mut answer = answer(
            "<Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken></Credentials>",
        );
        answer.headers.insert("date", "Tue, 01 Jan 2030 00:00:00 GMT".parse().unwrap());
        assert_eq!(clock::basic(Session::read(&answer).unwrap().now())[..8], *"20300101");
    }

    #[test]
    fn password_of_ecr_is_used_as_it_is() {
        let body = r#"{"authorizationData":[{"authorizationToken":"QVdTOmVjci1wYXNzd29yZA==","expiresAt":1893456000.123,"proxyEndpoint":"https://1.dkr.ecr.r.amazonaws.com"}]}"#;
        let password = EcrPassword::read(&answer(body)).unwrap();
        assert_eq!((password.basic.reveal(), password.expires), ("QVdTOmVjci1wYXNzd29yZA==", Some(1_893_456_000)));
        for body in ["", "{}", r#"{"authorizationData":[]}"#, r#"{"authorizationData":[{"authorizationToken":"!"}]}"#] {
            assert!(EcrPassword::read(&answer(body)).is_none(), "{body}");
        }
    }

    #[test]
    fn faults_are_read_in_all_their_forms() {
        let fault = |body: &str| {
            let fault = Fault::of(&answer(body));
            (fault.code, fault.message)
        };
        let expected = ("AccessDenied".to_owned(), "Not <authorized>".to_owned());
        for body in [
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not &lt;authorized&gt;</Message></Error></ErrorResponse>",
            r#"{"Error":{"Code":"AccessDenied","Message":"Not <authorized>","Type":"Sender"},"RequestId":"1"}"#,
            r#"{"__type":"com.amazonaws.ecr#AccessDenied","message":"Not <authorized>"}"#,
            r#"{"__type":"AccessDenied:http://internal.amazon.com/coral/","Message":"Not <authorized>"}"#,
        ] {
            assert_eq!(fault(body), expected, "{body}");
        }
        assert_eq!(fault("Bad gateway"), (String::new(), "Bad gateway".to_owned()));
        let mut answer = answer("{}");
        answer.headers.insert("x-amzn-errortype", "AccessDeniedException:http://x/".parse().unwrap());
        assert_eq!(Fault::of(&answer).code, "AccessDeniedException");
    }

    #[test]
    fn faults_that_may_pass_are_told_by_their_code() {
        let transient = |code: &str| Fault { code: code.to_owned(), message: String::new() }.is_transient();
        for code in ["IDPCommunicationError", "ThrottlingException", "Throttling", "ServerException"] {
            assert!(transient(code), "{code}");
        }
        for code in ["", "AccessDenied", "InvalidIdentityToken", "ExpiredTokenException"] {
            assert!(!transient(code), "{code}");
        }
    }
}
