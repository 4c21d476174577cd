//! From the environment to what the commands work with; the only reader of the environment.

mod calls;
mod deploy;
mod effect;
mod environment;
mod lints;
mod list;
mod parse;
mod secrets;
mod value;
mod variables;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use url::Url;

pub(crate) use calls::{Verify, VerifyCall};
pub(crate) use deploy::{GivenSecret, ImageChecks, SecretSource};
pub use environment::{Environment, Problems};
pub use lints::warnings;
pub(crate) use lints::{blank, check_names};
pub use parse::read;
pub(crate) use secrets::is_secret;
pub(crate) use value::gateway_url;
pub(crate) use value::is_unexpanded;
pub(crate) use variables::TOKENS;
pub use variables::{VARIABLES, ValueKind, Variable};

use crate::console::redact::Secret;
use crate::function::Command;
use crate::function::FunctionName;
use crate::function::image::Host;
use crate::image_tag::git;
use crate::oidc::{BuildContext, IdToken, TokenError};
use crate::registry::RegistryCredentials;
use crate::report::Places;
use crate::stack;
use crate::stack::labels::GitLabels;

/// The configuration: all of it is valid.
#[derive(Debug)]
pub struct Config {
    pub(crate) task: Task,
    pub(crate) gateway_url: Option<Url>,
    pub(crate) allow_http: bool,
    /// `GATEWAY_HEADERS`, which only the gateway and its functions receive.
    pub(crate) gateway_headers: HeaderMap,
    pub(crate) credentials: Credentials,
    /// The step's ID token, or why it is missing: clouds get it also if `OPENFAAS_PASSWORD` is what the gateway gets.
    pub(crate) id_token: Result<Arc<IdToken>, TokenError>,
    pub(crate) registries: RegistryCredentials,
    /// The build as Bitbucket's variables have it, to be compared with the token.
    pub(crate) build: BuildContext,
    /// PEM text, or the path of a PEM file.
    pub(crate) ca_cert: Option<String>,
    pub(crate) tls_no_verify: bool,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) parallel: usize,
    pub(crate) places: Places,
}

/// Variables with problems. Nothing is sent for them.
#[derive(Debug)]
pub struct Invalid {
    pub problems: Problems,
    /// The valid part, with defaults in place of the rest: the problems of the files that it names are reported in the
    /// same run.
    pub(crate) config: Config,
}

#[derive(Debug)]
pub(crate) enum Credentials {
    /// Basic auth, for OpenFaaS CE and Standard.
    Password {
        username: String,
        password: Secret,
    },
    IdToken,
}

/// `COMMAND`, with its own variables.
#[derive(Debug)]
pub(crate) enum Task {
    Deploy(Deploy),
    Invoke(Box<Invoke>),
    Whoami(Whoami),
    Diff(Deploy),
    Remove(Remove),
    Login(Login),
}

impl Task {
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Deploy(_) => Command::Deploy,
            Self::Invoke(_) => Command::Invoke,
            Self::Whoami(_) => Command::Whoami,
            Self::Diff(_) => Command::Diff,
            Self::Remove(_) => Command::Remove,
            Self::Login(_) => Command::Login,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// Paths, patterns and URLs; empty for the default names.
    pub(crate) stack_files: Vec<String>,
    pub(crate) tag_format: TagFormat,
    /// All but the tag, which `tag_format` takes from the clone.
    pub(crate) options: stack::Options,
}

/// Where the tags of images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TagFormat {
    /// The stack file, else `latest`.
    Latest,
    /// The clone, appended to the stack file's tag.
    Git(git::Format),
    /// This text, which `git describe` printed in the script (`GIT_DESCRIBE`), appended too.
    Described(String),
    /// The handler's folder, in place of the stack file's tag.
    Digest,
}

/// `COMMAND: deploy`, and what `diff` compares with.
#[derive(Clone, Debug)]
pub(crate) struct Deploy {
    pub(crate) selection: Selection,
    pub(crate) strategy: Strategy,
    pub(crate) given_secrets: Arc<[GivenSecret]>,
    /// The repository that created namespaces are labelled with (`CREATE_NAMESPACE`).
    pub(crate) creator: Option<String>,
    pub(crate) git_labels: Option<GitLabels>,
    /// `WAIT_TIMEOUT`, with `WAIT`.
    pub(crate) wait: Option<Duration>,
    /// `WAIT_TIMEOUT`, also for retries without `WAIT`.
    pub(crate) wait_timeout: Duration,
    pub(crate) verify: Option<Arc<Verify>>,
    pub(crate) show_values: bool,
    pub(crate) rollback: bool,
    /// Functions that equal what runs are not sent.
    pub(crate) only_changed: bool,
    pub(crate) images_from: Option<ImagesFrom>,
    /// The repository that functions are labelled with (`OWNER_LABEL`).
    pub(crate) owner: Option<String>,
    pub(crate) images: ImageChecks,
    pub(crate) dry_run: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Remove {
    pub(crate) selection: Selection,
    /// The repository whose namespaces are deleted (`DELETE_NAMESPACE`).
    pub(crate) creator: Option<String>,
}

/// `COMMAND: whoami`, with the variables of the command that it is run in place of.
#[derive(Clone, Debug)]
pub(crate) struct Whoami {
    pub(crate) deploy: Deploy,
    /// `DELETE_NAMESPACE`: the command is a removal.
    pub(crate) deletes_namespaces: bool,
    pub(crate) output_file: Option<PathBuf>,
    pub(crate) function: Option<FunctionName>,
}

#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// `REGISTRIES`; `None` for those of the stack file's images.
    pub(crate) registries: Option<Vec<Host>>,
    pub(crate) directory: PathBuf,
    pub(crate) selection: Selection,
}

/// `IMAGES_FROM`: the run whose images are deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImagesFrom {
    /// The last successful deploy of this pipeline.
    Pipeline,
    File(String),
}

/// How a function that exists already is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Rolling update, or created if it does not exist.
    Update,
    /// Deleted and, once it is gone, created.
    Replace,
    Create,
}

#[derive(Debug)]
pub(crate) struct Invoke {
    pub(crate) function: FunctionName,
    pub(crate) options: CallOptions,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) asynchronous: bool,
    pub(crate) output_file: Option<PathBuf>,
    pub(crate) idempotent: bool,
}

/// How a function is called, by `invoke` and by `VERIFY`.
#[derive(Debug)]
pub(crate) struct CallOptions {
    pub(crate) method: http::Method,
    pub(crate) payload: PayloadSource,
    pub(crate) content_type: Option<http::HeaderValue>,
    pub(crate) headers: http::HeaderMap,
    pub(crate) auth: Auth,
    pub(crate) sign: Option<(http::HeaderName, Secret)>,
}

#[derive(Debug)]
pub(crate) enum PayloadSource {
    /// `PAYLOAD`, or nothing.
    Text(String),
    File(String),
}

/// When an invocation carries a function token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    Auto,
    Always,
    Never,
}

/// True if debug lines are shown; read before anything else, for the log.
pub(crate) fn debug(environment: &Environment) -> bool {
    environment.text("DEBUG").and_then(value::boolean).unwrap_or(false)
}

/// True if lines are coloured (<https://no-color.org>).
pub(crate) fn colour(environment: &Environment) -> bool {
    environment.get("NO_COLOR").is_none_or(str::is_empty) && !environment.is_garbled("NO_COLOR")
}

/// The problem with a variable that is blank, as `X: $UNSET` arrives.
const BLANK: &str = "is set but empty: check that the variable it refers to is defined for this deployment environment";
pub(crate) const NOT_SET: &str =
    "is not set, neither in the step nor as a workspace, repository or deployment variable";
pub(crate) const NOT_UTF8: &str = "is not UTF-8 text";

#[cfg(test)]
mod tests;
