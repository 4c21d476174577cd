//! The table of the pipe's variables, and how their values are collected from the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use serde::Deserialize;

/// The commands that use a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedBy(u8);

/// Every command.
const ALL: UsedBy = UsedBy(31);
const DEPLOY: UsedBy = UsedBy(1);
const INVOKE: UsedBy = UsedBy(2);
const WHOAMI: UsedBy = UsedBy(4);
const DIFF: UsedBy = UsedBy(8);
const REMOVE: UsedBy = UsedBy(16);
/// The commands that read the whole of a stack file.
const STACK: UsedBy = DEPLOY.and(WHOAMI).and(DIFF).and(REMOVE);
/// The commands that know what a deploy would send.
const SEND: UsedBy = DEPLOY.and(DIFF);

impl UsedBy {
    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `COMMAND: name` uses it.
    pub fn includes(self, name: &str) -> bool {
        let command = match name {
            "deploy" => DEPLOY,
            "invoke" => INVOKE,
            "whoami" => WHOAMI,
            "diff" => DIFF,
            "remove" => REMOVE,
            _ => return true,
        };
        self.0 & command.0 != 0
    }

    /// The commands' names.
    pub fn names(self) -> Vec<&'static str> {
        ["deploy", "invoke", "whoami", "diff", "remove"].into_iter().filter(|name| self.includes(name)).collect()
    }
}

/// What a variable's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text without the space around it.
    Text,
    /// Text to the letter.
    Verbatim,
    /// Text that must not be seen.
    Secret,
    /// `true` or `false`.
    Boolean,
    /// `90s`.
    Duration,
    /// A whole number.
    Number,
    /// A list of texts.
    List,
}

/// One variable of the pipe.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name in `variables:`.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Its value where it is not set; empty for none.
    pub default: &'static str,
    /// The commands that use it.
    pub used_by: UsedBy,
}

/// The value of one variable as it was found.
pub(super) struct Entry<'a> {
    pub(super) variable: &'static Variable,
    /// Absent where it is not set, or blank.
    pub(super) value: Option<&'a str>,
    /// Whether it was set, and blank.
    pub(super) blank: bool,
}

macro_rules! variables {
    ($($field:ident $name:literal $kind:ident $default:literal $used_by:expr;)*) => {
        /// Every variable of the pipe, in the order of its documentation.
        pub const VARIABLES: &[Variable] = &[
            $(Variable { name: $name, kind: Kind::$kind, default: $default, used_by: $used_by },)*
        ];

        /// The values, by variable.
        #[derive(Deserialize)]
        #[derive(Default)]
        struct Values {
            $($field: Option<String>,)*
        }

        impl Found {
            $(pub(super) fn $field(&self) -> Entry<'_> {
                const VARIABLE: &Variable =
                    &Variable { name: $name, kind: Kind::$kind, default: $default, used_by: $used_by };
                Entry {
                    variable: VARIABLE,
                    value: self.values.$field.as_deref(),
                    blank: self.blank.contains($name),
                }
            })*
        }
    };
}

variables! {
    openfaas_url "OPENFAAS_URL" Text "" ALL;
    command "COMMAND" Text "deploy" ALL;
    openfaas_namespace "OPENFAAS_NAMESPACE" Text "" ALL;
    bitbucket_step_oidc_token "BITBUCKET_STEP_OIDC_TOKEN" Secret "" ALL;
    openfaas_username "OPENFAAS_USERNAME" Text "admin" ALL;
    openfaas_password "OPENFAAS_PASSWORD" Secret "" ALL;
    ca_cert "CA_CERT" Text "" ALL;
    tls_no_verify "TLS_NO_VERIFY" Boolean "false" ALL;
    allow_http "ALLOW_HTTP" Boolean "false" ALL;
    timeout "TIMEOUT" Duration "60s" ALL;
    retries "RETRIES" Number "4" ALL;
    debug "DEBUG" Boolean "false" ALL;
    report "REPORT" Boolean "false" ALL;
    report_proxy "REPORT_PROXY" Text "http://host.docker.internal:29418" ALL;

    stack_file "STACK_FILE" Text "" STACK;
    tag_format "TAG_FORMAT" Text "latest" STACK;
    filter "FILTER" Text "" STACK;
    regex "REGEX" Text "" STACK;
    envsubst "ENVSUBST" Boolean "true" STACK;
    strategy "STRATEGY" Text "update" DEPLOY;
    env_vars "ENV_VARS" List "" SEND;
    labels "LABELS" List "" SEND;
    annotations "ANNOTATIONS" List "" SEND;
    secrets "SECRETS" List "" SEND;
    constraints "CONSTRAINTS" List "" SEND;
    read_only "READ_ONLY" Boolean "false" SEND;
    parallel "PARALLEL" Number "16" STACK;
    wait "WAIT" Boolean "false" DEPLOY;
    wait_timeout "WAIT_TIMEOUT" Duration "5m" DEPLOY;
    rollback "ROLLBACK" Boolean "false" DEPLOY;
    owner_label "OWNER_LABEL" Boolean "false" SEND;
    prune "PRUNE" Boolean "false" SEND;
    dry_run "DRY_RUN" Boolean "false" DEPLOY;

    function "FUNCTION" Text "" INVOKE;
    payload "PAYLOAD" Verbatim "" INVOKE;
    payload_file "PAYLOAD_FILE" Text "" INVOKE;
    content_type "CONTENT_TYPE" Text "text/plain" INVOKE;
    method "METHOD" Text "POST" INVOKE;
    query "QUERY" List "" INVOKE;
    headers "HEADERS" List "" INVOKE;
    r#async "ASYNC" Boolean "false" INVOKE;
    auth "AUTH" Text "auto" INVOKE;
    sign_header "SIGN_HEADER" Text "" INVOKE;
    sign_key "SIGN_KEY" Secret "" INVOKE;
    output_file "OUTPUT_FILE" Text "" INVOKE;
    idempotent "IDEMPOTENT" Boolean "false" INVOKE;
}

/// The environment, taken once.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// Names whose values are not UTF-8.
    garbled: BTreeSet<String>,
}

impl Environment {
    /// Takes pairs such as [`std::env::vars_os`] gives.
    pub fn new(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => _ = environment.values.insert(name, value),
                Err(_) => _ = environment.garbled.insert(name),
            }
        }
        environment
    }

    /// The value as it is; absent where it is not set or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value without the space around it; absent where it is not set or blank.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Whether the value is set and not UTF-8.
    pub fn is_garbled(&self, name: &str) -> bool {
        self.garbled.contains(name)
    }

    /// All names whose values are text.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

/// The pipe's variables as they were found in the environment.
pub(super) struct Found {
    values: Values,
    blank: BTreeSet<&'static str>,
}

impl Found {
    /// No variable set.
    pub(super) fn empty() -> Self {
        Self { values: Values::default(), blank: BTreeSet::new() }
    }

    /// Collects the values: blank is not set, options are trimmed.
    pub(super) fn new(environment: &Environment) -> Result<Self, envy::Error> {
        let mut blank = BTreeSet::new();
        let mut pairs = Vec::new();
        for variable in VARIABLES {
            let Some(value) = environment.get(variable.name) else {
                continue;
            };
            if value.trim().is_empty() {
                blank.insert(variable.name);
                continue;
            }
            let value = match variable.kind {
                Kind::Verbatim | Kind::List => value,
                _ => value.trim(),
            };
            pairs.push((variable.name.to_owned(), value.to_owned()));
        }
        let values = envy::from_iter(pairs)?;
        Ok(Self { values, blank })
    }
}
