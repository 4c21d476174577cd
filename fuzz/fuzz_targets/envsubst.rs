//! A substitution: it returns a text whose positions map to the source, or errors within the source.

#![no_main]

use libfuzzer_sys::fuzz_target;
use openfaas_pipe::stack::envsubst::{Lookup, substitute};

fuzz_target!(|input: (&str, &str, &str)| {
    let (source, first, second) = input;
    let value = |name: &str| match name.len() {
        1 => Some(first.to_owned()),
        2 => Some(second.to_owned()),
        _ => None,
    };
    match substitute(source, Lookup { value: &value, is_secret: &|name| name.len() == 3 }) {
        Ok(result) => {
            let mut last = 0;
            for at in 0..=result.text.len() {
                let range = result.source_range(at);
                assert!(range.start >= last && range.end <= source.len());
                if range.is_empty() && at < result.text.len() {
                    assert_eq!(source.as_bytes()[range.start], result.text.as_bytes()[at]);
                }
                last = range.start;
            }
            for replacement in result.replacements(0..source.len()) {
                assert!(source[replacement.source].starts_with("${"));
            }
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(source.get(fault.at).is_some());
            }
        }
    }
});
