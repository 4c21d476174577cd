//! Reading: each variable's value checked, and put where the commands look for it.

use std::path::PathBuf;
use std::sync::Arc;

use regex_lite::Regex;
use url::Url;

use super::variables::{Entry, Found};
use super::{
    Auth, Command, Config, Credentials, Deploy, Environment, Invoke, Kind, NOT_TEXT, Payload, Problems, Selection,
    Strategy, TagFormat, VARIABLES, Whoami, build, gateway_address, lints, missing,
};
use crate::console::log;
use crate::console::redact::Secret;
use crate::function::api::unaddressable;
use crate::image_tag::git;
use crate::oidc::IdToken;
use crate::report::{Places, insights};
use crate::stack::envsubst::TOKENS;

const REGEX_LIMITS: &str = "look-around and `\\p{…}` are not known, and `FILTER` takes a wildcard instead";
/// More tries than this only hide that something is broken.
const MOST_RETRIES: usize = 20;
/// As many deployments as a gateway takes at once without refusing some.
const MOST_PARALLEL: usize = 64;

/// Reads the variables. What is wrong stands in the problems; its place is taken by the default, so that what else is wrong
/// can be found too.
pub fn read(environment: &Environment) -> (Config, Problems) {
    let mut problems = Problems::default();
    for variable in VARIABLES {
        if environment.is_garbled(variable.name) {
            problems.add(variable.name, NOT_TEXT);
        }
    }
    hide_secrets(environment);
    hide_passwords_in_urls(environment);
    let found = match Found::new(environment) {
        Ok(found) => found,
        Err(error) => {
            problems.add("variables", error.to_string());
            Found::empty()
        }
    };
    let reader = Reader { environment, found };
    let config = reader.config(&mut problems);
    (config, problems)
}

/// The address of a proxy, a gateway or a stack file may hold a password, and is told of where it does not serve.
fn hide_passwords_in_urls(environment: &Environment) {
    const PROXIES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
    for name in PROXIES.into_iter().chain(["REPORT_PROXY", "OPENFAAS_URL", "STACK_FILE"]) {
        let Some((userinfo, password)) = environment.text(name).and_then(password_in_url) else { continue };
        for text in [userinfo, password] {
            let _ = Secret::new(text.to_owned());
            let _ = Secret::new(percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
        }
    }
}

/// What stands before a URL's host, and the password in it (RFC 3986, section 3.2.1), also where it is no valid URL. A name
/// by itself may be a token.
fn password_in_url(text: &str) -> Option<(&str, &str)> {
    let (has_scheme, rest) = text.split_once("://").map_or((false, text), |(_, rest)| (true, rest));
    let (userinfo, _) = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?;
    match userinfo.split_once(':') {
        Some((_, password)) => Some((userinfo, password)),
        None => has_scheme.then_some((userinfo, userinfo)),
    }
}

struct Reader<'a> {
    environment: &'a Environment,
    found: Found,
}

impl Reader<'_> {
    fn config(&self, problems: &mut Problems) -> Config {
        let found = &self.found;
        let allow_http = found.allow_http().boolean(problems);
        let url = found.openfaas_url().value.and_then(|text| {
            gateway_address(text, allow_http).map_err(|message| problems.add("OPENFAAS_URL", message)).ok()
        });
        Config {
            url,
            url_is_given: found.openfaas_url().value.is_some(),
            url_is_blank: found.openfaas_url().blank,
            allow_http,
            credentials: self.credentials(),
            facts: build::facts(self.environment),
            ca_cert: found.ca_cert().value.map(str::to_owned),
            tls_no_verify: found.tls_no_verify().boolean(problems),
            timeout: found.timeout().duration(problems),
            retries: u32::try_from(found.retries().number(0..=MOST_RETRIES, problems)).unwrap_or_default(),
            parallel: found.parallel().number(1..=MOST_PARALLEL, problems),
            places: self.places(problems),
            command: self.command(problems),
        }
    }

    fn places(&self, problems: &mut Problems) -> Places {
        let path = |name| self.environment.text(name).map(PathBuf::from);
        let report = self.found.report().boolean(problems);
        Places {
            storage_dir: path("BITBUCKET_PIPE_STORAGE_DIR"),
            shared_storage_dir: path("BITBUCKET_PIPE_SHARED_STORAGE_DIR"),
            variables_path: path("BITBUCKET_PIPELINES_VARIABLES_PATH"),
            clone_dir: path("BITBUCKET_CLONE_DIR"),
            junit: report,
            insights: if report { self.insights(problems) } else { None },
        }
    }

    /// The commit to report on; absent outside a pipeline.
    fn insights(&self, problems: &mut Problems) -> Option<insights::Context> {
        let text = |name| self.environment.text(name).map(str::to_owned);
        let proxy = self.found.report_proxy().text().unwrap_or_default();
        if Url::parse(proxy).ok().is_none_or(|url| !url.has_host()) {
            problems.add("REPORT_PROXY", "is not a URL: write for example `http://host.docker.internal:29418`");
        }
        let selection = ["OPENFAAS_URL", "STACK_FILE", "FUNCTION", "OPENFAAS_NAMESPACE", "FILTER", "REGEX"]
            .map(|name| text(name).unwrap_or_default());
        Some(insights::Context {
            workspace: text("BITBUCKET_WORKSPACE")?,
            repository: text("BITBUCKET_REPO_SLUG")?,
            commit: text("BITBUCKET_COMMIT")?,
            build_number: text("BITBUCKET_BUILD_NUMBER"),
            environment: text("BITBUCKET_DEPLOYMENT_ENVIRONMENT"),
            selection: selection.join("\n"),
            proxy: proxy.to_owned(),
        })
    }

    fn credentials(&self) -> Credentials {
        let username = self.found.openfaas_username().text().unwrap_or_default().to_owned();
        // Both are made secrets, so that neither is shown whichever is used.
        let password = self.found.openfaas_password().value.map(|text| Secret::new(text.to_owned()));
        let token = IdToken::new(self.found.bitbucket_step_oidc_token().value.unwrap_or_default());
        match password {
            Some(password) => {
                // The form it has in a request's header.
                let _ = Secret::new(format!("{username}:{}", password.reveal()));
                Credentials::Password { username, password }
            }
            None => Credentials::IdToken(token.map(Arc::new)),
        }
    }

    fn command(&self, problems: &mut Problems) -> Command {
        #[derive(Clone, Copy)]
        enum Name {
            Deploy,
            Invoke,
            Whoami,
            Diff,
            Remove,
        }
        let names = [
            ("deploy", Name::Deploy),
            ("invoke", Name::Invoke),
            ("whoami", Name::Whoami),
            ("diff", Name::Diff),
            ("remove", Name::Remove),
        ];
        // Already followed; here only for what is wrong with it.
        self.found.debug().boolean(problems);
        match self.found.command().choice(&names, problems) {
            Some(Name::Invoke) => Command::Invoke(Box::new(self.invoke(problems))),
            Some(Name::Whoami) => Command::Whoami(Whoami {
                deploy: self.deploy(problems),
                function: self.found.function().value.map(|_| self.target(problems)),
            }),
            Some(Name::Diff) => Command::Diff(self.deploy(problems)),
            Some(Name::Remove) => Command::Remove(self.selection(problems)),
            Some(Name::Deploy) | None => Command::Deploy(self.deploy(problems)),
        }
    }

    fn selection(&self, problems: &mut Problems) -> Selection {
        let found = &self.found;
        let (filter, regex) = (found.filter().value, found.regex().value);
        if filter.is_some() && regex.is_some() {
            problems.add("FILTER", "not both: set `FILTER` or `REGEX`");
        }
        let formats = [
            ("latest", TagFormat::Latest),
            ("sha", TagFormat::Git(git::Format::Sha)),
            ("branch", TagFormat::Git(git::Format::Branch)),
            ("describe", TagFormat::Git(git::Format::Describe)),
            ("digest", TagFormat::Digest),
        ];
        Selection {
            stack_file: found.stack_file().value.map(str::to_owned),
            namespace: self.namespace(problems),
            filter: filter.map(str::to_owned),
            regex: regex.and_then(|regex| {
                let wrong = |error: regex_lite::Error| {
                    let error = log::quote(&error.to_string());
                    problems.add("REGEX", format!("is not a regular expression: {error}; {REGEX_LIMITS}"));
                };
                Regex::new(regex).map_err(wrong).ok()
            }),
            tag_format: found.tag_format().choice(&formats, problems).unwrap_or(TagFormat::Latest),
            envsubst: found.envsubst().boolean(problems),
        }
    }

    /// The repository, as `WORKSPACE/SLUG`.
    fn repository(&self, problems: &mut Problems) -> Option<String> {
        let text = |name| self.environment.text(name);
        if let Some(name) = text("BITBUCKET_REPO_FULL_NAME") {
            return Some(name.to_owned());
        }
        let name = text("BITBUCKET_WORKSPACE").zip(text("BITBUCKET_REPO_SLUG"));
        if name.is_none() {
            problems.add(
                "OWNER_LABEL",
                "needs to know the repository: neither `BITBUCKET_REPO_FULL_NAME` nor `BITBUCKET_WORKSPACE` and \
                 `BITBUCKET_REPO_SLUG` are set, as Bitbucket sets them",
            );
        }
        name.map(|(workspace, slug)| format!("{workspace}/{slug}"))
    }

    fn namespace(&self, problems: &mut Problems) -> Option<String> {
        let namespace = self.found.openfaas_namespace().value?;
        if let Some(character) = unaddressable(namespace) {
            problems.add("OPENFAAS_NAMESPACE", format!("`{}` cannot stand in a namespace", character.escape_debug()));
        }
        Some(namespace.to_owned())
    }

    fn deploy(&self, problems: &mut Problems) -> Deploy {
        let (found, environment) = (&self.found, self.environment);
        let strategies = [("update", Strategy::Update), ("replace", Strategy::Replace), ("create", Strategy::Create)];
        let wait = found.wait().boolean(problems);
        let wait_timeout = found.wait_timeout().duration(problems);
        let rollback = found.rollback().boolean(problems);
        if rollback && !wait {
            problems.add("ROLLBACK", "needs `WAIT: 'true'`: without waiting nothing is known to have failed");
        }
        let owner_label = found.owner_label().boolean(problems);
        let owner = if owner_label { self.repository(problems) } else { None };
        let prune = found.prune().boolean(problems);
        if prune && !owner_label {
            problems.add("PRUNE", "needs `OWNER_LABEL: 'true'`: only functions with that label are ever removed");
        }
        Deploy {
            selection: self.selection(problems),
            strategy: found.strategy().choice(&strategies, problems).unwrap_or(Strategy::Update),
            env_vars: self.env_vars(problems),
            labels: found.labels().pairs('=', environment, problems),
            annotations: found.annotations().pairs('=', environment, problems),
            secrets: found.secrets().list(environment, problems),
            constraints: found.constraints().list(environment, problems),
            read_only: found.read_only().boolean(problems),
            wait: wait.then_some(wait_timeout),
            wait_timeout,
            rollback,
            owner,
            prune,
            dry_run: found.dry_run().boolean(problems),
        }
    }

    /// As faas-cli has it, none without a value: most often it was to come from a variable that is not set.
    fn env_vars(&self, problems: &mut Problems) -> Vec<(String, String)> {
        let pairs = self.found.env_vars().pairs('=', self.environment, problems);
        for (name, _) in pairs.iter().filter(|(_, value)| value.is_empty()) {
            let message = "has an empty value: is the variable that it takes it from defined? \
                           A value that is meant to be empty belongs into the stack file";
            problems.add("ENV_VARS", format!("`{}` {message}", log::quote(name)));
        }
        pairs
    }

    fn invoke(&self, problems: &mut Problems) -> Invoke {
        let (found, environment) = (&self.found, self.environment);
        let (function, namespace) = self.target(problems);
        let payload = match (found.payload().value, found.payload_file().value) {
            (Some(_), Some(_)) => {
                problems.add("PAYLOAD", "not both: set `PAYLOAD` or `PAYLOAD_FILE`");
                Payload::Text(String::new())
            }
            (None, Some(path)) => Payload::File(path.to_owned()),
            (text, None) => Payload::Text(text.unwrap_or_default().to_owned()),
        };
        let methods = [
            ("GET", &http::Method::GET),
            ("POST", &http::Method::POST),
            ("PUT", &http::Method::PUT),
            ("PATCH", &http::Method::PATCH),
            ("DELETE", &http::Method::DELETE),
        ];
        let content_type = found.content_type().text().unwrap_or_default();
        if http::HeaderValue::from_str(content_type).is_err() {
            problems.add("CONTENT_TYPE", "cannot be the value of a header");
        }
        Invoke {
            function,
            namespace,
            payload,
            content_type: content_type.to_owned(),
            method: found.method().choice(&methods, problems).cloned().unwrap_or(http::Method::POST),
            query: found.query().pairs('=', environment, problems),
            headers: self.headers(problems),
            asynchronous: found.r#async().boolean(problems),
            auth: found
                .auth()
                .choice(&[("auto", Auth::Auto), ("always", Auth::Always), ("never", Auth::Never)], problems)
                .unwrap_or(Auth::Auto),
            sign: self.sign(problems),
            output_file: found.output_file().value.map(PathBuf::from),
            idempotent: found.idempotent().boolean(problems),
        }
    }

    /// The function and its namespace; `name.namespace` is understood.
    fn target(&self, problems: &mut Problems) -> (String, Option<String>) {
        let namespace = self.namespace(problems);
        let Some(text) = required(&self.found.function(), problems) else {
            return (String::new(), namespace);
        };
        let (name, suffix) = match text.split_once('.') {
            Some((name, suffix)) => (name, Some(suffix)),
            None => (text, None),
        };
        if name.is_empty() || suffix.is_some_and(|suffix| suffix.is_empty() || suffix.contains('.')) {
            problems.add("FUNCTION", "is neither a function's name nor `name.namespace`");
        } else if let Some(character) = unaddressable(text) {
            problems.add("FUNCTION", format!("`{}` cannot stand in a function's name", character.escape_debug()));
        }
        if let (Some(suffix), Some(namespace)) = (suffix, &namespace)
            && suffix != namespace
        {
            let (suffix, namespace) = (log::quote(suffix), log::quote(namespace));
            let message =
                format!("names namespace `{suffix}`, but `OPENFAAS_NAMESPACE` says `{namespace}`: leave one out");
            problems.add("FUNCTION", message);
        }
        (name.to_owned(), suffix.map(str::to_owned).or(namespace))
    }

    fn headers(&self, problems: &mut Problems) -> http::HeaderMap {
        let mut headers = http::HeaderMap::new();
        for (name, value) in self.found.headers().pairs(':', self.environment, problems) {
            let parsed = http::HeaderName::from_bytes(name.as_bytes()).ok();
            match (parsed, http::HeaderValue::from_str(value.trim())) {
                (Some(name), Ok(value)) => _ = headers.append(name, value),
                (None, _) => problems.add("HEADERS", format!("`{}` cannot be a header's name", log::quote(&name))),
                (_, Err(_)) => {
                    problems.add(
                        "HEADERS",
                        format!("the value of `{}` has a character that no header can have", log::quote(&name)),
                    );
                }
            }
        }
        headers
    }

    fn sign(&self, problems: &mut Problems) -> Option<(http::HeaderName, Secret)> {
        let key = self.found.sign_key().value.map(|key| Secret::new(key.to_owned()));
        match (self.found.sign_header().value, key) {
            (Some(header), Some(key)) => match http::HeaderName::from_bytes(header.as_bytes()) {
                Ok(header) => Some((header, key)),
                Err(_) => {
                    problems.add("SIGN_HEADER", format!("`{}` cannot be a header's name", log::quote(header)));
                    None
                }
            },
            (Some(_), None) => {
                required(&self.found.sign_key(), problems);
                None
            }
            (None, Some(_)) => {
                required(&self.found.sign_header(), problems);
                None
            }
            (None, None) => None,
        }
    }
}

/// Hides the secrets, whether the command uses them or not. Bitbucket's own token is never used, and must not be seen either.
fn hide_secrets(environment: &Environment) {
    let secrets = VARIABLES.iter().filter(|variable| variable.kind == Kind::Secret).map(|variable| variable.name);
    for name in secrets.chain(["PIPELINES_JWT_TOKEN"]) {
        // What can be no token is shown in the message that says so.
        let is_token = |value: &&str| name != "BITBUCKET_STEP_OIDC_TOKEN" || !lints::is_reference(value);
        let secret = if TOKENS.contains(&name) { Secret::token } else { Secret::new };
        let _ = environment.text(name).filter(is_token).map(|value| secret(value.to_owned()));
    }
}

/// The value of a variable that the command cannot do without.
fn required<'a>(entry: &Entry<'a>, problems: &mut Problems) -> Option<&'a str> {
    if entry.value.is_none() {
        problems.add(entry.variable.name, missing(entry.blank));
    }
    entry.value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_found_in_what_is_a_url_and_in_what_is_none() {
        for (text, password) in [
            ("https://user:secret@host/stack.yml", Some("secret")),
            ("user:secret@host:3128", Some("secret")),
            ("https://user:secret@host:99999", Some("secret")),
            ("https://user:se:cr@et@host", Some("se:cr@et")),
            ("https://token@host", Some("token")),
            ("https://host/a@b:c", None),
            ("https://host:8080", None),
            ("stack@v1.yml", None),
            ("dir:1/stack@v1.yml", None),
        ] {
            assert_eq!(password_in_url(text).map(|(_, password)| password), password, "{text}");
        }
    }
}
