//! The tables in `docs/faults.md`: every request that changes a function, broken at every point, with every edition.
//! Each cell is a run of the pipe.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use local_gateway::{Fault, Flavour, Gateway, Latch, Ready};
use serde_json::json;

use super::{last_line, version_1};
use crate::support::{Pipe, Ran, Running, edition, permissive, stack, start, wait_for};

/// A request that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Update,
    Create,
    CreateOnly,
    ReplaceDelete,
    ReplaceCreate,
    Remove,
    Prune,
    RollbackUpdate,
    RollbackDelete,
    SecretUpdate,
    SecretCreate,
    NamespaceCreate,
    NamespaceDelete,
}

/// The namespace that is created or deleted.
const NAMESPACE: &str = "preview-7";

impl Change {
    const ALL: [Self; 13] = [
        Self::Update,
        Self::Create,
        Self::CreateOnly,
        Self::ReplaceDelete,
        Self::ReplaceCreate,
        Self::Remove,
        Self::Prune,
        Self::RollbackUpdate,
        Self::RollbackDelete,
        Self::SecretUpdate,
        Self::SecretCreate,
        Self::NamespaceCreate,
        Self::NamespaceDelete,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Update => "`STRATEGY: update`, `PUT` of a function that runs",
            Self::Create => "`STRATEGY: update`, `POST` of a new function",
            Self::CreateOnly => "`STRATEGY: create`, `POST` of a new function",
            Self::ReplaceDelete => "`STRATEGY: replace`, `DELETE`",
            Self::ReplaceCreate => "`STRATEGY: replace`, `POST` after the `DELETE`",
            Self::Remove => "`COMMAND: remove`, `DELETE`",
            Self::Prune => "`PRUNE`, `DELETE`",
            Self::RollbackUpdate => "`ROLLBACK`, `PUT` of the previous version",
            Self::RollbackDelete => "`ROLLBACK`, `DELETE` of a new function",
            Self::SecretUpdate => "`SECRET_VALUES`, `PUT` of a secret that exists",
            Self::SecretCreate => "`SECRET_VALUES`, `POST` of a new secret",
            Self::NamespaceCreate => "`CREATE_NAMESPACE`, `POST`",
            Self::NamespaceDelete => "`DELETE_NAMESPACE`, `DELETE` of an empty namespace",
        }
    }

    /// The method of the request that fails, and its number among the requests with that method, counted from 1.
    fn request(self) -> (&'static str, u64) {
        match self {
            Self::Update | Self::SecretUpdate => ("PUT", 1),
            Self::Create | Self::CreateOnly | Self::ReplaceCreate => ("POST", 1),
            Self::SecretCreate | Self::NamespaceCreate => ("POST", 1),
            Self::ReplaceDelete | Self::Remove | Self::Prune | Self::RollbackDelete => ("DELETE", 1),
            Self::NamespaceDelete => ("DELETE", 1),
            Self::RollbackUpdate => ("PUT", 2),
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::SecretUpdate | Self::SecretCreate => "/system/secrets",
            Self::NamespaceCreate | Self::NamespaceDelete => "/system/namespace/",
            _ => "/system/functions",
        }
    }

    /// Whether it changes a function.
    fn is_of_function(self) -> bool {
        self.path() == "/system/functions"
    }

    fn has_old_version(self) -> bool {
        self.is_of_function() && !matches!(self, Self::Create | Self::CreateOnly | Self::RollbackDelete)
    }

    /// Whether the function is supposed to be deleted at the end.
    fn removes(self) -> bool {
        matches!(self, Self::Remove | Self::Prune | Self::RollbackDelete)
    }

    fn pipe(self, gateway: &Gateway, flavour: Flavour) -> Pipe {
        let pipe = match flavour {
            Flavour::Enterprise => Pipe::at(gateway),
            Flavour::Ce | Flavour::Faasd => Pipe::with_password(gateway),
        };
        let pipe = pipe.stack(&stack(&["f"], "2")).var("RETRIES", "1").var("WAIT_TIMEOUT", "1s");
        let rollback = |pipe: Pipe| pipe.var("WAIT", "true").var("ROLLBACK", "true");
        match self {
            Self::Update | Self::Create => pipe,
            Self::CreateOnly => pipe.var("STRATEGY", "create"),
            Self::ReplaceDelete | Self::ReplaceCreate => pipe.var("STRATEGY", "replace"),
            Self::Remove => pipe.var("COMMAND", "remove"),
            Self::Prune => pipe
                .stack(&stack(&["kept"], "2"))
                .var("BITBUCKET_REPO_FULL_NAME", "acme/shop")
                .var("OWNER_LABEL", "true")
                .var("PRUNE", "true"),
            Self::RollbackUpdate | Self::RollbackDelete => rollback(pipe),
            Self::SecretUpdate | Self::SecretCreate => {
                let pipe = pipe.stack(&format!("{}    secrets: [s]\n", stack(&["f"], "2")));
                pipe.list("SECRET_VALUES", &["s=new value"])
            }
            Self::NamespaceCreate => namespaced(pipe).var("CREATE_NAMESPACE", "true"),
            Self::NamespaceDelete => namespaced(pipe).var("COMMAND", "remove").var("DELETE_NAMESPACE", "true"),
        }
    }

    /// What exists before.
    fn set_up(self, gateway: &Gateway) {
        match self {
            Self::SecretUpdate => gateway.put_secret("openfaas-fn", "s", b"old value"),
            Self::NamespaceDelete => {
                let labels = [("openfaas", "1"), ("com.openfaas-pipe.created-by", "shop.4cdc11e67ce24e3b")];
                gateway.put_namespace(NAMESPACE, &labels, &[("openfaas", "1")]);
            }
            _ => {}
        }
    }
}

fn namespaced(pipe: Pipe) -> Pipe {
    pipe.var("OPENFAAS_NAMESPACE", NAMESPACE).var("BITBUCKET_REPO_FULL_NAME", "acme/shop")
}

/// The point at which the request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Reset,
    Lost,
    BadGateway,
    Cut,
    Hang,
    DiesBefore,
    DiesAfter,
    Stopped,
    Refused,
    Halfway,
}

impl Point {
    const ALL: [Self; 10] = [
        Self::Reset,
        Self::Lost,
        Self::BadGateway,
        Self::Cut,
        Self::Hang,
        Self::DiesBefore,
        Self::DiesAfter,
        Self::Stopped,
        Self::Refused,
        Self::Halfway,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Reset => "connection reset before the gateway processed the request, once",
            Self::Lost => "connection reset after the gateway processed the request, once",
            Self::BadGateway => "502 from a proxy after the gateway processed the request, once",
            Self::Cut => "response cut off after the gateway processed the request, once",
            Self::Hang => "no response within `TIMEOUT` although the gateway processed the request, once",
            Self::DiesBefore => "the gateway goes down before it processes the request",
            Self::DiesAfter => "the gateway goes down after it processed the request",
            Self::Stopped => "the step is stopped while the request is in flight",
            Self::Refused => "the gateway rejects the request: 400 with a reason",
            Self::Halfway => "the gateway processes the request in part, then reports an error",
        }
    }

    fn fault(self, fault: Fault, method: &str) -> Option<Fault> {
        Some(match self {
            Self::Reset => fault.reset(),
            Self::Lost => fault.lose(),
            Self::BadGateway => fault.processed().status(502).header("Retry-After", "0"),
            Self::Cut => fault.processed().status(202).body("{}").cut_off(1),
            Self::Hang => fault.processed().hang(),
            Self::DiesBefore => fault.dies(),
            Self::DiesAfter => fault.processed().dies(),
            Self::Stopped => return None,
            Self::Refused => fault.status(400).body("admission webhook denied the request"),
            Self::Halfway => match method {
                "POST" => fault.processed().status(400).body("failed create Service: no address is free"),
                "PUT" => fault.processed().status(500).body("unable update Service: etcdserver: request timed out"),
                _ => fault.processed().status(500).body("etcdserver: request timed out"),
            },
        })
    }
}

/// Runs one cell. Returns the state of the function afterwards and the exit code.
fn cell(change: Change, point: Point, flavour: Flavour) -> Result<String, String> {
    let builder = match flavour {
        Flavour::Enterprise => permissive(),
        Flavour::Ce | Flavour::Faasd => edition(flavour),
    };
    let is_rollback = matches!(change, Change::RollbackUpdate | Change::RollbackDelete);
    let builder = if is_rollback { builder.ready_of("example/f:2", Ready::Never) } else { builder };
    let (method, nth) = change.request();
    // faasd deletes a function before it status_requests up the image of the new version.
    let is_update = method == "PUT" && change.is_of_function();
    let faasd_removes = point == Point::Halfway && is_update && flavour == Flavour::Faasd;
    let wanted = if change == Change::RollbackUpdate { "example/f:1" } else { "example/f:2" };
    let builder = if faasd_removes { builder.unreachable_image(wanted) } else { builder };
    let gateway = start(builder.namespaces(&["openfaas-fn"]));
    change.set_up(&gateway);
    let mut old = version_1("f");
    if change == Change::Prune {
        old["labels"] = json!({"com.openfaas-pipe.owner": "shop.63f64cafed7a4a86"});
    }
    if change.has_old_version() {
        gateway.put_function(&old);
        if is_rollback {
            gateway.set_ready("f", Ready::Never);
        }
    }
    let fault = Fault::on(method, change.path()).nth(nth);
    let timeout = if point == Point::Hang { "1s" } else { "30s" };
    let pipe = change.pipe(&gateway, flavour).var("TIMEOUT", timeout);
    let ran = match point.fault(fault.clone(), method) {
        Some(_) if faasd_removes => pipe.run(),
        Some(fault) => {
            gateway.fault(fault);
            pipe.run()
        }
        None => stopped(&gateway, pipe, fault, change),
    };
    let left = left(&gateway, change, &old, &ran)?;
    // What the gateway itself reports as failed counts as not done.
    let is_done = matches!((left, change.removes()), ("new version", false) | ("removed", true));
    let denied = ["1 of 1 function not deployed", "1 of 1 function not removed"];
    if is_done && point != Point::Halfway && denied.iter().any(|text| last_line(&ran.log).contains(text)) {
        return Err(format!("it is done, and reported as not done\n{}", ran.log));
    }
    Ok(format!("{left}, {}", ran.code))
}

/// Stops a run while the request is in flight. The gateway then processes the request.
fn stopped(gateway: &Gateway, pipe: Pipe, fault: Fault, change: Change) -> Ran {
    let (method, nth) = change.request();
    let latch = Latch::closed();
    gateway.fault(fault.held_by(&latch));
    let mut running = Running::of(pipe);
    let arrived = || {
        let requests = gateway.requests();
        let changes =
            requests.iter().filter(|request| request.path.starts_with(change.path()) && request.method == method);
        changes.count() as u64 >= nth
    };
    // A run that never sends the request (a rollback that is rejected up front) exits by itself.
    wait_for("request or exit", || arrived() || running.has_ended());
    if arrived() {
        running.signal("TERM");
        running.read_to("SIGTERM received");
    }
    latch.open();
    running.end()
}

/// The state of the function. An error if it was deleted or lost configuration and the last line does not say so.
fn left(gateway: &Gateway, change: Change, old: &serde_json::Value, ran: &Ran) -> Result<&'static str, String> {
    if !change.is_of_function() {
        return Ok(left_of_resource(gateway, change));
    }
    let function = gateway.function("openfaas-fn", "f").filter(|function| !function.terminating);
    let Some(function) = function else {
        if change.removes() || !change.has_old_version() {
            return Ok(if change.removes() { "removed" } else { "not created" });
        }
        let is_reported = last_line(&ran.log).contains("gone") && last_line(&ran.log).contains("`f`");
        return if is_reported {
            Ok("deleted, reported in the last line")
        } else {
            Err(format!("the function was deleted\n{}", ran.log))
        };
    };
    if last_line(&ran.log).contains("gone and must be redeployed") {
        return Err(format!("the function is reported as gone, but it runs\n{}", ran.log));
    }
    let image = function.deployment["image"].as_str().unwrap_or_default();
    if image.ends_with("example/f:2") {
        return Ok("new version");
    }
    for (field, value) in old.as_object().into_iter().flatten().filter(|(field, _)| *field != "image") {
        if function.deployment[field] != *value {
            return Err(format!("`{field}` is {} and was {value}\n{}", function.deployment[field], ran.log));
        }
    }
    Ok("old version")
}

/// The state of the secret or the namespace, and of the function that needs it.
fn left_of_resource(gateway: &Gateway, change: Change) -> &'static str {
    let is_deployed = !gateway.functions().is_empty();
    let exists = gateway.namespaces().iter().any(|namespace| namespace.name == NAMESPACE);
    let secret = gateway.secret("openfaas-fn", "s");
    match (change, secret.as_deref()) {
        (Change::NamespaceDelete, _) => {
            if exists {
                "kept"
            } else {
                "deleted"
            }
        }
        (Change::NamespaceCreate, _) => match (exists, is_deployed) {
            (true, true) => "created, function deployed",
            (true, false) => "created, no function",
            (false, true) => "not created, function deployed",
            (false, false) => "not created, no function",
        },
        (_, None) => {
            if is_deployed {
                "not created, function deployed"
            } else {
                "not created, no function"
            }
        }
        (_, Some(b"new value")) => {
            if is_deployed {
                "new value, function deployed"
            } else {
                "new value, no function"
            }
        }
        (_, Some(_)) => {
            if is_deployed {
                "old value, function deployed"
            } else {
                "old value, no function"
            }
        }
    }
}

fn jobs() -> Vec<(Change, Point, Flavour)> {
    let points = |change| Point::ALL.map(|point| (change, point));
    let pairs = Change::ALL.into_iter().flat_map(points);
    pairs.flat_map(|(change, point)| Flavour::ALL.map(|flavour| (change, point, flavour))).collect()
}

#[test]
fn documented_outcomes_match_actual_runs() {
    let jobs = jobs();
    let cells: Mutex<Vec<Option<String>>> = Mutex::new(vec![None; jobs.len()]);
    let wrong = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    // Most of the time is spent waiting.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((change, point, flavour)) = jobs.get(index) else { break };
                    match cell(*change, *point, *flavour) {
                        Ok(text) => cells.lock().expect("lock is poisoned")[index] = Some(text),
                        Err(error) => {
                            wrong
                                .lock()
                                .expect("lock is poisoned")
                                .push(format!("{change:?} {point:?} {flavour:?}: {error}"));
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("lock is poisoned");
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), jobs.len(), wrong.join("\n"));
    let cells = cells.into_inner().expect("lock is poisoned");
    let mut cells = cells.into_iter().map(Option::unwrap_or_default);
    let mut tables = String::new();
    for change in Change::ALL {
        let _ =
            write!(tables, "\n#### {}\n\n| Failure | Enterprise | CE | faasd |\n|---|---|---|---|\n", change.title());
        for point in Point::ALL {
            let row: Vec<_> = cells.by_ref().take(Flavour::ALL.len()).collect();
            let _ = writeln!(tables, "| {} | {} |", point.title(), row.join(" | "));
        }
    }
    let document = include_str!("../../docs/faults.md");
    let differ: Vec<_> = tables.lines().filter(|line| !document.contains(line)).collect();
    assert!(document.contains(&tables), "`docs/faults.md` is out of date\n{}\n\n{tables}", differ.join("\n"));
}
