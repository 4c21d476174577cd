//! Whatever a gateway echoes, no secret appears in the log, in a file, in a report or in an argument.

mod search;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local_gateway::proxy::{self, Proxy};
use local_gateway::{Fault, Gateway};
use search::{Search, forms};

use crate::support::{ECHO_STACK, Pipe, Ran, binary, issuer, open, permissive, put, start};

const PASSWORD: &str = "c4nary-pass%word/with+all=kinds&of\"them";
const SIGN_KEY: &str = "c4nary-key-for-signatures-0123456789";

/// The value of a function's secret, which has several lines.
const SECRET_VALUE: &str =
    "c4nary-secret:_first_line/of+the=value\nc4nary_\"second\"_line_with_&_and_%41\n--_c4nary:_the_last_of_them";
/// The file of another one.
const SECRET_FILE: &str = "c4nary_=_{file}:_a_line_of_it\r\n\r\n\t_c4nary:_one_more,_with_white_space_around_it\t\n";
/// A file that is not text.
const SECRET_BYTES: &[u8] = b"\xff\xfe c4nary \0 in a binary file \x80 that is longer than this \xc3";

/// The secrets of a run, including the tokens that the gateway issued.
fn canaries(fixed: &[String], gateway: &Gateway) -> Vec<String> {
    let mut secrets = fixed.to_vec();
    for request in gateway.requests() {
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        secrets.extend(bearer.map(str::to_owned));
    }
    secrets.sort();
    secrets.dedup();
    secrets
}

/// A gateway that responds with parts of the request, or with secrets in other encodings.
type Hostile = (&'static str, fn(Fault, &str) -> Fault);

const HOSTILE: [Hostile; 13] = [
    ("as usual", |fault, _| fault.after(u64::MAX / 2)),
    ("echo", |fault, _| fault.echo()),
    ("echo with 400", |fault, _| fault.echo().status(400)),
    ("echo with 401", |fault, _| fault.echo().status(401)),
    ("echo with 404", |fault, _| fault.echo().status(404)),
    ("echo with 503", |fault, _| fault.echo().status(503).header("Retry-After", "0")),
    ("every encoding", |fault, secrets| fault.status(400).body(secrets.to_owned())),
    ("every encoding as success", |fault, secrets| fault.status(200).body(secrets.to_owned())),
    ("in a list", |fault, secrets| {
        let body = serde_json::json!([{"name": secrets, "image": secrets, "namespace": secrets, "labels": {secrets: secrets}}]);
        fault.status(200).body(body.to_string())
    }),
    ("in an error of the exchange", |fault, secrets| {
        let body = serde_json::json!({"error": secrets, "error_description": secrets, "access_token": [secrets]});
        fault.status(400).body(body.to_string())
    }),
    ("in headers", |fault, secrets| {
        let line: String = secrets.split_whitespace().collect();
        let fault = fault.header("X-Call-Id", &line).header("X-Duration-Seconds", &line).header("Content-Type", &line);
        fault.header("WWW-Authenticate", &format!("Bearer realm=\"{line}\"")).status(404)
    }),
    ("in headers of a success", |fault, secrets| {
        let line: String = secrets.split_whitespace().collect();
        fault.header("X-Call-Id", &line).header("X-Duration-Seconds", &line)
    }),
    ("in a redirect", |fault, secrets| {
        let line: String = secrets.split_whitespace().collect();
        fault.redirect(302, &format!("https://elsewhere.example.com/{line}"))
    }),
];

/// A run: its name and its variables.
type Work = (&'static str, &'static [(&'static str, &'static str)]);

const INVOKE: (&str, &str) = ("COMMAND", "invoke");
const FUNCTION: (&str, &str) = ("FUNCTION", "echo");

const WORK: [Work; 14] = [
    ("deploy", &[]),
    (
        "namespaces and labels",
        &[
            ("CREATE_NAMESPACE", "true"),
            ("OPENFAAS_NAMESPACE", "preview-1"),
            ("GIT_LABELS", "true"),
            ("WAIT", "true"),
            ("ROLLBACK", "true"),
            ("WAIT_TIMEOUT", "1s"),
        ],
    ),
    (
        "remove with the namespace",
        &[("COMMAND", "remove"), ("DELETE_NAMESPACE", "true"), ("OPENFAAS_NAMESPACE", "preview-1")],
    ),
    // Without the limit, the creation is retried for five minutes.
    ("replace", &[("STRATEGY", "replace"), ("WAIT_TIMEOUT", "1s")]),
    ("wait", &[("WAIT", "true"), ("WAIT_TIMEOUT", "1s"), ("ROLLBACK", "true")]),
    ("prune", &[("OWNER_LABEL", "true"), ("PRUNE", "true")]),
    ("dry run", &[("DRY_RUN", "true")]),
    ("remove", &[("COMMAND", "remove")]),
    ("diff", &[("COMMAND", "diff")]),
    ("whoami", &[("COMMAND", "whoami")]),
    ("invoke", &[INVOKE, FUNCTION]),
    ("invoke with a token", &[INVOKE, FUNCTION, ("AUTH", "always"), ("OUTPUT_FILE", "answer")]),
    (
        "invoke to a file",
        &[INVOKE, FUNCTION, ("SIGN_HEADER", "X-Sign"), ("SIGN_KEY", SIGN_KEY), ("OUTPUT_FILE", "answer")],
    ),
    ("mistakes", &[("COMMAND", "invoke"), ("TIMEOUT", "soon")]),
];

/// Runs the pipe once. Returns an error if a secret is found anywhere.
fn check(work: &Work, hostile: &Hostile, exchange_too: bool, password: bool) -> Result<(), String> {
    let proxy = proxy::start().expect("cannot start proxy");
    let builder = permissive();
    let gateway = start(if password { builder.basic_auth("admin", PASSWORD) } else { builder });
    put(&gateway, "openfaas-fn", "echo");
    let token = issuer().token().audience(gateway.public_url()).mint();
    let other = issuer().token().audience("ari:cloud:bitbucket::pipelines").mint();
    let mut secrets = vec![token.clone(), other.clone(), SIGN_KEY.to_owned()];
    if password {
        secrets.push(PASSWORD.to_owned());
    }
    for token in [&token, &other] {
        secrets.extend(token.split('.').skip(1).map(str::to_owned));
    }
    // Files are read only where they are sent.
    let reads_files = work.1.iter().all(|variable| variable.0 != "COMMAND" || variable.1 == "diff");
    for value in [SECRET_VALUE, SECRET_FILE].into_iter().take(if reads_files { 2 } else { 1 }) {
        secrets.extend(value.lines().chain([value]).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()));
    }
    let bytes = STANDARD.encode(SECRET_BYTES);
    secrets.extend(reads_files.then(|| bytes.clone()));
    let mut echoed: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    // Some of the responses are JSON. Text that is escaped twice is not searched for.
    echoed.retain(|form| !form.contains('\\'));
    let (_, fault) = hostile;
    let paths: &[&str] = if exchange_too { &[""] } else { &["/system", "/function"] };
    for path in paths {
        gateway.fault(fault(Fault::any().path_prefix(path), &echoed.join(" ")));
    }
    let mut pipe = Pipe::at(&gateway)
        .stack(&format!("{ECHO_STACK}    secrets: [value, file, bytes]\n"))
        .list("SECRET_VALUES", &[&format!("value={SECRET_VALUE}")])
        .list("SECRET_FILES", &["file=secrets/file", "bytes=secrets/bytes"])
        .file("secrets/file", SECRET_FILE)
        .file("secrets/bytes", SECRET_BYTES)
        .var("BITBUCKET_STEP_OIDC_TOKEN", token)
        .var("PIPELINES_JWT_TOKEN", other)
        .var("SIGN_KEY", SIGN_KEY)
        .var("SIGN_HEADER", "X-Sign")
        .var("PAYLOAD", "hello")
        .var("DEBUG", "true")
        .var("RETRIES", "1")
        .var("REPORT", "true")
        .var("REPORT_PROXY", proxy.url())
        .var("BITBUCKET_WORKSPACE", "acme")
        .var("BITBUCKET_REPO_SLUG", "shop")
        .var("BITBUCKET_COMMIT", "0123456789012345678901234567890123456789")
        .file("variables", "");
    let dir = pipe.dir().to_owned();
    for (name, path) in [
        ("BITBUCKET_PIPE_STORAGE_DIR", "storage"),
        ("BITBUCKET_PIPE_SHARED_STORAGE_DIR", "shared"),
        ("BITBUCKET_PIPELINES_VARIABLES_PATH", "variables"),
    ] {
        pipe = pipe.var(name, dir.join(path).display().to_string());
    }
    for path in ["storage", "shared"] {
        fs::create_dir(dir.join(path)).expect("cannot create directory");
    }
    if password {
        pipe = pipe.var("OPENFAAS_PASSWORD", PASSWORD);
    }
    for (name, value) in work.1 {
        pipe = pipe.var(name, *value);
    }
    let child = pipe.command().spawn().expect("cannot run the pipe");
    let arguments = fs::read(format!("/proc/{}/cmdline", child.id())).expect("cannot read arguments");
    let ran = Ran::from(child.wait_with_output().expect("cannot wait for the process"));
    if ran.log.contains("internal error") {
        return Err(ran.log);
    }
    let secrets = canaries(&secrets, &gateway);
    let search = Search::new(&secrets);
    // The response of a function is the user's data. It is stored unchanged except for tokens.
    let tokens: Vec<String> =
        secrets.into_iter().filter(|secret| !secret.contains("c4nary") && *secret != bytes).collect();
    let tokens = Search::new(&tokens);
    let mut places = vec![("the log".to_owned(), ran.log.into_bytes()), ("the arguments".to_owned(), arguments)];
    read_all(&dir, &mut places);
    places.retain(|(place, _)| !place.contains("/secrets/"));
    for (place, text) in places {
        let search = if Path::new(&place).ends_with("answer") { &tokens } else { &search };
        if let Some(found) = search.find(&text) {
            return Err(format!("`{found}` is in {place}:\n{}", String::from_utf8_lossy(&text)));
        }
    }
    // Reports are sent through the proxy.
    for request in proxy.requests() {
        if let Some(found) = search.find(&request.body) {
            return Err(format!("`{found}` is in the report:\n{}", request.text()));
        }
    }
    Ok(())
}

/// Reads all files below a directory.
fn read_all(dir: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("cannot read directory") {
        let path = entry.expect("cannot read directory").path();
        if path.is_dir() {
            read_all(&path, places);
        } else {
            places.push((path.display().to_string(), fs::read(&path).expect("cannot read file")));
        }
    }
}

#[test]
fn no_secret_leaks_whatever_the_gateway_echoes() {
    let mut jobs = Vec::new();
    for work in &WORK {
        for hostile in &HOSTILE {
            jobs.extend([false, true].map(|password| (work, hostile, false, password)));
            // Every run of these commands starts with the exchange.
            if ["deploy", "whoami", "invoke with a token"].contains(&work.0) {
                jobs.push((work, hostile, true, false));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((work, hostile, exchange_too, password)) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if let Err(error) = check(work, hostile, *exchange_too, *password) {
                        let start: String = error.chars().take(4000).collect();
                        let text = format!("{}, {}, {exchange_too}, {password}: {start}", work.0, hostile.0);
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), jobs.len(), wrong[..wrong.len().min(3)].join("\n\n"));
}

#[test]
fn token_in_an_unexpected_response_is_not_printed() {
    // No run has seen this token, so it is not masked as a known secret.
    let token = issuer().token().audience("c4nary-never-seen-before").mint();
    for answer in [
        format!("\"{token}\""),
        format!("{{\"access_token\": [\"{token}\"]}}"),
        format!("{{\"access_token\": {{\"{token}\": 1}}}}"),
        format!("{{\"access_token\": \"a\", \"expires_in\": \"{token}\"}}"),
    ] {
        let gateway = open();
        gateway.fault(Fault::on("POST", "/oauth/token").status(200).body(answer));
        let pipe =
            Pipe::at(&gateway).stack(ECHO_STACK).var("DEBUG", "true").var("BITBUCKET_PIPE_STORAGE_DIR", "storage");
        let ran = pipe.run().exits(4).says("it is not the expected JSON (line 1, column ");
        let mut places = vec![("the log".to_owned(), ran.log.into_bytes())];
        read_all(pipe.dir(), &mut places);
        let search = Search::new(std::slice::from_ref(&token));
        for (place, text) in places {
            assert_eq!(search.find(&text), None, "{place}");
        }
    }
}

#[test]
fn search_finds_encoded_secrets() {
    let search = Search::new(&[PASSWORD.to_owned()]);
    for encoded in [PASSWORD.to_owned(), STANDARD.encode(format!("admin:{PASSWORD}")), URL_SAFE_NO_PAD.encode(PASSWORD)]
    {
        assert!(search.find(format!("< {encoded} >").as_bytes()).is_some(), "{encoded}");
    }
    assert_eq!(search.find(b"c4nary, and nothing else of it"), None);
}

#[test]
fn non_ascii_password_is_masked_in_escaped_json() {
    let password = "p\u{e4}ssw\u{f6}rd-c4nary";
    for escaped in ["p\\u00e4ssw\\u00f6rd-c4nary", "p\\u00E4ssw\\u00F6rd-c4nary"] {
        let gateway = start(permissive().basic_auth("admin", password));
        let body = format!("{{\"message\": \"no user with {escaped}\"}}");
        gateway.fault(Fault::any().path_prefix("/system").status(400).body(body));
        let ran = Pipe::at(&gateway).stack(ECHO_STACK).var("OPENFAAS_PASSWORD", password).run();
        ran.says("no user with ***").does_not_say("c4nary");
    }
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = open();
    for status in [301, 302, 303, 307, 308] {
        for path in ["/oauth/token", "/system/functions", "/function/echo"] {
            let gateway = open();
            put(&gateway, "openfaas-fn", "echo");
            gateway.fault(Fault::any().path_prefix(path).redirect(status, &format!("{}{path}", elsewhere.url())));
            let pipe = Pipe::at(&gateway).stack(ECHO_STACK);
            let pipe = if path == "/function/echo" {
                pipe.var("COMMAND", "invoke").var("FUNCTION", "echo").var("AUTH", "always")
            } else {
                pipe
            };
            let ran = pipe.run();
            assert_ne!(ran.code, 0, "{}", ran.log);
            ran.says(&format!("a redirect to `{}{path}`", elsewhere.url()));
        }
    }
    assert!(elsewhere.requests().is_empty());
}

/// A gateway with a host name that only the proxy can resolve.
fn behind(proxy: &Proxy) -> (Gateway, Pipe) {
    let gateway = start(permissive().tls().host_name("gw.example.com"));
    proxy.resolve("gw.example.com", gateway.address());
    let pipe = Pipe::at(&gateway)
        .stack(ECHO_STACK)
        .var("OPENFAAS_URL", "https://gw.example.com")
        .var("CA_CERT", gateway.ca_pem())
        .var("HTTPS_PROXY", proxy.url().replace("http://", "http://someone:proxy-p4ssword-0123456789@"))
        .var("DEBUG", "true");
    (gateway, pipe)
}

#[test]
fn proxy_sees_no_request_to_an_https_gateway() {
    let proxy = proxy::start().expect("cannot start proxy");
    let (gateway, pipe) = behind(&proxy);
    let ran = pipe.run().exits(0);
    ran.does_not_say("proxy-p4ssword");
    assert!(gateway.function("openfaas-fn", "echo").is_some());
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("CONNECT", "gw.example.com:443"));
        assert_eq!(request.header("authorization"), None);
        assert!(request.header("proxy-authorization").is_some_and(|value| value.starts_with("Basic ")));
    }
}

#[test]
fn password_in_a_url_is_not_printed() {
    let run = |name: &str, value: &str| {
        Pipe::new().var(name, value).var("COMMAND", "whoami").var("RETRIES", "0").run().exits(2)
    };
    for address in ["https://someone:p4ssword@127.0.0.1:1", "https://someone:p4ssword@gw:99999", "someone:p4ssword@gw"]
    {
        run("OPENFAAS_URL", address).says("use `OPENFAAS_USERNAME`").does_not_say("p4ssword");
    }
    for address in ["https://someone:p4ssword@127.0.0.1:1/stack.yml", "https://someone:p4ssword@["] {
        run("STACK_FILE", address).says("ERROR: `STACK_FILE`: ").does_not_say("p4ssword");
    }
    run("STACK_FILE", "https://t0ken-t0ken@127.0.0.1:1/stack.yml").says("could not be fetched").does_not_say("t0ken");
}

#[test]
fn proxy_error_is_reported_without_the_password() {
    let proxy = proxy::start().expect("cannot start proxy");
    let (_gateway, pipe) = behind(&proxy);
    let ran = pipe.var("OPENFAAS_URL", "https://other.example.com").var("RETRIES", "0").run().exits(4);
    ran.says("proxy").does_not_say("p4ssword").does_not_say(&STANDARD.encode("someone:proxy-p4ssword-0123456789"));
    for broken in ["http://someone:proxy-p4ssword-0123456789@127.0.0.1:1", "http://someone:proxy-p4ssword-0123456789@["]
    {
        let (_gateway, pipe) = behind(&proxy);
        let ran = pipe.var("HTTPS_PROXY", broken).var("RETRIES", "0").run();
        assert_ne!(ran.code, 0);
        ran.does_not_say("p4ssword");
    }
}

#[test]
fn loopback_bypasses_the_proxy() {
    let proxy = proxy::start().expect("cannot start proxy");
    let gateway = open();
    let pipe = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
        .into_iter()
        .fold(Pipe::at(&gateway).stack(ECHO_STACK), |pipe, name| pipe.var(name, proxy.url()));
    pipe.run().exits(0);
    assert!(proxy.requests().is_empty());
}

#[test]
fn plain_http_is_rejected_before_any_request() {
    for url in ["http://gw.example.com", "http://192.0.2.1:8080", "http://gw.localhost", "HTTP://gw.example.com"] {
        let pipe = Pipe::new().stack(ECHO_STACK).var("OPENFAAS_URL", url).var("BITBUCKET_STEP_OIDC_TOKEN", "a.b.c");
        pipe.run().exits(2).says("is not encrypted, and would send the token in the clear").says("ALLOW_HTTP: 'true'");
    }
}

#[test]
fn credentials_in_headers_are_masked_and_other_headers_are_not() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let invoke = |payload: &str| {
        let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("PAYLOAD", payload);
        pipe.list("HEADERS", &["X-Api-Key: k3y-0123456789", "Authorization: Token t0ken-of-mine", "X-Team: payments"])
    };
    let ran = invoke("k3y-0123456789, then t0ken-of-mine, from payments").run().exits(0);
    ran.says("***, then ***, from payments");
}

#[test]
fn short_secret_causes_a_warning() {
    let gateway = start(permissive().basic_auth("admin", "abc"));
    let pipe = Pipe::at(&gateway).stack(ECHO_STACK);
    pipe.var("OPENFAAS_PASSWORD", "abc")
        .run()
        .exits(0)
        .says("`OPENFAAS_PASSWORD` is too short to be masked in the log: it has fewer than 4 characters");
    Pipe::at(&gateway).stack(ECHO_STACK).run().does_not_say("too short to be masked");
}

#[test]
fn untrusted_text_cannot_control_the_terminal() {
    let steering = "\x1b[2J\x1b]0;title\x07\r\u{9b}31m\u{202e}\n✔ deployed\nINFO: fine";
    let quiet = |ran: Ran| {
        for character in ['\x1b', '\x07', '\r', '\u{9b}', '\u{202e}'] {
            assert!(!ran.log.contains(character), "{character:?} is in\n{}", ran.log);
        }
        ran
    };
    let invoke = |gateway: &Gateway| Pipe::at(gateway).var("COMMAND", "invoke").var("FUNCTION", "echo");
    for status in [400, 401, 403, 404, 409, 500, 503] {
        let gateway = open();
        put(&gateway, "openfaas-fn", "echo");
        let list = serde_json::json!([{"name": format!("ech{steering}")}]).to_string();
        gateway.fault(Fault::on("GET", "/system/functions").status(200).body(list));
        gateway.fault(Fault::any().status(status).body(steering).header("X-Call-Id", "a\u{9b}31m"));
        let ran = quiet(Pipe::at(&gateway).stack(ECHO_STACK).var("RETRIES", "0").run());
        assert_ne!(ran.code, 0);
        assert!(!ran.log.lines().any(|line| line.starts_with("✔") || line == "INFO: fine"), "{}", ran.log);
        // The response body is the requested output, printed line by line.
        quiet(invoke(&gateway).run());
    }
    let gateway = open();
    gateway.fault(Fault::on("POST", "/function/echo").status(200).body(steering));
    // The response is printed unchanged, except for control characters.
    quiet(invoke(&gateway).run().exits(0)).says("\\u{1b}[2J");
    let stack = "provider: {name: openfaas}\nfunctions:\n  \"a\\e[2J\\r\\nb\": {image: \"e\\e[2J\\rx\"}\n";
    quiet(Pipe::at(&gateway).var("DEBUG", "true").stack(stack).run());
}

#[test]
fn arguments_are_not_printed() {
    // The pipe takes no arguments: they are neither read nor printed.
    let pipe = Pipe::new();
    let output = Command::new(binary()).env_clear().arg("c4nary").current_dir(pipe.dir()).output();
    let output = output.expect("cannot run the pipe");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("c4nary"));
}
