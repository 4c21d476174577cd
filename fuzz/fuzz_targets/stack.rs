//! A stack file, with and without substitution: reading returns functions or problems, and every reported line exists in the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use openfaas_pipe::diagnostic::{Diagnostic, Severity};
use openfaas_pipe::stack::envsubst::Lookup;
use openfaas_pipe::stack::{Options, Source, Context, Tag, read};

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (envsubst, hashed, text) = input;
    let source = Source { name: "stack.yml".to_owned(), text: text.to_vec(), base: "/nonexistent".into(), url: None, clone_dir: None };
    let tag = if hashed { Tag::Digest } else { Tag::Latest };
    let options = Options { is_literal: !envsubst, tag, ..Options::default() };
    let value = |name: &str| (name.len() % 2 == 0).then(|| name.repeat(2));
    let variables = Lookup { value: &value, is_secret: &|name| name.len() == 3 };
    let folder_digest = |_: &std::path::Path| Ok("0".repeat(32));
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    let token_fault = |text: &str| text.contains("token").then(|| "holds a token".to_owned());
    let context = Context { variables, folder_digest: &folder_digest, token_fault: &token_fault };
    let has_place = |problem: &Diagnostic| {
        let line = problem.place.split(':').nth(1).and_then(|line| line.parse().ok());
        assert!(!problem.message.is_empty() && line.is_none_or(|line| (1..=lines).contains(&line)));
    };
    match read(&source, &options, &context) {
        Ok(stack) => {
            assert!(!stack.functions.is_empty());
            for function in &stack.functions {
                assert!(!function.deployment.service.is_empty() && !function.deployment.image.is_empty());
                assert!((1..=lines).contains(&function.location.line));
            }
            stack.warnings.iter().for_each(has_place);
        }
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
            problems.iter().for_each(has_place);
        }
    }
});
