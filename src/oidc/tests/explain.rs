//! What a person reads where the gateway refused a token, and of its claims.

use super::*;

fn refusal(description: &str, claims: &Claims) -> String {
    let refusal = Refusal { status: 400, error: Some("invalid_request"), description: Some(description) };
    show_problem(explain_refusal(refusal, claims, GATEWAY, NOW, &facts()))
}

#[test]
fn a_refusal_without_a_role_shows_the_claims_that_must_match() {
    assert_snapshot!(refusal("No policies found for subject: {0a11}:{57e9}", &claims(json!({ "branchName": null }))), @r#"
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `No policies found for subject: {0a11}:{57e9}`
    hint: the gateway trusts the issuer, but no Role matches the token: all conditions of one Role must hold, and UUIDs in them have braces
    the ID token has no `branchName`; a Role with a condition on `jwt:branchName` does not admit this step: let the Role ask for `jwt:repositoryUuid` and `jwt:deploymentEnvironmentUuid`, and give the step a `deployment:`
    a Role with this admits the step:
      condition:
        StringEqual:
          jwt:iss: ["https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc"]
          # This repository; the braces belong to the UUID.
          jwt:repositoryUuid: ["{0a11}"]
          # The token has neither branch nor environment, so this admits every step of the repository;
          # give the step a `deployment:` and run `COMMAND: whoami` again to narrow it.
    the token says:
      iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc (`spec.iss` of a JwtIssuer must be the same)
      aud: ari:cloud:bitbucket::workspace/1e57, https://gw.example.com (names the gateway; `spec.aud` of the JwtIssuer must list it)
      sub: {0a11}:{57e9} (new with every run: an exact condition on it never matches again)
      repositoryUuid: {0a11} (the usual Role asks for it, with its braces)
      branchName: - (absent, as in builds of tags: a Role with a condition on it does not match)
      deploymentEnvironmentUuid: - (absent: a Role with a condition on it does not match; `deployment:` on the step adds it)
    `COMMAND: whoami` prints the JwtIssuer, Policy and Role that admit this step
    "#);
}

#[test]
fn a_refusal_for_its_time_shows_the_times() {
    assert_snapshot!(refusal("token is expired", &claims(json!({ "exp": NOW - 5 }))), @r"
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `token is expired`
    hint: the ID token expired 5 s ago, 9 min 55 s after it was made; the step ran longer than the token lives: put the pipe at the step's beginning, or into a step of its own
    the token says:
      exp: 1799999995 (expired 5 s ago: refused)
      iat: 1799999400 (10 min 0 s ago)
    `COMMAND: whoami` prints the JwtIssuer, Policy and Role that admit this step
    ");
}

#[test]
fn each_documented_refusal_has_its_remedy() {
    let words = [
        "issuer not found: x",
        "oidc: expected audience \"a\" got [\"b\"]",
        "Could not validate JWT token, JWKS keys missing",
        "failed to verify signature",
        "\u{1b}[31msomething\nERROR: else",
        "",
    ];
    let told = words.map(|words| {
        let text = refusal(words, &claims(json!({})));
        text.lines().take(2).collect::<Vec<_>>().join("\n")
    });
    assert_snapshot!(told.join("\n"), @r#"
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `issuer not found: x`
    hint: the gateway knows no such issuer: apply a JwtIssuer whose `spec.iss` is the token's `iss`, character for character; each Bitbucket workspace needs its own
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `oidc: expected audience "a" got ["b"]`
    hint: the token is meant for this gateway, but its JwtIssuer lists another `spec.aud`: write the gateway's URL there as the token's `aud` has it
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `Could not validate JWT token, JWKS keys missing`
    hint: the gateway has not yet read the issuer's present keys: try again in a few minutes, else restart the gateway, and see that it can reach the token's `iss`
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `failed to verify signature`
    hint: the token was changed on its way, or another issuer made it: take `BITBUCKET_STEP_OIDC_TOKEN` out of all variables, Bitbucket passes it itself
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `\u{1b}[31msomething\nERROR: else`
    hint: see whether a JwtIssuer has the token's `iss` and one of its `aud`, and whether all conditions of a Role hold
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`
    hint: see whether a JwtIssuer has the token's `iss` and one of its `aud`, and whether all conditions of a Role hold
    "#);
}

#[test]
fn a_refusal_for_the_audience_prints_the_block_where_the_step_lacks_it() {
    let text = refusal("invalid audience", &claims(json!({ "aud": "ari:cloud:bitbucket::workspace/1e57" })));
    assert_snapshot!(text.lines().take(6).collect::<Vec<_>>().join("\n"), @r"
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `invalid audience`
    hint: the ID token is not meant for `https://gw.example.com`: it has only Bitbucket's default audience; write, in place of `oidc: true`
    - step:
        oidc:
          audiences:
            - https://gw.example.com
    ");
}

#[test]
fn a_gateway_without_token_exchange_has_no_iam() {
    let refusal = Refusal { status: 404, error: None, description: None };
    let problem = explain_refusal(refusal, &claims(json!({})), GATEWAY, NOW, &facts());
    assert_snapshot!(show_problem(problem), @r#"
    the gateway `https://gw.example.com` refused the step's ID token with status 404
    hint: the gateway has no token exchange: OpenFaaS CE and Standard have no IAM, set `OPENFAAS_PASSWORD` (blank counts as not set); else see whether `OPENFAAS_URL` lacks a base path
    "#);
}

#[test]
fn the_table_says_what_the_gateway_makes_of_each_claim() {
    let claims = claims(
        json!({ "compliant": true, "note": "\u{1b}[2J", "deploymentEnvironmentUuid": "{e0}", "exp": "1800003000" }),
    );
    let row = |row: Row| format!("{} | {} | {}\n", row.claim, row.value, row.meaning);
    assert_snapshot!(claims_table(&claims, GATEWAY, NOW).into_iter().map(row).collect::<String>(), @r#"
    iss | https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc | `spec.iss` of a JwtIssuer must be the same
    aud | ari:cloud:bitbucket::workspace/1e57, https://gw.example.com | names the gateway; `spec.aud` of the JwtIssuer must list it
    sub | {0a11}:{57e9} | new with every run: an exact condition on it never matches again
    repositoryUuid | {0a11} | the usual Role asks for it, with its braces
    branchName | main | the usual Role asks for it
    deploymentEnvironmentUuid | {e0} | a Role may ask for it, with its braces
    compliant | true | a Role may ask for it
    exp | 1800003000 | expires in 50 min 0 s
    iat | 1799999400 | 10 min 0 s ago
    note | \u{1b}[2J | a Role may ask for it
    stepUuid | {57e9} | new with every run: an exact condition on it never matches again
    workspaceUuid | {1e57} | a Role may ask for it, with its braces
    "#);
}
