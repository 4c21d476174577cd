//! The environment: it ends in a configuration, and in problems that each name a variable and stand on lines of their own.

#![no_main]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use libfuzzer_sys::fuzz_target;
use openfaas_pipe::config::{Environment, Kind, Problems, VARIABLES, read, warnings};
use openfaas_pipe::function::command::Command;

fuzz_target!(|input: Vec<(u8, Option<u8>, Vec<u8>)>| {
    let pairs = input.into_iter().filter_map(|(which, item, value)| {
        let name = match VARIABLES.get(usize::from(which)) {
            // Known to the process for good once it was seen: the fuzzer would fill its memory with them.
            Some(variable) if variable.kind == Kind::Secret => return None,
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
