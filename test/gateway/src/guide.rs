//! The IAM resources of the OpenFaaS guide for Bitbucket Pipelines, with their placeholders filled in.
//!
//! <https://docs.openfaas.com/openfaas-pro/iam/bitbucket-federation/>

use crate::issuer::{Issuer, REPOSITORY_UUID};

/// The issuer, two policies and their roles in `test/iam/bitbucket-guide.yaml`.
const IAM: &str = include_str!("../../iam/bitbucket-guide.yaml");

/// The values of the guide's placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guide {
    workspace: String,
    repository_uuid: String,
    gateway_url: String,
}

impl Guide {
    /// The guide for the issuer's workspace, its default repository and a gateway.
    #[must_use]
    pub fn new(issuer: &Issuer, gateway_url: &str) -> Self {
        Self {
            workspace: issuer.workspace().to_owned(),
            repository_uuid: REPOSITORY_UUID.to_owned(),
            gateway_url: gateway_url.to_owned(),
        }
    }

    /// The IAM resources of the guide.
    #[must_use]
    pub fn iam(&self) -> String {
        self.fill(IAM)
    }

    /// Fills in the guide's placeholders `WORKSPACE`, `{REPO_UUID}` and `https://gw.example.com` in a text.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        text.replace("{REPO_UUID}", &self.repository_uuid)
            .replace("https://gw.example.com", &self.gateway_url)
            .replace("/WORKSPACE/", &format!("/{}/", self.workspace))
    }
}
