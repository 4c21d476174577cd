//! References: `HEAD` and branches, loose and packed (gitrepository-layout(5), git-pack-refs(1)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::{Id, MAX_FILE, parse_id, read_if_exists};

/// How many references may name one another, as in git.
const MAX_SYMBOLIC: usize = 5;
/// A million references, about.
const MAX_PACKED_REFS: usize = 64 << 20;

/// The target of a reference.
pub(super) struct Resolved {
    /// The last one, if references name one another.
    pub(super) name: Vec<u8>,
    /// Absent if the last one does not exist: a branch without commits.
    pub(super) id: Option<Id>,
}

enum Loose {
    Id(Id),
    Symbolic(Vec<u8>),
}

/// Follows the reference `name`.
pub(super) fn resolve(git_dir: &Path, name: &[u8]) -> Result<Resolved, Error> {
    let mut name = name.to_vec();
    for _ in 0..=MAX_SYMBOLIC {
        match loose(&path(git_dir, &name))? {
            Some(Loose::Id(id)) => return Ok(Resolved { name, id: Some(id) }),
            Some(Loose::Symbolic(target)) => name = target,
            None => {
                let id = packed(&git_dir.join("packed-refs"), &name)?;
                return Ok(Resolved { name, id });
            }
        }
    }
    Err(Error::damaged(&path(git_dir, &name), "references that lead nowhere"))
}

fn path(git_dir: &Path, name: &[u8]) -> PathBuf {
    git_dir.join(OsStr::from_bytes(name))
}

fn loose(path: &Path) -> Result<Option<Loose>, Error> {
    let Some(text) = read_if_exists(path, MAX_FILE)? else {
        return Ok(None);
    };
    let text = text.trim_ascii_end();
    let loose = match text.strip_prefix(b"ref:").map(<[u8]>::trim_ascii_start) {
        Some(target) => is_valid(target).then(|| Loose::Symbolic(target.to_vec())),
        None => parse_id(text.split(u8::is_ascii_whitespace).next().unwrap_or_default()).map(Loose::Id),
    };
    loose.map(Some).ok_or_else(|| Error::damaged(path, "neither an id nor the name of a reference"))
}

/// The id of a reference that is in `packed-refs`.
fn packed(path: &Path, name: &[u8]) -> Result<Option<Id>, Error> {
    let text = read_if_exists(path, MAX_PACKED_REFS)?.unwrap_or_default();
    let line = text.split(|&byte| byte == b'\n').find(|line| line.get(41..) == Some(name) && line[40] == b' ');
    let id = |line: &[u8]| parse_id(&line[..40]).ok_or_else(|| Error::damaged(path, "a line without an id"));
    line.map(id).transpose()
}

/// True if git would write a reference of this name; keeps paths within the repository.
fn is_valid(name: &[u8]) -> bool {
    let is_bad = |part: &[u8]| part.is_empty() || part.starts_with(b".") || part.ends_with(b".lock");
    !name.split(|&byte| byte == b'/').any(is_bad) && (name.starts_with(b"refs/") || !name.contains(&b'/'))
}
