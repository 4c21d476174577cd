//! Answers, files and surroundings that are too much: a bound on memory and time, and a clear word.

use std::env;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use local_gateway::raw::{self, Behaviour};
use local_gateway::{Fault, Gateway};
use nix::sys::resource::{UsageWho, getrusage};
use tempfile::NamedTempFile;

use crate::support::{Pipe, Ran, STACK, binary, issuer, open, permissive, put, start};

/// What an answer may cost beyond an ordinary run: with the shipped program's own 3, that is 13 of the 16 MB it may take.
const ROOM: u64 = 10 * 1024;

/// Where [`process_between`] leaves its report.
const REPORT_FILE: &str = "BOUNDED_REPORT_FILE";

/// A run, and its peak of resident memory in KiB.
fn measured(pipe: &Pipe) -> (Ran, u64) {
    let report = NamedTempFile::new().expect("a file");
    let mut between = Command::new(env::current_exe().expect("this program"));
    let variables = pipe.command();
    between
        .args(["--exact", "bounded::process_between", "--ignored"])
        .env_clear()
        .envs(variables.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env(REPORT_FILE, report.path())
        .current_dir(pipe.dir());
    let output = between.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let report = fs::read_to_string(report.path()).expect("a report");
    let (numbers, log) = report.split_once('\n').expect("a line");
    let (code, peak) = numbers.split_once(' ').expect("two numbers");
    (Ran { code: code.parse().expect("a code"), log: log.to_owned() }, peak.parse().expect("a size"))
}

/// Not a test, but what [`measured`] puts between itself and the pipe: a process counts what its parent had when it was
/// started, and the peak is that of all children.
#[test]
#[ignore = "other tests run it"]
fn process_between() {
    let Some(report) = env::var_os(REPORT_FILE) else { return };
    let output = Command::new(binary()).env_remove(REPORT_FILE).output().expect("the pipe runs");
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the usage").max_rss();
    let ran = Ran::from(output);
    fs::write(report, format!("{} {peak}\n{}", ran.code, ran.log)).expect("a file");
}

/// The peak of an ordinary run. A debug build's own size is not the point.
fn ordinary() -> u64 {
    static PEAK: OnceLock<u64> = OnceLock::new();
    *PEAK.get_or_init(|| {
        let gateway = open();
        let (ran, peak) = measured(&Pipe::at(&gateway).stack(STACK));
        ran.exits(0);
        peak
    })
}

/// Checks that a run keeps to its bounds; `TIMEOUT` is two seconds.
#[track_caller]
fn bounded(what: &str, pipe: Pipe) -> Ran {
    let pipe = pipe.var("TIMEOUT", "2s").var("RETRIES", "0");
    let started = Instant::now();
    let (ran, peak) = measured(&pipe);
    let took = started.elapsed();
    assert!(peak < ordinary() + ROOM, "{what}: {peak} KiB, ordinarily {}\n{}", ordinary(), ran.log);
    // One request and what surrounds it, on a slow machine.
    assert!(took < Duration::from_secs(10), "{what}: {took:?}\n{}", ran.log);
    assert!(!ran.log.contains("internal error"), "{what}: {}", ran.log);
    ran
}

fn invoke(pipe: Pipe) -> Pipe {
    pipe.var("COMMAND", "invoke").var("FUNCTION", "echo")
}

#[test]
fn exchange_takes_no_more_than_its_bounds_whatever_answers() {
    for (what, behaviour, code, says) in [
        ("endless body", Behaviour::endless_body(), 1, "it is longer than 64 KiB"),
        ("endless headers", Behaviour::endless_headers(), 4, "the answer is not HTTP"),
        ("one byte a second", Behaviour::one_byte_a_beat(Duration::from_secs(1)), 4, "no complete answer within 2 s"),
        ("gzip bomb", Behaviour::gzip_bomb(), 1, "it is longer than 64 KiB"),
        ("no UTF-8", Behaviour::invalid_utf8(), 3, "caf\u{fffd}"),
        ("a web page", Behaviour::html(), 4, "web page"),
        ("JSON of another shape", Behaviour::strange_json(), 1, "the answer is not what a gateway returns"),
        ("silence", Behaviour::NeverAnswer, 4, "no complete answer within 2 s"),
        ("an end", Behaviour::Close, 4, "the connection was closed"),
    ] {
        let server = raw::serve(behaviour).expect("a server");
        let token = issuer().token().audience(&server.url()).mint();
        let pipe = Pipe::new().var("OPENFAAS_URL", server.url()).var("BITBUCKET_STEP_OIDC_TOKEN", token).stack(STACK);
        bounded(what, pipe).exits(code).says(says);
    }
}

type Strange = (&'static str, fn(Fault) -> Fault);

const STRANGE: [Strange; 4] = [
    ("endless body", |fault| fault.endless_body().body("and more ")),
    ("slow body", |fault| fault.slow_body(Duration::from_millis(500)).body("{}")),
    ("gzip bomb", |fault| fault.gzip_bomb()),
    ("endless headers", |fault| fault.raw_endless("HTTP/1.1 200 OK\r\nX-More: more\r\n")),
];

#[test]
fn deployment_and_invocation_take_no_more_than_their_bounds() {
    for (what, strange) in STRANGE {
        for tls in [false, true] {
            let gateway = start(if tls { permissive().tls() } else { permissive() });
            put(&gateway, "openfaas-fn", "echo");
            gateway.fault(strange(Fault::on("PUT", "/system/functions")));
            gateway.fault(strange(Fault::on("POST", "/function/echo")));
            let at = || {
                let pipe = Pipe::at(&gateway);
                if tls { pipe.var("CA_CERT", gateway.ca_pem()) } else { pipe }
            };
            bounded(what, at().stack(STACK));
            let ran = bounded(what, invoke(at()));
            assert_eq!(ran.code, 4, "{what}: {}", ran.log);
            let with_file = invoke(at()).var("OUTPUT_FILE", "answer");
            let dir = with_file.dir().to_owned();
            bounded(what, with_file);
            // What is not whole is not there.
            assert!(!dir.join("answer").exists(), "{what}");
        }
    }
}

#[test]
fn list_of_functions_takes_no_more_than_its_bounds() {
    let many = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    let labels: Vec<String> = (0..400_000).map(|number| format!("\"{number}\":\"\"")).collect();
    for (what, list) in [
        ("empty objects", many("{}", 1_300_000)),
        ("small objects", many(r#"{"name":"ech"}"#, 250_000)),
        ("a function with many labels", format!("[{{\"labels\":{{{}}}}}]", labels.join(","))),
        ("a long name", format!("[{{\"name\":\"{}\"}}]", "a".repeat(4_000_000))),
        ("more than is read", many("{}", 4_000_000)),
        ("nested", "[".repeat(2_000_000)),
    ] {
        let gateway = open();
        gateway.fault(Fault::on("POST", "/function/echo").status(404));
        gateway.fault(Fault::on("GET", "/system/functions").status(200).body(list));
        bounded(what, invoke(Pipe::at(&gateway))).exits(1).says("404 Not Found");
    }
}

#[test]
fn list_of_twenty_thousand_functions_is_read_in_little_memory() {
    let function = |name: &str, image: &str, label: &str| {
        format!(
            r#"{{"name":"{name}","namespace":"openfaas-fn","image":"{image}","labels":{{"com.openfaas-pipe.owner":"{label}"}},
            "annotations":{{"about":"{}"}},"replicas":1,"availableReplicas":1}}"#,
            "x".repeat(200)
        )
    };
    let mut list: Vec<_> =
        (0..20_000).map(|number| function(&format!("other{number}"), "example/f:1", "theirs")).collect();
    list.extend([function("echo", "example/echo:2", "theirs"), function("two", "example/two:1", "theirs")]);
    let gateway = open();
    gateway.fault(Fault::on("GET", "/system/functions").status(200).body(format!("[{}]", list.join(","))));
    let stack = format!("{STACK}  two: {{image: 'example/two:1'}}\n");
    let diff = || Pipe::at(&gateway).stack(&stack).var("COMMAND", "diff").var("RETRIES", "0");
    let (ran, peak) = measured(&diff());
    ran.exits(6).says("~ echo\n").says("~ two\n");
    assert!(peak < ordinary() + ROOM, "{peak} KiB");
    assert!(!gateway.requests().iter().any(|request| request.path.starts_with("/system/function/")));
}

#[test]
fn list_that_does_not_end_is_given_up() {
    let gateway = open();
    for body in [r#"[{"name":"x"},"#, "[ ", r#"{"name":"echo"},"#] {
        gateway.clear_faults();
        gateway.fault(Fault::on("GET", "/system/functions").status(200).body(body).endless_body());
        bounded(body, invoke(Pipe::at(&gateway))).exits(1).says("404 Not Found");
    }
}

/// A deploy with this as its stack file's path.
fn stack_file(pipe: Pipe, path: &str) -> Ran {
    let gateway = open();
    let ran = pipe.var("OPENFAAS_URL", gateway.url()).var("STACK_FILE", path).run();
    assert!(gateway.requests().is_empty());
    ran.exits(2)
}

#[test]
fn stack_file_that_is_no_file_is_refused() {
    let pipe = Pipe::new();
    fs::create_dir(pipe.dir().join("folder")).expect("a directory");
    let fifo = pipe.dir().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    let at = |name: &str| pipe.dir().join(name).display().to_string();
    stack_file(Pipe::new(), &at("folder")).says("folder` is a directory, not a file");
    stack_file(Pipe::new(), &at("fifo")).says("fifo` is a pipe or a device, not a file");
    stack_file(Pipe::new(), "/dev/zero").says("`/dev/zero` is a pipe or a device, not a file");
    stack_file(Pipe::new(), "/proc/self/mem").says("`/proc/self/mem`");
}

#[test]
fn pipe_in_place_of_a_file_that_a_stack_file_names_is_refused() {
    for (function, path) in [("environment_file: [env.yml]", "env.yml"), ("lang: node", "template/node/template.yml")] {
        let gateway = open();
        let pipe = Pipe::at(&gateway).stack(&format!("{STACK}    handler: ./echo\n    {function}\n"));
        let path = pipe.dir().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
        pipe.run().exits(2).says("is a pipe or a device, not a file");
        assert!(gateway.requests().is_empty());
    }
}

#[test]
fn stack_file_without_end_is_refused() {
    let pipe = Pipe::new();
    let path = pipe.dir().join("stack.yml");
    File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("a file with a hole");
    stack_file(Pipe::new(), &path.display().to_string()).says("is larger than");
}

#[test]
fn files_that_certificates_and_payloads_are_read_from_are_as_bounded() {
    let gateway = open();
    for (name, message) in [("CA_CERT", "`/dev/zero` is a pipe or a device"), ("PAYLOAD_FILE", "`/dev/zero` is a pipe")]
    {
        let ran = invoke(Pipe::at(&gateway)).var(name, "/dev/zero").run();
        ran.exits(2).says(&format!("{name}:\n- {message}"));
    }
}

#[test]
fn ten_thousand_variables_do_no_harm() {
    let gateway = open();
    let mut command = Pipe::at(&gateway).stack(STACK).command();
    for number in 0..10_000 {
        command.env(format!("VARIABLE_{number}"), "x".repeat(20));
        command.env(format!("LABELS_{number}"), format!("label{number}=x"));
    }
    command.env("LABELS_COUNT", "10000");
    let pipe = Pipe::at(&gateway).stack(STACK);
    let started = Instant::now();
    let ran = Ran::from(command.current_dir(pipe.dir()).output().expect("the pipe runs"));
    ran.exits(0);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let function = gateway.function("openfaas-fn", "echo").expect("a function");
    assert_eq!(function.deployment["labels"].as_object().expect("labels").len(), 10_000);
}

#[test]
fn work_goes_on_where_the_log_cannot_be_written() {
    let full = || Stdio::from(OwnedFd::from(File::options().write(true).open("/dev/full").expect("a full device")));
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(OwnedFd::from(writer))
    };
    for (what, stdout, stderr) in
        [("full", full(), Stdio::piped()), ("closed", closed(), Stdio::piped()), ("both closed", closed(), closed())]
    {
        let gateway = open();
        let pipe = Pipe::at(&gateway).stack(STACK);
        let output = pipe.command().stdout(stdout).stderr(stderr).output().expect("the pipe runs");
        assert_eq!(output.status.code(), Some(0), "{what}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{what}");
        assert!(gateway.function("openfaas-fn", "echo").is_some(), "{what}");
    }
}

/// The pipe where no file may become larger than 4 KiB, as on a full disk.
fn on_a_full_disk(pipe: &Pipe) -> Ran {
    let mut command = Command::new("sh");
    // Without the signal, writing more is an error.
    command.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\""]).arg(binary());
    let variables = pipe.command();
    let variables = variables.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let output = command.env_clear().envs(variables).current_dir(pipe.dir()).output().expect("the pipe runs");
    Ran::from(output)
}

#[test]
fn full_disk_is_told_and_leaves_no_part_of_a_file() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let pipe = invoke(Pipe::at(&gateway)).var("PAYLOAD", "x".repeat(100_000)).var("OUTPUT_FILE", "answer");
    on_a_full_disk(&pipe).exits(1).says("the answer could not be written to `answer`: File too large");
    assert_eq!(fs::read_dir(pipe.dir()).expect("a directory").count(), 0);
}

#[test]
fn result_files_that_cannot_be_written_are_a_warning() {
    let gateway = open();
    let many: String = (0..40).map(|number| format!("  f{number}: {{image: 'example/f:1'}}\n")).collect();
    let stack = format!("provider:\n  name: openfaas\nfunctions:\n{many}");
    let pipe = Pipe::at(&gateway).stack(&stack);
    let storage = pipe.dir().join("storage");
    fs::create_dir(&storage).expect("a directory");
    let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", storage.display().to_string());
    let ran = on_a_full_disk(&pipe).exits(0);
    ran.says("WARNING: the result was not written to");
    assert_eq!(fs::read_dir(&storage).expect("a directory").count(), 0);

    // Nobody can make a file there, not even root.
    for name in ["BITBUCKET_PIPE_STORAGE_DIR", "BITBUCKET_PIPE_SHARED_STORAGE_DIR"] {
        let ran = Pipe::at(&gateway).stack(STACK).var(name, "/proc").run().exits(0);
        ran.says("WARNING: ").says("✔ deployed 1 function");
    }
}

#[test]
fn answer_is_not_written_where_nothing_can_be() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let ran = invoke(Pipe::at(&gateway)).var("PAYLOAD", "x").var("OUTPUT_FILE", "/proc/answer").run();
    ran.exits(1).says("the answer could not be written to `/proc/answer`: ");
}

/// The bound is one of the gateway's own answers only: a function may answer as much as it likes.
#[test]
fn large_answer_of_a_function_is_stored_whole_in_little_memory() {
    let gateway: Gateway = open();
    put(&gateway, "openfaas-fn", "source");
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "source").list("QUERY", &["bytes=50000000"]);
    let pipe = pipe.var("OUTPUT_FILE", "answer");
    let (ran, peak) = measured(&pipe);
    ran.exits(0);
    assert!(peak < ordinary() + ROOM, "{peak} KiB");
    assert_eq!(fs::metadata(pipe.dir().join("answer")).expect("a file").len(), 50_000_000);
}
