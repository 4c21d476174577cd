//! Clones of every form that a pipeline has: packs, references, shallow and partial ones.

use super::*;

/// Each row: commands after one commit in `repo`, the directory that is asked about, and the number of digits.
#[test]
fn facts_are_those_of_git() {
    let rows: &[(&str, &[&str], &str, std::ops::RangeInclusive<usize>)] = &[
        ("loose", &["+2"], "repo", 7..=7),
        ("packed references", &["pack-refs --all"], "repo", 7..=7),
        ("packed and loose references", &["pack-refs --all", "+2"], "repo", 7..=7),
        ("packed objects", &["tag -a -m x v1", "+2", "gc -q"], "repo", 7..=7),
        ("two packs", &["repack -q -d", "+2", "repack -q -d", "+3"], "repo", 7..=7),
        ("multi-pack index", &["repack -q -d", "+2", "repack -q -d", "multi-pack-index write"], "repo", 7..=7),
        ("detached", &["+2", "checkout -q --detach"], "repo", 7..=7),
        ("detached at a tag", &["tag -a -m x v1", "+2", "checkout -q v1"], "repo", 7..=7),
        ("branch with a slash", &["checkout -q -b feature/x"], "repo", 7..=7),
        ("packed branch with a slash", &["checkout -q -b feature/x", "pack-refs --all"], "repo", 7..=7),
        (
            "branch that names a branch",
            &["symbolic-ref refs/heads/alias refs/heads/main", "symbolic-ref HEAD refs/heads/alias"],
            "repo",
            7..=7,
        ),
        ("shallow clone", &["+2", "+3", "clone -q --depth 1 file://{home}/repo ../clone"], "clone", 7..=7),
        ("clone of a tag", &["tag v1", "+2", "clone -q --depth 5 -b v1 file://{home}/repo ../clone"], "clone", 7..=7),
        (
            "partial clone",
            &["+2", "clone -q --filter=tree:0 --no-checkout file://{home}/repo ../clone"],
            "clone",
            7..=7,
        ),
        ("abbreviation of 4", &["config core.abbrev 4", "+2"], "repo", 4..=5),
        ("abbreviation of 12", &["config core.abbrev 12", "+2"], "repo", 12..=12),
        ("abbreviation none", &["config core.abbrev no"], "repo", 40..=40),
        ("abbreviation auto", &["config core.abbrev AUTO"], "repo", 7..=7),
        ("another abbreviation", &["config other.abbrev 12", "config core.other 9"], "repo", 7..=7),
    ];
    for (name, commands, directory, digits) in rows {
        let sandbox = Sandbox::with_commit();
        for command in *commands {
            let command = command.replace("{home}", &sandbox.home.path().to_string_lossy());
            match command.strip_prefix('+') {
                Some(date) => sandbox.commit("repo", date.parse().unwrap()),
                None => drop(sandbox.git_at(100, "repo", &command.split(' ').collect::<Vec<_>>())),
            }
        }
        let [id, _] = sandbox.assert_agrees_in(name, directory);
        assert!(digits.contains(&id.len()), "{name}: {id}");
    }
}

#[test]
fn clones_that_no_pipeline_makes_are_named_as_such() {
    for (command, directory, message) in [
        ("worktree add -q ../tree", "tree", "a file `{home}/tree/.git`, as worktrees and submodules have"),
        (
            "clone -q --separate-git-dir ../apart . ../clone",
            "clone",
            "a file `{home}/clone/.git`, as worktrees and submodules have",
        ),
        ("clone -q --shared . ../clone", "clone", "objects in another repository"),
    ] {
        let sandbox = Sandbox::with_commit();
        sandbox.git("repo", &command.split(' ').collect::<Vec<_>>());
        let message = message.replace("{home}", &fs::canonicalize(sandbox.home.path()).unwrap().to_string_lossy());
        let error = sandbox.facts(directory).unwrap_err().to_string();
        assert_eq!(error, format!("the git repository has {message}, which this pipe cannot read"));
    }
}
