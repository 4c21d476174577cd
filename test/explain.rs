//! Errors of IAM and of the provider: each names the cause and what to change.

use local_gateway::{Fault, Gateway, Issuer, TokenBuilder};

use crate::support::{
    Pipe, Ran, deploy_once as deploy, first_error, guide, issuer, open, permissive, permitting, put, start,
};

/// Runs a deploy with another token, which the exchange rejects.
fn with_token(gateway: &Gateway, token: &str) -> Ran {
    let ran = deploy(gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token).run().exits(3);
    assert!(gateway.requests().iter().all(|request| request.path == "/oauth/token"), "{}", ran.log);
    ran
}

/// The token of a step that the guide's gateway accepts.
fn token(gateway: &Gateway) -> TokenBuilder {
    issuer().token().audience(gateway.public_url())
}

/// An error without the claims of the token, which others show.
fn without_claims(error: String) -> String {
    let (before, rest) = error.split_once("\n  claims of the token:").expect("no claims");
    let (_, last_line) = rest.trim_end().rsplit_once('\n').expect("no last line");
    format!("{before}\n{last_line}")
}

#[test]
fn step_without_oidc_is_shown_the_block_to_add() {
    let gateway = guide(&issuer());
    let ran = deploy(&gateway).without("BITBUCKET_STEP_OIDC_TOKEN").run().exits(3);
    insta::assert_snapshot!(first_error(&ran), @"
    ERROR: no ID token: the step has no `oidc` block
      hint: add an `oidc` block to the step; Bitbucket then passes the token by itself, without `BITBUCKET_STEP_OIDC_TOKEN` in `variables:`
      - step:
          oidc:
            audiences:
              - http://[GATEWAY]
          script:
            - pipe: …
      OpenFaaS CE and Standard have no IAM: set `OPENFAAS_PASSWORD` there instead (an empty value counts as not set)
    ✖ nothing was deployed
    ");
    assert!(gateway.requests().is_empty());
    let invoke =
        deploy(&gateway).without("BITBUCKET_STEP_OIDC_TOKEN").var("COMMAND", "invoke").var("FUNCTION", "f.etl");
    invoke.var("AUTH", "always").run().exits(3).says("      oidc:\n        audiences:\n          - http://127.0.0.1:");
    assert!(gateway.requests().is_empty());
}

#[test]
fn unguarded_function_is_invoked_without_a_token() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    for auth in ["auto", "never"] {
        let pipe = Pipe::at(&gateway).without("BITBUCKET_STEP_OIDC_TOKEN").var("COMMAND", "invoke");
        pipe.var("FUNCTION", "echo").var("AUTH", auth).run().exits(0);
    }
}

#[test]
fn missing_audience_is_explained() {
    let gateway = guide(&issuer());
    insta::assert_snapshot!(without_claims(first_error(&with_token(&gateway, &issuer().token().mint()))), @"
    ERROR: the gateway `http://[GATEWAY]` refused the step's ID token with status 400: `invalid_request`, `Could not validate JWT token, audience is not valid`
      hint: the ID token is not meant for `http://[GATEWAY]`: it has only Bitbucket's default audience; instead of `oidc: true`, write
      - step:
          oidc:
            audiences:
              - http://[GATEWAY]
    ✖ nothing was deployed
    ");
}

#[test]
fn almost_matching_audience_is_explained() {
    let gateway = guide(&issuer());
    let near = format!("{}/", gateway.public_url());
    let ran = with_token(&gateway, &issuer().token().audience("https://other.example.com").audience(&near).mint());
    insta::assert_snapshot!(without_claims(first_error(&ran)), @"
    ERROR: the gateway `http://[GATEWAY]` refused the step's ID token with status 400: `invalid_request`, `Could not validate JWT token, audience is not valid`
      hint: the ID token's audience `http://[GATEWAY]/` is not exactly `http://[GATEWAY]`: it ends with `/`; write the gateway's URL exactly as in the JwtIssuer's `aud`
      - step:
          oidc:
            audiences:
              - https://other.example.com
              - http://[GATEWAY]
    ✖ nothing was deployed
    ");
}

#[test]
fn expired_token_is_sent_and_explained_once() {
    let gateway = guide(&issuer());
    let ran = with_token(&gateway, &token(&gateway).expires_in(-120).mint());
    assert_eq!(ran.log.matches("the ID token expired 2 min ").count(), 1, "{}", ran.log);
    let ran = ran.says("; the step ran longer than the token is valid: ").does_not_say("WARNING");
    let ran = ran.does_not_say("COMMAND: whoami");
    ran.says("refused the step's ID token with status 400: `invalid_request`, ").says("token is expired");
    let old = with_token(&gateway, &token(&gateway).expires_in(-100_000).mint());
    old.says("delete the repository, workspace or deployment variable `BITBUCKET_STEP_OIDC_TOKEN`");
    assert_eq!(gateway.requests().len(), 2);
}

#[test]
fn expired_token_that_the_gateway_accepts_is_a_warning() {
    let gateway = open();
    let expired = token(&gateway).expires_in(-120).mint();
    let answer = r#"{"access_token":"anything","token_type":"Bearer"}"#;
    gateway
        .fault(Fault::on("POST", "/oauth/token").status(200).header("Content-Type", "application/json").body(answer));
    gateway.fault(Fault::on("PUT", "/system/functions").status(200));
    let ran = deploy(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", expired).run().exits(0);
    assert_eq!(ran.log.matches("WARNING: the ID token expired 2 min ").count(), 1, "{}", ran.log);
}

#[test]
fn build_of_a_pull_request_is_not_told_to_open_the_role_to_its_branch() {
    let gateway = guide(&issuer());
    let branch = token(&gateway).claim("branchName", "feature/x").mint();
    let ran = deploy(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", branch).var("BITBUCKET_PR_ID", "12").run().exits(3);
    ran.says("hint: this is the build of pull request `12`: take the step out of `pull-requests`, or give it a Role of its own");
}

#[test]
fn malformed_token_is_not_sent() {
    let gateway = guide(&issuer());
    insta::assert_snapshot!(first_error(&with_token(&gateway, "hunter2-hunter2")), @"
    ERROR: `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: it has one part instead of three, like a password or an opaque access token
      hint: remove `BITBUCKET_STEP_OIDC_TOKEN` from the pipe's `variables:` and from the repository and workspace variables; Bitbucket passes it by itself if the step has
      - step:
          oidc:
            audiences:
              - http://[GATEWAY]
    ✖ nothing was deployed
    ");
    for (value, what) in [
        ("$BITBUCKET_STEP_OIDC_TOKEN", "is the text `$BITBUCKET_STEP_OIDC_TOKEN`, not a token"),
        ("Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "begins with `Bearer`"),
        ("eyJhbGciOiJSUzI1NiJ9.e30.", "has no signature; it was truncated"),
    ] {
        with_token(&gateway, value).says(what).does_not_say("eyJ").does_not_say("WARNING");
    }
    assert!(gateway.requests().is_empty());
}

#[test]
fn token_of_another_workspace_is_explained() {
    let gateway = guide(&issuer());
    let token = Issuer::bitbucket("globex").token().audience(gateway.public_url()).mint();
    insta::assert_snapshot!(without_claims(first_error(&with_token(&gateway, &token))), @"
    ERROR: the gateway `http://[GATEWAY]` refused the step's ID token with status 400: `invalid_request`, `Could not validate JWT token, issuer is not registered: https://api.bitbucket.org/2.0/workspaces/globex/pipelines-config/identity/oidc`
      hint: the ID token is from workspace `globex`, but this step runs in `acme`; remove `BITBUCKET_STEP_OIDC_TOKEN` from all variables: Bitbucket passes the step's own token by itself
    ✖ nothing was deployed
    ");
}

#[test]
fn token_of_another_issuer_is_explained() {
    let gateway = guide(&issuer());
    let token = token(&gateway).claim("iss", "https://gitlab.com").mint();
    let ran = with_token(&gateway, &token);
    ran.says("hint: the ID token is from `https://gitlab.com`, which is not Bitbucket Pipelines; ");
}

#[test]
fn unregistered_issuer_is_explained() {
    let gateway = start(Gateway::builder().iam_yaml(""));
    insta::assert_snapshot!(without_claims(first_error(&with_token(&gateway, &token(&gateway).mint()))), @"
    ERROR: the gateway `http://[GATEWAY]` refused the step's ID token with status 400: `invalid_request`, `Could not validate JWT token, issuer is not registered: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc`
      hint: the gateway does not know the issuer: apply a JwtIssuer whose `spec.iss` is exactly the token's `iss`; each Bitbucket workspace needs its own
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
    ✖ nothing was deployed
    ");
}

#[test]
fn unknown_signing_key_is_explained() {
    let gateway = guide(&issuer());
    with_token(&gateway, &token(&gateway).kid("new").mint())
        .says("hint: the gateway has not fetched the issuer's current keys yet");
}

#[test]
fn invalid_signature_is_explained() {
    let gateway = guide(&issuer());
    with_token(&gateway, &token(&gateway).forged().mint()).says("hint: the token was changed");
}

#[test]
fn tag_build_with_a_branch_condition_is_explained() {
    let gateway = guide(&issuer());
    let ran =
        deploy(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token(&gateway).tag().mint()).var("BITBUCKET_TAG", "v1.2");
    insta::assert_snapshot!(first_error(&ran.run().exits(3)), @"
    ERROR: the gateway `http://[GATEWAY]` refused the step's ID token with status 400: `invalid_request`, `No policies found for subject: {b1f8e7d6-5c4b-4a39-8271-605f4e3d2c1b}:{0a1b2c3d-4e5f-4061-9273-8495a6b7c8d9}`
      hint: the gateway trusts the issuer, but no Role matches the token: all conditions of one Role must match, and UUIDs in them have braces
      the ID token has no `branchName`: this is a build of tag `v1.2`; a Role with a condition on `jwt:branchName` does not match this step: use conditions on `jwt:repositoryUuid` and `jwt:deploymentEnvironmentUuid`, and give the step a `deployment:`
      claims of the token:
        iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc (`spec.iss` of a JwtIssuer must be equal)
        aud: ari:cloud:bitbucket::workspace/7d9a2c4e-1f3b-4a58-9c6d-0e2f4b6a8c10, http://[GATEWAY] (contains the gateway; `spec.aud` of the JwtIssuer must list it)
        sub: {b1f8e7d6-5c4b-4a39-8271-605f4e3d2c1b}:{0a1b2c3d-4e5f-4061-9273-8495a6b7c8d9} (different in every run: do not use it in a condition)
        repositoryUuid: {b1f8e7d6-5c4b-4a39-8271-605f4e3d2c1b} (the usual Role has a condition on it, with its braces)
        branchName: - (missing, as in builds of tags: a Role with a condition on it does not match)
        deploymentEnvironmentUuid: - (missing: a Role with a condition on it does not match; `deployment:` on the step adds it)
      `COMMAND: whoami` prints the JwtIssuer, Policy and Role that give this step access
    ✖ nothing was deployed
    ");
}

#[test]
fn claims_of_a_rejected_token_are_shown() {
    let gateway = guide(&issuer());
    let ran = with_token(&gateway, &token(&gateway).branch("feature/x").deployment("{e0}").mint());
    ran.says("branchName: feature/x (the usual Role has a condition on it)")
        .says("deploymentEnvironmentUuid: {e0} (a Role may have a condition on it, with its braces)");
}

#[test]
fn repository_without_a_role_is_explained() {
    let gateway = guide(&issuer());
    let pipe = deploy(&gateway).var("BITBUCKET_STEP_OIDC_TOKEN", token(&gateway).repository("{0ther}").mint());
    pipe.run().exits(3).says("repositoryUuid: {0ther} (the usual Role has a condition on it, with its braces)");
    let ran = pipe.var("BITBUCKET_REPO_UUID", "{mine}").run().exits(3);
    ran.says("the ID token is from repository `{0ther}`, but this step runs in `{mine}`");
}

#[test]
fn gateway_without_iam_is_explained() {
    let gateway = start(Gateway::builder().basic_auth("admin", "s3cr3t-password"));
    deploy(&gateway).run().exits(3).says("set `OPENFAAS_PASSWORD`");
    let ran = deploy(&gateway).var("OPENFAAS_PASSWORD", "wrong-password").run().exits(3);
    insta::assert_snapshot!(first_error(&ran), @"
    ERROR: `import-csv.etl`: PUT /system/functions: 401 Unauthorized: `invalid credentials`
      hint: check `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`
    FUNCTION  NAMESPACE  IMAGE  RESULT  TIME
    import-csv  etl  docker.io/username/import-csv:latest  not permitted  [TIME]
    ✖ 1 of 1 function not deployed
    ");
}

#[test]
fn sign_in_page_of_a_proxy_is_not_mistaken_for_iam() {
    for status in [401, 403] {
        let gateway = guide(&issuer());
        let page = "<html><head><title>401 Authorization Required</title></head></html>";
        gateway.fault(Fault::any().status(status).header("Content-Type", "text/html").body(page));
        let ran = deploy(&gateway).run().exits(4);
        let ran = ran.says("hint: the response at `http://127.0.0.1:");
        ran.says("not the gateway's: a proxy or an ingress in front of it requires its own sign-in");
        gateway.clear_faults();
        gateway.fault(Fault::on("PUT", "/system/").status(status).header("Content-Type", "text/html").body(page));
        deploy(&gateway).run().exits(3).says("not the gateway's: a proxy").does_not_say("the Policy lacks");
    }
}

#[test]
fn token_rejected_after_the_exchange_is_explained() {
    let gateway = open();
    gateway.fault(Fault::on("PUT", "/system/").status(401).body("invalid or expired token"));
    insta::assert_snapshot!(first_error(&deploy(&gateway).run().exits(3)), @"
    ERROR: `import-csv.etl`: PUT /system/functions: 401 Unauthorized: `invalid or expired token`
      hint: the gateway exchanged the step's token, but does not accept the token that it issued: check whether several gateways with different keys respond at this URL, and whether their clocks are right
    FUNCTION  NAMESPACE  IMAGE  RESULT  TIME
    import-csv  etl  docker.io/username/import-csv:latest  not permitted  [TIME]
    ✖ 1 of 1 function not deployed
    ");
}

#[test]
fn missing_function_is_reported_with_similar_names() {
    let gateway = open();
    put(&gateway, "etl", "import-csv");
    put(&gateway, "etl", "unlike");
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "import-cvs.etl");
    insta::assert_snapshot!(first_error(&pipe.run().exits(1)), @"
    ERROR: `import-cvs.etl` returned 404 Not Found to POST /function/import-cvs.etl, call id `[ID]`
      hint: there is no function `import-cvs` in namespace `etl`; similar names: `import-csv`
    ✖ the invocation of `import-cvs.etl` failed with status 404
    ");
    let ran = pipe.var("FUNCTION", "nothing-of-the-kind").run().exits(1);
    insta::assert_snapshot!(first_error(&ran), @"
    ERROR: `nothing-of-the-kind` returned 404 Not Found to POST /function/nothing-of-the-kind, call id `[ID]`
      hint: there is no function `nothing-of-the-kind` in namespace `openfaas-fn`
    ✖ the invocation of `nothing-of-the-kind` failed with status 404
    ");
}

#[test]
fn missing_function_is_reported_without_permission_to_list() {
    let gateway = guide(&issuer());
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "import-cvs.etl");
    insta::assert_snapshot!(first_error(&pipe.run().exits(1)), @"
    ERROR: `import-cvs.etl` returned 404 Not Found to POST /function/import-cvs.etl, call id `[ID]`
      hint: there is no function with this name: check its name and namespace, and that it was deployed
    ✖ the invocation of `import-cvs.etl` failed with status 404
    ");
    gateway.fault(Fault::on("POST", "/function/").times(1).status(404).body("no such order"));
    pipe.run().exits(1).says("hint: either the function itself returns 404, or there is no function with this name");
    let ran = pipe.without("BITBUCKET_STEP_OIDC_TOKEN").run().exits(1);
    ran.says("404 Not Found").does_not_say("ID token");
}

/// A stack file with several functions in two namespaces.
fn many() -> String {
    let functions: String = ["api", "job", "worker"]
        .iter()
        .map(|name| format!("  {name}:\n    image: example/{name}:1\n    namespace: etl\n"))
        .collect();
    format!("version: 1.0\nprovider: {{name: openfaas}}\nfunctions:\n{functions}  web:\n    image: example/web:1\n")
}

#[test]
fn missing_action_for_many_functions_is_one_policy_statement() {
    let gateway = start(permitting(&["Function:List"]));
    insta::assert_snapshot!(first_error(&deploy(&gateway).stack(&many()).run().exits(3)), @r#"
    ERROR: 4 functions: PUT /system/functions: 403 Forbidden: `insufficient permissions`
      `web`, `api.etl`, `job.etl`, `worker.etl`
    ERROR: the Policy lacks `Function:Update` on 4 functions; add to its `statement:`
      # ----- copy from here -----
        - sid: openfaas-pipe-1
          effect: Allow
          action:
          - Function:Create
          - Function:Update
          resource:
          - "etl:api"
          - "etl:job"
          - "etl:worker"
          - "openfaas-fn:web"
      # ----- to here -----
      `COMMAND: whoami` prints the complete Policy that this step needs
    ✖ 4 of 4 functions not deployed
    "#);
}

/// Adds the statements printed in a log to the gateway's Policy, which so far permits only this action.
fn paste(gateway: &Gateway, permitted: &str, log: &str) {
    let statements = log.split_once("add to its `statement:`\n").expect("missing statement").1;
    let end = statements.find("\n  `COMMAND: whoami`").or(statements.find("\nFUNCTION ")).or(statements.find("\n✖"));
    let iam = include_str!("iam/everything.yaml").replace("action: [\"*\"]", &format!("action: [{permitted:?}]"));
    let statements = &statements[..end.expect("cannot wait for the process")];
    gateway.apply(&iam.replace("  statement:\n", &format!("  statement:\n{statements}\n"))).expect("invalid resources");
}

#[test]
fn printed_policy_statement_is_sufficient_for_a_deploy() {
    for permitted in ["Function:Logs", "Function:Create", "Function:Get"] {
        for (variables, is_there) in [
            (&[][..], true),
            (&[("STRATEGY", "replace")], true),
            (&[("STRATEGY", "create")], false),
            // If no function exists, there is nothing to wait for.
            (&[("WAIT", "true"), ("ROLLBACK", "true")], false),
            (&[("OWNER_LABEL", "true"), ("PRUNE", "true"), ("BITBUCKET_REPO_FULL_NAME", "acme/shop")], true),
        ] {
            let gateway = start(permitting(&[permitted]));
            if is_there {
                put(&gateway, "etl", "api");
            }
            let pipe = |stack: &str| {
                variables.iter().fold(deploy(&gateway).stack(stack), |pipe, (name, value)| pipe.var(name, *value))
            };
            // The permitted action may already be sufficient.
            let ran = pipe(&many()).run();
            if ran.code != 0 {
                paste(&gateway, permitted, &ran.exits(3).log);
                pipe(&many()).run().exits(0);
            }
            if is_there {
                pipe(&many().replace("  web:\n    image: example/web:1\n", "")).run().exits(0);
            }
        }
    }
}

#[test]
fn printed_policy_statement_is_sufficient_for_remove_and_diff() {
    for (command, exit) in [("remove", 0), ("diff", 6)] {
        let gateway = start(permitting(&["Function:Logs"]));
        let pipe = deploy(&gateway).stack(&many()).var("COMMAND", command);
        let ran = pipe.run().exits(3).does_not_say("COMMAND: whoami");
        paste(&gateway, "Function:Logs", &ran.log);
        pipe.run().exits(exit);
    }
}

#[test]
fn missing_action_is_named() {
    for (permitted, strategy, missing) in [
        (&["Function:Create"][..], "update", "Function:Update"),
        (&["Function:Update"], "update", "Function:Create"),
        (&["Function:Update"], "create", "Function:Create"),
        (&["Function:Create"], "replace", "Function:Delete"),
    ] {
        let gateway = start(permitting(permitted));
        let ran = deploy(&gateway).var("STRATEGY", strategy).run().exits(3);
        let ran =
            ran.says(&format!("ERROR: the Policy lacks `{missing}` on `etl:import-csv`; add to its `statement:`\n"));
        ran.says(&format!("    - {missing}\n")).says("    - \"etl:import-csv\"\n");
    }
    let gateway = start(permitting(&["Function:Create", "Function:Update"]));
    let ran = deploy(&gateway).var("WAIT", "true").run().exits(3);
    ran.says("ERROR: the Policy lacks `Function:Get` on `etl:import-csv`");
}

#[test]
fn invocation_without_permission_is_explained() {
    let gateway = start(permitting(&["Function:Create", "Function:Update"]));
    let pipe = deploy(&gateway);
    pipe.run().exits(0);
    let ran = pipe.var("COMMAND", "invoke").var("FUNCTION", "import-csv.etl").run().exits(3);
    insta::assert_snapshot!(first_error(&ran), @r#"
    ERROR: `import-csv.etl` returned 403 Forbidden to POST /function/import-csv.etl, call id `[ID]`
      hint: the Policy lacks `Function:Invoke` on `etl:import-csv`; add to its `statement:`
      # ----- copy from here -----
        - sid: openfaas-pipe-1
          effect: Allow
          action:
          - Function:Invoke
          resource:
          - "etl:import-csv"
      # ----- to here -----
      `COMMAND: whoami` prints the complete Policy that this step needs
    ✖ the invocation of `import-csv.etl` failed with status 403
    "#);
}

#[test]
fn error_of_the_function_itself_is_not_blamed_on_policies() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "echo");
    let pipe = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "echo");
    for status in [401, 403] {
        gateway.clear_faults();
        gateway.fault(Fault::on("POST", "/function/").status(status).body("not you"));
        let ran = pipe
            .run()
            .exits(3)
            .says("INFO: the response of `echo`:\n  not you\n")
            .says("hint: this is not OpenFaaS' IAM: the function, or ");
        ran.says("send them with `HEADERS`").does_not_say("Function:Invoke");
        gateway.clear_faults();
        let page = Fault::on("POST", "/function/").status(status).header("Content-Type", "text/html");
        gateway.fault(page.body("<html><title>Sign in</title></html>"));
        pipe.run().exits(3).says("it requires a sign-in of its own");
    }
    gateway.clear_faults();
    gateway.fault(Fault::on("POST", "/function/").status(404).body("no such order"));
    pipe.run().exits(1).says("hint: the function exists, so this is its own response");
}

#[test]
fn provider_error_is_reported_with_its_line() {
    let gateway = start(permissive().secrets(&["known"]).namespaces(&["openfaas-fn"]));
    // The pipe finds this itself, but for what it does not know of.
    let text =
        r#"Deployment.apps "labelled" is invalid: spec.template.labels: Invalid value: "two-words": not allowed here"#;
    gateway.fault(Fault::on("PUT", "/system/functions").containing("labelled").status(400).body(text));
    let stack = "version: 1.0
provider: {name: openfaas}
functions:
  with-secret:
    image: example/f:1
    secrets:
      - known
      - unknown
  elsewhere:
    image: example/f:1
    namespace: nowhere
  labelled:
    image: example/f:1
    labels:
      com.example/team: two-words
";
    insta::assert_snapshot!(first_error(&deploy(&gateway).stack(stack).run().exits(1)), @r#"
    ERROR: `with-secret`: PUT /system/functions: 400 Bad Request: `unable to fetch secrets: secrets "unknown" not found`
      hint: have the pipe create it in namespace `openfaas-fn` from a secured variable, or correct `secrets` at stack.yml:6
        SECRET_VALUES: ['unknown=$UNKNOWN']
    ERROR: `elsewhere.nowhere`: PUT /system/functions: 400 Bad Request: `namespace: nowhere not found or not annotated for use by OpenFaaS`
      hint: set `CREATE_NAMESPACE: 'true'` to have it created, or correct `namespace` at stack.yml:11
    ERROR: `labelled`: PUT /system/functions: 400 Bad Request: `Deployment.apps "labelled" is invalid: spec.template.labels: Invalid value: "two-words": not allowed here`
      hint: correct `labels` at stack.yml:14
    FUNCTION  NAMESPACE  IMAGE  RESULT  TIME
    with-secret  -  example/f:1  failed  [TIME]
    elsewhere  nowhere  example/f:1  failed  [TIME]
    labelled  -  example/f:1  failed  [TIME]
    ✖ 3 of 3 functions not deployed
    "#);
}
