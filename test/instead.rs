//! Something else answers in place of the gateway or of a function: it is named, and never taken for success.

use std::time::Duration;

use local_gateway::{Fault, Flavour, Gateway};

use crate::support::{ECHO_STACK, Pipe, deploy_once, edition, open, permissive, put, start};

/// A run with a password, without retries.
fn with_password(gateway: &Gateway) -> Pipe {
    Pipe::with_password(gateway).stack(ECHO_STACK).var("RETRIES", "0")
}

fn invoke(gateway: &Gateway) -> Pipe {
    put(gateway, "openfaas-fn", "echo");
    Pipe::at(gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("RETRIES", "0")
}

fn page(fault: Fault, status: u16) -> Fault {
    fault.status(status).header("Content-Type", "text/html").body("<html><head><title>Sign in</title></head></html>")
}

#[test]
fn web_page_with_200_is_not_a_gateway() {
    let gateway = start(edition(Flavour::Enterprise));
    for (method, path, command, variables) in [
        ("PUT", "/system/functions", "deploy", [("STRATEGY", "update"), ("WAIT", "false")]),
        ("POST", "/system/functions", "deploy", [("STRATEGY", "create"), ("WAIT", "false")]),
        ("GET", "/system/function", "diff", [("STRATEGY", "update"), ("WAIT", "false")]),
        ("DELETE", "/system/functions", "remove", [("FILTER", "echo"), ("WAIT", "false")]),
    ] {
        gateway.clear_faults();
        gateway.fault(page(Fault::on(method, path), 200));
        let pipe = variables.iter().fold(with_password(&gateway), |pipe, (name, value)| pipe.var(name, *value));
        let ran = pipe.var("COMMAND", command).run().exits(4);
        let ran = ran.says(&format!("{method} {path}")).says(": 200 OK, a web page (`Sign in`)");
        ran.says("a proxy or an ingress in front of it requires its own sign-in").does_not_say("✔");
    }
}

#[test]
fn json_that_names_an_error_with_200_is_no_success() {
    let gateway = start(edition(Flavour::Enterprise));
    for (method, command) in [("PUT", "deploy"), ("DELETE", "remove")] {
        gateway.clear_faults();
        gateway.fault(Fault::on(method, "/system/functions").status(200).body(r#"{"error": "login required"}"#));
        let ran = with_password(&gateway).var("COMMAND", command).run().exits(1);
        ran.says(": 200 OK: `{\"error\": \"login required\"}`").does_not_say("✔");
    }
}

#[test]
fn every_function_at_a_sign_in_page_is_not_asked_again_and_again() {
    let gateway = start(permissive());
    gateway.fault(page(Fault::on("PUT", "/system/functions"), 200));
    let stack = crate::support::stack(&crate::support::names(6), "1");
    let ran = Pipe::at(&gateway).stack(&stack).var("PARALLEL", "2").run().exits(4);
    ran.says("the gateway is not available: 2 functions in a row failed");
}

#[test]
fn kubernetes_api_is_named() {
    let denied = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"forbidden: User \"system:anonymous\" cannot post path \"/oauth/token\"","reason":"Forbidden","details":{},"code":403}"#;
    for (status, body) in [(403, denied), (404, r#"{"paths": ["/api", "/apis"]}"#), (401, denied)] {
        let gateway = open();
        gateway.fault(Fault::any().status(status).header("Content-Type", "application/json").body(body));
        for pipe in [deploy_once(&gateway), with_password(&gateway)] {
            let ran = pipe.run().exits(4).says(", from the Kubernetes API");
            let ran = ran.says("is the Kubernetes API, not the OpenFaaS gateway: write the gateway's own address");
            ran.does_not_say("set `OPENFAAS_PASSWORD`").does_not_say("check `OPENFAAS_USERNAME`");
        }
        invoke(&gateway).run().exits(4).says("the Kubernetes API returned").says("✖ `echo` was not reached");
    }
}

#[test]
fn ingress_without_a_route_is_named_and_knows_of_no_function() {
    let gateway = open();
    gateway.fault(Fault::any().status(404).body("default backend - 404"));
    for pipe in [deploy_once(&gateway), with_password(&gateway), with_password(&gateway).var("COMMAND", "remove")] {
        let ran = pipe.run().exits(4).says("an ingress without a route for this host responded at");
        ran.does_not_say("does not exist").does_not_say("✔");
    }
}

#[test]
fn gateway_without_the_path_knows_of_no_function() {
    let gateway = start(edition(Flavour::Ce).base_path("/openfaas"));
    let url = gateway.url().replace("/openfaas", "");
    let ran = with_password(&gateway).var("OPENFAAS_URL", url).var("COMMAND", "remove").run().exits(1);
    ran.says("404 Not Found: `404 page not found`").says("hint: the path does not exist").does_not_say("✔");
}

#[test]
fn errors_of_cloudflare_are_named_and_retried() {
    let gateway = open();
    gateway.fault(Fault::on("POST", "/oauth/token").times(1).status(522).body("error code: 522"));
    let ran = deploy_once(&gateway).var("RETRIES", "1").run().exits(0);
    ran.says("POST /oauth/token: 522 (Cloudflare: no connection to the gateway): `error code: 522`; retrying in");
    gateway.clear_faults();
    gateway.fault(Fault::any().status(530).body("error code: 1033"));
    let ran =
        deploy_once(&gateway).run().exits(4).says("530 (Cloudflare: the gateway's tunnel or host name does not exist)");
    ran.says("`error code: 1033`").says("what Cloudflare uses as its origin or tunnel");
    let ran = invoke(&gateway).run().exits(4);
    ran.says("ERROR: `echo` was not reached: 530 (Cloudflare: the gateway's tunnel").says("✖ `echo` was not reached");
}

#[test]
fn sign_in_redirect_is_not_taken_for_the_gateways_address() {
    for location in [
        "https://acme.cloudflareaccess.com/cdn-cgi/access/login/gw.example.com?kid=1",
        "https://login.microsoftonline.com/TENANT/oauth2/v2.0/authorize?client_id=1",
        "https://login.example.com/oauth2/start?rd=%2Foauth%2Ftoken",
        "/login?next=/oauth/token",
    ] {
        let gateway = open();
        gateway.fault(Fault::any().redirect(302, location));
        for pipe in [deploy_once(&gateway), with_password(&gateway)] {
            let ran = pipe.run().exits(4).says("let `/oauth/token` and `/system/` pass there");
            ran.does_not_say("write `OPENFAAS_URL");
        }
        let ran = invoke(&gateway).run().exits(4).says("an ingress returned 302 Found, not `echo`: a redirect to `");
        ran.says("let `/function/` pass there").does_not_say("call the path");
    }
}

#[test]
fn gateway_that_moved_is_named_with_its_base_path() {
    let gateway = open();
    gateway.fault(Fault::any().redirect(308, "https://new.example.com/openfaas/oauth/token"));
    let ran = deploy_once(&gateway).run().exits(1);
    ran.says("if the gateway has moved there, write `OPENFAAS_URL: 'https://new.example.com/openfaas'`");
}

#[test]
fn functions_own_login_is_named() {
    let gateway = open();
    gateway.fault(Fault::on("POST", "/function").redirect(302, "/auth/login?next=%2F"));
    let ran = invoke(&gateway).run().exits(1).says("`echo` returned 302 Found, a redirect to `/auth/login?next=%2F`");
    ran.says("the function has a browser login of its own: call a path that requires none");
}

#[test]
fn limited_exchange_is_not_blamed_on_parallel_requests() {
    let gateway = open();
    gateway.fault(Fault::on("POST", "/oauth/token").status(429).body("slow down"));
    deploy_once(&gateway).run().exits(1).says("limits requests: raise `RETRIES`").does_not_say("`PARALLEL`");
}

#[test]
fn password_beside_a_token_is_explained() {
    let gateway = start(edition(Flavour::Enterprise));
    let wrong = || with_password(&gateway).var("OPENFAAS_PASSWORD", "wrong-password");
    wrong().run().exits(3).says("hint: check `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`");
    let token = crate::support::issuer().token().mint();
    let jwt = with_password(&gateway).var("OPENFAAS_PASSWORD", &token);
    jwt.run().exits(3).says("`OPENFAAS_PASSWORD` is a token: remove it, and add an `oidc` block to the step");
    let both = with_password(&gateway).var("OPENFAAS_PASSWORD", &token).var("BITBUCKET_STEP_OIDC_TOKEN", &token);
    both.run().exits(3).says("`OPENFAAS_PASSWORD` is a token: remove it, and the pipe exchanges the step's own token");
    gateway.fault(Fault::any().status(401).header("WWW-Authenticate", "Bearer realm=\"openfaas\""));
    wrong().run().exits(3).says("the gateway requires a token: remove `OPENFAAS_PASSWORD`, and add an `oidc` block");
    let both = wrong().var("BITBUCKET_STEP_OIDC_TOKEN", &token);
    both.run().exits(3).says("the gateway requires a token: remove `OPENFAAS_PASSWORD`, the step has one");
}

#[test]
fn client_certificate_is_named() {
    let gateway = start(permissive().tls());
    let page = "<html><head><title>400 No required SSL certificate was sent</title></head></html>";
    gateway.fault(Fault::any().status(400).header("Content-Type", "text/html").body(page));
    let ran = deploy_once(&gateway).var("CA_CERT", gateway.ca_pem()).run().exits(4);
    ran.says("the server requires a client certificate").says("the pipe has no client certificate");
}

#[test]
fn slow_response_is_not_blamed_on_a_firewall() {
    let gateway = open();
    gateway.fault(Fault::on("POST", "/function").hang());
    gateway.fault(Fault::on("POST", "/async-function").hang());
    gateway.fault(Fault::on("PUT", "/system").hang());
    let ran = invoke(&gateway).var("TIMEOUT", "1s").run().exits(4);
    ran.says(
        "the function did not respond within 1 s, and may still run: raise `TIMEOUT`, or call it with `ASYNC: 'true'`",
    )
    .does_not_say("firewall");
    let ran = invoke(&gateway).var("TIMEOUT", "1s").var("ASYNC", "true").run().exits(4);
    ran.says("the gateway did not queue the call within 1 s: raise `TIMEOUT`");
    let ran = deploy_once(&gateway).var("TIMEOUT", "1s").run().exits(4);
    ran.says("the connection was made, so no firewall is in the way: raise `TIMEOUT`");
}

#[test]
fn failure_after_a_while_is_explained_as_a_timeout() {
    let gateway = open();
    let fault = || Fault::on("POST", "/function").delay(Duration::from_millis(1100));
    gateway.fault(fault().status(502).header("X-Call-Id", "1"));
    let ran = invoke(&gateway).run().exits(1).says("`echo` returned 502 Bad Gateway after 1.");
    ran.says("s, that is a timeout: raise `exec_timeout` of the function, `upstream_timeout` of the gateway");
    gateway.clear_faults();
    gateway.fault(page(fault(), 504));
    let ran = invoke(&gateway).run().exits(1).says("an ingress returned 504 Gateway Timeout after 1.");
    ran.says("s, that is a timeout");
}

#[test]
fn limit_of_the_body_is_named_with_its_size() {
    let gateway = open();
    gateway.fault(page(Fault::on("POST", "/function"), 413));
    let pipe = invoke(&gateway).file("data", vec![b'x'; 12_000_000]).var("PAYLOAD_FILE", "data");
    let ran = pipe.run().exits(1).says("an ingress returned 413 Payload Too Large, not `echo`: a web page (`Sign in`)");
    let ran = ran.says("does not accept a body of 12 MB: raise its limit (nginx: `client_max_body_size`");
    ran.does_not_say("<html>").does_not_say("timeouts");
    gateway.clear_faults();
    gateway.fault(page(Fault::on("PUT", "/system"), 413));
    deploy_once(&gateway).run().exits(1).says("`client_max_body_size`").does_not_say("not an OpenFaaS gateway");
}

#[test]
fn connection_closed_during_a_large_body_may_be_its_limit() {
    let gateway = open();
    gateway.fault(Fault::on("POST", "/function").reset());
    let pipe = invoke(&gateway).file("data", vec![b'x'; 2_000_000]).var("PAYLOAD_FILE", "data");
    pipe.run().exits(4).says("does not accept a body of 2 MB: raise its limit");
    invoke(&gateway).var("PAYLOAD", "x").run().exits(4).does_not_say("raise its limit");
}

#[test]
fn watchdog_with_too_many_requests_did_not_run_the_function() {
    let gateway = open();
    let busy = || Fault::on("POST", "/function").status(429).header("X-OpenFaaS-Internal", "of-watchdog");
    gateway.fault(busy().times(1).body("Concurrent request limit exceeded. Max concurrent requests: 1"));
    let ran = invoke(&gateway).var("RETRIES", "1").run().exits(0);
    ran.says("429 Too Many Requests; retrying in").says("✔");
    gateway.clear_faults();
    gateway.fault(busy());
    let ran = invoke(&gateway).run().exits(1);
    ran.says("the function did not run: as many requests as its `max_inflight` permits").does_not_say("may have run");
}

#[test]
fn providers_own_500_is_not_the_functions() {
    let gateway = open();
    let proxy = |text: &str| {
        let fault = Fault::on("POST", "/function").status(500).header("X-OpenFaaS-Internal", "proxy");
        fault.body(text.to_owned())
    };
    gateway.fault(proxy("Can't reach service for: echo.\n").times(1));
    invoke(&gateway).var("IDEMPOTENT", "true").var("RETRIES", "1").run().exits(0);
    gateway.clear_faults();
    gateway.fault(proxy("Can't reach service for: echo.\n"));
    let ran =
        invoke(&gateway).run().exits(1).says("ERROR: OpenFaaS returned 500 Internal Server Error in place of `echo`");
    ran.says("the function's replica does not accept connections").says("  Can't reach service for: echo.\n");
}

#[test]
fn function_that_faasd_does_not_know_is_not_blamed_on_the_function() {
    let gateway = start(edition(Flavour::Faasd));
    let pipe = with_password(&gateway).var("COMMAND", "invoke").var("FUNCTION", "nobody");
    let ran = pipe.run().exits(1).says("OpenFaaS returned 503 Service Unavailable in place of `nobody`");
    ran.says("no replica of the function runs: check its name and namespace")
        .says("  No endpoints available for: nobody.");
}

#[test]
fn gateway_without_a_queue_is_named() {
    let gateway = open();
    gateway.fault(Fault::on("POST", "/async-function").status(404).body("404 page not found\n"));
    let ran = invoke(&gateway).var("ASYNC", "true").run().exits(1);
    ran.says("the gateway has no queue (NATS), which `ASYNC: 'true'` requires").does_not_say("check the path");
}

#[test]
fn sign_in_page_may_pass_for_a_functions_response_but_not_silently() {
    let gateway = open();
    gateway.fault(page(Fault::on("POST", "/function"), 200));
    let ran = invoke(&gateway).run().exits(0);
    ran.says("WARNING: the response is a web page without the gateway's call id: it may not be from `echo`");
    gateway.clear_faults();
    gateway.fault(page(Fault::on("POST", "/function"), 200).header("X-Call-Id", "1"));
    invoke(&gateway).run().exits(0).does_not_say("WARNING");
}

#[test]
fn refused_response_cannot_look_like_a_line_of_the_log() {
    let gateway = open();
    let forged = "✔ deployed 99 functions\r\nINFO: all is well\n";
    gateway.fault(Fault::any().path_prefix("/function").status(500).header("X-Call-Id", "1").body(forged));
    let shown = "`:\n  ✔ deployed 99 functions\n  INFO: all is well\n";
    invoke(&gateway).run().exits(1).says(&format!("INFO: the response of `echo{shown}"));
    let verify = Pipe::at(&gateway).stack(ECHO_STACK).list("VERIFY", &["echo/healthz"]);
    verify.run().exits(5).says(&format!("INFO: the response of `echo/healthz{shown}"));
}

#[test]
fn ipv6_address_behind_a_proxy_is_explained() {
    let proxy = local_gateway::proxy::start().expect("cannot start proxy");
    let gateway = start(permissive().tls());
    for host in ["[2001:db8::1]", "2001:db8::1"] {
        proxy.resolve(host, gateway.address());
    }
    let pipe = deploy_once(&gateway).var("OPENFAAS_URL", "https://[2001:db8::1]").var("HTTPS_PROXY", proxy.url());
    let ran = pipe.run().exits(4).says("a proxy cannot be used for an IPv6 address");
    ran.says("use a host name instead of `[2001:db8::1]`, or add `2001:db8::1` to `NO_PROXY`");
}

#[test]
fn page_is_not_a_place_in_the_queue() {
    let gateway = open();
    let asynchronous = || invoke(&gateway).var("ASYNC", "true");
    gateway.fault(page(Fault::on("POST", "/async-function").times(1), 200));
    let ran = asynchronous().run().exits(4).says("an ingress returned 200 OK, not `echo`: a web page (`Sign in`)");
    ran.says("let `/async-function/` pass through").says("✖ `echo` is not known to be queued\n");
    gateway.fault(Fault::on("POST", "/async-function").times(1).status(500).body("nats: no servers available"));
    let ran = asynchronous().run().exits(1).says("OpenFaaS returned 500 Internal Server Error in place of `echo`");
    ran.says("hint: the gateway did not queue the call: check its queue (NATS)");
    asynchronous().run().exits(0).says("✔ `echo` is queued\n");
}

#[test]
fn status_without_an_address_is_no_redirect() {
    let gateway = open();
    gateway.fault(Fault::any().path_prefix("/function").status(304));
    invoke(&gateway).run().exits(1).says("`echo` returned 304 Not Modified").does_not_say("redirect");
    gateway.fault(Fault::on("PUT", "/system/functions").status(304));
    deploy_once(&gateway).run().exits(1).says("304 Not Modified\n").does_not_say("redirect");
}

#[test]
fn web_page_after_a_lost_response_does_not_say_that_the_function_is_gone() {
    let gateway = start(edition(Flavour::Enterprise));
    gateway.fault(Fault::on("DELETE", "/system/functions").times(1).reset());
    gateway.fault(page(Fault::any().path_prefix("/system/"), 404));
    let ran = with_password(&gateway).var("COMMAND", "remove").var("RETRIES", "1").run().exits(1);
    ran.says("DELETE /system/functions: 404 Not Found, a web page (`Sign in`)").does_not_say("removed in");
}

#[test]
fn words_about_tls_of_a_provider_or_function_are_not_the_gateways() {
    let gateway = start(edition(Flavour::Faasd));
    let words = "Client sent an HTTP request to an HTTPS server.";
    gateway
        .fault(Fault::on("PUT", "/system").status(400).body(format!("unable to pull image: 400 Bad Request: {words}")));
    let ran = with_password(&gateway).run().exits(1).says("unable to pull image").does_not_say("plain HTTP was sent");
    ran.does_not_say("write `OPENFAAS_URL");
    gateway.fault(Fault::on("POST", "/function").status(400).header("X-Call-Id", "1").body(words));
    let ran = with_password(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").run().exits(1);
    ran.says("`echo` returned 400 Bad Request").says("the invocation of `echo` failed with status 400");
}

#[test]
fn refusal_that_breaks_off_is_not_a_lost_connection() {
    let gateway = start(edition(Flavour::Enterprise));
    for (status, code) in [(400, 1), (403, 3)] {
        gateway.clear_faults();
        gateway.fault(Fault::on("PUT", "/system/functions").times(1).status(status).body("no, because").cut_off(2));
        let ran = with_password(&gateway).var("RETRIES", "4").run().exits(code).says(": `no`");
        ran.does_not_say("retrying").does_not_say("the connection was closed");
    }
}
