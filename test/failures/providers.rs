//! What a single provider does: the table of such failures in `docs/faults.md`. Each row is a run of the pipe.

use std::time::Duration;

use local_gateway::{Builder, Fault, Flavour, Gateway, Ready};
use serde_json::json;

use super::{image, last_line, version_1};
use crate::support::{Pipe, Running, changes, edition, permissive, stack, start, wait_for};

/// A failure, and what it leads to.
struct Row {
    title: &'static str,
    flavour: Flavour,
    prepare: fn(Builder) -> Builder,
    cause: fn(&Gateway),
    /// Variables, and what is left: the state of the function and the exit code.
    runs: &'static [(&'static [(&'static str, &'static str)], &'static str)],
}

fn put() -> Fault {
    Fault::on("PUT", "/system/functions").containing("example/f:2")
}

const WAIT: (&str, &str) = ("WAIT", "true");
const ROLLBACK: (&str, &str) = ("ROLLBACK", "true");

fn rows() -> Vec<Row> {
    vec![
        Row {
            title: "Kubernetes refuses an update that meets another change, twice (Community Edition: an empty 200)",
            flavour: Flavour::Ce,
            prepare: |builder| builder,
            cause: |gateway| gateway.fault(put().times(2).status(200)),
            runs: &[(&[], "new version, 0")],
        },
        Row {
            title: "Kubernetes refuses an update (Community Edition: an empty 200)",
            flavour: Flavour::Ce,
            prepare: |builder| builder,
            cause: |gateway| gateway.fault(put().status(200)),
            runs: &[(&[], "old version, 1")],
        },
        Row {
            title: "the image of an update never starts, old replicas stay",
            flavour: Flavour::Enterprise,
            prepare: |builder| builder.ready_of("example/f:2", Ready::Never),
            cause: |_| {},
            runs: &[
                (&[WAIT], "new version, with a warning, 0"),
                (&[WAIT, ROLLBACK], "old version, 5"),
                (&[WAIT, ("STRATEGY", "replace")], "new version, does not run, 5"),
            ],
        },
        Row {
            title: "the image of an update cannot be pulled",
            flavour: Flavour::Faasd,
            prepare: |builder| builder.unreachable_image("example/f:2"),
            cause: |_| {},
            runs: &[(&[], "deleted, reported in the last line, 1"), (&[WAIT], "old version, 1")],
        },
        Row {
            title: "the process of an update cannot be started",
            flavour: Flavour::Faasd,
            prepare: |builder| builder,
            cause: |gateway| gateway.fault(put().task_does_not_start()),
            runs: &[
                (&[], "new version, does not run, reported in the last line, 1"),
                (&[WAIT, ROLLBACK], "old version, 1"),
            ],
        },
        Row {
            title: "the old process takes longer to stop than faasd waits, once",
            flavour: Flavour::Faasd,
            prepare: |builder| builder,
            cause: |gateway| gateway.fault(put().times(1).task_does_not_end()),
            runs: &[(&[], "new version, 0")],
        },
        Row {
            title: "the process of an update ends right after it was started",
            flavour: Flavour::Faasd,
            prepare: |builder| builder.ready_of("example/f:2", Ready::Until(Duration::ZERO)),
            cause: |_| {},
            runs: &[
                (&[], "new version, does not run, 0"),
                (&[WAIT], "new version, does not run, 5"),
                (&[WAIT, ROLLBACK], "old version, 5"),
            ],
        },
    ]
}

fn run(row: &Row, variables: &[(&str, &str)]) -> String {
    let builder = if row.flavour == Flavour::Enterprise { permissive() } else { edition(row.flavour) };
    let gateway = start((row.prepare)(builder));
    gateway.put_function(&version_1("f"));
    (row.cause)(&gateway);
    let pipe = if row.flavour == Flavour::Enterprise { Pipe::at(&gateway) } else { Pipe::with_password(&gateway) };
    let pipe = pipe.stack(&stack(&["f"], "2")).var("WAIT_TIMEOUT", "2s");
    let ran = variables.iter().fold(pipe, |pipe, (name, value)| pipe.var(name, *value)).run();
    let mut words = match image(&gateway, "f").rsplit(':').next() {
        Some("1") => vec!["old version"],
        Some("2") => vec!["new version"],
        _ => vec!["deleted"],
    };
    let function = gateway.function("openfaas-fn", "f");
    if function.is_some_and(|function| function.available_replicas == 0) {
        words.push("does not run");
    }
    if last_line(&ran.log).contains("must be redeployed: `f`") {
        words.push("reported in the last line");
    }
    if ran.log.contains("WARNING: assumed to be ready: `f`; all replicas") {
        words.push("with a warning");
    }
    format!("{}, {}", words.join(", "), ran.code)
}

#[test]
fn documented_outcomes_of_single_providers_match_actual_runs() {
    let mut table = "| Failure | Gateway | Variables | Afterwards |\n|---|---|---|---|\n".to_owned();
    for row in rows() {
        for (variables, expected) in row.runs {
            assert_eq!(run(&row, variables), *expected, "{} {variables:?}", row.title);
            let gateway = match row.flavour {
                Flavour::Enterprise => "Enterprise",
                Flavour::Ce => "CE",
                Flavour::Faasd => "faasd",
            };
            let named: Vec<_> = variables
                .iter()
                .map(|(name, value)| if *value == "true" { format!("`{name}`") } else { format!("`{name}: {value}`") })
                .collect();
            let named = if named.is_empty() { "–".to_owned() } else { named.join(", ") };
            table.push_str(&format!("| {} | {gateway} | {named} | {expected} |\n", row.title));
        }
    }
    let document = include_str!("../../docs/faults.md");
    assert!(document.contains(&table), "`docs/faults.md` must contain this table:\n{table}");
}

#[test]
fn update_that_outlasts_the_timeout_is_carried_out_once() {
    let gateway = start(edition(Flavour::Faasd));
    gateway.put_function(&version_1("f"));
    gateway.fault(put().times(1).hang());
    let pipe = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).var("TIMEOUT", "2s");
    let mut running = Running::of(pipe);
    wait_for("update", || !changes(&gateway).is_empty());
    running.read_to("no response to the update, which may still be under way");
    // First the old version is gone, then the new one is there.
    gateway.set_ready("f", Ready::Until(Duration::ZERO));
    gateway.put_function(&json!({"service": "f", "image": "example/f:2"}));
    running.end().exits(0).says("`f` updated in ").does_not_say("retrying");
    assert_eq!(changes(&gateway), [("PUT".to_owned(), "f".to_owned())]);
}

#[test]
fn conflict_with_a_controller_passes_whatever_the_provider() {
    let text = "Operation cannot be fulfilled on deployments.apps \"f\": the object has been modified; please apply your changes";
    for status in [409, 500] {
        let gateway = start(permissive());
        gateway.put_function(&version_1("f"));
        gateway.fault(Fault::on("PUT", "/system/functions").times(1).status(status).body(text));
        Pipe::at(&gateway).stack(&stack(&["f"], "2")).run().exits(0).says("retrying in").says("`f` updated in ");
    }
}

#[test]
fn function_that_lacks_a_part_has_its_own_remedy() {
    let gateway = start(edition(Flavour::Ce));
    gateway.put_function(&version_1("f"));
    let missing = "unable update Service: f., error: services \"f\" not found";
    gateway.fault(Fault::on("PUT", "/system/functions").status(404).body(missing));
    let ran = Pipe::with_password(&gateway).stack(&stack(&["f"], "2")).run().exits(1);
    ran.says("the gateway does not find it to update it, but does not create it either: POST /system/functions: 500 ")
        .says("hint: a part of it is missing in the cluster, such as its Service")
        .does_not_say("remove `STRATEGY`");
}
