//! Amazon ECR: `GetAuthorizationToken` for a signed request, and access to a registry with the token.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_gateway::Request;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::sigv4::Authorization;
use super::{Aws, RegistryToken, SUFFIXES, Session, partition, suffix};
use crate::reply::{self, Reply};
use crate::secret;

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
/// The maximum difference between the date of a request and the clock.
const SKEW: Duration = Duration::minutes(5);
/// How long a token is valid, in seconds.
const LIFE: f64 = 12.0 * 3600.0;

/// An error of the ECR API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EcrError {
    /// The policies of the role lack an action.
    AccessDenied(String),
    /// The security token was not issued by STS.
    UnrecognizedClient,
    /// The signature is invalid or too old.
    InvalidSignature(String),
    /// The request is not signed.
    MissingAuthenticationToken,
    /// The service failed. Transient.
    Server,
    /// A parameter is invalid.
    InvalidParameter,
    /// Too many requests. Transient.
    Throttling,
    /// The operation does not exist.
    UnknownOperation,
}

impl EcrError {
    fn parts(&self) -> (u16, &'static str, String) {
        match self {
            Self::AccessDenied(message) => (400, "AccessDeniedException", message.clone()),
            Self::UnrecognizedClient => (
                400,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.".to_owned(),
            ),
            Self::InvalidSignature(message) => (400, "InvalidSignatureException", message.clone()),
            Self::MissingAuthenticationToken => {
                (400, "MissingAuthenticationTokenException", "Missing Authentication Token".to_owned())
            }
            Self::Server => {
                (500, "ServerException", "These errors are usually caused by a server-side issue.".to_owned())
            }
            Self::InvalidParameter => {
                (400, "InvalidParameterException", "The specified parameter is invalid.".to_owned())
            }
            Self::Throttling => (400, "ThrottlingException", "Rate exceeded".to_owned()),
            Self::UnknownOperation => (400, "UnknownOperationException", String::new()),
        }
    }

    fn reply(&self) -> Reply {
        let (status, kind, message) = self.parts();
        // The name of the message field and the namespace of the type differ between services and errors.
        let error = match self {
            Self::AccessDenied(_) | Self::Server => json!({"__type": kind, "Message": message}),
            _ => json!({"__type": format!("com.amazon.coral.service#{kind}"), "message": message}),
        };
        reply::bytes(status, "application/x-amz-json-1.1", error.to_string())
    }
}

/// The region of an ECR API host. `None` for other hosts.
pub(super) fn api_region(host: &str) -> Option<&str> {
    let rest = host.strip_prefix("api.ecr.").or_else(|| host.strip_prefix("api.ecr-fips."));
    if let Some((region, rest)) = rest.and_then(|rest| rest.split_once('.')) {
        return (rest == suffix(region)).then_some(region);
    }
    let (region, rest) = host.strip_prefix("ecr.")?.split_once('.')?;
    let dual_stack = if partition(region) == "aws-cn" { "api.amazonwebservices.com.cn" } else { "api.aws" };
    (rest == dual_stack).then_some(region)
}

/// The account and region of a private ECR registry. `None` for other hosts.
pub(crate) fn registry(host: &str) -> Option<(&str, &str)> {
    let (account, rest) = host.split_at_checked(12)?;
    let (region, rest) = if let Some(rest) = rest.strip_prefix(".dkr.ecr.").or(rest.strip_prefix(".dkr.ecr-fips.")) {
        rest.split_once('.').filter(|(_, rest)| SUFFIXES.iter().any(|(suffix, _)| suffix == rest))?
    } else {
        let rest = rest.strip_prefix(".dkr-ecr.").or(rest.strip_prefix(".dkr-ecr-fips."))?;
        rest.split_once('.').filter(|(_, rest)| ["on.aws", "on.amazonwebservices.com.cn"].contains(rest))?
    };
    debug_assert!(!rest.is_empty());
    account.bytes().all(|byte| byte.is_ascii_digit()).then_some((account, region))
}

impl Aws {
    pub(super) fn authorization_token(&self, region: &str, request: &Request) -> Reply {
        match self.registry_token(region, request) {
            Ok(token) => reply::bytes(200, "application/x-amz-json-1.1", token.to_string()),
            Err(error) => error.reply(),
        }
    }

    fn registry_token(&self, region: &str, request: &Request) -> Result<Value, EcrError> {
        if request.method != "POST"
            || request.header("x-amz-target") != Some(TARGET)
            || request.header("content-type") != Some("application/x-amz-json-1.1")
        {
            return Err(EcrError::UnknownOperation);
        }
        let session = self.signed_session(region, request)?;
        let mut state = self.state();
        if !state.ecr_failures.is_empty() {
            return Err(state.ecr_failures.remove(0));
        }
        if !request.json().is_object() {
            return Err(EcrError::InvalidParameter);
        }
        let action = "ecr:GetAuthorizationToken";
        if !state.permits(&session, action, "*") {
            return Err(EcrError::AccessDenied(denied(&session, action, "*")));
        }
        let password = self.secrets.token("", 900);
        let token = self.secrets.keep(STANDARD.encode(format!("AWS:{password}")));
        let endpoint = format!("https://{}.dkr.ecr.{region}.{}", session.account(), suffix(region));
        let given = RegistryToken { session, region: region.to_owned() };
        state.registry_tokens.insert(token.clone(), given);
        let expires = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64()) + LIFE;
        let expires = (expires * 1000.0).round() / 1000.0;
        Ok(json!({"authorizationData": [
            {"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": endpoint},
        ]}))
    }

    /// The session whose secret signed the request.
    fn signed_session(&self, region: &str, request: &Request) -> Result<Session, EcrError> {
        let header = request.header("authorization").ok_or(EcrError::MissingAuthenticationToken)?;
        let invalid = |message: &str| EcrError::InvalidSignature(message.to_owned());
        let authorization = Authorization::parse(header)
            .ok_or_else(|| invalid("The authorization header is malformed; it does not have the parts of SigV4."))?;
        let state = self.state();
        let session = state.sessions.get(authorization.key_id).ok_or(EcrError::UnrecognizedClient)?;
        if request.header("x-amz-security-token") != Some(session.token.as_str()) {
            return Err(EcrError::UnrecognizedClient);
        }
        if authorization.region != region {
            return Err(invalid(&format!(
                "Credential should be scoped to a valid region, not '{}'. ",
                authorization.region
            )));
        }
        if authorization.service != "ecr" {
            return Err(invalid("Credential should be scoped to correct service: 'ecr'. "));
        }
        for needed in ["host", "x-amz-date", "x-amz-security-token"] {
            if !authorization.signed_headers.contains(&needed) {
                return Err(invalid(&format!("'{needed}' must be a 'SignedHeader' in the AWS Authorization.")));
            }
        }
        let date = request.header("x-amz-date").unwrap_or_default();
        match signed_at(date) {
            Some(at) if (OffsetDateTime::now_utc() - at).abs() <= SKEW => {}
            _ => {
                return Err(invalid(&format!("Signature expired: {date} is not within 5 minutes of the current time")));
            }
        }
        if !authorization.signs(request, &session.secret) {
            return Err(invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ));
        }
        Ok(session.clone())
    }

    /// Whether a request is permitted to do this with a repository. Otherwise returns the error response.
    pub(crate) fn authorise(&self, host: &str, request: &Request, action: Option<(&str, &str)>) -> Result<(), Reply> {
        let (account, region) = registry(host).unwrap_or_default();
        let challenge = format!(r#"Basic realm="https://{host}/",service="ecr.amazonaws.com""#);
        let unauthorised = || reply::with(reply::text(401, "Not Authorized\n"), "Www-Authenticate", &challenge);
        let given = request.header("authorization").and_then(|header| secret::scheme(header, "basic"));
        let state = self.state();
        let token = given.and_then(|given| state.registry_tokens.get(given)).ok_or_else(unauthorised)?;
        if token.region != region {
            return Err(unauthorised());
        }
        let Some((action, name)) = action else {
            return Ok(());
        };
        let resource = format!("arn:{}:ecr:{region}:{account}:repository/{name}", partition(region));
        // Repositories of another account require a repository policy, which is not supported.
        if token.session.account() == account && state.permits(&token.session, action, &resource) {
            return Ok(());
        }
        Err(reply::distribution(403, "DENIED", denied(&token.session, action, &resource)))
    }
}

fn denied(session: &Session, action: &str, resource: &str) -> String {
    format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} because no identity-based policy \
         allows the {action} action",
        session.arn()
    )
}

/// Parses `YYYYMMDDTHHMMSSZ`.
fn signed_at(date: &str) -> Option<OffsetDateTime> {
    let (day, clock) = date.strip_suffix('Z')?.split_once('T')?;
    let number = |text: &str, from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let month = time::Month::try_from(number(day, 4, 6)?).ok()?;
    let day = time::Date::from_calendar_date(day.get(..4)?.parse().ok()?, month, number(day, 6, 8)?).ok()?;
    let clock = time::Time::from_hms(number(clock, 0, 2)?, number(clock, 2, 4)?, number(clock, 4, 6)?).ok()?;
    Some(time::PrimitiveDateTime::new(day, clock).assume_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_recognized_by_the_whole_host_name() {
        for (host, known) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some(("123456789012", "eu-west-1"))),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Some(("123456789012", "us-gov-west-1"))),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some(("123456789012", "cn-north-1"))),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", Some(("123456789012", "eu-west-1"))),
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example", None),
            ("12345678901x.dkr.ecr.eu-west-1.amazonaws.com", None),
            ("ghcr.io", None),
        ] {
            assert_eq!(registry(host), known, "{host}");
        }
    }

    #[test]
    fn api_hosts_have_a_region() {
        for (host, region) in [
            ("api.ecr.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("api.ecr-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("api.ecr.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("api.ecr.cn-north-1.amazonaws.com", None),
            ("ecr.eu-west-1.api.aws", Some("eu-west-1")),
            ("ecr.cn-north-1.api.amazonwebservices.com.cn", Some("cn-north-1")),
        ] {
            assert_eq!(api_region(host), region, "{host}");
        }
    }
}
