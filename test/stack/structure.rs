//! The structure of a stack file: merge keys, aliases, duplicates, styles, documents.

use super::*;

#[test]
fn merge_keys_and_aliases_are_applied() {
    let with = |before: &str, fields: &str| format!("{before}\n{}", function(fields));
    let env = |value: Value| vec![body(json!({"envVars": value}))];
    files_become([
        (
            "own names win",
            with("x-env: &e {A: base, B: 2.50}", "    environment:\n      <<: *e\n      A: own"),
            env(json!({"A": "own", "B": "2.50"})),
        ),
        (
            "the first of a list wins",
            with("x: &x {A: x}\ny: &y {A: y, B: y}", "    environment: {<<: [*x, *y], C: own}"),
            env(json!({"A": "x", "B": "y", "C": "own"})),
        ),
        ("whole mapping", with("x: &x {A: yes}", "    environment: *x"), env(json!({"A": "yes"}))),
        ("scalar", environment("      A: &v 0644\n      B: *v"), env(json!({"A": "0644", "B": "0644"}))),
        (
            "one within another",
            with("x: &x {A: 1}\ny: &y {<<: *x, B: 2}", "    environment: {<<: *y}"),
            env(json!({"A": "1", "B": "2"})),
        ),
        (
            "a whole function",
            with("x: &x {fprocess: node, limits: {memory: 64Mi}}", "    <<: *x\n    namespace: n"),
            vec![body(json!({"envProcess": "node", "limits": {"memory": "64Mi"}, "namespace": "n"}))],
        ),
        (
            "over functions",
            with("x: &x {g: {image: 'r/g:2'}, f: {image: 'r/other:1'}}", "  <<: *x"),
            vec![body(json!({})), body(json!({"service": "g", "image": "r/g:2"}))],
        ),
    ]);
    refused([
        ("unknown alias", environment("      A: *nobody"), "nobody"),
        ("itself", function("    environment: &e\n      <<: *e"), "recursive or too deeply nested merge key"),
        ("not a mapping", function("    environment: {<<: text}"), "<<"),
    ]);
}

#[test]
fn duplicate_keys_are_rejected() {
    let twice = "duplicate key `";
    refused([
        ("in an environment", environment("      A: 1\n      B: 2\n      A: 3"), twice),
        ("quoted and not", environment("      1: a\n      '1': b"), twice),
        ("function", format!("{HEAD}  f:\n    image: r/f:2\n"), twice),
        ("field", function("    image: r/f:2"), twice),
        ("root", format!("{HEAD}provider: {{name: openfaas}}\n"), twice),
    ]);
    files_become([("in an unused field", format!("{HEAD}x-own: {{a: 1, a: 2}}\n"), vec![body(json!({}))])]);
}

#[test]
fn every_scalar_style_is_read() {
    environments_become([
        ("literal", "      a: |\n        one\n          two\n\n        three", json!({"a": "one\n  two\n\nthree\n"})),
        ("literal stripped", "      a: |-\n        one\n        two", json!({"a": "one\ntwo"})),
        ("literal kept", "      a: |+\n        one\n\n      b: c", json!({"a": "one\n\n", "b": "c"})),
        ("literal indented", "      a: |2\n          one", json!({"a": "  one\n"})),
        ("folded", "      a: >\n        one\n        two\n\n        three", json!({"a": "one two\nthree\n"})),
        ("folded stripped", "      a: >-\n        one\n        two", json!({"a": "one two"})),
        ("plain on two lines", "      a: one\n        two\n\n        three", json!({"a": "one two\nthree"})),
        ("double quotes on two lines", "      a: \"one\n        two\"", json!({"a": "one two"})),
        ("escapes", r#"      a: "\u00e9\x41\t\U0001F600""#, json!({"a": "éA\t😀"})),
        ("single quotes", "      a: 'it''s \\n'", json!({"a": "it's \\n"})),
        ("comments", "      # one\n      a: b # two\n      c: \"#d\"", json!({"a": "b", "c": "#d"})),
    ]);
    refused([
        ("half a surrogate pair", environment("      a: \"\\ud83d\""), "stack.yml:8:"),
        ("unknown escape", environment("      a: \"\\q\""), "stack.yml:8:"),
        ("never closed", environment("      a: \"b"), "stack.yml:"),
        ("reserved `@`", environment("      a: @b"), "stack.yml:8:10"),
        ("reserved backtick", environment("      a: `b`"), "stack.yml:8:10"),
        ("a directive's `%`", environment("      a: %b"), "stack.yml:8:10"),
        ("a schedule", environment("      a: */5 * * * *"), "stack.yml:8:1"),
        ("a second colon", environment("      a: b: c"), "a second `:` on this line"),
    ]);
}

#[test]
fn flow_style_is_read() {
    let json = r#"{"version": "1.0", "provider": {"name": "openfaas"},
        "functions": {"f": {"image": "r/f:1", "environment": {"A": 1.10, "B": true, "C": null}}}}"#;
    let expected = || vec![body(json!({"envVars": {"A": "1.10", "B": "true", "C": ""}}))];
    files_become([
        ("JSON", json.to_owned(), expected()),
        ("flow", function("    environment: {A: 1.10, B: true, C: }"), expected()),
    ]);
    refused([("never closed", function("    environment: {A: 1"), "stack.yml:")]);
}

#[test]
fn only_the_first_document_is_read() {
    let one = || vec![body(json!({}))];
    files_become([
        ("a second one", format!("{HEAD}---\n{}", HEAD.replace("  f:", "  g:")), one()),
        ("a broken second one", format!("{HEAD}---\n[\n"), one()),
        ("marks around it", format!("---\n{HEAD}...\n"), one()),
        ("a comment before it", format!("# ours\n---\n{HEAD}"), one()),
        ("no version", HEAD.replace("version: 1.0\n", ""), one()),
    ]);
    refused([
        ("empty", "", "`stack.yml` is empty"),
        ("comment", "# later\n", "`stack.yml` is empty"),
        ("an empty first one", &format!("---\n---\n{HEAD}"), "`stack.yml` is empty"),
        ("no functions", "provider: {name: openfaas}\nfunctions:\n", "has no functions"),
    ]);
}

#[test]
fn provider_version_image_and_name_are_checked() {
    refused([
        ("provider's case", HEAD.replace("openfaas", "OpenFaaS"), "`provider.name` must be `openfaas`, not `OpenFaaS`"),
        ("version without a dot", HEAD.replace("1.0", "1"), "`version` must be `1.0`, not `1`"),
        ("version with too much", HEAD.replace("1.0", "1.00"), "`version` must be `1.0`, not `1.00`"),
        ("empty image", HEAD.replace("r/f:1", "''"), "function `f` has no image"),
        ("image with a space", HEAD.replace("r/f:1", "r f"), "invalid image name `r f`"),
        ("name with a slash", HEAD.replace("  f:", "  a/f:"), "invalid function name `a/f`"),
        ("name with a space", HEAD.replace("  f:", "  a f:"), "invalid function name `a f`"),
    ]);
    let image = |image: &str| vec![body(json!({"image": image}))];
    files_become([
        ("no tag", HEAD.replace("r/f:1", "r/f"), image("r/f:latest")),
        ("a port", HEAD.replace("r/f:1", "r.example.com:5000/f"), image("r.example.com:5000/f:latest")),
        ("a number as tag", HEAD.replace("r/f:1", "f:1.10"), image("f:1.10")),
    ]);
}

#[test]
fn names_that_other_tools_have_for_a_field_are_answered() {
    for (field, hint) in [
        ("envVars: {A: 1}", "write `environment`"),
        ("env_file: [a.yml]", "write `environment_file`"),
        ("env_process: cat", "write `fprocess`"),
        ("read_only: true", "write `readonly_root_filesystem`"),
        ("readOnlyRootFilesystem: true", "write `readonly_root_filesystem`"),
        ("buildArgs: {A: 1}", "write `build_args`"),
        ("memory: 128Mi", "write it below `limits`"),
        ("exec_timeout: 10s", "write it below `environment`"),
    ] {
        pipe(function(&format!("    {field}"))).run().exits(0).says("WARNING: ").says(&format!("  hint: {hint}\n"));
    }
}

#[test]
fn fields_beside_the_name_of_their_function_are_refused() {
    let ran = pipe("provider: {name: openfaas}\nfunctions:\n  f:\n  image: r/f:1\n").run().exits(2);
    ran.says("stack.yml:4:10: `image` is a field of a function, but stands where the name of one does")
        .says("hint: indent it more than the name of its function");
    // A function may have such a name.
    pipe("provider: {name: openfaas}\nfunctions:\n  image:\n    image: r/f:1\n").run().exits(0);
    let dotted = pipe("provider: {name: openfaas}\nfunctions:\n  f.etl:\n    image: r/f:1\n").run().exits(0);
    dotted.says("WARNING: ").says("hint: write the namespace in `namespace:`");
}
