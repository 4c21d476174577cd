//! Files that are designed to use much time or memory end at a limit.

use super::*;

#[test]
fn problems_are_reported_up_to_a_limit() {
    let lines: String = (0..2 * MAX_PROBLEMS).map(|number| format!("      k{number}: []\n")).collect();
    let problems = Case::default().read(format!("{HEAD}    environment:\n{lines}")).expect_err("problems");
    assert_eq!(of(Severity::Error, &problems).len(), MAX_PROBLEMS);
    let fields: String = (0..2 * MAX_PROBLEMS).map(|number| format!("    environmen{number}: v\n")).collect();
    let problems = Case::default().read(format!("{HEAD}{fields}")).expect_err("problems");
    assert_eq!(of(Severity::Error, &problems).len(), MAX_PROBLEMS);
    let fields: String = (0..2 * MAX_PROBLEMS).map(|number| format!("    build_arg{number}: v\n")).collect();
    let stack = Case::default().read(format!("{HEAD}{fields}")).expect("stack");
    assert_eq!(stack.warnings.len(), MAX_PROBLEMS);
}

#[test]
fn text_of_the_largest_size_ends_in_an_error() {
    for text in ["[", "- ", "{a: ", ":\n", "${", "${A:-", "\r", "\"", "---\n"] {
        assert!(Case::default().read(text.repeat(MAX_FILE / text.len())).is_err(), "{text}");
    }
}
