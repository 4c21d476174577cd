//! The environment: reading returns a configuration, or problems that each name a variable on a separate line.

#![no_main]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use libfuzzer_sys::fuzz_target;
use openfaas_pipe::config::{Environment, ValueKind, Problems, VARIABLES, read, warnings};
use openfaas_pipe::function::command::Command;

fuzz_target!(|input: Vec<(u8, Option<u8>, Vec<u8>)>| {
    let pairs = input.into_iter().filter_map(|(which, item, value)| {
        let name = match VARIABLES.get(usize::from(which)) {
            // Registered secrets are kept for the lifetime of the process, so the fuzzer would run out of memory.
            Some(variable) if matches!(variable.kind, ValueKind::Secret | ValueKind::Headers | ValueKind::SecretList) => return None,
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
});
