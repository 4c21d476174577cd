use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::super::sample;
use super::*;
use crate::console::redact::Secret;
use crate::diagnostic::Failure;
use crate::function::outcome::Action;

fn value(outcome: &Outcome) -> Value {
    document(outcome)
}

fn pretty(outcome: &Outcome) -> String {
    format!("{:#}", document(outcome)).replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

/// The published schema; `strict` also refuses what it does not name, so that no field is left undocumented.
fn schema(strict: bool) -> (Schemas, SchemaIndex) {
    let mut schema: Value = serde_json::from_str(include_str!("../../../docs/result.schema.json")).unwrap();
    if strict {
        close(&mut schema);
    }
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.add_resource("result.schema.json", schema).unwrap();
    let index = compiler.compile("result.schema.json", &mut schemas).unwrap();
    (schemas, index)
}

fn close(schema: &mut Value) {
    if let Value::Object(object) = schema {
        if object.contains_key("properties") {
            object.insert("additionalProperties".to_owned(), json!(false));
        }
        object.values_mut().for_each(close);
    }
}

#[test]
fn every_result_is_as_the_schema_says() {
    let (schemas, index) = schema(true);
    for outcome in [sample::deploy(), sample::invoke(), sample::refused(), sample::failing(2, 3)] {
        let value = value(&outcome);
        schemas.validate(&value, index).unwrap_or_else(|error| panic!("{error:#}\n{value:#}"));
    }
}

#[test]
fn every_action_and_every_failure_has_its_word_in_the_schema() {
    let (schemas, index) = schema(true);
    let mut outcome = sample::deploy();
    for action in [
        Action::Created,
        Action::Updated,
        Action::Replaced,
        Action::Removed,
        Action::Absent,
        Action::RolledBack,
        Action::Failed,
        Action::NotStarted,
    ] {
        outcome.functions[0].action = action;
        assert!(schemas.validate(&value(&outcome), index).is_ok(), "{action:?}");
    }
    for failure in [
        Failure::Input,
        Failure::Permission,
        Failure::Unreachable,
        Failure::Failed,
        Failure::NotReady,
        Failure::Differences,
        Failure::Interrupted,
        Failure::Terminated,
    ] {
        let outcome = Outcome { problem: Some(sample::problem(failure, "x", None)), ..sample::invoke() };
        assert!(schemas.validate(&value(&outcome), index).is_ok(), "{failure:?}");
    }
}

#[test]
fn schema_refuses_what_lacks_a_field_and_takes_what_has_one_more() {
    let (schemas, index) = schema(false);
    let mut value = value(&sample::deploy());
    value["later"] = json!(1);
    assert!(schemas.validate(&value, index).is_ok());
    value.as_object_mut().unwrap().remove("exitCode");
    assert!(schemas.validate(&value, index).is_err());
}

#[test]
fn functions_say_what_was_done_and_why_not() {
    insta::assert_snapshot!(pretty(&sample::deploy()), @r#"
    {
      "command": "deploy",
      "durationMs": 1500,
      "exitCode": 3,
      "functions": [
        {
          "action": "updated",
          "durationMs": 120,
          "image": "ghcr.io/acme/hello:1",
          "line": 5,
          "name": "hello",
          "stackFile": "./deploy/stack.yaml",
          "url": "https://gateway.example.com/function/hello"
        },
        {
          "action": "created",
          "durationMs": 120,
          "image": "ghcr.io/acme/late:1",
          "line": 9,
          "name": "late",
          "namespace": "staging",
          "problem": {
            "kind": "not ready",
            "message": "no replica after 5m"
          },
          "ready": false,
          "replicas": {
            "available": 0,
            "desired": 2
          },
          "stackFile": "./deploy/stack.yaml",
          "url": "https://gateway.example.com/function/late"
        },
        {
          "action": "failed",
          "durationMs": 120,
          "image": "ghcr.io/acme/refused:1",
          "line": 13,
          "name": "refused",
          "problem": {
            "hint": "add `Function:Create` to the Policy",
            "kind": "permission",
            "message": "the gateway said `no <way>`"
          },
          "stackFile": "./deploy/stack.yaml",
          "url": "https://gateway.example.com/function/refused"
        },
        {
          "action": "not started",
          "durationMs": 0,
          "image": "ghcr.io/acme/waiting:1",
          "name": "waiting",
          "url": "https://gateway.example.com/function/waiting"
        }
      ],
      "gateway": "https://gateway.example.com",
      "result": "permission",
      "schema": 1,
      "stackFile": "./deploy/stack.yaml",
      "version": "VERSION"
    }
    "#);
}

#[test]
fn invocation_says_how_it_was_answered() {
    insta::assert_snapshot!(pretty(&sample::invoke()), @r#"
    {
      "command": "invoke",
      "durationMs": 1500,
      "exitCode": 0,
      "functions": [],
      "gateway": "https://gateway.example.com",
      "invocation": {
        "async": false,
        "callId": "0b2f8a7e-5a3c",
        "durationMs": 300,
        "function": "hello",
        "functionSeconds": 0.25,
        "namespace": "staging",
        "responseBytes": 42,
        "status": 200
      },
      "result": "success",
      "schema": 1,
      "version": "VERSION"
    }
    "#);
}

#[test]
fn secret_with_quotes_is_masked_and_the_json_stays_whole() {
    let secret = "quo\"ted\\json-s3cret\",\"";
    let _known = Secret::new(secret.to_owned());
    let mut outcome = sample::deploy();
    outcome.functions[2].problem = Some(sample::problem(Failure::Failed, &format!("echo {secret} end"), Some(secret)));
    let value = value(&outcome);
    assert_eq!(value["functions"][2]["problem"], json!({"kind": "failed", "message": "echo *** end", "hint": "***"}));
}

#[test]
fn image_or_url_with_a_secret_is_left_out_and_not_changed() {
    let _known = Secret::new("json-path-s3cret".to_owned());
    let mut outcome = sample::deploy();
    outcome.gateway = "https://json-path-s3cret.example.com".to_owned();
    outcome.functions[0].image = Some("ghcr.io/json-path-s3cret/hello:1".to_owned());
    outcome.functions[1].url = "https://gw.example.com/function/json-path-s3cret".to_owned();
    let value = value(&outcome);
    assert_eq!(value["gateway"], "");
    assert_eq!((value["functions"][0].get("image"), value["functions"][1].get("url")), (None, None));
    assert!(value["functions"][0].get("url").is_some() && value["functions"][1].get("image").is_some());
}

#[test]
fn duration_that_is_no_number_is_left_out() {
    for seconds in [f64::NAN, f64::INFINITY, -1.0] {
        let mut outcome = sample::invoke();
        outcome.invocation.as_mut().unwrap().function_seconds = Some(seconds);
        assert_eq!(value(&outcome)["invocation"].get("functionSeconds"), None);
    }
}
