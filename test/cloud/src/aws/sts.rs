//! STS `AssumeRoleWithWebIdentity`.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use std::time::{SystemTime, UNIX_EPOCH};

use local_gateway::issuer::unverified_claims;
use local_gateway::{Claims, Issuer, Request, Unverified};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::policy::Context;
use super::{Aws, Session, State, arn_part, partition, suffix};
use crate::reply::{self, Reply};
use crate::secret;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// How long a token is accepted after its `exp`, in seconds.
const LEEWAY: u64 = 300;

/// An error of STS, with the message of the real service if it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StsError {
    /// The role does not exist, or its trust policy does not match.
    AccessDenied,
    /// The token, the provider or its audiences are wrong.
    InvalidIdentityToken(String),
    /// The token has expired.
    ExpiredToken,
    /// The identity provider rejects the token.
    IdpRejectedClaim,
    /// The identity provider did not respond. Transient.
    IdpCommunicationError,
    /// A session policy is malformed.
    MalformedPolicyDocument,
    /// Session policies and tags are too large.
    PackedPolicyTooLarge,
    /// The region is not enabled for the account.
    RegionDisabled,
    /// A parameter breaks its rule.
    Validation(String),
    /// The action does not exist.
    InvalidAction,
    /// The service is overloaded. Transient.
    Throttling,
    /// The service failed. Transient.
    InternalFailure,
}

impl StsError {
    fn parts(&self) -> (u16, &'static str, String) {
        match self {
            Self::AccessDenied => {
                (403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned())
            }
            Self::InvalidIdentityToken(message) => (400, "InvalidIdentityToken", message.clone()),
            Self::ExpiredToken => (
                400,
                "ExpiredTokenException",
                "Token expired: current date/time must be before the expiration date/time".to_owned(),
            ),
            Self::IdpRejectedClaim => {
                (403, "IDPRejectedClaim", "The identity provider rejected the identity token".to_owned())
            }
            Self::IdpCommunicationError => (
                400,
                "IDPCommunicationError",
                "The identity provider could not be reached to verify the identity token".to_owned(),
            ),
            Self::MalformedPolicyDocument => {
                (400, "MalformedPolicyDocument", "The policy document is malformed".to_owned())
            }
            Self::PackedPolicyTooLarge => {
                (400, "PackedPolicyTooLarge", "The packed policy size exceeds its limit".to_owned())
            }
            Self::RegionDisabled => (
                403,
                "RegionDisabledException",
                "STS is not activated in this region for account:123456789012. Your account administrator can activate \
                 STS in this region using the IAM Console."
                    .to_owned(),
            ),
            Self::Validation(message) => (400, "ValidationError", message.clone()),
            Self::InvalidAction => (400, "InvalidAction", "Could not find operation for version 2011-06-15".to_owned()),
            Self::Throttling => (400, "Throttling", "Rate exceeded".to_owned()),
            Self::InternalFailure => (500, "InternalFailure", "The request processing has failed".to_owned()),
        }
    }
}

/// The region of an STS endpoint. `None` for other hosts.
pub(super) fn region(host: &str) -> Option<&str> {
    if host == "sts.amazonaws.com" {
        return Some("us-east-1");
    }
    let rest = host.strip_prefix("sts.").or_else(|| host.strip_prefix("sts-fips."))?;
    let (region, rest) = rest.split_once('.')?;
    (rest == suffix(region) || rest == "api.aws" && partition(region) == "aws").then_some(region)
}

impl Aws {
    pub(super) fn assume_role(&self, region: &str, request: &Request) -> Reply {
        let accept = request.header("accept").unwrap_or_default();
        let as_json = accept.contains("application/json");
        match self.session(region, request) {
            Ok(assumed) if as_json => reply::json(200, &assumed.json()),
            Ok(assumed) => reply::bytes(200, "text/xml", assumed.xml()),
            Err(error) => refusal(&error, as_json),
        }
    }

    fn session(&self, region: &str, request: &Request) -> Result<Assumed, StsError> {
        let form = match request.method.as_str() {
            "POST" => request.form(),
            _ => Vec::new(),
        };
        let content_type = request.header("content-type").unwrap_or_default();
        if !content_type.starts_with("application/x-www-form-urlencoded") {
            return Err(StsError::InvalidAction);
        }
        let mut state = self.state();
        if !state.sts_failures.is_empty() {
            return Err(state.sts_failures.remove(0));
        }
        let ask = Ask::parse(&form)?;
        if arn_part(ask.role, 1) != partition(region) {
            return Err(StsError::Validation("Request ARN is invalid".to_owned()));
        }
        let claims = state.admitted(&ask)?;
        let max_session = state.roles.get(ask.role).map_or(3600, |role| role.max_session);
        if ask.duration > max_session {
            let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
            return Err(StsError::Validation(message.to_owned()));
        }

        let key_id = secret::id("ASIA", 16);
        let session = Session {
            secret: self.secrets.base64(28),
            token: self.secrets.base64(400),
            role: ask.role.to_owned(),
            name: ask.session.to_owned(),
        };
        state.sessions.insert(key_id.clone(), session.clone());
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Assumed {
            key_id,
            session,
            expires: now() + ask.duration,
            subject: text("sub"),
            audience: audiences(&claims).first().cloned().unwrap_or_default(),
            provider: text("iss"),
        })
    }
}

/// A parsed request.
struct Ask<'a> {
    role: &'a str,
    session: &'a str,
    token: &'a str,
    duration: u64,
}

impl<'a> Ask<'a> {
    fn parse(form: &'a [(String, String)]) -> Result<Self, StsError> {
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if (field("Action"), field("Version")) != (Some("AssumeRoleWithWebIdentity"), Some("2011-06-15")) {
            return Err(StsError::InvalidAction);
        }
        let known = ["Action", "Version", "RoleArn", "RoleSessionName", "WebIdentityToken", "DurationSeconds"];
        if let Some((name, _)) = form.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(StsError::Validation(format!("local-cloud does not support the parameter {name}")));
        }
        let ask = Self {
            role: text(field("RoleArn"), "roleArn", 20, 2048)?,
            session: text(field("RoleSessionName"), "roleSessionName", 2, 64)?,
            token: text(field("WebIdentityToken"), "webIdentityToken", 4, 20_000)?,
            duration: field("DurationSeconds").unwrap_or("3600").parse().unwrap_or(0),
        };
        if !ask.session.chars().all(|letter| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter)) {
            let rule = r"Member must satisfy regular expression pattern: [\w+=,.@-]*";
            return Err(constraint(ask.session, "roleSessionName", rule));
        }
        if !(900..=43_200).contains(&ask.duration) {
            let rule = "Member must have value between 900 and 43200";
            return Err(constraint(&ask.duration.to_string(), "durationSeconds", rule));
        }
        let [b"arn", _, b"iam", b"", account, resource] =
            ask.role.split(':').map(str::as_bytes).collect::<Vec<_>>()[..]
        else {
            return Err(StsError::Validation(format!("{} is invalid", ask.role)));
        };
        if account.len() != 12 || !account.iter().all(u8::is_ascii_digit) || !resource.starts_with(b"role/") {
            return Err(StsError::Validation(format!("{} is invalid", ask.role)));
        }
        Ok(ask)
    }
}

fn text<'a>(value: Option<&'a str>, name: &str, least: usize, most: usize) -> Result<&'a str, StsError> {
    let value = value.ok_or_else(|| constraint("null", name, "Member must not be null"))?;
    let length = value.chars().count();
    if length < least {
        let rule = format!("Member must have length greater than or equal to {least}");
        return Err(constraint(value, name, &rule));
    }
    if length > most {
        return Err(constraint(value, name, &format!("Member must have length less than or equal to {most}")));
    }
    Ok(value)
}

fn constraint(value: &str, name: &str, rule: &str) -> StsError {
    StsError::Validation(format!(
        "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: {rule}"
    ))
}

impl State {
    /// Returns the claims of a token if the role trusts it.
    fn admitted(&self, ask: &Ask<'_>) -> Result<Claims, StsError> {
        let invalid = |message: &str| StsError::InvalidIdentityToken(message.to_owned());
        let claims = unverified_claims(ask.token).ok_or_else(|| {
            invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
        })?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let audiences = audiences(&claims);
        if audiences.is_empty() {
            return Err(invalid("Missing a required claim: aud"));
        }
        let exp = claims.get("exp").and_then(Value::as_u64).ok_or_else(|| invalid("Missing a required claim: exp"))?;
        if now() >= exp + LEEWAY {
            return Err(StsError::ExpiredToken);
        }

        let issuer = text("iss");
        let name = issuer.trim_start_matches("https://");
        let arn = format!("arn:{}:iam::{}:oidc-provider/{name}", arn_part(ask.role, 1), arn_part(ask.role, 4));
        let provider = self
            .providers
            .get(&arn)
            .ok_or_else(|| invalid(&format!("No OpenIDConnect provider found in your account for {issuer}")))?;
        // All local issuers have the same keys, so any of them can verify the token.
        match Issuer::bitbucket("any").verify(ask.token) {
            Ok(_) => {}
            Err(Unverified::UnknownKey) => {
                return Err(invalid(
                    "Couldn't retrieve verification key from your identity provider,  please reference \
                     AssumeRoleWithWebIdentity documentation for requirements",
                ));
            }
            Err(_) => return Err(invalid("The ID Token provided is not a valid JWT: signature mismatch")),
        }
        if !audiences.iter().any(|audience| provider.audiences.contains(audience)) {
            return Err(invalid("Incorrect token audience"));
        }

        let mut keys = vec![
            ("aws:SourceIp".to_owned(), vec!["127.0.0.1".to_owned()]),
            (format!("{name}:aud"), audiences),
            (format!("{name}:sub"), vec![text("sub").to_owned()]),
        ];
        if claims.contains_key("amr") {
            keys.push((format!("{name}:amr"), vec![text("amr").to_owned()]));
        }
        let action = "sts:AssumeRoleWithWebIdentity";
        let context = Context { federated: Some(&arn), action, resource: None, keys };
        let trusted = self.roles.get(ask.role).is_some_and(|role| role.trust.allows(&context));
        if trusted { Ok(claims) } else { Err(StsError::AccessDenied) }
    }
}

fn audiences(claims: &Claims) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// A new session.
struct Assumed {
    key_id: String,
    session: Session,
    expires: u64,
    subject: String,
    audience: String,
    provider: String,
}

impl Assumed {
    fn fields(&self) -> [(&'static str, &str); 3] {
        [("SubjectFromWebIdentityToken", &self.subject), ("Audience", &self.audience), ("Provider", &self.provider)]
    }

    fn xml(&self) -> String {
        let Session { secret, token, .. } = &self.session;
        let expires = i64::try_from(self.expires).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        let expires = expires.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
        let fields: String =
            self.fields().iter().map(|(name, value)| format!("    <{name}>{}</{name}>\n", escaped(value))).collect();
        format!(
            r#"<AssumeRoleWithWebIdentityResponse xmlns="{NAMESPACE}">
  <AssumeRoleWithWebIdentityResult>
{fields}    <AssumedRoleUser>
      <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:{}</AssumedRoleId>
      <Arn>{}</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>{}</AccessKeyId>
      <SecretAccessKey>{secret}</SecretAccessKey>
      <SessionToken>{token}</SessionToken>
      <Expiration>{expires}</Expiration>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata>
    <RequestId>ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE</RequestId>
  </ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>
"#,
            self.session.name,
            self.session.arn(),
            self.key_id
        )
    }

    fn json(&self) -> Value {
        let mut result = json!({
            "AssumedRoleUser": {
                "AssumedRoleId": format!("AROACLKWSDQRAOEXAMPLE:{}", self.session.name),
                "Arn": self.session.arn(),
            },
            "Credentials": {
                "AccessKeyId": self.key_id,
                "SecretAccessKey": self.session.secret,
                "SessionToken": self.session.token,
                "Expiration": self.expires,
            },
            "PackedPolicySize": null,
        });
        for (name, value) in self.fields() {
            result[name] = json!(value);
        }
        json!({"AssumeRoleWithWebIdentityResponse": {
            "AssumeRoleWithWebIdentityResult": result,
            "ResponseMetadata": {"RequestId": "ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE"},
        }})
    }
}

fn refusal(error: &StsError, as_json: bool) -> Reply {
    const REQUEST: &str = "4f8ab0bd-e2f6-4b3d-9f0e-0c5c27e2c8a1";
    let (status, code, message) = error.parts();
    let kind = if status < 500 { "Sender" } else { "Receiver" };
    if as_json {
        let error = json!({"Code": code, "Message": message, "Type": kind});
        return reply::json(status, &json!({"Error": error, "RequestId": REQUEST}));
    }
    let message = escaped(&message);
    let xml = format!(
        r#"<ErrorResponse xmlns="{NAMESPACE}">
  <Error>
    <Type>{kind}</Type>
    <Code>{code}</Code>
    <Message>{message}</Message>
  </Error>
  <RequestId>{REQUEST}</RequestId>
</ErrorResponse>
"#
    );
    reply::bytes(status, "text/xml", xml)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
