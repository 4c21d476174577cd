//! The Docker engine, controlled by its command line.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};

/// The label of everything that this test creates, so that it can be removed.
pub const LABEL: &str = "openfaas-pipe.image-test";

/// A `docker` command. Uses BuildKit if its plug-in is installed.
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

/// Returns an error if the engine is not available.
pub fn check() -> anyhow::Result<()> {
    run(["version", "--format", "{{.Server.Version}}"]).map(drop).context("this test needs a running Docker engine")
}

/// Runs `docker` with these arguments. Returns standard output without trailing whitespace.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
    finish(docker().args(arguments))
}

/// Runs a command. Returns standard output without trailing whitespace.
pub fn finish(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("`{name}` cannot be run"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    }
    Ok(text(&output.stdout).trim_end().to_owned())
}

/// The exit code and the log of a container.
pub fn ended(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Removes what this run, or an earlier one that was killed, left in the engine. With `keep_images`, images stay.
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
