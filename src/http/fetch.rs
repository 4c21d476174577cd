//! Fetching a stack file from the web; no token goes with it.

use std::time::Duration;

use url::Url;

use super::cause::Cause;
use super::retry::{self, pause, response_may_pass, wait_of};
use super::{CONNECT_TIMEOUT, USER_AGENT, tls};
use crate::console::log::quote;
use crate::shutdown::Stop;

/// Servers of files move them about; none of a team's secrets is in the request.
const MOST_REDIRECTS: usize = 5;

/// Why a try failed, and how long to wait before another where that may help.
type Failed = (String, Option<Duration>);

/// Bounds on one fetch.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// For one request.
    pub timeout: Duration,
    /// How often a transient failure is retried.
    pub retries: u32,
}

/// The text at an `https://` URL, of at most `limit` bytes.
///
/// Gives what is wrong in the words of the log.
pub(crate) async fn fetch(
    url: &Url,
    ca_cert: Option<&str>,
    limits: Limits,
    stop: &Stop,
    limit: usize,
) -> Result<Vec<u8>, String> {
    let redirects = reqwest::redirect::Policy::custom(|attempt| {
        if attempt.url().scheme() != "https" {
            attempt.error("a redirect away from https")
        } else if attempt.previous().len() > MOST_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    });
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(ca_cert, false).map_err(|error| format!("`CA_CERT` {error}"))?)
        .user_agent(USER_AGENT)
        .redirect(redirects)
        .connect_timeout(CONNECT_TIMEOUT.min(limits.timeout))
        .timeout(limits.timeout)
        .build()
        .map_err(|error| quote(&error.to_string()))?;
    let mut number = 1;
    loop {
        let (reason, wait) = match once(&http, url, limits.timeout, limit, number).await {
            Ok(text) => return Ok(text),
            Err(failed) => failed,
        };
        let said = format!("`{}` could not be fetched: {reason}", quote(url.as_str()));
        match wait {
            Some(wait) if pause(stop, &said, wait, number, limits.retries).await => number += 1,
            _ => return Err(said),
        }
    }
}

/// One try.
async fn once(
    http: &reqwest::Client,
    url: &Url,
    timeout: Duration,
    limit: usize,
    number: u32,
) -> Result<Vec<u8>, Failed> {
    let failed = |error: reqwest::Error| {
        let cause = Cause::of(&error, timeout);
        (cause.to_string(), cause.may_pass().then(|| retry::backoff(number)))
    };
    let mut response = http.get(url.clone()).send().await.map_err(failed)?;
    if !response.status().is_success() {
        let wait = response_may_pass(&response).then(|| wait_of(response.headers(), number));
        return Err((format!("the server answered {}", response.status()), wait));
    }
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        text.extend_from_slice(&chunk);
        if text.len() > limit {
            return Err((format!("it is larger than {} KiB", limit / 1024), None));
        }
    }
    Ok(text)
}
