//! What people write in place of what they mean: it is refused or named, never sent without a word.

use crate::support::{Pipe, Ran, open, put, stack};

/// A deploy that would succeed.
fn deploy() -> Pipe {
    let stack = stack(&["echo", "status"], "1") + "    secrets: [key]\n";
    Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("DRY_RUN", "true").stack(&stack)
}

fn invoke() -> Pipe {
    Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("COMMAND", "invoke").var("FUNCTION", "echo")
}

#[test]
fn variable_that_has_no_effect_is_named_with_what_it_takes() {
    let checks =
        "only with `CHECK_IMAGES` or `PIN_IMAGES` or `IMAGE_PLATFORMS`, of which none is set: the cluster pulls ";
    let auth = r#"{"auths":{"ghcr.io":{"username":"u","password":"some-password"}}}"#;
    for (variables, says) in [
        (
            &[("WAIT_TIMEOUT", "2m")][..],
            "`WAIT_TIMEOUT` is used by `COMMAND: deploy` only with `WAIT` or `VERIFY`, of ",
        ),
        (
            &[("WAIT_TIMEOUT", "2m"), ("WAIT", "false")],
            "`WAIT_TIMEOUT` is used by `COMMAND: deploy` only with `WAIT` or ",
        ),
        (
            &[("VERIFY", "echo"), ("CONTENT_TYPE", "text/csv")],
            "`CONTENT_TYPE` is used by `COMMAND: deploy` only with `METHOD: ",
        ),
        (
            &[("VERIFY", "echo"), ("CONTENT_TYPE", "text/csv"), ("METHOD", "get")],
            "only with `METHOD: POST`, which is not set",
        ),
        (&[("REPORT_PROXY", "http://proxy:1"), ("REPORT", "false")], "only with `REPORT`, which is not set"),
        (
            &[("REPORT", "true"), ("REPORT_PROXY", "http://127.0.0.1:1")],
            "`REPORT`: without `BITBUCKET_COMMIT`, which Bitbucket sets, ",
        ),
        (
            &[("NO_PROXY", "localhost, *.example.com")],
            "`NO_PROXY`: `*.example.com` matches no host: write `.example.com`",
        ),
        (&[("VERIFY", "echo"), ("WAIT", "false")], "`WAIT` has no effect with `VERIFY`: remove one of the two"),
        (&[("PIN_IMAGES", "true"), ("CHECK_IMAGES", "no")], "`CHECK_IMAGES` has no effect with `PIN_IMAGES`: "),
        (&[("DOCKER_AUTH_CONFIG", auth)], checks),
        (&[("REGISTRY_USERNAME", "u"), ("REGISTRY_PASSWORD", "some-password"), ("PIN_IMAGES", "false")], checks),
        (&[("AWS_OIDC_ROLE_ARN", "arn:aws:iam::123456789012:role/deploy")], checks),
    ] {
        deploy().run_with_all(variables).exits(0).says("WARNING: ").says(says);
    }
    for variables in [
        &[("WAIT_TIMEOUT", "2m"), ("WAIT", "true")][..],
        &[("WAIT_TIMEOUT", "2m"), ("STRATEGY", "Replace")],
        &[("VERIFY", "echo"), ("CONTENT_TYPE", "text/csv"), ("METHOD", "POST"), ("WAIT", "true")],
        &[
            ("PIN_IMAGES", "true"),
            ("CHECK_IMAGES", "true"),
            ("AWS_OIDC_ROLE_ARN", "arn:aws:iam::123456789012:role/deploy"),
        ],
        &[("IMAGE_PLATFORMS", "linux/amd64"), ("DOCKER_AUTH_CONFIG", auth)],
    ] {
        deploy().run_with_all(variables).exits(0).does_not_say("WARNING: ");
    }
    let login = Pipe::new().var("COMMAND", "login").var("STACK_FILE", "x.yml").var("REGISTRIES", "ghcr.io");
    login.run().exits(2).says("WARNING: `STACK_FILE` has no effect with `REGISTRIES`: remove one of the two");
}

#[test]
fn blank_variables_are_named() {
    let ran = deploy().var("FILTER", " ").var("VERIFY", "").var("OPENFAAS_NAMESPACE", "").run().exits(0);
    ran.says("INFO: set but empty, which counts as not set: `FILTER`, `VERIFY`\n");
    deploy().var("OPENFAAS_PASSWORD", "").run().exits(0).does_not_say("set but empty");
}

#[test]
fn command_that_nothing_has_run_is_named() {
    for (name, value) in [
        ("OPENFAAS_NAMESPACE", "$(cat ns)"),
        ("FILTER", "`cat filter`"),
        ("STACK_FILE", "$(ls *.yml)"),
        ("CA_CERT", "$(cat ca.pem)"),
        ("SECRET_VALUES", "key=$(cat key)"),
    ] {
        let ran = deploy().var(name, value).run().exits(2);
        ran.says(&format!("{name}:\n- ")).says("contains the command `").does_not_say("/system/");
    }
    let described = deploy().var("TAG_FORMAT", "describe").var("GIT_DESCRIBE", "$(git describe --tags --always)");
    described
        .run()
        .exits(2)
        .says("GIT_DESCRIBE:\n- contains the command `$(git describe --tags --always)`, which nothing");
    for (name, value, says) in [
        (
            "ENV_VARS",
            "VERSION=v-$(git describe)",
            "the value of item 1 of `ENV_VARS` contains `$(git describe)` that was",
        ),
        (
            "OPENFAAS_PASSWORD",
            "$(cat password)",
            "`OPENFAAS_PASSWORD` is a command or a placeholder, which nothing has",
        ),
        ("OPENFAAS_PASSWORD", "'secretly'", "`OPENFAAS_PASSWORD` is in quotes, which are a part of it"),
        ("OPENFAAS_PASSWORD", "undefined", "`OPENFAAS_PASSWORD` is a word such as "),
    ] {
        deploy().var(name, value).run().exits(0).says(&format!("WARNING: {says}"));
    }
    // Kubernetes expands it in the container.
    deploy().var("ENV_VARS", "ADDRESS=$(POD_IP)").run().exits(0).does_not_say("WARNING: ");
}

#[test]
fn values_of_another_shape_are_refused() {
    for (name, value, says) in [
        ("VERIFY", "true", "is the boolean `true`, but takes a list"),
        ("SECRETS", "False", "is the boolean `False`, but takes a list"),
        ("OPENFAAS_NAMESPACE", "false", "is the boolean `false`, but takes a text"),
        ("FILTER", "echo\nstatus", "has several lines, but takes one text: write `REGEX: '^(first|second)$'`"),
        ("CA_CERT", "~/ca.pem", "`~/ca.pem` is no path of the step: write a relative path"),
        ("IMAGES_FROM", "https://x/result.json", "`https://x/result.json` is no path of the step"),
        ("ENV_VARS", "AA=1|BB=2", "is one line that looks like 2 items: write a list, ['AA=…', '…']"),
        ("SECRETS", "a、b", "`a、b` is several names: write a list, ['a', 'b']"),
        ("ENV_VARS", "AA=1，BB=2", "is one line that looks like 2 items: write a list, ['AA=…', '…']"),
        ("ENV_VARS", "--env=A=1", "item 1 begins with `-`, which no name does"),
        ("ENV_VARS", "$env:A=1", "item 1 begins with `$`, which no name does"),
    ] {
        deploy().var(name, value).run().exits(2).says(&format!("{name}:\n- {says}"));
    }
    for (name, value, says) in [
        ("OUTPUT_FILE", "true", "is the boolean `true`, but takes a text"),
        ("OUTPUT_FILE", "a.txt\nb.txt", "has several lines, but takes one text: write one"),
        ("OUTPUT_FILE", "https://x/y", "`https://x/y` is no path of the step"),
        ("QUERY", "/path?a=1", "is a path with a query: write ['key=value']"),
        ("OPENFAAS_NS", "a.b", "contains a `.`, which no namespace of a function has"),
        ("OPENFAAS_NAMESPACE", "a.b", "contains a `.`, which no namespace of a function has"),
        (
            "FUNCTION",
            "echo/healthz",
            "contains a `/`: write `healthz.echo`, the name first, if `echo` is the namespace",
        ),
        ("FUNCTION", "function/echo/x", "is a path: write `echo`"),
    ] {
        invoke().var(name, value).run().exits(2).says(&format!("{name}:\n- {says}"));
    }
}

#[test]
fn values_that_may_be_meant_cause_a_warning() {
    for (item, says) in [
        ("A=null", "is `null`, which scripts write for a value that is missing"),
        ("A=1\nB=2", "has a line that looks like an item of its own: write an item for each"),
    ] {
        let says = format!("WARNING: the value of item 1 of `ENV_VARS` {says}");
        deploy().list("ENV_VARS", &[item]).run().exits(0).says(&says);
    }
    let comment = deploy().var("ENV_VARS", "A=1 # one").run().exits(0);
    comment.says("WARNING: the value of item 1 of `ENV_VARS` contains ` #`, which begins no comment here");
    for item in ["COLOUR=#fff", "A=a\nb=c", "TEXT=one # two"] {
        deploy().list("ENV_VARS", &[item]).run().exits(0).does_not_say("WARNING: ");
    }
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let invoke = || Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo");
    for (name, value, says) in [
        ("PAYLOAD", "@data.csv", "`PAYLOAD` reads no file, and is sent as it is: write `PAYLOAD_FILE: data.csv`"),
        ("PAYLOAD", "$(cat data.csv)", "`PAYLOAD` contains `$(cat data.csv)`, which was not expanded"),
        ("PAYLOAD", "{name:x}", "`PAYLOAD` is JSON without its quotes, which a shell or Bitbucket removed"),
        ("QUERY", "q=a%20b", "the value of item 1 of `QUERY` is encoded once more"),
    ] {
        invoke().var(name, value).run().exits(0).says(&format!("WARNING: {says}"));
    }
    for value in ["@everyone", "<p>a.b</p>", "100%", "a $(date) b"] {
        invoke().var("PAYLOAD", value).run().exits(0).does_not_say("WARNING: ");
    }
}

#[test]
fn calls_are_checked_against_the_stack_file_before_the_deploy() {
    for (call, says) in [
        (
            "function/echo/healthz",
            "`function/echo/healthz` calls `function`, which no stack file has: write `echo/healthz`",
        ),
        ("etl/echo?x=1", "`etl/echo?x=1` calls `etl`, which no stack file has: write `echo?x=1`"),
        ("POST echo/x", "`POST echo/x`: begins with a method, which `METHOD` sets: write `echo/x`\n"),
    ] {
        deploy().list("VERIFY", &[call]).run().exits(2).says(&format!("VERIFY:\n- {says}"));
    }
    // One cause, one error.
    let several = deploy().var("VERIFY", "echo status").run().exits(2);
    several.says("VERIFY:\n- is one line that looks like 2 items").does_not_say("%20");
    for (call, near) in [("ech", "echo"), ("Status/healthz", "status")] {
        let says = format!("which no stack file has: write `{near}` if that was meant");
        deploy().var("VERIFY", call).run().exits(0).says("WARNING: `VERIFY`: `").says(&says);
    }
    for call in ["other/healthz", "echo/status", "echo.etl/x"] {
        deploy().var("VERIFY", call).run().exits(0).does_not_say("WARNING: ");
    }
    deploy().var("VERIFY", "status").var("FILTER", "echo").run().exits(0).does_not_say("WARNING: ");
}

#[test]
fn commands_of_other_tools_are_answered_with_those_of_the_pipe() {
    for (command, says) in [
        ("up", "the pipe builds no images: build and push them in the step's script, and write `deploy`"),
        ("faas-cli push", "the pipe builds no images"),
        ("rm", "to remove functions, write `remove`"),
        ("list", "to compare the stack file with what runs, write `diff`"),
        ("call", "to call a function, write `invoke`"),
        ("secret create", "to create or update secrets, write `deploy`, with `SECRET_VALUES`"),
        ("Deploy --wait", "an option is a variable of its own"),
        ("deploy,invoke", "an option is a variable of its own, and another command a pipe of its own"),
        ("faas-cli deploy", "an option is a variable of its own"),
    ] {
        let ran = deploy().var("COMMAND", command).run().exits(2);
        let unallowed = format!("COMMAND:\n- unallowed value `{command}`: write one of deploy, invoke, whoami, diff, ");
        ran.says(&unallowed).says(&format!("; {says}"));
    }
    deploy().var("COMMAND", "deplyo").run().exits(2).says("whoami, diff, remove, login\n");
}

#[test]
fn certificate_is_checked_in_a_dry_run_too() {
    deploy().var("CA_CERT", "ca.pem").run().exits(2).says("CA_CERT:\n- `ca.pem` does not exist");
}

#[test]
fn queued_call_leaves_no_response() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let invoke = || Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo");
    let pipe = invoke().var("ASYNC", "true").var("OUTPUT_FILE", "response.txt");
    pipe.run().exits(0).says("WARNING: `OUTPUT_FILE` has no effect with `ASYNC`").does_not_say("the response is in");
    assert!(!pipe.dir().join("response.txt").exists());
    let callback = || invoke().list("HEADERS", &["x-callback-url: https://hooks.example.com"]);
    callback().run().exits(0).says("WARNING: `X-Callback-Url` has no effect without `ASYNC: 'true'`");
    callback().var("ASYNC", "true").run().exits(0).does_not_say("WARNING: ");
}

#[test]
fn header_that_another_variable_would_replace_is_an_error() {
    let own = || invoke().list("HEADERS", &["authorization: Bearer some-token"]);
    own().var("AUTH", "always").run().exits(2).says("AUTH:\n- `always` puts a function token in place of the ");
    let signed = |name: &str| invoke().var("SIGN_KEY", "some-key").var("SIGN_HEADER", name);
    for name in ["Authorization", "content-type"] {
        signed(name).run().exits(2).says("SIGN_HEADER:\n- is a header that the pipe sets itself");
    }
}

#[test]
fn payload_that_is_the_path_of_a_file_causes_a_warning() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let invoke = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").file("data.csv", "a,b");
    let says = "WARNING: `PAYLOAD` is sent as it is, and is the path of a file: write `PAYLOAD_FILE: data.csv` for its content";
    invoke.run_with("PAYLOAD", "data.csv").exits(0).says(says);
    invoke.run_with("PAYLOAD", "other.csv").exits(0).does_not_say("WARNING: ");
    invoke.run_with("PAYLOAD", ".").exits(0).does_not_say("WARNING: ");
}

#[test]
fn names_that_nothing_reads_are_listed_in_a_pipeline() {
    let names =
        [("BODY", "x"), ("OPENFAAS_TOKEN", "x"), ("HOME", "/root"), ("BLANK", ""), ("USED", "2"), ("CI", "true")];
    let pipe = || deploy().stack("provider: {name: openfaas}\nfunctions: {f: {image: 'example/f:${USED}'}}\n");
    let ran = pipe().var("BITBUCKET_BUILD_NUMBER", "7").run_with_all(&names).exits(0);
    ran.says("WARNING: set, but used neither by the pipe nor by the stack file: `BODY`, `OPENFAAS_TOKEN`\n");
    pipe().run_with_all(&names).exits(0).does_not_say("WARNING: ");
}

#[test]
fn proxy_that_cannot_be_used_is_an_error() {
    for (url, says) in [
        ("\"http://proxy:3128\"", "is not the URL of a proxy: write for example `http://proxy.example.com:3128`"),
        ("http://", "is not the URL of a proxy"),
        ("http://user:s3cr#t@proxy:3128", "is not the URL of a proxy"),
        ("socks5://proxy:1080", "is a proxy for `socks5`: only those for `http` and `https` are used"),
        ("$HTTP_PROXY", "contains the text `$HTTP_PROXY`, not the variable's value"),
    ] {
        let ran = deploy().var("https_proxy", url).run().exits(2);
        ran.says(&format!("https_proxy:\n- {says}")).does_not_say("s3cr");
    }
    for url in ["http://proxy:3128/", "proxy.example.com:3128", "proxy", "http://user:pa$s@proxy:3128"] {
        deploy().var("HTTPS_PROXY", url).run().exits(0).does_not_say("WARNING: ");
    }
}

#[test]
fn variables_of_bitbucket_that_are_not_utf8_are_errors() {
    use std::os::unix::ffi::OsStringExt as _;
    let garbled = || std::ffi::OsString::from_vec(b"/clone\xff".to_vec());
    for name in ["BITBUCKET_CLONE_DIR", "BITBUCKET_BRANCH", "HTTP_PROXY"] {
        let ran = Ran::from(deploy().command().env(name, garbled()).output().expect("cannot run the pipe"));
        ran.exits(2).says(&format!("{name}:\n- is not UTF-8 text"));
    }
}

#[test]
fn secret_that_is_the_path_of_a_file_causes_a_warning() {
    let says =
        "WARNING: `SECRET_VALUES`: the value of `key` is the path of a file: for its content use `SECRET_FILES`\n";
    let pipe = deploy().file("tls.key", "some-key");
    for value in ["key=tls.key", "key=@tls.key"] {
        pipe.run_with("SECRET_VALUES", value).exits(0).says(says);
    }
    pipe.run_with("SECRET_VALUES", "key=other.key").exits(0).does_not_say("WARNING: ");
}

#[test]
fn whoami_names_secrets_that_no_function_uses() {
    let gateway = open();
    let stack = stack(&["echo"], "1") + "    secrets: [db-password]\n";
    let whoami = Pipe::at(&gateway).var("COMMAND", "whoami").stack(&stack);
    let ran = whoami.run_with("SECRET_VALUES", "db-passwort=some-value").exits(2);
    ran.says("SECRET_VALUES:\n- no selected function uses the secret `db-passwort`; write `db-password`");
    let ran = whoami.run_with("SECRET_FILES", "other=other.key").exits(2);
    ran.says("SECRET_FILES:\n- no selected function uses the secret `other`; they use `db-password`");
    // The step that is planned makes the file.
    whoami.run_with("SECRET_FILES", "db-password=password.txt").exits(0);
}

#[test]
fn variables_that_the_stack_file_overrules_are_named() {
    let fields = "    constraints: [x=y]\n    readonly_root_filesystem: true\n";
    let own = || deploy().stack(&(stack(&["echo", "own"], "1") + fields));
    let says = |variable: &str| {
        format!("WARNING: `{variable}` has no effect on functions for which the stack file says otherwise: `own`\n")
    };
    own().var("READ_ONLY", "false").run().exits(0).says(&says("READ_ONLY"));
    own().list("CONSTRAINTS", &["a=b"]).run().exits(0).says(&says("CONSTRAINTS"));
    own().var("READ_ONLY", "true").run().exits(0).does_not_say("WARNING: ");
    let spaced = stack(&["f"], "1") + "    environment:\n      export A: 1\n";
    deploy().stack(&spaced).run().exits(0).says("environment variable name `export A`: it contains white space");
}
