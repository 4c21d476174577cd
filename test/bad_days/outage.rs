//! A gateway that is not available ends the run, not each function in turn.

use local_gateway::{Fault, Flavour};

use super::{against, last_line, stack};
use crate::support::{changes, open, put};

#[test]
fn run_ends_once_as_many_functions_in_a_row_failed_as_are_deployed_at_once() {
    let names: Vec<_> = (0..20).map(|number| format!("f{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
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
            let pipe = pipe.stack(&stack(&names)).var("COMMAND", command).var("PARALLEL", "4").var("RETRIES", "0");
            let ran = pipe.run().exits(code);
            assert!(ran.log.contains("the gateway is not available: 4 functions in a row failed; "), "{}", ran.log);
            assert!(ran.log.matches("not started").count() >= 12, "{}", ran.log);
            assert!(last_line(&ran.log).contains("20 of 20 functions not "), "{}", ran.log);
            assert!(changes(&gateway).len() < 12, "{}", changes(&gateway).len());
        }
    }
}

#[test]
fn refusals_of_single_functions_do_not_end_the_run() {
    let gateway = open();
    gateway.fault(Fault::any().path("/system/functions").status(400).body("no"));
    let ran = crate::support::Pipe::at(&gateway).stack(&stack(&["a", "b", "c"])).var("PARALLEL", "1").run().exits(1);
    ran.is_silent_about("not started");
}

#[test]
fn two_hundred_functions_cost_no_more_requests_than_two_waves() {
    let names: Vec<_> = (0..200).map(|number| format!("f{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (gateway, pipe) = against(Flavour::Enterprise);
    gateway.fault(Fault::any().path("/system/functions").status(503).header("Retry-After", "2"));
    let ran = pipe.stack(&stack(&names)).var("RETRIES", "1").run().exits(1);
    ran.says("functions not started");
    // 16 in a row fail; until the last of them has, each that fails makes room for another.
    let sent = gateway.requests().iter().filter(|request| request.path == "/system/functions").count();
    assert!(sent <= 2 * (16 + 15), "{sent} requests");
}
