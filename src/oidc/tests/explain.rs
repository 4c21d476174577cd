//! Messages about refused tokens and their claims.

use super::*;

fn refusal(description: &str, claims: &Claims) -> String {
    let refusal = Refusal { status: 400, error: Some("invalid_request"), description: Some(description) };
    show_problem(explain_refusal(refusal, claims, GATEWAY, NOW, &build()))
}

#[test]
fn a_refusal_for_its_time_shows_the_times() {
    assert_snapshot!(refusal("token is expired", &claims(json!({ "exp": NOW - 5 }))), @"
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `token is expired`
    hint: the ID token expired 5 s ago, 9 min 55 s after it was issued; the step ran longer than the token is valid: run the pipe at the beginning of the step or in its own step; if the clock of this machine is fast, correct it
    claims of the token:
      exp: 1799999995 (expired 5 s ago by this machine's clock)
      iat: 1799999400 (10 min 0 s ago)
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
    hint: the gateway does not know the issuer: apply a JwtIssuer whose `spec.iss` is exactly the token's `iss`; each Bitbucket workspace needs its own
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `oidc: expected audience "a" got ["b"]`
    hint: the token is meant for this gateway, but its JwtIssuer lists another `spec.aud`: write the gateway's URL there exactly as in the token's `aud`
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `Could not validate JWT token, JWKS keys missing`
    hint: the gateway has not fetched the issuer's current keys yet: retry in a few minutes; if that does not help, restart the gateway, and check that it can reach the token's `iss`
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `failed to verify signature`
    hint: the token was changed, or another issuer made it: remove `BITBUCKET_STEP_OIDC_TOKEN` from all variables, Bitbucket passes it by itself
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`, `\u{1b}[31msomething\nERROR: else`
    hint: check that a JwtIssuer has the token's `iss` and one of its `aud`, and that all conditions of a Role match
    the gateway `https://gw.example.com` refused the step's ID token with status 400: `invalid_request`
    hint: check that a JwtIssuer has the token's `iss` and one of its `aud`, and that all conditions of a Role match
    "#);
}

#[test]
fn the_table_says_what_the_gateway_makes_of_each_claim() {
    let claims = claims(
        json!({ "compliant": true, "note": "\u{1b}[2J", "deploymentEnvironmentUuid": "{e0}", "exp": "1800003000" }),
    );
    let row = |row: [String; 3]| row.join(" | ") + "\n";
    assert_snapshot!(claims_table(&claims, GATEWAY, NOW).into_iter().map(row).collect::<String>(), @r"
    iss | https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc | `spec.iss` of a JwtIssuer must be equal
    aud | ari:cloud:bitbucket::workspace/1e57, https://gw.example.com | contains the gateway; `spec.aud` of the JwtIssuer must list it
    sub | {0a11}:{57e9} | different in every run: do not use it in a condition
    repositoryUuid | {0a11} | the usual Role has a condition on it, with its braces
    branchName | main | the usual Role has a condition on it
    deploymentEnvironmentUuid | {e0} | a Role may have a condition on it, with its braces
    compliant | true | a Role may have a condition on it
    exp | 1800003000 | expires in 50 min 0 s
    iat | 1799999400 | 10 min 0 s ago
    note | \u{1b}[2J | a Role may have a condition on it
    stepUuid | {57e9} | different in every run: do not use it in a condition
    workspaceUuid | {1e57} | a Role may have a condition on it, with its braces
    ");
}
