//! An HTTPS server for any host name, used to replace other services. It records requests and supports faults.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_LENGTH;

use crate::accept;
use crate::answer::Answer;
use crate::background::{self, Background};
use crate::body;
use crate::builder::StartError;
use crate::effect::{self, NoAnswer, Usual};
use crate::fault::{Fault, Faults};

use crate::life::Life;
use crate::record::{self, Record, Request};
use crate::tls::CertificateAuthority;
use crate::wire::Breaker;

/// The maximum size of a request.
const MAX_BODY: usize = 1024 * 1024;

/// A running server. Dropping it closes its connections.
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
    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.record.requests()
    }

    /// Clears the recorded requests.
    pub fn clear_requests(&self) {
        self.shared.record.clear();
    }

    /// Adds a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }
}

/// Starts a server on a free port of the loopback interface. It has a certificate for every name that a client asks
/// for.
///
/// # Errors
///
/// No port or no thread is available.
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
    let mut head = Request::new(&request, connection);
    let entry = shared.record.add(head.clone());
    let bytes = Limited::new(request.into_body(), MAX_BODY).collect().await.map_err(|_| NoAnswer)?.to_bytes();
    record::keep(&entry, &bytes);
    (head.body_length, head.body) = (bytes.len() as u64, bytes.to_vec());
    let fault = shared.faults.find(&head.host(), &head.method, &head.path, &head.body);
    let usual = |usual| {
        let (shared, request) = (&shared, &head);
        async move {
            match usual {
                Usual::Route(_) => (shared.answer)(request).map(body::full),
                Usual::Echo => effect::echo(request, request.body.clone().into()),
            }
        }
    };
    let answer = match fault {
        Some(fault) => effect::apply(fault, &breaker, &shared.life, usual).await?,
        None => usual(Usual::Route(None)).await,
    };
    record::answered(&entry, answer.status().as_u16());
    Ok(if head.method == "HEAD" { without_body(answer) } else { answer })
}

/// The response to `HEAD` instead of `GET` (RFC 9110 section 9.3.2).
fn without_body(answer: Answer) -> Answer {
    let (mut parts, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Answer::from_parts(parts, body::full(Bytes::new()))
}
