//! Random histories: merges, dates that do not fit the order, tags of every kind, in every form of storage.

use super::*;

/// A small generator (xorshift): the same histories in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// A history for `git fast-import`, with a branch for each of the last commits.
fn history(random: &mut Random, commits: u64, tags: u64) -> String {
    let spread = [1, 3, 50, 400][random.below(4) as usize];
    let reach = [2, 5, 30][random.below(3) as usize];
    let merges = random.below(60);
    let mut stream = String::new();
    for commit in 1..=commits {
        let date = 1_700_000_000 + commit * (spread / 3) + random.below(spread);
        let _ = write!(
            stream,
            "commit refs/heads/b{}\nmark :{commit}\ncommitter c d <c@x> {date} +0000\ndata 1\nx\n",
            commit.saturating_sub(commits - 5)
        );
        // Some have no parent: histories of several roots.
        if commit > 1 && random.below(40) > 0 {
            let parent = |random: &mut Random| commit - 1 - random.below(reach.min(commit - 1));
            let _ = writeln!(stream, "from :{}", parent(random));
            while random.below(100) < merges {
                let _ = writeln!(stream, "merge :{}", parent(random));
            }
        } else {
            stream.push_str("deleteall\n");
        }
        let name = random.below(10);
        let _ = write!(stream, "M 644 inline f{name}\ndata <<E\n{commit}\nE\n\n");
    }
    let annotated = random.below(101);
    for tag in 0..tags {
        let (commit, name) = (1 + random.below(commits), random.below(1000));
        if random.below(100) < annotated {
            let date = 1_700_000_000 + random.below(5);
            let _ = write!(stream, "tag t{name}-{tag}\nfrom :{commit}\ntagger t <t@x> {date} +0000\ndata 1\nx\n");
        } else {
            let _ = write!(stream, "reset refs/tags/t{name}-{tag}\nfrom :{commit}\n\n");
        }
    }
    stream
}

#[test]
fn random_histories_are_described_as_git_describes_them() {
    for seed in 1..=24 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed << 7);
        let sandbox = Sandbox::new();
        sandbox.git(".", &["init", "-q", "-b", "b1", "repo"]);
        let (commits, tags) = (20 + random.below(380), random.below(40));
        sandbox.import("repo", &history(&mut random, commits, tags));
        let directory = match seed % 6 {
            0 => {
                sandbox.git("repo", &["gc", "-q", "--aggressive"]);
                "repo"
            }
            1 => {
                sandbox.git("repo", &["repack", "-q", "-adf", "--depth=200", "--window=50"]);
                sandbox.git("repo", &["pack-refs", "--all"]);
                "repo"
            }
            2 => {
                let url = format!("file://{}", sandbox.path("repo").display());
                let depth = (1 + random.below(30)).to_string();
                sandbox.git(".", &["clone", "-q", "--no-single-branch", "--depth", &depth, &url, "clone"]);
                "clone"
            }
            3 => {
                sandbox.git(".", &["clone", "-q", "--no-local", "-b", "b1", "repo", "clone"]);
                "clone"
            }
            4 => {
                sandbox.git("repo", &["-c", "repack.useDeltaBaseOffset=false", "repack", "-q", "-adf"]);
                "repo"
            }
            _ => "repo",
        };
        let heads = sandbox.git(directory, &["rev-list", "--all"]);
        let heads: Vec<&str> = heads.lines().collect();
        for _ in 0..8 {
            let head = heads[random.below(heads.len() as u64) as usize];
            fs::write(sandbox.path(directory).join(".git/HEAD"), head).unwrap();
            sandbox.assert_agrees_in(&format!("history {seed}, {head}"), directory);
        }
    }
}
