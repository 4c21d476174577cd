//! Stack files that are not found, or are another file than was meant: the message names the one that is there.

use local_gateway::Fault;

use crate::support::{Pipe, open, permissive, stack, start};

fn pipe() -> Pipe {
    Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("DRY_RUN", "true")
}

#[test]
fn missing_file_is_told_with_the_one_that_exists() {
    let text = stack(&["f"], "1");
    let pipe = || pipe().file("functions.yml", &text).file("ci/other.yml", "a: b\n").file("notes.yml", "a: b\n");
    pipe().run().exits(2).says("STACK_FILE:\n- neither `stack.yaml` nor `stack.yml` is in the working directory or the clone directory; `functions.yml` exists: write `STACK_FILE: functions.yml`\n");
    for written in ["fuctions.yml", "functions.yaml", "Functions.yml", "stack.yml"] {
        let ran = pipe().var("STACK_FILE", written).run().exits(2);
        ran.says(&format!("- `{written}` does not exist, "))
            .says("; `functions.yml` exists: write `STACK_FILE: functions.yml`");
    }
    pipe()
        .var("STACK_FILE", "ci/othr.yml")
        .run()
        .exits(2)
        .says("`ci/other.yml` exists: write `STACK_FILE: ci/other.yml`");
    pipe().var("STACK_FILE", "none/stack.yml").run().exits(2).does_not_say("exists:");
    pipe().file("more.yml", &text).run().exits(2).says("; `functions.yml` and `more.yml` exist\n");
    // Each of a list is told.
    let ran = pipe().list("STACK_FILE", &["fuctions.yml", "none.yml"]).run().exits(2);
    ran.says("`fuctions.yml` does not exist").says("`none.yml` does not exist");
}

#[test]
fn default_file_that_hides_another_is_told() {
    let text = stack(&["f"], "1");
    let warning = "WARNING: both `stack.yaml` and `stack.yml` exist, and `stack.yaml` is used";
    pipe().file("stack.yaml", &text).file("stack.yml", &text).run().exits(0).says(warning);
    let haskell = pipe().file("stack.yaml", "resolver: lts-22\n").file("stack.yml", &text);
    haskell.run().exits(2).says(warning).says("`stack.yaml` is a file of Haskell's `stack`, not a stack file");
    haskell.var("STACK_FILE", "stack.yml").run().exits(0).does_not_say("WARNING");
}

#[test]
fn several_paths_in_one_line_are_an_error() {
    let pipe = pipe().file("a.yml", stack(&["a"], "1")).file("b.yml", stack(&["b"], "1"));
    pipe.var("STACK_FILE", "a.yml, b.yml")
        .run()
        .exits(2)
        .says("STACK_FILE:\n- is one line that looks like 2 items: write a list, ['a.yml', 'b.yml']");
}

#[test]
fn redirect_of_a_stack_file_is_not_followed() {
    let (files, other) = (start(permissive().tls()), open());
    let location = format!("{}/stack.yml?token=s3cret-of-a-link", other.url());
    files.fault(Fault::on("GET", "/stack.yml").redirect(302, &location));
    let pipe = Pipe::at(&files).var("CA_CERT", files.ca_pem()).var("STACK_FILE", format!("{}/stack.yml", files.url()));
    let ran = pipe.run().exits(2);
    ran.says("could not be fetched: it redirects to `http://127.0.0.1:")
        .says("/stack.yml?…`: write that URL")
        .does_not_say("s3cret");
    assert!(other.requests().is_empty());
}

#[test]
fn misspelt_field_stops_a_deploy() {
    let gateway = open();
    let text = stack(&["f"], "1") + "    enviroment:\n      A: 1\n";
    let ran = Pipe::at(&gateway).stack(&text).run().exits(2);
    ran.says("stack.yml:6:5: unknown field `enviroment` in function `f`").says("hint: write `environment`");
    assert!(gateway.requests().is_empty());
}

#[test]
fn own_names_that_mean_the_same_are_no_clash() {
    let text = "provider: {name: openfaas, gateway: '${OPENFAAS_URL:-http://127.0.0.1:8080}'}\nfunctions:\n  f: {image: 'a/f:1', namespace: '${OPENFAAS_NAMESPACE:-dev}'}\n";
    pipe().stack(text).var("OPENFAAS_NAMESPACE", "etl").run().exits(0).does_not_say("WARNING");
    let clash = pipe().stack(&text.replace("a/f:1", "a/f:${TIMEOUT}")).var("TIMEOUT", "5s").run().exits(0);
    clash.says("the stack file substitutes `TIMEOUT`, which is also a variable of this pipe");
}

#[test]
fn build_secret_is_not_asked_for() {
    let text = stack(&["f"], "1") + "    build_args:\n      NPM_TOKEN: ${NPM_TOKEN}\n";
    pipe().stack(&text).run().exits(0).does_not_say("NPM_TOKEN");
}

#[test]
fn json_and_names_that_a_shell_changed_are_named() {
    let pipe = || pipe().stack(&stack(&["f"], "1"));
    let ran = pipe().var("DOCKER_AUTH_CONFIG", "{auths:{ghcr.io:{auth:c2VjcmV0}}}").run().exits(2);
    ran.says("DOCKER_AUTH_CONFIG:\n- is JSON without its quotes, which a shell or Bitbucket removed: pass the JSON as base64\n").does_not_say("c2VjcmV0");
    let ran = pipe().list("ENV_VARS", &["A=1", "CONFIG={name:x}"]).run().exits(0);
    ran.says("WARNING: the value of item 2 of `ENV_VARS` is JSON without its quotes");
}

#[test]
fn field_that_nothing_reads_is_warned_about() {
    let function = |field: &str| stack(&["f"], "1") + field;
    for field in ["envVars", "readOnlyRootFilesystem", "replicas", "env_file", "command"] {
        let ran = pipe().stack(&function(&format!("    {field}: x\n"))).run().exits(0);
        ran.says(&format!("unknown field `{field}` in function `f`: it is ignored\n"));
    }
    pipe()
        .stack(&function("    limits: {ram: 5Mi}\n"))
        .run()
        .exits(0)
        .says("unknown field `ram` in `limits`: it is ign");
    let root = pipe().stack(&function("namespace: etl\n")).run().exits(0);
    root.says("unknown field `namespace` in the stack file: it is ignored\n").says("hint: write it below a function");
    let other = pipe().stack("services:\n  web: {image: nginx}\nvolumes: {}\n").run().exits(2);
    other.says("is a Docker Compose file, not a stack file").does_not_say("unknown field");
    let own = function("    x-own: 1\n    <<: *c\nx-more: 1\n");
    let own = format!("common: &c {{labels: {{a: b}}}}\n{own}");
    pipe().stack(&own).run().exits(0).does_not_say("unknown field");
}
