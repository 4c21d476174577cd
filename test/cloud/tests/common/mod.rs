//! A client for the tests of the cloud, independent of the pipe's code.

use local_cloud::{Cloud, Issuer};
use reqwest::{Client, Proxy, Response};
use serde_json::Value;

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

/// A client that uses the cloud's proxy, trusts its authority and does not follow redirects.
pub(crate) fn client(cloud: &Cloud) -> Client {
    let client = Client::builder()
        .tls_backend_preconfigured(local_gateway::client_config(cloud.ca_pem()))
        .redirect(reqwest::redirect::Policy::none());
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

/// The text of an XML element.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}"));
    rest.split_once(&format!("</{name}>")).unwrap().0
}
