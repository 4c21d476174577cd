//! Responses of Community Edition and faasd that differ from OpenFaaS Enterprise.

use std::time::Duration;

use crate::common::client;
use local_gateway::{Builder, Flavour, Gateway};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

fn start(flavour: Flavour) -> Gateway {
    with(flavour, |builder| builder)
}

fn with(flavour: Flavour, set: impl FnOnce(Builder) -> Builder) -> Gateway {
    set(Gateway::builder().flavour(flavour).basic_auth("admin", "secret")).start().unwrap()
}

async fn ask(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Response {
    let url = format!("{}{path}", gateway.url());
    let request = client(gateway).request(method.parse().unwrap(), url).basic_auth("admin", Some("secret"));
    request.json(body).send().await.unwrap()
}

/// Status and text of a response.
async fn answer(gateway: &Gateway, method: &str, path: &str, body: &Value) -> (u16, String) {
    let answer = ask(gateway, method, path, body).await;
    (answer.status().as_u16(), answer.text().await.unwrap().trim_end().to_owned())
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    let mut value: Value = ask(gateway, "GET", path, &Value::Null).await.json().await.unwrap();
    for status in value.as_array_mut().map_or_else(Vec::new, |list| list.iter_mut().collect::<Vec<_>>()) {
        status.as_object_mut().unwrap().remove("createdAt");
    }
    if let Value::Object(status) = &mut value {
        status.remove("createdAt");
    }
    value
}

fn function(image: &str) -> Value {
    json!({
        "service": "f", "image": image, "envProcess": "./f",
        "envVars": {"URL": "db://h?mode=ro"}, "constraints": ["a=b"], "secrets": ["s"], "labels": {"tier": "web"},
        "annotations": {}, "limits": {"memory": "64Mi"}, "requests": {"cpu": "10m"}, "readOnlyRootFilesystem": true,
    })
}

#[tokio::test]
async fn community_edition_omits_environment_constraints_and_read_only_root() {
    let gateway = start(Flavour::Ce);
    assert_eq!(answer(&gateway, "POST", "/system/functions", &function("acme/f:1")).await.0, 202);
    let status = json!({
        "name": "f", "namespace": "openfaas-fn", "image": "acme/f:1", "envProcess": "./f", "secrets": ["s"],
        "labels": {"tier": "web", "faas_function": "f"}, "annotations": {"prometheus.io.scrape": "false"},
        "limits": {"memory": "64Mi", "cpu": "0"}, "requests": {"memory": "0", "cpu": "10m"},
        "replicas": 1, "availableReplicas": 1,
    });
    assert_eq!(get(&gateway, "/system/function/f").await, status);
    assert_eq!(get(&gateway, "/system/functions").await, json!([status]));
    assert_eq!(answer(&gateway, "PUT", "/system/functions", &function("acme/f:2")).await.0, 202);
    assert_eq!(get(&gateway, "/system/function/f").await["labels"]["uid"], "1");
}

#[tokio::test]
async fn community_edition_deletes_in_the_namespace_of_the_query() {
    let gateway = start(Flavour::Ce);
    gateway.put_function(&json!({"service": "f", "image": "f", "namespace": "etl"}));
    let body = json!({"functionName": "f", "namespace": "etl"});
    assert_eq!(answer(&gateway, "DELETE", "/system/functions", &body).await.0, 404);
    gateway.put_function(&json!({"service": "f", "image": "f"}));
    assert_eq!(answer(&gateway, "DELETE", "/system/functions", &body).await.0, 202);
    assert!(gateway.function("openfaas-fn", "f").is_none());
    assert!(gateway.function("etl", "f").is_some());
}

#[tokio::test]
async fn community_edition_has_one_namespace() {
    let gateway = start(Flavour::Ce);
    gateway.put_function(&json!({"service": "f", "image": "f"}));
    let deployment = json!({"service": "f", "image": "f", "namespace": "etl"});
    let body = json!({"functionName": "f"});
    for (method, path, body) in [
        ("POST", "/system/functions", &deployment),
        ("PUT", "/system/functions", &deployment),
        ("DELETE", "/system/functions?namespace=etl", &body),
        ("GET", "/system/functions?namespace=etl", &Value::Null),
        ("GET", "/system/function/f?namespace=etl", &Value::Null),
    ] {
        let refusal = (400, "namespace must be: openfaas-fn".to_owned());
        assert_eq!(answer(&gateway, method, path, body).await, refusal, "{method} {path}");
    }
}

#[tokio::test]
async fn community_edition_rejects_images_that_it_cannot_look_up() {
    let gateway = with(Flavour::Ce, |builder| builder.unreachable_image("private/"));
    let private = function("private/f:2");
    let text = "the Community Edition license agreement only allows public images";
    assert_eq!(answer(&gateway, "PUT", "/system/functions", &private).await.0, 404);
    assert_eq!(answer(&gateway, "POST", "/system/functions", &private).await, (400, text.to_owned()));
    gateway.put_function(&function("acme/f:1"));
    // Community Edition only logs a rejected update, and responds with an empty body.
    assert_eq!(answer(&gateway, "PUT", "/system/functions", &private).await, (200, String::new()));
    assert_eq!(gateway.function("openfaas-fn", "f").unwrap().deployment["image"], "acme/f:1");
}

#[tokio::test]
async fn community_edition_cannot_delete_a_terminating_function() {
    let hour = Duration::from_secs(3600);
    let gateway = with(Flavour::Ce, |builder| builder.deletion(hour).service_deletion(Duration::ZERO));
    gateway.put_function(&function("acme/f:1"));
    let body = json!({"functionName": "f"});
    assert_eq!(answer(&gateway, "DELETE", "/system/functions", &body).await.0, 202);
    let missing = (404, "services \"f\" not found".to_owned());
    assert_eq!(answer(&gateway, "DELETE", "/system/functions", &body).await, missing);
    let (status, text) = answer(&gateway, "POST", "/system/functions", &function("acme/f:2")).await;
    assert_eq!(status, 500);
    assert!(text.ends_with("object is being deleted: deployments.apps \"f\" already exists"), "{text}");
    let (status, text) = answer(&gateway, "PUT", "/system/functions", &function("acme/f:2")).await;
    assert_eq!((status, &*text), (404, "unable update Service: f., error: services \"f\" not found"));
    assert_eq!(get(&gateway, "/system/function/f").await["image"], "acme/f:2");
    assert!(gateway.function("openfaas-fn", "f").unwrap().terminating);
}

#[tokio::test]
async fn community_edition_accepts_an_update_of_a_terminating_function_and_then_deletes_it() {
    let gateway = with(Flavour::Ce, |builder| builder.deletion(Duration::from_millis(200)));
    gateway.put_function(&function("acme/f:1"));
    assert_eq!(answer(&gateway, "DELETE", "/system/functions", &json!({"functionName": "f"})).await.0, 202);
    assert_eq!(answer(&gateway, "PUT", "/system/functions", &function("acme/f:2")).await, (202, String::new()));
    assert_eq!(get(&gateway, "/system/function/f").await["image"], "acme/f:2");
    while answer(&gateway, "GET", "/system/function/f", &Value::Null).await.0 != 404 {}
    assert!(gateway.functions().is_empty());
}

#[tokio::test]
async fn community_edition_ignores_updates_that_kubernetes_rejects() {
    let gateway = with(Flavour::Ce, |builder| builder.secrets(&["s"]));
    gateway.put_function(&function("acme/f:1"));
    let invalid = "Deployment.apps \"new\" is invalid: spec.template";
    for (field, value, created, text) in [
        ("labels", json!({"tier": "a/b"}), 500, &*format!("unable create Deployment: {invalid}.labels: Invalid value")),
        (
            "requests",
            json!({"memory": "128Mi"}),
            500,
            &*format!(
                "unable create Deployment: {invalid}.spec.containers[0].resources.requests: Invalid value: \"128Mi\": \
                must be less than or equal to memory limit of 64Mi"
            ),
        ),
        ("limits", json!({"memory": "10XB"}), 400, "failed create Deployment spec: quantities must match"),
    ] {
        let mut wrong = function("acme/f:2");
        wrong[field] = value;
        assert_eq!(answer(&gateway, "PUT", "/system/functions", &wrong).await, (200, String::new()), "{field}");
        wrong["service"] = json!("new");
        let (status, given) = answer(&gateway, "POST", "/system/functions", &wrong).await;
        assert_eq!((status, given.starts_with(text)), (created, true), "{given}");
    }
    // The only refusal that it reports.
    let mut wrong = function("acme/f:2");
    wrong["secrets"] = json!(["other"]);
    let text = "unable update Deployment: f.openfaas-fn, error: secrets \"other\" not found";
    assert_eq!(answer(&gateway, "PUT", "/system/functions", &wrong).await, (400, text.to_owned()));
    assert_eq!(gateway.functions().len(), 1);
    assert_eq!(gateway.function("openfaas-fn", "f").unwrap().deployment["image"], "acme/f:1");
}

#[tokio::test]
async fn faasd_lists_no_available_replicas() {
    let gateway = start(Flavour::Faasd);
    assert_eq!(answer(&gateway, "POST", "/system/functions", &function("acme/f:1")).await, (200, String::new()));
    let status = json!({
        "name": "f", "namespace": "openfaas-fn", "image": "docker.io/acme/f:1", "envProcess": "./f",
        "envVars": {"URL": "db://h?mode"}, "secrets": ["s"], "labels": {"tier": "web"}, "annotations": {},
        "replicas": 1,
    });
    let mut one = status.clone();
    one["availableReplicas"] = json!(1);
    assert_eq!(get(&gateway, "/system/function/f").await, one);
    let mut listed = status;
    listed["limits"] = json!({"memory": "64Mi"});
    assert_eq!(get(&gateway, "/system/functions").await, json!([listed]));
}

#[tokio::test]
async fn faasd_deletes_before_it_updates() {
    let gateway = with(Flavour::Faasd, |builder| builder.unreachable_image("private/").secrets(&["s"]));
    let missing = (404, "service f not found".to_owned());
    assert_eq!(answer(&gateway, "PUT", "/system/functions", &function("acme/f:1")).await, missing);

    gateway.put_function(&function("acme/f:1"));
    assert_eq!(answer(&gateway, "PUT", "/system/functions", &function("acme/f:2")).await, (200, String::new()));
    let (status, text) = answer(&gateway, "PUT", "/system/functions", &function("private/f:3")).await;
    assert_eq!(status, 500);
    assert!(text.starts_with("unable to pull image docker.io/private/f:3"), "{text}");
    assert!(gateway.functions().is_empty());

    gateway.put_function(&function("acme/f:1"));
    let mut wrong = function("acme/f:2");
    wrong["secrets"] = json!(["other"]);
    let (status, text) = answer(&gateway, "PUT", "/system/functions", &wrong).await;
    assert_eq!(status, 400);
    assert!(text.starts_with("unable to find secret: other\nunable to start task: f, error: "), "{text}");
    assert_eq!(gateway.function("openfaas-fn", "f").unwrap().available_replicas, 0);
    // The next version runs.
    assert_eq!(answer(&gateway, "PUT", "/system/functions", &function("acme/f:2")).await.0, 200);
    assert_eq!(gateway.function("openfaas-fn", "f").unwrap().available_replicas, 1);
}

#[tokio::test]
async fn faasd_is_synchronous() {
    let gateway = start(Flavour::Faasd);
    gateway.put_function(&function("acme/f:1"));
    let (status, text) = answer(&gateway, "POST", "/system/functions", &function("acme/f:1")).await;
    assert_eq!((status, text.ends_with("already exists")), (400, true), "{text}");
    let body = json!({"functionName": "f"});
    assert_eq!(answer(&gateway, "DELETE", "/system/functions", &body).await, (200, String::new()));
    let missing = (404, "service f not found".to_owned());
    assert_eq!(answer(&gateway, "DELETE", "/system/functions", &body).await, missing);
    assert_eq!(answer(&gateway, "GET", "/system/function/f", &Value::Null).await, (404, String::new()));
}

#[tokio::test]
async fn faasd_rejects_an_unknown_namespace() {
    let gateway = with(Flavour::Faasd, |builder| builder.namespaces(&["openfaas-fn"]));
    let refusal = (400, "namespace not valid".to_owned());
    assert_eq!(answer(&gateway, "GET", "/system/functions?namespace=etl", &Value::Null).await, refusal);
    assert_eq!(answer(&gateway, "GET", "/system/functions", &Value::Null).await.0, 200);
}

#[tokio::test]
async fn every_edition_reports_its_provider() {
    for (flavour, provider) in
        [(Flavour::Enterprise, "faas-netes"), (Flavour::Ce, "faas-netes-ce"), (Flavour::Faasd, "faasd-ce")]
    {
        let gateway = start(flavour);
        assert_eq!(get(&gateway, "/system/info").await["provider"]["provider"], provider);
        assert_eq!(flavour.name().parse(), Ok(flavour));
    }
}

#[tokio::test]
async fn only_enterprise_has_an_exchange() {
    for flavour in Flavour::ALL {
        let (gateway, issuer) =
            crate::common::start_guide(Gateway::builder().flavour(flavour).basic_auth("admin", "secret"));
        let form = [("grant_type", crate::common::TOKEN_EXCHANGE), ("subject_token_type", crate::common::ID_TOKEN)];
        let url = format!("{}/oauth/token", gateway.url());
        let token = issuer.token().audience(gateway.url()).mint();
        let answer = client(&gateway).post(url).form(&[&form[..], &[("subject_token", &token)]].concat()).send().await;
        let expected = if flavour == Flavour::Enterprise { StatusCode::OK } else { StatusCode::NOT_FOUND };
        assert_eq!(answer.unwrap().status(), expected);
    }
}
