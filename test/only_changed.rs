//! `ONLY_CHANGED`: what already runs as the stack file has it is not sent again.

use local_gateway::{Fault, Flavour, Gateway, Ready};

use crate::support::{Pipe, changes, edition, open, permitting, stack, start};

fn deploy(gateway: &Gateway, names: &[&str], tag: &str) -> Pipe {
    Pipe::at(gateway).stack(&stack(names, tag)).var("ONLY_CHANGED", "true")
}

#[test]
fn only_the_function_that_differs_is_sent() {
    let gateway = open();
    deploy(&gateway, &["a", "b"], "1").run().exits(0).says("✔ deployed 2 functions in");
    let before = changes(&gateway).len();
    let ran = deploy(&gateway, &["a", "b"], "1").run().exits(0);
    ran.says("INFO: `a` unchanged").says("✔ deployed 0 functions, 2 unchanged in");
    assert_eq!(changes(&gateway).len(), before);
    let changed = stack(&["a", "b"], "1").replacen(":1", ":2", 1);
    deploy(&gateway, &[], "1").stack(&changed).run().exits(0).says("✔ deployed 1 function, 1 unchanged in");
    assert_eq!(changes(&gateway).len(), before + 1);
}

#[test]
fn each_field_of_a_deployment_counts() {
    let gateway = open();
    deploy(&gateway, &["a"], "1").run().exits(0);
    for (name, value) in [
        ("ENV_VARS", "A=1"),
        ("LABELS", "tier=web"),
        ("ANNOTATIONS", "topic=x"),
        ("CONSTRAINTS", "zone=a"),
        ("READ_ONLY", "true"),
    ] {
        deploy(&gateway, &["a"], "1").var(name, value).run().exits(0).says("✔ deployed 1 function in");
        deploy(&gateway, &["a"], "1").var(name, value).run().exits(0).says("✔ deployed 0 functions, 1 unchanged");
    }
}

#[test]
fn another_commit_alone_is_no_change() {
    let gateway = open();
    let at = |commit: &str, tag: &str| {
        deploy(&gateway, &["a"], tag)
            .var("GIT_LABELS", "true")
            .var("BITBUCKET_COMMIT", commit.repeat(40))
            .var("BITBUCKET_BRANCH", "main")
            .var("BITBUCKET_WORKSPACE", "acme")
            .var("BITBUCKET_REPO_SLUG", "shop")
            .var("BITBUCKET_REPO_FULL_NAME", "acme/shop")
            .var("BITBUCKET_GIT_HTTP_ORIGIN", "https://bitbucket.org/acme/shop")
    };
    at("a", "1").run().exits(0).says("✔ deployed 1 function in");
    at("b", "1").run().exits(0).says("✔ deployed 0 functions, 1 unchanged");
    at("b", "2").run().exits(0).says("✔ deployed 1 function in");
}

#[test]
fn unchanged_functions_count_for_wait_verify_and_prune() {
    let gateway = open();
    let pipe = |names: &[&str]| {
        deploy(&gateway, names, "1")
            .var("BITBUCKET_REPO_FULL_NAME", "acme/shop")
            .var("OWNER_LABEL", "true")
            .var("PRUNE", "true")
            .var("VERIFY", "echo")
    };
    pipe(&["echo", "old"]).run().exits(0);
    let ran = pipe(&["echo"]).run().exits(0);
    ran.says("`echo` unchanged").says("`echo` is ready").says("returned 200").says("`old.openfaas-fn` removed");
    // It runs as it should, but it does not answer: nothing of this run is to be rolled back.
    gateway.fault(Fault::on("GET", "/function/echo").status(500).body("no"));
    let before = changes(&gateway).len();
    pipe(&["echo"]).var("ROLLBACK", "true").run().exits(5);
    assert_eq!(changes(&gateway).len(), before);
}

#[test]
fn unchanged_function_that_is_not_ready_is_not_rolled_back() {
    let gateway = open();
    gateway.set_ready("a", Ready::Never);
    deploy(&gateway, &["a"], "1").run().exits(0);
    let before = changes(&gateway).len();
    let pipe = deploy(&gateway, &["a"], "1").var("WAIT", "true").var("WAIT_TIMEOUT", "1s").var("ROLLBACK", "true");
    pipe.run().exits(5).says("this run did not change it");
    assert_eq!(changes(&gateway).len(), before);
}

#[test]
fn without_permission_to_read_nothing_is_sent() {
    let gateway = start(permitting(&["Function:Create", "Function:Update"]));
    let ran = deploy(&gateway, &["a"], "1").run().exits(3);
    ran.says("nothing is deployed: `ONLY_CHANGED` needs the previous version").says("Function:Get");
    assert!(changes(&gateway).is_empty());
}

#[test]
fn what_a_gateway_does_not_report_counts_as_changed() {
    let gateway = start(edition(Flavour::Ce));
    let pipe = || Pipe::with_password(&gateway).stack(&stack(&["a"], "1")).var("ONLY_CHANGED", "true");
    pipe().run().exits(0);
    let ran = pipe().run().exits(0).says("✔ deployed 1 function in");
    ran.says("`ONLY_CHANGED`: all functions are sent, since the gateway does not report: environment variables");
}
