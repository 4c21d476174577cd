//! A gateway that fails in any way, with deploy, replace, rollback and prune: no function is deleted or loses configuration, unless
//! the run was asked to remove it or the last line says so.

#![no_main]

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::panic;
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use local_gateway::{Fault, Flavour, Gateway, Issuer, Ready};
use serde_json::{Value, json};

/// A run and the failures during it.
#[derive(Arbitrary, Debug)]
struct Scenario {
    flavour: Edition,
    /// For each function, whether it exists before, and whether its new version becomes ready.
    functions: [(bool, bool); 3],
    strategy: Strategy,
    wait: bool,
    rollback: bool,
    prune: bool,
    verify: bool,
    writes_secrets: bool,
    removes: bool,
    has_prometheus: bool,
    /// Whether a rolling update shows more available replicas than wanted for a moment.
    has_surplus: bool,
    one_at_a_time: bool,
    retries: bool,
    deletion: Deletion,
    breaks: Vec<Break>,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Edition {
    Enterprise,
    Ce,
    Faasd,
    /// With a password, and a provider that the pipe does not know.
    Standard,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Strategy {
    Update,
    Create,
    Replace,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Deletion {
    AtOnce,
    Soon,
    Never,
}

/// A failure.
#[derive(Arbitrary, Debug)]
struct Break {
    request: Request,
    /// The first matching request that fails, and how many fail.
    nth: u8,
    times: u8,
    effect: Effect,
    /// Whether the request is processed anyway.
    processed: bool,
    milliseconds: u8,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Request {
    Put,
    Post,
    Delete,
    Get,
    List,
    Info,
    Token,
    Call,
    SecretPut,
    SecretPost,
}

#[derive(Arbitrary, Debug)]
enum Effect {
    Reset,
    Close,
    Hang,
    Dies,
    CutOff(u8),
    Garbage(Vec<u8>),
    Slow,
    Endless,
    Delay,
    /// The page of a proxy that requires a sign-in, with 200. The request does not reach the gateway.
    Page,
    /// Community Edition's answer to an update that it did not do.
    Nothing,
    /// Success, although nothing is done.
    Lie(u8),
    /// An error of a proxy, although the request is processed.
    AfterTheFact(u8),
    /// The provider's proxy does not reach a function.
    Unreachable,
    Overloaded,
    /// faasd cannot start, or end, the process of a container.
    DoesNotStart,
    DoesNotEnd,
    Answer {
        status: u16,
        body: Body,
        retry_after: Option<u8>,
        is_html: bool,
    },
}

#[derive(Arbitrary, Debug)]
enum Body {
    Empty,
    Page,
    Json,
    Bytes(Vec<u8>),
}

impl Break {
    fn changes(&self) -> bool {
        matches!(
            self.request,
            Request::Put | Request::Post | Request::Delete | Request::SecretPut | Request::SecretPost
        )
    }

    /// Whether a request is said to be done that is not, and no request afterwards has to show that.
    fn lies(&self, edition: Edition) -> bool {
        match self.effect {
            Effect::Lie(_) => self.changes(),
            // Only this provider is known to answer so.
            Effect::Nothing => {
                !(matches!(edition, Edition::Ce) && matches!(self.request, Request::Put)) && self.changes()
            }
            _ => false,
        }
    }

    fn fault(&self) -> Fault {
        let (method, path) = match self.request {
            Request::Put => ("PUT", "/system/functions"),
            Request::Post => ("POST", "/system/functions"),
            Request::Delete => ("DELETE", "/system/functions"),
            Request::Get => ("GET", "/system/function/"),
            Request::List => ("GET", "/system/functions"),
            Request::Info => ("GET", "/system/info"),
            Request::Token => ("POST", "/oauth/token"),
            Request::Call => ("GET", "/function/"),
            Request::SecretPut => ("PUT", "/system/secrets"),
            Request::SecretPost => ("POST", "/system/secrets"),
        };
        let changes = self.changes();
        let fault = Fault::on(method, path).after(u64::from(self.nth % 4)).times(u64::from(self.times % 8) + 1);
        let delay = Duration::from_millis(u64::from(self.milliseconds));
        let mut processed = self.processed;
        let fault = match &self.effect {
            Effect::Reset => fault.reset(),
            Effect::Close => fault.reset().orderly(),
            Effect::Hang => fault.hang(),
            Effect::Dies => fault.dies(),
            Effect::CutOff(bytes) => {
                processed |= changes;
                fault.cut_off(usize::from(*bytes))
            }
            // Nothing that could be a valid HTTP response.
            Effect::Garbage(bytes) => fault.raw([&[0x15][..], bytes].concat()),
            Effect::Slow => {
                processed |= changes;
                fault.status(if changes { 202 } else { 503 }).body("slow").slow_body(Duration::from_millis(20))
            }
            Effect::Endless => {
                processed |= changes;
                fault.status(if changes { 202 } else { 503 }).body("endless").endless_body()
            }
            Effect::Delay => return fault.delay(delay),
            Effect::Page => return fault.web_page(200),
            Effect::Nothing | Effect::Lie(_) if !changes => return fault.status(500),
            Effect::Nothing => return fault.conflict(),
            Effect::Lie(status) => return fault.status(200 + u16::from(status % 7)).body("{}"),
            Effect::AfterTheFact(number) => {
                processed = true;
                let status = [500, 502, 503, 504][usize::from(number % 4)];
                let fault = fault.header("Retry-After", "0");
                if self.milliseconds % 2 == 0 { fault.web_page(status) } else { fault.status(status) }
            }
            Effect::Unreachable => return fault.unreachable("f0"),
            Effect::Overloaded => return fault.overloaded(),
            Effect::DoesNotStart => return fault.task_does_not_start(),
            Effect::DoesNotEnd => return fault.task_does_not_end(),
            Effect::Answer { status, body, retry_after, is_html } => {
                let mut status = 200 + status % 400;
                // A gateway that reports success without processing the request, or functions that do not exist, is not tested.
                let is_success = (200..300).contains(&status);
                if is_success && !changes {
                    status = 500;
                }
                if status == 409 && matches!(self.request, Request::Post | Request::SecretPost) {
                    status = 503;
                }
                processed = is_success || processed && (status == 400 || status >= 500);
                let body: Vec<u8> = match body {
                    Body::Empty => Vec::new(),
                    Body::Page => b"<html><title>502</title></html>".to_vec(),
                    Body::Json => br#"{"error":"invalid_request","error_description":"no"}"#.to_vec(),
                    Body::Bytes(bytes) => bytes.clone(),
                };
                let fault = fault.status(status).body(body);
                let fault = if *is_html { fault.header("Content-Type", "text/html") } else { fault };
                match retry_after {
                    Some(seconds) => fault.header("Retry-After", &(seconds % 2).to_string()),
                    None => fault,
                }
            }
        };
        if processed { fault.processed() } else { fault }
    }
}

fn version_1(name: &str, owner: Option<&str>) -> Value {
    let mut labels = json!({"tier": "web"});
    if let Some(owner) = owner {
        labels["com.openfaas-pipe.owner"] = json!(owner);
    }
    json!({
        "service": name, "image": format!("example/{name}:1"), "envProcess": "./f", "envVars": {"MODE": "fast"},
        "secrets": ["s"], "labels": labels, "annotations": {"topic": "t"}, "limits": {"memory": "64Mi"},
    })
}

/// Adds the fields that only some editions support. The other editions lose them whatever the pipe does.
fn known(mut function: Value, edition: Edition) -> Value {
    if !matches!(edition, Edition::Faasd) {
        function["requests"] = json!({"cpu": "10m"});
        function["constraints"] = json!(["zone=a"]);
        function["readOnlyRootFilesystem"] = json!(true);
    }
    function
}

/// Standard output, redirected to a file.
fn output() -> &'static Mutex<File> {
    static OUTPUT: OnceLock<Mutex<File>> = OnceLock::new();
    OUTPUT.get_or_init(|| {
        let file = tempfile::tempfile().expect("cannot write file");
        rustix::stdio::dup2_stdout(&file).expect("cannot redirect standard output");
        Mutex::new(file)
    })
}

/// Does what the start of a Rust program does, which libFuzzer's does not: a write to a closed connection returns an error
/// instead of ending the process.
fn ignore_broken_pipes() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let handler = signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::default());
        handler.expect("cannot handle SIGPIPE");
    });
}

/// Runs the pipe. Returns its exit code and log.
fn run(variables: Vec<(&str, String)>) -> (u8, String) {
    let mut file = output().lock().expect("lock is poisoned");
    file.set_len(0).expect("cannot write file");
    file.rewind().expect("cannot rewind file");
    let variables = variables.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let code = openfaas_pipe::run(variables);
    // The pipe's own hook leaves the message out.
    panic::set_hook(Box::new(|info| {
        let _ = writeln!(std::io::stderr(), "{info}");
        std::process::abort();
    }));
    let mut log = Vec::new();
    file.rewind().expect("cannot rewind file");
    file.read_to_end(&mut log).expect("missing log");
    (code, String::from_utf8(log).expect("invalid text"))
}

/// A Policy that permits everything.
const EVERYTHING: &str = include_str!("../../test/iam/everything.yaml");
const PASSWORD: &str = "the-gateways-password";
const SECRET: &str = "the-value-of-a-secret";
const OWNER: &str = "shop.63f64cafed7a4a86";

fuzz_target!(|scenario: Scenario| {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ignore_broken_pipes();
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let issuer = ISSUER.get_or_init(|| Issuer::bitbucket("acme"));
    let directory = DIRECTORY.get_or_init(|| tempfile::tempdir().expect("cannot create directory")).path();

    let builder = Gateway::builder().deletion(match scenario.deletion {
        Deletion::AtOnce => Duration::ZERO,
        // A removal waits for minutes until its function is gone.
        Deletion::Never if !scenario.removes && !scenario.prune => Duration::from_secs(3600),
        Deletion::Soon | Deletion::Never => Duration::from_millis(60),
    });
    let builder = match scenario.flavour {
        Edition::Enterprise => builder.iam_yaml(EVERYTHING).issuer(issuer).public_url("https://gw.example.com"),
        Edition::Ce => builder.flavour(Flavour::Ce).basic_auth("admin", PASSWORD),
        Edition::Faasd => builder.flavour(Flavour::Faasd).basic_auth("admin", PASSWORD),
        Edition::Standard => builder.basic_auth("admin", PASSWORD),
    };
    let names = ["f0", "f1", "f2"];
    let mut builder = if scenario.has_prometheus { builder } else { builder.without_prometheus() };
    if !scenario.has_surplus {
        builder = builder.surplus(Duration::ZERO);
    }
    for (name, (_, gets_ready)) in names.iter().zip(scenario.functions) {
        if !gets_ready {
            builder = builder.ready_of(&format!("example/{name}:2"), Ready::Never);
        }
    }
    let Ok(gateway) = builder.start() else { return };
    let mut before = Vec::new();
    for (name, (runs, _)) in names.iter().zip(scenario.functions) {
        if runs {
            before.push(known(version_1(name, Some(OWNER)), scenario.flavour));
        }
    }
    before.push(known(version_1("foreign", None), scenario.flavour));
    before.push(known(version_1("pruned", Some(OWNER)), scenario.flavour));
    for function in &before {
        gateway.put_function(function);
        if scenario.rollback {
            // An old replica that is still available could be mistaken for a new one.
            gateway.set_ready(function["service"].as_str().unwrap_or_default(), Ready::Never);
        }
    }
    gateway.put_secret("openfaas-fn", "other", b"kept");
    for broken in scenario.breaks.iter().take(6) {
        gateway.fault(broken.fault());
    }

    let removes = scenario.removes;
    let writes_secrets = scenario.writes_secrets && !removes;
    let secrets = if writes_secrets { ", secrets: [s]" } else { "" };
    let function = |name| format!("  {name}: {{image: 'example/{name}:2'{secrets}}}\n");
    let functions: String = names.iter().map(function).collect();
    std::fs::write(directory.join("stack.yml"), format!("provider: {{name: openfaas}}\nfunctions:\n{functions}"))
        .expect("cannot write file");
    let yes = |switch: bool| switch.to_string();
    let token = issuer.token().audience(gateway.public_url()).mint();
    let mut variables = vec![
        ("OPENFAAS_URL", gateway.url().to_owned()),
        ("STACK_FILE", directory.join("stack.yml").display().to_string()),
        ("BITBUCKET_CLONE_DIR", directory.display().to_string()),
        ("NO_COLOR", "1".to_owned()),
        ("TIMEOUT", "150ms".to_owned()),
        ("RETRIES", if scenario.retries { "1" } else { "0" }.to_owned()),
        ("PARALLEL", if scenario.one_at_a_time { "1" } else { "4" }.to_owned()),
        ("COMMAND", if removes { "remove" } else { "deploy" }.to_owned()),
    ];
    match scenario.flavour {
        Edition::Enterprise => variables.push(("BITBUCKET_STEP_OIDC_TOKEN", token)),
        _ => variables.push(("OPENFAAS_PASSWORD", PASSWORD.to_owned())),
    }
    if !removes {
        variables.extend([
            ("WAIT_TIMEOUT", "150ms".to_owned()),
            ("STRATEGY", format!("{:?}", scenario.strategy).to_lowercase()),
            ("WAIT", yes(scenario.wait || scenario.rollback)),
            ("ROLLBACK", yes(scenario.rollback)),
            ("OWNER_LABEL", "true".to_owned()),
            ("PRUNE", yes(scenario.prune)),
            ("BITBUCKET_REPO_FULL_NAME", "acme/shop".to_owned()),
        ]);
        if writes_secrets {
            variables.push(("SECRET_VALUES", format!("s={SECRET}")));
        }
        if scenario.verify {
            variables.push(("VERIFY", names.join("\n")));
        }
    }
    let (code, log) = run(variables);

    assert!(!log.contains("internal error"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
    assert_eq!(gateway.secret("openfaas-fn", "other").as_deref(), Some(&b"kept"[..]), "{log}");
    let last = log.trim_end().lines().last().unwrap_or_default();
    assert_eq!(code == 0, last.starts_with('✔'), "{log}");
    assert!(code == 0 || last.starts_with('✖'), "{log}");
    let is_lied_to = scenario.breaks.iter().take(6).any(|broken| broken.lies(scenario.flavour));
    for old in &before {
        let name = old["service"].as_str().unwrap_or_default();
        let is_requested = name == "pruned" && scenario.prune && !removes || removes && names.contains(&name);
        let now = gateway.function("openfaas-fn", name).filter(|function| !function.terminating);
        let Some(now) = now else {
            let is_reported = last.contains("gone") && last.contains(&format!("`{name}`"));
            let is_reported = is_reported || is_lied_to && names.contains(&name);
            assert!(is_requested || is_reported, "`{name}` is gone\n{log}\n{:?}", gateway.requests());
            continue;
        };
        if names.contains(&name) && now.deployment["image"] == format!("example/{name}:2") {
            continue;
        }
        let image = now.deployment["image"].as_str().unwrap_or_default();
        assert!(image.ends_with(&format!("example/{name}:1")), "`{name}` runs {image}\n{log}");
        for (field, value) in old.as_object().into_iter().flatten().filter(|(field, _)| *field != "image") {
            // With faasd, only the list has it, and a function without its limit is better than none.
            let is_unknown = field == "limits" && matches!(scenario.flavour, Edition::Faasd) && !scenario.rollback;
            assert!(is_unknown || now.deployment[field] == *value, "`{field}` of `{name}`\n{log}");
        }
    }
    if code != 0 || is_lied_to {
        return;
    }
    if writes_secrets {
        assert_eq!(gateway.secret("openfaas-fn", "s").as_deref(), Some(SECRET.as_bytes()), "{log}");
    }
    for name in names {
        let function = gateway.function("openfaas-fn", name);
        if removes {
            assert!(function.is_none_or(|function| function.terminating), "`{name}` is left\n{log}");
        } else {
            let image = function.map(|function| function.deployment["image"].clone());
            assert_eq!(image, Some(json!(format!("example/{name}:2"))), "{log}");
        }
    }
});
