//! What the user is left with after a failure: no function is deleted or loses configuration unless the last line of
//! the log says so.

mod create;
mod editions;
mod outage;
mod providers;
mod replace;
mod rollback;
mod table;

use local_gateway::{Flavour, Gateway};
use serde_json::{Value, json};

use crate::support::{Pipe, edition, permissive, start};

/// A gateway of an edition, and a pipe that runs against it.
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

/// A function in version 1, with a value in every field that faasd supports.
fn version_1(name: &str) -> Value {
    json!({
        "service": name, "image": format!("example/{name}:1"), "envVars": {"MODE": "fast"}, "secrets": ["s"],
        "labels": {"tier": "web"}, "annotations": {"topic": "t"}, "limits": {"memory": "64Mi"},
    })
}

/// The image that a function runs. Empty if the function does not exist.
fn image(gateway: &Gateway, name: &str) -> String {
    let function = gateway.function("openfaas-fn", name).filter(|function| !function.terminating);
    function.map(|function| function.deployment["image"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

fn last_line(log: &str) -> &str {
    log.trim_end().lines().last().unwrap_or_default()
}
