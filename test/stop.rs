//! Stopped pipelines: what SIGTERM and SIGINT do at any moment.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command};
use std::thread;
use std::time::{Duration, Instant};

use local_gateway::{Fault, Gateway, Ready};

use crate::support::{Pipe, changes, open, permissive, put, start};

/// The time that what is under way has to finish.
const GRACE: Duration = Duration::from_secs(5);
/// Less than that by far, more than a slow machine needs to end.
const SOON: Duration = Duration::from_secs(4);

fn stack(names: &[&str]) -> String {
    let functions: String = names.iter().map(|name| format!("  {name}: {{image: 'example/{name}:2'}}\n")).collect();
    format!("provider:\n  name: openfaas\nfunctions:\n{functions}")
}

/// A pipe that runs.
struct Running {
    pipe: Pipe,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: String,
}

impl Running {
    fn of(pipe: Pipe) -> Self {
        let mut child = pipe.command().spawn().expect("the pipe runs");
        let lines = BufReader::new(child.stdout.take().expect("a log")).lines();
        Self { pipe, child, lines, log: String::new() }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Reads the log up to a line with this text.
    fn read_to(&mut self, text: &str) {
        for line in self.lines.by_ref() {
            let line = line.expect("a line");
            let found = line.contains(text);
            self.log.push_str(&line);
            self.log.push('\n');
            if found {
                return;
            }
        }
        panic!("`{text}` is not in\n{}", self.log);
    }

    /// The exit code, the whole log, and how long the end took.
    fn end(&mut self) -> (i32, String, Duration) {
        let started = Instant::now();
        for line in self.lines.by_ref() {
            self.log.push_str(&line.expect("a line"));
            self.log.push('\n');
        }
        let status = self.child.wait().expect("an end");
        let code = status.code().unwrap_or_else(|| panic!("{status}\n{}", self.log));
        (code, std::mem::take(&mut self.log), started.elapsed())
    }
}

/// Waits until the gateway has seen a request.
fn until_asked(gateway: &Gateway, method: &str, path: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !gateway.requests().iter().any(|request| request.method == method && request.path.starts_with(path)) {
        assert!(Instant::now() < deadline, "no {method} {path}");
        thread::sleep(Duration::from_millis(5));
    }
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
        gateway.fault(Fault::on("PUT", "/system/functions").delay(Duration::from_millis(700)));
        let pipe = Pipe::at(&gateway).stack(&stack(&["a", "b"])).var("PARALLEL", "1");
        let storage = pipe.dir().display().to_string();
        let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", storage);
        let mut running = Running::of(pipe);
        until_asked(&gateway, "PUT", "/system/functions");
        running.signal(signal);
        let (ended, log, _) = running.end();
        assert_eq!(ended, code, "{log}");
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
    gateway.fault(Fault::on("PUT", "/system/functions").delay(Duration::from_millis(500)));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])));
    until_asked(&gateway, "PUT", "/system/functions");
    running.signal("TERM");
    let (code, log, _) = running.end();
    assert_eq!(code, 143, "{log}");
    assert_eq!(row(&log, "a")[3], "created", "{log}");
    assert!(log.contains("\n✖ stopped by SIGTERM: deployed 1 function in "), "{log}");
}

#[test]
fn function_that_was_deleted_to_be_replaced_is_created_again() {
    let gateway = start(permissive().deletion(Duration::from_millis(1500)));
    put(&gateway, "openfaas-fn", "a");
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])).var("STRATEGY", "replace"));
    until_asked(&gateway, "GET", "/system/function/a");
    running.signal("TERM");
    let (code, log, _) = running.end();
    assert_eq!(code, 143, "{log}");
    assert_eq!(row(&log, "a")[3], "replaced", "{log}");
    assert!(gateway.function("openfaas-fn", "a").is_some());
}

#[test]
fn nothing_is_deployed_or_removed_where_the_stop_comes_during_the_exchange() {
    for command in ["deploy", "remove"] {
        let gateway = open();
        put(&gateway, "openfaas-fn", "a");
        gateway.fault(Fault::on("POST", "/oauth/token").delay(Duration::from_millis(500)));
        let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])).var("COMMAND", command));
        until_asked(&gateway, "POST", "/oauth/token");
        running.signal("TERM");
        let (code, log, _) = running.end();
        assert_eq!(code, 143, "{log}");
        assert!(log.contains("not started"), "{log}");
        assert_eq!(changes(&gateway), []);
    }
}

#[test]
fn pause_before_the_next_try_ends_and_long_pauses_that_are_asked_for_are_capped() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").status(503).header("Retry-After", "86400"));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])));
    running.read_to("503 Service Unavailable; trying again in 1 min (1 of 4)");
    running.signal("TERM");
    let (code, log, took) = running.end();
    assert_eq!(code, 143, "{log}");
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
    running.read_to("trying again in 1 min");
    running.signal("TERM");
    let (code, log, _) = running.end();
    assert_eq!(code, 143, "{log}");
    assert!(log.ends_with("✖ stopped by SIGTERM: nothing was sent\n"), "{log}");
}

#[test]
fn request_that_hangs_is_given_five_seconds() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").hang());
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])));
    until_asked(&gateway, "PUT", "/system/functions");
    running.signal("TERM");
    let (code, log, took) = running.end();
    assert_eq!(code, 143, "{log}");
    assert!(log.contains("`a`: stopped before the answer came"), "{log}");
    assert!(took > GRACE - Duration::from_secs(1) && took < GRACE * 2, "{took:?}");
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
        let (ended, log, took) = running.end();
        assert_eq!(ended, code, "{log}");
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
    let (code, log, took) = running.end();
    assert_eq!(code, 130, "{log}");
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
    let (code, log, took) = running.end();
    assert_eq!(code, 130, "{log}");
    assert!(took < GRACE * 2, "{took:?}");
    let left: Vec<_> = std::fs::read_dir(running.pipe.dir()).expect("a directory").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn invocation_is_not_begun_after_the_stop() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    gateway.fault(Fault::on("POST", "/oauth/token").delay(Duration::from_millis(500)));
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("AUTH", "always");
    let mut running = Running::of(pipe);
    until_asked(&gateway, "POST", "/oauth/token");
    running.signal("TERM");
    let (code, log, _) = running.end();
    assert_eq!(code, 143, "{log}");
    assert!(log.ends_with("✖ stopped by SIGTERM: `echo` was not invoked\n"), "{log}");
    assert!(!gateway.requests().iter().any(|request| request.path.starts_with("/function/")));
}

#[test]
fn waiting_for_readiness_ends() {
    let gateway = start(permissive().ready(Ready::Never));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a"])).var("WAIT", "true").var("ROLLBACK", "true"));
    until_asked(&gateway, "POST", "/system/functions");
    running.signal("TERM");
    let (code, log, took) = running.end();
    assert_eq!(code, 143, "{log}");
    assert!(took < SOON, "{took:?}");
    assert_eq!(row(&log, "a")[0], "a");
    // Whether it works is not known: it is left as it is.
    assert!(gateway.function("openfaas-fn", "a").is_some());
}
