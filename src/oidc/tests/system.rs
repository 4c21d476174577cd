//! Tokens of other CI systems, which are named as such.

use super::*;

fn other(with: Value) -> Claims {
    let absent = json!({
        "branchName": null, "repositoryUuid": null, "stepUuid": null, "workspaceUuid": null, "aud": [GATEWAY],
    });
    let (Value::Object(mut changes), Value::Object(with)) = (absent, with) else { panic!("objects") };
    changes.extend(with);
    claims(Value::Object(changes))
}

fn gitlab(with: Value) -> Claims {
    let own = json!({
        "iss": "https://gitlab.example.com", "sub": "project_path:acme/web/shop:ref_type:branch:ref:main",
        "project_id": "22", "project_path": "acme/web/shop", "namespace_path": "acme/web", "ref": "main", "ref_type": "branch",
    });
    let (Value::Object(mut own), Value::Object(with)) = (own, with) else { panic!("objects") };
    own.extend(with);
    other(Value::Object(own))
}

fn github(with: Value) -> Claims {
    let own = json!({
        "iss": "https://token.actions.githubusercontent.com", "sub": "repo:acme/shop:ref:refs/heads/main",
        "repository": "acme/shop", "repository_id": "74", "repository_owner": "acme", "ref": "refs/heads/main",
        "ref_type": "branch",
    });
    let (Value::Object(mut own), Value::Object(with)) = (own, with) else { panic!("objects") };
    own.extend(with);
    other(Value::Object(own))
}

#[test]
fn token_of_another_system_is_named_without_the_advice_to_remove_it() {
    let elsewhere = BuildContext::default();
    let told = [gitlab(json!({})), github(json!({}))].map(|claims| show_notes(&claims, &elsewhere));
    assert_snapshot!(told.concat(), @r#"
    the ID token is from GitLab (`https://gitlab.example.com`)
    hint: a gateway accepts it if a JwtIssuer has that `iss` and the token's `aud`, and a Role has conditions on its claims: `COMMAND: whoami` prints them
    the ID token is from GitHub Actions (`https://token.actions.githubusercontent.com`)
    hint: a gateway accepts it if a JwtIssuer has that `iss` and the token's `aud`, and a Role has conditions on its claims: `COMMAND: whoami` prints them
    "#);
    assert_eq!(show_findings(&gitlab(json!({})), &elsewhere), "");
    // In a step of Bitbucket it is not the step's own.
    let told = show_findings(&gitlab(json!({})), &build());
    assert!(told.contains("hint: remove `BITBUCKET_STEP_OIDC_TOKEN` from all variables"), "{told}");
}

#[test]
fn audience_is_requested_as_the_system_does_it() {
    let elsewhere = BuildContext::default();
    let told = [
        gitlab(json!({ "aud": "https://gitlab.example.com" })),
        github(json!({ "aud": "https://github.com/acme" })),
        gitlab(json!({ "aud": null })),
    ]
    .map(|claims| show_notes(&claims, &elsewhere) + &show_findings(&claims, &elsewhere));
    assert_snapshot!(told.concat(), @r#"
    the ID token is from GitLab (`https://gitlab.example.com`)
    hint: a gateway accepts it if a JwtIssuer has that `iss` and the token's `aud`, and a Role has conditions on its claims: `COMMAND: whoami` prints them
    none of the ID token's audiences is `https://gw.example.com`: `https://gitlab.example.com`
    hint: this is right if the gateway's JwtIssuer lists one of them in `aud`; otherwise write
    job:
      id_tokens:
        BITBUCKET_STEP_OIDC_TOKEN:
          aud: https://gw.example.com
    the ID token is from GitHub Actions (`https://token.actions.githubusercontent.com`)
    hint: a gateway accepts it if a JwtIssuer has that `iss` and the token's `aud`, and a Role has conditions on its claims: `COMMAND: whoami` prints them
    none of the ID token's audiences is `https://gw.example.com`: `https://github.com/acme`
    hint: this is right if the gateway's JwtIssuer lists one of them in `aud`; otherwise write
    curl -H "Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \
      "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=https://gw.example.com"
    the ID token is from GitLab (`https://gitlab.example.com`)
    hint: a gateway accepts it if a JwtIssuer has that `iss` and the token's `aud`, and a Role has conditions on its claims: `COMMAND: whoami` prints them
    Warning: the ID token has no `aud`
    hint: request it for the gateway:
    job:
      id_tokens:
        BITBUCKET_STEP_OIDC_TOKEN:
          aud: https://gw.example.com
    "#);
}

#[test]
fn role_is_bound_to_the_claims_that_the_system_has() {
    let grants = grants(&[(Some("etl"), "f")], &[IamAction::FunctionCreate]);
    let shown = |claims: &Claims| {
        let yaml = resources(claims, GATEWAY, &BuildContext::default(), None, &grants).expect("resources");
        let (issuer, rest) = yaml.split_once("---\n").expect("documents");
        format!("{issuer}…\n{}", rest.split_once("---\n").expect("documents").1)
    };
    assert_snapshot!(shown(&gitlab(json!({}))), @r#"
    # Whose tokens the gateway accepts. If a JwtIssuer with this `iss` exists, only add the `aud` to it.
    # This issuer is GitLab: apply this only if you trust it.
    apiVersion: iam.openfaas.com/v1
    kind: JwtIssuer
    metadata:
      name: gitlab.https-gitlab-example-com-dfe2eead3cf7
      namespace: openfaas
    spec:
      iss: https://gitlab.example.com
      aud:
      - https://gw.example.com
      tokenExpiry: 30m
    …
    # To whom: all conditions must match; several values of one are alternatives.
    apiVersion: iam.openfaas.com/v1
    kind: Role
    metadata:
      name: gitlab.https-gitlab-example-com-dfe2eead3cf7.acme-web-shop-9b81b0bf883b.branch-main
      namespace: openfaas
    spec:
      policy:
      - gitlab.https-gitlab-example-com-dfe2eead3cf7.acme-web-shop-9b81b0bf883b.branch-main
      condition:
        StringEqual:
          jwt:iss: ["https://gitlab.example.com"]
          # The project `acme/web/shop`.
          jwt:project_id: ["22"]
          # Only jobs of this branch.
          jwt:ref: ["main"]
          # A tag may have the same name.
          jwt:ref_type: ["branch"]
    "#);
    assert_snapshot!(shown(&github(json!({ "environment": "production" }))), @r#"
    # Whose tokens the gateway accepts. If a JwtIssuer with this `iss` exists, only add the `aud` to it.
    # This issuer is GitHub Actions: apply this only if you trust it.
    apiVersion: iam.openfaas.com/v1
    kind: JwtIssuer
    metadata:
      name: github.https-token-actions-githubuserconte-dd9c65dd99f4
      namespace: openfaas
    spec:
      iss: https://token.actions.githubusercontent.com
      aud:
      - https://gw.example.com
      tokenExpiry: 30m
    …
    # To whom: all conditions must match; several values of one are alternatives.
    apiVersion: iam.openfaas.com/v1
    kind: Role
    metadata:
      name: github.https-token-actions-githubuserconte-dd9c65dd99f4.acme-shop-d21b2cdf12b7.deployment-production
      namespace: openfaas
    spec:
      policy:
      - github.https-token-actions-githubuserconte-dd9c65dd99f4.acme-shop-d21b2cdf12b7.deployment-production
      condition:
        StringEqual:
          jwt:iss: ["https://token.actions.githubusercontent.com"]
          # The repository `acme/shop`.
          jwt:repository_id: ["74"]
          # Only runs with this `environment:`.
          jwt:environment: ["production"]
    "#);
    let unbound =
        |claims: &Claims| resources(claims, GATEWAY, &BuildContext::default(), None, &grants).expect_err("unbound");
    assert_eq!(unbound(&gitlab(json!({ "ref_type": "tag", "ref": "v1" }))), Unbound::Job);
    assert_eq!(unbound(&github(json!({ "ref": null }))), Unbound::Job);
    // Claims that no system is known by.
    assert_eq!(unbound(&other(json!({ "iss": "https://id.example.com" }))), Unbound::Repository);
}

#[test]
fn table_begins_with_the_claims_that_the_role_checks() {
    let rows = claims_table(&gitlab(json!({})), GATEWAY, NOW);
    let first: Vec<_> = rows.iter().take(6).map(|[claim, _, meaning]| format!("{claim}: {meaning}")).collect();
    assert_snapshot!(first.join("\n"), @r#"
    iss: GitLab; `spec.iss` of a JwtIssuer must be equal
    aud: contains the gateway; `spec.aud` of the JwtIssuer must list it
    sub: a Role may have a condition on it
    project_id: the usual Role has a condition on it
    ref: a Role may have a condition on it
    environment: missing: a Role with a condition on it does not match
    "#);
}
