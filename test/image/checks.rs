//! What has to hold for the image: how it is made, what it runs with, how it ends.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::engine;
use crate::world::{CLONE, DOMAIN, IMAGE, STORAGE, Step, World};

type Check = fn(&World);

/// Every check with the sentence it proves; those below may need the functions that those above deployed.
pub const CHECKS: &[(&str, Check)] = &[
    ("holds the binary and the files that describe it, and nothing else", holds_four_files),
    ("has files of the same owner, modes and date wherever it is built", has_files_of_one_date),
    ("says what it is: entry point, labels, version", says_what_it_is),
    ("deploys with Bitbucket's mounts and variables, and exits with 0", deploys),
    ("invokes with a function token, and exits with 0", invokes),
    ("gives its files the owner of the clone", files_belong_to_the_clones_owner),
    ("runs with a read-only root", |world| restricted(world, &["--read-only"])),
    ("runs with 32 MB of memory", |world| restricted(world, &["--memory=32m", "--memory-swap=32m"])),
    ("sends and receives 64 MB with 32 MB of memory", streams_more_than_its_memory),
    ("runs as a user that is not root", |world| restricted(world, &["--user=10001:10001"])),
    ("runs without any capability", |world| restricted(world, &["--cap-drop=ALL"])),
    ("runs with all restrictions at once", |world| {
        restricted(
            world,
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
    ("resolves names by /etc/hosts", resolves_by_hosts),
    ("tries both addresses that /etc/hosts has for a name", tries_both_addresses),
    ("resolves names in a search domain", resolves_by_search),
    ("exits with 1 where the function fails", fails_with_1),
    ("exits with 2 where variables are wrong", fails_with_2),
    ("exits with 3 without a token", fails_with_3),
    ("exits with 4 where the gateway cannot be found", fails_with_4),
    ("exits with 5 where a function does not get ready", fails_with_5),
    ("exits with 6 where a deploy would change something", fails_with_6),
    ("exits with 130 after SIGINT", |world| stops_by_signal(world, "INT", 130)),
    ("exits with 143 after SIGTERM", |world| stops_by_signal(world, "TERM", 143)),
];

/// The image's files, as `tar` lists them: sorted by name, with modes, owners and dates if it is `verbose`.
fn files(verbose: bool) -> Vec<String> {
    let container = engine::run(["create", "--label", engine::LABEL, IMAGE]).expect("a container");
    let directory = tempfile::tempdir().expect("a directory");
    let archive = directory.path().join("image.tar").display().to_string();
    engine::run(["export", "--output", &archive, &container]).expect("its files");
    let mut tar = std::process::Command::new("tar");
    tar.args(["--list", "--file", &archive]);
    if verbose {
        tar.args(["--verbose", "--numeric-owner", "--full-time", "--utc"]);
    }
    let listed = engine::finish(&mut tar).expect("a list");
    // Docker puts these into every container.
    let of_docker = [".dockerenv", "dev/", "etc/", "proc/", "sys/"];
    let name = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
    let own = |line: &&str| !of_docker.iter().any(|prefix| name(line).starts_with(prefix));
    // Links such as `etc/mtab -> /proc/mounts` are Docker's too.
    let mut files: Vec<String> =
        listed.lines().filter(|line| !line.contains(" -> ")).filter(own).map(str::to_owned).collect();
    files.sort_by_key(|line| name(line));
    files
}

fn holds_four_files(_: &World) {
    assert_eq!(files(false), ["LICENSE", "README.md", "openfaas-pipe", "pipe.yml"]);
}

fn has_files_of_one_date(_: &World) {
    for line in files(true) {
        let mode = if line.ends_with(" openfaas-pipe") { "-rwxr-xr-x 0/0 " } else { "-rw-r--r-- 0/0 " };
        assert!(line.starts_with(mode) && line.contains(" 2023-11-14 22:13:20 "), "{line}");
    }
}

fn says_what_it_is(_: &World) {
    let inspected = engine::run(["image", "inspect", IMAGE]).expect("the image");
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    let config = &inspected[0]["Config"];
    assert_eq!(config["Entrypoint"], json!(["/openfaas-pipe"]));
    assert_eq!(config["User"], json!(""), "root writes Bitbucket's storage directories");
    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(label("source"), env!("CARGO_PKG_REPOSITORY"));
}

fn deploys(world: &World) {
    let ran = world.step("gateway").run().exits(0).says("import-csv").says("✔ ");
    let clone = ran.step().clone();
    let storage = clone.join(STORAGE.strip_prefix(CLONE).expect("in the clone").trim_start_matches('/'));
    for result in [storage.join("acme/openfaas-pipe/openfaas-pipe.json"), storage.join("openfaas-pipe.json")] {
        let result: Value = serde_json::from_slice(&fs::read(result).expect("a result")).expect("JSON");
        assert_eq!(result["result"], "success");
    }
    let shared = fs::read(storage.join("_shared_variables.json")).expect("shared variables");
    let shared: Value = serde_json::from_slice(&shared).expect("JSON");
    assert_eq!(shared["openfaas-pipe"]["exitCode"], 0);
}

/// A step that invokes the guide's function with the guide's CSV.
fn invocation(world: &World) -> Step {
    world
        .step("gateway")
        .variable("COMMAND", "invoke")
        .variable("FUNCTION", "import-csv")
        .variable("OPENFAAS_NAMESPACE", "etl")
        .variable("PAYLOAD_FILE", "data.csv")
        .variable("CONTENT_TYPE", "text/csv")
}

fn invokes(world: &World) {
    invocation(world).run().exits(0).says("alice@example.com").says("✔ ");
}

fn files_belong_to_the_clones_owner(world: &World) {
    let step = invocation(world).variable("OUTPUT_FILE", "answer.csv").variable("REPORT", "true");
    // Only root may give files away; for others the clone is their own, and the container's root differs all the same.
    _ = chown(step.clone(), Some(4711), Some(4712));
    let owner = fs::metadata(step.clone()).expect("the clone");
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
fn restricted(world: &World, arguments: &[&str]) {
    let restrict = |step: Step| step.with(arguments.iter().copied());
    restrict(world.step("gateway")).run().exits(0).says("✔ ");
    restrict(invocation(world).variable("OUTPUT_FILE", "answer.csv")).run().exits(0).says("✔ ");
}

fn streams_more_than_its_memory(world: &World) {
    const SIZE: u64 = 64 << 20;
    let step = invocation(world)
        .variable("PAYLOAD_FILE", "large")
        .variable("OUTPUT_FILE", "answer")
        .with(["--memory=32m", "--memory-swap=32m"]);
    File::create(step.clone().join("large")).and_then(|file| file.set_len(SIZE)).expect("a large file");
    let ran = step.run().exits(0);
    assert_eq!(fs::metadata(ran.step().clone().join("answer")).expect("an answer").len(), SIZE);
}

fn resolves_by_hosts(world: &World) {
    let host = format!("--add-host=from-hosts:{}", world.address);
    invocation(world).variable("OPENFAAS_URL", "https://from-hosts").with([host.as_str()]).run().exits(0);
}

fn tries_both_addresses(world: &World) {
    // Nobody listens at the first, which is the container's own.
    let [first, second] = ["127.0.0.9", &world.address.to_string()].map(|it| format!("--add-host=from-hosts:{it}"));
    let step = || invocation(world).variable("OPENFAAS_URL", "https://from-hosts");
    step().with([first.as_str(), second.as_str()]).run().exits(0);
    step().with([second.as_str(), first.as_str()]).run().exits(0);
}

fn resolves_by_search(world: &World) {
    let step = || invocation(world).variable("OPENFAAS_URL", "https://by-search");
    let domain = format!("--dns-search={DOMAIN}");
    step().with([domain.as_str()]).run().exits(0);
    step().run().exits(4);
}

/// A step that invokes a function without a guard that answers as the query says.
fn status(world: &World, query: &str) -> Step {
    let stack = "provider: {name: openfaas}\nfunctions:\n  status: {image: example/status:1, namespace: etl}\n";
    world.step("gateway").file("stack.yml", stack).run().exits(0);
    world.step("gateway").variable("COMMAND", "invoke").variable("FUNCTION", "status.etl").variable("QUERY", query)
}

fn fails_with_1(world: &World) {
    status(world, "status=500").run().exits(1).says("500");
}

fn fails_with_2(world: &World) {
    world.step("gateway").variable("COMMAND", "invoke").run().exits(2).says("✖ Validation errors:").says("FUNCTION:");
}

fn fails_with_3(world: &World) {
    world.step("gateway").variable("BITBUCKET_STEP_OIDC_TOKEN", "").run().exits(3).says("audiences:");
}

fn fails_with_4(world: &World) {
    world.step("gateway").variable("OPENFAAS_URL", "https://nowhere.invalid").run().exits(4);
}

fn fails_with_5(world: &World) {
    world.step("slow").variable("WAIT", "true").variable("WAIT_TIMEOUT", "1s").run().exits(5);
}

fn fails_with_6(world: &World) {
    let diff = |world: &World| world.step("gateway").variable("COMMAND", "diff");
    diff(world).run().exits(0);
    diff(world).variable("LABELS", "colour=blue").run().exits(6).says("colour");
}

fn stops_by_signal(world: &World, signal: &str, code: i32) {
    let name = format!("openfaas-pipe-test-{}", signal.to_lowercase());
    let step = status(world, "delay=1m").with(["--rm", "--name", &name]);
    let mut child = step.command().stdout(Stdio::piped()).spawn().expect("docker runs");
    let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
    // It listens for signals before it writes its first line.
    let first = lines.next().expect("a line").expect("text");
    engine::run(["kill", "--signal", signal, &name]).expect("a signal");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let ended = child.wait().expect("an end");
    assert_eq!(ended.code(), Some(code), "{first}\n{}", rest.join("\n"));
}
