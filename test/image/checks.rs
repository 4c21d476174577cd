//! Checks of the image: its contents, its restrictions, its exit codes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::engine;
use crate::setup::{CLONE, DOMAIN, IMAGE, STORAGE, Setup, Step};

type Check = fn(&Setup);

/// All checks with the behaviour that they verify. A check may need functions that an earlier one deployed.
pub const CHECKS: &[(&str, Check)] = &[
    ("contains only the binary and the files that describe it", contains_four_files),
    ("contains files with fixed owner, modes and date", contains_files_with_one_date),
    ("has entry point, labels and version", has_metadata),
    ("deploys with Bitbucket's mounts and variables, and exits with 0", deploys),
    ("invokes with a function token, and exits with 0", invokes),
    ("creates files with the owner of the clone", creates_files_with_the_clones_owner),
    ("runs with a read-only root file system", |setup| restricted(setup, &["--read-only"])),
    ("runs with 32 MB of memory", |setup| restricted(setup, &["--memory=32m", "--memory-swap=32m"])),
    ("streams 64 MB with 32 MB of memory", streams_more_than_the_memory),
    ("runs as a non-root user", |setup| restricted(setup, &["--user=10001:10001"])),
    ("runs without capabilities", |setup| restricted(setup, &["--cap-drop=ALL"])),
    ("runs with all restrictions at once", |setup| {
        restricted(
            setup,
            &[
                "--read-only",
                "--memory=32m",
                "--memory-swap=32m",
                "--user=10001:10001",
                "--cap-drop=ALL",
                "--pids-limit=16",
            ],
        );
    }),
    ("resolves names in /etc/hosts", resolves_names_in_hosts),
    ("tries both addresses of a name in /etc/hosts", tries_both_addresses),
    ("resolves names with a search domain", resolves_names_with_a_search_domain),
    ("exits with 1 if the function fails", fails_with_1),
    ("exits with 2 if a variable is invalid", fails_with_2),
    ("exits with 3 without a token", fails_with_3),
    ("exits with 4 if the gateway cannot be found", fails_with_4),
    ("exits with 5 if a function does not become ready", fails_with_5),
    ("exits with 6 if a deploy would change something", fails_with_6),
    ("exits with 130 after SIGINT", |setup| stops_by_signal(setup, "INT", 130)),
    ("exits with 143 after SIGTERM", |setup| stops_by_signal(setup, "TERM", 143)),
];

/// The files of the image as listed by `tar`, sorted by name. With `verbose`, modes, owners and dates are included.
fn files(verbose: bool) -> Vec<String> {
    let container = engine::run(["create", "--label", engine::LABEL, IMAGE]).expect("cannot create container");
    let directory = tempfile::tempdir().expect("cannot create directory");
    let archive = directory.path().join("image.tar").display().to_string();
    engine::run(["export", "--output", &archive, &container]).expect("cannot export container");
    let mut tar = std::process::Command::new("tar");
    tar.args(["--list", "--file", &archive]);
    if verbose {
        tar.args(["--verbose", "--numeric-owner", "--full-time", "--utc"]);
    }
    let listed = engine::finish(&mut tar).expect("not a list");
    // Docker adds these files to every container.
    let of_docker = [".dockerenv", "dev/", "etc/", "proc/", "sys/"];
    let name = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
    let own = |line: &&str| !of_docker.iter().any(|prefix| name(line).starts_with(prefix));
    // Docker also adds links such as `etc/mtab -> /proc/mounts`.
    let mut files: Vec<String> =
        listed.lines().filter(|line| !line.contains(" -> ")).filter(own).map(str::to_owned).collect();
    files.sort_by_key(|line| name(line));
    files
}

fn contains_four_files(_: &Setup) {
    assert_eq!(files(false), ["LICENSE", "README.md", "openfaas-pipe", "pipe.yml"]);
}

fn contains_files_with_one_date(_: &Setup) {
    for line in files(true) {
        let mode = if line.ends_with(" openfaas-pipe") { "-rwxr-xr-x 0/0 " } else { "-rw-r--r-- 0/0 " };
        assert!(line.starts_with(mode) && line.contains(" 2023-11-14 22:13:20 "), "{line}");
    }
}

fn has_metadata(_: &Setup) {
    let inspected = engine::run(["image", "inspect", IMAGE]).expect("cannot inspect image");
    let inspected: Value = serde_json::from_str(&inspected).expect("invalid JSON");
    let config = &inspected[0]["Config"];
    assert_eq!(config["Entrypoint"], json!(["/openfaas-pipe"]));
    assert_eq!(config["User"], json!(""), "only root can write to Bitbucket's storage directories");
    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(label("source"), env!("CARGO_PKG_REPOSITORY"));
}

fn deploys(setup: &Setup) {
    let ran = setup.step("gateway").run().exits(0).says("import-csv").says("✔");
    let clone = ran.step().clone();
    let storage = clone.join(STORAGE.strip_prefix(CLONE).expect("not in the clone").trim_start_matches('/'));
    for result in [storage.join("acme/openfaas-pipe/openfaas-pipe.json"), storage.join("openfaas-pipe.json")] {
        let result: Value = serde_json::from_slice(&fs::read(result).expect("cannot read file")).expect("invalid JSON");
        assert_eq!(result["result"], "success");
    }
    let shared = fs::read(storage.join("_shared_variables.json")).expect("cannot read file");
    let shared: Value = serde_json::from_slice(&shared).expect("invalid JSON");
    assert_eq!(shared["openfaas-pipe"]["exitCode"], 0);
}

/// A step that invokes the guide's function with the guide's CSV.
fn invocation(setup: &Setup) -> Step {
    setup
        .step("gateway")
        .variable("COMMAND", "invoke")
        .variable("FUNCTION", "import-csv")
        .variable("OPENFAAS_NAMESPACE", "etl")
        .variable("PAYLOAD_FILE", "data.csv")
        .variable("CONTENT_TYPE", "text/csv")
}

fn invokes(setup: &Setup) {
    invocation(setup).run().exits(0).says("alice@example.com").says("✔");
}

fn creates_files_with_the_clones_owner(setup: &Setup) {
    let step = invocation(setup).variable("OUTPUT_FILE", "answer.csv").variable("REPORT", "true");
    // Only root can change the owner. Otherwise the clone has another owner than the container's root anyway.
    _ = chown(step.clone(), Some(4711), Some(4712));
    let owner = fs::metadata(step.clone()).expect("cannot read metadata");
    let ran = step.run().exits(0);
    let pipes = ".bitbucket/pipelines/generated/pipeline/pipes";
    for file in [
        "answer.csv",
        "test-reports/openfaas-pipe.xml",
        &format!("{pipes}/openfaas-pipe.json"),
        &format!("{pipes}/_shared_variables.json"),
    ] {
        let metadata = fs::metadata(ran.step().clone().join(file)).expect(file);
        assert_eq!((metadata.uid(), metadata.gid()), (owner.uid(), owner.gid()), "{file}");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o644, "{file}");
    }
}

/// Deploys and invokes in a container with these restrictions.
fn restricted(setup: &Setup, arguments: &[&str]) {
    let restrict = |step: Step| step.with(arguments.iter().copied());
    restrict(setup.step("gateway")).run().exits(0).says("✔");
    restrict(invocation(setup).variable("OUTPUT_FILE", "answer.csv")).run().exits(0).says("✔");
}

fn streams_more_than_the_memory(setup: &Setup) {
    const SIZE: u64 = 64 << 20;
    let step = invocation(setup)
        .variable("PAYLOAD_FILE", "large")
        .variable("OUTPUT_FILE", "answer")
        .with(["--memory=32m", "--memory-swap=32m"]);
    File::create(step.clone().join("large")).and_then(|file| file.set_len(SIZE)).expect("cannot write file");
    let ran = step.run().exits(0);
    assert_eq!(fs::metadata(ran.step().clone().join("answer")).expect("cannot read metadata").len(), SIZE);
}

fn resolves_names_in_hosts(setup: &Setup) {
    let host = format!("--add-host=from-hosts:{}", setup.address);
    invocation(setup).variable("OPENFAAS_URL", "https://from-hosts").with([host.as_str()]).run().exits(0);
}

fn tries_both_addresses(setup: &Setup) {
    // Nothing listens at the first address, which is the container itself.
    let [first, second] = ["127.0.0.9", &setup.address.to_string()].map(|it| format!("--add-host=from-hosts:{it}"));
    let step = || invocation(setup).variable("OPENFAAS_URL", "https://from-hosts");
    step().with([first.as_str(), second.as_str()]).run().exits(0);
    step().with([second.as_str(), first.as_str()]).run().exits(0);
}

fn resolves_names_with_a_search_domain(setup: &Setup) {
    let step = || invocation(setup).variable("OPENFAAS_URL", "https://by-search");
    let domain = format!("--dns-search={DOMAIN}");
    step().with([domain.as_str()]).run().exits(0);
    step().run().exits(4);
}

/// A step that invokes an unguarded function, which responds as the query says.
fn status(setup: &Setup, query: &str) -> Step {
    let stack = "provider: {name: openfaas}\nfunctions:\n  status: {image: example/status:1, namespace: etl}\n";
    setup.step("gateway").file("stack.yml", stack).run().exits(0);
    setup.step("gateway").variable("COMMAND", "invoke").variable("FUNCTION", "status.etl").variable("QUERY", query)
}

fn fails_with_1(setup: &Setup) {
    status(setup, "status=500").run().exits(1).says("500");
}

fn fails_with_2(setup: &Setup) {
    setup.step("gateway").variable("COMMAND", "invoke").run().exits(2).says("Validation errors:").says("FUNCTION:");
}

fn fails_with_3(setup: &Setup) {
    setup.step("gateway").variable("BITBUCKET_STEP_OIDC_TOKEN", "").run().exits(3).says("audiences:");
}

fn fails_with_4(setup: &Setup) {
    setup.step("gateway").variable("OPENFAAS_URL", "https://nowhere.invalid").run().exits(4);
}

fn fails_with_5(setup: &Setup) {
    setup.step("slow").variable("WAIT", "true").variable("WAIT_TIMEOUT", "1s").run().exits(5);
}

fn fails_with_6(setup: &Setup) {
    let diff = |setup: &Setup| setup.step("gateway").variable("COMMAND", "diff");
    diff(setup).run().exits(0);
    diff(setup).variable("LABELS", "colour=blue").run().exits(6).says("colour");
}

fn stops_by_signal(setup: &Setup, signal: &str, code: i32) {
    let name = format!("openfaas-pipe-test-{}", signal.to_lowercase());
    let step = status(setup, "delay=1m").with(["--rm", "--name", &name]);
    let mut child = step.command().stdout(Stdio::piped()).spawn().expect("cannot run docker");
    let mut lines = BufReader::new(child.stdout.take().expect("missing output")).lines();
    // The pipe handles signals before it writes its first line.
    let first = lines.next().expect("missing line").expect("invalid text");
    engine::run(["kill", "--signal", signal, &name]).expect("cannot send signal");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let ended = child.wait().expect("cannot wait for the process");
    assert_eq!(ended.code(), Some(code), "{first}\n{}", rest.join("\n"));
}
