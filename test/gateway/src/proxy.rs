//! A forward HTTP proxy that notes what it is asked for: requests in absolute form, and tunnels by `CONNECT`.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::answer::{self, Answer};
use crate::background::{self, Background};
use crate::record::{self, Record, Request};
use crate::strike::NoAnswer;

/// A running proxy; dropping it closes its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _background: Background,
}

#[derive(Debug)]
struct Shared {
    record: Record,
    /// What a request to a host that is not loopback is answered with, as if it were that host.
    answer: Mutex<(StatusCode, Bytes)>,
    /// Where tunnels to a host name lead.
    hosts: Mutex<HashMap<String, SocketAddr>>,
    /// Where tunnels to any other host lead, but for the loopback.
    others: Mutex<Option<SocketAddr>>,
}

impl Proxy {
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

    /// Every request so far. The `path` is the whole URL of a request in absolute form, and `HOST:PORT` of a `CONNECT`.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.record.requests()
    }

    /// What requests to other hosts are answered with; status 200 and `{}` unless told otherwise.
    pub fn answer(&self, status: u16, body: impl Into<Bytes>) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = (status, body.into());
    }

    /// Leads tunnels to a host name, whatever the port, to an address, as a name service would.
    pub fn resolve(&self, host: &str, address: SocketAddr) {
        self.shared.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), address);
    }

    /// Leads tunnels to every other host that is not loopback to one address.
    pub fn resolve_others(&self, address: SocketAddr) {
        *self.shared.others.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }
}

/// Starts a proxy on a free port of the loopback.
///
/// Requests and tunnels to the loopback go there. Other hosts are out of a test's reach: a request gets the answer that
/// was set, a tunnel 502 unless [`Proxy::resolve`] or [`Proxy::resolve_others`] says where it leads.
///
/// # Errors
///
/// No port is free, or no thread to be had.
pub fn start() -> io::Result<Proxy> {
    let (listener, address) = background::listen()?;
    let answer = Mutex::new((StatusCode::OK, Bytes::from_static(b"{}")));
    let shared =
        Arc::new(Shared { record: Record::default(), answer, hosts: Mutex::default(), others: Mutex::default() });
    let serving = Arc::clone(&shared);
    let run = move || {
        background::accept(listener, move |tcp, connection| {
            let shared = Arc::clone(&serving);
            async move {
                let answer = service_fn(move |request| proxy(Arc::clone(&shared), connection, request));
                let server = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), answer);
                // A connection that breaks is the client's affair.
                let _ = server.with_upgrades().await;
            }
        })
    };
    Ok(Proxy { address, shared, _background: Background::start("proxy", run)? })
}

async fn proxy(shared: Arc<Shared>, connection: u64, request: hyper::Request<Incoming>) -> Result<Answer, NoAnswer> {
    let entry = shared.record.add(Request {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        query: request.uri().query().map(str::to_owned),
        headers: request.headers().clone(),
        body: Vec::new(),
        body_length: 0,
        version: request.version(),
        connection,
        arrived: Instant::now(),
        status: None,
    });
    let answer = if request.method() == Method::CONNECT {
        tunnel(&shared, request).await
    } else {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
        record::keep(&entry, &bytes);
        let forwarded = hyper::Request::from_parts(parts, Full::new(bytes));
        match loopback(forwarded.uri()) {
            Some(target) => forward(target, forwarded).await.map_err(|_| NoAnswer)?,
            None => {
                let (status, body) = shared.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
                answer::with_body(status, Some("application/json"), body)
            }
        }
    };
    record::answered(&entry, answer.status().as_u16());
    Ok(answer)
}

/// The address of a URL's host, where it is the loopback.
fn loopback(uri: &Uri) -> Option<SocketAddr> {
    let host = if uri.host()? == "localhost" { "127.0.0.1" } else { uri.host()? };
    let ip: std::net::IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    ip.is_loopback().then(|| SocketAddr::new(ip, uri.port_u16().unwrap_or(80)))
}

async fn tunnel(shared: &Shared, request: hyper::Request<Incoming>) -> Answer {
    let resolved = request.uri().host().and_then(|host| {
        let hosts = shared.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.get(host).copied()
    });
    let others = *shared.others.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(target) = resolved.or_else(|| loopback(request.uri())).or(others) else {
        return answer::error(StatusCode::BAD_GATEWAY, "this proxy reaches the loopback only");
    };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return answer::error(StatusCode::BAD_GATEWAY, format!("cannot reach {target}"));
    };
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            // Whoever breaks the tunnel knows why.
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(upgraded), &mut server).await;
        }
    });
    answer::empty(StatusCode::OK)
}

async fn forward(target: SocketAddr, mut request: hyper::Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
    let Ok(tcp) = TcpStream::connect(target).await else {
        return Ok(answer::error(StatusCode::BAD_GATEWAY, format!("cannot reach {target}")));
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let response = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    let mut answer = answer::with_body(parts.status, None, body.collect().await?.to_bytes());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, parts.headers.get(CONTENT_TYPE).cloned().unwrap_or(json));
    Ok(answer)
}
