//! What only Kubernetes refuses in a stack file: an error where the provider is on Kubernetes, a warning with faasd.

use local_gateway::Flavour;

use crate::support::{Pipe, changes, edition, open, start};

/// Fields that Kubernetes refuses, and what is said of them.
const REFUSED: [(&str, &str); 5] = [
    ("labels: {team: feature/x}", "Kubernetes does not accept the label value `feature/x`"),
    ("labels: {'a b': c}", "Kubernetes does not accept the label key `a b`"),
    ("annotations: {'a b': c}", "Kubernetes does not accept the annotation key `a b`"),
    (
        "limits: {memory: 64Mi}\n    requests: {memory: 128Mi}",
        "Kubernetes does not accept the request `128Mi` of memory: it is more than the limit `64Mi`",
    ),
    (
        "limits: {cpu: '0.5'}\n    requests: {cpu: 501m}",
        "Kubernetes does not accept the request `501m` of CPU: it is more than the limit `0.5`",
    ),
];

fn stack(fields: &str) -> String {
    format!("provider: {{name: openfaas}}\nfunctions:\n  f:\n    image: example/f:1\n    {fields}\n")
}

#[test]
fn deploy_to_kubernetes_ends_before_anything_is_sent() {
    for (fields, says) in REFUSED {
        let (enterprise, ce) = (open(), start(edition(Flavour::Ce)));
        for (gateway, pipe) in [(&enterprise, Pipe::at(&enterprise)), (&ce, Pipe::with_password(&ce))] {
            let ran = pipe.stack(&stack(fields)).run().exits(2);
            ran.says("ERROR: stack.yml:").says(says).says("✖ 1 problem in the stack file, nothing was sent");
            assert_eq!(changes(gateway), []);
        }
        // A gateway that exchanges tokens is on Kubernetes: it need not be asked.
        assert!(enterprise.requests().is_empty());
    }
}

#[test]
fn deploy_to_faasd_warns() {
    for (fields, says) in REFUSED {
        let gateway = start(edition(Flavour::Faasd));
        let ran = Pipe::with_password(&gateway).stack(&stack(fields)).run().exits(0);
        ran.says("WARNING: stack.yml:").says(says);
    }
}

#[test]
fn variables_are_checked_as_the_stack_file_is() {
    let text = stack("labels: {}");
    let gateway = open();
    let ran = Pipe::at(&gateway).stack(&text).list("LABELS", &["team=feature/x"]).run().exits(2);
    ran.says("ERROR: `LABELS`: Kubernetes does not accept the label value `feature/x`");
    let gateway = start(edition(Flavour::Faasd));
    let ran = Pipe::with_password(&gateway).stack(&text).list("LABELS", &["team=feature/x"]).run().exits(0);
    ran.says("WARNING: `LABELS`: Kubernetes does not accept the label value `feature/x`");
}

#[test]
fn commands_that_send_nothing_warn_if_the_provider_is_not_known() {
    let gateway = start(edition(Flavour::Faasd));
    let pipe = Pipe::with_password(&gateway).stack(&stack("labels: {team: feature/x}"));
    for (name, value, code) in [("DRY_RUN", "true", 0), ("COMMAND", "diff", 6)] {
        pipe.run_with(name, value).exits(code).says("WARNING: ").says("does not accept the label value `feature/x`");
    }
}

#[test]
fn request_up_to_the_limit_is_accepted() {
    let gateway = open();
    let fields = "limits: {memory: 64Mi, cpu: 500m}\n    requests: {memory: 65536Ki, cpu: '0.5'}";
    Pipe::at(&gateway).stack(&stack(fields)).run().exits(0).does_not_say("Kubernetes");
}
