//! Looks images up in their registries before anything is deployed (`CHECK_IMAGES`, `PIN_IMAGES`, `IMAGE_PLATFORMS`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::cloud::Step;
use crate::commands::prepare::{Loaded, Preparation};
use crate::config::{Config, ImageChecks};
use crate::console::log;
use crate::diagnostic::{Diagnostic, Failure, Severity};
use crate::function::image::{Host, Reference, pinned};
use crate::function::outcome::Location;
use crate::http::service::ServiceClient;
use crate::registry::{FoundImage, Platform, Registries, RegistryCredentials, platform_list};
use crate::stack::Function;
use crate::text::{count, list};

/// The digests of a stack file's images, or why they must not be deployed, by the image as the stack file names it. An image of
/// which neither is known is not in it.
#[derive(Debug, Default)]
pub(crate) struct Checked(BTreeMap<String, Result<String, Diagnostic>>);

/// Looks up every image once. What is wrong is logged here, and kept if it forbids the deploy.
pub(crate) async fn check(
    preparation: &Preparation<'_>,
    http: Option<&ServiceClient>,
    checks: &ImageChecks,
    loaded: &Loaded,
) -> Checked {
    let Some(http) = http.filter(|_| checks.check) else { return Checked::default() };
    tokio::select! {
        checked = check_all(preparation, http, checks, loaded) => checked,
        // After a signal nothing is deployed, so that no result is needed.
        _ = preparation.shutdown.grace_over() => Checked::default(),
    }
}

async fn check_all(
    preparation: &Preparation<'_>,
    http: &ServiceClient,
    checks: &ImageChecks,
    loaded: &Loaded,
) -> Checked {
    let started = Instant::now();
    let credentials = &preparation.config.registries;
    let step = step(preparation.config);
    let registries = Registries::new(http, credentials, step.as_ref());
    warn_of_unused(credentials, &loaded.images().map(|image| image.host).collect());
    let mut results: Vec<(Vec<&Function>, Result<FoundImage, Diagnostic>)> = Vec::new();
    let mut images: BTreeMap<_, (Reference, Vec<&Function>)> = BTreeMap::new();
    for function in &loaded.functions {
        let name = &function.deployment.image;
        match Reference::parse(name) {
            Ok(reference) => {
                // Two names of one image are looked up once.
                let key = (reference.host.clone(), reference.repository.clone(), reference.version().to_owned());
                images.entry(key).or_insert_with(|| (reference, Vec::new())).1.push(function);
            }
            Err(error) => {
                let message = format!("image `{}` has an invalid name: {error}", log::whole_or_length(name));
                results.push((vec![function], Err(Diagnostic::new(Failure::Input, message))));
            }
        }
    }
    let number = images.len();
    let look_up = async |(reference, functions): (Reference, Vec<_>)| {
        let found = registries.look_up(&reference, !checks.platforms.is_empty()).await;
        (functions, found.and_then(|found| has_platforms(&reference, found, &checks.platforms)))
    };
    let found = stream::iter(images.into_values()).map(look_up).buffer_unordered(preparation.config.parallel);
    results.extend(found.collect::<Vec<_>>().await);
    let mut checked = Checked::default();
    let mut problems: BTreeMap<Diagnostic, BTreeSet<Location>> = BTreeMap::new();
    for (functions, found) in results {
        let names = functions.iter().map(|function| function.deployment.image.clone());
        match found {
            Ok(FoundImage { digest, .. }) => checked.0.extend(names.map(|name| (name, Ok(digest.clone())))),
            Err(mut problem) => {
                if checks.pin || problem.failure == Failure::Input {
                    checked.0.extend(names.map(|name| (name, Err(problem.clone()))));
                } else {
                    problem.severity = Severity::Warning;
                }
                let places = functions.iter().map(|function| function.place_of("image"));
                problems.entry(problem).or_default().extend(places);
            }
        }
    }
    if problems.is_empty() {
        tracing::info!("checked {} in {}", count(number, "image"), log::duration(started.elapsed()));
    }
    let mut said = BTreeSet::new();
    // Errors last, since they are why the run ends.
    for (problem, places) in problems {
        // The same remedy for several images is said once.
        let hint = problem.hint.clone().filter(|hint| said.insert(hint.clone()));
        Diagnostic { hint, ..problem }.at(list(places, usize::MAX)).log();
    }
    checked
}

/// The step, for the clouds; `None` without a token.
pub(crate) fn step(config: &Config) -> Option<Step<'_>> {
    Some(Step::new(config.id_token.as_ref().ok()?, &config.build))
}

/// Warns of credentials that no registry gets. Credential helpers are programs, and the pipe's image has none.
pub(crate) fn warn_of_unused(credentials: &RegistryCredentials, hosts: &BTreeSet<Host>) {
    for unused in credentials.unused(hosts) {
        tracing::warn!("{unused}");
    }
    for (host, helper) in &credentials.docker.helpers {
        let host = host.as_deref().map(|host| format!(" for `{}`", log::whole_or_length(host))).unwrap_or_default();
        let helper = log::whole_or_length(helper);
        Diagnostic::warning(format!(
            "`DOCKER_AUTH_CONFIG` names the credential helper `docker-credential-{helper}`{host}, which the pipe does not have"
        ))
        .with_hint("for ECR set `AWS_OIDC_ROLE_ARN`, for Artifact Registry `GCP_WORKLOAD_IDENTITY_PROVIDER`, else write an `auth`")
        .log();
    }
}

fn has_platforms(image: &Reference, found: FoundImage, wanted: &[Platform]) -> Result<FoundImage, Diagnostic> {
    let lacks = |wanted: &&Platform| !found.platforms.iter().any(|platform| platform.satisfies(wanted));
    let missing: Vec<_> = wanted.iter().filter(lacks).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    // An image for one platform would lose it if only the others were built.
    let own = found.platforms.iter().filter(|own| found.platforms.len() == 1 && !wanted.contains(own));
    let all: BTreeSet<_> = own.chain(wanted).map(|platform| log::whole_or_length(&platform.to_string())).collect();
    let all = Vec::from_iter(all).join(",");
    let (missing, has) = (platform_list(missing), platform_list(&found.platforms));
    let message = format!("image `{image}` does not exist for {missing}; its platforms: {has}");
    let hint = format!(
        "build it for all of them: `docker buildx build --platform {all} --push`\nin Bitbucket Pipelines, build each platform in a \
         step of its own (`runtime: cloud: arch: arm`), and join the images with `docker manifest create`"
    );
    Err(Diagnostic::new(Failure::Input, message).with_hint(hint))
}

impl Checked {
    /// Why a function must not be deployed.
    pub(crate) fn problem(&self, function: &Function) -> Option<&Diagnostic> {
        self.0.get(&function.deployment.image)?.as_ref().err()
    }

    /// Of all problems, the one that the exit code reports.
    pub(crate) fn worst(&self) -> Option<Diagnostic> {
        Diagnostic::worst(self.0.values().filter_map(|checked| checked.as_ref().err()).cloned())
    }

    /// The digest of each function's image, as far as it is known; with `pin` the images are named by them.
    pub(crate) fn apply(&self, functions: &mut [Function], pin: bool) -> Vec<Option<String>> {
        let apply = |function: &mut Function| {
            let digest = self.0.get(&function.deployment.image)?.clone().ok()?;
            if pin {
                function.deployment.image = pinned(&function.deployment.image, &digest);
            }
            Some(digest)
        };
        functions.iter_mut().map(apply).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_that_an_image_lacks_are_named_with_those_that_it_has() {
        let image = Reference::parse("ghcr.io/acme/fn:1").unwrap();
        let platforms = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<Platform>>();
        let found = |list: &[&str]| FoundImage { digest: String::new(), platforms: platforms(list) };
        let wanted = platforms(&["linux/amd64", "linux/arm64"]);
        assert!(has_platforms(&image, found(&["linux/arm64/v8", "linux/amd64"]), &wanted).is_ok());
        let error = has_platforms(&image, found(&["linux/amd64", "linux/arm/v7"]), &wanted).unwrap_err();
        insta::assert_snapshot!(format!("{}\nhint: {}", error.message, error.hint.unwrap()), @"
        image `ghcr.io/acme/fn:1` does not exist for `linux/arm64`; its platforms: `linux/amd64`, `linux/arm/v7`
        hint: build it for all of them: `docker buildx build --platform linux/amd64,linux/arm64 --push`
        in Bitbucket Pipelines, build each platform in a step of its own (`runtime: cloud: arch: arm`), and join the images with `docker manifest create`
        ");
        let error = has_platforms(&image, found(&["linux/amd64"]), &platforms(&["linux/arm64"])).unwrap_err();
        assert!(error.hint.unwrap().contains(" --platform linux/amd64,linux/arm64 "));
        assert!(has_platforms(&image, found(&[]), &wanted).unwrap_err().message.ends_with("its platforms: none"));
    }

    #[test]
    fn images_are_pinned_only_if_asked_for_and_known() {
        let function = |image: &str| {
            let mut function = Function::default();
            function.deployment.image = image.to_owned();
            function
        };
        let digest = format!("sha256:{}", "ab".repeat(32));
        let checked = Checked(BTreeMap::from([("acme/a:1".to_owned(), Ok(digest.clone()))]));
        let mut functions = [function("acme/a:1"), function("acme/b:1")];
        assert_eq!(checked.apply(&mut functions, false), [Some(digest.clone()), None]);
        assert_eq!(functions[0].deployment.image, "acme/a:1");
        checked.apply(&mut functions, true);
        assert_eq!(functions[0].deployment.image, format!("acme/a:1@{digest}"));
        assert_eq!(functions[1].deployment.image, "acme/b:1");
    }
}
