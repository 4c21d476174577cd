//! The Docker engine, by its command line.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};

/// On everything this test makes, so that it can be found and removed.
pub const LABEL: &str = "openfaas-pipe.image-test";

/// A `docker` command; BuildKit where its plug-in is installed, else the builder that is part of the engine.
pub fn docker() -> Command {
    let mut command = Command::new("docker");
    command.stdin(Stdio::null());
    if !has_buildkit() {
        command.env("DOCKER_BUILDKIT", "0");
    }
    command
}

fn has_buildkit() -> bool {
    let version = Command::new("docker").args(["buildx", "version"]).output();
    version.is_ok_and(|output| output.status.success())
}

/// Whether the engine answers; the error says what is missing.
pub fn check() -> anyhow::Result<()> {
    run(["version", "--format", "{{.Server.Version}}"]).map(drop).context("this test needs a running Docker engine")
}

/// Runs `docker` with these arguments, and gives its standard output without the last line's end.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
    finish(docker().args(arguments))
}

/// Runs any command to its end.
pub fn finish(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("`{name}` cannot be run"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    }
    Ok(text(&output.stdout).trim_end().to_owned())
}

/// How a container ended: exit code and log.
pub fn ended(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Removes what this run, or one before it that was killed, left in the engine; the images only where they are not kept.
pub fn clean(keep_images: bool) -> anyhow::Result<()> {
    let label = format!("label={LABEL}");
    let kinds = [
        (&["container", "ls", "--all", "--quiet"][..], &["container", "rm", "--force", "--volumes"][..]),
        (&["network", "ls", "--quiet"], &["network", "rm"]),
        (&["image", "ls", "--quiet"], &["image", "rm", "--force"]),
    ];
    for (list, remove) in kinds.into_iter().take(if keep_images { 2 } else { 3 }) {
        let found = run(list.iter().copied().chain(["--filter", &label]))?;
        if !found.is_empty() {
            run(remove.iter().copied().chain(found.lines()))?;
        }
    }
    Ok(())
}
