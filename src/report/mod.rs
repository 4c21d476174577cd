//! Results of a run for later steps: JSON, pipeline variables, and reports.
//!
//! All of it is written after the deploy: an error here is logged as a warning and does not fail the step.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::files::atomic;
use crate::function::Command;
use crate::function::outcome::Outcome;

pub(crate) mod insights;
mod json;
mod junit;
mod output_variables;
#[cfg(test)]
mod sample;
mod shared_variables;

pub(crate) use json::{DeployedFunction, read_deployed};
pub(crate) use output_variables::NAMES as OUTPUT_VARIABLES;

/// The result's name in the storage directories.
const RESULT_FILE: &str = "openfaas-pipe.json";

/// The result of the last deploy that succeeded, in the shared storage directory: results of later runs do not replace it.
pub(crate) const DEPLOYED_FILE: &str = "openfaas-pipe-deploy.json";

/// How long to wait for other pipes that write the shared variables; each needs a few milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Where the result is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// `BITBUCKET_PIPE_STORAGE_DIR`, for this pipe's own later runs.
    pub(crate) storage_dir: Option<PathBuf>,
    /// `BITBUCKET_PIPE_SHARED_STORAGE_DIR`, for all pipes.
    pub(crate) shared_storage_dir: Option<PathBuf>,
    /// `BITBUCKET_PIPELINES_VARIABLES_PATH`, for the steps that follow.
    pub(crate) variables_path: Option<PathBuf>,
    /// `BITBUCKET_CLONE_DIR`: where the JUnit file goes, and whose owner all new files get.
    pub(crate) clone_dir: Option<PathBuf>,
    pub(crate) junit: bool,
    /// The names that go into `variables_path` (`OUTPUT_VARIABLES`): a step fails on those that its own list lacks.
    pub(crate) output_variables: Vec<String>,
    /// The commit that the Code Insights report is about (`REPORT`), for [`insights::send`].
    pub(crate) insights: Option<insights::ReportContext>,
}

/// Writes all files; each that cannot be written is a warning.
pub(crate) fn write(outcome: &Outcome, places: &Places) {
    let attributes = atomic::Attributes::inherited_from(places.clone_dir.as_deref());
    // Once for all files: what it leaves out is warned of once.
    let document = json::document(outcome);
    for dir in [&places.storage_dir, &places.shared_storage_dir].into_iter().flatten() {
        log_result(json::write(dir, RESULT_FILE, &document, attributes));
    }
    if let Some(dir) = &places.shared_storage_dir {
        if outcome.command == Command::Deploy && !outcome.functions.is_empty() && outcome.worst().is_none() {
            log_result(json::write(dir, DEPLOYED_FILE, &document, attributes));
        }
        log_result(shared_variables::merge(dir, shared_variables::KEY, &document, attributes, LOCK_WAIT));
    }
    output_variables::write(places.variables_path.as_deref(), outcome, &places.output_variables);
    if let Some(dir) = places.clone_dir.as_ref().filter(|_| places.junit) {
        log_result(junit::write(dir, outcome, attributes));
    }
}

fn log_result(written: Result<PathBuf, Diagnostic>) {
    match written {
        Ok(path) => tracing::debug!("the result is in `{}`", path.display()),
        Err(warning) => warning.log(),
    }
}

/// The warning that a file could not be written.
fn not_written(path: &Path) -> impl FnOnce(io::Error) -> Diagnostic {
    let path = path.display().to_string();
    move |error| {
        Diagnostic::warning(format!("the result was not written to `{path}`: {error}")).with_hint(
            "the deployment is not affected; if later steps need the result, check that the directory is writable and not \
             full",
        )
    }
}

#[cfg(test)]
mod tests;
