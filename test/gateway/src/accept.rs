//! The accept loop: TCP, TLS, HTTP/1.1 and HTTP/2, with one task per connection.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::answer::Answer;
use crate::background;
use crate::effect::NoAnswer;
use crate::life::{Life, Stage};
use crate::wire::{Breaker, Stream, Wire};

/// Large enough for uploads over HTTP/2, so that a benchmark does not measure the flow-control window.
const WINDOW: u32 = 4 * 1024 * 1024;
/// The response of Go's server to plain HTTP on a TLS port.
const PLAIN_TO_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// The first byte of a TLS record that contains a handshake message (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves connections until the future is dropped or the server dies. `answer` handles each request; its arguments are
/// a handle that can break the connection, the connection number and the request.
pub(crate) async fn run<A, F>(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    http2: bool,
    life: Arc<Life>,
    answer: A,
) where
    A: Fn(Arc<Breaker>, u64, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Answer, NoAnswer>> + Send + 'static,
{
    let acceptor = tls.map(TlsAcceptor::from);
    let serve = |tcp, connection| {
        let (answer, acceptor, life) = (answer.clone(), acceptor.clone(), Arc::clone(&life));
        async move {
            tokio::select! {
                () = serve(tcp, acceptor, http2, connection, answer) => {}
                () = life.reached(Stage::Dead) => {}
            }
        }
    };
    tokio::select! {
        () = background::accept(listener, serve) => {}
        () = life.reached(Stage::Dying) => {}
    }
    life.enter(Stage::Dead);
    // Connections are closed with the runtime, when this future is dropped.
    std::future::pending::<()>().await;
}

async fn serve<A, F>(tcp: TcpStream, acceptor: Option<TlsAcceptor>, http2: bool, connection: u64, answer: A)
where
    A: Fn(Arc<Breaker>, u64, Request<Incoming>) -> F + Send,
    F: Future<Output = Result<Answer, NoAnswer>> + Send + 'static,
{
    let stream = match acceptor {
        None => Stream::Plain(tcp),
        Some(acceptor) => match handshake(tcp, acceptor).await {
            Some(stream) => stream,
            None => return,
        },
    };
    let breaker = Arc::new(Breaker::default());
    let wire = TokioIo::new(Wire::new(stream, Arc::clone(&breaker)));
    let mut server = auto::Builder::new(TokioExecutor::new());
    if !http2 {
        server = server.http1_only();
    }
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new()).initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let service = {
        let breaker = Arc::clone(&breaker);
        service_fn(move |request| answer(Arc::clone(&breaker), connection, request))
    };
    tokio::select! {
        // Connections may be broken by the client, or by a fault.
        _ = server.serve_connection(wire, service) => {}
        () = breaker.broken() => {}
    }
}

async fn handshake(mut tcp: TcpStream, acceptor: TlsAcceptor) -> Option<Stream> {
    let mut first = [0];
    tcp.peek(&mut first).await.ok()?;
    if first[0] != TLS_HANDSHAKE {
        tcp.write_all(PLAIN_TO_TLS).await.ok()?;
        tcp.shutdown().await.ok()?;
        // Closing a socket with unread data would reset the connection and lose the response.
        let mut rest = tokio::io::sink();
        let _ = tokio::time::timeout(Duration::from_secs(1), tokio::io::copy(&mut tcp, &mut rest)).await;
        return None;
    }
    let tls = acceptor.accept(tcp).await.ok()?;
    Some(Stream::Tls(Box::new(tls)))
}
