//! Every form of `${…}`, and text that is not a substitution.

use super::*;

/// A deploy with some variables to substitute.
fn with_variables(stack: String) -> Pipe {
    pipe(stack)
        .var("WORD", "value")
        .var("BLANK", "")
        .var("TITLE", "Good Morning")
        .var("FOLDER", "/x/y/z.tar.gz")
        .var("NUMBER", "8080")
        .var("LINES", "one\ntwo")
        .var("PAIR", "k: v")
        .var("REMARK", "a #b")
        .var("É", "éclair")
        .var("1", "first")
}

#[track_caller]
fn environments_become_with_variables<const N: usize>(rows: [(&str, &str, Value); N]) {
    all(rows.map(|(name, lines, expected)| {
        (name, check_sent(&with_variables(environment(lines)), &[body(json!({"envVars": expected}))]))
    }));
}

#[test]
fn variables_are_substituted() {
    environments_become_with_variables([
        ("alone", "      a: ${WORD}\n      b: x${WORD}y", json!({"a": "value", "b": "xvaluey"})),
        ("number", "      a: ${NUMBER}", json!({"a": "8080"})),
        ("no value", "      a: ${NONE}\n      b: x${BLANK}y", json!({"a": "", "b": "xy"})),
        (
            "no braces",
            "      a: $WORD\n      b: $(WORD)\n      c: \"$ {WORD}\"\n      d: 5$",
            json!({"a": "$WORD", "b": "$(WORD)", "c": "$ {WORD}", "d": "5$"}),
        ),
        ("digits and accents", "      a: ${1}\n      b: ${É}", json!({"a": "first", "b": "éclair"})),
        ("a comment's", "      a: b # ${WORD}\n      # ${NONE:-x}", json!({"a": "b"})),
        ("a remark in the value", "      a: ${REMARK}\n      b: '${REMARK}'", json!({"a": "a", "b": "a #b"})),
        ("lines in double quotes", "      a: \"${LINES}\"", json!({"a": "one two"})),
    ]);
}

#[test]
fn escapes_are_replaced() {
    environments_become_with_variables([
        ("dollars", "      a: $$\n      b: $$$\n      c: a$$b", json!({"a": "$", "b": "$$", "c": "a$b"})),
        (
            "dollars before a name",
            "      a: $${WORD}\n      b: $$${WORD}\n      c: $$$${WORD}",
            json!({"a": "${WORD}", "b": "$value", "c": "$${WORD}"}),
        ),
        (
            "backslashes",
            "      a: x\\\\y\n      b: x\\/y\n      c: x\\y",
            json!({"a": "x\\y", "b": "x/y", "c": "x\\y"}),
        ),
        ("a backslash before a name", "      a: \\\\${WORD}", json!({"a": "\\value"})),
    ]);
}

#[test]
fn names_and_structure_are_substituted_too() {
    let stack = "provider: {name: openfaas}\nfunctions:\n  f${NONE}:\n    image: r/f:${TAG:-1}\n    namespace: ${WORD}\n    \
                 secrets: [${LIST:-s1, s2}]\n    readonly_root_filesystem: ${LOCKED:-true}\n    labels: {'${WORD}': a}\n";
    let expected = body(json!({
        "namespace": "value", "secrets": ["s1", "s2"], "readOnlyRootFilesystem": true, "labels": {"value": "a"},
    }));
    assert_eq!(check_sent(&with_variables(stack.to_owned()), &[expected]), None);
}

#[test]
fn envsubst_false_disables_substitution() {
    let pipe =
        with_variables(environment("      a: ${WORD}\n      b: $$\n      c: ${NONE-d}")).var("ENVSUBST", "false");
    let expected = json!({"a": "${WORD}", "b": "$$", "c": "${NONE-d}"});
    assert_eq!(check_sent(&pipe, &[body(json!({"envVars": expected}))]), None);
}

/// The rows of the table with this header: the text in backticks at the start of each cell.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = include_str!("../../docs/substitution.md");
    let rows = page.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.take_while(|line| line.starts_with('|')).map(|row| row.split('|').skip(1).map(cell).collect()).collect()
}

fn with_documented_values(stack: String) -> Pipe {
    let values = table("| Variable | Value |");
    assert_eq!(values.len(), 5);
    values.into_iter().fold(pipe(stack), |pipe, row| pipe.var(&row[0], row[1].as_str()))
}

#[test]
fn documented_results_are_correct() {
    let rows = table("| Write | Result |");
    assert!(rows.len() > 30, "{}", rows.len());
    let lines: String =
        rows.iter().enumerate().map(|(number, row)| format!("      k{number}: '{}'\n", row[0])).collect();
    let sent = sent(with_documented_values(environment(&lines)).run()).expect("missing deployment");
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(sent[0]["envVars"][format!("k{number}")], row[1].as_str(), "{}", row[0]);
    }
}

#[test]
fn documented_errors_are_correct() {
    let rows = table("| Write | Error |");
    assert!(rows.len() > 10, "{}", rows.len());
    // Each in a file of its own: an unclosed substitution extends over the next one.
    all(rows.iter().map(|row| {
        let stack = environment(&format!("      k: {}", row[0]));
        let phrase = row[1].split('`').collect::<Vec<_>>().join("`");
        (row[0].as_str(), check_refused(&with_documented_values(stack), &phrase))
    }));
}

#[test]
fn substitution_must_not_split_a_character() {
    let at =
        check_refused(&with_variables(environment("      a: ${É:0:1}")), "8:10: the substitution cuts a character");
    assert_eq!(at, None);
}

#[test]
fn value_that_breaks_the_yaml_is_reported_with_its_expression() {
    let at = |lines: &str, phrase: &str| check_refused(&with_variables(environment(lines)), phrase);
    all([
        ("a pair", at("      a: ${PAIR}", "`${PAIR}` is replaced with `k: v`")),
        ("lines", at("      a: ${LINES}\n      b: c", "pass a value with line breaks with `ENV_VARS`")),
        ("a brace behind a default", at("      a: ${NONE:-{}}", "`a` of `environment`")),
    ]);
}

#[test]
fn secrets_of_the_pipe_are_not_substituted() {
    let stack = "      a: ${BITBUCKET_STEP_OIDC_TOKEN}\n      b: ${OPENFAAS_PASSWORD}\n      c: ${NONE:-${SIGN_KEY}}\n      \
                 d: ${#PIPELINES_JWT_TOKEN}\n      # ${SIGN_KEY}";
    let ran = pipe(environment(stack)).run().exits(2);
    for name in ["BITBUCKET_STEP_OIDC_TOKEN", "OPENFAAS_PASSWORD", "SIGN_KEY", "PIPELINES_JWT_TOKEN"] {
        assert!(ran.log.contains(&format!("`{name}` holds a secret of the pipe")), "{}", ran.log);
    }
    ran.says("5 problems in the stack file, nothing was sent");
}

#[test]
fn templates_of_other_programs_are_named() {
    let template = "provider: {name: openfaas}\nfunctions:\n  {{ .Values.name }}:\n    image: r/f:1\n";
    pipe(template).run().exits(2).says("hint: `{{` is of a template engine: run it in the script, or write `${NAME}`");
    for (image, hint) in [
        ("'{{ .Values.image }}'", "`{{ .Values.image }}` is not filled in: the pipe substitutes only `${NAME}`"),
        ("r/f:%TAG%", "`%TAG%` is not filled in"),
        ("r/f:$(git rev-parse HEAD)", "`$(git rev-parse HEAD)` is not filled in"),
        ("https://ghcr.io/acme/f:1", "write `image: ghcr.io/acme/f:1`"),
    ] {
        let ran = pipe(HEAD.replace("r/f:1", image)).run().exits(2);
        ran.says(&format!("  hint: {hint}")).does_not_say("WARNING: ");
    }
    let ran = pipe(environment("      A: '{{ TOKEN }}'")).run().exits(0);
    ran.says("WARNING: stack.yml:8:10: `{{ TOKEN }}` is not filled in: the pipe substitutes only `${NAME}`");
    for value in ["'a {{ x }}'", "<b>x</b>", "$(POD_IP)", "$${NAME}", "100%"] {
        pipe(environment(&format!("      A: {value}"))).run().exits(0).does_not_say("WARNING: ");
    }
}

#[test]
fn values_that_yaml_cuts_or_takes_for_nothing_are_named() {
    let cut = "`${V}` has a `#`, where a comment of YAML begins: the rest is cut off";
    for (value, line) in [("a #b", "A: ${V}"), ("#fff", "A: ${V}"), ("#fff", "A: x ${V} # c"), ("a #b", "A: x${V}y")] {
        let ran = pipe(environment(&format!("      {line}"))).var("V", value).run().exits(0);
        ran.says(&format!("WARNING: stack.yml:8:{}: {cut}", 7 + line.find('$').unwrap_or_default()));
    }
    for (value, line) in [
        ("a #b", "A: '${V}'"),
        ("#fff", "A: \"x ${V}\""),
        ("a#b", "A: ${V}"),
        ("a #b", "A: |\n        ${V}"),
        ("a #b", "A: 1 # ${V}"),
        ("a #b", "A: 1\n    build_args:\n      B: ${V}"),
        ("null", "A: ${NONE:-null}"),
    ] {
        pipe(environment(&format!("      {line}"))).var("V", value).run().exits(0).does_not_say("WARNING: ");
    }
    let absent = "`${V}` is a word such as `null`, which scripts write for a value that is missing";
    for value in ["null", "~", "undefined"] {
        pipe(environment("      A: ${V}")).var("V", value).run().exits(0).says(absent);
    }
}
