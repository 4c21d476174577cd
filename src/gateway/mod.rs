//! The gateway over HTTP: token exchange, functions, invocations; retries transient failures. Knows nothing of variables.

mod error;
mod functions;
mod invocation;
pub(crate) mod provider;
pub(crate) mod resources;
mod send;
pub(crate) mod statuses;
mod token;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use error::ShapeError;
pub(crate) use error::{Destination, Error, Redirect, body_limit};
pub(crate) use functions::{Creation, Deletion, Update};
pub(crate) use invocation::{Internal, Invocation, Invoked, NoResponse, may_recover};
use provider::Provider;
pub(crate) use send::Repeat;
use send::{ApiCall, Response};
pub(crate) use token::{AccessToken, Authenticator, Granted};

use crate::function::FunctionName;
use crate::http::client::{self, SafeUrl, is_local};
use crate::http::retry::Retries;
use crate::http::tls::CaCert;
use crate::oidc::{BuildContext, IamAction};
use crate::shutdown::Shutdown;

/// How much of a response is read if only its beginning is of use, in bytes.
const RESPONSE_LIMIT: usize = 64 * 1024;
/// The gateway's id of a call, which it sets on every response of a function.
pub(crate) const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// Where a gateway is, and how requests to it are made.
pub(crate) struct Settings {
    pub(crate) url: Url,
    /// Trusted beside the built-in roots.
    pub(crate) ca_cert: Option<CaCert>,
    pub(crate) accept_any_certificate: bool,
    pub(crate) authenticator: Authenticator,
    /// Sent with every request.
    pub(crate) headers: HeaderMap,
    /// For one request.
    pub(crate) timeout: Duration,
    /// How often each request is retried.
    pub(crate) retries: u32,
    /// Requests under way at once.
    pub(crate) parallel: usize,
    /// The build, to be compared with the token.
    pub(crate) build: BuildContext,
}

pub(crate) struct Gateway {
    settings: Settings,
    http: reqwest::Client,
    pub(crate) retries: Retries,
    shutdown: Shutdown,
    /// True if the server at the URL has ever answered in HTTP.
    has_responded: AtomicBool,
    /// Some request got a response that is no transient failure.
    has_answered: AtomicBool,
    /// Some request got none, with all its retries.
    has_failed: AtomicBool,
    speaks_tls: OnceCell<bool>,
    provider: OnceCell<Provider>,
    /// The size of all response bodies so far, in bytes.
    received: AtomicU64,
}

impl Gateway {
    /// Sends nothing yet.
    pub(crate) fn new(settings: Settings, shutdown: &Shutdown) -> Self {
        let (ca_cert, accept_any) = (settings.ca_cert.as_ref(), settings.accept_any_certificate);
        let builder = client::builder(ca_cert, accept_any, settings.timeout);
        // Requests to this machine go through no proxy.
        let builder = if is_local(&settings.url) { builder.no_proxy() } else { builder };
        let builder = builder.pool_max_idle_per_host(settings.parallel).default_headers(settings.headers.clone());
        Self {
            http: client::build(builder),
            retries: Retries::new(settings.retries, shutdown),
            shutdown: shutdown.clone(),
            has_responded: AtomicBool::new(false),
            has_answered: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            speaks_tls: OnceCell::new(),
            provider: OnceCell::new(),
            received: AtomicU64::new(0),
            settings,
        }
    }

    /// The gateway's address, without a slash at its end.
    pub(crate) fn address(&self) -> String {
        SafeUrl(&self.settings.url).to_string()
    }

    /// The URL of an invocation that is answered, or queued.
    pub(crate) fn invocation_url(&self, target: &FunctionName, asynchronous: bool) -> Url {
        self.path(&[if asynchronous { "async-function" } else { "function" }, &target.to_string()])
    }

    fn path(&self, segments: &[&str]) -> Url {
        let mut url = self.settings.url.clone();
        url.path_segments_mut().expect("a URL of HTTP has a path").pop_if_empty().extend(segments);
        url
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// A request that changes something.
    fn change<'a>(
        &self,
        method: Method,
        path: &[&str],
        action: IamAction,
        target: &'a FunctionName,
        body: Bytes,
    ) -> ApiCall<'a> {
        let call = ApiCall::new(method, self.path(path));
        ApiCall { content_type: "application/json", body, action: Some(action), target: Some(target), ..call }
    }

    /// A request for JSON, of which a part is useless.
    fn query<'a>(&self, url: Url, action: IamAction, target: &'a FunctionName, limit: usize) -> ApiCall<'a> {
        let call = ApiCall::new(Method::GET, url);
        ApiCall { action: Some(action), target: Some(target), limit, whole: true, ..call }
    }

    /// Sends a query; `None` if what it names does not exist.
    async fn find<T: for<'a> Deserialize<'a>>(&self, query: &ApiCall<'_>) -> Result<Option<T>, Error> {
        let response = self.send(query).await?;
        match response.status.as_u16() {
            200 => parse(query, &response).map(Some),
            404 if response.is_not_found() => Ok(None),
            _ => Err(self.refused(query, &response)),
        }
    }
}

fn in_namespace(mut url: Url, namespace: Option<&str>) -> Url {
    if let Some(namespace) = namespace {
        url.query_pairs_mut().append_pair("namespace", namespace);
    }
    url
}

fn parse<T: for<'a> Deserialize<'a>>(call: &ApiCall<'_>, response: &Response) -> Result<T, Error> {
    serde_json::from_slice(&response.body).map_err(|error| call.shape(ShapeError::not_json(&error)))
}
