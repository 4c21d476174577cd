//! Several stack files in one run: lists and patterns in `STACK_FILE`.

use local_gateway::{Fault, Gateway};

use crate::support::{Pipe, function_names, open, permissive, stack, start};

/// A clone with a stack file for each function, in a folder of its own.
fn clone(gateway: &Gateway) -> Pipe {
    let pipe = Pipe::at(gateway).var("BITBUCKET_REPO_FULL_NAME", "acme/shop");
    ["cart", "mail", "pay"]
        .iter()
        .fold(pipe, |pipe, name| pipe.file(&format!("functions/{name}/stack.yml"), stack(&[name], "1")))
}

#[test]
fn pattern_deploys_all_matches_in_one_run() {
    let gateway = open();
    let ran = clone(&gateway).var("STACK_FILE", "functions/*/stack.yml").run().exits(0);
    ran.says("INFO: deploying 3 functions of 3 stack files to").says("✔ deployed 3 functions in");
    assert_eq!(function_names(&gateway), ["cart", "mail", "pay"]);
}

#[test]
fn list_keeps_its_order_and_reads_a_file_once() {
    let gateway = open();
    let items = ["functions/pay/stack.yml", "./functions/mail/../pay/stack.yml", "**/stack.yml"];
    let ran = clone(&gateway).list("STACK_FILE", &items).var("DRY_RUN", "true").run().exits(0);
    let order: Vec<_> = ran.log.lines().filter_map(|line| line.trim().strip_prefix("\"service\": ")).collect();
    assert_eq!(order, ["\"pay\",", "\"cart\",", "\"mail\","]);
}

#[test]
fn pattern_is_matched_in_the_clone_directory_too() {
    let gateway = open();
    let pipe = clone(&gateway).var("STACK_FILE", "functions/*/stack.yml");
    let elsewhere = tempfile::tempdir().expect("cannot create directory");
    let output = pipe.command().current_dir(elsewhere.path()).output().expect("cannot run the pipe");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(function_names(&gateway), ["cart", "mail", "pay"]);
}

#[test]
fn what_matches_nothing_is_an_error_beside_all_others() {
    let gateway = open();
    let items = ["functions/*/stock.yml", "functions/nope/stack.yml", "functions/*/stack.yml"];
    let ran = clone(&gateway).list("STACK_FILE", &items).run().exits(2);
    ran.says("- `functions/*/stock.yml` matches no file in the working directory or the clone directory")
        .says("- `functions/nope/stack.yml` does not exist");
    assert!(gateway.requests().is_empty());
}

#[test]
fn function_in_two_files_is_an_error_with_both_places() {
    let gateway = open();
    let pipe = clone(&gateway).file("functions/copy/stack.yml", stack(&["pay"], "2"));
    let ran = pipe.var("STACK_FILE", "functions/*/stack.yml").run().exits(2);
    ran.says("ERROR: functions/pay/stack.yml:4: `pay` is in `functions/copy/stack.yml:4` too");
    assert!(gateway.requests().is_empty());
}

#[test]
fn urls_that_differ_only_in_their_query_are_two_files() {
    let gateway = start(permissive().tls());
    gateway.fault(Fault::on("GET", "/items").status(200).body(stack(&["f"], "1")));
    let url = |query: &str| format!("{}/items?path={query}", gateway.url());
    let pipe = Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).var("DRY_RUN", "true");
    pipe.list("STACK_FILE", &[&url("a"), &url("b"), &url("a")]).run().exits(2).says("`f` is in `");
    assert_eq!(gateway.requests().len(), 3);
}

#[test]
fn problems_of_all_files_are_reported_in_one_run() {
    let gateway = open();
    let pipe = clone(&gateway).file("functions/a/stack.yml", "functions: [").file("functions/b/stack.yml", "x: {");
    let ran = pipe.var("STACK_FILE", "functions/*/stack.yml").run().exits(2);
    ran.says("functions/a/stack.yml:1").says("functions/b/stack.yml:1").says("✖ 2 problems in the stack files");
}

#[test]
fn filter_selects_over_all_files() {
    let gateway = open();
    let pipe = clone(&gateway).var("STACK_FILE", "functions/*/stack.yml");
    pipe.var("FILTER", "m*").run().exits(0);
    assert_eq!(function_names(&gateway), ["mail"]);
    let pipe = clone(&gateway).var("STACK_FILE", "functions/*/stack.yml").var("FILTER", "x*");
    let ran = pipe.run().exits(2);
    ran.says("no function name matches `FILTER` `x*`").says("`functions/cart/stack.yml` has `cart`; ");
}

#[test]
fn names_in_a_file_outside_the_clone_are_not_shown() {
    let gateway = open();
    let elsewhere = tempfile::NamedTempFile::new().expect("cannot create file");
    std::fs::write(elsewhere.path(), stack(&["hunter2"], "1")).expect("cannot write file");
    let pipe = clone(&gateway).var("STACK_FILE", "link.yml").var("FILTER", "x*");
    std::os::unix::fs::symlink(elsewhere.path(), pipe.dir().join("link.yml")).expect("cannot create link");
    let ran = pipe.run().exits(2).says("no function name matches `FILTER` `x*`");
    assert!(!ran.log.contains("hunter2"), "{}", ran.log);
}

#[test]
fn each_file_prunes_only_what_carries_its_own_label() {
    let gateway = open();
    let pipe = |cart: &[&str]| {
        clone(&gateway)
            .file("functions/cart/stack.yml", stack(cart, "1"))
            .var("STACK_FILE", "functions/*/stack.yml")
            .var("OWNER_LABEL", "true")
            .var("PRUNE", "true")
    };
    pipe(&["cart", "old"]).run().exits(0);
    // As if each file were alone: the label is that of a run with this file only.
    let alone = pipe(&["cart", "old"]).var("STACK_FILE", "functions/cart/stack.yml");
    alone.var("PRUNE", "false").run().exits(0);
    pipe(&["cart"]).run().exits(0).says("`old.openfaas-fn` removed");
    assert_eq!(function_names(&gateway), ["cart", "mail", "pay"]);
    // Moved to another file: it is that file's function then.
    let moved = pipe(&["cart", "mail"]).file("functions/mail/stack.yml", stack(&["post"], "1"));
    moved.run().exits(0);
    assert_eq!(function_names(&gateway), ["cart", "mail", "pay", "post"]);
}

#[test]
fn files_that_name_different_gateways_need_a_variable() {
    let gateway = open();
    let at = |name: &str, url: &str| {
        stack(&[name], "1").replace("name: openfaas", &format!("name: openfaas\n  gateway: {url}"))
    };
    let pipe = clone(&gateway)
        .file("a.yml", at("a", "https://a.example.com"))
        .file("b.yml", at("b", "https://b.example.com"))
        .list("STACK_FILE", &["a.yml", "b.yml"])
        .without("OPENFAAS_URL");
    pipe.run().exits(2).says("is not set, and `a.yml` and `b.yml` name different gateways");
}

#[test]
fn result_names_the_file_of_each_function() {
    let gateway = open();
    let pipe = clone(&gateway).var("STACK_FILE", "functions/*/stack.yml");
    let storage = pipe.dir().join("storage");
    let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", storage.display().to_string());
    pipe.run().exits(0);
    let text = std::fs::read_to_string(storage.join("openfaas-pipe.json")).expect("cannot read file");
    let result: serde_json::Value = serde_json::from_str(&text).expect("invalid JSON");
    assert!(result["stackFile"].is_null());
    assert_eq!(result["stackFiles"][1], "functions/mail/stack.yml");
    assert_eq!(result["functions"][2]["stackFile"], "functions/pay/stack.yml");
}
