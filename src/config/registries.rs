//! The variables of registries and clouds.

use std::sync::Arc;

use super::parse::Reader;
use crate::cloud::RegistryLogin;
use crate::cloud::aws::RoleArn;
use crate::cloud::google::{ServiceAccount, WorkloadIdentityProvider};
use crate::function::image::Host;
use crate::registry::{DockerAuthConfig, Platform, RegistryCredentials};

/// Checks of images before a deploy (`CHECK_IMAGES`, `PIN_IMAGES`, `IMAGE_PLATFORMS`).
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageChecks {
    /// True if registries are asked at all.
    pub(crate) check: bool,
    /// True if each image is deployed by its digest.
    pub(crate) pin: bool,
    /// The platforms that each image must exist for.
    pub(crate) platforms: Vec<Platform>,
}

impl Reader<'_> {
    pub(super) fn image_checks(&mut self) -> ImageChecks {
        let variables = self.variables;
        let problems = &mut self.problems;
        let check = variables.check_images().boolean(problems);
        let pin = variables.pin_images().boolean(problems);
        let platforms = variables.image_platforms().list_of(problems, str::parse::<Platform>);
        ImageChecks { check: check || pin || !platforms.is_empty(), pin, platforms }
    }

    pub(super) fn registry_credentials(&mut self) -> RegistryCredentials {
        let variables = self.variables;
        let registry = self.registry_login();
        let problems = &mut self.problems;
        let provider = variables.gcp_workload_identity_provider().parsed_by(problems, WorkloadIdentityProvider::parse);
        let account = variables.gcp_service_account().parsed_by(problems, ServiceAccount::parse);
        let docker = variables.docker_auth_config().parsed_by(problems, DockerAuthConfig::parse);
        if provider.is_none() && account.is_some() && variables.gcp_workload_identity_provider().value.is_none() {
            problems.add(
                "GCP_SERVICE_ACCOUNT",
                "has no effect without `GCP_WORKLOAD_IDENTITY_PROVIDER`: set both or neither",
            );
        }
        RegistryCredentials {
            docker: docker.unwrap_or_default(),
            registry,
            aws: variables.aws_oidc_role_arn().parsed_by(problems, RoleArn::parse),
            google: provider.map(|provider| (provider, account)),
        }
    }

    /// `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`; `None` if neither is set.
    fn registry_login(&mut self) -> Option<(Host, Arc<RegistryLogin>)> {
        let variables = self.variables;
        let problems = &mut self.problems;
        let host = variables.registry_host().text().map(Host::parse)?;
        let host = host.map_err(|error| problems.add("REGISTRY_HOST", error)).ok();
        let (username, password) = (variables.registry_username(), variables.registry_password());
        if username.value.is_none() && password.value.is_none() {
            return None;
        }
        let (username, password) = (username.required(problems), password.required(problems));
        Some((host?, Arc::new(RegistryLogin::new(username?, password?))))
    }
}
