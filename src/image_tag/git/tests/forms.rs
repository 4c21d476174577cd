//! Clones of every form that a pipeline has: tags, packs, references, shallow and partial ones.

use super::*;

/// Each row: commands after one commit in `repo`, the directory that is asked about, and what git is to describe.
#[test]
fn facts_are_those_of_git() {
    let rows: &[(&str, &[&str], &str, &str)] = &[
        ("no tag", &[], "repo", "^[0-9a-f]{7}$"),
        ("lightweight tag", &["tag v1"], "repo", "^v1$"),
        ("annotated tag", &["tag -a -m x v1"], "repo", "^v1$"),
        ("commits on", &["tag v1", "+2", "+3"], "repo", "^v1-2-g[0-9a-f]{7}$"),
        ("annotated before lightweight", &["tag a", "tag -a -m x b", "tag c"], "repo", "^b$"),
        ("lightweight first by name", &["tag b", "tag a", "tag c"], "repo", "^a$"),
        ("newest tagger", &["@9 tag -a -m x b", "@5 tag -a -m x a", "@9 tag -a -m x c"], "repo", "^b$"),
        ("nearest tag", &["tag -a -m x v1", "+2", "tag v2", "+3"], "repo", "^v2-1-g"),
        ("tag of a tag", &["tag -a -m x v1", "tag -a -m y outer v1", "+2"], "repo", "^outer-1-g|^v1-1-g"),
        ("tag of a tree", &["tag -a -m x tree HEAD^{tree}", "tag light HEAD^{tree}"], "repo", "^[0-9a-f]{7}$"),
        ("renamed tag", &["tag -a -m x v1", "update-ref refs/tags/v2 v1", "tag -d v1"], "repo", "^v1-0-g"),
        (
            "renamed tag, commits on",
            &["tag -a -m x v1", "update-ref refs/tags/v2 v1", "tag -d v1", "+2"],
            "repo",
            "^v1-1-g",
        ),
        ("tag with a slash", &["tag release/1.0", "+2"], "repo", "^release/1.0-1-g"),
        ("packed references", &["tag v1", "tag -a -m x v2", "pack-refs --all", "+2"], "repo", "^v2-1-g"),
        ("packed and loose", &["tag v1", "pack-refs --all", "+2", "tag -f v1", "+3"], "repo", "^v1-1-g"),
        ("packed objects", &["tag -a -m x v1", "+2", "gc -q"], "repo", "^v1-1-g"),
        ("two packs", &["tag -a -m x v1", "repack -q -d", "+2", "repack -q -d", "+3"], "repo", "^v1-2-g"),
        (
            "multi-pack index",
            &["tag -a -m x v1", "repack -q -d", "+2", "repack -q -d", "multi-pack-index write"],
            "repo",
            "^v1-1-g",
        ),
        ("detached", &["tag v1", "+2", "checkout -q --detach"], "repo", "^v1-1-g"),
        ("branch with a slash", &["checkout -q -b feature/x"], "repo", ""),
        (
            "branch that names a branch",
            &["symbolic-ref refs/heads/alias refs/heads/main", "symbolic-ref HEAD refs/heads/alias"],
            "repo",
            "",
        ),
        (
            "merge",
            &["tag v1", "checkout -q -b b", "+2", "+3", "checkout -q main", "+4", "merge -q --no-ff -m m b"],
            "repo",
            "^v1-4-g",
        ),
        (
            "merge of tagged",
            &["tag v1", "checkout -q -b b", "+2", "tag v2", "checkout -q main", "+4", "+5", "merge -q --no-ff -m m b"],
            "repo",
            "-g",
        ),
        (
            "shallow clone",
            &["tag v1", "+2", "+3", "+4", "clone -q --depth 2 file://{home}/repo ../clone"],
            "clone",
            "^[0-9a-f]{7}$",
        ),
        (
            "shallow clone with tag",
            &["+2", "tag v1", "+3", "clone -q --depth 2 file://{home}/repo ../clone"],
            "clone",
            "^v1-1-g",
        ),
        (
            "clone of a tag",
            &["tag -a -m x v1", "+2", "clone -q --depth 5 -b v1 file://{home}/repo ../clone"],
            "clone",
            "^v1$",
        ),
        (
            "partial clone",
            &["tag v1", "+2", "clone -q --filter=tree:0 --no-checkout file://{home}/repo ../clone"],
            "clone",
            "^v1-1-g",
        ),
        ("abbreviation of 4", &["config core.abbrev 4", "tag v1", "+2"], "repo", "^v1-1-g[0-9a-f]{4,5}$"),
        ("abbreviation of 12", &["config core.abbrev 12", "tag v1", "+2"], "repo", "^v1-1-g[0-9a-f]{12}$"),
        ("abbreviation none", &["config core.abbrev no"], "repo", "^[0-9a-f]{40}$"),
        ("abbreviation auto", &["config core.abbrev AUTO"], "repo", "^[0-9a-f]{7}$"),
        ("message of several paragraphs", &["tag -a -m x -m y -m z v1", "+2"], "repo", "^v1-1-g"),
    ];
    for (name, commands, directory, pattern) in rows {
        let sandbox = Sandbox::with_commit();
        for command in *commands {
            let command = command.replace("{home}", &sandbox.home.path().to_string_lossy());
            let mut words: Vec<&str> = command.split(' ').collect();
            let date = words[0].strip_prefix('@').map(|date| date.parse().unwrap());
            match command.strip_prefix('+') {
                Some(date) => sandbox.commit("repo", date.parse().unwrap()),
                None => drop(sandbox.git_at(date.unwrap_or(100), "repo", &words.split_off(date.is_some().into()))),
            }
        }
        sandbox.assert_describes(name, directory, pattern);
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
