//! `COMMAND: remove`.

use std::time::Duration;

use local_gateway::{Fault, Flavour, Gateway, Latch};
use serde_json::{Value, json};

use crate::support::{Pipe, Running, changes, edition, function_names, open, permitting, put, stack, start, wait_for};

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

#[test]
fn selection_that_came_to_everything_removes_nothing() {
    let gateway = open();
    let pipe = || remove(&gateway);
    let all = "matches every name: check that the variables in it are defined for this deployment environment, or \
               remove it to remove all functions of the stack file";
    for (name, pattern) in
        [("FILTER", "*"), ("FILTER", "**"), ("REGEX", "^"), ("REGEX", "^.*$"), ("REGEX", "a?"), ("REGEX", "()")]
    {
        pipe().var(name, pattern).run().exits(2).says(&format!("{name}:\n- {all}\n"));
    }
    for pattern in ["a|", "|", "a||b", "(a|)"] {
        let says = "REGEX:\n- has an alternative that matches every name: check that the variables in it are defined";
        pipe().var("REGEX", pattern).run().exits(2).says(says);
        pipe().var("REGEX", pattern).var("COMMAND", "deploy").run().exits(2).says(says);
    }
    let empty = "STACK_FILE:\n- is set but empty: check that the variable it refers to is defined for this deployment \
                 environment, or remove it to use the default stack file\n";
    pipe().var("STACK_FILE", "").run().exits(2).says(empty);
    pipe().var("STACK_FILE", "[]").run().exits(2).says(empty);
    pipe().list("STACK_FILE", &[]).run().exits(2).says(empty);
    assert!(gateway.requests().is_empty());
    // Each of these leaves a name out.
    pipe().var("REGEX", "^([^b]|b[^-])$|^absent").run().exits(0);
    assert_eq!(function_names(&gateway), ["b", "other"]);
}

#[test]
fn variables_of_other_commands_that_would_select_or_stop_it_are_errors() {
    let gateway = open();
    let ran = remove(&gateway).var("FUNCTION", "a").run().exits(2);
    ran.says("FUNCTION:\n- does not select what `COMMAND: remove` deletes, which is all that the stack file names: write `FILTER: a`\n");
    for command in ["remove", "invoke", "login"] {
        let pipe = remove(&gateway).var("COMMAND", command).var("DRY_RUN", "true");
        let pipe = if command == "invoke" { pipe.var("FUNCTION", "a") } else { pipe };
        let ran = pipe.run().exits(2);
        ran.says(&format!(
            "DRY_RUN:\n- is not possible with `COMMAND: {command}`, which would do its work: remove one"
        ));
    }
    assert!(gateway.requests().is_empty());
    remove(&gateway).var("COMMAND", "diff").var("DRY_RUN", "true").run().exits(6);
}

#[test]
fn name_that_lacks_the_value_of_a_variable_is_not_removed() {
    let gateway = open();
    let stack = |name: &str, namespace: &str| {
        format!("provider: {{name: openfaas}}\nfunctions:\n  {name}:\n    image: 'x/a:1'\n    namespace: {namespace}\n")
    };
    for (name, namespace, place) in [
        ("${PREFIX}a", "etl", "stack.yml:3:3"),
        ("a${SUFFIX}", "etl", "stack.yml:3:3"),
        ("a", "${NS}", "stack.yml:5:16"),
        ("a", "etl${NS}", "stack.yml:5:16"),
    ] {
        let ran = remove(&gateway).stack(&stack(name, namespace)).var("NS", "").run().exits(2);
        ran.says(&format!("ERROR: {place}: ")).says("`COMMAND: remove` would remove another function than this one");
    }
    assert!(gateway.requests().is_empty());
    // Selected away, replaced, or with a default.
    let other = stack("a", "etl") + "  ${PREFIX}b: {image: 'x/b:1'}\n";
    remove(&gateway).stack(&other).var("FILTER", "a").run().exits(0);
    remove(&gateway).stack(&stack("a", "${NS}")).var("OPENFAAS_NAMESPACE", "etl").run().exits(0);
    remove(&gateway).stack(&stack("a${SUFFIX:-}", "etl")).run().exits(0);
    remove(&gateway).stack(&stack("a${SUFFIX}", "etl")).var("COMMAND", "deploy").run().exits(0);
}

/// A gateway that accepts a removal and takes an hour for it, and the run that begins it.
fn slow_removal(flavour: Flavour) -> (Gateway, Pipe) {
    let gateway = start(edition(flavour).deletion(Duration::from_secs(3600)));
    put(&gateway, "openfaas-fn", "f");
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "1")).var("COMMAND", "remove").var("RETRIES", "0");
    (gateway, pipe)
}

#[test]
fn function_that_was_not_seen_to_be_gone_is_not_reported_as_removed() {
    let look = || Fault::on("GET", "/system/function/");
    for (fault, code) in
        [(look().status(503), 1), (look().status(401), 3), (look().reset(), 4), (look().web_page(200), 4)]
    {
        let (gateway, pipe) = slow_removal(Flavour::Ce);
        gateway.fault(fault);
        let ran = pipe.run().exits(code).does_not_say("`f` removed").does_not_say("✔");
        ran.says("ERROR: `f`: its deletion was accepted, but it was not seen to be gone: GET /system/function/f")
            .says("✖ 1 of 1 function not known to be removed\n");
    }
    let (gateway, pipe) = slow_removal(Flavour::Ce);
    let mut running = Running::of(pipe);
    wait_for("look", || gateway.requests().iter().any(|request| request.path.starts_with("/system/function/")));
    running.signal("TERM");
    let ran = running.end().exits(143).does_not_say("`f` removed");
    ran.says("it was not seen to be gone").says("✖ stopped by SIGTERM: 0 of 1 function removed\n");
    // A Policy for removals permits no look: what is known is that the gateway accepted it.
    let ran = remove(&start(permitting(&["Function:Delete"]))).run().exits(0).says("`a` removed in ");
    ran.says("INFO: without `Function:Get` a removal counts as done when the gateway has accepted it\n");
}

#[test]
fn function_that_something_else_created_meanwhile_is_removed() {
    let (gateway, pipe) = slow_removal(Flavour::Ce);
    for second in [1, 2] {
        let created = format!("2026-01-01T00:00:0{second}Z");
        let status = json!({"name": "f", "image": "example/f:1", "replicas": 1, "createdAt": created});
        gateway.fault(Fault::on("GET", "/system/function/").times(1).status(200).body(status.to_string()));
    }
    pipe.run().exits(0).says("`f` removed in ");
}

#[test]
fn removal_without_a_response_is_open() {
    let (gateway, pipe) = slow_removal(Flavour::Enterprise);
    gateway.fault(Fault::on("DELETE", "/system/functions").processed().status(504));
    let ran = pipe.run().exits(1).says("504 Gateway Timeout; it may have been carried out all the same\n");
    ran.says("✖ 1 of 1 function not known to be removed\n");
}
