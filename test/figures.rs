//! Fails if the binary or the image exceeds its size budget.
//!
//! `cargo run --example figures` builds the release binary and compares its size, and that of the image, with the
//! budgets. `-- PATH` takes a binary that is built already.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod build;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

/// Budgets in bytes. The pull is part of every run of the pipe; the official pipes take 60 MB and more.
const BINARY: usize = 5_400_000;
const IMAGE: usize = 2_600_000;
/// The files of the image besides the binary.
const DOCUMENTS: [&str; 3] = ["LICENSE", "README.md", "pipe.yml"];

fn main() -> anyhow::Result<ExitCode> {
    let path = std::env::args_os().nth(1).map_or_else(|| build::pipe(true), |path| Ok(path.into()))?;
    let binary = std::fs::read(&path).with_context(|| path.display().to_string())?;
    // As in the image, which is one compressed layer.
    let mut layer = binary.clone();
    for name in DOCUMENTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        layer.extend(std::fs::read(&path).with_context(|| path.display().to_string())?);
    }
    let compressed = miniz_oxide::deflate::compress_to_vec(&layer, 9);
    let mut exceeded = false;
    for (name, bytes, budget) in [("binary", binary.len(), BINARY), ("image, compressed", compressed.len(), IMAGE)] {
        exceeded |= bytes > budget;
        let verdict = if bytes > budget { "too large" } else { "within the budget" };
        println!("{name:18} {bytes:>9} of {budget} bytes: {verdict}");
    }
    Ok(if exceeded { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
