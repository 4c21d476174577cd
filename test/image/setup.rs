//! The environment of the image: a clone, Bitbucket's mounts and variables, a network with gateways.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::engine::{self, LABEL, docker, ended, finish};

/// The image of the pipe.
pub const IMAGE: &str = "openfaas-pipe-test:pipe";
const GATEWAY_IMAGE: &str = "openfaas-pipe-test:gateway";
const NETWORK: &str = "openfaas-pipe-test";
/// The mount point of the clone.
pub const CLONE: &str = "/opt/atlassian/pipelines/agent/build";
/// The directory for files that pipes leave for later steps.
pub const STORAGE: &str = "/opt/atlassian/pipelines/agent/build/.bitbucket/pipelines/generated/pipeline/pipes";
/// The pipe's own directory in [`STORAGE`], relative to the clone.
const PIPES: &str = ".bitbucket/pipelines/generated/pipeline/pipes/acme/openfaas-pipe";
/// A search domain.
pub const DOMAIN: &str = "pipes.internal";

/// The network and its gateways.
pub struct Setup {
    shared: TempDir,
    /// The gateway's address in the network.
    pub address: String,
    gateways: Vec<Child>,
}

impl Setup {
    /// Starts the gateways: `gateway`, and `slow`, whose functions never become ready.
    pub fn start(repository: &Path) -> anyhow::Result<Self> {
        gateway_image(repository)?;
        engine::run(["network", "create", "--label", LABEL, NETWORK])?;
        let shared = directory()?;
        // Additional resources, for checks that the guide's resources do not permit.
        fs::copy(repository.join("test/iam/bitbucket-guide.yaml"), shared.path().join("guide.yaml"))?;
        fs::copy(repository.join("test/image/iam.yaml"), shared.path().join("more.yaml"))?;
        let mut setup = Self { shared, address: String::new(), gateways: Vec::new() };
        setup.gateway("gateway", &[])?;
        setup.gateway("slow", &["--ready-after", "1h"])?;
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        setup.address = engine::run(["inspect", "--format", format, "openfaas-pipe-test-gateway"])?;
        Ok(setup)
    }

    fn gateway(&mut self, name: &str, more: &[&str]) -> anyhow::Result<()> {
        let alias = if name == "gateway" { "by-search" } else { name };
        let mut command = docker();
        command
            .args(["run", "--rm", "--label", LABEL, "--network", NETWORK])
            .args(["--name", &format!("openfaas-pipe-test-{name}"), "--network-alias", name])
            .args(["--network-alias", &format!("{alias}.{DOMAIN}")])
            .arg(format!("--volume={}:/shared", self.shared.path().display()))
            .args([GATEWAY_IMAGE, "--listen", "0.0.0.0:443", "--tls", "--public-url", &format!("https://{name}")])
            .args(["--host-name", name, "--host-name", "from-hosts", "--host-name", "by-search"])
            .args(["--iam", "/shared/guide.yaml", "--iam", "/shared/more.yaml"])
            .arg(format!("--ca-file=/shared/{name}.pem"))
            .arg(format!("--token-file=/shared/{name}.token"))
            .args(more);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        self.gateways.push(child);
        // The gateway accepts connections when it has printed this line.
        for line in BufReader::new(stdout).lines() {
            if line?.starts_with("CA ") {
                return Ok(());
            }
        }
        bail!("the gateway `{name}` did not start")
    }

    /// The token of a step with the gateway as audience.
    pub fn token(&self, gateway: &str) -> String {
        self.read(&format!("{gateway}.token"))
    }

    fn ca_cert(&self, gateway: &str) -> String {
        self.read(&format!("{gateway}.pem"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.shared.path().join(name)).unwrap_or_default()
    }

    /// A step that runs the pipe against a gateway, with the guide's stack file in its clone.
    pub fn step(&self, gateway: &str) -> Step {
        let stack = include_str!("../stacks/import-csv/stack.yml");
        Step::new(self.address.clone())
            .file("stack.yml", stack)
            .file("data.csv", include_str!("../stacks/import-csv/data.csv"))
            .variable("OPENFAAS_URL", &format!("https://{gateway}"))
            .variable("BITBUCKET_STEP_OIDC_TOKEN", &self.token(gateway))
            .variable("CA_CERT", &self.ca_cert(gateway))
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        for gateway in &mut self.gateways {
            // The containers are removed with everything else. This stops the `docker run` clients.
            _ = gateway.kill();
            _ = gateway.wait();
        }
    }
}

/// A directory to mount into containers. In Bitbucket Pipelines, only directories in the clone can be mounted.
fn directory() -> io::Result<TempDir> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp");
    fs::create_dir_all(&folder)?;
    tempfile::tempdir_in(folder)
}

/// Creates an image of the local gateway.
fn gateway_image(repository: &Path) -> anyhow::Result<()> {
    let mut build = Command::new(env!("CARGO"));
    // As the tests are built: with another selection, dependencies have other features and are compiled again.
    build.args(["build", "--locked", "--workspace", "--bin", "local-gateway", "--example", "image-test"]);
    build.arg("--message-format=json");
    let messages = finish(build.current_dir(repository))?;
    let program = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_gateway = message["target"]["name"] == "local-gateway";
        message["executable"].as_str().filter(|_| is_gateway).map(PathBuf::from)
    });
    let program = program.context("cargo built no program")?;
    let folder = program.parent().context("no folder")?;
    let name = program.file_name().context("no name")?;
    let mut tar = Command::new("tar");
    let mut tar = tar.arg("--create").arg("--directory").arg(folder).arg(name).stdout(Stdio::piped()).spawn()?;
    let archive = tar.stdout.take().context("no output")?;
    let entrypoint = format!("ENTRYPOINT [\"/{}\"]", name.display());
    let label = format!("LABEL {LABEL}=gateway");
    let import = ["import", "--change", &entrypoint, "--change", &label, "-", GATEWAY_IMAGE];
    finish(docker().args(import).stdin(archive))?;
    ensure!(tar.wait()?.success(), "`tar` failed");
    Ok(())
}

/// A step of a pipeline: its clone and the arguments of `docker run`.
pub struct Step {
    clone: TempDir,
    outside: TempDir,
    arguments: Vec<OsString>,
}

impl Step {
    fn new(address: String) -> Self {
        let directory = || {
            let directory = directory().expect("cannot create directory");
            // Like Bitbucket's setup.
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("cannot set permissions");
            directory
        };
        let (clone, outside) = (directory(), directory());
        for folder in [PIPES, "deploy"] {
            fs::create_dir_all(clone.path().join(folder)).expect("cannot create directory");
        }
        for folder in clone.path().join(PIPES).ancestors().take(5) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("cannot set permissions");
        }
        for folder in ["ssh", "docker"] {
            fs::create_dir(outside.path().join(folder)).expect("cannot create directory");
        }
        let mut arguments: Vec<OsString> =
            ["run", "--label", LABEL, "--network", NETWORK].into_iter().map(OsString::from).collect();
        let mounts = [
            format!("{}:{CLONE}", clone.path().display()),
            format!("{}/ssh:/opt/atlassian/pipelines/agent/ssh:ro", outside.path().display()),
            format!("{}/docker:/usr/local/bin/docker:ro", outside.path().display()),
        ];
        arguments.extend(mounts.map(|mount| format!("--volume={mount}").into()));
        arguments.push("--label=org.bitbucket.pipelines.system=true".into());
        arguments.push(format!("--add-host=host.docker.internal:{address}").into());
        let step = Self { clone, outside, arguments };
        let variables = [
            ("CI", "true"),
            ("BITBUCKET_BUILD_NUMBER", "7"),
            ("BITBUCKET_BRANCH", "main"),
            ("BITBUCKET_COMMIT", "0f4e1d2c3b4a59687766554433221100ffeeddcc"),
            ("BITBUCKET_WORKSPACE", "acme"),
            ("BITBUCKET_REPO_SLUG", "etl"),
            ("BITBUCKET_REPO_FULL_NAME", "acme/etl"),
            ("BITBUCKET_CLONE_DIR", CLONE),
            ("BITBUCKET_PIPE_STORAGE_DIR", &format!("{STORAGE}/acme/openfaas-pipe")),
            ("BITBUCKET_PIPE_SHARED_STORAGE_DIR", STORAGE),
            ("BITBUCKET_DOCKER_HOST_INTERNAL", "10.39.145.17"),
            ("DOCKER_HOST", "tcp://host.docker.internal:2375"),
        ];
        variables.into_iter().fold(step, |step, (name, value)| step.variable(name, value))
    }

    /// Sets a variable. A later value replaces an earlier one.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.arguments.push(format!("--env={name}={value}").into());
        self
    }

    /// Adds arguments to `docker run`.
    pub fn with<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(OsString::from));
        self
    }

    /// Creates a file in the clone.
    pub fn file(self, path: &str, contents: &str) -> Self {
        fs::write(self.clone.path().join(path), contents).expect("cannot write file");
        self
    }

    /// The clone directory on this machine.
    pub fn clone(&self) -> &Path {
        self.clone.path()
    }

    /// The command that runs the container.
    pub fn command(&self) -> Command {
        debug_assert!(self.outside.path().is_dir());
        let mut command = docker();
        command.args(&self.arguments).arg(format!("--workdir={CLONE}")).arg(IMAGE);
        command
    }

    /// Runs the container.
    pub fn run(mut self) -> Ran {
        self.arguments.push("--rm".into());
        let (code, log) = ended(&self.command().output().expect("cannot run docker"));
        Ran { code, log, step: self }
    }
}

/// A step that has finished.
pub struct Ran {
    code: i32,
    log: String,
    step: Step,
}

impl Ran {
    /// Checks the exit code. Prints the log if it differs.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.log);
        self
    }

    /// Checks that the log contains a text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.log.contains(text), "`{text}` is not in\n{}", self.log);
        self
    }

    /// The step, with the files in its clone.
    pub fn step(&self) -> &Step {
        &self.step
    }
}
