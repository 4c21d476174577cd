//! Response bodies: complete, of a given size, endless, slow, cut off.

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

/// Why a body ended early.
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

/// A complete body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(never).boxed_unsync()
}

const CHUNK: Bytes = Bytes::from_static(&[b'x'; 64 * 1024]);

/// A body of `length` bytes, in constant memory.
pub(crate) fn source(length: u64) -> Body {
    Source { head: None, left: Some(length), chunk: CHUNK }.boxed_unsync()
}

/// An endless body that repeats a text.
pub(crate) fn endless(text: &[u8]) -> Body {
    // Large chunks: HTTP/2 clients may treat a flood of small frames as an attack.
    let chunk = text.repeat(CHUNK.len() / text.len().max(1) + 1).into();
    Source { head: None, left: None, chunk }.boxed_unsync()
}

/// Repeats a chunk after a head.
struct Source {
    head: Option<Bytes>,
    left: Option<u64>,
    chunk: Bytes,
}

impl HttpBody for Source {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
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

/// An endless body that repeats a text, one byte per interval.
pub(crate) fn slow(bytes: Bytes, interval: Duration) -> Body {
    let mut interval = tokio::time::interval(interval);
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

/// The first bytes of a body with a larger announced length. Then the connection or stream breaks.
pub(crate) fn cut_off(first: Bytes, announced: u64) -> Body {
    CutOff { first: Some(first), announced, flushed: Box::pin(tokio::time::sleep(FLUSH)) }.boxed_unsync()
}

/// Breaking a connection drops queued data, so the data gets this time to leave the host.
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

/// An endless gzip body that is 158 times larger when decompressed.
pub(crate) fn gzip_bomb() -> Body {
    let (start, more) = gzip_zeros();
    Source { head: Some(start.into()), left: None, chunk: more.into() }.boxed_unsync()
}

/// The start of a gzip stream (RFC 1952) of zeros, and bytes that continue it and can be repeated endlessly: a deflate
/// block (RFC 1951 section 3.2.6) with one literal, then endless copies of "repeat the last byte 258 times".
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
