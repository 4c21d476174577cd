//! Stack files in the built pipe: what each becomes, or the error that it is rejected with. Nothing is sent.

mod encodings;
mod environment_files;
mod hostile;
mod messages;
mod scalars;
mod structure;
mod substitution;
mod tokens;

use serde_json::{Value, json};

use crate::support::{Pipe, Ran};

/// The start of a stack file, up to the fields of function `f`.
const HEAD: &str = "version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n  f:\n    image: r/f:1\n";

/// A deploy with `DRY_RUN`.
fn pipe(stack: impl AsRef<[u8]>) -> Pipe {
    Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("DRY_RUN", "true").file("stack.yml", stack)
}

/// A stack file with one function. The fields are indented by four spaces.
fn function(fields: &str) -> String {
    format!("{HEAD}{fields}\n")
}

/// A stack file with one function and this environment. The lines are indented by six spaces.
fn environment(lines: &str) -> String {
    function(&format!("    environment:\n{lines}"))
}

/// The deployments that would be sent, or the log of a failed run.
fn sent(ran: Ran) -> Result<Vec<Value>, String> {
    if ran.code != 0 {
        return Err(format!("exit {}\n{}", ran.code, ran.log));
    }
    let from_list = ran.log.lines().skip_while(|line| *line != "[");
    let json: String = from_list.take_while(|line| !line.starts_with('✔')).collect();
    serde_json::from_str(&json).map_err(|error| format!("{error}\n{}", ran.log))
}

/// The deployment of function `f` with these fields.
fn body(fields: Value) -> Value {
    let mut body = json!({"service": "f", "image": "r/f:1", "labels": {}, "annotations": {}});
    let (Value::Object(all), Value::Object(fields)) = (&mut body, fields) else { panic!("not an object") };
    all.extend(fields);
    body
}

/// The difference from these deployments, if any.
fn check_sent(pipe: &Pipe, expected: &[Value]) -> Option<String> {
    match sent(pipe.run()) {
        Ok(found) if found == expected => None,
        Ok(found) => Some(format!("sends {}", Value::from(found))),
        Err(log) => Some(log),
    }
}

/// Checks the deployments of whole files.
#[track_caller]
fn files_become<const N: usize>(rows: [(&str, String, Vec<Value>); N]) {
    all(rows.map(|(name, text, expected)| (name, check_sent(&pipe(text), &expected))));
}

/// Checks the deployments of function `f` with these fields.
#[track_caller]
fn fields_become<const N: usize>(rows: [(&str, &str, Value); N]) {
    all(rows.map(|(name, fields, expected)| (name, check_sent(&pipe(function(fields)), &[body(expected)]))));
}

/// Checks the deployments of function `f` with these lines of the environment.
#[track_caller]
fn environments_become<const N: usize>(rows: [(&str, &str, Value); N]) {
    all(rows.map(|(name, lines, expected)| {
        (name, check_sent(&pipe(environment(lines)), &[body(json!({"envVars": expected}))]))
    }));
}

/// Checks that files are rejected with exit code 2 and this phrase in the log.
#[track_caller]
fn refused<const N: usize>(rows: [(&str, impl AsRef<[u8]>, &str); N]) {
    all(rows.map(|(name, text, phrase)| (name, check_refused(&pipe(text), phrase))));
}

/// The difference from a rejection with this phrase, if any.
fn check_refused(pipe: &Pipe, phrase: &str) -> Option<String> {
    let ran = pipe.run();
    let is_rejected = ran.code == 2 && ran.log.contains(phrase) && ran.log.contains("nothing was sent");
    (!is_rejected).then(|| format!("exit {} without `{phrase}`\n{}", ran.code, ran.log))
}

/// Fails with all rows that differ.
#[track_caller]
fn all<'a>(rows: impl IntoIterator<Item = (&'a str, Option<String>)>) {
    let wrong: Vec<String> = rows.into_iter().filter_map(|(name, fault)| Some(format!("{name}: {}", fault?))).collect();
    assert!(wrong.is_empty(), "{} rows differ\n{}", wrong.len(), wrong.join("\n"));
}
