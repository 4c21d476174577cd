//! The pipeline of the guide with the guide's IAM resources: exchange, deploy, invoke.

use std::time::Duration;

use crate::common::{access, client, deploy, guide, import_csv, start_guide};
use local_gateway::{Fault, Gateway};
use reqwest::StatusCode;

#[tokio::test]
async fn step_of_the_guide_deploys_its_function() {
    let (gateway, issuer) = start_guide(Gateway::builder().surplus(Duration::from_secs(3600)));
    let token = access(&gateway, &issuer.token().audience(gateway.url()).mint(), &[]).await;

    assert_eq!(deploy(&gateway, "PUT", &token, &import_csv()).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(deploy(&gateway, "POST", &token, &import_csv()).await.status(), StatusCode::ACCEPTED);
    assert_eq!(deploy(&gateway, "PUT", &token, &import_csv()).await.status(), StatusCode::ACCEPTED);

    let function = gateway.function("etl", "import-csv").unwrap();
    assert_eq!(function.deployment, import_csv());
    // The old replica of the update is still there.
    assert_eq!((function.replicas, function.available_replicas), (1, 2));
}

#[tokio::test]
async fn step_of_the_guide_invokes_its_function_with_a_function_token() {
    let (gateway, issuer) = guide();
    gateway.put_function(&import_csv());
    let id_token = issuer.token().audience(gateway.url()).mint();
    let narrowed = [("scope", "function"), ("audience", "etl:import-csv")];
    let token = access(&gateway, &id_token, &narrowed).await;

    let url = format!("{}/function/import-csv.etl", gateway.url());
    let answer = client(&gateway).post(&url).bearer_auth(token).body("name\nalice\n").send().await.unwrap();

    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("x-call-id"));
    assert!(answer.headers().contains_key("x-duration-seconds"));
    assert_eq!(answer.text().await.unwrap(), "name\nalice\n");
}

#[tokio::test]
async fn guarded_function_responds_like_the_watchdog_without_a_token() {
    let (gateway, _) = guide();
    gateway.put_function(&import_csv());

    let url = format!("{}/function/import-csv.etl", gateway.url());
    let answer = client(&gateway).post(&url).send().await.unwrap();

    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=IAM function invoke");
    assert_eq!(answer.headers()["x-openfaas-internal"], "faas-middleware");
    assert_eq!(answer.text().await.unwrap(), "Bearer must be present in Authorization header\n");
}

#[tokio::test]
async fn requests_are_recorded_and_faults_applied() {
    let (gateway, _) = guide();
    gateway.fault(Fault::on("GET", "/healthz").times(1).status(503).header("Retry-After", "1").body("later"));
    let url = format!("{}/healthz?x=1", gateway.url());
    let first = client(&gateway).get(&url).send().await.unwrap();
    let second = client(&gateway).get(&url).send().await.unwrap();

    assert_eq!(
        (first.status(), &first.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    assert_eq!(second.status(), StatusCode::OK);
    let requests = gateway.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("GET", "/healthz"));
    assert_eq!(requests[0].query.as_deref(), Some("x=1"));
    assert_eq!(requests.iter().map(|request| request.connection).collect::<Vec<_>>(), [1, 2]);
}
