//! `COMMAND: deploy`.

use std::process::Command;

use local_gateway::{Fault, Gateway};
use serde_json::{Value, json};

use crate::support::{GUIDE_STACK, Pipe, changes, guide, issuer, names, open, permissive, put, stack, start};

/// A deploy of these functions, each with version 1.0.
fn deploy(gateway: &Gateway, names: &[impl AsRef<str>]) -> Pipe {
    Pipe::at(gateway).stack(&stack(names, "1.0"))
}

/// The bodies of the requests with this method, in order.
fn bodies(gateway: &Gateway, method: &str) -> Vec<Value> {
    let requests = gateway.requests();
    let wanted = requests.iter().filter(|request| request.method == method && request.path == "/system/functions");
    wanted.map(|request| request.json()).collect()
}

fn pairs(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    changes.iter().map(|(method, name)| ((*method).to_owned(), (*name).to_owned())).collect()
}

#[test]
fn stack_file_of_the_guide_is_deployed() {
    let issuer = issuer();
    let gateway = guide(&issuer);
    let ran = Pipe::at(&gateway).stack(GUIDE_STACK).run().exits(0);
    insta::assert_snapshot!(ran.scrubbed(), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    INFO: deploying 1 function of `stack.yml` to `http://[GATEWAY]`
    INFO: exchanged the step's token at `http://[GATEWAY]`, valid for 30 min
    INFO: `import-csv.etl` created in [TIME]
    FUNCTION  NAMESPACE  IMAGE  RESULT  TIME
    import-csv  etl  docker.io/username/import-csv:latest  created  [TIME]
    URL: http://[GATEWAY]/function/NAME.NAMESPACE
    ✔ deployed 1 function in [TIME]
    ");
    assert_eq!(changes(&gateway), pairs(&[("PUT", "import-csv"), ("POST", "import-csv")]));
    let body = &bodies(&gateway, "POST")[0];
    assert_eq!(
        *body,
        json!({
            "service": "import-csv", "image": "docker.io/username/import-csv:latest", "namespace": "etl",
            "envVars": {"jwt_auth": "true"}, "labels": {}, "annotations": {},
        })
    );
    let deployed = gateway.function("etl", "import-csv");
    assert!(deployed.is_some());
}

#[test]
fn token_is_exchanged_once_for_many_functions() {
    let gateway = open();
    deploy(&gateway, &names(40)).run().exits(0).says("✔ deployed 40 functions in ");
    let exchanges = gateway.requests().iter().filter(|request| request.path == "/oauth/token").count();
    assert_eq!(exchanges, 1);
    assert_eq!(gateway.functions().len(), 40);
}

#[test]
fn existing_function_is_updated_in_place() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "f");
    deploy(&gateway, &["f"]).run().exits(0).says("`f` updated in ");
    assert_eq!(changes(&gateway), pairs(&[("PUT", "f")]));
}

#[test]
fn replace_creates_a_function_that_does_not_exist() {
    let gateway = open();
    deploy(&gateway, &["f"]).var("STRATEGY", "replace").run().exits(0).says("`f` created in ");
    assert_eq!(changes(&gateway), pairs(&[("DELETE", "f"), ("POST", "f")]));
}

#[test]
fn create_fails_for_an_existing_function() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "f");
    let ran = deploy(&gateway, &["f", "g"]).var("STRATEGY", "create").run();
    ran.exits(1)
        .says("`f`: POST /system/functions: 409 Conflict")
        .says("hint: the function already exists: remove `STRATEGY`")
        .says("✖ 1 of 2 functions not deployed");
    assert!(gateway.function("openfaas-fn", "g").is_some());
}

#[test]
fn failed_function_does_not_stop_the_others() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").containing("\"bad\"").status(400).body("no such secret: x"));
    gateway.fault(
        Fault::on("PUT", "/system/functions").containing("\"slow\"").delay(std::time::Duration::from_millis(200)),
    );
    let ran = deploy(&gateway, &["slow", "bad", "quick"]).run();
    let ran = ran.exits(1).says("`bad`: PUT /system/functions: 400 Bad Request: `no such secret: x`");
    let rows: Vec<&str> = ran.log.lines().skip_while(|line| !line.starts_with("FUNCTION")).collect();
    assert!(rows[1].starts_with("slow ") && rows[1].contains(" created "), "{}", ran.log);
    assert!(rows[2].starts_with("bad ") && rows[2].contains(" failed "), "{}", ran.log);
    assert!(rows[3].starts_with("quick ") && rows[3].contains(" created "), "{}", ran.log);
    assert_eq!(rows[4], "✖ 1 of 3 functions not deployed");
}

#[test]
fn namespaces_come_from_the_stack_file_unless_overridden() {
    let gateway = open();
    let text = stack(&["a", "b"], "1.0") + "    namespace: staging\n";
    let pipe = Pipe::at(&gateway).stack(&text);
    pipe.run().exits(0);
    assert!(gateway.function("openfaas-fn", "a").is_some() && gateway.function("staging", "b").is_some());
    pipe.var("OPENFAAS_NAMESPACE", "prod").run().exits(0);
    assert!(gateway.function("prod", "a").is_some() && gateway.function("prod", "b").is_some());
}

#[test]
fn filter_and_regex_select_functions() {
    let gateway = open();
    let pipe = deploy(&gateway, &["api-one", "api-two", "job"]);
    pipe.run_with("FILTER", "api-*").exits(0);
    assert_eq!(gateway.functions().len(), 2);
    pipe.run_with("REGEX", "^job$").exits(0);
    pipe.run_with("REGEX", "(").exits(2).says("✖ Validation errors:\nREGEX:\n- is not a valid regular expression: ");
    let ran = Pipe::at(&gateway).var("REGEX", "(").run().exits(2);
    ran.says("\nREGEX:\n- is not a valid regular expression: ").says("\nSTACK_FILE:\n- neither ");
    assert_eq!(gateway.functions().len(), 3);
    gateway.clear_requests();
    pipe.run_with("FILTER", "nothing").exits(2);
    assert!(gateway.requests().is_empty());
}

#[test]
fn variables_override_the_stack_file() {
    let gateway = open();
    let text = stack(&["f"], "1.0")
        + "    environment: {A: file, B: file}\n    labels: {a: file}\n    annotations: {a: file}\n    secrets: [file]\n";
    Pipe::at(&gateway)
        .stack(&text)
        .list("ENV_VARS", &["A=option", "C=x=y"])
        .list("LABELS", &["a=option"])
        .var("ANNOTATIONS", "a=option\nb=two words")
        .var("SECRETS", "['option']")
        .list("CONSTRAINTS", &["node.platform.os == linux"])
        .var("READ_ONLY", "on")
        .run()
        .exits(0);
    assert_eq!(
        bodies(&gateway, "POST")[0],
        json!({
            "service": "f", "image": "example/f:1.0", "envVars": {"A": "option", "B": "file", "C": "x=y"},
            "labels": {"a": "option"}, "annotations": {"a": "option", "b": "two words"}, "secrets": ["option", "file"],
            "constraints": ["node.platform.os == linux"], "readOnlyRootFilesystem": true,
        })
    );
}

#[test]
fn substitution_can_be_disabled() {
    let gateway = open();
    let pipe = Pipe::at(&gateway).stack(&(stack(&["f"], "1.0") + "    environment: {A: \"${B:-c}\"}\n"));
    pipe.run().exits(0);
    assert_eq!(bodies(&gateway, "POST")[0]["envVars"]["A"], "c");
    gateway.clear_requests();
    pipe.var("ENVSUBST", "false").run().exits(0);
    assert_eq!(bodies(&gateway, "PUT")[0]["envVars"]["A"], "${B:-c}");
}

#[test]
fn dry_run_prints_json_and_sends_nothing() {
    let gateway = open();
    let pipe = deploy(&gateway, &["f"]).without("OPENFAAS_URL").without("BITBUCKET_STEP_OIDC_TOKEN");
    let ran = pipe.var("DRY_RUN", "true").run().exits(0);
    let json: String =
        ran.log.lines().skip_while(|line| *line != "[").take_while(|line| !line.starts_with('✔')).collect();
    let sent: Value = serde_json::from_str(&json).expect("invalid JSON");
    assert_eq!(sent, json!([{"service": "f", "image": "example/f:1.0", "labels": {}, "annotations": {}}]));
    assert!(gateway.requests().is_empty());
}

#[test]
fn stack_file_is_found_by_name_by_path_and_from_the_clone_directory() {
    let gateway = open();
    let pipe =
        Pipe::at(&gateway).file("stack.yaml", stack(&["preferred"], "1.0")).file("stack.yml", stack(&["other"], "1.0"));
    pipe.run().exits(0);
    assert_eq!(gateway.functions()[0].name, "preferred");

    let clone = tempfile::tempdir().unwrap();
    std::fs::create_dir(clone.path().join("deploy")).unwrap();
    std::fs::write(clone.path().join("deploy/faas.yml"), stack(&["from-clone"], "1.0")).unwrap();
    Pipe::at(&gateway)
        .var("BITBUCKET_CLONE_DIR", clone.path().display().to_string())
        .var("STACK_FILE", "deploy/faas.yml")
        .run()
        .exits(0)
        .says("of `deploy/faas.yml`");
    assert!(gateway.function("openfaas-fn", "from-clone").is_some());
}

#[test]
fn missing_stack_file_is_reported() {
    let gateway = open();
    Pipe::at(&gateway).run().exits(2).says("STACK_FILE:\n- neither `stack.yaml` nor `stack.yml`");
    Pipe::at(&gateway).var("STACK_FILE", "x.yml").run().exits(2).says("STACK_FILE:\n- `x.yml` does not exist");
    Pipe::at(&gateway).var("STACK_FILE", "http://x/s.yml").run().exits(2).says("write an `https://` URL");
}

#[test]
fn gateway_of_the_stack_file_is_used_if_no_url_is_set() {
    let gateway = open();
    let text = stack(&["f"], "1.0").replace("name: openfaas", &format!("name: openfaas\n  gateway: {}", gateway.url()));
    let token = issuer().token().audience(gateway.public_url()).audience(gateway.url()).mint();
    let pipe = Pipe::at(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token);
    pipe.stack(&text).without("OPENFAAS_URL").run().exits(0);
    let text = stack(&["f"], "1.0").replace("name: openfaas", "name: openfaas\n  gateway: http://127.0.0.1:8080");
    let pipe = Pipe::at(&gateway).stack(&text);
    pipe.without("OPENFAAS_URL").run().exits(2).says("OPENFAAS_URL:\n- is not set");
    let pipe = Pipe::at(&gateway).stack(&(text.replace(":8080", ":80") + "    image: twice\n")).without("OPENFAAS_URL");
    pipe.run().exits(2).says("twice").does_not_say("OPENFAAS_URL");
    let pipe = Pipe::at(&gateway).stack(&stack(&["f"], "1.0")).var("OPENFAAS_URL", "");
    pipe.run().exits(2).says("OPENFAAS_URL:\n- is not set, neither in the step nor as a workspace");
}

#[test]
fn problems_of_variables_and_stack_file_are_reported_together() {
    let gateway = open();
    let pipe = Pipe::at(&gateway).stack(&(stack(&["f"], "1.0") + "    image: twice\n")).var("PARALLEL", "0");
    let ran = pipe.var("OPENFAAS_URL", "gw").run().exits(2);
    let ran = ran.says("ERROR: ").says("stack.yml:").says("✖ Validation errors:\nOPENFAAS_URL:\n- `gw` is not a URL");
    ran.says("\nPARALLEL:\n- `0` is not a whole number from 1 to 64\n");
    assert!(gateway.requests().is_empty());
}

#[test]
fn at_most_parallel_functions_are_deployed_at_once() {
    let gateway = open();
    let names = names(12);
    for name in &names {
        put(&gateway, "openfaas-fn", name);
    }
    gateway.fault(Fault::on("PUT", "/system/functions").delay(std::time::Duration::from_millis(40)));
    deploy(&gateway, &names).var("PARALLEL", "3").run().exits(0);
    let requests = gateway.requests();
    let arrivals: Vec<_> =
        requests.iter().filter(|request| request.method == "PUT").map(|request| request.arrived).collect();
    assert_eq!(arrivals.len(), 12);
    // Each request takes 40 ms, so a fourth one within 40 ms of the first would run beside three others.
    for window in arrivals.windows(4) {
        assert!(window[3] - window[0] >= std::time::Duration::from_millis(39), "{arrivals:?}");
    }
}

#[test]
fn password_takes_precedence_over_the_token() {
    let gateway = start(Gateway::builder().basic_auth("admin", "s3cr3t-password"));
    let pipe = deploy(&gateway, &["f"]).var("OPENFAAS_PASSWORD", "s3cr3t-password");
    let ran = pipe.run().exits(0).says("`OPENFAAS_PASSWORD` is set: basic auth is used, not the step's token");
    assert!(!ran.log.contains("s3cr3t"));
    assert_eq!(changes(&gateway), pairs(&[("PUT", "f"), ("POST", "f")]));
    let pipe = pipe.var("OPENFAAS_PASSWORD", "wrong-password");
    pipe.run().exits(3).says("401 Unauthorized").says("check `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`");
}

#[test]
fn unset_variable_causes_one_warning() {
    let gateway = open();
    let text = stack(&["f"], "1.0") + "    environment: {A: \"${COLOUR}\", B: \"${COLOUR}\"}\n";
    let ran = Pipe::at(&gateway).stack(&text).run().exits(0);
    assert_eq!(ran.log.matches("`COLOUR` is not set or empty").count(), 1, "{}", ran.log);
    ran.says("variables:").says("COLOUR:");
}

#[test]
fn substituting_a_variable_of_the_pipe_causes_a_warning() {
    let gateway = open();
    let text = stack(&["f"], "1.0") + "    environment: {A: \"${STRATEGY}\", B: \"${LABEL}\"}\n";
    let pipe = Pipe::at(&gateway).stack(&text).var("STRATEGY", "update").var("LABEL", "x");
    pipe.run().exits(0).says("the stack file substitutes `STRATEGY`, which is also a variable of this pipe");
}

/// Creates a clone with one commit on branch `topic`. Returns the abbreviated commit id.
fn clone_with_commit(dir: &std::path::Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", dir)
            .output()
            .expect("cannot run git");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("invalid text").trim().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch", "topic"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "one"]);
    git(&["rev-parse", "--short", "HEAD"])
}

#[test]
fn tag_format_names_images_as_faas_cli_does() {
    let gateway = open();
    let pipe = deploy(&gateway, &["f"]).file("f/handler.py", "x = 1\n");
    let sha = clone_with_commit(pipe.dir());
    let text = stack(&["f"], "1.0") + "    handler: ./f\n";
    let pipe = pipe.stack(&text);
    let image = |format: &str| {
        gateway.clear_requests();
        pipe.run_with_all(&[("TAG_FORMAT", format), ("GIT_DESCRIBE", "v1.2.0-3-g0f4e1d2\n")]).exits(0);
        bodies(&gateway, "PUT")[0]["image"].as_str().expect("missing image").to_owned()
    };
    assert_eq!(image("latest"), "example/f:1.0");
    assert_eq!(image("sha"), format!("example/f:1.0-{sha}"));
    assert_eq!(image("branch"), format!("example/f:1.0-topic-{sha}"));
    assert_eq!(image("describe"), "example/f:1.0-v1.2.0-3-g0f4e1d2");
    let digest = image("digest");
    let hash = digest.strip_prefix("example/f:").expect("the tag is replaced");
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
}

#[test]
fn describe_needs_the_text_that_git_prints() {
    let gateway = open();
    let pipe = deploy(&gateway, &["f"]).var("TAG_FORMAT", "describe");
    insta::assert_snapshot!(pipe.run().exits(2).log, @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ✖ Validation errors:
    TAG_FORMAT:
    - `describe` takes its text from `GIT_DESCRIBE`, which has no value; write in the step's `script:`
      - export GIT_DESCRIBE=$(git describe --tags --always)
      and in the pipe's `variables:`
        GIT_DESCRIBE: $GIT_DESCRIBE
    ");
    for value in ["", " \n", "$GIT_DESCRIBE"] {
        pipe.run_with("GIT_DESCRIBE", value).exits(2).says("TAG_FORMAT:\n- `describe` takes its text from");
    }
    for (value, message) in [
        ("v1\nv2", "has more than one line"),
        ("release/1.0-3-g0f4e1d2", "`release/1.0-3-g0f4e1d2` contains `/`, which no image tag can have"),
        ("v1 v2", "`v1 v2` contains ` `"),
        ("v1+x", "`v1+x` contains `+`"),
        ("fatal: No names found", "`fatal: No names found` contains `:`"),
        ("\u{e9}", "`\u{e9}` contains `\u{e9}`"),
    ] {
        pipe.run_with("GIT_DESCRIBE", value)
            .exits(2)
            .says(&format!("GIT_DESCRIBE:\n- {message}"))
            .does_not_say("ERROR");
    }
    // At most 128 characters, and those of the stack file's tag count.
    pipe.run_with("GIT_DESCRIBE", &"x".repeat(128)).exits(2).says("at most 128 letters");
    assert!(gateway.requests().is_empty());
}

#[test]
fn pipe_or_device_in_the_clone_is_refused_at_once() {
    let gateway = open();
    let pipe = deploy(&gateway, &["f"]).var("TAG_FORMAT", "sha");
    clone_with_commit(pipe.dir());
    let head = pipe.dir().join(".git/HEAD");
    std::fs::remove_file(&head).expect("cannot remove file");
    assert!(Command::new("mkfifo").arg(&head).status().expect("cannot run mkfifo").success());
    pipe.run().exits(2).says("HEAD` is a pipe or a device, not a file");
    assert!(gateway.requests().is_empty());
}

#[test]
fn sha_is_taken_from_bitbucket_commit_without_a_clone() {
    let gateway = open();
    let pipe = deploy(&gateway, &["f"]).var("TAG_FORMAT", "sha");
    let ran = pipe.run_with("BITBUCKET_COMMIT", "0123456789abcdef0123456789abcdef01234567").exits(0);
    ran.says("WARNING: ").says("the image tag is made from `BITBUCKET_COMMIT`");
    assert_eq!(bodies(&gateway, "PUT")[0]["image"], "example/f:1.0-0123456");
    gateway.clear_requests();
    // In pull request builds the commit has twelve digits.
    pipe.run_with("BITBUCKET_COMMIT", "fedcba987654").exits(0);
    assert_eq!(bodies(&gateway, "PUT")[0]["image"], "example/f:1.0-fedcba9");
    gateway.clear_requests();
    pipe.run().exits(2).says("TAG_FORMAT:\n- ");
    assert!(gateway.requests().is_empty());
}

#[test]
fn stack_file_is_fetched_from_a_url() {
    let gateway = start(permissive().tls());
    // Any file server will do. This one has a response for the path.
    gateway.fault(Fault::on("GET", "/team/stack.yml").status(200).body(stack(&["f"], "1.0")));
    let pipe = Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem());
    let pipe = pipe.var("STACK_FILE", format!("{}/team/stack.yml", gateway.url()));
    pipe.run().exits(0);
    let fetched = &gateway.requests()[0];
    assert_eq!((fetched.path.as_str(), fetched.header("authorization")), ("/team/stack.yml", None));
    assert!(gateway.function("openfaas-fn", "f").is_some());
    gateway.clear_faults();
    gateway.clear_requests();
    pipe.run().exits(2).says("could not be fetched: the server returned 404 Not Found");
    assert_eq!(gateway.requests().len(), 1);
    pipe.var("CA_CERT", "none").run().exits(2).says("CA_CERT:\n- `none` does not exist");
}
