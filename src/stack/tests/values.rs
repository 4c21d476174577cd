use super::*;

#[test]
fn wrong_types_are_refused_also_in_fields_that_only_a_build_reads() {
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
        "skip_build: 'true'",
        "build_args: [a]",
        "build_options: a",
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
fn unknown_fields_may_hold_anything() {
    let text = format!("{HEAD}    unknown: {{a: 1, a: 2, b: [*x]}}\nextra: &x {{a: 1, a: 2}}\nx-y: [[], {{}}]\n");
    let text = text.replace("*x", "x");
    assert_eq!(Run::default().bodies(text).len(), 1);
}

#[test]
fn merged_nulls_do_not_override() {
    let body = function("    environment:\n      <<: {A: ~, B: ~}\n      A: own\n");
    assert_eq!(body["envVars"], json!({"A": "own", "B": ""}));
}

#[test]
fn own_name_that_looks_like_a_number_loses_against_a_merged_one() {
    // yaml.v3 compares names by type here; faas-cli deploys it so.
    let body = function("    environment:\n      <<: {1: base, a: base}\n      1: own\n      a: own\n");
    assert_eq!(body["envVars"], json!({"1": "base", "a": "own"}));
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

#[test]
fn function_whose_name_looks_like_a_number_is_replaced_by_a_merged_one() {
    let text = format!("{HEAD}  1: {{image: 'own:1'}}\n  2: {{image: 'own:2'}}\n  <<: {{1: {{image: 'm:1'}}, 2: ~}}\n");
    let images: Vec<Value> = Run::default().bodies(text).iter().map(|body| body["image"].clone()).collect();
    assert_eq!(images, ["r/i:1", "m:1", "own:2"]);
}
