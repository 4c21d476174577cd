//! Files that are designed to use much time or memory end in the error of a limit.

use super::*;
use crate::support::limited;

/// Runs the pipe on a file with limited memory.
fn bounded(text: String) -> Ran {
    limited(&pipe(text).var("BIG", "v".repeat(100_000)))
}

/// Checks that a file is rejected with this phrase.
#[track_caller]
fn ends(text: String, phrase: &str) {
    let ran = bounded(text);
    assert!(ran.log.len() < 100_000, "a log of {} bytes", ran.log.len());
    ran.exits(2).says(phrase).says("nothing was sent");
}

#[test]
fn alias_bombs_are_rejected() {
    let mut merges = "m0: &m0 {k: v}\n".to_owned();
    for number in 1..40 {
        let before = number - 1;
        merges += &format!("m{number}: &m{number} {{<<: [*m{before}, *m{before}], k{number}: v}}\n");
    }
    ends(format!("{merges}{}", function("    environment: *m39")), "stack.yml:");
    let names: String = (0..20_000).map(|number| format!("      k{number}: *x\n")).collect();
    ends(
        format!("x: &x {}\n{}", "v".repeat(100_000), environment(&names)),
        "together with those above they are too large",
    );
}

#[test]
fn unused_alias_bomb_is_harmless() {
    let mut lists = "l0: &l0 [x]\n".to_owned();
    for number in 1..40 {
        lists += &format!("l{number}: &l{number} [*l{0}, *l{0}]\n", number - 1);
    }
    assert_eq!(sent(bounded(format!("{lists}{HEAD}"))), Ok(vec![body(json!({}))]));
}

#[test]
fn deep_nesting_is_rejected() {
    ends(environment(&format!("      a: {}", "[".repeat(500_000))), "nested");
    ends(environment(&format!("      a: {}", "[".repeat(10_000))), "nested");
    ends(environment(&format!("      a: {}", "{a: ".repeat(10_000))), "nested");
    ends(format!("{HEAD}x: {}", "- ".repeat(400_000)), "stack.yml:");
}

#[test]
fn hundred_thousand_names_are_read() {
    let names: String = (0..100_000).map(|number| format!("{number}: ,")).collect();
    assert_eq!(sent(bounded(function(&format!("    environment: {{{names}}}")))).map(|sent| sent.len()), Ok(1));
}

#[test]
fn stack_file_of_1_mib_is_read_and_a_larger_one_rejected() {
    let ran = bounded(environment(&format!("      a: {}", "x".repeat(1_000_000))));
    let sent = sent(ran).expect("missing deployment");
    assert_eq!(sent[0]["envVars"]["a"].as_str().map(str::len), Some(1_000_000));
    let ran = bounded(environment(&format!("      a: {}", "x".repeat(1 << 20))));
    ran.exits(2).says("`stack.yml` is larger than 1024 KiB");
}

#[test]
fn unclosed_braces_are_rejected() {
    ends(environment(&format!("      a: {}", "${".repeat(400_000))), "is not followed by the name");
    ends(environment(&format!("      a: {}", "${A:-".repeat(100_000))), "stack.yml:8:");
    ends(environment(&format!("      a: {}", "${A/x".repeat(100_000))), "stack.yml:8:");
}

#[test]
fn growing_substitutions_are_rejected() {
    ends(environment(&format!("      a: {}", "${BIG}".repeat(100_000))), "too long");
    ends(environment(&format!("      a: {}", "${BIG##*a*b*c}".repeat(50_000))), "the value is too long");
}
