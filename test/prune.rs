//! `OWNER_LABEL` and `PRUNE`.

use local_gateway::{Fault, Gateway};

use crate::support::{Pipe, open, permitting, put, stack, start};

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
fn prune_is_refused_where_a_name_is_made_by_a_substitution() {
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
        assert_eq!(left(&gateway), ["shop-prod"], "{text}");
    }
    let gateway = open();
    let text = "provider: {name: openfaas}\nfunctions:\n  shop: {image: '${IMAGE}'}\n  more:\n    image: ${IMAGE}\n";
    deploy(&gateway, &[]).stack(text).var("IMAGE", "example/shop:1").run().exits(0);
}

#[test]
fn stack_files_that_are_links_to_one_file_do_not_prune_each_other() {
    let gateway = open();
    let text = stack(&["shop"]);
    let pipe = |file: &str, names: &[&str]| {
        let pipe = deploy(&gateway, names).file("common.yml", stack(names));
        for link in ["dev.yml", "prod.yml"] {
            std::os::unix::fs::symlink("common.yml", pipe.dir().join(link)).expect("a link");
        }
        pipe.var("STACK_FILE", file)
    };
    pipe("prod.yml", &["shop", "extra"]).run().exits(0);
    pipe("dev.yml", &["shop"]).run().exits(0).says("nothing to prune");
    assert_eq!(left(&gateway), ["extra", "shop"], "{text}");
    // However the path of one file is written, it is one owner.
    pipe("./prod.yml", &["shop"]).run().exits(0);
    pipe("sub/../prod.yml", &["more"]).file("sub/x", "").run().exits(0).says("pruning 1 function");
}

#[test]
fn query_of_the_stack_files_url_does_not_change_the_owner() {
    let gateway = start(crate::support::permissive().tls());
    for (signature, names) in [("1", &["a", "b"][..]), ("2", &["a"])] {
        gateway.clear_faults();
        gateway.fault(Fault::on("GET", "/stack.yml").status(200).body(stack(names)));
        let url = format!("{}/stack.yml?signature={signature}", gateway.url());
        deploy(&gateway, &[]).var("CA_CERT", gateway.ca_pem()).var("STACK_FILE", url).run().exits(0);
    }
    assert_eq!(left(&gateway), ["a"]);
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
