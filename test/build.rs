//! Builds the pipe for examples and benchmarks: cargo builds it only for integration tests.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Builds the pipe, in the release or debug profile, and returns the path of the binary.
pub(crate) fn pipe(release: bool) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).context("no target directory")?;
    let mut build = if release {
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/build"))
    } else {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--bin", "openfaas-pipe", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        cargo
    };
    ensure!(build.status()?.success(), "the pipe could not be built");
    Ok(target.join(if release { "release" } else { "debug" }).join("openfaas-pipe"))
}
