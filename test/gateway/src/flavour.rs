//! The editions of OpenFaaS: what their providers report of a function, and what they omit.
//!
//! Community Edition and faasd respond as real ones did: faas-netes 1241e363 on Kubernetes 1.36, and faasd 0172c99 with
//! containerd. `cargo run --example gateway-conformance -- FILE…` compares them with recorded responses. What no
//! recording shows follows faas-netes 662ce9ce and faasd 13f03f3.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// An edition of OpenFaaS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// OpenFaaS for Enterprises: IAM, several namespaces, complete statuses. This follows its documentation: its source is
    /// closed, and no real gateway of this edition was available for comparison.
    #[default]
    Enterprise,
    /// Community Edition (faas-netes): basic auth, one namespace, statuses without environment.
    Ce,
    /// faasd: basic auth, synchronous. An update deletes the function before it creates it again.
    Faasd,
}

impl Flavour {
    /// All editions.
    pub const ALL: [Self; 3] = [Self::Enterprise, Self::Ce, Self::Faasd];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enterprise => "enterprise",
            Self::Ce => "ce",
            Self::Faasd => "faasd",
        }
    }

    /// The provider's name and orchestration in `/system/info`.
    pub(crate) fn provider(self) -> (&'static str, &'static str) {
        match self {
            Self::Enterprise => ("faas-netes", "kubernetes"),
            Self::Ce => ("faas-netes-ce", "kubernetes"),
            Self::Faasd => ("faasd-ce", "containerd"),
        }
    }

    /// Whether the edition has IAM.
    pub(crate) fn has_iam(self) -> bool {
        self == Self::Enterprise
    }

    /// How long a rolling update shows one replica more than wanted. Four updates of one replica on a real Kubernetes showed it
    /// for 14, 40, 58 and 68 ms; faasd has one container, which it replaces.
    pub(crate) fn surplus(self) -> Duration {
        match self {
            Self::Enterprise | Self::Ce => Duration::from_millis(40),
            Self::Faasd => Duration::ZERO,
        }
    }

    /// The status of a `POST` for a function that already exists.
    pub(crate) fn exists_status(self) -> u16 {
        match self {
            Self::Enterprise => 409,
            Self::Ce => 500,
            Self::Faasd => 400,
        }
    }

    /// Turns a complete status into the one that this edition reports.
    pub(crate) fn report(self, status: &mut Map<String, Value>, view: View, updates: u64, container: &Container<'_>) {
        match self {
            Self::Enterprise => {}
            Self::Ce => report_of_ce(status, updates),
            Self::Faasd => report_of_faasd(status, view, container),
        }
    }
}

impl FromStr for Flavour {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|flavour| flavour.name() == text).ok_or("write enterprise, ce or faasd")
    }
}

/// The endpoint that a status is reported by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// `GET /system/function/NAME`.
    One,
    /// `GET /system/functions`.
    List,
}

/// What faasd reads from a container instead of the deployment.
pub(crate) struct Container<'a> {
    /// The environment of its image.
    pub(crate) environment: Option<&'a Map<String, Value>>,
    /// Whether its process runs.
    pub(crate) runs: bool,
}

fn report_of_ce(status: &mut Map<String, Value>, updates: u64) {
    for field in ["envVars", "constraints", "readOnlyRootFilesystem"] {
        status.remove(field);
    }
    let name = status.get("name").cloned().unwrap_or_default();
    let labels = object(status, "labels");
    labels.insert("faas_function".to_owned(), name);
    if updates > 0 {
        labels.insert("uid".to_owned(), json!(updates.to_string()));
    }
    object(status, "annotations").entry("prometheus.io.scrape").or_insert_with(|| json!("false"));
    if let Some(created) = status.get("createdAt").and_then(Value::as_str).and_then(|created| created.split('.').next())
    {
        // Kubernetes stores whole seconds.
        let created = format!("{}Z", created.trim_end_matches('Z'));
        status.insert("createdAt".to_owned(), json!(created));
    }
    for field in ["limits", "requests"] {
        if let Some(Value::Object(quantities)) = status.get_mut(field) {
            for quantity in ["memory", "cpu"] {
                quantities.entry(quantity).or_insert_with(|| json!("0"));
            }
        }
    }
}

fn report_of_faasd(status: &mut Map<String, Value>, view: View, container: &Container<'_>) {
    for field in ["constraints", "requests", "readOnlyRootFilesystem"] {
        status.remove(field);
    }
    let limits = status.remove("limits");
    let memory = limits.as_ref().and_then(|limits| limits.get("memory")).filter(|memory| *memory != "");
    if let (View::List, Some(memory)) = (view, memory) {
        status.insert("limits".to_owned(), json!({"memory": memory}));
    }
    status.remove("availableReplicas");
    let replicas = status.remove("replicas").filter(|_| container.runs);
    if let Some(replicas) = replicas {
        if view == View::One {
            status.insert("availableReplicas".to_owned(), replicas.clone());
        }
        status.insert("replicas".to_owned(), replicas);
    }
    for field in ["labels", "annotations"] {
        object(status, field);
    }
    for (name, value) in container.environment.into_iter().flatten() {
        if name == "fprocess" {
            status.entry("envProcess").or_insert_with(|| value.clone());
        } else {
            object(status, "envVars").entry(name).or_insert_with(|| value.clone());
        }
    }
    if let Some(image) = status.get("image").and_then(Value::as_str).map(full_image) {
        status.insert("image".to_owned(), json!(image));
    }
    if let Some(Value::Object(variables)) = status.get_mut("envVars") {
        // It splits `NAME=VALUE` at every `=` and reports the second part.
        for value in variables.values_mut() {
            let cut = value.as_str().map(|text| text.split('=').next().unwrap_or_default().to_owned());
            *value = json!(cut);
        }
    }
}

fn object<'a>(status: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    let value = status.entry(field).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made an object")
}

/// The image name with registry, `library/` and tag, as containerd reports it.
pub(crate) fn full_image(image: &str) -> String {
    let (registry, path) = match image.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", image),
    };
    let library = if registry == "docker.io" && !path.contains('/') { "library/" } else { "" };
    let tag = if path.rsplit('/').next().unwrap_or_default().contains([':', '@']) { "" } else { ":latest" };
    format!("{registry}/{library}{path}{tag}")
}
