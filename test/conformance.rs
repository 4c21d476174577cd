//! Runs the built pipe on recorded faas-cli cases and prints the differences.
//!
//! `cargo run --example conformance -- FILE…`: each file is a JSON list of cases with `name`, `stack`, `files`,
//! `variables`, `environment`, `faas_cli` and `expect`. Exits with 1 if any case differs.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod build;
mod pipe_binary;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use local_gateway::{Fault, Gateway, Issuer};
use serde::Deserialize;
use serde_json::Value;

/// A recorded case.
#[derive(Deserialize)]
struct Case {
    name: String,
    stack: Contents,
    #[serde(default)]
    files: BTreeMap<String, Contents>,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    faas_cli: Recorded,
    expect: Expect,
}

/// A file's contents.
#[derive(Deserialize)]
#[serde(untagged)]
enum Contents {
    Text(String),
    Bytes { base64: String },
}

/// A variable of the pipe.
#[derive(Deserialize)]
#[serde(untagged)]
enum Variable {
    Text(String),
    List(Vec<String>),
}

/// What faas-cli sent.
#[derive(Deserialize)]
struct Recorded {
    #[serde(default)]
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    body: Value,
    /// Method and response of each request. The recording gateway had no functions.
    #[serde(default)]
    sequence: Vec<(String, String)>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Same,
    Refused,
}

impl Contents {
    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Bytes { base64 } => Ok(base64::engine::general_purpose::STANDARD.decode(base64)?),
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    ensure!(!files.is_empty(), "usage: conformance FILE…");
    let pipe = match pipe_binary::from_environment() {
        Some(pipe) => pipe,
        None => build::pipe(!cfg!(debug_assertions)).context("the pipe could not be built")?,
    };
    let issuer = Issuer::bitbucket("acme");
    let gateway = Gateway::builder()
        .iam_yaml(include_str!("iam/everything.yaml"))
        .public_url("https://gw.example.com")
        .issuer(&issuer)
        .start()?;
    let (mut same, mut different) = (0, 0);
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let cases: Vec<Case> = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        for case in cases {
            match differences(&case, &pipe, &gateway, &issuer).with_context(|| case.name.clone())? {
                None => same += 1,
                Some(text) => {
                    different += 1;
                    println!("{}: {}\n{text}\n", Path::new(&file).display(), case.name);
                }
            }
        }
    }
    println!("{same} passed, {different} failed");
    Ok(if different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The difference from the recording, if any.
fn differences(case: &Case, pipe: &Path, gateway: &Gateway, issuer: &Issuer) -> anyhow::Result<Option<String>> {
    gateway.clear_requests();
    gateway.clear_faults();
    // The recording gateway had no functions and accepted every request.
    gateway.fault(Fault::on("PUT", "/system/functions").status(404));
    gateway.fault(Fault::on("POST", "/system/functions").status(202));
    gateway.fault(Fault::on("DELETE", "/system/functions").status(202));
    let output = run(case, pipe, gateway, issuer)?;
    let log = String::from_utf8_lossy(&output.stdout);
    let mut sent: BTreeMap<String, (Value, Vec<String>)> = BTreeMap::new();
    let mut others = 0;
    for request in gateway.requests() {
        if request.path != "/system/functions" || request.method == "GET" {
            others += 1;
            continue;
        }
        let body = request.json();
        let name = body["service"].as_str().or(body["functionName"].as_str()).unwrap_or_default().to_owned();
        let (last, methods) = sent.entry(name).or_default();
        methods.push(request.method.clone());
        if body.get("service").is_some() {
            *last = body;
        }
    }
    if case.expect == Expect::Refused {
        let refused = output.status.code() == Some(2) && sent.is_empty() && others == 0;
        return Ok((!refused).then(|| format!("expected a refusal, but it ended with {}\n{log}", output.status)));
    }
    let mut expected: BTreeMap<String, (Value, Vec<String>)> = BTreeMap::new();
    for function in &case.faas_cli.functions {
        let name = function.body["service"].as_str().unwrap_or_default().to_owned();
        let methods = function.sequence.iter().map(|(method, _)| method.clone()).collect();
        expected.insert(name, (function.body.clone(), methods));
    }
    for (name, (_, methods)) in &mut expected {
        // If the recording has no sequence, any sequence is correct.
        if methods.is_empty()
            && let Some((_, sent)) = sent.get(name)
        {
            methods.clone_from(sent);
        }
    }
    if output.status.success() && sent == expected {
        return Ok(None);
    }
    let show = |functions: &BTreeMap<String, (Value, Vec<String>)>| {
        functions.values().map(|(body, methods)| format!("  {} {body}\n", methods.join(" "))).collect::<String>()
    };
    Ok(Some(format!("expected\n{}sent\n{}{}\n{log}", show(&expected), show(&sent), output.status)))
}

fn run(case: &Case, pipe: &Path, gateway: &Gateway, issuer: &Issuer) -> anyhow::Result<Output> {
    let dir = tempfile::tempdir()?;
    for (path, contents) in
        case.files.iter().map(|(path, contents)| (path.as_str(), contents)).chain([("stack.yml", &case.stack)])
    {
        let path = dir.path().join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, contents.bytes()?)?;
    }
    let mut command = Command::new(pipe);
    command
        .env_clear()
        .current_dir(dir.path())
        .envs(&case.environment)
        .env("NO_COLOR", "1")
        .env("OPENFAAS_URL", gateway.url())
        .env("BITBUCKET_CLONE_DIR", dir.path())
        .env("BITBUCKET_STEP_OIDC_TOKEN", issuer.token().audience(gateway.public_url()).mint());
    for (name, variable) in &case.variables {
        match variable {
            Variable::Text(text) => _ = command.env(name, text),
            Variable::List(items) => {
                command.env(format!("{name}_COUNT"), items.len().to_string());
                for (index, item) in items.iter().enumerate() {
                    command.env(format!("{name}_{index}"), item);
                }
            }
        }
    }
    Ok(command.output()?)
}
