//! Requests to clouds, and what they say if they refuse: JSON, or XML from an endpoint of AWS that knows nothing else.

use std::fmt;

use serde_json::Value;

use crate::console::log::quote;
use crate::diagnostic::Diagnostic;
use crate::http::service::{SHORT, ServiceClient, ServiceResponse, about, denied, is_transient, unavailable};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CloudError {
    pub(super) code: String,
    pub(super) message: String,
}

impl CloudError {
    /// Reads an error in any of the forms in use: of AWS's STS and ECR, of token exchanges (RFC 6749, section 5.2), of Google's APIs.
    pub(super) fn of(response: &ServiceResponse) -> Self {
        let body = Body::of(response);
        let header =
            || response.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let code = ["Code", "__type", "error", "reason"].into_iter().find_map(|name| body.text(name));
        let code = code.or_else(header).unwrap_or_default();
        // `com.amazonaws.ecr#AccessDeniedException`, `AccessDeniedException:http://…`
        let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
        let message = ["Message", "message", "error_description"].into_iter().find_map(|name| body.text(name));
        let whole =
            || if code.is_empty() { String::from_utf8_lossy(&response.body).into_owned() } else { String::new() };
        Self { code: code.to_owned(), message: message.unwrap_or_else(whole) }
    }

    /// The code without the ending that only some endpoints write.
    pub(super) fn kind(&self) -> &str {
        self.code.strip_suffix("Exception").unwrap_or(&self.code)
    }

    /// True if the same request may succeed later, which AWS does not say by the status alone.
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

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.message.as_str()) {
            ("", text) | (text, "") => f.write_str(text),
            (code, message) => write!(f, "{code}: {message}"),
        }
    }
}

/// A response's body, in which names are unique.
pub(super) enum Body {
    Json(Value),
    Xml(String),
}

impl Body {
    pub(super) fn of(response: &ServiceResponse) -> Self {
        match serde_json::from_slice(&response.body) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Xml(String::from_utf8_lossy(&response.body).into_owned()),
        }
    }

    /// The text of a name, however deep it is. STS' elements have no attributes, and none is within another of its name.
    pub(super) fn text(&self, name: &str) -> Option<String> {
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
    match json {
        Value::Object(fields) => {
            let own = fields.get(name).and_then(Value::as_str);
            own.or_else(|| fields.values().find_map(|field| find(field, name)))
        }
        Value::Array(items) => items.iter().find_map(|item| find(item, name)),
        _ => None,
    }
}

/// Sends a request to a service of a cloud. Of a refusal, `what` says what was refused, and `remedy` what to change.
pub(super) async fn send(
    http: &ServiceClient,
    service: &str,
    request: reqwest::RequestBuilder,
    what: &str,
    remedy: impl FnOnce(&CloudError) -> String,
) -> Result<ServiceResponse, Diagnostic> {
    let is_transient =
        |response: &ServiceResponse| is_transient(response.status) || CloudError::of(response).is_transient();
    let response = http.send_until(request, SHORT, is_transient).await;
    let response = response.map_err(|error| about(format!("{service} could not be reached"), error))?;
    if response.status.is_success() {
        return Ok(response);
    }
    let error = CloudError::of(&response);
    let (status, said) = (response.status.as_u16(), quote(&error.to_string()));
    Err(if is_transient(&response) {
        // Of these, only trouble of the token's issuer has a remedy.
        let hint = error.code.starts_with("IDP").then(|| remedy(&error));
        Diagnostic { hint, ..unavailable(format!("{service} returned {status}: {said}")) }
    } else {
        denied(format!("{service} {what}: {status} {said}")).with_hint(remedy(&error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &str) -> ServiceResponse {
        ServiceResponse::success(body.as_bytes())
    }

    #[test]
    fn faults_are_read_in_all_their_forms() {
        let fault = |body: &str| {
            let fault = CloudError::of(&response(body));
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
        let google = [
            r#"{"error":"invalid_grant","error_description":"no"}"#,
            r#"{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED","details":[{"@type":"x","reason":"IAM_PERMISSION_DENIED"}]}}"#,
            r#"{"error":{"code":403,"message":"no"}}"#,
        ]
        .map(|body| CloudError::of(&response(body)).to_string());
        assert_eq!(google, ["invalid_grant: no", "IAM_PERMISSION_DENIED: no", "no"]);
        let mut response = response("{}");
        response.headers.insert("x-amzn-errortype", "AccessDeniedException:http://x/".parse().unwrap());
        assert_eq!(CloudError::of(&response).code, "AccessDeniedException");
    }

    #[test]
    fn transient_faults_are_known_by_their_code() {
        let transient = |code: &str| CloudError { code: code.to_owned(), message: String::new() }.is_transient();
        for code in ["IDPCommunicationError", "ThrottlingException", "Throttling", "ServerException"] {
            assert!(transient(code), "{code}");
        }
        for code in ["", "AccessDenied", "InvalidIdentityToken", "ExpiredTokenException"] {
            assert!(!transient(code), "{code}");
        }
    }
}
