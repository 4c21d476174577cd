//! The table of the pipe's variables: the only place that names them all.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Environment, Problems};
use crate::function::Command;

const ALL: &[Command] = Command::ALL;
const DEPLOY: &[Command] = &[Command::Deploy];
const DIFF: &[Command] = &[Command::Diff];
const LOGIN: &[Command] = &[Command::Login];
const INVOKE: &[Command] = &[Command::Invoke];
const REMOVE: &[Command] = &[Command::Remove];
/// The commands that write what they print or receive to a file.
const OUTPUT: &[Command] = &[Command::Invoke, Command::Whoami];
/// The commands that read a stack file.
const STACK: &[Command] = &[Command::Deploy, Command::Whoami, Command::Diff, Command::Remove, Command::Login];
/// The commands that call functions, a deploy for `VERIFY`.
pub(super) const CALL: &[Command] = &[Command::Deploy, Command::Invoke];
/// The commands that know what a deploy would send.
const SEND: &[Command] = &[Command::Deploy, Command::Diff];
/// The commands that ask registries.
const REGISTRY: &[Command] = &[Command::Deploy, Command::Diff, Command::Whoami, Command::Login];

/// How a value is read, and how the documentation shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Text,
    /// Not trimmed.
    Verbatim,
    /// Hidden in all output.
    Secret,
    Boolean,
    /// Such as `1m30s`.
    Duration,
    Number,
    List,
    /// A list of headers. The values of those that look like credentials are hidden.
    Headers,
    /// A list of names and values. All values are hidden.
    SecretList,
}

impl ValueKind {
    pub fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Headers | Self::SecretList)
    }

    /// True if any text may be meant, also one that looks like a mistake.
    pub(super) fn is_free(self) -> bool {
        matches!(self, Self::Verbatim | Self::Secret)
    }
}

/// The step's own tokens. The pipe does not use the second.
pub(crate) const TOKENS: [&str; 2] = ["BITBUCKET_STEP_OIDC_TOKEN", "PIPELINES_JWT_TOKEN"];

/// The proxies that HTTP clients use.
pub(super) const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// Other variables of URLs that may contain a password.
const URLS: [&str; 4] = ["REPORT_PROXY", "REGISTRY_HOST", "OPENFAAS_URL", "STACK_FILE"];

/// The part of a variable's value that must be hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sensitive {
    /// All of it, and no function gets it under any name.
    Token,
    Secret,
    /// The values of a list, or the value of one of its items.
    Values,
    /// The same, for those headers that look like credentials.
    Headers,
    Url,
}

impl Sensitive {
    /// The sensitive part of a variable, or of `NAME_0` of a list: redaction and substitution both follow from it.
    pub(super) fn of(name: &str) -> Option<Self> {
        let item_of = name.rsplit_once('_').filter(|(_, index)| index.bytes().all(|byte| byte.is_ascii_digit()));
        [Some(name), item_of.map(|(list, _)| list)].into_iter().flatten().find_map(|name| {
            if TOKENS.contains(&name) {
                return Some(Self::Token);
            }
            if URLS.contains(&name) || PROXIES.contains(&name) {
                return Some(Self::Url);
            }
            match VARIABLES.iter().find(|variable| variable.name == name)?.kind {
                ValueKind::Secret => Some(Self::Secret),
                ValueKind::SecretList => Some(Self::Values),
                ValueKind::Headers => Some(Self::Headers),
                _ => None,
            }
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub kind: ValueKind,
    pub default: &'static str,
    pub(crate) used_by: &'static [Command],
}

impl Variable {
    /// True if a name is this variable's, or that of a part of the list that was written for it.
    pub(super) fn owns(&self, name: &str) -> bool {
        name.strip_prefix(self.name).is_some_and(|rest| rest.is_empty() || is_list_suffix(rest))
    }

    /// `whoami` takes the variables of the command that it is run in place of.
    pub(super) fn is_used_by(&self, command: Command) -> bool {
        command == Command::Whoami || self.used_by.contains(&command)
    }
}

/// True if a text is what Bitbucket appends to the name of a list: `_COUNT`, `_0`, `_1`, …
pub(super) fn is_list_suffix(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('_') else { return false };
    rest == "COUNT" || !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) variable: &'static Variable,
    pub(super) environment: &'a Environment,
    /// `None` if it is not set or blank.
    pub(super) value: Option<&'a str>,
    // A cell, since entries of several variables are held at once, and each may be refused.
    pub(super) problems: &'a RefCell<Problems>,
}

impl Entry<'_> {
    pub(super) fn refuse(&self, message: impl ToString) {
        self.problems.borrow_mut().add(self.variable.name, message);
    }

    /// True if something is wrong with it, or with a part of the list that was written for it.
    pub(super) fn is_wrong(&self) -> bool {
        self.problems.borrow().any(|name| self.variable.owns(name))
    }

    /// True if it is set and blank, as `X: $UNSET` arrives.
    pub(super) fn is_blank(&self) -> bool {
        // These reach the pipe blank if they are not set at all (`pipe.yml`).
        let is_always_set = self.variable.name.starts_with("OPENFAAS_");
        !is_always_set && self.environment.get(self.variable.name).is_some_and(|value| value.trim().is_empty())
    }
}

/// The pipe's variables as the environment has them, a method each. What reads them adds what is wrong to the problems, and
/// returns the default in its place.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a> {
    pub(super) environment: &'a Environment,
    pub(super) values: &'a Values,
    pub(super) problems: &'a RefCell<Problems>,
}

/// The values of the variables that are set, by their names in lower case.
#[derive(Default)]
pub(super) struct Values(BTreeMap<String, String>);

impl Values {
    /// Collects what is set and not blank: `X: $UNSET` arrives as an empty value.
    pub(super) fn collect(environment: &Environment) -> Self {
        let values = envy::from_iter(VARIABLES.iter().filter_map(|variable| {
            let value = environment.get(variable.name).filter(|value| !value.trim().is_empty())?;
            let value = match variable.kind {
                ValueKind::Verbatim => value,
                kind if kind.is_list() => value,
                _ => value.trim(),
            };
            Some((variable.name.to_owned(), value.to_owned()))
        }));
        Self(values.expect("a map takes any name and text"))
    }
}

impl<'a> Variables<'a> {
    fn entry(self, variable: &'static Variable) -> Entry<'a> {
        let value = self.values.0.get(&variable.name.to_ascii_lowercase()).map(String::as_str);
        Entry { variable, environment: self.environment, value, problems: self.problems }
    }
}

macro_rules! variables {
    ($($field:ident $name:literal $kind:ident $default:literal $used_by:expr;)*) => {
        /// In the order of the documentation.
        pub const VARIABLES: &[Variable] = &[
            $(Variable { name: $name, kind: ValueKind::$kind, default: $default, used_by: $used_by },)*
        ];

        impl<'a> Variables<'a> {
            $(pub(super) fn $field(self) -> Entry<'a> {
                const VARIABLE: &Variable =
                    &Variable { name: $name, kind: ValueKind::$kind, default: $default, used_by: $used_by };
                self.entry(VARIABLE)
            })*
        }
    };
}

variables! {
    openfaas_url "OPENFAAS_URL" Text "" ALL;
    command "COMMAND" Text "deploy" ALL;
    openfaas_namespace "OPENFAAS_NAMESPACE" Text "" ALL;
    openfaas_ns "OPENFAAS_NS" Text "" ALL;
    bitbucket_step_oidc_token "BITBUCKET_STEP_OIDC_TOKEN" Secret "" ALL;
    openfaas_username "OPENFAAS_USERNAME" Text "admin" ALL;
    openfaas_password "OPENFAAS_PASSWORD" Secret "" ALL;
    gateway_headers "GATEWAY_HEADERS" SecretList "" ALL;
    ca_cert "CA_CERT" Text "" ALL;
    tls_no_verify "TLS_NO_VERIFY" Boolean "false" ALL;
    allow_http "ALLOW_HTTP" Boolean "false" ALL;
    timeout "TIMEOUT" Duration "60s" ALL;
    retries "RETRIES" Number "4" ALL;
    debug "DEBUG" Boolean "false" ALL;
    report "REPORT" Boolean "false" ALL;
    report_proxy "REPORT_PROXY" Text "http://host.docker.internal:29418" ALL;

    output_variables "OUTPUT_VARIABLES" List "" ALL;

    stack_file "STACK_FILE" List "" STACK;
    tag_format "TAG_FORMAT" Text "latest" STACK;
    git_describe "GIT_DESCRIBE" Text "" STACK;
    filter "FILTER" Text "" STACK;
    regex "REGEX" Text "" STACK;
    envsubst "ENVSUBST" Boolean "true" STACK;
    strategy "STRATEGY" Text "update" DEPLOY;
    only_changed "ONLY_CHANGED" Boolean "false" DEPLOY;
    env_vars "ENV_VARS" List "" SEND;
    labels "LABELS" List "" SEND;
    annotations "ANNOTATIONS" List "" SEND;
    secrets "SECRETS" List "" SEND;
    constraints "CONSTRAINTS" List "" SEND;
    secret_values "SECRET_VALUES" SecretList "" SEND;
    secret_files "SECRET_FILES" List "" SEND;
    create_namespace "CREATE_NAMESPACE" Boolean "false" SEND;
    delete_namespace "DELETE_NAMESPACE" Boolean "false" REMOVE;
    git_labels "GIT_LABELS" Boolean "false" SEND;
    read_only "READ_ONLY" Boolean "false" SEND;
    parallel "PARALLEL" Number "16" STACK;
    wait "WAIT" Boolean "false" DEPLOY;
    wait_timeout "WAIT_TIMEOUT" Duration "5m" DEPLOY;
    verify "VERIFY" List "" DEPLOY;
    rollback "ROLLBACK" Boolean "false" DEPLOY;
    owner_label "OWNER_LABEL" Boolean "false" SEND;
    prune "PRUNE" Boolean "false" SEND;
    images_from "IMAGES_FROM" Text "" SEND;
    check_images "CHECK_IMAGES" Boolean "false" SEND;
    pin_images "PIN_IMAGES" Boolean "false" SEND;
    image_platforms "IMAGE_PLATFORMS" List "" SEND;
    dry_run "DRY_RUN" Boolean "false" DEPLOY;
    show_values "SHOW_VALUES" Boolean "false" DIFF;

    docker_auth_config "DOCKER_AUTH_CONFIG" Secret "" REGISTRY;
    registry_host "REGISTRY_HOST" Text "docker.io" REGISTRY;
    registry_username "REGISTRY_USERNAME" Text "" REGISTRY;
    registry_password "REGISTRY_PASSWORD" Secret "" REGISTRY;
    aws_oidc_role_arn "AWS_OIDC_ROLE_ARN" Text "" REGISTRY;
    gcp_workload_identity_provider "GCP_WORKLOAD_IDENTITY_PROVIDER" Text "" REGISTRY;
    gcp_service_account "GCP_SERVICE_ACCOUNT" Text "" REGISTRY;
    registries "REGISTRIES" List "" LOGIN;
    docker_config "DOCKER_CONFIG" Text ".docker" LOGIN;

    function "FUNCTION" Text "" INVOKE;
    payload "PAYLOAD" Verbatim "" CALL;
    payload_file "PAYLOAD_FILE" Text "" CALL;
    content_type "CONTENT_TYPE" Text "text/plain" CALL;
    method "METHOD" Text "POST" CALL;
    query "QUERY" List "" INVOKE;
    headers "HEADERS" Headers "" CALL;
    r#async "ASYNC" Boolean "false" INVOKE;
    auth "AUTH" Text "auto" CALL;
    sign_header "SIGN_HEADER" Text "" CALL;
    sign_key "SIGN_KEY" Secret "" CALL;
    output_file "OUTPUT_FILE" Text "" OUTPUT;
    idempotent "IDEMPOTENT" Boolean "false" INVOKE;
}
