//! What `WAIT` sees of an update: the moment of its surplus, a process of faasd that ends, a function that is removed.

use std::time::Duration;

use local_gateway::{Builder, Fault, Flavour, Gateway, Ready};
use serde_json::{Value, json};

use crate::support::{Pipe, Running, changes, edition, permissive, put, stack, start, wait_for};

/// Looks at functions since the first change of one.
fn looks(gateway: &Gateway) -> Vec<local_gateway::Request> {
    let requests = gateway.requests().into_iter();
    let after = requests.skip_while(|request| request.method == "GET" || request.path == "/oauth/token");
    after.filter(|request| request.method == "GET" && request.path.starts_with("/system/function")).collect()
}

/// A gateway on Kubernetes with version 1 of `f`.
fn kubernetes(flavour: Flavour, with: impl Fn(Builder) -> Builder) -> (Gateway, Pipe) {
    let gateway = start(with(if flavour == Flavour::Enterprise { permissive() } else { edition(flavour) }));
    put(&gateway, "openfaas-fn", "f");
    let pipe = if flavour == Flavour::Enterprise { Pipe::at(&gateway) } else { Pipe::with_password(&gateway) };
    let pipe = pipe.stack(&stack(&["f"], "2")).var("WAIT", "true");
    (gateway, pipe)
}

#[test]
fn update_is_ready_when_its_surplus_is_seen() {
    for flavour in [Flavour::Enterprise, Flavour::Ce] {
        let (_gateway, pipe) = kubernetes(flavour, |builder| {
            builder.ready(Ready::After(Duration::from_millis(300))).surplus(Duration::from_millis(500))
        });
        let ran = pipe.run().exits(0);
        ran.says("`f` is ready after ").says(": 2/1 available").does_not_say("assumed");
    }
}

#[test]
fn looks_are_dense_at_first_and_overlap_if_the_gateway_is_far() {
    for delay in [0, 1000] {
        let (gateway, pipe) = kubernetes(Flavour::Ce, |builder| {
            builder.ready_of("example/f:2", Ready::Never).surplus(Duration::from_millis(40))
        });
        let delay = Duration::from_millis(delay);
        gateway.fault(Fault::on("GET", "/system/function/").after(1).delay_answer(delay));
        // Assumed after half of it.
        pipe.var("WAIT_TIMEOUT", "8s").run().exits(0).says("is assumed to be ready");
        let looks = looks(&gateway);
        // One after the other with growing pauses there would be 9, or with the delay 4.
        assert!(looks.len() > 12, "{} looks, {delay:?}", looks.len());
        let first = looks.first().map(|look| look.arrived).expect("no look");
        let early = looks.iter().filter(|look| look.arrived.duration_since(first) < Duration::from_secs(2)).count();
        // 40 a second, and some that were delayed on their way.
        assert!(early <= 90, "{early} looks in 2 s");
    }
}

#[test]
fn long_list_gives_way_to_single_looks() {
    let (gateway, pipe) =
        kubernetes(Flavour::Ce, |builder| builder.ready_of("f", Ready::Never).ready_of("g", Ready::Never));
    let old =
        |name: &str| json!({"name": name, "image": format!("example/{name}:2"), "replicas": 1, "availableReplicas": 1});
    let mut list = vec![old("f"), old("g")];
    list.push(json!({"name": "h", "image": "h", "annotations": {"text": "x".repeat(400_000)}}));
    gateway.fault(Fault::on("GET", "/system/functions").status(200).body(Value::from(list).to_string()));
    put(&gateway, "openfaas-fn", "g");
    gateway.set_ready("g", Ready::Never);
    let pipe = pipe.stack(&stack(&["f", "g"], "2")).var("WAIT_TIMEOUT", "4s");
    pipe.run();
    let looks = looks(&gateway);
    let lists = looks.iter().filter(|look| look.path == "/system/functions").count();
    assert!((1..=2).contains(&lists), "{lists} lists");
    assert!(looks.len() > 8, "{} looks", looks.len());
}

#[test]
fn update_that_is_not_seen_is_assumed_with_a_warning() {
    let (_gateway, pipe) = kubernetes(Flavour::Ce, |builder| builder.ready_of("example/f:2", Ready::Never));
    let ran = pipe.var("WAIT_TIMEOUT", "2s").run().exits(0);
    ran.says("`f` is assumed to be ready after ")
        .says("WARNING: `f`: all replicas stayed available for 1 s, but they may be old ones")
        .says("hint: to be certain, add a `VERIFY` call whose response tells the versions apart, or use `STRATEGY: replace`");
}

#[test]
fn update_that_is_not_seen_is_rolled_back() {
    let (gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| {
        builder.ready_of("example/f:2", Ready::Never).surplus(Duration::from_millis(40))
    });
    let ran = pipe.var("ROLLBACK", "true").var("WAIT_TIMEOUT", "2s").run().exits(5);
    ran.says("deployed, but not seen to be ready within 2 s: 1 of 1 replicas available, image `example/f:2`")
        .says("`f` is rolled back: image `example/f:1`, which ran before, is redeployed")
        .does_not_say("assumed");
    assert_eq!(gateway.function("openfaas-fn", "f").expect("missing function").deployment["image"], "example/f:1");
}

#[test]
fn good_update_is_not_rolled_back() {
    let (_gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| builder.surplus(Duration::from_millis(500)));
    pipe.var("ROLLBACK", "true").run().exits(0).says("`f` is ready after ");
}

#[test]
fn update_that_changes_nothing_may_be_assumed_also_with_rollback() {
    let (_gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| builder.ready(Ready::Never));
    let pipe = pipe.stack(&stack(&["f"], "1")).var("ROLLBACK", "true").var("WAIT_TIMEOUT", "2s");
    pipe.run().exits(0).says("`f` is assumed to be ready");
}

#[test]
fn calls_of_verify_decide_on_an_update_that_is_not_seen() {
    for (status, code) in [(200, 0), (404, 5)] {
        let (gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| builder.ready_of("example/f:2", Ready::Never));
        gateway.fault(Fault::on("GET", "/function/f/version").status(status));
        let pipe = pipe.var("ROLLBACK", "true").var("WAIT_TIMEOUT", "2s").list("VERIFY", &["f/version"]);
        pipe.run().exits(code).says("`f` is assumed to be ready");
    }
}

#[test]
fn process_of_faasd_that_ends_is_not_ready() {
    for lives in [0, 300] {
        for names in [&["f"][..], &["f", "new"]] {
            let ends = Ready::Until(Duration::from_millis(lives));
            let gateway = start(edition(Flavour::Faasd).ready_of("example/f:2", ends));
            put(&gateway, "openfaas-fn", "f");
            let pipe = Pipe::with_password(&gateway).stack(&stack(names, "2")).var("WAIT", "true");
            let ran = pipe.var("ROLLBACK", "true").var("WAIT_TIMEOUT", "10m").run().exits(5);
            ran.says("`f`: deployed, but not ready: its process has ended, image `docker.io/example/f:2`")
                .says("`f` is rolled back: image `docker.io/example/f:1`")
                .does_not_say("scaled to zero");
            let after = gateway.function("openfaas-fn", "f").expect("missing function");
            assert_eq!(
                (after.deployment["image"].as_str(), after.available_replicas),
                (Some("docker.io/example/f:1"), 1)
            );
        }
    }
}

#[test]
fn new_function_of_faasd_whose_process_ends_is_deleted_again() {
    let gateway = start(edition(Flavour::Faasd).ready(Ready::Until(Duration::from_millis(200))));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("WAIT", "true").var("ROLLBACK", "true");
    pipe.run().exits(5).says("its process has ended").says("it was new, and is deleted");
    assert!(gateway.functions().is_empty());
}

#[test]
fn function_removed_by_something_else_after_its_deploy_is_created_again() {
    let (gateway, pipe) = kubernetes(Flavour::Ce, |builder| {
        builder.deletion(Duration::from_millis(1500)).surplus(Duration::from_secs(9))
    });
    // Community Edition accepts the update of a function that is being removed, and then removes it.
    let remove = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("COMMAND", "remove");
    let mut removing = Running::of(remove);
    wait_for("removal", || changes(&gateway).iter().any(|(method, _)| method == "DELETE"));
    // So that it is not taken for a rolling update.
    gateway.set_ready("example/f:2", Ready::Never);
    let mut deploying = Running::of(pipe);
    deploying.read_to("removed by something else after this run deployed it: it is created again");
    gateway.set_ready("f", Ready::After(Duration::ZERO));
    gateway.set_ready("example/f:2", Ready::After(Duration::ZERO));
    deploying.end().exits(0).says("`f` is ready after ");
    removing.end().exits(0);
    assert_eq!(gateway.function("openfaas-fn", "f").expect("missing function").deployment["image"], "example/f:2");
}

#[test]
fn remove_is_done_when_the_function_is_gone() {
    let (gateway, _) = kubernetes(Flavour::Ce, |builder| builder.deletion(Duration::from_millis(700)));
    let remove = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("COMMAND", "remove");
    remove.run().exits(0).says("`f` removed in ");
    assert!(gateway.functions().is_empty());
}

#[test]
fn deploy_that_meets_a_removal_is_created_when_it_is_complete() {
    let (gateway, pipe) = kubernetes(Flavour::Ce, |builder| {
        builder.deletion(Duration::from_millis(1500)).service_deletion(Duration::ZERO)
    });
    let remove = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("COMMAND", "remove");
    let mut removing = Running::of(remove);
    wait_for("removal", || changes(&gateway).iter().any(|(method, _)| method == "DELETE"));
    pipe.without("WAIT")
        .run()
        .exits(0)
        .says("`f` is being deleted: it is created again when it is gone")
        .says("`f` created in");
    removing.end().exits(0);
    assert_eq!(gateway.function("openfaas-fn", "f").expect("missing function").deployment["image"], "example/f:2");
}

#[test]
fn gateway_without_prometheus_is_asked_for_single_functions() {
    let gateway = start(edition(Flavour::Faasd).without_prometheus());
    for name in ["f", "g"] {
        put(&gateway, "openfaas-fn", name);
    }
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f", "g"], "2"));
    let ran = pipe.var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "10s").run().exits(0);
    ran.says("`f` is ready").does_not_say("WARNING");
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f", "g"], "2")).var("RETRIES", "0");
    let pipe = pipe.var("BITBUCKET_REPO_FULL_NAME", "acme/shop").var("OWNER_LABEL", "true").var("PRUNE", "true");
    pipe.run().exits(4).says("check whether Prometheus runs");
}
