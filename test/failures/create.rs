//! `STRATEGY: create` never changes a function that exists.

use local_gateway::{Fault, Flavour};

use super::{against, image, version_1};
use crate::support::{changes, stack};

#[test]
fn create_never_changes_an_existing_function_whatever_failed_before() {
    for flavour in Flavour::ALL {
        for fault in [
            Fault::on("POST", "/system/functions").nth(1).status(502),
            Fault::on("POST", "/system/functions").nth(1).status(500),
            Fault::on("POST", "/system/functions").nth(1).reset(),
            Fault::on("POST", "/system/functions").nth(1).lose(),
        ] {
            let (gateway, pipe) = against(flavour);
            gateway.put_function(&version_1("f"));
            gateway.fault(fault.clone());
            let ran = pipe.stack(&stack(&["f"], "2")).var("STRATEGY", "create").run().exits(1);
            ran.says("already exists");
            assert_eq!(image(&gateway, "f"), "example/f:1", "{flavour:?} {fault:?}");
            assert!(changes(&gateway).iter().all(|(method, _)| method == "POST"));
        }
    }
}

#[test]
fn create_with_a_lost_response_succeeds_if_the_function_is_reported_as_sent() {
    let (gateway, pipe) = against(Flavour::Enterprise);
    gateway.fault(Fault::on("POST", "/system/functions").nth(1).lose());
    let text = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    environment: {A: '1'}\n    \
        labels: {tier: web}\n    limits: {memory: 64Mi}\n    secrets: [s]\n";
    pipe.stack(text).var("STRATEGY", "create").run().exits(0).says("`f` created");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn create_with_a_lost_response_fails_on_community_edition() {
    let (gateway, pipe) = against(Flavour::Ce);
    gateway.fault(Fault::on("POST", "/system/functions").nth(1).lose());
    pipe.stack(&stack(&["f"], "2"))
        .var("STRATEGY", "create")
        .run()
        .exits(1)
        .says("already exists")
        .says("✖ 1 of 1 function not known to be deployed\n");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}
