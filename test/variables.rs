//! The rules for variables, as reported in the log.

use std::os::unix::ffi::OsStringExt as _;

use crate::support::{Pipe, Ran, open, put, stack};

/// A deploy that succeeds unless a variable is invalid.
fn pipe() -> Pipe {
    Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("DRY_RUN", "true").stack(&stack(&["f"], "1.0"))
}

#[test]
fn all_problems_are_reported_together_sorted_by_name() {
    let ran = pipe().var("TIMEOUT", "soon").var("DEBUG", "maybe").var("RETRIES", "-1").var("STRATEGY", "x").run();
    let ran = ran.exits(2);
    insta::assert_snapshot!(ran.scrubbed(), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ✖ Validation errors:
    DEBUG:
    - `maybe` is not a boolean: write 'true' or 'false'
    RETRIES:
    - `-1` is not a whole number from 0 to 20
    STRATEGY:
    - unallowed value `x`: write one of update, replace, create
    TIMEOUT:
    - `soon` is not a duration: write for example '90s', '1m30s' or '500ms'
    ");
}

#[test]
fn booleans_have_several_spellings() {
    for (text, dry) in [
        ("true", true),
        ("YES", true),
        ("On", true),
        ("1", true),
        ("false", false),
        ("no", false),
        ("OFF", false),
        ("0", false),
    ] {
        let gateway = open();
        Pipe::at(&gateway).stack(&stack(&["f"], "1.0")).var("DRY_RUN", text).run().exits(0);
        assert_eq!(gateway.requests().is_empty(), dry, "{text}");
    }
}

#[test]
fn blank_value_counts_as_not_set() {
    pipe().var("STRATEGY", "").var("FILTER", " ").var("LABELS", "\n").run().exits(0);
    Pipe::new().var("COMMAND", "invoke").var("FUNCTION", "").var("OPENFAAS_URL", "https://gw").run().exits(2).says(
        "FUNCTION:\n- is set but empty: check that the variable it refers to is defined for this deployment environment",
    );
}

#[test]
fn values_are_trimmed() {
    pipe().var("STRATEGY", " update\n").var("PARALLEL", " 3 ").run().exits(0);
}

#[test]
fn unknown_command_is_reported_with_the_known_ones() {
    pipe().var("COMMAND", "deplyo").run().exits(2).says("write one of deploy, invoke, whoami, diff, remove");
}

fn labels(ran: Ran) -> serde_json::Value {
    let ran = ran.exits(0);
    let json: String =
        ran.log.lines().skip_while(|line| *line != "[").take_while(|line| !line.starts_with('✔')).collect();
    let sent: serde_json::Value = serde_json::from_str(&json).expect("invalid JSON");
    sent[0]["labels"].clone()
}

#[test]
fn lists_have_three_forms() {
    let expected = serde_json::json!({"a": "1", "b": "two words"});
    assert_eq!(labels(pipe().list("LABELS", &["a=1", "b=two words"]).run()), expected);
    assert_eq!(labels(pipe().var("LABELS", "a=1\nb=two words\n").run()), expected);
    assert_eq!(labels(pipe().var("LABELS", "['a=1', \"b=two words\"]").run()), expected);
}

#[test]
fn invalid_lists_are_explained() {
    pipe()
        .var("LABELS_COUNT", "two")
        .run()
        .exits(2)
        .says("LABELS_COUNT:\n- `two` is not a whole number up to 10000: write `LABELS` as a YAML list");
    pipe()
        .var("LABELS_COUNT", "2")
        .var("LABELS_0", "a=1")
        .run()
        .exits(2)
        .says("LABELS_1:\n- is missing: `LABELS_COUNT` is 2");
    pipe().var("LABELS_0", "a=1").run().exits(2).says("LABELS_0:\n- is set, but `LABELS_COUNT` is not");
    pipe().list("LABELS", &["a=1"]).var("LABELS", "a=1").run().exits(2).says("LABELS:\n- is set twice");
    pipe().var("LABELS", "['a=1'").run().exits(2).says("LABELS:\n- looks like a YAML list but is not valid");
    pipe().var("LABELS", "a").run().exits(2).says("LABELS:\n- item 1 is not of the form `key=value`");
    pipe().list("ENV_VARS", &["A="]).run().exits(2).says("ENV_VARS:\n- `A` has an empty value");
    pipe().list("ENV_VARS", &["A=1", ""]).run().exits(2).says("ENV_VARS:\n- item 2 is empty");
}

#[test]
fn invalid_list_item_is_not_printed() {
    // It may be a secret without its key.
    pipe().list("ENV_VARS", &["hunter2-hunter2"]).run().exits(2).does_not_say("hunter2");
}

#[test]
fn misspelled_variable_is_an_error_with_a_suggestion() {
    for (written, meant) in [
        ("DRYRUN", "DRY_RUN"),
        ("ROLL_BACK", "ROLLBACK"),
        ("STACK_FLIE", "STACK_FILE"),
        ("openfaas_url", "OPENFAAS_URL"),
    ] {
        let message = format!("{written}:\n- is not a variable of this pipe: write `{meant}` if that was meant\n");
        for command in ["deploy", "diff", "remove", "whoami"] {
            let gateway = open();
            let ran = Pipe::at(&gateway)
                .stack(&stack(&["f"], "1.0"))
                .var("COMMAND", command)
                .var(written, "true")
                .run()
                .exits(2);
            ran.says(&message);
            assert!(gateway.requests().is_empty());
        }
    }
    let message = "VERFIY:\n- is not a variable of this pipe: write `VERIFY` if that was meant\n";
    pipe().stack(&stack(&["f"], "1.0")).list("VERFIY", &["f"]).run().exits(2).says(message).does_not_say("VERFIY_");
    let stack = stack(&["f"], "1.0")
        .replace("f:1.0", "f:${ROLL_BACK}")
        .replace("  name: openfaas", "  name: openfaas # ${DRYRUN}");
    pipe().stack(&stack).var("DRYRUN", "1").var("ROLL_BACK", "1").run().exits(0).does_not_say("not a variable");
}

#[test]
fn misspelled_variable_is_reported_with_the_missing_one() {
    let message = "STACK_FLIE:\n- is not a variable of this pipe: write `STACK_FILE` if that was meant\n";
    for command in ["deploy", "diff", "remove"] {
        let pipe = Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("COMMAND", command);
        pipe.var("STACK_FLIE", "x").run().exits(2).says(message).says("STACK_FILE:\n- neither");
    }
    Pipe::new().var("COMMAND", "whoami").var("STACK_FLIE", "x").run().exits(2).says(message).says("OPENFAAS_URL:\n- ");
    let invoke = Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("COMMAND", "invoke");
    let ran = invoke.var("FUNCTOIN", "f").run().exits(2).says("FUNCTION:\n- is not set");
    ran.says("FUNCTOIN:\n- is not a variable of this pipe: write `FUNCTION` if that was meant");
    let broken = pipe().stack("functions: ${STACKFILE}").var("STACK_FLIE", "x").var("STACKFILE", "[");
    broken.run().exits(2).says(message).does_not_say("STACKFILE:\n");
}

#[test]
fn variable_names_of_faas_cli_cause_a_warning() {
    for (written, ours) in [("NAMESPACE", "OPENFAAS_NAMESPACE"), ("TAG", "TAG_FORMAT"), ("FUNCTION_NAME", "FUNCTION")] {
        let warning = format!("WARNING: `{written}` is not a variable of this pipe: use `{ours}`\n");
        pipe().var(written, "x").run().exits(0).says(&warning);
        let stack = stack(&["f"], "1.0").replace("f:1.0", &format!("f:${{{written}}}"));
        pipe().stack(&stack).var(written, "x").run().exits(0).does_not_say("not a variable");
    }
}

#[test]
fn blank_filter_is_an_error_for_remove() {
    let gateway = open();
    for name in ["FILTER", "REGEX"] {
        let pipe = || Pipe::at(&gateway).stack(&stack(&["f"], "1.0")).var(name, " ");
        pipe().run().exits(0);
        gateway.clear_requests();
        let ran = pipe().var("COMMAND", "remove").run().exits(2);
        ran.says(&format!("{name}:\n- is set but empty: check that the variable it refers to is defined for this "))
            .says(", or remove it to remove all functions of the stack file\n");
        assert!(gateway.requests().is_empty());
    }
}

#[test]
fn long_value_is_not_printed() {
    let long = format!("https://{}:x", "s3cr3t".repeat(20));
    for name in ["OPENFAAS_URL", "TIMEOUT", "RETRIES", "DEBUG", "STRATEGY"] {
        pipe().var(name, &long).run().exits(2).says("`<130 characters>`").does_not_say("s3cr3t");
        pipe().var(name, "s3cr3t\ns3cr3t").run().exits(2).says("`<13 characters>`").does_not_say("s3cr3t");
    }
}

#[test]
fn unexpanded_value_is_an_error() {
    let ran = pipe().list("ENV_VARS", &["A=$SECRET"]).var("OPENFAAS_NAMESPACE", "$NAMESPACE").run().exits(2);
    ran.says(
        "OPENFAAS_NAMESPACE:\n- contains the text `$NAMESPACE`, not the variable's value: define `NAMESPACE` as a repository or \
         deployment variable, and write `$NAMESPACE` without quotes or a backslash\n",
    )
    .says("ENV_VARS:\n- item 1 contains the text `$SECRET`, not the variable's value: define `SECRET` as a ");
    let ran = pipe().var("LABELS", "a=1\nb=${LABEL}").var("ANNOTATIONS", "['c=$NOTE']").var("SECRETS", "$KEYS").run();
    ran.exits(2)
        .says("LABELS:\n- item 2 contains the text `${LABEL}`")
        .says("ANNOTATIONS:\n- item 1 contains the text `$NOTE`")
        .says("SECRETS:\n- item 1 contains the text `$KEYS`");
    let invoke = Pipe::new().var("COMMAND", "invoke").list("HEADERS", &["X-Api-Key: $KEY"]);
    invoke.run().exits(2).says("HEADERS:\n- item 1 contains the text `$KEY`");
    // Any text may be meant.
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let invoke = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("PAYLOAD", "$BODY");
    invoke.run().exits(0).says("WARNING: `PAYLOAD` contains the text `$BODY`, not the variable's value");
}

#[test]
fn variable_of_another_command_causes_a_warning() {
    pipe().var("FUNCTION", "f").run().exits(0).says("`FUNCTION` is not used by `COMMAND: deploy`, only by `invoke`");
}

#[test]
fn non_utf8_value_is_an_error() {
    let pipe = pipe();
    let mut command = pipe.command();
    command.env("STACK_FILE", std::ffi::OsString::from_vec(vec![b'a', 0xff]));
    Ran::from(command.output().unwrap()).exits(2).says("STACK_FILE:\n- is not UTF-8 text");
}

#[test]
fn non_utf8_substituted_value_is_an_error() {
    for image in ["example/f:1.0${GARBLED}", "${GARBLED}"] {
        let pipe = pipe().stack(&stack(&["f"], "1.0").replace("example/f:1.0", image));
        let mut command = pipe.command();
        command.env("GARBLED", std::ffi::OsString::from_vec(vec![b'a', 0xff]));
        Ran::from(command.output().unwrap()).exits(2).says("GARBLED:\n- is not UTF-8 text");
    }
}

#[test]
fn colours_are_printed_unless_no_color_is_set() {
    let ran = pipe().without("NO_COLOR").run().exits(0);
    ran.says("\x1b[34mINFO:\x1b[0m openfaas-pipe ").says("\x1b[32m✔\x1b[0m ");
    let ran = pipe().without("NO_COLOR").var("PARALLEL", "0").run().exits(2);
    ran.says("\x1b[31m✖\x1b[0m Validation errors:\nPARALLEL:\n");
    pipe().var("NO_COLOR", "1").run().exits(0).does_not_say("\x1b");
}

#[test]
fn debug_prints_requests_but_not_the_environment() {
    let gateway = open();
    let pipe = Pipe::at(&gateway).stack(&stack(&["f"], "1.0")).var("OTHER_VARIABLE", "other-value");
    pipe.run().exits(0).does_not_say("DEBUG: ");
    let ran = pipe.var("DEBUG", "true").run().exits(0);
    let ran = ran
        .says("DEBUG: POST http://127.0.0.1:")
        .says("/oauth/token: 200 OK in ")
        .says("/system/functions: 202 Accepted in ");
    ran.does_not_say("other-value");
}
