//! Container registries, AWS and Google on loopback, under their real host names, for testing the pipe.
//!
//! A `CONNECT` proxy leads every host name to one TLS server, whose certificates are issued by an authority made at
//! start. A client that is given the proxy as `HTTPS_PROXY` and the authority as `CA_CERT` meets
//! `sts.eu-west-1.amazonaws.com`, `sts.googleapis.com` or `ghcr.io` and needs no switch for tests. Every request is
//! recorded, and any of them can be made to go wrong.
//!
//! ```
//! use local_cloud::{Cloud, Fault, Image, Issuer};
//!
//! let cloud = Cloud::start()?;
//! let digest = cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &Image::index(&["linux/amd64", "linux/arm64"]));
//! // The role and the provider of Atlassian's guide.
//! let issuer = Issuer::bitbucket("acme");
//! cloud.aws().set_up(&issuer);
//! let ecr = cloud.registry("123456789012.dkr.ecr.eu-west-1.amazonaws.com");
//! ecr.put_image("etl", "1.0", &Image::oci("linux/amd64"));
//! // The second look at GHCR is one too many.
//! cloud.fault(Fault::on("HEAD", "/v2/").host("ghcr.io").nth(2).status(429).header("Retry-After", "1"));
//!
//! // … run the pipe with `HTTPS_PROXY={cloud.proxy_url()}` and `CA_CERT={cloud.ca_pem()}` …
//!
//! assert!(cloud.requests_to("sts.eu-west-1.amazonaws.com").is_empty());
//! assert!(digest.starts_with("sha256:"));
//! # Ok::<(), local_cloud::StartError>(())
//! ```
//!
//! Tunnels to loopback addresses lead there: a local gateway is reached as without a proxy.
//!
//! # Inside
//!
//! `cloud` starts server and proxy, both of the crate `local-gateway`, and finds who answers for a host. [`aws`] has STS
//! and the API of ECR over policy documents and signatures, [`google`] has STS and IAM Credentials over what `gcloud`
//! set up, [`registry`] the distribution API with its token services. `secret` remembers what was given out.
//! [`docker_registry`] starts a registry program of other people's making under a name of the cloud.

#![expect(clippy::result_large_err, reason = "a response that is copied once more costs a test nothing")]

pub mod aws;
mod cloud;
pub mod docker_registry;
pub mod google;
pub mod registry;
mod reply;
mod secret;

pub use aws::Aws;
pub use cloud::{Builder, Cloud};
pub use docker_registry::DockerRegistry;
pub use google::Google;
pub use local_gateway::{Fault, Issuer, Latch, Request, StartError};
pub use registry::{Challenges, Image, Quirk, Registry};

/// The audience of every step's token: the default workspace.
#[must_use]
pub fn audience() -> String {
    let uuid = local_gateway::issuer::WORKSPACE_UUID.trim_matches(['{', '}']);
    format!("ari:cloud:bitbucket::workspace/{uuid}")
}
