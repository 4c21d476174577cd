//! `STRATEGY: replace`: what was deleted is created again.

use std::time::{Duration, Instant};

use local_gateway::{Fault, Flavour, Gateway, Latch};

use super::{against, image, last_line, stack, version_1};
use crate::support::{Pipe, Running, changes, permissive, start, until};

fn replace(gateway: &Gateway, pipe: Pipe) -> Pipe {
    gateway.put_function(&version_1("f"));
    pipe.stack(&stack(&["f"])).var("STRATEGY", "replace").var("WAIT_TIMEOUT", "30s").var("RETRIES", "1")
}

#[test]
fn function_is_created_again_although_the_looks_after_the_deletion_fail() {
    for flavour in Flavour::ALL {
        for fault in [
            Fault::on("GET", "/system/function/").times(4).status(500).body("etcd leader changed"),
            Fault::on("GET", "/system/function/").times(4).reset(),
            Fault::on("GET", "/system/function/").times(4).status(503).header("Retry-After", "0"),
        ] {
            let (gateway, pipe) = against(flavour);
            gateway.fault(fault.clone());
            replace(&gateway, pipe).run().exits(0).says("`f` replaced");
            assert_eq!(image(&gateway, "f"), "example/f:2", "{flavour:?} {fault:?}");
        }
    }
}

#[test]
fn deletion_whose_answer_was_lost_is_no_failure_if_the_creation_works() {
    for flavour in Flavour::ALL {
        for fault in [
            Fault::on("DELETE", "/system/functions").lose(),
            Fault::on("DELETE", "/system/functions").processed().status(502).header("Retry-After", "0"),
            Fault::on("DELETE", "/system/functions").processed().status(500).header("Retry-After", "0"),
            Fault::on("DELETE", "/system/functions").processed().status(200).body("{}").cut_off(1),
        ] {
            let (gateway, pipe) = against(flavour);
            gateway.fault(fault.clone());
            replace(&gateway, pipe).run().exits(0).says("`f` replaced");
            assert_eq!(image(&gateway, "f"), "example/f:2", "{flavour:?} {fault:?}");
        }
    }
}

#[test]
fn deletion_that_was_not_carried_out_leaves_the_function() {
    for flavour in Flavour::ALL {
        let (gateway, pipe) = against(flavour);
        gateway.fault(Fault::on("DELETE", "/system/functions").status(502).header("Retry-After", "0"));
        let ran = replace(&gateway, pipe).var("WAIT_TIMEOUT", "500ms").run().exits(1);
        assert_eq!(image(&gateway, "f"), "example/f:1", "{}", ran.log);
        assert!(ran.log.contains("502 Bad Gateway"), "{}", ran.log);
        ran.is_silent_about("gone");
    }
}

#[test]
fn deletion_may_take_longer_than_one_look() {
    let gateway = start(permissive().deletion(Duration::from_secs(2)));
    let pipe = Pipe::at(&gateway);
    replace(&gateway, pipe).run().exits(0).says("`f` replaced");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn function_that_is_not_gone_in_time_is_named_in_the_last_line() {
    let gateway = start(permissive().deletion(Duration::from_secs(3600)));
    let pipe = Pipe::at(&gateway);
    let started = Instant::now();
    let ran = replace(&gateway, pipe).var("WAIT_TIMEOUT", "1s").run().exits(1);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(last_line(&ran.log).contains("`f`"), "{}", ran.log);
    assert!(last_line(&ran.log).contains("gone"), "{}", ran.log);
}

#[test]
fn function_that_could_not_be_created_again_is_named_in_the_last_line() {
    for flavour in Flavour::ALL {
        let (gateway, pipe) = against(flavour);
        gateway.fault(Fault::on("POST", "/system/functions").status(400).body("no such secret"));
        let ran = replace(&gateway, pipe).run().exits(1).says("no such secret");
        assert_eq!(last_line(&ran.log), "✖ 1 of 1 function not deployed; gone, and to be deployed again: `f`");
        assert_eq!(image(&gateway, "f"), "");
    }
}

#[test]
fn gateway_that_dies_after_the_deletion_is_tried_until_wait_timeout() {
    let (gateway, pipe) = against(Flavour::Enterprise);
    gateway.fault(Fault::on("DELETE", "/system/functions").processed().dies());
    let started = Instant::now();
    let ran = replace(&gateway, pipe).var("WAIT_TIMEOUT", "2s").var("RETRIES", "0").run().exits(4);
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert!(last_line(&ran.log).ends_with("perhaps gone: `f`"), "{}", ran.log);
}

#[test]
fn what_ran_before_is_redeployed_if_the_creation_is_refused_and_it_is_known() {
    for flavour in [Flavour::Enterprise, Flavour::Faasd] {
        let (gateway, pipe) = against(flavour);
        gateway.fault(Fault::on("POST", "/system/functions").containing("example/f:2").status(400).body("no"));
        let pipe = replace(&gateway, pipe).var("WAIT", "true");
        let before = gateway.function("openfaas-fn", "f").expect("a function").deployment;
        let ran = pipe.run().exits(1).says("`f` is rolled back");
        let after = gateway.function("openfaas-fn", "f").expect("a function").deployment;
        for field in ["envVars", "secrets", "labels", "annotations", "limits"] {
            assert_eq!(after[field], before[field], "{flavour:?} {field}");
        }
        assert!(after["image"].as_str().expect("an image").ends_with("example/f:1"));
        ran.is_silent_about("gone");
    }
}

#[test]
fn stop_during_a_pause_leaves_time_to_create_the_function_again() {
    let gateway = start(permissive().deletion(Duration::from_millis(1500)));
    let pipe = Pipe::at(&gateway);
    let mut running = Running::of(replace(&gateway, pipe));
    until("look", || gateway.requests().iter().any(|request| request.method == "GET"));
    running.signal("TERM");
    running.end().exits(143).says("`f` replaced");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn stop_while_the_deletion_is_under_way_leaves_time_to_create_the_function_again() {
    let (gateway, pipe) = against(Flavour::Enterprise);
    let latch = Latch::closed();
    gateway.fault(Fault::on("DELETE", "/system/functions").held_by(&latch));
    let mut running = Running::of(replace(&gateway, pipe));
    until("deletion", || changes(&gateway).len() == 1);
    running.signal("TERM");
    running.read_to("SIGTERM received");
    latch.open();
    running.end().exits(143).says("`f` replaced");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn function_that_could_not_be_created_in_the_grace_period_is_named_in_the_last_line() {
    let gateway = start(permissive().deletion(Duration::from_secs(3600)));
    let pipe = Pipe::at(&gateway);
    let mut running = Running::of(replace(&gateway, pipe));
    until("look", || gateway.requests().iter().any(|request| request.method == "GET"));
    running.signal("TERM");
    let ran = running.end().exits(143);
    assert!(last_line(&ran.log).ends_with("perhaps gone: `f`"), "{}", ran.log);
}

#[test]
fn function_that_something_else_deletes_is_created_once_it_is_gone() {
    // Community Edition finds nothing to delete while the old one terminates.
    let gateway = start(crate::support::edition(Flavour::Ce).deletion(Duration::from_millis(700)));
    let pipe = replace(&gateway, Pipe::with_password(&gateway));
    let remove = Pipe::with_password(&gateway).stack(&stack(&["f"])).var("COMMAND", "remove");
    remove.run().exits(0);
    pipe.run().exits(0);
    assert_eq!(image(&gateway, "f"), "example/f:2");
}
