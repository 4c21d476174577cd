//! Stopped pipelines: what SIGTERM and SIGINT do at any moment.

use std::cell::RefCell;
use std::fs::File;
use std::net::TcpListener;
use std::time::Duration;

use local_gateway::{Fault, Gateway, Latch, Ready};

use crate::support::{Pipe, Running, changes, open, permissive, put, stack, start, until};

/// The time that what is under way has to finish.
const GRACE: Duration = Duration::from_secs(5);
/// Less than that by far, more than a slow machine needs to end.
const SOON: Duration = Duration::from_secs(4);

/// Waits until the gateway has seen a request.
fn until_asked(gateway: &Gateway, method: &str, path: &str) {
    let is_it = |request: &local_gateway::Request| request.method == method && request.path.starts_with(path);
    until(&format!("{method} {path}"), || gateway.requests().iter().any(is_it));
}

/// Stops a run, and lets what is held go on once the run knows that it is to stop.
fn stop(running: &mut Running, signal: &str, held: &Latch) {
    running.signal(signal);
    running.read_to(&format!("SIG{signal} received"));
    held.open();
}

/// The words of a function's row in the table.
fn row<'a>(log: &'a str, name: &str) -> Vec<&'a str> {
    let mut rows = log.lines().skip_while(|line| !line.starts_with("FUNCTION"));
    let row = rows.find(|line| line.starts_with(&format!("{name} ")));
    row.unwrap_or_else(|| panic!("no row of `{name}` in\n{log}")).split_whitespace().collect()
}

#[test]
fn what_is_under_way_finishes_nothing_new_starts_and_the_table_tells_both() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let gateway = open();
        for name in ["a", "b"] {
            put(&gateway, "openfaas-fn", name);
        }
        let latch = Latch::closed();
        gateway.fault(Fault::on("PUT", "/system/functions").held_by(&latch));
        let pipe = Pipe::at(&gateway).stack(&stack(&["a", "b"])).var("PARALLEL", "1");
        let storage = pipe.dir().display().to_string();
        let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", storage);
        let mut running = Running::of(pipe);
        until_asked(&gateway, "PUT", "/system/functions");
        stop(&mut running, signal, &latch);
        let log = running.end().exits(code).log;
        assert!(log.contains(&format!("WARNING: SIG{signal} received: nothing new is started")), "{log}");
        assert_eq!(row(&log, "a")[3], "updated", "{log}");
        assert_eq!(row(&log, "b")[3..5], ["not", "started"], "{log}");
        let last = log.lines().last().expect("a line");
        assert_eq!(last, format!("✖ stopped by SIG{signal}: 1 of 2 functions deployed"));
        assert_eq!(changes(&gateway), [("PUT".to_owned(), "a".to_owned())]);
        let result = std::fs::read_to_string(running.pipe.dir().join("openfaas-pipe.json")).expect("a result file");
        assert!(result.contains("\"not started\"") && result.contains(&format!("stopped by SIG{signal}")), "{result}");
    }
}

#[test]
fn new_function_is_created_though_its_update_was_under_way() {
    let gateway = open();
    let latch = Latch::closed();
    gateway.fault(Fault::on("PUT", "/system/functions").held_by(&latch));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])));
    until_asked(&gateway, "PUT", "/system/functions");
    stop(&mut running, "TERM", &latch);
    let log = running.end().exits(143).log;
    assert_eq!(row(&log, "a")[3], "created", "{log}");
    assert!(log.contains("\n✖ stopped by SIGTERM: deployed 1 function in "), "{log}");
}

#[test]
fn function_that_was_deleted_to_be_replaced_is_created_again() {
    let gateway = start(permissive().deletion(Duration::from_millis(500)));
    put(&gateway, "openfaas-fn", "a");
    let latch = Latch::closed();
    gateway.fault(Fault::on("GET", "/system/function/a").held_by(&latch));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])).var("STRATEGY", "replace"));
    until_asked(&gateway, "GET", "/system/function/a");
    stop(&mut running, "TERM", &latch);
    let log = running.end().exits(143).log;
    assert_eq!(row(&log, "a")[3], "replaced", "{log}");
    assert!(gateway.function("openfaas-fn", "a").is_some());
}

#[test]
fn nothing_is_deployed_or_removed_where_the_stop_comes_during_the_exchange() {
    for command in ["deploy", "remove"] {
        let gateway = open();
        put(&gateway, "openfaas-fn", "a");
        let latch = Latch::closed();
        gateway.fault(Fault::on("POST", "/oauth/token").held_by(&latch));
        let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])).var("COMMAND", command));
        until_asked(&gateway, "POST", "/oauth/token");
        stop(&mut running, "TERM", &latch);
        let log = running.end().exits(143).log;
        assert!(log.contains("not started"), "{log}");
        assert_eq!(changes(&gateway), []);
    }
}

#[test]
fn pause_before_the_next_try_ends_and_long_pauses_that_are_asked_for_are_capped() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").status(503).header("Retry-After", "86400"));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])));
    running.read_to("503 Service Unavailable; retrying in 1 min (1 of 4)");
    running.signal("TERM");
    let log = running.end().exits(143).log;
    let took = running.since_signal();
    assert!(took < SOON, "{took:?}");
    assert_eq!(row(&log, "a")[3], "failed:", "{log}");
    assert_eq!(changes(&gateway).len(), 1);
}

#[test]
fn stop_while_the_stack_file_is_fetched_is_no_mistake_in_the_variables() {
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
fn request_that_hangs_is_given_five_seconds() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").hang());
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])));
    until_asked(&gateway, "PUT", "/system/functions");
    running.signal("TERM");
    let log = running.end().exits(143).log;
    let took = running.since_signal();
    assert!(log.contains("`a`: stopped before the answer arrived"), "{log}");
    assert!(took >= GRACE && took < GRACE * 2, "{took:?}");
}

#[test]
fn second_signal_ends_at_once() {
    for (second, code) in [("TERM", 143), ("INT", 143)] {
        let gateway = open();
        gateway.fault(Fault::on("PUT", "/system/functions").hang());
        let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])));
        until_asked(&gateway, "PUT", "/system/functions");
        running.signal("TERM");
        running.read_to("SIGTERM received");
        running.signal(second);
        let log = running.end().exits(code).log;
        let took = running.since_signal();
        assert!(log.ends_with("✖ stopped by SIGTERM, with work under way\n"), "{log}");
        assert!(took < SOON, "{took:?}");
    }
}

#[test]
fn second_signal_ends_also_what_waits_for_nothing() {
    let gateway = open();
    let pipe = Pipe::at(&gateway)
        .stack("provider:\n  name: openfaas\nfunctions:\n  a: {image: 'example/a:2', handler: ./a}\n")
        .file("a/handler.js", "")
        .var("TAG_FORMAT", "digest");
    // Takes minutes to hash, and no room on the disk.
    let huge = File::create(pipe.dir().join("a/huge")).expect("a file");
    huge.set_len(1 << 40).expect("a hole");
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
fn answer_that_streams_is_given_five_seconds_and_leaves_no_part_of_a_file() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let slow = Fault::on("POST", "/function/echo").slow_body(Duration::from_millis(50)).body("more and more ");
    gateway.fault(slow);
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("OUTPUT_FILE", "answer");
    let mut running = Running::of(pipe);
    running.read_to("answered: 200 OK");
    running.signal("INT");
    running.end().exits(130);
    let took = running.since_signal();
    assert!(took < GRACE * 2, "{took:?}");
    let left: Vec<_> = std::fs::read_dir(running.pipe.dir()).expect("a directory").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn invocation_is_not_begun_after_the_stop() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let latch = Latch::closed();
    gateway.fault(Fault::on("POST", "/oauth/token").held_by(&latch));
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("AUTH", "always");
    let mut running = Running::of(pipe);
    until_asked(&gateway, "POST", "/oauth/token");
    stop(&mut running, "TERM", &latch);
    let log = running.end().exits(143).log;
    assert!(log.ends_with("✖ stopped by SIGTERM: `echo` was not invoked\n"), "{log}");
    assert!(!gateway.requests().iter().any(|request| request.path.starts_with("/function/")));
}

#[test]
fn waiting_for_readiness_ends() {
    let gateway = start(permissive().ready(Ready::Never));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])).var("WAIT", "true").var("ROLLBACK", "true"));
    until_asked(&gateway, "POST", "/system/functions");
    running.signal("TERM");
    let log = running.end().exits(143).log;
    let took = running.since_signal();
    assert!(took < SOON, "{took:?}");
    assert_eq!(row(&log, "a")[0], "a");
    // Whether it works is not known: it is left as it is.
    assert!(gateway.function("openfaas-fn", "a").is_some());
    assert!(log.ends_with("✖ stopped by SIGTERM: 1 of 1 function deployed, 1 not known to be ready\n"), "{log}");
}

#[test]
fn stop_during_the_report_is_told_by_exit_code_last_line_and_result() {
    let gateway = open();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let pipe = Pipe::at(&gateway)
        .stack(&stack(&["a"]))
        .var("BITBUCKET_PIPE_STORAGE_DIR", "storage")
        .var("REPORT", "true")
        .var("REPORT_PROXY", format!("http://{}", proxy.local_addr().expect("an address")))
        .var("BITBUCKET_WORKSPACE", "acme")
        .var("BITBUCKET_REPO_SLUG", "shop")
        .var("BITBUCKET_COMMIT", "0123456789abcdef0123456789abcdef01234567");
    let mut running = Running::of(pipe);
    // It is asked, and does not answer.
    proxy.set_nonblocking(true).expect("a listener");
    let connection = RefCell::new(None);
    until("report", || {
        *connection.borrow_mut() = proxy.accept().ok();
        connection.borrow().is_some()
    });
    running.signal("TERM");
    running.read_to("SIGTERM received");
    drop((connection, proxy));
    let log = running.end().exits(143).log;
    let last = log.lines().last().expect("a line");
    assert!(last.starts_with("✖ stopped by SIGTERM: deployed 1 function in "), "{log}");
    let result = std::fs::read_to_string(running.pipe.dir().join("storage/openfaas-pipe.json")).expect("a result file");
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
        until("temporary file", || std::fs::read_dir(&dir).is_ok_and(|mut files| files.next().is_some()));
        running.signal("TERM");
        running.read_to("SIGTERM received");
        running.signal("TERM");
        running.end().exits(143);
        assert_eq!(std::fs::read_dir(&dir).expect("a directory").count(), 0);
    }
}
