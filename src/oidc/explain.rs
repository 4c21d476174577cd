//! Explains a token that is missing or was refused, and how the gateway's IAM reads its claims.

use serde_json::Value;

use super::audience::Audience;
use super::findings::{BuildContext, Subject, findings, list, span};
use super::system::System;
use super::{Claims, resources};
use crate::console::log::{pastable, quote};
use crate::diagnostic::{Diagnostic, Failure, Severity};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    NoIam,
    NoRole,
    Issuer,
    Audience,
    StaleKeys,
    Expired,
    Signature,
    NotTheGateway,
    Unknown,
}

impl Reason {
    /// By the words of the gateway's response; they are documented for few causes, so single words decide.
    fn of(status: u16, words: &str) -> Self {
        let words = words.to_lowercase();
        let says = |any: &[&str]| any.iter().any(|word| words.contains(word));
        match status {
            404 | 405 => Self::NoIam,
            _ if says(&["no policies", "no role"]) => Self::NoRole,
            _ if says(&["jwks", "keys missing"]) => Self::StaleKeys,
            _ if says(&["audience"]) => Self::Audience,
            _ if says(&["expired", "not valid yet", "used before issued"]) => Self::Expired,
            _ if says(&["issuer", "different provider"]) => Self::Issuer,
            _ if says(&["signature", "verification"]) => Self::Signature,
            401 | 403 => Self::NotTheGateway,
            _ => Self::Unknown,
        }
    }

    /// The subjects of findings that explain the refusal, and the remedy if there is no such finding.
    fn causes(self) -> (&'static [Subject], &'static str) {
        match self {
            Self::NoIam => (&[], NO_IAM),
            Self::NoRole => (&[Subject::Repository, Subject::Branch], NO_ROLE),
            Self::Issuer => (&[Subject::Issuer, Subject::Repository], UNKNOWN_ISSUER),
            Self::Audience => (&[Subject::Audience], OTHER_AUDIENCE),
            Self::StaleKeys => (&[], STALE_KEYS),
            Self::Expired => (&[Subject::Lifetime], EXPIRED),
            Self::Signature => (&[Subject::Issuer, Subject::Repository], SIGNATURE),
            Self::NotTheGateway => (&[], NOT_THE_GATEWAY),
            Self::Unknown => (&[Subject::Issuer, Subject::Audience, Subject::Lifetime], UNKNOWN),
        }
    }

    /// The remedy, by the claims of the token if they explain the refusal.
    fn remedy(self, claims: &Claims, gateway: &str, now: u64, build: &BuildContext) -> String {
        let (subjects, remedy) = self.causes();
        let severity = if self == Self::Unknown { Severity::Warning } else { Severity::Note };
        let known = findings(claims, gateway, now, build).into_iter();
        let known = known.filter(|(subject, finding)| subjects.contains(subject) && finding.severity >= severity);
        let mut known = known.map(|(_, finding)| format!("{}; {}", finding.message, finding.hint.unwrap_or_default()));
        match self {
            Self::NoRole => {
                // The condition below would open deploys to whoever can push to the branch of a pull request.
                let mut remedy = match &build.pull_request {
                    Some(id) => format!(
                        "this is the build of pull request `{}`: take the step out of `pull-requests`, or give it a Role of its \
                         own, with another Policy\n{remedy}",
                        quote(id)
                    ),
                    None => remedy.to_owned(),
                };
                known.for_each(|finding| remedy.push_str(&format!("\n{finding}")));
                if let Ok(condition) = resources::condition(claims, build) {
                    remedy.push_str("\na Role with this condition matches the step:\n");
                    remedy.push_str(pastable(condition).trim_end());
                }
                remedy
            }
            _ if let Some(finding) = known.next() => finding,
            Self::Issuer if let Some(yaml) = resources::issuer(claims, gateway, build) => {
                format!("{remedy}\n{}", pastable(yaml).trim_end())
            }
            _ => remedy.to_owned(),
        }
    }
}

const NO_IAM: &str = "the base path in `OPENFAAS_URL` is missing or wrong, or the gateway has no IAM: with OpenFaaS CE or \
    Standard, set `OPENFAAS_PASSWORD`; with Enterprise, set `iam.enabled` in its Helm chart";
const NO_ROLE: &str = "the gateway trusts the issuer, but no Role matches the token: all conditions of one Role must match, \
    and UUIDs in them have braces";
const UNKNOWN_ISSUER: &str = "the gateway does not know the issuer: apply a JwtIssuer whose `spec.iss` is exactly the token's \
    `iss`; each Bitbucket workspace needs its own";
const OTHER_AUDIENCE: &str = "the token is meant for this gateway, but its JwtIssuer lists another `spec.aud`: write the \
    gateway's URL there exactly as in the token's `aud`";
const NOT_THE_GATEWAY: &str = "IAM refuses tokens with status 400, so this response is from a proxy in front of the gateway, or from \
    an OpenFaaS without IAM: exempt `POST /oauth/token` from the proxy's own authentication, or set `OPENFAAS_PASSWORD`";
const STALE_KEYS: &str = "the gateway has not fetched the issuer's current keys yet: retry in a few minutes; if that does not \
    help, restart the gateway, and check that it can reach the token's `iss`";
const EXPIRED: &str = "the token is not valid at the time of the gateway's clock: run the pipe at the beginning of the step or \
    in its own step; if the times below are right, correct the gateway's clock";
const SIGNATURE: &str = "the token was changed, or another issuer made it: remove `BITBUCKET_STEP_OIDC_TOKEN` from all \
    variables, Bitbucket passes it by itself";
const UNKNOWN: &str = "check that a JwtIssuer has the token's `iss` and one of its `aud`, and that all conditions of a Role \
    match";

/// A gateway's response to an exchange that it refused (RFC 6749, section 5.2).
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    pub status: u16,
    pub error: Option<&'a str>,
    /// `error_description`; the whole body if it is not JSON.
    pub description: Option<&'a str>,
}

/// The problem of a token that the gateway did not exchange: its response, the likely cause, and beside it the claims that
/// must match. `now` is in seconds since 1970.
pub fn explain_refusal(
    refusal: Refusal<'_>,
    claims: &Claims,
    gateway: &str,
    now: u64,
    build: &BuildContext,
) -> Diagnostic {
    let Refusal { status, error, description } = refusal;
    let said: Vec<&str> = error.into_iter().chain(description).filter(|text| !text.trim().is_empty()).collect();
    let reason = Reason::of(status, &said.join(" "));
    let response = if said.is_empty() { String::new() } else { format!(": {}", list(&said)) };
    let mut hint = reason.remedy(claims, gateway, now, build);
    if !matches!(reason, Reason::NoIam | Reason::NotTheGateway) {
        let rows = claims_table(claims, gateway, now);
        let matched = System::of(claims).matched();
        hint.push_str("\nclaims of the token:");
        let shown: &[&str] = match reason {
            Reason::Expired => &["exp", "iat", "nbf"],
            Reason::NoRole | Reason::Unknown => &matched,
            _ => &matched[..3],
        };
        for [claim, value, meaning] in rows.iter().filter(|[claim, ..]| shown.contains(&claim.as_str())) {
            hint.push_str(&format!("\n  {claim}: {value} ({meaning})"));
        }
        // No resource is to be changed if the token itself is not valid.
        if !matches!(reason, Reason::Expired | Reason::StaleKeys | Reason::Signature) {
            hint.push_str("\n`COMMAND: whoami` prints the JwtIssuer, Policy and Role that give this step access");
        }
    }
    let message = match reason {
        Reason::NoIam => format!("no token exchange at `{}/oauth/token`: status {status}{response}", quote(gateway)),
        _ => format!("the gateway `{}` refused the step's ID token with status {status}{response}", quote(gateway)),
    };
    Diagnostic::new(Failure::Permission, message).with_hint(hint)
}

/// All claims of a token, first those that the gateway checks, with the value of each, and how the gateway's IAM reads it.
pub fn claims_table(claims: &Claims, gateway: &str, now: u64) -> Vec<[String; 3]> {
    let matched = System::of(claims).matched();
    let others = claims.iter().map(|(claim, _)| claim).filter(|claim| !matched.contains(claim));
    let row = |claim: &str| {
        let value = claims.get(claim).map_or_else(|| "-".to_owned(), show);
        [quote(claim), value, meaning(claim, claims, gateway, now)]
    };
    matched.into_iter().chain(others).map(row).collect()
}

fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    quote(&text)
}

fn meaning(claim: &str, claims: &Claims, gateway: &str, now: u64) -> String {
    let absent = || "missing: a Role with a condition on it does not match".to_owned();
    match claim {
        "iss" => match (claims.issuer(), claims.workspace()) {
            (None, _) => "missing: no gateway accepts the token".into(),
            (_, None) if System::other(claims).is_some() => {
                format!("{}; `spec.iss` of a JwtIssuer must be equal", System::of(claims).name())
            }
            (_, None) => "not Bitbucket Pipelines; `spec.iss` of a JwtIssuer must be equal".into(),
            (_, Some(_)) => "`spec.iss` of a JwtIssuer must be equal".into(),
        },
        "aud" => match Audience::of(claims, gateway) {
            Audience::Named => "contains the gateway; `spec.aud` of the JwtIssuer must list it".into(),
            Audience::Near { audience, differs } => {
                format!("does not contain the gateway: `{}` {}", quote(audience), quote(&differs))
            }
            Audience::Other(_) => {
                "does not contain the gateway; `spec.aud` of the JwtIssuer must list one of them".into()
            }
            Audience::Default => {
                "only the workspace's; `spec.aud` of the JwtIssuer must list it, or the step needs `oidc: audiences:`"
                    .into()
            }
        },
        "repositoryUuid" => {
            claims.repository().map_or_else(absent, |_| "the usual Role has a condition on it, with its braces".into())
        }
        "branchName" => match claims.branch() {
            Some(_) => "the usual Role has a condition on it".into(),
            None => "missing, as in builds of tags: a Role with a condition on it does not match".into(),
        },
        "deploymentEnvironmentUuid" => match claims.environment() {
            Some(_) => "a Role may have a condition on it, with its braces".into(),
            None => format!("{}; `deployment:` on the step adds it", absent()),
        },
        "exp" | "iat" | "nbf" => match (claims.time(claim), claim) {
            (None, _) => "not a time".into(),
            (Some(time), "exp") if time <= now => format!("expired {} ago by this machine's clock", span(now - time)),
            (Some(time), "exp") => format!("expires in {}", span(time - now)),
            (Some(time), _) if time > now => format!("{} from now", span(time - now)),
            (Some(time), _) => format!("{} ago", span(now - time)),
        },
        "sub" if System::other(claims).is_some() => "a Role may have a condition on it".into(),
        "project_id" | "repository_id" => "the usual Role has a condition on it".into(),
        "ref" | "environment" if claims.text(claim).is_none() => absent(),
        "sub" | "stepUuid" | "pipelineRunUuid" => "different in every run: do not use it in a condition".into(),
        "workspaceUuid" | "pipelineUuid" => "a Role may have a condition on it, with its braces".into(),
        _ => "a Role may have a condition on it".into(),
    }
}
