//! Fetches a stack file from the web; no token goes with it.

use std::error::Error as StdError;
use std::time::Duration;

use http::StatusCode;
use url::Url;

use super::ca_cert::CaCert;
use super::cause::Cause;
use super::client;
use super::retry::{self, Retries, is_transient_response, wait_after};
use crate::console::log::quote;
use crate::console::redact::Secret;
use crate::shutdown::Shutdown;

/// Servers move files about, and the request carries no credentials.
const MOST_REDIRECTS: usize = 5;

/// Bounds on one fetch.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// For one request.
    pub(crate) timeout: Duration,
    /// How often a transient failure is retried.
    pub(crate) retries: u32,
    /// How long the text may be, in bytes.
    pub(crate) size: usize,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error("`{url}` could not be fetched: {source}")]
    Transport { url: String, source: Cause },
    #[error("`{url}` could not be fetched: the server answered {status}")]
    Status { url: String, status: StatusCode, wait: Option<Duration> },
    #[error("`{url}` could not be fetched: {source}")]
    Redirect { url: String, source: RedirectError },
    #[error("`{url}` could not be fetched: it is larger than {} KiB", limit / 1024)]
    TooLarge { url: String, limit: usize },
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum RedirectError {
    #[error("it redirects to a URL that is not `https://`")]
    Unencrypted,
    #[error("it redirects too often")]
    TooMany,
}

/// A URL without its password and query, which may be secrets.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither fails for a URL with a host.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    shown.set_query(url.query().map(|_| "…"));
    quote(&shown.as_str().replace("?%E2%80%A6", "?…"))
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
    let redirects = reqwest::redirect::Policy::custom(|attempt| {
        if attempt.url().scheme() != "https" {
            attempt.error(RedirectError::Unencrypted)
        } else if attempt.previous().len() > MOST_REDIRECTS {
            attempt.error(RedirectError::TooMany)
        } else {
            attempt.follow()
        }
    });
    let http = client::verifying(ca_cert, limits.timeout)?.redirect(redirects).build().map_err(client::Error::from)?;
    let retries = Retries::new(limits.retries, shutdown);
    let mut number = 1;
    loop {
        let error = match once(&http, url, limits, number).await {
            Ok(text) => return Ok(text),
            Err(error) => error,
        };
        let wait = match &error {
            Error::Transport { source, .. } if source.is_transient() => Some(retry::backoff(number)),
            Error::Status { wait, .. } => *wait,
            _ => None,
        };
        match wait {
            Some(wait) if retries.wait(&error.to_string(), wait, number).await => number += 1,
            _ => return Err(error),
        }
    }
}

async fn once(http: &reqwest::Client, url: &Url, limits: Limits, number: u32) -> Result<Vec<u8>, Error> {
    let failed = |error: reqwest::Error| match error.source().and_then(<dyn StdError>::downcast_ref) {
        Some(redirect) => Error::Redirect { url: shown(url), source: *redirect },
        None => Error::Transport { url: shown(url), source: Cause::of(&error, limits.timeout) },
    };
    let mut response = http.get(url.clone()).send().await.map_err(failed)?;
    let status = response.status();
    if !status.is_success() {
        let wait = is_transient_response(&response).then(|| wait_after(response.headers(), number));
        return Err(Error::Status { url: shown(url), status, wait });
    }
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        text.extend_from_slice(&chunk);
        if text.len() > limits.size {
            return Err(Error::TooLarge { url: shown(url), limit: limits.size });
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_shown_without_password_and_query() {
        let shown = |url: &str| shown(&Url::parse(url).unwrap());
        assert_eq!(shown("https://host/stack.yml"), "https://host/stack.yml");
        assert_eq!(shown("https://me:pass@host/a%20b?token=secret#x"), "https://host/a%20b?…");
    }
}
