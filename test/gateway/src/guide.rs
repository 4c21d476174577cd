//! The resources of OpenFaaS' guide for Bitbucket Pipelines, with their placeholders filled in.
//!
//! <https://docs.openfaas.com/openfaas-pro/iam/bitbucket-federation/>

use crate::issuer::{Issuer, REPOSITORY_UUID};

/// The issuer, the two policies and their roles, as `test/iam/bitbucket-guide.yaml` has them.
const IAM: &str = include_str!("../../iam/bitbucket-guide.yaml");

/// What stands in the guide's placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guide {
    workspace: String,
    repository_uuid: String,
    gateway_url: String,
}

impl Guide {
    /// The guide for an issuer's workspace, its default repository, and a gateway.
    #[must_use]
    pub fn new(issuer: &Issuer, gateway_url: &str) -> Self {
        Self {
            workspace: issuer.workspace().to_owned(),
            repository_uuid: REPOSITORY_UUID.to_owned(),
            gateway_url: gateway_url.to_owned(),
        }
    }

    /// Another repository's UUID, with its braces.
    #[must_use]
    pub fn repository(mut self, uuid: &str) -> Self {
        uuid.clone_into(&mut self.repository_uuid);
        self
    }

    /// The guide's IAM resources.
    #[must_use]
    pub fn iam(&self) -> String {
        self.fill(IAM)
    }

    /// Any text with the guide's placeholders `WORKSPACE`, `{REPO_UUID}` and `https://gw.example.com`.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        text.replace("{REPO_UUID}", &self.repository_uuid)
            .replace("https://gw.example.com", &self.gateway_url)
            .replace("/WORKSPACE/", &format!("/{}/", self.workspace))
    }
}
