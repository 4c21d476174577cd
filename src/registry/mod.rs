//! Images in their registries: whether they exist, with which digest and platforms; and the credentials for that, which a registry
//! gets by its host, which must match in full.

mod challenge;
mod client;
mod docker_auth;
mod explain;
mod manifest;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use client::{FoundImage, Registries, SignedIn};
pub(crate) use docker_auth::DockerAuthConfig;
pub(crate) use manifest::{Platform, list as platform_list};

use crate::cloud::RegistryLogin;
use crate::cloud::aws::{EcrHost, RoleArn};
use crate::cloud::google::{ServiceAccount, WorkloadIdentityProvider, is_google};
use crate::console::log;
use crate::function::image::Host;

/// More hosts are not listed in a warning.
const MOST_HOSTS: usize = 5;

/// All credentials that the variables name.
#[derive(Debug, Default)]
pub(crate) struct RegistryCredentials {
    /// `DOCKER_AUTH_CONFIG`.
    pub(crate) docker: DockerAuthConfig,
    /// `REGISTRY_HOST`, with `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`.
    pub(crate) registry: Option<(Host, Arc<RegistryLogin>)>,
    /// `AWS_OIDC_ROLE_ARN`.
    pub(crate) aws: Option<RoleArn>,
    /// `GCP_WORKLOAD_IDENTITY_PROVIDER`, and `GCP_SERVICE_ACCOUNT`.
    pub(crate) google: Option<(WorkloadIdentityProvider, Option<ServiceAccount>)>,
}

/// Where the credentials for one registry come from.
#[derive(Debug)]
pub(crate) enum CredentialSource<'a> {
    DockerAuthConfig(&'a Arc<RegistryLogin>),
    Variables(&'a Arc<RegistryLogin>),
    Aws(EcrHost, &'a RoleArn),
    Google(&'a WorkloadIdentityProvider, Option<&'a ServiceAccount>),
    Anonymous,
}

impl RegistryCredentials {
    /// The first that applies to a host.
    pub(crate) fn of(&self, host: &Host) -> CredentialSource<'_> {
        if let Some(login) = self.docker.login(host) {
            return CredentialSource::DockerAuthConfig(login);
        }
        if let Some((named, login)) = &self.registry
            && named == host
        {
            return CredentialSource::Variables(login);
        }
        if let Some((role, ecr)) = self.aws.as_ref().zip(EcrHost::of(host)) {
            return CredentialSource::Aws(ecr, role);
        }
        match &self.google {
            Some((provider, account)) if is_google(host) => CredentialSource::Google(provider, account.as_ref()),
            _ => CredentialSource::Anonymous,
        }
    }
}

impl RegistryCredentials {
    /// Warnings about credentials of which none is for any of these hosts of images.
    pub(crate) fn unused(&self, hosts: &BTreeSet<Host>) -> Vec<String> {
        if hosts.iter().any(|host| !matches!(self.of(host), CredentialSource::Anonymous)) {
            return Vec::new();
        }
        let registry = self.registry.as_ref().map(|(host, _)| format!("`REGISTRY_USERNAME` is for `{host}`"));
        let is_empty = self.docker.is_set && self.docker.helpers.is_empty();
        let unused = [
            registry,
            is_empty.then(|| "`DOCKER_AUTH_CONFIG` has no login for it".to_owned()),
            self.aws.as_ref().map(|_| "`AWS_OIDC_ROLE_ARN` is for Amazon ECR".to_owned()),
            self.google.as_ref().map(|_| "`GCP_WORKLOAD_IDENTITY_PROVIDER` is for Artifact Registry".to_owned()),
        ];
        let names = log::names(hosts.iter().map(Host::as_str), MOST_HOSTS);
        let wanted = hosts.first().map(wanted_credentials).unwrap_or_default();
        unused
            .into_iter()
            .flatten()
            .map(|unused| format!("the images are in {names}, but {unused}: set {wanted}"))
            .collect()
    }
}

/// The variables that would help if a registry refuses, as the end of a hint.
pub(crate) fn wanted_credentials(host: &Host) -> String {
    if EcrHost::of(host).is_some() {
        "`AWS_OIDC_ROLE_ARN`, a role that the step's token may assume and that may pull the image".to_owned()
    } else if is_google(host) {
        "`GCP_WORKLOAD_IDENTITY_PROVIDER`, a provider that accepts the step's token".to_owned()
    } else if host.is_docker_hub() {
        "`REGISTRY_USERNAME` and `REGISTRY_PASSWORD` for Docker Hub".to_owned()
    } else {
        format!("`REGISTRY_HOST: {host}`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn first_source_that_applies_wins() {
        let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        let auths = format!(
            r#"{{"auths":{{"ghcr.io":{{"username":"u","password":"from-config"}},"{ecr}":{{"username":"AWS","password":"from-config"}}}}}}"#
        );
        let all = |docker: &str, named: &str| RegistryCredentials {
            docker: DockerAuthConfig::parse(docker).unwrap(),
            registry: Some((host(named), Arc::new(RegistryLogin::new("u", "from-variables")))),
            aws: RoleArn::parse("arn:aws:iam::123456789012:role/pipe").ok(),
            google: WorkloadIdentityProvider::parse("projects/1/locations/global/workloadIdentityPools/p/providers/q")
                .ok()
                .map(|provider| (provider, None)),
        };
        let source = |credentials: &RegistryCredentials, at: &str| match credentials.of(&host(at)) {
            CredentialSource::DockerAuthConfig(_) => "config",
            CredentialSource::Variables(_) => "variables",
            CredentialSource::Aws(..) => "aws",
            CredentialSource::Google(..) => "google",
            CredentialSource::Anonymous => "anonymous",
        };
        let empty = r#"{"auths":{}}"#;
        for (credentials, at, expected) in [
            (all(&auths, "ghcr.io"), "ghcr.io", "config"),
            (all(empty, "ghcr.io"), "ghcr.io", "variables"),
            (all(empty, "docker.io"), "docker.io", "variables"),
            (all(&auths, "ghcr.io"), "docker.io", "anonymous"),
            (all(&auths, ecr), ecr, "config"),
            (all(empty, ecr), ecr, "variables"),
            (all(empty, "ghcr.io"), ecr, "aws"),
            (all(empty, "ghcr.io"), "public.ecr.aws", "anonymous"),
            (all(empty, "ghcr.io"), "europe-docker.pkg.dev", "google"),
            (all(empty, "europe-docker.pkg.dev"), "europe-docker.pkg.dev", "variables"),
            (all(empty, "ghcr.io"), "eu.gcr.io", "google"),
            (all(empty, "ghcr.io"), "quay.io", "anonymous"),
        ] {
            assert_eq!(source(&credentials, at), expected, "{at}");
        }
        for at in [ecr, "ghcr.io", "gcr.io"] {
            assert_eq!(source(&RegistryCredentials::default(), at), "anonymous", "{at}");
        }
    }

    #[test]
    fn credentials_that_no_image_needs_are_named() {
        let credentials = RegistryCredentials {
            docker: DockerAuthConfig::parse(r#"{"auths":{"ghcr.io":{}}}"#).unwrap(),
            registry: Some((host("docker.io"), Arc::new(RegistryLogin::new("u", "from-variables")))),
            aws: RoleArn::parse("arn:aws:iam::123456789012:role/pipe").ok(),
            google: WorkloadIdentityProvider::parse("projects/1/locations/global/workloadIdentityPools/p/providers/q")
                .ok()
                .map(|provider| (provider, None)),
        };
        insta::assert_snapshot!(credentials.unused(&BTreeSet::from([host("ghcr.io")])).join("\n"), @"
        the images are in `ghcr.io`, but `REGISTRY_USERNAME` is for `docker.io`: set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
        the images are in `ghcr.io`, but `DOCKER_AUTH_CONFIG` has no login for it: set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
        the images are in `ghcr.io`, but `AWS_OIDC_ROLE_ARN` is for Amazon ECR: set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
        the images are in `ghcr.io`, but `GCP_WORKLOAD_IDENTITY_PROVIDER` is for Artifact Registry: set `REGISTRY_HOST: ghcr.io`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`
        ");
        // One that fits is enough: variables may be shared by several steps.
        let used = BTreeSet::from([host("ghcr.io"), host("docker.io")]);
        assert_eq!(credentials.unused(&used), [""; 0]);
        assert_eq!(RegistryCredentials::default().unused(&BTreeSet::from([host("ghcr.io")])), [""; 0]);
    }
}
