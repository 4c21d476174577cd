//! Community Edition and faasd.

use std::time::Duration;

use local_gateway::{Fault, Flavour, Ready};
use serde_json::json;

use super::{against, image, last_line, stack, version_1};
use crate::support::{Pipe, edition, start};

#[test]
fn deletion_names_the_namespace_where_each_edition_reads_it() {
    let gateway = start(edition(Flavour::Ce));
    gateway.put_function(&version_1("f"));
    for command in ["remove", "deploy"] {
        let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"])).var("COMMAND", command);
        let pipe = if command == "deploy" { pipe.var("STRATEGY", "replace") } else { pipe };
        pipe.var("OPENFAAS_NAMESPACE", "etl").run().exits(1).says("namespace must be: openfaas-fn");
        assert_eq!(image(&gateway, "f"), "example/f:1", "{command}");
    }
}

#[test]
fn diff_of_community_edition_has_an_end() {
    let (gateway, pipe) = against(Flavour::Ce);
    let text = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    environment: {A: '1'}\n    \
        constraints: [zone=a]\n    readonly_root_filesystem: true\n    labels: {tier: web}\n";
    let pipe = pipe.stack(text);
    pipe.run().exits(0);
    let ran = pipe.var("COMMAND", "diff").run().exits(0);
    ran.says(
        "not reported by the gateway, and not compared: environment variables, constraints, read-only root filesystem",
    );
    drop(gateway);
}

#[test]
fn rollback_is_refused_before_anything_is_deployed_if_the_gateway_does_not_report_all() {
    let (gateway, pipe) = against(Flavour::Ce);
    gateway.put_function(&version_1("f"));
    let ran = pipe.stack(&stack(&["f", "new"])).var("WAIT", "true").var("ROLLBACK", "true").run().exits(2);
    ran.says(
        "nothing is deployed: `ROLLBACK` could not restore 1 function, since the gateway does not report: \
              environment variables, constraints, read-only root filesystem",
    );
    assert_eq!((image(&gateway, "f"), image(&gateway, "new")), ("example/f:1".to_owned(), String::new()));
}

#[test]
fn rollback_of_new_functions_needs_no_reports() {
    let gateway = start(edition(Flavour::Ce).ready(Ready::Never));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["new"]));
    let ran = pipe.var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "300ms").run().exits(5);
    ran.says("`new` is rolled back: it was new, and is deleted");
    assert_eq!(image(&gateway, "new"), "");
}

#[test]
fn field_of_an_unknown_provider_counts_as_reported_if_some_function_shows_it() {
    for (all_are_shown, code) in [(false, 2), (true, 5)] {
        let gateway = start(edition(Flavour::Enterprise).ready_of("example/f:2", Ready::Never));
        gateway.put_function(&version_1("f"));
        let other = json!({
            "service": "other", "image": "example/other:1", "constraints": ["a=b"], "readOnlyRootFilesystem": all_are_shown,
        });
        gateway.put_function(&other);
        let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"]));
        // The old replica stays: an available one is no proof.
        let two = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    \
            labels: {com.openfaas.scale.min: '2'}\n";
        let pipe = pipe.stack(two).var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "600ms");
        let ran = pipe.run().exits(code);
        assert_eq!(ran.log.contains("does not report: read-only root filesystem"), !all_are_shown, "{}", ran.log);
        assert_eq!(image(&gateway, "f"), "example/f:1");
    }
}

#[test]
fn update_that_community_edition_ignores_is_an_error() {
    let gateway = start(edition(Flavour::Ce).unreachable_image("example/f:2"));
    gateway.put_function(&version_1("f"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"])).run().exits(1);
    ran.says("Community Edition did not update the function").says("check that the image is public");
    assert_eq!(image(&gateway, "f"), "example/f:1");
}

#[test]
fn several_functions_of_faasd_get_ready() {
    let gateway = start(edition(Flavour::Faasd).ready(Ready::After(Duration::from_millis(300))));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["a", "b"]));
    pipe.var("WAIT", "true").var("WAIT_TIMEOUT", "20s").run().exits(0).says("`a` is ready").says("`b` is ready");
}

#[test]
fn rollback_on_faasd_gives_back_limits_too() {
    for names in [&["f"][..], &["f", "g"]] {
        let gateway = start(edition(Flavour::Faasd).ready_of("example/f:2", Ready::Never));
        gateway.put_function(&version_1("f"));
        // faasd takes the old version away first: no replica is left.
        gateway.set_ready("f", Ready::Never);
        let pipe = Pipe::with_password(&gateway).stack(&stack(names));
        pipe.var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "500ms").run().exits(5);
        let after = gateway.function("openfaas-fn", "f").expect("a function").deployment;
        assert_eq!(after["limits"], json!({"memory": "64Mi"}), "{names:?}");
        assert_eq!(after["envVars"], json!({"MODE": "fast"}));
    }
}

#[test]
fn function_that_a_failed_update_of_faasd_removed_is_named_in_the_last_line() {
    let gateway = start(edition(Flavour::Faasd).unreachable_image("example/f:2"));
    gateway.put_function(&version_1("f"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"])).run().exits(1).says("unable to pull image");
    assert_eq!(last_line(&ran.log), "✖ 1 of 1 function not deployed; gone, and to be deployed again: `f`");
}

#[test]
fn function_that_a_failed_update_of_faasd_removed_is_redeployed_if_it_is_known() {
    let gateway = start(edition(Flavour::Faasd).unreachable_image("example/f:2"));
    gateway.put_function(&version_1("f"));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"])).var("WAIT", "true");
    pipe.run().exits(1).says("`f` is rolled back").is_silent_about("gone");
    assert!(image(&gateway, "f").ends_with("example/f:1"));
    assert_eq!(
        gateway.function("openfaas-fn", "f").expect("a function").deployment["limits"],
        json!({"memory": "64Mi"})
    );
}

#[test]
fn function_that_never_was_is_not_called_gone() {
    let gateway = start(edition(Flavour::Faasd).unreachable_image("example/f:2"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"])).run().exits(1);
    ran.is_silent_about("gone");
}

#[test]
fn creation_on_faasd_whose_answer_was_lost_is_an_update_in_the_end() {
    let (gateway, pipe) = against(Flavour::Faasd);
    gateway.fault(Fault::on("POST", "/system/functions").nth(1).lose());
    pipe.stack(&stack(&["f"])).run().exits(0);
    assert_eq!(image(&gateway, "f"), "example/f:2");
}
