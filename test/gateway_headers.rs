//! `GATEWAY_HEADERS` and `OPENFAAS_NS`: what every request to the gateway carries, and where functions are if nothing says so.

use local_gateway::{Fault, Gateway};

use crate::support::{GUIDE_STACK, Pipe, issuer, open, permissive, put, stack, start};

const SECRET: &str = "s3cr3t-access-token";

fn with_headers(pipe: Pipe) -> Pipe {
    pipe.list("GATEWAY_HEADERS", &["CF-Access-Client-Id: pipe.access", &format!("CF-Access-Client-Secret: {SECRET}")])
}

fn all_carry_the_headers(gateway: &Gateway) -> usize {
    let requests = gateway.requests();
    for request in &requests {
        let value = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let found = (value("cf-access-client-id"), value("cf-access-client-secret"));
        assert_eq!(found, (Some("pipe.access"), Some(SECRET)), "{} {}", request.method, request.path);
    }
    requests.len()
}

#[test]
fn every_request_to_the_gateway_and_its_functions_carries_the_headers() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let pipe = || with_headers(Pipe::at(&gateway)).var("DEBUG", "true");
    let stack = stack(&["echo"], "2");
    for command in ["deploy", "diff", "whoami", "remove"] {
        let ran = pipe().stack(&stack).var("COMMAND", command).var("WAIT", "true").run();
        assert!([0, 6].contains(&ran.code), "{}", ran.log);
        ran.does_not_say(SECRET);
    }
    put(&gateway, "openfaas-fn", "echo");
    pipe().var("COMMAND", "invoke").var("FUNCTION", "echo").run().exits(0).does_not_say(SECRET);
    pipe().stack(&stack).list("VERIFY", &["echo"]).run().exits(0).does_not_say(SECRET);
    assert!(all_carry_the_headers(&gateway) > 10);
}

#[test]
fn headers_go_nowhere_else() {
    let gateway = open();
    let other = open();
    let location = format!("{}/oauth/token", other.url());
    gateway.fault(Fault::on("POST", "/oauth/token").status(302).header("location", &location));
    let ran = with_headers(Pipe::at(&gateway)).stack(&stack(&["f"], "1")).run();
    assert_ne!(ran.code, 0);
    assert!(other.requests().is_empty());
    // Neither the server of the stack file nor a gateway that only the stack file names.
    let served = start(permissive().tls());
    served.fault(Fault::on("GET", "/stack.yml").status(200).body(stack(&["f"], "1")));
    let pipe = with_headers(Pipe::at(&gateway)).var("CA_CERT", served.ca_pem()).var("DRY_RUN", "true");
    pipe.var("STACK_FILE", format!("{}/stack.yml", served.url())).run().exits(0);
    assert!(served.requests().iter().all(|request| !request.headers.contains_key("cf-access-client-secret")));
    let lines = GUIDE_STACK.lines().map(|line| match line.trim_start().starts_with("gateway:") {
        true => format!("  gateway: {}\n", other.url()),
        false => format!("{line}\n"),
    });
    let token = issuer().token().audience(other.url()).mint();
    let pipe = with_headers(Pipe::new()).stack(&lines.collect::<String>()).var("BITBUCKET_STEP_OIDC_TOKEN", token);
    pipe.run()
        .exits(2)
        .says("OPENFAAS_URL:\n- is not set, and `GATEWAY_HEADERS` are never sent to a gateway that only ");
    assert!(other.requests().is_empty());
}

#[test]
fn header_that_a_function_echoes_is_not_printed() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo-json");
    for form in [format!("X-Proxy-Key: {SECRET}"), format!("['X-Proxy-Key: {SECRET}']")] {
        let pipe =
            Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo-json").var("GATEWAY_HEADERS", form);
        pipe.run().exits(0).says("x-proxy-key").does_not_say(SECRET);
    }
}

#[test]
fn headers_of_the_pipe_and_of_a_connection_are_refused() {
    let gateway = open();
    for (name, says) in [
        ("Authorization", "`Authorization` holds the step's token or the password"),
        ("Host", "`host` is set by the HTTP client"),
        ("Content-Length", "`content-length` is set by the HTTP client"),
        ("connection", "`connection` is set by the HTTP client"),
        ("Transfer-Encoding", "`transfer-encoding` is set by the HTTP client"),
        ("TE", "`te` is set by the HTTP client"),
        ("Keep-Alive", "`keep-alive` is set by the HTTP client"),
        ("X Key", "`X Key` is not a valid header name"),
    ] {
        let pipe =
            Pipe::at(&gateway).stack(&stack(&["f"], "1")).list("GATEWAY_HEADERS", &[&format!("{name}: {SECRET}")]);
        pipe.run().exits(2).says(&format!("GATEWAY_HEADERS:\n- {says}")).does_not_say(SECRET);
    }
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "f").list("HEADERS", &["x-key: a"]);
    pipe.list("GATEWAY_HEADERS", &["X-Key: abcd"])
        .run()
        .exits(2)
        .says("HEADERS:\n- `x-key` is also in `GATEWAY_HEADERS`");
    assert!(gateway.requests().is_empty());
}

/// A stack file with a function that has a namespace of its own and one that has none.
const STACK: &str =
    "provider: {name: openfaas}\nfunctions:\n  own: {image: 'e/own:1', namespace: etl}\n  free: {image: 'e/free:1'}\n";

#[test]
fn default_namespace_is_used_where_nothing_else_says_one() {
    let gateway = open();
    let pipe = || Pipe::at(&gateway).stack(STACK).var("OPENFAAS_NS", "team-a");
    let found = || {
        let functions = gateway.functions();
        let mut names: Vec<_> =
            functions.into_iter().map(|function| format!("{}.{}", function.name, function.namespace)).collect();
        names.sort();
        names
    };
    pipe().run().exits(0).does_not_say("OPENFAAS_NS");
    assert_eq!(found(), ["free.team-a", "own.etl"]);
    pipe().var("COMMAND", "diff").run().exits(0);
    pipe().var("COMMAND", "remove").run().exits(0);
    assert_eq!(found(), [""; 0]);
    pipe().var("OPENFAAS_NAMESPACE", "prod").run().exits(0);
    assert_eq!(found(), ["free.prod", "own.prod"]);
    let whoami = pipe().var("COMMAND", "whoami").run();
    whoami.says("team-a:free").says("etl:own");
}

#[test]
fn default_namespace_holds_for_calls() {
    let gateway = open();
    put(&gateway, "team-a", "echo");
    let pipe = || Pipe::at(&gateway).var("OPENFAAS_NS", "team-a").var("COMMAND", "invoke");
    let called = || gateway.requests().last().expect("no request").path.clone();
    pipe().var("FUNCTION", "echo").run().exits(0);
    assert_eq!(called(), "/function/echo.team-a");
    put(&gateway, "other", "echo");
    pipe().var("FUNCTION", "echo.other").run().exits(0);
    assert_eq!(called(), "/function/echo.other");
    pipe().var("FUNCTION", "echo").var("OPENFAAS_NAMESPACE", "other").run().exits(0);
    assert_eq!(called(), "/function/echo.other");
    pipe().var("COMMAND", "deploy").stack(STACK).list("VERIFY", &["echo"]).run().exits(0);
    assert_eq!(called(), "/function/echo.team-a");
    pipe()
        .var("FUNCTION", "echo")
        .var("OPENFAAS_NS", "a/b")
        .run()
        .exits(2)
        .says("OPENFAAS_NS:\n- `/` is not allowed in a namespace");
}
