//! `COMMAND: login`: signs in to registries, and leaves a `config.json` for the docker commands of the step.

mod directory;

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::cloud::readable;
use crate::commands::images::{step, warn_of_unused};
use crate::commands::prepare::{Loaded, Preparation, Rejected};
use crate::config;
use crate::console::log;
use crate::diagnostic::Diagnostic;
use crate::function::image::Host;
use crate::function::outcome::Outcome;
use crate::registry::{CredentialSource, Registries, SignedIn, wanted_credentials};
use directory::Directory;

/// Signs in to all registries or none.
pub(crate) async fn run(mut preparation: Preparation<'_>, login: &config::Login) -> Result<Outcome, Rejected> {
    let loaded = preparation.load().await;
    let hosts = hosts(&mut preparation, login, loaded.as_ref());
    let directory = Directory::new(preparation.config.places.clone_dir.as_deref(), &login.directory);
    let directory = directory.map_err(|error| preparation.problem("DOCKER_CONFIG", error)).ok();
    let http = preparation.registry_client();
    let (directory, http) = preparation.finish(directory.zip(http))?;

    let credentials = &preparation.config.registries;
    let step = step(preparation.config);
    warn_of_unused(credentials, &hosts);
    directory.warn();
    let registries = Registries::new(&http, credentials, step.as_ref());
    let sign_in = async |host: Host| {
        let result = registries.sign_in(&host).await;
        (host, result)
    };
    let signing_in = stream::iter(hosts).map(sign_in).buffered(preparation.config.parallel).collect::<Vec<_>>();
    let mut outcome = preparation.outcome(String::new(), loaded.as_ref());
    tokio::select! {
        results = signing_in => outcome.problem = finish(results, &directory).err(),
        _ = preparation.shutdown.grace_over() => outcome.problem = preparation.shutdown.problem(),
    }
    Ok(outcome)
}

pub(crate) fn summary(outcome: &Outcome) -> String {
    match &outcome.problem {
        None => format!("signed in to the registries in {}", log::duration(outcome.duration)),
        Some(_) => "not signed in, and nothing was written".to_owned(),
    }
}

/// The registries in `REGISTRIES`, which need credentials, or those of the stack file's images that have some.
fn hosts(preparation: &mut Preparation<'_>, login: &config::Login, loaded: Option<&Loaded>) -> BTreeSet<Host> {
    let credentials = &preparation.config.registries;
    let has_credentials = |host: &Host| !matches!(credentials.of(host), CredentialSource::Anonymous);
    if let Some(listed) = &login.registries {
        for host in listed.iter().filter(|host| !has_credentials(host)) {
            let message = format!("there are no credentials for `{host}`: set {}", wanted_credentials(host));
            preparation.problem("REGISTRIES", message);
        }
        return listed.iter().cloned().collect();
    }
    let Some(loaded) = loaded else { return BTreeSet::new() };
    let (hosts, others): (BTreeSet<_>, BTreeSet<_>) =
        loaded.images().map(|image| image.host).partition(has_credentials);
    if hosts.is_empty() {
        let message = format!(
            "there are no credentials for any registry of the stack file's images ({}): set `AWS_OIDC_ROLE_ARN`, \
             `GCP_WORKLOAD_IDENTITY_PROVIDER`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`, or `DOCKER_AUTH_CONFIG`",
            log::names(others.iter().map(Host::as_str), usize::MAX)
        );
        preparation.problem("REGISTRIES", message);
    }
    hosts
}

/// Writes the file if every registry accepted, and logs what the script needs.
fn finish(results: Vec<(Host, Result<SignedIn, Diagnostic>)>, directory: &Directory) -> Result<(), Diagnostic> {
    let mut signed_in = Vec::new();
    // A set, since a cloud that refuses does so for each of its registries.
    let mut problems = BTreeSet::new();
    for (host, result) in results {
        match result {
            Ok(login) => signed_in.push((host, login)),
            Err(problem) => _ = problems.insert(problem),
        }
    }
    problems.iter().for_each(Diagnostic::log);
    // All or none: a script that goes on would fail later, at the first image of the registry that refused.
    if let Some(worst) = Diagnostic::worst(problems) {
        return Err(worst);
    }
    let logins: Vec<_> = signed_in.iter().map(|(host, signed_in)| (host, &*signed_in.login)).collect();
    directory.write(&logins).inspect_err(Diagnostic::log)?;
    for (host, SignedIn { login, is_optional }) in &signed_in {
        let until = match login.expires {
            Some(time) => format!("until {}", readable(time)),
            None => "as long as the login is valid there".to_owned(),
        };
        let note =
            if *is_optional { "; it responds without a login too, so it may not have checked this one" } else { "" };
        tracing::info!("signed in to `{host}`, {until}{note}");
    }
    tracing::info!("add this line to the script of the step, after the pipe:");
    log::plain(directory.export());
    Ok(())
}
