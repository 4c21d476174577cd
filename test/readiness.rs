//! What `WAIT` sees of an update: the moment of its surplus, a process of faasd that ends, a function that is removed.

use std::time::{Duration, Instant};

use local_gateway::{Builder, Fault, Flavour, Gateway, Ready};
use serde_json::{Value, json};

use crate::support::{Pipe, Running, edition, permissive, put, stack, start, wait_for};

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
            builder.ready(Ready::After(Duration::from_millis(300))).surplus(Duration::from_secs(10))
        });
        let ran = pipe.run().exits(0);
        ran.says("`f` is ready after ").says(": 2/1 available").does_not_say("assumed");
    }
}

#[test]
fn looks_are_dense_at_first_and_overlap_if_the_gateway_is_far() {
    // With growing pauses, 100 looks would take three minutes. One after the other, 60 with this delay would take one.
    for (delay, number) in [(0, 100), (1000, 60)] {
        let (gateway, pipe) = kubernetes(Flavour::Ce, |builder| builder.ready_of("example/f:2", Ready::Never));
        let delay = Duration::from_millis(delay);
        gateway.fault(Fault::on("GET", "/system/function/").after(1).delay_answer(delay));
        let mut running = Running::of(pipe.var("WAIT_TIMEOUT", "10m"));
        wait_for("looks", || looks(&gateway).len() >= number);
        let arrived: Vec<_> = looks(&gateway).iter().map(|look| look.arrived).collect();
        running.signal("TERM");
        running.end().exits(143);
        let in_two_seconds = |from: &Instant| {
            arrived.iter().filter(|at| **at >= *from && at.duration_since(*from) < Duration::from_secs(2)).count()
        };
        // 40 a second, and those that were delayed on their way.
        let most = arrived.iter().map(in_two_seconds).max().unwrap_or_default();
        assert!(most <= 100, "{most} looks in 2 s");
    }
}

#[test]
fn long_list_gives_way_to_single_looks() {
    let (gateway, pipe) = kubernetes(Flavour::Ce, |builder| builder.ready(Ready::Never));
    let old =
        |name: &str| json!({"name": name, "image": format!("example/{name}:2"), "replicas": 1, "availableReplicas": 1});
    let mut list = vec![old("f"), old("g")];
    list.push(json!({"name": "h", "image": "h", "annotations": {"text": "x".repeat(400_000)}}));
    gateway.fault(Fault::on("GET", "/system/functions").status(200).body(Value::from(list).to_string()));
    for name in ["f", "g"] {
        put(&gateway, "openfaas-fn", name);
        gateway.set_ready(name, Ready::Never);
    }
    let mut running = Running::of(pipe.stack(&stack(&["f", "g"], "2")).var("WAIT_TIMEOUT", "10m"));
    let lists = || looks(&gateway).iter().filter(|look| look.path == "/system/functions").count();
    wait_for("single looks", || looks(&gateway).len() > 20 + lists());
    // Lists may overlap until the first of them is received.
    let number = lists();
    assert!(number > 0);
    wait_for("more single looks", || looks(&gateway).len() > 40 + lists());
    assert_eq!(lists(), number);
    running.signal("TERM");
    running.end().exits(143);
}

#[test]
fn update_that_is_not_seen_is_assumed_with_a_warning() {
    let (_gateway, pipe) = kubernetes(Flavour::Ce, |builder| builder.ready_of("example/f:2", Ready::Never));
    let ran = pipe.var("WAIT_TIMEOUT", "2s").run().exits(0);
    ran.says("WARNING: assumed to be ready: `f`; all replicas stayed available for 1 s, but they may be old ones")
        .says("hint: to be certain, add a `VERIFY` call whose response differs between the versions, or use `STRATEGY: replace`");
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
    let (_gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| builder.surplus(Duration::from_secs(10)));
    pipe.var("ROLLBACK", "true").run().exits(0).says("`f` is ready after ");
}

#[test]
fn update_that_changes_nothing_may_be_assumed_also_with_rollback() {
    let (_gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| builder.ready(Ready::Never));
    let pipe = pipe.stack(&stack(&["f"], "1")).var("ROLLBACK", "true").var("WAIT_TIMEOUT", "2s");
    pipe.run().exits(0).says("assumed to be ready: `f`; ");
}

#[test]
fn calls_of_verify_decide_on_an_update_that_is_not_seen() {
    for (status, code) in [(200, 0), (404, 5)] {
        let (gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| builder.ready_of("example/f:2", Ready::Never));
        gateway.fault(Fault::on("GET", "/function/f/version").status(status));
        let pipe = pipe.var("ROLLBACK", "true").var("WAIT_TIMEOUT", "2s").list("VERIFY", &["f/version"]);
        pipe.run().exits(code).says("assumed to be ready: `f`; ");
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
    let gateway = start(edition(Flavour::Ce));
    // Community Edition accepts the update of a function that is being removed, and then removes it.
    gateway.fault(Fault::on("PUT", "/system/functions").times(1).status(202));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("WAIT", "true");
    let ran = pipe.run().exits(0).says("`f` is ready after ");
    ran.says("WARNING: `f` was removed by something else after this run deployed it: it is created again");
    assert_eq!(gateway.function("openfaas-fn", "f").expect("missing function").deployment["image"], "example/f:2");
}

#[test]
fn function_that_cannot_be_created_again_is_reported() {
    let gateway = start(edition(Flavour::Ce));
    gateway.fault(Fault::on("PUT", "/system/functions").times(1).status(202));
    gateway.fault(Fault::on("POST", "/system/functions").status(400).body("no"));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("WAIT", "true");
    pipe.run().exits(1).says("`f`: deployed, but then removed by something else, and not created again: ");
}

/// Community Edition with a deploy of `f` that something else removes, and a failure of its creation.
fn recreated(fault: Fault) -> (Gateway, Pipe) {
    let gateway = start(edition(Flavour::Ce));
    gateway.fault(Fault::on("PUT", "/system/functions").times(1).status(202));
    gateway.fault(fault);
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("WAIT", "true").var("RETRIES", "0");
    (gateway, pipe)
}

fn created_again(gateway: &Gateway) -> bool {
    gateway.requests().iter().any(|request| request.method == "POST")
}

#[test]
fn creation_under_way_when_the_time_is_up_or_the_run_is_stopped_is_not_forgotten() {
    let again = "is created again";
    let slow = || Fault::on("POST", "/system/functions").delay_answer(Duration::from_millis(1500));
    let (gateway, pipe) = recreated(slow());
    let ran = pipe.var("WAIT_TIMEOUT", "1s").run().exits(5).says(again);
    ran.does_not_say("no longer exists");
    assert!(gateway.function("openfaas-fn", "f").is_some());

    let (gateway, pipe) = recreated(slow());
    let mut running = Running::of(pipe);
    wait_for("the creation", || created_again(&gateway));
    running.signal("TERM");
    running.end().exits(143).says(again);

    let (_gateway, pipe) = recreated(Fault::on("POST", "/system/functions").lose());
    pipe.run().exits(4).says("it is not known whether it was created again").does_not_say("not created again");
}

#[test]
fn one_list_that_fails_does_not_end_the_looks_at_lists() {
    for fault in [|fault: Fault| fault.status(502), Fault::reset] {
        let (gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| {
            builder.ready(Ready::After(Duration::from_millis(500))).surplus(Duration::from_secs(10))
        });
        let names = ["f", "g", "h", "i"];
        names.iter().for_each(|name| put(&gateway, "openfaas-fn", name));
        // The first is read before the deploy.
        gateway.fault(fault(Fault::on("GET", "").path("/system/functions").after(1).times(1)));
        pipe.stack(&stack(&names, "2")).run().exits(0).does_not_say("assumed");
        // One function alone is looked at by itself, several by lists.
        let lists = gateway.requests().into_iter();
        let lists = lists.filter(|request| request.method == "GET" && request.path == "/system/functions").count();
        assert!(lists > 2, "{lists} lists");
    }
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
    let gateway = start(edition(Flavour::Ce));
    let missing = "unable update Service: f., error: services \"f\" not found";
    gateway.fault(Fault::on("PUT", "/system/functions").status(404).body(missing));
    let deleted = "unable create Deployment: object is being deleted: deployments.apps \"f\" already exists";
    gateway.fault(Fault::on("POST", "/system/functions").times(3).status(500).body(deleted));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(0);
    ran.says("`f` is being deleted: it is created again when it is gone").says("`f` created in");
    assert_eq!(gateway.function("openfaas-fn", "f").expect("missing function").deployment["image"], "example/f:2");
}

#[test]
fn gateway_without_prometheus_is_asked_for_single_functions() {
    let gateway = start(edition(Flavour::Faasd).without_prometheus());
    for name in ["f", "g"] {
        put(&gateway, "openfaas-fn", name);
    }
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f", "g"], "2"));
    let pipe = pipe.var("WAIT", "true").var("WAIT_TIMEOUT", "10s");
    pipe.run().exits(0).says("`f` is ready");
    // Only faasd's list has the memory limits, which a rollback would lose without a word.
    pipe.run_with("ROLLBACK", "true").exits(2).says("does not report: memory limits");
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f", "g"], "2")).var("RETRIES", "0");
    let pipe = pipe.var("BITBUCKET_REPO_FULL_NAME", "acme/shop").var("OWNER_LABEL", "true").var("PRUNE", "true");
    pipe.run().exits(4).says("check whether Prometheus runs");
}

#[test]
fn image_that_something_else_deployed_is_named() {
    let (gateway, pipe) = kubernetes(Flavour::Ce, |builder| builder.ready(Ready::Never));
    let other = json!({"name": "f", "image": "example/f:3", "replicas": 1, "availableReplicas": 2});
    gateway.fault(Fault::on("GET", "/system/function/f").after(1).status(200).body(other.to_string()));
    let ran = pipe.var("WAIT_TIMEOUT", "1s").run().exits(5).does_not_say("image exists");
    ran.says("not ready within 1 s: the gateway reports image `example/f:3`, which this run did not deploy\n")
        .says("hint: check whether something else deployed the function at the same time, such as another pipeline");
}

#[test]
fn status_that_is_not_of_the_function_is_not_known() {
    let other = json!({"name": "g", "image": "example/f:2", "replicas": 1, "availableReplicas": 2});
    for body in ["{}".to_owned(), json!({"status": "ok"}).to_string(), other.to_string()] {
        let (gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| builder);
        gateway.fault(Fault::on("GET", "/system/function/f").after(1).status(200).body(body));
        let ran = pipe.var("ROLLBACK", "true").var("WAIT_TIMEOUT", "1s").run().exits(5).does_not_say("rolled back");
        ran.says("not known to be ready within 1 s").says("it is not the status of this function\n");
    }
}

#[test]
fn process_that_has_ended_is_not_taken_for_scaled_to_zero_if_the_provider_is_not_known() {
    let gateway = start(edition(Flavour::Faasd).ready(Ready::Never));
    gateway.fault(Fault::on("GET", "/system/info").status(404));
    for name in [&["f"][..], &["f", "g"]] {
        let pipe = Pipe::with_password(&gateway).stack(&stack(name, "2")).var("WAIT", "true");
        pipe.var("WAIT_TIMEOUT", "1s").run().exits(5).does_not_say("scaled to zero").says("0 of 0 replicas available");
    }
}

#[test]
fn moment_of_an_update_is_seen_also_while_other_functions_are_still_deployed() {
    for names in [&["f", "g"][..], &["f", "g", "h"]] {
        let (gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| {
            builder.ready(Ready::After(Duration::from_millis(300))).surplus(Duration::from_secs(2))
        });
        names.iter().for_each(|name| put(&gateway, "openfaas-fn", name));
        // Only after the moment of the others is over, this one is updated.
        let later = Fault::on("PUT", "/system/functions").containing("example/g:2").times(1);
        gateway.fault(later.status(503).header("Retry-After", "3"));
        let ran = pipe.stack(&stack(names, "2")).var("ROLLBACK", "true").var("WAIT_TIMEOUT", "20s").run().exits(0);
        ran.does_not_say("rolled back").says("waiting until 1 function is ready").says("`f` is ready after ");
    }
}

#[test]
fn gateway_that_limits_requests_is_left_alone_until_all_are_deployed() {
    let (gateway, pipe) = kubernetes(Flavour::Enterprise, |builder| builder.ready(Ready::Never));
    put(&gateway, "openfaas-fn", "g");
    gateway.fault(Fault::on("GET", "/system/function/").times(1).status(429));
    let later = Fault::on("PUT", "/system/functions").containing("example/g:2").times(1);
    gateway.fault(later.status(503).header("Retry-After", "3"));
    pipe.stack(&stack(&["f", "g"], "2")).var("WAIT_TIMEOUT", "1s").run();
    let requests = gateway.requests();
    let last = requests.iter().rposition(|request| request.method == "PUT").expect("missing PUT request");
    let early = requests[..last].iter().filter(|request| request.path.starts_with("/system/function/")).count();
    // Some were under way when the first was refused.
    assert!((1..=16).contains(&early), "{early} looks");
}
