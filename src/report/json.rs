//! The result as JSON, as `docs/result.schema.json` describes it.
//!
//! A field may be added without a new [`SCHEMA`]; one that goes or changes its meaning makes a new one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::not_written;
use crate::console::log::quote;
use crate::console::redact;
use crate::diagnostic::{Diagnostic, Failure};
use crate::files::atomic::{self, Attributes};
use crate::files::input;
use crate::function::outcome::{CallOutcome, FunctionOutcome, InvocationOutcome, Outcome, Replicas};
use crate::function::outcome::{Resource, ResourceOutcome};

pub(super) const SCHEMA: u32 = 1;

pub(super) fn document(outcome: &Outcome) -> Value {
    let mut document = json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "command": outcome.command.name(),
        "gateway": outcome.gateway,
        "stackFile": outcome.stack_file(),
        "stackFiles": Some(outcome.stack_files.iter().map(|file| &**file).collect::<Vec<_>>()).filter(|files| files.len() > 1),
        "result": outcome.worst().map_or("success", Failure::as_str),
        "exitCode": outcome.exit_code(),
        "durationMs": milliseconds(outcome.duration),
        "problem": outcome.problem.as_ref().map(problem),
        "namespaces": some(outcome.namespaces.iter().map(resource).collect()),
        "secrets": some(outcome.secrets.iter().map(resource).collect()),
        "functions": outcome.functions.iter().map(function).collect::<Vec<_>>(),
        "calls": some(outcome.calls.iter().map(call).collect()),
        "invocation": outcome.invocation.as_ref().map(invocation),
    });
    let withheld = withhold(&mut document);
    if withheld > 0 {
        Diagnostic::warning(format!(
            "{} left out of the result: each contains the value of a secret, and would be wrong if masked",
            if withheld == 1 { "1 image or URL is".to_owned() } else { format!("{withheld} images and URLs are") }
        ))
        .with_hint("choose a longer secret that does not occur in names or addresses")
        .log();
    }
    present(document)
}

/// Removes images and URLs with a secret in them: later steps would pull and call what does not exist. Returns how many.
fn withhold(value: &mut Value) -> usize {
    match value {
        Value::Object(fields) => {
            let mut count = 0;
            for name in ["gateway", "url", "image", "digest"] {
                if fields.get(name).and_then(Value::as_str).is_some_and(|text| redact::redact(text) != text) {
                    // The gateway is always there, and empty if it is not known.
                    fields.insert(name.to_owned(), if name == "gateway" { "".into() } else { Value::Null });
                    count += 1;
                }
            }
            count + fields.values_mut().map(withhold).sum::<usize>()
        }
        Value::Array(items) => items.iter_mut().map(withhold).sum(),
        _ => 0,
    }
}

/// A list that is absent if it is empty.
fn some(list: Vec<Value>) -> Option<Vec<Value>> {
    Some(list).filter(|list| !list.is_empty())
}

fn resource(outcome: &ResourceOutcome) -> Value {
    let (namespace, name) = match &outcome.resource {
        Resource::Namespace(name) => (None, name),
        Resource::Secret { namespace, name } => (namespace.as_ref(), name),
    };
    json!({
        "name": name,
        "namespace": namespace,
        "action": outcome.action.as_str(),
        "problem": outcome.problem.as_ref().map(problem),
    })
}

fn function(function: &FunctionOutcome) -> Value {
    let replicas = |Replicas { desired, available }| json!({"desired": desired, "available": available});
    json!({
        "name": function.function.name,
        "namespace": function.function.namespace,
        "image": function.image,
        "digest": function.digest,
        "action": function.action.as_str(),
        "url": function.url,
        "durationMs": milliseconds(function.duration),
        "stackFile": function.place.as_ref().map(|place| &*place.file),
        "line": function.place.as_ref().map(|place| place.line),
        "ready": function.ready,
        "replicas": function.replicas.map(replicas),
        "problem": function.problem.as_ref().map(problem),
    })
}

fn call(call: &CallOutcome) -> Value {
    json!({
        "call": call.call,
        "function": call.function.name,
        "namespace": call.function.namespace,
        "method": call.method,
        "url": call.url,
        "result": call.result(),
        "status": call.status,
        "callId": call.call_id,
        "durationMs": milliseconds(call.duration),
        "problem": call.problem.as_ref().map(problem),
    })
}

fn invocation(invocation: &InvocationOutcome) -> Value {
    json!({
        "function": invocation.function.name,
        "namespace": invocation.function.namespace,
        "status": invocation.status,
        "callId": invocation.call_id,
        "async": invocation.asynchronous,
        "responseBytes": invocation.response_bytes,
        "durationMs": milliseconds(invocation.duration),
        // A gateway may send anything; JSON has neither infinity nor NaN.
        "functionSeconds": invocation.function_seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
        "problem": invocation.problem.as_ref().map(problem),
    })
}

fn problem(problem: &Diagnostic) -> Value {
    json!({"kind": problem.failure.as_str(), "message": problem.message, "hint": problem.hint})
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The value without the fields that are absent, and with secrets masked within its texts, so that it stays valid JSON.
pub(super) fn present(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name, present(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(present).collect(),
        Value::String(text) => redact::redact(&text).into(),
        other => other,
    }
}

/// Writes the document into a storage directory, which is created if it does not exist; returns the file's path.
pub(super) fn write(dir: &Path, name: &str, document: &Value, attributes: Attributes) -> Result<PathBuf, Diagnostic> {
    let path = dir.join(name);
    fs::create_dir_all(dir)
        .and_then(|()| atomic::write(&path, format!("{document:#}\n").as_bytes(), attributes))
        .map_err(not_written(&path))?;
    Ok(path)
}

/// The result of a thousand functions has less than 1 MiB.
const LONGEST: usize = 16 << 20;

/// A result of an earlier run, as far as it is needed.
#[derive(Deserialize)]
struct Document {
    schema: u32,
    command: String,
    result: String,
    functions: Vec<DeployedFunction>,
}

#[derive(Deserialize)]
pub(crate) struct DeployedFunction {
    pub(crate) name: String,
    /// As it was sent; absent for one that was pruned.
    pub(crate) image: Option<String>,
}

/// The functions of a deploy that succeeded, from its result file (`IMAGES_FROM`).
pub(crate) fn read_deployed(path: &Path) -> Result<Vec<DeployedFunction>, Diagnostic> {
    let text = input::read(path, LONGEST)?;
    let wrong = |reason: String| Diagnostic::error(format!("`{}` {reason}", quote(&path.display().to_string())));
    let document: Document = serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        wrong(format!("is not a result of this pipe (line {line}, column {column})"))
    })?;
    if document.schema != SCHEMA {
        return Err(wrong(format!("has schema {}, which this version does not know", document.schema)));
    }
    if document.command != "deploy" {
        let command = quote(&document.command);
        return Err(wrong(format!("is the result of `COMMAND: {command}`, not of a deploy")));
    }
    if document.result != "success" {
        return Err(wrong("is the result of a deploy that failed".to_owned()));
    }
    Ok(document.functions)
}

#[cfg(test)]
mod tests;
