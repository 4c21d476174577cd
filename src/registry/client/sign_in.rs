//! Signing in for docker: a login that was checked, or what a cloud gave for the step's token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::AUTHORIZATION;

use super::{Challenge, Registries, api_url, challenge};
use crate::console::redact::Secret;
use crate::registry::credentials::{Login, Source};
use crate::registry::error::Error;
use crate::registry::explain;
use crate::registry::google;
use crate::registry::reference::Host;
use crate::registry::transport::{ANSWER_LIMIT, Unanswered, is_transient};

/// What docker needs to sign in to a registry.
#[derive(Debug)]
pub(crate) struct SignedIn {
    /// The base64 of `USERNAME:PASSWORD`.
    pub(crate) auth: Secret,
    pub(crate) identity_token: Option<String>,
    /// In seconds since 1970; `None` if it does not expire by itself.
    pub(crate) expires: Option<u64>,
}

impl Registries<'_> {
    /// The credentials of a host for docker. What a cloud gives is new; any other login is shown to the registry.
    pub(crate) async fn sign_in(&self, host: &Host) -> Result<SignedIn, Error> {
        let auth = |username: &str, password: &str| Secret::new(STANDARD.encode(format!("{username}:{password}")));
        let (auth, identity_token, expires) = match self.credentials.of(host) {
            Source::DockerAuthConfig(login) | Source::Variables(login) => {
                self.check_login(host).await?;
                match login {
                    Login::Password { username, password } => (auth(username, password.reveal()), None, None),
                    Login::IdentityToken(token) => (auth("<token>", ""), Some(token.reveal().to_owned()), None),
                }
            }
            Source::Aws(ecr, _) => {
                let aws = self.aws.as_ref().ok_or_else(|| explain::no_token(host))?;
                let password = aws.password(&ecr).await?;
                (Secret::new(password.basic.reveal().to_owned()), None, password.expires)
            }
            Source::Google(..) => {
                let google = self.google.as_ref().ok_or_else(|| explain::no_token(host))?;
                let token = google.token().await?;
                (auth(google::USER, token.token.reveal()), None, token.expires)
            }
            Source::Anonymous => {
                let hint = format!("set {}", crate::registry::credentials::wanted(host));
                return Err(Error::denied(format!("there are no credentials for registry `{host}`"), hint));
            }
        };
        Ok(SignedIn { auth, identity_token, expires })
    }

    /// Checks a login as docker does, without any image.
    async fn check_login(&self, host: &Host) -> Result<(), Error> {
        let grant = self.grant(host).await?;
        let url = api_url(host, "")?;
        let unanswered = |error: Unanswered| Error::unavailable(format!("registry `{host}`: {error}"));
        let request = self.http.request(Method::GET, url.clone());
        let answer = self.http.send(request, ANSWER_LIMIT).await.map_err(unanswered)?;
        let answer = match challenge(&answer.headers).filter(|_| answer.status.as_u16() == 401) {
            Some(challenge) => {
                let authorization = match &challenge {
                    Challenge::Basic => grant.basic.clone(),
                    Challenge::Bearer(bearer) => Some(self.token(&grant, host, bearer, &[]).await?),
                };
                let request = self.http.request(Method::GET, url);
                let request =
                    authorization.into_iter().fold(request, |request, value| request.header(AUTHORIZATION, value));
                self.http.send(request, ANSWER_LIMIT).await.map_err(unanswered)?
            }
            None => answer,
        };
        match answer.status {
            status if status.is_success() => Ok(()),
            status if is_transient(status) => {
                Err(Error::unavailable(format!("registry `{host}` answered {}", status.as_u16())))
            }
            _ => Err(explain::login_refused(host, &answer, self.context())),
        }
    }
}
