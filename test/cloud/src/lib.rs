//! Container registries, AWS and Google on loopback, under their real host names, to test the pipe.
//!
//! A `CONNECT` proxy resolves all host names to one TLS server. Its certificates are issued by an authority created at
//! start. With the proxy as `HTTPS_PROXY` and the authority as `CA_CERT`, a client connects to
//! `sts.eu-west-1.amazonaws.com`, `sts.googleapis.com` or `ghcr.io` without any test mode. Every request is recorded,
//! and every request can be made to fail.
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
//! // The second request to GHCR hits a rate limit.
//! cloud.fault(Fault::on("HEAD", "/v2/").host("ghcr.io").nth(2).status(429).header("Retry-After", "1"));
//!
//! // … run the pipe with `HTTPS_PROXY={cloud.proxy_url()}` and `CA_CERT={cloud.ca_pem()}` …
//!
//! assert!(cloud.requests_to("sts.eu-west-1.amazonaws.com").is_empty());
//! assert!(digest.starts_with("sha256:"));
//! # Ok::<(), local_cloud::StartError>(())
//! ```
//!
//! Tunnels to loopback addresses are forwarded, so that a local gateway can be used as without a proxy.
//!
//! # Layout
//!
//! `cloud` starts server and proxy, both from the crate `local-gateway`, and routes requests by host. [`aws`] has STS
//! and the ECR API with policy documents and signatures, [`google`] has STS and IAM Credentials, set up with `gcloud`
//! commands, and [`registry`] the distribution API with token services. `secret` remembers all secrets.
//! [`docker_registry`] starts a real registry program with a host name of the cloud.

#![expect(clippy::result_large_err, reason = "copying a response is cheap enough for a test")]

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

/// The audience of all step tokens: the default workspace.
#[must_use]
pub fn audience() -> String {
    let uuid = local_gateway::issuer::WORKSPACE_UUID.trim_matches(['{', '}']);
    format!("ari:cloud:bitbucket::workspace/{uuid}")
}
