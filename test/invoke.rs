//! `COMMAND: invoke`.

use std::io::{BufRead as _, BufReader};

use local_gateway::{Fault, Gateway, Version};

use crate::support::{GUIDE_CSV, Pipe, guide, issuer, limited, open, permissive, put, start};

/// An invocation of a built-in function of the local gateway.
fn invoke(gateway: &Gateway, function: &str) -> Pipe {
    put(gateway, "openfaas-fn", function);
    Pipe::at(gateway).var("COMMAND", "invoke").var("FUNCTION", function)
}

/// The request as the `echo-json` function reports it.
fn echoed(log: &str) -> serde_json::Value {
    let line = log.lines().find(|line| line.starts_with('{')).expect("invalid JSON");
    serde_json::from_str(line).expect("invalid JSON")
}

/// A gateway with the guide's IAM resources and its guarded function.
fn guarded() -> (Gateway, Pipe) {
    let issuer = issuer();
    let gateway = guide(&issuer);
    gateway.put_function(&serde_json::json!({
        "service": "import-csv", "namespace": "etl", "image": "example/import-csv:1", "envVars": {"jwt_auth": "true"},
    }));
    let pipe = Pipe::at(&gateway)
        .var("COMMAND", "invoke")
        .var("FUNCTION", "import-csv")
        .var("OPENFAAS_NAMESPACE", "etl")
        .var("PAYLOAD", GUIDE_CSV);
    (gateway, pipe)
}

fn paths(gateway: &Gateway) -> Vec<String> {
    gateway.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
}

#[test]
fn payload_is_sent_and_the_response_printed() {
    let gateway = open();
    let ran = invoke(&gateway, "echo").var("PAYLOAD", "hello\nworld").run();
    ran.exits(0).says("\nhello\nworld\n").says("✔ `echo` responded in ");
    let requests = gateway.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("content-type"), Some("text/plain"));
    assert_eq!(requests[0].header("user-agent"), Some(concat!("openfaas-pipe/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(requests[0].header("authorization"), None);
}

#[test]
fn payload_is_sent_verbatim() {
    let gateway = open();
    invoke(&gateway, "echo").var("PAYLOAD", "  a \n\n").run().exits(0);
    assert_eq!(gateway.requests()[0].text(), "  a \n\n");
}

#[test]
fn method_query_headers_and_content_type_are_sent() {
    let gateway = open();
    let ran = invoke(&gateway, "echo-json")
        .var("METHOD", "put")
        .var("CONTENT_TYPE", "application/json")
        .list("QUERY", &["a=1", "b=x y&z=2"])
        .list("HEADERS", &["X-One: 1", "X-Two:two:2"])
        .var("PAYLOAD", "{}")
        .run()
        .exits(0);
    let echoed = echoed(&ran.log);
    assert_eq!(echoed["method"], "PUT");
    let request = &gateway.requests()[0];
    assert_eq!(request.query.as_deref(), Some("a=1&b=x+y%26z%3D2"));
    assert_eq!(request.header("x-one"), Some("1"));
    assert_eq!(request.header("x-two"), Some("two:2"));
    assert_eq!(request.header("content-type"), Some("application/json"));
}

#[test]
fn content_type_in_headers_takes_precedence() {
    let gateway = open();
    invoke(&gateway, "echo").list("HEADERS", &["Content-Type: text/csv"]).run().exits(0);
    let values: Vec<_> = gateway.requests()[0].headers.get_all("content-type").iter().cloned().collect();
    assert_eq!(values, ["text/csv"]);
}

#[test]
fn connection_headers_are_rejected() {
    let gateway = open();
    let ran = invoke(&gateway, "echo").list("HEADERS", &["Content-Length: 3", "Host: other"]).run();
    ran.exits(2).says("HEADERS:\n- `content-length` is set by the connection itself");
    let ran = invoke(&gateway, "echo").var("SIGN_HEADER", "Host").var("SIGN_KEY", "0123456789").run();
    ran.exits(2).says("SIGN_HEADER:\n- `host` is set by the connection itself");
    assert!(gateway.requests().is_empty());
}

#[test]
fn every_method_is_supported() {
    let gateway = open();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        gateway.clear_requests();
        invoke(&gateway, "echo-json").var("METHOD", method).run().exits(0);
        assert_eq!(gateway.requests()[0].method, method);
    }
}

#[test]
fn queued_call_carries_a_function_token() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    invoke(&gateway, "echo").var("ASYNC", "true").run().exits(0).does_not_say("no function token");
    let calls: Vec<_> =
        gateway.requests().into_iter().filter(|call| call.path.starts_with("/async-function/")).collect();
    assert_eq!(calls.len(), 1);
    assert!(calls[0].header("authorization").is_some_and(|value| value.starts_with("Bearer ")));
}

#[test]
fn queued_call_is_sent_with_a_warning_if_the_exchange_fails() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let refusal = r#"{"error":"invalid_request","error_description":"No policies found for subject: x"}"#;
    gateway
        .fault(Fault::on("POST", "/oauth/token").status(400).header("Content-Type", "application/json").body(refusal));
    let ran = invoke(&gateway, "echo").var("ASYNC", "true").run().exits(0);
    ran.says("WARNING: the call carries no function token, and is lost if the function requires one: ");
    let calls: Vec<_> =
        gateway.requests().into_iter().filter(|call| call.path.starts_with("/async-function/")).collect();
    assert!(calls[0].header("authorization").is_none());
    // Without a step token, or with the user's own header, no token is exchanged.
    let own = invoke(&gateway, "echo").var("ASYNC", "true").list("HEADERS", &["Authorization: Bearer mine"]);
    own.run().exits(0).does_not_say("WARNING");
    invoke(&gateway, "echo").var("ASYNC", "true").var("AUTH", "never").run().exits(0).does_not_say("WARNING");
}

#[test]
fn asynchronous_invocation_prints_the_call_id() {
    let gateway = open();
    let ran = invoke(&gateway, "echo").var("ASYNC", "yes").run();
    ran.exits(0).says("/async-function/echo`\n").says("queued: 202 Accepted, call id `").says("✔ `echo` is queued");
    assert_eq!(paths(&gateway), ["POST /oauth/token", "POST /async-function/echo"]);
}

#[test]
fn guarded_function_gets_a_token_with_its_audience() {
    let (gateway, pipe) = guarded();
    pipe.run().exits(0).says("`import-csv.etl` requires a function token").says("alice,alice@example.com");
    assert_eq!(
        paths(&gateway),
        ["POST /function/import-csv.etl", "POST /oauth/token", "POST /function/import-csv.etl"]
    );
    let form = gateway.requests()[1].form();
    assert!(form.contains(&("scope".to_owned(), "function".to_owned())), "{form:?}");
    assert!(form.contains(&("audience".to_owned(), "etl:import-csv".to_owned())), "{form:?}");
}

#[test]
fn auth_always_calls_a_guarded_function_once() {
    let (gateway, pipe) = guarded();
    pipe.var("AUTH", "always").run().exits(0);
    assert_eq!(paths(&gateway), ["POST /oauth/token", "POST /function/import-csv.etl"]);
}

#[test]
fn function_token_replaces_the_authorization_header() {
    let (gateway, pipe) = guarded();
    pipe.list("HEADERS", &["Authorization: Basic mine"]).run().exits(0);
    let requests = gateway.requests();
    let authorizations = |index: usize| {
        let values = requests[index].headers.get_all("authorization").iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(authorizations(0), ["Basic mine"]);
    let with_token = authorizations(2);
    assert!(with_token.len() == 1 && with_token[0].starts_with("Bearer "), "{with_token:?}");
}

#[test]
fn auth_never_with_a_guarded_function_is_explained() {
    let (gateway, pipe) = guarded();
    pipe.var("AUTH", "never").run().exits(3).says("401 Unauthorized").says("set `AUTH: auto`");
    assert_eq!(paths(&gateway), ["POST /function/import-csv.etl"]);
}

#[test]
fn quoted_realm_is_recognized() {
    let (gateway, pipe) = guarded();
    gateway.fault(
        Fault::on("POST", "/function/")
            .times(1)
            .status(401)
            .header("WWW-Authenticate", "Bearer realm=\"IAM function invoke\""),
    );
    pipe.run().exits(0);
}

#[test]
fn unrelated_401_does_not_trigger_an_exchange() {
    let (gateway, pipe) = guarded();
    gateway.fault(Fault::on("POST", "/function/").status(401).header("WWW-Authenticate", "Basic realm=\"x\""));
    pipe.run().exits(3);
    assert_eq!(gateway.requests().len(), 1);
}

#[test]
fn gateway_password_is_not_sent_to_functions() {
    let gateway = start(Gateway::builder().basic_auth("admin", "s3cr3t-password"));
    invoke(&gateway, "echo").var("OPENFAAS_PASSWORD", "s3cr3t-password").run().exits(0);
    assert_eq!(gateway.requests()[0].header("authorization"), None);
}

#[test]
fn body_is_signed_with_hmac_sha256() {
    let gateway = open();
    let signed = |pipe: Pipe| {
        gateway.clear_requests();
        pipe.var("SIGN_HEADER", "X-Hub-Signature-256").var("SIGN_KEY", "It's a Secret to Everybody").run().exits(0);
        gateway.requests()[0].header("x-hub-signature-256").map(str::to_owned)
    };
    // The example in GitHub's documentation of webhooks.
    let expected = Some("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".to_owned());
    assert_eq!(signed(invoke(&gateway, "echo").var("PAYLOAD", "Hello, World!")), expected);
    let file = invoke(&gateway, "echo").file("body.txt", "Hello, World!").var("PAYLOAD_FILE", "body.txt");
    assert_eq!(signed(file), expected);
}

#[test]
fn payload_file_is_found_in_the_clone_directory() {
    let gateway = open();
    let clone = tempfile::tempdir().unwrap();
    std::fs::write(clone.path().join("data.csv"), GUIDE_CSV).unwrap();
    let pipe = invoke(&gateway, "echo")
        .var("BITBUCKET_CLONE_DIR", clone.path().display().to_string())
        .var("PAYLOAD_FILE", "data.csv");
    pipe.run().exits(0).says("bob,bob@example.com");
    assert_eq!(gateway.requests()[0].header("content-length"), Some(GUIDE_CSV.len().to_string().as_str()));
}

#[test]
fn invalid_payload_file_is_rejected_before_any_request() {
    let gateway = open();
    invoke(&gateway, "echo").var("PAYLOAD_FILE", "nope").run().exits(2).says("PAYLOAD_FILE:\n- `nope` does not exist");
    invoke(&gateway, "echo").var("PAYLOAD_FILE", ".").run().exits(2).says("is a directory");
    assert!(gateway.requests().is_empty());
}

#[test]
fn payload_file_deleted_before_a_retry_is_reported() {
    let gateway = open();
    gateway.fault(Fault::on("POST", "/function/").status(503).header("Retry-After", "1"));
    let pipe = invoke(&gateway, "echo")
        .file("body", "x")
        .var("PAYLOAD_FILE", "body")
        .var("IDEMPOTENT", "true")
        .var("RETRIES", "20");
    let body = pipe.dir().join("body");
    let mut child = pipe.command().spawn().expect("cannot run the pipe");
    let mut lines =
        BufReader::new(child.stdout.take().expect("missing log")).lines().map(|line| line.expect("cannot read line"));
    assert!(lines.any(|line| line.contains("retrying in 1 s")));
    std::fs::remove_file(body).expect("cannot delete file");
    assert!(lines.any(|line| line.starts_with("ERROR: the request was not sent: `body` cannot be read")));
    assert!(lines.any(|line| line.contains("hint: `PAYLOAD_FILE` was readable when")));
    assert_eq!(child.wait().expect("cannot wait for the process").code(), Some(1));
}

#[test]
fn response_is_written_to_a_file() {
    let gateway = open();
    let pipe = invoke(&gateway, "echo").var("PAYLOAD", "for the file").var("OUTPUT_FILE", "out.txt");
    pipe.run().exits(0).says("the response is in `out.txt` (12 bytes)").does_not_say("for the file\n");
    assert_eq!(std::fs::read_to_string(pipe.dir().join("out.txt")).unwrap(), "for the file");
    let left: Vec<_> = std::fs::read_dir(pipe.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["out.txt"]);
}

#[test]
fn invalid_output_file_is_rejected_before_the_invocation() {
    let gateway = open();
    for (path, problem) in [
        ("Cargo.toml/out.txt", "`Cargo.toml` is not a directory"),
        ("/", "`/` is a directory, not a file"),
        ("/dev/null", "`/dev/null` is a pipe or a device, not a file"),
    ] {
        let pipe = invoke(&gateway, "echo").file("Cargo.toml", "").var("PAYLOAD", "x").var("OUTPUT_FILE", path);
        pipe.run().exits(2).says(&format!("OUTPUT_FILE:\n- {problem}"));
    }
    assert!(gateway.requests().is_empty());
}

#[test]
fn output_file_outside_of_the_clone_is_rejected_before_the_invocation() {
    let gateway = open();
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("answer.txt").display().to_string();
    for path in [absolute.as_str(), "../answer.txt", "link/answer.txt", "link/new/answer.txt"] {
        let pipe = invoke(&gateway, "echo").var("PAYLOAD", "x").var("OUTPUT_FILE", path);
        std::os::unix::fs::symlink(outside.path(), pipe.dir().join("link")).unwrap();
        let ran = pipe.run().exits(2);
        ran.says(&format!("OUTPUT_FILE:\n- `{path}` is outside of the clone directory, and lost when the pipe ends"));
    }
    assert!(gateway.requests().is_empty());
    // The absolute path of a file in the clone.
    let pipe = invoke(&gateway, "echo").var("PAYLOAD", "x");
    let inside = pipe.dir().join("new/answer.txt");
    pipe.var("OUTPUT_FILE", inside.display().to_string()).run().exits(0);
    assert!(!outside.path().join("answer.txt").exists());
}

#[test]
fn media_type_is_checked() {
    let gateway = open();
    let refused = |value: &str| invoke(&gateway, "echo").var("CONTENT_TYPE", value).run().exits(2);
    refused("json").says("CONTENT_TYPE:\n- `json` is not a media type: write a type such as `application/json`");
    assert!(gateway.requests().is_empty());
    invoke(&gateway, "echo").var("CONTENT_TYPE", "application/json; charset=utf-8").run().exits(0);
}

#[test]
fn missing_directories_of_the_output_file_are_created() {
    let gateway = open();
    let pipe = invoke(&gateway, "echo").var("PAYLOAD", "x").var("OUTPUT_FILE", "build/answers/out.txt");
    pipe.run().exits(0);
    assert_eq!(std::fs::read_to_string(pipe.dir().join("build/answers/out.txt")).unwrap(), "x");
}

#[test]
fn output_file_is_verbatim_except_for_tokens() {
    let gateway = start(permissive().basic_auth("admin", "hello"));
    let token = issuer().token().audience(gateway.public_url()).mint();
    let sent = format!("hello admin:hello {token} \u{7} aGVsbG8=");
    let pipe = invoke(&gateway, "echo").var("PAYLOAD", &sent).var("OUTPUT_FILE", "out");
    let pipe = pipe.var("OPENFAAS_PASSWORD", "hello").var("BITBUCKET_STEP_OIDC_TOKEN", &token);
    let ran = pipe.run().exits(0);
    ran.says("WARNING: the response contained an access token of this step: it is masked as `***` in 1 place of `out`");
    assert_eq!(std::fs::read_to_string(pipe.dir().join("out")).unwrap(), sent.replace(&token, "***"));
    let pipe = pipe.var("PAYLOAD", "hello");
    pipe.run().exits(0).does_not_say("masked");
}

#[test]
fn output_file_is_written_only_on_success() {
    let gateway = open();
    for status in ["500", "404", "302", "401"] {
        let pipe = invoke(&gateway, "status").list("QUERY", &[&format!("status={status}"), "body=no"]);
        let pipe = pipe.file("out", "of an earlier run").var("OUTPUT_FILE", "out").var("RETRIES", "0");
        let ran = pipe.run().says("INFO: nothing was written to `out`\n");
        assert_ne!(ran.code, 0, "{}", ran.log);
        assert_eq!(std::fs::read_to_string(pipe.dir().join("out")).unwrap(), "of an earlier run");
        pipe.var("OUTPUT_FILE", "build/out").run().does_not_say("the response is in");
    }
    let gateway = open();
    gateway.fault(Fault::on("POST", "/function/echo").raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"));
    let pipe = invoke(&gateway, "echo").file("out", "of an earlier run").var("OUTPUT_FILE", "out").var("RETRIES", "0");
    assert_ne!(pipe.run().code, 0);
    assert_eq!(std::fs::read_to_string(pipe.dir().join("out")).unwrap(), "of an earlier run");
}

#[test]
fn log_is_truncated_after_64_kib_of_response() {
    let gateway = open();
    let ran = invoke(&gateway, "source").list("QUERY", &["bytes=100000"]).run();
    let ran = ran.exits(0).says("the response has 34464 more bytes, which are not shown");
    assert!(ran.log.len() < 70_000 * 4, "{}", ran.log.len());
}

/// A secret that the cut shortens is masked by no comparison with the whole of it.
#[test]
fn response_is_not_cut_within_a_secret() {
    let gateway = open();
    let body = format!("{}hunter2pass{}", "!".repeat(65536 - 9), "!".repeat(1000));
    for (status, code) in [(200, 0), (500, 1)] {
        gateway.clear_faults();
        gateway.fault(Fault::on("POST", "/function/echo").status(status).header("X-Call-Id", "1").body(body.clone()));
        let pipe = invoke(&gateway, "echo").var("SIGN_KEY", "hunter2pass").var("SIGN_HEADER", "X-S");
        pipe.run().exits(code).says("1011 more bytes").does_not_say("hunter");
    }
}

#[test]
fn response_cannot_control_the_terminal() {
    let gateway = open();
    let payload = "a\x1b[2Jb\rc\u{202e}d";
    invoke(&gateway, "echo").var("PAYLOAD", payload).run().exits(0).says("a\\u{1b}[2Jb\\rc\\u{202e}d");
}

#[test]
fn payload_is_streamed() {
    let gateway = open();
    gateway.record(false);
    let size: u64 = 1 << 30;
    let pipe = invoke(&gateway, "sink").var("PAYLOAD_FILE", "big").var("TIMEOUT", "10m");
    // A sparse file: it takes no disk space.
    let file = std::fs::File::create(pipe.dir().join("big")).unwrap();
    file.set_len(size).unwrap();
    let sent = limited(&pipe).exits(0);
    assert!(sent.log.contains(&size.to_string()), "{}", sent.log);
}

#[test]
fn response_larger_than_memory_is_streamed_to_a_file() {
    let gateway = open();
    gateway.record(false);
    // More than the memory limit. Not a gigabyte, since redaction is slow in a debug build.
    let size: u64 = 300 << 20;
    let pipe = invoke(&gateway, "source").list("QUERY", &[&format!("bytes={size}")]).var("OUTPUT_FILE", "big");
    limited(&pipe.var("TIMEOUT", "10m")).exits(0).says("(314572800 bytes)");
}

#[test]
fn error_status_fails_and_prints_the_response() {
    let gateway = open();
    let ran = invoke(&gateway, "status").list("QUERY", &["status=422", "body=no such column"]).run();
    ran.exits(1).says(
        "INFO: the response of `status`:\n  no such column\nERROR: `status` returned 422 Unprocessable Entity to POST \
         /function/status, call id `",
    );
    assert_eq!(gateway.requests().len(), 1);
}

#[test]
fn last_line_reports_the_outcome_of_an_invocation() {
    let gateway = open();
    let pipe = invoke(&gateway, "echo").var("BITBUCKET_PIPE_STORAGE_DIR", "storage").var("RETRIES", "0");
    let last_line = |pipe: &Pipe, fault: fn(Fault) -> Fault| {
        gateway.clear_faults();
        gateway.fault(fault(Fault::on("POST", "/function/echo")));
        let ran = pipe.run();
        let result = std::fs::read_to_string(pipe.dir().join("storage/openfaas-pipe.json")).unwrap();
        let status = serde_json::from_str::<serde_json::Value>(&result).unwrap()["invocation"]["status"].clone();
        format!("{} {status} {}", ran.code, ran.log.lines().last().unwrap_or_default())
    };
    assert_eq!(last_line(&pipe, |fault| fault.reset()), "4 null ✖ no response from `echo`");
    assert_eq!(last_line(&pipe, |fault| fault.redirect(302, "/elsewhere")), "4 302 ✖ `echo` was not reached");
    let cut = |fault: Fault| fault.raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    assert_eq!(last_line(&pipe, cut), "4 200 ✖ the response of `echo` was not received or stored whole");
    // The name of its temporary file is too long.
    let pipe = pipe.var("OUTPUT_FILE", "x".repeat(250)).var("PAYLOAD", "x");
    assert_eq!(last_line(&pipe, |fault| fault), "1 200 ✖ the response of `echo` was not received or stored whole");
    // A call that the watchdog rejects does not reach the function.
    let pipe = pipe.without("OUTPUT_FILE").var("BITBUCKET_STEP_OIDC_TOKEN", "none");
    let guarded = |fault: Fault| fault.status(401).header("WWW-Authenticate", "Bearer realm=IAM function invoke");
    assert_eq!(last_line(&pipe, guarded), "3 null ✖ `echo` was not invoked");
    let pipe = pipe.var("OPENFAAS_URL", "http://127.0.0.1:1");
    assert_eq!(last_line(&pipe, |fault| fault), "4 null ✖ `echo` was not invoked");
}

#[test]
fn invocation_uses_http2_with_a_private_ca() {
    let gateway = start(permissive().tls());
    let pipe = invoke(&gateway, "echo").var("CA_CERT", gateway.ca_pem()).var("PAYLOAD", "over TLS");
    pipe.run().exits(0).says("over TLS");
    assert_eq!(gateway.requests()[0].version, Version::HTTP_2);
}

#[test]
fn base_path_is_kept() {
    let gateway = start(permissive().base_path("/OpenFaaS"));
    invoke(&gateway, "echo").run().exits(0);
    assert_eq!(paths(&gateway), ["POST /OpenFaaS/function/echo"]);
}

#[test]
fn status_of_a_refusal_whose_body_breaks_off_counts() {
    let gateway = open();
    for (status, code) in [(500, 1), (403, 3), (502, 1)] {
        gateway.clear_faults();
        let fault = Fault::on("POST", "/function").status(status).header("X-Call-Id", "1");
        gateway.fault(fault.body("no database, no answer").cut_off(11));
        let ran = invoke(&gateway, "echo").run().exits(code).says("the response of `echo`:\n  no database\n");
        ran.says(&format!("✖ the invocation of `echo` failed with status {status}"));
    }
}

#[test]
fn function_is_named_with_its_namespace() {
    let gateway = start(crate::support::edition(local_gateway::Flavour::Ce));
    put(&gateway, "etl", "echo");
    let pipe = || Pipe::with_password(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo.etl");
    let always = pipe().var("AUTH", "always").run().exits(3).says("`echo.etl` requires a function token");
    always.says("✖ `echo.etl` was not invoked");
    pipe().run().exits(0).says("✔ `echo.etl` responded in ");
}
