//! Lookup in another shape than the one that is read: an error before any request, never a part of what was written.

use openfaas_pipe::config::{VARIABLES, ValueKind};
use openfaas_pipe::function::Command;

use crate::read_or_reported::{self, Shape};
use crate::support::{Pipe, open, put, stack};

const COMMANDS: [&str; 6] = ["deploy", "diff", "remove", "whoami", "login", "invoke"];

#[test]
fn list_for_a_text_is_an_error_for_every_variable_and_command() {
    let gateway = open();
    for variable in VARIABLES.iter().filter(|variable| !variable.kind.is_list()) {
        let name = variable.name;
        let expected = format!("{name}:\n- is a list, but takes one text: write ");
        let pipe = || Pipe::at(&gateway).stack(&stack(&["f"], "1")).without(name);
        pipe().list(name, &["a", "b"]).run().exits(2).says(&expected);
        pipe().var(&format!("{name}_COUNT"), "0").run().exits(2).says(&expected);
        pipe().var(&format!("{name}_0"), "a").run().exits(2).says(&expected);
    }
    for command in COMMANDS {
        let pipe = Pipe::at(&gateway).stack(&stack(&["f"], "1")).var("COMMAND", command).var("FUNCTION", "f");
        pipe.list("TIMEOUT", &["5s"])
            .run()
            .exits(2)
            .says("TIMEOUT:\n- is a list, but takes one text: write `TIMEOUT: '5s'`\n");
    }
    assert!(gateway.requests().is_empty());
}

#[test]
fn list_for_a_selection_removes_nothing() {
    let gateway = open();
    for (name, items, write) in [
        ("FILTER", &["old-*"][..], "write `FILTER: 'old-*'`"),
        ("FILTER", &["preview-1", "a.b*"], "write `REGEX: '^(first|second)$'`"),
        ("REGEX", &["preview-.*"], "write `REGEX: 'preview-.*'`"),
        ("REGEX", &["^a$", "^b$"], "write `REGEX: '^(first|second)$'`"),
        ("FILTER", &[], "write `FILTER: '…'`"),
        ("OPENFAAS_NAMESPACE", &["etl"], "write `OPENFAAS_NAMESPACE: 'etl'`"),
    ] {
        let pipe = Pipe::at(&gateway).stack(&stack(&["api", "preview-1"], "1")).var("COMMAND", "remove");
        pipe.list(name, items).run().exits(2).says(&format!("{name}:\n- is a list, but takes one text: ")).says(write);
    }
    // A blank item is a list too.
    let pipe = Pipe::at(&gateway).stack(&stack(&["api"], "1")).var("COMMAND", "remove");
    pipe.list("FILTER", &[""]).run().exits(2).says("FILTER:\n- is a list, but takes one text: ");
    assert!(gateway.requests().is_empty());
}

#[test]
fn list_of_commands_or_switches_changes_nothing() {
    let gateway = open();
    for (name, item) in [("COMMAND", "remove"), ("DRY_RUN", "true"), ("STRATEGY", "create"), ("TAG_FORMAT", "sha")] {
        let ran = Pipe::at(&gateway).stack(&stack(&["f"], "1")).list(name, &[item]).run().exits(2);
        ran.says(&format!("{name}:\n- is a list, but takes one text: write `{name}: '{item}'`\n"));
    }
    // What follows from it is not said.
    let ran = Pipe::at(&gateway).var("COMMAND", "invoke").list("FUNCTION", &["f"]).run().exits(2);
    ran.says("FUNCTION:\n- is a list").does_not_say("is not set");
    let ran = Pipe::new().stack(&stack(&["f"], "1")).list("OPENFAAS_URL", &["https://gw.example.com"]).run().exits(2);
    ran.says("OPENFAAS_URL:\n- is a list").does_not_say("is not set");
    assert!(gateway.requests().is_empty());
}

#[test]
fn list_of_secrets_is_not_printed() {
    for variable in VARIABLES.iter().filter(|variable| variable.kind == ValueKind::Secret) {
        let ran = Pipe::new().stack(&stack(&["f"], "1")).list(variable.name, &["s3cr3t-value"]).run().exits(2);
        ran.does_not_say("s3cr3t").says(&format!("write `{}: $VARIABLE`", variable.name));
    }
}

#[test]
fn blank_parts_of_a_list_are_not_set() {
    let pipe = Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("DRY_RUN", "true");
    pipe.stack(&stack(&["f"], "1")).var("FILTER_COUNT", "").var("FILTER_0", " ").run().exits(0);
}

#[test]
fn every_variable_is_read_or_reported_in_every_shape() {
    for variable in VARIABLES {
        for command in Command::ALL {
            for shape in Shape::ALL {
                let values = read_or_reported::values(variable, "marker");
                read_or_reported::check(variable, *command, shape, &values);
            }
        }
    }
}

/// A deploy that succeeds unless a variable is invalid.
fn pipe() -> Pipe {
    Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("DRY_RUN", "true").stack(&stack(&["f"], "1.0"))
}

fn invoke() -> Pipe {
    Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("COMMAND", "invoke").var("FUNCTION", "f")
}

#[test]
fn several_items_in_one_line_are_an_error_with_the_list_to_write() {
    for (name, text, write) in [
        ("ENV_VARS", "A=1,B=2", "['A=…', '…']"),
        ("ENV_VARS", "A=1 B=2", "['A=…', '…']"),
        ("LABELS", "a=1, b=2", "['a=…', '…']"),
        ("ANNOTATIONS", "a.b/c=1;d=2", "['a.b/c=…', '…']"),
        ("CONSTRAINTS", "a=b,c=d", "['a=…', '…']"),
        ("CONSTRAINTS", "node.role == worker, node.os == linux", "['node.role=…', '…']"),
        ("CONSTRAINTS", "node.role!=worker node.os!=linux", "['node.role=…', '…']"),
        ("ENV_VARS", r"A=1\nB=2", "['A=…', '…']"),
        ("SECRETS", r"one\ntwo", "['one', 'two']"),
        ("LABELS", "x=y\na=1,b=2", "['a=…', '…']"),
        ("VERIFY", "a/x?y=1,b/x", "['a/x?y=1', 'b/x']"),
        ("VERIFY", "a/x b/x", "['a/x', 'b/x']"),
        ("SECRETS", "one,two", "['one', 'two']"),
        ("SECRETS", "one two", "['one', 'two']"),
        ("VERIFY", "a/x,b/x", "['a/x', 'b/x']"),
        ("IMAGE_PLATFORMS", "linux/amd64,linux/arm64", "['linux/amd64', 'linux/arm64']"),
        ("OUTPUT_VARIABLES", "OPENFAAS_URL, OPENFAAS_IMAGES", "['OPENFAAS_URL', 'OPENFAAS_IMAGES']"),
    ] {
        pipe().var(name, text).run().exits(2).says(&format!("{name}:\n- ")).says(&format!("write a list, {write}"));
    }
    let names = Pipe::new().var("COMMAND", "login").var("REGISTRIES", "ghcr.io,quay.io").run().exits(2);
    names.says("REGISTRIES:\n- `ghcr.io,quay.io` is several names: write a list, ['ghcr.io', 'quay.io']\n");
    invoke()
        .var("QUERY", "a=1&b=2")
        .run()
        .exits(2)
        .says("QUERY:\n- is one line that looks like 2 items: write a list, ['a=…', '…']");
    for (query, first) in [("?a=1", '?'), ("['?a=1']", '?'), ("['&a=1']", '&')] {
        let message = format!("QUERY:\n- begins with `{first}`: write ['key=value']");
        invoke().var("QUERY", query).run().exits(2).says(&message);
    }
    invoke().var("HEADERS", "A: 1, B: 2").run().exits(2).says("HEADERS:\n- is one line that looks like 2 items");
    // Values may be secrets.
    pipe().var("ENV_VARS", "A=s3cr3t,B=s3cr3t").run().exits(2).does_not_say("s3cr3t");
    pipe().var("ENV_VARS", "db_password=k7Zq&Qx9Zt=w").run().exits(2).says("2 items").does_not_say("Qx9Zt");
}

#[test]
fn one_item_in_one_line_may_contain_any_text() {
    for (name, text) in [
        ("ENV_VARS", "HOSTS=a,b c"),
        ("ENV_VARS", "DSN=host=db user=x"),
        ("ENV_VARS", "['A=1,B=2']"),
        ("LABELS", "a=b"),
        ("ANNOTATIONS", "topic=a,b"),
        ("VERIFY", "f?ids=1,2"),
        ("CONSTRAINTS", "node.role == worker"),
        ("ENV_VARS", "RULE=x == y, z == w"),
    ] {
        pipe().var(name, text).run().exits(0);
    }
    pipe().list("ENV_VARS", &["A=1,B=2"]).run().exits(0).says("\"A\": \"1,B=2\"");
}

#[test]
fn empty_and_unexpanded_items_are_errors_in_every_list() {
    for variable in VARIABLES.iter().filter(|variable| variable.kind.is_list()) {
        let name = variable.name;
        let command = match name {
            "QUERY" => "invoke",
            "REGISTRIES" => "login",
            _ => "deploy",
        };
        let pipe = || {
            let pipe = pipe().var("COMMAND", command).var("FUNCTION", "f");
            if name == "HEADERS" { pipe.list("VERIFY", &["f"]) } else { pipe }
        };
        let first = if variable.kind == ValueKind::Headers || name == "GATEWAY_HEADERS" { "A: 1" } else { "a=1" };
        let empty = format!("{name}:\n- item 2 is empty: check that the variable it refers to is defined for this ");
        pipe().list(name, &[first, ""]).run().exits(2).says(&empty);
        pipe().list(name, &[first, " "]).run().exits(2).says(&empty);
        for item in ["$UNSET", "${UNSET}", "${{UNSET}}"] {
            let ran = pipe().list(name, &[first, item]).run().exits(2);
            ran.says(&format!(
                "{name}:\n- item 2 contains the text `{item}`, not the variable's value: define `UNSET` as a "
            ));
        }
    }
}

#[test]
fn parts_of_a_list_that_do_not_fit_are_errors() {
    pipe()
        .list("SECRETS", &["a"])
        .var("SECRETS_1", "b")
        .run()
        .exits(2)
        .says("SECRETS_1:\n- is set, but `SECRETS_COUNT` is 1");
    pipe().var("SECRETS_7", "b").run().exits(2).says("SECRETS_7:\n- is set, but `SECRETS_COUNT` is not");
    pipe().list("SECRETS", &["a"]).var("SECRETS_00", "b").run().exits(2).says("SECRETS_00:\n- is set, but ");
}

#[test]
fn items_of_another_form_are_refused() {
    for (name, item, says) in [
        ("ENV_VARS", "A: 1", "item 1 (`A`) has `:` instead of `=`: write `A=…`"),
        ("LABELS", "com.example/a: x=1", "item 1 has white space before its `=`"),
        ("ENV_VARS", r#"{"A":"1","B":"2"}"#, "is JSON or a YAML mapping: write a list, ['first', 'second']"),
        ("ENV_VARS", "--env A=1", "item 1 has white space before its `=`"),
        ("ENV_VARS", "“A=1”", "item 1 contains the typographic quote `“`"),
        ("SECRETS", "‘api-key’", "item 1 contains the typographic quote `‘`"),
        ("LABELS", "a\u{a0}b=1", "item 1 contains a no-break space (U+00A0)"),
    ] {
        pipe().var(name, item).run().exits(2).says(&format!("{name}:\n- {says}"));
    }
    let json = pipe().list("ENV_VARS", &[r#"{"A": "s3cr3t"}"#]).run().exits(2);
    json.says("ENV_VARS:\n- item 1 is JSON or a YAML mapping: write ['key=value']").does_not_say("s3cr3t");
    invoke().list("HEADERS", &["X-Key=1"]).run().exits(2).says("item 1 has `=` instead of `:`: write `Key: Value`");
}

#[test]
fn texts_that_are_not_what_was_typed_are_named() {
    for (name, value, says) in [
        ("STRATEGY", "“replace”", "contains the typographic quote `“`: write `'` or `\"`"),
        ("FILTER", "‘f’", "contains the typographic quote `‘`"),
        ("OPENFAAS_NAMESPACE", "e\u{200b}tl", "contains an invisible character (U+200B)"),
        ("STACK_FILE", "my\u{a0}stack.yml", "item 1 contains a no-break space (U+00A0)"),
        (
            "OPENFAAS_URL",
            "${{OPENFAAS_URL}}",
            "contains the text `${{OPENFAAS_URL}}`, not the variable's value: define `OPENFAAS_URL` as ",
        ),
        ("OPENFAAS_URL", "https://${GW_HOST}/base", "contains the text `${GW_HOST}`, not the variable's value"),
        ("FILTER", "f, g-*", "is one wildcard, not several: write `REGEX: '^(first|second)$'`"),
        ("FILTER", "$SELECTED", "contains the text `$SELECTED`, not the variable's value"),
    ] {
        let ran = pipe().var(name, value).run().exits(2).says(&format!("{name}:\n- {says}"));
        // What follows from it is not said.
        ran.does_not_say("no function name matches");
    }
}

#[test]
fn json_without_its_quotes_is_an_error() {
    let payload = |text: &str| invoke().var("PAYLOAD", text).var("CONTENT_TYPE", "application/json; charset=utf-8");
    payload("{name:x}")
        .run()
        .exits(2)
        .says("PAYLOAD:\n- is JSON without its quotes, which a shell or Bitbucket removed: write `\\\"`");
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let pipe = || Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo");
    pipe().var("PAYLOAD", r#"{"name":"x"}"#).var("CONTENT_TYPE", "application/json").run().exits(0);
    pipe().var("PAYLOAD", "{name:x}").run().exits(0);
}

#[test]
fn functions_are_named_without_their_address() {
    let url = "https://gw.example.com/function/resize/healthz";
    pipe().list("VERIFY", &[url]).run().exits(2).says("is a URL or a path: write `resize/healthz`");
    invoke()
        .var("FUNCTION", "etl/import-csv")
        .run()
        .exits(2)
        .says("FUNCTION:\n- contains a `/`: write `import-csv.etl`");
    invoke()
        .var("FUNCTION", "/function/import-csv.etl")
        .run()
        .exits(2)
        .says("FUNCTION:\n- is a URL or a path: write `import-csv.etl`");
}

#[test]
fn password_in_a_url_is_not_printed_whatever_variable_has_it() {
    let url = "https://bob:s3cr3t-password@registry.example.com";
    for (name, value) in [
        ("REGISTRY_HOST", url.to_owned()),
        ("STRATEGY", url.to_owned()),
        ("IMAGE_PLATFORMS", url.to_owned()),
        ("DOCKER_AUTH_CONFIG", format!(r#"{{"auths":{{"{url}":{{"auth":"!"}}}}}}"#)),
    ] {
        let ran = pipe().var("CHECK_IMAGES", "true").var(name, value).run().exits(2);
        ran.does_not_say("s3cr3t").says(&format!("{name}:\n- "));
    }
    let ran = Pipe::new().var("COMMAND", "login").list("REGISTRIES", &[url]).run().exits(2);
    ran.does_not_say("s3cr3t").says("REGISTRIES:\n- ");
}

#[test]
fn dry_run_accepts_a_gateway_without_tls() {
    pipe().var("OPENFAAS_URL", "http://gateway.openfaas:8080").run().exits(0);
    let refused = pipe().var("OPENFAAS_URL", "http://gateway.openfaas:8080").var("DRY_RUN", "false").run().exits(2);
    refused.says("is an address inside a cluster");
}

#[test]
fn function_without_a_command_asks_for_the_command() {
    let warning =
        "`FUNCTION` is not used by `COMMAND: deploy`, only by `invoke`: if that was meant, write `COMMAND: invoke`\n";
    pipe().var("FUNCTION", "f").run().exits(0).says(warning);
    let headers = pipe().list("HEADERS", &["A: 1"]).run().exits(0);
    headers.says("`HEADERS` is used by `COMMAND: deploy` only with `VERIFY`, which is not set\n");
    let explicit = pipe().var("FUNCTION", "f").var("COMMAND", "deploy").run().exits(0);
    explicit.says("only by `invoke`\n");
    let ran = invoke().var("PARALLEL", "2").list("ENV_VARS", &["A=1"]).var("OPENFAAS_URL", "x").run().exits(2);
    ran.says("`ENV_VARS` is not used by `COMMAND: invoke`, only by `deploy` and `diff`\n");
}

#[test]
fn no_color_of_any_bytes_turns_colours_off() {
    use std::os::unix::ffi::OsStringExt as _;
    let pipe = pipe().without("NO_COLOR");
    let mut command = pipe.command();
    command.env("NO_COLOR", std::ffi::OsString::from_vec(vec![0xff]));
    crate::support::Ran::from(command.output().expect("cannot run the pipe")).exits(0).does_not_say("\x1b");
}

#[test]
fn texts_that_nothing_has_filled_in_are_errors() {
    for (name, value, says) in [
        ("OPENFAAS_URL", "https://gw.example.com/$BASE", "contains the text `$BASE`, not the variable's value"),
        ("OPENFAAS_URL", "https://{{HOST}}", "contains `{{HOST}}`, which nothing has filled in: write the value"),
        ("OPENFAAS_NAMESPACE", "${NS:-etl}", "contains `${NS:-etl}`, which nothing has filled in"),
        ("OPENFAAS_NAMESPACE", "null", "is `null`, which scripts write for a value that is missing"),
        ("OPENFAAS_NS", "undefined", "is `undefined`, which scripts write for a value that is missing"),
        ("REGISTRY_HOST", "%HOST%.example.com", "contains `%HOST%`, which nothing has filled in"),
        ("OPENFAAS_NAMESPACE", "'etl'", "is in quotes, which are a part of the value: remove them"),
        ("STRATEGY", "replace,", "ends with `,`: remove it"),
    ] {
        pipe().var(name, value).run().exits(2).says(&format!("{name}:\n- {says}"));
    }
    for (name, value) in [
        ("OUTPUT_FILE", "out/$BITBUCKET_BUILD_NUMBER.json"),
        ("OUTPUT_FILE", "'out.json'"),
        ("OUTPUT_FILE", "out.json;"),
        ("OUTPUT_FILE", "out/"),
        ("FUNCTION", "null"),
    ] {
        let says = format!("{name}:\n- ");
        invoke().var(name, value).run().exits(2).says(&says);
    }
    // These may have a `$`.
    pipe().var("REGISTRY_USERNAME", "robot$NAME").var("REGISTRY_PASSWORD", "secret").run().exits(0);
    pipe().var("REGEX", "^f$|^g$").run().exits(0);
}

#[test]
fn items_that_nothing_has_filled_in_or_that_have_too_many_quotes_are_errors() {
    let not_expanded = "contains the text `$STAGE`, not the variable's value";
    for (name, item, says) in [
        ("SECRETS", "db-$STAGE", not_expanded),
        ("STACK_FILE", "$STAGE/stack.yml", not_expanded),
        ("VERIFY", "f/healthz/$STAGE", not_expanded),
        ("ENV_VARS", "$STAGE_URL=1", "contains the text `$STAGE_URL`"),
        ("SECRETS", "null", "is `null`, which scripts write"),
        ("ENV_VARS", "'A=1'", "begins with `'`, which is a part of it: remove quotes within quotes"),
        ("GATEWAY_HEADERS", "'X-A: s3cr3t'", "begins with `'`"),
        ("LABELS", "\"a=1\"", "begins with `\"`"),
        ("ENV_VARS", "['A=1']", "is a list within the list: write its items as items of their own"),
    ] {
        let ran = pipe().list(name, &[item]).run().exits(2);
        ran.says(&format!("{name}:\n- item 1 {says}")).does_not_say("s3cr3t");
    }
    for (name, text, says) in [
        ("SECRETS", "- db\n- \n", "item 2 is empty: check that the variable it refers to"),
        ("SECRETS", "[db, ~]", "item 2 is empty"),
        ("SECRETS", "db,\napi", "item 1 ends with `,`, `;` or `\\`: remove it"),
        ("ENV_VARS", "A=1 \\\nB=2", "item 1 ends with `,`, `;` or `\\`"),
        ("ENV_VARS", "- A=1\n  - B=2", "looks like a YAML list but is not valid"),
        ("ENV_VARS", "`A=1`", "item 1 begins with ```, which no name does"),
        ("GATEWAY_HEADERS", "X-A: Bearer ", "`X-A` is set but empty: check that the variable"),
        ("ENV_VARS", "A=1,\nB=2", "item 1 ends with `,`, `;` or `\\`"),
    ] {
        pipe().var(name, text).run().exits(2).says(&format!("{name}:\n- {says}"));
    }
    let value = "item 1 is `undefined`, which scripts write for a value that is missing";
    pipe().list("SECRET_VALUES", &["db=undefined"]).run().exits(2).says(&format!("SECRET_VALUES:\n- {value}"));
    pipe().list("GATEWAY_HEADERS", &["X-A: null"]).run().exits(2).says("GATEWAY_HEADERS:\n- item 1 is `null`");
    pipe().list("GATEWAY_HEADERS", &["X-A: "]).run().exits(2).says("GATEWAY_HEADERS:\n- `X-A` is set but empty");
    let own = pipe().list("GATEWAY_HEADERS", &["Content-Type: a/b"]).run().exits(2);
    own.says("GATEWAY_HEADERS:\n- `content-type` is set by the HTTP client");
    // A key of OData, and what may be meant.
    let ran = invoke().list("QUERY", &["$filter=a eq 1"]).var("OPENFAAS_URL", "x").run().exits(2);
    ran.does_not_say("QUERY");
}

#[test]
fn values_that_may_be_meant_are_warned_about_and_sent() {
    let quoted = "WARNING: the value of item 1 of `ENV_VARS` is in quotes, which are a part of it";
    pipe().list("ENV_VARS", &["A=\"1\""]).run().exits(0).says(quoted).says(r#""A": "\"1\"""#);
    let reference = "WARNING: the value of item 1 of `ENV_VARS` contains `$HOST` that was not expanded";
    pipe().list("ENV_VARS", &["A=https://$HOST/x"]).run().exits(0).says(reference);
    let secret = pipe().list("ENV_VARS", &["DB_PASSWORD=abc$XY7ZQ"]).run().exits(0);
    secret.says("contains a name that was not expanded").does_not_say("`$XY7ZQ`");
    let header = pipe().list("GATEWAY_HEADERS", &["X-A: Bearer $TOKEN"]).run().exits(0);
    header.says("WARNING: the value of item 1 of `GATEWAY_HEADERS` contains a name that was not expanded");
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let payload = |text: &str| {
        let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("PAYLOAD", text);
        pipe.var("CONTENT_TYPE", "application/json").run().exits(0)
    };
    payload(r#"{"a":"$BODY_TEXT"}"#).says("WARNING: `PAYLOAD` contains `$BODY_TEXT`, which was not expanded");
    for text in ["{'a':'b'}", r#"{"a":1,}"#, "{“a”:1}", "undefined", r#"{\"a\":1}"#] {
        payload(text).says("WARNING: `PAYLOAD` is not valid JSON, which `CONTENT_TYPE` says it is: ");
    }
    payload("[1, 2]").does_not_say("WARNING");
}

#[test]
fn content_type_is_a_media_type() {
    for text in ["\"application/json\"", "Content-Type: application/json", "application/json,", "application/", "a b/c"]
    {
        invoke().var("CONTENT_TYPE", text).run().exits(2).says("CONTENT_TYPE:\n- ");
    }
    let ran = invoke().var("CONTENT_TYPE", "multipart/form-data; boundary=\"x y\"").var("OPENFAAS_URL", "x").run();
    ran.exits(2).does_not_say("CONTENT_TYPE");
}

#[test]
fn item_that_another_would_replace_is_an_error() {
    for (name, items) in [
        ("ENV_VARS", ["A=1", "A=2"]),
        ("LABELS", ["a=1", " a=1"]),
        ("ANNOTATIONS", ["a=1", "a=2"]),
        ("SECRETS", ["a", "a"]),
    ] {
        let key = if name == "ENV_VARS" { "A" } else { "a" };
        pipe().list(name, &items).run().exits(2).says(&format!("{name}:\n- `{key}` is listed twice: remove one\n"));
    }
    // A function may read a key more than once.
    let query = invoke().list("QUERY", &["a=1", "a=2"]).var("OPENFAAS_URL", "x").run().exits(2);
    query.does_not_say("QUERY");
}

#[test]
fn value_among_the_names_of_secrets_is_not_printed() {
    for item in ["db=s3cr3t-value", "db=s3cr3t value", "db = s3cr3t-value"] {
        let ran = pipe().list("SECRETS", &[item]).run().exits(2).does_not_say("s3cr3t");
        ran.says("SECRETS:\n- takes names: write `name=value` as an item of `SECRET_VALUES`\n");
    }
}

#[test]
fn slips_in_names_and_values_are_warned_about_or_refused() {
    let nbsp = pipe().list("ENV_VARS", &["A=1\u{a0}B=2"]).run().exits(0);
    nbsp.says("WARNING: the value of item 1 of `ENV_VARS` contains a no-break space (U+00A0)");
    let separator = pipe().list("ENV_VARS", &["A=1\u{2028}B=2"]).run().exits(0);
    separator.says("WARNING: the value of item 1 of `ENV_VARS` contains a line separator that is no line feed");
    let path = pipe().list("VERIFY", &["f/{{path}}"]).run().exits(2);
    path.says("VERIFY:\n- item 1 contains `{{path}}`, which nothing has filled in");
    let described = pipe().var("GIT_DESCRIBE", "v1").var("TAG_FORMAT", "latest").run().exits(0);
    described.says("`GIT_DESCRIBE` is used by `COMMAND: deploy` only with `TAG_FORMAT: describe`, which is not set");
    let name = pipe().var("OPENFAAS_DRY_RUN", "true").run().exits(2);
    name.says("OPENFAAS_DRY_RUN:\n- is not a variable of this pipe: write `DRY_RUN` if that was meant\n");
}

#[test]
fn what_is_set_twice_or_is_two_values_is_an_error() {
    let sign = invoke().var("SIGN_HEADER", "x-a").var("SIGN_KEY", "k3y-of-hmac").list("HEADERS", &["X-A: 1"]);
    sign.run().exits(2).says("SIGN_HEADER:\n- is set twice, here and in `HEADERS`: remove one\n");
    let content_type = invoke().var("CONTENT_TYPE", "a/b").list("HEADERS", &["Content-Type: c/d"]);
    content_type.run().exits(2).says("CONTENT_TYPE:\n- is set twice, here and in `HEADERS`: remove one\n");
    for name in ["OPENFAAS_USERNAME", "REGISTRY_USERNAME"] {
        let pipe = pipe().var("OPENFAAS_PASSWORD", "x-password").var("REGISTRY_PASSWORD", "x-password");
        let ran = pipe.var("REGISTRY_USERNAME", "bob").var(name, "bob:s3cr3t").run().exits(2).does_not_say("s3cr3t");
        ran.says(&format!("{name}:\n- contains a `:`: write only the user name"));
    }
}

#[test]
fn white_space_around_a_value_is_warned_about() {
    let value = |item: &str| pipe().list("ENV_VARS", &[item]).run().exits(0);
    value("A = 1").says("WARNING: the value of item 1 of `ENV_VARS` begins with a space, which is a part of it\n");
    value("A=1\r").says("WARNING: the value of item 1 of `ENV_VARS` ends with a line break, which is a part of it\n");
    value("A=-----BEGIN\nEND").does_not_say("WARNING");
    pipe().list("CONSTRAINTS", &["node.role == worker"]).run().exits(0).does_not_say("WARNING");
}
