//! Shared by all HTTP clients: how they are built, TLS, `CA_CERT`, retries, and why a request failed.

pub(crate) mod cause;
pub(crate) mod client;
pub(crate) mod responder;
pub(crate) mod retry;
pub(crate) mod service;
pub(crate) mod tls;
