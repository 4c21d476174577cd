use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::new(pairs.iter().map(|(name, value)| (name.into(), value.into())))
}

fn problems(pairs: &[(&str, &str)]) -> String {
    read(&environment(pairs)).expect_err("problems").problems.report()
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
    - item 1 is not of the form `key=value`
    FILTER:
    - `FILTER` and `REGEX` cannot be used together: remove one
    LABELS_COUNT:
    - `two` is not a whole number up to 10000: write `LABELS` as a YAML list
    OPENFAAS_URL:
    - `gw` is not a URL: write `https://gw`
    PARALLEL:
    - `65` is not a whole number from 1 to 64
    REGEX:
    - is not a valid regular expression: found open group without closing ')'; look-around and `\p{…}` are not supported, and `FILTER` accepts a wildcard instead
    ROLLBACK:
    - requires `WAIT: 'true'` or `VERIFY`: without them, the pipe does not know whether a function became ready
    STRATEGY:
    - unallowed value `yolo`: write one of update, replace, create
    TIMEOUT:
    - `soon` is not a duration: write for example '90s', '1m30s' or '500ms'
    ");
}

#[test]
fn gap_in_a_list_is_told_by_the_item_that_is_missing() {
    insta::assert_snapshot!(problems(&[("SECRETS_COUNT", "2"), ("SECRETS_0", "a"), ("SECRETS_2", "b")]), @"
    Validation errors:
    SECRETS_1:
    - is missing: `SECRETS_COUNT` is 2
    SECRETS_2:
    - is set, but `SECRETS_COUNT` is 2: write `SECRETS` as a YAML list
    ");
}

#[test]
fn dollar_sign_may_begin_a_user_name_or_the_value_of_an_item() {
    let report = problems(&[
        ("DEBUG", "maybe"),
        ("REGISTRY_USERNAME", "$oauthtoken"),
        ("REGISTRY_PASSWORD", "$uper5ecret"),
        ("ENV_VARS", "['DB_PASSWORD=$uper5ecret']"),
    ]);
    assert_eq!(report.lines().filter(|line| line.ends_with(':')).collect::<Vec<_>>(), ["Validation errors:", "DEBUG:"]);
    for (name, value) in [
        ("OPENFAAS_USERNAME", "$USERNAME"),
        ("OPENFAAS_USERNAME", "${username}"),
        ("ENV_VARS", "['A=$VALUE']"),
        ("ENV_VARS", "['A=${value}']"),
        ("LABELS", "['$label']"),
    ] {
        let report = problems(&[(name, value), ("OPENFAAS_PASSWORD", "x")]);
        assert!(report.contains(&format!("{name}:\n- ")) && report.contains("not the variable's value"), "{report}");
    }
}

#[test]
fn report_is_the_same_whatever_signs_the_stack_files_url() {
    let selection = |query: &str| {
        let url = format!("https://files.example.com/stack.yml{query}");
        let mut pairs = vec![("REPORT", "true"), ("DRY_RUN", "true"), ("STACK_FILE", &*url)];
        pairs.extend(["BITBUCKET_WORKSPACE", "BITBUCKET_REPO_SLUG", "BITBUCKET_COMMIT"].map(|name| (name, "x")));
        read(&environment(&pairs)).expect("valid").places.insights.expect("context").selection
    };
    assert_eq!(selection("?X-Amz-Signature=1"), selection("?X-Amz-Signature=2"));
    assert_ne!(selection("?path=1"), selection("?path=2"));
}

#[test]
fn blank_is_not_set() {
    let blank = [("TIMEOUT", ""), ("STACK_FILE", "  "), ("SECRETS_COUNT", ""), ("COMMAND", "")];
    let config = read(&environment(&blank)).unwrap();
    assert_eq!(config.timeout, Duration::from_secs(60));
    let Task::Deploy(deploy) = config.task else { panic!("not a deploy") };
    assert!(deploy.selection.stack_files.is_empty());
}

#[test]
fn function_that_is_set_but_empty_is_told_so() {
    insta::assert_snapshot!(problems(&[("COMMAND", "invoke"), ("FUNCTION", "")]), @"
    Validation errors:
    FUNCTION:
    - is set but empty: check that the variable it refers to is defined for this deployment environment
    ");
    insta::assert_snapshot!(problems(&[("COMMAND", "invoke"), ("SIGN_HEADER", "X-Sig"), ("PAYLOAD", "a"), ("PAYLOAD_FILE", "b")]), @"
    Validation errors:
    FUNCTION:
    - is not set, neither in the step nor as a workspace, repository or deployment variable
    PAYLOAD:
    - `PAYLOAD` and `PAYLOAD_FILE` cannot be used together: remove one
    SIGN_KEY:
    - is not set, neither in the step nor as a workspace, repository or deployment variable
    ");
}

#[test]
fn namespace_is_taken_from_the_functions_name() {
    let config = read(&environment(&[("COMMAND", "invoke"), ("FUNCTION", "import-csv.etl")])).unwrap();
    let Task::Invoke(invoke) = config.task else { panic!("not an invocation") };
    assert_eq!(invoke.function, FunctionName::new("import-csv", Some("etl")));
}

#[test]
fn defaults_are_valid_values() {
    for command in Command::ALL.iter().filter(|command| **command != Command::Invoke).map(|command| command.name()) {
        read(&environment(&[("COMMAND", command)])).unwrap();
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
        read(&environment(&pairs)).unwrap();
    }
}

#[test]
fn value_that_is_not_utf8_is_a_problem_and_no_panic() {
    use std::os::unix::ffi::OsStringExt as _;
    let garbled = std::ffi::OsString::from_vec(vec![0x66, 0xff]);
    let names = ["STACK_FILE", "OTHER", "LABELS_COUNT", "SECRETS_0"];
    let environment = Environment::new(names.map(|name| (name.into(), garbled.clone())));
    insta::assert_snapshot!(read(&environment).expect_err("problems").problems.report(), @r"
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
    let report = read(&environment).expect_err("problems").problems.report();
    assert!(report.contains("\n- `\\n` is not allowed in a namespace"), "{report}");
}
