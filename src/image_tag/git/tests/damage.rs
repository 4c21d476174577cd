//! Repositories with files cut off or changed: an error or what git reports, never a panic.

use super::*;

/// Loose and packed objects, two packs, deltas, both kinds of tags, packed and loose references.
fn repository() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.git(".", &["init", "-q", "-b", "main", "repo"]);
    for date in 1..20 {
        let message = format!("{}\n{date}", "a message that makes for deltas\n".repeat(20));
        sandbox.git_at(date, "repo", &["commit", "-q", "--allow-empty", "-m", &message]);
        match date {
            3 => drop(sandbox.git("repo", &["tag", "-a", "-m", "x", "v1"])),
            8 => {
                sandbox.git("repo", &["repack", "-q", "-adf"]);
                sandbox.git("repo", &["pack-refs", "--all"]);
            }
            12 => drop(sandbox.git("repo", &["tag", "v2"])),
            14 => drop(sandbox.git("repo", &["repack", "-q", "-d"])),
            16 => drop(sandbox.git("repo", &["checkout", "-q", "HEAD~8"])),
            _ => {}
        }
    }
    for unread in ["hooks", "logs", "index", "description", "info"] {
        let path = sandbox.path("repo/.git").join(unread);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(path));
    }
    sandbox
}

#[test]
fn commits_that_are_kept_as_deltas_are_read() {
    let sandbox = repository();
    let pack = files(&sandbox.path("repo/.git/objects/pack"));
    let index = pack.iter().find(|path| path.extension() == Some("idx".as_ref())).unwrap();
    let listing = sandbox.git("repo", &["verify-pack", "-v", &index.to_string_lossy()]);
    let deltas = listing.lines().filter(|line| line.contains(" commit ") && line.split_whitespace().count() == 7);
    let deltas: Vec<&str> = deltas.map(|line| &line[..40]).collect();
    assert!(!deltas.is_empty(), "{listing}");
    for id in deltas {
        fs::write(sandbox.path("repo/.git/HEAD"), id).unwrap();
        sandbox.assert_agrees_in(id, "repo");
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

#[test]
fn a_damaged_repository_gives_an_error_or_what_git_says_of_it() {
    let sandbox = repository();
    let whole = sandbox.assert_agrees("repo");
    let (mut errors, mut others) = (0, 0);
    for path in files(&sandbox.path("repo/.git")) {
        let bytes = fs::read(&path).unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
        fs::set_permissions(&path, permissions).unwrap();
        let mut check = |damaged: &[u8]| {
            fs::write(&path, damaged).unwrap();
            match sandbox.facts("repo") {
                Ok(facts) if facts == whole => {}
                Ok(facts) => {
                    others += 1;
                    let by_git = sandbox.facts_by_git("repo");
                    let text = String::from_utf8_lossy(damaged);
                    assert_eq!(
                        Ok(facts),
                        by_git,
                        "{} damaged:
{text}",
                        path.display()
                    );
                }
                Err(_) => errors += 1,
            }
        };
        // Every byte of references and settings, and steps through objects.
        let steps = if path.to_string_lossy().contains("/objects/") { 50 } else { bytes.len() };
        let step = (bytes.len() / steps.max(1)).max(1);
        for at in (0..bytes.len()).step_by(step) {
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
    assert!(errors > 100 && others > 0, "{errors} errors, {others} other answers");
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
fn a_message_of_more_than_what_is_read_is_an_error() {
    let sandbox = Sandbox::with_commit();
    fs::write(sandbox.path("message"), "x".repeat(object::MAX_OBJECT)).unwrap();
    sandbox.git("repo", &["commit", "-q", "--allow-empty", "-F", "../message"]);
    assert!(sandbox.facts("repo").is_err());
    sandbox.git("repo", &["repack", "-q", "-ad"]);
    assert!(sandbox.facts("repo").is_err());
}

#[test]
fn what_may_not_be_read_is_not_taken_for_damage() {
    let error = Error::read(Path::new(".git/HEAD"))(io::ErrorKind::PermissionDenied.into());
    assert!(error.hint().starts_with("let every user read the clone"), "{}", error.hint());
}
