//! The variables of registries and clouds.

use std::sync::Arc;

use super::Problems;
use super::parse::Reader;
use super::variables::Entry;
use crate::console::redact::Secret;
use crate::oidc::{IdToken, TokenError};
use crate::registry::{Credentials, DockerAuthConfig, Host, Login, Platform, Provider, RoleArn, ServiceAccount};

/// What is asked of registries before a deploy (`CHECK_IMAGES`, `PIN_IMAGES`, `IMAGE_PLATFORMS`).
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageChecks {
    /// Whether registries are asked at all.
    pub(crate) check: bool,
    /// Whether each image is deployed by its digest.
    pub(crate) pin: bool,
    /// What each image must exist for.
    pub(crate) platforms: Vec<Platform>,
}

/// What registries and clouds are shown.
#[derive(Debug)]
pub(crate) struct RegistryAccess {
    pub(crate) credentials: Credentials,
    /// For clouds, also if `OPENFAAS_PASSWORD` is what the gateway gets.
    pub(crate) id_token: Result<Arc<IdToken>, TokenError>,
    pub(crate) build_number: Option<String>,
}

impl Reader<'_> {
    pub(super) fn image_checks(&mut self) -> Option<ImageChecks> {
        let variables = self.variables;
        let problems = &mut self.problems;
        let check = variables.check_images().boolean(problems);
        let pin = variables.pin_images().boolean(problems);
        let platforms = variables.image_platforms().list(problems).map(|items| {
            let mut platforms = Vec::new();
            for item in items {
                match item.parse() {
                    Ok(platform) => platforms.push(platform),
                    Err(error) => problems.add("IMAGE_PLATFORMS", error),
                }
            }
            platforms
        });
        let (check, pin, platforms) = (check?, pin?, platforms?);
        Some(ImageChecks { check: check || pin || !platforms.is_empty(), pin, platforms })
    }

    pub(super) fn registry_access(&mut self) -> Option<RegistryAccess> {
        let variables = self.variables;
        let docker = parsed(variables.docker_auth_config(), &mut self.problems, DockerAuthConfig::parse);
        let registry = self.registry_login();
        let problems = &mut self.problems;
        let aws = parsed(variables.aws_oidc_role_arn(), problems, RoleArn::parse);
        let provider = parsed(variables.gcp_workload_identity_provider(), problems, Provider::parse);
        let account = parsed(variables.gcp_service_account(), problems, ServiceAccount::parse);
        let account = account?;
        let token = IdToken::new(variables.bitbucket_step_oidc_token().value.unwrap_or_default());
        Some(RegistryAccess {
            credentials: Credentials {
                docker: docker?.unwrap_or_default(),
                registry: registry?,
                aws: aws?,
                google: provider?.map(|provider| (provider, account)),
            },
            id_token: token.map(Arc::new),
            build_number: self.environment.owned("BITBUCKET_BUILD_NUMBER"),
        })
    }

    /// `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`; `None` within if neither is set.
    fn registry_login(&mut self) -> Option<Option<(Host, Arc<Login>)>> {
        let variables = self.variables;
        let problems = &mut self.problems;
        let host = variables.registry_host().text().map(Host::parse);
        let host = host.and_then(|host| host.map_err(|error| problems.add("REGISTRY_HOST", error)).ok());
        let (username, password) = (variables.registry_username(), variables.registry_password());
        if username.value.is_none() && password.value.is_none() {
            return host.map(|_| None);
        }
        let username = username.required(problems);
        let password = password.required(problems);
        let (username, password) = username.zip(password)?;
        let _ = Secret::new(password.to_owned());
        Some(Some((host?, Login::password(username, password))))
    }
}

/// A value that is parsed if it is set; `None` if it is wrong.
fn parsed<T, E: ToString>(
    entry: Entry<'_>,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Option<Option<T>> {
    let Some(text) = entry.value else { return Some(None) };
    match parse(text) {
        Ok(value) => Some(Some(value)),
        Err(error) => {
            problems.add(entry.variable.name, error.to_string());
            None
        }
    }
}
