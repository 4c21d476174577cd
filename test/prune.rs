//! `OWNER_LABEL` and `PRUNE`.

use local_gateway::{Fault, Gateway, Ready};

use crate::support::{Pipe, function_names, open, permissive, permitting, put, stack, start};

fn deploy(gateway: &Gateway, names: &[&str]) -> Pipe {
    Pipe::at(gateway)
        .stack(&stack(names, "1"))
        .var("BITBUCKET_REPO_FULL_NAME", "acme/shop")
        .var("OWNER_LABEL", "true")
        .var("PRUNE", "true")
}

fn label(gateway: &Gateway, name: &str) -> Option<String> {
    let function = gateway.function("openfaas-fn", name).expect("missing function");
    function.deployment["labels"]["com.openfaas-pipe.owner"].as_str().map(str::to_owned)
}

#[test]
fn function_missing_from_the_stack_file_is_pruned() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "foreign");
    deploy(&gateway, &["a", "b"]).run().exits(0).says("nothing to prune in the gateway's own namespace\n");
    let ran = deploy(&gateway, &["a", "c"]).run().exits(0);
    ran.says("pruning 1 function that `stack.yml` no longer names")
        .says("INFO: `b.openfaas-fn` removed in ")
        .says("✔ deployed 2 functions, 1 removed in ");
    assert_eq!(function_names(&gateway), ["a", "c", "foreign"]);
}

#[test]
fn function_of_another_repository_or_stack_file_is_not_pruned() {
    let gateway = open();
    deploy(&gateway, &["theirs"]).var("BITBUCKET_REPO_FULL_NAME", "acme/other").run().exits(0);
    deploy(&gateway, &["elsewhere"])
        .file("sub/stack.yml", stack(&["elsewhere"], "1"))
        .var("STACK_FILE", "sub/stack.yml")
        .run()
        .exits(0);
    deploy(&gateway, &["mine"]).run().exits(0).says("nothing to prune");
    assert_eq!(function_names(&gateway), ["elsewhere", "mine", "theirs"]);
    let labels = ["elsewhere", "mine", "theirs"].map(|name| label(&gateway, name));
    assert!(labels[0] != labels[1] && labels[1] != labels[2] && labels[0] != labels[2], "{labels:?}");
}

#[test]
fn only_what_the_selection_matches_is_pruned() {
    for (variable, value) in [("FILTER", "a*"), ("REGEX", "^a")] {
        let gateway = open();
        deploy(&gateway, &["a", "a-old", "b", "b-old"]).run().exits(0);
        let pipe = deploy(&gateway, &["a", "b"]).var(variable, value);
        let diff = pipe.run_with("COMMAND", "diff").exits(6);
        diff.says("- a-old.openfaas-fn").does_not_say("b-old");
        let ran = pipe.run().exits(0).says("`a-old.openfaas-fn` removed");
        ran.says(&format!("only functions that match `{variable}` are pruned"));
        assert_eq!(function_names(&gateway), ["a", "b", "b-old"]);
    }
}

#[test]
fn nothing_is_pruned_if_a_function_failed() {
    let gateway = open();
    deploy(&gateway, &["a", "gone"]).run().exits(0);
    gateway.fault(Fault::on("PUT", "/system/functions").status(400).body("no"));
    deploy(&gateway, &["a"]).run().exits(1).says("nothing is pruned because this deploy has errors");
    gateway.clear_faults();
    gateway.set_ready("example/a:1", Ready::Never);
    let late = deploy(&gateway, &["a"]).var("WAIT", "true").var("WAIT_TIMEOUT", "500ms").run().exits(5);
    late.says("nothing is pruned because this deploy has errors");
    assert_eq!(function_names(&gateway), ["a", "gone"]);
}

#[test]
fn namespace_that_the_stack_file_no_longer_uses_is_not_looked_in() {
    let gateway = open();
    let stack = |namespace: &str| {
        format!("provider: {{name: openfaas}}\nfunctions: {{a: {{image: 'example/a:1', namespace: {namespace}}}}}\n")
    };
    deploy(&gateway, &[]).stack(&stack("etl")).run().exits(0);
    deploy(&gateway, &[]).stack(&stack("etl2")).run().exits(0).says("nothing to prune in `etl2`\n");
    assert!(gateway.function("etl", "a").is_some());
}

#[test]
fn failed_prune_is_reported_separately_from_deploys() {
    let gateway = open();
    deploy(&gateway, &["a", "gone"]).run().exits(0);
    gateway.fault(Fault::on("DELETE", "/system/functions").status(400).body("no"));
    deploy(&gateway, &["a"]).run().exits(1).says("✖ deployed 1 function, 1 not removed\n");
    assert_eq!(function_names(&gateway), ["a", "gone"]);
}

#[test]
fn missing_permission_to_list_is_reported_after_the_deploy() {
    let gateway = start(permitting(&["Function:Create", "Function:Update", "Function:Delete"]));
    deploy(&gateway, &["a"]).run().exits(3).says("the Policy lacks `Function:List` on `openfaas-fn:*`");
    assert_eq!(function_names(&gateway), ["a"]);
}

#[test]
fn owner_label_is_set_only_on_request() {
    let gateway = open();
    Pipe::at(&gateway).stack(&stack(&["a"], "1")).run().exits(0);
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
fn prune_is_rejected_if_a_function_name_is_substituted() {
    for (name, text) in [
        ("STAGE", "functions:\n  shop-${STAGE}: {image: example/shop:1}\n"),
        ("STAGE", "functions:\n  '${STAGE}': {image: example/shop:1}\n"),
        ("SUFFIX", "functions:\n  shop${SUFFIX}: {image: example/shop:1}\n"),
        ("FUNCTIONS", "${FUNCTIONS}"),
        ("ENTRY", "functions:\n  shop: {image: example/shop:1}\n  ${ENTRY}\n"),
        (
            "BASE",
            "x: &dev {more: {image: example/more:1}}\nfunctions:\n  shop: {image: example/shop:1}\n  <<: *${BASE}\n",
        ),
    ] {
        let gateway = open();
        put(&gateway, "openfaas-fn", "shop-prod");
        let value = match name {
            "FUNCTIONS" => "functions: {shop: {image: example/shop:1}}",
            "SUFFIX" | "ENTRY" => "",
            _ => "dev",
        };
        let pipe = deploy(&gateway, &[]).stack(&format!("provider: {{name: openfaas}}\n{text}")).var(name, value);
        pipe.run().exits(2).says("the names of functions depend on variables: ").says("or remove `PRUNE`");
        assert_eq!(function_names(&gateway), ["shop-prod"], "{text}");
    }
    let gateway = open();
    let text = "provider: {name: openfaas}\nfunctions:\n  shop: {image: '${IMAGE}'}\n  more:\n    image: ${IMAGE}\n";
    deploy(&gateway, &[]).stack(text).var("IMAGE", "example/shop:1").run().exits(0);
}

#[test]
fn stack_files_linked_to_one_file_have_different_owners() {
    let gateway = open();
    let pipe = |file: &str, names: &[&str]| {
        let pipe = deploy(&gateway, names).file("common.yml", stack(names, "1"));
        for link in ["dev.yml", "prod.yml"] {
            std::os::unix::fs::symlink("common.yml", pipe.dir().join(link)).expect("cannot create link");
        }
        pipe.var("STACK_FILE", file)
    };
    pipe("prod.yml", &["shop", "extra"]).run().exits(0);
    pipe("dev.yml", &["shop"]).run().exits(0).says("nothing to prune");
    assert_eq!(function_names(&gateway), ["extra", "shop"]);
    // Different spellings of a path mean the same owner.
    pipe("./prod.yml", &["shop"]).run().exits(0);
    pipe("sub/../prod.yml", &["more"]).file("sub/x", "").run().exits(0).says("pruning 1 function");
}

#[test]
fn signature_in_the_stack_file_url_is_not_part_of_the_owner_and_the_rest_of_the_query_is() {
    let gateway = start(permissive().tls());
    for (query, names) in [
        ("signature=1", &["a", "b"][..]),
        ("signature=2", &["a"]),
        ("path=x.yml", &["x", "old"]),
        ("path=y.yml", &["y"]),
        ("path=x.yml&token=1", &["x"]),
    ] {
        gateway.clear_faults();
        gateway.fault(Fault::on("GET", "/stack.yml").status(200).body(stack(names, "1")));
        let url = format!("{}/stack.yml?{query}", gateway.url());
        deploy(&gateway, &[]).var("CA_CERT", gateway.ca_pem()).var("STACK_FILE", url).run().exits(0);
    }
    assert_eq!(function_names(&gateway), ["a", "x", "y"]);
}

#[test]
fn owner_label_and_prune_report_missing_requirements() {
    let gateway = open();
    let ran = deploy(&gateway, &["a"]).without("BITBUCKET_REPO_FULL_NAME").run().exits(2);
    ran.says("OWNER_LABEL:\n- requires the name of the repository");
    let ran = deploy(&gateway, &["a"]).without("OWNER_LABEL").run().exits(2);
    ran.says("PRUNE:\n- requires `OWNER_LABEL: 'true'`");
    assert!(function_names(&gateway).is_empty());
}
