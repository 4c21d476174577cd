//! Connections: one alone until it is known what the server speaks; for HTTP/1.1 the others while the token is exchanged.
//!
//! Left to itself the client opens a connection for each request that finds none. Where the server speaks HTTP/2, all but
//! one of them are of no use; where it speaks HTTP/1.1, they begin only after the exchange, which costs two or three round
//! trips.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{self, Ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::Connection;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

type BoxError = Box<dyn StdError + Send + Sync>;
type Connecting<C> = Pin<Box<dyn Future<Output = Result<C, BoxError>> + Send>>;

/// What the server's first connection said that it speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Unknown,
    Http1,
    Http2,
}

/// What the connections to one gateway share.
struct Shared<C> {
    /// Held while a connection is made from which others may learn.
    protocol: tokio::sync::Mutex<Protocol>,
    /// Connections that no request has taken yet, ready or on their way.
    ahead: Mutex<VecDeque<JoinHandle<Result<C, BoxError>>>>,
    /// Told once it is known that connections can be made ahead.
    http1: Arc<Notify>,
}

/// Makes the connections of a client.
struct Connect<C>(Arc<Shared<C>>);

/// Makes connections for another client, and none for its own.
struct ConnectAhead<C>(Arc<Shared<C>>);

/// Opens connections that [`client`]'s requests will need.
pub(super) struct Opener {
    /// Each of its requests ends before it is sent, and leaves a connection to the other client.
    client: reqwest::Client,
    http1: Arc<Notify>,
}

/// A client for one server, and what opens further connections for it.
pub(super) fn client(builder: impl Fn() -> reqwest::ClientBuilder) -> reqwest::Result<(reqwest::Client, Opener)> {
    let http1 = Arc::new(Notify::new());
    let shared = Arc::new(Shared {
        protocol: tokio::sync::Mutex::new(Protocol::Unknown),
        ahead: Mutex::default(),
        http1: Arc::clone(&http1),
    });
    let client = builder().connector_layer(Connect(Arc::clone(&shared))).build()?;
    let opener = builder().connector_layer(ConnectAhead(shared)).build()?;
    Ok((client, Opener { client: opener, http1 }))
}

impl Opener {
    /// Opens so many connections to the server of `url` once its first one turns out to speak HTTP/1.1; sends nothing over
    /// them. Never ends, and is dropped where no more connections are wanted.
    pub(super) async fn open(&self, url: &Url, count: usize) -> Infallible {
        self.http1.notified().await;
        for _ in 0..count {
            // Always an error, which is what keeps the request from being sent.
            let _ = self.client.get(url.clone()).send().await;
        }
        future::pending().await
    }
}

impl<C> Shared<C> {
    fn ahead(&self) -> std::sync::MutexGuard<'_, VecDeque<JoinHandle<Result<C, BoxError>>>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a connection for a request.
    async fn connect(&self, make: impl Future<Output = Result<C, BoxError>>) -> Result<C, BoxError>
    where
        C: Connection,
    {
        let ahead = self.ahead().pop_front();
        if let Some(connecting) = ahead {
            return connecting.await?;
        }
        let (mut protocol, waited) = match self.protocol.try_lock() {
            Ok(protocol) => (protocol, false),
            Err(_) => (self.protocol.lock().await, true),
        };
        match *protocol {
            Protocol::Http1 => {
                drop(protocol);
                return make.await;
            }
            Protocol::Http2 if waited => {
                // The client's pool hands that connection to whoever waits; this one is not needed, nor an error.
                drop(protocol);
                return future::pending().await;
            }
            Protocol::Http2 | Protocol::Unknown => {}
        }
        let connection = make.await?;
        if connection.connected().is_negotiated_h2() {
            *protocol = Protocol::Http2;
        } else {
            *protocol = Protocol::Http1;
            self.http1.notify_one();
        }
        Ok(connection)
    }
}

/// The connector within, asked as `tower` wants it: the one that said it is ready takes the call.
fn ready<S: Clone>(inner: &mut S) -> S {
    let clone = inner.clone();
    std::mem::replace(inner, clone)
}

/// A connector with one of the two ways to use it.
struct Connector<S, W> {
    inner: S,
    way: W,
}

impl<S: Clone, W: Clone> Clone for Connector<S, W> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), way: self.way.clone() }
    }
}

impl<C> Clone for Connect<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Clone for ConnectAhead<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, C> Layer<S> for Connect<C> {
    type Service = Connector<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Connector { inner, way: self.clone() }
    }
}

impl<S, C> Layer<S> for ConnectAhead<C> {
    type Service = Connector<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Connector { inner, way: self.clone() }
    }
}

impl<S, D, C> Service<D> for Connector<S, Connect<C>>
where
    S: Service<D, Response = C, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    D: Send + 'static,
    C: Connection + Send + 'static,
{
    type Response = C;
    type Error = BoxError;
    type Future = Connecting<C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, destination: D) -> Connecting<C> {
        let mut inner = ready(&mut self.inner);
        let shared = Arc::clone(&self.way.0);
        Box::pin(async move { shared.connect(async { inner.call(destination).await }).await })
    }
}

impl<S, D, C> Service<D> for Connector<S, ConnectAhead<C>>
where
    S: Service<D, Response = C, Error = BoxError> + Clone,
    S::Future: Send + 'static,
    C: Send + 'static,
{
    type Response = C;
    type Error = BoxError;
    type Future = Ready<Result<C, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, destination: D) -> Self::Future {
        let connecting = tokio::spawn(ready(&mut self.inner).call(destination));
        self.way.0.ahead().push_back(connecting);
        future::ready(Err("the connection is for another request".into()))
    }
}
