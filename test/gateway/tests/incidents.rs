//! What goes wrong in providers: crashing images, rolling updates, containers that do not start or end, and Prometheus.

use std::time::{Duration, Instant};

use crate::common::client;
use local_gateway::{Builder, Fault, Flavour, Gateway, Ready};
use serde_json::{Value, json};

fn with(flavour: Flavour, set: impl FnOnce(Builder) -> Builder) -> Gateway {
    set(Gateway::builder().flavour(flavour)).start().unwrap()
}

fn function(tag: u8) -> Value {
    json!({"service": "f", "image": format!("acme/f:{tag}"), "labels": {}, "annotations": {}})
}

async fn deploy(gateway: &Gateway, method: &str, tag: u8) -> (u16, String) {
    let url = format!("{}/system/functions", gateway.url());
    let request = client(gateway).request(method.parse().unwrap(), url).json(&function(tag));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn status(gateway: &Gateway) -> Value {
    client(gateway).get(format!("{}/system/function/f", gateway.url())).send().await.unwrap().json().await.unwrap()
}

/// Wanted and available replicas in a status.
async fn replicas(gateway: &Gateway) -> (Value, Value) {
    let status = status(gateway).await;
    (status["replicas"].clone(), status["availableReplicas"].clone())
}

/// The distinct counts of available replicas over time, until the last one is seen after another.
async fn counts(gateway: &Gateway, last: u64, states: usize) -> Vec<u64> {
    let mut counts = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while counts.len() < states || counts.last() != Some(&last) {
        assert!(Instant::now() < deadline, "{counts:?}");
        let count = gateway.function("openfaas-fn", "f").unwrap().available_replicas;
        if counts.last() != Some(&count) {
            counts.push(count);
        }
        tokio::task::yield_now().await;
    }
    counts
}

const SOON: Duration = Duration::from_millis(400);

#[tokio::test]
async fn rolling_update_shows_a_surplus_for_each_replica() {
    for (replicas, expected) in [(1, vec![1, 2, 1]), (2, vec![2, 3, 2, 3, 2])] {
        let gateway = with(Flavour::Ce, |builder| builder.ready_of("acme/f:2", Ready::After(SOON)).surplus(SOON));
        let mut first = function(1);
        first["labels"] = json!({"com.openfaas.scale.min": replicas.to_string()});
        gateway.put_function(&first);
        assert_eq!(deploy(&gateway, "PUT", 2).await.0, 202);
        assert_eq!(counts(&gateway, replicas, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn surplus_is_the_default_on_kubernetes_and_never_seen_with_faasd() {
    for (flavour, expected) in
        [(Flavour::Enterprise, &[1, 2, 1][..]), (Flavour::Ce, &[1, 2, 1]), (Flavour::Faasd, &[0, 1])]
    {
        let gateway = with(flavour, |builder| builder.ready_of("acme/f:2", Ready::After(SOON)));
        gateway.put_function(&function(1));
        assert!(deploy(&gateway, "PUT", 2).await.0 < 300);
        assert_eq!(counts(&gateway, 1, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn update_that_crashes_after_it_was_ready_shows_a_surplus_first() {
    let gateway = with(Flavour::Ce, |builder| builder.ready_of("acme/f:2", Ready::Until(2 * SOON)).surplus(SOON));
    gateway.put_function(&function(1));
    assert_eq!(deploy(&gateway, "PUT", 2).await.0, 202);
    assert_eq!(counts(&gateway, 0, 3).await, [2, 1, 0]);
}

#[tokio::test]
async fn update_that_never_starts_shows_no_surplus() {
    for ready in [Ready::Never, Ready::Until(Duration::ZERO)] {
        let gateway = with(Flavour::Ce, |builder| builder.ready_of("acme/f:2", ready).surplus(SOON));
        gateway.put_function(&function(1));
        assert_eq!(deploy(&gateway, "PUT", 2).await.0, 202);
        assert_eq!(replicas(&gateway).await, (json!(1), json!(1)));
        assert_eq!(counts(&gateway, 1, 1).await, [1]);
    }
}

#[tokio::test]
async fn crashing_image_has_no_available_replica_afterwards() {
    let gateway = with(Flavour::Ce, |builder| builder.ready(Ready::Until(SOON)));
    assert_eq!(deploy(&gateway, "POST", 1).await.0, 202);
    assert_eq!(counts(&gateway, 0, 2).await, [1, 0]);
    assert_eq!(replicas(&gateway).await, (json!(1), Value::Null));

    let gateway = with(Flavour::Faasd, |builder| builder.ready_of("acme/f:2", Ready::Until(SOON)));
    gateway.put_function(&function(1));
    let before = status(&gateway).await["createdAt"].clone();
    assert_eq!(deploy(&gateway, "PUT", 2).await.0, 200);
    assert_eq!(counts(&gateway, 0, 2).await, [1, 0]);
    // faasd reports neither of both for a container whose process has ended.
    assert_eq!(replicas(&gateway).await, (Value::Null, Value::Null));
    assert_ne!(status(&gateway).await["createdAt"], before);
}

#[tokio::test]
async fn faasd_leaves_a_container_whose_process_does_not_start() {
    let gateway = with(Flavour::Faasd, |builder| builder);
    gateway.put_function(&function(1));
    let before = status(&gateway).await["createdAt"].clone();
    gateway.fault(Fault::on("PUT", "/system/functions").times(1).task_does_not_start());
    let (code, text) = deploy(&gateway, "PUT", 2).await;
    assert_eq!(code, 400);
    assert!(text.starts_with("unable to start task: f, error: "), "{text}");
    let dead = status(&gateway).await;
    assert_eq!((&dead["image"], &dead["replicas"]), (&json!("docker.io/acme/f:2"), &Value::Null));
    assert_ne!(dead["createdAt"], before);
    assert_eq!(deploy(&gateway, "PUT", 1).await.0, 200);
    assert_eq!(replicas(&gateway).await, (json!(1), json!(1)));
}

#[tokio::test]
async fn faasd_leaves_the_old_container_dead_if_its_process_does_not_end_in_time() {
    let gateway = with(Flavour::Faasd, |builder| builder);
    gateway.put_function(&function(1));
    let before = status(&gateway).await["createdAt"].clone();
    gateway.fault(Fault::on("PUT", "/system/functions").times(1).task_does_not_end());
    let (code, text) = deploy(&gateway, "PUT", 2).await;
    assert_eq!(code, 500);
    assert!(text.starts_with("cannot delete running task"), "{text}");
    let dead = status(&gateway).await;
    assert_eq!((&dead["image"], &dead["replicas"]), (&json!("docker.io/acme/f:1"), &Value::Null));
    assert_eq!(dead["createdAt"], before);
}

#[tokio::test]
async fn faasd_reports_the_environment_of_the_image() {
    let variables = [("fprocess", "python index.py"), ("mode", "http"), ("VERSION", "1")];
    let gateway = with(Flavour::Faasd, |builder| builder.image_environment("acme/f", &variables));
    let mut first = function(1);
    first["envVars"] = json!({"VERSION": "2"});
    gateway.put_function(&first);
    let status = status(&gateway).await;
    assert_eq!(status["envProcess"], "python index.py");
    assert_eq!(status["envVars"], json!({"VERSION": "2", "mode": "http"}));
}

#[tokio::test]
async fn gateway_without_prometheus_closes_the_connection_of_a_list() {
    let gateway = with(Flavour::Ce, Builder::without_prometheus);
    let list = || client(&gateway).get(format!("{}/system/functions", gateway.url())).send();
    assert_eq!(list().await.unwrap().text().await.unwrap(), "[]");
    gateway.put_function(&function(1));
    assert!(list().await.is_err());
    assert_eq!(status(&gateway).await["name"], "f");
}

#[tokio::test]
async fn conflicting_update_changes_nothing() {
    let gateway = with(Flavour::Ce, |builder| builder);
    gateway.put_function(&function(1));
    gateway.fault(Fault::on("PUT", "/system/functions").times(1).conflict());
    assert_eq!(deploy(&gateway, "PUT", 2).await, (200, String::new()));
    assert_eq!(status(&gateway).await["image"], "acme/f:1");
    assert_eq!(deploy(&gateway, "PUT", 2).await.0, 202);
    assert_eq!(status(&gateway).await["image"], "acme/f:2");
}

#[tokio::test]
async fn faasd_has_no_function_between_two_versions_and_does_not_notice_that_the_client_leaves() {
    let gateway = with(Flavour::Faasd, |builder| builder);
    gateway.put_function(&function(1));
    gateway.fault(Fault::on("PUT", "/system/functions").times(1).gap(3 * SOON));
    let url = format!("{}/system/functions", gateway.url());
    let update = client(&gateway).put(url).json(&function(2)).timeout(SOON).send();
    assert!(update.await.unwrap_err().is_timeout());
    assert!(gateway.functions().is_empty());
    assert_eq!(deploy(&gateway, "PUT", 3).await.0, 404);
    while gateway.functions().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&gateway).await["image"], "docker.io/acme/f:2");
}

#[tokio::test]
async fn request_ends_with_its_client_unless_it_continues() {
    let update = |fault: Fault| async move {
        let gateway = with(Flavour::Enterprise, |builder| builder);
        gateway.put_function(&function(1));
        gateway.fault(fault.delay(3 * SOON));
        let url = format!("{}/system/functions", gateway.url());
        let error = client(&gateway).put(url).json(&function(2)).timeout(SOON).send().await.unwrap_err();
        assert!(error.is_timeout());
        gateway
    };
    let put = || Fault::on("PUT", "/system/functions").times(1);
    let gateway = update(put().continues()).await;
    while gateway.function("openfaas-fn", "f").unwrap().deployment["image"] != "acme/f:2" {
        tokio::task::yield_now().await;
    }
    let gateway = update(put()).await;
    // The connection has been closed, and with it the request: a later one is processed first.
    assert_eq!(deploy(&gateway, "PUT", 3).await.0, 202);
    assert_eq!(gateway.function("openfaas-fn", "f").unwrap().deployment["image"], "acme/f:3");
}

#[tokio::test]
async fn faasd_reports_a_process_that_does_not_listen_yet() {
    let gateway = with(Flavour::Faasd, |builder| builder.ready(Ready::After(3 * SOON)));
    assert_eq!(deploy(&gateway, "POST", 1).await.0, 200);
    let call = || client(&gateway).get(format!("{}/function/f", gateway.url())).send();
    let answer = call().await.unwrap();
    assert_eq!(answer.status().as_u16(), 500);
    assert_eq!(answer.headers()["x-openfaas-internal"], "proxy");
    assert_eq!(replicas(&gateway).await, (json!(1), json!(1)));
    while call().await.unwrap().status().as_u16() != 200 {}
}
