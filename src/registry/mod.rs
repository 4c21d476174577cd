//! Images in their registries: whether they exist, with which digest and platforms; and the credentials for that, which
//! AWS and Google exchange for the step's token.

mod aws;
mod challenge;
mod client;
mod clock;
mod credentials;
mod error;
mod explain;
mod google;
mod login;
mod manifest;
mod step;
mod transport;

pub(crate) use aws::{
    EcrHost, RoleArn, claims_table as aws_claims_table, create_provider as create_aws_provider, pull_policy,
    trust_policy, trust_proposal,
};
pub(crate) use client::{Found, Registries};
pub(crate) use clock::readable;
pub(crate) use credentials::{CredentialSource, DockerAuthConfig, RegistryCredentials, wanted as wanted_credentials};
pub(crate) use google::{
    ArtifactRepository, ServiceAccount, WorkloadIdentityProvider, claims_table as google_claims_table, commands,
};
pub(crate) use login::RegistryLogin;
pub(crate) use manifest::Platform;
pub(crate) use step::Step;
pub(crate) use transport::Http;
