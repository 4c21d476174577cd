//! References: `HEAD`, branches and tags, loose and packed (gitrepository-layout(5), git-pack-refs(1)).

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader, Read},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use super::{Error, id::Id, objects::names, open, read_small};

/// How many references may name one another, as in git.
const MAX_SYMBOLIC: usize = 5;

/// Longest line in `packed-refs`: a name is at most a path.
const MAX_LINE: u64 = 8 << 10;

/// Where a short name is looked for (gitrevisions(7)): what stands before it and after it.
const RULES: [(&str, &str); 6] = [
    ("", ""),
    ("refs/", ""),
    ("refs/tags/", ""),
    ("refs/heads/", ""),
    ("refs/remotes/", ""),
    ("refs/remotes/", "/HEAD"),
];

/// The references of a clone, or of one of its worktrees.
pub(super) struct Refs {
    pub(super) git_dir: PathBuf,
    pub(super) common_dir: PathBuf,
}

/// What a reference leads to.
pub(super) struct Resolved {
    /// The last one, where references name one another.
    pub(super) name: Vec<u8>,
    /// Absent where the last one is not there: a branch without commits.
    pub(super) id: Option<Id>,
}

/// What a tag's reference holds.
pub(super) struct TagRef {
    pub(super) id: Id,
    /// What is left when tag objects are followed, where `packed-refs` says so.
    pub(super) peeled: Option<Id>,
}

enum Loose {
    Id(Id),
    Symbolic(Vec<u8>),
}

impl Refs {
    /// Follows the reference `name`.
    pub(super) fn resolve(&self, name: &[u8]) -> Result<Resolved, Error> {
        let mut name = name.to_vec();
        for _ in 0..=MAX_SYMBOLIC {
            match self.loose(&name)? {
                Some(Loose::Id(id)) => return Ok(Resolved { name, id: Some(id) }),
                Some(Loose::Symbolic(target)) => name = target,
                None => {
                    let mut found = None;
                    self.packed(|packed, tag| {
                        if packed == name {
                            found = Some(tag.id);
                        }
                    })?;
                    return Ok(Resolved { name, id: found });
                }
            }
        }
        Err(Error::damaged(&self.path(&name), "references that lead nowhere"))
    }

    /// The shortest name that means this reference and no other: `main` for `refs/heads/main`, but `heads/main` beside a
    /// tag `main`.
    pub(super) fn shorten(&self, full: &[u8]) -> Result<Vec<u8>, Error> {
        for (at, (before, after)) in RULES.iter().enumerate().skip(1).rev() {
            let short = full
                .strip_prefix(before.as_bytes())
                .and_then(|rest| rest.strip_suffix(after.as_bytes()))
                .filter(|short| !short.is_empty());
            let Some(short) = short else { continue };
            let mut unambiguous = true;
            for (other, (before, after)) in RULES.iter().enumerate() {
                let name = [before.as_bytes(), short, after.as_bytes()].concat();
                unambiguous &= other == at || !self.exists(&name)?;
            }
            if unambiguous {
                return Ok(short.to_vec());
            }
        }
        Ok(full.to_vec())
    }

    fn exists(&self, name: &[u8]) -> Result<bool, Error> {
        Ok(is_valid(name) && matches!(self.resolve(name), Ok(Resolved { id: Some(_), .. })))
    }

    /// All below `refs/tags/`, by name without that, in order.
    pub(super) fn tags(&self) -> Result<BTreeMap<Vec<u8>, TagRef>, Error> {
        const PREFIX: &[u8] = b"refs/tags/";
        let mut tags = BTreeMap::new();
        self.packed(|name, tag| {
            if let Some(name) = name.strip_prefix(PREFIX) {
                tags.insert(name.to_vec(), tag);
            }
        })?;
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
        // HEAD as a symbolic link, from the time before symbolic references.
        if let Ok(target) = fs::read_link(&path)
            && is_valid(target.as_os_str().as_bytes())
        {
            return Ok(Some(Loose::Symbolic(target.into_os_string().into_encoded_bytes())));
        }
        let Some(text) = read_small(&path)? else {
            return Ok(None);
        };
        let text = text.trim_ascii_end();
        if let Some(target) = text.strip_prefix(b"ref:") {
            let target = target.trim_ascii_start();
            return match is_valid(target) {
                true => Ok(Some(Loose::Symbolic(target.to_vec()))),
                false => Err(Error::damaged(&path, "a reference to what cannot be one")),
            };
        }
        let hex = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        match Id::from_hex(hex) {
            Some(id) => Ok(Some(Loose::Id(id))),
            None => Err(Error::damaged(&path, "a reference without an id")),
        }
    }

    /// Goes through `packed-refs` once, line by line, since it may be large.
    fn packed(&self, mut each: impl FnMut(&[u8], TagRef)) -> Result<(), Error> {
        let path = self.common_dir.join("packed-refs");
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::read(&path)(error)),
        };
        let mut reader = BufReader::new(file);
        let mut last: Option<(Vec<u8>, TagRef)> = None;
        let mut line = Vec::new();
        loop {
            line.clear();
            reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(Error::read(&path))?;
            let unlike_git = || Error::damaged(&path, "a line of another form than git writes");
            match line.strip_suffix(b"\n") {
                None if line.is_empty() => break,
                None => return Err(unlike_git()),
                Some(header) if header.starts_with(b"#") => {}
                Some(peeled) if peeled.starts_with(b"^") => {
                    let id = Id::from_hex(&peeled[1..]).ok_or_else(unlike_git)?;
                    let (_, tag) = last.as_mut().ok_or_else(unlike_git)?;
                    tag.peeled = Some(id);
                }
                Some(entry) => {
                    if let Some((name, tag)) = last.take() {
                        each(&name, tag);
                    }
                    let (hex, name) = entry.split_at_checked(40).ok_or_else(unlike_git)?;
                    let id = Id::from_hex(hex).ok_or_else(unlike_git)?;
                    let name = name.strip_prefix(b" ").ok_or_else(unlike_git)?;
                    last = Some((name.to_vec(), TagRef { id, peeled: None }));
                }
            }
        }
        if let Some((name, tag)) = last {
            each(&name, tag);
        }
        Ok(())
    }

    /// `HEAD` and a few more are a worktree's own.
    fn path(&self, name: &[u8]) -> PathBuf {
        let own = [b"refs/bisect/".as_slice(), b"refs/worktree/", b"refs/rewritten/"];
        let shared = name.starts_with(b"refs/") && !own.iter().any(|own| name.starts_with(own));
        let directory = if shared { &self.common_dir } else { &self.git_dir };
        directory.join(OsStr::from_bytes(name))
    }
}

/// Whether git takes it for a reference's name (git-check-ref-format(1)); keeps paths within the repository.
fn is_valid(name: &[u8]) -> bool {
    let bad_byte = |byte: &u8| byte.is_ascii_control() || b" ~^:?*[\\".contains(byte);
    let bad_part = |part: &[u8]| part.is_empty() || part.starts_with(b".") || part.ends_with(b".lock");
    !name.iter().any(bad_byte)
        && !name.split(|&byte| byte == b'/').any(bad_part)
        && !name.windows(2).any(|pair| pair == b".." || pair == b"@{")
        && !name.ends_with(b".")
        && (name.starts_with(b"refs/") || !name.contains(&b'/'))
}
