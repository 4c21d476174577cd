//! The release script's dry run, which needs no registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const SCRIPT: &str = include_str!("../.ci/release");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A repository with the files that the script reads, and one commit.
fn repository() -> TempDir {
    let directory = tempfile::tempdir().expect("cannot create directory");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(directory.path().join(".ci")).expect("cannot create directory");
    for file in [".ci/release", "Cargo.toml", "CHANGELOG.md", "Dockerfile", "pipe.yml"] {
        fs::copy(root.join(file), directory.path().join(file)).expect(file);
    }
    let first = "git init --quiet && git add . && git -c user.name=a -c user.email=a@b commit --quiet --message=first";
    assert!(shell(directory.path(), first).0);
    directory
}

/// Runs a command. Returns whether it succeeded, and its output.
fn shell(directory: &Path, script: &str) -> (bool, String) {
    let output = Command::new("bash").args(["-c", script]).current_dir(directory).output().expect("cannot run bash");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("invalid text"))
}

fn dry_run(directory: &Path, command: &str) -> String {
    let (success, text) = shell(directory, &format!(".ci/release --dry-run {command}"));
    assert!(success, "{text}");
    text.replace(VERSION, "X.Y.Z")
}

#[test]
fn every_publishing_command_goes_through_run() {
    for line in SCRIPT.lines().map(str::trim) {
        let commands = ["docker build", "docker push", "docker tag", "git push", "git tag", ".ci/registry.py attach"];
        let commands = commands.into_iter().chain([".ci/registry.py tag", ".ci/registry.py index"]);
        let reaches_out = commands.into_iter().any(|command| line.starts_with(command));
        assert!(!reaches_out, "{line}");
    }
}

#[test]
fn image_is_built_and_pushed() {
    let repository = repository();
    let (_, commit) = shell(repository.path(), "git rev-parse HEAD");
    let (_, date) = shell(repository.path(), "git log -1 --format=%ct");
    let text = dry_run(repository.path(), "image arm64").replace(commit.trim(), "COMMIT").replace(date.trim(), "DATE");
    insta::assert_snapshot!(text, @r"
    + docker build --build-arg BUILDER=rust:1.95.0-slim-bookworm --build-arg REVISION=COMMIT --build-arg SOURCE_DATE_EPOCH=DATE --tag openfaaspipe/openfaas-pipe:X.Y.Z-arm64 .
    + docker push openfaaspipe/openfaas-pipe:X.Y.Z-arm64
    ");
}

#[test]
fn image_of_another_platform_is_not_built() {
    let (other, machine) = if cfg!(target_arch = "x86_64") { ("arm64", "aarch64") } else { ("amd64", "x86_64") };
    let (success, text) = shell(repository().path(), &format!(".ci/release image {other}"));
    assert!(!success);
    assert_eq!(text, format!("release: {other} is built on {machine}, this is {}\n", std::env::consts::ARCH));
}

#[test]
fn nothing_is_published_without_a_login() {
    let (success, text) = shell(repository().path(), "env -u DOCKERHUB_TOKEN .ci/release publish");
    assert!(!success);
    assert_eq!(text, "release: set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN\n");
}

#[test]
fn login_to_the_registry_is_neither_printed_nor_an_argument() {
    let publish = "DOCKERHUB_USERNAME=user DOCKERHUB_TOKEN=hunter2 .ci/release --dry-run publish";
    let (success, text) = shell(repository().path(), publish);
    assert!(success && text.contains("+ .ci/registry.py attach "), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn sbom_is_attached_before_the_tags_and_the_commit_tagged_last() {
    let repository = repository();
    let (_, commit) = shell(repository.path(), "git rev-parse HEAD");
    let mut parts = VERSION.split('.');
    let major = parts.next().expect("missing number");
    let minor = format!("{major}.{}", parts.next().expect("missing number"));
    let text = dry_run(repository.path(), "publish").replace(commit.trim(), "COMMIT");
    let text =
        text.replace(&format!("DIGEST {minor}\n"), "DIGEST X.Y\n").replace(&format!("DIGEST {major}\n"), "DIGEST X\n");
    insta::assert_snapshot!(text, @r"
    + .ci/registry.py index COMMIT openfaaspipe/openfaas-pipe:X.Y.Z-amd64 openfaaspipe/openfaas-pipe:X.Y.Z-arm64
    + cargo cyclonedx --format json --override-filename sbom.cdx
    + .ci/registry.py attach openfaaspipe/openfaas-pipe@DIGEST application/vnd.cyclonedx+json sbom.cdx.json
    + .ci/registry.py tag openfaaspipe/openfaas-pipe@DIGEST X.Y.Z
    + .ci/registry.py tag openfaaspipe/openfaas-pipe@DIGEST X.Y
    + .ci/registry.py tag openfaaspipe/openfaas-pipe@DIGEST X
    + git tag --annotate --message Release X.Y.Z X.Y.Z
    + git push origin refs/tags/X.Y.Z
    ");
}

#[test]
fn patch_release_does_not_move_tags_of_newer_versions() {
    let repository = repository();
    let newer = format!("{}.999.0", VERSION.split('.').next().expect("missing number"));
    assert!(shell(repository.path(), &format!("git tag {newer}")).0);
    let text = dry_run(repository.path(), "publish");
    let tags: Vec<&str> = text.lines().filter_map(|line| line.rsplit_once("DIGEST ")).map(|(_, tag)| tag).collect();
    let minor = VERSION.rsplit_once('.').expect("missing version").0;
    assert_eq!(tags, ["application/vnd.cyclonedx+json sbom.cdx.json", "X.Y.Z", minor]);
}

#[test]
fn tag_on_another_commit_is_not_moved() {
    let repository = repository();
    let tag = format!("git tag {VERSION} && git -c user.name=a -c user.email=a@b commit --quiet --allow-empty -m b");
    assert!(shell(repository.path(), &tag).0);
    let (success, text) = shell(repository.path(), ".ci/release --dry-run publish");
    assert!(!success);
    assert!(text.contains(&format!("release: the tag {VERSION} is on another commit than ")), "{text}");
}

#[test]
fn check_prints_the_changelog_entry() {
    let text = dry_run(repository().path(), "check");
    assert!(text.starts_with("X.Y.Z is to be released as openfaaspipe/openfaas-pipe:X.Y.Z, with:\n- "), "{text}");
}

#[test]
fn tagged_version_is_not_released_again() {
    let repository = repository();
    let (success, text) = shell(repository.path(), &format!("git tag {VERSION} && .ci/release check"));
    assert!(!success);
    assert_eq!(text, format!("release: `{VERSION}` is released already: add an entry to CHANGELOG.md\n"));
}

#[test]
fn version_without_changelog_entry_is_not_released() {
    let repository = repository();
    let change = format!("sed -i.bak 's/^## {VERSION}$/## 9.9.9/' CHANGELOG.md && .ci/release check");
    let (success, text) = shell(repository.path(), &change);
    assert!(!success);
    assert_eq!(text, format!("release: CHANGELOG.md begins with `9.9.9`, Cargo.toml has `{VERSION}`\n"));
}
