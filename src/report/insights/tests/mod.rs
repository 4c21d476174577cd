//! The requests of a report.

mod send;

use super::super::sample;
use super::*;
use crate::console::redact::Secret;
use crate::function::Command;

fn context() -> ReportContext {
    ReportContext {
        workspace: "{acme}".to_owned(),
        repository: "shop".to_owned(),
        commit: "8d081548cabb".to_owned(),
        build_number: Some("17".to_owned()),
        environment: Some("production".to_owned()),
        selection: String::new(),
        proxy: "http://host.docker.internal:29418".to_owned(),
    }
}

fn show(requests: &[ReportRequest]) -> String {
    requests
        .iter()
        .map(|request| {
            let body = request.body.as_ref().map_or_else(String::new, |body| format!("\n{body:#}"));
            format!("{} {}{body}\n", request.method, request.url)
        })
        .collect()
}

#[test]
fn deploy_is_reported_with_its_failures_on_their_lines() {
    insta::assert_snapshot!(show(&requests(&sample::deploy(), &context())), @r#"
    DELETE http://api.bitbucket.org/2.0/repositories/%7Bacme%7D/shop/commit/8d081548cabb/reports/openfaas-pipe-deploy-8e5f47327894fd4a
    PUT http://api.bitbucket.org/2.0/repositories/%7Bacme%7D/shop/commit/8d081548cabb/reports/openfaas-pipe-deploy-8e5f47327894fd4a
    {
      "data": [
        {
          "title": "Functions",
          "type": "NUMBER",
          "value": 4
        },
        {
          "title": "Succeeded",
          "type": "NUMBER",
          "value": 1
        },
        {
          "title": "Failed",
          "type": "NUMBER",
          "value": 2
        },
        {
          "title": "Not started",
          "type": "NUMBER",
          "value": 1
        },
        {
          "title": "Exit code",
          "type": "NUMBER",
          "value": 3
        },
        {
          "title": "Duration",
          "type": "DURATION",
          "value": 1500
        },
        {
          "title": "Gateway",
          "type": "LINK",
          "value": {
            "href": "https://gateway.example.com",
            "text": "https://gateway.example.com"
          }
        },
        {
          "title": "Environment",
          "type": "TEXT",
          "value": "production"
        }
      ],
      "details": "1 of 4 functions succeeded.",
      "external_id": "openfaas-pipe-deploy-8e5f47327894fd4a",
      "link": "https://bitbucket.org/%7Bacme%7D/shop/pipelines/results/17",
      "report_type": "TEST",
      "reporter": "openfaas-pipe",
      "result": "FAILED",
      "title": "OpenFaaS deploy: ./deploy/stack.yaml"
    }
    POST http://api.bitbucket.org/2.0/repositories/%7Bacme%7D/shop/commit/8d081548cabb/reports/openfaas-pipe-deploy-8e5f47327894fd4a/annotations
    [
      {
        "annotation_type": "BUG",
        "details": "no replica after 5m",
        "external_id": "openfaas-pipe-deploy-8e5f47327894fd4a-1",
        "line": 9,
        "path": "deploy/stack.yaml",
        "result": "FAILED",
        "severity": "MEDIUM",
        "summary": "late.staging: no replica after 5m"
      },
      {
        "annotation_type": "BUG",
        "details": "the gateway said `no <way>`\nhint: add `Function:Create` to the Policy",
        "external_id": "openfaas-pipe-deploy-8e5f47327894fd4a-2",
        "line": 13,
        "path": "deploy/stack.yaml",
        "result": "FAILED",
        "severity": "HIGH",
        "summary": "refused: the gateway said `no <way>`"
      }
    ]
    "#);
}

#[test]
fn invocation_is_reported_without_annotations() {
    insta::assert_snapshot!(show(&requests(&sample::invoke(), &context())), @r#"
    DELETE http://api.bitbucket.org/2.0/repositories/%7Bacme%7D/shop/commit/8d081548cabb/reports/openfaas-pipe-invoke-8e5f47327894fd4a
    PUT http://api.bitbucket.org/2.0/repositories/%7Bacme%7D/shop/commit/8d081548cabb/reports/openfaas-pipe-invoke-8e5f47327894fd4a
    {
      "data": [
        {
          "title": "HTTP status",
          "type": "NUMBER",
          "value": 200
        },
        {
          "title": "Response bytes",
          "type": "NUMBER",
          "value": 42
        },
        {
          "title": "Exit code",
          "type": "NUMBER",
          "value": 0
        },
        {
          "title": "Duration",
          "type": "DURATION",
          "value": 1500
        },
        {
          "title": "Gateway",
          "type": "LINK",
          "value": {
            "href": "https://gateway.example.com",
            "text": "https://gateway.example.com"
          }
        },
        {
          "title": "Environment",
          "type": "TEXT",
          "value": "production"
        }
      ],
      "details": "The function returned 200.",
      "external_id": "openfaas-pipe-invoke-8e5f47327894fd4a",
      "link": "https://bitbucket.org/%7Bacme%7D/shop/pipelines/results/17",
      "report_type": "TEST",
      "reporter": "openfaas-pipe",
      "result": "PASSED",
      "title": "OpenFaaS invoke: hello.staging"
    }
    "#);
}

#[test]
fn many_failures_stay_within_the_limits() {
    let requests = requests(&sample::failing(2500, 2500), &context());
    let count = |method| requests.iter().filter(|request| request.method == method).count();
    assert_eq!((count(Method::DELETE), count(Method::PUT), count(Method::POST)), (1, 1, 10));

    let report = requests[1].body.as_ref().unwrap();
    assert!(report["data"].as_array().unwrap().len() <= 10);
    assert_eq!(
        report["details"],
        "0 of 2500 functions succeeded.\n2500 failed, of which the first 1000 are annotated."
    );

    let mut ids = std::collections::BTreeSet::new();
    for request in &requests[2..] {
        let annotations = request.body.as_ref().and_then(Value::as_array).unwrap();
        assert_eq!(annotations.len(), MOST_IN_ONE_REQUEST);
        for annotation in annotations {
            assert_eq!(annotation["summary"].as_str().unwrap().chars().count(), SUMMARY_LIMIT);
            assert_eq!(annotation["details"].as_str().unwrap().chars().count(), DETAILS_LIMIT);
            assert!(ids.insert(annotation["external_id"].as_str().unwrap()));
        }
    }
}

#[test]
fn single_function_is_not_counted_as_one_of_one() {
    let details = |function| {
        let outcome = Outcome { functions: vec![function], ..sample::deploy() };
        requests(&outcome, &context())[1].body.as_ref().unwrap()["details"].as_str().unwrap().to_owned()
    };
    assert_eq!(details(sample::function("a")), "1 function succeeded.");
    let [failed] = &sample::failing(1, 1).functions[..] else { panic!("one function") };
    assert_eq!(details(failed.clone()), "1 function failed.");
}

#[test]
fn what_else_runs_on_the_commit_has_another_report() {
    let base = report_id(&sample::deploy(), &context());
    for again in [sample::failing(1, 1), Outcome::new(Command::Deploy, String::new())] {
        assert_eq!(base, report_id(&again, &context()), "a second run replaces the first");
    }
    let mut others = vec![report_id(&sample::invoke(), &context())];
    for change in [
        |outcome: &mut Outcome, _: &mut ReportContext| outcome.command = Command::Remove,
        |_: &mut Outcome, context: &mut ReportContext| context.environment = None,
        |_: &mut Outcome, context: &mut ReportContext| context.selection = "shop-*".to_owned(),
    ] {
        let (mut outcome, mut context) = (sample::deploy(), context());
        change(&mut outcome, &mut context);
        others.push(report_id(&outcome, &context));
    }
    others.push(base);
    let count = others.len();
    others.sort();
    others.dedup();
    assert_eq!(others.len(), count);
}

#[test]
fn stack_file_from_elsewhere_has_no_path_in_the_repository() {
    assert_eq!(path_in_clone("stack.yaml"), Some("stack.yaml"));
    assert_eq!(path_in_clone("./a/stack.yaml"), Some("a/stack.yaml"));
    for elsewhere in ["/tmp/stack.yaml", "../stack.yaml", "https://example.com/stack.yaml"] {
        assert_eq!(path_in_clone(elsewhere), None);
    }
}

#[test]
fn secrets_are_masked_before_a_text_is_cut() {
    let _known = Secret::new("insights-s3cret".to_owned());
    assert_eq!(cut("a insights-s3cret b", 8), "a *** b");
    assert_eq!(cut("aaaa insights-s3cret b", 8), "aaaa **…");
}
