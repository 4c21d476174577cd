//! Explains a registry's refusal, with its remedy.

use http::StatusCode;
use serde_json::Value;

use super::{CredentialSource, RegistryCredentials, wanted_credentials};
use crate::cloud::aws::{self, EcrHost};
use crate::cloud::google::{self, ArtifactRepository};
use crate::cloud::{RegistryLogin, Step};
use crate::console::log::{quote, whole_or_length};
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::image::{Host, Reference};
use crate::http::client::location;
use crate::http::responder;
use crate::http::service::{SHORT, ServiceResponse, denied, is_transient, unavailable};

pub(super) const ANOTHER_SERVER: &str = "look for a proxy or a sign-in page that responds in the registry's place";

const MOST_TAGS: usize = 5;

/// The pipe's own side of a refusal.
#[derive(Clone, Copy)]
pub(super) struct RefusalContext<'a> {
    pub(super) credentials: &'a RegistryCredentials,
    pub(super) step: Option<&'a Step<'a>>,
}

/// The words of a registry (OCI distribution specification, *Error codes*).
pub(super) struct Said {
    codes: Vec<String>,
    text: String,
}

impl Said {
    pub(super) fn of(response: &ServiceResponse) -> Self {
        let json: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let errors = json.get("errors").and_then(Value::as_array).into_iter().flatten();
        let (mut codes, mut words) = (Vec::new(), Vec::new());
        for error in errors {
            let text = |name: &str| error.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            words.push(text("code").into_iter().chain(text("message")).collect::<Vec<_>>().join(": "));
            codes.extend(text("code").map(str::to_owned));
        }
        let text = if !words.is_empty() {
            words.join("; ")
        } else if responder::is_web_page(&response.headers, &response.body) {
            responder::web_page(&response.body)
        } else {
            String::from_utf8_lossy(&response.body).into_owned()
        };
        Self { codes, text: quote(&text) }
    }

    /// As the end of a sentence.
    fn end(&self) -> String {
        if self.text.is_empty() { String::new() } else { format!(": {}", self.text) }
    }
}

/// `anonymous`: no login was shown, without which some registries report a private image as missing.
pub(super) fn not_found(image: &Reference, said: &Said, tags: &[String], anonymous: bool) -> Diagnostic {
    let (repository, host) = (&image.repository, &image.host);
    let what = if said.codes.iter().any(|code| code == "NAME_UNKNOWN") {
        format!("repository `{repository}` was not found in `{host}`")
    } else {
        format!("`{}` was not found in repository `{repository}` of `{host}`", whole_or_length(image.version()))
    };
    let near = near(image.version(), tags);
    // A registry that lists the tags shows the repository.
    let may_be_private = anonymous && tags.is_empty();
    let hint = if !near.is_empty() {
        let near: Vec<_> = near.into_iter().map(|tag| format!("`{}`", whole_or_length(tag))).collect();
        format!("push the image before the deploy, or correct its tag; similar tags: {}", near.join(", "))
    } else if may_be_private {
        format!(
            "push the image before the deploy, or correct its name; if it is private, set {}",
            wanted_credentials(host)
        )
    } else {
        "push the image before the deploy, or correct its name".to_owned()
    };
    let fault = if may_be_private { "does not exist, or is private" } else { "does not exist" };
    let message = format!("image `{image}` {fault}: {what}{}", said.end());
    Diagnostic::new(Failure::Input, message).with_hint(hint)
}

/// The tags that are most like a version, nearest first.
fn near<'t>(version: &str, tags: &'t [String]) -> Vec<&'t str> {
    const LIKE: f64 = 0.6;
    // Texts of other lengths are never that like, and a hostile registry's may be of any length.
    let is_as_long = |tag: &&String| {
        let (one, other) = (tag.len() as f64, version.len() as f64);
        one.min(other) >= LIKE * one.max(other)
    };
    let mut near: Vec<_> = tags
        .iter()
        .filter(is_as_long)
        .map(|tag| (strsim::normalized_damerau_levenshtein(version, tag), tag.as_str()))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    near.into_iter().take(MOST_TAGS).map(|(_, tag)| tag).collect()
}

/// A response other than success and 404.
pub(super) fn refused(image: &Reference, response: &ServiceResponse, context: RefusalContext<'_>) -> Diagnostic {
    let status = response.status;
    let said = Said::of(response).end();
    let host = &image.host;
    if is_transient(status) {
        let message = format!("image `{image}`: `{host}` returned {}{said}", status.as_u16());
        let is_limit = status == StatusCode::TOO_MANY_REQUESTS;
        let hint = match context.credentials.of(host) {
            CredentialSource::Anonymous if is_limit => Some(format!(
                "registries limit anonymous requests by address, and Bitbucket's are shared: set {}",
                wanted_credentials(host)
            )),
            _ => None,
        };
        return Diagnostic { hint, ..unavailable(message) };
    }
    let message = format!("image `{image}` could not be looked up: `{host}` returned {}{said}", status.as_u16());
    let hint = match status.as_u16() {
        401 | 403 => no_access(image, &said, context),
        300..400 => redirected(&location(&response.headers)),
        400 => "compare the image's name with what the registry allows".to_owned(),
        _ => format!("check that `{host}` is a registry (OCI distribution, `/v2/`)"),
    };
    denied(message).with_hint(hint)
}

/// Whoever follows a redirect to a sign-in page by hand sends it the login.
fn redirected(to: &str) -> String {
    if to.contains("/v2/") {
        return format!("it redirects to `{}`: write the image with that registry's name", whole_or_length(to));
    }
    "a proxy in front of the registry requires its own sign-in: let `/v2/` pass there, or write the registry's own name"
        .to_owned()
}

/// The hint that says how to give the pipe access.
fn no_access(image: &Reference, said: &str, context: RefusalContext<'_>) -> String {
    let host = &image.host;
    match context.credentials.of(host) {
        CredentialSource::Aws(..) if let Some(hint) = aws::explicit_deny(said) => hint.to_owned(),
        CredentialSource::Aws(_, role) if let Some(ecr) = EcrHost::of(host) => format!(
            "it does not exist, or role `{}` may not read it; these permissions allow it:\n{}\nan image of another account also \
             needs that in its repository's policy",
            role.name,
            aws::pull_policy([(&ecr, image.repository.as_str())])
        ),
        CredentialSource::Google(provider, account) if let Some(step) = context.step => format!(
            "it does not exist, or may not be read; this command permits it:\n{}",
            google::bind_reader(provider, account, ArtifactRepository::of(host, &image.repository).as_ref(), step)
        ),
        CredentialSource::DockerAuthConfig(_) => {
            format!("it does not exist, or the login for `{host}` in `DOCKER_AUTH_CONFIG` may not read it")
        }
        CredentialSource::Variables(_) => {
            "it does not exist, or the user in `REGISTRY_USERNAME` may not read it".to_owned()
        }
        _ => format!("it does not exist, or is private; for a private one set {}", wanted_credentials(host)),
    }
}

/// A registry or its token endpoint refused the credentials, or requires some.
pub(super) fn login_refused(host: &Host, response: &ServiceResponse, context: RefusalContext<'_>) -> Diagnostic {
    let said = Said::of(response).end();
    let (what, hint) = match context.credentials.of(host) {
        CredentialSource::DockerAuthConfig(login) => (
            "refused the login in `DOCKER_AUTH_CONFIG`",
            check_login(login, format!("sign in to `{host}` again, and store the new login")),
        ),
        CredentialSource::Variables(login) => (
            "refused the user name and password in `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`",
            check_login(
                login,
                "check both; many registries want an access token in place of the password".to_owned(),
            ),
        ),
        CredentialSource::Aws(..) => ("refused the role's password", "check that the account in the image's name is right".to_owned()),
        CredentialSource::Google(..) => (
            "refused Google's token",
            "the repository does not exist, or the step may not read it: `COMMAND: whoami` prints the commands that permit it"
                .to_owned(),
        ),
        CredentialSource::Anonymous => {
            ("requires credentials", format!("for a private image set {}", wanted_credentials(host)))
        }
    };
    denied(format!("registry `{host}` {what}: {}{said}", response.status.as_u16())).with_hint(hint)
}

/// The remedy for a login, and for a user name that may lack what a shell took for a variable.
fn check_login(login: &RegistryLogin, hint: String) -> String {
    if !login.lacks_part_of_name() {
        return hint;
    }
    format!(
        "{hint}\na robot account of Harbor is called `robot$NAME`: if `$NAME` was expanded as a variable, write `\\$` for `$`, or store \
         the whole name in a secured variable"
    )
}

/// A success that no registry returns.
pub(super) fn not_registry(host: &Host, response: &ServiceResponse) -> Diagnostic {
    let status = response.status.as_u16();
    let said = if responder::is_web_page(&response.headers, &response.body) {
        let start = &response.body[..response.body.len().min(SHORT)];
        format!("{status} with {}", responder::web_page(start))
    } else {
        status.to_string()
    };
    denied(format!("`{host}` returned {said}, which is not what a registry returns")).with_hint(ANOTHER_SERVER)
}
