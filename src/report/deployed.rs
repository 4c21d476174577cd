//! The images of an earlier deploy, from its result file (`IMAGES_FROM`).

use std::path::Path;

use serde::Deserialize;

use super::json::SCHEMA;
use crate::console::log::quote;
use crate::diagnostic::Diagnostic;
use crate::files::input;

/// The result of a thousand functions has less than 1 MiB.
const LIMIT: usize = 16 << 20;

/// A result, as far as it is needed.
#[derive(Deserialize)]
struct Document {
    schema: u32,
    command: String,
    result: String,
    functions: Vec<DeployedFunction>,
}

/// A function that the run deployed.
#[derive(Deserialize)]
pub(crate) struct DeployedFunction {
    pub(crate) name: String,
    /// As it was sent; absent for one that was pruned.
    pub(crate) image: Option<String>,
}

/// The functions of a deploy that succeeded.
pub(crate) fn read(path: &Path) -> Result<Vec<DeployedFunction>, Diagnostic> {
    let text = input::read(path, LIMIT)?;
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
