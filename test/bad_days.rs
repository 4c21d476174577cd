//! What the user is left with when something breaks: no function is gone or has less than it had, unless the last line
//! says so.

mod create;
mod editions;
mod outage;
mod replace;
mod rollback;
mod table;

use local_gateway::{Flavour, Gateway};
use serde_json::{Value, json};

use crate::support::{Pipe, edition, permissive, stack, start};

/// A gateway of an edition, and a run against it.
fn against(flavour: Flavour) -> (Gateway, Pipe) {
    match flavour {
        Flavour::Enterprise => {
            let gateway = start(permissive());
            let pipe = Pipe::at(&gateway);
            (gateway, pipe)
        }
        Flavour::Ce | Flavour::Faasd => {
            let gateway = start(edition(flavour));
            let pipe = Pipe::with_password(&gateway);
            (gateway, pipe)
        }
    }
}

/// A function in version 1, with something in every field that faasd knows.
fn version_1(name: &str) -> Value {
    json!({
        "service": name, "image": format!("example/{name}:1"), "envVars": {"MODE": "fast"}, "secrets": ["s"],
        "labels": {"tier": "web"}, "annotations": {"topic": "t"}, "limits": {"memory": "64Mi"},
    })
}

/// The image that a function runs; empty if there is no such function.
fn image(gateway: &Gateway, name: &str) -> String {
    let function = gateway.function("openfaas-fn", name).filter(|function| !function.terminating);
    function.map(|function| function.deployment["image"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

fn last_line(log: &str) -> &str {
    log.trim_end().lines().last().unwrap_or_default()
}
