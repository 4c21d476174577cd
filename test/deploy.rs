//! `COMMAND: deploy`.

use local_gateway::{Fault, Gateway};
use serde_json::{Value, json};

use crate::support::{GUIDE_STACK, Pipe, changes, guide, issuer, open, permissive, put, stack, start};

/// A deploy of these functions.
fn deploy(gateway: &Gateway, names: &[&str]) -> Pipe {
    Pipe::at(gateway).stack(&stack(names))
}

/// The bodies of the requests with a method, in order.
fn bodies(gateway: &Gateway, method: &str) -> Vec<Value> {
    let requests = gateway.requests();
    let wanted = requests.iter().filter(|request| request.method == method && request.path == "/system/functions");
    wanted.map(|request| request.json()).collect()
}

fn pairs(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    changes.iter().map(|(method, name)| ((*method).to_owned(), (*name).to_owned())).collect()
}

#[test]
fn guide_deploys_as_the_guide_says() {
    let issuer = issuer();
    let gateway = guide(&issuer);
    let ran = Pipe::at(&gateway).stack(GUIDE_STACK).run().exits(0);
    insta::assert_snapshot!(ran.scrubbed(), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    INFO: deploying 1 function of `stack.yml` to `http://[GATEWAY]`
    INFO: exchanged the step's token at `http://[GATEWAY]`, valid for 30 min
    INFO: `import-csv.etl` created in [TIME]
    FUNCTION  NAMESPACE  IMAGE  RESULT  TIME  URL
    import-csv  etl  docker.io/username/import-csv:latest  created  [TIME]  http://[GATEWAY]/function/import-csv.etl
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
    let names: Vec<String> = (0..40).map(|number| format!("f{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    deploy(&gateway, &names).run().exits(0).says("✔ deployed 40 functions in ");
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
fn replace_deletes_waits_until_it_is_gone_and_creates() {
    let gateway = start(permissive().deletion(std::time::Duration::from_millis(300)));
    put(&gateway, "openfaas-fn", "f");
    deploy(&gateway, &["f"]).var("STRATEGY", "replace").run().exits(0).says("`f` replaced in ");
    assert_eq!(changes(&gateway), pairs(&[("DELETE", "f"), ("POST", "f")]));
}

#[test]
fn replace_creates_what_was_not_there() {
    let gateway = open();
    deploy(&gateway, &["f"]).var("STRATEGY", "replace").run().exits(0).says("`f` created in ");
    assert_eq!(changes(&gateway), pairs(&[("DELETE", "f"), ("POST", "f")]));
}

#[test]
fn create_leaves_an_existing_function_alone() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "f");
    let ran = deploy(&gateway, &["f", "g"]).var("STRATEGY", "create").run();
    ran.exits(1).says("`f`: POST /system/functions: 409 Conflict").says("✖ 1 of 2 functions not deployed");
    assert!(gateway.function("openfaas-fn", "g").is_some());
}

#[test]
fn function_that_fails_does_not_stop_the_others_and_the_table_is_in_the_files_order() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/functions").containing("\"bad\"").status(400).body("no such secret: x"));
    gateway.fault(
        Fault::on("PUT", "/system/functions").containing("\"slow\"").delay(std::time::Duration::from_millis(200)),
    );
    let ran = deploy(&gateway, &["slow", "bad", "quick"]).run();
    let ran = ran.exits(1).says("`bad`: PUT /system/functions: 400 Bad Request: `no such secret: x`");
    let rows: Vec<&str> = ran.log.lines().skip_while(|line| !line.starts_with("FUNCTION")).collect();
    assert!(rows[1].starts_with("slow ") && rows[1].contains(" created "), "{}", ran.log);
    assert!(rows[2].starts_with("bad ") && rows[2].contains(" failed: PUT /system/functions: 400"), "{}", ran.log);
    assert!(rows[3].starts_with("quick ") && rows[3].contains(" created "), "{}", ran.log);
    assert_eq!(rows[4], "✖ 1 of 3 functions not deployed");
}

#[test]
fn functions_go_to_their_namespaces_and_the_variable_overrides_them() {
    let gateway = open();
    let text = stack(&["a", "b"]) + "    namespace: staging\n";
    let pipe = Pipe::at(&gateway).stack(&text);
    pipe.run().exits(0);
    assert!(gateway.function("openfaas-fn", "a").is_some() && gateway.function("staging", "b").is_some());
    pipe.var("OPENFAAS_NAMESPACE", "prod").run().exits(0);
    assert!(gateway.function("prod", "a").is_some() && gateway.function("prod", "b").is_some());
}

#[test]
fn filter_and_regex_select() {
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
fn options_are_laid_over_the_stack_file() {
    let gateway = open();
    let text = stack(&["f"])
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
            "service": "f", "image": "example/f:2", "envVars": {"A": "option", "B": "file", "C": "x=y"},
            "labels": {"a": "option"}, "annotations": {"a": "option", "b": "two words"}, "secrets": ["option", "file"],
            "constraints": ["node.platform.os == linux"], "readOnlyRootFilesystem": true,
        })
    );
}

#[test]
fn substitution_can_be_left_out() {
    let gateway = open();
    let pipe = Pipe::at(&gateway).stack(&(stack(&["f"]) + "    environment: {A: \"${B:-c}\"}\n"));
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
    let sent: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(sent, json!([{"service": "f", "image": "example/f:2", "labels": {}, "annotations": {}}]));
    assert!(gateway.requests().is_empty());
}

#[test]
fn stack_file_is_found_by_name_by_path_and_from_the_clone_directory() {
    let gateway = open();
    let pipe = Pipe::at(&gateway).file("stack.yaml", stack(&["preferred"])).file("stack.yml", stack(&["other"]));
    pipe.run().exits(0);
    assert_eq!(gateway.functions()[0].name, "preferred");

    let clone = tempfile::tempdir().unwrap();
    std::fs::create_dir(clone.path().join("deploy")).unwrap();
    std::fs::write(clone.path().join("deploy/faas.yml"), stack(&["from-clone"])).unwrap();
    Pipe::at(&gateway)
        .var("BITBUCKET_CLONE_DIR", clone.path().display().to_string())
        .var("STACK_FILE", "deploy/faas.yml")
        .run()
        .exits(0)
        .says("of `deploy/faas.yml`");
    assert!(gateway.function("openfaas-fn", "from-clone").is_some());
}

#[test]
fn stack_file_that_is_not_there_is_told_with_where_it_was_looked_for() {
    let gateway = open();
    Pipe::at(&gateway).run().exits(2).says("STACK_FILE:\n- neither `stack.yaml` nor `stack.yml`");
    Pipe::at(&gateway).var("STACK_FILE", "x.yml").run().exits(2).says("STACK_FILE:\n- `x.yml` does not exist");
    Pipe::at(&gateway).var("STACK_FILE", ".").run().exits(2).says("is a directory");
    Pipe::at(&gateway).var("STACK_FILE", "/dev/zero").run().exits(2).says("is a pipe or a device");
    Pipe::at(&gateway).var("STACK_FILE", "http://x/s.yml").run().exits(2).says("write an `https://` URL");
}

#[test]
fn gateway_of_the_stack_file_serves_where_no_url_is_set() {
    let gateway = open();
    let text = stack(&["f"]).replace("name: openfaas", &format!("name: openfaas\n  gateway: {}", gateway.url()));
    let token = crate::support::issuer().token().audience(gateway.public_url()).audience(gateway.url()).mint();
    let pipe = Pipe::at(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token);
    pipe.stack(&text).without("OPENFAAS_URL").run().exits(0);
    let text = stack(&["f"]).replace("name: openfaas", "name: openfaas\n  gateway: http://127.0.0.1:8080");
    let pipe = Pipe::at(&gateway).stack(&text);
    pipe.without("OPENFAAS_URL").run().exits(2).says("OPENFAAS_URL:\n- is not set");
    let pipe = Pipe::at(&gateway).stack(&(text.replace(":8080", ":80") + "    image: twice\n")).without("OPENFAAS_URL");
    pipe.run().exits(2).says("twice").is_silent_about("OPENFAAS_URL");
    let pipe = Pipe::at(&gateway).stack(&stack(&["f"])).var("OPENFAAS_URL", "");
    pipe.run().exits(2).says("OPENFAAS_URL:\n- is set but empty");
}

#[test]
fn problems_of_variables_and_stack_file_are_told_at_once() {
    let gateway = open();
    let pipe = Pipe::at(&gateway).stack(&(stack(&["f"]) + "    image: twice\n")).var("PARALLEL", "0");
    let ran = pipe.var("OPENFAAS_URL", "gw").run().exits(2);
    let ran = ran.says("ERROR: ").says("stack.yml:").says("✖ Validation errors:\nOPENFAAS_URL:\n- `gw` is not a URL");
    ran.says("\nPARALLEL:\n- `0` is not a whole number from 1 to 64\n");
    assert!(gateway.requests().is_empty());
}

#[test]
fn no_more_than_parallel_deployments_are_under_way_at_once() {
    let gateway = open();
    let names: Vec<String> = (0..12).map(|number| format!("f{number}")).collect();
    for name in &names {
        put(&gateway, "openfaas-fn", name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    gateway.fault(Fault::on("PUT", "/system/functions").delay(std::time::Duration::from_millis(40)));
    deploy(&gateway, &names).var("PARALLEL", "3").run().exits(0);
    let requests = gateway.requests();
    let arrivals: Vec<_> =
        requests.iter().filter(|request| request.method == "PUT").map(|request| request.arrived).collect();
    assert_eq!(arrivals.len(), 12);
    // Each takes 40 ms: a fourth within that time of the first would be one too many.
    for window in arrivals.windows(4) {
        assert!(window[3] - window[0] >= std::time::Duration::from_millis(39), "{arrivals:?}");
    }
}

#[test]
fn password_is_used_instead_of_a_token_and_the_log_says_so() {
    let gateway = start(Gateway::builder().basic_auth("admin", "s3cr3t-password"));
    let pipe = deploy(&gateway, &["f"]).var("OPENFAAS_PASSWORD", "s3cr3t-password");
    let ran = pipe.run().exits(0).says("`OPENFAAS_PASSWORD` is set: basic auth is used, not the step's token");
    assert!(!ran.log.contains("s3cr3t"));
    assert_eq!(changes(&gateway), pairs(&[("PUT", "f"), ("POST", "f")]));
    let pipe = pipe.var("OPENFAAS_PASSWORD", "wrong-password");
    pipe.run().exits(3).says("401 Unauthorized").says("check `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`");
}

#[test]
fn unset_variable_gets_one_warning_that_shows_how_to_pass_it() {
    let gateway = open();
    let text = stack(&["f"]) + "    environment: {A: \"${COLOUR}\", B: \"${COLOUR}\"}\n";
    let ran = Pipe::at(&gateway).stack(&text).run().exits(0);
    assert_eq!(ran.log.matches("`COLOUR` is not set or empty").count(), 1, "{}", ran.log);
    ran.says("variables:").says("COLOUR:");
}

#[test]
fn own_variable_that_a_stack_file_substitutes_gets_a_warning() {
    let gateway = open();
    let text = stack(&["f"]) + "    environment: {A: \"${STRATEGY}\", B: \"${LABEL}\"}\n";
    let pipe = Pipe::at(&gateway).stack(&text).var("STRATEGY", "update").var("LABEL", "x");
    pipe.run().exits(0).says("the stack file substitutes `STRATEGY`, which is also a variable of this pipe");
}

/// A clone with one commit on branch `topic`, and the abbreviated id of that commit.
fn clone_with_commit(dir: &std::path::Path) -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(arguments)
            .current_dir(dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", dir)
            .output()
            .expect("git runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch", "topic"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "one"]);
    git(&["tag", "v1.2.0"]);
    git(&["rev-parse", "--short", "HEAD"])
}

#[test]
fn tag_format_names_images_as_faas_cli_does() {
    let gateway = open();
    let pipe = deploy(&gateway, &["f"]).file("f/handler.py", "x = 1\n");
    let sha = clone_with_commit(pipe.dir());
    let text = stack(&["f"]) + "    handler: ./f\n";
    let pipe = pipe.stack(&text);
    let image = |format: &str| {
        gateway.clear_requests();
        pipe.run_with("TAG_FORMAT", format).exits(0);
        bodies(&gateway, "PUT")[0]["image"].as_str().expect("an image").to_owned()
    };
    assert_eq!(image("latest"), "example/f:2");
    assert_eq!(image("sha"), format!("example/f:2-{sha}"));
    assert_eq!(image("branch"), format!("example/f:2-topic-{sha}"));
    assert_eq!(image("describe"), "example/f:2-v1.2.0");
    let digest = image("digest");
    let hash = digest.strip_prefix("example/f:").expect("the tag is replaced");
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
}

#[test]
fn sha_comes_from_bitbucket_where_there_is_no_clone() {
    let gateway = open();
    let pipe = deploy(&gateway, &["f"]).var("TAG_FORMAT", "sha");
    let ran = pipe.run_with("BITBUCKET_COMMIT", "0123456789abcdef0123456789abcdef01234567").exits(0);
    ran.says("WARNING: ").says("the image tag is made from `BITBUCKET_COMMIT`");
    assert_eq!(bodies(&gateway, "PUT")[0]["image"], "example/f:2-0123456");
    gateway.clear_requests();
    // On pull requests Bitbucket gives twelve digits.
    pipe.run_with("BITBUCKET_COMMIT", "fedcba987654").exits(0);
    assert_eq!(bodies(&gateway, "PUT")[0]["image"], "example/f:2-fedcba9");
    gateway.clear_requests();
    pipe.run().exits(2).says("TAG_FORMAT:\n- ");
    assert!(gateway.requests().is_empty());
}

#[test]
fn stack_file_is_fetched_from_the_web() {
    let gateway = start(permissive().tls());
    // Any server of files will do; this one has an answer for the path.
    gateway.fault(Fault::on("GET", "/team/stack.yml").status(200).body(stack(&["f"])));
    let pipe = Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem());
    let pipe = pipe.var("STACK_FILE", format!("{}/team/stack.yml", gateway.url()));
    pipe.run().exits(0);
    let fetched = &gateway.requests()[0];
    assert_eq!((fetched.path.as_str(), fetched.header("authorization")), ("/team/stack.yml", None));
    assert!(gateway.function("openfaas-fn", "f").is_some());
    gateway.clear_faults();
    gateway.clear_requests();
    pipe.run().exits(2).says("could not be fetched: the server answered 404 Not Found");
    assert_eq!(gateway.requests().len(), 1);
    pipe.var("CA_CERT", "none").run().exits(2).says("STACK_FILE:\n- `CA_CERT`: `none` does not exist");
}
