//! The pipe's two jobs as Bitbucket would run them, against the local gateway with the resources of OpenFaaS' guide.
//!
//! `cargo run --example demo`: deploys the guide's stack file, then invokes its function with the guide's CSV.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod build;
mod guide;

use std::fmt::Write as _;

use anyhow::ensure;

fn main() -> anyhow::Result<()> {
    let guide = guide::Guide::start(build::pipe(!cfg!(debug_assertions))?)?;
    println!("The gateway {} has the IAM resources of the OpenFaaS guide for Bitbucket.", guide.url());
    for step in guide::STEPS {
        println!("\n{}\n", call(guide.url(), step));
        ensure!(guide.command(step).status()?.success(), "the pipe failed");
    }
    Ok(())
}

/// The pipe's call as `bitbucket-pipelines.yml` would have it.
fn call(gateway: &str, variables: guide::Step) -> String {
    let reference = concat!("openfaas-pipe/openfaas-pipe:", env!("CARGO_PKG_VERSION"));
    let mut text = format!("- pipe: {reference}\n  variables:\n    OPENFAAS_URL: {gateway}");
    for (name, value) in variables {
        // Writing to a string cannot fail.
        _ = write!(text, "\n    {name}: {value}");
    }
    text
}
