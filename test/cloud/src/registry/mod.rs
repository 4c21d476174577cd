//! Registries (OCI distribution specification 1.1), each with the behaviour of the real one of that name.

mod api;
mod auth;
mod image;
mod token;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use local_gateway::Request;

pub use auth::Challenges;
pub use image::{DOCKER_LIST, DOCKER_MANIFEST, Image, Manifest, OCI_INDEX, OCI_MANIFEST, Parts, digest};

use crate::aws::{self, Aws};
use crate::google::{self, Google};
use crate::reply::Reply;
use crate::secret::Secrets;
use auth::Access;
use token::{Denial, TokenAuth};

/// A deviation from the usual behaviour of registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// `Docker-Content-Digest` is missing.
    NoDigestHeader,
    /// `Docker-Content-Digest` is the digest of other bytes.
    WrongDigestHeader,
    /// `Docker-Content-Digest` is malformed.
    MalformedDigestHeader,
    /// The bytes of manifests and blobs do not match their digest.
    WrongBytes,
    /// Blobs are redirected (307) to another host with a signature in the query, which rejects an `Authorization`
    /// header.
    RedirectBlobs,
    /// `HEAD` for a manifest returns 405.
    NoHead,
    /// `tags/list` returns 404.
    NoTagsList,
}

/// A registry. Clones share their state.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    host: String,
    state: Mutex<State>,
    secrets: Secrets,
}

struct State {
    repositories: BTreeMap<String, Repository>,
    access: Access,
    challenges: Challenges,
    quirks: BTreeSet<Quirk>,
    /// The signatures of redirected blobs, each with its blob.
    signatures: HashMap<String, Bytes>,
}

#[derive(Default)]
struct Repository {
    private: bool,
    tags: BTreeMap<String, String>,
    manifests: HashMap<String, Manifest>,
    blobs: HashMap<String, Bytes>,
}

impl Registry {
    fn new(host: &str, aws: &Aws, google: &Google, secrets: &Secrets) -> Self {
        let token = |realm: &str, service: &str| TokenAuth::new(realm, service);
        let access = match host {
            "registry-1.docker.io" => {
                Access::Token(token("auth.docker.io/token", "registry.docker.io").denies(Denial::AtRegistry))
            }
            "ghcr.io" => Access::Token(token("ghcr.io/token", "ghcr.io").denies(Denial::AtRealm)),
            "quay.io" => Access::Token(token("quay.io/v2/auth", "quay.io").denies(Denial::AtRegistry)),
            "registry.gitlab.com" => {
                Access::Token(token("gitlab.com/jwt/auth", "container_registry").denies(Denial::AtRealm))
            }
            "public.ecr.aws" => Access::Token(token("public.ecr.aws/token/", "public.ecr.aws").scope("aws")),
            _ if aws::registry(host).is_some() => Access::Ecr(aws.clone()),
            _ if google::is_registry(host) => Access::Google(google.clone()),
            _ => Access::Token(token(&format!("{host}/token"), host)),
        };
        let state = State {
            repositories: BTreeMap::new(),
            access,
            challenges: Challenges::default(),
            quirks: BTreeSet::new(),
            signatures: HashMap::new(),
        };
        Self(Arc::new(Inner { host: host.to_owned(), state: Mutex::new(state), secrets: secrets.clone() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Stores an image under a tag. Returns the digest that the tag now points to.
    pub fn put_image(&self, name: &str, tag: &str, image: &Image) -> String {
        let digest = image.digest();
        let parts = image.parts();
        let mut state = self.state();
        let repository = state.repositories.entry(name.to_owned()).or_default();
        repository.manifests.extend(parts.manifests.into_iter().map(|manifest| (manifest.digest(), manifest)));
        repository.blobs.extend(parts.blobs.into_iter().map(|blob| (image::digest(&blob), blob)));
        repository.tags.insert(tag.to_owned(), digest.clone());
        digest
    }

    /// Makes a repository readable only for users. Creates it if it does not exist. In ECR and Google, the permissions
    /// of the cloud apply instead.
    pub fn make_private(&self, name: &str) {
        self.state().repositories.entry(name.to_owned()).or_default().private = true;
    }

    /// Adds a user with read access to all repositories.
    pub fn add_user(&self, name: &str, password: &str) {
        self.0.secrets.keep(password);
        self.state().access.users().insert(name.to_owned(), password.to_owned());
    }

    /// Adds a refresh token with read access to all repositories, as `docker login` stores it in `identitytoken`.
    pub fn add_identity_token(&self, token: &str) {
        self.0.secrets.keep(token);
        if let Access::Token(auth) = &mut self.state().access {
            auth.identity_tokens.push(token.to_owned());
        }
    }

    /// Disables authentication.
    pub fn use_no_auth(&self) {
        self.state().access = Access::Open;
    }

    /// Requires user and password in every request, like a registry behind a web server.
    pub fn use_basic_auth(&self) {
        self.state().access = Access::Basic(HashMap::new());
    }

    /// Sets the scope in challenges, whatever the request is for, as GHCR does for `/v2/`.
    pub fn challenge_scope(&self, scope: &str) {
        self.auth(|auth| auth.challenge_scope = Some(scope.to_owned()));
    }

    /// Sets the realm URL in challenges. The token service stays the same.
    pub fn challenge_realm(&self, realm: &str) {
        self.auth(|auth| auth.challenge_realm = Some(realm.to_owned()));
    }

    /// Sets the format of challenges.
    pub fn challenges(&self, challenges: Challenges) {
        self.state().challenges = challenges;
    }

    /// Sets the names of the token in responses (`token`, `access_token`), and `expires_in` unless it is `None`.
    pub fn token_response(&self, names: &'static [&'static str], expires_in: Option<u64>) {
        self.auth(|auth| (auth.names, auth.expires_in) = (names, expires_in));
    }

    /// Disables `POST` at the realm (404), like token services without OAuth 2.
    pub fn refuse_oauth(&self) {
        self.auth(|auth| auth.oauth = false);
    }

    /// Expires all bearer tokens.
    pub fn expire_tokens(&self) {
        self.auth(|auth| auth.tokens.values_mut().for_each(|grant| grant.expired = true));
    }

    /// Adds a quirk.
    pub fn quirk(&self, quirk: Quirk) {
        self.state().quirks.insert(quirk);
    }

    /// The host that blobs are redirected to ([`Quirk::RedirectBlobs`]).
    #[must_use]
    pub fn blob_host(&self) -> String {
        format!("blobs.{}", self.0.host)
    }

    fn auth(&self, change: impl FnOnce(&mut TokenAuth)) {
        if let Access::Token(auth) = &mut self.state().access {
            change(auth);
        }
    }
}

/// The registries by host.
#[derive(Clone, Default)]
pub(crate) struct Registries(Arc<Mutex<Vec<Registry>>>);

impl Registries {
    pub(crate) fn get_or_insert(&self, host: &str, aws: &Aws, google: &Google, secrets: &Secrets) -> Registry {
        let mut registries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = registries.iter().find(|registry| registry.host() == host) {
            return registry.clone();
        }
        let registry = Registry::new(host, aws, google, secrets);
        registries.push(registry.clone());
        registry
    }

    /// The response of the registry for this host: as registry, token service or blob store.
    pub(crate) fn reply(&self, host: &str, request: &Request) -> Option<Reply> {
        let registries = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The API of Docker Hub has two names.
        let host = if host == "index.docker.io" { "registry-1.docker.io" } else { host };
        let token = registries.iter().find_map(|registry| registry.token_reply(host, request));
        token.or_else(|| {
            let own = registries.iter().find(|registry| registry.host() == host);
            let blobs = || registries.iter().find(|registry| registry.blob_host() == host);
            own.map(|registry| registry.reply(request)).or_else(|| blobs().map(|registry| registry.blob(request)))
        })
    }
}
