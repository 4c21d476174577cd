//! The REST API and the functions behind it.

use std::time::Duration;

use crate::common::{access, client, deploy, guide, import_csv, start_guide};
use local_gateway::{Gateway, Issuer, Ready};
use reqwest::StatusCode;
use serde_json::{Value, json};

const ADMIN: &str = "
apiVersion: iam.openfaas.com/v1
kind: Policy
metadata: {name: etl-deployer, namespace: openfaas}
spec: {statement: [{sid: all, action: ['*'], effect: Allow, resource: ['*']}]}
";

/// A gateway and a token that permits everything.
async fn admin(builder: local_gateway::Builder) -> (Gateway, String) {
    let (gateway, issuer) = start_guide(builder);
    gateway.apply(ADMIN).unwrap();
    let token = access(&gateway, &issuer.token().audience(gateway.url()).mint(), &[]).await;
    (gateway, token)
}

async fn get(gateway: &Gateway, token: &str, path: &str) -> (StatusCode, Value) {
    let answer = client(gateway).get(format!("{}{path}", gateway.url())).bearer_auth(token).send().await.unwrap();
    (answer.status(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

async fn delete(gateway: &Gateway, token: &str) -> StatusCode {
    let body = json!({"functionName": "import-csv", "namespace": "etl"});
    let request = client(gateway).delete(format!("{}/system/functions", gateway.url())).bearer_auth(token).json(&body);
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn status_omits_zero_values() {
    let (gateway, token) = admin(Gateway::builder().ready(Ready::Never)).await;
    deploy(&gateway, "POST", &token, &import_csv()).await;
    let (status, mut function) = get(&gateway, &token, "/system/function/import-csv?namespace=etl").await;
    assert_eq!(status, StatusCode::OK);
    assert!(function.as_object_mut().unwrap().remove("createdAt").unwrap().as_str().unwrap().contains('T'));
    let image = "docker.io/username/import-csv:latest";
    let env = json!({"jwt_auth": "true"});
    assert_eq!(
        function,
        json!({"name": "import-csv", "namespace": "etl", "image": image, "envVars": env, "replicas": 1})
    );
}

#[tokio::test]
async fn old_replicas_are_available_until_the_new_ones_are() {
    let (gateway, token) = admin(Gateway::builder().ready_of("bad:1", Ready::Never)).await;
    let mut function = import_csv();
    deploy(&gateway, "POST", &token, &function).await;
    function["image"] = json!("bad:1");
    deploy(&gateway, "PUT", &token, &function).await;
    assert_eq!(gateway.function("etl", "import-csv").unwrap().available_replicas, 1);

    delete(&gateway, &token).await;
    deploy(&gateway, "POST", &token, &function).await;
    assert_eq!(gateway.function("etl", "import-csv").unwrap().available_replicas, 0);

    gateway.set_ready("import-csv.etl", Ready::After(Duration::ZERO));
    assert_eq!(gateway.function("etl", "import-csv").unwrap().available_replicas, 1);
}

#[tokio::test]
async fn existing_function_cannot_be_created() {
    for (status, expected) in [(409, StatusCode::CONFLICT), (500, StatusCode::INTERNAL_SERVER_ERROR)] {
        let (gateway, token) = admin(Gateway::builder().exists_status(status)).await;
        deploy(&gateway, "POST", &token, &import_csv()).await;
        let answer = deploy(&gateway, "POST", &token, &import_csv()).await;
        assert_eq!(answer.status(), expected);
        let text = "unable create Deployment: deployments.apps \"import-csv\" already exists\n";
        assert_eq!(answer.text().await.unwrap(), text);
    }
}

#[tokio::test]
async fn terminating_function_still_exists() {
    let (gateway, token) = admin(Gateway::builder().deletion(Duration::from_secs(3600))).await;
    gateway.put_function(&import_csv());
    assert_eq!(delete(&gateway, &token).await, StatusCode::ACCEPTED);
    assert!(gateway.function("etl", "import-csv").unwrap().terminating);
    assert_eq!(get(&gateway, &token, "/system/function/import-csv?namespace=etl").await.0, StatusCode::OK);
    assert_eq!(deploy(&gateway, "POST", &token, &import_csv()).await.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn deleted_function_does_not_exist() {
    let (gateway, token) = admin(Gateway::builder()).await;
    gateway.put_function(&import_csv());
    assert_eq!(delete(&gateway, &token).await, StatusCode::ACCEPTED);
    assert_eq!(get(&gateway, &token, "/system/function/import-csv?namespace=etl").await.0, StatusCode::NOT_FOUND);
    assert_eq!(delete(&gateway, &token).await, StatusCode::NOT_FOUND);
    assert_eq!(deploy(&gateway, "POST", &token, &import_csv()).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn invalid_deployment_is_rejected_with_the_message_of_kubernetes() {
    let (gateway, token) = admin(Gateway::builder().namespaces(&["etl"]).secrets(&["db"])).await;
    for (field, value, text) in [
        ("service", json!("Import_CSV"), "validation failed: service: (Import_CSV) is invalid"),
        ("service", json!(7), "failed to unmarshal request: "),
        ("image", json!(""), "validation failed: image: is required"),
        ("image", json!("A B"), "unable to parse image reference: could not parse reference: A B"),
        ("limits", json!({"memory": "lots"}), "failed create Deployment spec: quantities must match"),
        ("labels", json!({"a b": "c"}), "Deployment.apps \"import-csv\" is invalid: spec.template.labels"),
        ("annotations", json!({"a b": "c"}), "Deployment.apps \"import-csv\" is invalid: spec.template.annotations"),
        ("namespace", json!("other"), "namespace: other not found or not annotated for use by OpenFaaS"),
        ("secrets", json!(["db", "key"]), "unable to fetch secrets: secrets \"key\" not found"),
    ] {
        let mut function = import_csv();
        function[field] = value;
        for method in ["POST", "PUT"] {
            let answer = deploy(&gateway, method, &token, &function).await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{method} {function}");
            let given = answer.text().await.unwrap();
            assert!(given.starts_with(text), "{given}");
        }
    }
}

#[tokio::test]
async fn every_request_requires_its_permission() {
    for (method, path, body, action) in [
        ("GET", "/system/functions?namespace=etl", Value::Null, "Function:List"),
        ("GET", "/system/function/import-csv?namespace=etl", Value::Null, "Function:Get"),
        ("POST", "/system/functions", import_csv(), "Function:Create"),
        ("PUT", "/system/functions", import_csv(), "Function:Update"),
        ("DELETE", "/system/functions", json!({"functionName": "import-csv", "namespace": "etl"}), "Function:Delete"),
        ("GET", "/system/logs?name=import-csv&namespace=etl", Value::Null, "Function:Logs"),
        ("GET", "/system/info", Value::Null, "System:Info"),
    ] {
        let (gateway, issuer) = guide();
        gateway.put_function(&import_csv());
        let token = access(&gateway, &issuer.token().audience(gateway.url()).mint(), &[]).await;
        for (actions, allowed) in
            [(format!("'{action}'"), true), ("'Secret:List', 'Function:Invoke'".to_owned(), false)]
        {
            gateway.apply(&ADMIN.replace("'*'], effect", &format!("{actions}], effect"))).unwrap();
            let url = format!("{}{path}", gateway.url());
            let request = client(&gateway).request(method.parse().unwrap(), url).bearer_auth(&token).json(&body);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status() != StatusCode::FORBIDDEN, allowed, "{method} {path} with {actions}");
            if !allowed {
                assert_eq!(answer.text().await.unwrap(), "insufficient permissions\n");
            }
        }
    }
}

#[tokio::test]
async fn api_requires_an_access_token() {
    let (gateway, issuer) = guide();
    let id_token = issuer.token().audience(gateway.url()).mint();
    let function_token = access(&gateway, &id_token, &[("scope", "function")]).await;
    for token in ["", "no token", &id_token, &function_token] {
        assert_eq!(deploy(&gateway, "POST", token, &import_csv()).await.status(), StatusCode::UNAUTHORIZED, "{token}");
    }
}

#[tokio::test]
async fn functions_are_listed_by_namespace() {
    let (gateway, token) = admin(Gateway::builder()).await;
    gateway.put_function(&import_csv());
    gateway.put_function(&json!({"service": "other", "image": "other"}));
    for (query, names) in [("", vec!["other"]), ("?namespace=etl", vec!["import-csv"]), ("?namespace=x", vec![])] {
        let (_, list) = get(&gateway, &token, &format!("/system/functions{query}")).await;
        let listed: Vec<_> = list.as_array().unwrap().iter().map(|function| function["name"].clone()).collect();
        assert_eq!(listed, names, "{query}");
    }
}

#[tokio::test]
async fn log_has_one_json_object_per_line() {
    let (gateway, token) = admin(Gateway::builder()).await;
    gateway.put_function(&import_csv());
    for line in ["one", "two", "three"] {
        assert!(gateway.log("etl", "import-csv", line));
    }
    let url = format!("{}/system/logs?name=import-csv&namespace=etl&tail=2", gateway.url());
    let log = client(&gateway).get(url).bearer_auth(&token).send().await.unwrap().text().await.unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["text"].as_str().unwrap()).collect::<Vec<_>>(), ["two", "three"]);
    assert_eq!((&lines[0]["name"], &lines[0]["namespace"]), (&json!("import-csv"), &json!("etl")));
}

#[tokio::test]
async fn basic_auth_requires_the_password() {
    let gateway = Gateway::builder().basic_auth("admin", "secret").start().unwrap();
    let url = format!("{}/system/functions", gateway.url());
    let client = client(&gateway);
    let right = client.get(&url).basic_auth("admin", Some("secret")).send().await.unwrap();
    let wrong = client.get(&url).basic_auth("admin", Some("guess")).send().await.unwrap();
    let none = client.get(&url).send().await.unwrap();
    assert_eq!(right.status(), StatusCode::OK);
    assert_eq!((wrong.status(), none.status()), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    assert_eq!(none.headers()["www-authenticate"], "Basic realm=\"Restricted\"");
    let exchange = client.post(format!("{}/oauth/token", gateway.url())).send().await.unwrap();
    assert_eq!(exchange.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn gateway_with_a_base_path_serves_only_that_path() {
    let issuer = Issuer::bitbucket("acme");
    let gateway = Gateway::builder().base_path("/openfaas/").guide(&issuer).start().unwrap();
    assert!(gateway.url().ends_with("/openfaas"));
    let root = format!("http://{}/healthz", gateway.address());
    let client = client(&gateway);
    assert_eq!(client.get(format!("{}/healthz", gateway.url())).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(client.get(root).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    access(&gateway, &issuer.token().audience(gateway.url()).mint(), &[]).await;
}
