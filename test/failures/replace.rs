//! `STRATEGY: replace`: a deleted function is created again, whatever fails in between.

use std::time::{Duration, Instant};

use local_gateway::{Fault, Flavour, Gateway, Latch};

use super::{against, image, last_line, version_1};
use crate::support::{Pipe, Ran, Running, changes, edition, permissive, stack, start, wait_for};

fn replace(gateway: &Gateway, pipe: Pipe) -> Pipe {
    gateway.put_function(&version_1("f"));
    pipe.stack(&stack(&["f"], "2")).var("STRATEGY", "replace").var("WAIT_TIMEOUT", "30s").var("RETRIES", "1")
}

/// Checks that every edition has the new version in spite of each of these faults.
fn is_replaced_despite(faults: &[Fault]) {
    for flavour in Flavour::ALL {
        for fault in faults {
            let (gateway, pipe) = against(flavour);
            gateway.fault(fault.clone());
            replace(&gateway, pipe).run().exits(0).says("`f` replaced");
            assert_eq!(image(&gateway, "f"), "example/f:2", "{flavour:?} {fault:?}");
        }
    }
}

#[test]
fn function_is_recreated_although_status_requests_fail() {
    let status = || Fault::on("GET", "/system/function/").times(4);
    is_replaced_despite(&[
        status().status(500).body("etcd leader changed"),
        status().reset(),
        status().status(503).header("Retry-After", "0"),
    ]);
}

#[test]
fn delete_with_a_lost_response_is_not_an_error_if_the_create_succeeds() {
    let delete = || Fault::on("DELETE", "/system/functions");
    is_replaced_despite(&[
        delete().lose(),
        delete().processed().status(502).header("Retry-After", "0"),
        delete().processed().status(500).header("Retry-After", "0"),
        // Envoy, if the gateway closes the connection after it received the request.
        delete().processed().status(503).header("Retry-After", "0"),
        delete().processed().status(999),
        delete().processed().status(200).body("{}").cut_off(1),
    ]);
}

#[test]
fn rejected_delete_keeps_the_function() {
    for flavour in Flavour::ALL {
        let (gateway, pipe) = against(flavour);
        gateway.fault(Fault::on("DELETE", "/system/functions").status(502).header("Retry-After", "0"));
        let ran = replace(&gateway, pipe).var("WAIT_TIMEOUT", "500ms").run().exits(1);
        assert_eq!(image(&gateway, "f"), "example/f:1", "{}", ran.log);
        assert!(ran.log.contains("502 Bad Gateway"), "{}", ran.log);
        ran.does_not_say("gone");
    }
}

#[test]
fn create_waits_until_the_deletion_has_finished() {
    let gateway = start(permissive().deletion(Duration::from_secs(2)));
    let pipe = Pipe::at(&gateway);
    replace(&gateway, pipe).run().exits(0).says("`f` replaced in ");
    assert_eq!(
        changes(&gateway),
        [("DELETE", "f"), ("POST", "f")].map(|(method, name)| (method.to_owned(), name.to_owned()))
    );
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn function_not_deleted_within_the_timeout_is_named_in_the_last_line() {
    let gateway = start(permissive().deletion(Duration::from_secs(3600)));
    let pipe = Pipe::at(&gateway);
    let started = Instant::now();
    let ran = replace(&gateway, pipe).var("WAIT_TIMEOUT", "1s").run().exits(1);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(last_line(&ran.log), "✖ 1 of 1 function not deployed; will be gone and must be redeployed: `f`");
    ran.says("; the previous version is being deleted\n");
}

#[test]
fn function_that_cannot_be_recreated_is_named_in_the_last_line() {
    for flavour in Flavour::ALL {
        let (gateway, pipe) = against(flavour);
        gateway.fault(Fault::on("POST", "/system/functions").status(400).body("no such secret"));
        let ran = replace(&gateway, pipe).run().exits(1).says("no such secret");
        assert_eq!(last_line(&ran.log), "✖ 1 of 1 function not deployed; gone and must be redeployed: `f`");
        assert_eq!(image(&gateway, "f"), "");
    }
}

#[test]
fn deletion_reported_as_failed_is_not_forgotten_if_the_create_is_rejected() {
    for status in [500, 502, 503, 504, 999] {
        for wait in ["false", "true"] {
            let (gateway, pipe) = against(Flavour::Enterprise);
            gateway
                .fault(Fault::on("DELETE", "/system/functions").processed().status(status).header("Retry-After", "0"));
            gateway.fault(
                Fault::on("POST", "/system/functions").containing("example/f:2").status(400).body("no such secret"),
            );
            let ran = replace(&gateway, pipe).var("WAIT", wait).run().exits(1).says("no such secret");
            let is_restored = image(&gateway, "f") == "example/f:1";
            assert_eq!(is_restored, wait == "true", "{status}");
            let is_named = last_line(&ran.log).ends_with("gone and must be redeployed: `f`");
            assert_eq!(is_named, wait == "false", "{}", ran.log);
        }
    }
}

#[test]
fn creation_without_a_response_is_open() {
    let (gateway, pipe) = against(Flavour::Enterprise);
    gateway.fault(Fault::on("POST", "/system/functions").processed().status(504).header("Retry-After", "0"));
    let ran = replace(&gateway, pipe).var("WAIT_TIMEOUT", "500ms").run().exits(1);
    assert_eq!(last_line(&ran.log), "✖ 1 of 1 function not known to be deployed");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn function_that_something_else_removed_meanwhile_is_not_called_untouched() {
    let (gateway, pipe) = against(Flavour::Enterprise);
    let latch = Latch::closed();
    gateway.fault(Fault::on("DELETE", "/system/functions").held_by(&latch));
    gateway.fault(Fault::on("POST", "/system/functions").containing("example/f:2").status(400).body("no such secret"));
    let mut running = Running::of(replace(&gateway, pipe).var("WAIT", "true").var("ROLLBACK", "true"));
    wait_for("DELETE request", || changes(&gateway).len() == 1);
    let remove = Pipe::at(&gateway).stack(&stack(&["f"], "2")).var("COMMAND", "remove");
    gateway.clear_faults();
    gateway.fault(Fault::on("POST", "/system/functions").containing("example/f:2").status(400).body("no such secret"));
    remove.run().exits(0);
    latch.open();
    running.end().exits(1).says("`f` is rolled back: image `example/f:1`");
    assert_eq!(image(&gateway, "f"), "example/f:1");
}

#[test]
fn create_is_retried_until_wait_timeout_if_the_gateway_goes_down() {
    let (gateway, pipe) = against(Flavour::Enterprise);
    gateway.fault(Fault::on("DELETE", "/system/functions").processed().dies());
    let started = Instant::now();
    let ran = replace(&gateway, pipe).var("WAIT_TIMEOUT", "2s").var("RETRIES", "0").run().exits(4);
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert!(last_line(&ran.log).ends_with("may be gone: `f`"), "{}", ran.log);
}

#[test]
fn previous_version_is_redeployed_if_the_create_is_rejected() {
    for flavour in [Flavour::Enterprise, Flavour::Faasd] {
        let (gateway, pipe) = against(flavour);
        gateway.fault(Fault::on("POST", "/system/functions").containing("example/f:2").status(400).body("no"));
        let pipe = replace(&gateway, pipe).var("WAIT", "true");
        let before = gateway.function("openfaas-fn", "f").expect("missing function").deployment;
        let ran = pipe.run().exits(1).says("`f` is rolled back");
        let after = gateway.function("openfaas-fn", "f").expect("missing function").deployment;
        for field in ["envVars", "secrets", "labels", "annotations", "limits"] {
            assert_eq!(after[field], before[field], "{flavour:?} {field}");
        }
        assert!(after["image"].as_str().expect("missing image").ends_with("example/f:1"));
        ran.does_not_say("gone");
    }
}

/// A replacement that is stopped once the status of the function was requested.
fn stopped_at_the_status_request(gateway: &Gateway) -> Ran {
    let mut running = Running::of(replace(gateway, Pipe::at(gateway)));
    wait_for("status request", || gateway.requests().iter().any(|request| request.method == "GET"));
    running.signal("TERM");
    running.end().exits(143)
}

#[test]
fn signal_while_waiting_for_the_deletion_still_recreates_the_function() {
    let gateway = start(permissive().deletion(Duration::from_millis(1500)));
    stopped_at_the_status_request(&gateway).says("`f` replaced");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn signal_during_the_delete_request_still_recreates_the_function() {
    let (gateway, pipe) = against(Flavour::Enterprise);
    let latch = Latch::closed();
    gateway.fault(Fault::on("DELETE", "/system/functions").held_by(&latch));
    let mut running = Running::of(replace(&gateway, pipe));
    wait_for("DELETE request", || changes(&gateway).len() == 1);
    running.signal("TERM");
    running.read_to("SIGTERM received");
    latch.open();
    running.end().exits(143).says("`f` replaced");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn function_not_recreated_in_the_grace_period_is_named_in_the_last_line() {
    let gateway = start(permissive().deletion(Duration::from_secs(3600)));
    let ran = stopped_at_the_status_request(&gateway);
    assert!(last_line(&ran.log).ends_with("may be gone: `f`"), "{}", ran.log);
    // Also if the looks still show the old one, it is tried shortly before the end.
    assert!(changes(&gateway).iter().any(|(method, _)| method == "POST"), "{}", ran.log);
}

#[test]
fn look_that_hangs_does_not_cost_the_last_creation_of_the_grace_period() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/system/function/").hang());
    stopped_at_the_status_request(&gateway).says("`f` replaced");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn what_was_not_there_before_is_not_called_gone() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("DELETE", "/system/functions").times(1).reset());
    gateway.fault(Fault::on("POST", "/system/functions").status(400).body("no"));
    let pipe = Pipe::at(&gateway).stack(&stack(&["f"], "2")).var("STRATEGY", "replace").var("WAIT", "true");
    pipe.run().exits(1).says("✖ 1 of 1 function not deployed").does_not_say("gone");
}

#[test]
fn function_already_being_deleted_is_created_when_it_is_gone() {
    // Community Edition answers 404 to a DELETE while the old function is terminating.
    let gateway = start(edition(Flavour::Ce).deletion(Duration::from_millis(700)));
    let pipe = replace(&gateway, Pipe::with_password(&gateway));
    let remove = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("COMMAND", "remove");
    remove.run().exits(0);
    pipe.run().exits(0);
    assert_eq!(image(&gateway, "f"), "example/f:2");
}
