//! Runs every YAML example of the README through the pipe, as Bitbucket would.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use local_cloud::aws::{PULL, ROLE};
use local_cloud::google::{PROJECT, PROJECT_NUMBER};
use local_cloud::{Cloud, Image};
use local_gateway::issuer::{ENVIRONMENT_UUID, WORKSPACE_UUID};
use local_gateway::{Builder, Certificate, Gateway, Guide, Issuer};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{GUIDE_CSV, GUIDE_STACK, Ran, binary, changes, issuer, put, start};

const README: &str = concat!(
    include_str!("../README.md"),
    "\n",
    include_str!("../docs/access.md"),
    "\n",
    include_str!("../docs/cloud.md"),
    "\n",
    include_str!("../docs/examples.md")
);
/// The section with the IAM resources that the other examples use.
const RESOURCES: &str = "Resources by hand";
const METADATA: &str = include_str!("../pipe.yml");
/// The gateway's URL in the README.
const GATEWAY: &str = "https://gw.example.com";
const COMMIT: &str = "0f4e1d2c3b4a59687f6e5d4c3b2a190817263544";

/// A test for each example, by the heading of its section.
macro_rules! examples {
    ($($test:ident $heading:literal $check:expr;)*) => {
        /// The headings of all tested examples.
        const TESTED: &[&str] = &[$($heading),*];

        $(#[test]
        fn $test() {
            let check: fn(&str) = $check;
            check($heading);
        })*
    };
}

examples! {
    quick_start_ends_with_a_deployed_function "Quick start" |heading| {
        let pipeline = Pipeline::new(heading, start(with_iam(Gateway::builder())));
        let whoami = pipeline.run(3).remove(0);
        // What the cluster's administrator copies from the log.
        let start = whoami.log.find("apiVersion:").expect("missing resources");
        let is_log = |line: &&str| !["INFO", "WARNING", "ERROR"].iter().any(|level| line.starts_with(level));
        let resources: Vec<&str> = whoami.log[start..].lines().take_while(is_log).collect();
        let mut pipeline = pipeline.iam(&resources.join("\n"));
        let line = "COMMAND: whoami";
        assert!(section(heading).contains(&format!("Remove the line `{line}`")));
        pipeline.yaml = pipeline.yaml.replace(line, "");
        pipeline.run(0);
        assert_eq!(pipeline.functions(), ["import-csv.etl docker.io/username/import-csv:latest"]);
    };
    verify_example_succeeds "Advanced example: deploy, verify, roll back" |heading| {
        let pipeline = Pipeline::of(heading);
        pipeline.run(0).remove(0).says("`import-csv/healthz` returned 200").says("✔ deployed 1 function");
        assert!(pipeline.clone.path().join("test-reports/openfaas-pipe.xml").is_file());
    };
    invoke_example_returns_the_csv "Advanced example: invoke a function with a CSV" |heading| {
        let pipeline = Pipeline::of(heading).deployed();
        pipeline.run(0);
        assert_eq!(fs::read_to_string(pipeline.clone.path().join("answer.txt")).expect("cannot read file"), GUIDE_CSV);
    };
    environments_deploy_to_their_own_namespaces "Advanced example: a namespace for each deployment environment" |heading| {
        let staging = "apiVersion: iam.openfaas.com/v1\nkind: Policy\nmetadata: {name: etl-ci}\nspec:\n  statement:\n  \
            - {effect: Allow, action: ['Function:Create', 'Function:Update'], resource: ['staging:*']}\n";
        let pipeline = Pipeline::of(heading).iam(staging);
        let deploy = |environment: &str, namespace: &str| {
            let mut steps = pipeline.steps();
            steps.retain(|step| step["deployment"] == environment);
            pipeline.step(&steps[0], &[("OPENFAAS_NAMESPACE", namespace)]).0
        };
        deploy("staging", "staging").exits(0);
        deploy("production", "production").exits(0);
        deploy("staging", "production").exits(3);
        assert_eq!(pipeline.functions().len(), 2);
    };
    aws_example_pushes_and_deploys "Advanced example: build, push and deploy without a stored secret, with Amazon ECR" |heading| {
        let cloud = Cloud::start().expect("cannot start cloud");
        cloud.aws().set_up(&issuer());
        let trust = section(heading).split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("missing policy");
        let pipeline = Pipeline::of(heading);
        cloud.aws().put_role(ROLE, &pipeline.filled(trust), PULL).expect("invalid policy");
        let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        pipeline.builds_and_deploys(&cloud, host, "etl", "ecr.yml");
    };
    google_example_pushes_and_deploys "Advanced example: the same with Google Artifact Registry" |heading| {
        let cloud = Cloud::start().expect("cannot start cloud");
        cloud.google().project(PROJECT, PROJECT_NUMBER);
        let create = "gcloud artifacts repositories create functions --location=europe --repository-format=docker\n";
        let commands = section(heading).split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("missing commands");
        let pipeline = Pipeline::of(heading).iam(&iam("Advanced example: build, push and deploy without a stored secret, with Amazon ECR"));
        cloud.google().gcloud(&pipeline.filled(&format!("{create}{commands}"))).expect("command failed");
        pipeline.builds_and_deploys(&cloud, "europe-docker.pkg.dev", "acme-prod/functions/etl", "google.yml");
    };
    build_example_deploys_the_built_images "Advanced example: build, then deploy several functions" |heading| {
        let stack = "provider: {name: openfaas}\nfunctions:\n  \
            resize: {image: registry.example.com/acme/resize:latest, namespace: etl, lang: dockerfile, handler: ./resize}\n  \
            notify: {image: registry.example.com/acme/notify:latest, namespace: etl, lang: dockerfile, handler: ./notify}\n";
        let pipeline = Pipeline::of(heading).file("functions.yml", stack).program("docker").commit();
        pipeline.run(0);
        let calls = pipeline.calls();
        let functions = pipeline.functions();
        for name in ["resize", "notify"] {
            let deployed = functions.iter().find_map(|line| line.strip_prefix(&format!("{name}.etl ")));
            let deployed = deployed.expect("missing function");
            assert!(calls.contains(&format!("push {deployed}\n")), "`{deployed}` is not among\n{calls}");
        }
        let function = pipeline.gateway.function("etl", "resize").expect("missing function");
        assert_eq!(function.deployment["envVars"]["region"], "eu-west-1");
        assert_eq!(function.deployment["labels"]["com.openfaas.scale.min"], "2");
    };
    async_example_queues_the_call "Advanced example: invoke asynchronously" |heading| {
        let pipeline = Pipeline::of(heading);
        put(&pipeline.gateway, "etl", "import-csv");
        pipeline.run(0);
        let requests = pipeline.gateway.requests();
        let request = requests.last().expect("missing request");
        assert_eq!(request.path, "/async-function/import-csv.etl");
        assert_eq!(request.text(), "s3://acme-imports/nightly.csv");
        assert_eq!(request.header("x-callback-url"), Some("https://hooks.example.com/imported"));
    };
    password_example_uses_no_token "Advanced example: OpenFaaS CE with a password" |heading| {
        let builder = Gateway::builder().basic_auth("admin", "correct horse");
        let pipeline = Pipeline::at(heading, start(builder)).variable("OPENFAAS_PASSWORD", "correct horse");
        pipeline.run(0);
        assert_eq!(pipeline.functions().len(), 1);
        assert!(pipeline.gateway.requests().iter().all(|request| request.path != "/oauth/token"));
    };
    private_ca_example_deploys "Advanced example: a private certificate authority" |heading| {
        let pipeline = Pipeline::at(heading, start(with_iam(Gateway::builder().certificate(Certificate::Valid))));
        let ca = pipeline.gateway.ca_pem().to_owned();
        let pipeline = pipeline.variable("OUR_CA", &ca);
        pipeline.run(0);
        assert_eq!(pipeline.functions().len(), 1);
    };
    runner_example_uses_the_public_audience "Advanced example: a self-hosted runner inside the cluster" |heading| {
        let pipeline = Pipeline::at(heading, start(with_iam(Gateway::builder().public_url(GATEWAY))));
        pipeline.run(0);
        assert_eq!(pipeline.functions().len(), 1);
    };
    diff_example_exits_with_6 "Advanced example: differences on pull requests" |heading| {
        Pipeline::of(heading).run(6);
        let pipeline = Pipeline::of(heading).deployed();
        pipeline.run(0);
        assert_eq!(changes(&pipeline.gateway), []);
    };
    secrets_example_writes_them_before_the_functions "Advanced example: the secrets of a first deploy" |heading| {
        let stack = "provider: {name: openfaas}\nfunctions:\n  cart: {image: 'acme/cart:1', namespace: shop, secrets: \
            [db-password, tls-key]}\n  front: {image: 'acme/front:1', namespace: shop}\n";
        let pipeline = Pipeline::at(heading, start(with_iam(Gateway::builder()).secrets(&[]))).iam(&policy_in(heading));
        let pipeline = pipeline.file("shop.yml", stack).variable("DB_PASSWORD", "hunter22").variable("TLS_KEY", "LS0tCmtleQo=");
        pipeline.run(0).remove(0).says("secret `tls-key` in namespace `shop` created").does_not_say("hunter22");
        assert_eq!(pipeline.functions(), ["cart.shop acme/cart:1", "front.shop acme/front:1"]);
        assert_eq!(pipeline.gateway.secret("shop", "db-password").as_deref(), Some(&b"hunter22"[..]));
        assert_eq!(pipeline.gateway.secret("shop", "tls-key").as_deref(), Some(&b"---\nkey\n"[..]));
    };
    preview_example_deploys_and_removes "Advanced example: a preview namespace for each pull request" |heading| {
        let gateway = start(with_iam(Gateway::builder()).namespaces(&["openfaas-fn"]));
        let pipeline = Pipeline::at(heading, gateway).iam(&policy_in(heading)).variable("BITBUCKET_PR_ID", "7");
        let pipeline = pipeline.variable("BITBUCKET_REPO_FULL_NAME", "acme/etl");
        let step = |name: &str| pipeline.steps().into_iter().find(|step| step["name"] == name).expect("missing step");
        let names = || pipeline.gateway.namespaces().into_iter().map(|namespace| namespace.name).collect::<Vec<_>>();
        for said in ["✔ deployed 1 function", "1 unchanged"] {
            pipeline.step(&step("Preview"), &[]).0.exits(0).says(said);
            assert_eq!(pipeline.functions(), ["import-csv.preview-7 docker.io/username/import-csv:latest"]);
        }
        assert_eq!(names(), ["openfaas-fn", "preview-7"]);
        let unknown = pipeline.step(&step("Remove the preview"), &[("BITBUCKET_PR_ID", "")]).0.exits(2);
        unknown.says("invalid namespace `preview-`");
        for said in ["namespace `preview-7` deleted", "namespace `preview-7` does not exist"] {
            pipeline.step(&step("Remove the preview"), &[]).0.exits(0).says(said);
        }
        assert!(pipeline.functions().is_empty());
        assert_eq!(names(), ["openfaas-fn"]);
    };
    output_variables_reach_the_next_step "Advanced example: output variables in the next step" |heading| {
        let log = Pipeline::of(heading).run(0).pop().expect("expected two steps");
        log.says("deployed import-csv from docker.io/username/import-csv:latest");
    };
    promotion_example_deploys_the_digests_of_staging "Advanced example: the same images in staging and in production" |heading| {
        let cloud = Cloud::start().expect("cannot start cloud");
        let digest = cloud.registry("registry-1.docker.io").put_image("username/import-csv", "latest", &Image::oci("linux/amd64"));
        let storage = tempfile::tempdir().expect("cannot create directory");
        let policy = "apiVersion: iam.openfaas.com/v1\nkind: Policy\nmetadata: {name: etl-ci}\nspec:\n  statement:\n  \
            - {effect: Allow, action: ['Function:*'], resource: ['staging:*', 'production:*']}\n";
        let pipeline = Pipeline::of(heading).iam(policy).variable("HTTPS_PROXY", &cloud.proxy_url());
        let pipeline = pipeline.variable("CA_CERT", cloud.ca_pem());
        let pipeline = pipeline.variable("BITBUCKET_PIPE_SHARED_STORAGE_DIR", &storage.path().display().to_string());
        let steps = pipeline.steps();
        pipeline.step(&steps[0], &[]).0.exits(0).says("returned 200");
        cloud.registry("registry-1.docker.io").put_image("username/import-csv", "latest", &Image::oci("linux/arm64"));
        pipeline.step(&steps[1], &[]).0.exits(0);
        let image = format!("docker.io/username/import-csv:latest@{digest}");
        assert_eq!(pipeline.functions(), ["production", "staging"].map(|namespace| format!("import-csv.{namespace} {image}")));
    };
    several_files_example_sends_what_changed "Advanced example: a stack file for each function" |heading| {
        let function = |name: &str| format!("provider: {{name: openfaas}}\nfunctions:\n  {name}: {{image: 'acme/{name}:1', namespace: etl}}\n");
        let pipeline = Pipeline::of(heading);
        let pipeline = ["cart", "mail"].iter().fold(pipeline, |pipeline, name| {
            pipeline.file(&format!("functions/{name}/stack.yml"), &function(name))
        });
        pipeline.run(0);
        assert_eq!(pipeline.functions(), ["cart.etl acme/cart:1", "mail.etl acme/mail:1"]);
        pipeline.run(0).remove(0).says("✔ deployed 0 functions, 2 unchanged");
    };
}

#[test]
fn every_example_is_tested() {
    let headings: Vec<&str> =
        sections().filter(|(_, text)| text.contains("\npipelines:\n")).map(|(name, _)| name).collect();
    assert_eq!(headings, TESTED);
}

#[test]
fn access_page_has_all_resources() {
    let resources = iam(RESOURCES);
    let kinds: Vec<&str> = resources.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    assert_eq!(kinds, ["JwtIssuer", "Policy", "Role"]);
}

/// The sections of the README: heading and text.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let starts = README.match_indices("\n##").map(|(start, _)| start);
    let mut starts: Vec<usize> = starts.collect();
    starts.push(README.len());
    let sections: Vec<_> = starts.windows(2).map(|pair| &README[pair[0]..pair[1]]).collect();
    sections.into_iter().map(|section| {
        let (heading, text) = section[1..].split_once('\n').expect("missing line");
        (heading.trim_start_matches('#').trim(), text)
    })
}

fn section(heading: &str) -> &'static str {
    sections().find(|(name, _)| *name == heading).expect(heading).1
}

/// The YAML blocks of a section.
fn blocks(heading: &str) -> impl Iterator<Item = &'static str> {
    section(heading).split("```yaml\n").skip(1).filter_map(|block| block.split("```").next())
}

/// The IAM resources of a section.
fn iam(heading: &str) -> String {
    blocks(heading).filter(|block| block.starts_with("apiVersion:")).collect::<Vec<_>>().join("---\n")
}

/// The Policy that the text of a section describes in words, under the name that the Role has.
fn policy_in(heading: &str) -> String {
    let text = section(heading).replace('\n', " ");
    let words = |name: &str| {
        let rest = text.split(&format!("`{name}: ")).nth(1).expect("missing Policy");
        rest.split('`').next().expect("missing Policy").to_owned()
    };
    format!(
        "apiVersion: iam.openfaas.com/v1\nkind: Policy\nmetadata: {{name: etl-ci}}\nspec:\n  statement:\n  \
            - {{effect: Allow, action: {}, resource: {}}}\n",
        words("action"),
        words("resource")
    )
}

/// A gateway that knows the issuer. The IAM resources come from the README.
fn with_iam(builder: Builder) -> Builder {
    builder.issuer(&issuer())
}

/// An example: its pipeline, its clone and its gateway.
struct Pipeline {
    yaml: String,
    gateway: Gateway,
    issuer: Issuer,
    clone: TempDir,
    outside: TempDir,
    variables: BTreeMap<String, String>,
}

impl Pipeline {
    /// The example below a heading, with a gateway that has the README's resources.
    fn of(heading: &str) -> Self {
        Self::at(heading, start(with_iam(Gateway::builder())))
    }

    fn at(heading: &str, gateway: Gateway) -> Self {
        let resources = [iam(RESOURCES), iam(heading)];
        let resources = resources.iter().filter(|yaml| !yaml.is_empty());
        resources.fold(Self::new(heading, gateway), |pipeline, yaml| pipeline.iam(yaml))
    }

    /// The same with a gateway that has no Policy and no Role yet.
    fn new(heading: &str, gateway: Gateway) -> Self {
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
    fn iam(self, yaml: &str) -> Self {
        self.gateway
            .apply(&self.filled(yaml).replace("{PRODUCTION_UUID}", ENVIRONMENT_UUID))
            .expect("invalid resources");
        self
    }

    /// A text with the README's placeholders filled in.
    fn filled(&self, text: &str) -> String {
        let text = text.replace("WORKSPACE_UUID", WORKSPACE_UUID.trim_matches(['{', '}']));
        Guide::new(&self.issuer, self.gateway.public_url()).fill(&text)
    }

    /// Runs an example that builds, pushes and deploys an image in a cloud.
    fn builds_and_deploys(self, cloud: &Cloud, host: &str, repository: &str, stack_file: &str) {
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
    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn file(self, path: &str, contents: &str) -> Self {
        let path = self.clone.path().join(path);
        fs::create_dir_all(path.parent().expect("missing directory")).expect("cannot create directory");
        fs::write(path, contents).expect("cannot write file");
        self
    }

    /// The guide's function is deployed already.
    fn deployed(self) -> Self {
        let deployment = serde_json::json!({
            "service": "import-csv", "namespace": "etl", "image": "docker.io/username/import-csv:latest",
            "envVars": {"jwt_auth": "true"}, "labels": {}, "annotations": {},
        });
        self.gateway.put_function(&deployment);
        self
    }

    /// A program with this name that only records its arguments.
    fn program(self, name: &str) -> Self {
        let path = self.outside.path().join("bin").join(name);
        let calls = self.outside.path().join("calls");
        fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> '{}'\n", calls.display())).expect("cannot write file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("cannot set permissions");
        self
    }

    /// The recorded arguments of such programs.
    fn calls(&self) -> String {
        fs::read_to_string(self.outside.path().join("calls")).unwrap_or_default()
    }

    /// Makes the clone a git repository with one commit.
    fn commit(self) -> Self {
        let script =
            "git init --quiet && git add . && git -c user.name=a -c user.email=a@b commit --quiet --message=first";
        let status = Command::new("sh").args(["-c", script]).current_dir(self.clone.path()).status();
        assert!(status.expect("cannot run git").success());
        self
    }

    /// The steps in order.
    fn steps(&self) -> Vec<Value> {
        fn collect(value: &Value, steps: &mut Vec<Value>) {
            match value {
                Value::Array(items) => items.iter().for_each(|item| collect(item, steps)),
                Value::Object(fields) => fields.iter().for_each(|(name, value)| match name.as_str() {
                    "step" => steps.push(value.clone()),
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
    fn run(&self, code: i32) -> Vec<Ran> {
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
    fn step(&self, step: &Value, variables: &[(&str, &str)]) -> (Ran, BTreeMap<String, String>) {
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
    fn token(&self, step: &Value) -> Option<String> {
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
    fn functions(&self) -> Vec<String> {
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
