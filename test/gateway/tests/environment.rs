//! Secrets and namespaces of every edition, and the permissions that they require.

use crate::common::{access, client};
use local_gateway::{Builder, Flavour, Gateway, Issuer};
use serde_json::{Value, json};

fn with(flavour: Flavour, set: impl FnOnce(Builder) -> Builder) -> Gateway {
    set(Gateway::builder().flavour(flavour)).start().unwrap()
}

/// Status and text of a response.
async fn send(gateway: &Gateway, method: &str, path: &str, body: Value) -> (u16, String) {
    let url = format!("{}/system/{path}", gateway.url());
    let answer = client(gateway).request(method.parse().unwrap(), url).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn secret(namespace: &str, value: &str) -> Value {
    json!({"name": "key", "namespace": namespace, "value": value})
}

#[tokio::test]
async fn kubernetes_tells_a_new_secret_from_an_existing_one() {
    for flavour in [Flavour::Enterprise, Flavour::Ce] {
        let gateway = with(flavour, |builder| builder.secrets(&[]));
        for (method, body, status) in [
            ("PUT", secret("openfaas-fn", "v"), 404),
            ("POST", secret("openfaas-fn", "v"), 202),
            ("POST", secret("openfaas-fn", "w"), 409),
            ("PUT", secret("", "x"), 202),
            ("POST", json!({"name": "Bad_Name", "value": "v"}), 422),
        ] {
            assert_eq!(send(&gateway, method, "secrets", body).await, (status, String::new()), "{flavour:?} {method}");
        }
        assert_eq!(gateway.secret("openfaas-fn", "key").unwrap(), b"x");
        let raw = json!({"name": "key", "namespace": "openfaas-fn", "value": "ignored", "rawValue": "AP8K"});
        assert_eq!(send(&gateway, "PUT", "secrets", raw).await.0, 202);
        assert_eq!(gateway.secret("openfaas-fn", "key").unwrap(), [0, 255, 10]);
        let list = r#"[{"name":"key","namespace":"openfaas-fn"}]"#.to_owned();
        assert_eq!(send(&gateway, "GET", "secrets", Value::Null).await, (200, list));
        assert_eq!(send(&gateway, "DELETE", "secrets", secret("", "")).await.0, 202);
        assert_eq!(send(&gateway, "DELETE", "secrets", secret("", "")).await.0, 404);
    }
}

#[tokio::test]
async fn community_edition_has_secrets_in_one_namespace() {
    let gateway = with(Flavour::Ce, |builder| builder);
    assert_eq!(send(&gateway, "POST", "secrets", secret("etl", "v")).await, (400, String::new()));
    assert!(gateway.secrets().is_empty());
}

#[tokio::test]
async fn faasd_writes_a_secret_without_checks() {
    let gateway = with(Flavour::Faasd, |builder| builder.namespaces(&[]));
    for (method, body) in [
        ("PUT", secret("openfaas-fn", "v")),
        ("POST", secret("openfaas-fn", "w")),
        ("POST", secret("nowhere", "v")),
        ("POST", json!({"name": "Bad_Name", "value": "v"})),
    ] {
        assert_eq!(send(&gateway, method, "secrets", body).await, (200, String::new()));
    }
    assert_eq!(gateway.secret("openfaas-fn", "key").unwrap(), b"w");
    assert_eq!(gateway.secret("nowhere", "key").unwrap(), b"v");
    assert_eq!(send(&gateway, "GET", "secrets?namespace=nowhere", Value::Null).await.0, 400);
    assert_eq!(send(&gateway, "DELETE", "secrets", secret("", "")).await.0, 200);
    let (status, text) = send(&gateway, "DELETE", "secrets", secret("", "")).await;
    assert_eq!((status, text.contains("no such file or directory")), (500, true), "{text}");
}

#[tokio::test]
async fn deployment_needs_the_secrets_of_its_namespace() {
    for (flavour, namespace, text) in [
        (Flavour::Enterprise, "etl", "unable to fetch secrets: secrets \"key\" not found\n"),
        (Flavour::Ce, "openfaas-fn", "unable to fetch secrets: secrets \"key\" not found\n"),
        (Flavour::Faasd, "etl", "unable to find secret: key\n"),
    ] {
        let gateway = with(flavour, |builder| builder.secrets(&[]));
        let function = json!({"service": "f", "image": "f", "namespace": namespace, "secrets": ["key"]});
        gateway.put_secret("elsewhere", "key", b"v");
        assert_eq!(send(&gateway, "POST", "functions", function.clone()).await, (400, text.to_owned()));
        gateway.put_secret(namespace, "key", b"v");
        assert!(send(&gateway, "POST", "functions", function).await.0 < 300);
    }
}

fn namespace(name: &str) -> Value {
    json!({"name": name, "labels": {"openfaas": "1", "owner": "a"}, "annotations": {"openfaas": "1"}})
}

#[tokio::test]
async fn namespace_is_created_used_and_deleted() {
    let gateway = with(Flavour::Enterprise, |builder| builder.namespaces(&["openfaas-fn"]));
    let function = json!({"service": "f", "image": "f", "namespace": "pr-1"});
    let text = "namespace: pr-1 not found or not annotated for use by OpenFaaS\n".to_owned();
    assert_eq!(send(&gateway, "POST", "functions", function.clone()).await, (400, text));
    let missing = (404, "namespace pr-1 not found\n".to_owned());
    assert_eq!(send(&gateway, "GET", "namespace/pr-1", Value::Null).await, missing);
    assert_eq!(send(&gateway, "POST", "namespace/", namespace("pr-1")).await, (201, String::new()));
    let exists = (409, "namespace pr-1 already exists\n".to_owned());
    assert_eq!(send(&gateway, "POST", "namespace/", namespace("pr-1")).await, exists);
    let (status, text) = send(&gateway, "GET", "namespace/pr-1", Value::Null).await;
    assert_eq!((status, serde_json::from_str(&text).ok()), (200, Some(namespace("pr-1"))));
    assert_eq!(send(&gateway, "GET", "namespaces", Value::Null).await.1, r#"["openfaas-fn","pr-1"]"#);
    assert_eq!(send(&gateway, "POST", "functions", function).await.0, 202);
    gateway.put_secret("pr-1", "key", b"v");
    assert_eq!(send(&gateway, "DELETE", "namespace/pr-1", namespace("pr-1")).await, (202, String::new()));
    assert_eq!(send(&gateway, "DELETE", "namespace/pr-1", namespace("pr-1")).await, missing);
    // Kubernetes deletes what was in it.
    assert!(gateway.functions().is_empty() && gateway.secrets().is_empty());
    assert_eq!(gateway.namespaces().len(), 1);
}

#[tokio::test]
async fn namespace_without_annotation_is_not_used() {
    let gateway = with(Flavour::Enterprise, |builder| builder.namespaces(&[]));
    gateway.put_namespace("kube-system", &[], &[]);
    let function = json!({"service": "f", "image": "f", "namespace": "kube-system"});
    assert_eq!(send(&gateway, "POST", "functions", function).await.0, 400);
    assert_eq!(send(&gateway, "GET", "namespaces", Value::Null).await.1, "[]");
    assert_eq!(send(&gateway, "POST", "namespace/", namespace("kube-system")).await.0, 409);
    let bare = json!({"name": "etl"});
    let refusal = (400, "request does not have openfaas=1 label\n".to_owned());
    assert_eq!(send(&gateway, "POST", "namespace/", bare).await, refusal);
}

#[tokio::test]
async fn faasd_creates_a_namespace_in_spite_of_an_error() {
    for (events, created) in [(false, 400), (true, 201)] {
        let gateway = with(Flavour::Faasd, |builder| {
            let builder = builder.namespaces(&["openfaas-fn"]);
            if events { builder.publishing_events() } else { builder }
        });
        let (status, text) = send(&gateway, "POST", "namespace/", namespace("pr-1")).await;
        assert_eq!((status, text.starts_with("failed publishing event: ")), (created, !events), "{text}");
        // It keeps labels, but no annotations.
        let text = r#"{"labels":{"openfaas":"1","owner":"a"},"name":"pr-1"}"#.to_owned() + "\n";
        assert_eq!(send(&gateway, "GET", "namespace/pr-1", Value::Null).await, (200, text));
        let list = r#"["openfaas-fn","pr-1","openfaas-fn"]"#;
        assert_eq!(send(&gateway, "GET", "namespaces", Value::Null).await.1, list);
        assert_eq!(send(&gateway, "DELETE", "namespace/pr-1", namespace("pr-1")).await.0, 202);

        gateway.put_namespace("pr-1", &[("openfaas", "1")], &[]);
        let function = json!({"service": "f", "image": "f", "namespace": "pr-1"});
        assert_eq!(send(&gateway, "POST", "functions", function).await.0, 200);
        let removal = json!({"functionName": "f", "namespace": "pr-1"});
        assert_eq!(send(&gateway, "DELETE", "functions", removal).await.0, 200);
        let (status, text) = send(&gateway, "DELETE", "namespace/pr-1", namespace("pr-1")).await;
        assert_eq!((status, text.contains("must be empty")), (500, true), "{text}");
    }
}

#[tokio::test]
async fn community_edition_has_no_namespaces_to_manage() {
    let gateway = with(Flavour::Ce, |builder| builder);
    let not_found = (404, "404 page not found\n".to_owned());
    for (method, path) in [("GET", "namespace/a"), ("POST", "namespace/"), ("DELETE", "namespace/a")] {
        assert_eq!(send(&gateway, method, path, namespace("a")).await, not_found, "{method}");
    }
    assert_eq!(send(&gateway, "GET", "namespaces", Value::Null).await, (200, r#"["openfaas-fn"]"#.to_owned()));
}

/// The status of a request with a token that permits one action on one resource.
async fn permitted(action: &str, resource: &str, method: &str, path: &str, body: &Value) -> u16 {
    let issuer = Issuer::bitbucket("acme");
    let iam = format!(
        "apiVersion: iam.openfaas.com/v1\nkind: JwtIssuer\nmetadata: {{name: i}}\n\
         spec: {{iss: {:?}, aud: [https://gw.example.com], tokenExpiry: 30m}}\n---\n\
         apiVersion: iam.openfaas.com/v1\nkind: Policy\nmetadata: {{name: p}}\n\
         spec: {{statement: [{{sid: s, action: [{action:?}], effect: Allow, resource: [{resource:?}]}}]}}\n---\n\
         apiVersion: iam.openfaas.com/v1\nkind: Role\nmetadata: {{name: r}}\nspec: {{policy: [p]}}\n",
        issuer.iss()
    );
    let builder = Gateway::builder().iam_yaml(&iam).issuer(&issuer).public_url("https://gw.example.com");
    let gateway = builder.namespaces(&["etl"]).secrets(&["key"]).start().unwrap();
    let token = access(&gateway, &issuer.token().audience("https://gw.example.com").mint(), &[]).await;
    let url = format!("{}/system/{path}", gateway.url());
    let request = client(&gateway).request(method.parse().unwrap(), url).bearer_auth(token).json(body);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn every_request_requires_its_permission_on_its_namespace() {
    for (action, method, path, body) in [
        ("Secret:List", "GET", "secrets?namespace=etl", Value::Null),
        ("Secret:Create", "POST", "secrets", json!({"name": "new", "namespace": "etl", "value": "v"})),
        ("Secret:Update", "PUT", "secrets", secret("etl", "v")),
        ("Secret:Delete", "DELETE", "secrets", secret("etl", "v")),
        ("Namespace:List", "GET", "namespaces", Value::Null),
        ("Namespace:Get", "GET", "namespace/etl", Value::Null),
        ("Namespace:Update", "PUT", "namespace/etl", namespace("etl")),
        ("Namespace:Delete", "DELETE", "namespace/etl", namespace("etl")),
    ] {
        for resource in ["*", "etl:*"] {
            assert!(permitted(action, resource, method, path, &body).await < 300, "{action} {resource}");
        }
        assert_eq!(permitted(action, "other:*", method, path, &body).await, 403, "{action}");
        assert_eq!(permitted("Function:*", "*", method, path, &body).await, 403, "{action}");
    }
    let body = namespace("pr-1");
    assert_eq!(permitted("Namespace:Create", "pr-1:*", "POST", "namespace/", &body).await, 201);
    assert_eq!(permitted("Namespace:Create", "etl:*", "POST", "namespace/", &body).await, 403);
}
