//! Responses in the formats of registries and clouds.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

pub(crate) type Reply = Response<Bytes>;

pub(crate) fn bytes(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(content_type) = HeaderValue::try_from(content_type) {
        reply.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    reply
}

pub(crate) fn text(status: u16, text: impl Into<String>) -> Reply {
    bytes(status, "text/plain; charset=utf-8", text.into())
}

pub(crate) fn json(status: u16, value: &Value) -> Reply {
    bytes(status, "application/json", value.to_string())
}

/// An error of the distribution API (OCI distribution spec, *Error Codes*).
pub(crate) fn distribution(status: u16, code: &str, message: impl Into<String>) -> Reply {
    json(status, &json!({"errors": [{"code": code, "message": message.into()}]}))
}

/// Adds a header line. Ignores values that are invalid in HTTP.
pub(crate) fn add(reply: &mut Reply, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        reply.headers_mut().append(name, value);
    }
}

/// A response with an additional header line.
pub(crate) fn with(mut reply: Reply, name: &str, value: &str) -> Reply {
    add(&mut reply, name, value);
    reply
}
