//! `OWNER_LABEL` and `PRUNE`.

use local_gateway::{Fault, Gateway};

use crate::support::{Pipe, open, permitting, put, start};

fn stack(names: &[&str]) -> String {
    let functions = names.iter().map(|name| format!("  {name}: {{image: example/{name}:1}}\n"));
    format!("provider: {{name: openfaas}}\nfunctions:\n{}", functions.collect::<String>())
}

fn deploy(gateway: &Gateway, names: &[&str]) -> Pipe {
    Pipe::at(gateway)
        .stack(&stack(names))
        .var("BITBUCKET_REPO_FULL_NAME", "acme/shop")
        .var("OWNER_LABEL", "true")
        .var("PRUNE", "true")
}

fn left(gateway: &Gateway) -> Vec<String> {
    gateway.functions().into_iter().map(|function| function.name).collect()
}

fn label(gateway: &Gateway, name: &str) -> Option<String> {
    let function = gateway.function("openfaas-fn", name).expect("a function");
    function.deployment["labels"]["com.openfaas-pipe.owner"].as_str().map(str::to_owned)
}

#[test]
fn function_that_the_file_no_longer_names_is_removed_and_others_are_not() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "foreign");
    deploy(&gateway, &["a", "b"]).run().exits(0).says("nothing to prune");
    let ran = deploy(&gateway, &["a", "c"]).run().exits(0);
    ran.says("pruning 1 function that `stack.yml` no longer names")
        .says("INFO: `b.openfaas-fn` removed in ")
        .says("✔ deployed 2 functions, 1 removed in ");
    assert_eq!(left(&gateway), ["a", "c", "foreign"]);
}

#[test]
fn function_of_another_repository_or_stack_file_is_never_removed() {
    let gateway = open();
    deploy(&gateway, &["theirs"]).var("BITBUCKET_REPO_FULL_NAME", "acme/other").run().exits(0);
    deploy(&gateway, &["elsewhere"])
        .file("sub/stack.yml", stack(&["elsewhere"]))
        .var("STACK_FILE", "sub/stack.yml")
        .run()
        .exits(0);
    deploy(&gateway, &["mine"]).run().exits(0).says("nothing to prune");
    assert_eq!(left(&gateway), ["elsewhere", "mine", "theirs"]);
    let labels = ["elsewhere", "mine", "theirs"].map(|name| label(&gateway, name));
    assert!(labels[0] != labels[1] && labels[1] != labels[2] && labels[0] != labels[2], "{labels:?}");
}

#[test]
fn function_that_a_filter_leaves_out_is_kept() {
    let gateway = open();
    deploy(&gateway, &["a", "b", "gone"]).run().exits(0);
    deploy(&gateway, &["a", "b"]).var("FILTER", "a").run().exits(0).says("`gone.openfaas-fn` removed");
    assert_eq!(left(&gateway), ["a", "b"]);
}

#[test]
fn nothing_is_pruned_where_a_function_failed() {
    let gateway = open();
    deploy(&gateway, &["a", "gone"]).run().exits(0);
    gateway.fault(Fault::on("PUT", "/system/functions").status(400).body("no"));
    deploy(&gateway, &["a"]).run().exits(1).says("nothing is pruned");
    assert_eq!(left(&gateway), ["a", "gone"]);
}

#[test]
fn function_that_cannot_be_removed_is_none_that_was_not_deployed() {
    let gateway = open();
    deploy(&gateway, &["a", "gone"]).run().exits(0);
    gateway.fault(Fault::on("DELETE", "/system/functions").status(400).body("no"));
    deploy(&gateway, &["a"]).run().exits(1).says("✖ deployed 1 function, 1 not removed\n");
    assert_eq!(left(&gateway), ["a", "gone"]);
}

#[test]
fn missing_permission_to_list_is_told_and_the_functions_are_deployed() {
    let gateway = start(permitting(&["Function:Create", "Function:Update", "Function:Delete"]));
    deploy(&gateway, &["a"]).run().exits(3).says("the Policy lacks `Function:List` on `openfaas-fn:*`");
    assert_eq!(left(&gateway), ["a"]);
}

#[test]
fn label_is_put_on_only_where_it_is_asked_for() {
    let gateway = open();
    Pipe::at(&gateway).stack(&stack(&["a"])).run().exits(0);
    assert_eq!(label(&gateway, "a"), None);
    deploy(&gateway, &["a"])
        .without("PRUNE")
        .without("BITBUCKET_REPO_FULL_NAME")
        .var("BITBUCKET_WORKSPACE", "acme")
        .var("BITBUCKET_REPO_SLUG", "shop")
        .run()
        .exits(0);
    assert_eq!(label(&gateway, "a").as_deref(), Some("shop.63f64cafed7a4a86"));
}

#[test]
fn label_and_prune_say_what_they_need() {
    let gateway = open();
    let ran = deploy(&gateway, &["a"]).without("BITBUCKET_REPO_FULL_NAME").run().exits(2);
    ran.says("OWNER_LABEL:\n- requires the name of the repository");
    let ran = deploy(&gateway, &["a"]).without("OWNER_LABEL").run().exits(2);
    ran.says("PRUNE:\n- requires `OWNER_LABEL: 'true'`");
    assert!(left(&gateway).is_empty());
}
