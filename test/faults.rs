//! Failures between pipe and gateway, and how the pipe handles them. [`rows`] is the source of the table in
//! `docs/faults.md`.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use local_gateway::{Certificate, Fault, Gateway, Latch, Version};

use crate::support::{ECHO_STACK, Pipe, Ran, Running, changes, issuer, open, permissive, put, stack, start, wait_for};

/// A failure and its outcomes.
struct Row {
    /// The text in the document.
    title: &'static str,
    cause: Cause,
    /// The outcome of a deploy and of a token exchange.
    request: Outcome,
    /// The outcome of an invocation, and of one with `IDEMPOTENT`.
    invocation: Outcome,
    idempotent: Outcome,
    /// A part of the error message.
    says: &'static str,
}

/// How the failure is caused.
#[derive(Clone, Copy)]
enum Cause {
    /// By the gateway, for this request.
    Fault(fn(Fault) -> Fault),
    /// Nothing listens on the port.
    ConnectionRefused,
    /// The gateway has an invalid certificate.
    Certificate(Certificate),
    /// The pipe uses TLS, the gateway plain HTTP.
    PlainHttp,
    /// The host name is too long to exist.
    UnknownHost,
}

/// What the pipe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Retries. Exits with this code if the failure persists.
    Retried(i32),
    /// Exits with this code.
    Fails(i32),
}

use Outcome::{Fails, Retried};

/// A response with a transient status.
fn busy(fault: Fault, status: u16) -> Fault {
    fault.status(status).header("Retry-After", "0").body("not now")
}

fn rows() -> Vec<Row> {
    use Cause::Fault as F;
    // One line each: it is a table.
    #[rustfmt::skip]
    let rows = [
        ("The connection is refused", Cause::ConnectionRefused, Retried(4), Retried(4), Retried(4), "connection refused"),
        ("The connection is reset before a response", F(|f| f.reset()), Retried(4), Fails(4), Retried(4), "the connection was closed before"),
        ("The response is lost after the gateway processed the request", F(|f| f.lose()), Retried(4), Fails(4), Retried(4), "the connection was closed before"),
        ("No response within `TIMEOUT`", F(|f| f.hang()), Retried(4), Fails(4), Retried(4), "no complete response within"),
        ("The response body is cut off", F(|f| f.cut_off(2)), Retried(4), Fails(4), Fails(4), "the connection was closed before"),
        ("408 Request Timeout", F(|f| busy(f, 408)), Retried(1), Fails(1), Retried(1), "408 Request Timeout"),
        ("425 Too Early", F(|f| busy(f, 425)), Retried(1), Fails(1), Retried(1), "425 Too Early"),
        ("429 Too Many Requests, `Retry-After` in seconds", F(|f| busy(f, 429)), Retried(1), Fails(1), Retried(1), "429 Too Many Requests"),
        ("429 Too Many Requests, `Retry-After` as a date", F(|f| busy(f, 429).header("Retry-After", "Fri, 20 Nov 2020 10:00:00 GMT")), Retried(1), Fails(1), Retried(1), "429 Too Many Requests"),
        ("500 with an empty body", F(|f| f.status(500).header("Retry-After", "0")), Retried(1), Fails(1), Retried(1), "500 Internal Server Error"),
        ("500 with a proxy's web page", F(|f| busy(f, 500).header("Content-Type", "text/html").body("<html>oops</html>")), Retried(1), Fails(1), Retried(1), "500 Internal Server Error"),
        ("500 with a text", F(|f| f.status(500).body("no such secret")), Fails(1), Fails(1), Fails(1), "no such secret"),
        ("502 Bad Gateway", F(|f| busy(f, 502)), Retried(1), Fails(1), Retried(1), "502 Bad Gateway"),
        ("503 Service Unavailable", F(|f| busy(f, 503)), Retried(1), Fails(1), Retried(1), "503 Service Unavailable"),
        ("504 Gateway Timeout", F(|f| busy(f, 504)), Retried(1), Fails(1), Retried(1), "504 Gateway Timeout"),
        ("503 with a proxy's web page", F(|f| busy(f, 503).header("Content-Type", "text/html").body("<html>oops</html>")), Retried(1), Fails(1), Retried(1), "503 Service Unavailable"),
        ("400 Bad Request", F(|f| f.status(400).body("no")), Fails(1), Fails(1), Fails(1), "400 Bad Request"),
        ("401 Unauthorized, persistent", F(|f| f.status(401)), Fails(3), Fails(3), Fails(3), "401 Unauthorized"),
        ("403 Forbidden", F(|f| f.status(403)), Fails(3), Fails(3), Fails(3), "403 Forbidden"),
        ("404 with a web page", F(|f| f.status(404).body("<html>oops</html>")), Fails(1), Fails(1), Fails(1), "404 Not Found"),
        ("409 Conflict", F(|f| f.status(409)), Fails(1), Fails(1), Fails(1), "409 Conflict"),
        ("522 of Cloudflare", F(|f| f.status(522)), Retried(4), Fails(4), Retried(4), "522 (Cloudflare: no connection to the gateway)"),
        ("A redirect to a sign-in", F(|f| f.redirect(302, "https://elsewhere.example.com/")), Fails(4), Fails(4), Fails(4), "a redirect to `https://elsewhere.example.com/`"),
        ("The gateway returns something that is not HTTP", F(|f| f.raw("SSH-2.0-OpenSSH_9.2\r\n")), Fails(4), Fails(4), Fails(4), "the response is not HTTP"),
        ("The certificate authority is unknown", Cause::Certificate(Certificate::UnknownAuthority), Fails(4), Fails(4), Fails(4), "the certificate's issuer is not trusted"),
        ("The certificate is for another host name", Cause::Certificate(Certificate::WrongHost), Fails(4), Fails(4), Fails(4), "the certificate is not for this host name"),
        ("The certificate has expired", Cause::Certificate(Certificate::Expired), Fails(4), Fails(4), Fails(4), "the certificate expired on"),
        ("The gateway responds to TLS with plain HTTP", Cause::PlainHttp, Fails(4), Fails(4), Fails(4), "the port does not speak TLS"),
        ("The host name cannot be resolved", Cause::UnknownHost, Fails(4), Fails(4), Fails(4), "the host name cannot be resolved"),
    ];
    rows.into_iter()
        .map(|(title, cause, request, invocation, idempotent, says)| Row {
            title,
            cause,
            request,
            invocation,
            idempotent,
            says,
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Deploy,
    Invoke,
    InvokeIdempotent,
    Whoami,
}

impl Command {
    const ALL: [Self; 4] = [Self::Deploy, Self::Invoke, Self::InvokeIdempotent, Self::Whoami];

    fn outcome(self, row: &Row) -> Outcome {
        match self {
            Self::Deploy => row.request,
            Self::Invoke => row.invocation,
            Self::InvokeIdempotent => row.idempotent,
            // `whoami` reports 3 if the gateway rejects the step, and 4 if the gateway could not be queried. A web page
            // does not come from the gateway.
            Self::Whoami if row.title.contains("web page") => match row.request {
                Retried(_) => Retried(4),
                Fails(_) => Fails(4),
            },
            Self::Whoami => match row.request {
                Retried(_) => Retried(4),
                Fails(4) => Fails(4),
                Fails(_) => Fails(3),
            },
        }
    }

    /// The request that fails.
    fn request(self) -> (&'static str, &'static str) {
        match self {
            Self::Deploy => ("PUT", "/system/functions"),
            Self::Invoke | Self::InvokeIdempotent => ("POST", "/function/echo"),
            Self::Whoami => ("POST", "/oauth/token"),
        }
    }

    fn pipe(self, gateway: &Gateway) -> Pipe {
        let pipe = Pipe::at(gateway);
        let pipe = if gateway.ca_pem().is_empty() { pipe } else { pipe.var("CA_CERT", gateway.ca_pem()) };
        let invoke = |pipe: Pipe| pipe.var("COMMAND", "invoke").var("FUNCTION", "echo").var("PAYLOAD", "hello");
        match self {
            Self::Deploy => pipe.stack(ECHO_STACK),
            Self::Whoami => pipe.var("COMMAND", "whoami"),
            Self::Invoke => invoke(pipe),
            Self::InvokeIdempotent => invoke(pipe).var("IDEMPOTENT", "true"),
        }
    }
}

/// Runs one row. Returns an error if anything differs from the expectation.
fn check(row: &Row, command: Command, version: Version) -> Result<(), String> {
    let tls = version == Version::HTTP_2;
    let gateway = start(match row.cause {
        Cause::Certificate(certificate) => permissive().certificate(certificate),
        Cause::PlainHttp => permissive(),
        _ if tls => permissive().tls(),
        _ => permissive(),
    });
    put(&gateway, "openfaas-fn", "echo");
    let (method, path) = command.request();
    let mut pipe = command.pipe(&gateway);
    let expected = command.outcome(row);
    let (Retried(code) | Fails(code)) = expected;
    let ensure = |met: bool, what: &str, ran: &Ran| if met { Ok(()) } else { Err(format!("{what}\n{}", ran.log)) };
    let Cause::Fault(fault) = row.cause else {
        let url = match row.cause {
            Cause::ConnectionRefused => format!("{}://127.0.0.1:1", if tls { "https" } else { "http" }),
            Cause::PlainHttp => gateway.url().replace("http:", "https:"),
            Cause::UnknownHost => {
                pipe = pipe.var("ALLOW_HTTP", "true");
                format!("{}://{}.example", if tls { "https" } else { "http" }, "a".repeat(64))
            }
            _ => gateway.url().to_owned(),
        };
        pipe = pipe.var("OPENFAAS_URL", url).var("RETRIES", "1");
        let ran = pipe.run();
        let retries = ran.log.matches("retrying in").count();
        ensure(ran.code == code, &format!("exit code {} for {code}", ran.code), &ran)?;
        ensure(retries == usize::from(expected == Retried(code)), "retries", &ran)?;
        return ensure(ran.log.contains(row.says), row.says, &ran);
    };

    // Long enough for a slow machine. Only one row waits for it.
    let timeout = if row.says.contains("within") { "4s" } else { "60s" };
    pipe = pipe.var("TIMEOUT", timeout).var("RETRIES", "1");
    let persists = row.title.contains("persistent");
    let fault = || fault(Fault::on(method, path));
    gateway.fault(if persists { fault() } else { fault().times(1) });
    let ran = pipe.run();
    let requests = gateway.requests();
    let sent: Vec<_> =
        requests.iter().filter(|request| request.method == method && request.path.starts_with(path)).collect();
    let (count, exit) = match expected {
        Retried(_) => (2, 0),
        // After a 401 the token is exchanged again, once.
        Fails(_) if persists && command == Command::Deploy => (2, code),
        Fails(_) => (1, code),
    };
    ensure(ran.code == exit, &format!("exit code {} for {exit}", ran.code), &ran)?;
    ensure(sent.len() == count, &format!("{} requests for {count}", sent.len()), &ran)?;
    ensure(sent.iter().all(|request| request.version == version), &format!("{version:?}"), &ran)?;
    // The error of a rejected exchange has its own text, with the status number.
    let says = row.says.split(' ').next().filter(|_| command == Command::Whoami && row.says.starts_with(['4', '5']));
    let says = says.unwrap_or(row.says);
    ensure(ran.log.contains(says), says, &ran)?;
    if let Retried(code) = expected {
        ensure(ran.log.contains("; retrying in ") && ran.log.contains(" (1 of 1)"), "the retry", &ran)?;
        gateway.fault(fault());
        let ran = pipe.var("RETRIES", "0").run();
        ensure(ran.code == code, &format!("exit code {} for {code} if it persists", ran.code), &ran)?;
    }
    Ok(())
}

#[test]
fn only_transient_failures_are_retried() {
    let rows = rows();
    let jobs: Vec<(&Row, Command, Version)> = rows
        .iter()
        .flat_map(|row| Command::ALL.map(|command| (row, command)))
        .flat_map(|(row, command)| [Version::HTTP_11, Version::HTTP_2].map(|version| (row, command, version)))
        .collect();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    // Most of the time is spent waiting.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((row, command, version)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = check(row, *command, *version) {
                        let place = format!("{}, {command:?}, {version:?}: {error}", row.title);
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(place);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), jobs.len(), wrong.join("\n"));
}

#[test]
fn documented_table_matches_the_tests() {
    let cell = |outcome: Outcome| match outcome {
        Retried(code) => format!("retried, else {code}"),
        Fails(code) => format!("ends with {code}"),
    };
    let mut table = "| Failure | Deploy | Invocation | Invocation with `IDEMPOTENT: 'true'` |\n\
                     |---|---|---|---|\n"
        .to_owned();
    for row in rows() {
        let cells = [row.request, row.invocation, row.idempotent].map(cell);
        table.push_str(&format!("| {} | {} |\n", row.title, cells.join(" | ")));
    }
    let document = include_str!("../docs/faults.md");
    assert!(document.contains(&table), "`docs/faults.md` must contain this table:\n{table}");
}

#[test]
fn gateway_that_starts_late_is_reached() {
    // No other test uses this address, so that no other test can get the port in the meantime.
    let listener = TcpListener::bind("127.0.0.2:0").expect("cannot bind port");
    let address = listener.local_addr().expect("cannot get address");
    drop(listener);
    let token = issuer().token().audience("https://gw.example.com").mint();
    let pipe = Pipe::new()
        .var("OPENFAAS_URL", format!("http://{address}"))
        .var("BITBUCKET_STEP_OIDC_TOKEN", token)
        .var("RETRIES", "10")
        .stack(ECHO_STACK);
    let mut running = Running::of(pipe);
    running.read_to("connection refused; retrying in");
    let gateway = start(permissive().bind(address));
    running.read_to("✔ deployed 1 function");
    running.end().exits(0);
    assert!(gateway.function("openfaas-fn", "echo").is_some());
}

#[test]
fn each_retry_is_logged_and_limited_by_retries() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").status(503).header("Retry-After", "0").body("starting"));
    let ran = Pipe::at(&gateway).stack(ECHO_STACK).var("RETRIES", "3").run().exits(1);
    let tries: Vec<_> = ran.log.lines().filter(|line| line.contains("retrying")).collect();
    insta::assert_snapshot!(tries.join("\n"), @"
    WARNING: PUT /system/functions: 503 Service Unavailable: `starting`; retrying in 0 ms (1 of 3)
    WARNING: PUT /system/functions: 503 Service Unavailable: `starting`; retrying in 0 ms (2 of 3)
    WARNING: PUT /system/functions: 503 Service Unavailable: `starting`; retrying in 0 ms (3 of 3)
    ");
    assert_eq!(changes(&gateway).len(), 4);
}

#[test]
fn transient_failures_to_fetch_a_stack_file_are_retried() {
    let gateway = start(permissive().tls());
    gateway.fault(Fault::on("GET", "/stack.yml").nth(1).status(503).header("Retry-After", "0"));
    gateway.fault(Fault::on("GET", "/stack.yml").nth(2).reset());
    gateway.fault(Fault::on("GET", "/stack.yml").nth(3).status(200).body(ECHO_STACK).cut_off(9));
    gateway.fault(Fault::on("GET", "/stack.yml").status(200).body(ECHO_STACK));
    let url = format!("{}/stack.yml", gateway.url());
    let pipe = Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).var("STACK_FILE", &url);
    let ran = pipe.run().exits(0);
    ran.says(&format!("`{url}` could not be fetched: the server returned 503 Service Unavailable; retrying in 0 ms"))
        .says("could not be fetched: the connection was closed before the response was complete; retrying in ")
        .says(" (3 of 4)");
    gateway.clear_faults();
    gateway.fault(Fault::on("GET", "/stack.yml").status(503).header("Retry-After", "0"));
    gateway.clear_requests();
    pipe.var("RETRIES", "2")
        .run()
        .exits(2)
        .says("STACK_FILE:\n- ")
        .says("could not be fetched: the server returned 503");
    assert_eq!(gateway.requests().len(), 3);
}

fn methods(gateway: &Gateway) -> Vec<String> {
    changes(gateway).into_iter().map(|(method, _)| method).collect()
}

#[test]
fn response_lost_after_create_counts_as_created() {
    for strategy in ["update", "create"] {
        for exists in [409, 500] {
            let gateway = start(permissive().exists_status(exists));
            gateway.fault(Fault::on("POST", "/system/functions").nth(1).lose());
            let ran = Pipe::at(&gateway).stack(ECHO_STACK).var("STRATEGY", strategy).run().exits(0);
            ran.says("`echo` created in ");
            let expected: &[&str] = if strategy == "update" { &["PUT", "POST", "POST"] } else { &["POST", "POST"] };
            assert_eq!(methods(&gateway), expected, "{strategy} {exists}");
        }
    }
}

#[test]
fn create_with_a_proxy_error_counts_if_the_gateway_reports_the_function() {
    for (status, code) in [(502, 0), (504, 0), (503, 0), (429, 1)] {
        let gateway = open();
        // A 429 means that the proxy did not forward the request. A 503 of Envoy may mean that the response was lost.
        gateway.fault(busy(Fault::on("POST", "/system/functions").nth(1).processed(), status));
        Pipe::at(&gateway).stack(ECHO_STACK).var("STRATEGY", "create").run().exits(code);
        assert_eq!(methods(&gateway), ["POST", "POST"], "{status}");
    }
}

#[test]
fn response_lost_after_delete_counts_as_deleted() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    gateway.fault(Fault::on("DELETE", "/system/functions").nth(1).lose());
    let ran = Pipe::at(&gateway).stack(ECHO_STACK).var("STRATEGY", "replace").run().exits(0);
    ran.says("`echo` replaced in ");
    assert_eq!(methods(&gateway), ["DELETE", "DELETE", "POST"]);
}

#[test]
fn token_rejected_during_a_deploy_is_exchanged_again_once() {
    let gateway = open();
    for name in ["a", "b"] {
        put(&gateway, "openfaas-fn", name);
    }
    gateway.fault(Fault::on("PUT", "/system/functions").nth(2).status(401));
    let ran = Pipe::at(&gateway).stack(&stack(&["a", "b"], "1")).var("PARALLEL", "1").run().exits(0);
    ran.says("PUT /system/functions: 401, the token is exchanged again");
    assert_eq!(exchanges(&gateway), 2);
    assert_eq!(methods(&gateway), ["PUT", "PUT", "PUT"]);
}

fn exchanges(gateway: &Gateway) -> usize {
    gateway.requests().iter().filter(|request| request.path == "/oauth/token").count()
}

/// [`open`] with tokens of this lifetime.
fn short_lived(seconds: u64) -> local_gateway::Builder {
    let iam = include_str!("iam/everything.yaml").replace("30m", &format!("{seconds}s"));
    Gateway::builder().iam_yaml(&iam).public_url("https://gw.example.com").issuer(&issuer())
}

#[test]
fn token_that_expires_during_a_deploy_is_exchanged_again() {
    let gateway = start(short_lived(6));
    for name in ["a", "b"] {
        put(&gateway, "openfaas-fn", name);
    }
    // More than half of the lifetime has passed when the second update starts.
    gateway.fault(Fault::on("PUT", "/system/functions").nth(1).delay_answer(Duration::from_millis(3500)));
    Pipe::at(&gateway).stack(&stack(&["a", "b"], "1")).var("PARALLEL", "1").run().exits(0);
    assert_eq!(exchanges(&gateway), 2);
    assert_eq!(methods(&gateway), ["PUT", "PUT"]);
}

#[test]
fn function_token_that_expires_between_retries_is_exchanged_again() {
    let gateway = start(short_lived(2));
    put(&gateway, "openfaas-fn", "echo");
    // More than half of the lifetime has passed after this pause.
    gateway.fault(Fault::on("POST", "/function/").nth(1).status(503).header("Retry-After", "1"));
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("AUTH", "always");
    pipe.var("IDEMPOTENT", "true").run().exits(0);
    let requests = gateway.requests();
    let invocations = requests.iter().filter(|request| request.path == "/function/echo");
    let tokens: Vec<_> = invocations.map(|request| request.header("authorization")).collect();
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1]);
}

#[test]
fn token_without_a_lifetime_is_used_until_it_is_rejected() {
    for expires_in in [local_gateway::ExpiresIn::Zero, local_gateway::ExpiresIn::Absent] {
        let gateway = start(permissive().expires_in(expires_in));
        Pipe::at(&gateway).stack(&stack(&["a", "b", "c", "d", "e", "f"], "1")).run().exits(0);
        assert_eq!(exchanges(&gateway), 1);
    }
}

#[test]
fn rejected_tokens_of_parallel_updates_share_one_new_exchange() {
    let gateway = open();
    let latch = Latch::closed();
    gateway.fault(Fault::on("PUT", "/system/functions").times(4).status(401).held_by(&latch));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a", "b", "c", "d"], "1")));
    wait_for("four PUT requests", || changes(&gateway).len() == 4);
    latch.open();
    running.end().exits(0);
    assert_eq!(exchanges(&gateway), 2);
}
