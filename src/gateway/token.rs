//! Tokens: the step's ID token is exchanged (RFC 8693) for a system token, or for one function's token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use tokio::sync::Mutex;

use super::error::ShapeError;
use super::{ApiCall, Error, Gateway, Response};
use crate::console::log;
use crate::console::redact::{SHORTEST_ISSUED, Secret};
use crate::diagnostic::{Diagnostic, Failure, Severity};
use crate::function::FunctionName;
use crate::http::client::secret_header;
use crate::http::responder::{Responder, bearer_challenges};
use crate::oidc::{self, Claims, ExchangeRefused, Exchanged, IdToken, Subject, TokenError};

/// A token is not used within this time before it expires, so that it is still valid when the request arrives.
const MARGIN: Duration = Duration::from_secs(10);

/// Servers refuse headers that are longer, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

pub(crate) enum Authenticator {
    Password {
        token: AccessToken,
        is_jwt: bool,
        /// The step has an ID token, which a password takes precedence over.
        has_id_token: bool,
    },
    IdToken {
        id_token: Arc<IdToken>,
        /// The token that the gateway issued for it.
        system: Mutex<Option<AccessToken>>,
        /// True if the log has a warning about the ID token.
        warned: AtomicBool,
    },
    Unusable(TokenError),
}

/// The `Authorization` header for the gateway's own API, or for one function.
#[derive(Clone)]
pub(crate) struct AccessToken {
    pub(super) header: HeaderValue,
    /// Until when it is used; without end if its lifetime is not known.
    good_until: Option<Instant>,
}

impl AccessToken {
    pub(super) fn is_good(&self) -> bool {
        self.good_until.is_none_or(|end| Instant::now() < end)
    }
}

/// The token that the gateway issued for the step's.
pub(crate) struct Granted {
    header: HeaderValue,
    /// How long it is valid, if the gateway says so.
    pub(crate) lifetime: Option<Duration>,
    /// Its claims, not verified; absent if it is not a JWT.
    pub(crate) claims: Option<Claims>,
}

impl Authenticator {
    pub(crate) fn password(username: &str, password: &Secret, has_id_token: bool) -> Self {
        let is_jwt = password.reveal().starts_with("eyJ") && password.reveal().split('.').count() == 3;
        let encoded = STANDARD.encode(format!("{username}:{}", password.reveal()));
        let header = secret_header(&format!("Basic {encoded}")).expect("base64 is visible ASCII");
        Self::Password { token: AccessToken { header, good_until: None }, is_jwt, has_id_token }
    }

    /// With the step's ID token, or the error that explains why it is missing.
    pub(crate) fn id_token(id_token: &Result<Arc<IdToken>, TokenError>) -> Self {
        match id_token {
            Ok(id_token) => Self::IdToken {
                id_token: Arc::clone(id_token),
                system: Mutex::new(None),
                warned: AtomicBool::new(false),
            },
            Err(error) => Self::Unusable(error.clone()),
        }
    }

    /// The remedy if the password is refused with these headers; `None` if no password is used.
    pub(super) fn password_remedy(&self, headers: &HeaderMap) -> Option<&'static str> {
        let Self::Password { is_jwt, has_id_token, .. } = self else { return None };
        let wants_bearer = bearer_challenges(headers).next().is_some();
        Some(match (is_jwt, wants_bearer, has_id_token) {
            (true, _, true) => "`OPENFAAS_PASSWORD` is a token: remove it, and the pipe exchanges the step's own token",
            (true, _, false) => {
                "`OPENFAAS_PASSWORD` is a token: remove it, and add an `oidc` block to the step, whose token the pipe exchanges"
            }
            (false, true, true) => "the gateway requires a token: remove `OPENFAAS_PASSWORD`, the step has one",
            (false, true, false) => {
                "the gateway requires a token: remove `OPENFAAS_PASSWORD`, and add an `oidc` block to the step"
            }
            (false, false, _) => "check `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`",
        })
    }
}

impl Gateway {
    pub(crate) fn has_id_token(&self) -> bool {
        matches!(self.settings.authenticator, Authenticator::IdToken { .. })
    }

    /// Exchanges the step's token once, before requests that need the result are sent side by side.
    pub(crate) async fn sign_in(&self) -> Result<(), Error> {
        self.not_stopped()?;
        self.authorization().await.map(|_| ())
    }

    /// Exchanges the step's token just to see what the gateway answers, also if it is known to be refused.
    pub(crate) async fn try_exchange(&self, id_token: &IdToken) -> Result<Granted, Error> {
        self.not_stopped()?;
        self.exchange(id_token, &[]).await
    }

    /// A token for one function, exchanged directly for the step's.
    pub(crate) async fn function_token(&self, target: &FunctionName) -> Result<AccessToken, Error> {
        self.not_stopped()?;
        let id_token = match &self.settings.authenticator {
            Authenticator::IdToken { id_token, .. } => id_token,
            Authenticator::Unusable(error) => return Err(self.unusable(error)),
            Authenticator::Password { .. } => {
                let message =
                    format!("`{target}` requires a function token, which is not available with `OPENFAAS_PASSWORD`");
                let hint = "OpenFaaS for Enterprises issues one for the step's ID token: remove `OPENFAAS_PASSWORD`";
                return Err(Error::not_sent(Diagnostic::new(Failure::Permission, message).with_hint(hint)));
            }
        };
        self.access_token(id_token, &[("scope", "function"), ("audience", &target.resource())]).await
    }

    fn unusable(&self, error: &TokenError) -> Error {
        Error::not_sent(error.at(&self.address()))
    }

    /// The system token or the password; a token is exchanged again if it is about to expire.
    pub(super) async fn authorization(&self) -> Result<AccessToken, Error> {
        match &self.settings.authenticator {
            Authenticator::Password { token, .. } => Ok(token.clone()),
            Authenticator::Unusable(error) => Err(self.unusable(error)),
            Authenticator::IdToken { id_token, system, .. } => {
                // Held while exchanging, so that many requests at once lead to one exchange.
                let mut system = system.lock().await;
                if let Some(token) = system.as_ref().filter(|token| token.is_good()) {
                    return Ok(token.clone());
                }
                let token = self.access_token(id_token, &[]).await?;
                *system = Some(token.clone());
                Ok(token)
            }
        }
    }

    /// Drops a token that was not accepted. Returns whether another can be requested.
    pub(super) async fn forget(&self, refused: &AccessToken) -> bool {
        let Authenticator::IdToken { system, .. } = &self.settings.authenticator else { return false };
        let mut system = system.lock().await;
        // Another request may have exchanged it again already.
        if system.as_ref().is_some_and(|token| token.header == refused.header) {
            *system = None;
        }
        true
    }

    /// Exchanges a token, unless every gateway would refuse it.
    async fn access_token(&self, id_token: &IdToken, narrowed: &[(&str, &str)]) -> Result<AccessToken, Error> {
        let doubt = self.check(id_token)?;
        // Before the request: the lifetime may count from when the gateway received it.
        let sent = Instant::now();
        let Granted { header, lifetime, .. } = self.exchange(id_token, narrowed).await?;
        if let Some(doubt) = doubt
            && let Authenticator::IdToken { warned, .. } = &self.settings.authenticator
            && !warned.swap(true, Ordering::Relaxed)
        {
            doubt.log();
        }
        let valid = lifetime.map(|lifetime| format!(", valid for {}", log::duration(lifetime))).unwrap_or_default();
        let purpose = if narrowed.is_empty() { "the step's token" } else { "the step's token for a function's" };
        tracing::info!("exchanged {purpose} at `{}`{valid}", self.address());
        // One that lives no longer than the margin is used for half of its life: otherwise every request would need an exchange of
        // its own.
        let usable = |lifetime: Duration| lifetime.checked_sub(MARGIN).unwrap_or(lifetime / 2);
        let good_until = lifetime.and_then(|lifetime| sent.checked_add(usable(lifetime)));
        Ok(AccessToken { header, good_until })
    }

    /// Refuses a token that every gateway refuses. One that has expired by this machine's clock is sent, since the clock may be
    /// wrong, and the finding returned: a warning if the gateway accepts the token. If it does not, the refusal names it.
    fn check(&self, id_token: &IdToken) -> Result<Option<Diagnostic>, Error> {
        let claims = id_token.claims().map_err(|error| self.unusable(&error))?;
        let mut doubt = None;
        for (subject, finding) in oidc::findings(&claims, &self.address(), seconds_since_1970(), &self.settings.build) {
            if finding.severity == Severity::Error {
                return Err(Error::not_sent(finding));
            }
            if subject == Subject::Lifetime {
                doubt = Some(finding);
            }
        }
        Ok(doubt)
    }

    /// `POST /oauth/token` (RFC 8693, section 2.1).
    async fn exchange(&self, id_token: &IdToken, narrowed: &[(&str, &str)]) -> Result<Granted, Error> {
        let form = id_token.exchange_form("urn:ietf:params:oauth:token-type:id_token", narrowed);
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let call = ApiCall {
            content_type: "application/x-www-form-urlencoded",
            body: Bytes::from(form),
            authenticated: false,
            whole: true,
            ..ApiCall::new(Method::POST, self.path(&["oauth", "token"]))
        };
        // Boxed: a request that needs a token comes here, and this is a request.
        let response = Box::pin(self.send(&call)).await?;
        if !response.status.is_success() {
            return Err(self.exchange_refused(id_token, &call, &response));
        }
        let exchanged: Exchanged = super::parse(&call, &response)?;
        match exchanged.access_token.trim().len() {
            0 => return Err(call.shape(ShapeError::NoToken)),
            1..=LONGEST_TOKEN => {}
            _ => return Err(call.shape(ShapeError::TokenTooLong)),
        }
        let lifetime = exchanged.lifetime();
        let token = exchanged.access_token;
        if token.trim().len() >= SHORTEST_ISSUED {
            let _ = Secret::token(token.clone());
        }
        let header = secret_header(&format!("Bearer {token}"));
        let header = header.map_err(|_| call.shape(ShapeError::InvalidToken))?;
        // Only `whoami` shows them. OpenFaaS issues JWTs, but another gateway's token may be opaque.
        let claims = oidc::decode_unverified(token.as_bytes()).ok();
        Ok(Granted { header, lifetime, claims })
    }

    fn exchange_refused(&self, id_token: &IdToken, call: &ApiCall<'_>, response: &Response) -> Error {
        if response.is_transient() || response.status.is_server_error() || response.responder() != Responder::Server {
            return self.refused(call, response);
        }
        let claims = match id_token.claims() {
            Ok(claims) => claims,
            Err(error) => return self.unusable(&error),
        };
        let refusal: Option<ExchangeRefused> = serde_json::from_slice(&response.body).ok();
        let text = String::from_utf8_lossy(&response.body);
        let (error, description) = match &refusal {
            Some(refusal) => (refusal.error.as_deref(), refusal.error_description.as_deref()),
            None => (None, Some(text.as_ref())),
        };
        let refused = oidc::Refusal { status: response.status.as_u16(), error, description };
        let now = seconds_since_1970();
        let problem = oidc::explain_refusal(refused, &claims, &self.address(), now, &self.settings.build);
        Error::not_sent(problem)
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
