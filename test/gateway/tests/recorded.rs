//! What real gateways of Community Edition and faasd answered is what the local gateway answers.

use std::collections::BTreeMap;

use crate::replay::{Answer, Body, Exchange, difference, exception, send};
use local_gateway::{Flavour, client_config};
use reqwest::Client;
use serde_json::Value;

/// The exchanges in `recorded/*.txt`, whose first lines describe the format.
fn exchanges(text: &str) -> Vec<Exchange> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut exchanges = Vec::new();
    while let (Some(request), Some(response)) = (lines.next(), lines.next()) {
        exchanges.push(exchange(request, response));
    }
    exchanges
}

fn exchange(request: &str, response: &str) -> Exchange {
    let mut request = request.splitn(4, ' ');
    let authorised = request.next() == Some(">");
    let (method, path) = (request.next().unwrap().to_owned(), request.next().unwrap().to_owned());
    let body = request.next().map(|body| match serde_json::from_str(body).unwrap() {
        Value::String(text) => Body::Text(text),
        json => Body::Json(json),
    });
    let mut response = response.strip_prefix("< ").unwrap().splitn(3, ' ');
    let status = response.next().unwrap().parse().unwrap();
    let header = |name| {
        let (name, value) = match name {
            "text" => ("content-type", "text/plain; charset=utf-8"),
            "json" => ("content-type", "application/json"),
            "ndjson" => ("content-type", "application/x-ndjson"),
            "basic" => ("www-authenticate", "Basic realm=\"Restricted\""),
            "proxy" => ("x-openfaas-internal", "proxy"),
            _ => return None,
        };
        Some((name.to_owned(), value.to_owned()))
    };
    let headers: BTreeMap<_, _> = response.next().unwrap().split(',').filter_map(header).collect();
    let text = response.next().unwrap_or_default();
    let is_json = headers.get("content-type").is_some_and(|value| value == "application/json");
    let body_text = if is_json { text.to_owned() } else { text.replace("\\n", "\n") };
    Exchange { method, path, body, authorised, answer: Answer { status, headers, body: body_text } }
}

async fn replay_all(flavour: Flavour, text: &str) {
    let gateway = crate::replay::gateway(flavour).unwrap();
    let client = Client::builder().tls_backend_preconfigured(client_config("")).no_proxy().build().unwrap();
    let exchanges = exchanges(text);
    assert!(exchanges.len() > 80, "{}", exchanges.len());
    let mut differences = String::new();
    for exchange in exchanges {
        assert_eq!(exception(flavour, &exchange), None, "what cannot be compared has no place here");
        let local = send(&client, &gateway, &exchange).await.unwrap();
        if let Some(text) = difference(&exchange, &local) {
            differences.push_str(&format!("{} {}\n{text}\n", exchange.method, exchange.path));
        }
    }
    assert_eq!(differences, "");
}

#[tokio::test]
async fn community_edition_answers_as_recorded() {
    replay_all(Flavour::Ce, include_str!("recorded/ce.txt")).await;
}

#[tokio::test]
async fn faasd_answers_as_recorded() {
    replay_all(Flavour::Faasd, include_str!("recorded/faasd.txt")).await;
}

#[test]
fn every_part_of_a_response_is_compared() {
    let request = "> GET /system/function/f";
    let status = r#"{"name":"f","labels":{"uid":"7"},"createdAt":"2026-01-01T00:00:00Z"}"#;
    let recorded = exchange(request, &format!("< 200 json {status}"));
    for (response, is_same) in [
        (format!("< 200 json {status}"), true),
        (format!("< 202 json {status}"), false),
        (format!("< 200 text {status}"), false),
        (format!("< 200 json,proxy {status}"), false),
        ("< 200 json".to_owned(), false),
        (format!("< 200 json {}", status.replace('7', "8")), true),
        (format!("< 200 json {}", status.replace('7', "x")), false),
        (format!("< 200 json {}", status.replace(":00Z", ":00.5Z")), false),
        (format!("< 200 json {}", status.replace("name", "named")), false),
    ] {
        assert_eq!(difference(&recorded, &exchange(request, &response).answer).is_none(), is_same, "{response}");
    }
    let error = exchange(request, "< 500 text no\\n");
    assert!(difference(&error, &exchange(request, "< 500 text no").answer).is_some());
}
