//! The hosts of Artifact Registry, and the names of workload identity providers and service accounts.

use std::fmt;
use std::sync::LazyLock;

use regex_lite::Regex;

use crate::console::log::whole_or_length;
use crate::function::image::Host;
use crate::function::image::{groups, whole};

/// The hosts that Google documents: `k8s.gcr.io` and others below `gcr.io` are of other people or public.
static REGISTRY: LazyLock<Regex> =
    LazyLock::new(|| whole(r"(?:(?:us|eu|asia)\.)?gcr\.io|[a-z]+(?:-[a-z]+[0-9]+)?-docker\.pkg\.dev"));

/// True if a registry takes Google's access tokens; it must match in full.
pub(crate) fn is_google(host: &Host) -> bool {
    REGISTRY.is_match(host.as_str())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkloadIdentityProvider {
    /// The number, not the id.
    pub(crate) project: String,
    pub(crate) pool: String,
    pub(crate) id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotProvider {
    #[error(
        "`{}` is not the name of a workload identity provider: write it as \
         `projects/PROJECT_NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`",
        whole_or_length(.0)
    )]
    Form(String),
    #[error(
        "`{0}` is a project's id, and its number is needed: \
         `gcloud projects describe {0} --format='value(projectNumber)'` prints it"
    )]
    ProjectId(String),
}

impl WorkloadIdentityProvider {
    /// Reads a name, bare or as one of the audiences that Google makes of it.
    pub(crate) fn parse(text: &str) -> Result<Self, NotProvider> {
        let id = "([0-9A-Za-z._:-]+)";
        let name = whole(&format!(
            r"(?:(?:(?:https:)?//)?iam\.googleapis\.com/)?projects/{id}/locations/global/workloadIdentityPools/{id}/providers/{id}/*"
        ));
        let [project, pool, id] = groups(&name, text).ok_or_else(|| NotProvider::Form(text.to_owned()))?;
        if !project.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotProvider::ProjectId(project.to_owned()));
        }
        let [project, pool, id] = [project, pool, id].map(str::to_owned);
        Ok(Self { project, pool, id })
    }

    /// Its name for Google's STS.
    pub(crate) fn audience(&self) -> String {
        format!("//iam.googleapis.com/{self}")
    }

    /// IAM principal set of a repository's steps.
    pub(crate) fn principal_set(&self, repository_uuid: &str) -> String {
        format!(
            "principalSet://iam.googleapis.com/projects/{}/locations/global/workloadIdentityPools/{}/attribute.repository_uuid/{repository_uuid}",
            self.project, self.pool
        )
    }
}

impl fmt::Display for WorkloadIdentityProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, pool, id } = self;
        write!(f, "projects/{project}/locations/global/workloadIdentityPools/{pool}/providers/{id}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceAccount(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a service account: write its email address, `NAME@PROJECT.iam.gserviceaccount.com`", whole_or_length(.0))]
pub(crate) struct NotServiceAccount(String);

impl ServiceAccount {
    pub(crate) fn parse(text: &str) -> Result<Self, NotServiceAccount> {
        let is_email = whole("[0-9A-Z_a-z.-]+@[0-9A-Z_a-z.-]+").is_match(text);
        if is_email { Ok(Self(text.to_owned())) } else { Err(NotServiceAccount(text.to_owned())) }
    }

    /// The id of the project that it belongs to, if its address has it: that of Compute Engine has only its number.
    pub(super) fn project(&self) -> Option<&str> {
        let (name, domain) = self.0.split_once('@')?;
        if domain == "appspot.gserviceaccount.com" {
            Some(name)
        } else {
            domain.strip_suffix(".iam.gserviceaccount.com")
        }
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "projects/123456/locations/global/workloadIdentityPools/bitbucket/providers/acme";

    #[test]
    fn hosts_match_in_full() {
        let is_google = |host: &str| is_google(&Host::parse(host).unwrap());
        for host in ["us-docker.pkg.dev", "europe-west1-docker.pkg.dev", "gcr.io", "eu.gcr.io"] {
            assert!(is_google(host), "{host}");
        }
        for host in [
            "pkg.dev",
            "docker.pkg.dev",
            "us-python.pkg.dev",
            "us-docker.pkg.dev.evil.example",
            "evil.us-docker.pkg.dev",
            "evilgcr.io",
            "a.b.gcr.io",
            "gcr.io:5000",
            "k8s.gcr.io",
            "anything.gcr.io",
            "x-docker.pkg.dev.docker.pkg.dev",
            "1-docker.pkg.dev",
            "us-docker.pkg.dev:444",
        ] {
            assert!(!is_google(host), "{host}");
        }
    }

    #[test]
    fn provider_is_read_in_all_its_forms() {
        for prefix in ["", "//iam.googleapis.com/", "https://iam.googleapis.com/", "iam.googleapis.com/"] {
            for end in ["", "/"] {
                let provider = WorkloadIdentityProvider::parse(&format!("{prefix}{NAME}{end}")).unwrap();
                assert_eq!(provider.to_string(), NAME);
                assert_eq!(provider.audience(), format!("//iam.googleapis.com/{NAME}"));
            }
        }
        for text in [
            "",
            "acme",
            "projects/1/locations/global/workloadIdentityPools/p",
            &format!("{NAME}/x"),
            &NAME.replace("acme", "a b"),
        ] {
            assert!(matches!(WorkloadIdentityProvider::parse(text), Err(NotProvider::Form(_))), "{text}");
        }
    }

    #[test]
    fn project_id_is_told_from_its_number() {
        let error = WorkloadIdentityProvider::parse(&NAME.replace("123456", "my-project")).unwrap_err();
        insta::assert_snapshot!(error, @"`my-project` is a project's id, and its number is needed: `gcloud projects describe my-project --format='value(projectNumber)'` prints it");
    }

    #[test]
    fn service_account_is_an_email_address() {
        assert!(ServiceAccount::parse("ci@my-project.iam.gserviceaccount.com").is_ok());
        for text in ["", "ci", "@x", "ci@", "a/b@c.d", "a:b@c.d", "a@b@c"] {
            assert!(ServiceAccount::parse(text).is_err(), "{text}");
        }
        for (email, project) in [
            ("ci@my-project.iam.gserviceaccount.com", Some("my-project")),
            ("my-app@appspot.gserviceaccount.com", Some("my-app")),
            ("123-compute@developer.gserviceaccount.com", None),
        ] {
            assert_eq!(ServiceAccount::parse(email).unwrap().project(), project, "{email}");
        }
    }
}
