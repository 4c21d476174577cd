//! A client for the gateway's own tests, of another make than the gateway.
#![allow(dead_code, reason = "each test program uses its part")]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use local_gateway::{Builder, Gateway, Issuer};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// A gateway with the guide's resources, and the issuer it trusts.
pub(crate) fn guide() -> (Gateway, Issuer) {
    start_guide(Gateway::builder())
}

pub(crate) fn start_guide(builder: Builder) -> (Gateway, Issuer) {
    let issuer = Issuer::bitbucket("acme");
    (builder.guide(&issuer).start().unwrap(), issuer)
}

/// A client that trusts the gateway, if it serves TLS.
pub(crate) fn client(gateway: &Gateway) -> Client {
    client_builder(gateway).build().unwrap()
}

pub(crate) fn client_builder(gateway: &Gateway) -> reqwest::ClientBuilder {
    let client = Client::builder().tls_backend_preconfigured(tls(gateway));
    client.redirect(reqwest::redirect::Policy::none()).no_proxy()
}

/// Waits until something that another thread does is there, for as long as a slow machine may need.
pub(crate) fn until(what: &str, is_there: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_there() {
        assert!(Instant::now() < deadline, "no {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn tls(gateway: &Gateway) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(gateway.ca_pem().as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

/// Exchanges a token, with further fields.
pub(crate) async fn exchange(gateway: &Gateway, token: &str, further: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut form = vec![("grant_type", TOKEN_EXCHANGE), ("subject_token_type", ID_TOKEN), ("subject_token", token)];
    form.extend(further);
    let url = format!("{}/oauth/token", gateway.url());
    let answer = client(gateway).post(url).form(&form).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// The access token for a step's token.
pub(crate) async fn access(gateway: &Gateway, token: &str, further: &[(&str, &str)]) -> String {
    let (status, answer) = exchange(gateway, token, further).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

/// `PUT` or `POST` of a function.
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
