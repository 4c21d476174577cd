//! A step for the tests.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::oidc::{BuildContext, IdToken};

pub(crate) const REPOSITORY: &str = "{3b1f7d52-0d8c-4c3c-9f0a-0f9a3f1c2d11}";

/// A build of which nothing is known.
pub(crate) static BUILD: LazyLock<BuildContext> = LazyLock::new(BuildContext::default);

/// A token as Bitbucket makes it, with these claims in place of its own.
pub(crate) fn token(changes: Value) -> IdToken {
    let mut claims = json!({
        "iss": "https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc",
        "aud": "ari:cloud:bitbucket::workspace/8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7",
        "sub": format!("{REPOSITORY}:{{5e1c}}"),
        "repositoryUuid": REPOSITORY,
        "workspaceUuid": "{8d1cb6a4-6f0e-4a2f-9b7e-d1f1a0c3b5e7}",
    });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    IdToken::new(&format!("{}.{}.c2lnbmF0dXJl", part(r#"{"alg":"RS256"}"#.to_owned()), part(claims.to_string())))
        .unwrap()
}
