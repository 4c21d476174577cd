//! Reads the variables: each value is checked, and all that is wrong is collected before any of it is used.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use regex_lite::Regex;
use url::Url;

use super::calls::{function, gateway_headers, invoke};
use super::deploy::{deploy, matches_all, repository_if, selection};
use super::value::not_expanded;
use super::variables::{Entry, PROXIES, VARIABLES, Values, Variables};
use super::{
    BLANK, Config, Credentials, Environment, Invalid, Login, NOT_UTF8, Problems, Remove, Task, Whoami, gateway_url,
    lints, list, secrets,
};
use crate::cloud::RegistryLogin;
use crate::cloud::aws::RoleArn;
use crate::cloud::google::{ServiceAccount, WorkloadIdentityProvider};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::function::Command;
use crate::function::image::Host;
use crate::oidc::{BuildContext, IdToken};
use crate::registry::{DockerAuthConfig, RegistryCredentials};
use crate::report::{OUTPUT_VARIABLES, Places, insights};
use crate::stack::labels;
use crate::text::variable_name;

/// More retries only hide that something is broken.
const MAX_RETRIES: u32 = 20;
/// As many deployments as a gateway accepts at once without refusing some.
const MAX_PARALLEL: u32 = 64;

/// Reads the variables. From here on, all output hides the secrets among them.
pub fn read(environment: &Environment) -> Result<Config, Box<Invalid>> {
    secrets::hide(environment);
    let values = Values::collect(environment);
    let problems = RefCell::new(Problems::default());
    let is_read = |name: &str| name.starts_with("BITBUCKET_") || VARIABLES.iter().any(|variable| variable.name == name);
    for name in environment.garbled().filter(|name| is_read(name) || PROXIES.contains(name)) {
        problems.borrow_mut().add(name, NOT_UTF8);
    }
    check_proxies(environment, &mut problems.borrow_mut());
    let config = config(Variables { environment, values: &values, problems: &problems });
    let mut problems = problems.into_inner();
    lints::check_texts(environment, config.task.command(), &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(Box::new(Invalid { problems, config })) }
}

/// A proxy that cannot be read would be passed by without a word. Its URL is not shown: it may have a password.
fn check_proxies(environment: &Environment, problems: &mut Problems) {
    const FORM: &str = "is not the URL of a proxy: write for example `http://proxy.example.com:3128`";
    for name in PROXIES {
        let Some(text) = environment.text(name) else { continue };
        if variable_name(text).is_some() {
            problems.add(name, not_expanded(text));
            continue;
        }
        let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
        match url
            .ok()
            .filter(|url| url.has_host() && url.path().len() < 2 && !text.contains(['#', '?', '"', '\'', ' ']))
        {
            None => problems.add(name, FORM),
            Some(url) if !matches!(url.scheme(), "http" | "https") => {
                let scheme = whole_or_length(url.scheme());
                problems.add(name, format!("is a proxy for `{scheme}`: only those for `http` and `https` are used"));
            }
            Some(_) => {}
        }
    }
}

fn config(variables: Variables<'_>) -> Config {
    // Read only for its problems: the log has followed `DEBUG` from the start.
    variables.debug().boolean();
    let task = task(variables);
    let allow_http = variables.allow_http().boolean();
    // A dry run sends nothing, and a wrong value of `ALLOW_HTTP` is a problem of its own.
    let is_dry_run = matches!(&task, Task::Deploy(deploy) if deploy.dry_run);
    let may_be_http = allow_http || is_dry_run || variables.allow_http().is_wrong();
    Config {
        task,
        gateway_url: variables.openfaas_url().parsed_by(|text| gateway_url(text, may_be_http)),
        gateway_headers: gateway_headers(variables),
        allow_http,
        tls_no_verify: variables.tls_no_verify().boolean(),
        timeout: variables.timeout().duration(),
        retries: variables.retries().number(0..=MAX_RETRIES),
        parallel: variables.parallel().number(1..=MAX_PARALLEL) as usize,
        credentials: credentials(variables),
        id_token: IdToken::new(variables.bitbucket_step_oidc_token().value.unwrap_or_default()).map(Arc::new),
        registries: registry_credentials(variables),
        build: build(variables.environment),
        ca_cert: variables.ca_cert().owned(),
        places: places(variables),
    }
}

fn task(variables: Variables<'_>) -> Task {
    let commands: Vec<_> = Command::ALL.iter().map(|command| (command.name(), *command)).collect();
    let command = variables.command().choice(&commands);
    if let Some((text, advice)) = variables.command().value.and_then(|text| Some((text, advice(text)?))) {
        let text = whole_or_length(text);
        let words: Vec<_> = commands.iter().map(|(word, _)| *word).collect();
        let message = format!("unallowed value `{text}`: write one of {}; {advice}", words.join(", "));
        variables.problems.borrow_mut().replace("COMMAND", message);
    }
    let dry_run = variables.dry_run();
    if matches!(command, Command::Invoke | Command::Remove | Command::Login) && dry_run.boolean() {
        dry_run.refuse(format!(
            "is not possible with `COMMAND: {command}`, which would do its work: remove one of the two"
        ));
    }
    match command {
        Command::Deploy => Task::Deploy(deploy(variables)),
        Command::Invoke => Task::Invoke(Box::new(invoke(variables))),
        Command::Whoami => Task::Whoami(Whoami {
            deploy: deploy(variables),
            deletes_namespaces: repository_if(variables.delete_namespace()).is_some(),
            output_file: variables.output_file().value.map(PathBuf::from),
            function: variables.function().value.map(|_| function(variables)),
        }),
        Command::Diff => Task::Diff(deploy(variables)),
        Command::Remove => {
            check_removal(variables);
            let mut selection = selection(variables);
            selection.options.is_removal = true;
            Task::Remove(Remove { creator: repository_if(variables.delete_namespace()), selection })
        }
        Command::Login => Task::Login(login(variables)),
    }
}

/// The pipe's equivalent of a command of faas-cli or another tool, or of one with options.
fn advice(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    let bare = text.strip_prefix("faas-cli ").unwrap_or(&text);
    let word = bare.split([' ', ',']).next()?;
    if word != text && Command::ALL.iter().any(|command| command.name() == word) {
        return Some("an option is a variable of its own, and another command a pipe of its own");
    }
    Some(match word {
        "up" | "build" | "push" | "publish" => {
            "the pipe builds no images: build and push them in the step's script, and write `deploy`"
        }
        "rm" | "delete" | "undeploy" | "destroy" | "down" => "to remove functions, write `remove`",
        "apply" | "update" | "create" | "install" | "rollout" => "to create or update functions, write `deploy`",
        "call" | "run" | "exec" | "test" => "to call a function, write `invoke`",
        "list" | "ls" | "describe" | "status" | "plan" => "to compare the stack file with what runs, write `diff`",
        "secret" => "to create or update secrets, write `deploy`, with `SECRET_VALUES`",
        "namespace" => "write `deploy` with `CREATE_NAMESPACE`, or `remove` with `DELETE_NAMESPACE`",
        "auth" | "pro" => "the pipe signs in at the gateway by itself, with every command: `whoami` shows how",
        "logs" | "store" | "template" | "new" | "generate" | "ready" => {
            "the pipe has no command for this: use `faas-cli`"
        }
        _ => return None,
    })
}

/// Refuses selections that came to nothing: each would remove functions that its author did not mean.
fn check_removal(variables: Variables<'_>) {
    const ALL: &str = "or remove it to remove all functions of the stack file";
    let (filter, regex, stack_file) = (variables.filter(), variables.regex(), variables.stack_file());
    for entry in [filter, regex].into_iter().filter(Entry::is_blank) {
        entry.refuse(format!("{}, {ALL}", BLANK));
    }
    let is_any = |pattern: &str| pattern.bytes().all(|byte| byte == b'*');
    // As `$PREFIX*` and `^$PREFIX` are if the variable has no value.
    let of_all = [
        filter.value.is_some_and(is_any).then_some(filter),
        regex.value.and_then(|text| Regex::new(text).ok()).is_some_and(|regex| matches_all(&regex)).then_some(regex),
    ];
    for entry in of_all.into_iter().flatten() {
        entry.refuse(format!(
            "matches every name: check that the variables in it are defined for this deployment environment, {ALL}"
        ));
    }
    if (stack_file.is_blank() || stack_file.is_a_list()) && stack_file.list().is_empty() && !stack_file.is_wrong() {
        stack_file.refuse(format!("{}, or remove it to use the default stack file", BLANK));
    }
    if let Some(name) = variables.function().value {
        let message = "does not select what `COMMAND: remove` deletes, which is all that the stack file names: write";
        variables.function().refuse(format!("{message} `FILTER: {}`", whole_or_length(name)));
    }
}

fn login(variables: Variables<'_>) -> Login {
    let hosts = variables.registries().list_of(Host::parse);
    let is_listed = !hosts.is_empty() || variables.registries().is_wrong();
    Login {
        registries: is_listed.then_some(hosts),
        directory: variables.docker_config().text().unwrap_or_default().into(),
        selection: selection(variables),
    }
}

fn places(variables: Variables<'_>) -> Places {
    let path = |name| variables.environment.text(name).map(PathBuf::from);
    let junit = variables.report().boolean();
    Places {
        storage_dir: path("BITBUCKET_PIPE_STORAGE_DIR"),
        shared_storage_dir: path("BITBUCKET_PIPE_SHARED_STORAGE_DIR"),
        variables_path: path("BITBUCKET_PIPELINES_VARIABLES_PATH"),
        clone_dir: path("BITBUCKET_CLONE_DIR"),
        junit,
        insights: if junit { insights(variables) } else { None },
        output_variables: variables.output_variables().list_of(|name| {
            let is_known = OUTPUT_VARIABLES.contains(&name);
            let wrong = || format!("`{}` is not one of {}", whole_or_length(name), OUTPUT_VARIABLES.join(", "));
            is_known.then(|| name.to_owned()).ok_or_else(wrong)
        }),
    }
}

/// The commit to report on; `None` outside of a pipeline.
fn insights(variables: Variables<'_>) -> Option<insights::ReportContext> {
    let environment = variables.environment;
    let proxy = variables.report_proxy().text()?;
    if Url::parse(proxy).ok().is_none_or(|url| !url.has_host()) {
        variables.report_proxy().refuse("is not a URL: write for example `http://host.docker.internal:29418`");
        return None;
    }
    let texts = ["OPENFAAS_URL", "FUNCTION", "OPENFAAS_NAMESPACE", "OPENFAAS_NS", "FILTER", "REGEX"];
    let texts = texts.map(|name| environment.owned(name).unwrap_or_default());
    // In any form: what is wrong with the list is reported by the command that reads stack files.
    // A signature may be another one in each run.
    let bare = |item: String| match Url::parse(&item).ok().filter(Url::has_host) {
        Some(url) => labels::identity(&url),
        None => item,
    };
    let stack_files = list::items(environment, "STACK_FILE").into_iter().map(bare);
    let selection: Vec<String> = texts.into_iter().chain(stack_files).collect();
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

fn credentials(variables: Variables<'_>) -> Credentials {
    let username = variables.openfaas_username().text().unwrap_or_default().to_owned();
    match variables.openfaas_password().owned().map(Secret::new) {
        Some(password) => {
            // Hidden too in the form that it has in a request's header.
            let _ = Secret::new(format!("{username}:{}", password.reveal()));
            Credentials::Password { username, password }
        }
        None => Credentials::IdToken,
    }
}

fn registry_credentials(variables: Variables<'_>) -> RegistryCredentials {
    let provider = variables.gcp_workload_identity_provider();
    let account = variables.gcp_service_account().parsed_by(ServiceAccount::parse);
    // If the provider is set but wrong, that is the problem.
    if provider.value.is_none() && account.is_some() {
        let message = "has no effect without `GCP_WORKLOAD_IDENTITY_PROVIDER`: set both or neither";
        variables.gcp_service_account().refuse(message);
    }
    let provider = provider.parsed_by(WorkloadIdentityProvider::parse);
    RegistryCredentials {
        docker: variables.docker_auth_config().parsed_by(DockerAuthConfig::parse).unwrap_or_default(),
        registry: registry_login(variables),
        aws: variables.aws_oidc_role_arn().parsed_by(RoleArn::parse),
        google: provider.map(|provider| (provider, account)),
    }
}

/// `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`; `None` if neither is set.
fn registry_login(variables: Variables<'_>) -> Option<(Host, Arc<RegistryLogin>)> {
    let host = variables.registry_host();
    let host = Host::parse(host.text()?).map_err(|error| host.refuse(error)).ok();
    let (username, password) = (variables.registry_username(), variables.registry_password());
    if username.value.is_none() && password.value.is_none() {
        return None;
    }
    let (username, password) = (username.required(), password.required());
    Some((host?, Arc::new(RegistryLogin::new(username?, password?))))
}

fn build(environment: &Environment) -> BuildContext {
    let clouds = ["AWS_OIDC_ROLE_ARN", "GCP_WORKLOAD_IDENTITY_PROVIDER"];
    BuildContext {
        number: environment.owned("BITBUCKET_BUILD_NUMBER"),
        workspace: environment.owned("BITBUCKET_WORKSPACE"),
        repository_slug: environment.owned("BITBUCKET_REPO_SLUG"),
        repository_uuid: environment.owned("BITBUCKET_REPO_UUID"),
        tag: environment.owned("BITBUCKET_TAG"),
        pull_request: environment.owned("BITBUCKET_PR_ID"),
        environment: environment.owned("BITBUCKET_DEPLOYMENT_ENVIRONMENT"),
        clouds: clouds.iter().any(|name| environment.text(name).is_some()),
    }
}
