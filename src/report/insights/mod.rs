//! The requests that make a Code Insights report of a run: on the commit, with an annotation for each function that failed.
//!
//! Pure: [`crate::report::insights::send`] sends them. The form and its limits are those of Bitbucket Cloud's REST API, "Reports".

pub(crate) mod send;

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};

use super::json::milliseconds;
use crate::console::redact;
use crate::function::outcome::{Failure, FunctionOutcome, Outcome, Problem, Verdict};

/// Plain HTTP: the pipeline's proxy adds the authentication, which it cannot to what is encrypted.
const API: &str = "http://api.bitbucket.org/2.0";

/// More failed calls are not named in the report.
const MOST_CALLS: usize = 10;

/// What Bitbucket takes of each, at most.
const MOST_DATA: usize = 10;
const MOST_ANNOTATIONS: usize = 1000;
const MOST_IN_ONE_REQUEST: usize = 100;
const SUMMARY_LIMIT: usize = 450;
const DETAILS_LIMIT: usize = 2000;

/// The commit and the pipeline that a report belongs to, and the way there.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// `BITBUCKET_WORKSPACE`.
    pub workspace: String,
    /// `BITBUCKET_REPO_SLUG`.
    pub repository: String,
    /// `BITBUCKET_COMMIT`, of 40 or 12 digits.
    pub commit: String,
    /// `BITBUCKET_BUILD_NUMBER`, for the link to the pipeline.
    pub build_number: Option<String>,
    /// `BITBUCKET_DEPLOYMENT_ENVIRONMENT`; reports of several environments stand side by side.
    pub environment: Option<String>,
    /// What else tells this run from others on the commit: the variables that say where, and what of which stack file.
    pub selection: String,
    /// The URL of the forward proxy (`REPORT_PROXY`).
    pub proxy: String,
}

/// What a request does with the resource it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Deletes what an earlier run left; whether anything was there does not matter.
    Delete,
    /// Makes the report.
    Put,
    /// Adds annotations to it.
    Post,
}

/// One request, to be sent after those before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// The method.
    pub method: Method,
    /// The absolute URL.
    pub url: String,
    /// The JSON body, where there is one.
    pub body: Option<Value>,
}

/// The requests that put a run's report in place of the one that an earlier run of the same step made.
///
/// That one is deleted first: its annotations would stay otherwise, also where nothing fails any more.
pub(crate) fn requests(outcome: &Outcome, context: &Context) -> Vec<Request> {
    let id = report_id(outcome, context);
    let url = format!(
        "{API}/repositories/{}/{}/commit/{}/reports/{id}",
        segment(&context.workspace),
        segment(&context.repository),
        segment(&context.commit),
    );
    let annotations = annotations(outcome, &id);
    let mut requests = vec![
        Request { method: Method::Delete, url: url.clone(), body: None },
        Request { method: Method::Put, url: url.clone(), body: Some(json!(report(outcome, context, &id))) },
    ];
    requests.extend(annotations.chunks(MOST_IN_ONE_REQUEST).map(|chunk| Request {
        method: Method::Post,
        url: format!("{url}/annotations"),
        body: Some(json!(chunk)),
    }));
    requests
}

#[derive(Serialize)]
struct Report<'a> {
    external_id: &'a str,
    title: String,
    details: String,
    report_type: &'static str,
    reporter: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    data: Vec<Data>,
}

#[derive(Serialize)]
struct Data {
    title: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    value: Value,
}

#[derive(Serialize)]
struct Annotation {
    external_id: String,
    annotation_type: &'static str,
    summary: String,
    details: String,
    result: &'static str,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

fn report<'a>(outcome: &Outcome, context: &Context, id: &'a str) -> Report<'a> {
    let subject = outcome.invocation.as_ref().map(|invocation| invocation.function.to_string());
    let subject = subject.or_else(|| outcome.stack_file.clone());
    let title = subject.map_or_else(
        || format!("OpenFaaS {}", outcome.command),
        |subject| format!("OpenFaaS {}: {subject}", outcome.command),
    );
    let link = context.build_number.as_ref().map(|number| {
        format!(
            "https://bitbucket.org/{}/{}/pipelines/results/{}",
            segment(&context.workspace),
            segment(&context.repository),
            segment(number)
        )
    });
    Report {
        external_id: id,
        title: cut(&title, SUMMARY_LIMIT),
        details: cut(&details(outcome), DETAILS_LIMIT),
        report_type: "TEST",
        reporter: "openfaas-pipe",
        result: if outcome.worst().is_none() { "PASSED" } else { "FAILED" },
        link,
        data: data(outcome, context),
    }
}

/// The run in a few sentences.
fn details(outcome: &Outcome) -> String {
    let mut sentences = Vec::new();
    if !outcome.functions.is_empty() {
        let failed = count(outcome, Verdict::Failed);
        sentences.push(format!(
            "{} of {} functions succeeded.",
            count(outcome, Verdict::Passed),
            outcome.functions.len()
        ));
        if failed > MOST_ANNOTATIONS {
            sentences.push(format!("{failed} failed, of which the first {MOST_ANNOTATIONS} are annotated."));
        }
    }
    for call in outcome.calls.iter().filter(|call| call.verdict() == Verdict::Failed).take(MOST_CALLS) {
        let status = call.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        sentences.push(format!("VERIFY {} failed: {status}.", call.call));
    }
    if let Some(status) = outcome.invocation.as_ref().and_then(|invocation| invocation.status) {
        sentences.push(format!("The function answered with {status}."));
    }
    let invocation = outcome.invocation.iter().filter_map(|call| call.problem.as_ref());
    for problem in outcome.problem.iter().chain(invocation) {
        sentences.push(explain(problem));
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

fn data(outcome: &Outcome, context: &Context) -> Vec<Data> {
    let mut data = Vec::with_capacity(MOST_DATA);
    let mut add = |title, kind, value| data.push(Data { title, kind, value });
    if !outcome.functions.is_empty() {
        add("Functions", "NUMBER", json!(outcome.functions.len()));
        add("Succeeded", "NUMBER", json!(count(outcome, Verdict::Passed)));
        add("Failed", "NUMBER", json!(count(outcome, Verdict::Failed)));
        add("Not started", "NUMBER", json!(count(outcome, Verdict::Skipped)));
    }
    if !outcome.calls.is_empty() {
        let passed = outcome.calls.iter().filter(|call| call.verdict() == Verdict::Passed).count();
        add("Verify calls", "TEXT", json!(format!("{passed} of {} passed", outcome.calls.len())));
    }
    if let Some(invocation) = &outcome.invocation {
        if let Some(status) = invocation.status {
            add("HTTP status", "NUMBER", json!(status));
        }
        add("Response bytes", "NUMBER", json!(invocation.response_bytes));
    }
    add("Exit code", "NUMBER", json!(outcome.exit_code()));
    add("Duration", "DURATION", json!(milliseconds(outcome.duration)));
    let gateway = cut(&outcome.gateway, SUMMARY_LIMIT);
    if gateway.starts_with("http") {
        add("Gateway", "LINK", json!({"text": gateway, "href": gateway}));
    }
    if let Some(environment) = &context.environment {
        add("Environment", "TEXT", json!(cut(environment, SUMMARY_LIMIT)));
    }
    data.truncate(MOST_DATA);
    data
}

fn annotations(outcome: &Outcome, id: &str) -> Vec<Annotation> {
    let path = outcome.stack_file.as_deref().and_then(path_in_clone);
    outcome
        .functions
        .iter()
        .filter(|function| function.verdict() == Verdict::Failed)
        .take(MOST_ANNOTATIONS)
        .enumerate()
        .map(|(number, function)| annotation(function, path, format!("{id}-{}", number + 1)))
        .collect()
}

fn annotation(function: &FunctionOutcome, path: Option<&str>, external_id: String) -> Annotation {
    let word = function.action.as_str();
    let problem = function.problem.as_ref();
    let message = problem.map_or(word, |problem| &problem.message);
    Annotation {
        external_id,
        annotation_type: "BUG",
        summary: cut(&format!("{}: {message}", function.function), SUMMARY_LIMIT),
        details: cut(&problem.map_or_else(|| word.to_owned(), explain), DETAILS_LIMIT),
        result: "FAILED",
        severity: match problem.map(|problem| problem.failure) {
            Some(Failure::NotReady | Failure::Differences) => "MEDIUM",
            _ => "HIGH",
        },
        path: path.map(|path| redact::redact(path).into_owned()),
        // A line without a file means nothing.
        line: path.and(function.line),
    }
}

fn explain(problem: &Problem) -> String {
    problem.diagnostic("").to_string()
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
fn report_id(outcome: &Outcome, context: &Context) -> String {
    let parts = [context.environment.as_deref().unwrap_or_default(), &context.selection];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    format!("openfaas-pipe-{}-{:016x}", outcome.command, fnv1a(bytes))
}

/// FNV-1a, 64 bits: short, and the same in every version of the pipe.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
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

#[cfg(test)]
mod tests;
