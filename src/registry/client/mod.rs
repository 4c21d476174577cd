//! Asks registries for manifests (OCI distribution specification, *Pulling manifests*).

mod sign_in;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use super::aws::Aws;
use super::challenge::{Bearer, Challenge};
use super::credentials::{Credentials, Login, Source};
use super::error::Error;
use super::explain::{self, Context};
use super::google::{self, Google};
use super::manifest::{self, Manifest, Platform};
use super::reference::{Host, Reference, is_digest};
use super::step::Step;
use super::transport::{ANSWER_LIMIT, Answer, Http, is_transient};
use crate::console::redact::Secret;

pub(crate) use sign_in::SignedIn;

/// Manifests may be 4 MiB (OCI distribution specification, *Pushing manifests*).
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
/// Of a list of tags only near ones are of use; a longer list is not searched.
const TAGS_LIMIT: usize = 1024 * 1024;

/// Who this client says it is when it refreshes a token.
const CLIENT_ID: &str = "openfaas-pipe";

/// The registries of a run, with what it knows of them so far.
pub(crate) struct Registries<'a> {
    http: &'a Http,
    credentials: &'a Credentials,
    step: Option<&'a Step<'a>>,
    aws: Option<Aws<'a>>,
    google: Option<Google<'a>>,
    /// What each registry asked for, so that it need not ask again.
    challenges: Mutex<HashMap<Host, Challenge>>,
    /// By token endpoint, service and scope.
    tokens: Mutex<HashMap<String, TokenCell>>,
}

type TokenCell = Arc<OnceCell<Result<HeaderValue, Error>>>;

/// An image that a registry has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Of what the tag means: the index, if there is one.
    pub(crate) digest: String,
    /// Empty unless they were asked for.
    pub(crate) platforms: Vec<Platform>,
}

/// What a registry may be shown.
#[derive(Default)]
struct Grant<'a> {
    basic: Option<HeaderValue>,
    identity: Option<&'a Secret>,
    /// The registry is known to take `basic` without asking.
    ahead: bool,
}

/// What a token endpoint returns (distribution, *Token Authentication*).
#[derive(Deserialize)]
struct TokenJson {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Registries<'a> {
    /// `step` is shown to clouds, and only where their variables are set.
    pub(crate) fn new(http: &'a Http, credentials: &'a Credentials, step: Option<&'a Step<'a>>) -> Self {
        let aws = credentials.aws.as_ref().zip(step).map(|(role, step)| Aws::new(http, role, step));
        let google = credentials.google.as_ref().zip(step);
        let google = google.map(|((provider, account), step)| Google::new(http, provider, account.as_ref(), step));
        Self { http, credentials, step, aws, google, challenges: Mutex::default(), tokens: Mutex::default() }
    }

    pub(crate) fn aws(&self) -> Option<&Aws<'a>> {
        self.aws.as_ref()
    }

    pub(crate) fn google(&self) -> Option<&Google<'a>> {
        self.google.as_ref()
    }

    /// Looks an image up; its platforms only if they matter, since they cost further requests.
    pub(crate) async fn look_up(&self, image: &Reference, platforms: bool) -> Result<Found, Error> {
        let grant = self.grant(&image.host).await?;
        let url = manifest_url(image, image.version())?;
        let head = self.ask(&grant, Method::HEAD, &url, image, ANSWER_LIMIT).await?;
        let digest = match head.status.as_u16() {
            200 => digest_of(&head.headers, image)?,
            404 => return self.explain_absence(&grant, &url, image, platforms).await,
            _ => return Err(self.explain_refusal(&grant, &url, image, head).await),
        };
        let (digest, manifest) = match digest {
            Some(digest) => (digest, None),
            None => {
                let answer = self.ask(&grant, Method::GET, &url, image, MANIFEST_LIMIT).await?;
                let body = whole(answer, image, self.context())?;
                (hashed(&body, image)?, Some(body))
            }
        };
        self.found(&grant, image, digest, manifest, platforms).await
    }

    /// The result, with the platforms if they are asked for.
    async fn found(
        &self,
        grant: &Grant<'_>,
        image: &Reference,
        digest: String,
        manifest: Option<Vec<u8>>,
        platforms: bool,
    ) -> Result<Found, Error> {
        if !platforms {
            return Ok(Found { digest, platforms: Vec::new() });
        }
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => {
                // By its digest: the tag may have moved.
                let url = manifest_url(image, &digest)?;
                let answer = self.ask(grant, Method::GET, &url, image, MANIFEST_LIMIT).await?;
                whole(answer, image, self.context())?
            }
        };
        if !manifest::has_digest(&manifest, &digest) {
            return Err(explain::wrong_digest(image, &digest));
        }
        let platforms = match Manifest::read(&manifest).map_err(|error| explain::unreadable(image, &error))? {
            Manifest::Index(platforms) => platforms,
            Manifest::Single { config } => {
                let url = api_url(&image.host, &format!("{}/blobs/{config}", image.repository))?;
                let body = whole(self.blob(grant, &url, image).await?, image, self.context())?;
                if !manifest::has_digest(&body, &config) {
                    return Err(explain::wrong_digest(image, &config));
                }
                vec![Platform::of_config(&body).map_err(|error| explain::unreadable(image, &error))?]
            }
        };
        Ok(Found { digest, platforms })
    }

    /// An answer to `HEAD` has no words, and some registries answer it with 404 only because they do not know it.
    async fn explain_absence(
        &self,
        grant: &Grant<'_>,
        url: &Url,
        image: &Reference,
        platforms: bool,
    ) -> Result<Found, Error> {
        // Side by side, since only the repository may be missing too.
        let (answer, tags) =
            tokio::join!(self.ask(grant, Method::GET, url, image, MANIFEST_LIMIT), self.tags(grant, image));
        let answer = answer?;
        match answer.status.as_u16() {
            200 => {
                let body = whole(answer, image, self.context())?;
                let digest = hashed(&body, image)?;
                self.found(grant, image, digest, Some(body), platforms).await
            }
            404 => Err(explain::not_found(image, &explain::Said::of(&answer), &tags)),
            _ => Err(explain::refused(image, &answer, self.context())),
        }
    }

    async fn explain_refusal(&self, grant: &Grant<'_>, url: &Url, image: &Reference, head: Answer) -> Error {
        let status = head.status;
        if matches!(status.as_u16(), 401 | 403)
            && let Ok(answer) = self.ask(grant, Method::GET, url, image, ANSWER_LIMIT).await
            && answer.status == status
        {
            return explain::refused(image, &answer, self.context());
        }
        explain::refused(image, &head, self.context())
    }

    /// The tags of an image's repository, if the registry lists them.
    async fn tags(&self, grant: &Grant<'_>, image: &Reference) -> Vec<String> {
        #[derive(Deserialize)]
        struct TagList {
            tags: Option<Vec<String>>,
        }
        let Ok(mut url) = api_url(&image.host, &format!("{}/tags/list", image.repository)) else { return Vec::new() };
        url.query_pairs_mut().append_pair("n", "1000");
        match self.ask(grant, Method::GET, &url, image, TAGS_LIMIT).await {
            Ok(answer) if answer.status.is_success() && !answer.cut => {
                let list: Option<TagList> = serde_json::from_slice(&answer.body).ok();
                list.and_then(|list| list.tags).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// A request for an image's manifest or tags, answering what the registry asks for.
    async fn ask(
        &self,
        grant: &Grant<'_>,
        method: Method,
        url: &Url,
        image: &Reference,
        limit: usize,
    ) -> Result<Answer, Error> {
        let authorization = self.authorization(grant, image).await?;
        let request = |authorization: Option<HeaderValue>| {
            let request = self.http.request(method.clone(), url.clone()).header(ACCEPT, manifest::ACCEPT);
            authorization.into_iter().fold(request, |request, value| request.header(AUTHORIZATION, value))
        };
        let unanswered = |error| explain::unanswered(image, &error);
        let answer = self.http.send(request(authorization.clone()), limit).await.map_err(unanswered)?;
        match self.renewed(grant, image, &answer, authorization).await? {
            Some(authorization) => self.http.send(request(Some(authorization)), limit).await.map_err(unanswered),
            None => Ok(answer),
        }
    }

    /// As [`Registries::ask`], for a blob, which registries redirect to storage.
    async fn blob(&self, grant: &Grant<'_>, url: &Url, image: &Reference) -> Result<Answer, Error> {
        let authorization = self.authorization(grant, image).await?;
        let request = |authorization: Option<HeaderValue>| {
            let request = self.http.request(Method::GET, url.clone());
            authorization.into_iter().fold(request, |request, value| request.header(AUTHORIZATION, value))
        };
        let unanswered = |error| explain::unanswered(image, &error);
        let send = async |authorization| {
            self.http.send_for_blob(request(authorization), url, MANIFEST_LIMIT).await.map_err(unanswered)
        };
        let answer = send(authorization.clone()).await?;
        match self.renewed(grant, image, &answer, authorization).await? {
            Some(authorization) => send(Some(authorization)).await,
            None => Ok(answer),
        }
    }

    /// What goes with the first request: nothing, until the registry has asked.
    async fn authorization(&self, grant: &Grant<'_>, image: &Reference) -> Result<Option<HeaderValue>, Error> {
        if grant.ahead {
            return Ok(grant.basic.clone());
        }
        let known = self.challenges().get(&image.host).cloned();
        match known {
            Some(challenge) => self.answer(grant, image, &challenge).await,
            None => Ok(None),
        }
    }

    /// What goes with a second request, after a 401 that asks for something else than what was sent.
    async fn renewed(
        &self,
        grant: &Grant<'_>,
        image: &Reference,
        answer: &Answer,
        sent: Option<HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        let Some(challenge) = challenge(&answer.headers).filter(|_| answer.status.as_u16() == 401) else {
            return Ok(None);
        };
        let authorization = self.answer(grant, image, &challenge).await?;
        self.challenges().insert(image.host.clone(), challenge);
        Ok(authorization.filter(|authorization| Some(authorization) != sent.as_ref()))
    }

    async fn answer(
        &self,
        grant: &Grant<'_>,
        image: &Reference,
        challenge: &Challenge,
    ) -> Result<Option<HeaderValue>, Error> {
        match challenge {
            Challenge::Basic => Ok(grant.basic.clone()),
            Challenge::Bearer(bearer) => {
                let scopes = bearer.scopes(&image.repository);
                let token = self.token(grant, &image.host, bearer, &scopes).await;
                token.map(Some).map_err(|error| explain::about(image, error))
            }
        }
    }

    /// A token of the registry's token endpoint, each requested once.
    async fn token(
        &self,
        grant: &Grant<'_>,
        host: &Host,
        bearer: &Bearer,
        scopes: &[String],
    ) -> Result<HeaderValue, Error> {
        let registry = api_url(host, "")?;
        let mut endpoint =
            bearer.endpoint(&registry).map_err(|error| Error::denied(format!("registry `{host}`: {error}"), None))?;
        let mut parameters: Vec<_> = bearer.service.iter().map(|service| ("service", service.as_str())).collect();
        parameters.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
        let form = endpoint.clone();
        if !parameters.is_empty() {
            endpoint.query_pairs_mut().extend_pairs(&parameters);
        }
        let cell = Arc::clone(self.tokens().entry(format!("{host} {endpoint}")).or_default());
        let token = cell.get_or_init(|| async {
            if let Some(refresh) = grant.identity {
                let scope = scopes.join(" ");
                let mut fields = vec![
                    ("grant_type", "refresh_token"),
                    ("refresh_token", refresh.reveal()),
                    ("client_id", CLIENT_ID),
                    ("scope", &scope),
                ];
                fields.extend(bearer.service.iter().map(|service| ("service", service.as_str())));
                let request = self.http.request(Method::POST, form).form(&fields);
                let answer = self.send_for_token(host, request).await?;
                if !matches!(answer.status.as_u16(), 404 | 405) {
                    return read_token(host, &answer, self.context());
                }
            }
            let request = self.http.request(Method::GET, endpoint);
            let request = grant.basic.iter().fold(request, |request, value| request.header(AUTHORIZATION, value));
            read_token(host, &self.send_for_token(host, request).await?, self.context())
        });
        token.await.clone()
    }

    async fn send_for_token(&self, host: &Host, request: reqwest::RequestBuilder) -> Result<Answer, Error> {
        let sent = self.http.send(request, ANSWER_LIMIT).await;
        sent.map_err(|error| Error::unavailable(format!("token endpoint of registry `{host}`: {error}")))
    }

    /// The credentials for a host, exchanged for the step's token if a cloud takes it.
    async fn grant(&self, host: &Host) -> Result<Grant<'a>, Error> {
        match self.credentials.of(host) {
            Source::DockerAuthConfig(login) | Source::Variables(login) => Ok(Grant::of(login)),
            Source::Aws(ecr, _) => {
                let aws = self.aws.as_ref().ok_or_else(|| explain::no_token(host))?;
                let password = aws.password(&ecr).await?;
                Ok(Grant { basic: header("Basic", password.basic.reveal()), identity: None, ahead: true })
            }
            Source::Google(..) => {
                let google = self.google.as_ref().ok_or_else(|| explain::no_token(host))?;
                let token = google.token().await?;
                Ok(Grant { basic: basic(google::USER, token.token.reveal()), identity: None, ahead: true })
            }
            Source::Anonymous => Ok(Grant::default()),
        }
    }

    fn context(&self) -> Context<'a> {
        Context { credentials: self.credentials, step: self.step }
    }

    fn challenges(&self) -> std::sync::MutexGuard<'_, HashMap<Host, Challenge>> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<String, TokenCell>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Grant<'a> {
    fn of(login: &'a Login) -> Self {
        match login {
            Login::Password { username, password } => {
                Self { basic: basic(username, password.reveal()), identity: None, ahead: false }
            }
            Login::IdentityToken(token) => {
                Self { basic: basic("<token>", token.reveal()), identity: Some(token), ahead: false }
            }
        }
    }
}

fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    header("Basic", &STANDARD.encode(format!("{username}:{password}")))
}

fn header(scheme: &str, credentials: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {credentials}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn read_token(host: &Host, answer: &Answer, context: Context<'_>) -> Result<HeaderValue, Error> {
    if is_transient(answer.status) {
        let status = answer.status.as_u16();
        return Err(Error::unavailable(format!("token endpoint of registry `{host}` answered {status}")));
    }
    if !answer.status.is_success() {
        return Err(explain::login_refused(host, answer, context));
    }
    let json: Option<TokenJson> = serde_json::from_slice(&answer.body).ok();
    let token = json.and_then(|json| json.token.or(json.access_token)).filter(|token| !token.is_empty());
    let token = token.map(Secret::token).and_then(|token| header("Bearer", token.reveal()));
    token.ok_or_else(|| {
        let hint = "look for a proxy that answers in its place".to_owned();
        Error::denied(format!("the token endpoint of registry `{host}` returned no token"), hint)
    })
}

fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    Challenge::of(headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()))
}

fn api_url(host: &Host, path: &str) -> Result<Url, Error> {
    let text = format!("{}://{}/v2/{path}", host.scheme(), host.api());
    Url::parse(&text).map_err(|error| Error::denied(format!("registry `{host}`: {error}"), None))
}

fn manifest_url(image: &Reference, version: &str) -> Result<Url, Error> {
    api_url(&image.host, &format!("{}/manifests/{version}", image.repository))
}

/// The digest that the registry names; none if it names none.
fn digest_of(headers: &HeaderMap, image: &Reference) -> Result<Option<String>, Error> {
    let Some(value) = headers.get("docker-content-digest") else { return Ok(None) };
    let digest = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    if digest.is_empty() {
        return Ok(None);
    }
    match &image.digest {
        _ if !is_digest(&digest) => Err(explain::malformed_digest(image, &digest)),
        Some(wanted) if *wanted != digest => Err(explain::wrong_digest(image, wanted)),
        _ => Ok(Some(digest)),
    }
}

/// The digest of a manifest, which must be the one in the image's name.
fn hashed(body: &[u8], image: &Reference) -> Result<String, Error> {
    match &image.digest {
        Some(digest) if manifest::has_digest(body, digest) => Ok(digest.clone()),
        Some(digest) => Err(explain::wrong_digest(image, digest)),
        None => Ok(manifest::sha256(body)),
    }
}

/// The body of a success, if it was read to its end.
fn whole(answer: Answer, image: &Reference, context: Context<'_>) -> Result<Vec<u8>, Error> {
    match answer.status.as_u16() {
        200 if !answer.cut => Ok(answer.body),
        200 => Err(explain::too_long(image, MANIFEST_LIMIT)),
        _ => Err(explain::refused(image, &answer, context)),
    }
}
