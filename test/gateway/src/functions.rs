//! The deployed functions, and how they become available, unavailable and deleted over time.
//!
//! Nothing runs in the background: the state of a function is computed from the clock on every access.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::flavour::{Container, Flavour, View};
use crate::validate::Deployment;

/// The namespace of a function without one.
pub const DEFAULT_NAMESPACE: &str = "openfaas-fn";

/// When a created or updated function has an available replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// After this time. With faasd, its process runs at once and counts as available, but does not listen until then.
    After(Duration),
    /// Never, for example because its image cannot be pulled. With faasd, its process has ended.
    Never,
    /// At once, until its process ends after this time. With zero, the process ends before it is ready.
    Until(Duration),
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
    /// The deployment is terminating, and its service is gone already.
    NoService,
}

/// All functions by namespace and name.
#[derive(Debug)]
pub(crate) struct Functions {
    functions: BTreeMap<(String, String), Function>,
    ready: Ready,
    /// By function name, `NAME.NAMESPACE` or image.
    ready_of: HashMap<String, Ready>,
    times: Times,
    flavour: Flavour,
    /// The namespaces that ever held a function.
    used: BTreeSet<String>,
    /// The environment of images, by a part of their names.
    image_environments: Vec<(String, Map<String, Value>)>,
}

/// How long the controllers of Kubernetes take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// How long a deleted function is terminating.
    pub(crate) deletion: Duration,
    /// How long the service of a deleted function is terminating, at most as long as the function.
    pub(crate) service_deletion: Option<Duration>,
    /// How long an old replica stays available in a rolling update after its replacement has become available.
    pub(crate) surplus: Duration,
}

#[derive(Debug)]
struct Function {
    raw: Value,
    deployment: Deployment,
    created: SystemTime,
    replicas: u64,
    /// Replicas of the previous version, which are available until the new ones are.
    old: u64,
    /// When the current version was deployed, and when it is available after that.
    since: Instant,
    ready: Ready,
    /// When a deleted function disappears, and its service.
    gone: Option<Instant>,
    service_gone: Option<Instant>,
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
    fn available(&self, now: Instant, surplus: Duration) -> u64 {
        let (old, passed) = (self.old.min(self.replicas), now.saturating_duration_since(self.since));
        let delay = match self.ready {
            Ready::Never | Ready::Until(Duration::ZERO) => return old,
            Ready::Until(end) if passed >= end => return 0,
            Ready::Until(_) => Duration::ZERO,
            Ready::After(delay) => delay,
        };
        if surplus > Duration::ZERO && old == self.replicas {
            self.rolling(passed, delay, surplus)
        } else if passed >= delay {
            self.replicas
        } else {
            old
        }
    }

    /// The replicas during a rolling update, which replaces one after the other: each new one is available after `delay`,
    /// and the old one for `surplus` longer.
    fn rolling(&self, passed: Duration, delay: Duration, surplus: Duration) -> u64 {
        let round = delay + surplus;
        let replaced = u64::try_from(passed.as_nanos() / round.as_nanos()).unwrap_or(u64::MAX);
        let in_round = Duration::from_nanos_u128(passed.as_nanos() % round.as_nanos());
        self.replicas + u64::from(replaced < self.replicas && in_round >= delay)
    }

    /// Whether the process of the only container runs, which is all that faasd knows: it may not listen yet.
    fn runs(&self, now: Instant) -> bool {
        match self.ready {
            Ready::After(_) => true,
            Ready::Never => false,
            Ready::Until(end) => now.saturating_duration_since(self.since) < end,
        }
    }
}

impl Functions {
    pub(crate) fn new(
        ready: Ready,
        times: Times,
        flavour: Flavour,
        image_environments: Vec<(String, Map<String, Value>)>,
    ) -> Self {
        let (functions, ready_of) = (BTreeMap::new(), HashMap::new());
        Self { functions, ready, ready_of, times, flavour, used: BTreeSet::new(), image_environments }
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
                (function.ready, function.since) = (ready, now);
            }
        }
    }

    fn ready_of(&self, deployment: &Deployment, namespace: &str) -> Ready {
        let name = &deployment.service;
        let qualified = format!("{name}.{namespace}");
        let known = [&deployment.image, &qualified, name].into_iter().find_map(|which| self.ready_of.get(which));
        *known.unwrap_or(&self.ready)
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
            since: now,
            ready: self.ready_of(&deployment, &namespace),
            gone: None,
            service_gone: None,
            invocations: 0,
            updates: 0,
            log: Vec::new(),
            deployment,
        };
        self.used.insert(namespace.clone());
        self.functions.insert((namespace, function.deployment.service.clone()), function);
        Ok(())
    }

    pub(crate) fn update(&mut self, deployment: Deployment, raw: Value) -> Result<(), Refused> {
        let now = Instant::now();
        let namespace = Self::namespace_of(&deployment);
        let ready = self.ready_of(&deployment, &namespace);
        let (flavour, surplus) = (self.flavour, self.times.surplus);
        let function = self.get(&namespace, &deployment.service, now).ok_or(Refused::NotFound)?;
        // Kubernetes accepts the update of a terminating object, and Community Edition does not check that.
        if function.gone.is_some() && flavour != Flavour::Ce {
            return Err(Refused::Terminating);
        }
        function.updates += 1;
        function.old = function.available(now, surplus).min(function.replicas);
        (function.ready, function.since) = (ready, now);
        function.replicas = min_replicas(&deployment).unwrap_or(function.replicas);
        (function.deployment, function.raw) = (deployment, raw);
        if flavour == Flavour::Faasd {
            // It is a new container.
            (function.old, function.created) = (0, SystemTime::now());
        }
        if function.service_gone.is_some_and(|gone| gone <= now) { Err(Refused::NoService) } else { Ok(()) }
    }

    /// Ends the process of a function for good. Returns whether the function exists.
    pub(crate) fn kill(&mut self, namespace: &str, name: &str) -> bool {
        let now = Instant::now();
        let function = self.get(namespace, name, now);
        function
            .map(|function| (function.old, function.since, function.ready) = (0, now, Ready::Until(Duration::ZERO)))
            .is_some()
    }

    /// Creates a function that is ready at once. Replaces one of the same name.
    pub(crate) fn preset(&mut self, deployment: Deployment, raw: Value) {
        let key = (Self::namespace_of(&deployment), deployment.service.clone());
        self.functions.remove(&key);
        if self.create(deployment, raw).is_ok()
            && let Some(function) = self.functions.get_mut(&key)
        {
            function.ready = Ready::After(Duration::ZERO);
        }
    }

    pub(crate) fn delete(&mut self, namespace: &str, name: &str) -> Result<(), Refused> {
        let now = Instant::now();
        let (times, flavour) = (self.times, self.flavour);
        let function = self.get(namespace, name, now).ok_or(Refused::NotFound)?;
        if function.service_gone.is_some_and(|gone| gone <= now) && flavour == Flavour::Ce {
            return Err(Refused::NoService);
        }
        function.gone.get_or_insert(now + times.deletion);
        function.service_gone.get_or_insert(now + times.service_deletion.unwrap_or(times.deletion));
        Ok(())
    }

    /// Deletes a function at once.
    pub(crate) fn remove(&mut self, namespace: &str, name: &str) {
        self.functions.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Whether the namespace ever held a function.
    pub(crate) fn ever_in(&self, namespace: &str) -> bool {
        self.used.contains(namespace)
    }

    /// Deletes all functions of a namespace at once.
    pub(crate) fn delete_namespace(&mut self, namespace: &str) {
        self.functions.retain(|(of, _), _| of != namespace);
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
        let mut status = status(function, namespace, function.available(now, self.times.surplus));
        let image = &function.deployment.image;
        let environment = self.image_environments.iter().find(|(part, _)| image.contains(part.as_str()));
        let container =
            Container { environment: environment.map(|(_, environment)| environment), runs: function.runs(now) };
        self.flavour.report(&mut status, view, function.updates, &container);
        Value::Object(status)
    }

    /// Counts an invocation and returns the function. A function that was scaled to zero is scaled up.
    pub(crate) fn invoke(&mut self, namespace: &str, name: &str) -> Option<Invoked> {
        let now = Instant::now();
        let surplus = self.times.surplus;
        let function = self.get(namespace, name, now)?;
        function.replicas = function.replicas.max(1);
        function.invocations += 1;
        let available = function.available(now, surplus) > 0;
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
            available_replicas: function.available(now, self.times.surplus),
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

fn min_replicas(deployment: &Deployment) -> Option<u64> {
    let label = deployment.labels.as_ref()?.get("com.openfaas.scale.min")?;
    label.parse().ok().filter(|min| *min > 0)
}

fn status(function: &Function, namespace: &str, available: u64) -> Map<String, Value> {
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
    for (field, count) in
        [("invocationCount", function.invocations), ("replicas", function.replicas), ("availableReplicas", available)]
    {
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
