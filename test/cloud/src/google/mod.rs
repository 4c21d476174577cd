//! Google Cloud: projects with workload identity pools, service accounts and Artifact Registry's permissions, set up by
//! the `gcloud` commands that a user runs; STS and IAM Credentials in front.

mod gcloud;
mod iam_credentials;
mod sts;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use local_gateway::issuer::REPOSITORY_UUID;
use local_gateway::{Claims, Issuer, Request};
use serde_json::{Value, json};

pub use gcloud::GcloudError;

use crate::reply::{self, Reply};
use crate::secret::{self, Secrets};

/// The project of [`Google::set_up`].
pub const PROJECT: &str = "acme-prod";
/// Its number.
pub const PROJECT_NUMBER: &str = "123456789012";
/// The provider of [`Google::set_up`], as `GCP_WORKLOAD_IDENTITY_PROVIDER` names it.
pub const PROVIDER: &str = "projects/123456789012/locations/global/workloadIdentityPools/bitbucket/providers/acme";
/// The service account of [`Google::set_up`].
pub const SERVICE_ACCOUNT: &str = "deploy@acme-prod.iam.gserviceaccount.com";
/// A host of Artifact Registry that [`Google::set_up`] makes the repository `etl` at.
pub const REGISTRY: &str = "europe-docker.pkg.dev";

const READER: &str = "roles/artifactregistry.reader";
const WRITER: &str = "roles/artifactregistry.writer";
const WORKLOAD_IDENTITY_USER: &str = "roles/iam.workloadIdentityUser";
const TOKEN_CREATOR: &str = "roles/iam.serviceAccountTokenCreator";

/// Google Cloud: its projects, and what was given out for them.
#[derive(Clone)]
pub struct Google {
    state: Arc<Mutex<State>>,
    secrets: Secrets,
}

#[derive(Default)]
struct State {
    /// The project that commands without `--project` are about.
    project: Option<String>,
    /// Project numbers by project id.
    numbers: BTreeMap<String, String>,
    /// By `projects/NUMBER/locations/global/workloadIdentityPools/POOL`.
    pools: HashMap<String, Pool>,
    /// By email address.
    service_accounts: HashMap<String, Bindings>,
    /// By `projects/ID/locations/LOCATION/repositories/NAME`.
    repositories: HashMap<String, Bindings>,
    tokens: HashMap<String, Token>,
    credentials_api_disabled: bool,
    keys_unavailable: bool,
}

#[derive(Clone, Debug, Default)]
struct Pool {
    providers: HashMap<String, Provider>,
}

#[derive(Clone, Debug)]
struct Provider {
    issuer: String,
    /// Those of the provider's own URL, if none are given.
    audiences: Vec<String>,
    /// Targets such as `google.subject`, each with the claim that is mapped.
    mapping: Vec<(String, String)>,
    /// Claims with the values they must have.
    condition: Vec<(String, String)>,
    disabled: bool,
}

/// Pairs of role and member.
#[derive(Clone, Debug, Default)]
struct Bindings(Vec<(String, String)>);

/// An access token that was given out.
#[derive(Clone, Debug)]
struct Token {
    /// The members that stand for whoever holds it.
    members: Vec<String>,
    expired: bool,
}

impl Bindings {
    fn grant(&self, roles: &[&str], members: &[String]) -> bool {
        self.0.iter().any(|(role, member)| roles.contains(&role.as_str()) && members.contains(member))
    }
}

impl Google {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { state: Arc::default(), secrets }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`PROVIDER`] for the issuer, with the workspace as audience, bound by the default repository's UUID; the
    /// repository `etl` at [`REGISTRY`], which it may read directly and through [`SERVICE_ACCOUNT`].
    pub fn set_up(&self, issuer: &Issuer) {
        self.project(PROJECT, PROJECT_NUMBER);
        let member = format!(
            "principalSet://iam.googleapis.com/projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/bitbucket\
             /attribute.repository_uuid/{REPOSITORY_UUID}"
        );
        let commands = format!(
            "gcloud iam workload-identity-pools create bitbucket --location=global
             gcloud iam workload-identity-pools providers create-oidc acme --workload-identity-pool=bitbucket \\
                 --location=global --issuer-uri={} --allowed-audiences={} \\
                 --attribute-mapping='google.subject=assertion.sub,attribute.repository_uuid=assertion.repositoryUuid' \\
                 --attribute-condition=\"assertion.repositoryUuid=='{REPOSITORY_UUID}'\"
             gcloud artifacts repositories create etl --location=europe --repository-format=docker
             gcloud artifacts repositories add-iam-policy-binding etl --location=europe --role={READER} \\
                 --member='{member}'
             gcloud iam service-accounts create deploy
             gcloud iam service-accounts add-iam-policy-binding {SERVICE_ACCOUNT} --role={WORKLOAD_IDENTITY_USER} \\
                 --member='{member}'
             gcloud artifacts repositories add-iam-policy-binding etl --location=europe --role={READER} \\
                 --member=serviceAccount:{SERVICE_ACCOUNT}",
            issuer.iss(),
            crate::audience(),
        );
        self.gcloud(&commands).expect("the commands are ones that local-cloud knows");
    }

    /// Creates a project; commands without `--project` are about it from now on.
    pub fn project(&self, id: &str, number: &str) {
        let mut state = self.state();
        state.numbers.insert(id.to_owned(), number.to_owned());
        state.project = Some(id.to_owned());
    }

    /// Runs `gcloud` commands, one a line, as a user's shell would.
    ///
    /// Known are `create`, `providers create-oidc`, `providers update-oidc` and `providers delete` of workload identity
    /// pools, and `create`, `add-iam-policy-binding` and `remove-iam-policy-binding` of service accounts and of
    /// repositories of Artifact Registry.
    ///
    /// # Errors
    ///
    /// A command is unknown, lacks a flag, or names what does not exist. Those before it are carried out.
    pub fn gcloud(&self, commands: &str) -> Result<(), GcloudError> {
        gcloud::run(&mut self.state(), commands)
    }

    /// Switches the IAM Credentials API off in the project, or on again.
    pub fn disable_iam_credentials(&self, disabled: bool) {
        self.state().credentials_api_disabled = disabled;
    }

    /// Keeps STS from fetching the issuer's keys.
    pub fn hide_keys(&self) {
        self.state().keys_unavailable = true;
    }

    /// Lets every access token expire now.
    pub fn expire_tokens(&self) {
        self.state().tokens.values_mut().for_each(|token| token.expired = true);
    }

    pub(crate) fn reply(&self, host: &str, request: &Request) -> Option<Reply> {
        match host {
            "sts.googleapis.com" => Some(self.exchange(request)),
            "iamcredentials.googleapis.com" => Some(self.generate_access_token(request)),
            _ => None,
        }
    }

    /// Gives out an access token.
    fn issue(&self, state: &mut State, prefix: &str, members: Vec<String>) -> String {
        let token = self.secrets.token(prefix, 600);
        state.tokens.insert(token.clone(), Token { members, expired: false });
        token
    }

    /// Whether a token is one that was given out and has not expired.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.state().tokens.get(token).is_some_and(|token| !token.expired)
    }

    /// Whether the holder of a token, or anybody, may read (or write) a repository of Artifact Registry.
    pub(crate) fn permits(&self, token: Option<&str>, host: &str, name: &str) -> bool {
        let state = self.state();
        let mut members = vec!["allUsers".to_owned()];
        if let Some(token) = token.and_then(|token| state.tokens.get(token)).filter(|token| !token.expired) {
            members.extend(token.members.iter().cloned());
        }
        let bindings = repository(host, name).and_then(|repository| state.repositories.get(&repository));
        bindings.is_some_and(|bindings| bindings.grant(&[READER, WRITER], &members))
    }
}

impl State {
    /// The members of IAM policies that a token's claims are, by the provider's mapping.
    fn members(pool: &str, provider: &Provider, claims: &Claims) -> Vec<String> {
        let base = format!("iam.googleapis.com/{pool}");
        let mut members = vec![format!("principalSet://{base}/*")];
        for (target, claim) in &provider.mapping {
            let Some(value) = claims.get(claim).and_then(Value::as_str) else { continue };
            members.push(match target.as_str() {
                "google.subject" => format!("principal://{base}/subject/{value}"),
                attribute => format!("principalSet://{base}/{attribute}/{value}"),
            });
        }
        members
    }
}

/// The repository of Artifact Registry that an image is in: `LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE`, or
/// `gcr.io/PROJECT/IMAGE`.
pub(crate) fn repository(host: &str, name: &str) -> Option<String> {
    let (project, rest) = name.split_once('/')?;
    if let Some(location) = host.strip_suffix("-docker.pkg.dev") {
        let (repository, _) = rest.split_once('/')?;
        return Some(format!("projects/{project}/locations/{location}/repositories/{repository}"));
    }
    let location = host.strip_suffix(".gcr.io").unwrap_or("us");
    (host == "gcr.io" || host.ends_with(".gcr.io"))
        .then(|| format!("projects/{project}/locations/{location}/repositories/{host}"))
}

/// Whether a registry's host is Google's.
pub(crate) fn is_registry(host: &str) -> bool {
    host == "gcr.io" || host.ends_with(".gcr.io") || host.ends_with("-docker.pkg.dev")
}

/// An error of a Google API.
fn error(code: u16, status: &str, message: &str, details: &[Value]) -> Reply {
    let mut error = json!({"code": code, "message": message, "status": status});
    if !details.is_empty() {
        error["details"] = json!(details);
    }
    reply::json(code, &json!({"error": error}))
}

/// The token of an `Authorization: Bearer` header.
fn bearer(request: &Request) -> Option<&str> {
    request.header("authorization").and_then(|header| secret::scheme(header, "bearer"))
}
