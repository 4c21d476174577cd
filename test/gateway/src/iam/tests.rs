//! The rules of IAM.

use super::*;

#[test]
fn wildcard_matches_any_text() {
    for (pattern, text, matches) in [
        ("*", "etl:import-csv", true),
        ("etl:*", "etl:import-csv", true),
        ("etl:*", "etl2:import-csv", false),
        ("etl:import-csv", "etl:import-csv", true),
        ("etl:import-csv", "etl:import-csv-2", false),
        ("*-csv", "etl:import-csv", true),
        ("e*:*csv", "etl:import-csv", true),
        ("a*a", "a", false),
        ("a**b", "ab", true),
        ("", "", true),
    ] {
        assert_eq!(like(pattern, text), matches, "{pattern} {text}");
    }
}

const ISSUER: &str = "
apiVersion: iam.openfaas.com/v1
kind: JwtIssuer
metadata: {name: bitbucket.com}
spec: {iss: https://issuer.example.com, aud: [https://gw.example.com], tokenExpiry: 1h30m}
";

fn role(spec: &str) -> String {
    format!("---\napiVersion: iam.openfaas.com/v1\nkind: Role\nmetadata: {{name: role}}\nspec: {spec}\n")
}

fn policy(statement: &str) -> String {
    format!(
        "---\napiVersion: iam.openfaas.com/v1\nkind: Policy\nmetadata: {{name: policy}}\nspec: {{statement: [{statement}]}}\n"
    )
}

const ANY: &str = "{sid: all, action: ['*'], effect: Allow, resource: ['*']}";

fn claims() -> Claims {
    let claims = serde_json::json!({
        "iss": "https://issuer.example.com",
        "sub": "{repo}:{step}",
        "branchName": "main",
        "repositoryUuid": "{repo}",
        "groups": ["dev", "ops"],
        "count": 3,
    });
    serde_json::from_value(claims).unwrap()
}

fn iam(yaml: &str) -> Iam {
    let mut iam = Iam::default();
    iam.apply(yaml).unwrap();
    iam
}

#[test]
fn role_matches_by_principal_and_conditions() {
    for (spec, matches) in [
        ("{policy: [policy]}", true),
        ("{policy: [policy], principal: {'jwt:sub': ['{repo}:{step}']}}", true),
        ("{policy: [policy], principal: {'jwt:sub': ['other', '{repo}:{step}']}}", true),
        ("{policy: [policy], principal: {'jwt:sub': ['{repo}:*']}}", false),
        ("{policy: [policy], condition: {StringEqual: {'jwt:branchName': [main]}}}", true),
        ("{policy: [policy], condition: {StringEquals: {'jwt:branchName': main}}}", true),
        ("{policy: [policy], condition: {StringEqual: {'jwt:branchName': [dev, main]}}}", true),
        ("{policy: [policy], condition: {StringEqual: {'jwt:branchName': [Main]}}}", false),
        ("{policy: [policy], condition: {StringEqual: {'jwt:branchName': ['*']}}}", false),
        (
            "{policy: [policy], condition: {StringEqual: {'jwt:branchName': [main], 'jwt:repositoryUuid': [repo]}}}",
            false,
        ),
        ("{policy: [policy], condition: {StringEqual: {'jwt:tag': ['']}}}", false),
        ("{policy: [policy], condition: {StringEqual: {'jwt:groups': [dev]}}}", false),
        ("{policy: [policy], condition: {StringEqual: {'jwt:count': ['3']}}}", false),
        ("{policy: [policy], condition: {StringEqual: {'jwt:branchName': []}}}", false),
        ("{policy: [policy], condition: {StringEqualIgnoreCase: {'jwt:branchName': [MAIN]}}}", true),
        ("{policy: [policy], condition: {StringLike: {'jwt:sub': ['{repo}:*']}}}", true),
        ("{policy: [policy], condition: {StringLike: {'jwt:sub': ['repo:*']}}}", false),
        ("{policy: [policy], condition: {'ForAnyValue:StringEqual': {'jwt:groups': [ops]}}}", true),
        ("{policy: [policy], condition: {'ForAnyValue:StringEqual': {'jwt:groups': [hr]}}}", false),
        ("{policy: [policy], condition: {StringLike: {'jwt:sub': '*'}, StringEqual: {'jwt:branchName': dev}}}", false),
        ("{policy: [policy], principal: {'jwt:sub': [x]}, condition: {StringEqual: {'jwt:branchName': main}}}", false),
        ("{policy: [unknown]}", false),
    ] {
        let iam = iam(&(policy(ANY) + &role(spec)));
        assert_eq!(iam.policies_for(&claims()).is_empty(), !matches, "{spec}");
    }
}

#[test]
fn statement_permits_actions_on_resources() {
    for (statement, action, resource, allowed) in [
        (ANY, "System:Info", "*", true),
        ("{action: ['Function:*'], effect: Allow, resource: ['etl:*']}", "Function:Create", "etl:a", true),
        ("{action: ['Function:*'], effect: Allow, resource: ['etl:*']}", "Secret:Create", "etl:a", false),
        ("{action: ['Function:*'], effect: Allow, resource: ['etl:*']}", "Function:Create", "dev:a", false),
        ("{action: ['Function:*'], effect: Allow, resource: ['etl:*']}", "Function:List", "etl:*", true),
        ("{action: ['Function:*'], effect: Allow, resource: ['etl:a']}", "Function:List", "etl:*", false),
        ("{action: ['System:Info'], effect: Allow, resource: ['etl:*']}", "System:Info", "*", false),
        ("{action: Function:Invoke, effect: Allow, resource: etl:a}", "Function:Invoke", "etl:a", true),
        ("{action: [A, B], effect: Allow, resource: ['x', 'etl:a']}", "B", "etl:a", true),
    ] {
        let iam = iam(&(policy(statement) + &role("{policy: [policy]}")));
        let policies = iam.policies_for(&claims());
        assert_eq!(iam.allows(&policies, &claims(), action, resource), allowed, "{statement} {action} {resource}");
    }
}

#[test]
fn statement_may_have_conditions() {
    let statement = |branch| {
        format!(
            "{{action: ['*'], effect: Allow, resource: ['*'], condition: {{StringEqual: {{'jwt:branchName': {branch}}}}}}}"
        )
    };
    for (branch, allowed) in [("main", true), ("dev", false)] {
        let iam = iam(&policy(&statement(branch)));
        assert_eq!(iam.allows(&["policy".to_owned()], &claims(), "System:Info", "*"), allowed, "{branch}");
    }
}

#[test]
fn issuer_is_found_by_iss() {
    let iam = iam(ISSUER);
    let issuer = iam.issuer("https://issuer.example.com").unwrap();
    assert_eq!(issuer.token_expiry, Duration::from_secs(5400));
    assert!(iam.issuer("https://issuer.example.com/").is_none());
}

#[test]
fn resource_replaces_one_of_the_same_name() {
    let mut iam = iam(&(policy(ANY) + &role("{policy: [policy]}")));
    iam.apply(&role("{policy: [policy], principal: {'jwt:sub': [somebody]}}")).unwrap();
    assert!(iam.policies_for(&claims()).is_empty());
}

#[test]
fn unsupported_resources_are_rejected() {
    for (yaml, error) in [
        (role("{policy: [p], condition: {StringNotEqual: {'jwt:sub': x}}}"), "Role `role`: unknown variant"),
        (role("{policy: [p], condition: {StringEqual: {sub: x}}}"), "Role `role`: condition key `sub` does not"),
        (role("{policy: [p], principal: {'jwt:aud': [x]}}"), "Role `role`: the key of a principal must be `jwt:sub`"),
        (role("{policies: [p]}"), "Role `role`: unknown field `policies`"),
        (policy("{action: ['*'], effect: Deny, resource: ['*']}"), "Policy `policy`: unknown variant `Deny`"),
        (ISSUER.replace("1h30m", "soon"), "JwtIssuer `bitbucket.com`: `soon` is not a duration"),
        (ISSUER.replace("JwtIssuer", "Secret"), "`iam.openfaas.com/v1` `Secret` is not a resource of OpenFaaS IAM"),
        ("kind: [".to_owned(), "the IAM resources cannot be read: "),
    ] {
        let message = Iam::default().apply(&yaml).unwrap_err().to_string();
        assert!(message.starts_with(error), "{message}");
    }
}

#[test]
fn durations_are_parsed_like_in_go() {
    for (text, milliseconds) in [
        ("30m", Some(1_800_000)),
        ("1h30m", Some(5_400_000)),
        ("1.5s", Some(1500)),
        ("500ms", Some(500)),
        ("2s", Some(2000)),
        ("30", None),
        ("", None),
        ("m", None),
        ("1d", None),
    ] {
        assert_eq!(parse_duration(text).map(|duration| duration.as_millis()), milliseconds, "{text}");
    }
}
