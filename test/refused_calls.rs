//! Calls of guarded functions that are refused: the message names the cause, over HTTP/1.1 and HTTP/2.

use local_gateway::{Builder, Fault, Gateway};
use serde_json::json;

use crate::support::{Pipe, permissive, permitting, start};

/// Over HTTP/1.1, and over TLS and HTTP/2, with guarded functions `f` and `g` in this namespace.
fn gateways(builder: fn() -> Builder, namespace: &str) -> [Gateway; 2] {
    [start(builder()), start(builder().tls())].map(|gateway| {
        for name in ["f", "g"] {
            gateway.put_function(&json!({
                "service": name, "namespace": namespace, "image": "example/echo:1", "envVars": {"jwt_auth": "true"},
            }));
        }
        gateway
    })
}

fn invoke(gateway: &Gateway) -> Pipe {
    let pipe = Pipe::at(gateway).var("COMMAND", "invoke").var("FUNCTION", "f");
    if gateway.ca_pem().is_empty() { pipe } else { pipe.var("CA_CERT", gateway.ca_pem()) }
}

/// A deploy of nothing that changes, with a call of `f`.
fn verify(gateway: &Gateway) -> Pipe {
    let stack = "provider: {name: openfaas}\nfunctions:\n  other: {image: 'example/echo:1'}\n";
    // Without an old replica, no moment of an update has to be seen.
    let pipe = invoke(gateway).without("FUNCTION").var("COMMAND", "deploy").var("STRATEGY", "replace");
    pipe.stack(stack).list("VERIFY", &["f"])
}

/// A function token that the gateway issued for one function.
fn function_token(gateway: &Gateway, function: &str) -> String {
    let pipe = invoke(gateway).var("FUNCTION", function).var("AUTH", "always");
    pipe.run().exits(0);
    let requests = gateway.requests();
    let calls = requests.iter().filter(|request| request.path.starts_with("/function/"));
    let token = calls.filter_map(|request| request.header("authorization")).next_back().expect("a token").to_owned();
    gateway.clear_requests();
    token
}

#[test]
fn users_token_for_another_function_is_named_as_the_cause() {
    for gateway in gateways(permissive, "openfaas-fn") {
        let header = format!("Authorization: {}", function_token(&gateway, "g"));
        for pipe in [invoke(&gateway), verify(&gateway)] {
            let ran = pipe.list("HEADERS", &[&header]).run().exits(3);
            ran.says("the function does not accept the token in `HEADERS`: remove it")
                .says("and the pipe gets one for `openfaas-fn:f`");
        }
    }
}

#[test]
fn users_token_that_is_not_one_is_named_as_the_cause() {
    for gateway in gateways(permissive, "openfaas-fn") {
        let pipe = invoke(&gateway).list("HEADERS", &["Authorization: Bearer mine"]).var("AUTH", "never");
        pipe.run().exits(3).says("the token in `HEADERS`: remove it, and `AUTH: never`");
    }
}

/// A response of a function's watchdog.
fn watchdog(fault: Fault, status: u16, text: &str) -> Fault {
    let fault = fault.status(status).header("X-Openfaas-Internal", "faas-middleware").body(text.to_owned());
    fault.header("WWW-Authenticate", "Bearer realm=IAM function invoke")
}

#[test]
fn other_default_namespace_is_named_as_the_cause() {
    for gateway in gateways(permissive, "openfaas-fn") {
        for pipe in [invoke(&gateway), verify(&gateway)] {
            gateway.clear_faults();
            // The call without a token is answered as usual.
            let fault = Fault::any().path_prefix("/function").after(1);
            gateway.fault(watchdog(fault, 403, "insufficient permissions"));
            let ran = pipe.run().exits(3).says("403 Forbidden");
            ran.says("the token is for `openfaas-fn:f`: if the gateway's default namespace is another one, set `OPENFAAS_NAMESPACE`");
        }
    }
}

#[test]
fn policy_that_does_not_permit_the_function_is_named_as_the_cause() {
    let builder = || permitting(&["Function:Create", "Function:Update", "Function:Get"]);
    for gateway in gateways(builder, "openfaas-fn") {
        let pipe = invoke(&gateway).var("OPENFAAS_NAMESPACE", "openfaas-fn");
        pipe.run().exits(3).says("`Function:Invoke`").says("openfaas-fn:f");
    }
}

/// Checks what is logged if the watchdog refuses every token with this reason.
fn refused_because(reason: &'static str, logged: &[&str]) {
    for gateway in gateways(permissive, "openfaas-fn") {
        gateway.fault(watchdog(Fault::any().path_prefix("/function"), 401, reason));
        for pipe in [invoke(&gateway), verify(&gateway)] {
            logged.iter().fold(pipe.run().exits(3), |ran, text| ran.says(text));
        }
    }
}

#[test]
fn function_that_does_not_accept_the_gateways_token_has_two_causes() {
    let unknown_key =
        "failed to parse JWT token: token is unverifiable: error while executing keyfunc: invalid kid: old";
    for reason in [unknown_key, "failed to verify JWT token"] {
        refused_because(
            reason,
            &[
                reason,
                "the function does not accept the token that the gateway issued for it: restart or redeploy the function",
                "check that `OPENFAAS_URL` is the gateway",
            ],
        );
    }
}

#[test]
fn page_of_an_ingress_is_not_taken_for_the_functions_answer() {
    for gateway in gateways(permissive, "openfaas-fn") {
        for (status, hint) in [
            (401, "let `/function/` pass through"),
            (403, "let `/function/` pass through"),
            (404, "including its base path"),
            (500, "the timeouts of the ingress"),
        ] {
            gateway.clear_faults();
            gateway.fault(Fault::any().path_prefix("/function").web_page(status));
            // A call of `VERIFY` is repeated for as long as it may be ready yet.
            for pipe in [invoke(&gateway), verify(&gateway).var("WAIT_TIMEOUT", "1s")] {
                let ran = pipe.run().says(&format!("an ingress returned {status} ")).says(", not `f`: a web page");
                ran.says(hint);
            }
        }
    }
}

#[test]
fn redirect_of_the_function_says_nothing_about_the_gateways_address() {
    for gateway in gateways(permissive, "openfaas-fn") {
        gateway.fault(Fault::any().path_prefix("/function").redirect(302, "/login").header("X-Call-Id", "1"));
        for (pipe, code) in [(invoke(&gateway), 1), (verify(&gateway), 5)] {
            let ran = pipe.run().exits(code).says("`f` returned 302 Found, a redirect to `/login`");
            ran.says("call the path that it redirects to").does_not_say("`OPENFAAS_URL`");
        }
    }
}
