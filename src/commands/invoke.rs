//! `COMMAND: invoke`: calls one function, and shows or stores its response.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::time::Instant;

use http::StatusCode;

use crate::commands::calls::{Call, Caller, no_response, open_payload, refused};
use crate::commands::prepare::{Preparation, Rejected};
use crate::config::Invoke;
use crate::console::log::{self, quote};
use crate::console::redact::{self, RedactStream};
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::files::atomic::{self, AtomicFile, Attributes};
use crate::function::outcome::{InvocationOutcome, Outcome};
use crate::text::count;

/// How much of a response the log shows, in bytes.
const SHOWN: usize = 64 * 1024;

pub(crate) async fn run(mut preparation: Preparation<'_>, invoke: &Invoke) -> Result<Outcome, Rejected> {
    let payload = open_payload(&mut preparation, &invoke.options);
    // Before the function runs: its response would be lost.
    preparation.output_file(invoke.output_file.as_deref());
    let loaded = preparation.load().await;
    let gateway = preparation.gateway(loaded.as_ref());
    let (payload, gateway) = preparation.finish(payload.zip(gateway))?;
    let started = Instant::now();
    let Invoke { function, asynchronous, idempotent, .. } = invoke;
    let (asynchronous, idempotent) = (*asynchronous, *idempotent);
    let mut url = gateway.invocation_url(function, asynchronous);
    tracing::info!("invoking `{url}`");
    if !invoke.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&invoke.query);
    }
    let (name, retries) = (function.to_string(), preparation.config.retries);
    let call = Call { function, name, url, asynchronous, may_be_queued: true, idempotent, retries, shown: SHOWN };
    let caller = Caller { gateway: &gateway, options: &invoke.options, payload: &payload, unlisted: Cell::default() };
    let attributes = Attributes::inherited_from(preparation.config.places.clone_dir.as_deref());
    let mut invocation = InvocationOutcome { function: function.clone(), asynchronous, ..InvocationOutcome::default() };
    if let Err(problem) = response(&caller, &call, invoke.output_file.as_deref(), attributes, &mut invocation).await {
        problem.log();
        if let Some(path) = &invoke.output_file {
            tracing::info!("nothing was written to `{}`", quote(&path.to_string_lossy()));
        }
        invocation.problem = Some(problem);
    }
    invocation.duration = started.elapsed();
    Ok(Outcome { invocation: Some(invocation), ..preparation.outcome(gateway.address(), None) })
}

/// Calls the function, and shows or stores what it answers.
async fn response(
    caller: &Caller<'_>,
    call: &Call<'_>,
    output_file: Option<&Path>,
    attributes: Attributes,
    invocation: &mut InvocationOutcome,
) -> Result<(), Diagnostic> {
    let mut answered = match caller.call(call).await {
        Ok(answered) => answered,
        Err(failed) => {
            (invocation.sent, invocation.status) = (failed.sent, failed.status());
            return Err(no_response(caller, call, &failed.error));
        }
    };
    let status = answered.response.status();
    invocation.sent = true;
    invocation.status = Some(status.as_u16());
    invocation.call_id = answered.call_id();
    invocation.function_seconds = answered.function_seconds();
    // The gateway's own response to a call for the queue is never a page.
    let is_success = status.is_success() && !(call.asynchronous && answered.is_doubtful(b""));
    if is_success {
        tracing::info!("{}", response_line(status, invocation));
    }
    // An error's text is not the data that a later step expects in the file, nor is the gateway's word that a call is queued.
    let mut output = match output_file.filter(|_| is_success && !call.asynchronous) {
        Some(path) => Some(OutputFile::create(path, attributes)?),
        None => None,
    };
    let method = &caller.options.method;
    let mut start = Vec::new();
    loop {
        let piece = match caller.gateway.chunk(method, &mut answered.response).await {
            Ok(Some(piece)) => piece,
            // If the response breaks off, its status is known anyway.
            Err(_) if !is_success => break,
            Ok(None) => break,
            Err(error) => return Err(error.diagnostic()),
        };
        invocation.response_bytes += piece.len() as u64;
        start.extend_from_slice(&piece[..piece.len().min(SHOWN - start.len())]);
        if let Some(output) = &mut output {
            output.push(&piece)?;
        }
    }
    let size = invocation.response_bytes;
    if !is_success {
        let headers = answered.response.headers();
        return Err(match caller.gateway.connection_fault(method, &call.url, status, headers, &start) {
            Some(error) => error.diagnostic(),
            None => refused(caller, call, &answered, &start, Some(size)).await,
        });
    }
    if answered.is_doubtful(&start) {
        Diagnostic::warning(format!(
            "the response is a web page without the gateway's call id: it may not be from `{}`",
            quote(&call.name)
        ))
        .with_hint("check that it is not the sign-in page of a proxy in front of the gateway")
        .log();
    }
    match output {
        Some(output) => output.finish(size),
        None => {
            show(&start, size);
            Ok(())
        }
    }
}

/// The file of a successful response.
struct OutputFile<'a> {
    path: &'a Path,
    file: AtomicFile,
    redact: RedactStream,
}

impl<'a> OutputFile<'a> {
    fn create(path: &'a Path, attributes: Attributes) -> Result<Self, Diagnostic> {
        let file = atomic::create_parents(path, attributes).and_then(|()| AtomicFile::create(path, attributes));
        let file = file.map_err(|error| unwritable(path, &error))?;
        Ok(Self { path, file, redact: RedactStream::default() })
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Diagnostic> {
        let piece = self.redact.push(piece);
        self.file.write_all(&piece).map_err(|error| unwritable(self.path, &error))
    }

    fn finish(self, size: u64) -> Result<(), Diagnostic> {
        let Self { path, mut file, redact } = self;
        let (rest, tokens) = redact.finish();
        file.write_all(&rest).and_then(|()| file.commit()).map_err(|error| unwritable(path, &error))?;
        let path = quote(&path.to_string_lossy());
        tracing::info!("the response is in `{path}` ({size} bytes)");
        if tokens > 0 {
            let places = count(tokens, "place");
            tracing::warn!(
                "the response contained an access token of this step: it is masked as `***` in {places} of `{path}`\n\
                 hint: the function returns a token that it was sent; all other bytes are unchanged"
            );
        }
        Ok(())
    }
}

fn show(start: &[u8], size: u64) {
    if start.is_empty() {
        return;
    }
    // Masked before it is decoded, since bytes that are not text may be next to a secret.
    let (masked, shown) = redact::redact_beginning(start, size == start.len() as u64);
    let visible = log::visible(&masked);
    log::plain(visible.strip_suffix('\n').unwrap_or(&visible));
    let left = size - shown as u64;
    if left > 0 {
        tracing::info!("the response has {left} more bytes, which are not shown; set `OUTPUT_FILE` to get all of it");
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let path = quote(&path.to_string_lossy());
    Diagnostic::new(Failure::Failed, format!("the response could not be written to `{path}`: {error}"))
        .with_hint("check that the directory of `OUTPUT_FILE` is writable and not full")
}

fn response_line(status: StatusCode, invocation: &InvocationOutcome) -> String {
    let call = invocation.call_id.as_deref().map(|id| format!(", call id `{}`", quote(id))).unwrap_or_default();
    // `after 0.000 s` would look like a fault.
    let seconds = invocation.function_seconds.filter(|seconds| (0.001..1e6).contains(seconds));
    let took = seconds.map(|seconds| format!(" after {seconds:.3} s")).unwrap_or_default();
    if invocation.asynchronous { format!("queued: {status}{call}") } else { format!("response: {status}{took}{call}") }
}

pub(crate) fn summary(outcome: &Outcome) -> String {
    let Some(invocation) = &outcome.invocation else { return "nothing was invoked".to_owned() };
    let name = quote(&invocation.function.to_string());
    let took = log::duration(invocation.duration);
    match (&invocation.problem, invocation.status) {
        (None, _) if invocation.asynchronous => format!("`{name}` is queued"),
        (None, _) => format!("`{name}` responded in {took}"),
        (Some(problem), Some(200..=299)) if invocation.asynchronous && problem.failure == Failure::Unreachable => {
            format!("`{name}` is not known to be queued")
        }
        (Some(_), Some(200..=299)) => format!("the response of `{name}` was not received or stored whole"),
        (Some(problem), Some(_)) if problem.failure == Failure::Unreachable => format!("`{name}` was not reached"),
        (Some(_), Some(status)) => format!("the invocation of `{name}` failed with status {status}"),
        (Some(_), None) if invocation.sent => format!("no response from `{name}`"),
        (Some(_), None) => format!("`{name}` was not invoked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_a_function_is_shown_from_a_millisecond_on() {
        let line = |function_seconds| {
            let invocation = InvocationOutcome { function_seconds, ..InvocationOutcome::default() };
            response_line(StatusCode::OK, &invocation)
        };
        assert_eq!(line(Some(0.0004)), "response: 200 OK");
        assert_eq!(line(Some(0.0126)), "response: 200 OK after 0.013 s");
        assert_eq!(line(None), "response: 200 OK");
    }
}
