//! Repositories with files that are cut off, changed, or no files: an error, never a panic and never an endless wait.

use super::*;
use crate::diagnostic::Explain as _;

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// All that is read: `HEAD`, settings, a loose reference, packed references and two indexes.
fn repository() -> Sandbox {
    let sandbox = Sandbox::with_commit();
    for date in 2..6 {
        sandbox.commit("repo", date);
        sandbox.git("repo", &["repack", "-q", "-d"]);
    }
    sandbox.git("repo", &["pack-refs", "--all"]);
    sandbox.git("repo", &["checkout", "-q", "-b", "topic"]);
    sandbox
}

#[test]
fn damaged_file_gives_an_error_or_other_facts() {
    for branch in ["topic", "main"] {
        let sandbox = repository();
        sandbox.git("repo", &["checkout", "-q", branch]);
        let whole = sandbox.assert_agrees("repo");
        let (mut errors, mut others) = (0, 0);
        let is_read = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            ["HEAD", "config", "packed-refs", branch].contains(&name.as_str()) || name.ends_with(".idx")
        };
        let found =
            files(&sandbox.path("repo/.git")).into_iter().filter(|path| !path.to_string_lossy().contains("/logs/"));
        for path in found.filter(is_read) {
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let mut check = |damaged: &[u8]| {
                fs::write(&path, damaged).unwrap();
                match sandbox.facts("repo") {
                    Ok(facts) if facts == whole => {}
                    Ok(_) => others += 1,
                    Err(error) => {
                        errors += 1;
                        assert!(error.hint().is_some());
                    }
                }
            };
            for at in (0..bytes.len()).step_by((bytes.len() / 200).max(1)) {
                check(&bytes[..at]);
                for flip in [0x01, 0x80, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= flip;
                    check(&damaged);
                }
            }
            fs::write(&path, &bytes).unwrap();
        }
        sandbox.assert_agrees("repo");
        assert!(errors > 100 && others > 0, "{errors} errors, {others} other facts");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    for file in ["HEAD", "config", "refs/heads/topic", "packed-refs", "objects/pack/pack-1.idx"] {
        for (form, kind) in
            [("fifo", "a pipe or a device"), ("/dev/zero", "a pipe or a device"), ("large", "is larger than")]
        {
            let sandbox = repository();
            if file == "packed-refs" {
                sandbox.git("repo", &["checkout", "-q", "main"]);
            }
            let path = sandbox.path("repo/.git").join(file);
            let _ = fs::remove_file(&path);
            fs::write(path.with_extension("pack"), "").unwrap();
            match form {
                "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                // Of an index, only a few bytes are read.
                "large" if file.ends_with(".idx") => continue,
                "large" => File::create(&path).unwrap().set_len(1 << 40).unwrap(),
                target => std::os::unix::fs::symlink(target, &path).unwrap(),
            }
            let error = sandbox.facts("repo").unwrap_err();
            let message = error.to_string();
            assert!(message.contains(file) && message.contains(kind), "{file}, {form}: {message}");
        }
    }
}

#[test]
fn references_that_name_one_another_in_a_circle_are_an_error() {
    let sandbox = Sandbox::with_commit();
    fs::write(sandbox.path("repo/.git/refs/heads/a"), "ref: refs/heads/b").unwrap();
    fs::write(sandbox.path("repo/.git/refs/heads/b"), "ref: refs/heads/a").unwrap();
    fs::write(sandbox.path("repo/.git/HEAD"), "ref: refs/heads/a").unwrap();
    assert!(matches!(sandbox.facts("repo"), Err(Error::Damaged { .. })));
}

#[test]
fn a_reference_cannot_lead_out_of_the_repository() {
    let sandbox = Sandbox::with_commit();
    let id = sandbox.git("repo", &["rev-parse", "HEAD"]);
    fs::write(sandbox.path("outside"), id).unwrap();
    fs::write(sandbox.path("repo/.git/HEAD"), "ref: refs/../../../outside").unwrap();
    assert!(matches!(sandbox.facts("repo"), Err(Error::Damaged { .. })));
}

#[test]
fn what_may_not_be_read_is_not_taken_for_damage() {
    let source = io::ErrorKind::PermissionDenied.into();
    let error = Error::from(input::Error::Unreadable { path: ".git/HEAD".into(), source });
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("let every user read the clone"), "{hint}");
}
