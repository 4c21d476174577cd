//! `COMMAND: whoami`.

use local_gateway::{Fault, Gateway, Issuer, TokenBuilder};

use crate::support::{GUIDE_STACK, Pipe, Ran, guide, issuer, open, permitting, start};

/// `whoami` in a build of branch `main` of the token's repository.
fn whoami(gateway: &Gateway) -> Pipe {
    Pipe::at(gateway)
        .var("COMMAND", "whoami")
        .var("BITBUCKET_WORKSPACE", "acme")
        .var("BITBUCKET_REPO_SLUG", "etl-jobs")
        .var("BITBUCKET_REPO_UUID", local_gateway::issuer::REPOSITORY_UUID)
        .var("BITBUCKET_BRANCH", "main")
}

/// The resources printed in a log.
fn proposed(log: &str) -> &str {
    let start = log.find("# Whose tokens").expect("missing resources");
    let end = log[start..].find("# ----- to here -----").expect("missing end of the resources");
    &log[start..start + end]
}

/// The scrubbed log, without times of the token.
fn scrubbed(ran: &Ran) -> String {
    let times = regex_lite::Regex::new(r"\b1\d{9}\b|expires in .*").expect("invalid regular expression");
    times.replace_all(&ran.scrubbed(), "[TIME]").into_owned()
}

fn paths(gateway: &Gateway) -> Vec<String> {
    gateway.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
}

#[test]
fn step_of_the_guide_is_accepted() {
    let gateway = guide(&issuer());
    let ran = whoami(&gateway).stack(GUIDE_STACK).run().exits(0);
    insta::assert_snapshot!(scrubbed(&ran), @r#"
    INFO: openfaas-pipe [VERSION]: whoami
    INFO: the claims of the token, and how the gateway's IAM reads each
    iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
        `spec.iss` of a JwtIssuer must be equal
    aud: ari:cloud:bitbucket::workspace/7d9a2c4e-1f3b-4a58-9c6d-0e2f4b6a8c10, http://[GATEWAY]
        contains the gateway; `spec.aud` of the JwtIssuer must list it
    sub: {b1f8e7d6-5c4b-4a39-8271-605f4e3d2c1b}:{0a1b2c3d-4e5f-4061-9273-8495a6b7c8d9}
        different in every run: do not use it in a condition
    repositoryUuid: {b1f8e7d6-5c4b-4a39-8271-605f4e3d2c1b}
        the usual Role has a condition on it, with its braces
    branchName: main
        the usual Role has a condition on it
    deploymentEnvironmentUuid: -
        missing: a Role with a condition on it does not match; `deployment:` on the step adds it
    exp: [TIME]
        [TIME]
    iat: [TIME]
        [TIME] ago
    pipelineRunUuid: {9f8e7d6c-5b4a-4938-a716-f5e4d3c2b1a0}
        different in every run: do not use it in a condition
    pipelineUuid: {e4d3c2b1-a098-4f76-8e5d-4c3b2a190807}
        a Role may have a condition on it, with its braces
    stepUuid: {0a1b2c3d-4e5f-4061-9273-8495a6b7c8d9}
        different in every run: do not use it in a condition
    workspaceUuid: {7d9a2c4e-1f3b-4a58-9c6d-0e2f4b6a8c10}
        a Role may have a condition on it, with its braces
    INFO: the gateway exchanged the token, valid for 30 min, with the policies `etl-deployer`, `etl-invoker`
    INFO: to give this step the access that its variables need, save these resources as `iam.yaml` and run `kubectl apply -f iam.yaml`
    # ----- copy from here -----
    # Whose tokens the gateway accepts. If a JwtIssuer with this `iss` exists, only add the `aud` to it.
    apiVersion: iam.openfaas.com/v1
    kind: JwtIssuer
    metadata:
      name: bitbucket.acme
      namespace: openfaas
    spec:
      iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
      aud:
      - http://[GATEWAY]
      tokenExpiry: 30m
    ---
    # What is permitted.
    apiVersion: iam.openfaas.com/v1
    kind: Policy
    metadata:
      name: bitbucket.acme.etl-jobs.branch-main
      namespace: openfaas
    spec:
      statement:
      # `COMMAND: deploy`: the functions of the stack file that the variables select; without one, the whole namespace.
      - sid: openfaas-pipe-1
        effect: Allow
        action:
        - Function:Create
        - Function:Update
        resource:
        - "etl:import-csv"
    ---
    # To whom: all conditions must match; several values of one are alternatives.
    apiVersion: iam.openfaas.com/v1
    kind: Role
    metadata:
      name: bitbucket.acme.etl-jobs.branch-main
      namespace: openfaas
    spec:
      policy:
      - bitbucket.acme.etl-jobs.branch-main
      condition:
        StringEqual:
          jwt:iss: ["https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc"]
          # This repository; the braces are part of the UUID.
          jwt:repositoryUuid: ["{b1f8e7d6-5c4b-4a39-8271-605f4e3d2c1b}"]
          # Only builds of this branch; builds of tags have no branch.
          jwt:branchName: ["main"]
    # ----- to here -----
    ✔ `http://[GATEWAY]` accepts the credentials of this step
    "#);
    assert_eq!(paths(&gateway), ["POST /oauth/token"]);
}

#[test]
fn proposed_resources_are_sufficient() {
    let (issuer, text) = (issuer(), "version: 1.0\nprovider: {name: openfaas}\nfunctions:\n  f:\n    image: a/f:1\n");
    let gateway = start(Gateway::builder().iam_yaml("").issuer(&issuer).public_url("https://gw.example.com"));
    let token = issuer.token().audience("https://gw.example.com").mint();
    let pipe = whoami(&gateway).stack(text).var("BITBUCKET_STEP_OIDC_TOKEN", token);
    pipe.run_with("COMMAND", "deploy").exits(3);
    let ran = pipe.run().exits(3).says("issuer is not registered");
    let resources = proposed(&ran.log).replace(gateway.url(), gateway.public_url());
    gateway.apply(&resources).expect("invalid resources");
    pipe.run().exits(0).says("with the policies `bitbucket.acme.etl-jobs.branch-main`");
    pipe.run_with("COMMAND", "deploy").exits(0);
}

#[test]
fn proposed_actions_follow_the_variables() {
    let gateway = guide(&issuer());
    let pipe = whoami(&gateway)
        .stack(GUIDE_STACK)
        .var("STRATEGY", "replace")
        .var("WAIT", "true")
        .var("OWNER_LABEL", "true")
        .var("PRUNE", "true")
        .var("FUNCTION", "import-csv.etl")
        .var("PAYLOAD", "x");
    let ran = pipe.run().exits(0).does_not_say("WARNING");
    let (_, policy) = proposed(&ran.log).split_once("  statement:\n").unwrap();
    let (policy, _) = policy.split_once("---").unwrap();
    insta::assert_snapshot!(policy, @r#"
    # `COMMAND: deploy`: the functions of the stack file that the variables select; without one, the whole namespace.
    - sid: openfaas-pipe-1
      effect: Allow
      action:
      - Function:Create
      - Function:Update
      - Function:Delete
      - Function:Get
      resource:
      - "etl:import-csv"
    # `PRUNE`: those of `OWNER_LABEL` that the stack file no longer names and `FILTER` or `REGEX` matches.
    - sid: openfaas-pipe-2
      effect: Allow
      action:
      - Function:Delete
      - Function:Get
      resource:
      - "etl:*"
    - sid: openfaas-pipe-3
      effect: Allow
      action:
      - Function:List
      resource:
      - "etl:*"
    # `FUNCTION`: not needed if the function accepts calls without a token.
    - sid: openfaas-pipe-4
      effect: Allow
      action:
      - Function:Invoke
      resource:
      - "etl:import-csv"
    "#);
}

#[test]
fn namespace_is_used_without_a_stack_file() {
    let gateway = guide(&issuer());
    whoami(&gateway).var("OPENFAAS_NAMESPACE", "etl").run().exits(0).says("    resource:\n    - \"etl:*\"\n");
    whoami(&gateway).run().exits(0).says("    resource:\n    - \"openfaas-fn:*\"\n");
}

#[test]
fn nothing_is_proposed_for_an_invalid_stack_file() {
    let gateway = guide(&issuer());
    for (pipe, error) in [
        (whoami(&gateway).stack("functions: ["), "ERROR: stack.yml:1:"),
        (whoami(&gateway).var("STACK_FILE", "nope.yml"), "ERROR: `STACK_FILE`: `nope.yml` does not exist"),
        (whoami(&gateway).stack(GUIDE_STACK).var("FILTER", "nope-*"), "ERROR: no function name matches"),
    ] {
        let ran = pipe.run().exits(2).says(error).says("INFO: the gateway exchanged the token");
        let ran = ran.says("WARNING: no resources are proposed").does_not_say("kind: Policy");
        ran.says("accepts the credentials of this step, but its stack file cannot be used");
        // An invocation does not need it.
        let ran = pipe.run_with_all(&[("FUNCTION", "echo"), ("OPENFAAS_NAMESPACE", "etl")]).exits(2).says(error);
        assert_eq!(proposed(&ran.log).matches("resource:").count(), 1);
        ran.says("    - Function:Invoke\n    resource:\n    - \"etl:echo\"\n");
    }
    let refused = whoami(&gateway).without("BITBUCKET_STEP_OIDC_TOKEN").stack("functions: [");
    refused.run().exits(2).says("does not accept this step, and its stack file cannot be used");
}

#[test]
fn missing_gateway_url_is_a_validation_error() {
    let gateway = open();
    let ran = whoami(&gateway).without("OPENFAAS_URL").run().exits(2);
    ran.says("✖ Validation errors:\nOPENFAAS_URL:\n- ");
    assert!(gateway.requests().is_empty());
}

#[test]
fn token_without_a_matching_role_is_rejected() {
    let gateway = guide(&issuer());
    let token = issuer().token().audience(gateway.public_url()).tag().deployment("{e0}").mint();
    let ran = whoami(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token).var("BITBUCKET_TAG", "v1").run().exits(3);
    let ran = ran.says("✖ `http://127.0.0.1").says("does not accept this step").says("build of tag `v1`");
    // What is printed anyway is not repeated, and the resources follow on the refusal, as its remedy.
    let at = |text: &str| ran.log.find(text).unwrap_or_else(|| panic!("`{text}` is not in\n{}", ran.log));
    assert!(at("ERROR: the gateway") < at("INFO: to give this step the access"));
    assert_eq!(ran.log.matches("jwt:repositoryUuid: ").count(), 1, "{}", ran.log);
    let ran = ran.does_not_say("claims of the token:").does_not_say("COMMAND: whoami");
    assert!(proposed(&ran.log).contains("jwt:deploymentEnvironmentUuid: [\"{e0}\"]"), "{}", ran.log);
}

#[test]
fn missing_claims_for_a_role_are_explained() {
    let gateway = guide(&issuer());
    let token = issuer().token().audience(gateway.public_url()).tag().mint();
    let ran = whoami(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token).var("BITBUCKET_TAG", "v1").run().exits(3);
    ran.says("kind: JwtIssuer\n")
        .says("WARNING: no Policy and no Role are proposed: the ID token has neither `branchName` nor ")
        .says("  hint: give the step a `deployment:`, then run `COMMAND: whoami` in it\n")
        .does_not_say("kind: Role");
}

#[test]
fn expired_token_is_exchanged_anyway() {
    let gateway = guide(&issuer());
    let token = issuer().token().audience(gateway.public_url()).expires_in(-600).mint();
    let ran = whoami(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token).run().exits(3);
    ran.says("WARNING: the ID token expired 10 min ").says("token is expired");
    assert_eq!(paths(&gateway), ["POST /oauth/token"]);
}

#[test]
fn missing_token_is_explained() {
    let gateway = guide(&issuer());
    let ran = whoami(&gateway).without("BITBUCKET_STEP_OIDC_TOKEN").run().exits(3);
    insta::assert_snapshot!(scrubbed(&ran), @"
    INFO: openfaas-pipe [VERSION]: whoami
    ERROR: no ID token: the step has no `oidc` block
      hint: add an `oidc` block to the step; Bitbucket then passes the token by itself, without `BITBUCKET_STEP_OIDC_TOKEN` in `variables:`
      - step:
          oidc:
            audiences:
              - http://[GATEWAY]
          script:
            - pipe: …
      OpenFaaS CE and Standard have no IAM: set `OPENFAAS_PASSWORD` there instead (an empty value counts as not set)
    ✖ `http://[GATEWAY]` does not accept this step
    ");
    assert!(gateway.requests().is_empty());
}

#[test]
fn unreachable_gateway_exits_with_4() {
    let gateway = guide(&issuer());
    let pipe = whoami(&gateway).var("RETRIES", "0");
    drop(gateway);
    let ran = pipe.run().exits(4).says("connection refused").says("apiVersion: iam.openfaas.com/v1");
    ran.says("could not be queried\n").does_not_say("does not accept");
    pipe.var("OPENFAAS_PASSWORD", "s3cr3t-password").run().exits(4).says("could not be queried\n");
}

#[test]
fn gateway_that_does_not_work_has_refused_nobody() {
    for fault in [|fault: Fault| fault.status(503), |fault: Fault| fault.status(200).body("OK")] {
        let gateway = guide(&issuer());
        gateway.fault(fault(Fault::on("POST", "/oauth/token")));
        whoami(&gateway)
            .var("RETRIES", "0")
            .run()
            .exits(4)
            .says("could not be queried")
            .does_not_say("does not accept");
    }
}

#[test]
fn insufficient_policy_is_not_reported_as_accepted() {
    let issuer = issuer();
    let gateway = start(permitting(&["Function:Logs"]));
    let token = issuer.token().audience(gateway.public_url()).mint();
    let pipe = whoami(&gateway).stack(GUIDE_STACK).var("BITBUCKET_STEP_OIDC_TOKEN", token);
    pipe.run().exits(0).says("accepts the credentials of this step\n").does_not_say("accepts this step");
    pipe.run_with("COMMAND", "deploy").exits(3);
}

/// A step of a pipeline: its token and variables.
struct Step {
    pipe: Pipe,
    /// The claim that a Role can bind to: branch or environment.
    bound: &'static str,
}

fn steps(gateway: &Gateway) -> Vec<Step> {
    let stack = |image: &str, namespace: &str| {
        let stack = "provider: {name: openfaas}\nfunctions:\n  FUNCTION:\n    image: a/f:1\n    namespace: NAMESPACE\n";
        stack.replace("FUNCTION", image).replace("NAMESPACE", namespace)
    };
    let step = |bound, token: TokenBuilder| {
        let token = token.audience(gateway.public_url()).mint();
        let pipe = whoami(gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token);
        Step { pipe: pipe.file("other/stack.yml", stack("other", "etl")), bound }
    };
    let token = || issuer().token();
    let environment = |name: &'static str, uuid: &str| {
        let Step { pipe, bound } = step(name, token().branch("release").deployment(uuid));
        Step { pipe: pipe.stack(&stack("f", name)).var("BITBUCKET_DEPLOYMENT_ENVIRONMENT", name), bound }
    };
    let with = |step: Step, change: &dyn Fn(Pipe) -> Pipe| Step { pipe: change(step.pipe), ..step };
    vec![
        environment("staging", "{5ta9e}"),
        environment("production", "{9a0d}"),
        with(step("main", token()), &|pipe| pipe.stack(&stack("f", "main"))),
        with(step("main", token()), &|pipe| pipe.var("STACK_FILE", "other/stack.yml")),
        with(step("main", token()), &|pipe| pipe.var("FUNCTION", "echo.main")),
        with(step("feature/x", token().branch("feature/x")), &|pipe| pipe.stack(&stack("f", "slash"))),
        with(step("feature-x", token().branch("feature-x")), &|pipe| pipe.stack(&stack("f", "dash"))),
    ]
}

/// The resources in the Policy that a step was shown.
fn requested_resources(log: &str) -> Vec<String> {
    let lines = proposed(log).lines().filter_map(|line| line.trim().strip_prefix("- \""));
    lines.map(|line| line.trim_end_matches('"').to_owned()).collect()
}

#[test]
fn proposed_resources_never_permit_more_than_requested() {
    let issuer = issuer();
    for order in [[0, 1, 2, 3, 4, 5, 6], [6, 3, 5, 4, 1, 2, 0]] {
        let gateway = start(Gateway::builder().iam_yaml("").issuer(&issuer).public_url("https://gw.example.com"));
        let steps = steps(&gateway);
        let mut requested = vec![Vec::new(); steps.len()];
        for index in order {
            let ran = steps[index].pipe.run();
            requested[index] = requested_resources(&ran.log);
            gateway.apply(&proposed(&ran.log).replace(gateway.url(), gateway.public_url())).expect("invalid resources");
        }
        for step in &steps {
            let may: Vec<_> = steps.iter().zip(&requested).filter(|(other, _)| other.bound == step.bound).collect();
            for (other, wanted) in steps.iter().zip(&requested) {
                // The deploy of the other step, with the token of this one.
                let token = step.pipe.value("BITBUCKET_STEP_OIDC_TOKEN");
                let is_invocation = other.pipe.value("FUNCTION").is_some();
                if is_invocation {
                    continue;
                }
                let ran = other.pipe.run_with_all(&[
                    ("COMMAND", "deploy"),
                    ("BITBUCKET_STEP_OIDC_TOKEN", token.as_deref().expect("missing token")),
                ]);
                let permitted =
                    may.iter().any(|(_, requested)| wanted.iter().all(|resource| requested.contains(resource)));
                assert_eq!(ran.code, if permitted { 0 } else { 3 }, "{order:?} {} {wanted:?}\n{}", step.bound, ran.log);
            }
        }
    }
}

#[test]
fn password_is_checked_instead_of_the_token() {
    let gateway = start(Gateway::builder().basic_auth("admin", "s3cr3t-password"));
    let ran = whoami(&gateway).var("OPENFAAS_PASSWORD", "s3cr3t-password").run().exits(0);
    insta::assert_snapshot!(scrubbed(&ran), @"
    INFO: openfaas-pipe [VERSION]: whoami
    INFO: `OPENFAAS_PASSWORD` is set: basic auth is used, not the step's token
    INFO: `OPENFAAS_PASSWORD` is set: the user is `admin`, and neither the step's token nor a Role is used
    ✔ `http://[GATEWAY]` accepts the credentials of this step
    ");
    let pipe = whoami(&gateway).var("OPENFAAS_PASSWORD", "s3cr3t-password").var("OUTPUT_FILE", "iam.yml");
    pipe.run().exits(0).says("WARNING: `iam.yml` (`OUTPUT_FILE`) was not written: there are no resources to propose");
    let ran = whoami(&gateway).var("OPENFAAS_PASSWORD", "another-password").run().exits(3);
    ran.says("401 Unauthorized").says("hint: check `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`");
    assert_eq!(paths(&gateway), ["GET /system/info"; 3]);
}

#[test]
fn stack_file_is_not_replaced_with_the_resources() {
    let gateway = guide(&issuer());
    for path in ["stack.yml", "./stack.yml"] {
        let pipe = whoami(&gateway).stack(GUIDE_STACK).var("OUTPUT_FILE", path);
        pipe.run().exits(2).says("OUTPUT_FILE:\n- is the stack file, which would be lost: write another path\n");
    }
    assert!(gateway.requests().is_empty());
}

#[test]
fn secret_that_is_part_of_a_name_does_not_make_a_wildcard_of_the_resources() {
    let gateway = guide(&issuer());
    let pipe = whoami(&gateway).stack(GUIDE_STACK).var("SIGN_KEY", "import-csv").var("SIGN_HEADER", "X-Signature");
    let ran = pipe.run().exits(0).says("# ----- copy from here -----\n# left out: ").does_not_say("\"etl:");
    ran.says("set `OUTPUT_FILE`, which has them whole\n");
    pipe.run_with("OUTPUT_FILE", "iam.yaml").exits(0).says("kubectl apply -f").does_not_say("set `OUTPUT_FILE`");
    let written = std::fs::read_to_string(pipe.dir().join("iam.yaml")).expect("cannot read file");
    assert!(written.contains("- \"etl:import-csv\"\n"), "{written}");
}

#[test]
fn claims_cannot_forge_log_lines() {
    let gateway = guide(&issuer());
    let token = issuer().token().claim("note", "x\nINFO: \u{1b}[2Jfine").mint();
    let ran = whoami(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token).run().exits(3);
    ran.says("x\\nINFO: \\u{1b}[2Jfine");
}

#[test]
fn gateway_token_is_not_printed() {
    let gateway = guide(&issuer());
    gateway.fault(Fault::on("POST", "/oauth/token").status(200).body(r#"{"access_token":"not-a-jwt-but-secret"}"#));
    whoami(&gateway).run().exits(0).says("the gateway exchanged the token\n").does_not_say("not-a-jwt-but-secret");
    // A word is no token, and would be masked in every sentence.
    gateway.clear_faults();
    gateway.fault(Fault::on("POST", "/oauth/token").status(200).body(r#"{"access_token":"accepts"}"#));
    whoami(&gateway).run().exits(0).says("accepts the credentials of this step");
}

#[test]
fn token_of_gitlab_gets_a_role_from_the_claims_that_it_has() {
    let issuer = Issuer::other("https://gitlab.example.com");
    let gateway = start(Gateway::builder().issuer(&issuer));
    let token = ["repositoryUuid", "branchName", "stepUuid", "pipelineUuid", "pipelineRunUuid", "workspaceUuid"]
        .into_iter()
        .fold(issuer.token(), TokenBuilder::without)
        .claim("aud", gateway.public_url())
        .claim("sub", "project_path:acme/shop:ref_type:branch:ref:main")
        .claim("project_id", "22")
        .claim("project_path", "acme/shop")
        .claim("ref", "main")
        .claim("ref_type", "branch");
    let pipe = Pipe::at(&gateway).stack(GUIDE_STACK).var("BITBUCKET_STEP_OIDC_TOKEN", token.clone().mint());
    let ran = pipe.run_with_all(&[("COMMAND", "whoami"), ("OUTPUT_FILE", "iam.yaml")]).exits(3);
    let ran = ran.says("INFO: the ID token is from GitLab (`https://gitlab.example.com`)\n");
    ran.does_not_say("remove `BITBUCKET_STEP_OIDC_TOKEN`").does_not_say("repositoryUuid").does_not_say("WARNING");
    gateway
        .apply(&std::fs::read_to_string(pipe.dir().join("iam.yaml")).expect("cannot read file"))
        .expect("invalid resources");
    pipe.run().exits(0);
    // Not another project.
    let other = token.claim("project_id", "23").mint();
    pipe.run_with("BITBUCKET_STEP_OIDC_TOKEN", &other).exits(3).says("      jwt:project_id: [\"23\"]\n");
}

#[test]
fn resources_that_cannot_be_written_are_not_the_gateways_fault() {
    let gateway = guide(&issuer());
    let path = format!("{}.yaml", "a".repeat(300));
    let ran = whoami(&gateway).stack(GUIDE_STACK).var("OUTPUT_FILE", path).run().exits(2);
    ran.says("ERROR: the resources were not written to `aaa")
        .does_not_say("takes them from")
        .says("accepts the credentials of this step, but the resources were not written\n");
}
