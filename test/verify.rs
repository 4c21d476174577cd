//! `VERIFY`: what was deployed is called, and rolled back together if a call fails.

use local_gateway::{Fault, Gateway, Ready};
use serde_json::{Value, json};

use crate::support::{Pipe, Ran, changes, permissive, permitting, put, stack, start};

/// Functions of the image `example/status`, which answers as its query asks.
fn of_status(names: &[&str]) -> String {
    names.iter().fold(stack(names), |text, name| text.replace(&format!("example/{name}:2"), "example/status:2"))
}

fn deploy(gateway: &Gateway, names: &[&str], calls: &[&str]) -> Pipe {
    let pipe = Pipe::at(gateway).stack(&of_status(names)).list("VERIFY", calls).var("WAIT_TIMEOUT", "20s");
    match gateway.ca_pem() {
        "" => pipe,
        pem => pipe.var("CA_CERT", pem),
    }
}

/// A gateway over HTTP/1.1, and one over TLS and HTTP/2.
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

/// What the gateway reports of its functions, but for counters.
fn reported(gateway: &Gateway) -> Vec<Value> {
    gateway.functions().iter().map(|function| function.deployment.clone()).collect()
}

#[test]
fn functions_are_called_once_they_are_ready() {
    for gateway in gateways() {
        let ran = deploy(&gateway, &["a", "b"], &["a/healthz", "b?status=204"]).run().exits(0);
        let mut calls = calls(&gateway);
        calls.sort();
        assert_eq!(calls, ["GET /function/a/healthz", "GET /function/b"]);
        ran.says("`a/healthz` answered 200").says("`b?status=204` answered 204").says("b?status=204  GET");
    }
}

#[test]
fn failed_call_shows_its_answer_and_ends_with_5() {
    for gateway in gateways() {
        let ran = deploy(&gateway, &["a", "b"], &["a?status=500&body=no%20database", "b"]).run().exits(5);
        let ran = ran.says("no database\n").says("VERIFY a?status=500&body=no%20database");
        let ran =
            ran.says("`a` answered 500 Internal Server Error to GET /function/a, call id `").says("`b` answered 200");
        ran.says("✖ deployed 2 functions, 1 `VERIFY` call failed");
        assert_eq!(calls(&gateway).len(), 2, "the other call is made all the same");
    }
}

#[test]
fn failed_call_shows_the_end_of_the_functions_log() {
    let gateway = start(permissive());
    gateway.put_function(&version_1("a"));
    assert!(gateway.log("openfaas-fn", "a", "panic: no database"));
    deploy(&gateway, &["a"], &["a?status=500"]).run().exits(5).says("panic: no database");
}

#[test]
fn all_functions_go_back_together() {
    for gateway in gateways() {
        gateway.put_function(&version_1("a"));
        gateway.put_function(&version_1("b"));
        let before = reported(&gateway);
        let ran = deploy(&gateway, &["a", "b", "new"], &["a", "b?status=500"]).var("ROLLBACK", "true").run().exits(5);
        ran.says("`a` is rolled back: image `example/status:1`")
            .says("`b` is rolled back")
            .says("`new` is rolled back");
        assert_eq!(reported(&gateway), before);
    }
}

#[test]
fn function_that_just_started_is_called_again() {
    for gateway in gateways() {
        for status in [502, 503, 504] {
            gateway.fault(Fault::on("GET", "/function/a").nth(1).status(status));
        }
        gateway.fault(Fault::on("GET", "/function/a").nth(2).reset());
        deploy(&gateway, &["a"], &["a"]).run().exits(0).says("`a` answered 200");
        assert_eq!(calls(&gateway).len(), 3);
    }
}

#[test]
fn function_that_stays_unavailable_fails_when_the_time_is_up() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/function/a").status(503));
    let ran = deploy(&gateway, &["a"], &["a"]).var("WAIT_TIMEOUT", "1s").run().exits(5);
    ran.says("`a` answered 503");
    assert!(calls(&gateway).len() > 1);
}

#[test]
fn call_without_an_answer_ends_when_the_time_is_up() {
    let gateway = start(permissive());
    gateway.fault(Fault::on("GET", "/function/a").hang());
    let ran = deploy(&gateway, &["a"], &["a"]).var("WAIT_TIMEOUT", "1s").run().exits(5);
    ran.says("`a` did not answer within 1 s");
}

#[test]
fn nothing_is_called_if_a_function_is_not_deployed_or_not_ready() {
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
fn call_that_is_not_permitted_ends_with_3_and_says_what_the_policy_lacks() {
    let gateway = start(permitting(&["Function:Create", "Function:Update", "Function:Get"]));
    let stack =
        "provider: {name: openfaas}\nfunctions:\n  a: {image: 'example/status:2', environment: {jwt_auth: true}}\n";
    deploy(&gateway, &[], &["a"]).stack(stack).run().exits(3).says("`Function:Invoke`");
}

#[test]
fn statement_to_paste_includes_the_calls() {
    let gateway = start(permitting(&["Function:Get"]));
    deploy(&gateway, &["a"], &["other.prod"]).run().exits(3).says("Function:Invoke").says("prod:other");
}

#[test]
fn call_has_the_method_the_body_and_the_headers_of_the_variables() {
    let gateway = start(permissive());
    put(&gateway, "openfaas-fn", "echo-json");
    let pipe = deploy(&gateway, &["a"], &["echo-json/run?x=1"]).var("METHOD", "post").var("PAYLOAD", "hello");
    pipe.var("CONTENT_TYPE", "text/csv").list("HEADERS", &["X-Team: etl"]).run().exits(0);
    let requests = gateway.requests();
    let call = requests.iter().find(|request| request.path.starts_with("/function/")).expect("a call");
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
    let call = requests.iter().find(|request| request.path.starts_with("/function/")).expect("a call");
    assert_eq!((call.text().as_ref(), call.header("content-type")), ("", None));
    deploy(&gateway, &["a"], &["a"]).var("PAYLOAD", "x").run().exits(2).says("PAYLOAD:\n- requires a `METHOD`");
}

#[test]
fn what_is_wrong_with_a_call_is_found_before_anything_is_sent() {
    let gateway = start(permissive());
    let pipe = deploy(&gateway, &["a"], &["a/../system", "/x", "a b", "a:1"]).var("METHOD", "FETCH");
    let ran = pipe.list("HEADERS", &["Host: x"]).run().exits(2);
    let ran = ran.says("VERIFY:\n").says("`a/../system`: the path contains `..`").says("`/x`: is not of the form");
    ran.says("`a b`: the path or query contains a space").says("`a:1`: `:` is not allowed").says("METHOD:\n");
    assert!(gateway.requests().is_empty());
    let ran = deploy(&gateway, &["a"], &["a"]).list("HEADERS", &["Host: x"]).run().exits(2);
    ran.says("`host` is set by the connection itself");
}

#[test]
fn dry_run_prints_the_calls() {
    let ran = Pipe::new().stack(&stack(&["a"])).list("VERIFY", &["a/healthz?x"]).var("DRY_RUN", "true").run().exits(0);
    ran.says("once all are ready, these calls would be made:\n  GET /function/a/healthz?x\n");
}

#[test]
fn reports_have_each_call() {
    let gateway = start(permissive());
    let pipe =
        deploy(&gateway, &["a"], &["a", "a/b?status=418"]).var("REPORT", "true").var("REPORT_PROXY", gateway.url());
    let storage = pipe.dir().join("storage");
    let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", storage.display().to_string());
    pipe.run().exits(5);
    let result: Value =
        serde_json::from_slice(&std::fs::read(storage.join("openfaas-pipe.json")).expect("a result")).expect("JSON");
    let calls = result["calls"].as_array().expect("calls");
    let told: Vec<_> =
        calls.iter().map(|call| (call["call"].as_str(), call["result"].as_str(), call["status"].as_u64())).collect();
    assert_eq!(told, [(Some("a"), Some("passed"), Some(200)), (Some("a/b?status=418"), Some("failed"), Some(418))]);
    let junit = std::fs::read_to_string(pipe.dir().join("test-reports/openfaas-pipe.xml")).expect("a report");
    assert!(junit.contains(r#"name="VERIFY a/b?status=418""#) && junit.contains(r#"failures="1""#), "{junit}");
}

#[test]
fn stop_during_a_call_rolls_nothing_back() {
    let gateway = start(permissive());
    gateway.put_function(&version_1("a"));
    gateway.fault(Fault::on("GET", "/function/a").hang());
    let mut running = crate::support::Running::of(deploy(&gateway, &["a"], &["a"]).var("ROLLBACK", "true"));
    running.read_to("verifying: 1 call");
    running.signal("TERM");
    let ran: Ran = running.end().exits(143);
    ran.is_silent_about("rolled back");
    assert_eq!(changes(&gateway).len(), 1);
}
