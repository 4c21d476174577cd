//! The resources to paste: what they admit, and that they are YAML whatever the claims hold.

use saphyr_parser::{Event, Parser};

use super::*;

#[test]
fn resources_admit_the_branch_of_the_repository() {
    let actions = [IamAction::FunctionUpdate, IamAction::FunctionCreate, IamAction::FunctionList];
    let functions = [(Some("etl"), "import-csv"), (None, "env")];
    assert_snapshot!(resources(&claims(json!({})), GATEWAY, &facts(), &grants(&functions, &actions)).expect("resources"), @r#"
    # Whose tokens the gateway accepts. Where a JwtIssuer with this `iss` is there, add only the `aud` to it.
    apiVersion: iam.openfaas.com/v1
    kind: JwtIssuer
    metadata:
      name: bitbucket-acme
      namespace: openfaas
    spec:
      iss: https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc
      aud:
      - https://gw.example.com
      tokenExpiry: 30m
    ---
    # What may be done.
    apiVersion: iam.openfaas.com/v1
    kind: Policy
    metadata:
      name: bitbucket-shop-front
      namespace: openfaas
    spec:
      statement:
      - sid: pipe-1
        effect: Allow
        action:
        - Function:Create
        - Function:Update
        resource:
        - "etl:import-csv"
        - "openfaas-fn:env"
      - sid: pipe-2
        effect: Allow
        action:
        - Function:List
        resource:
        - "etl:*"
        - "openfaas-fn:*"
    ---
    # Who may do it: all conditions must hold; several values of one are alternatives.
    apiVersion: iam.openfaas.com/v1
    kind: Role
    metadata:
      name: bitbucket-shop-front-main
      namespace: openfaas
    spec:
      policy:
      - bitbucket-shop-front
      condition:
        StringEqual:
          jwt:iss: ["https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc"]
          # This repository; the braces belong to the UUID.
          jwt:repositoryUuid: ["{0a11}"]
          # Only builds of this branch; builds of tags have none.
          jwt:branchName: ["main"]
    "#);
}

#[test]
fn resources_admit_the_deployment_environment_where_the_step_has_one() {
    let claims = claims(json!({ "deploymentEnvironmentUuid": "{e0}", "branchName": null }));
    let facts = Facts { environment: Some("Production EU".into()), ..facts() };
    let yaml =
        resources(&claims, GATEWAY, &facts, &grants(&[(None, "*")], &[IamAction::FunctionInvoke])).expect("resources");
    assert!(yaml.contains("\n  name: bitbucket-shop-front-production-eu\n"), "{yaml}");
    assert!(yaml.contains("    - \"openfaas-fn:*\"\n"), "{yaml}");
    assert!(yaml.ends_with("\n      jwt:deploymentEnvironmentUuid: [\"{e0}\"]\n"), "{yaml}");
}

#[test]
fn resources_warn_of_what_they_cannot_narrow_and_of_a_foreign_issuer() {
    let claims = claims(json!({ "iss": "https://id.example.com", "branchName": null, "aud": [] }));
    let yaml = resources(&claims, GATEWAY, &facts(), &grants(&[(None, "*")], &[IamAction::FunctionInvoke]))
        .expect("resources");
    let comments: Vec<_> = yaml.lines().filter(|line| line.contains("# ")).map(str::trim).collect();
    assert_snapshot!(comments.join("\n"), @r#"
    # Whose tokens the gateway accepts. Where a JwtIssuer with this `iss` is there, add only the `aud` to it.
    # This issuer is not Bitbucket Pipelines: apply it only if you trust it.
    # Not in the token so far: the step's `oidc: audiences:` must list it too.
    # What may be done.
    # Who may do it: all conditions must hold; several values of one are alternatives.
    # This repository; the braces belong to the UUID.
    # The token has neither branch nor environment, so this admits every step of the repository;
    # give the step a `deployment:` and run `COMMAND: whoami` again to narrow it.
    "#);
}

#[test]
fn without_issuer_or_repository_nothing_is_proposed_that_admits_anyone() {
    for absent in ["iss", "repositoryUuid"] {
        assert_eq!(
            resources(
                &claims(json!({ absent: null })),
                GATEWAY,
                &facts(),
                &grants(&[(None, "*")], &[IamAction::FunctionInvoke])
            ),
            None
        );
    }
}

#[test]
fn a_missing_action_is_a_statement_to_paste() {
    assert_snapshot!(missing_action(IamAction::FunctionUpdate, &FunctionName::new("import-csv", Some("etl"))), @r#"
    the Policy lacks `Function:Update` on `etl:import-csv`; add to its `statement:`
      - sid: openfaas-pipe-1
        effect: Allow
        action:
        - Function:Update
        resource:
        - "etl:import-csv"
    `COMMAND: whoami` prints the whole Policy that this step needs
    "#);
    let listing = missing_action(IamAction::FunctionList, &FunctionName::new("env", None::<String>));
    assert!(listing.ends_with("\n    - \"openfaas-fn:*\""), "{listing}");
}

/// Every scalar of a YAML text; panics where it is not YAML.
pub(super) fn scalars(yaml: &str) -> Vec<String> {
    let events = Parser::new_from_str(yaml).map(|event| event.expect("YAML").0);
    events
        .filter_map(|event| if let Event::Scalar(text, ..) = event { Some(text.into_owned()) } else { None })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn resources_are_yaml_that_says_just_what_the_claims_say(
        issuer in ".{1,20}", repository in ".{1,20}", branch in ".{1,20}", gateway in ".{1,20}", name in ".{1,20}",
    ) {
        prop_assume!([&issuer, &repository, &branch].iter().all(|text| !text.trim().is_empty()));
        let claims = claims(json!({ "iss": issuer, "repositoryUuid": repository, "branchName": branch }));
        let yaml = resources(&claims, &gateway, &facts(), &grants(&[(Some("ns"), &name)], &[IamAction::FunctionGet])).expect("resources");
        prop_assert!(!yaml.contains(|character: char| character.is_control() && character != '\n'), "{yaml}");
        let found = scalars(&yaml);
        let expected = [issuer, repository, branch, gateway.trim().trim_end_matches('/').to_owned(), format!("ns:{name}")];
        for text in expected {
            prop_assert!(found.contains(&text), "{text:?} in {yaml}");
        }
    }
}
