//! Servers that are no HTTP servers: what a client meets behind a wrong address or a broken proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::background::{self, Background};
use crate::body;

/// What a server does with each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Closes it as soon as it is accepted.
    Close,
    /// Resets it as soon as it is accepted.
    Reset,
    /// Reads, and never answers.
    NeverAnswer,
    /// Answers a request with these bytes and closes.
    Bytes(Vec<u8>),
    /// Answers with the first bytes, then with the second ones again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Answers with these bytes, one at each beat, then closes.
    Slow(Vec<u8>, Duration),
}

impl Behaviour {
    /// An answer with a status, a content type and a body.
    #[must_use]
    pub fn answer(status: u16, content_type: &str, body: &[u8]) -> Self {
        let mut bytes = head(status, &format!("Content-Type: {content_type}\r\nContent-Length: {}", body.len()));
        bytes.extend_from_slice(body);
        Self::Bytes(bytes)
    }

    /// A page for people, as a web server has it at every address.
    #[must_use]
    pub fn html() -> Self {
        let page = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>It works</h1></body></html>\n";
        Self::answer(200, "text/html", page)
    }

    /// JSON of no shape that a client of OpenFaaS expects.
    #[must_use]
    pub fn strange_json() -> Self {
        Self::answer(200, "application/json", br#"[{"access_token": 7, "replicas": "many"}, null]"#)
    }

    /// A body that is not UTF-8.
    #[must_use]
    pub fn invalid_utf8() -> Self {
        Self::answer(400, "text/plain; charset=utf-8", b"caf\xe9 \xff\xfe\xc3")
    }

    /// A body without end.
    #[must_use]
    pub fn endless_body() -> Self {
        Self::Endless(head(200, "Content-Type: application/json"), vec![b' '; 64 * 1024])
    }

    /// Headers without end.
    #[must_use]
    pub fn endless_headers() -> Self {
        Self::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: and more\r\n".repeat(1024))
    }

    /// A well-formed answer at one byte a beat.
    #[must_use]
    pub fn one_byte_a_beat(beat: Duration) -> Self {
        let body = br#"{"access_token":"x","token_type":"Bearer"}"#;
        let mut bytes = head(200, &format!("Content-Type: application/json\r\nContent-Length: {}", body.len()));
        bytes.extend_from_slice(body);
        Self::Slow(bytes, beat)
    }

    /// A body without end, 158 times as large when unpacked.
    #[must_use]
    pub fn gzip_bomb() -> Self {
        let (start, more) = body::gzip_zeros();
        let mut bytes = head(200, "Content-Type: application/json\r\nContent-Encoding: gzip");
        bytes.extend_from_slice(&start);
        Self::Endless(bytes, more)
    }
}

fn head(status: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Whatever\r\nConnection: close\r\n{headers}\r\n\r\n").into_bytes()
}

/// A running server; dropping it closes its connections.
#[derive(Debug)]
pub struct RawServer {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    _background: Background,
}

impl RawServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Starts a server on a free port of the loopback.
///
/// # Errors
///
/// No port is free, or no thread to be had.
pub fn serve(behaviour: Behaviour) -> io::Result<RawServer> {
    let (listener, address) = background::listen()?;
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    let behaviour = Arc::new(behaviour);
    let run = move || {
        background::accept(listener, move |tcp, connection| {
            counted.store(connection, Ordering::Relaxed);
            let behaviour = Arc::clone(&behaviour);
            async move {
                // The client may go whenever it likes.
                let _ = behave(tcp, &behaviour).await;
            }
        })
    };
    Ok(RawServer { address, connections, _background: Background::start("raw", run)? })
}

async fn behave(mut tcp: TcpStream, behaviour: &Behaviour) -> io::Result<()> {
    match behaviour {
        Behaviour::Close => Ok(()),
        Behaviour::Reset => tcp.set_zero_linger(),
        Behaviour::NeverAnswer => tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await.map(drop),
        Behaviour::Bytes(bytes) => {
            let (mut reader, mut writer) = tcp.split();
            read_head(&mut reader).await?;
            writer.write_all(bytes).await?;
            finish(tcp).await
        }
        Behaviour::Endless(start, more) => {
            let (mut reader, mut writer) = tcp.split();
            read_head(&mut reader).await?;
            writer.write_all(start).await?;
            loop {
                writer.write_all(more).await?;
            }
        }
        Behaviour::Slow(bytes, beat) => {
            let (mut reader, mut writer) = tcp.split();
            read_head(&mut reader).await?;
            for byte in bytes {
                writer.write_u8(*byte).await?;
                tokio::time::sleep(*beat).await;
            }
            finish(tcp).await
        }
    }
}

/// Reads to the empty line after a request's headers.
async fn read_head(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<()> {
    let mut last = [0; 4];
    while &last != b"\r\n\r\n" {
        last.rotate_left(1);
        last[3] = reader.read_u8().await?;
    }
    Ok(())
}

/// Closes in order: what is unread when a socket closes would reset the connection, and the answer with it.
async fn finish(mut tcp: TcpStream) -> io::Result<()> {
    tcp.shutdown().await?;
    tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await.map(drop)
}
