//! Fetches a stack file from the web; no token goes with it.

use std::time::Duration;

use url::Url;

use super::cause::Cause;
use super::client::{self, SafeUrl};
use super::retry::{self, Attempt, Retries, is_transient_response, wait_after};
use super::tls::CaCert;
use crate::console::redact::Secret;
use crate::shutdown::Shutdown;

#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// For one request.
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    /// How long the text may be, in bytes.
    pub(crate) size: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("`{url}` could not be fetched: {reason}")]
pub(crate) struct Error {
    url: String,
    reason: String,
}

/// Hides the parts of a URL that may be secrets wherever they appear from now on.
fn hide(url: &Url) {
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let parts = url.query().map(str::to_owned).into_iter().chain(values).chain(url.password().map(str::to_owned));
    // Shorter ones occur anywhere.
    parts.filter(|part| part.len() >= 8).for_each(|part| drop(Secret::new(part)));
}

/// The text at an `https://` URL.
pub(crate) async fn fetch(
    url: &Url,
    ca_cert: Option<&CaCert>,
    limits: Limits,
    shutdown: &Shutdown,
) -> Result<Vec<u8>, Error> {
    hide(url);
    let failed = |reason: String| Error { url: SafeUrl(url).to_string(), reason };
    let http = client::build(client::verifying(ca_cert, limits.timeout));
    Retries::new(limits.retries, shutdown)
        .run(async |number| match once(&http, url, limits, number).await {
            Ok(text) => Attempt { result: Ok(text), retry: None },
            Err((reason, wait)) => {
                let error = failed(reason);
                Attempt { retry: wait.map(|wait| (wait, error.to_string())), result: Err(error) }
            }
        })
        .await
}

/// One request. A failure comes with the wait before retry `number` if it is transient.
async fn once(
    http: &reqwest::Client,
    url: &Url,
    limits: Limits,
    number: u32,
) -> Result<Vec<u8>, (String, Option<Duration>)> {
    let failed = |error: reqwest::Error| {
        let cause = Cause::of(&error, limits.timeout);
        (cause.to_string(), cause.is_transient().then(|| retry::backoff(number)))
    };
    let mut response = http.get(url.clone()).send().await.map_err(failed)?;
    let status = response.status();
    if status.is_redirection() {
        // Not followed: the pipeline names the hosts that the pipe talks to.
        let location = url.join(&client::location(response.headers()));
        let location = location.map_or_else(|_| "another address".to_owned(), |url| format!("`{}`", SafeUrl(&url)));
        return Err((format!("it redirects to {location}: write that URL, or the path of a file in the clone"), None));
    }
    if !status.is_success() {
        let wait = is_transient_response(&response).then(|| wait_after(response.headers(), number));
        return Err((format!("the server returned {status}"), wait));
    }
    match client::read(&mut response, limits.size).await.map_err(failed)? {
        (text, false) => Ok(text),
        _ => Err((format!("it is larger than {} KiB", limits.size / 1024), None)),
    }
}
