use std::time::{Duration, Instant};

use super::*;

/// Reads a text within a bound that holds for a build without optimisation on a busy machine.
fn soon(text: impl AsRef<[u8]>) -> Result<Stack, FileProblems> {
    let big = "v".repeat(100_000);
    let variables = [("BIG", big.as_str()), ("S", "s")];
    let start = Instant::now();
    let result = Run { variables: &variables, ..Run::default() }.read(text);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    result
}

fn cut(mut text: String) -> String {
    text.truncate(MAX_FILE);
    text
}

#[test]
fn ten_thousand_functions_are_read() {
    let functions: String = (0..10_000)
        .map(|number| format!("  f{number}:\n    image: r/f{number}:${{TAG:-1}}\n    environment:\n      A: 'b'\n"))
        .collect();
    let stack = soon(format!("provider: {{name: openfaas}}\nfunctions:\n{functions}")).expect("stack");
    assert_eq!(stack.functions.len(), 10_000);
    assert_eq!(stack.functions[9_999].line, 3 + 4 * 9_999);
}

#[test]
fn problems_are_reported_up_to_a_bound() {
    let lines: String = (0..50_000).map(|number| format!("      k{number}: []\n")).collect();
    let problems = soon(format!("{HEAD}    environment:\n{lines}")).expect_err("problems");
    assert_eq!(problems.problems.len(), 100);
    let pairs: String = (0..30_000).map(|number| format!("k{number}: [],")).collect();
    let problems =
        soon(format!("{HEAD}    environment: {{A: {}, {pairs}}}\n", "x".repeat(400_000))).expect_err("problems");
    assert_eq!(problems.problems.len(), 100);
}

#[test]
fn many_unknown_fields_are_read() {
    let fields: String = (0..30_000).map(|number| format!("    environmen{number}: v\n")).collect();
    let stack = soon(format!("{HEAD}{fields}")).expect("stack");
    assert_eq!(stack.warnings.len(), 100);
    let functions: String = (0..4).map(|number| format!("  f{number}: {{image: 'r/i:1', *k : x}}\n")).collect();
    soon(format!("x: &k {}\nprovider: {{name: openfaas}}\nfunctions:\n{functions}", "k".repeat(900_000)))
        .expect("stack");
}

#[test]
fn everything_else_ends_in_an_error() {
    let texts = [
        "[".repeat(MAX_FILE),
        "{a: ".repeat(MAX_FILE / 4),
        "- ".repeat(MAX_FILE / 2),
        ":\n".repeat(MAX_FILE / 2),
        cut("[".to_owned() + &",".repeat(MAX_FILE)),
        "${".repeat(MAX_FILE / 2),
        cut("${A:-".repeat(MAX_FILE / 4)),
        cut("${A/x".repeat(MAX_FILE / 4)),
        cut("# ${BIG##*a*b*c}\n".repeat(MAX_FILE / 16)),
        cut("# ${BIG}\n".repeat(MAX_FILE / 9)),
        format!("# {}{}${{B.}}", "${A:-".repeat(63), "${X}".repeat(250_000)),
        "\r".repeat(MAX_FILE),
        "\"".repeat(MAX_FILE),
        "---\n".repeat(MAX_FILE / 4),
        "%TAG ! a\n".repeat(MAX_FILE / 9),
        cut(format!("{HEAD}    environment:\n{}", "      a: \"b\nc\"\n".repeat(MAX_FILE / 8))),
        cut(format!("{HEAD}    secrets: [{}", "\na,".repeat(MAX_FILE / 3))),
    ];
    for text in texts {
        let start: String = text.chars().take(40).collect();
        assert!(soon(&text).is_err(), "{start}");
    }
}
