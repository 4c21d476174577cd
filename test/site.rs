//! The gateway and the files for a benchmark run.

use std::fmt::Write as _;
use std::time::Duration;

use local_cloud::{Cloud, Image};
use local_gateway::relay::{self, Relay};
use local_gateway::{Builder, Gateway, Issuer};
use serde_json::json;
use tempfile::TempDir;

/// The name of the gateway's thread.
pub(crate) const GATEWAY_THREAD: &str = "local-gateway";
/// Credentials that the gateway accepts in addition to tokens.
pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "benchmark";

/// The registry that has the images.
pub(crate) const REGISTRY: &str = "registry.example.com";

/// The protocol of the gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Tls1,
    Tls2,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::Http1, Self::Tls1, Self::Tls2];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Tls1 => "tls-http1",
            Self::Tls2 => "tls-h2",
        }
    }
}

/// A gateway behind a relay that adds latency.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    /// A cloud with the registry [`REGISTRY`], with the same latency.
    pub(crate) cloud: Cloud,
    _relay: Option<Relay>,
    pub(crate) url: String,
    token: String,
}

impl Site {
    /// `set` adds to the options of the gateway.
    pub(crate) fn new(protocol: Protocol, rtt: u32, set: impl FnOnce(Builder) -> Builder) -> anyhow::Result<Self> {
        let issuer = Issuer::bitbucket("acme");
        let iam = include_str!("iam/everything.yaml");
        let mut builder = Gateway::builder().iam_yaml(iam).public_url("https://gw.example.com").issuer(&issuer);
        builder = builder.record(false).basic_auth(USER, PASSWORD);
        if protocol != Protocol::Http1 {
            builder = builder.tls();
        }
        if protocol != Protocol::Tls2 {
            builder = builder.http1_only();
        }
        let gateway = set(builder).start()?;
        let delay = Duration::from_millis(rtt.into());
        let relay = (rtt > 0).then(|| relay::start(gateway.address(), delay)).transpose()?;
        let address = relay.as_ref().map_or(gateway.address(), Relay::address);
        let scheme = if protocol == Protocol::Http1 { "http" } else { "https" };
        let token = issuer.token().audience(gateway.public_url()).mint();
        let cloud = Cloud::builder().round_trip(delay).start()?;
        cloud.registry(REGISTRY).use_no_auth();
        Ok(Self { gateway, cloud, _relay: relay, url: format!("{scheme}://{address}"), token })
    }

    /// Writes a stack file. With `put`, its functions exist already.
    pub(crate) fn deployable(&self, functions: usize, prefix: &str, put: bool, dir: &TempDir) -> anyhow::Result<()> {
        // The functions share one mapping, so that ten thousand of them fit into the size limit.
        let mut stack = String::from(
            "version: 1.0\nprovider:\n  name: openfaas\nshared: &shared\n  lang: dockerfile\n  handler: ./handler\n  \
             namespace: etl\n  environment:\n    write_timeout: 30s\n  labels:\n    team: data\n  \
             secrets: [database]\nfunctions:\n",
        );
        for number in 0..functions {
            let name = format!("{prefix}-{number:05}");
            writeln!(stack, "  {name}:\n    <<: *shared\n    image: {REGISTRY}/team/{name}:1.2.3")?;
            if put {
                self.gateway.put_function(&json!({
                    "service": name, "namespace": "etl", "image": "example/echo:1", "labels": {}, "annotations": {},
                }));
            }
        }
        std::fs::write(dir.path().join("stack.yml"), stack)?;
        Ok(())
    }

    /// Pushes the images of the functions of [`Site::deployable`] to the registry.
    pub(crate) fn push(&self, functions: usize, prefix: &str) {
        for number in 0..functions {
            let name = format!("team/{prefix}-{number:05}");
            self.cloud.registry(REGISTRY).put_image(&name, "1.2.3", &Image::oci("linux/amd64"));
        }
    }

    /// The variables of a run in this directory.
    pub(crate) fn variables(&self, dir: &TempDir) -> Vec<(String, String)> {
        let mut variables = vec![
            ("OPENFAAS_URL", self.url.clone()),
            ("BITBUCKET_STEP_OIDC_TOKEN", self.token.clone()),
            ("BITBUCKET_CLONE_DIR", dir.path().display().to_string()),
        ];
        if !self.gateway.ca_pem().is_empty() {
            variables.push(("CA_CERT", self.gateway.ca_pem().to_owned()));
        }
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
