//! The result as JSON, as `docs/result.schema.json` describes it.
//!
//! A field may be added without a new [`SCHEMA`]; one that goes or changes its meaning makes a new one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Error, Masked, RESULT_FILE};
use crate::files::atomic::{self, Attributes};
use crate::function::outcome::{self, CallOutcome, FunctionOutcome, Outcome, Verdict};

/// The version of the document's form.
const SCHEMA: u32 = 1;

/// The whole document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    schema: u32,
    version: &'static str,
    command: &'a str,
    gateway: Masked<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack_file: Option<Masked<'a>>,
    result: &'static str,
    exit_code: u8,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem<'a>>,
    functions: Vec<Function<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<InvocationOutcome<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    name: Masked<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Masked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Masked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    action: &'static str,
    url: Masked<'a>,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<Replicas>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem<'a>>,
}

#[derive(Serialize)]
struct Replicas {
    desired: u64,
    available: u64,
}

#[derive(Serialize)]
struct Problem<'a> {
    kind: &'static str,
    message: Masked<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<Masked<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    call: Masked<'a>,
    function: Masked<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Masked<'a>>,
    method: &'a str,
    url: Masked<'a>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<Masked<'a>>,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InvocationOutcome<'a> {
    function: Masked<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Masked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<Masked<'a>>,
    #[serde(rename = "async")]
    asynchronous: bool,
    response_bytes: u64,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem<'a>>,
}

impl<'a> Document<'a> {
    /// What is written about a run.
    pub(super) fn of(outcome: &'a Outcome) -> Self {
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command: outcome.command.name(),
            gateway: Masked(&outcome.gateway),
            stack_file: masked(&outcome.stack_file),
            result: outcome.worst().map_or("success", outcome::Failure::as_str),
            exit_code: outcome.exit_code(),
            duration_ms: milliseconds(outcome.duration),
            problem: problem(&outcome.problem),
            functions: outcome.functions.iter().map(function).collect(),
            calls: outcome.calls.iter().map(call).collect(),
            invocation: outcome.invocation.as_ref().map(invocation),
        }
    }
}

fn function(function: &FunctionOutcome) -> Function<'_> {
    Function {
        name: Masked(&function.function.name),
        namespace: masked(&function.function.namespace),
        image: masked(&function.image),
        digest: function.digest.as_deref(),
        action: function.action.as_str(),
        url: Masked(&function.url),
        duration_ms: milliseconds(function.duration),
        line: function.line,
        ready: function.ready,
        replicas: function
            .replicas
            .map(|replicas| Replicas { desired: replicas.desired, available: replicas.available }),
        problem: problem(&function.problem),
    }
}

fn call(call: &CallOutcome) -> Call<'_> {
    Call {
        call: Masked(&call.call),
        function: Masked(&call.function.name),
        namespace: masked(&call.function.namespace),
        method: &call.method,
        url: Masked(&call.url),
        result: match call.verdict() {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Skipped => "not made",
        },
        status: call.status,
        call_id: masked(&call.call_id),
        duration_ms: milliseconds(call.duration),
        problem: problem(&call.problem),
    }
}

fn invocation(invocation: &outcome::InvocationOutcome) -> InvocationOutcome<'_> {
    InvocationOutcome {
        function: Masked(&invocation.function.name),
        namespace: masked(&invocation.function.namespace),
        status: invocation.status,
        call_id: masked(&invocation.call_id),
        asynchronous: invocation.asynchronous,
        response_bytes: invocation.response_bytes,
        duration_ms: milliseconds(invocation.duration),
        // A gateway may say anything; JSON has no word for what is not a number.
        function_seconds: invocation.function_seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
        problem: problem(&invocation.problem),
    }
}

fn problem(problem: &Option<outcome::Problem>) -> Option<Problem<'_>> {
    problem.as_ref().map(|problem| Problem {
        kind: problem.failure.as_str(),
        message: Masked(&problem.message),
        hint: masked(&problem.hint),
    })
}

fn masked(text: &Option<String>) -> Option<Masked<'_>> {
    text.as_deref().map(Masked)
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Writes the document into a storage directory, which is created if it does not exist; returns the file's path.
pub(super) fn write(dir: &Path, document: &Document<'_>, attributes: Attributes) -> Result<PathBuf, Error> {
    let path = dir.join(RESULT_FILE);
    let mut text = serde_json::to_vec_pretty(document).map_err(|error| Error::write(&path)(error.into()))?;
    text.push(b'\n');
    fs::create_dir_all(dir).and_then(|()| atomic::write(&path, &text, attributes)).map_err(Error::write(&path))?;
    Ok(path)
}

#[cfg(test)]
mod tests;
