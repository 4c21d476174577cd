//! Compares what the pipe costs with what it may: bytes that are pulled, and instructions of fixed runs.
//!
//! `cargo run --example figures` ends with 1 where a figure is more than [`TOLERANCE`] over the committed one in
//! `test/figures.toml`; `cargo run --example figures -- --renew` writes that file anew. Instructions are counted by valgrind:
//! unlike times they do not depend on the machine's load.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod build;
#[expect(dead_code, reason = "the benchmarks use all of it")]
mod measure;
#[expect(dead_code, reason = "the benchmarks use all of it")]
mod site;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use measure::{Job, median};
use site::{Protocol, Site};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/test/figures.toml");
const HEAD: &str = "# Bytes and instructions. Written by `cargo run --example figures -- --renew`.\n";
/// By how many hundredths a figure may exceed the committed one.
const TOLERANCE: u64 = 5;
/// What arrives when, and the seeds of hash tables, move the count of a single run by up to 1 %.
const RUNS: usize = 3;

fn main() -> anyhow::Result<ExitCode> {
    let renew = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--renew") => true,
        Some(other) => bail!("`{other}` is unknown; `--renew` writes the figures anew"),
    };
    let pipe = build::pipe(true)?;
    let found = figures(&pipe)?;
    if renew {
        let mut text = HEAD.to_owned();
        for (name, figure) in &found {
            writeln!(text, "{name} = {figure}")?;
        }
        std::fs::write(FILE, text)?;
    }
    let committed = std::fs::read_to_string(FILE).with_context(|| FILE.to_owned())?;
    let mut exceeded = false;
    for (name, figure) in &found {
        let limit = committed.lines().find_map(|line| line.strip_prefix(name.as_str())?.strip_prefix(" = "));
        let limit: u64 = limit.with_context(|| format!("no figure `{name}`"))?.parse()?;
        let over = figure * 100 > limit * (100 + TOLERANCE);
        exceeded |= over;
        let verdict = if over { "more than it may be" } else { "fine" };
        println!("{name:24} {figure:>12} of {limit:>12}  {verdict}");
    }
    if exceeded {
        println!("make it smaller, or say why not and renew: cargo run --example figures -- --renew");
    }
    Ok(if exceeded { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn figures(pipe: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let binary = std::fs::read(pipe)?;
    let compressed = miniz_oxide::deflate::compress_to_vec(&binary, 9);
    let mut figures = BTreeMap::from([
        ("bytes".to_owned(), binary.len() as u64),
        ("bytes-compressed".to_owned(), compressed.len() as u64),
    ]);
    for (protocol, functions) in [(Protocol::Http1, 1), (Protocol::Tls2, 1), (Protocol::Tls2, 200)] {
        let mut counts = (0..RUNS).map(|_| instructions(pipe, protocol, functions)).collect::<Result<Vec<_>, _>>()?;
        let count = median(&mut counts).context("no run")?;
        figures.insert(format!("deploy-{}-{functions}", protocol.name()), count);
    }
    Ok(figures)
}

/// The instructions that a deploy of functions which are there takes.
fn instructions(pipe: &Path, protocol: Protocol, functions: usize) -> anyhow::Result<u64> {
    let site = Site::new(protocol, 0)?;
    let dir = tempfile::tempdir()?;
    site.deployable(functions, "f", true, &dir)?;
    let counts = dir.path().join("counts");
    let arguments = vec![
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", counts.display()),
        pipe.display().to_string(),
    ];
    let job = Job {
        program: Path::new("/usr/bin/valgrind"),
        arguments,
        variables: site.variables(&dir),
        dir: &dir,
        exit_code: 0,
    };
    job.run().context("valgrind")?;
    let text = std::fs::read_to_string(counts)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).context("valgrind counted nothing")?;
    let total = total.trim().parse()?;
    ensure!(total > 0, "valgrind counted nothing");
    Ok(total)
}
