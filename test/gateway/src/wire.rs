//! A connection that can be broken from within: reset, or made to send data that is not HTTP.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

/// Lets the handler of a request break its connection.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    reset: AtomicBool,
    broken: Notify,
    raw: Mutex<Option<Raw>>,
}

#[derive(Debug)]
struct Raw {
    bytes: Bytes,
    endless: bool,
    sent: usize,
}

impl Breaker {
    /// Resets the connection (RST).
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.broken.notify_one();
    }

    /// Sends these bytes instead of whatever is written next. Then closes the connection, or repeats them endlessly.
    pub(crate) fn speak(&self, bytes: Bytes, endless: bool) {
        *self.raw.lock().unwrap_or_else(PoisonError::into_inner) = Some(Raw { bytes, endless, sent: 0 });
    }

    /// Waits until the connection has to be dropped.
    pub(crate) async fn broken(&self) {
        self.broken.notified().await;
    }
}

/// A connection with or without TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// A connection and the handle that may break it.
pub(crate) struct Wire {
    stream: Stream,
    breaker: Arc<Breaker>,
}

impl Wire {
    pub(crate) fn new(stream: Stream, breaker: Arc<Breaker>) -> Self {
        Self { stream, breaker }
    }

    /// Writes the raw bytes. Returns an error at the end, so that the connection is closed.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Error>> {
        let Self { stream, breaker } = self;
        let mut raw = breaker.raw.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(raw) = raw.as_mut() else {
            return Poll::Ready(None);
        };
        loop {
            while raw.sent < raw.bytes.len() {
                match ready!(Pin::new(&mut *stream).poll_write(cx, &raw.bytes[raw.sent..])) {
                    Ok(0) => return Poll::Ready(Some(io::ErrorKind::WriteZero.into())),
                    Ok(sent) => raw.sent += sent,
                    Err(error) => return Poll::Ready(Some(error)),
                }
            }
            if !raw.endless || raw.bytes.is_empty() {
                break;
            }
            raw.sent = 0;
        }
        let flushed = ready!(Pin::new(stream).poll_flush(cx));
        Poll::Ready(Some(flushed.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.breaker.reset.load(Ordering::Relaxed) {
            // If this fails, the peer gets a FIN instead.
            let _ = self.stream.tcp().set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(error) = ready!(self.poll_raw(cx)) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
