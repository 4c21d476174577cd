//! The Code Insights report of a run: on the commit, with an annotation for each function that failed. Its form and its limits are
//! those of Bitbucket Cloud's REST API, "Reports".
//!
//! It is sent through the pipeline's proxy by a client of its own, so that no token for the gateway can travel with it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use reqwest::{Proxy, Url};
use serde_json::{Value, json};

use super::json::{milliseconds, present};
use crate::console::{log, redact};
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::outcome::{FunctionOutcome, Outcome, Verdict};
use crate::http::cause::Cause;
use crate::http::client;

/// Plain HTTP: the pipeline's proxy adds the authentication, which it cannot do within TLS.
const API: &str = "http://api.bitbucket.org/2.0";

/// For all requests together: a report is not worth more of a step's time.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// How much of a refusal is read, in bytes.
const RESPONSE_LIMIT: usize = 2048;

/// More failed calls are not named in the report.
const MOST_CALLS: usize = 10;

/// Bitbucket's limits.
const MOST_ANNOTATIONS: usize = 1000;
const MOST_IN_ONE_REQUEST: usize = 100;
const SUMMARY_LIMIT: usize = 450;
const DETAILS_LIMIT: usize = 2000;

/// The commit and the pipeline that a report belongs to, and the way there.
#[derive(Clone, Debug)]
pub(crate) struct ReportContext {
    /// `BITBUCKET_WORKSPACE`.
    pub(crate) workspace: String,
    /// `BITBUCKET_REPO_SLUG`.
    pub(crate) repository: String,
    /// `BITBUCKET_COMMIT`, of 40 or 12 digits.
    pub(crate) commit: String,
    /// `BITBUCKET_BUILD_NUMBER`, for the link to the pipeline.
    pub(crate) build_number: Option<String>,
    /// `BITBUCKET_DEPLOYMENT_ENVIRONMENT`; each environment has a report of its own.
    pub(crate) environment: Option<String>,
    /// The other variables that distinguish the runs on a commit: the gateway, the stack file and its selection.
    pub(crate) selection: String,
    /// The URL of the forward proxy (`REPORT_PROXY`).
    pub(crate) proxy: String,
}

/// One request, to be sent after those before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReportRequest {
    pub(crate) method: Method,
    pub(crate) url: String,
    /// The JSON body.
    pub(crate) body: Option<Value>,
}

/// The requests that replace the report of an earlier run of the same step.
///
/// The old report is deleted first: otherwise its annotations would stay, even if nothing fails any more.
pub(crate) fn requests(outcome: &Outcome, context: &ReportContext) -> Vec<ReportRequest> {
    let id = report_id(outcome, context);
    let url = format!(
        "{API}/repositories/{}/{}/commit/{}/reports/{id}",
        segment(&context.workspace),
        segment(&context.repository),
        segment(&context.commit),
    );
    let request = |method, url, body| ReportRequest { method, url, body };
    let mut requests = vec![
        request(Method::DELETE, url.clone(), None),
        request(Method::PUT, url.clone(), Some(report(outcome, context, &id))),
    ];
    let annotations = annotations(outcome, &id);
    let chunks = annotations.chunks(MOST_IN_ONE_REQUEST);
    requests.extend(chunks.map(|chunk| request(Method::POST, format!("{url}/annotations"), Some(chunk.into()))));
    requests
}

fn report(outcome: &Outcome, context: &ReportContext, id: &str) -> Value {
    let subject = outcome.invocation.as_ref().map(|invocation| invocation.function.to_string());
    let files = || match &outcome.stack_files[..] {
        [] => None,
        [file] => Some(file.to_string()),
        files => Some(format!("{} stack files", files.len())),
    };
    let subject = subject.or_else(files).map(|subject| format!(": {subject}"));
    let title = format!("OpenFaaS {}{}", outcome.command, subject.unwrap_or_default());
    let link = context.build_number.as_ref().map(|number| {
        let (workspace, repository) = (segment(&context.workspace), segment(&context.repository));
        format!("https://bitbucket.org/{workspace}/{repository}/pipelines/results/{}", segment(number))
    });
    present(json!({
        "external_id": id,
        "title": cut(&title, SUMMARY_LIMIT),
        "details": cut(&details(outcome), DETAILS_LIMIT),
        "report_type": "TEST",
        "reporter": "openfaas-pipe",
        "result": if outcome.worst().is_none() { "PASSED" } else { "FAILED" },
        "link": link,
        "data": data(outcome, context),
    }))
}

/// The run in a few sentences.
fn details(outcome: &Outcome) -> String {
    let mut sentences = Vec::new();
    if !outcome.functions.is_empty() {
        let failed = count(outcome, Verdict::Failed);
        sentences.push(match (&outcome.functions[..], outcome.functions[0].verdict()) {
            ([_], Verdict::Passed) => "1 function succeeded.".to_owned(),
            ([_], Verdict::Failed) => "1 function failed.".to_owned(),
            ([_], Verdict::Skipped) => "1 function was not started.".to_owned(),
            (all, _) => format!("{} of {} functions succeeded.", count(outcome, Verdict::Passed), all.len()),
        });
        if failed > MOST_ANNOTATIONS {
            sentences.push(format!("{failed} failed, of which the first {MOST_ANNOTATIONS} are annotated."));
        }
    }
    for call in outcome.calls.iter().filter(|call| call.verdict() == Verdict::Failed).take(MOST_CALLS) {
        let status = call.status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
        sentences.push(format!("VERIFY {} failed: {status}.", call.call));
    }
    if let Some(status) = outcome.invocation.as_ref().and_then(|invocation| invocation.status) {
        sentences.push(format!("The function returned {status}."));
    }
    let invocation = outcome.invocation.iter().filter_map(|call| call.problem.as_ref());
    for problem in outcome.problem.iter().chain(invocation) {
        sentences.push(problem.to_string());
    }
    for resource in outcome.resources().filter(|resource| resource.verdict() == Verdict::Failed).take(MOST_CALLS) {
        sentences.push(format!("{}: {}.", resource.resource, resource.action.as_str()));
    }
    let images: BTreeSet<_> = outcome.functions.iter().filter_map(FunctionOutcome::pinned_image).collect();
    if !images.is_empty() {
        sentences.push(format!("Images: {}", images.into_iter().collect::<Vec<_>>().join(", ")));
    }
    if sentences.is_empty() {
        sentences.push(format!("`{}` ended without an error.", outcome.command));
    }
    sentences.join("\n")
}

/// At most ten, which is what Bitbucket accepts.
fn data(outcome: &Outcome, context: &ReportContext) -> Vec<Value> {
    let mut data = Vec::new();
    let mut add =
        |title: &str, kind: &str, value: Value| data.push(json!({"title": title, "type": kind, "value": value}));
    if !outcome.functions.is_empty() {
        add("Functions", "NUMBER", outcome.functions.len().into());
        add("Succeeded", "NUMBER", count(outcome, Verdict::Passed).into());
        add("Failed", "NUMBER", count(outcome, Verdict::Failed).into());
        add("Not started", "NUMBER", count(outcome, Verdict::Skipped).into());
    }
    if !outcome.calls.is_empty() {
        let passed = outcome.calls.iter().filter(|call| call.verdict() == Verdict::Passed).count();
        add("Verify calls", "TEXT", format!("{passed} of {} passed", outcome.calls.len()).into());
    }
    if let Some(invocation) = &outcome.invocation {
        if let Some(status) = invocation.status {
            add("HTTP status", "NUMBER", status.into());
        }
        add("Response bytes", "NUMBER", invocation.response_bytes.into());
    }
    add("Exit code", "NUMBER", outcome.exit_code().into());
    add("Duration", "DURATION", milliseconds(outcome.duration).into());
    if outcome.gateway.starts_with("http") {
        let gateway = cut(&outcome.gateway, SUMMARY_LIMIT);
        add("Gateway", "LINK", json!({"text": gateway, "href": gateway}));
    }
    if let Some(environment) = &context.environment {
        add("Environment", "TEXT", cut(environment, SUMMARY_LIMIT).into());
    }
    data
}

fn annotations(outcome: &Outcome, id: &str) -> Vec<Value> {
    let failed = outcome.functions.iter().filter(|function| function.verdict() == Verdict::Failed);
    let annotation = |(number, function): (usize, &FunctionOutcome)| {
        let word = function.action.as_str();
        let problem = function.problem.as_ref();
        let place = function.place.as_ref().and_then(|place| Some((path_in_clone(&place.file)?, place.line)));
        let message = problem.map_or(word, |problem| &problem.message);
        let is_medium = problem.is_some_and(|problem| problem.failure == Failure::NotReady);
        present(json!({
            "external_id": format!("{id}-{}", number + 1),
            "annotation_type": "BUG",
            "summary": cut(&format!("{}: {message}", function.function), SUMMARY_LIMIT),
            "details": cut(&problem.map_or_else(|| word.to_owned(), ToString::to_string), DETAILS_LIMIT),
            "result": "FAILED",
            "severity": if is_medium { "MEDIUM" } else { "HIGH" },
            // A line without a file means nothing.
            "path": place.map(|(path, _)| path),
            "line": place.map(|(_, line)| line),
        }))
    };
    failed.take(MOST_ANNOTATIONS).enumerate().map(annotation).collect()
}

fn count(outcome: &Outcome, verdict: Verdict) -> usize {
    outcome.functions.iter().filter(|function| function.verdict() == verdict).count()
}

/// The stack file's path as the repository has it; none for one that is elsewhere.
fn path_in_clone(path: &str) -> Option<&str> {
    let path = path.trim_start_matches("./");
    let elsewhere = path.starts_with('/') || path.contains("://") || path.split('/').any(|part| part == "..");
    (!elsewhere).then_some(path)
}

/// The same for each run of the same step, another for what else may run on the commit.
///
/// It is made of what was configured, which a run that was rejected knows as well as the one that takes its place.
fn report_id(outcome: &Outcome, context: &ReportContext) -> String {
    let parts = [context.environment.as_deref().unwrap_or_default(), &context.selection];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    // FNV-1a, 64 bits: short, and the same in every version of the pipe.
    let add = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("openfaas-pipe-{}-{:016x}", outcome.command, bytes.fold(0xcbf2_9ce4_8422_2325, add))
}

/// The text with secrets masked, at most `limit` characters of it.
fn cut(text: &str, limit: usize) -> String {
    let text = redact::redact(text);
    match text.char_indices().nth(limit) {
        None => text.into_owned(),
        Some(_) => text.chars().take(limit - 1).chain(['…']).collect(),
    }
}

/// A segment of a URL's path (RFC 3986, 3.3).
fn segment(text: &str) -> PercentEncode<'_> {
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, ENCODED)
}

/// Sends the report, without retries. If that fails, there is a warning, and the run goes on.
pub(crate) async fn send(outcome: &Outcome, context: &ReportContext) {
    match post(&requests(outcome, context), &context.proxy, TIME_LIMIT).await {
        Ok(()) => tracing::debug!("the report is on commit `{}`", log::quote(&context.commit)),
        Err(error) => {
            Diagnostic::warning(format!("the Code Insights report was not sent, or only in part: {error}"))
                .with_hint(
                    "the run is not affected; the report needs Bitbucket's proxy, or one that `REPORT_PROXY` names",
                )
                .log();
        }
    }
}

/// Sends the requests one after the other: `PUT` creates the report, `POST` adds annotations to it. `DELETE` comes first, since
/// a `PUT` to a report that exists keeps the annotations of an earlier run of the step.
async fn post(requests: &[ReportRequest], proxy: &str, limit: Duration) -> Result<(), String> {
    let name = shown(proxy);
    let proxy = Proxy::http(proxy)
        .map_err(|error| format!("`REPORT_PROXY` is not the URL of a proxy: {}", innermost(&error)))?;
    let client = client::build(client::verifying(None, TIME_LIMIT).proxy(proxy));
    let all = async {
        for ReportRequest { method, url, body } in requests {
            let request = client.request(method.clone(), url);
            let request = body.iter().fold(request, reqwest::RequestBuilder::json);
            let begin = Instant::now();
            let mut response = request
                .send()
                .await
                .map_err(|error| format!("no response through proxy `{name}`: {}", Cause::of(&error, TIME_LIMIT)))?;
            let status = response.status();
            tracing::debug!("{method} {url}: {status} in {:?}", begin.elapsed());
            // Read, so that the connection can be used again. If it breaks off, the status says enough.
            let (text, _) = client::read(&mut response, RESPONSE_LIMIT).await.unwrap_or_default();
            if !status.is_success() && *method != Method::DELETE {
                let text = log::quote(&String::from_utf8_lossy(&text));
                return Err(format!("proxy `{name}` returned {status} to {method}: `{text}`"));
            }
        }
        Ok(())
    };
    let posted = tokio::time::timeout(limit, all).await;
    posted.unwrap_or_else(|_| Err(format!("proxy `{name}` took longer than {}", log::duration(limit))))
}

/// The proxy's host and port, without the password that its URL may hold.
fn shown(proxy: &str) -> String {
    // The scheme may be left out.
    let url = if proxy.contains("://") { Url::parse(proxy) } else { Url::parse(&format!("http://{proxy}")) };
    let host_and_port = |url: Url| {
        format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
    };
    url.map(host_and_port).unwrap_or_default()
}

/// The innermost cause: it names the reason, not the layers above it.
fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| log::quote(&error.to_string()), innermost)
}

#[cfg(test)]
mod tests;
