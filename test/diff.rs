//! `COMMAND: diff`.

use local_gateway::{Flavour, Gateway};
use serde_json::json;

use crate::support::{Pipe, changes, open, permitting, put, stack, start};

const DIFFERENT: &str = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    environment:\n      \
    MODE: fast\n      API_TOKEN: new-value\n    limits: {cpu: '0.5'}\n";

fn running(gateway: &Gateway) {
    gateway.put_function(&json!({
        "service": "f", "namespace": "openfaas-fn", "image": "example/f:1",
        "envVars": {"MODE": "slow", "API_TOKEN": "old-value"}, "limits": {"cpu": "500m"},
        "labels": {"faas_function": "f", "uid": "123456", "tier": "web"},
        "annotations": {"prometheus.io.scrape": "false"},
    }));
}

fn diff(gateway: &Gateway, stack: &str) -> Pipe {
    Pipe::at(gateway).stack(stack).var("COMMAND", "diff")
}

#[test]
fn differences_are_shown_and_nothing_is_changed() {
    let gateway = open();
    running(&gateway);
    let ran = diff(&gateway, DIFFERENT).run().exits(6);
    insta::assert_snapshot!(ran.scrubbed(), @"
    INFO: openfaas-pipe [VERSION]: diff
    INFO: comparing 1 function of `stack.yml` with what runs at `http://[GATEWAY]`
    INFO: exchanged the step's token at `http://[GATEWAY]`, valid for 30 min
    ~ f
        ~ image: example/f:1 -> example/f:2
        ~ env API_TOKEN: changed (hidden)
        ~ env MODE: changed (hidden)
        - label tier: web
    ✖ a deploy would change 1 function: 1 updated
    ");
    assert_eq!(changes(&gateway), []);
}

#[test]
fn no_differences_exit_with_0() {
    let gateway = open();
    put(&gateway, "openfaas-fn", "f");
    diff(&gateway, &stack(&["f"], "1")).run().exits(0).says("✔ no differences");
}

#[test]
fn new_and_pruned_functions_are_shown() {
    let gateway = open();
    let owned = |pipe: Pipe| pipe.var("BITBUCKET_REPO_FULL_NAME", "acme/shop").var("OWNER_LABEL", "true");
    owned(Pipe::at(&gateway).stack(&stack(&["kept", "gone"], "1"))).run().exits(0);
    let ran = owned(diff(&gateway, &stack(&["kept", "new"], "1"))).var("PRUNE", "true").run().exits(6);
    ran.says("\n+ new\n    + image: example/new:1\n    + label com.openfaas-pipe.owner: shop.63f64cafed7a4a86\n- gone.openfaas-fn\n")
        .says("✖ a deploy would change 2 functions: 1 created, 1 removed")
        .does_not_say("kept\n");
    assert!(gateway.function("openfaas-fn", "gone").is_some());
}

#[test]
fn get_or_list_permission_is_sufficient() {
    for action in ["Function:Get", "Function:List"] {
        for names in [&["f"][..], &["f", "g"]] {
            let gateway = start(permitting(&[action]));
            diff(&gateway, &stack(names, "1")).run().exits(6).says("+ f");
        }
    }
    let gateway = start(permitting(&["Function:Create"]));
    diff(&gateway, DIFFERENT).run().exits(3).says("the Policy lacks `Function:Get` on `openfaas-fn:f`");
    let two = format!("{DIFFERENT}  g: {{image: example/g:1}}\n");
    diff(&gateway, &two).run().exits(3).says("the Policy lacks `Function:Get` on 2 functions");
}

#[test]
fn memory_limit_that_faasd_does_not_report_is_no_difference() {
    let faasd = || crate::support::edition(Flavour::Faasd);
    let stack = stack(&["f"], "1") + "    limits: {memory: 64Mi}\n";
    for (builder, missing) in [(faasd(), false), (faasd().without_prometheus(), true)] {
        let gateway = start(builder);
        gateway.put_function(&json!({
            "service": "f", "namespace": "openfaas-fn", "image": "example/f:1", "limits": {"memory": "67108864"},
        }));
        let diff = |stack: &str| Pipe::with_password(&gateway).stack(stack).var("COMMAND", "diff").run();
        let ran = diff(&stack).exits(0);
        assert_eq!(ran.log.contains("requests, memory limits, CPU limits"), missing, "{}", ran.log);
        diff(&stack.replace("f:1", "f:2")).exits(6).says("~ image: ").does_not_say("limits memory");
    }
}
