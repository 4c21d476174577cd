//! References: `HEAD`, branches and tags, loose and packed (gitrepository-layout(5), git-pack-refs(1)).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::error::Error;
use super::files::{names, read_if_exists};
use super::id::Id;

/// How many references may name one another, as in git.
const MAX_SYMBOLIC: usize = 5;

/// The references of a clone.
pub(super) struct Refs {
    git_dir: PathBuf,
    packed: BTreeMap<Vec<u8>, TagRef>,
}

/// What a reference leads to.
pub(super) struct Resolved {
    /// The last one, if references name one another.
    pub(super) name: Vec<u8>,
    /// Absent if the last one does not exist: a branch without commits.
    pub(super) id: Option<Id>,
}

/// What a tag's reference holds.
#[derive(Clone, Copy)]
pub(super) struct TagRef {
    pub(super) id: Id,
    /// What is left when tag objects are followed, if `packed-refs` says so.
    pub(super) peeled: Option<Id>,
}

enum Loose {
    Id(Id),
    Symbolic(Vec<u8>),
}

impl Refs {
    pub(super) fn open(git_dir: PathBuf) -> Result<Self, Error> {
        let path = git_dir.join("packed-refs");
        let text = read_if_exists(&path)?.unwrap_or_default();
        let packed = parse_packed(&text).ok_or_else(|| Error::damaged(&path, "a line that git does not write"))?;
        Ok(Self { git_dir, packed })
    }

    /// Follows the reference `name`.
    pub(super) fn resolve(&self, name: &[u8]) -> Result<Resolved, Error> {
        let mut name = name.to_vec();
        for _ in 0..=MAX_SYMBOLIC {
            match self.loose(&name)? {
                Some(Loose::Id(id)) => return Ok(Resolved { name, id: Some(id) }),
                Some(Loose::Symbolic(target)) => name = target,
                None => {
                    let id = self.packed.get(&name).map(|packed| packed.id);
                    return Ok(Resolved { name, id });
                }
            }
        }
        Err(Error::damaged(&self.path(&name), "references that lead nowhere"))
    }

    /// All below `refs/tags/`, by name without that, in order.
    pub(super) fn tags(&self) -> Result<BTreeMap<Vec<u8>, TagRef>, Error> {
        const PREFIX: &[u8] = b"refs/tags/";
        let packed = self.packed.iter().filter_map(|(name, tag)| Some((name.strip_prefix(PREFIX)?.to_vec(), *tag)));
        let mut tags: BTreeMap<_, _> = packed.collect();
        let mut pending = vec![Vec::new()];
        while let Some(prefix) = pending.pop() {
            let directory = self.path(&[PREFIX, &prefix].concat());
            for name in names(&directory)? {
                let name = [&prefix, name.as_bytes()].concat();
                let full = [PREFIX, &name].concat();
                let path = self.path(&full);
                if fs::symlink_metadata(&path).is_ok_and(|entry| entry.is_dir()) {
                    pending.push([&name, b"/".as_slice()].concat());
                } else if is_valid(&full)
                    && let Some(id) = self.resolve(&full)?.id
                {
                    tags.insert(name, TagRef { id, peeled: None });
                }
            }
        }
        Ok(tags)
    }

    fn loose(&self, name: &[u8]) -> Result<Option<Loose>, Error> {
        let path = self.path(name);
        let Some(text) = read_if_exists(&path)? else {
            return Ok(None);
        };
        let text = text.trim_ascii_end();
        let loose = match text.strip_prefix(b"ref:").map(<[u8]>::trim_ascii_start) {
            Some(target) => is_valid(target).then(|| Loose::Symbolic(target.to_vec())),
            None => Id::from_hex(text.split(u8::is_ascii_whitespace).next().unwrap_or_default()).map(Loose::Id),
        };
        loose.map(Some).ok_or_else(|| Error::damaged(&path, "neither an id nor the name of a reference"))
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.git_dir.join(OsStr::from_bytes(name))
    }
}

/// All references of a `packed-refs` file. `None` if it is malformed.
fn parse_packed(text: &[u8]) -> Option<BTreeMap<Vec<u8>, TagRef>> {
    let mut refs: BTreeMap<Vec<u8>, TagRef> = BTreeMap::new();
    let mut last = Vec::new();
    if text.is_empty() {
        return Some(refs);
    }
    for line in text.strip_suffix(b"\n")?.split(|&byte| byte == b'\n') {
        match line {
            [b'#', ..] => {}
            [b'^', peeled @ ..] => refs.get_mut(&last)?.peeled = Some(Id::from_hex(peeled)?),
            _ => {
                let (hex, name) = line.split_at_checked(40)?;
                last = name.strip_prefix(b" ")?.to_vec();
                refs.insert(last.clone(), TagRef { id: Id::from_hex(hex)?, peeled: None });
            }
        }
    }
    Some(refs)
}

/// Whether git would write a reference of this name; keeps paths within the repository.
fn is_valid(name: &[u8]) -> bool {
    let is_bad = |part: &[u8]| part.is_empty() || part.starts_with(b".") || part.ends_with(b".lock");
    !name.split(|&byte| byte == b'/').any(is_bad) && (name.starts_with(b"refs/") || !name.contains(&b'/'))
}
