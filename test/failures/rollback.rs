//! `ROLLBACK` restores what this run replaced and changes nothing else.

use local_gateway::{Fault, Flavour, Gateway, Latch, Ready};
use serde_json::json;

use super::{against, image, version_1};
use crate::support::{Pipe, Running, changes, permissive, stack, start, wait_for};

fn rolling_back(gateway: &Gateway, names: &[&str], timeout: &str) -> Pipe {
    let pipe = Pipe::at(gateway).stack(&stack(names, "2")).var("WAIT", "true").var("ROLLBACK", "true");
    pipe.var("WAIT_TIMEOUT", timeout)
}

#[test]
fn rollback_skips_a_function_that_another_pipeline_deployed_since() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    gateway.put_function(&version_1("f"));
    gateway.set_ready("f", Ready::Never);
    let mut running = Running::of(rolling_back(&gateway, &["f"], "3s"));
    wait_for("deployment of version 2", || image(&gateway, "f") == "example/f:2");
    gateway.put_function(&json!({"service": "f", "image": "example/f:3"}));
    let ran = running.end().exits(5);
    ran.says("`f`: not rolled back: it now runs image `example/f:3`, which this run did not deploy");
    assert_eq!(image(&gateway, "f"), "example/f:3");
}

#[test]
fn rollback_does_not_delete_a_function_that_another_pipeline_created() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    let latch = Latch::closed();
    gateway.fault(Fault::on("PUT", "/system/functions").nth(1).held_by(&latch));
    let mut running = Running::of(rolling_back(&gateway, &["f"], "500ms"));
    wait_for("PUT request", || changes(&gateway).len() == 1);
    // Another pipeline creates the function after this run found that it does not exist.
    gateway.put_function(&version_1("f"));
    gateway.set_ready("f", Ready::Never);
    latch.open();
    let ran = running.end().exits(5);
    ran.says("`f`: not rolled back: something else created it");
    assert!(changes(&gateway).iter().all(|(method, _)| method != "DELETE"));
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn create_by_another_pipeline_is_not_mistaken_for_this_run() {
    let gateway = start(permissive().ready_of("example/f:2", Ready::Never));
    let latch = Latch::closed();
    gateway.fault(Fault::on("POST", "/system/functions").nth(1).held_by(&latch).status(502).header("Retry-After", "0"));
    let mut running = Running::of(rolling_back(&gateway, &["f"], "500ms"));
    wait_for("POST request", || changes(&gateway).len() == 2);
    gateway.put_function(&version_1("f"));
    gateway.set_ready("f", Ready::Never);
    latch.open();
    running.end().exits(5).says("`f` updated").says("`f`: not rolled back");
    assert!(changes(&gateway).iter().all(|(method, _)| method != "DELETE"));
}

#[test]
fn unreadable_status_does_not_trigger_a_rollback() {
    let (gateway, _) = against(Flavour::Enterprise);
    gateway.put_function(&version_1("f"));
    // The status request before the deploy is answered normally.
    gateway.fault(Fault::on("GET", "/system/function").after(1).status(500).body("etcd leader changed"));
    let ran = rolling_back(&gateway, &["f"], "600ms").run().exits(5);
    ran.says("deployed, but not known to be ready within 600 ms")
        .says("readiness unknown")
        .does_not_say("is rolled back");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn rollback_skips_a_function_whose_current_version_is_unknown() {
    let gateway = start(permissive().ready(Ready::Never));
    gateway.put_function(&version_1("f"));
    gateway.set_ready("f", Ready::Never);
    let mut running = Running::of(rolling_back(&gateway, &["f"], "1s"));
    running.read_to("not ready within");
    gateway.fault(Fault::on("GET", "/system/function/").status(500).body("etcd leader changed"));
    let ran = running.end().exits(5);
    // The status may have been read before the fault was set.
    let rolled_back = image(&gateway, "f") == "example/f:1";
    assert!(rolled_back || ran.log.contains("its current version is not known"), "{}", ran.log);
}

#[test]
fn rollback_claims_nothing_about_an_image_with_the_same_name() {
    let (gateway, _) = against(Flavour::Enterprise);
    gateway.put_function(&json!({"service": "f", "image": "example/f:2", "labels": {}, "annotations": {}}));
    gateway.set_ready("f", Ready::Never);
    let ran = rolling_back(&gateway, &["f"], "600ms").run().exits(5);
    ran.says("WARNING: `ROLLBACK` cannot restore the image of `f`: its name, such as `example/f:2`, is the same before and after")
        .says("hint: set `PIN_IMAGES: 'true'`")
        .says("`f`: not rolled back: its image has the same name `example/f:2` as before")
        .says("✖ 1 of 1 function deployed, but not ready");
    assert_eq!(changes(&gateway).len(), 1);
}

#[test]
fn rollback_says_once_what_holds_for_several_functions() {
    let (gateway, _) = against(Flavour::Enterprise);
    for name in ["f", "g"] {
        gateway.put_function(
            &json!({"service": name, "image": format!("example/{name}:2"), "labels": {}, "annotations": {}}),
        );
        gateway.set_ready(name, Ready::Never);
    }
    let ran = rolling_back(&gateway, &["f", "g"], "600ms").run().exits(5);
    ran.says("WARNING: 2 functions: not rolled back: its image has the same name `example/NAME:2` as before")
        .does_not_say("`f`: not rolled back");
}

#[test]
fn rollback_restores_the_configuration_of_an_image_with_the_same_name() {
    let (gateway, _) = against(Flavour::Enterprise);
    let mut old = version_1("f");
    old["image"] = json!("example/f:2");
    gateway.put_function(&old);
    gateway.set_ready("f", Ready::Never);
    let ran = rolling_back(&gateway, &["f"], "600ms").run().exits(5);
    ran.says("`f` is rolled back in part: its previous configuration is redeployed, but its image has the same name")
        .says("✖ 1 of 1 function deployed, but not ready");
    let after = gateway.function("openfaas-fn", "f").expect("missing function").deployment;
    assert_eq!(after["envVars"], old["envVars"]);
}

#[test]
fn rollback_does_not_warn_of_images_that_differ_or_have_a_digest() {
    let digest = format!("example/f:2@sha256:{}", "a".repeat(64));
    for (before, text) in
        [("example/f:1", stack(&["f"], "2")), (&*digest, stack(&["f"], "2").replace("example/f:2", &digest))]
    {
        let (gateway, _) = against(Flavour::Enterprise);
        gateway.put_function(&json!({"service": "f", "image": before, "labels": {}, "annotations": {}}));
        gateway.set_ready("f", Ready::Never);
        let ran = rolling_back(&gateway, &["f"], "600ms").stack(&text).run();
        ran.does_not_say("cannot restore the image");
    }
}

#[test]
fn rollback_whose_response_is_lost_claims_neither_that_it_failed_nor_that_it_succeeded() {
    // A new function is gone afterwards, which a look shows.
    let gateway = start(permissive().ready(Ready::Never));
    gateway.fault(Fault::on("DELETE", "/system/functions").processed().status(504));
    let run = || rolling_back(&gateway, &["f"], "300ms").var("RETRIES", "0");
    run().run().exits(5).says("`f` is rolled back: it was new, and is deleted");
    assert!(gateway.functions().is_empty());
    // Of an updated one, a status does not tell an accepted rollback from one that was never received.
    gateway.put_function(&version_1("f"));
    gateway.fault(Fault::on("PUT", "/system/functions").nth(2).processed().status(504));
    let ran = run().run().exits(1);
    ran.says(
        "the rollback failed: PUT /system/functions: 504 Gateway Timeout; it may have been carried out all the same\n",
    )
    .says("✖ 1 of 1 function deployed, but not ready; the rollback failed: `f`\n");
}
