//! `ROLLBACK` gives back what ran, and touches nothing else.

use local_gateway::{Fault, Flavour, Gateway, Latch, Ready};
use serde_json::json;

use super::{against, image, stack, version_1};
use crate::support::{Pipe, Running, changes, permissive, start, until};

fn rolling_back(gateway: &Gateway, names: &[&str], timeout: &str) -> Pipe {
    let pipe = Pipe::at(gateway).stack(&stack(names)).var("WAIT", "true").var("ROLLBACK", "true");
    pipe.var("WAIT_TIMEOUT", timeout)
}

#[test]
fn rollback_leaves_alone_what_another_pipeline_deployed_since() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    gateway.put_function(&version_1("f"));
    gateway.set_ready("f", Ready::Never);
    let mut running = Running::of(rolling_back(&gateway, &["f"], "3s"));
    until("deployment", || image(&gateway, "f") == "example/f:2");
    gateway.put_function(&json!({"service": "f", "image": "example/f:3"}));
    let ran = running.end().exits(5);
    ran.says("`f` is not rolled back: it runs image `example/f:3` by now, which this run did not deploy");
    assert_eq!(image(&gateway, "f"), "example/f:3");
}

#[test]
fn rollback_deletes_only_what_this_run_created() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    let latch = Latch::closed();
    gateway.fault(Fault::on("PUT", "/system/functions").nth(1).held_by(&latch));
    let mut running = Running::of(rolling_back(&gateway, &["f"], "500ms"));
    until("update", || changes(&gateway).len() == 1);
    // Another pipeline creates it after this run has seen that there is none.
    gateway.put_function(&version_1("f"));
    gateway.set_ready("f", Ready::Never);
    latch.open();
    let ran = running.end().exits(5);
    ran.says("`f` is not rolled back: something else created it");
    assert!(changes(&gateway).iter().all(|(method, _)| method != "DELETE"));
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn creation_of_another_pipeline_is_not_taken_for_one_of_this_run() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    let latch = Latch::closed();
    gateway.fault(Fault::on("POST", "/system/functions").nth(1).held_by(&latch).status(502).header("Retry-After", "0"));
    let mut running = Running::of(rolling_back(&gateway, &["f"], "500ms"));
    until("creation", || changes(&gateway).len() == 2);
    gateway.put_function(&version_1("f"));
    gateway.set_ready("f", Ready::Never);
    latch.open();
    running.end().exits(5).says("`f` updated").says("`f` is not rolled back");
    assert!(changes(&gateway).iter().all(|(method, _)| method != "DELETE"));
}

#[test]
fn status_that_cannot_be_read_is_no_reason_to_roll_back() {
    let (gateway, _) = against(Flavour::Enterprise);
    gateway.put_function(&version_1("f"));
    // The look before the deploy is answered.
    gateway.fault(Fault::on("GET", "/system/function").after(1).status(500).body("etcd leader changed"));
    let ran = rolling_back(&gateway, &["f"], "600ms").run().exits(5);
    ran.says("deployed, but not known to be ready within 600 ms").is_silent_about("is rolled back");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn function_is_left_if_what_runs_by_now_cannot_be_read() {
    let gateway = start(permissive().ready(Ready::Never));
    gateway.put_function(&version_1("f"));
    gateway.set_ready("f", Ready::Never);
    let mut running = Running::of(rolling_back(&gateway, &["f"], "1s"));
    running.read_to("not ready within");
    gateway.fault(Fault::on("GET", "/system/function/").status(500).body("etcd leader changed"));
    let ran = running.end().exits(5);
    // The look may have been answered before the fault was set.
    let rolled_back = image(&gateway, "f") == "example/f:1";
    assert!(rolled_back || ran.log.contains("what runs by now is not known"), "{}", ran.log);
}
