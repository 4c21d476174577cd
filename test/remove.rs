//! `COMMAND: remove`.

use local_gateway::{Fault, Gateway, Latch};
use serde_json::Value;

use crate::support::{Pipe, Running, changes, open, permitting, put, start, until};

const THREE: &str = "provider: {name: openfaas}\nfunctions:\n  a: {image: example/a:1}\n  b: {image: example/b:1, \
    namespace: etl}\n  absent: {image: example/absent:1}\n";

fn remove(gateway: &Gateway) -> Pipe {
    put(gateway, "openfaas-fn", "a");
    put(gateway, "etl", "b");
    put(gateway, "openfaas-fn", "other");
    Pipe::at(gateway).stack(THREE).var("COMMAND", "remove").var("BITBUCKET_PIPE_STORAGE_DIR", "storage")
}

fn left(gateway: &Gateway) -> Vec<String> {
    gateway.functions().into_iter().map(|function| function.name).collect()
}

#[test]
fn functions_of_the_stack_file_are_deleted_and_one_that_is_not_there_is_a_note() {
    let gateway = open();
    let pipe = remove(&gateway);
    let ran = pipe.run().exits(0);
    let ran = ran.says("INFO: removing 3 functions of `stack.yml`").says("INFO: `absent` does not exist\n");
    let ran = ran.says("INFO: `b.etl` removed in ").says("✔ removed 2 functions, 1 not there in ");
    assert!(ran.log.contains("FUNCTION  "), "{}", ran.log);
    assert_eq!(left(&gateway), ["other"]);
    let text = std::fs::read(pipe.dir().join("storage/openfaas-pipe.json")).expect("a result");
    let result: Value = serde_json::from_slice(&text).expect("JSON");
    let actions: Vec<_> =
        result["functions"].as_array().expect("functions").iter().map(|f| f["action"].clone()).collect();
    assert_eq!(actions, ["removed", "removed", "absent"]);
    assert_eq!(result["command"], "remove");
}

#[test]
fn filter_selects_what_is_deleted() {
    let gateway = open();
    remove(&gateway).var("FILTER", "a*").run().exits(0);
    assert_eq!(left(&gateway), ["b", "other"]);
}

#[test]
fn namespace_of_the_variable_is_that_of_all() {
    let gateway = open();
    remove(&gateway).var("OPENFAAS_NAMESPACE", "etl").run().exits(0).says("2 not there");
    assert_eq!(left(&gateway), ["a", "other"]);
}

#[test]
fn missing_permission_is_told_with_the_action() {
    let gateway = start(permitting(&["Function:Create"]));
    let ran = remove(&gateway).run().exits(3).says("the Policy lacks `Function:Delete` on 3 functions");
    ran.says("✖ 3 of 3 functions not removed");
    assert_eq!(left(&gateway).len(), 3);
}

#[test]
fn deletions_are_under_way_side_by_side() {
    let gateway = open();
    let latch = Latch::closed();
    gateway.fault(Fault::on("DELETE", "/system/functions").held_by(&latch));
    let mut running = Running::of(remove(&gateway));
    until("third deletion beside the two before", || changes(&gateway).len() == 3);
    latch.open();
    running.end().exits(0);
}
