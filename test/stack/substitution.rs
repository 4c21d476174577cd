//! Every form of `${…}`, and everything that is none.

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
fn become_environment<const N: usize>(rows: [(&str, &str, Value); N]) {
    all(rows.map(|(name, lines, expected)| {
        (name, check_sent(&with_variables(environment(lines)), &[body(json!({"envVars": expected}))]))
    }));
}

#[test]
fn values_take_the_place_of_names() {
    become_environment([
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
fn escapes_lose_their_first_character() {
    become_environment([
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
fn defaults_stand_where_there_is_no_value() {
    become_environment([
        (
            "`:-`",
            "      a: ${NONE:-d}\n      b: ${BLANK:-d}\n      c: ${WORD:-d}",
            json!({"a": "d", "b": "d", "c": "value"}),
        ),
        (
            "`:=` and `=`",
            "      a: ${NONE:=d}\n      b: ${NONE=d}\n      c: ${WORD=d}",
            json!({"a": "d", "b": "d", "c": "value"}),
        ),
        ("`:?`", "      a: ${NONE:?d}\n      b: ${WORD:?d}", json!({"a": "d", "b": "value"})),
        ("`:+`, not as in bash", "      a: ${NONE:+d}\n      b: ${WORD:+d}", json!({"a": "d", "b": "value"})),
        ("empty", "      a: x${NONE:-}y\n      b: x${NONE:?}y", json!({"a": "xy", "b": "xy"})),
        (
            "colons",
            "      a: ${NONE:-http://h:80/?q=1}\n      b: ${NONE:-:-x}",
            json!({"a": "http://h:80/?q=1", "b": ":-x"}),
        ),
        (
            "one within another",
            "      a: ${NONE:-${WORD}}\n      b: ${NONE:-${OTHER:-deep}}\n      c: ${NONE:-x${WORD}y}",
            json!({"a": "value", "b": "deep", "c": "xvaluey"}),
        ),
        ("quotes", "      a: ${NONE:-'1.10'}\n      b: \"${NONE:-1.10}\"", json!({"a": "1.10", "b": "1.10"})),
        (
            "no escapes",
            "      a: ${NONE:-$$}\n      b: ${NONE:-x\\/y}\n      c: ${NONE:-$WORD}",
            json!({"a": "$$", "b": "x\\/y", "c": "$WORD"}),
        ),
    ]);
}

#[test]
fn operators_are_applied() {
    become_environment([
        ("length", "      a: '${#WORD}'\n      b: '${#NONE}'", json!({"a": "5", "b": "0"})),
        (
            "offset",
            "      a: ${WORD:2}\n      b: ${WORD:1:3}\n      c: ${WORD:0:50}\n      d: x${WORD:50}",
            json!({"a": "lue", "b": "alu", "c": "value", "d": "x"}),
        ),
        (
            "no offset",
            "      a: ${WORD:x}\n      b: ${WORD:1:x}\n      c: ${WORD: -2}",
            json!({"a": "value", "b": "value", "c": "value"}),
        ),
        (
            "prefix",
            "      a: ${FOLDER#*/}\n      b: ${FOLDER##*/}\n      c: ${WORD#v}",
            json!({"a": "x/y/z.tar.gz", "b": "z.tar.gz", "c": "alue"}),
        ),
        (
            "suffix",
            "      a: ${FOLDER%.*}\n      b: ${FOLDER%%.*}\n      c: ${WORD%e}",
            json!({"a": "/x/y/z.tar", "b": "/x/y/z", "c": "valu"}),
        ),
        (
            "replacement",
            "      a: ${TITLE/o/0}\n      b: ${TITLE//o/0}\n      c: ${TITLE/o/}",
            json!({"a": "G0od Morning", "b": "G00d M0rning", "c": "God Morning"}),
        ),
        (
            "replacement at an end",
            "      a: ${TITLE/#Good/Bad}\n      b: ${TITLE/%ing/e}",
            json!({"a": "Bad Morning", "b": "Good Morne"}),
        ),
        (
            "replacement of slashes",
            "      a: ${FOLDER//\\//_}\n      b: ${TITLE/ /}",
            json!({"a": "_x_y_z.tar.gz", "b": "GoodMorning"}),
        ),
        (
            "case",
            "      a: ${WORD^}\n      b: ${WORD^^}\n      c: ${TITLE,}\n      d: ${TITLE,,}",
            json!({"a": "Value", "b": "VALUE", "c": "good Morning", "d": "good morning"}),
        ),
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
fn nothing_is_substituted_where_that_is_switched_off() {
    let pipe =
        with_variables(environment("      a: ${WORD}\n      b: $$\n      c: ${NONE-d}")).var("ENVSUBST", "false");
    let expected = json!({"a": "${WORD}", "b": "$$", "c": "${NONE-d}"});
    assert_eq!(check_sent(&pipe, &[body(json!({"envVars": expected}))]), None);
}

#[test]
fn what_is_no_substitution_is_refused_at_its_place() {
    let at = |lines: &str, phrase: &str| check_refused(&with_variables(environment(lines)), phrase);
    all([
        ("bash's default", at("      a: ${NONE-d}", "8:16: `${NONE` is followed by `-`")),
        ("bash's alternative", at("      a: ${WORD+d}", "8:16: `${WORD` is followed by `+`")),
        ("bash's quoting", at("      a: ${WORD@Q}", "8:16: `${WORD` is followed by `@`")),
        ("bash's arrays", at("      a: ${WORD[0]}", "8:16: `${WORD` is followed by `[`")),
        ("dots", at("      a: ${WORD.x}", "8:16: `${WORD` is followed by `.`")),
        ("indirection", at("      a: ${!WORD}", "8:10: this `${` is not followed by the name")),
        ("spaces", at("      a: ${ WORD }", "8:10: this `${` is not followed by the name")),
        ("another system's", at("      a: '${{ vars.X }}'", "8:11: this `${` is not followed by the name")),
        ("empty", at("      a: ${}", "8:10: this `${` is not followed by the name")),
        ("unclosed", at("      a: ${WORD", "8:")),
        ("in a comment", at("      # ${WORD\n      a: b", "8:")),
        ("no second slash", at("      a: ${WORD/x}", "`${WORD…` lacks the second `/`")),
        ("no pattern", at("      a: ${WORD#}", "`${WORD…` lacks the text after its operator")),
        ("no offset", at("      a: ${WORD:}", "`${WORD…` lacks the text after its operator")),
        ("pattern of a case", at("      a: ${WORD^v}", "`${WORD…` goes on")),
        ("part of a length", at("      a: ${#WORD:1}", "`${WORD…` goes on")),
        ("negative length", at("      a: ${WORD:3:-2}", "leave less than nothing")),
        ("half a character", at("      a: ${É:0:1}", "is not whole characters")),
    ]);
}

#[test]
fn value_that_breaks_the_file_is_told_with_the_expression() {
    let at = |lines: &str, phrase: &str| check_refused(&with_variables(environment(lines)), phrase);
    all([
        ("a pair", at("      a: ${PAIR}", "`${PAIR}` became `k: v`")),
        (
            "lines",
            at(
                "      a: ${LINES}\n      b: c",
                "the line breaks of `${LINES}` would become spaces even in double quotes",
            ),
        ),
        ("a brace behind a default", at("      a: ${NONE:-{}}", "`a` of `environment`")),
    ]);
}

#[test]
fn secrets_of_the_pipe_are_not_substituted() {
    let stack = "      a: ${BITBUCKET_STEP_OIDC_TOKEN}\n      b: ${OPENFAAS_PASSWORD}\n      c: ${NONE:-${SIGN_KEY}}\n      \
                 d: ${#PIPELINES_JWT_TOKEN}\n      # ${SIGN_KEY}";
    let ran = pipe(environment(stack)).run().exits(2);
    for name in ["BITBUCKET_STEP_OIDC_TOKEN", "OPENFAAS_PASSWORD", "SIGN_KEY", "PIPELINES_JWT_TOKEN"] {
        assert!(ran.log.contains(&format!("`{name}` is a secret of the pipe")), "{}", ran.log);
    }
    ran.says("5 problems in the stack file, nothing was sent");
}
