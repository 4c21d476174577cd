//! Replays what real gateways answered against the local gateway, and prints the differences.
//!
//! `cargo run --example gateway-conformance -- FILE…`: each file is a JSON object with `exchanges`, in order: `request`
//! (`method`, `path`, `body`, `authorised`) and `answer` (`status`, `headers`, `body`). The edition follows from the response
//! to `/system/info`. Exits with 1 if any response differs.

#![expect(clippy::print_stdout, reason = "a program for people")]

#[path = "gateway/tests/replay/mod.rs"]
mod replay;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use local_gateway::{Flavour, client_config};
use replay::{Answer, Body, Exchange, difference, exception, send};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Recording {
    exchanges: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    request: Request,
    answer: Response,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    path: String,
    #[serde(default)]
    body: Option<Value>,
    authorised: bool,
}

#[derive(Deserialize)]
struct Response {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl From<Recorded> for Exchange {
    fn from(recorded: Recorded) -> Self {
        let Recorded { request, answer, .. } = recorded;
        let body = request.body.map(|body| match body {
            Value::String(text) => Body::Text(text),
            json => Body::Json(json),
        });
        Self {
            method: request.method,
            path: request.path,
            body,
            authorised: request.authorised,
            answer: Answer { status: answer.status, headers: answer.headers, body: answer.body },
        }
    }
}

/// The counts of responses that are the same, that differ and that cannot be compared.
#[derive(Default)]
struct Counts {
    same: u32,
    different: u32,
    skipped: u32,
}

fn main() -> anyhow::Result<ExitCode> {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    ensure!(!files.is_empty(), "usage: gateway-conformance FILE…");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut counts = Counts::default();
    for file in files {
        let file = Path::new(&file);
        runtime.block_on(replay(file, &mut counts)).with_context(|| file.display().to_string())?;
    }
    println!("{} passed, {} failed, {} not compared", counts.same, counts.different, counts.skipped);
    Ok(if counts.different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn replay(file: &Path, counts: &mut Counts) -> anyhow::Result<()> {
    let recording: Recording = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let flavour = flavour(&recording)?;
    let gateway = replay::gateway(flavour)?;
    let client = reqwest::Client::builder().tls_backend_preconfigured(client_config("")).no_proxy().build()?;
    for recorded in recording.exchanges {
        let name = recorded.name.clone();
        let exchange = Exchange::from(recorded);
        // Sent in any case: later responses may depend on it.
        let local = send(&client, &gateway, &exchange).await.with_context(|| name.clone())?;
        if let Some(reason) = exception(flavour, &exchange) {
            counts.skipped += 1;
            println!("{}: {name}: not compared: {reason}", file.display());
        } else if let Some(text) = difference(&exchange, &local) {
            counts.different += 1;
            println!("{}: {name}: {} {}\n{text}", file.display(), exchange.method, exchange.path);
        } else {
            counts.same += 1;
        }
    }
    Ok(())
}

fn flavour(recording: &Recording) -> anyhow::Result<Flavour> {
    let info = recording.exchanges.iter().find(|exchange| exchange.request.path == "/system/info");
    let info = &info.context("no request for `/system/info`, which tells the edition")?.answer.body;
    Ok(match info {
        info if info.contains("faas-netes-ce") => Flavour::Ce,
        info if info.contains("faasd") => Flavour::Faasd,
        _ => Flavour::Enterprise,
    })
}
