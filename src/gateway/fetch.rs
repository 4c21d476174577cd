//! Fetching a stack file from the web; no token goes with it.

use std::time::Duration;

use url::Url;

use super::{USER_AGENT, tls};
use crate::log::quote;

/// Servers of files move them about; none of a team's secrets is in the request.
const MOST_REDIRECTS: usize = 5;

/// The text at an `https://` URL, of at most `limit` bytes.
///
/// Gives what is wrong in the words of the log.
pub async fn fetch(url: &Url, ca_cert: Option<&str>, timeout: Duration, limit: usize) -> Result<Vec<u8>, String> {
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
        .tls_backend_preconfigured(tls::config(ca_cert, false)?)
        .user_agent(USER_AGENT)
        .redirect(redirects)
        .timeout(timeout)
        .build()
        .map_err(|error| quote(&error.to_string()))?;
    let mut response =
        http.get(url.clone()).send().await.map_err(|error| super::Cause::of(&error, timeout).to_string())?;
    if !response.status().is_success() {
        return Err(format!("the server answered {}", response.status()));
    }
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| super::Cause::of(&error, timeout).to_string())? {
        text.extend_from_slice(&chunk);
        if text.len() > limit {
            return Err(format!("it is larger than {} KiB", limit / 1024));
        }
    }
    Ok(text)
}
