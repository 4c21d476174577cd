//! Fetching a stack file from the web; no token goes with it.

use std::time::Duration;

use url::Url;

use super::send::{may_pass, pause, wait_of};
use super::{CONNECT_TIMEOUT, Cause, USER_AGENT, retry, tls};
use crate::config::Config;
use crate::log::quote;
use crate::stop::Stop;

/// Servers of files move them about; none of a team's secrets is in the request.
const MOST_REDIRECTS: usize = 5;

/// Why a try failed, and how long to wait before another where that may help.
type Failed = (String, Option<Duration>);

/// The text at an `https://` URL, of at most `limit` bytes.
///
/// Gives what is wrong in the words of the log.
pub async fn fetch(
    url: &Url,
    ca_cert: Option<&str>,
    config: &Config,
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
        .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
        .timeout(config.timeout)
        .build()
        .map_err(|error| quote(&error.to_string()))?;
    let mut number = 1;
    loop {
        let (reason, wait) = match once(&http, url, config.timeout, limit, number).await {
            Ok(text) => return Ok(text),
            Err(failed) => failed,
        };
        let said = format!("`{}` could not be fetched: {reason}", quote(url.as_str()));
        match wait {
            Some(wait) if pause(stop, &said, wait, number, config.retries).await => number += 1,
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
        let wait = may_pass(&response).then(|| wait_of(response.headers(), number));
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
