//! A client for the fakes' own tests, of another make than the pipe's.
#![allow(dead_code, reason = "each test program uses its part")]

use std::sync::Arc;

use local_cloud::{Cloud, Issuer};
use reqwest::{Client, Proxy, Response};
use serde_json::Value;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// All manifest types.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

pub(crate) fn issuer() -> Issuer {
    Issuer::bitbucket("acme")
}

pub(crate) fn cloud() -> Cloud {
    Cloud::start().unwrap()
}

/// A client that goes through the cloud's proxy, trusts its authority and follows no redirect.
pub(crate) fn client(cloud: &Cloud) -> Client {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(cloud.ca_pem().as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = Client::builder().tls_backend_preconfigured(tls).redirect(reqwest::redirect::Policy::none());
    client.proxy(Proxy::https(cloud.proxy_url()).unwrap()).build().unwrap()
}

/// Status and JSON of a response.
pub(crate) async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

/// Status and text of a response.
pub(crate) async fn text(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

/// The first value of a header.
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// The text between an element's tags.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}"));
    rest.split_once(&format!("</{name}>")).unwrap().0
}
