//! From the pipe's variables to what the commands work with; all problems at once. The only reader of the environment.

mod build;
mod gateway_url;
mod lints;
mod parse;
mod value;
mod variables;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex_lite::Regex;
use url::Url;

pub use gateway_url::{gateway_address, is_loopback};
pub use lints::warnings;
pub use parse::read;
pub use value::{Invalid, Problems};
pub use variables::{Environment, Kind, UsedBy, VARIABLES, Variable};

use crate::console::redact::Secret;
use crate::image_tag::git;
use crate::oidc::{Facts, IdToken, TokenError};
use crate::report::Places;

/// What the variables say.
#[derive(Debug)]
pub struct Config {
    /// What to do.
    pub command: Command,
    /// The gateway's address where `OPENFAAS_URL` gives one.
    pub url: Option<Url>,
    /// `OPENFAAS_URL` has a value, be it a wrong one.
    pub url_is_given: bool,
    /// `OPENFAAS_URL` is set, and blank.
    pub url_is_blank: bool,
    /// Whether the token may travel over plain HTTP.
    pub allow_http: bool,
    /// How the pipe proves who it is.
    pub credentials: Credentials,
    /// What Bitbucket says of the build, to be held against the token.
    pub facts: Facts,
    /// PEM text, or the path of a PEM file.
    pub ca_cert: Option<String>,
    /// Whether certificates are left unchecked.
    pub tls_no_verify: bool,
    /// Bound on one HTTP request.
    pub timeout: Duration,
    /// Further tries of a request that failed in a way that may pass.
    pub retries: u32,
    /// Requests under way at once.
    pub parallel: usize,
    /// Where the result goes.
    pub places: Places,
}

/// How the pipe proves who it is.
#[derive(Debug)]
pub enum Credentials {
    /// Basic auth, for OpenFaaS CE and Standard.
    Password {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// The step's ID token, to be exchanged, or why there is none.
    IdToken(Result<Arc<IdToken>, TokenError>),
}

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Deploy the functions of a stack file.
    Deploy(Deploy),
    /// Invoke one function.
    Invoke(Box<Invoke>),
    /// Explain the step's token.
    Whoami(Whoami),
    /// Show what a deploy would change.
    Diff(Deploy),
    /// Delete the functions of a stack file.
    Remove(Selection),
}

impl Command {
    /// The value of `COMMAND`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "deploy",
            Self::Invoke(_) => "invoke",
            Self::Whoami(_) => "whoami",
            Self::Diff(_) => "diff",
            Self::Remove(_) => "remove",
        }
    }
}

/// A stack file, and which of its functions.
#[derive(Clone, Debug)]
pub struct Selection {
    /// `STACK_FILE`.
    pub stack_file: Option<String>,
    /// `OPENFAAS_NAMESPACE`.
    pub namespace: Option<String>,
    /// `FILTER`.
    pub filter: Option<String>,
    /// `REGEX`.
    pub regex: Option<Regex>,
    /// `TAG_FORMAT`.
    pub tag_format: TagFormat,
    /// `ENVSUBST`.
    pub envsubst: bool,
}

/// Where the tags of images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagFormat {
    /// From the stack file, else `latest`.
    Latest,
    /// From the clone, behind the stack file's.
    Git(git::Format),
    /// From the handler's folder, in place of the stack file's.
    Digest,
}

/// `COMMAND: deploy`, and what `diff` compares with.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The stack file.
    pub selection: Selection,
    /// How a function that is there already is treated.
    pub strategy: Strategy,
    /// `ENV_VARS`.
    pub env_vars: Vec<(String, String)>,
    /// `LABELS`.
    pub labels: Vec<(String, String)>,
    /// `ANNOTATIONS`.
    pub annotations: Vec<(String, String)>,
    /// `SECRETS`.
    pub secrets: Vec<String>,
    /// `CONSTRAINTS`.
    pub constraints: Vec<String>,
    /// `READ_ONLY`.
    pub read_only: bool,
    /// `WAIT`, with `WAIT_TIMEOUT`.
    pub wait: Option<Duration>,
    /// `WAIT_TIMEOUT`, also of what is tried without `WAIT`.
    pub wait_timeout: Duration,
    /// `ROLLBACK`.
    pub rollback: bool,
    /// `OWNER_LABEL`: the repository that functions are labelled with.
    pub owner: Option<String>,
    /// `PRUNE`.
    pub prune: bool,
    /// `DRY_RUN`.
    pub dry_run: bool,
}

/// `COMMAND: whoami`, with what the command in whose place it stands would do.
#[derive(Clone, Debug)]
pub struct Whoami {
    /// The stack file, and what a deploy of it would need.
    pub deploy: Deploy,
    /// `FUNCTION`, with its namespace: what an invocation would need.
    pub function: Option<(String, Option<String>)>,
}

/// How a function that is there already is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Rolling update; created where it is not there.
    Update,
    /// Deleted, waited for until it is gone, created.
    Replace,
    /// Only created.
    Create,
}

/// `COMMAND: invoke`.
#[derive(Debug)]
pub struct Invoke {
    /// The function's name.
    pub function: String,
    /// Its namespace, where one is given.
    pub namespace: Option<String>,
    /// The request's body.
    pub payload: Payload,
    /// `CONTENT_TYPE`.
    pub content_type: String,
    /// `METHOD`.
    pub method: http::Method,
    /// `QUERY`.
    pub query: Vec<(String, String)>,
    /// `HEADERS`.
    pub headers: http::HeaderMap,
    /// `ASYNC`.
    pub asynchronous: bool,
    /// `AUTH`.
    pub auth: Auth,
    /// `SIGN_HEADER` and `SIGN_KEY`.
    pub sign: Option<(http::HeaderName, Secret)>,
    /// `OUTPUT_FILE`.
    pub output_file: Option<PathBuf>,
    /// `IDEMPOTENT`.
    pub idempotent: bool,
}

/// The body of an invocation.
#[derive(Debug)]
pub enum Payload {
    /// `PAYLOAD`, or nothing.
    Text(String),
    /// `PAYLOAD_FILE`.
    File(String),
}

/// When an invocation carries a function token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Where the function asks for one.
    Auto,
    /// From the first request on.
    Always,
    /// In no case.
    Never,
}

/// Whether debug lines are wanted, before anything else is known.
pub fn debug(environment: &Environment) -> bool {
    environment.text("DEBUG").and_then(value::boolean).unwrap_or(false)
}

/// Whether lines are coloured (<https://no-color.org>).
pub fn colour(environment: &Environment) -> bool {
    environment.get("NO_COLOR").is_none_or(str::is_empty)
}

/// What is said of a variable that is needed and has no value.
pub fn missing(blank: bool) -> &'static str {
    if blank {
        "set but empty: is the variable that it takes its value from defined, also for this deployment environment?"
    } else {
        "required field"
    }
}

/// What is said of a value that is no text.
pub const NOT_TEXT: &str = "is not UTF-8 text";

#[cfg(test)]
mod tests;
