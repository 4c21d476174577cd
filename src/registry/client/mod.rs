//! Asks registries for manifests (OCI distribution specification, *Pulling manifests*), with the access that they ask for.

mod look_up;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use super::challenge::{Bearer, Challenge, RefusedRealm};
use super::explain::{self, RefusalContext};
use super::{CredentialSource, RegistryCredentials, manifest, wanted_credentials};
use crate::cloud::aws::Aws;
use crate::cloud::google::Google;
use crate::cloud::{RegistryLogin, Step};
use crate::console::redact::{SHORTEST_ISSUED, Secret};
use crate::diagnostic::{Diagnostic, Explain as _};
use crate::function::image::Host;
use crate::http::client::secret_header;
use crate::http::responder;
use crate::http::service::{
    SHORT, ServiceClient, ServiceResponse, about, denied, incomplete, is_transient, unavailable,
};

pub(crate) use look_up::FoundImage;

/// Who this client says it is when it refreshes a token.
const CLIENT_ID: &str = "openfaas-pipe";

/// No server takes a longer header, and each of its encodings is looked for in every line of the log.
const LONGEST_TOKEN: usize = 8 * 1024;

/// The registries of a run, with what it knows of them so far.
pub(crate) struct Registries<'a> {
    http: &'a ServiceClient,
    credentials: &'a RegistryCredentials,
    step: Option<&'a Step<'a>>,
    pub(crate) aws: Option<Aws<'a>>,
    pub(crate) google: Option<Google<'a>>,
    /// The last challenge of each registry, which saves the request that it refuses.
    challenges: Mutex<HashMap<Host, Challenge>>,
    /// By registry, token endpoint, service and scope.
    tokens: Mutex<HashMap<String, TokenCell>>,
}

type TokenCell = Arc<OnceCell<Result<HeaderValue, Diagnostic>>>;

impl<'a> Registries<'a> {
    /// `step` is shown to clouds, and only if their variables are set.
    pub(crate) fn new(
        http: &'a ServiceClient,
        credentials: &'a RegistryCredentials,
        step: Option<&'a Step<'a>>,
    ) -> Self {
        let aws = credentials.aws.as_ref().zip(step).map(|(role, step)| Aws::new(http, role, step));
        let google = credentials.google.as_ref().zip(step);
        let google = google.map(|((provider, account), step)| Google::new(http, provider, account.as_ref(), step));
        Self { http, credentials, step, aws, google, challenges: Mutex::default(), tokens: Mutex::default() }
    }

    fn context(&self) -> RefusalContext<'a> {
        RefusalContext { credentials: self.credentials, step: self.step }
    }

    /// Signs in to a host. What a cloud returns is new; any other login is shown to the registry, as docker does, without any
    /// image.
    pub(crate) async fn sign_in(&self, host: &Host) -> Result<SignedIn, Diagnostic> {
        let access = self.access(host).await?;
        let Some(login) = &access.login else {
            let hint = format!("set {}", wanted_credentials(host));
            return Err(denied(format!("there are no credentials for registry `{host}`")).with_hint(hint));
        };
        let signed_in = |is_optional| Ok(SignedIn { login: Arc::clone(login), is_optional });
        if let CredentialSource::Aws(..) | CredentialSource::Google(..) = self.credentials.of(host) {
            return signed_in(false);
        }
        let base = access.url("");
        let (mut response, is_authorized) = access.ask(Method::GET, &base, SHORT, None).await?;
        let is_optional = response.status.is_success() && !is_authorized;
        if is_optional {
            (response, _) = access.send(Method::GET, &base, SHORT, access.basic()).await?;
        }
        let response = &response;
        match response.status {
            StatusCode::OK if !responder::is_web_page(&response.headers, &response.body) => signed_in(is_optional),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(explain::login_refused(host, response, self.context()))
            }
            _ => {
                available(response, || format!("registry `{host}`"))?;
                Err(explain::not_registry(host, response))
            }
        }
    }

    /// Access to a host, with the login that a cloud returns for the step's token if that is what applies.
    async fn access<'r>(&'r self, host: &'r Host) -> Result<Access<'r, 'a>, Diagnostic> {
        let no_token = || {
            let hint = "give the step `oidc: true`, and leave `BITBUCKET_STEP_OIDC_TOKEN` out of `variables:`; Bitbucket passes \
                        it by itself";
            denied(format!("registry `{host}` needs the step's token, and the step has none")).with_hint(hint)
        };
        let login = match self.credentials.of(host) {
            CredentialSource::Anonymous => None,
            CredentialSource::DockerAuthConfig(login) | CredentialSource::Variables(login) => Some(Arc::clone(login)),
            CredentialSource::Aws(ecr, _) => Some(self.aws.as_ref().ok_or_else(no_token)?.login(&ecr).await?),
            CredentialSource::Google(..) => Some(self.google.as_ref().ok_or_else(no_token)?.login().await?),
        };
        if matches!(self.credentials.of(host), CredentialSource::Aws(..) | CredentialSource::Google(..)) {
            // They accept it without a request for a token.
            lock(&self.challenges).entry(host.clone()).or_insert(Challenge::Basic);
        }
        Ok(Access { registries: self, host, login })
    }
}

/// A registry, and what it may be shown.
struct Access<'r, 'a> {
    registries: &'r Registries<'a>,
    host: &'r Host,
    login: Option<Arc<RegistryLogin>>,
}

/// A login that a registry or a cloud accepted.
pub(crate) struct SignedIn {
    pub(crate) login: Arc<RegistryLogin>,
    /// The registry answers without a login too, so that it may not have looked at it.
    pub(crate) is_optional: bool,
}

/// A response, and whether its request was authorized.
type Asked = (ServiceResponse, bool);

/// The response of a token endpoint (distribution, *Token Authentication*).
#[derive(Deserialize)]
struct TokenJson {
    token: Option<String>,
    access_token: Option<String>,
}

impl Access<'_, '_> {
    fn url(&self, path: &str) -> Url {
        let text = format!("{}://{}/v2/{path}", self.host.scheme(), self.host.api());
        Url::parse(&text).expect("a host is valid in a URL")
    }

    /// Sends a request about a repository, authorized by the registry's last challenge; after a refusal once more, by the new
    /// one. A login that there is has been shown when this returns a refusal.
    async fn ask(
        &self,
        method: Method,
        url: &Url,
        limit: usize,
        repository: Option<&str>,
    ) -> Result<Asked, Diagnostic> {
        let send =
            async |authorization: Option<HeaderValue>| self.send(method.clone(), url, limit, authorization).await;
        let known = lock(&self.registries.challenges).get(self.host).cloned();
        let sent = match known {
            Some(challenge) => self.authorization(&challenge, repository).await?,
            None => None,
        };
        let asked = send(sent.clone()).await?;
        if !matches!(asked.0.status.as_u16(), 401 | 403 | 404) {
            return Ok(asked);
        }
        let challenge = match challenge(&asked.0.headers) {
            // Some registries hide private images from those that show no login, and ask for one only at the base.
            None if sent.is_none() && self.login.is_some() => Some(self.challenge_of_base().await?.of_any_repository()),
            challenge => challenge,
        };
        let Some(challenge) = challenge else { return Ok(asked) };
        let authorization = self.authorization(&challenge, repository).await?;
        lock(&self.registries.challenges).insert(self.host.clone(), challenge.of_any_repository());
        if authorization.is_none() || authorization == sent {
            return Ok(asked);
        }
        send(authorization).await
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        limit: usize,
        authorization: Option<HeaderValue>,
    ) -> Result<Asked, Diagnostic> {
        let http = self.registries.http;
        let accept = if url.path().contains("/manifests/") { manifest::ACCEPT } else { "*/*" };
        let request = http.request(method, url.clone()).header(ACCEPT, accept);
        let is_authorized = authorization.is_some();
        let request = authorization.into_iter().fold(request, |request, value| request.header(AUTHORIZATION, value));
        Ok((http.send(request, limit).await?, is_authorized))
    }

    /// The challenge at the registry's base, which docker requests first; Basic if there is no challenge.
    async fn challenge_of_base(&self) -> Result<Challenge, Diagnostic> {
        let (response, _) = self.send(Method::GET, &self.url(""), SHORT, None).await?;
        available(&response, || format!("registry `{}`", self.host))?;
        Ok(challenge(&response.headers).unwrap_or(Challenge::Basic))
    }

    async fn authorization(
        &self,
        challenge: &Challenge,
        repository: Option<&str>,
    ) -> Result<Option<HeaderValue>, Diagnostic> {
        match challenge {
            Challenge::Basic => Ok(self.basic()),
            Challenge::Bearer(bearer) => self.token(bearer, repository).await.map(Some),
        }
    }

    fn basic(&self) -> Option<HeaderValue> {
        secret_header(&format!("Basic {}", self.login.as_ref()?.basic.reveal())).ok()
    }

    /// A token of the registry's token endpoint, each requested once.
    async fn token(&self, bearer: &Bearer, repository: Option<&str>) -> Result<HeaderValue, Diagnostic> {
        let host = self.host;
        let refused =
            |error: RefusedRealm| Diagnostic { hint: error.hint(), ..denied(format!("registry `{host}`: {error}")) };
        let form_endpoint = bearer.endpoint(&self.url("")).map_err(refused)?;
        let scopes = repository.map(|repository| bearer.scopes(repository)).unwrap_or_default();
        let scope = scopes.join(" ");
        let service = bearer.service.iter().map(|service| ("service", service.as_str()));
        let mut endpoint = form_endpoint.clone();
        if bearer.service.is_some() || !scopes.is_empty() {
            let scopes = scopes.iter().map(|scope| ("scope", scope.as_str()));
            endpoint.query_pairs_mut().extend_pairs(service.clone().chain(scopes));
        }
        let cell = Arc::clone(lock(&self.registries.tokens).entry(format!("{host} {endpoint}")).or_default());
        // Lookups side by side wait for the first one's token.
        let token = cell.get_or_init(|| async {
            let http = self.registries.http;
            let no_response = |error| about(format!("token endpoint of registry `{host}`"), error);
            if let Some(refresh) = self.login.as_ref().and_then(|login| login.identity_token.as_ref()) {
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("refresh_token", refresh.reveal()),
                    ("client_id", CLIENT_ID),
                    ("scope", &scope),
                ];
                let form: Vec<_> = fields.into_iter().chain(service).collect();
                let request = http.request(Method::POST, form_endpoint).form(&form);
                let response = http.send(request, SHORT).await.map_err(no_response)?;
                if !matches!(response.status.as_u16(), 404 | 405) {
                    return self.read_token(&response);
                }
            }
            let request = http.request(Method::GET, endpoint);
            let request = self.basic().into_iter().fold(request, |request, value| request.header(AUTHORIZATION, value));
            self.read_token(&http.send(request, SHORT).await.map_err(no_response)?)
        });
        token.await.clone()
    }

    fn read_token(&self, response: &ServiceResponse) -> Result<HeaderValue, Diagnostic> {
        let host = self.host;
        available(response, || format!("token endpoint of registry `{host}`"))?;
        if !response.status.is_success() {
            return Err(explain::login_refused(host, response, self.registries.context()));
        }
        let json: Option<TokenJson> = serde_json::from_slice(&response.body).ok();
        let mut tokens = json.into_iter().flat_map(|json| [json.token, json.access_token]).flatten();
        let token = tokens.find(|token| (1..=LONGEST_TOKEN).contains(&token.len()));
        // What anybody gets may be a word, such as `anonymous`, that would be masked everywhere.
        if let Some(token) = token.as_ref().filter(|token| self.login.is_some() || token.len() >= SHORTEST_ISSUED) {
            let _ = Secret::token(token.clone());
        }
        let header = token.and_then(|token| secret_header(&format!("Bearer {token}")).ok());
        header.ok_or_else(|| incomplete(&format!("the token endpoint of registry `{host}`"), "a token"))
    }
}

/// Fails if a server may answer otherwise later.
fn available(response: &ServiceResponse, server: impl FnOnce() -> String) -> Result<(), Diagnostic> {
    match response.status {
        status if is_transient(status) => Err(unavailable(format!("{} returned {}", server(), status.as_u16()))),
        _ => Ok(()),
    }
}

fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    Challenge::of(headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
