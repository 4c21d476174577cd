//! `VERIFY`: calls functions once they are ready, side by side, and shows what failed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use crate::commands::calls::{Call, CallResponse, Caller, Payload, no_response, refused};
use crate::commands::concurrent::Session;
use crate::config::{Verify, VerifyCall};
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::function::FunctionName;
use crate::function::outcome::CallOutcome;
use crate::gateway::{Error, NoResponse, may_recover};
use crate::text::count;

/// The pause before a function that just started is called again; it grows to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MOST: Duration = Duration::from_secs(2);
/// How much of the response of a failed call is logged, in bytes.
const SHOWN: usize = 2048;
/// How much of a function's log is shown, in lines.
const LOG_LINES: usize = 10;
/// More functions whose log may not be read are not named.
const MOST_NAMED: usize = 10;
/// A log that takes longer to read is not shown.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Verifier<'a> {
    pub(super) session: Session<'a>,
    pub(super) verify: &'a Verify,
    pub(super) payload: &'a Payload,
    /// `WAIT_TIMEOUT`: how long transient responses are retried, from the first call on.
    pub(super) limit: Duration,
}

impl Verifier<'_> {
    /// The calls as the log, the table and the reports name them, none made yet.
    pub(super) fn planned(&self, deployed: &[FunctionName]) -> Vec<CallOutcome> {
        let method = &self.verify.options.method;
        self.verify
            .calls
            .iter()
            .map(|call| {
                let function = call.function(deployed);
                let (call, url) = (call.text.clone(), self.url(call, &function).into());
                CallOutcome { call, function, method: method.to_string(), url, ..CallOutcome::default() }
            })
            .collect()
    }

    /// Makes all calls, `parallel` at once, also after one failed.
    pub(super) async fn run(&self, calls: &mut [CallOutcome]) {
        let deadline = Instant::now() + self.limit;
        tracing::info!("verifying: {}", count(calls.len(), "call"));
        let logs = FunctionLogs::new(self.session);
        let (gateway, options) = (self.session.gateway, &self.verify.options);
        let caller = &Caller { gateway, options, payload: self.payload, unlisted: Cell::default() };
        stream::iter(self.verify.calls.iter().zip(calls))
            .for_each_concurrent(self.session.parallel, async |(call, outcome)| {
                self.verify(caller, call, outcome, deadline, &logs).await
            })
            .await;
        logs.ended();
    }

    async fn verify(
        &self,
        caller: &Caller<'_>,
        call: &VerifyCall,
        outcome: &mut CallOutcome,
        deadline: Instant,
        logs: &FunctionLogs<'_>,
    ) {
        if self.session.shutdown.requested().is_some() {
            return;
        }
        let started = Instant::now();
        // The calls before it may have taken all the time.
        outcome.made = started < deadline;
        let problem = match outcome.made {
            true => self.call(caller, call, outcome, deadline).await.err(),
            false => Some(not_made(self.limit)),
        };
        outcome.duration = started.elapsed();
        match problem {
            None => tracing::info!(
                "`{}` returned {} in {}",
                quote(&call.text),
                outcome.status.unwrap_or_default(),
                log::duration(outcome.duration)
            ),
            Some(problem) => {
                problem.clone().at(format!("`VERIFY {}`", quote(&call.text))).log();
                outcome.problem = Some(problem);
                if outcome.made {
                    logs.show(&outcome.function).await;
                }
            }
        }
    }

    /// Calls until there is a verdict, or until the deadline.
    async fn call(
        &self,
        caller: &Caller<'_>,
        written: &VerifyCall,
        outcome: &mut CallOutcome,
        deadline: Instant,
    ) -> Result<(), Diagnostic> {
        let shutdown = self.session.shutdown;
        let function = outcome.function.clone();
        let url = self.url(written, &function);
        let method = &self.verify.options.method;
        let call = Call {
            function: &function,
            name: written.text.clone(),
            url,
            asynchronous: false,
            may_be_queued: false,
            idempotent: true,
            // All retries are made here, so that they end at the deadline.
            retries: 0,
            shown: SHOWN,
        };
        let mut pause = PAUSE;
        loop {
            let may_retry = || Instant::now() + pause < deadline;
            match timeout_at(deadline, caller.call(&call)).await {
                Ok(Ok(answered)) => {
                    let status = answered.response.status();
                    outcome.status = Some(status.as_u16());
                    outcome.call_id = answered.call_id();
                    match status.as_u16() {
                        _ if status.is_success() => {
                            // The headers tell enough: the body is not read.
                            if answered.is_doubtful(b"") {
                                tracing::warn!(
                                    "`{}`: the response is a web page without the gateway's call id: it may not be from the function",
                                    quote(&written.text)
                                );
                            }
                            return Ok(());
                        }
                        _ if may_recover(status, answered.response.headers()) && may_retry() => {}
                        _ => return Err(failed(final_response(caller, &call, answered, deadline).await)),
                    }
                }
                // A function may not be meant to get the same payload twice.
                Ok(Err(NoResponse { error: Error::Transport(transport), sent }))
                    if (!sent || method.is_safe()) && may_retry() && transport.source.is_transient() => {}
                Ok(Err(unanswered)) => {
                    outcome.status = unanswered.status();
                    return Err(failed(no_response(caller, &call, &unanswered.error)));
                }
                Err(_) => return Err(no_verdict(outcome, self.limit)),
            }
            tracing::debug!("`{function}` is not available yet; retrying in {}", log::duration(pause));
            tokio::select! {
                () = sleep(pause) => {}
                failure = shutdown.wait() => return Err(Error::Stopped(failure).diagnostic()),
            }
            pause = (pause * 3 / 2).min(PAUSE_MOST);
        }
    }

    fn url(&self, call: &VerifyCall, function: &FunctionName) -> url::Url {
        let mut url = self.session.gateway.invocation_url(function, false);
        let path = format!("{}{}", url.path(), call.path);
        url.set_path(&path);
        url.set_query(call.query.as_deref());
        url
    }
}

/// The problem of a final response other than 2xx.
async fn final_response(
    caller: &Caller<'_>,
    call: &Call<'_>,
    mut answered: CallResponse,
    deadline: Instant,
) -> Diagnostic {
    let mut start = Vec::new();
    // If the response breaks off, its status is known anyway.
    while start.len() <= SHOWN
        && let Ok(Ok(Some(chunk))) =
            timeout_at(deadline, caller.gateway.chunk(&caller.options.method, &mut answered.response)).await
    {
        start.extend_from_slice(&chunk);
    }
    let read = start.len() as u64;
    // What it has now is what was not read.
    let rest = if start.len() <= SHOWN { Some(0) } else { answered.response.content_length() };
    refused(caller, call, &answered, &start, rest.map(|rest| read + rest)).await
}

/// A deploy whose calls fail is one that is not ready; what is not permitted stays so.
fn failed(problem: Diagnostic) -> Diagnostic {
    let failure = match problem.failure {
        Failure::Permission | Failure::Interrupted | Failure::Terminated => problem.failure,
        _ => Failure::NotReady,
    };
    Diagnostic { failure, ..problem }
}

fn not_made(limit: Duration) -> Diagnostic {
    let message = format!("not made: `WAIT_TIMEOUT` was over, {} after the first call", log::duration(limit));
    Diagnostic::new(Failure::NotReady, message).with_hint("increase `WAIT_TIMEOUT` or `PARALLEL`")
}

/// The time was up, after no response or after transient ones.
fn no_verdict(outcome: &CallOutcome, limit: Duration) -> Diagnostic {
    let (name, limit) = (quote(&outcome.function.to_string()), log::duration(limit));
    let message = match outcome.status {
        Some(status) => format!("`{name}` still returned {status} after {limit}"),
        None => format!("`{name}` did not respond within {limit}"),
    };
    Diagnostic::new(Failure::NotReady, message)
        .with_hint("if it only needs more time, increase `WAIT_TIMEOUT` or `TIMEOUT`")
}

/// The logs of several functions, one after the other or side by side.
pub(super) struct FunctionLogs<'a> {
    session: Session<'a>,
    /// Those that may not be read.
    denied: RefCell<BTreeSet<FunctionName>>,
}

impl<'a> FunctionLogs<'a> {
    pub(super) fn new(session: Session<'a>) -> Self {
        Self { session, denied: RefCell::default() }
    }

    /// Logs the last lines of a function's log, if they may be read.
    pub(super) async fn show(&self, name: &FunctionName) {
        match tokio::time::timeout(LOG_TIMEOUT, self.session.gateway.logs(name, LOG_LINES)).await {
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
            Ok(Err(error)) if error.lacks().is_some() => _ = self.denied.borrow_mut().insert(name.clone()),
            Ok(Err(error)) => tracing::info!("the log of `{name}` cannot be read: {}", error),
            Err(_) => tracing::info!("the log of `{name}` could not be read in {}", log::duration(LOG_TIMEOUT)),
        }
    }

    /// Logs which of them may not be read.
    pub(super) fn ended(self) {
        let denied = self.denied.into_inner();
        if !denied.is_empty() {
            let resources = log::names(denied.iter().map(FunctionName::resource), MOST_NAMED);
            tracing::info!("to see the end of a function's log here, grant `Function:Logs` on {resources}");
        }
    }
}
