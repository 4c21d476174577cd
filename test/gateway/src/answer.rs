//! Responses in the formats of Go's `net/http`, which OpenFaaS uses.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::body::{self, Body};

pub(crate) type Answer = Response<Body>;

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    with_body(status, None, Bytes::new())
}

/// A text with a newline at the end, as Go's `http.Error` writes it.
pub(crate) fn error(status: StatusCode, text: impl std::fmt::Display) -> Answer {
    let mut answer = with_body(status, Some("text/plain; charset=utf-8"), format!("{text}\n").into());
    set(&mut answer, "x-content-type-options", "nosniff");
    answer
}

/// A text response.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    with_body(status, Some("text/plain; charset=utf-8"), text.into().into())
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, value: &Value) -> Answer {
    with_body(status, Some("application/json"), value.to_string().into())
}

/// A response with any content type.
pub(crate) fn with_body(status: StatusCode, content_type: Option<&'static str>, bytes: Bytes) -> Answer {
    streamed(status, content_type, body::full(bytes))
}

/// A response with a streamed body.
pub(crate) fn streamed(status: StatusCode, content_type: Option<&'static str>, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    if let Some(content_type) = content_type {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    answer
}

/// Sets a header. Ignores names and values that are invalid in HTTP.
pub(crate) fn set(answer: &mut Answer, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        answer.headers_mut().insert(name, value);
    }
}
