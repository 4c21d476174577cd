//! IAM Credentials: exchanges a federated token for a token of a service account.
//!
//! <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>

use local_gateway::Request;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Google, TOKEN_CREATOR, WORKLOAD_IDENTITY_USER, bearer, error};
use crate::reply::{self, Reply};

const REASON: &str = "type.googleapis.com/google.rpc.ErrorInfo";
/// The maximum lifetime of a token, in seconds.
const MAX_LIFE: i64 = 3600;

impl Google {
    pub(super) fn generate_access_token(&self, request: &Request) -> Reply {
        match self.service_account_token(request) {
            Ok(token) => reply::json(200, &token),
            Err(reply) => reply,
        }
    }

    fn service_account_token(&self, request: &Request) -> Result<Value, Reply> {
        let path = percent_decode_str(&request.path).decode_utf8_lossy();
        let email = path
            .strip_prefix("/v1/projects/-/serviceAccounts/")
            .and_then(|rest| rest.strip_suffix(":generateAccessToken"))
            .filter(|_| request.method == "POST")
            .ok_or_else(|| error(404, "NOT_FOUND", "Requested entity was not found.", &[]))?;
        let mut state = self.state();
        let members = bearer(request)
            .and_then(|token| state.tokens.get(token))
            .map(|token| token.members.clone())
            .ok_or_else(|| {
                let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login \
                               cookie or other valid authentication credential. See \
                               https://developers.google.com/identity/sign-in/web/devconsole-project.";
                error(401, "UNAUTHENTICATED", message, &[])
            })?;
        let body = request.json();
        if body["scope"].as_array().is_none_or(Vec::is_empty) {
            return Err(error(
                400,
                "INVALID_ARGUMENT",
                "Request contains an invalid argument: scope is required.",
                &[],
            ));
        }
        let life = life(&body)?;
        let account = state.service_accounts.get(email);
        if !account.is_some_and(|bindings| bindings.grant(&[WORKLOAD_IDENTITY_USER, TOKEN_CREATOR], &members)) {
            let message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
            let details = json!({
                "@type": REASON,
                "reason": "IAM_PERMISSION_DENIED",
                "domain": "iam.googleapis.com",
                "metadata": {"permission": "iam.serviceAccounts.getAccessToken"},
            });
            return Err(error(403, "PERMISSION_DENIED", message, &[details]));
        }
        let token = self.issue(&mut state, "ya29.c.", vec![format!("serviceAccount:{email}")]);
        let expires = OffsetDateTime::now_utc() + time::Duration::seconds(life);
        let expires = expires.replace_nanosecond(0).unwrap_or(expires).format(&Rfc3339).unwrap_or_default();
        Ok(json!({"accessToken": token, "expireTime": expires}))
    }
}

/// The requested `lifetime` in seconds.
fn life(body: &Value) -> Result<i64, Reply> {
    let Some(lifetime) = body.get("lifetime") else {
        return Ok(MAX_LIFE);
    };
    let seconds = lifetime.as_str().and_then(|text| text.strip_suffix('s')).and_then(|text| text.parse().ok());
    match seconds {
        Some(seconds) if (1..=MAX_LIFE).contains(&seconds) => Ok(seconds),
        Some(_) => {
            let message = "The access token lifetime cannot exceed 3600 seconds.";
            Err(error(400, "INVALID_ARGUMENT", message, &[]))
        }
        None => Err(error(400, "INVALID_ARGUMENT", "Invalid value at 'lifetime'", &[])),
    }
}
