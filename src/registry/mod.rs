//! Images in their registries: whether they exist, with which digest and platforms; and the credentials for that.

mod challenge;
mod client;
mod credentials;
mod docker_auth;
mod explain;
mod manifest;

pub(crate) use client::{FoundImage, Registries, SignedIn};
pub(crate) use credentials::{CredentialSource, RegistryCredentials, wanted as wanted_credentials};
pub(crate) use docker_auth::DockerAuthConfig;
pub(crate) use manifest::{Platform, list as platform_list};
