//! `WAIT` and `ROLLBACK`.

use std::time::{Duration, Instant};

use local_gateway::{Fault, Gateway, Ready};
use serde_json::{Value, json};

use crate::support::{Pipe, Ran, Running, changes, names, open, permissive, permitting, put, stack, start, wait_for};

/// A deploy of these functions with `WAIT` and this timeout.
fn waiting(gateway: &Gateway, names: &[impl AsRef<str>], timeout: &str) -> Pipe {
    Pipe::at(gateway).stack(&stack(names, "2")).var("WAIT", "true").var("WAIT_TIMEOUT", timeout)
}

/// The number of status requests.
fn status_requests(gateway: &Gateway) -> usize {
    gateway.requests().iter().filter(|request| request.method == "GET").count()
}

fn result(pipe: Pipe) -> (Ran, Value) {
    let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", "storage");
    (pipe.run(), stored(&pipe))
}

/// The result file of a run.
fn stored(pipe: &Pipe) -> Value {
    let text = std::fs::read(pipe.dir().join("storage/openfaas-pipe.json")).expect("cannot read file");
    serde_json::from_slice(&text).expect("invalid JSON")
}

/// Ready from now on.
const NOW: Ready = Ready::After(Duration::ZERO);

#[test]
fn wait_ends_when_a_new_function_is_available() {
    let gateway = start(permissive().ready(Ready::Never));
    let pipe = waiting(&gateway, &["f"], "1m").var("BITBUCKET_PIPE_STORAGE_DIR", "storage");
    let mut running = Running::of(pipe);
    wait_for("third look", || status_requests(&gateway) >= 3);
    gateway.set_ready("f", NOW);
    let ran = running.end().exits(0);
    ran.says("INFO: waiting until 1 function is ready, at most 1 min").says("`f` is ready after ").says("1/1");
    let result = stored(&running.pipe);
    assert_eq!(result["functions"][0]["ready"], true);
    assert_eq!(result["functions"][0]["replicas"], json!({"desired": 1, "available": 1}));
}

#[test]
fn several_functions_are_polled_with_one_list_request() {
    let gateway = start(permissive().ready(Ready::After(Duration::from_millis(300))));
    // Without an available replica the list could be one of faasd, which reports none.
    put(&gateway, "openfaas-fn", "available");
    waiting(&gateway, &["a", "b", "c"], "1m").run().exits(0).says("waiting until 3 functions are ready");
    let gets: Vec<_> = gateway.requests().into_iter().filter(|request| request.method == "GET").collect();
    assert!(gets.iter().all(|request| request.path == "/system/functions"), "{gets:?}");
    assert!(gets.len() < 10);
}

#[test]
fn function_that_never_starts_is_reported_with_its_log() {
    let gateway = start(permissive().ready_of("late", Ready::Never));
    put(&gateway, "openfaas-fn", "other");
    let pipe = waiting(&gateway, &["late", "fine"], "3s");
    let child = pipe.command().spawn().expect("cannot run the pipe");
    wait_for("function", || gateway.log("openfaas-fn", "late", "exec format error\u{1b}[2J"));
    let ran = Ran::from(child.wait_with_output().expect("cannot wait for the process")).exits(5);
    let ran = ran
        .says("ERROR: `late`: deployed, but not ready within 3 s: 0 of 1 replicas available, image `example/late:2`")
        .says("hint: check that the image exists and can be pulled")
        .says("INFO: the end of the log of `late`:\n  exec format error\\u{1b}[2J\n")
        .says("`fine` is ready")
        .does_not_say("assumed");
    assert!(ran.log.ends_with("✖ 1 of 2 functions deployed, but not ready\n"), "{}", ran.log);
    assert!(ran.log.contains("  not ready  "), "{}", ran.log);
}

#[test]
fn unreadable_function_log_is_omitted() {
    let actions = ["Function:Create", "Function:Update", "Function:Get"];
    let gateway = start(permitting(&actions).ready(Ready::Never));
    waiting(&gateway, &["f"], "500ms").run().exits(5).says("not ready within 500 ms").does_not_say("the log of");
}

#[test]
fn functions_are_polled_individually_without_permission_to_list() {
    let actions = ["Function:Create", "Function:Update", "Function:Get"];
    let gateway = start(permitting(&actions).ready(Ready::After(Duration::from_millis(200))));
    waiting(&gateway, &["a", "b"], "1m").run().exits(0);
    let lists =
        gateway.requests().into_iter().filter(|request| request.method == "GET" && request.path == "/system/functions");
    // One list before the deploy and one after it. Then the pipe knows that it has no permission.
    assert_eq!(lists.count(), 2);
}

#[test]
fn list_permission_is_sufficient_for_wait() {
    let actions = ["Function:Create", "Function:Update", "Function:List"];
    let gateway = start(permitting(&actions).ready(Ready::After(Duration::from_millis(200))));
    waiting(&gateway, &["f"], "1m").run().exits(0).says("`f` is ready");
}

#[test]
fn missing_get_permission_is_reported_after_the_deploy() {
    let gateway = start(permitting(&["Function:Create", "Function:Update"]));
    waiting(&gateway, &["f"], "1m")
        .run()
        .exits(3)
        .says("`f`: deployed, readiness unknown: GET /system/function/f: 403 Forbidden")
        .says("readiness unknown  ")
        .says("the Policy lacks `Function:Get` on `openfaas-fn:f`")
        .says("✖ 1 of 1 function deployed, but not known to be ready\n");
    assert!(gateway.function("openfaas-fn", "f").is_some());
}

#[test]
fn function_scaled_to_zero_is_ready() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "f");
    scale_to_zero(&gateway, "f");
    waiting(&gateway, &["f"], "1m").run().exits(0).says("`f` is ready").says("scaled to zero");
}

/// Reports a function that was scaled to zero: zero values are omitted.
fn scale_to_zero(gateway: &Gateway, name: &str) {
    let status = json!({"name": name, "namespace": "openfaas-fn", "image": format!("example/{name}:2"), "labels": {}});
    gateway.fault(Fault::on("GET", "/system/function/").status(200).body(status.to_string()));
}

#[test]
fn old_replicas_count_only_after_half_the_timeout() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    put(&gateway, "openfaas-fn", "f");
    let started = Instant::now();
    let ran = waiting(&gateway, &["f"], "6s").run().exits(0);
    ran.says("assumed to be ready: `f`; ").says("all replicas stayed available for 3 s");
    assert!(started.elapsed() >= Duration::from_secs(3));
}

#[test]
fn old_replicas_that_disappear_do_not_count() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    put(&gateway, "openfaas-fn", "f");
    let gone = json!({"name": "f", "namespace": "openfaas-fn", "image": "example/f:2", "replicas": 1});
    // The first status request is sent before the deploy, the second reports the old replica, the third none.
    gateway.fault(Fault::on("GET", "/system/function/").nth(3).status(200).body(gone.to_string()));
    let (ran, _) = result(waiting(&gateway, &["f"], "10m"));
    ran.exits(0).says("`f` is ready");
    // Some overlap.
    assert!((4..20).contains(&status_requests(&gateway)));
}

#[test]
fn failed_status_requests_are_retried() {
    let gateway = start(permissive().ready(Ready::After(Duration::from_millis(100))));
    gateway.fault(Fault::on("GET", "/system/function/").after(1).times(2).status(500).body("etcd leader changed"));
    waiting(&gateway, &["f"], "1m").run().exits(0).says("`f` is ready");
}

#[test]
fn pending_functions_are_logged_every_ten_seconds() {
    let gateway = start(permissive().ready(Ready::Never));
    let mut running = Running::of(waiting(&gateway, &["f"], "1m"));
    running.read_to("INFO: still waiting for 1 function, 10 s of 1 min: `f` 0/1");
    gateway.set_ready("f", NOW);
    running.end().exits(0);
}

#[test]
fn waiting_for_200_functions_sends_at_most_50_requests_per_second() {
    let actions = ["Function:Create", "Function:Update", "Function:Get"];
    let gateway = start(permitting(&actions).ready(Ready::Never));
    let mut running = Running::of(waiting(&gateway, &names(200), "10m"));
    running.read_to("waiting until 200 functions are ready");
    let before = status_requests(&gateway);
    wait_for("status requests", || status_requests(&gateway) > before + 110);
    running.signal("TERM");
    running.end().exits(143);
    let requests = gateway.requests();
    let deployed = requests.iter().filter(|request| request.method == "POST").map(|request| request.arrived).max();
    let status_requests: Vec<Instant> = requests
        .iter()
        .filter(|request| request.method == "GET" && request.path.starts_with("/system/function"))
        .map(|request| request.arrived)
        .filter(|arrived| Some(*arrived) > deployed)
        .collect();
    // Two seconds, because delayed requests may arrive at once.
    let in_two_seconds = |from: Instant| {
        let within =
            status_requests.iter().filter(|at| **at >= from && at.duration_since(from) < Duration::from_secs(2));
        within.count()
    };
    let most = status_requests.iter().map(|from| in_two_seconds(*from)).max().unwrap_or_default();
    assert!(status_requests.len() > 100, "{} requests", status_requests.len());
    assert!(most <= 100, "{most} requests in two seconds");
}

/// The previous version of a function, with every field set.
fn version_1() -> Value {
    json!({
        "service": "f", "image": "example/f:1", "namespace": "openfaas-fn", "envProcess": "./f", "envVars": {"A": "1"},
        "constraints": ["zone=a"], "secrets": ["s"], "labels": {"tier": "web"}, "annotations": {"topic": "t"},
        "limits": {"memory": "128Mi"}, "requests": {"cpu": "100m"}, "readOnlyRootFilesystem": true,
    })
}

/// A stack file whose function wants two replicas, so that one old replica does not count as ready.
const TWO_REPLICAS: &str = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    \
    labels: {com.openfaas.scale.min: '2'}\n    namespace: openfaas-fn\n";

#[test]
fn rollback_restores_the_previous_version_exactly() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    gateway.put_function(&version_1());
    let pipe = waiting(&gateway, &["f"], "600ms").stack(TWO_REPLICAS).var("ROLLBACK", "true");
    let (ran, result) = result(pipe);
    let ran = ran
        .exits(5)
        .says("WARNING: `f.openfaas-fn` is rolled back: image `example/f:1`, which ran before, is redeployed");
    assert!(ran.log.contains(" rolled back "), "{}", ran.log);
    assert_eq!(gateway.function("openfaas-fn", "f").expect("missing function").deployment, version_1());
    assert_eq!(result["functions"][0]["action"], "rolled back");
    assert_eq!(result["functions"][0]["problem"]["kind"], "not ready");
    assert_eq!(result["exitCode"], 5);
}

#[test]
fn rollback_deletes_new_functions() {
    let gateway = start(permissive().ready_of("new", Ready::Never));
    let ran = waiting(&gateway, &["new", "fine"], "2s").var("ROLLBACK", "true").run().exits(5);
    ran.says("WARNING: `new` is rolled back: it was new, and is deleted").says("`fine` is ready");
    let names: Vec<_> = gateway.functions().into_iter().map(|function| function.name).collect();
    assert_eq!(names, ["fine"]);
}

#[test]
fn rollback_without_permission_to_delete_is_reported() {
    let actions = ["Function:Create", "Function:Update", "Function:Get"];
    let gateway = start(permitting(&actions).ready(Ready::Never));
    let ran = waiting(&gateway, &["f"], "300ms").var("ROLLBACK", "true").run().exits(5);
    ran.says("new, but not deleted").says("the Policy lacks `Function:Delete`");
    assert!(gateway.function("openfaas-fn", "f").is_some());
}

#[test]
fn rollback_restores_a_function_that_replace_failed_to_recreate() {
    let gateway = open();
    gateway.put_function(&version_1());
    gateway.fault(Fault::on("POST", "/system/functions").containing("example/f:2").status(400).body("no such secret"));
    let pipe = waiting(&gateway, &["f"], "1m").var("ROLLBACK", "true").var("STRATEGY", "replace");
    let ran = pipe.var("OPENFAAS_NAMESPACE", "openfaas-fn").run().exits(1);
    ran.says("no such secret").says("`f.openfaas-fn` is rolled back");
    assert_eq!(gateway.function("openfaas-fn", "f").expect("missing function").deployment, version_1());
}

#[test]
fn nothing_is_deployed_if_rollback_cannot_read_the_status() {
    let gateway = start(permitting(&["Function:Create", "Function:Update", "Function:Delete"]));
    let ran = waiting(&gateway, &["f", "g"], "1m").var("ROLLBACK", "true").run().exits(3);
    ran.says("nothing is deployed: `ROLLBACK` needs the previous version, which could not be read: GET ")
        .says("lacks `Function:Get` on 2 functions");
    assert_eq!(changes(&gateway), []);
}

#[test]
fn rollback_requires_wait() {
    let gateway = open();
    Pipe::at(&gateway)
        .stack(&stack(&["f"], "2"))
        .var("ROLLBACK", "true")
        .run()
        .exits(2)
        .says("ROLLBACK:\n- requires `WAIT");
}
