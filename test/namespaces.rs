//! `CREATE_NAMESPACE` and `DELETE_NAMESPACE`: namespaces that a run creates, and deletes again.

use local_gateway::{Builder, Fault, Flavour, Gateway};
use serde_json::{Value, json};

use crate::results::result;
use crate::support::{Pipe, edition, function_names, permissive, permitting, put, start};

const STACK: &str = "provider: {name: openfaas}
functions:
  a: {image: example/a:1, namespace: preview-7, secrets: [db]}
  b: {image: example/b:1, namespace: preview-7}
  c: {image: example/c:1, namespace: shared}
  d: {image: example/d:1}
";
const CREATOR: &str = "com.openfaas-pipe.created-by";

fn with_namespaces(builder: Builder) -> Gateway {
    let gateway = start(builder.namespaces(&["openfaas-fn"]));
    gateway.put_namespace("shared", &[("openfaas", "1"), ("team", "web")], &[("openfaas", "1")]);
    gateway
}

fn pipe(pipe: Pipe) -> Pipe {
    pipe.stack(STACK).var("BITBUCKET_REPO_FULL_NAME", "acme/shop").var("BITBUCKET_PIPE_STORAGE_DIR", "storage")
}

fn deploy(gateway: &Gateway) -> Pipe {
    pipe(Pipe::at(gateway)).var("CREATE_NAMESPACE", "true")
}

fn remove(gateway: &Gateway) -> Pipe {
    pipe(Pipe::at(gateway)).var("COMMAND", "remove").var("DELETE_NAMESPACE", "true")
}

fn names(gateway: &Gateway) -> Vec<String> {
    gateway.namespaces().into_iter().map(|namespace| namespace.name).collect()
}

/// The requests about namespaces and secrets.
fn requests(gateway: &Gateway) -> Vec<String> {
    let requests = gateway.requests().into_iter();
    let requests =
        requests.filter(|request| request.path.starts_with("/system/namespace") || request.path == "/system/secrets");
    requests.map(|request| format!("{} {}", request.method, request.path)).collect()
}

/// The namespaces in the result: name and action.
fn reported(pipe: &Pipe) -> Vec<Value> {
    let result = result(pipe);
    let namespaces = result["namespaces"].as_array().cloned().unwrap_or_default();
    namespaces.iter().map(|namespace| json!([namespace["name"], namespace["action"]])).collect()
}

#[test]
fn missing_namespace_is_created_and_one_that_exists_is_not_changed() {
    let gateway = with_namespaces(permissive());
    let pipe = deploy(&gateway).list("SECRET_VALUES", &["db=hunter22"]).var("PARALLEL", "1");
    let ran =
        pipe.run().exits(0).says("INFO: namespace `preview-7` created\n").says("INFO: namespace `shared` exists\n");
    ran.says("✔ deployed 4 functions");
    let namespaces = gateway.namespaces();
    let created = namespaces.iter().find(|namespace| namespace.name == "preview-7").expect("missing namespace");
    assert_eq!(json!(created.labels), json!({"openfaas": "1", CREATOR: "shop.4cdc11e67ce24e3b"}));
    assert_eq!(json!(created.annotations), json!({"openfaas": "1"}));
    let shared = namespaces.iter().find(|namespace| namespace.name == "shared").expect("missing namespace");
    assert_eq!(json!(shared.labels), json!({"openfaas": "1", "team": "web"}));
    // A new namespace has no secrets, so that none is looked for.
    let expected = [
        "GET /system/namespace/preview-7",
        "POST /system/namespace/",
        "GET /system/namespace/shared",
        "POST /system/secrets",
    ];
    assert_eq!(requests(&gateway), expected);
    assert_eq!(reported(&pipe), [json!(["preview-7", "created"]), json!(["shared", "unchanged"])]);
}

#[test]
fn namespace_is_deleted_by_the_repository_that_created_it_once_it_is_empty() {
    let gateway = with_namespaces(permissive());
    deploy(&gateway).list("SECRET_VALUES", &["db=hunter22"]).run().exits(0);
    put(&gateway, "preview-7", "other");
    let pipe = remove(&gateway);
    let ran = pipe.run().exits(1);
    let ran = ran.says("ERROR: namespace `preview-7`: not deleted: it still has functions: `other`\n");
    let ran = ran.says("ERROR: namespace `shared`: not deleted: it has no label `com.openfaas-pipe.created-by`, so no run of the pipe created it\n");
    ran.says("✖ removed 4 functions, with errors, 2 namespaces not deleted\n");
    assert_eq!(names(&gateway), ["openfaas-fn", "preview-7", "shared"]);
    assert_eq!(reported(&pipe), [json!(["preview-7", "kept"]), json!(["shared", "kept"])]);
    // Another repository.
    let stack = "provider: {name: openfaas}\nfunctions: {other: {image: example/a:1, namespace: preview-7}}\n";
    let ran = remove(&gateway).stack(stack).var("BITBUCKET_REPO_FULL_NAME", "acme/blog").run().exits(1);
    ran.says("not deleted: another repository created it: its label is `shop.");
    let pipe = remove(&gateway).stack(stack);
    pipe.run().exits(0).says("INFO: namespace `preview-7` deleted\n");
    assert_eq!(names(&gateway), ["openfaas-fn", "shared"]);
    assert_eq!(gateway.secrets().len(), 0);
    // Again: it is gone already.
    pipe.run().exits(0).says("INFO: namespace `preview-7` does not exist\n");
    assert_eq!(reported(&pipe), [json!(["preview-7", "absent"])]);
}

#[test]
fn namespace_is_kept_if_a_function_was_not_removed() {
    let gateway = with_namespaces(permissive());
    deploy(&gateway).list("SECRET_VALUES", &["db=hunter22"]).run().exits(0);
    gateway.fault(Fault::on("DELETE", "/system/functions").containing("\"b\"").status(400).body("no"));
    let ran = remove(&gateway).run().exits(1);
    ran.says("ERROR: namespace `preview-7`: not deleted: not all of its functions were removed\n");
    assert_eq!(names(&gateway), ["openfaas-fn", "preview-7", "shared"]);
}

#[test]
fn filter_leaves_the_namespace_of_the_other_functions() {
    let gateway = with_namespaces(permissive());
    deploy(&gateway).list("SECRET_VALUES", &["db=hunter22"]).run().exits(0);
    remove(&gateway).var("FILTER", "a").run().exits(1).says("it still has functions: `b`\n");
    assert_eq!(function_names(&gateway), ["d", "b", "c"]);
}

#[test]
fn default_namespace_is_neither_created_nor_deleted() {
    let gateway = with_namespaces(permissive());
    let stack = "provider: {name: openfaas}\nfunctions: {d: {image: example/d:1}}\n";
    let no_effect = "has no effect: no function names a namespace";
    deploy(&gateway).stack(stack).run().exits(0).says(&format!("WARNING: `CREATE_NAMESPACE` {no_effect}"));
    remove(&gateway).stack(stack).run().exits(0).says(&format!("WARNING: `DELETE_NAMESPACE` {no_effect}"));
    assert_eq!(requests(&gateway), [""; 0]);
}

#[test]
fn policy_without_the_actions_is_named_with_the_statement_to_add() {
    let gateway = with_namespaces(permitting(&["Function:*"]));
    let ran = deploy(&gateway).run().exits(3);
    let ran = ran.says("the Policy lacks `Namespace:Get` on 2 namespaces; add to its `statement:`\n");
    ran.says("    - Namespace:Create\n      - Namespace:Get\n").says("    - \"preview-7:*\"\n");
    assert_eq!(function_names(&gateway), [""; 0]);
    let gateway = with_namespaces(permitting(&["Function:*", "Namespace:Get"]));
    deploy(&gateway).run().exits(3).says("the Policy lacks `Namespace:Create` on `preview-7:*`");
    let gateway = with_namespaces(permitting(&["Function:Delete", "Namespace:Get"]));
    gateway.put_namespace("preview-7", &[("openfaas", "1"), (CREATOR, "shop.4cdc11e67ce24e3b")], &[("openfaas", "1")]);
    let ran = remove(&gateway).run().exits(3).says("the Policy lacks `Function:List` on `preview-7:*`");
    ran.says("    - Namespace:Delete\n").says("`COMMAND: whoami` prints the complete Policy");
    let gateway = with_namespaces(permitting(&["Function:*", "Namespace:Get"]));
    gateway.put_namespace("preview-7", &[("openfaas", "1"), (CREATOR, "shop.4cdc11e67ce24e3b")], &[("openfaas", "1")]);
    remove(&gateway).run().exits(3).says("the Policy lacks `Namespace:Delete` on `preview-7:*`");
}

#[test]
fn whoami_proposes_what_a_removal_with_its_namespaces_needs() {
    let gateway = with_namespaces(permissive());
    let ran = remove(&gateway).var("COMMAND", "whoami").run().exits(0);
    let ran = ran
        .says("    - Function:Delete\n    - Function:Get\n")
        .says("    - Function:List\n")
        .says("    - Namespace:Delete\n");
    ran.does_not_say("Function:Create");
}

#[test]
fn community_edition_is_refused_before_anything_is_changed() {
    let gateway = start(edition(Flavour::Ce));
    let stack = "provider: {name: openfaas}\nfunctions: {d: {image: example/d:1}}\n";
    put(&gateway, "openfaas-fn", "d");
    let at = || pipe(Pipe::with_password(&gateway)).stack(stack);
    for (name, run) in [
        ("CREATE_NAMESPACE", at().var("CREATE_NAMESPACE", "true")),
        ("DELETE_NAMESPACE", at().var("COMMAND", "remove").var("DELETE_NAMESPACE", "true")),
    ] {
        let ran = run.run().exits(2);
        ran.says(&format!("ERROR: `{name}`: OpenFaaS Community Edition has only the namespace `openfaas-fn`\n"));
    }
    assert_eq!(function_names(&gateway), ["d"]);
    assert!(gateway.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn faasd_reports_an_error_for_what_it_created() {
    let gateway = start(edition(Flavour::Faasd).namespaces(&["openfaas-fn", "shared"]));
    let at = || pipe(Pipe::with_password(&gateway));
    let run = at().var("CREATE_NAMESPACE", "true").list("SECRET_VALUES", &["db=hunter22"]);
    run.run().exits(0).says("INFO: namespace `preview-7` created\n").says("✔ deployed 4 functions");
    let removal = at().var("COMMAND", "remove").var("DELETE_NAMESPACE", "true");
    let ran = removal.run().exits(1).says("must be empty, but it still has images");
    let ran =
        ran.says("hint: faasd cannot delete a namespace that ever had a function: leave `DELETE_NAMESPACE` out\n");
    ran.says("✖ removed 4 functions, with errors, 2 namespaces not deleted\n");
    assert_eq!(function_names(&gateway), [""; 0]);
}

#[test]
fn what_fails_after_a_namespace_was_created_does_not_exit_with_2() {
    let gateway = start(edition(Flavour::Faasd).namespaces(&["openfaas-fn", "shared"]).without_prometheus());
    put(&gateway, "shared", "c");
    let run = pipe(Pipe::with_password(&gateway)).var("CREATE_NAMESPACE", "true").var("WAIT", "true");
    let ran = run.var("ROLLBACK", "true").run().exits(1).says("INFO: namespace `preview-7` created\n");
    ran.says("nothing is deployed: `ROLLBACK` could not restore 1 function");
}

#[test]
fn gateway_without_namespaces_is_named_as_such() {
    let gateway = start(edition(Flavour::Ce));
    // OpenFaaS Standard.
    gateway.fault(Fault::on("GET", "/system/info").status(200).body(r#"{"provider": {"provider": "faas-netes"}}"#));
    let at = || pipe(Pipe::with_password(&gateway));
    let hint = "hint: the gateway has no API for namespaces: OpenFaaS for Enterprises and faasd have one";
    at().var("CREATE_NAMESPACE", "true").run().exits(1).says(hint);
    at().var("COMMAND", "remove").var("DELETE_NAMESPACE", "true").run().exits(1).says(hint);
}

#[test]
fn repository_must_be_known() {
    let gateway = with_namespaces(permissive());
    for (run, name) in [(deploy(&gateway), "CREATE_NAMESPACE"), (remove(&gateway), "DELETE_NAMESPACE")] {
        let ran = run.without("BITBUCKET_REPO_FULL_NAME").run().exits(2);
        ran.says(&format!("{name}:\n- requires the name of the repository"));
    }
    assert_eq!(gateway.requests().len(), 0);
}

#[test]
fn dry_run_and_diff_name_the_namespaces_and_create_none() {
    let gateway = with_namespaces(permissive());
    for (name, value, exit) in [("DRY_RUN", "true", 0), ("COMMAND", "diff", 6)] {
        let run = deploy(&gateway).list("SECRET_VALUES", &["db=hunter22"]).var(name, value);
        let planned = match name {
            "DRY_RUN" => {
                "would create these namespaces, unless they exist:\n  namespace `preview-7`\n  namespace `shared`\n"
            }
            _ => "would create these namespaces:\n  namespace `preview-7`\nINFO: a deploy would write these secrets",
        };
        run.run().exits(exit).says(planned);
    }
    let mut asked = requests(&gateway);
    asked.sort();
    assert_eq!(asked, ["GET /system/namespace/preview-7", "GET /system/namespace/shared"]);
    assert_eq!(names(&gateway), ["openfaas-fn", "shared"]);
}

#[test]
fn nothing_is_asked_about_secrets_and_namespaces_without_their_variables() {
    let gateway = start(permissive());
    pipe(Pipe::at(&gateway)).run().exits(0);
    pipe(Pipe::at(&gateway)).var("COMMAND", "diff").run().exits(0);
    let run = pipe(Pipe::at(&gateway)).var("COMMAND", "remove");
    run.run().exits(0);
    assert_eq!(requests(&gateway), [""; 0]);
    let result = result(&run);
    assert!(result["secrets"].is_null() && result["namespaces"].is_null(), "{result:#}");
}

#[test]
fn namespace_of_a_variable_without_a_value_is_refused() {
    let gateway = with_namespaces(permissive());
    for run in [deploy(&gateway), remove(&gateway)] {
        let ran = run.var("OPENFAAS_NAMESPACE", "preview-").run().exits(2);
        let ran = ran.says("ERROR: `OPENFAAS_NAMESPACE`: invalid namespace `preview-`: it begins or ends with `-`\n");
        ran.says("hint: check that the variable in it has a value");
    }
    assert_eq!(gateway.requests().len(), 0);
}

#[test]
fn refusal_after_a_lost_response_does_not_say_that_the_namespace_is_gone() {
    let page =
        || Fault::on("DELETE", "/system/namespace").status(404).header("Content-Type", "text/html").body("<html>");
    let text = |text| Fault::on("DELETE", "/system/namespace").status(409).body(text);
    let denied = "admission webhook denied the request: it is protected";
    let ending = "Conflict: The system is ensuring all content is removed from this namespace.";
    for (fault, is_deleted) in [(page(), false), (text(denied), false), (text(ending), true)] {
        let gateway = with_namespaces(permissive());
        deploy(&gateway).list("SECRET_VALUES", &["db=hunter22"]).run().exits(0);
        gateway.fault(Fault::on("DELETE", "/system/namespace").times(1).status(503));
        gateway.fault(fault);
        let ran = remove(&gateway).var("RETRIES", "1").run();
        assert_eq!(ran.log.contains("namespace `preview-7` deleted"), is_deleted, "{}", ran.log);
        assert_eq!(names(&gateway), ["openfaas-fn", "preview-7", "shared"]);
    }
}

#[test]
fn namespaces_that_fail_alike_share_a_line_of_each_retry_and_the_error() {
    let gateway = with_namespaces(permissive());
    gateway.fault(Fault::on("GET", "/system/namespace/").status(503).body("starting"));
    let ran = deploy(&gateway).var("RETRIES", "1").run().exits(1);
    let ran = ran.says("GET /system/namespace/NAME: 503 Service Unavailable: `starting`; retrying");
    let ran = ran.does_not_say("/preview-7: 503");
    ran.says("ERROR: 2 namespaces: GET /system/namespace/NAME: 503 Service Unavailable: `starting`\n  `preview-7`, `shared`\n");
    gateway.clear_faults();
    gateway.fault(Fault::on("POST", "/system/namespace/").status(503).body("starting"));
    let ran = deploy(&gateway).var("RETRIES", "1").run().exits(1);
    ran.says("POST /system/namespace/: 503 Service Unavailable: `starting`; retrying");
}
