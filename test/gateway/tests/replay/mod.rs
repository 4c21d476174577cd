//! Sends recorded requests to the local gateway and compares its responses with the recorded ones.

use std::collections::BTreeMap;
use std::time::Duration;

use local_gateway::{Flavour, Gateway, Ready, StartError};
use reqwest::Client;
use serde_json::{Map, Value};

const USER: &str = "admin";
const PASSWORD: &str = "secret";
/// The headers that are compared.
const HEADERS: [&str; 3] = ["content-type", "www-authenticate", "x-openfaas-internal"];

/// A recorded request and its response.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) body: Option<Body>,
    /// Whether the password is sent.
    pub(crate) authorised: bool,
    pub(crate) answer: Answer,
}

/// The body of a request.
#[derive(Debug)]
pub(crate) enum Body {
    Json(Value),
    Text(String),
}

/// A response.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Only some of them, by lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// A gateway like the recorded one. In Community Edition's, no pod became ready, and no deletion of a function ended.
/// Images `…/fn:1` and `…/fn:2` start, `…/fn:crash` ends at once, and `…/none:1` does not exist.
pub(crate) fn gateway(flavour: Flavour) -> Result<Gateway, StartError> {
    let builder = Gateway::builder().flavour(flavour).basic_auth(USER, PASSWORD).secrets(&[]).without_queue();
    if flavour == Flavour::Ce {
        let hour = Duration::from_secs(3600);
        return builder.ready(Ready::Never).deletion(hour).service_deletion(Duration::ZERO).start();
    }
    let mut builder = builder.namespaces(&["etl", "openfaas-fn"]).unreachable_image("none:1");
    for version in ["1", "2"] {
        let variables = [
            ("fprocess", "/usr/bin/handler.sh"),
            ("VERSION", version),
            ("cgi_headers", "true"),
            ("healthcheck_interval", "500ms"),
            ("mode", "streaming"),
            ("write_timeout", "20s"),
        ];
        builder = builder.image_environment(&format!("/fn:{version}"), &variables);
    }
    let gateway = builder.start()?;
    for registry in ["127.0.0.1:5000", "registry:5000"] {
        gateway.set_ready(&format!("{registry}/fn:crash"), Ready::Until(Duration::ZERO));
    }
    gateway.put_secret("openfaas-fn", "api-key", b"v");
    Ok(gateway)
}

/// Why an exchange cannot be compared.
pub(crate) fn exception(flavour: Flavour, exchange: &Exchange) -> Option<&'static str> {
    let call_of_the_crashed = exchange.path == "/function/rec-d";
    match flavour {
        Flavour::Faasd if call_of_the_crashed => Some("another program had the address of the dead container"),
        Flavour::Ce if exchange.path.starts_with("/system/logs?name=rec-b&") => {
            Some("the recorded cluster had no kubelet")
        }
        _ => None,
    }
}

/// Sends a request.
pub(crate) async fn send(client: &Client, gateway: &Gateway, exchange: &Exchange) -> reqwest::Result<Answer> {
    let method = exchange.method.parse().unwrap_or_default();
    let mut request = client.request(method, format!("{}{}", gateway.url(), exchange.path));
    if exchange.authorised {
        request = request.basic_auth(USER, Some(PASSWORD));
    }
    let response = match &exchange.body {
        Some(Body::Json(json)) => request.json(json),
        Some(Body::Text(text)) => request.body(text.clone()),
        None => request,
    }
    .send()
    .await?;
    let header = |name: &&str| {
        let value = response.headers().get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), value.to_owned()))
    };
    let headers = HEADERS.iter().filter_map(header).collect();
    Ok(Answer { status: response.status().as_u16(), headers, body: response.text().await? })
}

/// What differs between the recorded response and the local one.
pub(crate) fn difference(exchange: &Exchange, local: &Answer) -> Option<String> {
    let recorded = &exchange.answer;
    let headers: BTreeMap<_, _> =
        recorded.headers.iter().filter(|(name, _)| HEADERS.contains(&name.as_str())).collect();
    let is_same = recorded.status == local.status
        && headers == local.headers.iter().collect()
        && is_same_body(&exchange.path, &recorded.body, &local.body);
    (!is_same).then(|| format!("  recorded {recorded:?}\n  local    {local:?}"))
}

fn is_same_body(path: &str, recorded: &str, local: &str) -> bool {
    // The recording kept no more of a long list.
    if recorded == "[…]" {
        return serde_json::from_str::<Vec<Value>>(local).is_ok();
    }
    let json =
        |text: &str| serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array());
    match (json(recorded), json(local)) {
        (Some(recorded), Some(local)) if path == "/system/info" => is_same_info(&recorded, local),
        (Some(recorded), Some(local)) => varying(recorded) == varying(local),
        (None, None) => recorded == local,
        _ => false,
    }
}

/// The provider is the same, and so are the fields. A provider that was asked directly has no gateway's fields around
/// it.
fn is_same_info(recorded: &Value, mut local: Value) -> bool {
    if recorded["provider"].is_string() {
        local = local["provider"].take();
    }
    let [name, other] = [recorded, &local].map(|info| {
        let provider = if info["provider"].is_object() { &info["provider"] } else { info };
        (provider["provider"].as_str().unwrap_or_default().to_owned(), provider["orchestration"].clone())
    });
    // Later versions of faasd call themselves `faasd-ce`.
    fields(recorded) == fields(&local) && other.0.starts_with(&name.0) && name.1 == other.1
}

/// The names of all fields.
fn fields(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), fields(value))).collect(),
        _ => Value::Null,
    }
}

/// Replaces what differs from run to run: times by their precision, and the number that marks an update.
fn varying(mut value: Value) -> Value {
    match &mut value {
        Value::Array(items) => return items.drain(..).map(varying).collect(),
        Value::Object(status) => replace(status),
        _ => {}
    }
    value
}

fn replace(status: &mut Map<String, Value>) {
    if let Some(Value::String(time)) = status.get_mut("createdAt") {
        *time = if time.contains('.') { "nanoseconds" } else { "seconds" }.to_owned();
    }
    if let Some(Value::String(uid)) = status.get_mut("labels").and_then(|labels| labels.get_mut("uid"))
        && uid.bytes().all(|digit| digit.is_ascii_digit())
    {
        *uid = "number".to_owned();
    }
}
