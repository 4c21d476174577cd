//! Checks of a token before it is sent: which of its claims a gateway will or may refuse.

use super::audience::{self, Audience};
use super::system::System;
use super::{Claims, VARIABLE, own_token};
use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Failure, Severity};

/// How far two machines' clocks may be apart, in seconds.
const LEEWAY: u64 = 60;

/// No step runs longer than this, in seconds (Bitbucket's `max-time`: 720 minutes).
const LONGEST_STEP: u64 = 720 * 60;

/// The build as Bitbucket's variables have it, to be compared with the token; blank ones are absent.
#[derive(Clone, Debug, Default)]
pub struct BuildContext {
    /// `BITBUCKET_BUILD_NUMBER`
    pub number: Option<String>,
    /// `BITBUCKET_WORKSPACE`
    pub workspace: Option<String>,
    /// `BITBUCKET_REPO_SLUG`
    pub repository_slug: Option<String>,
    /// `BITBUCKET_REPO_UUID`
    pub repository_uuid: Option<String>,
    /// `BITBUCKET_TAG`
    pub tag: Option<String>,
    /// `BITBUCKET_PR_ID`
    pub pull_request: Option<String>,
    /// `BITBUCKET_DEPLOYMENT_ENVIRONMENT`
    pub environment: Option<String>,
    /// True if AWS or Google get the token too: then it has one audience for all, the workspace's.
    pub clouds: bool,
}

/// The claim, or the claims, that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Lifetime,
    Issuer,
    Repository,
    Audience,
    Branch,
    Environment,
}

/// Severity, message and hint of a finding.
type Noticed = Option<(Severity, String, String)>;

/// Checks a token by comparing its claims with the gateway's URL, the time (seconds since 1970) and
/// what else is known about the build.
///
/// An error: every gateway refuses the token, so it is not sent. A warning: a gateway that is set up as OpenFaaS' documentation
/// says refuses it. A note: right for some gateways and Roles; reported by `whoami`, and if a token was refused.
pub fn findings(claims: &Claims, gateway: &str, now: u64, build: &BuildContext) -> Vec<(Subject, Diagnostic)> {
    let found = [
        (Subject::Lifetime, lifetime(claims, now)),
        (Subject::Issuer, issuer(claims, build)),
        (Subject::Repository, repository(claims, build)),
        (Subject::Audience, audience(claims, gateway, build)),
        (Subject::Branch, branch(claims, build)),
        (Subject::Environment, environment(claims, build)),
    ];
    let finding = |(subject, found): (Subject, Noticed)| {
        let (severity, message, hint) = found?;
        let finding = Diagnostic::new(Failure::Permission, message).with_hint(hint);
        Some((subject, Diagnostic { severity, ..finding }))
    };
    found.into_iter().filter_map(finding).collect()
}

fn lifetime(claims: &Claims, now: u64) -> Noticed {
    // No more than a warning: this machine's clock may be wrong.
    let begins = claims.time("nbf").max(claims.time("iat")).unwrap_or(0);
    if begins > now.saturating_add(LEEWAY) {
        return Some((
            Severity::Warning,
            format!("the ID token becomes valid in {}", span(begins - now)),
            "correct the clock of the machine that runs this step: it is slow".to_owned(),
        ));
    }
    let ends = claims.time("exp")?;
    let since = now.checked_sub(ends)?;
    let lived = match claims.time("iat") {
        Some(issued) if issued < ends => format!(", {} after it was issued", span(ends - issued)),
        _ => String::new(),
    };
    let hint = if since > LONGEST_STEP {
        format!(
            "no step runs that long: delete the repository, workspace or deployment variable `{VARIABLE}`; Bitbucket issues a \
             new token for every step"
        )
    } else {
        "the step ran longer than the token is valid: run the pipe at the beginning of the step or in its own step; if the \
         clock of this machine is fast, correct it"
            .to_owned()
    };
    Some((Severity::Warning, format!("the ID token expired {} ago{lived}", span(since)), hint))
}

fn issuer(claims: &Claims, build: &BuildContext) -> Noticed {
    let own = own_token();
    if let Some(original) = claims.text("fed:iss") {
        let original = quote(original);
        let message =
            format!("the token is not an ID token: a gateway issued it in exchange for a token of `{original}`");
        return Some((Severity::Error, message, own));
    }
    let Some(issuer) = claims.issuer() else {
        return Some((Severity::Error, "the ID token has no `iss`".to_owned(), own));
    };
    if let Some(system) = System::other(claims).filter(|_| build.workspace.is_none()) {
        let message = format!("the ID token is from {} (`{}`)", system.name(), quote(issuer));
        let hint = "a gateway accepts it if a JwtIssuer has that `iss` and the token's `aud`, and a Role has conditions on its \
                    claims: `COMMAND: whoami` prints them";
        return Some((Severity::Note, message, hint.to_owned()));
    }
    let Some(workspace) = claims.workspace() else {
        return Some((
            Severity::Warning,
            format!("the ID token is from `{}`, which is not Bitbucket Pipelines", quote(issuer)),
            format!("{own}; the gateway accepts this one only if a JwtIssuer has that `iss`"),
        ));
    };
    let expected = build.workspace.as_deref()?;
    // An issuer's URL may also name the workspace by its UUID.
    let by_uuid =
        claims.text("workspaceUuid").is_some_and(|uuid| uuid.trim_matches(['{', '}']) == plain_uuid(workspace));
    (!workspace.eq_ignore_ascii_case(expected) && !by_uuid).then(|| {
        let (workspace, expected) = (quote(workspace), quote(expected));
        let message = format!("the ID token is from workspace `{workspace}`, but this step runs in `{expected}`");
        (Severity::Warning, message, own)
    })
}

/// A UUID without its braces, also if these are percent-encoded.
fn plain_uuid(text: &str) -> &str {
    let text = text.trim_matches(['{', '}']);
    let text = text.strip_prefix("%7B").unwrap_or(text);
    text.strip_suffix("%7D").unwrap_or(text)
}

fn repository(claims: &Claims, build: &BuildContext) -> Noticed {
    let (is, expected) = (claims.repository()?, build.repository_uuid.as_deref()?);
    (plain_uuid(is) != plain_uuid(expected)).then(|| {
        let (is, expected) = (quote(is), quote(expected));
        let message = format!("the ID token is from repository `{is}`, but this step runs in `{expected}`");
        (Severity::Warning, message, own_token())
    })
}

fn audience(claims: &Claims, gateway: &str, build: &BuildContext) -> Noticed {
    let wanted = audience::wanted(gateway);
    let url = quote(wanted);
    let custom = audience::custom(claims);
    let (severity, message, replaced, how) = match Audience::of(claims, gateway) {
        Audience::Named => return None,
        Audience::Default if build.clouds => {
            return Some((
                Severity::Note,
                "the ID token has one audience, the workspace's, which AWS and Google accept".to_owned(),
                format!(
                    "the gateway accepts it if `spec.aud` of its JwtIssuer lists `{}`",
                    quote(&audience::workspace_audience(claims))
                ),
            ));
        }
        Audience::Near { audience, differs } => (
            Severity::Warning,
            format!("the ID token's audience `{}` is not exactly `{url}`: it {}", quote(audience), quote(&differs)),
            Some(audience),
            "write the gateway's URL exactly as in the JwtIssuer's `aud`",
        ),
        Audience::Other(others) => (
            Severity::Note,
            format!("none of the ID token's audiences is `{url}`: {}", list(&others)),
            None,
            "this is right if the gateway's JwtIssuer lists one of them in `aud`; otherwise write",
        ),
        Audience::Default if System::other(claims).is_some() => {
            (Severity::Warning, "the ID token has no `aud`".to_owned(), None, "request it for the gateway:")
        }
        Audience::Default => (
            Severity::Warning,
            format!("the ID token is not meant for `{url}`: it has only Bitbucket's default audience"),
            None,
            "instead of `oidc: true`, write",
        ),
    };
    if wanted.chars().count() > audience::LONGEST && System::of(claims) == System::Bitbucket {
        let hint = format!(
            "Bitbucket does not accept an audience of more than {} characters: choose a shorter one, and add it to the \
             JwtIssuer's `aud`",
            audience::LONGEST
        );
        return Some((severity, message, hint));
    }
    let mut audiences: Vec<&str> = custom.iter().copied().filter(|audience| Some(*audience) != replaced).collect();
    audiences.push(wanted);
    let system = System::of(claims);
    let mut hint = format!("{how}\n{}", system.audience_block(&audiences));
    if audiences.len() > audience::MOST && system == System::Bitbucket {
        hint += &format!("\nand remove another audience: Bitbucket accepts at most {} per step", audience::MOST);
    }
    Some((severity, message, hint))
}

fn branch(claims: &Claims, build: &BuildContext) -> Noticed {
    if claims.branch().is_some() || System::other(claims).is_some() {
        return None;
    }
    let why = match (&build.tag, &build.pull_request) {
        (Some(tag), _) => format!(": this is a build of tag `{}`", quote(tag)),
        (None, Some(id)) => format!(": this is a build of pull request `{}`", quote(id)),
        (None, None) => String::new(),
    };
    let hint = "a Role with a condition on `jwt:branchName` does not match this step: use conditions on `jwt:repositoryUuid` \
        and `jwt:deploymentEnvironmentUuid`, and give the step a `deployment:`";
    Some((Severity::Note, format!("the ID token has no `branchName`{why}"), hint.to_owned()))
}

fn environment(claims: &Claims, build: &BuildContext) -> Noticed {
    if claims.environment().is_some() || System::other(claims).is_some() {
        return None;
    }
    // Most steps have no `deployment:`, and the table of claims says what that means.
    let name = build.environment.as_deref()?;
    let message =
        format!("the ID token has no `deploymentEnvironmentUuid`, though the step deploys to `{}`", quote(name));
    let hint = "a Role with a condition on `jwt:deploymentEnvironmentUuid` does not match this step; if the Role has one, give \
        the step a `deployment:`, and write the UUID in the Role with its braces";
    Some((Severity::Note, message, hint.to_owned()))
}

/// Texts from outside in backticks, with commas.
pub(super) fn list(texts: &[&str]) -> String {
    format!("`{}`", quote(&texts.join("`, `")))
}

/// A length of time in seconds, in the two units that matter.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
