//! Measures whole runs of the release binary against the local gateway.
//!
//! `cargo bench` runs every row. `cargo bench -- http1/deploy/50 payload` runs the rows whose names contain one of
//! these parts, between slashes. With `FAAS_CLI=path`, each deploy is also measured with that program, alternating with
//! the pipe.
//!
//! The bound of a row is a lower limit for any client: the round trips of its protocol plus the CPU time of the
//! gateway's thread. The round trips are one for TCP, one for TLS 1.3, one for the token exchange, and one per batch of
//! `PARALLEL` functions for each method (`PUT`, and `POST` for a new function). A hostile stack file may take one
//! second. Up to the first request, the bound is the time to start an empty program. With `WAIT`, it includes the time until
//! the new version is available.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod build;
mod measure;
mod site;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use local_gateway::{Ready, Request};
use measure::{Job, median, peak_memory_of, thread_time};
use serde_json::json;
use site::{GATEWAY_THREAD, PASSWORD, Protocol, Site, USER};
use tempfile::TempDir;

const GIGABYTE: u64 = 1_000_000_000;
/// The largest stack file that the pipe reads, in bytes.
const STACK_LIMIT: usize = 1024 * 1024;

/// A row is repeated until it has this many runs …
const RUNS: usize = 11;
/// … or has taken this long.
const TIME: Duration = Duration::from_millis(1500);

/// How long the new version of a function takes to become available.
const ROLLOUT: Duration = Duration::from_secs(2);

/// The `PARALLEL` of rows that do not vary it: the pipe's default.
const PARALLEL: usize = 16;

/// What a run does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// From process start to the arrival of the first request.
    Start,
    Deploy {
        functions: usize,
        new: bool,
        parallel: usize,
    },
    /// A deploy of existing functions whose images are in one registry, with `CHECK_IMAGES`.
    Checked {
        functions: usize,
        parallel: usize,
    },
    /// A deploy of new functions with `WAIT`, and one `VERIFY` call for each.
    Verified {
        functions: usize,
        parallel: usize,
    },
    /// An update of existing functions with `WAIT`. A new replica is available after [`ROLLOUT`].
    Waited {
        functions: usize,
    },
    /// A deploy of new functions into a namespace that does not exist, with two secrets.
    First {
        functions: usize,
        parallel: usize,
    },
    /// An invocation of a guarded function with `AUTH: always`.
    Guarded,
    /// An invocation with a payload of 1 GB.
    Upload,
    /// An invocation with a response of 1 GB.
    Download,
    /// A stack file designed to use much time or memory. It is rejected. The value is an index into [`HOSTILE`].
    Hostile(usize),
}

/// Names of hostile stack files, with the start of each and the text that is repeated until the file has the maximum
/// size.
const HOSTILE: [(&str, &str, &str); 12] = [
    ("brackets", "", "["),
    ("commas", "[", ","),
    ("tags", "", "%TAG ! a\n"),
    ("documents", "", "---\n"),
    ("large-name", "functions:\n  f:\n    ? ", "e"),
    ("problems", "functions:\n  f:\n    environment:\n", "      ? [a]\n      : []\n"),
    ("defaults", "", "${A:-"),
    ("substitutions", "A: >\n", "   ${A}"),
    ("comment", "# ${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-", "${B}"),
    ("patterns", "", "# ${BIG##*a*b*c}\n"),
    ("replacements", "", "# ${BIG//v/${BIG}}\n"),
    ("growth", "", "# ${BIG}\n"),
];

struct Row {
    name: String,
    protocol: Protocol,
    rtt: u32,
    work: Work,
}

impl Row {
    fn new(protocol: Protocol, rtt: u32, work: Work) -> Self {
        let work_name = match work {
            Work::Start => "first-request".to_owned(),
            Work::Deploy { functions, new, parallel } => {
                format!("deploy/{functions}/{}/p{parallel}", if new { "new" } else { "existing" })
            }
            Work::Checked { functions, parallel } => format!("deploy/{functions}/checked/p{parallel}"),
            Work::Verified { functions, parallel } => format!("deploy/{functions}/verified/p{parallel}"),
            Work::Waited { functions } => format!("deploy/{functions}/waited/p{PARALLEL}"),
            Work::First { functions, parallel } => format!("deploy/{functions}/first/p{parallel}"),
            Work::Guarded => "invoke/guarded".to_owned(),
            Work::Upload => "payload/1GB-in".to_owned(),
            Work::Download => "payload/1GB-out".to_owned(),
            Work::Hostile(index) => format!("hostile/{}", HOSTILE[index].0),
        };
        Self { name: format!("{}/{work_name}/{rtt}ms", protocol.name()), protocol, rtt, work }
    }

    /// The round trips that no client can avoid.
    fn round_trips(&self) -> usize {
        let connect = if self.protocol == Protocol::Http1 { 1 } else { 2 };
        let exchange = 1;
        match self.work {
            Work::Start | Work::Hostile(_) => 0,
            Work::Deploy { functions, new, parallel } => {
                let methods = if new { 2 } else { 1 };
                connect + exchange + methods * functions.div_ceil(parallel)
            }
            Work::Verified { functions, parallel } => {
                // The status of all functions twice: before the deploy, and when they are ready. Then PUT, POST and the
                // call of each function.
                connect + exchange + 2 + 3 * functions.div_ceil(parallel)
            }
            Work::Checked { functions, parallel } => {
                // The registry lookups, over TLS, run in parallel with the token exchange. The deploy follows.
                let batches = functions.div_ceil(parallel);
                (connect + exchange).max(2 + batches) + batches
            }
            // The status before the deploy, and when the functions are ready.
            Work::Waited { functions } => connect + exchange + 2 + functions.div_ceil(PARALLEL),
            // Three for the namespace and the secrets.
            Work::First { functions, parallel } => connect + exchange + 3 + 2 * functions.div_ceil(parallel),
            Work::Guarded => connect + exchange + 1,
            Work::Upload | Work::Download => connect + 1,
        }
    }

    /// `start` is the time to start a program that does nothing.
    fn bound(&self, gateway: Duration, start: Duration) -> Duration {
        match self.work {
            Work::Start => start,
            Work::Hostile(_) => Duration::from_secs(1),
            _ => {
                let rollout = if let Work::Waited { .. } = self.work { ROLLOUT } else { Duration::ZERO };
                let round_trips = u32::try_from(self.round_trips()).unwrap_or(u32::MAX);
                Duration::from_millis(self.rtt.into()) * round_trips + gateway + rollout
            }
        }
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let deploy = |functions, new, parallel| Work::Deploy { functions, new, parallel };
    for protocol in Protocol::ALL {
        rows.push(Row::new(protocol, 0, Work::Start));
        for rtt in [0, 20, 100] {
            for functions in [1, 50, 200, 1000] {
                rows.push(Row::new(protocol, rtt, deploy(functions, false, 16)));
            }
            for functions in [200, 1000] {
                rows.push(Row::new(protocol, rtt, deploy(functions, false, 64)));
            }
            rows.push(Row::new(protocol, rtt, deploy(50, true, 16)));
            rows.push(Row::new(protocol, rtt, Work::Guarded));
            rows.push(Row::new(protocol, rtt, Work::Checked { functions: 50, parallel: 16 }));
            rows.push(Row::new(protocol, rtt, Work::Verified { functions: 50, parallel: 16 }));
            rows.push(Row::new(protocol, rtt, Work::First { functions: 50, parallel: 16 }));
            for functions in [1, 50] {
                rows.push(Row::new(protocol, rtt, Work::Waited { functions }));
            }
        }
        rows.push(Row::new(protocol, 0, deploy(1000, true, 16)));
        rows.push(Row::new(protocol, 0, Work::Upload));
        rows.push(Row::new(protocol, 0, Work::Download));
    }
    rows.push(Row::new(Protocol::Http1, 0, deploy(10_000, false, 16)));
    rows.extend((0..HOSTILE.len()).map(|index| Row::new(Protocol::Http1, 0, Work::Hostile(index))));
    rows
}

/// Creates the files and functions that a run needs.
fn prepare(site: &Site, row: &Row, run: usize, dir: &TempDir) -> anyhow::Result<()> {
    match row.work {
        Work::Start => site.deployable(1, "f", true, dir)?,
        // New functions have names that no earlier run used.
        Work::Deploy { functions, new: true, .. } => {
            site.deployable(functions, &format!("f{run}"), false, dir)?;
        }
        Work::Deploy { functions, new: false, .. } => site.deployable(functions, "f", run == 0, dir)?,
        Work::Waited { functions } => site.deployable(functions, "f", run == 0, dir)?,
        Work::First { functions, .. } => site.deployable(functions, "f", false, dir)?,
        Work::Verified { functions, .. } => {
            site.deployable(functions, &format!("v{run}"), false, dir)?;
            site.gateway.put_function(&json!({
                "service": "echo", "namespace": "etl", "image": "example/echo:1", "labels": {}, "annotations": {},
            }));
        }
        Work::Checked { functions, .. } => {
            site.deployable(functions, "f", run == 0, dir)?;
            if run == 0 {
                site.push(functions, "f");
            }
        }
        Work::Guarded | Work::Upload | Work::Download => {
            for (name, guarded) in [("echo", "true"), ("sink", "false"), ("source", "false")] {
                site.gateway.put_function(&json!({
                    "service": name, "namespace": "etl", "image": format!("example/{name}:1"),
                    "labels": {}, "annotations": {}, "envVars": {"jwt_auth": guarded},
                }));
            }
            if row.work == Work::Upload {
                File::create(dir.path().join("payload"))?.set_len(GIGABYTE)?;
            }
        }
        Work::Hostile(index) => {
            let (_, start, rest) = HOSTILE[index];
            let text = start.to_owned() + &rest.repeat((STACK_LIMIT - start.len()) / rest.len());
            fs::write(dir.path().join("stack.yml"), text)?;
        }
    }
    Ok(())
}

fn by_pipe<'a>(site: &Site, program: &'a Path, row: &Row, run: usize, dir: &'a TempDir) -> Job<'a> {
    let mut variables = site.variables(dir);
    let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
    let mut invoke = |function: &str, more: &[(&str, &str)]| {
        set("COMMAND", "invoke");
        set("OPENFAAS_NAMESPACE", "etl");
        set("FUNCTION", function);
        more.iter().for_each(|(name, value)| set(name, value));
    };
    match row.work {
        Work::Start => {}
        Work::Deploy { parallel, .. } => set("PARALLEL", &parallel.to_string()),
        Work::Waited { .. } => {
            // Otherwise nothing changes, and no new version starts.
            set("ENV_VARS", &format!("RUN={run}"));
            set("WAIT", "true");
        }
        Work::First { parallel, .. } => {
            set("PARALLEL", &parallel.to_string());
            set("OPENFAAS_NAMESPACE", &format!("first-{run}"));
            set("CREATE_NAMESPACE", "true");
            set("BITBUCKET_REPO_FULL_NAME", "acme/shop");
            set("SECRETS", "api-key");
            set("SECRET_VALUES", "database=postgres://db\napi-key=5up3r");
        }
        Work::Verified { functions, parallel } => {
            set("PARALLEL", &parallel.to_string());
            let calls: Vec<_> = (0..functions).map(|number| format!("echo.etl/{number}")).collect();
            set("VERIFY", &calls.join("\n"));
        }
        Work::Checked { parallel, .. } => {
            set("PARALLEL", &parallel.to_string());
            set("CHECK_IMAGES", "true");
            set("HTTPS_PROXY", &site.cloud.proxy_url());
            set("CA_CERT", &format!("{}{}", site.gateway.ca_pem(), site.cloud.ca_pem()));
        }
        Work::Guarded => invoke("echo", &[("AUTH", "always"), ("PAYLOAD", "x")]),
        Work::Upload => invoke("sink", &[("AUTH", "never"), ("PAYLOAD_FILE", "payload")]),
        Work::Download => {
            let query = format!("bytes={GIGABYTE}");
            invoke("source", &[("AUTH", "never"), ("QUERY", &query), ("OUTPUT_FILE", "answer")]);
        }
        Work::Hostile(_) => set("BIG", &"v".repeat(100_000)),
    }
    let exit_code = if let Work::Hostile(_) = row.work { 2 } else { 0 };
    Job { program, arguments: Vec::new(), variables, dir, exit_code }
}

/// The same deploy with faas-cli and basic auth: its IAM login needs a browser or a plugin.
fn by_faas_cli<'a>(site: &Site, program: &'a Path, dir: &'a TempDir) -> anyhow::Result<Job<'a>> {
    let token = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let path = |name: &str| dir.path().join(name).display().to_string();
    let config = format!("auths:\n- gateway: {}\n  auth: basic\n  token: {token}\n", site.url);
    fs::write(path("config.yml"), config)?;
    fs::write(path("ca.pem"), site.gateway.ca_pem())?;
    let mut variables = vec![
        ("HOME".to_owned(), path("")),
        ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("OPENFAAS_CONFIG".to_owned(), path("")),
    ];
    if !site.gateway.ca_pem().is_empty() {
        variables.push(("SSL_CERT_FILE".to_owned(), path("ca.pem")));
    }
    let arguments = ["deploy", "-f", "stack.yml", "--gateway", &site.url].map(str::to_owned).to_vec();
    Ok(Job { program, arguments, variables, dir, exit_code: 0 })
}

/// The measurements of a row.
struct Measured {
    runs: usize,
    took: Duration,
    gateway: Duration,
    bound: Duration,
    faas_cli: Option<Duration>,
    /// The largest log, in bytes.
    log: usize,
    memory: Option<u64>,
    instructions: Option<u64>,
    /// What a run sent.
    sent: Option<Sent>,
}

/// The requests of a run.
struct Sent {
    requests: usize,
    /// Those for the status of functions.
    looks: usize,
    connections: usize,
}

fn measure(row: &Row, pipe: &Path, faas_cli: Option<&Path>) -> anyhow::Result<Measured> {
    let site = Site::new(row.protocol, row.rtt, |builder| match row.work {
        Work::Waited { .. } => builder.ready(Ready::After(ROLLOUT)),
        Work::First { .. } => builder.namespaces(&["etl"]).secrets(&[]),
        _ => builder,
    })?;
    let dir = tempfile::tempdir()?;
    let (mut took, mut gateway, mut start, mut theirs, mut log) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0);
    let nothing = std::env::current_exe()?;
    let nothing = Job {
        program: &nothing,
        arguments: vec![measure::NOTHING.to_owned()],
        variables: Vec::new(),
        dir: &dir,
        exit_code: 0,
    };
    site.gateway.record(row.work == Work::Start);
    let started = Instant::now();
    let mut run = 0;
    while run < RUNS && (run == 0 || started.elapsed() < TIME) {
        prepare(&site, row, 2 * run, &dir)?;
        site.gateway.clear_requests();
        let before = thread_time(GATEWAY_THREAD);
        let ran = by_pipe(&site, pipe, row, run, &dir).run().with_context(|| row.name.clone())?;
        gateway.push(thread_time(GATEWAY_THREAD) - before);
        log = log.max(ran.log);
        took.push(match row.work {
            Work::Start => site.gateway.requests().first().context("no request")?.arrived - ran.started,
            _ => ran.took,
        });
        start.push(nothing.run()?.took);
        if let (Some(program), Work::Deploy { .. }) = (faas_cli, row.work) {
            prepare(&site, row, 2 * run + 1, &dir)?;
            theirs.push(by_faas_cli(&site, program, &dir)?.run().with_context(|| row.name.clone())?.took);
        }
        run += 1;
    }
    // Separate runs, because these measurements take time themselves.
    let (mut memory, mut instructions, mut sent) = (None, None, None);
    if row.rtt == 0 {
        prepare(&site, row, 2 * run, &dir)?;
        memory = Some(by_pipe(&site, pipe, row, run, &dir).peak_memory()?);
        prepare(&site, row, 2 * run + 1, &dir)?;
        instructions = by_pipe(&site, pipe, row, run + 1, &dir).instructions();
    }
    if matches!(row.work, Work::Guarded | Work::Waited { .. } | Work::First { .. }) {
        site.gateway.clear_requests();
        site.gateway.record(true);
        by_pipe(&site, pipe, row, run + 2, &dir).run()?;
        let requests = site.gateway.requests();
        let is_look = |request: &&Request| request.method == "GET" && request.path.starts_with("/system/function");
        let connections: BTreeSet<_> = requests.iter().map(|request| request.connection).collect();
        let looks = requests.iter().filter(is_look).count();
        sent = Some(Sent { requests: requests.len(), looks, connections: connections.len() });
    }
    let gateway = median(&mut gateway).unwrap_or_default();
    Ok(Measured {
        runs: run,
        took: median(&mut took).context("no run")?,
        gateway,
        bound: row.bound(gateway, median(&mut start).unwrap_or_default()),
        faas_cli: median(&mut theirs),
        log,
        memory,
        instructions,
        sent,
    })
}

/// Milliseconds.
fn ms(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}

fn mb(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

fn ratio(took: Duration, other: Duration) -> String {
    format!("{:.2}", took.as_secs_f64() / other.as_secs_f64())
}

fn print(row: &Row, measured: &Measured) {
    let Measured { took, gateway, bound, .. } = *measured;
    let (theirs, of_theirs) =
        measured.faas_cli.map_or(("-".to_owned(), "-".to_owned()), |theirs| (ms(theirs), ratio(took, theirs)));
    let memory = measured.memory.map_or("-".to_owned(), mb);
    let instructions = measured.instructions.map_or("-".to_owned(), mb);
    let log = format!("{:.1}", measured.log as f64 / 1000.0);
    let note = measured.sent.as_ref().map_or(String::new(), |Sent { requests, looks, connections }| {
        let looks = if *looks > 0 { format!(" ({looks} for the status)") } else { String::new() };
        format!("  {requests} requests{looks}, {connections} connection{}", if *connections == 1 { "" } else { "s" })
    });
    println!(
        "{:38} {:>4} {:>9} {:>9} {:>9} {:>6} {theirs:>9} {of_theirs:>6} {memory:>7} {instructions:>8} {log:>8}{note}",
        row.name,
        measured.runs,
        ms(took),
        ms(gateway),
        ms(bound),
        ratio(took, bound),
    );
}

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let mut wanted = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            measure::PEAK_MEMORY => return peak_memory_of(arguments),
            measure::NOTHING => return Ok(ExitCode::SUCCESS),
            // Passed by cargo.
            "--bench" => {}
            _ => wanted.push(argument),
        }
    }
    // Not the binary that cargo builds for benchmarks: features of the dev-dependencies are unified into it.
    let pipe = build::pipe(true)?;
    let faas_cli = std::env::var_os("FAAS_CLI").map(PathBuf::from);
    println!(
        "{:38} {:>4} {:>9} {:>9} {:>9} {:>6} {:>9} {:>6} {:>7} {:>8} {:>8}",
        "row", "runs", "median", "gateway", "bound", "ratio", "faas-cli", "ratio", "peak MB", "M instr.", "log kB"
    );
    let mut counted = true;
    for row in rows() {
        let name = format!("/{}/", row.name);
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(&format!("/{part}/"))) {
            let measured = measure(&row, &pipe, faas_cli.as_deref())?;
            counted &= row.rtt > 0 || measured.instructions.is_some();
            print(&row, &measured);
        }
    }
    println!("times in ms: medians of whole runs; gateway: processor time of its thread");
    if !counted {
        println!(
            "instructions are not counted: `perf` is not installed, or the machine does not support hardware counters"
        );
    }
    Ok(ExitCode::SUCCESS)
}
