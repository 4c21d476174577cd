//! The files and reports that a run leaves for later steps.

use boon::{Compiler, Schemas};
use local_gateway::{Fault, Gateway, proxy};
use serde_json::{Value, json};

use crate::support::{ECHO_STACK, Pipe, guide, issuer, names, open, permissive, put, stack, start};

fn deploy(gateway: &Gateway, count: usize) -> Pipe {
    Pipe::at(gateway).stack(&stack(&names(count), "1")).var("BITBUCKET_PIPE_STORAGE_DIR", "storage")
}

/// The result of the last run, validated against the published schema.
pub(crate) fn result(pipe: &Pipe) -> Value {
    let text = std::fs::read(pipe.dir().join("storage/openfaas-pipe.json")).expect("cannot read file");
    let result = serde_json::from_slice(&text).expect("invalid JSON");
    let schema = serde_json::from_str(include_str!("../docs/result.schema.json")).expect("invalid schema");
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.add_resource("result.json", schema).expect("invalid schema");
    let index = compiler.compile("result.json", &mut schemas).expect("invalid schema");
    schemas.validate(&result, index).unwrap_or_else(|error| panic!("{error:#}\n{result:#}"));
    result
}

/// With a Code Insights report that is sent through a proxy.
fn reporting(pipe: Pipe, proxy: &proxy::Proxy) -> Pipe {
    pipe.var("REPORT", "true")
        .var("REPORT_PROXY", proxy.url())
        .var("BITBUCKET_WORKSPACE", "acme")
        .var("BITBUCKET_REPO_SLUG", "shop")
        .var("BITBUCKET_COMMIT", "0123456789abcdef0123456789abcdef01234567")
        .var("BITBUCKET_BUILD_NUMBER", "7")
}

#[test]
fn results_match_the_schema() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    for (command, exit) in [("deploy", 0), ("diff", 0), ("invoke", 0), ("remove", 0), ("diff", 6), ("remove", 0)] {
        let pipe = deploy(&gateway, 2).var("COMMAND", command);
        let pipe = if command == "invoke" { pipe.var("FUNCTION", "echo") } else { pipe };
        pipe.run().exits(exit);
        let result = result(&pipe);
        assert_eq!((&result["command"], &result["exitCode"]), (&json!(command), &json!(exit)));
    }
}

#[test]
fn failed_runs_write_a_result() {
    let gateway = guide(&issuer());
    let pipe = deploy(&gateway, 1);
    pipe.run().exits(3);
    assert_eq!(result(&pipe)["functions"][0]["problem"]["kind"], "permission");
    let pipe = pipe.var("RETRIES", "many");
    pipe.run().exits(2);
    assert_eq!(result(&pipe)["problem"]["kind"], "input");
}

#[test]
fn output_variables_that_cannot_be_written_are_logged() {
    let gateway = open();
    let pipe = deploy(&gateway, 1).list("OUTPUT_VARIABLES", &["OPENFAAS_FUNCTIONS"]);
    pipe.run().exits(0).says("WARNING: no output variables were set").says("\n  OPENFAAS_FUNCTIONS=f0\n");
    pipe.run_with("BITBUCKET_PIPELINES_VARIABLES_PATH", "missing").exits(0).says("\n  OPENFAAS_FUNCTIONS=f0\n");
}

#[test]
fn output_variables_that_a_run_does_not_set_are_named() {
    let gateway = open();
    let pipe =
        || deploy(&gateway, 1).file("variables", "").list("OUTPUT_VARIABLES", &["OPENFAAS_URL", "OPENFAAS_STATUS"]);
    let run = |pipe: Pipe| pipe.var("BITBUCKET_PIPELINES_VARIABLES_PATH", "variables").run().exits(0);
    run(pipe()).says("WARNING: `COMMAND: deploy` does not set `OPENFAAS_STATUS`\n");
    run(pipe().var("DRY_RUN", "true")).says("WARNING: no output variables were set: nothing was sent to a gateway\n");
    run(pipe().list("OUTPUT_VARIABLES", &["OPENFAAS_URL", "OPENFAAS_IMAGES"])).does_not_say("WARNING");
    let images = pipe().list("OUTPUT_VARIABLES", &["OPENFAAS_IMAGES"]).var("COMMAND", "remove");
    run(images.without("OUTPUT_VARIABLES_1")).says("WARNING: `COMMAND: remove` does not set `OPENFAAS_IMAGES`\n");
}

#[test]
fn output_variable_that_does_not_exist_is_an_error() {
    let gateway = open();
    let ran = deploy(&gateway, 1).list("OUTPUT_VARIABLES", &["OPENFAAS_NAMES"]).run().exits(2);
    ran.says("OUTPUT_VARIABLES:\n- `OPENFAAS_NAMES` is not one of OPENFAAS_URL, OPENFAAS_FUNCTIONS, ");
    assert!(gateway.requests().is_empty());
}

#[test]
fn pipeline_variables_are_appended_to_the_file() {
    let gateway = open();
    let pipe = deploy(&gateway, 2).file("variables", "KEPT=1\n").var("BITBUCKET_PIPELINES_VARIABLES_PATH", "variables");
    // A step fails if a variable is set that it does not list, so nothing is set by default.
    pipe.run().exits(0);
    assert_eq!(std::fs::read_to_string(pipe.dir().join("variables")).expect("cannot read file"), "KEPT=1\n");
    let pipe = pipe.list("OUTPUT_VARIABLES", &["OPENFAAS_URL", "OPENFAAS_FUNCTIONS", "OPENFAAS_IMAGES"]);
    pipe.run().exits(0);
    // Neither of them deploys anything.
    pipe.run_with("DRY_RUN", "true").exits(0);
    pipe.run_with("RETRIES", "many").exits(2);
    let text = std::fs::read_to_string(pipe.dir().join("variables")).expect("cannot read file");
    let url = gateway.url();
    assert_eq!(
        text,
        format!("KEPT=1\nOPENFAAS_URL={url}\nOPENFAAS_FUNCTIONS=f0,f1\nOPENFAAS_IMAGES=example/f0:1,example/f1:1\n")
    );
}

#[test]
fn report_is_sent_through_the_proxy_without_a_token() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").containing("f1").status(400).body("no such secret"));
    let proxy = proxy::start().expect("cannot start proxy");
    let pipe = reporting(deploy(&gateway, 2), &proxy);
    pipe.run().exits(1).does_not_say("report was not sent");
    let requests = proxy.requests();
    let methods: Vec<_> = requests.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["DELETE", "PUT", "POST"]);
    let start =
        "http://api.bitbucket.org/2.0/repositories/acme/shop/commit/0123456789abcdef0123456789abcdef01234567/reports/";
    for request in &requests {
        assert!(request.path.starts_with(start), "{}", request.path);
        assert_eq!(request.header("host"), Some("api.bitbucket.org"));
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("proxy-authorization"), None);
    }
    assert_eq!(requests[1].json()["result"], "FAILED");
    let annotation = &requests[2].json()[0];
    assert_eq!((&annotation["path"], &annotation["line"]), (&json!("stack.yml"), &json!(6)));
    let junit = std::fs::read_to_string(pipe.dir().join("test-reports/openfaas-pipe.xml")).expect("cannot read file");
    assert!(junit.contains("no such secret"), "{junit}");
}

#[test]
fn gateway_traffic_does_not_go_through_the_report_proxy() {
    let gateway = open();
    let proxy = proxy::start().expect("cannot start proxy");
    reporting(deploy(&gateway, 1), &proxy).run().exits(0);
    assert!(proxy.requests().iter().all(|request| request.path.starts_with("http://api.bitbucket.org/")));
    assert!(gateway.function("openfaas-fn", "f0").is_some());
}

#[test]
fn report_replaces_only_the_report_of_the_same_step() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let path = |pipe: Pipe, code: i32| {
        let proxy = proxy::start().expect("cannot start proxy");
        reporting(pipe, &proxy).run().exits(code);
        proxy.requests()[0].path.clone()
    };
    let base = path(deploy(&gateway, 1), 0);
    assert_eq!(path(deploy(&gateway, 1).var("RETRIES", "many"), 2), base);
    assert_eq!(path(deploy(&gateway, 1).stack("functions: ["), 2), base);
    let others = [
        deploy(&gateway, 1).var("FILTER", "f*"),
        deploy(&gateway, 1).var("STACK_FILE", "stack.yml"),
        deploy(&gateway, 1).var("OPENFAAS_URL", format!("{}/", gateway.url())),
        deploy(&gateway, 1).var("COMMAND", "invoke").var("FUNCTION", "echo"),
        deploy(&gateway, 1).var("BITBUCKET_DEPLOYMENT_ENVIRONMENT", "production"),
    ];
    assert!(others.into_iter().all(|pipe| path(pipe, 0) != base));
}

#[test]
fn rejected_report_is_a_warning() {
    let gateway = open();
    let proxy = proxy::start().expect("cannot start proxy");
    proxy.answer(403, "not here");
    reporting(deploy(&gateway, 1), &proxy)
        .run()
        .exits(0)
        .says("WARNING: the Code Insights report was not sent, or only in part: proxy `127.0.0.1:");
}

#[test]
fn report_without_a_proxy_has_the_words_of_the_pipe() {
    let gateway = open();
    let proxy = proxy::start().expect("cannot start proxy");
    let pipe = reporting(deploy(&gateway, 1), &proxy);
    for (url, cause) in [
        ("http://127.0.0.1:1", "proxy `127.0.0.1:1`: connection refused\n"),
        ("http://proxy.invalid:29418", "proxy `proxy.invalid:29418`: the host name cannot be resolved\n"),
    ] {
        let ran = pipe.run_with("REPORT_PROXY", url).exits(0);
        ran.says(&format!(
            "WARNING: the Code Insights report was not sent, or only in part: no response through {cause}"
        ));
    }
}

#[test]
fn report_of_2500_failures_respects_the_limits() {
    let gateway = open();
    gateway.record(false);
    gateway.fault(Fault::on("PUT", "/system/functions").status(400).body("no such secret: \"".repeat(200)));
    let proxy = proxy::start().expect("cannot start proxy");
    let pipe = reporting(deploy(&gateway, 2500).var("PARALLEL", "64"), &proxy);
    pipe.run().exits(1).says("✖ 2500 of 2500 functions not deployed");
    let requests = proxy.requests();
    let posts = requests.iter().filter(|request| request.method == "POST");
    // A slow machine may send fewer than ten within the two seconds for the whole report, and the last one in part.
    let posts: Vec<_> = posts.filter_map(|request| request.json().as_array().cloned()).collect();
    assert!((1..=10).contains(&posts.len()) && posts.iter().all(|post| post.len() == 100), "{} posts", posts.len());
    assert!(requests[1].json()["data"].as_array().expect("missing data").len() <= 10);
    let mut ids = std::collections::BTreeSet::new();
    for annotation in posts.iter().flatten() {
        assert!(annotation["summary"].as_str().expect("missing summary").chars().count() <= 450);
        assert!(annotation["details"].as_str().expect("missing details").chars().count() <= 2000);
        assert!(ids.insert(annotation["external_id"].as_str().expect("missing id")));
    }
    assert_eq!(result(&pipe)["functions"].as_array().expect("missing functions").len(), 2500);
}

#[test]
fn parallel_pipes_keep_each_others_shared_variables() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let shared = tempfile::tempdir().expect("cannot create directory");
    let file = shared.path().join("_shared_variables.json");
    std::fs::write(&file, r#"{"other-pipe": {"n": 1.10}}"#).expect("cannot write file");
    let pipes: Vec<_> = (0..12)
        .map(|_| deploy(&gateway, 1).var("BITBUCKET_PIPE_SHARED_STORAGE_DIR", shared.path().display().to_string()))
        .collect();
    let children: Vec<_> = pipes.iter().map(|pipe| pipe.command().spawn().expect("cannot run the pipe")).collect();
    for child in children {
        let output = child.wait_with_output().expect("cannot wait for the process");
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{log}");
        assert!(!log.contains("WARNING"), "{log}");
    }
    let text = std::fs::read_to_string(file).expect("cannot read file");
    let variables: Value = serde_json::from_str(&text).expect("invalid JSON");
    assert!(text.contains("1.10"), "{text}");
    assert_eq!(variables["openfaas-pipe"]["command"], "deploy");
    assert_eq!(variables.as_object().expect("not an object").len(), 2);
}

#[test]
fn value_that_contains_a_secret_is_left_out_with_a_warning() {
    let gateway = start(permissive().basic_auth("admin", "example"));
    let pipe = Pipe::at(&gateway).stack(ECHO_STACK).var("OPENFAAS_PASSWORD", "example");
    let variables = pipe.dir().join("variables");
    std::fs::write(&variables, "").expect("cannot write file");
    let pipe = pipe.var("BITBUCKET_PIPELINES_VARIABLES_PATH", variables.display().to_string());
    let pipe = pipe.list("OUTPUT_VARIABLES", &["OPENFAAS_IMAGES", "OPENFAAS_FUNCTIONS"]);
    let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", "storage");
    let ran = pipe.run().exits(0);
    let ran = ran.says("WARNING: the output variable `OPENFAAS_IMAGES` was not set: it contains the value of a secret");
    ran.says("WARNING: 1 image or URL is left out of the result: each contains the value of a secret");
    assert_eq!(std::fs::read_to_string(&variables).expect("cannot read file"), "OPENFAAS_FUNCTIONS=echo\n");
    assert_eq!(result(&pipe)["functions"][0].get("image"), None);
}
