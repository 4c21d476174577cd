//! Google Cloud: projects with workload identity pools, service accounts and permissions in Artifact Registry, set up
//! with the user's `gcloud` commands. STS and IAM Credentials use them.

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

/// The project in [`Google::set_up`].
pub const PROJECT: &str = "acme-prod";
/// The number of [`PROJECT`].
pub const PROJECT_NUMBER: &str = "123456789012";
/// The provider in [`Google::set_up`], in the form of `GCP_WORKLOAD_IDENTITY_PROVIDER`.
pub const PROVIDER: &str = "projects/123456789012/locations/global/workloadIdentityPools/bitbucket/providers/acme";
/// The service account in [`Google::set_up`].
pub const SERVICE_ACCOUNT: &str = "deploy@acme-prod.iam.gserviceaccount.com";
/// The host of the repository `etl` in [`Google::set_up`].
pub const REGISTRY: &str = "europe-docker.pkg.dev";

const READER: &str = "roles/artifactregistry.reader";
const WRITER: &str = "roles/artifactregistry.writer";
const WORKLOAD_IDENTITY_USER: &str = "roles/iam.workloadIdentityUser";
const TOKEN_CREATOR: &str = "roles/iam.serviceAccountTokenCreator";

/// Google Cloud: its projects and tokens.
#[derive(Clone)]
pub struct Google {
    state: Arc<Mutex<State>>,
    secrets: Secrets,
}

#[derive(Default)]
struct State {
    /// The project of commands without `--project`.
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
}

#[derive(Clone, Debug, Default)]
struct Pool {
    providers: HashMap<String, Provider>,
}

#[derive(Clone, Debug)]
struct Provider {
    issuer: String,
    /// Allowed audiences. If empty, the URL of the provider.
    audiences: Vec<String>,
    /// Targets such as `google.subject`, each with its claim.
    mapping: Vec<(String, String)>,
    /// Claims with their required values.
    condition: Vec<(String, String)>,
    disabled: bool,
}

/// Pairs of role and member.
#[derive(Clone, Debug, Default)]
struct Bindings(Vec<(String, String)>);

/// An access token.
#[derive(Clone, Debug)]
struct Token {
    /// The IAM members that the bearer represents.
    members: Vec<String>,
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

    /// Creates [`PROVIDER`] for the issuer, with the workspace as audience and a condition on the default repository's
    /// UUID, and the repository `etl` at [`REGISTRY`], which the provider may read directly and as [`SERVICE_ACCOUNT`].
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

    /// Creates a project and makes it the default for commands without `--project`.
    pub fn project(&self, id: &str, number: &str) {
        let mut state = self.state();
        state.numbers.insert(id.to_owned(), number.to_owned());
        state.project = Some(id.to_owned());
    }

    /// Runs `gcloud` commands, one per line, as a shell does.
    ///
    /// Supported are `create`, `providers create-oidc`, `providers update-oidc` and `providers delete` of workload
    /// identity pools, and `create`, `add-iam-policy-binding` and `remove-iam-policy-binding` of service accounts and
    /// of Artifact Registry repositories.
    ///
    /// # Errors
    ///
    /// A command is unknown, lacks a flag, or names something that does not exist. The commands before it have taken
    /// effect.
    pub fn gcloud(&self, commands: &str) -> Result<(), GcloudError> {
        gcloud::run(&mut self.state(), commands)
    }

    pub(crate) fn reply(&self, host: &str, request: &Request) -> Option<Reply> {
        match host {
            "sts.googleapis.com" => Some(self.exchange(request)),
            "iamcredentials.googleapis.com" => Some(self.generate_access_token(request)),
            _ => None,
        }
    }

    /// Issues an access token.
    fn issue(&self, state: &mut State, prefix: &str, members: Vec<String>) -> String {
        let token = self.secrets.token(prefix, 600);
        state.tokens.insert(token.clone(), Token { members });
        token
    }

    /// Whether a token was issued by this cloud.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.state().tokens.contains_key(token)
    }

    /// Whether the bearer of a token, or anybody, is permitted to read a repository of Artifact Registry.
    pub(crate) fn permits(&self, token: Option<&str>, host: &str, name: &str) -> bool {
        let state = self.state();
        let mut members = vec!["allUsers".to_owned()];
        if let Some(token) = token.and_then(|token| state.tokens.get(token)) {
            members.extend(token.members.iter().cloned());
        }
        let bindings = repository(host, name).and_then(|repository| state.repositories.get(&repository));
        bindings.is_some_and(|bindings| bindings.grant(&[READER, WRITER], &members))
    }
}

impl State {
    /// The IAM members for the claims of a token, by the provider's mapping.
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

/// The Artifact Registry repository of an image: `LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE`, or
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

/// Whether a host is a registry of Google.
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

/// The token in an `Authorization: Bearer` header.
fn bearer(request: &Request) -> Option<&str> {
    request.header("authorization").and_then(|header| secret::scheme(header, "bearer"))
}
