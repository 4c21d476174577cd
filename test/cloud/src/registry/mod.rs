//! Registries (OCI distribution specification 1.1), each with the ways of the real one of its name.

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

/// Something that a registry does unlike others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// `Docker-Content-Digest` is missing.
    NoDigestHeader,
    /// `Docker-Content-Digest` is that of other bytes.
    WrongDigestHeader,
    /// `Docker-Content-Digest` is no digest.
    MalformedDigestHeader,
    /// The bytes of manifests and blobs are not those of their digest.
    WrongBytes,
    /// Blobs are elsewhere: 307 to another host with a signature in its query, which refuses an `Authorization`.
    RedirectBlobs,
    /// `HEAD` of a manifest is answered with 405.
    NoHead,
    /// `tags/list` is answered with 404.
    NoTagsList,
}

/// A registry. Clones are the same registry.
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
    /// The signatures of blobs that were redirected, with what they open.
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

    /// Its host name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Puts an image there under a tag and returns the digest that the tag means now.
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

    /// Takes a tag away; what it meant can still be had by its digest.
    pub fn untag(&self, name: &str, tag: &str) {
        if let Some(repository) = self.state().repositories.get_mut(name) {
            repository.tags.remove(tag);
        }
    }

    /// Lets only users read a repository, which is created if it does not exist. At ECR and Google the cloud's
    /// permissions say who may read.
    pub fn make_private(&self, name: &str) {
        self.state().repositories.entry(name.to_owned()).or_default().private = true;
    }

    /// Adds a user, who may read every repository.
    pub fn add_user(&self, name: &str, password: &str) {
        self.0.secrets.keep(password);
        self.state().access.users().insert(name.to_owned(), password.to_owned());
    }

    /// Adds a refresh token, as `docker login` stores one under `identitytoken`; it may read every repository.
    pub fn add_identity_token(&self, token: &str) {
        self.0.secrets.keep(token);
        if let Access::Token(auth) = &mut self.state().access {
            auth.identity_tokens.push(token.to_owned());
        }
    }

    /// Wants no credentials at all.
    pub fn use_no_auth(&self) {
        self.state().access = Access::Open;
    }

    /// Wants user and password with every request, as registries behind a web server do.
    pub fn use_basic_auth(&self) {
        self.state().access = Access::Basic(HashMap::new());
    }

    /// Wants a token from this realm, such as `auth.example.com/token?client=docker`, for a service.
    pub fn use_token_auth(&self, realm: &str, service: &str) {
        self.state().access = Access::Token(TokenAuth::new(realm, service));
    }

    /// Names a scope in challenges that has nothing to do with the request, as GHCR does for `/v2/`.
    pub fn challenge_scope(&self, scope: &str) {
        self.auth(|auth| auth.challenge_scope = Some(scope.to_owned()));
    }

    /// Says the whole realm URL of challenges; the token service stays where it is.
    pub fn challenge_realm(&self, realm: &str) {
        self.auth(|auth| auth.challenge_realm = Some(realm.to_owned()));
    }

    /// How challenges are written.
    pub fn challenges(&self, challenges: Challenges) {
        self.state().challenges = challenges;
    }

    /// Returns tokens under these names only (`token`, `access_token`), and without `expires_in` if there is no number.
    pub fn token_response(&self, names: &'static [&'static str], expires_in: Option<u64>) {
        self.auth(|auth| (auth.names, auth.expires_in) = (names, expires_in));
    }

    /// Has no `POST` at the realm (404), as token services had before OAuth 2.
    pub fn refuse_oauth(&self) {
        self.auth(|auth| auth.oauth = false);
    }

    /// Lets every bearer token expire now.
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

    /// The response of the registry that a host belongs to: as registry, as token service or as store of blobs.
    pub(crate) fn reply(&self, host: &str, request: &Request) -> Option<Reply> {
        let registries = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Docker Hub's API has two names.
        let host = if host == "index.docker.io" { "registry-1.docker.io" } else { host };
        let token = registries.iter().find_map(|registry| registry.token_reply(host, request));
        token.or_else(|| {
            let own = registries.iter().find(|registry| registry.host() == host);
            let blobs = || registries.iter().find(|registry| registry.blob_host() == host);
            own.map(|registry| registry.reply(request)).or_else(|| blobs().map(|registry| registry.blob(request)))
        })
    }
}
