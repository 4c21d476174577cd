//! A client for the tests of the gateway, independent of the gateway's own code.

use local_gateway::{Builder, Gateway, Issuer, client_config};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// A gateway with the IAM resources of the guide, and the issuer that it trusts.
pub(crate) fn guide() -> (Gateway, Issuer) {
    start_guide(Gateway::builder())
}

pub(crate) fn start_guide(builder: Builder) -> (Gateway, Issuer) {
    let issuer = Issuer::bitbucket("acme");
    (builder.guide(&issuer).start().unwrap(), issuer)
}

/// A client that trusts the gateway's certificate.
pub(crate) fn client(gateway: &Gateway) -> Client {
    client_builder(gateway).build().unwrap()
}

pub(crate) fn client_builder(gateway: &Gateway) -> reqwest::ClientBuilder {
    let client = Client::builder().tls_backend_preconfigured(client_config(gateway.ca_pem()));
    client.redirect(reqwest::redirect::Policy::none()).no_proxy()
}

/// Exchanges a token, with additional form fields.
pub(crate) async fn exchange(gateway: &Gateway, token: &str, further: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut form = vec![("grant_type", TOKEN_EXCHANGE), ("subject_token_type", ID_TOKEN), ("subject_token", token)];
    form.extend(further);
    let url = format!("{}/oauth/token", gateway.url());
    let answer = client(gateway).post(url).form(&form).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Exchanges a step's token for an access token.
pub(crate) async fn access(gateway: &Gateway, token: &str, further: &[(&str, &str)]) -> String {
    let (status, answer) = exchange(gateway, token, further).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Sends a `PUT` or `POST` of a function.
pub(crate) async fn deploy(gateway: &Gateway, method: &str, token: &str, function: &Value) -> Response {
    let url = format!("{}/system/functions", gateway.url());
    let request = client(gateway).request(method.parse().unwrap(), url).bearer_auth(token).json(function);
    request.send().await.unwrap()
}

pub(crate) fn import_csv() -> Value {
    json!({
        "service": "import-csv",
        "image": "docker.io/username/import-csv:latest",
        "namespace": "etl",
        "envVars": {"jwt_auth": "true"},
        "labels": {},
        "annotations": {},
    })
}
