//! `COMMAND: login`: signs in to registries, and leaves a `config.json` for the docker commands of the step.

mod directory;

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::cloud::readable;
use crate::commands::images::{step, warn_of_helpers};
use crate::commands::prepare::{Loaded, Preparation, Rejected};
use crate::config;
use crate::console::log;
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::image::{Host, Reference};
use crate::function::outcome::Outcome;
use crate::registry::{CredentialSource, Registries, SignedIn, wanted_credentials};
use directory::Directory;

/// Signs in to all registries or none.
pub(crate) async fn run(mut preparation: Preparation<'_>, login: &config::Login) -> Result<Outcome, Rejected> {
    let loaded = preparation.load().await;
    let hosts = match (&login.registries, &loaded) {
        (Some(listed), _) => listed_hosts(&mut preparation, listed),
        (None, Some(loaded)) => hosts_of_images(&mut preparation, loaded),
        (None, None) => Vec::new(),
    };
    let directory = Directory::new(preparation.config.places.clone_dir.as_deref(), &login.directory);
    let directory = directory.map_err(|error| preparation.problem("DOCKER_CONFIG", error)).ok();
    let http = preparation.registry_client();
    let (directory, http) = preparation.finish(directory.zip(http))?;

    let credentials = &preparation.config.registries;
    let step = step(preparation.config);
    warn_of_helpers(credentials);
    directory.warn();
    let registries = Registries::new(&http, credentials, step.as_ref());
    let signing_in = stream::iter(hosts)
        .map(|host| {
            let registries = &registries;
            async move {
                let result = registries.sign_in(&host).await;
                (host, result)
            }
        })
        .buffered(preparation.config.parallel)
        .collect::<Vec<_>>();
    let mut outcome = preparation.outcome(String::new());
    outcome.stack_files = loaded.map(|loaded| loaded.paths()).unwrap_or_default();
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

/// `REGISTRIES`. All of them need credentials.
fn listed_hosts(preparation: &mut Preparation<'_>, listed: &[Host]) -> Vec<Host> {
    let credentials = &preparation.config.registries;
    for host in listed.iter().filter(|host| matches!(credentials.of(host), CredentialSource::Anonymous)) {
        let message = format!("there are no credentials for `{host}`: set {}", wanted_credentials(host));
        preparation.problem("REGISTRIES", message);
    }
    BTreeSet::from_iter(listed.iter().cloned()).into_iter().collect()
}

/// The registries of the stack file's images, as far as there are credentials for them.
fn hosts_of_images(preparation: &mut Preparation<'_>, loaded: &Loaded) -> Vec<Host> {
    let credentials = &preparation.config.registries;
    let images = loaded.functions.iter().filter_map(|function| Reference::parse(&function.deployment.image).ok());
    let named: BTreeSet<_> = images.map(|reference| reference.host).collect();
    let names: Vec<_> = named.iter().map(|host| format!("`{host}`")).collect();
    let hosts: Vec<_> =
        named.into_iter().filter(|host| !matches!(credentials.of(host), CredentialSource::Anonymous)).collect();
    if hosts.is_empty() {
        let message = format!(
            "there are no credentials for any registry of the stack file's images ({}): set `AWS_OIDC_ROLE_ARN`, \
             `GCP_WORKLOAD_IDENTITY_PROVIDER`, `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`, or `DOCKER_AUTH_CONFIG`",
            names.join(", ")
        );
        preparation.problem("REGISTRIES", message);
    }
    hosts
}

/// Writes the file if every registry accepted, and logs what the script needs.
fn finish(results: Vec<(Host, Result<SignedIn, Diagnostic>)>, directory: &Directory) -> Result<(), Diagnostic> {
    let mut signed_in = Vec::new();
    let mut problems: Vec<Diagnostic> = Vec::new();
    for (host, result) in results {
        match result {
            Ok(login) => signed_in.push((host, login)),
            // A cloud that refuses does so for each of its registries.
            Err(problem) if problems.iter().any(|other| other.message == problem.message) => {}
            Err(problem) => {
                problem.log();
                problems.push(problem);
            }
        }
    }
    if let Some(worst) = Diagnostic::worst(problems) {
        return Err(worst);
    }
    let logins: Vec<_> = signed_in.iter().map(|(host, signed_in)| (host, &*signed_in.login)).collect();
    directory.write(&logins).map_err(|error| {
        error.log();
        Diagnostic::new(Failure::Failed, error.message)
    })?;
    for (host, SignedIn { login, is_optional }) in &signed_in {
        let until = match login.expires {
            Some(time) => format!("until {}", readable(time)),
            None => "as long as the login is valid there".to_owned(),
        };
        let note =
            if *is_optional { "; it answers without a login too, so it may not have checked this one" } else { "" };
        tracing::info!("signed in to `{host}`, {until}{note}");
    }
    tracing::info!("add this line to the script of the step, after the pipe:");
    log::plain(directory.export());
    Ok(())
}
