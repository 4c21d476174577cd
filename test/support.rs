//! The built pipe as Bitbucket runs it: a working directory, and an environment of only its variables.

use std::io::{BufRead as _, BufReader, Lines};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use local_cloud::Cloud;
use local_gateway::{Builder, Flavour, Gateway, Issuer};
use tempfile::TempDir;

/// The stack file of the OpenFaaS guide, with one function in namespace `etl`.
pub(crate) const GUIDE_STACK: &str = include_str!("stacks/import-csv/stack.yml");
/// The CSV of the guide.
pub(crate) const GUIDE_CSV: &str = include_str!("stacks/import-csv/data.csv");

/// A gateway that trusts `issuer` and has the IAM resources of the guide.
pub(crate) fn guide(issuer: &Issuer) -> Gateway {
    start(Gateway::builder().guide(issuer))
}

/// A gateway that permits everything to the workspace.
pub(crate) fn open() -> Gateway {
    start(permissive())
}

/// The builder of [`open`].
pub(crate) fn permissive() -> Builder {
    let iam = include_str!("iam/everything.yaml");
    Gateway::builder().iam_yaml(iam).public_url("https://gw.example.com").issuer(&issuer())
}

/// A gateway that permits only these actions, on all functions.
pub(crate) fn permitting(actions: &[&str]) -> Builder {
    let iam = include_str!("iam/everything.yaml").replace(r#"action: ["*"]"#, &format!("action: {actions:?}"));
    Gateway::builder().iam_yaml(&iam).public_url("https://gw.example.com").issuer(&issuer())
}

/// A gateway of another edition, with a password.
pub(crate) fn edition(flavour: Flavour) -> Builder {
    Gateway::builder().flavour(flavour).basic_auth("admin", "secret-of-the-gateway")
}

/// Starts a gateway.
pub(crate) fn start(builder: Builder) -> Gateway {
    builder.start().expect("cannot start gateway")
}

/// The issuer of the workspace.
pub(crate) fn issuer() -> Issuer {
    Issuer::bitbucket("acme")
}

/// Creates a function with a built-in behaviour of the local gateway, such as `echo`.
pub(crate) fn put(gateway: &Gateway, namespace: &str, name: &str) {
    gateway.put_function(&serde_json::json!({
        "service": name, "namespace": namespace, "image": format!("example/{name}:1"), "labels": {}, "annotations": {},
    }));
}

/// A pipe to run.
pub(crate) struct Pipe {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Pipe {
    /// In an empty directory that is also the clone directory, with the variables that Bitbucket sets.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("cannot create directory");
        let clone = dir.path().display().to_string();
        Self { dir, variables: Vec::new() }.var("BITBUCKET_CLONE_DIR", clone).var("NO_COLOR", "1")
    }

    /// A run against a gateway, with a token for it.
    pub(crate) fn at(gateway: &Gateway) -> Self {
        let token = issuer().token().audience(gateway.public_url()).mint();
        Self::new().var("OPENFAAS_URL", gateway.url()).var("BITBUCKET_STEP_OIDC_TOKEN", token)
    }

    /// A run against a gateway that requires a password.
    pub(crate) fn with_password(gateway: &Gateway) -> Self {
        Self::new().var("OPENFAAS_URL", gateway.url()).var("OPENFAAS_PASSWORD", "secret-of-the-gateway")
    }

    /// Sets a variable. A later value replaces an earlier one.
    pub(crate) fn var(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a list variable as Bitbucket passes it.
    pub(crate) fn list(mut self, name: &str, items: &[&str]) -> Self {
        self = self.var(&format!("{name}_COUNT"), items.len().to_string());
        for (index, item) in items.iter().enumerate() {
            self = self.var(&format!("{name}_{index}"), *item);
        }
        self
    }

    /// Removes a variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self
    }

    /// Creates a file in the working directory.
    pub(crate) fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("missing parent directory")).expect("cannot create directory");
        std::fs::write(path, contents).expect("cannot write file");
        self
    }

    /// Creates `stack.yml` in the working directory.
    pub(crate) fn stack(self, text: &str) -> Self {
        self.file("stack.yml", text)
    }

    /// The working directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The command, for tests that control the running process.
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

    /// Runs the pipe with one more variable.
    pub(crate) fn run_with(&self, name: &str, value: &str) -> Ran {
        Ran::from(self.command().env(name, value).output().expect("cannot run the pipe"))
    }

    /// Runs the pipe with more variables.
    pub(crate) fn run_with_all(&self, variables: &[(&str, &str)]) -> Ran {
        Ran::from(self.command().envs(variables.iter().copied()).output().expect("cannot run the pipe"))
    }

    /// The value of a variable.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    /// Runs the pipe.
    pub(crate) fn run(&self) -> Ran {
        Ran::from(self.command().output().expect("cannot run the pipe"))
    }
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    crate::pipe_binary::from_environment().unwrap_or_else(|| env!("CARGO_BIN_EXE_openfaas-pipe").into())
}

/// A running pipe.
pub(crate) struct Running {
    pub(crate) pipe: Pipe,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: String,
    /// When the last signal was sent, or the pipe started.
    signalled: Instant,
}

impl Running {
    pub(crate) fn of(pipe: Pipe) -> Self {
        let mut child = pipe.command().spawn().expect("cannot run the pipe");
        let lines = BufReader::new(child.stdout.take().expect("missing log")).lines();
        Self { pipe, child, lines, log: String::new(), signalled: Instant::now() }
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&mut self, name: &str) {
        self.signalled = Instant::now();
        let sent =
            Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("cannot run kill");
        assert!(sent.success());
    }

    /// Reads the log up to a line that contains this text.
    pub(crate) fn read_to(&mut self, text: &str) {
        for line in self.lines.by_ref() {
            let line = line.expect("cannot read line");
            let found = line.contains(text);
            self.log.push_str(&line);
            self.log.push('\n');
            if found {
                return;
            }
        }
        panic!("`{text}` is not in\n{}", self.log);
    }

    /// Whether the process has exited.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("cannot get the process state").is_some()
    }

    /// Waits until the process exits.
    pub(crate) fn end(&mut self) -> Ran {
        for line in self.lines.by_ref() {
            self.log.push_str(&line.expect("cannot read line"));
            self.log.push('\n');
        }
        let status = self.child.wait().expect("cannot wait for the process");
        let code = status.code().unwrap_or_else(|| panic!("{status}\n{}", self.log));
        Ran { code, log: std::mem::take(&mut self.log) }
    }

    /// The time since the last signal.
    pub(crate) fn since_signal(&self) -> Duration {
        self.signalled.elapsed()
    }
}

/// Waits for a condition, with a timeout that suits a slow machine.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The outcome of a run.
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
        let log = String::from_utf8(output.stdout).expect("invalid text");
        // So that snapshots do not change with each release.
        let log = log.replace(concat!("openfaas-pipe ", env!("CARGO_PKG_VERSION"), ": "), "openfaas-pipe [VERSION]: ");
        Self { code: output.status.code().expect("missing exit code"), log }
    }
}

impl Ran {
    /// Checks the exit code. Prints the log if it differs.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.log);
        self
    }

    /// Checks that the log contains a text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.log.contains(text), "`{text}` is not in\n{}", self.log);
        self
    }

    /// Checks that the log does not contain a text.
    #[track_caller]
    pub(crate) fn does_not_say(self, text: &str) -> Self {
        assert!(!self.log.contains(text), "`{text}` is in\n{}", self.log);
        self
    }

    /// The log without values that differ from run to run: addresses, ports, times.
    pub(crate) fn scrubbed(&self) -> String {
        let time = regex_lite::Regex::new(r"\b\d+(\.\d)? (ms|s)\b").expect("invalid regular expression");
        let url = regex_lite::Regex::new(r"127\.0\.0\.1:\d+").expect("invalid regular expression");
        // The widths of table columns depend on the times.
        let space = regex_lite::Regex::new(r"(\S)  +").expect("invalid regular expression");
        let log = time.replace_all(&self.log, "[TIME]");
        let log = space.replace_all(&log, "$1  ");
        let log = url.replace_all(&log, "[GATEWAY]");
        log.into_owned()
    }
}

/// A deploy of the guide's function, one request at a time, without retries.
pub(crate) fn deploy_once(gateway: &Gateway) -> Pipe {
    Pipe::at(gateway).stack(GUIDE_STACK).var("BITBUCKET_WORKSPACE", "acme").var("RETRIES", "0").var("PARALLEL", "1")
}

/// The log from the first error on, without values that differ from run to run.
pub(crate) fn first_error(ran: &Ran) -> String {
    let log = ran.scrubbed();
    let from = log.find("ERROR: ").unwrap_or_else(|| panic!("no error in\n{log}"));
    let numbers = regex_lite::Regex::new(r"\b1\d{9}\b|\bport \d+").expect("invalid regular expression");
    let dates = regex_lite::Regex::new(r"\w{3}, \d{2} \w{3} \d{4} [\d:]{8} GMT").expect("invalid regular expression");
    let calls = regex_lite::Regex::new("call id `[^`]*`").expect("invalid regular expression");
    let log = numbers.replace_all(&log[from..], "[NUMBER]");
    calls.replace_all(&dates.replace_all(&log, "[DATE]"), "call id `[ID]`").into_owned()
}

/// The requests that change functions: method and name, in the order of arrival.
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

/// A gateway that accepts tokens with only the workspace's audience, as clouds do.
pub(crate) fn one_audience() -> Gateway {
    let iam = include_str!("iam/everything.yaml").replace("https://gw.example.com", &local_cloud::audience());
    start(Gateway::builder().iam_yaml(&iam).public_url("https://gw.example.com").issuer(&issuer()))
}

/// A step with `oidc: true`. All hosts except loopback are resolved by the cloud.
pub(crate) fn step_in(cloud: &Cloud, gateway: &Gateway) -> Pipe {
    Pipe::new()
        .var("OPENFAAS_URL", gateway.url())
        .var("BITBUCKET_STEP_OIDC_TOKEN", issuer().token().mint())
        .var("BITBUCKET_REPO_SLUG", "etl")
        .var("BITBUCKET_BUILD_NUMBER", "7")
        .var("HTTPS_PROXY", cloud.proxy_url())
        .var("CA_CERT", cloud.ca_pem())
}

/// A stack file with the function `echo` in version 2.
pub(crate) const ECHO_STACK: &str = "provider:\n  name: openfaas\nfunctions:\n  echo:\n    image: example/echo:2\n";

/// Forwards between two connections, in both directions, until they are closed.
pub(crate) fn forward(client: &TcpStream, server: &TcpStream) {
    for (from, to) in [(client, server), (server, client)] {
        let [mut from, mut to] = [from, to].map(|socket| socket.try_clone().expect("cannot clone socket"));
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

/// Runs the pipe with 256 MB of address space: the debug binary, its log, and a multiple of what it may use. With an arena
/// per thread, glibc would reserve 64 MB for each of them. There is no limit for `PIPE_BINARY`: an emulator needs far more.
pub(crate) fn limited(pipe: &Pipe) -> Ran {
    let limit = if crate::pipe_binary::from_environment().is_some() { "" } else { "ulimit -v 262144 && " };
    let inner = pipe.command();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("{limit}exec \"$0\"")])
        .arg(binary())
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("MALLOC_ARENA_MAX", "1")
        .current_dir(pipe.dir())
        .stdin(Stdio::null());
    command.output().expect("cannot run the pipe").into()
}

/// A stack file whose functions have the image `example/NAME:TAG`. More fields of the last function may be appended.
pub(crate) fn stack(names: &[impl AsRef<str>], tag: &str) -> String {
    let names = names.iter().map(AsRef::as_ref);
    let functions = names.map(|name| format!("  {name}:\n    image: example/{name}:{tag}\n"));
    format!("provider:\n  name: openfaas\nfunctions:\n{}", functions.collect::<String>())
}

/// The function names `f0`, `f1`, …
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("f{number}")).collect()
}

/// The names of all functions.
pub(crate) fn function_names(gateway: &Gateway) -> Vec<String> {
    gateway.functions().into_iter().map(|function| function.name).collect()
}

/// A stack file with a function for each image: `f0`, `f1`, …
pub(crate) fn stack_of(images: &[&str]) -> String {
    let functions = images.iter().enumerate().map(|(index, image)| format!("  f{index}:\n    image: {image}\n"));
    format!("provider:\n  name: openfaas\nfunctions:\n{}", functions.collect::<String>())
}
