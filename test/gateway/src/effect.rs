//! Applies a fault to a request.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use thiserror::Error;

use crate::answer::{self, Answer};
use crate::body;
use crate::fault::{Effect, Fault, Incident};
use crate::life::{Life, Stage};
use crate::record::Request;
use crate::wire::Breaker;

/// The request gets no response: the connection, or the stream with HTTP/2, is closed.
#[derive(Debug, Error)]
#[error("no response, on purpose")]
pub(crate) struct NoAnswer;

/// How the server handles a request with a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Usual {
    /// As if there were no fault, or with an incident of the provider.
    Route(Option<Incident>),
    /// Responds with the request itself ([`echo`]).
    Echo,
}

/// Applies a fault to a request.
pub(crate) async fn apply<F>(
    fault: Fault,
    breaker: &Breaker,
    life: &Life,
    usual: impl FnOnce(Usual) -> F,
) -> Result<Answer, NoAnswer>
where
    F: Future<Output = Answer>,
{
    tokio::time::sleep(fault.delay).await;
    if let Some(latch) = &fault.latch {
        latch.opened().await;
    }
    let served = match fault.effect {
        _ if fault.processed => Some(usual(Usual::Route(fault.incident)).await),
        Effect::Echo if !fault.dies => Some(usual(Usual::Echo).await),
        Effect::Answer | Effect::CutOff(_) if fault.status.is_none() && !fault.dies => {
            Some(usual(Usual::Route(fault.incident)).await)
        }
        _ => None,
    };
    if fault.dies {
        life.enter(Stage::Dying);
        std::future::pending::<()>().await;
    }
    let mut answer = match fault.effect {
        Effect::Reset => {
            tokio::time::sleep(fault.delay_answer).await;
            return Err(end(breaker, fault.orderly).await);
        }
        Effect::Hang => std::future::pending().await,
        Effect::Raw { endless } => {
            breaker.speak(fault.body.clone(), endless);
            answer::empty(StatusCode::OK)
        }
        Effect::Answer | Effect::CutOff(_) | Effect::Echo => match served {
            Some(served) if fault.status.is_none() || fault.effect == Effect::Echo => served,
            _ => answer::with_body(StatusCode::OK, None, fault.body.clone()),
        },
        Effect::Endless => answer::streamed(StatusCode::OK, None, body::endless(&fault.body)),
        Effect::Slow(beat) => answer::streamed(StatusCode::OK, None, body::slow(fault.body.clone(), beat)),
        Effect::GzipBomb => answer::streamed(StatusCode::OK, None, body::gzip_bomb()),
    };
    if let Some(status) = fault.status.and_then(|status| StatusCode::from_u16(status).ok()) {
        *answer.status_mut() = status;
    }
    for (name, value) in &fault.headers {
        answer::set(&mut answer, name, value);
    }
    if let Effect::CutOff(length) = fault.effect {
        answer = cut_off(answer, length).await;
    }
    tokio::time::sleep(fault.delay_answer).await;
    Ok(answer)
}

/// Closes a connection without a response.
async fn end(breaker: &Breaker, orderly: bool) -> NoAnswer {
    if !orderly {
        breaker.reset();
        // The task of the connection drops this future.
        std::future::pending::<()>().await;
    }
    NoAnswer
}

async fn cut_off(answer: Answer, length: usize) -> Answer {
    let (parts, body) = answer.into_parts();
    let whole = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let announced = whole.len().max(length) as u64 + 1;
    Answer::from_parts(parts, body::cut_off(whole.slice(..length.min(whole.len())), announced))
}

/// The response to a request with [`Effect::Echo`].
pub(crate) fn echo(head: &Request, body: Bytes) -> Answer {
    let query = head.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let mut text = format!("{} {}{query}\n", head.method, head.path);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let mut answer = answer::text(StatusCode::OK, format!("{text}\n{}", String::from_utf8_lossy(&body)));
    for (name, value) in &head.headers {
        answer::set(&mut answer, &format!("x-echo-{name}"), &String::from_utf8_lossy(value.as_bytes()));
    }
    answer
}
