//! What all HTTP clients share: TLS, the `User-Agent`, retries, and the causes of a failed request.

pub(crate) mod cause;
pub(crate) mod fetch;
pub(crate) mod retry;
pub(crate) mod tls;

use std::time::Duration;

/// What every request names itself.
pub(crate) const USER_AGENT: &str = concat!("openfaas-pipe/", env!("CARGO_PKG_VERSION"));

/// A connection is made in less, or not at all.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
