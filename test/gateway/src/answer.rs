//! Answers in the forms that Go's `net/http` gives them, which OpenFaaS is written with.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::body::{self, Body};

pub(crate) type Answer = Response<Body>;

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    with_body(status, None, Bytes::new())
}

/// A text as Go's `http.Error` writes it: with a newline at its end.
pub(crate) fn error(status: StatusCode, text: impl std::fmt::Display) -> Answer {
    let mut answer = with_body(status, Some("text/plain; charset=utf-8"), format!("{text}\n").into());
    set(&mut answer, "x-content-type-options", "nosniff");
    answer
}

/// A text.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    with_body(status, Some("text/plain; charset=utf-8"), text.into().into())
}

/// JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Answer {
    with_body(status, Some("application/json"), value.to_string().into())
}

/// Any bytes of a content type.
pub(crate) fn with_body(status: StatusCode, content_type: Option<&'static str>, bytes: Bytes) -> Answer {
    streamed(status, content_type, body::full(bytes))
}

/// A body that may still be coming.
pub(crate) fn streamed(status: StatusCode, content_type: Option<&'static str>, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    if let Some(content_type) = content_type {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    answer
}

/// Sets a header; one that HTTP cannot carry is left out.
pub(crate) fn set(answer: &mut Answer, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        answer.headers_mut().insert(name, value);
    }
}
