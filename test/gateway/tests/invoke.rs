//! Invocations: the guard of the watchdog and the built-in functions.

use std::time::{Duration, Instant};

use crate::common::{access, client, guide, import_csv};
use local_gateway::{Fault, Flavour, Gateway, Ready};
use reqwest::StatusCode;
use serde_json::{Value, json};

fn open() -> Gateway {
    Gateway::builder().start().unwrap()
}

fn function(name: &str) -> Value {
    json!({"service": name, "image": format!("docker.io/acme/{name}:1")})
}

#[tokio::test]
async fn guarded_function_accepts_only_tokens_with_its_permission() {
    let (gateway, issuer) = guide();
    gateway.put_function(&import_csv());
    let id_token = issuer.token().audience(gateway.url()).mint();
    for (fields, status) in [
        (vec![("scope", "function")], StatusCode::OK),
        (vec![("scope", "function"), ("audience", "etl:import-csv")], StatusCode::OK),
        (vec![("scope", "function"), ("audience", "etl:other"), ("audience", "etl:*")], StatusCode::OK),
        (vec![("scope", "function"), ("audience", "etl:other")], StatusCode::FORBIDDEN),
        // An access token has no function permissions.
        (vec![], StatusCode::FORBIDDEN),
    ] {
        let token = access(&gateway, &id_token, &fields).await;
        let url = format!("{}/function/import-csv.etl", gateway.url());
        let answer = client(&gateway).post(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{fields:?}");
        if status == StatusCode::FORBIDDEN {
            assert_eq!(answer.headers()["x-openfaas-internal"], "faas-middleware");
            assert_eq!(answer.text().await.unwrap(), "insufficient permissions\n");
        }
    }
}

#[tokio::test]
async fn guarded_function_rejects_tokens_of_others() {
    let (gateway, issuer) = guide();
    gateway.put_function(&import_csv());
    let (other, _) = guide();
    let foreign = access(&other, &issuer.token().audience(other.url()).mint(), &[("scope", "function")]).await;
    for token in ["no token", &issuer.token().mint(), &foreign] {
        let url = format!("{}/function/import-csv.etl", gateway.url());
        let answer = client(&gateway).post(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=IAM function invoke");
        assert!(answer.text().await.unwrap().starts_with("failed to parse JWT token: "));
    }
}

#[tokio::test]
async fn missing_function_gets_a_404() {
    let gateway = open();
    let answer = client(&gateway).post(format!("{}/function/gone.etl", gateway.url())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let text = "error finding function gone.etl: server returned non-200 status code (404) for function, gone";
    assert!(answer.text().await.unwrap().starts_with(text));
}

#[tokio::test]
async fn provider_rejects_the_call_of_an_unavailable_function() {
    for (flavour, status, text) in [
        (Flavour::Ce, 503, "No endpoints available for: echo.openfaas-fn.\n"),
        (Flavour::Faasd, 500, "Can't reach service for: echo.openfaas-fn.\n"),
    ] {
        let gateway = Gateway::builder().flavour(flavour).start().unwrap();
        gateway.put_function(&function("echo"));
        gateway.set_ready("echo", Ready::Never);
        let url = format!("{}/function/echo.openfaas-fn", gateway.url());
        let answer = client(&gateway).post(url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["x-openfaas-internal"], "proxy");
        assert_eq!(answer.text().await.unwrap(), text);
    }
}

#[tokio::test]
async fn gateway_without_a_queue_has_no_asynchronous_calls() {
    let gateway = Gateway::builder().without_queue().start().unwrap();
    gateway.put_function(&function("echo"));
    let answer = client(&gateway).post(format!("{}/async-function/echo", gateway.url())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.text().await.unwrap(), "404 page not found\n");
}

#[tokio::test]
async fn overloaded_function_and_unreachable_function_answer_like_the_components_before_them() {
    let gateway = open();
    gateway.put_function(&function("echo"));
    gateway.fault(Fault::on("POST", "/function/echo").times(1).overloaded());
    gateway.fault(Fault::on("POST", "/function/echo").nth(2).unreachable("echo"));
    let mut answers = Vec::new();
    for _ in 0..3 {
        let answer = client(&gateway).post(format!("{}/function/echo", gateway.url())).send().await.unwrap();
        let component = answer.headers().get("x-openfaas-internal").map(|value| value.to_str().unwrap().to_owned());
        answers.push((answer.status().as_u16(), component.unwrap_or_default()));
    }
    assert_eq!(answers, [(429, "faas-middleware"), (500, "proxy"), (200, "")].map(|(s, c)| (s, c.to_owned())));
}

#[tokio::test]
async fn echo_json_returns_the_request() {
    let gateway = open();
    gateway.put_function(&function("echo-json"));
    let url = format!("{}/function/echo-json/a/b?x=%201", gateway.url());
    let answer = client(&gateway).put(url).header("x-key", "value").body("text").send().await.unwrap();
    let echoed: Value = answer.json().await.unwrap();
    assert_eq!(
        (&echoed["method"], &echoed["path"], &echoed["query"], &echoed["body"], &echoed["headers"]["x-key"]),
        (&json!("PUT"), &json!("/a/b"), &json!("x=%201"), &json!("text"), &json!("value"))
    );
}

#[tokio::test]
async fn status_returns_status_and_body_after_the_delay() {
    let gateway = open();
    gateway.put_function(&function("status"));
    let started = Instant::now();
    let url = format!("{}/function/status?status=503&delay=100ms&body=busy", gateway.url());
    let answer = client(&gateway).get(url).send().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.text().await.unwrap(), "busy");
}

#[tokio::test]
async fn sink_and_source_count_bytes() {
    let gateway = open();
    gateway.put_function(&function("sink"));
    gateway.put_function(&function("source"));
    let source = format!("{}/function/source?bytes=3000000", gateway.url());
    let bytes = client(&gateway).get(source).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len(), 3_000_000);
    let sink = format!("{}/function/sink", gateway.url());
    let echoed: Value = client(&gateway).post(sink).body(bytes).send().await.unwrap().json().await.unwrap();
    assert_eq!(echoed["bytes"], 3_000_000);
    assert_eq!(echoed["sha256"].as_str().unwrap().len(), 64);
    let request = gateway.requests().pop().unwrap();
    assert_eq!((request.body_length, request.body.len()), (3_000_000, 1024 * 1024));
}

#[tokio::test]
async fn asynchronous_invocation_is_accepted_with_a_call_id() {
    let gateway = open();
    gateway.put_function(&function("echo"));
    let url = format!("{}/async-function/echo", gateway.url());
    let answer = client(&gateway).post(url).body("later").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers()["x-call-id"].len(), 36);
    assert!(answer.bytes().await.unwrap().is_empty());
    assert_eq!(gateway.requests()[0].text(), "later");
}

#[tokio::test]
async fn annotation_selects_the_built_in_function() {
    let gateway = open();
    let annotations = json!({"local-gateway/function": "status"});
    gateway.put_function(&json!({"service": "echo", "image": "echo", "annotations": annotations}));
    let url = format!("{}/function/echo?status=418", gateway.url());
    assert_eq!(client(&gateway).get(url).send().await.unwrap().status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(gateway.function("openfaas-fn", "echo").unwrap().invocation_count, 1);
}

#[tokio::test]
async fn status_can_redirect() {
    let gateway = open();
    gateway.put_function(&function("status"));
    let url = format!("{}/function/status?status=302&location=/elsewhere", gateway.url());
    let answer = client(&gateway).get(url).send().await.unwrap();
    assert_eq!((answer.status(), answer.headers()["location"].to_str().unwrap()), (StatusCode::FOUND, "/elsewhere"));
}

#[tokio::test]
async fn function_can_fail_temporarily() {
    let gateway = open();
    gateway.put_function(&function("echo"));
    gateway.fault(Fault::on("POST", "/function/echo").times(1).status(502));
    gateway.fault(Fault::on("POST", "/function/echo").times(2).web_page(503));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = client(&gateway).post(format!("{}/function/echo", gateway.url())).body("x").send().await.unwrap();
        statuses.push((answer.status().as_u16(), answer.text().await.unwrap().contains("<html>")));
    }
    assert_eq!(statuses, [(502, false), (503, true), (200, false)]);
}
