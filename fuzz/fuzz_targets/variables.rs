//! The environment: each variable, in whatever shape, is read or reported; problems name a variable each, on lines of their own.

#![no_main]

#[path = "../../test/read_or_reported.rs"]
mod read_or_reported;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use libfuzzer_sys::fuzz_target;
use openfaas_pipe::config::{Environment, Problems, VARIABLES, ValueKind, Variable, read, warnings};
use openfaas_pipe::function::Command;

use read_or_reported::Shape;

/// Several variables at once, with names and values of any bytes; and one in a shape, with a text for its values.
type Input = (Vec<(u8, Option<u8>, Vec<u8>)>, (u8, u8, u8, String));

/// Secrets are kept for the lifetime of the process, so that the fuzzer would run out of memory.
fn is_secret(variable: &Variable) -> bool {
    matches!(variable.kind, ValueKind::Secret | ValueKind::Headers | ValueKind::SecretList)
}

fuzz_target!(|input: Input| {
    let (pairs, (which, command, shape, text)) = input;
    reads_or_returns_problems(pairs);
    let variable = &VARIABLES[usize::from(which) % VARIABLES.len()];
    let command = Command::ALL[usize::from(command) % Command::ALL.len()];
    let shape = Shape::ALL[usize::from(shape) % Shape::ALL.len()];
    // A value that is the default, in whatever spelling, has no effect; these are checked with one that is not.
    let is_default = text.trim().is_empty() || !variable.default.is_empty();
    let text = if is_default { "marker" } else { text.as_str() };
    if !is_secret(variable) && !text.contains("://") && !text.contains('\0') {
        read_or_reported::check(variable, command, shape, &read_or_reported::values(variable, text));
    }
});

fn reads_or_returns_problems(input: Vec<(u8, Option<u8>, Vec<u8>)>) {
    let pairs = input.into_iter().filter_map(|(which, item, value)| {
        let name = match VARIABLES.get(usize::from(which)) {
            Some(variable) if is_secret(variable) => return None,
            Some(variable) => match item {
                None => variable.name.to_owned(),
                Some(255) => format!("{}_COUNT", variable.name),
                Some(index) => format!("{}_{}", variable.name, index % 4),
            },
            None => String::from_utf8_lossy(&value).into_owned(),
        };
        Some((OsString::from(name), OsString::from_vec(value)))
    });
    let environment = Environment::new(pairs);
    for command in Command::ALL {
        let _ = warnings(&environment, *command, &BTreeSet::new(), &Problems::default());
    }
    if let Err(invalid) = read(&environment) {
        assert!(!invalid.problems.is_empty());
        let report = invalid.problems.report();
        assert!(report.starts_with("Validation errors:\n"), "{report}");
        for line in report.lines().skip(1) {
            assert!(line.starts_with("- ") || line.ends_with(':'), "{line}");
        }
    }
}
