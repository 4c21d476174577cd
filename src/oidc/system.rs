//! The CI systems whose tokens are known by their claims, and the claims that a Role is bound to.

use super::{BuildContext, Claims, audience, own_token};
use crate::console::log::quote;
use crate::diagnostic::Explain;

/// A claim without which no Role can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unbound {
    #[error("no resources are proposed: the ID token has no `iss`")]
    Issuer,
    #[error(
        "no Policy and no Role are proposed: the ID token has no `repositoryUuid`, and a Role without a condition on it would \
         admit every repository of the workspace"
    )]
    Repository,
    #[error(
        "no Policy and no Role are proposed: the ID token has neither `branchName` nor `deploymentEnvironmentUuid`, and a Role \
         without a condition on one of them would admit every step of the repository"
    )]
    Step,
    #[error(
        "no Policy and no Role are proposed: the ID token names neither a branch nor an environment, and a Role without a \
         condition on one of them would admit every job of the repository"
    )]
    Job,
}

impl Explain for Unbound {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Issuer | Self::Repository => own_token(),
            Self::Job => "give the job an `environment:`, then run `COMMAND: whoami` in it".to_owned(),
            Self::Step => "give the step a `deployment:`, then run `COMMAND: whoami` in it".to_owned(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Bitbucket,
    /// <https://docs.gitlab.com/ci/secrets/id_token_authentication/>
    GitLab,
    /// <https://docs.github.com/en/actions/reference/security/oidc>
    GitHub,
}

#[derive(Debug)]
pub(super) struct Condition<'a> {
    pub(super) comment: String,
    pub(super) claim: &'static str,
    pub(super) value: &'a str,
}

/// The steps that a Role admits.
#[derive(Debug)]
pub(super) struct Binding<'a> {
    pub(super) conditions: Vec<Condition<'a>>,
    /// The repository's name, and what else the Role is bound to: a kind and a name.
    pub(super) repository: &'a str,
    pub(super) bound: (&'static str, &'a str),
}

impl System {
    /// By the claims: GitLab and GitHub Enterprise have issuers of any name. Any other token is read as one of Bitbucket.
    pub(super) fn of(claims: &Claims) -> Self {
        let has = |names: [&str; 2]| names.iter().all(|name| claims.text(name).is_some());
        if claims.workspace().is_some() || claims.repository().is_some() {
            Self::Bitbucket
        } else if has(["project_id", "project_path"]) {
            Self::GitLab
        } else if has(["repository_id", "repository_owner"]) {
            Self::GitHub
        } else {
            Self::Bitbucket
        }
    }

    /// The system, if it is not Bitbucket Pipelines.
    pub(super) fn other(claims: &Claims) -> Option<Self> {
        Some(Self::of(claims)).filter(|system| *system != Self::Bitbucket)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bitbucket => "Bitbucket Pipelines",
            Self::GitLab => "GitLab",
            Self::GitHub => "GitHub Actions",
        }
    }

    /// How the names of its resources begin.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Bitbucket => "bitbucket",
            Self::GitLab => "gitlab",
            Self::GitHub => "github",
        }
    }

    /// The claims that a JwtIssuer (the first three) and the usual Role check.
    pub(super) fn matched(self) -> [&'static str; 6] {
        match self {
            Self::Bitbucket => ["iss", "aud", "sub", "repositoryUuid", "branchName", "deploymentEnvironmentUuid"],
            Self::GitLab => ["iss", "aud", "sub", "project_id", "ref", "environment"],
            Self::GitHub => ["iss", "aud", "sub", "repository_id", "ref", "environment"],
        }
    }

    /// The lines that request a token for these audiences.
    pub(super) fn audience_block(self, audiences: &[&str]) -> String {
        let url = audiences.last().copied().unwrap_or_default();
        match self {
            Self::Bitbucket => audience::block(audiences),
            Self::GitLab => format!("job:\n  id_tokens:\n    BITBUCKET_STEP_OIDC_TOKEN:\n      aud: {}", quote(url)),
            Self::GitHub => format!(
                "curl -H \"Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN\" \\\n  \
                 \"$ACTIONS_ID_TOKEN_REQUEST_URL&audience={}\"",
                quote(url)
            ),
        }
    }

    /// The claims that a Role for this step, and for those like it, checks besides the issuer.
    pub(super) fn binding<'a>(self, claims: &'a Claims, build: &'a BuildContext) -> Result<Binding<'a>, Unbound> {
        match self {
            Self::Bitbucket => bitbucket(claims, build),
            Self::GitLab => other(claims, ("project_id", "project_path", "project"), "jobs"),
            Self::GitHub => other(claims, ("repository_id", "repository", "repository"), "runs"),
        }
    }
}

fn bitbucket<'a>(claims: &'a Claims, build: &'a BuildContext) -> Result<Binding<'a>, Unbound> {
    let uuid = claims.repository().ok_or(Unbound::Repository)?;
    let repository = build.repository_slug.as_deref().unwrap_or(uuid);
    let (comment, claim, value, bound) = match (claims.environment(), claims.branch()) {
        (Some(uuid), _) => (
            "Only steps with this `deployment:`, on any branch or tag.",
            "deploymentEnvironmentUuid",
            uuid,
            ("deployment-", build.environment.as_deref().unwrap_or(uuid)),
        ),
        (None, Some(branch)) => {
            ("Only builds of this branch; builds of tags have no branch.", "branchName", branch, ("branch-", branch))
        }
        (None, None) => return Err(Unbound::Step),
    };
    let of_repository = "This repository; the braces are part of the UUID.".to_owned();
    let conditions = vec![
        Condition { comment: of_repository, claim: "repositoryUuid", value: uuid },
        Condition { comment: comment.to_owned(), claim, value },
    ];
    Ok(Binding { conditions, repository, bound })
}

/// By the claims of the repository's number and name; `builds` are what the system calls them.
fn other<'a>(
    claims: &'a Claims,
    (number, name, repository): (&'static str, &str, &str),
    builds: &str,
) -> Result<Binding<'a>, Unbound> {
    let id = claims.text(number).ok_or(Unbound::Repository)?;
    let name = claims.text(name).unwrap_or(id);
    // Names can be given to somebody else's repository; numbers cannot.
    let comment = format!("The {repository} `{}`.", quote(name));
    let mut conditions = vec![Condition { comment, claim: number, value: id }];
    let is_branch = claims.text("ref_type") == Some("branch");
    let bound = match (claims.text("environment"), claims.text("ref").filter(|_| is_branch)) {
        (Some(environment), _) => {
            let comment = format!("Only {builds} with this `environment:`.");
            conditions.push(Condition { comment, claim: "environment", value: environment });
            ("deployment-", environment)
        }
        (None, Some(branch)) => {
            let comment = format!("Only {builds} of this branch.");
            conditions.push(Condition { comment, claim: "ref", value: branch });
            let comment = "A tag may have the same name.".to_owned();
            conditions.push(Condition { comment, claim: "ref_type", value: "branch" });
            ("branch-", branch.strip_prefix("refs/heads/").unwrap_or(branch))
        }
        (None, None) => return Err(Unbound::Job),
    };
    Ok(Binding { conditions, repository: name, bound })
}
