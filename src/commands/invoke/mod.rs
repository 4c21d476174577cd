//! `COMMAND: invoke`: calls one function, and shows or stores its response.

mod response;

use std::time::Instant;

use http::StatusCode;

use crate::commands::calls::{Call, Caller, RefusedCall, no_response, open_payload};
use crate::commands::prepare::{Preparation, Rejected};
use crate::config::Invoke;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Explain as _, Failure};
use crate::files::atomic::Attributes;
use crate::function::outcome::{InvocationOutcome, Outcome};
use crate::gateway::{Error, NoResponse};
use response::ResponseBody;

pub(crate) async fn run(mut preparation: Preparation<'_>, invoke: &Invoke) -> Result<Outcome, Rejected> {
    let payload = open_payload(&mut preparation, &invoke.options);
    // Before the function runs: its response would be lost.
    preparation.output_file(invoke.output_file.as_deref());
    let loaded = preparation.load().await;
    let gateway = preparation.gateway(loaded.as_ref());
    let (payload, gateway) = preparation.finish(payload.zip(gateway))?;
    let target = invoke.function.clone();
    let started = Instant::now();
    let mut invocation = InvocationOutcome {
        function: target.clone(),
        sent: false,
        status: None,
        call_id: None,
        asynchronous: invoke.asynchronous,
        response_bytes: 0,
        function_seconds: None,
        problem: None,
        duration: started.elapsed(),
    };
    let mut url = gateway.invocation_url(&target, invoke.asynchronous);
    tracing::info!("invoking `{url}`");
    if !invoke.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&invoke.query);
    }
    let retries = preparation.config.retries;
    let Invoke { asynchronous, idempotent, .. } = *invoke;
    let call = Call { function: &target, url, asynchronous, may_be_queued: true, idempotent, retries };
    let caller = Caller { gateway: &gateway, options: &invoke.options, payload: &payload };
    let attributes = Attributes::inherited_from(preparation.config.places.clone_dir.as_deref());
    if let Err(problem) = response(&caller, &call, invoke, attributes, &mut invocation).await {
        problem.log();
        if let Some(path) = &invoke.output_file {
            tracing::info!("nothing was written to `{}`", quote(&path.to_string_lossy()));
        }
        invocation.problem = Some(problem);
    }
    invocation.duration = started.elapsed();
    let mut outcome = preparation.outcome(gateway.address(), None);
    outcome.invocation = Some(invocation);
    Ok(outcome)
}

/// Calls the function, and shows or stores what it answers.
async fn response(
    caller: &Caller<'_>,
    call: &Call<'_>,
    invoke: &Invoke,
    attributes: Attributes,
    invocation: &mut InvocationOutcome,
) -> Result<(), Diagnostic> {
    let mut answered = match caller.call(call).await {
        Ok(answered) => answered,
        Err(NoResponse { error, sent }) => {
            invocation.sent = sent;
            if let Error::Redirect(redirect) = &error {
                invocation.status = sent.then_some(redirect.status.as_u16());
            }
            return Err(no_response(caller, call, &error));
        }
    };
    let status = answered.response.status();
    invocation.sent = true;
    invocation.status = Some(status.as_u16());
    invocation.call_id = answered.call_id();
    invocation.function_seconds = answered.function_seconds();
    if status.is_success() {
        tracing::info!("{}", response_line(status, invocation));
    }
    // An error's text is not the data that a later step expects in the file.
    let output_file = invoke.output_file.as_deref().filter(|_| status.is_success());
    let mut response = ResponseBody::new(output_file, attributes)?;
    let method = &caller.options.method;
    while let Some(chunk) =
        caller.gateway.chunk(method, &mut answered.response).await.map_err(|error| error.diagnostic())?
    {
        response.push(&chunk)?;
    }
    invocation.response_bytes = response.size();
    let start = response.start();
    if status.is_success() {
        if answered.is_doubtful(start.as_bytes()) {
            Diagnostic::warning(format!(
                "the response is a web page without the gateway's call id: it may not be from `{}`",
                quote(&call.function.to_string())
            ))
            .with_hint("check that it is not the sign-in page of a proxy in front of the gateway")
            .log();
        }
        return response.finish();
    }
    if let Some(error) = caller.gateway.connection_fault(method, &call.url, status, start.as_bytes()) {
        return Err(error.diagnostic());
    }
    let refused = RefusedCall { caller, call, answered: &answered, start: &start };
    let problem = refused.problem().await;
    if !refused.is_body_told() {
        response.show_refusal(&call.function.to_string());
    }
    Err(problem)
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
    let name = &invocation.function.name;
    let took = log::duration(invocation.duration);
    match (&invocation.problem, invocation.status) {
        (None, _) if invocation.asynchronous => format!("`{name}` is queued"),
        (None, _) => format!("`{name}` responded in {took}"),
        (Some(_), Some(200..=299)) => format!("the response of `{name}` was not received or stored whole"),
        (Some(problem), Some(_)) if problem.failure == Failure::Unreachable => format!("`{name}` was not reached"),
        (Some(_), Some(status)) => format!("the invocation of `{name}` failed with status {status}"),
        (Some(_), None) if invocation.sent => format!("no response from `{name}`"),
        (Some(_), None) => format!("`{name}` was not invoked"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::function::FunctionName;

    #[test]
    fn time_of_a_function_is_shown_from_a_millisecond_on() {
        let line = |function_seconds| {
            let invocation = InvocationOutcome {
                function: FunctionName::default(),
                sent: true,
                status: Some(200),
                call_id: None,
                asynchronous: false,
                response_bytes: 0,
                function_seconds,
                problem: None,
                duration: Duration::ZERO,
            };
            response_line(StatusCode::OK, &invocation)
        };
        assert_eq!(line(Some(0.0004)), "response: 200 OK");
        assert_eq!(line(Some(0.0126)), "response: 200 OK after 0.013 s");
        assert_eq!(line(None), "response: 200 OK");
    }
}
