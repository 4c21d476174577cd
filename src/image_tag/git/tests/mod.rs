//! Compares the reader with the git program, on repositories that git makes.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

mod damage;
mod forms;

/// A directory in which git is run, away from any configuration of the machine.
struct Sandbox {
    home: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home }
    }

    /// With a repository in `repo` that has a commit.
    fn with_commit() -> Self {
        let sandbox = Self::new();
        sandbox.git(".", &["init", "-q", "-b", "main", "repo"]);
        sandbox.commit("repo", 1);
        sandbox
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn command(&self, directory: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(self.path(directory))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home.path())
            .env("LC_ALL", "C")
            .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_ALLOW_PROTOCOL", "file")])
            .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@example.com")])
            .envs([("GIT_COMMITTER_NAME", "c"), ("GIT_COMMITTER_EMAIL", "c@example.com")]);
        command
    }

    fn git_at(&self, date: u64, directory: &str, arguments: &[&str]) -> String {
        let date = format!("{} +0000", 1_700_000_000 + date);
        let mut command = self.command(directory, arguments);
        command.env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn git(&self, directory: &str, arguments: &[&str]) -> String {
        self.git_at(0, directory, arguments)
    }

    fn commit(&self, directory: &str, date: u64) {
        let message = format!("commit {date}");
        self.git_at(date, directory, &["commit", "-q", "--allow-empty", "-m", &message]);
    }

    fn import(&self, directory: &str, stream: &str) {
        let mut command = self.command(directory, &["fast-import", "--quiet", "--force"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// The short id and the branch (`HEAD` if detached) according to git.
    fn facts_by_git(&self, directory: &str) -> [String; 2] {
        [
            self.git(directory, &["rev-parse", "--short", "HEAD"]),
            self.git(directory, &["rev-parse", "--symbolic-full-name", "--abbrev-ref", "HEAD"]),
        ]
    }

    fn facts(&self, directory: &str) -> Result<[String; 2], Error> {
        let (branch, id) = head(&self.path(directory))?;
        Ok([id, branch.unwrap_or_else(|| "HEAD".to_owned())])
    }

    #[track_caller]
    fn assert_agrees(&self, directory: &str) -> [String; 2] {
        self.assert_agrees_in("", directory)
    }

    #[track_caller]
    fn assert_agrees_in(&self, case: &str, directory: &str) -> [String; 2] {
        let facts = self.facts(directory).map_err(|error| format!("{case}: {error}")).unwrap();
        assert_eq!(facts, self.facts_by_git(directory), "{case}: ours first, then git's");
        facts
    }
}

#[test]
fn facts_are_found_from_a_directory_below() {
    let sandbox = Sandbox::with_commit();
    fs::create_dir_all(sandbox.path("repo/a/b")).unwrap();
    std::os::unix::fs::symlink("repo/a", sandbox.path("link")).unwrap();
    sandbox.assert_agrees("repo/a/b");
    sandbox.assert_agrees("link/b");
}

#[test]
fn the_clone_that_bitbucket_makes_has_the_facts_of_git() {
    let sandbox = Sandbox::with_commit();
    (2..9).for_each(|date| sandbox.commit("repo", date));
    let commit = sandbox.git("repo", &["rev-parse", "HEAD~1"]);
    let url = format!("file://{}", sandbox.path("repo").display());
    sandbox.git(".", &["clone", "-q", "--branch=main", "--depth", "50", &url, "build"]);
    sandbox.git("build", &["reset", "-q", "--hard", &commit]);
    assert_eq!(sandbox.assert_agrees("build")[1], "main");
}

#[test]
fn ids_that_begin_alike_are_told_apart_by_more_digits() {
    for packed in [false, true] {
        let sandbox = Sandbox::with_commit();
        sandbox.git("repo", &["config", "core.abbrev", "4"]);
        let blobs: String = (0..3000).fold(String::new(), |mut stream, number| {
            let _ = write!(stream, "blob\ndata <<E\n{number}\nE\n\n");
            stream
        });
        sandbox.import("repo", &blobs);
        if !packed {
            let pack = fs::read_dir(sandbox.path("repo/.git/objects/pack")).unwrap();
            let pack = pack.map(|entry| entry.unwrap().path()).find(|path| path.extension().unwrap() == "pack");
            fs::rename(pack.unwrap(), sandbox.path("all.pack")).unwrap();
            fs::remove_dir_all(sandbox.path("repo/.git/objects/pack")).unwrap();
            let mut unpack = sandbox.command("repo", &["unpack-objects", "-q"]);
            let pack = File::open(sandbox.path("all.pack")).unwrap();
            assert!(unpack.stdin(pack).status().unwrap().success());
        }
        let lengths = (2..40).map(|date| {
            sandbox.commit("repo", date);
            sandbox.assert_agrees("repo")[0].len()
        });
        let lengths: HashSet<usize> = lengths.collect();
        assert!(lengths.contains(&4) && lengths.contains(&5), "{lengths:?}");
    }
}

#[test]
fn a_large_repository_has_longer_abbreviations() {
    let sandbox = Sandbox::with_commit();
    let blobs: String = (0..17_000).fold(String::new(), |mut stream, number| {
        let _ = write!(stream, "blob\ndata <<E\n{number}\nE\n\n");
        stream
    });
    sandbox.import("repo", &blobs);
    assert_eq!(sandbox.assert_agrees("repo")[0].len(), 8);
    // Counted twice: the same objects in two packs.
    let pack = fs::read_dir(sandbox.path("repo/.git/objects/pack")).unwrap();
    for path in pack.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().replace("pack-", "pack-0");
        if name.starts_with("pack-0") {
            for copy in 0..4 {
                let name = name.replace("pack-0", &format!("pack-{copy}"));
                fs::copy(&path, path.with_file_name(name)).unwrap();
            }
        }
    }
    assert_eq!(sandbox.assert_agrees("repo")[0].len(), 9);
}

#[test]
fn where_there_is_no_repository_an_error_says_so() {
    let error = head(Path::new("/")).unwrap_err();
    insta::assert_snapshot!(error, @"`/` is not in a git repository");
}

#[test]
fn a_repository_without_commits_is_named_as_such() {
    let sandbox = Sandbox::new();
    sandbox.git(".", &["init", "-q", "-b", "main", "repo"]);
    insta::assert_snapshot!(sandbox.facts("repo").unwrap_err(), @"branch `main` has no commit");
}

#[test]
fn a_repository_of_another_form_is_named_as_such() {
    for (option, message) in [
        ("--object-format=sha256", "`extensions.objectformat` `sha256`"),
        ("--ref-format=reftable", "`extensions.refstorage` `reftable`"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.git(".", &["init", "-q", option, "repo"]);
        let error = sandbox.facts("repo").unwrap_err().to_string();
        assert_eq!(error, format!("the git repository has {message}, which this pipe cannot read"));
    }
}

#[test]
fn a_version_is_made_of_what_its_format_asks_for() {
    let sandbox = Sandbox::with_commit();
    let sha = sandbox.git("repo", &["rev-parse", "--short", "HEAD"]);
    let version = |format| version(format, &sandbox.path("repo"), None, Some("other")).unwrap();
    assert_eq!(version(Format::Sha), (sha.clone(), None));
    assert_eq!(version(Format::Branch), (format!("main-{sha}"), None));
    sandbox.git("repo", &["checkout", "-q", "--detach"]);
    assert_eq!(version(Format::Branch), (format!("other-{sha}"), None));
}

#[test]
fn without_any_branch_the_version_has_what_git_says() {
    let sandbox = Sandbox::with_commit();
    sandbox.git("repo", &["checkout", "-q", "--detach"]);
    let (version, _) = version(Format::Branch, &sandbox.path("repo"), None, None).unwrap();
    assert!(version.starts_with("HEAD-"), "{version}");
}

#[test]
fn without_a_repository_the_pipelines_commit_serves() {
    let commit = Some("0123456789abcdef0123456789abcdef01234567");
    let version = |format, commit| version(format, Path::new("/"), commit, Some("main"));
    let (found, warning) = version(Format::Branch, commit).unwrap();
    assert_eq!(found, "main-0123456");
    insta::assert_snapshot!(warning.unwrap().message, @"`/` is not in a git repository: the image tag is made from `BITBUCKET_COMMIT`");
    for commit in [None, Some("main")] {
        assert!(matches!(version(Format::Sha, commit), Err(Error::NoRepository { .. })));
    }
}
