//! Community Edition and faasd.

use std::time::Duration;

use local_gateway::{Fault, Flavour, Ready};
use serde_json::json;

use super::{against, image, last_line, version_1};
use crate::support::{Pipe, changes, edition, stack, start};

#[test]
fn delete_request_sends_the_namespace_in_body_and_query() {
    let gateway = start(edition(Flavour::Ce));
    gateway.put_function(&version_1("f"));
    for command in ["remove", "deploy"] {
        let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("COMMAND", command);
        let pipe = if command == "deploy" { pipe.var("STRATEGY", "replace") } else { pipe };
        pipe.var("OPENFAAS_NAMESPACE", "etl").run().exits(1).says("namespace must be: openfaas-fn");
        assert_eq!(image(&gateway, "f"), "example/f:1", "{command}");
    }
}

#[test]
fn diff_ignores_fields_that_community_edition_does_not_report() {
    let (gateway, pipe) = against(Flavour::Ce);
    let text = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    environment: {A: '1'}\n    \
        constraints: [zone=a]\n    readonly_root_filesystem: true\n    labels: {tier: web}\n";
    let pipe = pipe.stack(text);
    pipe.run().exits(0);
    let ran = pipe.var("COMMAND", "diff").run().exits(0);
    ran.says(
        "not reported by the gateway, and not compared: environment variables, constraints, read-only root filesystem",
    );
    drop(gateway);
}

#[test]
fn rollback_is_rejected_before_the_deploy_if_the_gateway_omits_fields() {
    let (gateway, pipe) = against(Flavour::Ce);
    gateway.put_function(&version_1("f"));
    let ran = pipe.stack(&stack(&["f", "new"], "2")).var("WAIT", "true").var("ROLLBACK", "true").run().exits(2);
    ran.says(
        "nothing is deployed: `ROLLBACK` could not restore 1 function, since the gateway does not report: \
              environment variables, constraints, read-only root filesystem",
    );
    assert_eq!((image(&gateway, "f"), image(&gateway, "new")), ("example/f:1".to_owned(), String::new()));
}

#[test]
fn rollback_of_new_functions_works_without_reported_fields() {
    let gateway = start(edition(Flavour::Ce).ready(Ready::Never));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["new"], "2"));
    let ran = pipe.var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "300ms").run().exits(5);
    ran.says("`new` is rolled back: it was new, and is deleted");
    assert_eq!(image(&gateway, "new"), "");
}

#[test]
fn field_of_an_unknown_provider_counts_as_reported_if_any_function_has_it() {
    for (all_are_shown, code) in [(false, 2), (true, 5)] {
        let gateway = start(edition(Flavour::Enterprise).ready_of("example/f:2", Ready::Never));
        gateway.put_function(&version_1("f"));
        let other = json!({
            "service": "other", "image": "example/other:1", "constraints": ["a=b"], "readOnlyRootFilesystem": all_are_shown,
        });
        gateway.put_function(&other);
        let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2"));
        // Two replicas are wanted: one old replica that is still available is not enough to count as ready.
        let two = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    \
            labels: {com.openfaas.scale.min: '2'}\n";
        let pipe = pipe.stack(two).var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "600ms");
        let ran = pipe.run().exits(code);
        assert_eq!(ran.log.contains("does not report: read-only root filesystem"), !all_are_shown, "{}", ran.log);
        assert_eq!(image(&gateway, "f"), "example/f:1");
    }
}

#[test]
fn update_ignored_by_community_edition_is_an_error() {
    let gateway = start(edition(Flavour::Ce).unreachable_image("example/f:2"));
    gateway.put_function(&version_1("f"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(1);
    ran.says("Community Edition did not update the function").says("also if the image is not public");
    assert_eq!(image(&gateway, "f"), "example/f:1");
    // It may have been a conflict, which passes.
    assert_eq!(changes(&gateway).len(), 3);
}

#[test]
fn conflict_of_community_edition_passes() {
    let gateway = start(edition(Flavour::Ce));
    gateway.put_function(&version_1("f"));
    gateway.fault(Fault::on("PUT", "/system/functions").times(2).status(200));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(0);
    ran.says("Community Edition did not update the function; retrying in").says("`f` updated");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

/// What goes wrong on faasd after it has removed the old container.
fn dead_containers() -> [(&'static str, Option<Fault>, &'static str); 3] {
    let put = || Fault::on("PUT", "/system/functions").containing("example/f:2");
    [
        ("no program", Some(put().task_does_not_start()), "unable to start task"),
        ("no secret", None, "unable to find secret"),
        ("old process", Some(put().task_does_not_end()), "cannot delete running task"),
    ]
}

/// A stack file with a secret that does not exist.
const WRONG_SECRET: &str =
    "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    secrets: [missing]\n";

#[test]
fn function_that_a_refused_update_left_dead_on_faasd_is_named_or_restored() {
    for (title, fault, says) in dead_containers() {
        for (rollback, last) in [
            ("false", "✖ 1 of 1 function not deployed; no longer running and must be redeployed: `f`"),
            ("true", "✖ 1 of 1 function rolled back"),
        ] {
            let gateway = start(edition(Flavour::Faasd).secrets(&["s"]));
            gateway.put_function(&version_1("f"));
            fault.iter().for_each(|fault| gateway.fault(fault.clone()));
            let text = if title == "no secret" { WRONG_SECRET } else { &stack(&["f"], "2") };
            let pipe = Pipe::with_password(&gateway).stack(text).var("WAIT", "true").var("RETRIES", "0");
            let ran = pipe.var("ROLLBACK", rollback).run().exits(1).says(says);
            assert_eq!(last_line(&ran.log), last, "{title}");
            let after = gateway.function("openfaas-fn", "f").expect("missing function");
            assert_eq!(after.available_replicas, u64::from(rollback == "true"), "{title}");
            if rollback == "true" {
                assert_eq!(after.deployment["secrets"], json!(["s"]), "{title}");
                assert_eq!(after.deployment["limits"], json!({"memory": "64Mi"}), "{title}");
            }
        }
    }
}

#[test]
fn old_process_of_faasd_that_stops_too_late_only_delays_the_update() {
    let gateway = start(edition(Flavour::Faasd));
    gateway.put_function(&version_1("f"));
    gateway.fault(Fault::on("PUT", "/system/functions").times(1).task_does_not_end());
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("WAIT", "true").run().exits(0);
    ran.says("cannot delete running task f: failed precondition`; retrying in").says("`f` is ready");
    assert_eq!(image(&gateway, "f"), "example/f:2");
}

#[test]
fn update_of_faasd_that_was_lost_is_sent_again() {
    let gateway = start(edition(Flavour::Faasd));
    gateway.put_function(&version_1("f"));
    gateway.fault(Fault::on("PUT", "/system/functions").times(1).reset());
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(0);
    ran.says("retrying in").says("`f` updated in ");
    assert_eq!((changes(&gateway).len(), &*image(&gateway, "f")), (2, "example/f:2"));
}

#[test]
fn what_was_never_there_is_not_reported_as_gone() {
    let refusals: [fn(Fault) -> Fault; 6] = [
        |fault| fault.status(400).body("the OpenFaaS CE EULA allows 1/2 namespace(s)"),
        |fault| fault.status(400).body("namespace not valid"),
        |fault| fault.status(405),
        |fault| fault.web_page(413),
        |fault| fault.web_page(502).header("Retry-After", "0"),
        |fault| fault.redirect(308, "https://gw.example.com/system/functions"),
    ];
    for refusal in refusals {
        for info in [200, 404] {
            let gateway = start(edition(Flavour::Faasd).namespaces(&["openfaas-fn"]));
            if info == 404 {
                gateway.fault(Fault::on("GET", "/system/info").status(404));
            }
            gateway.fault(refusal(Fault::on("PUT", "/system/functions")));
            let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("RETRIES", "0").run();
            assert_ne!(ran.code, 0, "{}", ran.log);
            assert!(last_line(&ran.log).ends_with("1 of 1 function not deployed"), "{}", ran.log);
            ran.does_not_say("gone");
        }
    }
}

#[test]
fn refused_namespaces_have_the_hint_of_the_edition() {
    for (flavour, hint) in [
        (Flavour::Ce, "Community Edition has only the namespace `openfaas-fn`"),
        (Flavour::Faasd, "set `CREATE_NAMESPACE: 'true'`"),
    ] {
        let gateway = start(edition(flavour).namespaces(&["openfaas-fn"]));
        for command in ["deploy", "diff", "remove"] {
            let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("COMMAND", command);
            pipe.var("OPENFAAS_NAMESPACE", "etl").run().exits(1).says(hint).does_not_say("gone");
        }
    }
}

#[test]
fn create_of_a_function_that_exists_has_the_same_hint_on_every_edition() {
    for flavour in Flavour::ALL {
        let (gateway, pipe) = against(flavour);
        gateway.put_function(&version_1("f"));
        let ran = pipe.stack(&stack(&["f"], "2")).var("STRATEGY", "create").run().exits(1);
        ran.says("hint: the function already exists: remove `STRATEGY`");
    }
}

#[test]
fn image_that_community_edition_cannot_look_up_has_a_hint() {
    let gateway = start(edition(Flavour::Ce).unreachable_image("example/f"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(1);
    ran.says("hint: Community Edition looks the image up without credentials: it is private, does not exist, or its registry did not respond; see `image` at stack.yml:5");
}

#[test]
fn limit_of_community_edition_has_a_hint() {
    for text in ["the OpenFaaS CE EULA allows 15/16 function(s)", "unable to create function, maximum: 15, visit"] {
        let (gateway, pipe) = against(Flavour::Ce);
        gateway.fault(Fault::on("POST", "/system/functions").status(400).body(text));
        pipe.stack(&stack(&["f"], "2"))
            .run()
            .exits(1)
            .says("hint: this edition of OpenFaaS limits the number of functions");
    }
}

#[test]
fn diff_on_faasd_is_empty_after_a_deploy() {
    let image_environment = [("fprocess", "/usr/bin/handler.sh"), ("mode", "streaming"), ("write_timeout", "20s")];
    let text = "provider: {name: openfaas}\nfunctions:\n  f:\n    image: example/f:2\n    constraints: [zone=a]\n    \
        environment: {A: '1', B: x=y}\n    limits: {memory: 64Mi, cpu: 100m}\n    requests: {memory: 32Mi}\n    \
        readonly_root_filesystem: true\n    labels: {tier: web}\n";
    for info in [None, Some(r#"{"provider":"faasd","version":{"sha":"","release":""},"orchestration":"containerd"}"#)] {
        let gateway = start(edition(Flavour::Faasd).image_environment("example/f", &image_environment));
        if let Some(info) = info {
            gateway.fault(Fault::on("GET", "/system/info").status(200).body(info));
        }
        let pipe = Pipe::with_password(&gateway).stack(text);
        pipe.run().exits(0);
        let diff = pipe.run_with("COMMAND", "diff").exits(0);
        diff.says("not reported by the gateway, and not compared: constraints, read-only root filesystem, requests, CPU limits");
        let pipe = pipe.stack(&text.replace("64Mi", "96Mi").replace("A: '1'", "A: '2'"));
        let diff = pipe.run_with("COMMAND", "diff").exits(6);
        diff.says("~ env A: changed (hidden)").says("~ limits memory: 64Mi -> 96Mi").does_not_say("mode");
    }
}

#[test]
fn several_functions_become_ready_on_faasd() {
    let gateway = start(edition(Flavour::Faasd).ready(Ready::After(Duration::from_millis(300))));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["a", "b"], "2"));
    pipe.var("WAIT", "true").var("WAIT_TIMEOUT", "20s").run().exits(0).says("`a` is ready").says("`b` is ready");
}

#[test]
fn rollback_on_faasd_restores_limits() {
    for names in [&["f"][..], &["f", "g"]] {
        let gateway = start(edition(Flavour::Faasd).ready_of("example/f:2", Ready::Never));
        gateway.put_function(&version_1("f"));
        // faasd deletes the old version first, so that no replica is left.
        gateway.set_ready("f", Ready::Never);
        let pipe = Pipe::with_password(&gateway).stack(&stack(names, "2"));
        pipe.var("WAIT", "true").var("ROLLBACK", "true").var("WAIT_TIMEOUT", "500ms").run().exits(5);
        let after = gateway.function("openfaas-fn", "f").expect("missing function").deployment;
        assert_eq!(after["limits"], json!({"memory": "64Mi"}), "{names:?}");
        assert_eq!(after["envVars"], json!({"MODE": "fast"}));
    }
}

#[test]
fn function_deleted_by_a_failed_update_on_faasd_is_named_in_the_last_line() {
    let gateway = start(edition(Flavour::Faasd).unreachable_image("example/f:2"));
    gateway.put_function(&version_1("f"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(1).says("unable to pull image");
    assert_eq!(last_line(&ran.log), "✖ 1 of 1 function not deployed; gone and must be redeployed: `f`");
}

#[test]
fn function_deleted_by_a_failed_update_on_faasd_is_redeployed_with_wait() {
    let gateway = start(edition(Flavour::Faasd).unreachable_image("example/f:2"));
    gateway.put_function(&version_1("f"));
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("WAIT", "true");
    pipe.run().exits(1).says("`f` is rolled back").does_not_say("gone");
    assert!(image(&gateway, "f").ends_with("example/f:1"));
    assert_eq!(
        gateway.function("openfaas-fn", "f").expect("missing function").deployment["limits"],
        json!({"memory": "64Mi"})
    );
}

#[test]
fn rollback_on_faasd_needs_the_list_that_has_the_limits() {
    let gateway = start(edition(Flavour::Faasd).without_prometheus());
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("WAIT", "true").var("ROLLBACK", "true");
    gateway.put_function(&version_1("f"));
    let ran = pipe
        .run()
        .exits(2)
        .says("`ROLLBACK` could not restore 1 function, since the gateway does not report: memory limits");
    ran.says("check that its Prometheus is running").does_not_say("Community Edition");
    assert_eq!(image(&gateway, "f"), "example/f:1");
    // Nothing has to be restored of a new function.
    let pipe = pipe.stack(&stack(&["new"], "2"));
    pipe.run().exits(0);
}

#[test]
fn function_that_never_existed_is_not_reported_as_gone() {
    let gateway = start(edition(Flavour::Faasd).unreachable_image("example/f:2"));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(1);
    ran.does_not_say("gone");
}

#[test]
fn create_with_a_lost_response_succeeds_on_faasd() {
    let (gateway, pipe) = against(Flavour::Faasd);
    gateway.fault(Fault::on("POST", "/system/functions").nth(1).lose());
    pipe.stack(&stack(&["f"], "2")).run().exits(0);
    assert_eq!(image(&gateway, "f"), "example/f:2");
}
