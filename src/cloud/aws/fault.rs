//! Errors of STS and ECR, and their bodies: JSON, or XML from an endpoint that knows nothing else.

use std::fmt;

use serde_json::Value;

use crate::http::service::Answer;

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
pub(super) enum Body {
    Json(Value),
    Xml(String),
}

impl Body {
    pub(super) fn of(answer: &Answer) -> Self {
        match serde_json::from_slice(&answer.body) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Xml(String::from_utf8_lossy(&answer.body).into_owned()),
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
    let fields = json.as_object()?;
    fields.get(name).and_then(Value::as_str).or_else(|| fields.values().find_map(|field| find(field, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer::success(body.as_bytes())
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
