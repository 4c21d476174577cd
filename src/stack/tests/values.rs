use super::*;

#[test]
fn wrong_types_are_refused() {
    let fields = [
        "environment: [A=1]",
        "environment: A",
        "environment: {A: [1]}",
        "environment: {A: {B: c}}",
        "environment: {[a]: b}",
        "secrets: one",
        "secrets: {a: b}",
        "secrets: [[a]]",
        "labels: [a]",
        "annotations: a",
        "constraints: a",
        "environment_file: a.yml",
        "limits: 128Mi",
        "limits: {memory: [1]}",
        "fprocess: [a]",
        "namespace: {a: b}",
        "lang: []",
    ];
    for field in fields {
        refused(format!("{HEAD}    {field}\n"));
    }
    for text in ["- a\n", "text\n", "functions: []\n", "provider: a\nfunctions: {}\n"] {
        refused(text);
    }
    refused(format!("{HEAD}  g: text\n"));
}

#[test]
fn unknown_fields_and_those_of_a_build_may_hold_anything() {
    let text = format!(
        "{HEAD}    build_args: [a]\n    unknown: {{a: 1, a: 2, b: [*x]}}\nextra: &x {{a: 1, a: 2}}\nx-y: [[], {{}}]\n"
    );
    let text = text.replace("*x", "x");
    assert_eq!(Case::default().bodies(text).len(), 1);
}

#[test]
fn merged_nulls_do_not_override() {
    let body = function("    environment:\n      <<: {A: ~, B: ~}\n      A: own\n");
    assert_eq!(body["envVars"], json!({"A": "own", "B": ""}));
}

#[test]
fn merges_of_anything_but_mappings_are_refused() {
    for merge in ["a", "[a]", "[[]]", "~"] {
        refused(format!("{HEAD}    environment: {{<<: {merge}}}\n"));
    }
    refused(format!("x: &x [{{}}]\n{HEAD}    environment: {{<<: *x}}\n"));
    refused(format!("{HEAD}    environment: &e {{<<: *e}}\n"));
    refused(format!("{HEAD}    environment: {{<<: {{}}, <<: {{}}}}\n"));
}
