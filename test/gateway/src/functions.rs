//! The deployed functions, and how they become available, unavailable and deleted over time.
//!
//! Nothing runs in the background: the state of a function is computed from the clock on every access.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::flavour::{Flavour, View};
use crate::validate::Deployment;

/// The namespace of a function without one.
pub const DEFAULT_NAMESPACE: &str = "openfaas-fn";

/// When a created or updated function has an available replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// After this time.
    After(Duration),
    /// Never, for example because its image cannot be pulled.
    Never,
}

/// The state of a function.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FunctionState {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The deployment as it was sent.
    pub deployment: Value,
    /// The number of wanted replicas.
    pub replicas: u64,
    /// The number of available replicas, including old ones.
    pub available_replicas: u64,
    /// The number of invocations.
    pub invocation_count: u64,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// The lines of its log.
    pub log: Vec<String>,
}

/// Why a change of a function was rejected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Exists,
    NotFound,
    Terminating,
}

/// All functions by namespace and name.
#[derive(Debug)]
pub(crate) struct Functions {
    functions: BTreeMap<(String, String), Function>,
    ready: Ready,
    /// By function name, `NAME.NAMESPACE` or image.
    ready_of: HashMap<String, Ready>,
    deletion: Duration,
    flavour: Flavour,
}

#[derive(Debug)]
struct Function {
    raw: Value,
    deployment: Deployment,
    created: SystemTime,
    replicas: u64,
    /// Replicas of the previous version, which are available until the new ones are.
    old: u64,
    /// When the current version is available. `None` means never.
    ready: Option<Instant>,
    /// When a deleted function disappears.
    gone: Option<Instant>,
    invocations: u64,
    /// The number of updates.
    updates: u64,
    log: Vec<String>,
}

/// A function that is about to be invoked.
pub(crate) struct Invoked {
    pub(crate) deployment: Deployment,
    /// Whether a replica is available.
    pub(crate) available: bool,
}

impl Function {
    fn available(&self, now: Instant) -> u64 {
        match self.ready {
            Some(ready) if ready <= now => self.replicas,
            _ => self.old.min(self.replicas),
        }
    }
}

impl Functions {
    pub(crate) fn new(ready: Ready, deletion: Duration, flavour: Flavour) -> Self {
        let (functions, ready_of) = (BTreeMap::new(), HashMap::new());
        Self { functions, ready, ready_of, deletion, flavour }
    }

    /// The namespace of a deployment.
    pub(crate) fn namespace_of(deployment: &Deployment) -> String {
        let given = Some(deployment.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        given.unwrap_or(DEFAULT_NAMESPACE).to_owned()
    }

    /// Sets when a function (by name, `NAME.NAMESPACE` or image) becomes ready after a deployment, including the
    /// current one.
    pub(crate) fn set_ready(&mut self, which: &str, ready: Ready) {
        self.ready_of.insert(which.to_owned(), ready);
        let now = Instant::now();
        for ((namespace, name), function) in &mut self.functions {
            if which == name || which == format!("{name}.{namespace}") || which == function.deployment.image {
                function.ready = instant(ready, now);
            }
        }
    }

    fn ready_of(&self, deployment: &Deployment, namespace: &str, now: Instant) -> Option<Instant> {
        let name = &deployment.service;
        let qualified = format!("{name}.{namespace}");
        let known = [&deployment.image, &qualified, name].into_iter().find_map(|which| self.ready_of.get(which));
        instant(*known.unwrap_or(&self.ready), now)
    }

    pub(crate) fn create(&mut self, deployment: Deployment, raw: Value) -> Result<(), Refused> {
        let now = Instant::now();
        let namespace = Self::namespace_of(&deployment);
        match self.get(&namespace, &deployment.service, now) {
            Some(function) if function.gone.is_some() => return Err(Refused::Terminating),
            Some(_) => return Err(Refused::Exists),
            None => {}
        }
        let function = Function {
            raw,
            created: SystemTime::now(),
            replicas: min_replicas(&deployment).unwrap_or(1),
            old: 0,
            ready: self.ready_of(&deployment, &namespace, now),
            gone: None,
            invocations: 0,
            updates: 0,
            log: Vec::new(),
            deployment,
        };
        self.functions.insert((namespace, function.deployment.service.clone()), function);
        Ok(())
    }

    pub(crate) fn update(&mut self, deployment: Deployment, raw: Value) -> Result<(), Refused> {
        let now = Instant::now();
        let namespace = Self::namespace_of(&deployment);
        let ready = self.ready_of(&deployment, &namespace, now);
        let flavour = self.flavour;
        let function = self.get(&namespace, &deployment.service, now).ok_or(Refused::NotFound)?;
        // Kubernetes accepts the update of a terminating object, and Community Edition does not check that.
        if function.gone.is_some() && flavour != Flavour::Ce {
            return Err(Refused::Terminating);
        }
        function.updates += 1;
        function.old = function.available(now);
        function.ready = ready;
        function.replicas = min_replicas(&deployment).unwrap_or(function.replicas);
        (function.deployment, function.raw) = (deployment, raw);
        Ok(())
    }

    /// Creates a function that is ready at once. Replaces one of the same name.
    pub(crate) fn preset(&mut self, deployment: Deployment, raw: Value) {
        let key = (Self::namespace_of(&deployment), deployment.service.clone());
        self.functions.remove(&key);
        if self.create(deployment, raw).is_ok()
            && let Some(function) = self.functions.get_mut(&key)
        {
            function.ready = Some(Instant::now());
        }
    }

    pub(crate) fn delete(&mut self, namespace: &str, name: &str) -> Result<(), Refused> {
        let now = Instant::now();
        let (deletion, flavour) = (self.deletion, self.flavour);
        let function = self.get(namespace, name, now).ok_or(Refused::NotFound)?;
        if function.gone.is_some() && flavour == Flavour::Ce {
            return Err(Refused::Terminating);
        }
        function.gone.get_or_insert(now + deletion);
        Ok(())
    }

    /// Deletes a function at once.
    pub(crate) fn remove(&mut self, namespace: &str, name: &str) {
        self.functions.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// The status of a function as `GET /system/function/NAME` returns it, without zero values.
    pub(crate) fn status(&mut self, namespace: &str, name: &str) -> Option<Value> {
        let now = Instant::now();
        self.get(namespace, name, now)?;
        let function = self.functions.get(&(namespace.to_owned(), name.to_owned()))?;
        Some(self.report(function, namespace, View::One, now))
    }

    /// The status of every function in a namespace.
    pub(crate) fn list(&mut self, namespace: &str) -> Vec<Value> {
        let now = Instant::now();
        self.sweep(now);
        let of_namespace = self.functions.iter().filter(|((of, _), _)| of == namespace);
        of_namespace.map(|(_, function)| self.report(function, namespace, View::List, now)).collect()
    }

    fn report(&self, function: &Function, namespace: &str, view: View, now: Instant) -> Value {
        let mut status = status(function, namespace, now);
        self.flavour.report(&mut status, view, function.updates);
        Value::Object(status)
    }

    /// Counts an invocation and returns the function. A function that was scaled to zero is scaled up.
    pub(crate) fn invoke(&mut self, namespace: &str, name: &str) -> Option<Invoked> {
        let now = Instant::now();
        let function = self.get(namespace, name, now)?;
        function.replicas = function.replicas.max(1);
        function.invocations += 1;
        let available = function.available(now) > 0;
        Some(Invoked { deployment: function.deployment.clone(), available })
    }

    /// Adds a line to the log of a function.
    pub(crate) fn log(&mut self, namespace: &str, name: &str, line: &str) -> Result<(), Refused> {
        let function = self.get(namespace, name, Instant::now()).ok_or(Refused::NotFound)?;
        function.log.push(line.to_owned());
        Ok(())
    }

    /// The lines of a function's log.
    pub(crate) fn log_lines(&mut self, namespace: &str, name: &str) -> Option<Vec<String>> {
        let function = self.get(namespace, name, Instant::now())?;
        Some(function.log.clone())
    }

    pub(crate) fn states(&mut self) -> Vec<FunctionState> {
        let now = Instant::now();
        self.sweep(now);
        let state = |((namespace, name), function): (&(String, String), &Function)| FunctionState {
            name: name.clone(),
            namespace: namespace.clone(),
            deployment: function.raw.clone(),
            replicas: function.replicas,
            available_replicas: function.available(now),
            invocation_count: function.invocations,
            terminating: function.gone.is_some(),
            log: function.log.clone(),
        };
        self.functions.iter().map(state).collect()
    }

    fn get(&mut self, namespace: &str, name: &str, now: Instant) -> Option<&mut Function> {
        let key = (namespace.to_owned(), name.to_owned());
        if self.functions.get(&key).is_some_and(|function| function.gone.is_some_and(|gone| gone <= now)) {
            self.functions.remove(&key);
        }
        self.functions.get_mut(&key)
    }

    fn sweep(&mut self, now: Instant) {
        self.functions.retain(|_, function| function.gone.is_none_or(|gone| gone > now));
    }
}

fn instant(ready: Ready, now: Instant) -> Option<Instant> {
    match ready {
        Ready::After(after) => Some(now + after),
        Ready::Never => None,
    }
}

fn min_replicas(deployment: &Deployment) -> Option<u64> {
    let label = deployment.labels.as_ref()?.get("com.openfaas.scale.min")?;
    label.parse().ok().filter(|min| *min > 0)
}

fn status(function: &Function, namespace: &str, now: Instant) -> Map<String, Value> {
    let Function { raw, deployment, .. } = function;
    let mut status = Map::new();
    status.insert("name".to_owned(), json!(deployment.service));
    status.insert("namespace".to_owned(), json!(namespace));
    for field in ["image", "envProcess", "envVars", "constraints", "secrets", "labels", "annotations"] {
        copy(raw, &mut status, field);
    }
    for field in ["limits", "requests", "readOnlyRootFilesystem"] {
        copy(raw, &mut status, field);
    }
    for (field, count) in [
        ("invocationCount", function.invocations),
        ("replicas", function.replicas),
        ("availableReplicas", function.available(now)),
    ] {
        if count > 0 {
            status.insert(field.to_owned(), json!(count));
        }
    }
    let created = OffsetDateTime::from(function.created).format(&Rfc3339).unwrap_or_default();
    status.insert("createdAt".to_owned(), json!(created));
    status
}

/// Copies a field unless it has Go's zero value.
fn copy(from: &Value, to: &mut Map<String, Value>, field: &str) {
    let zero = |value: &&Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    if let Some(value) = from.get(field).filter(|value| !zero(value)) {
        to.insert(field.to_owned(), value.clone());
    }
}
