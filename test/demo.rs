//! Runs the two steps of the guide as Bitbucket would, against the local gateway with the IAM resources of the OpenFaaS
//! guide.
//!
//! `cargo demo` deploys the guide's stack file, then invokes its function with the guide's CSV.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod guide;
mod pipe_binary;

use std::env;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::ensure;

/// The argument that makes this program act as the pipe: one binary builds twice as fast as two.
const AS_PIPE: &str = "--as-pipe";

fn main() -> anyhow::Result<ExitCode> {
    if env::args_os().nth(1).is_some_and(|argument| argument == AS_PIPE) {
        return Ok(openfaas_pipe::run(env::vars_os()).into());
    }
    let pipe = pipe_binary::from_environment().map_or_else(env::current_exe, Ok)?;
    let guide = guide::Guide::start(pipe)?;
    println!("The gateway {} has the IAM resources of the OpenFaaS guide for Bitbucket.", guide.url());
    for step in guide::STEPS {
        println!("\n{}\n", call(guide.url(), step));
        ensure!(guide.command(step).arg(AS_PIPE).status()?.success(), "the pipe failed");
    }
    Ok(ExitCode::SUCCESS)
}

/// The call of the pipe as it would appear in `bitbucket-pipelines.yml`.
fn call(gateway: &str, variables: guide::Step) -> String {
    let reference = concat!("openfaas-pipe/openfaas-pipe:", env!("CARGO_PKG_VERSION"));
    let mut text = format!("- pipe: {reference}\n  variables:\n    OPENFAAS_URL: {gateway}");
    for (name, value) in variables {
        // Writing to a string cannot fail.
        _ = write!(text, "\n    {name}: {value}");
    }
    text
}
