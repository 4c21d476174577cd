//! The gateway over HTTP: token exchange, functions, invocations; retries transient failures. Knows nothing of variables.

mod error;
mod invocation;
mod list;
mod logs;
pub(crate) mod namespaces;
pub(crate) mod provider;
pub(crate) mod secrets;
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
pub(crate) use invocation::{Internal, Invocation, Invoked, NoResponse, may_be_set, may_recover};
use provider::Provider;
pub(crate) use send::Repeat;
use send::{ApiCall, Response};
pub(crate) use token::{AccessToken, Authenticator, Granted};

use crate::function::FunctionName;
use crate::function::api::Status;
use crate::http::ca_cert::CaCert;
use crate::http::client::{self, SafeUrl, is_local};
use crate::http::retry::{self, Attempt, Retries};
use crate::oidc::{BuildContext, IamAction};
use crate::shutdown::Shutdown;

/// The path of functions in the API.
const FUNCTIONS: [&str; 2] = ["system", "functions"];
/// How often an update is sent again that the provider refused for a reason that passes.
const MOST_CONFLICTS: u32 = 2;
/// How much of a response is read if only its beginning is of use, in bytes.
const RESPONSE_LIMIT: usize = 64 * 1024;
/// The longest list of functions that is read, in bytes: many ten thousands of them.
const LIST_LIMIT: usize = 64 * 1024 * 1024;

/// The gateway's id of a call, which it sets on every response of a function.
pub(crate) const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// Where a gateway is, and how requests to it are made.
pub(crate) struct Settings {
    pub(crate) url: Url,
    /// Trusted beside the built-in roots.
    pub(crate) ca_cert: Option<CaCert>,
    /// Accept any certificate.
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

/// The gateway at one URL.
pub(crate) struct Gateway {
    settings: Settings,
    http: reqwest::Client,
    retries: Retries,
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

/// The result of a request to update a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    Accepted,
    /// There is no function of this name.
    NotFound,
}

/// The result of a request to delete a function.
#[derive(Clone, Debug)]
pub(crate) enum Deletion {
    Accepted,
    /// There is no function of this name.
    NotFound,
    /// It may have been carried out: no response came, or one that a proxy may have made.
    Unknown(Error),
}

/// The result of a request to create a function.
#[derive(Clone, Debug)]
pub(crate) enum Creation {
    Accepted,
    /// There is one of this name already.
    Exists {
        /// An earlier try got no response, and may be what created it.
        response_lost: bool,
        /// The response, if this is an error.
        error: Error,
    },
}

/// The functions of a list that were wanted.
pub(crate) struct Listed {
    pub(crate) functions: Vec<Status>,
    /// How long the whole list was, in bytes.
    pub(crate) size: u64,
}

impl Gateway {
    /// Sends nothing yet.
    pub(crate) fn new(settings: Settings, shutdown: &Shutdown) -> Self {
        let builder = if settings.accept_any_certificate {
            client::accepting_any_certificate(settings.timeout)
        } else {
            client::verifying(settings.ca_cert.as_ref(), settings.timeout)
        };
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

    /// The URL to invoke a function at.
    pub(crate) fn function_url(&self, target: &FunctionName) -> Url {
        self.invocation_url(target, false)
    }

    /// The URL of an invocation that is answered, or queued.
    pub(crate) fn invocation_url(&self, target: &FunctionName, asynchronous: bool) -> Url {
        self.path(&[if asynchronous { "async-function" } else { "function" }, &target.to_string()])
    }

    fn path(&self, segments: &[&str]) -> Url {
        let mut url = self.settings.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// `PUT /system/functions` with a deployment as JSON. faasd goes on with an update whose client has left: after a timeout or a
    /// connection that was closed it is not sent again here.
    pub(crate) async fn update(&self, target: &FunctionName, body: Bytes) -> Result<Update, Error> {
        let provider = self.provider().await;
        let repeat = if provider.may_remove() { Repeat::NotIfUnderWay } else { Repeat::Always };
        let call = ApiCall { repeat, ..self.change(Method::PUT, &FUNCTIONS, IamAction::FunctionUpdate, target, body) };
        let attempt = async |number| {
            let (result, passes) = self.update_once(&call, provider).await;
            let said = result.as_ref().err().filter(|_| passes && number <= MOST_CONFLICTS).map(ToString::to_string);
            Attempt { result, retry: said.map(|said| (retry::backoff(number), said)) }
        };
        self.retries.run(attempt).await
    }

    /// The result of one update, and whether it is a conflict that passes.
    async fn update_once(&self, call: &ApiCall<'_>, provider: Provider) -> (Result<Update, Error>, bool) {
        let response = match self.send(call).await {
            Ok(response) => response,
            Err(error) => return (Err(error), false),
        };
        match response.status.as_u16() {
            // Community Edition answers 202 to an update; what Kubernetes refuses it only logs, and answers with an empty 200.
            200 if provider == Provider::CommunityEdition => (Err(Error::Ignored { request: call.name() }), true),
            200..=202 => (Ok(Update::Accepted), false),
            404 if response.is_not_found() => (Ok(Update::NotFound), false),
            // The old process took longer to stop than faasd waits. It has stopped by the next try.
            500 if provider == Provider::Faasd && says(&response.body, "cannot delete running task") => {
                (Err(self.refused(call, &response)), true)
            }
            _ => (Err(self.refused(call, &response)), false),
        }
    }

    /// `POST /system/functions` with a deployment as JSON.
    pub(crate) async fn create(&self, target: &FunctionName, body: Bytes) -> Result<Creation, Error> {
        let call = self.change(Method::POST, &FUNCTIONS, IamAction::FunctionCreate, target, body);
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200..=202 => Ok(Creation::Accepted),
            // Community Edition passes the text of Kubernetes on with a 500, faasd that of containerd with a 400.
            status if status == 409 || matches!(status, 400 | 500) && says(&response.body, "already exists") => {
                Ok(Creation::Exists { response_lost: response.response_lost, error: self.refused(&call, &response) })
            }
            _ => Err(self.refused(&call, &response)),
        }
    }

    /// `DELETE /system/functions`.
    pub(crate) async fn delete(&self, target: &FunctionName) -> Result<Deletion, Error> {
        let mut body = serde_json::json!({ "functionName": target.name });
        if let Some(namespace) = &target.namespace {
            body["namespace"] = namespace.as_str().into();
        }
        let mut call =
            self.change(Method::DELETE, &FUNCTIONS, IamAction::FunctionDelete, target, body.to_string().into());
        // Community Edition reads it there only.
        call.url = in_namespace(call.url, target.namespace.as_deref());
        let mut response_lost = false;
        let response = match self.send_noting(&call, &mut response_lost).await {
            Ok(response) => response,
            Err(error) if response_lost => return Ok(Deletion::Unknown(error)),
            Err(error) => return Err(error),
        };
        match response.status.as_u16() {
            200..=202 => Ok(Deletion::Accepted),
            // The try whose response was lost may be what deleted it.
            404 if response_lost => Ok(Deletion::Accepted),
            404 if response.is_not_found() => Ok(Deletion::NotFound),
            // Some proxies have statuses of their own above 599.
            status if response_lost || status >= 500 => Ok(Deletion::Unknown(self.refused(&call, &response))),
            _ => Err(self.refused(&call, &response)),
        }
    }

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

    /// `GET /system/function/NAME`: its status; `None` if it does not exist.
    pub(crate) async fn get(&self, target: &FunctionName) -> Result<Option<Status>, Error> {
        self.look(target, Repeat::Always).await
    }

    /// [`Gateway::get`], sent again after these failures.
    pub(crate) async fn look(&self, target: &FunctionName, repeat: Repeat) -> Result<Option<Status>, Error> {
        let url = in_namespace(self.path(&["system", "function", &target.name]), target.namespace.as_deref());
        let question = self.question(url, Some(IamAction::FunctionGet), Some(target), list::ELEMENT_LIMIT);
        let call = ApiCall { repeat, ..question };
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200 => parse(&call, &response).map(Some),
            404 if response.is_not_found() => Ok(None),
            _ => Err(self.refused(&call, &response)),
        }
    }

    /// `GET /system/functions`: the functions of a namespace that are wanted.
    pub(crate) async fn list(
        &self,
        namespace: Option<&str>,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Vec<Status>, Error> {
        Ok(self.list_with(namespace, wanted, Repeat::Always).await?.functions)
    }

    /// [`Gateway::list`], sent again after these failures.
    pub(crate) async fn list_with(
        &self,
        namespace: Option<&str>,
        wanted: impl Fn(&Status) -> bool,
        repeat: Repeat,
    ) -> Result<Listed, Error> {
        let url = in_namespace(self.path(&["system", "functions"]), namespace);
        // A listing is permitted on a whole namespace.
        let target = FunctionName::all_of(namespace.map(str::to_owned));
        let question = self.question(url, Some(IamAction::FunctionList), Some(&target), LIST_LIMIT);
        let call = ApiCall { repeat, ..question };
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200 => {
                let size = response.body.len() as u64;
                let functions = list::read(&response.body, &wanted).map_err(|error| call.shape(error))?;
                Ok(Listed { functions, size })
            }
            _ => Err(self.refused(&call, &response)),
        }
    }

    /// The retries of all requests to this gateway.
    pub(crate) fn retries(&self) -> &Retries {
        &self.retries
    }

    /// The size of all response bodies so far, in bytes.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn question<'a>(
        &self,
        url: Url,
        action: Option<IamAction>,
        target: Option<&'a FunctionName>,
        limit: usize,
    ) -> ApiCall<'a> {
        ApiCall { action, target, limit, whole: true, ..ApiCall::new(Method::GET, url) }
    }
}

fn in_namespace(mut url: Url, namespace: Option<&str>) -> Url {
    if let Some(namespace) = namespace {
        url.query_pairs_mut().append_pair("namespace", namespace);
    }
    url
}

fn says(body: &[u8], words: &str) -> bool {
    String::from_utf8_lossy(body).contains(words)
}

fn parse<T: for<'a> Deserialize<'a>>(call: &ApiCall<'_>, response: &Response) -> Result<T, Error> {
    serde_json::from_slice(&response.body).map_err(|error| call.shape(ShapeError::not_json(&error)))
}
