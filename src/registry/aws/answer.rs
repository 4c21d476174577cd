//! Reads what STS and ECR answer: JSON, or XML from an endpoint that knows nothing else.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::DATE;
use serde_json::Value;

use crate::console::redact::Secret;
use crate::registry::login::RegistryLogin;
use crate::registry::transport::Answer;

/// The temporary credentials of a role.
pub(super) struct Session {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    pub(super) token: Secret,
    /// The server's time when it answered, and when that was here: signatures are valid for minutes, and this machine's clock
    /// may be wrong.
    time: (SystemTime, Instant),
}

impl Session {
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        let body = Body::of(answer);
        let [id, secret, token] = ["AccessKeyId", "SecretAccessKey", "SessionToken"]
            .map(|name| body.text(name).filter(|text| !text.is_empty()));
        let access_key_id = id?;
        // Useless without the key, but it is masked as well.
        let _ = Secret::new(access_key_id.clone());
        let date = answer.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let time = (date.unwrap_or_else(SystemTime::now), Instant::now());
        Some(Self { access_key_id, secret_access_key: Secret::token(secret?), token: Secret::token(token?), time })
    }

    /// The server's time now.
    pub(super) fn now(&self) -> SystemTime {
        let (time, then) = self.time;
        time + then.elapsed()
    }
}

/// What ECR accepts from docker: the base64 of `AWS:PASSWORD`, which is used as it is.
pub(super) fn ecr_login(answer: &Answer) -> Option<Arc<RegistryLogin>> {
    let json: Value = serde_json::from_slice(&answer.body).ok()?;
    let data = json.pointer("/authorizationData/0")?;
    let basic = data.get("authorizationToken")?.as_str()?;
    let decoded = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    let _ = Secret::token(password.to_owned());
    let seconds = data.get("expiresAt").and_then(Value::as_f64);
    let expires = seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?));
    Some(Arc::new(RegistryLogin { basic: Secret::token(basic.to_owned()), identity_token: None, expires }))
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
        let body = Body::of(answer);
        let header = || answer.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let code = body.text("Code").or_else(|| body.text("__type")).or_else(header).unwrap_or_default();
        // `com.amazonaws.ecr#AccessDeniedException`, `AccessDeniedException:http://…`
        let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
        let message = body.text("Message").or_else(|| body.text("message"));
        let whole = || if code.is_empty() { String::from_utf8_lossy(&answer.body).into_owned() } else { String::new() };
        Self { code: code.to_owned(), message: message.unwrap_or_else(whole) }
    }

    /// The code without the ending that only some endpoints write.
    pub(super) fn kind(&self) -> &str {
        self.code.strip_suffix("Exception").unwrap_or(&self.code)
    }

    /// Whether the same request may succeed later, which AWS does not say by the status alone.
    pub(super) fn is_transient(&self) -> bool {
        [
            "IDPCommunicationError",
            "Throttling",
            "Throttled",
            "TooManyRequests",
            "Server",
            "InternalFailure",
            "ServiceUnavailable",
            "RequestLimitExceeded",
        ]
        .contains(&self.kind())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.message.as_str()) {
            ("", text) | (text, "") => f.write_str(text),
            (code, message) => write!(f, "{code}: {message}"),
        }
    }
}

/// An answer's body, in which names are unique.
enum Body {
    Json(Value),
    Xml(String),
}

impl Body {
    fn of(answer: &Answer) -> Self {
        match serde_json::from_slice(&answer.body) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Xml(String::from_utf8_lossy(&answer.body).into_owned()),
        }
    }

    /// The text of a name, however deep it is. STS' elements have no attributes, and none is within another of its name.
    fn text(&self, name: &str) -> Option<String> {
        match self {
            Self::Json(json) => find(json, name).map(str::to_owned),
            Self::Xml(xml) => {
                let (_, rest) = xml.split_once(&format!("<{name}>"))?;
                let (text, _) = rest.split_once(&format!("</{name}>"))?;
                let entities =
                    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];
                let unescape = |text: String, (entity, character): (&str, &str)| text.replace(entity, character);
                Some(entities.into_iter().fold(text.trim().to_owned(), unescape))
            }
        }
    }
}

/// serde_json bounds the depth.
fn find<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    let fields = json.as_object()?;
    fields.get(name).and_then(Value::as_str).or_else(|| fields.values().find_map(|field| find(field, name)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::registry::clock;

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
        let login = ecr_login(&answer(body)).unwrap();
        assert_eq!(login.basic.reveal(), "QVdTOmVjci1wYXNzd29yZA==");
        assert_eq!(login.expires.map(clock::readable).as_deref(), Some("2030-01-01 00:00 UTC"));
        for body in ["", "{}", r#"{"authorizationData":[]}"#, r#"{"authorizationData":[{"authorizationToken":"!"}]}"#] {
            assert!(ecr_login(&answer(body)).is_none(), "{body}");
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
    fn transient_faults_are_known_by_their_code() {
        let transient = |code: &str| Fault { code: code.to_owned(), message: String::new() }.is_transient();
        for code in ["IDPCommunicationError", "ThrottlingException", "Throttling", "ServerException"] {
            assert!(transient(code), "{code}");
        }
        for code in ["", "AccessDenied", "InvalidIdentityToken", "ExpiredTokenException"] {
            assert!(!transient(code), "{code}");
        }
    }
}
