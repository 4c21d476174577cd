//! Sends the Code Insights report through the pipeline's proxy.
//!
//! The client is one of its own, so that no token for the gateway can travel with it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use reqwest::{Client, Proxy, Url};

use crate::console::log;
use crate::diagnostic::Diagnostic;
use crate::function::outcome::Outcome;
use crate::http::cause::Cause;
use crate::http::client::{self, SafeUrl};
use crate::report::insights::{self, ReportContext, ReportRequest};

/// For all requests together: a report is not worth more of a step's time.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// How much of a refusal is read, in bytes.
const RESPONSE_LIMIT: usize = 2048;

/// Sends the report, without retries. If that fails, there is a warning, and the run goes on.
pub(crate) async fn send(outcome: &Outcome, context: &ReportContext) {
    let requests = insights::requests(outcome, context);
    let sent = Cell::new(0);
    match post_within(TIME_LIMIT, &requests, &context.proxy, &sent).await {
        Ok(()) => tracing::debug!("the report is on commit `{}`", log::quote(&context.commit)),
        Err(error) => {
            let how = if sent.get() == 0 { "was not sent" } else { "was not sent in full" };
            Diagnostic::warning(format!("the Code Insights report {how}: {error}"))
                .with_hint(
                    "the run is not affected; the report needs Bitbucket's proxy, or one that `REPORT_PROXY` names",
                )
                .log();
        }
    }
}

async fn post_within(
    limit: Duration,
    requests: &[ReportRequest],
    proxy: &str,
    sent: &Cell<usize>,
) -> Result<(), Diagnostic> {
    let posted = tokio::time::timeout(limit, post_all(requests, proxy, sent)).await;
    let proxy = shown(proxy);
    posted.unwrap_or_else(|_| {
        Err(Diagnostic::error(format!("proxy `{proxy}` took longer than {}", log::duration(limit))))
    })
}

/// Sends the requests one after the other: `PUT` creates the report, `POST` adds annotations to it. `DELETE` comes first, since
/// a `PUT` to a report that exists keeps the annotations of an earlier run of the step.
async fn post_all(requests: &[ReportRequest], proxy: &str, sent: &Cell<usize>) -> Result<(), Diagnostic> {
    let client = client_of(proxy)?;
    let proxy = shown(proxy);
    for request in requests {
        let method = &request.method;
        let builder = client.request(method.clone(), &request.url);
        let builder = match &request.body {
            Some(body) => builder.json(body),
            None => builder,
        };
        let begin = Instant::now();
        let mut response = builder.send().await.map_err(|error| {
            Diagnostic::error(format!("no response through proxy `{proxy}`: {}", Cause::of(&error, TIME_LIMIT)))
        })?;
        let status = response.status();
        tracing::debug!("{method} {}: {status} in {:?}", request.url, begin.elapsed());
        let mut body = Vec::new();
        // Read, so that the connection can be used again. If it breaks off, the status says enough.
        let _ = client::read_up_to(&mut body, RESPONSE_LIMIT, async || response.chunk().await).await;
        if !status.is_success() && request.method != http::Method::DELETE {
            let body = log::quote(&String::from_utf8_lossy(&body));
            return Err(Diagnostic::error(format!("proxy `{proxy}` returned {status} to {method}: `{body}`")));
        }
        sent.set(sent.get() + usize::from(request.method != http::Method::DELETE));
    }
    Ok(())
}

fn client_of(proxy: &str) -> Result<Client, Diagnostic> {
    let proxy = Proxy::http(proxy).map_err(|error| {
        Diagnostic::error(format!("`REPORT_PROXY` is not the URL of a proxy: {}", innermost(&error)))
    })?;
    Ok(client::build(client::verifying(None, TIME_LIMIT).proxy(proxy)))
}

/// The proxy's host and port, without the password that its URL may hold.
fn shown(proxy: &str) -> String {
    // The scheme may be left out.
    let url = if proxy.contains("://") { Url::parse(proxy) } else { Url::parse(&format!("http://{proxy}")) };
    url.map(|url| SafeUrl(&url).place()).unwrap_or_default()
}

/// The innermost cause: it names the reason, not the layers above it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    log::quote(&error.to_string())
}

#[cfg(test)]
mod tests;
