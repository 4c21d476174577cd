use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::new(pairs.iter().map(|(name, value)| (name.into(), value.into())))
}

fn problems(pairs: &[(&str, &str)]) -> String {
    read(&environment(pairs)).1.report()
}

#[test]
fn all_problems_are_told_at_once_by_name() {
    insta::assert_snapshot!(problems(&[
        ("TIMEOUT", "soon"),
        ("PARALLEL", "65"),
        ("FILTER", "a"),
        ("DEBUG", "maybe"),
        ("STRATEGY", "yolo"),
        ("REGEX", "("),
        ("OPENFAAS_URL", "gw"),
        ("LABELS_COUNT", "two"),
        ("ENV_VARS", "a"),
        ("ROLLBACK", "true"),
    ]), @r"
    Validation errors:
    DEBUG:
    - `maybe` is not a boolean: write 'true' or 'false'
    ENV_VARS:
    - item 0 is not of the form `key=value`
    FILTER:
    - not both: set `FILTER` or `REGEX`
    LABELS_COUNT:
    - `two` is not a whole number: write `LABELS` as a YAML list
    OPENFAAS_URL:
    - `gw` is not a URL: write `https://gw`
    PARALLEL:
    - `65` is not a whole number from 1 to 64
    REGEX:
    - is not a regular expression: found open group without closing ')'; look-around and `\p{…}` are not known, and `FILTER` takes a wildcard instead
    ROLLBACK:
    - needs `WAIT: 'true'`: without waiting nothing is known to have failed
    STRATEGY:
    - unallowed value `yolo`: write one of update, replace, create
    TIMEOUT:
    - `soon` is not a duration: write for example '90s', '1m30s' or '500ms'
    ");
}

#[test]
fn gap_in_a_list_is_told_by_the_item_that_is_missing() {
    insta::assert_snapshot!(problems(&[("SECRETS_COUNT", "2"), ("SECRETS_0", "a"), ("SECRETS_2", "b")]), @r"
    Validation errors:
    SECRETS_1:
    - is missing: `SECRETS_COUNT` says 2 items
    ");
}

#[test]
fn blank_is_not_set() {
    let (config, problems) =
        read(&environment(&[("TIMEOUT", ""), ("STACK_FILE", "  "), ("SECRETS_COUNT", ""), ("COMMAND", "")]));
    assert!(problems.is_empty());
    assert_eq!(config.timeout, Duration::from_secs(60));
    let Command::Deploy(deploy) = config.command else { panic!("not a deploy") };
    assert_eq!(deploy.selection.stack_file, None);
}

#[test]
fn function_that_is_set_but_empty_is_told_so() {
    insta::assert_snapshot!(problems(&[("COMMAND", "invoke"), ("FUNCTION", "")]), @r"
    Validation errors:
    FUNCTION:
    - set but empty: is the variable that it takes its value from defined, also for this deployment environment?
    ");
    insta::assert_snapshot!(problems(&[("COMMAND", "invoke"), ("SIGN_HEADER", "X-Sig"), ("PAYLOAD", "a"), ("PAYLOAD_FILE", "b")]), @r"
    Validation errors:
    FUNCTION:
    - required field
    PAYLOAD:
    - not both: set `PAYLOAD` or `PAYLOAD_FILE`
    SIGN_KEY:
    - required field
    ");
}

#[test]
fn namespace_is_taken_from_the_functions_name() {
    let (config, problems) = read(&environment(&[("COMMAND", "invoke"), ("FUNCTION", "import-csv.etl")]));
    assert!(problems.is_empty());
    let Command::Invoke(invoke) = config.command else { panic!("not an invocation") };
    assert_eq!((invoke.function.as_str(), invoke.namespace.as_deref()), ("import-csv", Some("etl")));
}

#[test]
fn defaults_are_valid_values() {
    for command in ["deploy", "whoami", "diff", "remove"] {
        let (_, problems) = read(&environment(&[("COMMAND", command)]));
        assert!(problems.is_empty(), "{command}: {}", problems.report());
    }
    let defaults: Vec<_> = VARIABLES
        .iter()
        .filter(|variable| !variable.default.is_empty())
        .map(|variable| (variable.name, variable.default))
        .chain([("FUNCTION", "f")])
        .collect();
    for command in ["deploy", "invoke"] {
        let pairs: Vec<_> =
            defaults.iter().copied().filter(|(name, _)| *name != "COMMAND").chain([("COMMAND", command)]).collect();
        let (_, problems) = read(&environment(&pairs));
        assert!(problems.is_empty(), "{command}: {}", problems.report());
    }
}

#[test]
fn value_that_is_not_utf8_is_a_problem_and_no_panic() {
    use std::os::unix::ffi::OsStringExt as _;
    let garbled = std::ffi::OsString::from_vec(vec![0x66, 0xff]);
    let names = ["STACK_FILE", "OTHER", "LABELS_COUNT", "SECRETS_0"];
    let environment = Environment::new(names.map(|name| (name.into(), garbled.clone())));
    insta::assert_snapshot!(read(&environment).1.report(), @r"
    Validation errors:
    LABELS_COUNT:
    - is not UTF-8 text
    SECRETS_0:
    - is set, but `SECRETS_COUNT` is not: write `SECRETS` as a YAML list
    STACK_FILE:
    - is not UTF-8 text
    ");
}

/// Found by fuzzing.
#[test]
fn line_break_in_a_name_does_not_break_the_report() {
    let environment = Environment::new([("OPENFAAS_NAMESPACE".into(), "a\nb".into())]);
    let report = read(&environment).1.report();
    assert!(report.contains("\n- `\\n` cannot stand in a namespace"), "{report}");
}
