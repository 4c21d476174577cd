//! `WAIT` and `ROLLBACK`.

use std::time::{Duration, Instant};

use local_gateway::{Fault, Gateway, Ready};
use serde_json::{Value, json};

use crate::support::{Pipe, Ran, Running, changes, open, permissive, permitting, put, stack, start, until};

/// A deploy of these functions that waits so long.
fn waiting(gateway: &Gateway, names: &[&str], timeout: &str) -> Pipe {
    Pipe::at(gateway).stack(&stack(names)).var("WAIT", "true").var("WAIT_TIMEOUT", timeout)
}

/// How often the gateway was asked for the status of functions.
fn looks(gateway: &Gateway) -> usize {
    gateway.requests().iter().filter(|request| request.method == "GET").count()
}

fn result(pipe: Pipe) -> (Ran, Value) {
    let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", "storage");
    (pipe.run(), stored(&pipe))
}

/// The result that a run left.
fn stored(pipe: &Pipe) -> Value {
    let text = std::fs::read(pipe.dir().join("storage/openfaas-pipe.json")).expect("a result");
    serde_json::from_slice(&text).expect("JSON")
}

/// Ready from now on.
const NOW: Ready = Ready::After(Duration::ZERO);

#[test]
fn new_function_is_waited_for_until_it_is_available() {
    let gateway = start(permissive().ready(Ready::Never));
    let pipe = waiting(&gateway, &["f"], "1m").var("BITBUCKET_PIPE_STORAGE_DIR", "storage");
    let mut running = Running::of(pipe);
    until("third look", || looks(&gateway) >= 3);
    gateway.set_ready("f", NOW);
    let ran = running.end().exits(0);
    ran.says("INFO: waiting until 1 function is ready, at most 1 min").says("`f` is ready after ").says("1/1");
    let result = stored(&running.pipe);
    assert_eq!(result["functions"][0]["ready"], true);
    assert_eq!(result["functions"][0]["replicas"], json!({"desired": 1, "available": 1}));
}

#[test]
fn functions_are_watched_side_by_side_by_one_listing_a_round() {
    let gateway = start(permissive().ready(Ready::After(Duration::from_millis(300))));
    // Without it the list could be one of faasd, which never has available replicas.
    put(&gateway, "openfaas-fn", "available");
    waiting(&gateway, &["a", "b", "c"], "1m").run().exits(0).says("waiting until 3 functions are ready");
    let gets: Vec<_> = gateway.requests().into_iter().filter(|request| request.method == "GET").collect();
    assert!(gets.iter().all(|request| request.path == "/system/functions"), "{gets:?}");
    assert!(gets.len() < 10);
}

#[test]
fn function_that_never_starts_is_told_with_what_the_gateway_knows_and_its_log() {
    let gateway = start(permissive().ready_of("late", Ready::Never));
    put(&gateway, "openfaas-fn", "other");
    let pipe = waiting(&gateway, &["late", "fine"], "3s");
    let child = pipe.command().spawn().expect("the pipe");
    until("function", || gateway.log("openfaas-fn", "late", "exec format error\u{1b}[2J"));
    let ran = Ran::from(child.wait_with_output().expect("its end")).exits(5);
    let ran = ran
        .says("ERROR: `late`: deployed, but not ready within 3 s: 0 of 1 replicas available, image `example/late:2`")
        .says("hint: check that the image exists and can be pulled")
        .says("INFO: the end of the log of `late`:\n  exec format error\\u{1b}[2J\n")
        .says("`fine` is ready")
        .is_silent_about("assuming");
    assert!(ran.log.ends_with("✖ 1 of 2 functions deployed, but not ready\n"), "{}", ran.log);
    assert!(ran.log.contains("created, not ready"), "{}", ran.log);
}

#[test]
fn log_that_may_not_be_read_is_left_out() {
    let actions = ["Function:Create", "Function:Update", "Function:Get"];
    let gateway = start(permitting(&actions).ready(Ready::Never));
    waiting(&gateway, &["f"], "500ms").run().exits(5).says("not ready within 500 ms").is_silent_about("the log of");
}

#[test]
fn one_function_is_asked_for_each_where_listing_is_not_permitted() {
    let actions = ["Function:Create", "Function:Update", "Function:Get"];
    let gateway = start(permitting(&actions).ready(Ready::After(Duration::from_millis(200))));
    waiting(&gateway, &["a", "b"], "1m").run().exits(0);
    let lists =
        gateway.requests().into_iter().filter(|request| request.method == "GET" && request.path == "/system/functions");
    // Once before the deploy, once after it: then it is known.
    assert_eq!(lists.count(), 2);
}

#[test]
fn listing_serves_where_only_that_is_permitted() {
    let actions = ["Function:Create", "Function:Update", "Function:List"];
    let gateway = start(permitting(&actions).ready(Ready::After(Duration::from_millis(200))));
    waiting(&gateway, &["f"], "1m").run().exits(0).says("`f` is ready");
}

#[test]
fn missing_permission_is_told_with_the_action_and_what_was_deployed_stays() {
    let gateway = start(permitting(&["Function:Create", "Function:Update"]));
    waiting(&gateway, &["f"], "1m")
        .run()
        .exits(3)
        .says("`f`: deployed, but whether it is ready is not known: GET /system/function/f: 403 Forbidden")
        .says("the Policy lacks `Function:Get` on `openfaas-fn:f`")
        .says("✖ 1 of 1 function deployed, but not known to be ready\n");
    assert!(gateway.function("openfaas-fn", "f").is_some());
}

#[test]
fn function_scaled_to_zero_on_purpose_is_ready() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "f");
    scale_to_zero(&gateway, "f");
    waiting(&gateway, &["f"], "1m").run().exits(0).says("`f` is ready").says("scaled to zero");
}

/// Answers as for a function that was scaled to zero: what is 0 is left out.
fn scale_to_zero(gateway: &Gateway, name: &str) {
    let status = json!({"name": name, "namespace": "openfaas-fn", "image": format!("example/{name}:2"), "labels": {}});
    gateway.fault(Fault::on("GET", "/system/function/").status(200).body(status.to_string()));
}

#[test]
fn old_replicas_do_not_count_until_they_have_stayed_for_half_the_time() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    put(&gateway, "openfaas-fn", "f");
    let started = Instant::now();
    let ran = waiting(&gateway, &["f"], "6s").run().exits(0).says("`f` is ready");
    ran.says("assuming 1 function is ready: all replicas stayed available for 3 s");
    assert!(started.elapsed() >= Duration::from_secs(3));
}

#[test]
fn old_replicas_that_go_before_new_ones_come_do_not_count() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "f");
    let gone = json!({"name": "f", "namespace": "openfaas-fn", "image": "example/f:2", "replicas": 1});
    // The first look is before the deploy, the second sees the old replica, and the third none.
    gateway.fault(Fault::on("GET", "/system/function/").nth(3).status(200).body(gone.to_string()));
    let (ran, _) = result(waiting(&gateway, &["f"], "10m"));
    ran.exits(0).says("`f` is ready");
    assert_eq!(looks(&gateway), 4);
}

#[test]
fn gateway_that_fails_meanwhile_is_asked_again() {
    let gateway = start(permissive().ready(Ready::After(Duration::from_millis(100))));
    gateway.fault(Fault::on("GET", "/system/function/").after(1).times(2).status(500).body("etcd leader changed"));
    waiting(&gateway, &["f"], "1m").run().exits(0).says("`f` is ready");
}

#[test]
fn signal_ends_the_wait() {
    let gateway = start(permissive().ready(Ready::Never));
    let mut running = Running::of(waiting(&gateway, &["f"], "10m").var("ROLLBACK", "true"));
    until("third look", || looks(&gateway) >= 3);
    running.signal("TERM");
    running.end().exits(143).says("✖ stopped by SIGTERM");
    assert!(gateway.function("openfaas-fn", "f").is_some(), "nothing new is begun");
}

#[test]
fn log_says_every_ten_seconds_what_is_waited_for() {
    let gateway = start(permissive().ready(Ready::Never));
    let mut running = Running::of(waiting(&gateway, &["f"], "1m"));
    running.read_to("INFO: still waiting for 1 function, 10 s of 1 min: `f` 0/1");
    gateway.set_ready("f", NOW);
    running.end().exits(0);
}

#[test]
fn two_hundred_waiting_functions_cost_the_gateway_at_most_fifty_requests_a_second() {
    let actions = ["Function:Create", "Function:Update", "Function:Get"];
    let gateway = start(permitting(&actions).ready(Ready::Never));
    let names: Vec<_> = (0..200).map(|number| format!("f{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    waiting(&gateway, &names, "8s").run().exits(5).says("✖ 200 of 200 functions deployed, but not ready");
    let requests = gateway.requests();
    let deployed = requests.iter().filter(|request| request.method == "POST").map(|request| request.arrived).max();
    let looks: Vec<Instant> = requests
        .iter()
        .filter(|request| request.method == "GET" && request.path.starts_with("/system/function"))
        .map(|request| request.arrived)
        .filter(|arrived| Some(*arrived) > deployed)
        .collect();
    // Two seconds, since those that are under way may arrive late, and then all at once.
    let in_two_seconds = |from: Instant| {
        let within = looks.iter().filter(|at| **at >= from && at.duration_since(from) < Duration::from_secs(2));
        within.count()
    };
    let most = looks.iter().map(|from| in_two_seconds(*from)).max().unwrap_or_default();
    assert!(looks.len() > 100, "{} requests", looks.len());
    assert!(most <= 100, "{most} requests in two seconds");
}

/// A function as it was deployed before, with every field set.
fn version_1() -> Value {
    json!({
        "service": "f", "image": "example/f:1", "namespace": "openfaas-fn", "envProcess": "./f", "envVars": {"A": "1"},
        "constraints": ["zone=a"], "secrets": ["s"], "labels": {"tier": "web"}, "annotations": {"topic": "t"},
        "limits": {"memory": "128Mi"}, "requests": {"cpu": "100m"}, "readOnlyRootFilesystem": true,
    })
}

/// A stack file whose one function wants two replicas, of which an old one is no proof.
const TWO_REPLICAS: &str = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    \
    labels: {com.openfaas.scale.min: '2'}\n    namespace: openfaas-fn\n";

#[test]
fn rollback_deploys_exactly_what_ran_before() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    gateway.put_function(&version_1());
    let pipe = waiting(&gateway, &[], "600ms").stack(TWO_REPLICAS).var("ROLLBACK", "true");
    let (ran, result) = result(pipe);
    let ran = ran
        .exits(5)
        .says("WARNING: `f.openfaas-fn` is rolled back: image `example/f:1`, which ran before, is redeployed");
    assert!(ran.log.contains(" rolled back "), "{}", ran.log);
    assert_eq!(gateway.function("openfaas-fn", "f").expect("it").deployment, version_1());
    assert_eq!(result["functions"][0]["action"], "rolled back");
    assert_eq!(result["functions"][0]["problem"]["kind"], "not ready");
    assert_eq!(result["exitCode"], 5);
}

#[test]
fn rollback_deletes_what_was_new() {
    let gateway = start(permissive().ready_of("new", Ready::Never));
    let ran = waiting(&gateway, &["new", "fine"], "2s").var("ROLLBACK", "true").run().exits(5);
    ran.says("WARNING: `new` is rolled back: it was new, and is deleted").says("`fine` is ready");
    let names: Vec<_> = gateway.functions().into_iter().map(|function| function.name).collect();
    assert_eq!(names, ["fine"]);
}

#[test]
fn new_function_that_may_not_be_deleted_is_left_and_the_action_told() {
    let actions = ["Function:Create", "Function:Update", "Function:Get"];
    let gateway = start(permitting(&actions).ready(Ready::Never));
    let ran = waiting(&gateway, &["f"], "300ms").var("ROLLBACK", "true").run().exits(5);
    ran.says("new, and left as it is, since it may not be deleted").says("the Policy lacks `Function:Delete`");
    assert!(gateway.function("openfaas-fn", "f").is_some());
}

#[test]
fn rollback_brings_back_what_a_replacement_deleted_and_could_not_create() {
    let gateway = open();
    gateway.put_function(&version_1());
    gateway.fault(Fault::on("POST", "/system/functions").containing("example/f:2").status(400).body("no such secret"));
    let pipe = waiting(&gateway, &["f"], "1m").var("ROLLBACK", "true").var("STRATEGY", "replace");
    let ran = pipe.var("OPENFAAS_NAMESPACE", "openfaas-fn").run().exits(1);
    ran.says("no such secret").says("`f.openfaas-fn` is rolled back");
    assert_eq!(gateway.function("openfaas-fn", "f").expect("it").deployment, version_1());
}

#[test]
fn rollback_deploys_nothing_where_it_cannot_know_what_runs() {
    let gateway = start(permitting(&["Function:Create", "Function:Update", "Function:Delete"]));
    let ran = waiting(&gateway, &["f", "g"], "1m").var("ROLLBACK", "true").run().exits(3);
    ran.says("nothing is deployed: `ROLLBACK` has to know what runs before")
        .says("lacks `Function:Get` on 2 functions");
    assert_eq!(changes(&gateway), []);
}

#[test]
fn rollback_needs_wait() {
    let gateway = open();
    Pipe::at(&gateway).stack(&stack(&["f"])).var("ROLLBACK", "true").run().exits(2).says("ROLLBACK:\n- requires `WAIT");
}
