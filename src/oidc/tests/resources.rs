//! The proposed resources: which steps they accept, and that they are valid YAML for any claims.

use granit_parser::{Event, Parser};

use super::*;

#[test]
fn resources_admit_the_deployment_environment_where_the_step_has_one() {
    let claims = claims(json!({ "deploymentEnvironmentUuid": "{e0}", "branchName": null }));
    let build = BuildContext { environment: Some("Production EU".into()), ..build() };
    let yaml = resources(&claims, GATEWAY, &build, None, &grants(&[(None, "*")], &[IamAction::FunctionInvoke]))
        .expect("resources");
    assert!(yaml.contains(".deployment-production-eu-"), "{yaml}");
    assert!(yaml.contains("    - \"openfaas-fn:*\"\n"), "{yaml}");
    assert!(yaml.ends_with("\n      jwt:deploymentEnvironmentUuid: [\"{e0}\"]\n"), "{yaml}");
}

#[test]
fn resources_warn_of_a_foreign_issuer_and_of_an_audience_that_the_token_lacks() {
    let claims = claims(json!({ "iss": "https://id.example.com", "aud": [] }));
    let grants = grants(&[(None, "*")], &[IamAction::FunctionInvoke]);
    let yaml = resources(&claims, GATEWAY, &build(), None, &grants).expect("resources");
    let comments: Vec<_> = yaml.lines().filter(|line| line.contains("# ")).map(str::trim).collect();
    assert_snapshot!(comments.join("\n"), @"
    # Whose tokens the gateway accepts. If a JwtIssuer with this `iss` exists, only add the `aud` to it.
    # This issuer is not Bitbucket Pipelines: apply this only if you trust it.
    # Not in the token yet: the step's `oidc: audiences:` must list it too.
    # What is permitted.
    # To whom: all conditions must match; several values of one are alternatives.
    # This repository; the braces are part of the UUID.
    # Only builds of this branch; builds of tags have no branch.
    ");
}

#[test]
fn role_that_would_admit_others_is_not_proposed() {
    let unbound = |absent: Value| {
        let grants = grants(&[(None, "*")], &[IamAction::FunctionInvoke]);
        resources(&claims(absent), GATEWAY, &build(), None, &grants).expect_err("no resources")
    };
    assert_eq!(unbound(json!({ "iss": null })), Unbound::Issuer);
    assert_eq!(unbound(json!({ "repositoryUuid": null })), Unbound::Repository);
    assert_eq!(unbound(json!({ "branchName": null })), Unbound::Step);
}

/// The name that Policy and Role have.
fn name(with: Value, build: &BuildContext, of: Option<&str>) -> String {
    let grants = grants(&[(None, "*")], &[IamAction::FunctionInvoke]);
    let yaml = resources(&claims(with), GATEWAY, build, of, &grants).expect("resources");
    let names: Vec<_> = yaml.lines().filter_map(|line| line.strip_prefix("  name: ")).collect();
    assert_eq!(names[1], names[2], "{yaml}");
    names[1].to_owned()
}

#[test]
fn names_say_what_the_role_is_bound_to() {
    let production = BuildContext { environment: Some("production".into()), ..build() };
    let environment = || json!({ "deploymentEnvironmentUuid": "{e0}" });
    let names = [
        name(json!({}), &build(), None),
        name(environment(), &production, None),
        name(environment(), &build(), None),
        name(json!({ "branchName": "feature/x" }), &build(), None),
        name(json!({}), &build(), Some("stack-jobs/stack.yml")),
        name(json!({}), &build(), Some("invoke-etl")),
    ];
    assert_snapshot!(names.join("\n"), @"
    bitbucket.acme.shop-front-478cce86c259.branch-main
    bitbucket.acme.shop-front-478cce86c259.deployment-production
    bitbucket.acme.shop-front-478cce86c259.deployment-e0-31ea3b9fb98c
    bitbucket.acme.shop-front-478cce86c259.branch-feature-x-217d2bf51f16
    bitbucket.acme.shop-front-478cce86c259.branch-main.stack-jobs-stack-yml-4dcd5782812a
    bitbucket.acme.shop-front-478cce86c259.branch-main.invoke-etl
    ");
}

#[test]
fn names_of_different_steps_never_collide() {
    let mut names: Vec<_> = [
        "main",
        "Main",
        "feature/x",
        "feature-x-217d2bf51f16",
        "feature-x",
        "feature--x",
        "-x",
        "x",
        "é",
        "è",
        &"x".repeat(300),
    ]
    .iter()
    .map(|branch| name(json!({ "branchName": branch }), &build(), None))
    .collect();
    names.push(name(json!({ "branchName": format!("{}y", "x".repeat(299)) }), &build(), None));
    names.push(name(
        json!({ "deploymentEnvironmentUuid": "{e0}" }),
        &BuildContext { environment: Some("main".into()), ..build() },
        None,
    ));
    names.push(name(json!({ "branchName": "a" }), &build(), Some("stack-b.yml")));
    names.push(name(json!({ "branchName": "a" }), &build(), Some("stack-b_yml")));
    names.push(name(json!({ "branchName": "a.b-yml" }), &build(), None));
    let repository = |slug: &str| BuildContext { repository_slug: Some(slug.to_owned()), ..build() };
    names.push(name(json!({}), &repository("a-b"), None));
    names.push(name(json!({}), &repository("a"), Some("b")));
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{names:#?}");
}

#[test]
fn a_missing_action_is_a_statement_to_paste() {
    assert_snapshot!(missing_action(IamAction::FunctionUpdate, &FunctionName::new("import-csv", Some("etl"))), @r#"
    the Policy lacks `Function:Update` on `etl:import-csv`; add to its `statement:`
    # ----- copy from here -----
      - sid: openfaas-pipe-1
        effect: Allow
        action:
        - Function:Update
        resource:
        - "etl:import-csv"
    # ----- to here -----
    `COMMAND: whoami` prints the complete Policy that this step needs
    "#);
    let listing = missing_action(IamAction::FunctionList, &FunctionName::new("env", None::<String>));
    assert!(listing.ends_with("\n    - \"openfaas-fn:*\"\n# ----- to here -----"), "{listing}");
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
        issuer in ".{1,20}", repository in ".{1,20}", branch in ".{1,90}", gateway in ".{1,20}", name in ".{1,20}",
    ) {
        prop_assume!([&issuer, &repository, &branch].iter().all(|text| !text.trim().is_empty()));
        let claims = claims(json!({ "iss": issuer, "repositoryUuid": repository, "branchName": branch }));
        let yaml = resources(&claims, &gateway, &build(), None, &grants(&[(Some("ns"), &name)], &[IamAction::FunctionGet])).expect("resources");
        let names = yaml.lines().filter_map(|line| line.strip_prefix("  name: "));
        for name in names {
            prop_assert!(name.len() <= 253, "{name}");
            for label in name.split('.') {
                let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                let ends = label.bytes().next().zip(label.bytes().last()).expect("a label");
                prop_assert!(label.len() <= 63 && is_alphanumeric(ends.0) && is_alphanumeric(ends.1), "{name}");
                prop_assert!(label.bytes().all(|byte| is_alphanumeric(byte) || byte == b'-'), "{name}");
            }
        }
        prop_assert!(!yaml.contains(|character: char| character.is_control() && character != '\n'), "{yaml}");
        let found = scalars(&yaml);
        let expected = [issuer, repository, branch, gateway.trim().trim_end_matches('/').to_owned(), format!("ns:{name}")];
        for text in expected {
            prop_assert!(found.contains(&text), "{text:?} in {yaml}");
        }
    }
}
