//! The two steps of the OpenFaaS guide for Bitbucket, for the demo and the pictures.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use local_gateway::{Gateway, Issuer};
use tempfile::TempDir;

/// The variables of a step, in addition to those that Bitbucket sets.
pub(crate) type Step = &'static [(&'static str, &'static str)];

/// Deploy, then invoke.
pub(crate) const STEPS: [Step; 2] = [
    &[("STACK_FILE", "stack.yml")],
    &[
        ("COMMAND", "invoke"),
        ("FUNCTION", "import-csv"),
        ("OPENFAAS_NAMESPACE", "etl"),
        ("PAYLOAD_FILE", "data.csv"),
        ("CONTENT_TYPE", "text/csv"),
    ],
];

/// A gateway and a clone.
pub(crate) struct Guide {
    gateway: Gateway,
    token: String,
    clone: TempDir,
    pipe: PathBuf,
}

impl Guide {
    /// Starts the gateway, mints the step's token, and writes the guide's files into a clone.
    pub(crate) fn start(pipe: PathBuf) -> anyhow::Result<Self> {
        let issuer = Issuer::bitbucket("acme");
        let gateway = Gateway::builder().guide(&issuer).start()?;
        let token = issuer.token().audience(gateway.public_url()).mint();
        let clone = tempfile::tempdir()?;
        fs::write(clone.path().join("stack.yml"), include_str!("stacks/import-csv/stack.yml"))?;
        fs::write(clone.path().join("data.csv"), include_str!("stacks/import-csv/data.csv"))?;
        Ok(Self { gateway, token, clone, pipe })
    }

    /// The gateway's URL.
    pub(crate) fn url(&self) -> &str {
        self.gateway.url()
    }

    /// The command that runs the pipe as Bitbucket does.
    pub(crate) fn command(&self, variables: Step) -> Command {
        let mut command = Command::new(&self.pipe);
        command
            .env_clear()
            .env("OPENFAAS_URL", self.url())
            .env("BITBUCKET_STEP_OIDC_TOKEN", &self.token)
            .env("BITBUCKET_CLONE_DIR", self.clone.path())
            .envs(variables.iter().copied())
            .current_dir(self.clone.path());
        command
    }
}
