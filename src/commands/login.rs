//! `COMMAND: login`: signs in to registries, and leaves a `config.json` for the docker commands of the step.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Map, Value, json};

use crate::cloud::{RegistryLogin, readable};
use crate::commands::images::{step, warn_of_helpers};
use crate::commands::prepare::{Loaded, Preparation, Rejected, without_dots};
use crate::config;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Failure};
use crate::files::atomic::{self, Attributes};
use crate::files::input;
use crate::function::image::{Host, Reference};
use crate::function::outcome::Outcome;
use crate::registry::{CredentialSource, Registries, wanted_credentials};

const CONFIG: &str = "config.json";
/// Docker's own files are far shorter.
const CONFIG_LIMIT: usize = 1024 * 1024;

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
fn finish(
    results: Vec<(Host, Result<Arc<RegistryLogin>, Diagnostic>)>,
    directory: &Directory,
) -> Result<(), Diagnostic> {
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
    directory.write(&signed_in).map_err(|error| {
        error.log();
        Diagnostic::new(Failure::Failed, error.message)
    })?;
    for (host, login) in &signed_in {
        match login.expires {
            Some(time) => tracing::info!("signed in to `{host}`, until {}", readable(time)),
            None => tracing::info!("signed in to `{host}`, as long as the login is valid there"),
        }
    }
    tracing::info!("add this line to the script of the step, after the pipe:");
    log::plain(directory.export());
    Ok(())
}

#[derive(Debug)]
struct Directory {
    clone_dir: PathBuf,
    /// From the clone directory, without `.` and `..`.
    relative: PathBuf,
    /// What is in `config.json` now.
    config: Map<String, Value>,
}

impl Directory {
    /// Also checks the directory and the file in it.
    fn new(clone_dir: Option<&Path>, wanted: &Path) -> Result<Self, Diagnostic> {
        let clone_dir = clone_dir.unwrap_or(Path::new(".")).to_owned();
        let relative = wanted.strip_prefix(&clone_dir).unwrap_or(wanted);
        let relative = without_dots(relative).filter(|relative| relative.is_relative()).ok_or_else(|| {
            Diagnostic::error(format!(
                "`{}` is outside of the clone directory, and lost when the pipe ends: write a relative path",
                quote(&wanted.display().to_string())
            ))
        })?;
        if relative.as_os_str().is_empty() {
            return Err(Diagnostic::error("is the clone directory: write a directory in it, such as `.docker`"));
        }
        let mut directory = Self { clone_dir, relative, config: Map::new() };
        for part in directory.parts() {
            if fs::symlink_metadata(&part).is_ok_and(|metadata| !metadata.is_dir()) {
                return Err(Diagnostic::error(format!("`{}` is not a directory", quote(&part.display().to_string()))));
            }
        }
        let file = directory.path().join(CONFIG);
        if fs::symlink_metadata(&file).is_ok() {
            directory.config = serde_json::from_slice(&input::read(&file, CONFIG_LIMIT)?).map_err(|error| {
                // The error's own text quotes values.
                let (line, column) = (error.line(), error.column());
                let file = quote(&file.display().to_string());
                Diagnostic::error(format!(
                    "`{file}` is not a JSON object (line {line}, column {column}): correct or remove it"
                ))
            })?;
        }
        Ok(directory)
    }

    fn path(&self) -> PathBuf {
        self.clone_dir.join(&self.relative)
    }

    /// The directory and those between it and the clone directory, outermost first.
    fn parts(&self) -> Vec<PathBuf> {
        let ancestors = self.relative.ancestors().filter(|path| !path.as_os_str().is_empty());
        let mut parts: Vec<_> = ancestors.map(|path| self.clone_dir.join(path)).collect();
        parts.reverse();
        parts
    }

    /// The line for the script.
    fn export(&self) -> String {
        format!("export DOCKER_CONFIG=\"$BITBUCKET_CLONE_DIR/{}\"", self.relative.display())
    }

    fn write(&self, logins: &[(Host, Arc<RegistryLogin>)]) -> Result<(), Diagnostic> {
        let failed = |path: &Path| {
            let path = quote(&path.display().to_string());
            move |error| Diagnostic::error(format!("`{path}` could not be written: {error}"))
        };
        let attributes = Attributes::inherited_from(Some(&self.clone_dir));
        for part in self.parts() {
            atomic::create_dir(&part, attributes.private()).map_err(failed(&part))?;
        }
        let ignore = self.path().join(".gitignore");
        if !ignore.exists() {
            atomic::write(&ignore, b"*\n", attributes).map_err(failed(&ignore))?;
        }
        let file = self.path().join(CONFIG);
        let text = format!("{:#}\n", Value::from(merged(self.config.clone(), logins)));
        atomic::write(&file, text.as_bytes(), attributes.private()).map_err(failed(&file))
    }
}

/// A `config.json` with these logins; entries of other hosts stay.
fn merged(mut config: Map<String, Value>, logins: &[(Host, Arc<RegistryLogin>)]) -> Map<String, Value> {
    let is_empty = |value: &Value| match value {
        Value::Object(helpers) => helpers.is_empty(),
        store => store.as_str().is_none_or(str::is_empty),
    };
    let has_helpers =
        ["credsStore", "credHelpers"].iter().any(|key| config.get(*key).is_some_and(|value| !is_empty(value)));
    let mut set = |section: &str, key: &str, value: Value| match config.entry(section).or_insert_with(|| json!({})) {
        Value::Object(entries) => _ = entries.insert(key.to_owned(), value),
        other => *other = json!({key: value}),
    };
    for (host, login) in logins {
        let key = host.config_key();
        let mut entry = json!({"auth": login.docker_auth()});
        if let Some(token) = &login.identity_token {
            entry["identitytoken"] = json!(token.reveal());
        }
        set("auths", key, entry);
        if has_helpers {
            set("credHelpers", key, json!(""));
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn other_hosts_and_settings_of_the_file_stay() {
        let config = json!({
            "auths": {"other.io": {"auth": "b3RoZXI="}, "ghcr.io": {"auth": "b2xk"}},
            "HttpHeaders": {"X": "y"},
        });
        let logins = [
            (host("ghcr.io"), RegistryLogin::password("ghcr", "some-password")),
            (host("docker.io"), RegistryLogin::password("hub", "some-password")),
        ];
        let merged = merged(config.as_object().unwrap().clone(), &logins);
        insta::assert_snapshot!(serde_json::to_string_pretty(&merged).unwrap(), @r#"
        {
          "HttpHeaders": {
            "X": "y"
          },
          "auths": {
            "ghcr.io": {
              "auth": "Z2hjcjpzb21lLXBhc3N3b3Jk"
            },
            "https://index.docker.io/v1/": {
              "auth": "aHViOnNvbWUtcGFzc3dvcmQ="
            },
            "other.io": {
              "auth": "b3RoZXI="
            }
          }
        }
        "#);
    }

    #[test]
    fn docker_is_told_to_use_the_file_where_it_names_helpers() {
        for config in [json!({"credsStore": "desktop"}), json!({"credHelpers": {"ghcr.io": "gh"}})] {
            let merged = merged(
                config.as_object().unwrap().clone(),
                &[(host("ghcr.io"), RegistryLogin::password("ghcr", "some-password"))],
            );
            assert_eq!(merged["credHelpers"]["ghcr.io"], "");
        }
        let merged = merged(Map::new(), &[(host("ghcr.io"), RegistryLogin::password("ghcr", "some-password"))]);
        assert_eq!(merged.get("credHelpers"), None);
    }

    #[test]
    fn identity_tokens_are_written_as_docker_writes_them() {
        let login = RegistryLogin::identity_token("refresh");
        let merged = merged(Map::new(), &[(host("acme.azurecr.io"), Arc::new(login))]);
        assert_eq!(merged["auths"]["acme.azurecr.io"], json!({"auth": "PHRva2VuPjo=", "identitytoken": "refresh"}));
    }

    #[test]
    fn directory_is_one_in_the_clone_directory() {
        let clone = tempfile::tempdir().unwrap();
        let directory = |wanted: &str| Directory::new(Some(clone.path()), Path::new(wanted));
        assert_eq!(
            directory("a/./b/../.docker").unwrap().export(),
            "export DOCKER_CONFIG=\"$BITBUCKET_CLONE_DIR/a/.docker\""
        );
        let absolute = clone.path().join(".docker");
        assert_eq!(directory(absolute.to_str().unwrap()).unwrap().relative, Path::new(".docker"));
        for wanted in ["/elsewhere/.docker", "../x", "a/../../x", ".", "a/.."] {
            assert!(directory(wanted).is_err(), "{wanted}");
        }
        std::os::unix::fs::symlink("/tmp", clone.path().join("link")).unwrap();
        assert!(directory("link/x").is_err());
        fs::write(clone.path().join("file"), "").unwrap();
        assert!(directory("file").is_err());
    }

    #[test]
    fn file_that_is_no_json_is_left_alone_and_not_shown() {
        let clone = tempfile::tempdir().unwrap();
        fs::create_dir(clone.path().join(".docker")).unwrap();
        fs::write(clone.path().join(".docker/config.json"), "canary-of-config").unwrap();
        let error = Directory::new(Some(clone.path()), Path::new(".docker")).unwrap_err();
        let error = error.message;
        assert!(error.contains("is not a JSON object (line 1, column 1)") && !error.contains("canary"), "{error}");
    }
}
