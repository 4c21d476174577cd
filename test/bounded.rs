//! Oversized, slow and endless responses, files and environments: each ends in the error of its limit.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use local_gateway::Fault;
use local_gateway::raw::{self, Behaviour};

use crate::support::{ECHO_STACK, Pipe, Ran, binary, issuer, limited, names, open, permissive, put, stack, start};

/// Runs the pipe with a `TIMEOUT` of 2 seconds and limited memory: it would be aborted if it kept what has no end.
#[track_caller]
fn bounded(what: &str, pipe: Pipe) -> Ran {
    let ran = limited(&pipe.var("TIMEOUT", "2s").var("RETRIES", "0"));
    assert!(!ran.log.contains("internal error"), "{what}: {}", ran.log);
    ran
}

fn invoke(pipe: Pipe) -> Pipe {
    pipe.var("COMMAND", "invoke").var("FUNCTION", "echo")
}

#[test]
fn exchange_ends_at_its_limits() {
    for (what, behaviour, code, says) in [
        ("endless body", Behaviour::endless_body(), 4, "it is longer than 64 KiB"),
        ("endless headers", Behaviour::endless_headers(), 4, "the response is not HTTP"),
        (
            "one byte a second",
            Behaviour::one_byte_per_interval(Duration::from_secs(1)),
            4,
            "no complete response within 2 s",
        ),
        ("gzip bomb", Behaviour::gzip_bomb(), 4, "it is longer than 64 KiB"),
        ("invalid UTF-8", Behaviour::invalid_utf8(), 3, "caf\u{fffd}"),
        ("a web page", Behaviour::html(), 4, "web page"),
        ("JSON of another shape", Behaviour::strange_json(), 4, "the response is not what a gateway returns"),
        ("no response", Behaviour::NeverAnswer, 4, "no complete response within 2 s"),
        ("closed connection", Behaviour::Close, 4, "the connection was closed"),
    ] {
        let server = raw::serve(behaviour).expect("cannot start server");
        let token = issuer().token().audience(&server.url()).mint();
        let pipe =
            Pipe::new().var("OPENFAAS_URL", server.url()).var("BITBUCKET_STEP_OIDC_TOKEN", token).stack(ECHO_STACK);
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
fn deploy_and_invoke_end_at_their_limits() {
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
            bounded(what, at().stack(ECHO_STACK));
            let ran = bounded(what, invoke(at()));
            assert_eq!(ran.code, 4, "{what}: {}", ran.log);
            let with_file = invoke(at()).var("OUTPUT_FILE", "answer");
            let dir = with_file.dir().to_owned();
            bounded(what, with_file);
            // An incomplete response is not stored.
            assert!(!dir.join("answer").exists(), "{what}");
        }
    }
}

#[test]
fn function_list_ends_at_its_limits() {
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
fn list_of_20000_functions_is_read() {
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
    let stack = format!("{ECHO_STACK}  two: {{image: 'example/two:1'}}\n");
    let diff = Pipe::at(&gateway).stack(&stack).var("COMMAND", "diff").var("RETRIES", "0");
    limited(&diff).exits(6).says("~ echo\n").says("~ two\n");
    assert!(!gateway.requests().iter().any(|request| request.path.starts_with("/system/function/")));
}

#[test]
fn endless_function_list_is_aborted() {
    let gateway = open();
    for body in [r#"[{"name":"x"},"#, "[ ", r#"{"name":"echo"},"#] {
        gateway.clear_faults();
        gateway.fault(Fault::on("GET", "/system/functions").status(200).body(body).endless_body());
        bounded(body, invoke(Pipe::at(&gateway))).exits(1).says("404 Not Found");
    }
}

/// Runs a deploy with this path as `STACK_FILE`.
fn stack_file(pipe: Pipe, path: &str) -> Ran {
    let gateway = open();
    let ran = pipe.var("OPENFAAS_URL", gateway.url()).var("STACK_FILE", path).run();
    assert!(gateway.requests().is_empty());
    ran.exits(2)
}

#[test]
fn stack_file_must_be_a_regular_file() {
    let pipe = Pipe::new();
    fs::create_dir(pipe.dir().join("folder")).expect("cannot create directory");
    let fifo = pipe.dir().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("cannot run mkfifo").success());
    let at = |name: &str| pipe.dir().join(name).display().to_string();
    stack_file(Pipe::new(), &at("folder")).says("folder` is a directory, not a file");
    stack_file(Pipe::new(), &at("fifo")).says("fifo` is a pipe or a device, not a file");
    stack_file(Pipe::new(), "/dev/zero").says("`/dev/zero` is a pipe or a device, not a file");
    stack_file(Pipe::new(), "/proc/self/mem").says("`/proc/self/mem`");
}

#[test]
fn files_named_in_a_stack_file_must_be_regular_files() {
    for (function, path) in [("environment_file: [env.yml]", "env.yml"), ("lang: node", "template/node/template.yml")] {
        let gateway = open();
        let pipe = Pipe::at(&gateway).stack(&format!("{ECHO_STACK}    handler: ./echo\n    {function}\n"));
        let path = pipe.dir().join(path);
        fs::create_dir_all(path.parent().expect("missing parent directory")).expect("cannot create directory");
        assert!(Command::new("mkfifo").arg(&path).status().expect("cannot run mkfifo").success());
        pipe.run().exits(2).says("is a pipe or a device, not a file");
        assert!(gateway.requests().is_empty());
    }
}

#[test]
fn oversized_stack_file_is_rejected() {
    let pipe = Pipe::new();
    let path = pipe.dir().join("stack.yml");
    File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("cannot write file");
    stack_file(Pipe::new(), &path.display().to_string()).says("is larger than");
}

#[test]
fn certificate_and_payload_files_must_be_regular_files() {
    let gateway = open();
    for (name, message) in [("CA_CERT", "`/dev/zero` is a pipe or a device"), ("PAYLOAD_FILE", "`/dev/zero` is a pipe")]
    {
        let ran = invoke(Pipe::at(&gateway)).var(name, "/dev/zero").run();
        ran.exits(2).says(&format!("{name}:\n- {message}"));
    }
}

#[test]
fn ten_thousand_variables_are_accepted() {
    let gateway = open();
    let mut command = Pipe::at(&gateway).stack(ECHO_STACK).command();
    for number in 0..10_000 {
        command.env(format!("VARIABLE_{number}"), "x".repeat(20));
        command.env(format!("LABELS_{number}"), format!("label{number}=x"));
    }
    command.env("LABELS_COUNT", "10000");
    let pipe = Pipe::at(&gateway).stack(ECHO_STACK);
    let ran = Ran::from(command.current_dir(pipe.dir()).output().expect("cannot run the pipe"));
    ran.exits(0);
    let function = gateway.function("openfaas-fn", "echo").expect("missing function");
    assert_eq!(function.deployment["labels"].as_object().expect("missing labels").len(), 10_000);
}

#[test]
fn run_continues_if_the_log_cannot_be_written() {
    let full =
        || Stdio::from(OwnedFd::from(File::options().write(true).open("/dev/full").expect("cannot open /dev/full")));
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("cannot run the pipe");
        drop(reader);
        Stdio::from(OwnedFd::from(writer))
    };
    for (what, stdout, stderr) in
        [("full", full(), Stdio::piped()), ("closed", closed(), Stdio::piped()), ("both closed", closed(), closed())]
    {
        let gateway = open();
        let pipe = Pipe::at(&gateway).stack(ECHO_STACK);
        let output = pipe.command().stdout(stdout).stderr(stderr).output().expect("cannot run the pipe");
        assert_eq!(output.status.code(), Some(0), "{what}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{what}");
        assert!(gateway.function("openfaas-fn", "echo").is_some(), "{what}");
    }
}

/// Runs the pipe with a file size limit of 4 KiB, which acts like a full disk.
fn on_a_full_disk(pipe: &Pipe) -> Ran {
    let mut command = Command::new("sh");
    // With SIGXFSZ ignored, writing beyond the limit returns an error.
    command.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\""]).arg(binary());
    let variables = pipe.command();
    let variables = variables.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let output = command.env_clear().envs(variables).current_dir(pipe.dir()).output().expect("cannot run the pipe");
    Ran::from(output)
}

#[test]
fn full_disk_is_reported_and_leaves_no_partial_file() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let pipe = invoke(Pipe::at(&gateway)).var("PAYLOAD", "x".repeat(100_000)).var("OUTPUT_FILE", "answer");
    on_a_full_disk(&pipe).exits(1).says("the response could not be written to `answer`: File too large");
    assert_eq!(fs::read_dir(pipe.dir()).expect("cannot read directory").count(), 0);
}

#[test]
fn unwritable_result_file_is_a_warning() {
    let gateway = open();
    let pipe = Pipe::at(&gateway).stack(&stack(&names(40), "1"));
    let storage = pipe.dir().join("storage");
    fs::create_dir(&storage).expect("cannot create directory");
    let pipe = pipe.var("BITBUCKET_PIPE_STORAGE_DIR", storage.display().to_string());
    let ran = on_a_full_disk(&pipe).exits(0);
    ran.says("WARNING: the result was not written to");
    assert_eq!(fs::read_dir(&storage).expect("cannot read directory").count(), 0);

    // Nobody can create a file in /proc, not even root.
    for name in ["BITBUCKET_PIPE_STORAGE_DIR", "BITBUCKET_PIPE_SHARED_STORAGE_DIR"] {
        let ran = Pipe::at(&gateway).stack(ECHO_STACK).var(name, "/proc").run().exits(0);
        ran.says("WARNING: ").says("✔ deployed 1 function");
    }
}

#[test]
fn unwritable_output_file_is_an_error() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    // No file system has such long names.
    let pipe = invoke(Pipe::at(&gateway)).var("PAYLOAD", "x").var("OUTPUT_FILE", "a".repeat(300));
    pipe.run().exits(1).says("the response could not be written to `aaa");
}
