//! What goes wrong between pipe and gateway, and what the pipe does then. [`ROWS`] is what `docs/faults.md` shows.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use local_gateway::{Certificate, Fault, Gateway, Latch, Version};

use crate::support::{Pipe, Ran, Running, STACK, changes, issuer, open, permissive, put, stack, start, until};

/// One thing that goes wrong.
struct Row {
    /// As the document has it.
    what: &'static str,
    wrong: Wrong,
    /// What becomes of a deployment, and of an exchange.
    request: Then,
    /// What becomes of an invocation, and of one that may be repeated.
    invocation: Then,
    idempotent: Then,
    /// What the log says of it.
    says: &'static str,
}

/// How it is brought about.
#[derive(Clone, Copy)]
enum Wrong {
    /// By the gateway, for the request itself.
    Fault(fn(Fault) -> Fault),
    /// Nobody listens.
    Nobody,
    /// The certificate is a wrong one.
    Certificate(Certificate),
    /// TLS is spoken to a gateway that does not know it.
    Scheme,
    /// The host name is too long to be one.
    Name,
}

/// What the pipe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Tries again; ends with this exit code where it stays wrong.
    Again(i32),
    /// Ends with this exit code.
    Ends(i32),
}

use Then::{Again, Ends};

fn row(what: &'static str, wrong: Wrong, request: Then, invocation: Then, idempotent: Then, says: &'static str) -> Row {
    Row { what, wrong, request, invocation, idempotent, says }
}

/// An answer with a status that may pass.
fn busy(fault: Fault, status: u16) -> Fault {
    fault.status(status).header("Retry-After", "0").body("not now")
}

fn rows() -> Vec<Row> {
    use Wrong::Fault as F;
    // One line each: it is a table.
    #[rustfmt::skip]
    let rows = vec![
        row("The connection is refused", Wrong::Nobody, Again(4), Again(4), Again(4), "connection refused"),
        row("The connection is reset before an answer", F(|f| f.reset()), Again(4), Ends(4), Again(4), "the connection was closed before"),
        row("The answer is lost: the request was carried out", F(|f| f.lose()), Again(4), Ends(4), Again(4), "the connection was closed before"),
        row("No answer within `TIMEOUT`", F(|f| f.hang()), Again(4), Ends(4), Again(4), "no complete answer within"),
        row("The answer's body is cut off", F(|f| f.cut_off(2)), Again(4), Ends(4), Ends(4), "the connection was closed before"),
        row("408 Request Timeout", F(|f| busy(f, 408)), Again(1), Ends(1), Again(1), "408 Request Timeout"),
        row("425 Too Early", F(|f| busy(f, 425)), Again(1), Ends(1), Again(1), "425 Too Early"),
        row("429 Too Many Requests, `Retry-After` in seconds", F(|f| busy(f, 429)), Again(1), Ends(1), Again(1), "429 Too Many Requests"),
        row("429 Too Many Requests, `Retry-After` as a date", F(|f| busy(f, 429).header("Retry-After", "Fri, 20 Nov 2020 10:00:00 GMT")), Again(1), Ends(1), Again(1), "429 Too Many Requests"),
        row("500 with an empty body", F(|f| f.status(500).header("Retry-After", "0")), Again(1), Ends(1), Again(1), "500 Internal Server Error"),
        row("500 with a proxy's web page", F(|f| busy(f, 500).header("Content-Type", "text/html").body("<html>oops</html>")), Again(1), Ends(1), Again(1), "500 Internal Server Error"),
        row("500 with a text", F(|f| f.status(500).body("no such secret")), Ends(1), Ends(1), Ends(1), "no such secret"),
        row("502 Bad Gateway", F(|f| busy(f, 502)), Again(1), Ends(1), Again(1), "502 Bad Gateway"),
        row("503 Service Unavailable", F(|f| busy(f, 503)), Again(1), Ends(1), Again(1), "503 Service Unavailable"),
        row("504 Gateway Timeout", F(|f| busy(f, 504)), Again(1), Ends(1), Again(1), "504 Gateway Timeout"),
        row("503 with a proxy's web page", F(|f| busy(f, 503).header("Content-Type", "text/html").body("<html>oops</html>")), Again(1), Ends(1), Again(1), "503 Service Unavailable"),
        row("400 Bad Request", F(|f| f.status(400).body("no")), Ends(1), Ends(1), Ends(1), "400 Bad Request"),
        row("401 Unauthorized, at every try", F(|f| f.status(401)), Ends(3), Ends(3), Ends(3), "401 Unauthorized"),
        row("403 Forbidden", F(|f| f.status(403)), Ends(3), Ends(3), Ends(3), "403 Forbidden"),
        row("404 with a web page", F(|f| f.status(404).body("<html>oops</html>")), Ends(1), Ends(1), Ends(1), "404 Not Found"),
        row("409 Conflict", F(|f| f.status(409)), Ends(1), Ends(1), Ends(1), "409 Conflict"),
        row("A redirect", F(|f| f.redirect(302, "https://elsewhere.example.com/")), Ends(1), Ends(1), Ends(1), "a redirect to `https://elsewhere.example.com/`"),
        row("What is not HTTP", F(|f| f.raw("SSH-2.0-OpenSSH_9.2\r\n")), Ends(4), Ends(4), Ends(4), "the answer is not HTTP"),
        row("The certificate's authority is not known", Wrong::Certificate(Certificate::UnknownAuthority), Ends(4), Ends(4), Ends(4), "the certificate's issuer is not trusted"),
        row("The certificate is for another host name", Wrong::Certificate(Certificate::WrongHost), Ends(4), Ends(4), Ends(4), "the certificate is not for this host name"),
        row("The certificate has expired", Wrong::Certificate(Certificate::Expired), Ends(4), Ends(4), Ends(4), "the certificate expired on"),
        row("Plain HTTP is answered to TLS", Wrong::Scheme, Ends(4), Ends(4), Ends(4), "the port does not speak TLS"),
        row("The host name has no address", Wrong::Name, Ends(4), Ends(4), Ends(4), "the host name cannot be resolved"),
    ];
    rows
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

    fn then(self, row: &Row) -> Then {
        match self {
            Self::Deploy => row.request,
            Self::Invoke => row.invocation,
            Self::InvokeIdempotent => row.idempotent,
            // It asks one thing only: whether the step is admitted, if the gateway can be asked.
            // A page for people comes from something that answers in the gateway's place.
            Self::Whoami if row.what.contains("web page") => match row.request {
                Again(_) => Again(4),
                Ends(_) => Ends(4),
            },
            Self::Whoami => match row.request {
                Again(4) => Again(4),
                Ends(4) => Ends(4),
                Again(_) => Again(3),
                Ends(_) => Ends(3),
            },
        }
    }

    /// The request that goes wrong.
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
            Self::Deploy => pipe.stack(STACK),
            Self::Whoami => pipe.var("COMMAND", "whoami"),
            Self::Invoke => invoke(pipe),
            Self::InvokeIdempotent => invoke(pipe).var("IDEMPOTENT", "true"),
        }
    }
}

/// Runs a row once; gives what is not as it should be.
fn check(row: &Row, command: Command, version: Version) -> Result<(), String> {
    let tls = version == Version::HTTP_2;
    let gateway = start(match row.wrong {
        Wrong::Certificate(certificate) => permissive().certificate(certificate),
        Wrong::Scheme => permissive(),
        _ if tls => permissive().tls(),
        _ => permissive(),
    });
    put(&gateway, "openfaas-fn", "echo");
    let (method, path) = command.request();
    let mut pipe = command.pipe(&gateway);
    let expected = command.then(row);
    let (Again(code) | Ends(code)) = expected;
    let ensure = |met: bool, what: &str, ran: &Ran| if met { Ok(()) } else { Err(format!("{what}\n{}", ran.log)) };
    let Wrong::Fault(fault) = row.wrong else {
        let url = match row.wrong {
            Wrong::Nobody => format!("{}://127.0.0.1:1", if tls { "https" } else { "http" }),
            Wrong::Scheme => gateway.url().replace("http:", "https:"),
            Wrong::Name => {
                pipe = pipe.var("ALLOW_HTTP", "true");
                format!("{}://{}.example", if tls { "https" } else { "http" }, "a".repeat(64))
            }
            _ => gateway.url().to_owned(),
        };
        pipe = pipe.var("OPENFAAS_URL", url).var("RETRIES", "1");
        let ran = pipe.run();
        let tries = ran.log.matches("retrying in").count();
        ensure(ran.code == code, &format!("exit code {} for {code}", ran.code), &ran)?;
        ensure(tries == usize::from(expected == Again(code)), "tries", &ran)?;
        return ensure(ran.log.contains(row.says), row.says, &ran);
    };

    // Long enough for a slow machine; only one row waits for it.
    let timeout = if row.says.contains("within") { "4s" } else { "60s" };
    pipe = pipe.var("TIMEOUT", timeout).var("RETRIES", "1");
    let always = row.what.contains("at every try");
    let struck = fault(Fault::on(method, path));
    gateway.fault(if always { struck } else { struck.times(1) });
    let ran = pipe.run();
    let requests = gateway.requests();
    let about: Vec<_> =
        requests.iter().filter(|request| request.method == method && request.path.starts_with(path)).collect();
    let (tries, ends) = match expected {
        Again(_) => (2, 0),
        // A 401 leads to one new exchange.
        Ends(_) if always && command == Command::Deploy => (2, code),
        Ends(_) => (1, code),
    };
    ensure(ran.code == ends, &format!("exit code {} for {ends}", ran.code), &ran)?;
    ensure(about.len() == tries, &format!("{} requests for {tries}", about.len()), &ran)?;
    ensure(about.iter().all(|request| request.version == version), &format!("{version:?}"), &ran)?;
    // A refused exchange is told in words of its own, with the number.
    let says = row.says.split(' ').next().filter(|_| command == Command::Whoami && row.says.starts_with(['4', '5']));
    let says = says.unwrap_or(row.says);
    ensure(ran.log.contains(says), says, &ran)?;
    if let Again(code) = expected {
        ensure(ran.log.contains("; retrying in ") && ran.log.contains(" (1 of 1)"), "the try", &ran)?;
        gateway.fault(fault(Fault::on(method, path)));
        let ran = pipe.var("RETRIES", "0").run();
        ensure(ran.code == code, &format!("exit code {} for {code} where it stays", ran.code), &ran)?;
    }
    Ok(())
}

#[test]
fn what_may_pass_is_tried_again_and_nothing_else() {
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
                        let place = format!("{}, {command:?}, {version:?}: {error}", row.what);
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
fn document_shows_the_table() {
    let cell = |then: Then| match then {
        Again(code) => format!("retried, else {code}"),
        Ends(code) => format!("ends with {code}"),
    };
    let mut table = "| What goes wrong | Deploy | Invocation | Invocation with `IDEMPOTENT: 'true'` |\n\
                     |---|---|---|---|\n"
        .to_owned();
    for row in rows() {
        let cells = [row.request, row.invocation, row.idempotent].map(cell);
        table.push_str(&format!("| {} | {} |\n", row.what, cells.join(" | ")));
    }
    let document = include_str!("../docs/faults.md");
    assert!(document.contains(&table), "`docs/faults.md` is to have this table:\n{table}");
}

#[test]
fn gateway_that_comes_up_late_is_reached() {
    // No other test is at this address: none gets the port while nobody listens there.
    let listener = TcpListener::bind("127.0.0.2:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let token = issuer().token().audience("https://gw.example.com").mint();
    let pipe = Pipe::new()
        .var("OPENFAAS_URL", format!("http://{address}"))
        .var("BITBUCKET_STEP_OIDC_TOKEN", token)
        .var("RETRIES", "10")
        .stack(STACK);
    let mut running = Running::of(pipe);
    running.read_to("connection refused; retrying in");
    let gateway = start(permissive().bind(address));
    running.read_to("✔ deployed 1 function");
    running.end().exits(0);
    assert!(gateway.function("openfaas-fn", "echo").is_some());
}

#[test]
fn each_try_is_told_with_the_reason_and_no_more_are_made_than_allowed() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").status(503).header("Retry-After", "0").body("starting"));
    let ran = Pipe::at(&gateway).stack(STACK).var("RETRIES", "3").run().exits(1);
    let tries: Vec<_> = ran.log.lines().filter(|line| line.contains("retrying")).collect();
    insta::assert_snapshot!(tries.join("\n"), @"
    WARNING: PUT /system/functions: 503 Service Unavailable: `starting`; retrying in 0 ms (1 of 3)
    WARNING: PUT /system/functions: 503 Service Unavailable: `starting`; retrying in 0 ms (2 of 3)
    WARNING: PUT /system/functions: 503 Service Unavailable: `starting`; retrying in 0 ms (3 of 3)
    ");
    assert_eq!(changes(&gateway).len(), 4);
}

#[test]
fn stack_file_from_the_web_is_fetched_again_where_that_may_help() {
    let gateway = start(permissive().tls());
    gateway.fault(Fault::on("GET", "/stack.yml").nth(1).status(503).header("Retry-After", "0"));
    gateway.fault(Fault::on("GET", "/stack.yml").nth(2).reset());
    gateway.fault(Fault::on("GET", "/stack.yml").nth(3).status(200).body(STACK).cut_off(9));
    gateway.fault(Fault::on("GET", "/stack.yml").status(200).body(STACK));
    let url = format!("{}/stack.yml", gateway.url());
    let pipe = Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).var("STACK_FILE", &url);
    let ran = pipe.run().exits(0);
    ran.says(&format!("`{url}` could not be fetched: the server answered 503 Service Unavailable; retrying in 0 ms"))
        .says("could not be fetched: the connection was closed before the answer was complete; retrying in ")
        .says(" (3 of 4)");
    gateway.clear_faults();
    gateway.fault(Fault::on("GET", "/stack.yml").status(503).header("Retry-After", "0"));
    gateway.clear_requests();
    pipe.var("RETRIES", "2")
        .run()
        .exits(2)
        .says("STACK_FILE:\n- ")
        .says("could not be fetched: the server answered 503");
    assert_eq!(gateway.requests().len(), 3);
}

fn methods(gateway: &Gateway) -> Vec<String> {
    changes(gateway).into_iter().map(|(method, _)| method).collect()
}

#[test]
fn creation_whose_answer_was_lost_is_recognised_and_not_repeated() {
    for strategy in ["update", "create"] {
        for exists in [409, 500] {
            let gateway = start(permissive().exists_status(exists));
            gateway.fault(Fault::on("POST", "/system/functions").nth(1).lose());
            let ran = Pipe::at(&gateway).stack(STACK).var("STRATEGY", strategy).run().exits(0);
            ran.says("`echo` created in ");
            let expected: &[&str] = if strategy == "update" { &["PUT", "POST", "POST"] } else { &["POST", "POST"] };
            assert_eq!(methods(&gateway), expected, "{strategy} {exists}");
        }
    }
}

#[test]
fn creation_that_a_proxy_gave_up_on_counts_if_the_gateway_reports_it() {
    for (status, code) in [(502, 0), (504, 0), (503, 1), (429, 1)] {
        let gateway = open();
        // A 503 and a 429 say that the request was not even passed on.
        gateway.fault(busy(Fault::on("POST", "/system/functions").nth(1).processed(), status));
        Pipe::at(&gateway).stack(STACK).var("STRATEGY", "create").run().exits(code);
        assert_eq!(methods(&gateway), ["POST", "POST"], "{status}");
    }
}

#[test]
fn deletion_whose_answer_was_lost_counts_as_done() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    gateway.fault(Fault::on("DELETE", "/system/functions").nth(1).lose());
    let ran = Pipe::at(&gateway).stack(STACK).var("STRATEGY", "replace").run().exits(0);
    ran.says("`echo` replaced in ");
    assert_eq!(methods(&gateway), ["DELETE", "DELETE", "POST"]);
}

#[test]
fn token_refused_in_the_middle_is_exchanged_anew_once() {
    let gateway = open();
    for name in ["a", "b"] {
        put(&gateway, "openfaas-fn", name);
    }
    gateway.fault(Fault::on("PUT", "/system/functions").nth(2).status(401));
    let ran = Pipe::at(&gateway).stack(&stack(&["a", "b"])).var("PARALLEL", "1").run().exits(0);
    ran.says("PUT /system/functions: 401, the token is exchanged again");
    assert_eq!(exchanges(&gateway), 2);
    assert_eq!(methods(&gateway), ["PUT", "PUT", "PUT"]);
}

fn exchanges(gateway: &Gateway) -> usize {
    gateway.requests().iter().filter(|request| request.path == "/oauth/token").count()
}

/// [`open`], with tokens that are valid for this long.
fn short_lived(seconds: u64) -> local_gateway::Builder {
    let iam = include_str!("iam/everything.yaml").replace("30m", &format!("{seconds}s"));
    Gateway::builder().iam_yaml(&iam).public_url("https://gw.example.com").issuer(&issuer())
}

#[test]
fn token_that_runs_out_during_a_deploy_is_exchanged_anew() {
    let gateway = start(short_lived(6));
    for name in ["a", "b"] {
        put(&gateway, "openfaas-fn", name);
    }
    // Half of its life is over when the second begins.
    gateway.fault(Fault::on("PUT", "/system/functions").nth(1).delay_answer(Duration::from_millis(3500)));
    Pipe::at(&gateway).stack(&stack(&["a", "b"])).var("PARALLEL", "1").run().exits(0);
    assert_eq!(exchanges(&gateway), 2);
    assert_eq!(methods(&gateway), ["PUT", "PUT"]);
}

#[test]
fn function_token_that_runs_out_between_two_tries_is_exchanged_anew() {
    let gateway = start(short_lived(2));
    put(&gateway, "openfaas-fn", "echo");
    // Half of its life is over after that.
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
fn token_whose_life_is_not_told_is_used_until_it_is_refused() {
    for expires_in in [local_gateway::ExpiresIn::Zero, local_gateway::ExpiresIn::Absent] {
        let gateway = start(permissive().expires_in(expires_in));
        Pipe::at(&gateway).stack(&stack(&["a", "b", "c", "d", "e", "f"])).run().exits(0);
        assert_eq!(exchanges(&gateway), 1);
    }
}

#[test]
fn many_functions_with_a_refused_token_share_the_new_exchange() {
    let gateway = open();
    let latch = Latch::closed();
    gateway.fault(Fault::on("PUT", "/system/functions").times(4).status(401).held_by(&latch));
    let mut running = Running::of(Pipe::at(&gateway).stack(&stack(&["a", "b", "c", "d"])));
    until("fourth request", || changes(&gateway).len() == 4);
    latch.open();
    running.end().exits(0);
    assert_eq!(exchanges(&gateway), 2);
}
