//! `SECRET_VALUES` and `SECRET_FILES`: secrets that are written before the functions that use them.

use local_gateway::{Fault, Flavour, Gateway, Latch, Request};
use serde_json::{Value, json};

use crate::results::result;
use crate::support::{Pipe, Running, edition, function_names, issuer, open, permissive, permitting, start, wait_for};

/// `a` and `b` use `db`, `c` uses `tls`, `d` none.
const STACK: &str = "provider: {name: openfaas}
functions:
  a: {image: example/a:1, namespace: shop, secrets: [db, tls.key]}
  b: {image: example/b:1, namespace: blog, secrets: [db]}
  c: {image: example/c:1, secrets: [other]}
  d: {image: example/d:1, namespace: prod}
";

/// Contains a byte that is not UTF-8, and a line feed at its end.
const KEY: &[u8] = b"\xff\0key\n";

fn deploy(gateway: &Gateway) -> Pipe {
    let pipe = Pipe::at(gateway).stack(STACK).file("keys/tls.key", KEY).var("BITBUCKET_PIPE_STORAGE_DIR", "storage");
    pipe.list("SECRET_VALUES", &["db= hunter22 \n"]).list("SECRET_FILES", &["tls.key=keys/tls.key"])
}

/// The requests about secrets and functions: method, what, and the name.
fn writes(gateway: &Gateway) -> Vec<String> {
    let shown = |request: &Request| {
        let what = request.path.strip_prefix("/system/").filter(|what| ["secrets", "functions"].contains(what))?;
        let body = request.json();
        let name = body["name"].as_str().or(body["service"].as_str()).unwrap_or_default().to_owned();
        let namespace = body["namespace"].as_str().unwrap_or("-");
        Some(format!("{} {what} {name} {namespace}", request.method))
    };
    gateway.requests().iter().filter_map(shown).collect()
}

fn secrets(gateway: &Gateway) -> Vec<(String, String, Vec<u8>)> {
    gateway.secrets().into_iter().map(|secret| (secret.namespace, secret.name, secret.value)).collect()
}

/// The secrets in the result: name, namespace, action.
fn reported(pipe: &Pipe) -> Vec<Value> {
    let result = result(pipe);
    let secrets = result["secrets"].as_array().cloned().unwrap_or_default();
    secrets.iter().map(|secret| json!([secret["name"], secret["namespace"], secret["action"]])).collect()
}

#[test]
fn secrets_are_written_where_functions_use_them_and_before_all_functions() {
    let gateway = open();
    gateway.put_secret("prod", "db", b"of production");
    let pipe = deploy(&gateway);
    let ran = pipe.run().exits(0);
    let ran = ran.says("INFO: secret `db` in namespace `blog` created\n");
    let ran = ran.says("INFO: secret `db` in namespace `shop` created\n");
    ran.says("INFO: secret `tls.key` in namespace `shop` created\n").does_not_say("hunter22");
    let expected = [
        ("blog".to_owned(), "db".to_owned(), b"hunter22".to_vec()),
        ("prod".to_owned(), "db".to_owned(), b"of production".to_vec()),
        ("shop".to_owned(), "db".to_owned(), b"hunter22".to_vec()),
        ("shop".to_owned(), "tls.key".to_owned(), KEY.to_vec()),
    ];
    assert_eq!(secrets(&gateway), expected);
    let requests = writes(&gateway);
    let last_secret = requests.iter().rposition(|request| request.contains(" secrets ")).expect("no secret");
    let first_function = requests.iter().position(|request| request.contains(" functions ")).expect("no function");
    assert!(last_secret < first_function, "{requests:?}");
    assert_eq!(requests.iter().filter(|request| request.contains(" secrets ")).count(), 6, "{requests:?}");
    assert!(
        !requests
            .iter()
            .any(|request| request.starts_with("DELETE") || request.ends_with(" prod") && request.contains("secrets"))
    );
    let created =
        [json!(["db", "blog", "created"]), json!(["db", "shop", "created"]), json!(["tls.key", "shop", "created"])];
    assert_eq!(reported(&pipe), created);
    // Again: only the values are replaced.
    gateway.clear_requests();
    let pipe = pipe.list("SECRET_VALUES", &["db=other"]);
    pipe.run().exits(0).says("secret `db` in namespace `blog` updated\n");
    assert_eq!(gateway.secret("blog", "db").as_deref(), Some(&b"other"[..]));
    let requests = writes(&gateway);
    let requests: Vec<_> = requests.iter().filter(|request| request.contains(" secrets ")).collect();
    assert!(requests.len() == 3 && requests.iter().all(|request| request.starts_with("PUT")), "{requests:?}");
    assert_eq!(reported(&pipe)[0], json!(["db", "blog", "updated"]));
}

#[test]
fn mistakes_are_found_before_anything_is_sent() {
    let gateway = open();
    let large = vec![b'x'; 1024 * 1024 + 1];
    let pipe = Pipe::at(&gateway).stack(STACK).file("large", large).file("empty", "\n").file("a/b", "x");
    let values = ["db", "d b=xyzzy", "other=", "dd=xyzzy", "unknown-to-all=xyzzy", "db=1xyzzy", "db=2xyzzy"];
    let files = ["tls.key=missing", "other=large", "db=empty", "tls.key=a"];
    let ran = pipe.list("SECRET_VALUES", &values).list("SECRET_FILES", &files).run().exits(2);
    let from = ran.log.find("✖").expect("missing last line");
    insta::assert_snapshot!(&ran.log[from..], @r#"
    ✖ Validation errors:
    SECRET_FILES:
    - `db` is listed twice: remove one
    - `db`: `empty` is empty: check the command that writes it
    - `other`: `large` is larger than 1024 KiB
    - `tls.key` is listed twice: remove one
    - `tls.key`: `a` is a directory, not a file
    - `tls.key`: `missing` does not exist, neither in the working directory nor in the clone directory
    SECRET_VALUES:
    - `db` is listed twice: remove one
    - `other` is set but empty: check that the variable it refers to is defined for this deployment environment
    - item 1 is not of the form `key=value`
    - item 2 has an invalid name: it must have only lower case letters, digits, `-` and `.`, and start and end with a letter or digit
    - no selected function uses the secret `dd`; write `db`
    - no selected function uses the secret `unknown-to-all`; they use `db`, `other`, `tls.key`
    "#);
    assert_eq!(gateway.requests().len(), 0);
}

#[test]
fn value_in_place_of_a_path_is_not_shown() {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", "MIIEvQIB".repeat(8));
    for value in [key, "MIIEvQIB".repeat(40)] {
        let pipe = Pipe::new().stack(STACK).list("SECRET_FILES", &[&format!("db={value}")]);
        let ran = pipe.run().exits(2).says("SECRET_FILES:\n- `db` is not a path: to pass the value itself, use ");
        ran.does_not_say("MIIE").does_not_say("-----");
    }
    // As long as a path may be.
    let path = format!("db={}", "MIIEvQIB/".repeat(20));
    Pipe::new().stack(STACK).list("SECRET_FILES", &[&path]).run().exits(2).says("does not exist").does_not_say("MIIE");
}

#[test]
fn step_token_is_never_written_as_a_secret() {
    let gateway = open();
    let pipe = deploy(&gateway);
    let token = pipe.value("BITBUCKET_STEP_OIDC_TOKEN").expect("missing token");
    let pipe = pipe.list("SECRET_VALUES", &[&format!("db={token}")]).file("keys/tls.key", format!("x {token}"));
    let ran = pipe.run().exits(2).says("- `db`: holds the step's `BITBUCKET_STEP_OIDC_TOKEN`");
    ran.says("- `tls.key`: `keys/tls.key` holds the step's `BITBUCKET_STEP_OIDC_TOKEN`").does_not_say(&token);
    assert_eq!(gateway.requests().len(), 0);
}

#[test]
fn value_is_not_substituted_in_the_stack_file() {
    let gateway = open();
    let stack = STACK.replace("example/d:1", "example/d:${SECRET_VALUES_0}");
    let ran = deploy(&gateway).stack(&stack).run().exits(2);
    ran.says("`SECRET_VALUES_0` holds a secret of the pipe and is never substituted").does_not_say("hunter22");
    assert_eq!(gateway.requests().len(), 0);
}

#[test]
fn no_function_is_deployed_if_a_secret_cannot_be_written() {
    let gateway = open();
    gateway
        .fault(Fault::on("POST", "/system/secrets").containing("tls.key").status(400).body("admission: no hunter22"));
    let pipe = deploy(&gateway).var("WAIT", "true").var("VERIFY", "a/healthz").var("ROLLBACK", "true");
    let ran = pipe.run().exits(1);
    let ran = ran.says(
        "ERROR: secret `tls.key` in namespace `shop`: POST /system/secrets: 400 Bad Request: `admission: no ***`",
    );
    let ran = ran.says("secret `db` in namespace `shop` created\n");
    ran.says("✖ 4 of 4 functions not deployed, 1 secret not written\n");
    assert_eq!(function_names(&gateway), [""; 0]);
    assert_eq!(reported(&pipe)[2], json!(["tls.key", "shop", "failed"]));
    assert!(!writes(&gateway).iter().any(|request| request.starts_with("DELETE")));
}

#[test]
fn secret_whose_response_is_lost_may_have_been_written() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/secrets").processed().status(504).header("Retry-After", "0"));
    deploy(&gateway).run().exits(1).says("504 Gateway Timeout; it may have been carried out all the same\n");
}

#[test]
fn policy_without_the_actions_is_named_with_the_statement_to_add() {
    let gateway = start(permitting(&["Function:Create", "Function:Update"]));
    let ran = deploy(&gateway).var("PARALLEL", "1").run().exits(3);
    insta::assert_snapshot!(ran.scrubbed(), @r#"
    INFO: openfaas-pipe [VERSION]: deploy
    INFO: deploying 4 functions of `stack.yml` to `http://[GATEWAY]`
    INFO: exchanged the step's token at `http://[GATEWAY]`, valid for 30 min
    ERROR: 3 secrets: PUT /system/secrets: 403 Forbidden: `insufficient permissions`
      `db` in namespace `blog`, `db` in namespace `shop`, `tls.key` in namespace `shop`
    ERROR: the Policy lacks `Secret:Update` on 2 namespaces; add to its `statement:`
      # ----- copy from here -----
        - sid: openfaas-pipe-1
          effect: Allow
          action:
          - Secret:Create
          - Secret:Update
          resource:
          - "blog:*"
          - "shop:*"
        - sid: openfaas-pipe-2
          effect: Allow
          action:
          - Function:Create
          - Function:Update
          resource:
          - "blog:b"
          - "openfaas-fn:c"
          - "prod:d"
          - "shop:a"
      # ----- to here -----
      `COMMAND: whoami` prints the complete Policy that this step needs
    FUNCTION  NAMESPACE  IMAGE  RESULT  TIME
    a  shop  example/a:1  not started  [TIME]
    b  blog  example/b:1  not started  [TIME]
    c  -  example/c:1  not started  [TIME]
    d  prod  example/d:1  not started  [TIME]
    ✖ 4 of 4 functions not deployed, 3 secrets not written
    "#);
    assert_eq!(function_names(&gateway), [""; 0]);
    // Creation only is refused where the secret does not exist.
    let gateway = start(permitting(&["Function:Create", "Function:Update", "Secret:Update"]));
    deploy(&gateway).run().exits(3).says("the Policy lacks `Secret:Create` on 2 namespaces");
    gateway.put_secret("shop", "db", b"");
    gateway.put_secret("blog", "db", b"");
    gateway.put_secret("shop", "tls.key", b"");
    deploy(&gateway).run().exits(0);
}

#[test]
fn whoami_proposes_what_the_variables_of_the_step_need() {
    // Nothing is permitted yet.
    let gateway = start(Gateway::builder().issuer(&issuer()));
    let pipe = deploy(&gateway).var("COMMAND", "whoami").var("CREATE_NAMESPACE", "true");
    let pipe = pipe.var("BITBUCKET_REPO_FULL_NAME", "acme/shop").var("OUTPUT_FILE", "iam/resources.yaml");
    let ran = pipe.run().exits(3).says("takes them from `iam/resources.yaml` too");
    let yaml = std::fs::read_to_string(pipe.dir().join("iam/resources.yaml")).expect("cannot read file");
    assert!(ran.log.contains(yaml.trim_end()), "{}\n{yaml}", ran.log);
    let policy = yaml.split("---\n").nth(1).expect("missing Policy");
    let statements = policy.split("  statement:\n").nth(1).expect("missing statements");
    insta::assert_snapshot!(statements, @r#"
    # `CREATE_NAMESPACE`: a namespace that exists is used as it is.
    - sid: openfaas-pipe-1
      effect: Allow
      action:
      - Namespace:Create
      - Namespace:Get
      resource:
      - "blog:*"
      - "prod:*"
      - "shop:*"
    # `SECRET_VALUES`, `SECRET_FILES`: one secret for each item, permitted on whole namespaces only.
    - sid: openfaas-pipe-2
      effect: Allow
      action:
      - Secret:Create
      - Secret:Update
      resource:
      - "blog:*"
      - "shop:*"
    # `COMMAND: deploy`: the functions of the stack file that the variables select; without one, the whole namespace.
    - sid: openfaas-pipe-3
      effect: Allow
      action:
      - Function:Create
      - Function:Update
      resource:
      - "blog:b"
      - "openfaas-fn:c"
      - "prod:d"
      - "shop:a"
    "#);
    assert!(gateway.requests().iter().all(|request| request.path == "/oauth/token"));
    // What it proposes is enough.
    gateway.apply(&yaml).expect("invalid resources");
    pipe.var("COMMAND", "deploy").run().exits(0);
}

#[test]
fn rollback_warns_before_the_first_write_that_secrets_stay() {
    let gateway = open();
    let ran = deploy(&gateway).var("WAIT", "true").var("ROLLBACK", "true").run().exits(0);
    let warning = ran.log.find("WARNING: `ROLLBACK` does not restore secrets").expect("missing warning");
    let first = ran.log.find("INFO: secret `").expect("missing secret");
    assert!(warning < first, "{}", ran.log);
    deploy(&gateway).run().exits(0).does_not_say("ROLLBACK");
}

#[test]
fn dry_run_and_diff_name_the_secrets_and_send_none() {
    let gateway = open();
    let planned = "which cannot be compared with the present ones:\n  secret `db` in namespace `blog`\n  \
                   secret `db` in namespace `shop`\n  secret `tls.key` in namespace `shop`\n";
    for (name, value, exit) in [("DRY_RUN", "true", 0), ("COMMAND", "diff", 6)] {
        let pipe = deploy(&gateway).var(name, value);
        pipe.run().exits(exit).says(planned).does_not_say("hunter22");
        assert_eq!(reported(&pipe), [Value::Null; 0]);
    }
    assert_eq!(secrets(&gateway), []);
    assert!(gateway.requests().iter().all(|request| request.path != "/system/secrets"));
}

#[test]
fn deletion_by_somebody_else_in_the_middle_of_a_write_is_no_failure() {
    let gateway = open();
    for name in ["db", "tls.key"] {
        gateway.put_secret("shop", name, b"old");
    }
    // The first look at each does not find it, and then it exists.
    gateway.fault(Fault::on("PUT", "/system/secrets").containing("shop").times(2).status(404));
    let pipe = deploy(&gateway);
    pipe.run().exits(0);
    assert_eq!(gateway.secret("shop", "db").as_deref(), Some(&b"hunter22"[..]));
    assert_eq!(reported(&pipe)[1], json!(["db", "shop", "updated"]));
}

#[test]
fn faasd_does_not_report_whether_a_secret_was_new() {
    let gateway = start(edition(Flavour::Faasd));
    let pipe = Pipe::with_password(&gateway)
        .stack("provider: {name: openfaas}\nfunctions: {c: {image: example/c:1, secrets: [other]}}\n");
    pipe.list("SECRET_VALUES", &["other=hunter22"]).run().exits(0).says("INFO: secret `other` written\n");
    assert_eq!(secrets(&gateway), [("openfaas-fn".to_owned(), "other".to_owned(), b"hunter22".to_vec())]);
}

#[test]
fn missing_secret_is_reported_with_how_to_pass_it() {
    let gateway = start(permissive().secrets(&[]));
    let stack =
        "provider: {name: openfaas}\nfunctions:\n  a:\n    image: example/a:1\n    secrets: [known, db-password]\n";
    gateway.put_secret("openfaas-fn", "known", b"x");
    let pipe = Pipe::at(&gateway).stack(stack);
    let ran =
        pipe.run().exits(1).says("  hint: have the pipe create it in namespace `openfaas-fn` from a secured variable");
    ran.says("\n    SECRET_VALUES: ['db-password=$DB_PASSWORD']\n");
    pipe.list("SECRET_VALUES", &["db-password=hunter22"]).run().exits(0);
}

#[test]
fn namespace_that_does_not_exist_is_named_with_the_variable_that_creates_it() {
    let gateway = open();
    gateway.fault(Fault::on("POST", "/system/secrets").status(404).body("namespaces \"shop\" not found"));
    deploy(&gateway)
        .run()
        .exits(1)
        .says("hint: check that the namespace exists, which `CREATE_NAMESPACE: 'true'` creates; Community Edition has only `openfaas-fn`");
}

#[test]
fn stop_between_the_secrets_and_the_functions_deploys_nothing() {
    let gateway = open();
    let latch = Latch::closed();
    gateway.fault(Fault::on("PUT", "/system/secrets").held_by(&latch));
    let mut running = Running::of(deploy(&gateway).var("PARALLEL", "1"));
    wait_for("request", || gateway.requests().iter().any(|request| request.path == "/system/secrets"));
    running.signal("TERM");
    running.read_to("SIGTERM received");
    latch.open();
    let ran = running.end().exits(143);
    // The request under way, with its creation, is carried out to the end.
    ran.says("secret `db` in namespace `blog` created");
    assert_eq!(reported(&running.pipe)[1], json!(["db", "shop", "not started"]));
    assert_eq!(function_names(&gateway), [""; 0]);
}

#[test]
fn gateway_that_goes_down_is_not_asked_once_for_each_secret() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/secrets").status(503));
    let pipe = deploy(&gateway).var("PARALLEL", "1").var("RETRIES", "0");
    pipe.run()
        .exits(1)
        .says("✖ 4 of 4 functions not deployed, 3 secrets not written\n")
        .says("ERROR: not started, since the gateway is not available:\n  secret `");
    assert_eq!(writes(&gateway).len(), 1);
}

#[test]
fn short_values_are_warned_about_and_written() {
    let gateway = open();
    let ran = deploy(&gateway).list("SECRET_VALUES", &["db=abc"]).run().exits(0);
    ran.says("WARNING: the value of item 1 of `SECRET_VALUES` is too short to be masked").does_not_say("`abc`");
}

#[test]
fn lines_of_a_value_and_of_a_file_are_masked_one_by_one() {
    let gateway = open();
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n";
    let echo = "line 2: kqhkiG9w0BAQEF; user: s3cr3t-user; blob: /wBrZXkK; all: MIIEvQIBADANBg\\nkqhkiG9w0BAQEF";
    gateway.fault(Fault::on("PUT", "/system/functions").status(400).body(echo));
    let pipe =
        deploy(&gateway).file("keys/tls.key", "first\ns3cr3t-user\n").list("SECRET_VALUES", &[&format!("db={key}")]);
    let ran = pipe.run().exits(1).says("`line 2: ***; user: ***; blob: /wBrZXkK; all: ***\\n***`");
    ran.does_not_say("kqhkiG").does_not_say("s3cr3t-user");
    // The bytes of a binary file, as base64.
    deploy(&gateway).run().exits(1).says("blob: ***;");
}

#[test]
fn reports_name_the_secrets_and_their_outcomes() {
    let gateway = open();
    gateway.fault(Fault::on("POST", "/system/secrets").containing("tls.key").status(400).body("no hunter22"));
    let pipe = deploy(&gateway).var("REPORT", "true").var("CREATE_NAMESPACE", "true");
    let pipe = pipe.var("BITBUCKET_REPO_FULL_NAME", "acme/shop");
    pipe.run().exits(1);
    let report = std::fs::read_to_string(pipe.dir().join("test-reports/openfaas-pipe.xml")).expect("cannot read file");
    assert!(report.contains("name=\"namespace `shop`\" time=\"0.000\"/>"), "{report}");
    assert!(report.contains("name=\"secret `db` in namespace `blog`\" time=\"0.000\"/>"), "{report}");
    let failed = "name=\"secret `tls.key` in namespace `shop`\" time=\"0.000\">\n      <failure type=\"failed\" \
                  message=\"POST /system/secrets: 400 Bad Request: `no ***`\">";
    assert!(report.contains(failed) && !report.contains("hunter22"), "{report}");
}

#[test]
fn value_that_was_split_at_its_line_breaks_is_not_shown_in_parts() {
    let gateway = open();
    let text = "tls.key=-----BEGIN KEY-----\nMIIEvQ==\nabcdef=\nZm9vYmFy\n-----END KEY-----\n";
    let pipe = deploy(&gateway).without("SECRET_VALUES_COUNT").without("SECRET_VALUES_0").without("SECRET_FILES_COUNT");
    let ran = pipe.without("SECRET_FILES_0").var("SECRET_VALUES", text).run().exits(2);
    let ran = ran.says("SECRET_VALUES:\n- has a line that is not `name=value`: a value of several lines needs a list");
    ran.does_not_say("MIIEvQ").does_not_say("abcdef").does_not_say("Zm9vYmFy");
    assert_eq!(gateway.requests().len(), 0);
}

#[test]
fn file_that_leads_out_of_the_clone_or_holds_no_value_is_an_error() {
    let gateway = open();
    let outside = tempfile::tempdir().expect("cannot create directory");
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "s3cr3t-of-the-step").expect("cannot write file");
    let pipe = || {
        deploy(&gateway).file("null", "null\n").file("none", "None").file("name", "$DB_PASSWORD\n").file("sub/x", "")
    };
    for (path, says) in [
        ("link", "`tls.key`: `link` is a link out of the clone directory: copy the file into it"),
        ("./dir/secret", "`tls.key`: `./dir/secret` is a link out of the clone directory"),
        ("sub/../link", "`tls.key`: `sub/../link` is a link out of the clone directory"),
        ("./sub/../dir/secret", "`tls.key`: `./sub/../dir/secret` is a link out of the clone directory"),
        ("null", "`tls.key`: `null` has only a text such as `null` or `$NAME`, which scripts write for a value"),
        ("none", "`tls.key`: `none` has only a text such as `null`"),
        ("name", "`tls.key`: `name` has only a text such as `null`"),
    ] {
        let pipe = pipe().list("SECRET_FILES", &[&format!("tls.key={path}")]);
        std::os::unix::fs::symlink(&secret, pipe.dir().join("link")).expect("cannot create link");
        std::os::unix::fs::symlink(outside.path(), pipe.dir().join("dir")).expect("cannot create link");
        pipe.run().exits(2).says(&format!("SECRET_FILES:\n- {says}")).does_not_say("s3cr3t");
        let payload = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo").var("PAYLOAD_FILE", "link");
        std::os::unix::fs::symlink(&secret, payload.dir().join("link")).expect("cannot create link");
        payload.run().exits(2).says("PAYLOAD_FILE:\n- `link` is a link out of the clone directory");
    }
    assert!(gateway.requests().is_empty());
    // What the pipeline itself names may be anywhere.
    let absolute = format!("tls.key={}", secret.display());
    pipe().list("SECRET_FILES", &[&absolute]).run().exits(0);
}

#[test]
fn secrets_that_fail_alike_are_one_error() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/secrets").status(500).body("boom"));
    let ran = deploy(&gateway).run().exits(1);
    ran.says(
        "ERROR: 3 secrets: PUT /system/secrets: 500 Internal Server Error: `boom`\n  \
         `db` in namespace `blog`, `db` in namespace `shop`, `tls.key` in namespace `shop`\n",
    );
}
