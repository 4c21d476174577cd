//! Tokens: the step's ID token is exchanged (RFC 8693) for a system token, or for one function's token.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{ANSWER_LIMIT, Answer, Call, Error, Gateway};
use crate::config::Credentials;
use crate::console::log;
use crate::console::redact::Secret;
use crate::diagnostic::{Diagnostic, Severity};
use crate::function::FunctionName;
use crate::function::outcome::{Failure, Problem};
use crate::http::retry;
use crate::oidc::{self, Claims, IdToken, Subject, TokenError};

/// A token is not used within this time of its end, so that it is still good when the request arrives.
const MARGIN: Duration = Duration::from_secs(10);

/// Servers refuse headers that are longer, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// How the pipe is let in.
pub(super) enum Authority {
    Password(SystemToken),
    IdToken { id_token: Arc<IdToken>, system: Mutex<Option<SystemToken>> },
    Unusable(TokenError),
}

/// What goes into the `Authorization` header of the gateway's own interface.
#[derive(Clone)]
pub(super) struct SystemToken {
    pub(super) header: HeaderValue,
    /// Until when it is used; without end where its life is not known.
    good_until: Option<Instant>,
}

/// A token that one function accepts.
pub(crate) struct FunctionToken(SystemToken);

impl FunctionToken {
    pub(super) fn header(&self) -> &HeaderValue {
        &self.0.header
    }

    pub(super) fn is_good(&self) -> bool {
        self.0.is_good()
    }
}

impl SystemToken {
    fn is_good(&self) -> bool {
        self.good_until.is_none_or(|end| Instant::now() < end)
    }
}

/// What the gateway gave for the step's token.
pub(crate) struct Granted {
    /// How long it is good, where the gateway says so.
    pub lifetime: Option<Duration>,
    /// What it says; absent where it is no JWT. Not verified.
    pub claims: Option<Claims>,
}

/// A successful answer (RFC 8693, section 2.2.1).
#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    #[serde(default)]
    expires_in: Option<serde_json::Number>,
}

/// A refusal (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
    error_description: Option<String>,
}

impl Authority {
    pub(super) fn new(credentials: &Credentials) -> Self {
        match credentials {
            Credentials::Password { username, password } => {
                let encoded = STANDARD.encode(format!("{username}:{}", password.reveal()));
                Self::Password(SystemToken { header: header("Basic", &encoded), good_until: None })
            }
            Credentials::IdToken(Ok(token)) => Self::IdToken { id_token: token.clone(), system: Mutex::new(None) },
            Credentials::IdToken(Err(error)) => Self::Unusable(error.clone()),
        }
    }

    pub(super) fn is_password(&self) -> bool {
        matches!(self, Self::Password(_))
    }
}

impl Gateway {
    /// Whether there is a step's token that could be exchanged.
    pub(crate) fn has_id_token(&self) -> bool {
        matches!(self.authority, Authority::IdToken { .. })
    }
}

impl Gateway {
    /// Exchanges the step's token once, before requests that need the result are sent side by side.
    pub(crate) async fn sign_in(&self) -> Result<(), Error> {
        self.not_stopped()?;
        self.authorization().await.map(|_| ())
    }

    /// Exchanges the step's token whatever can be told of it beforehand, for its sake alone.
    pub(crate) async fn try_exchange(&self, id_token: &IdToken) -> Result<Granted, Error> {
        self.not_stopped()?;
        let (token, lifetime) = self.exchange(id_token, &[]).await?;
        let claims = oidc::decode_unverified(token.reveal().as_bytes()).ok();
        Ok(Granted { lifetime, claims })
    }

    /// A token for one function, exchanged directly for the step's.
    pub(crate) async fn function_token(&self, target: &FunctionName) -> Result<FunctionToken, Error> {
        self.not_stopped()?;
        let id_token = match &self.authority {
            Authority::IdToken { id_token, .. } => id_token,
            Authority::Unusable(error) => return Err(Error::Unsent(Box::new(error.problem(&self.address())))),
            Authority::Password(_) => {
                return Err(Error::Unsent(Box::new(Problem {
                    failure: Failure::Permission,
                    message: format!(
                        "`{}` wants a function token, and with `OPENFAAS_PASSWORD` there is none",
                        target.name
                    ),
                    hint: Some(
                        "OpenFaaS for Enterprises gives one for the step's ID token: leave `OPENFAAS_PASSWORD` out"
                            .to_owned(),
                    ),
                })));
            }
        };
        self.system_token(id_token, &[("scope", "function"), ("audience", &target.resource())]).await.map(FunctionToken)
    }

    /// What to authenticate with, exchanged anew where it is about to run out.
    pub(super) async fn authorization(&self) -> Result<SystemToken, Error> {
        match &self.authority {
            Authority::Password(token) => Ok(token.clone()),
            Authority::Unusable(error) => Err(Error::Unsent(Box::new(error.problem(&self.address())))),
            Authority::IdToken { id_token, system } => {
                // Held while exchanging, so that many requests at once lead to one exchange.
                let mut system = system.lock().await;
                if let Some(token) = system.as_ref().filter(|token| token.is_good()) {
                    return Ok(token.clone());
                }
                let token = self.system_token(id_token, &[]).await?;
                *system = Some(token.clone());
                Ok(token)
            }
        }
    }

    /// Forgets a token that was not accepted; says whether another can be had.
    pub(super) async fn forget(&self, refused: &SystemToken) -> bool {
        let Authority::IdToken { system, .. } = &self.authority else {
            return false;
        };
        let mut system = system.lock().await;
        // Another request may have exchanged it anew already.
        if system.as_ref().is_some_and(|token| token.header == refused.header) {
            *system = None;
        }
        true
    }

    /// Exchanges a token that is not known to be refused, and says so.
    async fn system_token(&self, id_token: &IdToken, narrowed: &[(&str, &str)]) -> Result<SystemToken, Error> {
        self.check(id_token)?;
        let sent = Instant::now();
        let (token, lifetime) = self.exchange(id_token, narrowed).await?;
        let valid = lifetime.map(|lifetime| format!(", valid for {}", log::duration(lifetime))).unwrap_or_default();
        let purpose = if narrowed.is_empty() { "the step's token" } else { "the step's token for a function's" };
        tracing::info!("exchanged {purpose} at `{}`{valid}", self.address());
        let good_until = lifetime.and_then(|lifetime| sent.checked_add(usable(lifetime)));
        Ok(SystemToken { header: header("Bearer", token.reveal()), good_until })
    }

    /// Spares the gateway a token that every gateway refuses.
    fn check(&self, id_token: &IdToken) -> Result<(), Error> {
        let claims = id_token.claims().map_err(|error| Error::Unsent(Box::new(error.problem(&self.address()))))?;
        for finding in oidc::findings(&claims, &self.address(), seconds_since_1970(), &self.facts) {
            if finding.severity == Severity::Error {
                return Err(Error::Unsent(Box::new(finding.into())));
            }
            // The others explain a refusal, if one comes; this one may be the clock's fault.
            if finding.subject == Subject::Lifetime {
                Diagnostic::warning(finding.message).with_hint(finding.hint).log();
            }
        }
        Ok(())
    }

    /// `POST /oauth/token` (RFC 8693, section 2.1): the token got, and how long it is good.
    async fn exchange(
        &self,
        id_token: &IdToken,
        narrowed: &[(&str, &str)],
    ) -> Result<(Secret, Option<Duration>), Error> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:id_token")
            .append_pair("subject_token", id_token.reveal())
            .extend_pairs(narrowed)
            .finish();
        let call = Call {
            method: Method::POST,
            url: self.path(&["oauth", "token"]),
            content_type: "application/x-www-form-urlencoded",
            body: Bytes::from(form),
            authenticated: false,
            limit: ANSWER_LIMIT,
            wanted: None,
            whole: true,
            action: None,
            target: None,
        };
        // Boxed, since a request that is not this one may come here to be let in.
        let answer = Box::pin(self.send(&call)).await?;
        if !answer.status.is_success() {
            return Err(self.exchange_refused(id_token, &call, &answer));
        }
        let exchanged: Exchanged = super::parse(&call, &answer)?;
        let unusable = |detail: &str| Err(Error::Shape { request: call.name(), detail: detail.to_owned() });
        match exchanged.access_token.trim().len() {
            0 => return unusable("it holds no access token"),
            1..=LONGEST_TOKEN => {}
            _ => return unusable("its access token is longer than any gateway takes"),
        }
        let token = Secret::token(exchanged.access_token);
        if HeaderValue::from_str(token.reveal()).is_err() {
            return unusable("its access token cannot stand in a header");
        }
        let seconds = exchanged.expires_in.and_then(|seconds| seconds.as_f64()).filter(|seconds| *seconds > 0.0);
        Ok((token, seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())))
    }

    fn exchange_refused(&self, id_token: &IdToken, call: &Call<'_>, answer: &Answer) -> Error {
        let passing = retry::may_pass(answer.status, &answer.headers, &answer.body);
        if passing || answer.status.is_server_error() || retry::is_web_page(&answer.headers, &answer.body) {
            return self.refused(call, answer);
        }
        let claims = match id_token.claims() {
            Ok(claims) => claims,
            Err(error) => return Error::Unsent(Box::new(error.problem(&self.address()))),
        };
        let refusal: Option<Refusal> = serde_json::from_slice(&answer.body).ok();
        let text = String::from_utf8_lossy(&answer.body);
        let (error, description) = match &refusal {
            Some(refusal) => (refusal.error.as_deref(), refusal.error_description.as_deref()),
            None => (None, Some(text.as_ref())),
        };
        let refused = oidc::Refusal { status: answer.status.as_u16(), error, description };
        let now = seconds_since_1970();
        let problem = oidc::explain_refusal(refused, &claims, &self.address(), now, &self.facts);
        Error::Unsent(Box::new(problem))
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How long a token is used. One whose whole life is within the margin is used for half of it: else every request would
/// need an exchange of its own.
fn usable(lifetime: Duration) -> Duration {
    if lifetime > MARGIN { lifetime - MARGIN } else { lifetime / 2 }
}

/// A header that no debug output shows and no HTTP/2 table keeps.
fn header(scheme: &str, value: &str) -> HeaderValue {
    let mut header = HeaderValue::from_str(&format!("{scheme} {value}")).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}
