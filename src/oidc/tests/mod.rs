//! Messages about tokens, case by case.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::audience::Audience;
use super::system::Unbound;
use super::*;
use crate::diagnostic::{Diagnostic, Severity};
use crate::function::FunctionName;

mod explain;
mod resources;
mod system;

const GATEWAY: &str = "https://gw.example.com";
const ISSUER: &str = "https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc";
const NOW: u64 = 1_800_000_000;

/// The claims of a step on branch main that is set up right, with changes; null removes a claim.
fn claims(changes: Value) -> Claims {
    let mut claims = json!({
        "iss": ISSUER,
        "aud": ["ari:cloud:bitbucket::workspace/1e57", GATEWAY],
        "sub": "{0a11}:{57e9}",
        "branchName": "main",
        "repositoryUuid": "{0a11}",
        "stepUuid": "{57e9}",
        "workspaceUuid": "{1e57}",
        "exp": NOW + 3000,
        "iat": NOW - 600,
    });
    let (Value::Object(claims), Value::Object(changes)) = (&mut claims, changes) else {
        panic!("objects");
    };
    claims.extend(changes);
    claims.retain(|_, value| !value.is_null());
    claims.clone().into()
}

fn audience(audience: &str) -> Claims {
    claims(json!({ "aud": ["ari:cloud:bitbucket::workspace/1e57", audience] }))
}

fn token(claims: &[u8]) -> String {
    format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn build() -> BuildContext {
    BuildContext {
        workspace: Some("acme".into()),
        repository_slug: Some("Shop_Front".into()),
        repository_uuid: Some("{0a11}".into()),
        ..BuildContext::default()
    }
}

fn grants(functions: &[(Option<&str>, &str)], actions: &[IamAction]) -> [Grant; 1] {
    let functions = functions.iter().map(|(namespace, name)| FunctionName::new(*name, *namespace));
    [Grant { purpose: "", actions: actions.to_vec(), functions: functions.collect() }]
}

fn show_findings(claims: &Claims, build: &BuildContext) -> String {
    let show = |finding: &Diagnostic| format!("{:?}: {finding}\n", finding.severity);
    found(claims, GATEWAY, build).iter().filter(|finding| worth_a_warning(finding)).map(show).collect()
}

fn found(claims: &Claims, gateway: &str, build: &BuildContext) -> Vec<Diagnostic> {
    findings(claims, gateway, NOW, build).into_iter().map(|(_, finding)| finding).collect()
}

fn worth_a_warning(finding: &Diagnostic) -> bool {
    finding.severity > Severity::Note
}

fn show_notes(claims: &Claims, build: &BuildContext) -> String {
    let show = |finding: &Diagnostic| format!("{finding}\n");
    found(claims, GATEWAY, build).iter().filter(|finding| !worth_a_warning(finding)).map(show).collect()
}

fn show_problem(problem: Diagnostic) -> String {
    assert_eq!(problem.failure, Failure::Permission);
    format!("{}\nhint: {}", problem.message, problem.hint.unwrap_or_default())
}

#[test]
fn what_is_no_token_is_refused_with_what_it_looks_like() {
    let long = "x".repeat(70_000);
    let opaque_claims = [token(b"[1]"), token(b"{\"iss\": "), "a.&.c".to_owned()];
    let values = [
        " \n",
        "$BITBUCKET_STEP_OIDC_TOKEN",
        "${TOKEN}",
        "${{\n TOKEN }}",
        "$tr0ng",
        "hunter2",
        "Bearer a.b.c",
        "'a.b.c'",
        "a.b\nc.d",
        "a.b",
        "a.b.",
        "a..c",
        "a.b.c.d",
        &long,
        &opaque_claims[0],
        &opaque_claims[1],
        &opaque_claims[2],
    ];
    let errors = values.map(|value| match IdToken::new(value).and_then(|token| token.claims()) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    });
    assert_snapshot!(errors.join("\n"), @r"
    no ID token: the step has no `oidc` block
    `BITBUCKET_STEP_OIDC_TOKEN` is the text `$BITBUCKET_STEP_OIDC_TOKEN`, not a token
    `BITBUCKET_STEP_OIDC_TOKEN` is the text `${TOKEN}`, not a token
    `BITBUCKET_STEP_OIDC_TOKEN` is the text `${{\n TOKEN }}`, not a token
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: it has one part instead of three, like a password or an opaque access token
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: it has one part instead of three, like a password or an opaque access token
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: it begins with `Bearer`, which is not part of the token
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: it is in quotes
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: it contains white space: it was wrapped, or is two values
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: it has no signature; it was truncated
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: it has no signature; it was truncated
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: one of its three parts is empty
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: it has more than three parts
    `BITBUCKET_STEP_OIDC_TOKEN` is not an ID token of Bitbucket: it has 70000 bytes, more than the limit of 65536
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: its claims are JSON, but not an object
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: its claims are not JSON (column 8)
    `BITBUCKET_STEP_OIDC_TOKEN` is not a JWT: its claims are not base64url; it was truncated or changed
    ");
}

#[test]
fn a_token_is_revealed_as_it_came_and_hidden_in_debug_output() {
    let text = token(br#"{"sub":"reveal-me"}"#);
    let token = IdToken::new(&format!(" {text}\n")).expect("token");
    assert_eq!(token.reveal(), text);
    assert_eq!(format!("{token:?}"), "IdToken(***)");
    assert_eq!(crate::console::log::quote(&text), "***");
}

#[test]
fn claims_are_read_whatever_their_types() {
    let claims =
        decode_unverified(token(br#"{"aud":"a","exp":"1800000000","iat":1.5e3,"nbf":-1,"sub":7,"x":{}}"#).as_bytes());
    let claims = claims.expect("claims");
    assert_eq!(claims.audiences(), ["a"]);
    assert_eq!(
        ["exp", "iat", "nbf", "x", "none"].map(|claim| claims.time(claim)),
        [Some(NOW), Some(1500), Some(0), None, None]
    );
    assert_eq!(claims.text("sub"), None);
    assert_eq!(claims.get("sub"), Some(&json!(7)));
}

#[test]
fn a_step_that_is_set_up_right_gives_no_warning() {
    assert_eq!(show_findings(&claims(json!({})), &build()), "");
}

#[test]
fn an_expired_token_is_a_warning_that_says_how_long_it_lived() {
    let expired = claims(json!({ "iat": NOW - 4000, "exp": NOW - 400 }));
    assert_snapshot!(show_findings(&expired, &build()), @"
    Warning: the ID token expired 6 min 40 s ago, 1 h 0 min after it was issued
    hint: the step ran longer than the token is valid: run the pipe at the beginning of the step or in its own step; if the clock of this machine is fast, correct it
    ");
}

#[test]
fn a_token_older_than_any_step_was_stored_somewhere() {
    assert_snapshot!(show_findings(&claims(json!({ "iat": null, "exp": NOW - 90_000 })), &build()), @"
    Warning: the ID token expired 1 d 1 h ago
    hint: no step runs that long: delete the repository, workspace or deployment variable `BITBUCKET_STEP_OIDC_TOKEN`; Bitbucket issues a new token for every step
    ");
}

#[test]
fn within_the_clocks_leeway_expiry_is_a_warning_only() {
    let found = found(&claims(json!({ "exp": NOW - 30 })), GATEWAY, &build());
    assert_eq!(found[0].severity, Severity::Warning);
}

#[test]
fn a_token_from_the_future_means_a_wrong_clock() {
    assert_snapshot!(show_findings(&claims(json!({ "iat": NOW + 300 })), &build()), @"
    Warning: the ID token becomes valid in 5 min 0 s
    hint: correct the clock of the machine that runs this step: it is slow
    ");
}

#[test]
fn only_the_default_audience_asks_for_the_oidc_block() {
    assert_snapshot!(show_findings(&claims(json!({ "aud": "ari:cloud:bitbucket::workspace/1e57" })), &build()), @"
    Warning: the ID token is not meant for `https://gw.example.com`: it has only Bitbucket's default audience
    hint: instead of `oidc: true`, write
    - step:
        oidc:
          audiences:
            - https://gw.example.com
    ");
}

#[test]
fn an_audience_that_is_nearly_right_is_told_apart_precisely() {
    let rows = [
        (GATEWAY, "https://gw.example.com/"),
        (GATEWAY, "http://gw.example.com"),
        (GATEWAY, "gw.example.com"),
        (GATEWAY, "https://GW.example.com"),
        (GATEWAY, "https://gw.example.com:443"),
        (GATEWAY, "https://gw.example.com/faas"),
        (GATEWAY, " https://gw.example.com"),
        ("https://gw.example.com:8443", "https://gw.example.com"),
        ("https://gw.example.com:8443", "http://gw.example.com:8080/"),
        ("https://gw.example.com/faas/", "https://gw.example.com/"),
        ("https://gw.example.com/faas", "https://gw.example.com/of"),
        ("http://[::1]:8080", "http://[::1]"),
    ];
    let told = rows.map(|(gateway, is)| match Audience::of(&audience(is), gateway) {
        Audience::Near { differs, .. } => format!("{gateway} | {is} | {differs}"),
        other => format!("{gateway} | {is} | {other:?}"),
    });
    assert_snapshot!(told.join("\n"), @"
    https://gw.example.com | https://gw.example.com/ | ends with `/`
    https://gw.example.com | http://gw.example.com | has the scheme `http://` instead of `https://`
    https://gw.example.com | gw.example.com | has no scheme `https://`
    https://gw.example.com | https://GW.example.com | has the host `GW.example.com` instead of `gw.example.com`
    https://gw.example.com | https://gw.example.com:443 | has the port `:443`
    https://gw.example.com | https://gw.example.com/faas | has the path `/faas`
    https://gw.example.com |  https://gw.example.com | has white space around it
    https://gw.example.com:8443 | https://gw.example.com | has no port `:8443`
    https://gw.example.com:8443 | http://gw.example.com:8080/ | has the scheme `http://` instead of `https://` and has the port `:8080` instead of `:8443` and ends with `/`
    https://gw.example.com/faas/ | https://gw.example.com/ | has no path `/faas`
    https://gw.example.com/faas | https://gw.example.com/of | has the path `/of` instead of `/faas`
    http://[::1]:8080 | http://[::1] | has no port `:8080`
    ");
}

#[test]
fn a_near_audience_is_replaced_and_others_are_kept() {
    let claims =
        claims(json!({ "aud": ["ari:cloud:bitbucket::workspace/1e57", "sts.example.com", "https://gw.example.com/"] }));
    assert_snapshot!(show_findings(&claims, &build()), @r#"
    Warning: the ID token's audience `https://gw.example.com/` is not exactly `https://gw.example.com`: it ends with `/`
    hint: write the gateway's URL exactly as in the JwtIssuer's `aud`
    - step:
        oidc:
          audiences:
            - "sts.example.com"
            - https://gw.example.com
    "#);
}

#[test]
fn an_audience_is_accepted_as_the_url_is_written_and_without_its_last_slash() {
    assert_eq!(Audience::of(&audience("https://gw.example.com/"), "https://gw.example.com/"), Audience::Named);
    assert_eq!(Audience::of(&audience("https://gw.example.com"), "https://gw.example.com/"), Audience::Named);
}

#[test]
fn another_audience_may_be_right_inside_a_cluster() {
    let mut claims = show_notes(&audience("https://public.example.com"), &build());
    claims.truncate(claims.find("\nthe ID token has no `dep").unwrap_or(claims.len()));
    assert_snapshot!(claims, @"
    none of the ID token's audiences is `https://gw.example.com`: `https://public.example.com`
    hint: this is right if the gateway's JwtIssuer lists one of them in `aud`; otherwise write
    - step:
        oidc:
          audiences:
            - https://public.example.com
            - https://gw.example.com
    ");
}

#[test]
fn bitbuckets_limits_of_audiences_are_told() {
    let ten: Vec<String> = (0..10).map(|number| format!("a{number}")).collect();
    let full = found(&claims(json!({ "aud": ten })), GATEWAY, &build());
    let text = full[0].to_string();
    assert!(text.ends_with("\nand remove another audience: Bitbucket accepts at most 10 per step"), "{text}");
    let long = found(&claims(json!({ "aud": [] })), &format!("{GATEWAY}/{}", "x".repeat(150)), &build());
    assert_snapshot!(long[0].hint.clone().unwrap(), @"Bitbucket does not accept an audience of more than 150 characters: choose a shorter one, and add it to the JwtIssuer's `aud`");
}

#[test]
fn a_token_of_another_issuer_workspace_or_repository_is_noticed() {
    let told = [
        claims(json!({ "iss": "https://gitlab.com" })),
        claims(json!({ "iss": ISSUER.replace("acme", "evil\n") })),
        claims(json!({ "iss": null })),
        claims(json!({ "fed:iss": ISSUER })),
        claims(json!({ "repositoryUuid": "{other}" })),
    ]
    .map(|claims| show_findings(&claims, &build()));
    assert_snapshot!(told.concat(), @"
    Warning: the ID token is from `https://gitlab.com`, which is not Bitbucket Pipelines
    hint: remove `BITBUCKET_STEP_OIDC_TOKEN` from all variables: Bitbucket passes the step's own token by itself; the gateway accepts this one only if a JwtIssuer has that `iss`
    Warning: the ID token is from workspace `evil`, but this step runs in `acme`
    hint: remove `BITBUCKET_STEP_OIDC_TOKEN` from all variables: Bitbucket passes the step's own token by itself
    Error: the ID token has no `iss`
    hint: remove `BITBUCKET_STEP_OIDC_TOKEN` from all variables: Bitbucket passes the step's own token by itself
    Error: the token is not an ID token: a gateway issued it in exchange for a token of `https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc`
    hint: remove `BITBUCKET_STEP_OIDC_TOKEN` from all variables: Bitbucket passes the step's own token by itself
    Warning: the ID token is from repository `{other}`, but this step runs in `{0a11}`
    hint: remove `BITBUCKET_STEP_OIDC_TOKEN` from all variables: Bitbucket passes the step's own token by itself
    ");
}

#[test]
fn a_workspace_may_be_named_by_its_uuid() {
    let claims = claims(json!({ "iss": ISSUER.replace("acme", "%7B1e57%7D") }));
    assert_eq!(show_findings(&claims, &build()), "");
}

#[test]
fn a_build_of_a_tag_has_no_branch_for_a_role_to_match() {
    let build = BuildContext { tag: Some("v1.0".into()), environment: Some("production".into()), ..build() };
    assert_snapshot!(show_notes(&claims(json!({ "branchName": null })), &build), @"
    the ID token has no `branchName`: this is a build of tag `v1.0`
    hint: a Role with a condition on `jwt:branchName` does not match this step: use conditions on `jwt:repositoryUuid` and `jwt:deploymentEnvironmentUuid`, and give the step a `deployment:`
    the ID token has no `deploymentEnvironmentUuid`, though the step deploys to `production`
    hint: a Role with a condition on `jwt:deploymentEnvironmentUuid` does not match this step; if the Role has one, give the step a `deployment:`, and write the UUID in the Role with its braces
    ");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::from))
}

const NAMES: [&str; 11] = [
    "iss",
    "aud",
    "sub",
    "exp",
    "iat",
    "nbf",
    "fed:iss",
    "branchName",
    "repositoryUuid",
    "deploymentEnvironmentUuid",
    "workspaceUuid",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_claims_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_unverified(&bytes);
        let _ = decode_unverified(token(&bytes).as_bytes());
    }

    #[test]
    fn any_claims_can_be_explained(
        claims in prop::collection::btree_map(prop::sample::select(NAMES.to_vec()), any_json(), 0..11),
        gateway in ".{0,40}",
        now in any::<u64>(),
    ) {
        let text = serde_json::to_vec(&claims).expect("JSON");
        let claims = decode_unverified(token(&text).as_bytes()).expect("claims");
        let problem = explain_refusal(
            Refusal { status: 400, error: None, description: Some("expired") }, &claims, &gateway, now, &BuildContext::default());
        prop_assert!(!problem.message.contains(char::is_control), "{}", problem.message);
        for (_, finding) in findings(&claims, &gateway, now, &BuildContext::default()) {
            prop_assert!(!finding.message.contains(char::is_control), "{}", finding.message);
        }
        if let Ok(yaml) = resources(&claims, &gateway, &BuildContext::default(), None, &grants(&[(None, "*")], &[IamAction::FunctionGet])) {
            resources::scalars(&yaml);
        }
    }

}
