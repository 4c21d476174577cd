//! What Bitbucket's own variables say of the build.

use super::variables::Environment;
use crate::oidc::Facts;

/// The facts that a token's claims are held against.
pub(super) fn facts(environment: &Environment) -> Facts {
    let text = |name| environment.text(name).map(str::to_owned);
    Facts {
        workspace: text("BITBUCKET_WORKSPACE"),
        repository_slug: text("BITBUCKET_REPO_SLUG"),
        repository_uuid: text("BITBUCKET_REPO_UUID"),
        tag: text("BITBUCKET_TAG"),
        pull_request: text("BITBUCKET_PR_ID"),
        environment: text("BITBUCKET_DEPLOYMENT_ENVIRONMENT"),
    }
}
