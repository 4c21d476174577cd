//! Builds the image from the committed Dockerfile and runs it like Bitbucket, in a Docker engine.
//!
//! `cargo run --example image-test`: also measures the image. Fails without a Docker engine, and leaves nothing in it.
//! With `-- --keep` the images stay, so that the next run builds only what changed. `-- --binary PATH` copies the pipe out
//! of the image.

#![allow(clippy::print_stdout, clippy::print_stderr, unreachable_pub, reason = "a command-line program")]

mod base;
mod checks;
mod engine;
mod measure;
mod setup;

use std::fs::{self, File};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use base::Origin;
use engine::LABEL;
use setup::{IMAGE, Setup};

/// The date of the files in the image, in seconds since 1970: 2023-11-14 22:13:20.
const DATE: u32 = 1_700_000_000;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{failed} of {} checks failed", checks::CHECKS.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("image-test: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all checks. Returns the number of failures.
fn run() -> anyhow::Result<usize> {
    engine::check()?;
    // One run at a time: all use the same engine and the same name for the base image.
    let lock = File::create(std::env::temp_dir().join("openfaas-pipe-image-test.lock"))?;
    lock.lock()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let keep = arguments.iter().any(|argument| argument == "--keep");
    let binary = arguments.iter().skip_while(|argument| *argument != "--binary").nth(1);
    engine::clean(keep)?;
    panic::set_hook(Box::new(|info| eprintln!("{info}")));
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(repository.join("Dockerfile")).context("no Dockerfile")?;
    let base = base::name(&dockerfile)?;
    let origin = timed("base image provided", || base::provide(base))?;
    if origin == Origin::Substitute {
        println!("        `{base}` cannot be pulled: building a substitute from this machine's packages and toolchain");
    }
    let failed = check(repository, binary.map(String::as_str));
    engine::clean(keep)?;
    if origin == Origin::Pulled && !keep {
        engine::run(["image", "rm", base])?;
    }
    failed
}

/// Builds the image, runs all checks on it and measures it.
fn check(repository: &Path, binary: Option<&str>) -> anyhow::Result<usize> {
    build(repository)?;
    if let Some(binary) = binary {
        let container = engine::run(["create", "--label", LABEL, IMAGE])?;
        engine::run(["cp", &format!("{container}:/openfaas-pipe"), binary])?;
    }
    let setup = timed("gateways started", || Setup::start(repository))?;
    let failed = checks::CHECKS.iter().filter(|(name, check)| !passes(name, *check, &setup)).count();
    measure::report()?;
    Ok(failed)
}

/// Runs something and prints how long it took.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    println!("        {what} in {:.1} s", started.elapsed().as_secs_f64());
    done
}

/// Builds the image. Checks that a changed source does not rebuild the layer of the dependencies.
fn build(repository: &Path) -> anyhow::Result<()> {
    let dependencies = timed("dependencies built", || stage(repository, "dependencies"))?;
    timed("image built", || {
        stage(repository, "build")?;
        let date = format!("--build-arg=SOURCE_DATE_EPOCH={DATE}");
        engine::run(["build", "--quiet", "--label", LABEL, &date, "--tag", IMAGE, path(repository)?])
    })?;
    timed("binary built again", reproducible)?;
    println!("ok      the build is reproducible for another user in another directory, and GNU ld links it too");

    let changed = tempfile::tempdir()?;
    copy(repository, changed.path())?;
    fs::write(changed.path().join("src/main.rs"), "fn main() { /* changed */ }\n")?;
    let again = stage(changed.path(), "dependencies")?;
    ensure!(again == dependencies, "a change of the sources rebuilds the dependencies");
    println!("ok      a changed source does not rebuild the layer of the dependencies");
    Ok(())
}

/// Builds the binary again. Checks that it does not depend on the directory, the user, cargo's home or file times.
///
/// Then links it once more with GNU ld: Rust's own linker is used on x86-64, GNU ld on arm64 and by many who build the binary.
fn reproducible() -> anyhow::Result<()> {
    let script = "set -e
        mkdir /tmp/home
        cp -R /build \"$CARGO_HOME\" /tmp/home/
        cd /tmp/home/build
        rm -rf target
        export HOME=/tmp/home TMPDIR=/tmp/home CARGO_HOME=\"/tmp/home/$(basename \"$CARGO_HOME\")\"
        chown -R 10001:10001 /tmp/home
        chroot --userspec=10001:10001 / /tmp/home/build/.ci/build >&2
        sha256sum target/*/release/openfaas-pipe
        if [ \"$(uname -m)\" = x86_64 ]; then
            chroot --userspec=10001:10001 / /tmp/home/build/.ci/build -C linker-features=-lld >&2
        fi";
    let container = ["run", "--rm", "--label", LABEL];
    let stage = ["openfaas-pipe-test:build"];
    let run = |command: &[&str]| {
        let sum = engine::run([&container[..], &stage, command].concat())?;
        Ok::<_, anyhow::Error>(sum.split(' ').next().unwrap_or_default().to_owned())
    };
    let first = run(&["sha256sum", "/image/openfaas-pipe"])?;
    let second = run(&["sh", "-c", script])?;
    ensure!(first.len() == 64 && first == second, "two builds differ: {first} and {second}");
    Ok(())
}

/// Builds one stage with a name, so that it can be removed. Returns its id.
fn stage(folder: &Path, stage: &str) -> anyhow::Result<String> {
    let tag = format!("openfaas-pipe-test:{stage}");
    engine::run(["build", "--quiet", "--label", LABEL, "--target", stage, "--tag", &tag, path(folder)?])
}

/// Copies the files that the image is built from.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for name in ["Dockerfile", ".dockerignore", ".cargo", ".ci/build", "Cargo.toml", "Cargo.lock", "src", "test"] {
        let target = to.join(name);
        fs::create_dir_all(target.parent().context("no folder")?)?;
        engine::finish(std::process::Command::new("cp").arg("-R").arg(from.join(name)).arg(target))?;
    }
    Ok(())
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the path is not UTF-8")
}

/// Runs one check and prints the result.
fn passes(name: &str, check: fn(&Setup), setup: &Setup) -> bool {
    let started = Instant::now();
    let passed = panic::catch_unwind(AssertUnwindSafe(|| check(setup))).is_ok();
    let result = if passed { "ok     " } else { "FAILED " };
    println!("{result} {name} ({:.1} s)", started.elapsed().as_secs_f64());
    passed
}
