use super::*;

#[test]
fn scalars_keep_their_source_text_where_a_text_is_wanted() {
    let kept = [
        "1",
        "010",
        "0o17",
        "0x1F",
        "1_000",
        "-0",
        "+7",
        "0b101",
        "123456789012345678901234567890",
        "1:30",
        "1.10",
        "1e3",
        ".5",
        "5.",
        "-1.0",
        ".inf",
        ".nan",
        "1.0.0",
        "true",
        "True",
        "FALSE",
        "yes",
        "no",
        "on",
        "OFF",
        "y",
        "n",
        "2001-01-01",
        "2001-12-14t21:59:43.10-05:00",
        "12:30:45",
        "nUll",
        "=",
        "-x",
        "?x",
        ":x",
        "50%",
        "a,b",
        "a]b",
    ];
    let lines: String = kept.iter().enumerate().map(|(number, text)| format!("      k{number}: {text}\n")).collect();
    let environment = environment(&lines);
    for (number, text) in kept.iter().enumerate() {
        assert_eq!(environment[format!("k{number}")], *text);
    }
}

#[test]
fn nulls_are_the_empty_text() {
    let lines = "      a:\n      b: ~\n      c: null\n      d: Null\n      e: NULL\n      f: ''\n      g: '~'\n";
    assert_eq!(environment(lines), json!({"a": "", "b": "", "c": "", "d": "", "e": "", "f": "", "g": "~"}));
}

#[test]
fn tags_decide_what_a_scalar_is() {
    let lines = "      a: !!str 1\n      b: !!int '7'\n      c: !!binary aGVsbG8=\n      d: !own x\n      e: !!null ''\n      f: ! 12\n";
    let expected = json!({"a": "1", "b": "7", "c": "hello", "d": "x", "e": "", "f": "12"});
    assert_eq!(environment(lines), expected);
    for wrong in ["!!int x", "!!bool yes", "!!null x", "!!binary '*'", "!!binary /w=="] {
        refused(format!("{HEAD}    environment: {{a: {wrong}}}\n"));
    }
}

#[test]
fn keys_keep_their_source_text_and_a_null_key_disappears() {
    let lines = "      1: a\n      1.50: b\n      true: c\n      ~: d\n      'e f': g\n      2001-01-01: h\n      ? i\n      : j\n      é: k\n";
    let expected = json!({"1": "a", "1.50": "b", "true": "c", "e f": "g", "2001-01-01": "h", "i": "j", "é": "k"});
    assert_eq!(environment(lines), expected);
}

#[test]
fn lists_take_any_scalar_and_lose_their_nulls() {
    let body =
        function("    secrets: [a, 1, true, ~, null, 2001-01-01, a, '']\n    constraints:\n    - ~\n    - 1.10\n");
    assert_eq!(body["secrets"], json!(["a", "1", "true", "2001-01-01", "a", ""]));
    assert_eq!(body["constraints"], json!(["1.10"]));
}

#[test]
fn booleans_are_those_of_yaml_v3() {
    let rows = [
        ("true", Some(true)),
        ("True", Some(true)),
        ("TRUE", Some(true)),
        ("yes", Some(true)),
        ("Yes", Some(true)),
        ("y", Some(true)),
        ("on", Some(true)),
        ("'yes'", Some(true)),
        ("!!bool 'true'", Some(true)),
        ("false", Some(false)),
        ("no", Some(false)),
        ("off", Some(false)),
        ("n", Some(false)),
        ("~", Some(false)),
        ("", Some(false)),
        ("'true'", None),
        ("1", None),
        ("tRue", None),
        ("yEs", None),
        ("maybe", None),
        ("[true]", None),
        ("2001-01-01", None),
    ];
    for (text, expected) in rows {
        let stack = Run::default().read(format!("{HEAD}    readonly_root_filesystem: {text}\n"));
        let found = stack.ok().map(|stack| stack.functions[0].deployment.read_only_root_filesystem);
        assert_eq!(found, expected, "{text}");
    }
}

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
fn duplicate_names_are_refused_whatever_their_types() {
    for lines in ["a: 1\n      a: 2", "1: a\n      '1': b", "? &k a\n      : 1\n      *k : 2"] {
        let problems = refused(format!("{HEAD}    environment:\n      {lines}\n"));
        assert!(problems.contains("stands here for the second time"), "{problems}");
    }
    refused(format!("{HEAD}    image: other\n"));
    refused(format!("{HEAD}  f: {{}}\n"));
    refused(format!("{HEAD}provider: {{name: openfaas}}\n"));
}

#[test]
fn merge_keys_and_aliases_are_applied_with_source_text() {
    let text = "\
base: &base
  lang: dockerfile
  limits: {memory: 64Mi}
  labels: &labels {one: '1', shared: base}
env: &env {A: base, B: 1.10, C: yes}
more: &more {C: more, D: more}
functions:
  first:
    <<: *base
    image: r/a:1
    environment: {<<: [*env, *more], A: own}
  second:
    <<: [*base]
    image: r/b:1
    labels: {<<: *labels, two: 2}
    environment: *env
provider: {name: openfaas}
";
    assert_eq!(
        Run::default().bodies(text),
        [
            json!({"service": "first", "image": "r/a:1", "envVars": {"A": "own", "B": "1.10", "C": "yes", "D": "more"},
                "labels": {"one": "1", "shared": "base"}, "annotations": {}, "limits": {"memory": "64Mi"}}),
            json!({"service": "second", "image": "r/b:1", "envVars": {"A": "base", "B": "1.10", "C": "yes"},
                "labels": {"one": "1", "shared": "base", "two": "2"}, "annotations": {}, "limits": {"memory": "64Mi"}}),
        ]
    );
}

#[test]
fn merge_keys_over_functions_add_functions() {
    let text = format!("x: &x\n  base: {{image: 'b:1'}}\n  f: {{image: 'c:1'}}\n{HEAD}  <<: *x\n");
    let names: Vec<Value> = Run::default().bodies(text).iter().map(|body| body["service"].clone()).collect();
    assert_eq!(names, ["f", "base"]);
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
fn encodings_are_told_apart() {
    let text = format!("{HEAD}    environment: {{A: é}}\n");
    let expected = json!({"A": "é"});
    let bodies = Run::default().bodies(&text);
    assert_eq!(bodies[0]["envVars"], expected);
    assert_eq!(Run::default().bodies(format!("\u{feff}{text}")), bodies);
    assert_eq!(Run::default().bodies(text.replace('\n', "\r\n")), bodies);
    for big_endian in [false, true] {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        let bytes = units.flat_map(|unit: u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() });
        assert!(refused(bytes.collect::<Vec<u8>>()).contains("UTF-16"));
    }
    let mut invalid = text.clone().into_bytes();
    invalid.extend(b"# \xff\n");
    assert!(refused(invalid).contains("stack.yml:8:3: what follows here is not UTF-8"));
    assert!(refused(format!("{text}\0")).contains("NUL"));
}

#[test]
fn only_the_first_document_counts() {
    let second = format!("---\n{}", HEAD.replace("  f:", "  g:"));
    let names: Vec<Value> =
        Run::default().bodies(format!("{HEAD}{second}")).iter().map(|b| b["service"].clone()).collect();
    assert_eq!(names, ["f"]);
}

#[test]
fn function_whose_name_looks_like_a_number_is_replaced_by_a_merged_one() {
    let text = format!("{HEAD}  1: {{image: 'own:1'}}\n  2: {{image: 'own:2'}}\n  <<: {{1: {{image: 'm:1'}}, 2: ~}}\n");
    let images: Vec<Value> = Run::default().bodies(text).iter().map(|body| body["image"].clone()).collect();
    assert_eq!(images, ["r/i:1", "m:1", "own:2"]);
}
