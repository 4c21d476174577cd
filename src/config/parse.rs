//! Reads the variables: each value is checked, and all that is wrong is collected before any of it is used.

use std::path::PathBuf;
use std::sync::Arc;

use regex_lite::Regex;
use url::Url;

use super::variables::{VARIABLES, Values, Variables};
use super::{
    Config, Credentials, Deploy, Environment, GatewayUrl, Invalid, Login, NOT_UTF8, Problems, Selection, Strategy,
    TagFormat, Task, Whoami, gateway_url, lints, missing, secrets,
};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::function::api::unaddressable;
use crate::function::command::Command;
use crate::image_tag::git;
use crate::oidc::{Facts, IdToken};
use crate::registry::Host;
use crate::report::{OUTPUT_VARIABLES, Places, insights};

/// More retries only hide that something is broken.
const MAX_RETRIES: usize = 20;
/// As many deployments as a gateway accepts at once without refusing some.
const MAX_PARALLEL: usize = 64;

/// Reads the variables. From here on, all output hides the secrets among them.
pub fn read(environment: &Environment) -> Result<Config, Box<Invalid>> {
    secrets::hide(environment);
    let (values, wrong) = match Values::collect(environment) {
        Ok(values) => (values, None),
        Err(error) => (Values::default(), Some(error)),
    };
    let variables = Variables { environment, values: &values };
    let mut reader = Reader::new(variables);
    if let Some(error) = wrong {
        reader.problems.add("COMMAND", format!("the variables cannot be read: {error}"));
    }
    for variable in VARIABLES.iter().filter(|variable| environment.is_garbled(variable.name)) {
        reader.problems.add(variable.name, NOT_UTF8);
    }
    let config = reader.config();
    let mut problems = reader.problems;
    for name in problems.names() {
        if let Some(message) = lints::unexpanded(environment, &name) {
            problems.replace(name, message);
        }
    }
    config.filter(|_| problems.is_empty()).ok_or_else(|| {
        let command = part(variables, Reader::command);
        Box::new(Invalid {
            problems,
            command: command.unwrap_or(Command::Deploy),
            task: command.and_then(|command| part(variables, |reader| reader.task(command))),
            selection: part(variables, Reader::selection).or_else(|| part(variables, Reader::whole_file)),
            gateway_url: part(variables, Reader::gateway_url),
            credentials: Reader::new(variables).credentials(),
            ca_cert: variables.ca_cert().owned(),
            places: part(variables, Reader::places).unwrap_or_else(|| directories(environment)),
        })
    })
}

/// Reads a part of the configuration for itself; `None` if anything is wrong with it.
fn part<'a, T>(variables: Variables<'a>, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Option<T> {
    let mut reader = Reader::new(variables);
    read(&mut reader).filter(|_| reader.problems.is_empty())
}

/// Methods add what is wrong to the problems, and return `None` if there is no value because of it.
pub(super) struct Reader<'a> {
    pub(super) environment: &'a Environment,
    pub(super) variables: Variables<'a>,
    pub(super) problems: Problems,
}

impl<'a> Reader<'a> {
    fn new(variables: Variables<'a>) -> Self {
        Self { environment: variables.environment, variables, problems: Problems::default() }
    }

    fn config(&mut self) -> Option<Config> {
        let Self { variables, environment, .. } = *self;
        // Only read, so that what is wrong with it is reported: the log has followed it from the start.
        let debug = variables.debug().boolean(&mut self.problems);
        let task = self.command().and_then(|command| self.task(command));
        let gateway_url = self.gateway_url();
        let registries = self.registry_access();
        let places = self.places();
        let problems = &mut self.problems;
        let allow_http = variables.allow_http().boolean(problems);
        let tls_no_verify = variables.tls_no_verify().boolean(problems);
        let timeout = variables.timeout().duration(problems);
        let retries = variables.retries().number(0..=MAX_RETRIES, problems);
        let parallel = variables.parallel().number(1..=MAX_PARALLEL, problems);
        debug?;
        Some(Config {
            task: task?,
            gateway_url: gateway_url?,
            allow_http: allow_http?,
            credentials: self.credentials(),
            registries: registries?,
            facts: facts(environment),
            ca_cert: variables.ca_cert().owned(),
            tls_no_verify: tls_no_verify?,
            timeout: timeout?,
            retries: u32::try_from(retries?).ok()?,
            parallel: parallel?,
            places: places?,
        })
    }

    fn command(&mut self) -> Option<Command> {
        let names: Vec<_> = Command::ALL.iter().map(|command| (command.name(), *command)).collect();
        self.variables.command().choice(&names, &mut self.problems)
    }

    fn task(&mut self, command: Command) -> Option<Task> {
        Some(match command {
            Command::Deploy => Task::Deploy(self.deploy()?),
            Command::Invoke => Task::Invoke(Box::new(self.invoke()?)),
            Command::Whoami => {
                let deploy = self.deploy();
                let function = match self.variables.function().value {
                    Some(_) => Some(self.function()?),
                    None => None,
                };
                Task::Whoami(Whoami { deploy: deploy?, function })
            }
            Command::Diff => Task::Diff(self.deploy()?),
            Command::Remove => {
                self.refuse_blank_selection();
                Task::Remove(self.selection()?)
            }
            Command::Login => Task::Login(self.login()?),
        })
    }

    fn gateway_url(&mut self) -> Option<GatewayUrl> {
        let entry = self.variables.openfaas_url();
        let Some(text) = entry.value else { return Some(GatewayUrl::Unset { blank: entry.is_blank() }) };
        // A value of `ALLOW_HTTP` that cannot be read is a problem of its own.
        let allow_http = self.variables.allow_http().boolean(&mut Problems::default()).unwrap_or(true);
        match gateway_url(text, allow_http) {
            Ok(url) => Some(GatewayUrl::Set(url)),
            Err(error) => {
                self.problems.add("OPENFAAS_URL", error);
                None
            }
        }
    }

    fn places(&mut self) -> Option<Places> {
        let junit = self.variables.report().boolean(&mut self.problems)?;
        let insights = if junit { self.insights() } else { None };
        let output_variables = self.variables.output_variables().list(&mut self.problems)?;
        for name in output_variables.iter().filter(|name| !OUTPUT_VARIABLES.contains(&name.as_str())) {
            let message = format!("`{}` is not one of {}", whole_or_length(name), OUTPUT_VARIABLES.join(", "));
            self.problems.add("OUTPUT_VARIABLES", message);
        }
        Some(Places { junit, insights, output_variables, ..directories(self.environment) })
    }

    /// The commit to report on; `None` outside of a pipeline.
    fn insights(&mut self) -> Option<insights::Context> {
        let environment = self.environment;
        let proxy = self.variables.report_proxy().text()?;
        if Url::parse(proxy).ok().is_none_or(|url| !url.has_host()) {
            self.problems.add("REPORT_PROXY", "is not a URL: write for example `http://host.docker.internal:29418`");
        }
        let selection = ["OPENFAAS_URL", "STACK_FILE", "FUNCTION", "OPENFAAS_NAMESPACE", "FILTER", "REGEX"]
            .map(|name| environment.text(name).unwrap_or_default());
        Some(insights::Context {
            workspace: environment.owned("BITBUCKET_WORKSPACE")?,
            repository: environment.owned("BITBUCKET_REPO_SLUG")?,
            commit: environment.owned("BITBUCKET_COMMIT")?,
            build_number: environment.owned("BITBUCKET_BUILD_NUMBER"),
            environment: environment.owned("BITBUCKET_DEPLOYMENT_ENVIRONMENT"),
            selection: selection.join("\n"),
            proxy: proxy.to_owned(),
        })
    }

    fn credentials(&self) -> Credentials {
        let username = self.variables.openfaas_username().text().unwrap_or_default().to_owned();
        match self.variables.openfaas_password().owned().map(Secret::new) {
            Some(password) => {
                // Hidden too in the form that it has in a request's header.
                let _ = Secret::new(format!("{username}:{}", password.reveal()));
                Credentials::Password { username, password }
            }
            None => {
                let token = IdToken::new(self.variables.bitbucket_step_oidc_token().value.unwrap_or_default());
                Credentials::IdToken(token.map(Arc::new))
            }
        }
    }

    fn selection(&mut self) -> Option<Selection> {
        let variables = self.variables;
        let namespace = self.namespace();
        let problems = &mut self.problems;
        let (filter, regex) = (variables.filter().value, variables.regex().value);
        if filter.is_some() && regex.is_some() {
            problems.add("FILTER", "`FILTER` and `REGEX` cannot be used together: remove one");
        }
        let regex = regex.map(|text| {
            let expression = Regex::new(text);
            let wrong = |error: regex_lite::Error| {
                let error = whole_or_length(&error.to_string());
                problems.add(
                    "REGEX",
                    format!(
                        "is not a valid regular expression: {error}; look-around and `\\p{{…}}` are not supported, and \
                         `FILTER` accepts a wildcard instead"
                    ),
                );
            };
            expression.map_err(wrong).ok()
        });
        let formats = [
            ("latest", TagFormat::Latest),
            ("sha", TagFormat::Git(git::Format::Sha)),
            ("branch", TagFormat::Git(git::Format::Branch)),
            ("describe", TagFormat::Git(git::Format::Describe)),
            ("digest", TagFormat::Digest),
        ];
        let tag_format = variables.tag_format().choice(&formats, problems);
        let envsubst = variables.envsubst().boolean(problems);
        Some(Selection {
            stack_file: variables.stack_file().owned(),
            namespace: namespace?,
            filter: filter.map(str::to_owned),
            regex: match regex {
                Some(regex) => Some(regex?),
                None => None,
            },
            tag_format: tag_format?,
            envsubst: envsubst?,
        })
    }

    /// A selection that came to nothing would remove every function.
    fn refuse_blank_selection(&mut self) {
        for entry in [self.variables.filter(), self.variables.regex()] {
            if entry.is_blank() {
                let message = format!("{}, or remove it to remove all functions of the stack file", missing(true));
                self.problems.add(entry.variable.name, message);
            }
        }
    }

    /// The stack file without a selection.
    fn whole_file(&mut self) -> Option<Selection> {
        Some(Selection {
            stack_file: self.variables.stack_file().owned(),
            namespace: None,
            filter: None,
            regex: None,
            tag_format: TagFormat::Latest,
            envsubst: self.variables.envsubst().boolean(&mut self.problems)?,
        })
    }

    /// `OPENFAAS_NAMESPACE`; `None` within if it is not set.
    pub(super) fn namespace(&mut self) -> Option<Option<String>> {
        let namespace = self.variables.openfaas_namespace().owned();
        if let Some(character) = namespace.as_deref().and_then(unaddressable) {
            let message = format!("`{}` is not allowed in a namespace", character.escape_debug());
            self.problems.add("OPENFAAS_NAMESPACE", message);
            return None;
        }
        Some(namespace)
    }

    fn deploy(&mut self) -> Option<Deploy> {
        let variables = self.variables;
        let strategies = [("update", Strategy::Update), ("replace", Strategy::Replace), ("create", Strategy::Create)];
        let selection = self.selection();
        let owner = self.owner();
        let env_vars = self.env_vars();
        let verify = self.verify();
        let calls = !matches!(verify, Some(None));
        let problems = &mut self.problems;
        let wait = variables.wait().boolean(problems).map(|wait| wait || calls);
        let wait_timeout = variables.wait_timeout().duration(problems);
        let rollback = variables.rollback().boolean(problems);
        if rollback == Some(true) && wait == Some(false) {
            let message = "requires `WAIT: 'true'` or `VERIFY`: without them, the pipe does not know whether a function became ready";
            problems.add("ROLLBACK", message);
        }
        let prune = variables.prune().boolean(problems);
        if prune == Some(true) && owner == Some(None) {
            problems.add("PRUNE", "requires `OWNER_LABEL: 'true'`: only functions with that label are removed");
        }
        let strategy = variables.strategy().choice(&strategies, problems);
        let labels = variables.labels().pairs('=', problems);
        let annotations = variables.annotations().pairs('=', problems);
        let secrets = variables.secrets().list(problems);
        let constraints = variables.constraints().list(problems);
        let read_only = variables.read_only().boolean(problems);
        let dry_run = variables.dry_run().boolean(problems);
        let show_values = variables.show_values().boolean(problems);
        let images = self.image_checks();
        Some(Deploy {
            selection: selection?,
            strategy: strategy?,
            env_vars: env_vars?,
            labels: labels?,
            annotations: annotations?,
            secrets: secrets?,
            constraints: constraints?,
            read_only: read_only?,
            wait: wait?.then_some(wait_timeout?),
            wait_timeout: wait_timeout?,
            verify: verify?,
            show_values: show_values?,
            rollback: rollback?,
            owner: owner?,
            prune: prune?,
            images: images?,
            dry_run: dry_run?,
        })
    }

    fn login(&mut self) -> Option<Login> {
        let selection = self.selection();
        let variables = self.variables;
        let listed = variables.registries().list(&mut self.problems)?;
        let mut hosts = Vec::new();
        for item in &listed {
            match Host::parse(item) {
                Ok(host) => hosts.push(host),
                Err(error) => self.problems.add("REGISTRIES", error),
            }
        }
        Some(Login {
            registries: (!listed.is_empty()).then_some(hosts),
            directory: PathBuf::from(variables.docker_config().text()?),
            selection: selection?,
        })
    }

    /// The repository as `WORKSPACE/SLUG`; `None` within without `OWNER_LABEL`.
    fn owner(&mut self) -> Option<Option<String>> {
        if !self.variables.owner_label().boolean(&mut self.problems)? {
            return Some(None);
        }
        let environment = self.environment;
        let parts = || environment.text("BITBUCKET_WORKSPACE").zip(environment.text("BITBUCKET_REPO_SLUG"));
        let name = environment.owned("BITBUCKET_REPO_FULL_NAME");
        let name = name.or_else(|| parts().map(|(workspace, slug)| format!("{workspace}/{slug}")));
        if name.is_none() {
            self.problems.add(
                "OWNER_LABEL",
                "requires the name of the repository: Bitbucket sets `BITBUCKET_REPO_FULL_NAME`, or `BITBUCKET_WORKSPACE` \
                 and `BITBUCKET_REPO_SLUG`, but here none of them is set",
            );
        }
        name.map(Some)
    }

    /// Empty values are refused as faas-cli does: most of them come from a variable that is not set.
    fn env_vars(&mut self) -> Option<Vec<(String, String)>> {
        let pairs = self.variables.env_vars().pairs('=', &mut self.problems)?;
        for (name, _) in pairs.iter().filter(|(_, value)| value.is_empty()) {
            let message = "has an empty value: check that the variable it refers to is defined for this deployment \
                           environment; write a value that is meant to be empty in the stack file";
            self.problems.add("ENV_VARS", format!("`{}` {message}", whole_or_length(name)));
        }
        Some(pairs)
    }
}

/// Where results go without `REPORT`.
fn directories(environment: &Environment) -> Places {
    Places {
        storage_dir: environment.path("BITBUCKET_PIPE_STORAGE_DIR"),
        shared_storage_dir: environment.path("BITBUCKET_PIPE_SHARED_STORAGE_DIR"),
        variables_path: environment.path("BITBUCKET_PIPELINES_VARIABLES_PATH"),
        clone_dir: environment.path("BITBUCKET_CLONE_DIR"),
        junit: false,
        insights: None,
        output_variables: Vec::new(),
    }
}

/// What Bitbucket's own variables say about the build.
fn facts(environment: &Environment) -> Facts {
    Facts {
        workspace: environment.owned("BITBUCKET_WORKSPACE"),
        repository_slug: environment.owned("BITBUCKET_REPO_SLUG"),
        repository_uuid: environment.owned("BITBUCKET_REPO_UUID"),
        tag: environment.owned("BITBUCKET_TAG"),
        pull_request: environment.owned("BITBUCKET_PR_ID"),
        environment: environment.owned("BITBUCKET_DEPLOYMENT_ENVIRONMENT"),
        clouds: ["AWS_OIDC_ROLE_ARN", "GCP_WORKLOAD_IDENTITY_PROVIDER"]
            .iter()
            .any(|name| environment.text(name).is_some()),
    }
}
