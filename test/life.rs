//! The life of a change with one token and nothing but the pipe: preview, staging, production.

use std::fs;

use local_cloud::{Cloud, Image};
use local_gateway::{Gateway, Request};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Pipe, issuer, step_in};

const STACK: &str = "provider: {name: openfaas}
functions:
  echo: {image: 'ghcr.io/acme/echo:${VERSION}', secrets: [db]}
  worker: {image: 'ghcr.io/acme/worker:1'}
";

struct Repository {
    cloud: Cloud,
    gateway: Gateway,
    storage: TempDir,
    token: String,
}

impl Repository {
    fn new() -> Self {
        let cloud = Cloud::start().expect("cannot start cloud");
        for (name, tag) in [("echo", "1"), ("echo", "2"), ("worker", "1")] {
            cloud.registry("ghcr.io").put_image(&format!("acme/{name}"), tag, &Image::oci("linux/amd64"));
        }
        let iam = include_str!("iam/everything.yaml").replace("https://gw.example.com", &local_cloud::audience());
        let builder = Gateway::builder().iam_yaml(&iam).public_url("https://gw.example.com").issuer(&issuer());
        let gateway = builder.namespaces(&["openfaas-fn", "staging", "production"]).secrets(&[]).start();
        let gateway = gateway.expect("cannot start gateway");
        gateway.put_secret("production", "db", b"of production");
        gateway.put_function(&json!({
            "service": "legacy", "namespace": "production", "image": "acme/legacy:1", "labels": {}, "annotations": {},
        }));
        let storage = tempfile::tempdir().expect("cannot create directory");
        Self { cloud, gateway, storage, token: issuer().token().mint() }
    }

    /// A step that deploys to a namespace, or removes from it.
    fn step(&self, namespace: &str, commit: &str, version: &str) -> Pipe {
        self.gateway.clear_requests();
        step_in(&self.cloud, &self.gateway)
            .stack(STACK)
            .var("BITBUCKET_STEP_OIDC_TOKEN", self.token.clone())
            .var("BITBUCKET_REPO_FULL_NAME", "acme/shop")
            .var("BITBUCKET_COMMIT", commit)
            .var("BITBUCKET_BRANCH", "feature/cart")
            .var("BITBUCKET_PIPE_SHARED_STORAGE_DIR", self.storage.path().display().to_string())
            .var("OPENFAAS_NAMESPACE", namespace)
            .var("VERSION", version)
    }

    /// The changes of the last step, none of them outside of its namespace.
    fn changes(&self, namespace: &str) -> Vec<String> {
        let requests = self.gateway.requests();
        let changes = requests.iter().filter(|request| request.method != "GET" && request.path.starts_with("/system/"));
        let change = |request: &Request| {
            let body = request.json();
            let is_of_namespace = request.path.starts_with("/system/namespace/");
            let of = if is_of_namespace { &body["name"] } else { &body["namespace"] };
            assert_eq!(of, namespace, "{} {}", request.method, request.path);
            let name = ["service", "functionName", "name"].into_iter().find_map(|field| body[field].as_str());
            format!("{} {}", request.method, name.unwrap_or_default())
        };
        let mut changes: Vec<_> = changes.map(change).collect();
        changes.sort();
        changes
    }

    /// The functions with their images, by namespace.
    fn functions(&self) -> Vec<String> {
        let functions = self.gateway.functions().into_iter().filter(|function| !function.terminating);
        let line = |function: local_gateway::FunctionState| {
            let image = function.deployment["image"].as_str().unwrap_or_default().to_owned();
            format!("{}.{} {image}", function.name, function.namespace)
        };
        functions.map(line).collect()
    }
}

#[test]
fn change_goes_from_its_preview_to_production_and_leaves_what_it_should() {
    let repository = Repository::new();
    let preview = |commit, version| {
        let step =
            repository.step("preview-7", commit, version).var("CREATE_NAMESPACE", "true").var("PIN_IMAGES", "true");
        let step = step.var("ONLY_CHANGED", "true").var("GIT_LABELS", "true");
        step.list("SECRET_VALUES", &["db=of the preview"]).list("VERIFY", &["echo/healthz"])
    };
    // The pull request is opened.
    let ran = preview("0f4e1d2c", "1").run().exits(0);
    ran.says("namespace `preview-7` created").says("secret `db` in namespace `preview-7` created").says("returned 200");
    let created = ["POST db", "POST echo", "POST preview-7", "POST worker", "PUT echo", "PUT worker"];
    assert_eq!(repository.changes("preview-7"), created);
    // It is pushed again: only the function that changed is sent.
    preview("1a2b3c4d", "2").run().exits(0).says("1 unchanged");
    assert_eq!(repository.changes("preview-7"), ["PUT db", "PUT echo"]);
    // It is closed.
    let removal =
        repository.step("preview-7", "1a2b3c4d", "2").var("COMMAND", "remove").var("DELETE_NAMESPACE", "true");
    removal.run().exits(0).says("namespace `preview-7` deleted");
    assert_eq!(repository.changes("preview-7"), ["DELETE echo", "DELETE preview-7", "DELETE worker"]);
    // The merge goes to staging, with a secret of its own.
    let staging = repository.step("staging", "5e6f7a8b", "2").var("PIN_IMAGES", "true").var("GIT_LABELS", "true");
    staging.list("SECRET_VALUES", &["db=of staging"]).list("VERIFY", &["echo/healthz"]).run().exits(0);
    repository.changes("staging");
    // The tag is overwritten; production gets what staging has.
    repository.cloud.registry("ghcr.io").put_image("acme/echo", "2", &Image::oci("linux/arm64"));
    let production = repository.step("production", "5e6f7a8b", "2").var("IMAGES_FROM", "pipeline");
    production.list("VERIFY", &["echo/healthz"]).run().exits(0);
    assert_eq!(repository.changes("production"), ["POST echo", "POST worker", "PUT echo", "PUT worker"]);

    let functions = repository.functions();
    let of = |namespace: &str| {
        let own = functions.iter().filter_map(|line| line.split_once(&format!(".{namespace} ")));
        own.map(|(name, image)| format!("{name} {image}")).collect::<Vec<_>>()
    };
    assert_eq!(functions.len(), 5, "{functions:?}");
    assert_eq!(of("production").len(), 3);
    assert!(
        of("staging").iter().all(|line| line.contains("@sha256:") && of("production").contains(line)),
        "{functions:?}"
    );
    let secrets: Vec<_> = repository.gateway.secrets().into_iter().map(|s| (s.namespace, s.name, s.value)).collect();
    let expected = [("production", "db", &b"of production"[..]), ("staging", "db", b"of staging")];
    assert_eq!(secrets, expected.map(|(namespace, name, value)| (namespace.into(), name.into(), value.to_vec())));
    let namespaces: Vec<_> = repository.gateway.namespaces().into_iter().map(|namespace| namespace.name).collect();
    assert_eq!(namespaces, ["openfaas-fn", "production", "staging"]);
    let stored = fs::read_dir(repository.storage.path()).expect("cannot read directory");
    for file in stored.map(|file| file.expect("cannot read directory").path()) {
        let text = fs::read_to_string(&file).expect("cannot read file");
        assert!(!text.contains("of the preview") && !text.contains("of staging"), "{}", file.display());
    }
}
