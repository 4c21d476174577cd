//! If the gateway is unavailable, the run stops early instead of failing for each function in turn.

use local_gateway::{Fault, Flavour};

use super::{against, last_line};
use crate::support::{Pipe, changes, edition, names, open, put, stack, start};

#[test]
fn run_stops_after_parallel_consecutive_failures() {
    let names = names(20);
    for (fault, code) in [
        (Fault::any().path("/system/functions").status(503).header("Retry-After", "0"), 1),
        (Fault::any().path("/system/functions").status(429).header("Retry-After", "0"), 1),
        (Fault::any().path("/system/functions").reset(), 4),
    ] {
        for command in ["deploy", "remove"] {
            let (gateway, pipe) = against(Flavour::Enterprise);
            for name in &names {
                put(&gateway, "openfaas-fn", name);
            }
            gateway.fault(fault.clone());
            let pipe = pipe.stack(&stack(&names, "2")).var("COMMAND", command).var("PARALLEL", "4").var("RETRIES", "0");
            let ran = pipe.run().exits(code);
            assert!(ran.log.contains("the gateway is not available: 4 functions in a row failed; "), "{}", ran.log);
            // One error for all that failed, one for all that were not started; each function is named once.
            assert!(ran.log.lines().count() < 15, "{}", ran.log);
            assert!(names.iter().all(|name| ran.log.matches(&format!("`{name}`")).count() == 1), "{}", ran.log);
            let last = last_line(&ran.log);
            let counts = if code == 4 { " of 20 functions not " } else { "20 of 20 functions not " };
            assert!(last.contains(counts) && last.contains(" not known to be ") == (code == 4), "{}", ran.log);
            assert!(changes(&gateway).len() < 12, "{}", changes(&gateway).len());
        }
    }
}

#[test]
fn rejected_functions_do_not_stop_the_run() {
    let gateway = open();
    gateway.fault(Fault::any().path("/system/functions").status(400).body("no"));
    let ran = Pipe::at(&gateway).stack(&stack(&["a", "b", "c"], "2")).var("PARALLEL", "1").run().exits(1);
    ran.does_not_say("not started");
}

#[test]
fn outage_with_200_functions_costs_at_most_two_batches_of_requests() {
    let names = names(200);
    let (gateway, pipe) = against(Flavour::Enterprise);
    gateway.fault(Fault::any().path("/system/functions").status(503).header("Retry-After", "2"));
    let ran = pipe.stack(&stack(&names, "2")).var("RETRIES", "1").run().exits(1);
    ran.says("functions not started");
    // 16 consecutive failures end the run. Until the last of them has failed, each failure frees a slot for another
    // function.
    let sent = gateway.requests().iter().filter(|request| request.path == "/system/functions").count();
    assert!(sent <= 2 * (16 + 15), "{sent} requests");
}

#[test]
fn hanging_gateway_ends_a_run_after_a_few_requests() {
    let names = names(16);
    for flavour in [Flavour::Enterprise, Flavour::Faasd] {
        let gateway = start(edition(flavour));
        gateway.fault(Fault::any().path_prefix("/system/").hang());
        let pipe = Pipe::with_password(&gateway).stack(&stack(&names, "2")).var("TIMEOUT", "2s");
        let ran = pipe.run().exits(4);
        let requests = gateway.requests();
        assert_eq!(requests.iter().filter(|request| request.path == "/system/info").count(), 1);
        // The information, the list, and for each function the update and a look at what it left.
        assert!(requests.len() <= 2 + 2 * names.len(), "{} requests\n{}", requests.len(), ran.log);
    }
}

#[test]
fn gateway_that_was_never_there_is_said_once() {
    let names = names(20);
    let outage = Fault::any().status(503).body("upstream connect error");
    let at_once = outage.clone().header("Retry-After", "0");
    for flavour in [Flavour::Ce, Flavour::Faasd] {
        // With the default retries: those of the first request show that the others would be of no use. `remove` has no first
        // request, and its retries share lines only as far as they wait at the same time.
        for (fault, name, value) in [
            (&at_once, "STRATEGY", "update"),
            (&at_once, "STRATEGY", "replace"),
            (&at_once, "WAIT", "true"),
            (&outage, "COMMAND", "remove"),
        ] {
            let gateway = start(edition(flavour));
            gateway.fault(fault.clone());
            let pipe = Pipe::with_password(&gateway).stack(&stack(&names, "2")).var(name, value);
            let ran = if value == "remove" { pipe.var("RETRIES", "1") } else { pipe }.run().exits(1);
            assert!(ran.log.lines().count() <= 25, "{name}\n{}", ran.log);
            assert!(names.iter().all(|name| ran.log.matches(&format!("`{name}`")).count() == 1), "{}", ran.log);
            ran.says("20 of 20 functions not ").does_not_say("may be gone");
            // The information with its retries, and at most four requests for each function.
            let sent = gateway.requests().len();
            assert!(sent <= 5 + 4 * names.len() + 1, "{name}: {sent} requests");
        }
    }
}

#[test]
fn functions_api_that_is_unavailable_is_said_in_few_lines() {
    let names = names(20);
    for flavour in [Flavour::Enterprise, Flavour::Ce, Flavour::Faasd] {
        let (gateway, pipe) = against(flavour);
        gateway.fault(Fault::any().path_prefix("/system/function").status(503).body("upstream connect error"));
        let ran = pipe.stack(&stack(&names, "2")).var("RETRIES", "2").run().exits(1);
        assert!(ran.log.lines().count() <= 25, "{}", ran.log);
        assert!(names.iter().all(|name| ran.log.matches(&format!("`{name}`")).count() == 1), "{}", ran.log);
        ran.does_not_say("may be gone");
    }
}
