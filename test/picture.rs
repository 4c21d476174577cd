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

/// A box of [`token_flow`]: its left upper corner, width and height, name and caption, and the variable that it needs.
type Node = (usize, usize, usize, usize, &'static str, &'static str, &'static str);

/// Who receives the step's token, and which way the image takes.
fn token_flow() -> String {
    let boxes: [Node; 7] = [
        (16, 150, 150, 60, "Bitbucket", "the step's ID token", ""),
        (202, 150, 150, 60, "openfaas-pipe", "in the step", ""),
        (202, 390, 150, 60, "docker", "in the step", ""),
        (394, 30, 222, 60, "OpenFaaS gateway", "OpenFaaS token", "OPENFAAS_URL"),
        (394, 150, 222, 60, "AWS STS", "registry password", "AWS_OIDC_ROLE_ARN"),
        (394, 270, 222, 60, "Google STS", "access token", "GCP_WORKLOAD_IDENTITY_PROVIDER"),
        (684, 30, 150, 60, "Cluster", "functions", ""),
    ];
    let registry: Node = (684, 150, 150, 180, "Registry", "Amazon ECR or", "");
    // Each with its label, and where that begins.
    let arrows = [
        ("M166,180 L196,180", "", 0, 0),
        ("M352,165 L388,66", "", 0, 0),
        ("M352,180 L388,180", "", 0, 0),
        ("M352,195 L388,294", "", 0, 0),
        ("M616,60 L678,60", "deploys", 622, 52),
        ("M616,180 L678,180", "login", 628, 172),
        ("M616,300 L678,300", "login", 628, 292),
        ("M277,210 L277,384", "logins", 287, 300),
        ("M352,420 L759,420 L759,336", "pushes the image", 500, 412),
        ("M759,150 L759,96", "image", 769, 126),
    ];
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 850 466\" width=\"850\" height=\"466\">\n\
         <title>Where the step's token goes</title>\n\
         <defs><marker id=\"tip\" markerWidth=\"8\" markerHeight=\"8\" refX=\"6\" refY=\"3\" orient=\"auto\">\
         <path d=\"M0,0 L6,3 L0,6 z\" fill=\"#4c9aff\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#172b4d\"/>\n\
         <g font-family=\"system-ui, sans-serif\">\n",
    );
    // `writeln!` to a string cannot fail.
    for (way, label, x, y) in arrows {
        _ = writeln!(
            svg,
            "<path d=\"{way}\" fill=\"none\" stroke=\"#4c9aff\" stroke-width=\"2\" marker-end=\"url(#tip)\"/>"
        );
        if !label.is_empty() {
            _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" font-size=\"12\" fill=\"#b3d4ff\">{label}</text>");
        }
    }
    svg.push_str("<g text-anchor=\"middle\">\n");
    for (x, y, width, height, name, caption, variable) in boxes.into_iter().chain([registry]) {
        let (middle, below) = (x + width / 2, y + height);
        _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#0747a6\"/>"
        );
        let top = y + height / 2 - 4;
        _ = writeln!(svg, "<text x=\"{middle}\" y=\"{top}\" font-size=\"15\" fill=\"#ffffff\">{name}</text>");
        _ = writeln!(svg, "<text x=\"{middle}\" y=\"{}\" font-size=\"12\" fill=\"#b3d4ff\">{caption}</text>", top + 20);
        if name == "Registry" {
            _ = writeln!(
                svg,
                "<text x=\"{middle}\" y=\"{}\" font-size=\"12\" fill=\"#b3d4ff\">Artifact Registry</text>",
                top + 36
            );
        }
        if !variable.is_empty() {
            let y = below + 16;
            _ = writeln!(
                svg,
                "<text x=\"{middle}\" y=\"{y}\" font-size=\"11\" fill=\"#ffc400\">if {variable} is set</text>"
            );
        }
    }
    svg + "</g>\n</g>\n</svg>\n"
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
