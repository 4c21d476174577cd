//! Reads the variables: each value is checked, and all that is wrong is collected before any of it is used.

use std::path::PathBuf;
use std::sync::Arc;

use regex_lite::Regex;
use url::Url;

use super::variables::{Entry, VARIABLES, Values, Variables};
use super::{
    Config, Credentials, Deploy, Environment, GatewayUrl, ImagesFrom, Invalid, Login, NOT_UTF8, Problems, Remove,
    Selection, Strategy, TagFormat, Task, Whoami, gateway_url, missing, scalars, secrets,
};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::function::Command;
use crate::function::api::unaddressable;
use crate::function::image::Host;
use crate::image_tag::git;
use crate::oidc::{BuildContext, IdToken};
use crate::report::{OUTPUT_VARIABLES, Places, insights};
use crate::stack;
use crate::text::variable_name;

/// More retries only hide that something is broken.
const MAX_RETRIES: u32 = 20;
/// As many deployments as a gateway accepts at once without refusing some.
const MAX_PARALLEL: u32 = 64;

/// The program that runs in the script is the one that faas-cli asks when it builds the image.
const DESCRIBE: &str =
    "`describe` takes its text from `GIT_DESCRIBE`, which has no value; write in the step's `script:`
  - export GIT_DESCRIBE=$(git describe --tags --always)
  and in the pipe's `variables:`
    GIT_DESCRIBE: $GIT_DESCRIBE";

/// Commands of faas-cli that have another name here. Images are built and pushed by `docker` before.
const OF_FAAS_CLI: [(&str, Command); 6] = [
    ("up", Command::Deploy),
    ("publish", Command::Deploy),
    ("delete", Command::Remove),
    ("rm", Command::Remove),
    ("call", Command::Invoke),
    ("auth", Command::Whoami),
];

/// Reads the variables. From here on, all output hides the secrets among them.
pub fn read(environment: &Environment) -> Result<Config, Box<Invalid>> {
    secrets::hide(environment);
    let values = Values::collect(environment);
    let variables = Variables { environment, values: &values };
    let mut reader = Reader { variables, problems: Problems::default() };
    for variable in VARIABLES.iter().filter(|variable| environment.is_garbled(variable.name)) {
        reader.problems.add(variable.name, NOT_UTF8);
    }
    let config = reader.config();
    let mut problems = reader.problems;
    scalars::check(environment, config.task.command(), &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(Box::new(Invalid { problems, config })) }
}

/// Methods add what is wrong to the problems, and return the default in its place.
pub(super) struct Reader<'a> {
    pub(super) variables: Variables<'a>,
    pub(super) problems: Problems,
}

impl Reader<'_> {
    fn config(&mut self) -> Config {
        let variables = self.variables;
        // Only for its problems: the log has followed `DEBUG` from the start.
        variables.debug().boolean(&mut self.problems);
        let commands: Vec<_> = Command::ALL.iter().map(|command| (command.name(), *command)).collect();
        let command = variables.command().choice(&commands, &mut self.problems);
        if let Some((name, meant)) = OF_FAAS_CLI.iter().find(|(name, _)| variables.command().value == Some(name)) {
            self.problems.add("COMMAND", format!("for what `faas-cli {name}` does, write `{meant}`"));
        }
        let task = self.task(command);
        let allow_http = variables.allow_http().boolean(&mut self.problems);
        // A dry run sends nothing.
        let is_dry_run = matches!(&task, Task::Deploy(deploy) if deploy.dry_run);
        let gateway_url = self.gateway_url(allow_http || is_dry_run);
        let gateway_headers = self.gateway_headers();
        let registries = self.registry_credentials();
        let places = self.places();
        let problems = &mut self.problems;
        Config {
            task,
            gateway_url,
            gateway_headers,
            allow_http,
            tls_no_verify: variables.tls_no_verify().boolean(problems),
            timeout: variables.timeout().duration(problems),
            retries: variables.retries().number(0..=MAX_RETRIES, problems),
            parallel: variables.parallel().number(1..=MAX_PARALLEL, problems) as usize,
            credentials: self.credentials(),
            id_token: IdToken::new(variables.bitbucket_step_oidc_token().value.unwrap_or_default()).map(Arc::new),
            registries,
            build: build(variables.environment),
            ca_cert: variables.ca_cert().owned(),
            places,
        }
    }

    fn task(&mut self, command: Command) -> Task {
        match command {
            Command::Deploy => Task::Deploy(self.deploy()),
            Command::Invoke => Task::Invoke(Box::new(self.invoke())),
            Command::Whoami => {
                let function = self.variables.function().value.map(|_| self.function());
                let deletes_namespaces = self.delete_namespace().is_some();
                let output_file = self.variables.output_file().value.map(PathBuf::from);
                Task::Whoami(Whoami { deploy: self.deploy(), deletes_namespaces, output_file, function })
            }
            Command::Diff => Task::Diff(self.deploy()),
            Command::Remove => {
                self.refuse_blank_selection();
                Task::Remove(Remove { creator: self.delete_namespace(), selection: self.selection() })
            }
            Command::Login => Task::Login(self.login()),
        }
    }

    fn gateway_url(&mut self, allow_http: bool) -> GatewayUrl {
        let entry = self.variables.openfaas_url();
        let Some(text) = entry.value else { return GatewayUrl::Unset };
        // A wrong value of `ALLOW_HTTP` is a problem of its own.
        let allow_http = allow_http || self.problems.concerns("ALLOW_HTTP");
        match gateway_url(text, allow_http) {
            Ok(url) => GatewayUrl::Set(url),
            Err(error) => {
                self.problems.add("OPENFAAS_URL", error);
                GatewayUrl::Wrong
            }
        }
    }

    fn places(&mut self) -> Places {
        let junit = self.variables.report().boolean(&mut self.problems);
        let insights = if junit { self.insights() } else { None };
        let output_variables = self.variables.output_variables().list_of(&mut self.problems, |name| {
            match OUTPUT_VARIABLES.contains(&name) {
                true => Ok(name.to_owned()),
                false => {
                    let (name, names) = (whole_or_length(name), OUTPUT_VARIABLES.join(", "));
                    Err(Diagnostic::error(format!("`{name}` is not one of {names}")))
                }
            }
        });
        let path = |name| self.variables.environment.text(name).map(PathBuf::from);
        Places {
            storage_dir: path("BITBUCKET_PIPE_STORAGE_DIR"),
            shared_storage_dir: path("BITBUCKET_PIPE_SHARED_STORAGE_DIR"),
            variables_path: path("BITBUCKET_PIPELINES_VARIABLES_PATH"),
            clone_dir: path("BITBUCKET_CLONE_DIR"),
            junit,
            insights,
            output_variables,
        }
    }

    /// The commit to report on; `None` outside of a pipeline.
    fn insights(&mut self) -> Option<insights::ReportContext> {
        let environment = self.variables.environment;
        let proxy = self.variables.report_proxy().text()?;
        if Url::parse(proxy).ok().is_none_or(|url| !url.has_host()) {
            self.problems.add("REPORT_PROXY", "is not a URL: write for example `http://host.docker.internal:29418`");
            return None;
        }
        let texts = ["OPENFAAS_URL", "FUNCTION", "OPENFAAS_NAMESPACE", "OPENFAAS_NS", "FILTER", "REGEX"];
        let texts = texts.map(|name| environment.owned(name).unwrap_or_default());
        // Its problems are reported with those of the selection.
        let files = self.variables.stack_file().list(&mut Problems::default());
        let selection: Vec<String> = texts.into_iter().chain(files).collect();
        Some(insights::ReportContext {
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
            None => Credentials::IdToken,
        }
    }

    /// The whole stack file if the selection is wrong.
    fn selection(&mut self) -> Selection {
        let variables = self.variables;
        let namespace = self.namespace();
        let default_namespace = self.default_namespace();
        let tag_format = self.tag_format();
        let problems = &mut self.problems;
        let (filter, regex) = (variables.filter(), variables.regex());
        let is_both = filter.value.is_some() && regex.value.is_some();
        if is_both {
            problems.add("FILTER", "`FILTER` and `REGEX` cannot be used together: remove one");
        }
        let regex = regex.parsed_by(problems, |text| {
            Regex::new(text).map_err(|error| {
                let error = whole_or_length(&error.to_string());
                Diagnostic::error(format!(
                    "is not a valid regular expression: {error}; look-around and `\\p{{…}}` are not supported, and \
                     `FILTER` accepts a wildcard instead"
                ))
            })
        });
        Selection {
            stack_files: stack_files(variables.stack_file(), problems),
            tag_format,
            options: stack::Options {
                namespace,
                default_namespace,
                has_gateway: variables.openfaas_url().value.is_some(),
                filter: filter.owned().filter(|_| !is_both),
                regex: regex.filter(|_| !is_both),
                is_literal: !variables.envsubst().boolean(problems),
                ..stack::Options::default()
            },
        }
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

    /// `OPENFAAS_NAMESPACE`.
    pub(super) fn namespace(&mut self) -> Option<String> {
        self.variables.openfaas_namespace().parsed_by(&mut self.problems, addressable)
    }

    /// `OPENFAAS_NS`.
    pub(super) fn default_namespace(&mut self) -> Option<String> {
        self.variables.openfaas_ns().parsed_by(&mut self.problems, addressable)
    }

    fn deploy(&mut self) -> Deploy {
        let variables = self.variables;
        let strategies = [("update", Strategy::Update), ("replace", Strategy::Replace), ("create", Strategy::Create)];
        let mut selection = self.selection();
        let images_from = variables.images_from().value.map(|text| match text {
            "pipeline" => ImagesFrom::Pipeline,
            path => ImagesFrom::File(path.to_owned()),
        });
        if images_from.is_some() {
            selection.tag_format = TagFormat::Latest;
        }
        let owner = self.owner();
        let creator = self.create_namespace();
        let given_secrets = self.given_secrets().into();
        let git_labels = self.git_labels();
        let env_vars = self.env_vars();
        let verify = self.verify();
        let images = self.image_checks();
        let problems = &mut self.problems;
        let wait = variables.wait().boolean(problems) || verify.is_some();
        let wait_timeout = variables.wait_timeout().duration(problems);
        let rollback = variables.rollback().boolean(problems);
        if rollback && !wait && !problems.concerns("WAIT") && !problems.concerns("VERIFY") {
            let message = "requires `WAIT: 'true'` or `VERIFY`: without them, the pipe does not know whether a function became ready";
            problems.add("ROLLBACK", message);
        }
        let prune = variables.prune().boolean(problems);
        if prune && owner.is_none() && !problems.concerns("OWNER_LABEL") {
            problems.add("PRUNE", "requires `OWNER_LABEL: 'true'`: only functions with that label are removed");
        }
        selection.options = stack::Options {
            env_vars,
            labels: variables.labels().pairs('=', problems),
            annotations: variables.annotations().pairs('=', problems),
            secrets: variables.secrets().names(problems),
            constraints: variables.constraints().texts(problems),
            read_only: variables.read_only().boolean(problems),
            prune,
            ..selection.options
        };
        Deploy {
            selection,
            strategy: variables.strategy().choice(&strategies, problems),
            wait: wait.then_some(wait_timeout),
            wait_timeout,
            verify,
            show_values: variables.show_values().boolean(problems),
            rollback,
            only_changed: variables.only_changed().boolean(problems),
            images_from,
            owner,
            given_secrets,
            creator,
            git_labels,
            images,
            dry_run: variables.dry_run().boolean(problems),
        }
    }

    fn login(&mut self) -> Login {
        let selection = self.selection();
        let hosts = self.variables.registries().list_of(&mut self.problems, Host::parse);
        let is_listed = !hosts.is_empty() || self.problems.concerns("REGISTRIES");
        let directory = self.variables.docker_config();
        Login {
            registries: is_listed.then_some(hosts),
            directory: PathBuf::from(directory.value.unwrap_or(directory.variable.default)),
            selection,
        }
    }

    fn tag_format(&mut self) -> TagFormat {
        let text = self.variables.git_describe().owned().unwrap_or_default();
        let described = TagFormat::Described(text.clone());
        let formats = [
            ("latest", &TagFormat::Latest),
            ("sha", &TagFormat::Git(git::Format::Sha)),
            ("branch", &TagFormat::Git(git::Format::Branch)),
            ("describe", &described),
            ("digest", &TagFormat::Digest),
        ];
        let format = self.variables.tag_format().choice(&formats, &mut self.problems).clone();
        if format != described {
            return format;
        }
        let (variable, message) = match text.chars().find(|character| !is_in_a_tag(*character)) {
            _ if text.is_empty() || variable_name(&text).is_some() => ("TAG_FORMAT", DESCRIBE.to_owned()),
            None => return format,
            Some('\n' | '\r') => ("GIT_DESCRIBE", "has more than one line: an image tag has one".to_owned()),
            Some(character) => {
                let (text, character) = (whole_or_length(&text), character.escape_debug());
                let message = "which no image tag can have: use another git tag, or `TAG_FORMAT: sha`";
                ("GIT_DESCRIBE", format!("`{text}` contains `{character}`, {message}"))
            }
        };
        self.problems.add(variable, message);
        TagFormat::Latest
    }

    /// The repository; `None` without `OWNER_LABEL`.
    fn owner(&mut self) -> Option<String> {
        let is_labelled = self.variables.owner_label().boolean(&mut self.problems);
        is_labelled.then(|| self.repository("OWNER_LABEL")).flatten()
    }

    fn create_namespace(&mut self) -> Option<String> {
        let is_created = self.variables.create_namespace().boolean(&mut self.problems);
        is_created.then(|| self.repository("CREATE_NAMESPACE")).flatten()
    }

    fn delete_namespace(&mut self) -> Option<String> {
        let is_deleted = self.variables.delete_namespace().boolean(&mut self.problems);
        is_deleted.then(|| self.repository("DELETE_NAMESPACE")).flatten()
    }

    /// The repository as `WORKSPACE/SLUG`, which this variable needs.
    pub(super) fn repository(&mut self, variable: &str) -> Option<String> {
        let environment = self.variables.environment;
        let parts = || environment.text("BITBUCKET_WORKSPACE").zip(environment.text("BITBUCKET_REPO_SLUG"));
        let name = environment.owned("BITBUCKET_REPO_FULL_NAME");
        let name = name.or_else(|| parts().map(|(workspace, slug)| format!("{workspace}/{slug}")));
        if name.is_none() {
            self.problems.add(
                variable,
                "requires the name of the repository: Bitbucket sets `BITBUCKET_REPO_FULL_NAME`, or `BITBUCKET_WORKSPACE` \
                 and `BITBUCKET_REPO_SLUG`, but here none of them is set",
            );
        }
        name
    }

    /// Empty values are refused as faas-cli does: most of them come from a variable that is not set.
    fn env_vars(&mut self) -> Vec<(String, String)> {
        let pairs = self.variables.env_vars().pairs('=', &mut self.problems);
        for (name, _) in pairs.iter().filter(|(_, value)| value.is_empty()) {
            let message = "has an empty value: check that the variable it refers to is defined for this deployment \
                           environment; write a value that is meant to be empty in the stack file";
            self.problems.add("ENV_VARS", format!("`{}` {message}", whole_or_length(name)));
        }
        pairs
    }
}

/// The items of `STACK_FILE`. A path may have a comma or a space, but seldom one after the end of another path.
fn stack_files(entry: Entry<'_>, problems: &mut Problems) -> Vec<String> {
    let items = entry.list(problems);
    entry.check_lines(&items, problems, |line| {
        let paths: Vec<&str> = line.split([',', ' ']).filter(|path| !path.is_empty()).collect();
        let is_path = |path: &&str| path.ends_with(".yml") || path.ends_with(".yaml");
        if paths.iter().all(is_path) { paths } else { vec![line] }
    });
    items
}

/// A namespace that a URL can have.
fn addressable(namespace: &str) -> Result<String, Diagnostic> {
    match unaddressable(namespace) {
        Some(character) => {
            Err(Diagnostic::error(format!("`{}` is not allowed in a namespace", character.escape_debug())))
        }
        None => Ok(namespace.to_owned()),
    }
}

/// The build as Bitbucket's own variables have it.
fn build(environment: &Environment) -> BuildContext {
    BuildContext {
        number: environment.owned("BITBUCKET_BUILD_NUMBER"),
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

fn is_in_a_tag(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_.-".contains(character)
}
