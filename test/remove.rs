//! `COMMAND: remove`.

use local_gateway::{Fault, Gateway, Latch};
use serde_json::Value;

use crate::support::{Pipe, Running, changes, function_names, open, permitting, put, start, wait_for};

const THREE: &str = "provider: {name: openfaas}\nfunctions:\n  a: {image: example/a:1}\n  b: {image: example/b:1, \
    namespace: etl}\n  absent: {image: example/absent:1}\n";

fn remove(gateway: &Gateway) -> Pipe {
    put(gateway, "openfaas-fn", "a");
    put(gateway, "etl", "b");
    put(gateway, "openfaas-fn", "other");
    Pipe::at(gateway).stack(THREE).var("COMMAND", "remove").var("BITBUCKET_PIPE_STORAGE_DIR", "storage")
}

#[test]
fn functions_are_deleted_and_missing_ones_reported() {
    let gateway = open();
    let pipe = remove(&gateway);
    let ran = pipe.run().exits(0);
    let ran = ran.says("INFO: removing 3 functions of `stack.yml`").says("INFO: `absent` does not exist\n");
    let ran = ran.says("INFO: `b.etl` removed in ").says("✔ removed 2 functions, 1 not found in ");
    assert!(ran.log.contains("FUNCTION  "), "{}", ran.log);
    assert_eq!(function_names(&gateway), ["other"]);
    let text = std::fs::read(pipe.dir().join("storage/openfaas-pipe.json")).expect("cannot read file");
    let result: Value = serde_json::from_slice(&text).expect("invalid JSON");
    let actions: Vec<_> =
        result["functions"].as_array().expect("missing functions").iter().map(|f| f["action"].clone()).collect();
    assert_eq!(actions, ["removed", "removed", "absent"]);
    assert_eq!(result["command"], "remove");
}

#[test]
fn filter_selects_the_functions_to_delete() {
    let gateway = open();
    remove(&gateway).var("FILTER", "a*").run().exits(0);
    assert_eq!(function_names(&gateway), ["b", "other"]);
}

#[test]
fn openfaas_namespace_applies_to_all_functions() {
    let gateway = open();
    remove(&gateway).var("OPENFAAS_NAMESPACE", "etl").run().exits(0).says("2 not found");
    assert_eq!(function_names(&gateway), ["a", "other"]);
}

#[test]
fn missing_delete_permission_is_reported() {
    let gateway = start(permitting(&["Function:Create"]));
    let ran = remove(&gateway).run().exits(3).says("the Policy lacks `Function:Delete` on 3 functions");
    ran.says("✖ 3 of 3 functions not removed");
    assert_eq!(function_names(&gateway).len(), 3);
}

#[test]
fn functions_are_deleted_in_parallel() {
    let gateway = open();
    let latch = Latch::closed();
    gateway.fault(Fault::on("DELETE", "/system/functions").held_by(&latch));
    let mut running = Running::of(remove(&gateway));
    wait_for("three DELETE requests", || changes(&gateway).len() == 3);
    latch.open();
    running.end().exits(0);
}
