//! An HTTPS server under any name, for stand-ins of other services: it records requests and lets faults strike them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_LENGTH;

use crate::accept;
use crate::answer::Answer;
use crate::background::{self, Background};
use crate::body;
use crate::fault::{Fault, Faults};
use crate::gateway::StartError;
use crate::life::Life;
use crate::record::{self, Record, Request};
use crate::serve::Head;
use crate::strike::{self, NoAnswer, Usual};
use crate::tls::CertificateAuthority;
use crate::wire::Breaker;

/// The most a request may hold.
const MAX_BODY: usize = 1024 * 1024;

/// A running server; dropping it closes its connections.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    _background: Background,
}

type Responder = dyn Fn(&Request) -> Response<Bytes> + Send + Sync;

struct Shared {
    record: Record,
    faults: Faults,
    life: Arc<Life>,
    answer: Box<Responder>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, in the order in which they arrived.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.record.requests()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.record.clear();
    }

    /// Makes something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// Takes every fault back.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }
}

/// Starts a server on a free port of the loopback that shows a certificate for whatever name a client asks for.
///
/// # Errors
///
/// No port is free, or no thread to be had.
pub fn start(
    authority: Arc<CertificateAuthority>,
    http2: bool,
    answer: impl Fn(&Request) -> Response<Bytes> + Send + Sync + 'static,
) -> Result<Server, StartError> {
    let config = authority.for_any_name(http2).map_err(|error| StartError::Certificate(error.to_string()))?;
    let listen = |source: io::Error| StartError::Listen { address: ([127, 0, 0, 1], 0).into(), source };
    let (listener, address) = background::listen().map_err(listen)?;
    let life = Arc::<Life>::default();
    let shared = Arc::new(Shared {
        record: Record::default(),
        faults: Faults::default(),
        life: Arc::clone(&life),
        answer: Box::new(answer),
    });
    let serving = Arc::clone(&shared);
    let answer = move |breaker, connection, incoming| request(Arc::clone(&serving), breaker, connection, incoming);
    let run = move || accept::run(listener, Some(config), http2, life, answer);
    Ok(Server { address, shared, _background: Background::start("server", run).map_err(listen)? })
}

async fn request(
    shared: Arc<Shared>,
    breaker: Arc<Breaker>,
    connection: u64,
    request: hyper::Request<Incoming>,
) -> Result<Answer, NoAnswer> {
    let arrived = Instant::now();
    let (parts, incoming) = request.into_parts();
    let mut request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: record::headers(&parts),
        body: Vec::new(),
        body_length: 0,
        version: parts.version,
        connection,
        arrived,
        status: None,
    };
    let entry = shared.record.add(request.clone());
    let host = request.host();
    let mut struck = shared.faults.strike(&host, &request.method, &request.path, None);
    if struck.is_none() {
        let bytes = Limited::new(incoming, MAX_BODY).collect().await.map_err(|_| NoAnswer)?.to_bytes();
        record::keep(&entry, &bytes);
        (request.body_length, request.body) = (bytes.len() as u64, bytes.to_vec());
        struck = shared.faults.strike(&host, &request.method, &request.path, Some(&request.body));
    }
    let usual = |usual| {
        let (shared, request) = (&shared, &request);
        async move {
            match usual {
                Usual::Route => (shared.answer)(request).map(body::full),
                Usual::Echo => strike::echo(&Head::of(request), request.body.clone().into()),
            }
        }
    };
    let answer = match struck {
        Some(fault) => strike::strike(fault, &breaker, &shared.life, usual).await?,
        None => usual(Usual::Route).await,
    };
    record::answered(&entry, answer.status().as_u16());
    Ok(if request.method == "HEAD" { without_body(answer) } else { answer })
}

/// What `HEAD` returns in place of a response to `GET` (RFC 9110 section 9.3.2).
fn without_body(answer: Answer) -> Answer {
    let (mut parts, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Answer::from_parts(parts, body::full(Bytes::new()))
}
