//! `VERIFY`: deployed functions are called, and all are rolled back if a call fails.

use std::time::Duration;

use local_gateway::{Fault, Gateway, Ready};
use serde_json::{Value, json};

use crate::support::{Pipe, Ran, Running, changes, permissive, permitting, put, start};

/// A stack file whose functions have the image `example/status`, which responds as the query says.
fn status_stack(names: &[&str]) -> String {
    let functions: String = names.iter().map(|name| format!("  {name}: {{image: 'example/status:2'}}\n")).collect();
    format!("provider:\n  name: openfaas\nfunctions:\n{functions}")
}

fn deploy(gateway: &Gateway, names: &[&str], calls: &[&str]) -> Pipe {
    let pipe = Pipe::at(gateway).stack(&status_stack(names)).list("VERIFY", calls).var("WAIT_TIMEOUT", "20s");
    match gateway.ca_pem() {
        "" => pipe,
        pem => pipe.var("CA_CERT", pem),
    }
}

/// A gateway with HTTP/1.1, and one with TLS and HTTP/2.
fn gateways() -> [Gateway; 2] {
    [start(permissive()), start(permissive().tls())]
}

fn calls(gateway: &Gateway) -> Vec<String> {
    let requests = gateway.requests();
    let calls = requests.iter().filter(|request| request.path.starts_with("/function/"));
    calls.map(|request| format!("{} {}", request.method, request.path)).collect()
}

fn version_1(name: &str) -> Value {
    json!({
        "service": name, "image": "example/status:1", "envVars": {"MODE": "fast"}, "labels": {"tier": "web"},
        "annotations": {"topic": "t"}, "readOnlyRootFilesystem": true, "constraints": ["zone=a"],
    })
}

/// Runs version 1 of a function, without an available replica: version 2 is then known to be ready at once.
fn run_version_1(gateway: &Gateway, name: &str) {
    gateway.put_function(&version_1(name));
    gateway.set_ready("example/status:2", Ready::After(Duration::ZERO));
    gateway.set_ready(name, Ready::Never);
}

/// The functions of the gateway, without counters.
fn reported(gateway: &Gateway) -> Vec<Value> {
    gateway.functions().iter().map(|function| function.deployment.clone()).collect()
}

#[test]
fn functions_are_called_when_they_are_ready() {
    for gateway in gateways() {
        let ran = deploy(&gateway, &["a", "b"], &["a/healthz", "b?status=204"]).run().exits(0);
        let mut calls = calls(&gateway);
        calls.sort();
        assert_eq!(calls, ["GET /function/a/healthz", "GET /function/b"]);
        ran.says("`a/healthz` returned 200").says("`b?status=204` returned 204").says("b?status=204  GET");
    }
}

#[test]
fn failed_call_prints_the_response_and_exits_with_5() {
    for gateway in gateways() {
        let ran = deploy(&gateway, &["a", "b"], &["a?status=500&body=no%20database", "b"]).run().exits(5);
        let ran = ran
            .says("INFO: the response of `a?status=500&body=no%20database`:\n  no database\n")
            .says("VERIFY a?status=500&body=no%20database");
        let ran =
            ran.says("`a` returned 500 Internal Server Error to GET /function/a, call id `").says("`b` returned 200");
        ran.says("✖ deployed 2 functions, 1 `VERIFY` call failed");
        assert_eq!(calls(&gateway).len(), 2, "the other call is made anyway");
    }
}

#[test]
fn failed_call_prints_the_end_of_the_function_log() {
    let gateway = start(permissive());
    run_version_1(&gateway, "a");
    assert!(gateway.log("openfaas-fn", "a", "panic: no database"));
    deploy(&gateway, &["a"], &["a?status=500"]).run().exits(5).says("panic: no database");
}

#[test]
fn log_that_may_not_be_read_is_named_once() {
    let gateway = start(permitting(&["Function:Create", "Function:Update", "Function:Get"]));
    let ran = deploy(&gateway, &["a", "b"], &["a?status=500", "b?status=500"]).run().exits(5);
    ran.says("to see the end of a function's log here, grant `Function:Logs` on `openfaas-fn:a`, `openfaas-fn:b`\n");
}

#[test]
fn image_for_another_platform_is_recognised_in_the_log() {
    let gateway = start(permissive());
    run_version_1(&gateway, "a");
    assert!(gateway.log("openfaas-fn", "a", "exec ./handler: exec format error"));
    let ran = deploy(&gateway, &["a"], &["a?status=500"]).run().exits(5);
    ran.says("the image of `a` is for another platform than the node; `IMAGE_PLATFORMS` checks this before a deploy");
}

#[test]
fn log_that_cannot_be_read_is_not_called_empty() {
    for (content_type, body) in [
        ("text/html", "<html><title>Sign in</title></html>".to_owned()),
        ("application/x-ndjson", format!("{{\"text\":\"{}\"}}", "x".repeat(100_000))),
        ("application/x-ndjson", "not a log".to_owned()),
    ] {
        let gateway = start(permissive());
        let fault = Fault::on("GET", "/system/logs").status(200).header("Content-Type", content_type);
        gateway.fault(fault.body(body));
        let ran = deploy(&gateway, &["a"], &["a?status=500"]).run().exits(5);
        ran.says("the log of `a` cannot be read: GET /system/logs").does_not_say("has written nothing");
    }
}

#[test]
fn all_functions_are_rolled_back_together() {
    for gateway in gateways() {
        run_version_1(&gateway, "a");
        run_version_1(&gateway, "b");
        let before = reported(&gateway);
        let ran = deploy(&gateway, &["a", "b", "new"], &["a", "b?status=500"]).var("ROLLBACK", "true").run().exits(5);
        ran.says("`a` is rolled back: image `example/status:1`")
            .says("`b` is rolled back")
            .says("`new` is rolled back");
        assert_eq!(reported(&gateway), before);
    }
}

#[test]
fn transient_call_failures_are_retried() {
    for gateway in gateways() {
        for status in [502, 503, 504] {
            gateway.fault(Fault::on("GET", "/function/a").nth(1).status(status));
        }
        gateway.fault(Fault::on("GET", "/function/a").nth(2).reset());
        deploy(&gateway, &["a"], &["a"]).run().exits(0).says("`a` returned 200");
        assert_eq!(calls(&gateway).len(), 3);
    }
}

#[test]
fn response_of_the_provider_itself_is_retried() {
    let gateway = start(permissive());
    for (nth, status, part) in [(1, 500, "proxy"), (2, 503, "proxy"), (3, 429, "of-watchdog")] {
        let fault = Fault::on("GET", "/function/a").nth(nth).status(status).header("X-OpenFaaS-Internal", part);
        gateway.fault(fault.body("Can't reach service for: a.\n"));
    }
    deploy(&gateway, &["a"], &["a"]).run().exits(0).says("`a` returned 200");
    assert_eq!(calls(&gateway).len(), 4);
}

#[test]
fn call_fails_if_the_function_stays_unavailable() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/function/a").status(503));
    let ran = deploy(&gateway, &["a"], &["a"]).var("WAIT_TIMEOUT", "3s").run().exits(5);
    ran.says("returned 503");
    assert!(calls(&gateway).len() > 1);
}

#[test]
fn call_without_a_response_times_out() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/function/a").hang());
    let ran = deploy(&gateway, &["a"], &["a"]).var("WAIT_TIMEOUT", "1s").run().exits(5);
    ran.says("`a` did not respond within 1 s");
}

#[test]
fn call_whose_turn_comes_too_late_is_not_made() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/function/a").hang());
    let pipe = deploy(&gateway, &["a", "b"], &["a", "b"]).var("WAIT_TIMEOUT", "1s").var("PARALLEL", "1");
    pipe.run().exits(5).says("`VERIFY b`: not made: `WAIT_TIMEOUT` was over").does_not_say("`b` did not respond");
    assert_eq!(calls(&gateway), ["GET /function/a"]);
}

/// The time for calls is not spent on hints.
#[test]
fn list_that_hangs_is_asked_for_once_and_not_again() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/system/functions").hang());
    let pipe = deploy(&gateway, &["a"], &["a?status=404", "a/b?status=404"]).var("PARALLEL", "1");
    pipe.var("TIMEOUT", "1s").var("RETRIES", "1").run().exits(5).says("either the function itself returns 404");
    let requests = gateway.requests();
    let verified = requests.iter().skip_while(|request| !request.path.starts_with("/function/"));
    assert_eq!(verified.filter(|request| request.path == "/system/functions").count(), 1);
}

#[test]
fn slow_call_is_not_told_to_use_the_queue() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/function/a").hang());
    let pipe = deploy(&gateway, &["a"], &["a"]).var("TIMEOUT", "1s").var("WAIT_TIMEOUT", "1500ms");
    pipe.run().exits(5).says("`a`").does_not_say("`ASYNC").does_not_say("firewall");
}

#[test]
fn status_of_a_redirect_is_in_the_table() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/function/a").status(302).header("Location", "/login"));
    deploy(&gateway, &["a"], &["a"]).run().exits(5).says("a       GET     302     failed");
}

#[test]
fn no_call_is_made_unless_all_functions_are_ready() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("PUT", "/system/functions").containing("\"b\"").status(400).body("no"));
    let ran = deploy(&gateway, &["a", "b"], &["a"]).run().exits(1);
    ran.says("no `VERIFY` call is made").says("a       GET     -       not made");
    assert_eq!(calls(&gateway), [""; 0]);

    let gateway = start(permissive().ready_of("example/status:2", Ready::Never));
    deploy(&gateway, &["a"], &["a"]).var("WAIT_TIMEOUT", "500ms").run().exits(5).says("no `VERIFY` call is made");
    assert_eq!(calls(&gateway), [""; 0]);
}

#[test]
fn guarded_function_gets_a_token() {
    for gateway in gateways() {
        let stack =
            "provider: {name: openfaas}\nfunctions:\n  a: {image: 'example/status:2', environment: {jwt_auth: true}}\n";
        deploy(&gateway, &[], &["a"]).stack(stack).run().exits(0).says("`a` requires a function token");
    }
}

#[test]
fn call_without_permission_exits_with_3() {
    let gateway = start(permitting(&["Function:Create", "Function:Update", "Function:Get"]));
    let stack =
        "provider: {name: openfaas}\nfunctions:\n  a: {image: 'example/status:2', environment: {jwt_auth: true}}\n";
    deploy(&gateway, &[], &["a"]).stack(stack).run().exits(3).says("`Function:Invoke`");
}

#[test]
fn printed_policy_statement_includes_the_calls() {
    let gateway = start(permitting(&["Function:Get"]));
    deploy(&gateway, &["a"], &["other.prod"]).run().exits(3).says("Function:Invoke").says("prod:other");
}

#[test]
fn call_uses_method_payload_and_headers() {
    let gateway = start(permissive());
    put(&gateway, "openfaas-fn", "echo-json");
    let pipe = deploy(&gateway, &["a"], &["echo-json/run?x=1"]).var("METHOD", "post").var("PAYLOAD", "hello");
    pipe.var("CONTENT_TYPE", "text/csv").list("HEADERS", &["X-Team: etl"]).run().exits(0);
    let requests = gateway.requests();
    let call = requests.iter().find(|request| request.path.starts_with("/function/")).expect("missing call");
    assert_eq!(
        (call.method.as_str(), call.path.as_str(), call.text().as_ref()),
        ("POST", "/function/echo-json/run", "hello")
    );
    assert_eq!((call.header("x-team"), call.header("content-type")), (Some("etl"), Some("text/csv")));
}

#[test]
fn get_has_no_body() {
    let gateway = start(permissive());
    deploy(&gateway, &["a"], &["a"]).run().exits(0);
    let requests = gateway.requests();
    let call = requests.iter().find(|request| request.path.starts_with("/function/")).expect("missing call");
    assert_eq!((call.text().as_ref(), call.header("content-type")), ("", None));
    deploy(&gateway, &["a"], &["a"]).var("PAYLOAD", "x").run().exits(2).says("PAYLOAD:\n- requires a `METHOD`");
}

#[test]
fn invalid_calls_are_rejected_before_any_request() {
    let gateway = start(permissive());
    let pipe = deploy(&gateway, &["a"], &["a/../system", "/x", "a b", "a:1"]).var("METHOD", "FETCH");
    let ran = pipe.list("HEADERS", &["Host: x"]).run().exits(2);
    let ran = ran.says("VERIFY:\n").says("`a/../system`: the path contains `..`").says("`/x` is not of the form");
    ran.says("`a b`: the path or query contains a space").says("`a:1`: `:` is not allowed").says("METHOD:\n");
    assert!(gateway.requests().is_empty());
    let ran = deploy(&gateway, &["a"], &["a"]).list("HEADERS", &["Host: x"]).run().exits(2);
    ran.says("`host` is set by the connection itself");
}

#[test]
fn dry_run_prints_the_calls() {
    let ran =
        Pipe::new().stack(&status_stack(&["a"])).list("VERIFY", &["a/healthz?x"]).var("DRY_RUN", "true").run().exits(0);
    ran.says("once all are ready, these calls would be made:\n  GET /function/a/healthz?x\n");
}

#[test]
fn reports_contain_every_call() {
    let gateway = start(permissive());
    let pipe =
        deploy(&gateway, &["a"], &["a", "a/b?status=418"]).var("REPORT", "true").var("REPORT_PROXY", gateway.url());
    let storage = pipe.dir().join("storage");
    let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", storage.display().to_string());
    pipe.run().exits(5);
    let result: Value =
        serde_json::from_slice(&std::fs::read(storage.join("openfaas-pipe.json")).expect("cannot read file"))
            .expect("invalid JSON");
    let calls = result["calls"].as_array().expect("missing calls");
    let reported: Vec<_> =
        calls.iter().map(|call| (call["call"].as_str(), call["result"].as_str(), call["status"].as_u64())).collect();
    assert_eq!(reported, [(Some("a"), Some("passed"), Some(200)), (Some("a/b?status=418"), Some("failed"), Some(418))]);
    let junit = std::fs::read_to_string(pipe.dir().join("test-reports/openfaas-pipe.xml")).expect("cannot read file");
    assert!(junit.contains(r#"name="VERIFY a/b?status=418""#) && junit.contains(r#"failures="1""#), "{junit}");
}

#[test]
fn signal_during_a_call_does_not_roll_back() {
    let gateway = start(permissive());
    run_version_1(&gateway, "a");
    gateway.fault(Fault::on("GET", "/function/a").hang());
    let mut running = Running::of(deploy(&gateway, &["a"], &["a"]).var("ROLLBACK", "true"));
    running.read_to("verifying: 1 call");
    running.signal("TERM");
    let ran: Ran = running.end().exits(143);
    ran.does_not_say("rolled back");
    assert_eq!(changes(&gateway).len(), 1);
}

#[test]
fn payload_that_may_have_arrived_is_not_sent_again() {
    for (fault, says) in [
        (Fault::on("POST", "/function/a").hang(), "did not respond within 1 s, and may still run"),
        (Fault::on("POST", "/function/a").lose(), "the connection was closed before the response was complete"),
    ] {
        let gateway = start(permissive());
        gateway.fault(fault);
        let pipe = deploy(&gateway, &["a"], &["a"]).var("METHOD", "POST").var("PAYLOAD", "x").var("TIMEOUT", "1s");
        pipe.run().exits(5).says(says);
        assert_eq!(calls(&gateway), ["POST /function/a"]);
    }
    // These do not come from the function.
    let gateway = start(permissive());
    gateway.fault(Fault::on("POST", "/function/a").times(1).status(503));
    deploy(&gateway, &["a"], &["a"]).var("METHOD", "POST").var("PAYLOAD", "x").run().exits(0);
    assert_eq!(calls(&gateway).len(), 2);
}

#[test]
fn rest_of_a_response_is_counted_as_far_as_it_is_known() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/function/a").status(500).header("X-Call-Id", "1").body(vec![b'x'; 1_000_000]));
    deploy(&gateway, &["a"], &["a"]).run().exits(5).says("x\n  … (997952 more bytes)\n");
    gateway.clear_faults();
    gateway.fault(Fault::on("GET", "/function/a").status(500).header("X-Call-Id", "1").body("x").endless_body());
    deploy(&gateway, &["a"], &["a"]).run().exits(5).says("x\n  …\n");
}

#[test]
fn log_that_a_password_may_not_read_needs_no_policy() {
    let gateway = start(crate::support::edition(local_gateway::Flavour::Enterprise));
    gateway.fault(Fault::on("GET", "/system/logs").status(403).body("no"));
    let pipe = Pipe::with_password(&gateway).stack(&status_stack(&["a"])).list("VERIFY", &["a?status=500"]);
    pipe.run().exits(5).says("the log of `a` cannot be read: GET /system/logs").does_not_say("Function:Logs");
}
