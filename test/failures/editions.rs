//! Community Edition and faasd.

use std::time::Duration;

use local_gateway::{Fault, Flavour, Ready};
use serde_json::json;

use super::{against, image, last_line, version_1};
use crate::support::{Pipe, edition, stack, start};

#[test]
fn delete_request_sends_the_namespace_in_body_and_query() {
    let gateway = start(edition(Flavour::Ce));
    gateway.put_function(&version_1("f"));
    for command in ["remove", "deploy"] {
        let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("COMMAND", command);
        let pipe = if command == "deploy" { pipe.var("STRATEGY", "replace") } else { pipe };
        pipe.var("OPENFAAS_NAMESPACE", "etl").run().exits(1).says("namespace must be: openfaas-fn");
        assert_eq!(image(&gateway, "f"), "example/f:1", "{command}");
    }
}

#[test]
fn diff_ignores_fields_that_community_edition_does_not_report() {
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
fn rollback_is_rejected_before_the_deploy_if_the_gateway_omits_fields() {
    let (gateway, pipe) = against(Flavour::Ce);
    gateway.put_function(&version_1("f"));
    let ran = pipe.stack(&stack(&["f", "new"], "2")).var("WAIT", "true").var("ROLLBACK", "true").run().exits(2);
    ran.says(
        "nothing is deployed: `ROLLBACK` could not restore 1 function, since the gateway does not report: \
              environment variables, constraints, read-only root filesystem",
    );
    assert_eq!((image(&gateway, "f"), image(&gateway, "new")), ("example/f:1".to_owned(), String::new()));
}

#[test]
fn rollback_of_new_functions_works_without_reported_fields() {
    let gateway = start(edition(Flavour::Ce).ready(Ready::Never));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["new"], "2"));
    let ran = pipe.var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "300ms").run().exits(5);
    ran.says("`new` is rolled back: it was new, and is deleted");
    assert_eq!(image(&gateway, "new"), "");
}

#[test]
fn field_of_an_unknown_provider_counts_as_reported_if_any_function_has_it() {
    for (all_are_shown, code) in [(false, 2), (true, 5)] {
        let gateway = start(edition(Flavour::Enterprise).ready_of("example/f:2", Ready::Never));
        gateway.put_function(&version_1("f"));
        let other = json!({
            "service": "other", "image": "example/other:1", "constraints": ["a=b"], "readOnlyRootFilesystem": all_are_shown,
        });
        gateway.put_function(&other);
        let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2"));
        // Two replicas are wanted: one old replica that is still available is not enough to count as ready.
        let two = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    \
            labels: {com.openfaas.scale.min: '2'}\n";
        let pipe = pipe.stack(two).var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "600ms");
        let ran = pipe.run().exits(code);
        assert_eq!(ran.log.contains("does not report: read-only root filesystem"), !all_are_shown, "{}", ran.log);
        assert_eq!(image(&gateway, "f"), "example/f:1");
    }
}

#[test]
fn update_ignored_by_community_edition_is_an_error() {
    let gateway = start(edition(Flavour::Ce).unreachable_image("example/f:2"));
    gateway.put_function(&version_1("f"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(1);
    ran.says("Community Edition did not update the function").says("check that the image is public");
    assert_eq!(image(&gateway, "f"), "example/f:1");
}

#[test]
fn several_functions_become_ready_on_faasd() {
    let gateway = start(edition(Flavour::Faasd).ready(Ready::After(Duration::from_millis(300))));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["a", "b"], "2"));
    pipe.var("WAIT", "true").var("WAIT_TIMEOUT", "20s").run().exits(0).says("`a` is ready").says("`b` is ready");
}

#[test]
fn rollback_on_faasd_restores_limits() {
    for names in [&["f"][..], &["f", "g"]] {
        let gateway = start(edition(Flavour::Faasd).ready_of("example/f:2", Ready::Never));
        gateway.put_function(&version_1("f"));
        // faasd deletes the old version first, so that no replica is left.
        gateway.set_ready("f", Ready::Never);
        let pipe = Pipe::with_password(&gateway).stack(&stack(names, "2"));
        pipe.var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "500ms").run().exits(5);
        let after = gateway.function("openfaas-fn", "f").expect("missing function").deployment;
        assert_eq!(after["limits"], json!({"memory": "64Mi"}), "{names:?}");
        assert_eq!(after["envVars"], json!({"MODE": "fast"}));
    }
}

#[test]
fn function_deleted_by_a_failed_update_on_faasd_is_named_in_the_last_line() {
    let gateway = start(edition(Flavour::Faasd).unreachable_image("example/f:2"));
    gateway.put_function(&version_1("f"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(1).says("unable to pull image");
    assert_eq!(last_line(&ran.log), "✖ 1 of 1 function not deployed; gone and must be redeployed: `f`");
}

#[test]
fn function_deleted_by_a_failed_update_on_faasd_is_redeployed_with_wait() {
    let gateway = start(edition(Flavour::Faasd).unreachable_image("example/f:2"));
    gateway.put_function(&version_1("f"));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("WAIT", "true");
    pipe.run().exits(1).says("`f` is rolled back").does_not_say("gone");
    assert!(image(&gateway, "f").ends_with("example/f:1"));
    assert_eq!(
        gateway.function("openfaas-fn", "f").expect("missing function").deployment["limits"],
        json!({"memory": "64Mi"})
    );
}

#[test]
fn function_that_never_existed_is_not_reported_as_gone() {
    let gateway = start(edition(Flavour::Faasd).unreachable_image("example/f:2"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(1);
    ran.does_not_say("gone");
}

#[test]
fn create_with_a_lost_response_succeeds_on_faasd() {
    let (gateway, pipe) = against(Flavour::Faasd);
    gateway.fault(Fault::on("POST", "/system/functions").nth(1).lose());
    pipe.stack(&stack(&["f"], "2")).run().exits(0);
    assert_eq!(image(&gateway, "f"), "example/f:2");
}
