//! An OpenFaaS gateway on loopback, to try out, test and measure the pipe.
//!
//! It enforces the users' own IAM resources, exchanges tokens, deploys, updates and deletes functions that become
//! available after a delay, stores secrets and namespaces, invokes a few built-in functions, and guards them like the
//! watchdog. Every request is recorded, and every request can be made to fail.
//!
//! ```
//! use local_gateway::{Fault, Gateway, Issuer};
//!
//! let issuer = Issuer::bitbucket("acme");
//! // The IAM resources of the OpenFaaS guide for Bitbucket, and the trust in the workspace's tokens.
//! let gateway = Gateway::builder().guide(&issuer).start()?;
//! // The `BITBUCKET_STEP_OIDC_TOKEN` of a step with the gateway as custom audience.
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
//! The API is blocking: [`Gateway`], [`relay`], [`proxy`], [`raw`] and [`server`] run in threads of their own, and stop
//! when their handles are dropped. Keys are created at start.
//!
//! # Layout
//!
//! `builder` sets everything up, `gateway` is the handle, `accept` serves connections, `serve` passes a request through
//! record and [`Fault`]s to `rest` (the API, with `deploy` over `functions`, `flavour` and `validate`, `secrets` and
//! `namespaces`), `invoke` (the built-in functions) or `token` (the exchange, over `iam`). `wire` breaks connections, `body` creates unusual bodies, [`issuer`] replaces
//! Bitbucket.
//!
//! # Built-in functions
//!
//! The annotation `local-gateway/function`, then the image name, then the function name selects a function:
//!
//! | name | response |
//! |---|---|
//! | `echo` (and any other) | the body, streamed, with its content type |
//! | `echo-json` | `method`, `path`, `query`, `headers` and `body` as JSON |
//! | `import-csv` | the body, like the Python function of the guide |
//! | `status` | query `status`, `body`, `location` and `delay` (`500ms`) |
//! | `sink` | `bytes` and `sha256` of the body as JSON, in constant memory |
//! | `source` | as many bytes as the query's `bytes`, in constant memory |

mod accept;
mod answer;
mod background;
mod body;
mod builder;
mod deploy;
mod effect;
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
mod namespaces;
pub mod proxy;
pub mod raw;
mod record;
pub mod relay;
mod rest;
mod secrets;
mod serve;
pub mod server;
mod tls;
mod token;
mod validate;
mod wire;

pub use background::wait_for_signal;
pub use builder::{Builder, StartError};
pub use fault::{Fault, Latch};
pub use flavour::Flavour;
pub use functions::{DEFAULT_NAMESPACE, FunctionState, Ready};
pub use gateway::Gateway;
pub use guide::Guide;
pub use hyper::{HeaderMap, Version};
pub use iam::{IamError, parse_duration};
pub use issuer::{Issuer, TokenBuilder, Unverified};
pub use jwt::Claims;
pub use namespaces::NamespaceState;
pub use record::Request;
pub use secrets::SecretState;
pub use tls::{Certificate, CertificateAuthority, Issued, client_config};
pub use token::ExpiresIn;

/// A random password, for a program that is started by hand.
#[must_use]
pub fn random_password() -> String {
    jwt::uuid()
}
