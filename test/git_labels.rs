//! `GIT_LABELS`: the commit that functions are deployed from, as the OpenFaaS dashboard shows it.

use local_gateway::Gateway;
use serde_json::json;

use crate::support::{Pipe, changes, open};

const STACK: &str = "provider: {name: openfaas}
functions:
  a: {image: example/a:1, labels: {tier: web}}
  b: {image: example/b:1, labels: {com.openfaas.git-branch: release}}
";

fn pipe(gateway: &Gateway, commit: &str) -> Pipe {
    Pipe::at(gateway)
        .stack(STACK)
        .var("GIT_LABELS", "true")
        .var("BITBUCKET_REPO_FULL_NAME", "acme/shop")
        .var("BITBUCKET_COMMIT", commit)
        .var("BITBUCKET_BRANCH", "feature/cart")
}

#[test]
fn functions_are_labelled_with_the_commit_and_what_is_set_wins() {
    let gateway = open();
    pipe(&gateway, "0f4e1d2c").list("LABELS", &["com.openfaas.git-owner=web-team"]).run().exits(0);
    let deployment = |name| gateway.function("openfaas-fn", name).expect("missing function").deployment;
    let a = deployment("a");
    let labels = json!({
        "tier": "web", "com.openfaas.git-sha": "0f4e1d2c", "com.openfaas.git-branch": "feature-cart",
        "com.openfaas.git-repo": "shop", "com.openfaas.git-owner": "web-team",
    });
    assert_eq!(a["labels"], labels);
    assert_eq!(a["annotations"], json!({"com.openfaas.git-repo-url": "https://bitbucket.org/acme/shop"}));
    assert_eq!(deployment("b")["labels"]["com.openfaas.git-branch"], "release");
}

#[test]
fn another_commit_alone_is_no_difference() {
    let gateway = open();
    pipe(&gateway, "0f4e1d2c").run().exits(0);
    pipe(&gateway, "ffffffff").var("COMMAND", "diff").run().exits(0).says("no differences");
    gateway.clear_requests();
    pipe(&gateway, "ffffffff").var("ONLY_CHANGED", "true").run().exits(0).says("2 unchanged");
    assert_eq!(changes(&gateway), []);
    // With another difference they are shown and sent.
    let stack = STACK.replace("tier: web", "tier: api");
    let ran = pipe(&gateway, "ffffffff").stack(&stack).var("COMMAND", "diff").run().exits(6);
    ran.says("~ label com.openfaas.git-sha: 0f4e1d2c -> ffffffff").says("~ label tier: web -> api").does_not_say("~ b");
}

#[test]
fn tag_takes_the_place_of_the_branch_and_the_commit_must_be_known() {
    let gateway = open();
    pipe(&gateway, "0f4e1d2c").without("BITBUCKET_BRANCH").var("BITBUCKET_TAG", "v1.0").run().exits(0);
    let deployment = gateway.function("openfaas-fn", "a").expect("missing function").deployment;
    assert_eq!(deployment["labels"]["com.openfaas.git-branch"], "v1.0");
    let ran = pipe(&gateway, "0f4e1d2c").without("BITBUCKET_COMMIT").run().exits(2);
    ran.says("GIT_LABELS:\n- requires `BITBUCKET_COMMIT`");
}
