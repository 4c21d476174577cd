//! Bodies of answers: whole, of a given size, endless, slow, cut off.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use thiserror::Error;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};

/// Why a body ended before its end.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("cut off on purpose")]
    CutOff,
    #[error(transparent)]
    Request(#[from] hyper::Error),
}

pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

fn never(error: Infallible) -> BodyError {
    match error {}
}

/// A body known whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(never).boxed_unsync()
}

const CHUNK: Bytes = Bytes::from_static(&[b'x'; 64 * 1024]);

/// `length` bytes in constant memory.
pub(crate) fn source(length: u64) -> Body {
    Source { left: Some(length), chunk: CHUNK }.boxed_unsync()
}

/// A text again and again, without end.
pub(crate) fn endless(text: &[u8]) -> Body {
    // Many at once: a client of HTTP/2 may take a flood of small frames for an attack.
    let chunk = text.repeat(CHUNK.len() / text.len().max(1) + 1).into();
    Source { left: None, chunk }.boxed_unsync()
}

struct Source {
    left: Option<u64>,
    chunk: Bytes,
}

impl HttpBody for Source {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut chunk = self.chunk.clone();
        if let Some(left) = &mut self.left {
            if *left == 0 {
                return Poll::Ready(None);
            }
            chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= chunk.len() as u64;
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// A byte of the text at each beat; the text starts anew when it is through, and the body never ends.
pub(crate) fn slow(bytes: Bytes, beat: Duration) -> Body {
    let mut interval = tokio::time::interval(beat);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Slow { bytes, at: 0, interval }.boxed_unsync()
}

struct Slow {
    bytes: Bytes,
    at: usize,
    interval: Interval,
}

impl HttpBody for Slow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.interval.poll_tick(cx).is_pending() {
            return Poll::Pending;
        }
        let at = self.at % self.bytes.len().max(1);
        self.at += 1;
        let byte = self.bytes.get(at..=at).map(Bytes::copy_from_slice).unwrap_or_default();
        Poll::Ready(Some(Ok(Frame::data(byte))))
    }
}

/// The first bytes of a body whose length is announced as a larger one; then the connection or stream breaks.
pub(crate) fn cut_off(first: Bytes, announced: u64) -> Body {
    CutOff { first: Some(first), announced, flushed: Box::pin(tokio::time::sleep(FLUSH)) }.boxed_unsync()
}

/// Time for what was written to leave the host: what breaks a connection drops what is still queued.
const FLUSH: Duration = Duration::from_millis(20);

struct CutOff {
    first: Option<Bytes>,
    announced: u64,
    flushed: Pin<Box<Sleep>>,
}

impl HttpBody for CutOff {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            self.flushed.as_mut().reset(Instant::now() + FLUSH);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.flushed.as_mut().poll(cx).map(|()| Some(Err(BodyError::CutOff)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

/// An endless gzip body, 158 times as large when unpacked.
pub(crate) fn gzip_bomb() -> Body {
    let (start, more) = gzip_zeros();
    Prefixed { head: Some(start.into()), source: Source { left: None, chunk: more.into() } }.boxed_unsync()
}

/// The start of a gzip stream (RFC 1952) of zeros, and the bytes that continue it, again and again without end: a
/// deflate block (RFC 1951 section 3.2.6) of one literal, then "the last byte 258 times more" for ever.
pub(crate) fn gzip_zeros() -> (Vec<u8>, Vec<u8>) {
    // BFINAL, BTYPE=01 (low bit first), literal 0 as 00110000.
    let mut bits = vec![1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0];
    // Length 258 is symbol 285 (11000101), distance 1 is symbol 0 (00000). Eight of them are 13 whole bytes.
    for _ in 0..16 {
        bits.extend([1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
    }
    let bytes = bits.chunks_exact(8);
    let deflated: Vec<u8> = bytes.map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | bit)).collect();
    let mut start = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    start.extend(&deflated[..2]);
    (start, deflated[2..15].repeat(5000))
}

struct Prefixed {
    head: Option<Bytes>,
    source: Source,
}

impl HttpBody for Prefixed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.head.take() {
            Some(head) => Poll::Ready(Some(Ok(Frame::data(head)))),
            None => Pin::new(&mut self.source).poll_frame(cx),
        }
    }
}
