//! `IMAGES_FROM`: a later step deploys the images of an earlier one, by digest.

use local_cloud::{Cloud, Image};
use local_gateway::{Fault, Gateway};
use tempfile::TempDir;

use crate::support::{Pipe, changes, one_audience, stack_of, step_in};

const IMAGE: &str = "ghcr.io/acme/etl:1.0";

/// A pipeline: its storage, a registry with an image, and the gateways of staging and production.
struct Pipeline {
    cloud: Cloud,
    storage: TempDir,
    staging: Gateway,
    production: Gateway,
}

impl Pipeline {
    fn new() -> Self {
        let cloud = Cloud::start().expect("cannot start cloud");
        cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &Image::oci("linux/amd64"));
        let storage = tempfile::tempdir().expect("cannot create directory");
        Self { cloud, storage, staging: one_audience(), production: one_audience() }
    }

    fn step(&self, gateway: &Gateway) -> Pipe {
        let shared = self.storage.path().display().to_string();
        step_in(&self.cloud, gateway).stack(&stack_of(&[IMAGE])).var("BITBUCKET_PIPE_SHARED_STORAGE_DIR", shared)
    }

    fn staging(&self) -> Pipe {
        self.step(&self.staging).var("PIN_IMAGES", "true").var("OPENFAAS_NAMESPACE", "staging")
    }

    fn production(&self) -> Pipe {
        self.step(&self.production).var("IMAGES_FROM", "pipeline").var("OPENFAAS_NAMESPACE", "production")
    }
}

fn images(gateway: &Gateway) -> Vec<String> {
    gateway
        .functions()
        .iter()
        .map(|function| function.deployment["image"].as_str().unwrap_or_default().into())
        .collect()
}

#[test]
fn production_gets_the_digests_of_staging_although_the_tag_moved() {
    let pipeline = Pipeline::new();
    pipeline.staging().run().exits(0);
    pipeline.cloud.registry("ghcr.io").put_image("acme/etl", "1.0", &Image::oci("linux/arm64"));
    // The results of other commands do not replace those of the deploy.
    pipeline.staging().var("COMMAND", "diff").run();
    pipeline.production().run().exits(0);
    assert_eq!(images(&pipeline.production), images(&pipeline.staging));
    assert!(images(&pipeline.production)[0].starts_with("ghcr.io/acme/etl:1.0@sha256:"));
    // By the path of the result, and with a check that the digest still exists.
    let path = pipeline.storage.path().join("openfaas-pipe-deploy.json").display().to_string();
    pipeline.production().var("IMAGES_FROM", path).var("CHECK_IMAGES", "true").run().exits(0);
}

#[test]
fn what_cannot_be_promoted_is_an_error_before_anything_is_sent() {
    let refused = |pipeline: &Pipeline, pipe: Pipe, says: &str| {
        pipe.run().exits(2).says(&format!("IMAGES_FROM:\n- {says}"));
        assert!(changes(&pipeline.production).is_empty());
    };
    let pipeline = Pipeline::new();
    refused(&pipeline, pipeline.production(), "no deploy of this pipeline has succeeded yet");
    refused(&pipeline, pipeline.production().without("BITBUCKET_PIPE_SHARED_STORAGE_DIR"), "`pipeline` needs");
    refused(&pipeline, pipeline.production().var("IMAGES_FROM", "none.json"), "`none.json` does not exist");
    // Without a digest.
    pipeline.staging().without("PIN_IMAGES").run().exits(0);
    refused(
        &pipeline,
        pipeline.production(),
        "`f0` (stack.yml:4) was deployed as `ghcr.io/acme/etl:1.0`, without a digest",
    );
    // Not by that run, and another repository.
    pipeline.staging().run().exits(0);
    let two = stack_of(&["ghcr.io/acme/other:1", IMAGE]);
    let pipe = pipeline.production().stack(&two);
    refused(
        &pipeline,
        pipe,
        "`f0` (stack.yml:4) has the image `ghcr.io/acme/other:1` in the stack file, but `ghcr.io/acme/etl:1.0@",
    );
    let pipe = pipeline.production().stack(&two);
    pipe.run().exits(2).says("`f1` (stack.yml:6) was not deployed by that run");
    // A run that failed leaves the last one that did not.
    pipeline.staging.fault(Fault::on("PUT", "/system/functions").status(400).body("no"));
    pipeline.staging().run().exits(1);
    pipeline.production().run().exits(0);
}

#[test]
fn only_the_result_of_a_successful_deploy_is_accepted() {
    let pipeline = Pipeline::new();
    for (document, says) in [
        ("{", "is not a result of this pipe (line 1, column 1)"),
        ("[]", "is not a result of this pipe"),
        (r#"{"schema":2,"command":"deploy","result":"success","functions":[]}"#, "has schema 2"),
        (r#"{"schema":1,"command":"diff","result":"success","functions":[]}"#, "is the result of `COMMAND: diff`"),
        (
            r#"{"schema":1,"command":"deploy","result":"failed","functions":[]}"#,
            "is the result of a deploy that failed",
        ),
        (
            r#"{"schema":1,"command":"deploy","result":"success","functions":[{"name":"f0","image":"a/b@sha256:1"},{"name":"f0","image":"a/c:1"}]}"#,
            "`f0` (stack.yml:4) has two images in that run: `a/b@sha256:1` and `a/c:1`",
        ),
        (
            r#"{"schema":1,"command":"deploy","result":"success","functions":[{"name":"f0","image":"A B"}]}"#,
            "`f0` (stack.yml:4) has the image `A B` in that run: ",
        ),
    ] {
        let pipe = pipeline.production().file("result.json", document).var("IMAGES_FROM", "result.json");
        pipe.run().exits(2).says(says);
    }
    assert!(changes(&pipeline.production).is_empty());
}

#[test]
fn tag_format_does_not_apply() {
    let pipeline = Pipeline::new();
    pipeline.staging().run().exits(0);
    // Nor is the text of `describe` needed, which both steps may share.
    for format in ["sha", "describe"] {
        let ran = pipeline.production().var("TAG_FORMAT", format).run().exits(0);
        ran.says("WARNING: `TAG_FORMAT` does not apply with `IMAGES_FROM`");
    }
    assert_eq!(images(&pipeline.production), images(&pipeline.staging));
}
