//! Stopped pipelines: SIGTERM and SIGINT at any moment.

use std::cell::RefCell;
use std::fs::File;
use std::net::TcpListener;
use std::time::Duration;

use local_gateway::{Fault, Gateway, Latch, Ready};

use crate::support::{Pipe, Running, changes, open, permissive, put, stack, start, wait_for};

/// How long requests in flight may take to finish.
const GRACE: Duration = Duration::from_secs(5);
/// Less than what the pipe would wait for otherwise: a pause of a minute, or the grace period and four seconds for work that
/// does not end with it.
const SOON: Duration = Duration::from_secs(8);
/// Less than the timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(50);

/// Waits until the gateway has received this request.
fn wait_for_request(gateway: &Gateway, method: &str, path: &str) {
    let is_it = |request: &local_gateway::Request| request.method == method && request.path.starts_with(path);
    wait_for(&format!("{method} {path}"), || gateway.requests().iter().any(is_it));
}

/// Sends a signal, and opens the latch when the pipe has handled the signal.
fn stop(running: &mut Running, signal: &str, latch: &Latch) {
    running.signal(signal);
    running.read_to(&format!("SIG{signal} received"));
    latch.open();
}

/// The words of a function's row in the table.
fn row<'a>(log: &'a str, name: &str) -> Vec<&'a str> {
    let mut rows = log.lines().skip_while(|line| !line.starts_with("FUNCTION"));
    let row = rows.find(|line| line.starts_with(&format!("{name} ")));
    row.unwrap_or_else(|| panic!("no row of `{name}` in\n{log}")).split_whitespace().collect()
}

#[test]
fn requests_in_flight_finish_and_no_new_ones_start() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let gateway = open();
        for name in ["a", "b"] {
            put(&gateway, "openfaas-fn", name);
        }
        let latch = Latch::closed();
        gateway.fault(Fault::on("PUT", "/system/functions").held_by(&latch));
        let pipe = Pipe::at(&gateway).stack(&stack(&["a", "b"], "2")).var("PARALLEL", "1");
        let storage = pipe.dir().display().to_string();
        let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", storage);
        let mut running = Running::of(pipe);
        wait_for_request(&gateway, "PUT", "/system/functions");
        stop(&mut running, signal, &latch);
        let log = running.end().exits(code).log;
        assert!(log.contains(&format!("WARNING: SIG{signal} received: nothing new is started")), "{log}");
        assert_eq!(row(&log, "a")[3], "updated", "{log}");
        assert_eq!(row(&log, "b")[3..5], ["not", "started"], "{log}");
        let last = log.lines().last().expect("missing line");
        assert_eq!(last, format!("✖ stopped by SIG{signal}: 1 of 2 functions deployed"));
        assert_eq!(changes(&gateway), [("PUT".to_owned(), "a".to_owned())]);
        let result = std::fs::read_to_string(running.pipe.dir().join("openfaas-pipe.json")).expect("cannot read file");
        assert!(result.contains("\"not started\"") && result.contains(&format!("stopped by SIG{signal}")), "{result}");
    }
}

#[test]
fn new_function_is_still_created_after_its_update() {
    let gateway = open();
    let latch = Latch::closed();
    gateway.fault(Fault::on("PUT", "/system/functions").held_by(&latch));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"], "2")));
    wait_for_request(&gateway, "PUT", "/system/functions");
    stop(&mut running, "TERM", &latch);
    let log = running.end().exits(143).log;
    assert_eq!(row(&log, "a")[3], "created", "{log}");
    assert!(log.contains("\n✖ stopped by SIGTERM: deployed 1 function in "), "{log}");
}

#[test]
fn signal_during_the_exchange_prevents_all_changes() {
    for command in ["deploy", "remove"] {
        let gateway = open();
        put(&gateway, "openfaas-fn", "a");
        let latch = Latch::closed();
        gateway.fault(Fault::on("POST", "/oauth/token").held_by(&latch));
        let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"], "2")).var("COMMAND", command));
        wait_for_request(&gateway, "POST", "/oauth/token");
        stop(&mut running, "TERM", &latch);
        let log = running.end().exits(143).log;
        assert!(log.contains("not started"), "{log}");
        assert_eq!(changes(&gateway), []);
    }
}

#[test]
fn signal_ends_the_pause_before_a_retry() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").status(503).header("Retry-After", "86400"));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"], "2")));
    running.read_to("503 Service Unavailable; retrying in 1 min (1 of 4)");
    running.signal("TERM");
    let log = running.end().exits(143).log;
    let took = running.since_signal();
    assert!(took < SOON, "{took:?}");
    assert_eq!(row(&log, "a")[3], "failed", "{log}");
    assert_eq!(changes(&gateway).len(), 1);
}

#[test]
fn signal_while_fetching_the_stack_file_is_not_a_validation_error() {
    let gateway = start(permissive().tls());
    gateway.fault(Fault::on("GET", "/stack.yml").status(503).header("Retry-After", "60"));
    let pipe = Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).without("OPENFAAS_URL");
    let mut running = Running::of(pipe.var("STACK_FILE", format!("{}/stack.yml", gateway.url())));
    running.read_to("retrying in 1 min");
    running.signal("TERM");
    let log = running.end().exits(143).log;
    assert!(log.ends_with("✖ stopped by SIGTERM: nothing was sent\n"), "{log}");
}

#[test]
fn hanging_request_is_aborted_after_five_seconds() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").hang());
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"], "2")));
    wait_for_request(&gateway, "PUT", "/system/functions");
    running.signal("TERM");
    let log = running.end().exits(143).log;
    let took = running.since_signal();
    assert!(log.contains("`a`: stopped before the response arrived"), "{log}");
    assert!(took >= GRACE && took < TIMEOUT, "{took:?}");
}

#[test]
fn second_signal_exits_at_once() {
    for (second, code) in [("TERM", 143), ("INT", 143)] {
        let gateway = open();
        gateway.fault(Fault::on("PUT", "/system/functions").hang());
        let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"], "2")));
        wait_for_request(&gateway, "PUT", "/system/functions");
        running.signal("TERM");
        running.read_to("SIGTERM received");
        running.signal(second);
        // At the end of the grace period, the request would have failed.
        let log = running.end().exits(code).log;
        assert!(log.ends_with("✖ stopped by SIGTERM, with work under way\n"), "{log}");
    }
}

#[test]
fn second_signal_interrupts_cpu_bound_work() {
    let gateway = open();
    let pipe = Pipe::at(&gateway)
        .stack(&(stack(&["a"], "2") + "    handler: ./a\n"))
        .file("a/handler.js", "")
        .var("TAG_FORMAT", "digest");
    // A sparse file, just below the limit: it takes seconds to hash and no disk space.
    let huge = File::create(pipe.dir().join("a/huge")).expect("cannot write file");
    huge.set_len((4 << 30) - (1 << 20)).expect("cannot write file");
    let mut running = Running::of(pipe);
    running.read_to("openfaas-pipe");
    running.signal("INT");
    running.read_to("SIGINT received");
    running.signal("INT");
    running.end().exits(130);
    let took = running.since_signal();
    assert!(took < SOON, "{took:?}");
    assert!(gateway.requests().is_empty());
}

#[test]
fn streamed_response_is_aborted_after_five_seconds_without_a_partial_file() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let slow = Fault::on("POST", "/function/echo").slow_body(Duration::from_millis(50)).body("more and more ");
    gateway.fault(slow);
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("OUTPUT_FILE", "answer");
    let mut running = Running::of(pipe);
    running.read_to("response: 200 OK");
    running.signal("INT");
    running.end().exits(130);
    let took = running.since_signal();
    assert!(took < TIMEOUT, "{took:?}");
    let left: Vec<_> = std::fs::read_dir(running.pipe.dir()).expect("cannot read directory").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn invocation_is_not_started_after_a_signal() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let latch = Latch::closed();
    gateway.fault(Fault::on("POST", "/oauth/token").held_by(&latch));
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("AUTH", "always");
    let mut running = Running::of(pipe);
    wait_for_request(&gateway, "POST", "/oauth/token");
    stop(&mut running, "TERM", &latch);
    let log = running.end().exits(143).log;
    assert!(log.ends_with("✖ stopped by SIGTERM: `echo` was not invoked\n"), "{log}");
    assert!(!gateway.requests().iter().any(|request| request.path.starts_with("/function/")));
}

#[test]
fn signal_ends_the_wait_without_a_rollback() {
    let gateway = start(permissive().ready(Ready::Never));
    let mut running =
        Running::of(Pipe::at(&gateway).stack(&stack(&["a"], "2")).var("WAIT", "true").var("ROLLBACK", "true"));
    wait_for_request(&gateway, "POST", "/system/functions");
    running.signal("TERM");
    let log = running.end().exits(143).log;
    let took = running.since_signal();
    assert!(took < SOON, "{took:?}");
    assert_eq!(row(&log, "a")[0], "a");
    // Whether the new version works is unknown, so it stays.
    assert!(gateway.function("openfaas-fn", "a").is_some());
    assert!(log.ends_with("✖ stopped by SIGTERM: 1 of 1 function deployed, 1 not known to be ready\n"), "{log}");
}

#[test]
fn signal_during_the_report_is_reported_in_the_result() {
    let gateway = open();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("cannot bind port");
    let pipe = Pipe::at(&gateway)
        .stack(&stack(&["a"], "2"))
        .var("BITBUCKET_PIPE_STORAGE_DIR", "storage")
        .var("REPORT", "true")
        .var("REPORT_PROXY", format!("http://{}", proxy.local_addr().expect("cannot get address")))
        .var("BITBUCKET_WORKSPACE", "acme")
        .var("BITBUCKET_REPO_SLUG", "shop")
        .var("BITBUCKET_COMMIT", "0123456789abcdef0123456789abcdef01234567");
    let mut running = Running::of(pipe);
    // The proxy accepts the connection and does not answer.
    proxy.set_nonblocking(true).expect("cannot set non-blocking");
    let connection = RefCell::new(None);
    wait_for("the report", || {
        *connection.borrow_mut() = proxy.accept().ok();
        connection.borrow().is_some()
    });
    running.signal("TERM");
    running.read_to("SIGTERM received");
    drop((connection, proxy));
    let log = running.end().exits(143).log;
    let last = log.lines().last().expect("missing line");
    assert!(last.starts_with("✖ stopped by SIGTERM: deployed 1 function in "), "{log}");
    let result =
        std::fs::read_to_string(running.pipe.dir().join("storage/openfaas-pipe.json")).expect("cannot read file");
    assert!(result.contains("stopped by SIGTERM") && result.contains("143"), "{result}");
}

#[test]
fn second_signal_leaves_no_temporary_file() {
    for builder in [permissive(), permissive().tls()] {
        let gateway = start(builder);
        gateway.fault(Fault::on("POST", "/function/f").body("and more").slow_body(Duration::from_millis(20)));
        let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "f").var("OUTPUT_FILE", "answer");
        let mut running = Running::of(pipe.var("CA_CERT", gateway.ca_pem()));
        let dir = running.pipe.dir().to_owned();
        wait_for("the temporary file", || std::fs::read_dir(&dir).is_ok_and(|mut files| files.next().is_some()));
        running.signal("TERM");
        running.read_to("SIGTERM received");
        running.signal("TERM");
        running.end().exits(143);
        assert_eq!(std::fs::read_dir(&dir).expect("cannot read directory").count(), 0);
    }
}

#[test]
fn retry_that_the_signal_prevents_is_not_announced() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").status(503));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"], "2")).var("DEBUG", "true"));
    running.read_to("/system/functions: 503");
    running.signal("TERM");
    let log = running.end().exits(143).log;
    let after = log.split_once("SIGTERM received").expect("no signal").1;
    assert!(!after.contains("retrying in"), "{log}");
}
