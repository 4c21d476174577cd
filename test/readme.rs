//! Runs every YAML example of the README through the pipe, as Bitbucket would.

mod pipeline;

use std::fs;

use local_cloud::aws::{PULL, ROLE};
use local_cloud::google::{PROJECT, PROJECT_NUMBER};
use local_cloud::{Cloud, Image};
use local_gateway::{Builder, Certificate, Fault, Gateway};

use crate::support::{GUIDE_CSV, changes, issuer, put, start};
use pipeline::{GATEWAY, Pipeline};

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
        let (_, resources) = whoami.log.split_once("----- copy from here -----\n").expect("missing resources");
        let (resources, _) = resources.split_once("# ----- to here -----").expect("missing end of the resources");
        assert!(section(heading).contains("between the\nlines `copy from here` and `to here`"));
        let mut pipeline = pipeline.iam(resources);
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
        assert_eq!(fs::read_to_string(pipeline.clone.path().join("response.csv")).expect("cannot read file"), GUIDE_CSV);
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
    test_function_is_removed_whatever_its_tests_say "Advanced example: a test function that is always removed" |heading| {
        let stack = "provider: {name: openfaas}\nfunctions:\n  smoke-${BITBUCKET_BUILD_NUMBER}: {image: 'acme/smoke:1'}\n";
        let pipeline = Pipeline::of(heading).iam(&policy_in(heading)).file("smoke.yml", stack);
        let pipeline = pipeline.variable("BITBUCKET_BUILD_NUMBER", "41");
        let steps = pipeline.steps();
        for (status, code) in [(200, 0), (500, 5)] {
            pipeline.gateway.fault(Fault::on("GET", "/function/smoke-41/healthz").status(status));
            pipeline.step(&steps[0], &[]).0.exits(code).says("smoke-41/healthz`");
            assert_eq!(pipeline.functions(), ["smoke-41.openfaas-fn acme/smoke:1"]);
            pipeline.step(&steps[1], &[]).0.exits(0).says("`smoke-41` removed");
            assert!(pipeline.functions().is_empty());
            pipeline.gateway.clear_faults();
        }
        // Also if nothing was deployed.
        pipeline.step(&steps[1], &[]).0.exits(0).says("`smoke-41` does not exist");
        assert!(!section(heading).contains("deployment:"));
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
