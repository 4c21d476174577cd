//! The built pipe as Bitbucket runs it: a working directory, variables and nothing else in its environment.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use local_cloud::Cloud;
use local_gateway::{Builder, Flavour, Gateway, Issuer};
use tempfile::TempDir;

/// The function of the OpenFaaS guide, in namespace `etl`.
pub(crate) const GUIDE_STACK: &str = include_str!("stacks/import-csv/stack.yml");
/// The guide's CSV.
pub(crate) const GUIDE_CSV: &str = include_str!("stacks/import-csv/data.csv");

/// A stack file with the function `echo`.
pub(crate) const STACK: &str = "provider:\n  name: openfaas\nfunctions:\n  echo:\n    image: example/echo:2\n";

/// A stack file of these functions in version 2.
pub(crate) fn stack(names: &[impl Display]) -> String {
    let functions = names.iter().map(|name| format!("  {name}:\n    image: example/{name}:2\n"));
    format!("provider:\n  name: openfaas\nfunctions:\n{}", functions.collect::<String>())
}

/// A gateway that trusts `issuer` and has the guide's IAM resources.
pub(crate) fn guide(issuer: &Issuer) -> Gateway {
    start(Gateway::builder().guide(issuer))
}

/// A gateway that lets the workspace do anything.
pub(crate) fn open() -> Gateway {
    start(permissive())
}

/// [`open`] before it is started.
pub(crate) fn permissive() -> Builder {
    let iam = include_str!("iam/everything.yaml");
    Gateway::builder().iam_yaml(iam).public_url("https://gw.example.com").issuer(&issuer())
}

/// A gateway where the workspace may do only this, anywhere.
pub(crate) fn permitting(actions: &[&str]) -> Builder {
    let iam = include_str!("iam/everything.yaml").replace(r#"action: ["*"]"#, &format!("action: {actions:?}"));
    Gateway::builder().iam_yaml(&iam).public_url("https://gw.example.com").issuer(&issuer())
}

/// A gateway of another edition, where a password opens everything.
pub(crate) fn edition(flavour: Flavour) -> Builder {
    Gateway::builder().flavour(flavour).basic_auth("admin", "secret-of-the-gateway")
}

/// Starts a gateway.
pub(crate) fn start(builder: Builder) -> Gateway {
    builder.start().expect("a local gateway")
}

/// The workspace's issuer that tests use.
pub(crate) fn issuer() -> Issuer {
    Issuer::bitbucket("acme")
}

/// Puts a built-in function of the local gateway there, such as `echo`.
pub(crate) fn put(gateway: &Gateway, namespace: &str, name: &str) {
    gateway.put_function(&serde_json::json!({
        "service": name, "namespace": namespace, "image": format!("example/{name}:1"), "labels": {}, "annotations": {},
    }));
}

/// The pipe before it is run.
pub(crate) struct Pipe {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Pipe {
    /// In an empty directory, which is the clone directory too, with no variable set but those that Bitbucket sets.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clone = dir.path().display().to_string();
        Self { dir, variables: Vec::new() }.var("BITBUCKET_CLONE_DIR", clone).var("NO_COLOR", "1")
    }

    /// A run against a gateway, with a token for it.
    pub(crate) fn at(gateway: &Gateway) -> Self {
        let token = issuer().token().audience(gateway.public_url()).mint();
        Self::new().var("OPENFAAS_URL", gateway.url()).var("BITBUCKET_STEP_OIDC_TOKEN", token)
    }

    /// A run against a gateway that takes a password.
    pub(crate) fn with_password(gateway: &Gateway) -> Self {
        Self::new().var("OPENFAAS_URL", gateway.url()).var("OPENFAAS_PASSWORD", "secret-of-the-gateway")
    }

    /// Sets a variable; a later value replaces an earlier one.
    pub(crate) fn var(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a list as Bitbucket passes it.
    pub(crate) fn list(mut self, name: &str, items: &[&str]) -> Self {
        self = self.var(&format!("{name}_COUNT"), items.len().to_string());
        for (index, item) in items.iter().enumerate() {
            self = self.var(&format!("{name}_{index}"), *item);
        }
        self
    }

    /// Takes a variable away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self
    }

    /// Puts a file into the working directory.
    pub(crate) fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, contents).expect("a file");
        self
    }

    /// Puts `stack.yml` into the working directory.
    pub(crate) fn stack(self, text: &str) -> Self {
        self.file("stack.yml", text)
    }

    /// The working directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The pipe's command, for tests that steer it while it runs.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end with one more variable.
    pub(crate) fn run_with(&self, name: &str, value: &str) -> Ran {
        Ran::from(self.command().env(name, value).output().expect("the pipe runs"))
    }

    /// Runs it to its end with more variables.
    pub(crate) fn run_with_all(&self, variables: &[(&str, &str)]) -> Ran {
        Ran::from(self.command().envs(variables.iter().copied()).output().expect("the pipe runs"))
    }

    /// The value of a variable.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Ran {
        Ran::from(self.command().output().expect("the pipe runs"))
    }
}

/// The binary that is tested.
pub(crate) fn binary() -> PathBuf {
    crate::pipe_binary::from_environment().unwrap_or_else(|| env!("CARGO_BIN_EXE_openfaas-pipe").into())
}

/// A pipe that runs.
pub(crate) struct Running {
    pub(crate) pipe: Pipe,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: String,
    /// When it got the last signal, else when it began.
    signalled: Instant,
}

impl Running {
    pub(crate) fn of(pipe: Pipe) -> Self {
        let mut child = pipe.command().spawn().expect("the pipe runs");
        let lines = BufReader::new(child.stdout.take().expect("a log")).lines();
        Self { pipe, child, lines, log: String::new(), signalled: Instant::now() }
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&mut self, name: &str) {
        self.signalled = Instant::now();
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Reads the log up to a line with this text.
    pub(crate) fn read_to(&mut self, text: &str) {
        for line in self.lines.by_ref() {
            let line = line.expect("a line");
            let found = line.contains(text);
            self.log.push_str(&line);
            self.log.push('\n');
            if found {
                return;
            }
        }
        panic!("`{text}` is not in\n{}", self.log);
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a state").is_some()
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> Ran {
        for line in self.lines.by_ref() {
            self.log.push_str(&line.expect("a line"));
            self.log.push('\n');
        }
        let status = self.child.wait().expect("an end");
        let code = status.code().unwrap_or_else(|| panic!("{status}\n{}", self.log));
        Ran { code, log: std::mem::take(&mut self.log) }
    }

    /// How long ago it was told to end.
    pub(crate) fn since_signal(&self) -> Duration {
        self.signalled.elapsed()
    }
}

/// Waits until something is there, for as long as a slow machine may need.
#[track_caller]
pub(crate) fn until(what: &str, mut is_there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_there() {
        assert!(Instant::now() < deadline, "no {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) log: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, "", "everything goes to standard output");
        let log = String::from_utf8(output.stdout).expect("a log in UTF-8");
        // Snapshots stay as they are when a version is released.
        let log = log.replace(concat!("openfaas-pipe ", env!("CARGO_PKG_VERSION"), ": "), "openfaas-pipe [VERSION]: ");
        Self { code: output.status.code().expect("an exit code"), log }
    }
}

impl Ran {
    /// Checks the exit code, and shows the log where it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.log);
        self
    }

    /// Checks that the log has a text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.log.contains(text), "`{text}` is not in\n{}", self.log);
        self
    }

    /// Checks that the log lacks a text.
    #[track_caller]
    #[expect(clippy::wrong_self_convention, reason = "it reads as what the log does")]
    pub(crate) fn is_silent_about(self, text: &str) -> Self {
        assert!(!self.log.contains(text), "`{text}` is in\n{}", self.log);
        self
    }

    /// The log without what differs from run to run: addresses, ports, times.
    pub(crate) fn scrubbed(&self) -> String {
        let time = regex_lite::Regex::new(r"\b\d+(\.\d)? (ms|s)\b").expect("an expression");
        let url = regex_lite::Regex::new(r"127\.0\.0\.1:\d+").expect("an expression");
        // The columns of a table are as wide as its times are long.
        let space = regex_lite::Regex::new(r"(\S)  +").expect("an expression");
        let log = time.replace_all(&self.log, "[TIME]");
        let log = space.replace_all(&log, "$1  ");
        let log = url.replace_all(&log, "[GATEWAY]");
        log.into_owned()
    }
}

/// A deploy of the guide's function, one request at a time and each once.
pub(crate) fn deploy_once(gateway: &Gateway) -> Pipe {
    Pipe::at(gateway).stack(GUIDE_STACK).var("BITBUCKET_WORKSPACE", "acme").var("RETRIES", "0").var("PARALLEL", "1")
}

/// The first error of a log and all that follows it, without what differs from run to run.
pub(crate) fn told(ran: &Ran) -> String {
    let log = ran.scrubbed();
    let from = log.find("ERROR: ").unwrap_or_else(|| panic!("no error in\n{log}"));
    let numbers = regex_lite::Regex::new(r"\b1\d{9}\b|\bport \d+").expect("an expression");
    let dates = regex_lite::Regex::new(r"\w{3}, \d{2} \w{3} \d{4} [\d:]{8} GMT").expect("an expression");
    let calls = regex_lite::Regex::new("call id `[^`]*`").expect("an expression");
    let log = numbers.replace_all(&log[from..], "[NUMBER]");
    calls.replace_all(&dates.replace_all(&log, "[DATE]"), "call id `[ID]`").into_owned()
}

/// The requests that changed a function: method and name, in the order they arrived.
pub(crate) fn changes(gateway: &Gateway) -> Vec<(String, String)> {
    let requests = gateway.requests();
    let changes =
        requests.iter().filter(|request| request.path.ends_with("/system/functions") && request.method != "GET");
    changes
        .map(|request| {
            let body = request.json();
            let name = body["service"].as_str().or(body["functionName"].as_str()).unwrap_or_default().to_owned();
            (request.method.to_string(), name)
        })
        .collect()
}

/// A gateway that accepts tokens with the workspace's own audience, which clouds accept as well.
pub(crate) fn one_audience() -> Gateway {
    let iam = include_str!("iam/everything.yaml").replace("https://gw.example.com", &local_cloud::audience());
    start(Gateway::builder().iam_yaml(&iam).public_url("https://gw.example.com").issuer(&issuer()))
}

/// A step with `oidc: true`, in which every host but loopback is one of a cloud's.
pub(crate) fn step_in(cloud: &Cloud, gateway: &Gateway) -> Pipe {
    Pipe::new()
        .var("OPENFAAS_URL", gateway.url())
        .var("BITBUCKET_STEP_OIDC_TOKEN", issuer().token().mint())
        .var("BITBUCKET_REPO_SLUG", "etl")
        .var("BITBUCKET_BUILD_NUMBER", "7")
        .var("HTTPS_PROXY", cloud.proxy_url())
        .var("CA_CERT", cloud.ca_pem())
}

/// A stack file with a function for each image: `f0`, `f1`, …
pub(crate) fn stack_of(images: &[&str]) -> String {
    let functions = images.iter().enumerate().map(|(index, image)| format!("  f{index}:\n    image: {image}\n"));
    format!("provider:\n  name: openfaas\nfunctions:\n{}", functions.collect::<String>())
}
