//! Draws the README's picture of a log: runs the demo's two steps and turns their output, colours included, into SVG.
//!
//! `cargo run --example picture`: writes `docs/log.svg`. The gateway's address is the README's.

mod build;
mod guide;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::ensure;

/// Sizes in SVG units: the font's, and the distances that fit it.
const FONT: usize = 13;
const LINE: usize = 19;
const COLUMN: usize = 8;
const MARGIN: usize = 16;
/// What the picture says instead of the local gateway's address.
const GATEWAY: &str = "https://gw.example.com";

fn main() -> anyhow::Result<()> {
    let guide = guide::Guide::start(build::pipe(!cfg!(debug_assertions))?)?;
    let mut log = String::new();
    for step in guide::STEPS {
        let output = guide.command(step).output()?;
        ensure!(output.status.success(), "the pipe failed");
        log.push_str(&String::from_utf8(output.stdout)?);
        log.push('\n');
    }
    let log = log.replace(guide.url(), GATEWAY);
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/log.svg"), draw(&log))?;
    Ok(())
}

/// Pieces of one colour: the SGR code before each (ECMA-48, 8.3.117), none for plain text.
fn pieces(line: &str) -> Vec<(&str, &str)> {
    let mut pieces = Vec::new();
    let mut colour = "";
    for (index, part) in line.split("\u{1b}[").enumerate() {
        let text = match part.split_once('m') {
            Some((code, text)) if index > 0 => {
                colour = code;
                text
            }
            _ => part,
        };
        if !text.is_empty() {
            pieces.push((colour, text));
        }
    }
    pieces
}

/// The colours of Bitbucket's log view, near enough.
fn fill(code: &str) -> &'static str {
    match code {
        "31" => "#ff5630",
        "32" => "#57d9a3",
        "33" => "#ffc400",
        "34" => "#4c9aff",
        _ => "#e6e9f0",
    }
}

fn draw(log: &str) -> String {
    let lines: Vec<_> = log.trim_end().lines().map(pieces).collect();
    let length = |line: &Vec<(&str, &str)>| line.iter().map(|(_, text)| text.chars().count()).sum::<usize>();
    let width = lines.iter().map(length).max().unwrap_or_default() * COLUMN + 2 * MARGIN;
    let height = lines.len() * LINE + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <title>Log of a deploy and an invocation</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#172b4d\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" font-size=\"{FONT}\" xml:space=\"preserve\">\n"
    );
    for (index, line) in lines.iter().enumerate() {
        let mut column = 0;
        for (colour, text) in line {
            let (x, y) = (MARGIN + column * COLUMN, MARGIN + index * LINE + FONT);
            let count = text.chars().count();
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            // Writing to a string cannot fail. The length keeps columns in line whatever font there is.
            _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" fill=\"{}\" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\">{escaped}</text>",
                fill(colour),
                count * COLUMN
            );
            column += count;
        }
    }
    svg + "</g>\n</svg>\n"
}
