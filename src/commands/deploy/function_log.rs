//! The end of the log of a function that does not become ready, or whose call failed.

use std::cell::Cell;
use std::time::Duration;

use crate::commands::concurrent::Session;
use crate::console::log::{self, quote};
use crate::function::FunctionName;

/// How much of a function's log is shown, in lines.
const LINES: usize = 10;
/// A log that takes longer to read is not shown.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The logs of several functions, one after the other or side by side.
pub(super) struct FunctionLogs<'a> {
    session: Session<'a>,
    /// True if the log says that they may not be read; once is enough.
    denied: Cell<bool>,
}

impl<'a> FunctionLogs<'a> {
    pub(super) fn new(session: Session<'a>) -> Self {
        Self { session, denied: Cell::new(false) }
    }

    /// Logs the last lines of a function's log, if they may be read.
    pub(super) async fn show(&self, name: &FunctionName) {
        match tokio::time::timeout(TIMEOUT, self.session.gateway.logs(name, LINES)).await {
            Ok(Ok(lines)) if lines.is_empty() => tracing::info!("`{name}` has written nothing to its log"),
            Ok(Ok(lines)) => {
                let platform = lines.iter().any(|line| line.contains("exec format error"));
                let lines: String = lines.iter().map(|line| format!("\n{}", quote(line))).collect();
                tracing::info!("the end of the log of `{name}`:{lines}");
                if platform {
                    tracing::info!(
                        "`exec format error`: the image of `{name}` is for another platform than the node; \
                         `IMAGE_PLATFORMS` checks this before a deploy"
                    );
                }
            }
            Ok(Err(error)) if error.is_forbidden() => {
                if !self.denied.replace(true) {
                    tracing::info!(
                        "to see the end of a function's log here, grant `Function:Logs` on `{}`",
                        quote(&name.resource())
                    );
                }
            }
            Ok(Err(error)) => tracing::info!("the log of `{name}` cannot be read: {}", error),
            Err(_) => tracing::info!("the log of `{name}` could not be read in {}", log::duration(TIMEOUT)),
        }
    }
}
