//! Draws the pictures in the README and the docs: `cargo run --example picture`.
//!
//! `docs/log.svg` and `docs/failed.svg` show the coloured output of real runs: the two steps of the demo, and a deploy
//! that the gateway rejects. `docs/token.svg` shows how the step's token is used. The local gateway's address is
//! replaced with the README's.

mod build;
mod guide;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::ensure;

/// Sizes in SVG units: the font size and matching distances.
const FONT: usize = 13;
const LINE: usize = 19;
const COLUMN: usize = 8;
const MARGIN: usize = 16;
/// Replaces the address of the local gateway.
const GATEWAY: &str = "https://gw.example.com";
/// A deploy to a namespace that the step's Policy does not allow.
const REFUSED: guide::Step = &[("STACK_FILE", "stack.yml"), ("OPENFAAS_NAMESPACE", "production")];

fn main() -> anyhow::Result<()> {
    let guide = guide::Guide::start(build::pipe(!cfg!(debug_assertions))?)?;
    let mut log = String::new();
    for step in guide::STEPS {
        let output = guide.command(step).output()?;
        ensure!(output.status.success(), "the pipe failed");
        log.push_str(&String::from_utf8(output.stdout)?);
        log.push('\n');
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let write = |name: &str, title: &str, log: &str| {
        std::fs::write(docs.join(name), draw(title, &log.replace(guide.url(), GATEWAY)))
    };
    write("log.svg", "Log of a deploy and an invocation", &log)?;
    let refused = guide.command(REFUSED).output()?;
    ensure!(refused.status.code() == Some(3), "the gateway did not reject the deploy");
    write("failed.svg", "Log of a deploy that the gateway refuses", &String::from_utf8(refused.stdout)?)?;
    std::fs::write(docs.join("token.svg"), token_flow())?;
    Ok(())
}

/// Who receives the step's token, and what each returns for it.
fn token_flow() -> String {
    let boxes = [
        (16, 150, "Bitbucket", "ID token of the step"),
        (246, 150, "openfaas-pipe", "in the step"),
        (546, 30, "OpenFaaS gateway", "OpenFaaS token: deploy, invoke"),
        (546, 150, "AWS STS", "registry password of ECR"),
        (546, 270, "Google STS", "access token: Artifact Registry"),
    ];
    let arrows = [
        (216, 180, 240, 180, ""),
        (446, 170, 540, 60, "OPENFAAS_URL"),
        (446, 180, 540, 180, "AWS_OIDC_ROLE_ARN"),
        (446, 190, 540, 300, "GCP_WORKLOAD_IDENTITY_PROVIDER"),
    ];
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 820 350\" width=\"820\" height=\"350\">\n\
         <title>The way of the step's token</title>\n\
         <defs><marker id=\"tip\" markerWidth=\"8\" markerHeight=\"8\" refX=\"6\" refY=\"3\" orient=\"auto\">\
         <path d=\"M0,0 L6,3 L0,6 z\" fill=\"#4c9aff\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#172b4d\"/>\n\
         <g font-family=\"system-ui, sans-serif\" text-anchor=\"middle\">\n",
    );
    for (x1, y1, x2, y2, name) in arrows {
        _ = writeln!(
            svg,
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"#4c9aff\" stroke-width=\"2\" marker-end=\"url(#tip)\"/>"
        );
        let (x, y) = (646, y2 + 44);
        if !name.is_empty() {
            _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" font-size=\"11\" fill=\"#ffc400\">if {name} is set</text>");
        }
    }
    for (x, y, name, what) in boxes {
        let (width, middle) = if x == 546 { (256, x + 128) } else { (200, x + 100) };
        _ = writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"60\" rx=\"6\" fill=\"#0747a6\"/>");
        _ = writeln!(svg, "<text x=\"{middle}\" y=\"{}\" font-size=\"15\" fill=\"#ffffff\">{name}</text>", y + 26);
        _ = writeln!(svg, "<text x=\"{middle}\" y=\"{}\" font-size=\"12\" fill=\"#b3d4ff\">{what}</text>", y + 46);
    }
    svg + "</g>\n</svg>\n"
}

/// Text of one colour, each with its SGR code (ECMA-48, 8.3.117). The code of plain text is empty.
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

/// Approximates the colours of Bitbucket's log view.
fn fill(code: &str) -> &'static str {
    match code {
        "31" => "#ff7452",
        "32" => "#57d9a3",
        "33" => "#ffc400",
        "34" => "#4c9aff",
        _ => "#e6e9f0",
    }
}

fn draw(title: &str, log: &str) -> String {
    let lines: Vec<_> = log.trim_end().lines().map(pieces).collect();
    let length = |line: &Vec<(&str, &str)>| line.iter().map(|(_, text)| text.chars().count()).sum::<usize>();
    let width = lines.iter().map(length).max().unwrap_or_default() * COLUMN + 2 * MARGIN;
    let height = lines.len() * LINE + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#172b4d\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" font-size=\"{FONT}\" xml:space=\"preserve\">\n"
    );
    for (index, line) in lines.iter().enumerate() {
        let mut column = 0;
        for (colour, text) in line {
            let (x, y) = (MARGIN + column * COLUMN, MARGIN + index * LINE + FONT);
            let count = text.chars().count();
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            // `write!` to a string cannot fail. The length keeps the columns aligned in every font.
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
