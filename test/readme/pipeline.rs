//! An example as Bitbucket runs it: its steps as shell scripts, each pipe with an environment of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use local_cloud::{Cloud, Image};
use local_gateway::issuer::{ENVIRONMENT_UUID, WORKSPACE_UUID};
use local_gateway::{Gateway, Guide, Issuer};
use serde_json::Value;
use tempfile::TempDir;

use super::{RESOURCES, blocks, iam, with_iam};
use crate::support::{GUIDE_CSV, GUIDE_STACK, Ran, binary, issuer, start};

const METADATA: &str = include_str!("../../pipe.yml");
/// The gateway's URL in the README.
pub(super) const GATEWAY: &str = "https://gw.example.com";
const COMMIT: &str = "0f4e1d2c3b4a59687f6e5d4c3b2a190817263544";

/// An example: its pipeline, its clone and its gateway.
pub(super) struct Pipeline {
    pub(super) yaml: String,
    pub(super) gateway: Gateway,
    issuer: Issuer,
    pub(super) clone: TempDir,
    outside: TempDir,
    variables: BTreeMap<String, String>,
}

impl Pipeline {
    /// The example below a heading, with a gateway that has the README's resources.
    pub(super) fn of(heading: &str) -> Self {
        Self::at(heading, start(with_iam(Gateway::builder())))
    }

    pub(super) fn at(heading: &str, gateway: Gateway) -> Self {
        let resources = [iam(RESOURCES), iam(heading)];
        let resources = resources.iter().filter(|yaml| !yaml.is_empty());
        resources.fold(Self::new(heading, gateway), |pipeline, yaml| pipeline.iam(yaml))
    }

    /// The same with a gateway that has no Policy and no Role yet.
    pub(super) fn new(heading: &str, gateway: Gateway) -> Self {
        let (clone, outside) = (
            tempfile::tempdir().expect("cannot create directory"),
            tempfile::tempdir().expect("cannot create directory"),
        );
        fs::create_dir(outside.path().join("bin")).expect("cannot create directory");
        let yaml = blocks(heading).find(|block| block.starts_with("pipelines:")).expect("missing pipeline");
        let yaml = yaml.replace("http://gateway.openfaas:8080", gateway.url()).replace(GATEWAY, gateway.public_url());
        let path = std::env::var("PATH").unwrap_or_default();
        let variables = BTreeMap::from([
            ("BITBUCKET_CLONE_DIR".to_owned(), clone.path().display().to_string()),
            ("NO_COLOR".to_owned(), "1".to_owned()),
            ("BITBUCKET_COMMIT".to_owned(), COMMIT.to_owned()),
            ("PATH".to_owned(), format!("{}:{path}", outside.path().join("bin").display())),
        ]);
        let pipeline = Self { yaml, gateway, issuer: issuer(), clone, outside, variables };
        pipeline.file("stack.yml", GUIDE_STACK).file("data.csv", GUIDE_CSV)
    }

    /// Applies IAM resources, with the README's placeholders filled in.
    pub(super) fn iam(self, yaml: &str) -> Self {
        self.gateway
            .apply(&self.filled(yaml).replace("{PRODUCTION_UUID}", ENVIRONMENT_UUID))
            .expect("invalid resources");
        self
    }

    /// A text with the README's placeholders filled in.
    pub(super) fn filled(&self, text: &str) -> String {
        let text = text.replace("WORKSPACE_UUID", WORKSPACE_UUID.trim_matches(['{', '}']));
        Guide::new(&self.issuer, self.gateway.public_url()).fill(&text)
    }

    /// Runs an example that builds, pushes and deploys an image in a cloud.
    pub(super) fn builds_and_deploys(self, cloud: &Cloud, host: &str, repository: &str, stack_file: &str) {
        let image = format!("{host}/{repository}");
        let stack =
            format!("provider: {{name: openfaas}}\nfunctions:\n  etl: {{image: '{image}:${{BITBUCKET_COMMIT}}'}}\n");
        let pipeline = self.file(stack_file, &stack).program("docker");
        let pipeline = pipeline.variable("HTTPS_PROXY", &cloud.proxy_url()).variable("CA_CERT", cloud.ca_pem());
        // The `docker` program here does not push.
        let digest = cloud.registry(host).put_image(repository, COMMIT, &Image::oci("linux/amd64"));
        pipeline.run(0);
        assert!(pipeline.calls().contains(&format!("push {image}:{COMMIT}\n")), "{}", pipeline.calls());
        let login = fs::read_to_string(pipeline.clone.path().join(".docker/config.json")).expect("cannot read file");
        assert!(login.contains(host), "{login}");
        assert_eq!(pipeline.functions(), [format!("etl.openfaas-fn {image}:{COMMIT}@{digest}")]);
    }

    /// A workspace, repository or deployment variable.
    pub(super) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn file(self, path: &str, contents: &str) -> Self {
        let path = self.clone.path().join(path);
        fs::create_dir_all(path.parent().expect("missing directory")).expect("cannot create directory");
        fs::write(path, contents).expect("cannot write file");
        self
    }

    /// The guide's function is deployed already.
    pub(super) fn deployed(self) -> Self {
        let deployment = serde_json::json!({
            "service": "import-csv", "namespace": "etl", "image": "docker.io/username/import-csv:latest",
            "envVars": {"jwt_auth": "true"}, "labels": {}, "annotations": {},
        });
        self.gateway.put_function(&deployment);
        self
    }

    /// A program with this name that only records its arguments.
    pub(super) fn program(self, name: &str) -> Self {
        let path = self.outside.path().join("bin").join(name);
        let calls = self.outside.path().join("calls");
        fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> '{}'\n", calls.display())).expect("cannot write file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("cannot set permissions");
        self
    }

    /// The recorded arguments of such programs.
    pub(super) fn calls(&self) -> String {
        fs::read_to_string(self.outside.path().join("calls")).unwrap_or_default()
    }

    /// Makes the clone a git repository with one commit.
    pub(super) fn commit(self) -> Self {
        let script =
            "git init --quiet && git add . && git -c user.name=a -c user.email=a@b commit --quiet --message=first";
        let status = Command::new("sh").args(["-c", script]).current_dir(self.clone.path()).status();
        assert!(status.expect("cannot run git").success());
        self
    }

    /// The steps in order.
    pub(super) fn steps(&self) -> Vec<Value> {
        fn collect(value: &Value, steps: &mut Vec<Value>) {
            match value {
                Value::Array(items) => items.iter().for_each(|item| collect(item, steps)),
                Value::Object(fields) => fields.iter().for_each(|(name, value)| match name.as_str() {
                    "step" | "final" => steps.push(value.clone()),
                    _ => collect(value, steps),
                }),
                _ => {}
            }
        }
        let mut steps = Vec::new();
        collect(&serde_saphyr::from_str(&self.yaml).expect("invalid YAML"), &mut steps);
        steps
    }

    /// Runs all steps and checks their exit codes. Each step gets the output variables of the steps before it.
    #[track_caller]
    pub(super) fn run(&self, code: i32) -> Vec<Ran> {
        let mut outputs: Vec<(String, String)> = Vec::new();
        let mut logs = Vec::new();
        for step in self.steps() {
            let variables: Vec<_> = outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let (ran, written) = self.step(&step, &variables);
            logs.push(ran.exits(code));
            for name in step["output-variables"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                outputs.push((name.to_owned(), written.get(name).expect(name).clone()));
            }
        }
        assert!(!logs.is_empty());
        logs
    }

    /// Runs one step as a script. Returns the run and the pipeline variables that it wrote.
    pub(super) fn step(&self, step: &Value, variables: &[(&str, &str)]) -> (Ran, BTreeMap<String, String>) {
        let outputs = self.outside.path().join("pipeline-variables.env");
        fs::write(&outputs, "").expect("cannot write file");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script(step)])
            .env_clear()
            .envs(&self.variables)
            .envs(variables.iter().copied())
            .env("BITBUCKET_PIPELINES_VARIABLES_PATH", &outputs)
            .env("PIPE", binary())
            .current_dir(self.clone.path());
        if let Some(token) = self.token(step) {
            command.env("BITBUCKET_STEP_OIDC_TOKEN", token);
        }
        let ran = Ran::from(command.output().expect("cannot run sh"));
        let written = fs::read_to_string(&outputs).expect("cannot read file");
        let pairs = written.lines().filter_map(|line| line.split_once('='));
        (ran, pairs.map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect())
    }

    /// The token that Bitbucket passes to the step. `None` without `oidc:`.
    pub(super) fn token(&self, step: &Value) -> Option<String> {
        if step["oidc"] == true {
            return Some(self.issuer.token().mint());
        }
        let audiences = step["oidc"]["audiences"].as_array()?;
        let token = audiences
            .iter()
            .filter_map(Value::as_str)
            .fold(self.issuer.token(), |token, audience| token.audience(audience));
        let token = match step["deployment"].as_str() {
            Some("production") => token.deployment(ENVIRONMENT_UUID),
            Some(_) => token.deployment("{11111111-2222-4333-8444-555555555555}"),
            None => token,
        };
        Some(token.mint())
    }

    /// The functions at the gateway: `name.namespace image`.
    pub(super) fn functions(&self) -> Vec<String> {
        let functions = self.gateway.functions();
        let line = |function: &local_gateway::FunctionState| {
            let image = function.deployment["image"].as_str().unwrap_or_default();
            format!("{}.{} {image}", function.name, function.namespace)
        };
        functions.iter().filter(|function| !function.terminating).map(line).collect()
    }
}

/// The step as Bitbucket runs it: commands in one shell, each pipe with an environment of its own.
fn script(step: &Value) -> String {
    let mut script = "set -e\n".to_owned();
    for line in step["script"].as_array().expect("missing script") {
        match line.as_str() {
            Some(command) => script.push_str(command),
            None => script.push_str(&pipe(line)),
        }
        script.push('\n');
    }
    script
}

/// The command that runs a pipe. The values are in double quotes, so that the shell expands variables in them.
fn pipe(call: &Value) -> String {
    let name = call["pipe"].as_str().expect("cannot run the pipe");
    assert_eq!(name, concat!("openfaas-pipe/openfaas-pipe:", env!("CARGO_PKG_VERSION")));
    let mut command = "env -i".to_owned();
    let mut set = |name: &str, value: &str| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('`', "\\`");
        // `write!` to a string cannot fail.
        _ = write!(command, " {name}=\"{value}\"");
    };
    for name in [
        "NO_COLOR",
        "HTTPS_PROXY",
        "CA_CERT",
        "BITBUCKET_BUILD_NUMBER",
        "BITBUCKET_CLONE_DIR",
        "BITBUCKET_COMMIT",
        "BITBUCKET_REPO_FULL_NAME",
        "BITBUCKET_STEP_OIDC_TOKEN",
        "BITBUCKET_PIPELINES_VARIABLES_PATH",
        "BITBUCKET_PIPE_SHARED_STORAGE_DIR",
    ] {
        set(name, &format!("${name}"));
    }
    let variables = call["variables"].as_object().expect("missing variables");
    let metadata: Value = serde_saphyr::from_str(METADATA).expect("invalid YAML");
    for variable in metadata["variables"].as_array().expect("not a list") {
        let name = variable["name"].as_str().expect("missing name");
        if !variables.contains_key(name) {
            set(name, variable["default"].as_str().expect("missing default"));
        }
    }
    for (name, value) in variables {
        match value {
            Value::Array(items) => {
                set(&format!("{name}_COUNT"), &items.len().to_string());
                for (index, item) in items.iter().enumerate() {
                    set(&format!("{name}_{index}"), item.as_str().expect("invalid text"));
                }
            }
            value => set(name, value.as_str().expect("not a text or list")),
        }
    }
    command + " \"$PIPE\""
}
