//! `VERIFY`: calls functions once they are ready, side by side, and shows what failed.

use futures_util::StreamExt as _;
use futures_util::stream;
use http::header::AUTHORIZATION;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::wait::show_log;
use crate::commands::invoke::{Answered, Call, Caller, Payload, Refusal, unanswered};
use crate::commands::session::Session;
use crate::config::{Verify, VerifyCall};
use crate::console::{log, redact};
use crate::function::FunctionName;
use crate::function::outcome::{CallOutcome, Failure, Problem};
use crate::gateway::{Error, Unanswered};

/// The pause before a function that just started is called again; it grows to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MOST: Duration = Duration::from_secs(2);
/// How much of the answer of a failed call is logged, in bytes.
const SHOWN: usize = 2048;

pub(super) struct Verifier<'a> {
    pub(super) session: Session<'a>,
    pub(super) verify: &'a Verify,
    pub(super) payload: &'a Payload,
    /// `WAIT_TIMEOUT`: how long transient answers are retried, from the first call on.
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
                let url = self.url(call, &function);
                CallOutcome::planned(call.text.clone(), function, method.to_string(), url.into())
            })
            .collect()
    }

    /// Makes all calls, `parallel` at once, also after one failed.
    pub(super) async fn run(&self, calls: &mut [CallOutcome]) {
        let deadline = Instant::now() + self.limit;
        let number = calls.len();
        tracing::info!("verifying: {number} call{}", if number == 1 { "" } else { "s" });
        stream::iter(self.verify.calls.iter().zip(calls))
            .for_each_concurrent(self.session.parallel, async |(call, outcome)| {
                self.verify(call, outcome, deadline).await
            })
            .await;
    }

    async fn verify(&self, call: &VerifyCall, outcome: &mut CallOutcome, deadline: Instant) {
        if self.session.stop.requested().is_some() {
            return;
        }
        let started = Instant::now();
        let problem = self.call(call, outcome, deadline).await.err();
        outcome.duration = started.elapsed();
        outcome.made = true;
        match problem {
            None => tracing::info!(
                "`{}` answered {} in {}",
                log::quote(&call.text),
                outcome.status.unwrap_or_default(),
                log::duration(outcome.duration)
            ),
            Some(problem) => {
                problem.diagnostic(&format!("VERIFY {}", log::quote(&call.text))).log();
                outcome.problem = Some(problem);
                show_log(&self.session, &outcome.function).await;
            }
        }
    }

    /// Calls until there is a verdict, or until the deadline.
    async fn call(&self, call: &VerifyCall, outcome: &mut CallOutcome, deadline: Instant) -> Result<(), Problem> {
        let Session { gateway, stop, .. } = self.session;
        let options = &self.verify.options;
        let function = outcome.function.clone();
        let url = self.url(call, &function);
        let caller = Caller { gateway, options, payload: self.payload };
        let mut pause = PAUSE;
        loop {
            let call =
                Call { function: &function, url: url.clone(), asynchronous: false, idempotent: false, retries: 0 };
            let (problem, is_transient) = match timeout_at(deadline, caller.call(&call)).await {
                Ok(Ok(answered)) => {
                    let status = answered.response.status();
                    outcome.status = Some(status.as_u16());
                    outcome.call_id = answered.call_id();
                    if status.is_success() {
                        return Ok(());
                    }
                    let is_transient = matches!(status.as_u16(), 502..=504);
                    if is_transient && Instant::now() + pause < deadline {
                        (None, true)
                    } else {
                        (Some(self.refused(answered, &call, outcome, deadline).await), false)
                    }
                }
                Ok(Err(Unanswered { error, .. })) => {
                    (Some(failed(unanswered(&function, &url, &error))), is_connection_failure(&error))
                }
                Err(_) => (Some(failed(no_answer(&function, self.limit))), false),
            };
            if !is_transient || Instant::now() + pause >= deadline {
                return problem.map_or(Ok(()), Err);
            }
            tracing::debug!("`{}` is not available yet; retrying in {}", function, log::duration(pause));
            tokio::select! {
                () = sleep(pause) => {}
                failure = stop.wait() => return Err(Error::Stopped(failure).problem()),
            }
            pause = (pause * 3 / 2).min(PAUSE_MOST);
        }
    }

    /// What a verdict other than 2xx means; logs the beginning of the body as lines.
    async fn refused(
        &self,
        mut answered: Answered,
        call: &Call<'_>,
        outcome: &CallOutcome,
        deadline: Instant,
    ) -> Problem {
        let gateway = self.session.gateway;
        let options = &self.verify.options;
        let mut start = Vec::new();
        // An answer that breaks off has its status all the same.
        while let Ok(Ok(Some(chunk))) =
            timeout_at(deadline, gateway.chunk(&options.method, &mut answered.response)).await
        {
            start.extend_from_slice(&chunk);
            if start.len() > SHOWN {
                break;
            }
        }
        let text = String::from_utf8_lossy(&start).into_owned();
        let refusal = Refusal {
            gateway,
            function: call.function,
            method: &options.method,
            url: &call.url,
            status: answered.response.status(),
            headers: answered.response.headers(),
            start: &text,
            with_token: answered.with_token,
            with_own_token: options.headers.contains_key(AUTHORIZATION),
            call_id: outcome.call_id.as_deref(),
            idempotent: true,
        };
        let problem = refusal.problem().await;
        show(&start);
        failed(problem)
    }

    fn url(&self, call: &VerifyCall, function: &FunctionName) -> url::Url {
        let mut url = self.session.gateway.invocation_url(function, false);
        let path = format!("{}{}", url.path(), call.path);
        url.set_path(&path);
        url.set_query(call.query.as_deref());
        url
    }
}

/// Masked before it is cut, so that no part of a secret is left at the end.
fn show(body: &[u8]) {
    let masked = redact::redact_bytes(body);
    let visible = log::visible(&masked[..masked.len().min(SHOWN)]);
    let visible = visible.trim_end();
    if !visible.is_empty() {
        log::plain(visible);
    }
}

/// A deploy whose calls fail is one that is not ready; what is not permitted stays so.
fn failed(problem: Problem) -> Problem {
    let failure = match problem.failure {
        Failure::Permission | Failure::Interrupted | Failure::Terminated => problem.failure,
        _ => Failure::NotReady,
    };
    Problem { failure, ..problem }
}

fn no_answer(function: &FunctionName, limit: Duration) -> Problem {
    Problem {
        failure: Failure::NotReady,
        message: format!("`{}` did not answer within {}", log::quote(&function.to_string()), log::duration(limit)),
        hint: Some("if it only needs more time, increase `WAIT_TIMEOUT` or `TIMEOUT`".to_owned()),
    }
}

fn is_connection_failure(error: &Error) -> bool {
    matches!(error, Error::Transport(transport) if transport.source.is_transient())
}
