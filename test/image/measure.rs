//! Measures the image: size, load time, start time, number of crates.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;

use crate::engine::{self, docker, finish};
use crate::setup::IMAGE;

/// How often the container is started.
const STARTS: usize = 10;

/// Measures the image. It is removed and loaded again.
pub fn report() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let archive = directory.path().join("image.tar");
    let name = archive.to_str().context("the path is not UTF-8")?;
    engine::run(["save", "--output", name, IMAGE])?;
    finish(Command::new("gzip").args(["--keep", "--best", name]))?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let (size, compressed) = (fs::metadata(&archive)?.len(), fs::metadata(format!("{name}.gz"))?.len());
    println!("        image: {:.2} MB, compressed {:.2} MB", megabytes(size), megabytes(compressed));

    engine::run(["image", "rm", "--force", IMAGE])?;
    let started = Instant::now();
    engine::run(["load", "--quiet", "--input", name])?;
    println!("        docker load: {} ms", started.elapsed().as_millis());

    // Without variables, the pipe exits with 2 immediately.
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        docker().args(["run", "--rm", "--network=none", "--label", engine::LABEL, IMAGE]).output()?;
        times.push(started.elapsed().as_millis());
    }
    times.sort_unstable();
    println!("        docker run: {} ms (median of {STARTS})", times[STARTS / 2]);

    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--package", "openfaas-pipe", "--edges", "normal", "--prefix", "none"]);
    let tree = finish(tree.current_dir(env!("CARGO_MANIFEST_DIR")))?;
    let crates: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    // Without the pipe itself.
    println!("        crates: {}", crates.len() - 1);
    Ok(())
}
