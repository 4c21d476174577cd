//! A forward HTTP proxy that records requests: requests in absolute form, and tunnels with `CONNECT`.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

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
use crate::effect::NoAnswer;
use crate::record::{self, Record, Request};

/// A running proxy. Dropping it closes its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _background: Background,
}

#[derive(Debug)]
struct Shared {
    record: Record,
    /// The response to requests for hosts other than loopback.
    answer: Mutex<(StatusCode, Bytes)>,
    /// The targets of tunnels by host name.
    hosts: Mutex<HashMap<String, SocketAddr>>,
    /// The target of tunnels to all other hosts except loopback.
    others: Mutex<Option<SocketAddr>>,
}

impl Proxy {
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

    /// All requests so far. The `path` is the whole URL of a request in absolute form, and `HOST:PORT` for `CONNECT`.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.record.requests()
    }

    /// Sets the response to requests for other hosts. The default is status 200 and `{}`.
    pub fn answer(&self, status: u16, body: impl Into<Bytes>) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = (status, body.into());
    }

    /// Resolves a host name for tunnels, with any port, to this address.
    pub fn resolve(&self, host: &str, address: SocketAddr) {
        self.shared.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), address);
    }

    /// Resolves all other hosts for tunnels, except loopback, to this address.
    pub fn resolve_others(&self, address: SocketAddr) {
        *self.shared.others.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }
}

/// Starts a proxy on a free port of the loopback interface.
///
/// Requests and tunnels to loopback addresses are forwarded. For other hosts, a request gets the response that was set,
/// and a tunnel gets a 502 unless [`Proxy::resolve`] or [`Proxy::resolve_others`] was called.
///
/// # Errors
///
/// No port or no thread is available.
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
                // Connections may be broken by the client.
                let _ = server.with_upgrades().await;
            }
        })
    };
    Ok(Proxy { address, shared, _background: Background::start("proxy", run)? })
}

async fn proxy(shared: Arc<Shared>, connection: u64, request: hyper::Request<Incoming>) -> Result<Answer, NoAnswer> {
    let record = Request { path: request.uri().to_string(), ..Request::new(&request, connection) };
    let entry = shared.record.add(record);
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

/// The address of a URL's host if it is a loopback address.
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
        return answer::error(StatusCode::BAD_GATEWAY, "this proxy forwards only to loopback addresses");
    };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return answer::error(StatusCode::BAD_GATEWAY, format!("cannot reach {target}"));
    };
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            // Tunnels may be broken by either side.
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
