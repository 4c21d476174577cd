//! The accept loop: TCP, TLS, HTTP/1.1 and HTTP/2, one task a connection.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::background;
use crate::serve::{self, Life, State};
use crate::wire::{Breaker, Stream, Wire};

/// Room for uploads over HTTP/2, so that the window is not what a benchmark measures.
const WINDOW: u32 = 4 * 1024 * 1024;
/// What Go's server says to a client that speaks HTTP to its TLS port.
const PLAIN_TO_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// The first byte of a TLS record with a handshake in it (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves connections for as long as it is polled.
pub(crate) async fn run(listener: TcpListener, state: Arc<State>, tls: Option<Arc<ServerConfig>>, http2: bool) {
    let acceptor = tls.map(TlsAcceptor::from);
    let serve = |tcp, connection| serve(tcp, acceptor.clone(), Arc::clone(&state), connection, http2);
    tokio::select! {
        () = background::accept(listener, serve) => {}
        () = state.reached(Life::Dying) => {}
    }
    state.life.send_replace(Life::Dead);
    // Connections end by themselves; the runtime that drives them ends with this.
    std::future::pending::<()>().await;
}

async fn serve(tcp: TcpStream, acceptor: Option<TlsAcceptor>, state: Arc<State>, connection: u64, http2: bool) {
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
    let answer = {
        let (breaker, state) = (Arc::clone(&breaker), Arc::clone(&state));
        service_fn(move |request| serve::request(Arc::clone(&state), Arc::clone(&breaker), connection, request))
    };
    tokio::select! {
        // A connection that breaks is the client's affair, or what a fault is for.
        _ = server.serve_connection(wire, answer) => {}
        () = breaker.broken() => {}
        () = state.reached(Life::Dead) => {}
    }
}

async fn handshake(mut tcp: TcpStream, acceptor: TlsAcceptor) -> Option<Stream> {
    let mut first = [0];
    tcp.peek(&mut first).await.ok()?;
    if first[0] != TLS_HANDSHAKE {
        tcp.write_all(PLAIN_TO_TLS).await.ok()?;
        tcp.shutdown().await.ok()?;
        // What is unread when a socket closes resets the connection, and the answer with it.
        let mut rest = tokio::io::sink();
        let _ = tokio::time::timeout(Duration::from_secs(1), tokio::io::copy(&mut tcp, &mut rest)).await;
        return None;
    }
    let tls = acceptor.accept(tcp).await.ok()?;
    Some(Stream::Tls(Box::new(tls)))
}
