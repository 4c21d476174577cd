//! Servers that do not behave like HTTP servers: what a client meets behind a wrong address or a broken proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::background::{self, Background};
use crate::body;

/// How a server handles each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Closes the connection when it is accepted.
    Close,
    /// Reads and never responds.
    NeverAnswer,
    /// Responds to a request with these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// Responds with the first bytes, then repeats the second ones endlessly.
    Endless(Vec<u8>, Vec<u8>),
    /// Responds with these bytes, one per interval, then closes the connection.
    Slow(Vec<u8>, Duration),
}

impl Behaviour {
    /// A response with a status, a content type and a body.
    #[must_use]
    pub fn answer(status: u16, content_type: &str, body: &[u8]) -> Self {
        let mut bytes = head(status, &format!("Content-Type: {content_type}\r\nContent-Length: {}", body.len()));
        bytes.extend_from_slice(body);
        Self::Bytes(bytes)
    }

    /// A web page, as a web server returns it at any address.
    #[must_use]
    pub fn html() -> Self {
        let page = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>It works</h1></body></html>\n";
        Self::answer(200, "text/html", page)
    }

    /// JSON that a client of OpenFaaS does not expect.
    #[must_use]
    pub fn strange_json() -> Self {
        Self::answer(200, "application/json", br#"[{"access_token": 7, "replicas": "many"}, null]"#)
    }

    /// A body with invalid UTF-8.
    #[must_use]
    pub fn invalid_utf8() -> Self {
        Self::answer(400, "text/plain; charset=utf-8", b"caf\xe9 \xff\xfe\xc3")
    }

    /// An endless body.
    #[must_use]
    pub fn endless_body() -> Self {
        Self::Endless(head(200, "Content-Type: application/json"), vec![b' '; 64 * 1024])
    }

    /// Endless headers.
    #[must_use]
    pub fn endless_headers() -> Self {
        Self::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: and more\r\n".repeat(1024))
    }

    /// A valid response, one byte per interval.
    #[must_use]
    pub fn one_byte_per_interval(interval: Duration) -> Self {
        let body = br#"{"access_token":"x","token_type":"Bearer"}"#;
        let mut bytes = head(200, &format!("Content-Type: application/json\r\nContent-Length: {}", body.len()));
        bytes.extend_from_slice(body);
        Self::Slow(bytes, interval)
    }

    /// An endless body that is 158 times larger when decompressed.
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

/// A running server. Dropping it closes its connections.
#[derive(Debug)]
pub struct RawServer {
    address: SocketAddr,
    _background: Background,
}

impl RawServer {
    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL: `http://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Starts a server on a free port of the loopback interface.
///
/// # Errors
///
/// No port or no thread is available.
pub fn serve(behaviour: Behaviour) -> io::Result<RawServer> {
    let (listener, address) = background::listen()?;
    let behaviour = Arc::new(behaviour);
    let run = move || {
        background::accept(listener, move |tcp, _| {
            let behaviour = Arc::clone(&behaviour);
            async move {
                // The client may close the connection at any time.
                let _ = behave(tcp, &behaviour).await;
            }
        })
    };
    Ok(RawServer { address, _background: Background::start("raw", run)? })
}

async fn behave(mut tcp: TcpStream, behaviour: &Behaviour) -> io::Result<()> {
    match behaviour {
        Behaviour::Close => Ok(()),
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
        Behaviour::Slow(bytes, interval) => {
            let (mut reader, mut writer) = tcp.split();
            read_head(&mut reader).await?;
            for byte in bytes {
                writer.write_u8(*byte).await?;
                tokio::time::sleep(*interval).await;
            }
            finish(tcp).await
        }
    }
}

/// Reads to the empty line after the headers of a request.
async fn read_head(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<()> {
    let mut last = [0; 4];
    while &last != b"\r\n\r\n" {
        last.rotate_left(1);
        last[3] = reader.read_u8().await?;
    }
    Ok(())
}

/// Closes the connection with a FIN: closing a socket with unread data would reset it and lose the response.
async fn finish(mut tcp: TcpStream) -> io::Result<()> {
    tcp.shutdown().await?;
    tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await.map(drop)
}
