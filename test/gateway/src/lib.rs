//! An OpenFaaS gateway on loopback, for trying, testing and measuring the pipe.
//!
//! It enforces the users' own IAM resources, exchanges tokens, deploys, updates and removes functions that take their
//! time to become available, invokes a few built-in ones, and guards them as the watchdog does. Every request is
//! recorded, and any of them can be made to go wrong.
//!
//! ```
//! use local_gateway::{Fault, Gateway, Issuer};
//!
//! let issuer = Issuer::bitbucket("acme");
//! // The resources of OpenFaaS' guide for Bitbucket, and the trust in that workspace's tokens.
//! let gateway = Gateway::builder().guide(&issuer).start()?;
//! // `BITBUCKET_STEP_OIDC_TOKEN` of a step with the gateway as custom audience.
//! let token = issuer.token().audience(gateway.public_url()).mint();
//! // The second deployment fails once.
//! gateway.fault(Fault::on("PUT", "/system/functions").nth(2).status(503).header("Retry-After", "1"));
//!
//! // … run the pipe with `OPENFAAS_URL={gateway.url()}` …
//!
//! assert!(gateway.requests().iter().all(|request| request.header("authorization").is_none()));
//! assert!(gateway.function("etl", "import-csv").is_none());
//! # drop(token);
//! # Ok::<(), local_gateway::StartError>(())
//! ```
//!
//! Everything is blocking on the outside: [`Gateway`], [`relay`], [`proxy`], [`raw`] and [`server`] run in threads of
//! their own, and end when their handles are dropped. Keys are made at start.
//!
//! # Inside
//!
//! `gateway` sets it up, `accept` serves connections, `serve` takes a request through record and [`Fault`]s to `rest`
//! (the API, with `deploy` over `functions`, `flavour` and `validate`), `invoke` (over the built-in functions) or `token` (the exchange, over
//! `iam`). `wire` breaks connections, `body` makes strange bodies, [`issuer`] stands in for Bitbucket.
//!
//! # Built-in functions
//!
//! The annotation `local-gateway/function`, else the image's name, else the function's says which one answers:
//!
//! | name | answer |
//! |---|---|
//! | `echo` (and any other) | the body, streamed, with its content type |
//! | `echo-json` | `method`, `path`, `query`, `headers` and `body` as JSON |
//! | `import-csv` | the body, as the Python function of the guide returns it |
//! | `status` | query `status`, `body`, `location` and `delay` (`500ms`) |
//! | `sink` | `bytes` and `sha256` of the body as JSON, in constant memory |
//! | `source` | as many bytes as the query `bytes` says, in constant memory |

mod accept;
mod answer;
mod background;
mod body;
mod deploy;
mod fault;
mod flavour;
mod functions;
mod gateway;
mod guide;
mod iam;
mod invoke;
pub mod issuer;
mod jwt;
mod life;
pub mod proxy;
pub mod raw;
mod record;
pub mod relay;
mod rest;
mod serve;
pub mod server;
mod strike;
mod tls;
mod token;
mod validate;
mod wire;

pub use fault::{Fault, Latch};
pub use flavour::Flavour;
pub use functions::{DEFAULT_NAMESPACE, FunctionState, Ready};
pub use gateway::{Builder, Gateway, StartError};
pub use guide::Guide;
pub use hyper::{HeaderMap, Version};
pub use iam::{IamError, parse_duration};
pub use issuer::{Issuer, TokenBuilder, Unverified};
pub use jwt::Claims;
pub use record::Request;
pub use tls::{Certificate, CertificateAuthority, Issued};
pub use token::ExpiresIn;

/// A password that nobody guesses, for a program that is started by hand.
#[must_use]
pub fn random_password() -> String {
    jwt::uuid()
}
