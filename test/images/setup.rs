//! Shared by the tests of images.

use local_cloud::{Cloud, Image};
use local_gateway::Gateway;

use crate::support::{Pipe, Ran, changes, one_audience, stack_of, step_in};

pub(super) const GHCR: &str = "ghcr.io";
pub(super) const HUB: &str = "registry-1.docker.io";
/// A generic registry.
pub(super) const OTHER: &str = "registry.example.com";
/// The image that most tests deploy.
pub(super) const IMAGE: &str = "ghcr.io/acme/etl:1.0";

/// A gateway that permits everything, and a cloud.
pub(super) struct Setup {
    pub(super) gateway: Gateway,
    pub(super) cloud: Cloud,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self { gateway: one_audience(), cloud: Cloud::start().expect("cannot start cloud") }
    }

    /// With [`IMAGE`], an index of two platforms. Also returns its digest.
    pub(super) fn with_image() -> (Self, String) {
        let setup = Self::new();
        let image = Image::index(&["linux/amd64", "linux/arm64"]);
        let digest = setup.cloud.registry(GHCR).put_image("acme/etl", "1.0", &image);
        (setup, digest)
    }

    /// A deploy of functions `f0`, `f1`, … with these images.
    pub(super) fn deploy(&self, images: &[&str]) -> Pipe {
        step_in(&self.cloud, &self.gateway).stack(&stack_of(images))
    }

    pub(super) fn check(&self, images: &[&str]) -> Pipe {
        self.deploy(images).var("CHECK_IMAGES", "true")
    }

    pub(super) fn pin(&self, images: &[&str]) -> Pipe {
        self.deploy(images).var("PIN_IMAGES", "true")
    }

    /// The image that was sent to the gateway for a function.
    pub(super) fn deployed(&self, name: &str) -> Option<String> {
        let requests = self.gateway.requests();
        let bodies =
            requests.iter().filter(|request| request.path == "/system/functions").map(|request| request.json());
        let body = bodies.into_iter().find(|body| body["service"] == name)?;
        body["image"].as_str().map(str::to_owned)
    }

    /// The requests for manifests, as `METHOD PATH`.
    pub(super) fn manifests(&self) -> Vec<String> {
        let requests = self.cloud.requests().into_iter().filter(|request| request.path.contains("/manifests/"));
        requests.map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    /// Checks that nothing was deployed.
    #[track_caller]
    pub(super) fn assert_unchanged(&self) {
        assert_eq!(changes(&self.gateway), []);
    }
}

/// The lines of a level and the hints below them, scrubbed.
fn lines(ran: &Ran, level: &str) -> String {
    let log = ran.scrubbed();
    let mut wanted = false;
    let mut lines = Vec::new();
    for line in log.lines() {
        wanted = line.starts_with(level) || wanted && line.starts_with("  ");
        if wanted {
            lines.push(line);
        }
    }
    assert!(!lines.is_empty(), "no {level} in\n{log}");
    lines.join("\n")
}

pub(super) fn errors(ran: &Ran) -> String {
    lines(ran, "ERROR: ")
}

pub(super) fn warnings(ran: &Ran) -> String {
    lines(ran, "WARNING: ")
}
