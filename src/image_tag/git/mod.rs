//! The commit and the branch of a clone, read from its `.git` without a git program. No object is opened.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Explain};
use crate::files::input;
use crate::text::hex;

/// Digits in an abbreviated id of a small repository.
const DEFAULT_ABBREV: usize = 7;
/// Shortest abbreviation that git knows.
const MINIMUM_ABBREV: usize = 4;
/// The largest file that is read, except for `packed-refs`.
const MAX_FILE: usize = 1 << 20;
/// A million references, about.
const MAX_PACKED_REFS: usize = 64 << 20;
/// How many references may name one another, as in git.
const MAX_SYMBOLIC: usize = 5;

/// The header of an index, and its fan-out table: for each first byte, how many ids have it or a lower one.
const HEADER: &[u8] = b"\xfftOc\0\0\0\x02";
const FAN_OUT: u64 = 8;
const IDS: u64 = FAN_OUT + 4 * 256;
/// An id, a checksum and an offset.
const BYTES_PER_OBJECT: u64 = 20 + 4 + 4;

/// A commit's SHA-1.
type Id = [u8; 20];

/// A form of image tag that is made from the clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Sha,
    /// The branch and the commit's abbreviated id.
    Branch,
}

/// Why commit or branch cannot be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`{}` is not in a git repository", quote(&directory.to_string_lossy()))]
    NoRepository { directory: PathBuf },
    #[error("branch `{}` has no commit", quote(branch))]
    NoCommit { branch: String },
    #[error(transparent)]
    File(#[from] input::Error),
    /// A file of the repository is not as git writes it.
    #[error("`{}` is damaged: {what}", quote(&path.to_string_lossy()))]
    Damaged { path: PathBuf, what: &'static str },
    /// The repository is of a form that is not read here.
    #[error("the git repository has {what}, which this pipe cannot read")]
    Unsupported { what: String },
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoRepository { .. } => {
                "`TAG_FORMAT` needs the step's clone: leave `clone: enabled` as it is, or set `TAG_FORMAT: latest`"
            }
            Self::NoCommit { .. } => "commit before you deploy",
            Self::Unsupported { .. } => "clone it with `git clone` in its default form, or set `TAG_FORMAT: latest`",
            Self::File(input::Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                "let every user read the clone: `chmod -R a+rX .` in the step's script, before the pipe"
            }
            Self::File(_) | Self::Damaged { .. } => "clone the repository again: `.git` is damaged or incomplete",
        };
        Some(hint.to_owned())
    }
}

impl Error {
    fn damaged(path: &Path, what: &'static str) -> Self {
        Self::Damaged { path: path.to_path_buf(), what }
    }
}

/// The state that `faas-cli --tag` would ask git for in `directory`, as it becomes part of an image tag, with a warning if it is not
/// from a clone.
///
/// `bitbucket_branch` is used if no branch is checked out (a build of a tag), and `bitbucket_commit` if there is no repository
/// at all. Who owns the clone does not matter, unlike to git with its `safe.directory`.
pub(crate) fn version(
    format: Format,
    directory: &Path,
    bitbucket_commit: Option<&str>,
    bitbucket_branch: Option<&str>,
) -> Result<(String, Option<Diagnostic>), Error> {
    let (branch, id, warning) = match (head(directory), bitbucket_commit.and_then(short_id)) {
        (Ok((branch, id)), _) => (branch, id, None),
        (Err(error @ Error::NoRepository { .. }), Some(id)) => {
            let warning = Diagnostic::warning(format!("{error}: the image tag is made from `BITBUCKET_COMMIT`"));
            let hint =
                "its length may differ from that of the tag the image was built with: leave the step's `clone` enabled";
            (None, id, Some(warning.with_hint(hint)))
        }
        (Err(error), _) => return Err(error),
    };
    // `HEAD` is what git, and so faas-cli, print if there is no branch.
    let branch = branch.unwrap_or_else(|| bitbucket_branch.unwrap_or("HEAD").to_owned());
    let version = if format == Format::Branch { format!("{branch}-{id}") } else { id };
    Ok((version, warning))
}

/// The abbreviated id of a commit that Bitbucket names, with 40 digits or, on pull requests, with 12.
fn short_id(commit: &str) -> Option<String> {
    let is_id = commit.len() >= DEFAULT_ABBREV && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| commit[..DEFAULT_ABBREV].to_ascii_lowercase())
}

/// The branch that is checked out in the repository that `directory` is in, absent if `HEAD` is detached, and what
/// `git rev-parse --short HEAD` prints. Unlike git, it looks for the repository across file systems too.
fn head(directory: &Path) -> Result<(Option<String>, String), Error> {
    let directory = fs::canonicalize(directory)
        .map_err(|source| input::Error::Unreadable { path: directory.to_owned(), source })?;
    let git_dir = find(&directory)?;
    let config = read_if_exists(&git_dir.join("config"), MAX_FILE)?.unwrap_or_default();
    let config = String::from_utf8_lossy(&config);
    for (name, known) in [("objectformat", "sha1"), ("refstorage", "files")] {
        if let Some(value) = setting(&config, "extensions", name).filter(|value| *value != known) {
            let what = format!("`extensions.{name}` `{}`", quote(value));
            return Err(Error::Unsupported { what });
        }
    }
    if git_dir.join("objects/info/alternates").exists() {
        return Err(Error::Unsupported { what: "objects in another repository".to_owned() });
    }
    // Without a setting, the number of digits follows from the number of objects.
    let digits = match setting(&config, "core", "abbrev") {
        Some("no" | "off" | "false") => Some(2 * size_of::<Id>()),
        text => text.and_then(|text| text.parse().ok()).filter(|&digits| digits >= MINIMUM_ABBREV),
    };
    let (name, id) = resolve_head(&git_dir)?;
    let branch = String::from_utf8_lossy(name.strip_prefix(b"refs/heads/").unwrap_or(&name)).into_owned();
    let id = id.ok_or_else(|| Error::NoCommit { branch: branch.clone() })?;
    let id = abbreviate(&git_dir, &id, digits)?;
    Ok(((name != b"HEAD").then_some(branch), id))
}

/// The reference that `HEAD` leads to, and its id; absent if it does not exist, as that of a branch without commits
/// (gitrepository-layout(5), git-pack-refs(1)).
fn resolve_head(git_dir: &Path) -> Result<(Vec<u8>, Option<Id>), Error> {
    let mut name = b"HEAD".to_vec();
    for _ in 0..=MAX_SYMBOLIC {
        let path = git_dir.join(OsStr::from_bytes(&name));
        let Some(text) = read_if_exists(&path, MAX_FILE)? else {
            let id = packed(&git_dir.join("packed-refs"), &name)?;
            return Ok((name, id));
        };
        let text = text.trim_ascii_end();
        let damaged = || Error::damaged(&path, "neither an id nor the name of a reference");
        match text.strip_prefix(b"ref:").map(<[u8]>::trim_ascii_start) {
            Some(target) if is_valid(target) => name = target.to_vec(),
            Some(_) => return Err(damaged()),
            None => {
                let id = parse_id(text.split(u8::is_ascii_whitespace).next().unwrap_or_default());
                return Ok((name, Some(id.ok_or_else(damaged)?)));
            }
        }
    }
    Err(Error::damaged(&git_dir.join("HEAD"), "references that lead nowhere"))
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

/// The `.git` of the directory, or of the nearest one above it.
fn find(directory: &Path) -> Result<PathBuf, Error> {
    for ancestor in directory.ancestors() {
        let path = ancestor.join(".git");
        let head = path.join("HEAD");
        match fs::symlink_metadata(&head) {
            Ok(_) if path.join("objects").is_dir() && path.join("refs").is_dir() => return Ok(path),
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                return Err(input::Error::Unreadable { path: head, source }.into());
            }
            _ if path.is_file() => {
                let what = format!("a file `{}`, as worktrees and submodules have", quote(&path.to_string_lossy()));
                return Err(Error::Unsupported { what });
            }
            _ => {}
        }
    }
    Err(Error::NoRepository { directory: directory.to_path_buf() })
}

/// A setting of the clone itself (git-config(1), "Syntax"); those of the machine and the user are outside of it. The name of
/// section and setting are in lower case, and the section has no subsections.
fn setting<'a>(config: &'a str, section: &str, name: &str) -> Option<&'a str> {
    let mut is_in_section = false;
    let mut found = None;
    for line in config.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            is_in_section = header.trim_end_matches(']').trim().eq_ignore_ascii_case(section);
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_in_section)
            && key.trim().eq_ignore_ascii_case(name)
        {
            // The last one counts, as for git.
            found = Some(value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches('"'));
        }
    }
    found
}

/// The contents of a file, if it exists and is not a directory. A pipe or a device is an error: it could be endless.
fn read_if_exists(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        _ => Ok(Some(input::read(path, limit)?)),
    }
}

/// Reads forty hexadecimal digits of either case, as git does.
fn parse_id(hex: &[u8]) -> Option<Id> {
    let mut id = Id::default();
    if hex.len() != 2 * id.len() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |hex: u8| char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(id)
}

/// The first digits of an id: as many as the number of objects asks for, and as make it unique among their names. `setting` is their number if the clone's configuration says it.
fn abbreviate(git_dir: &Path, id: &Id, setting: Option<usize>) -> Result<String, Error> {
    let objects = git_dir.join("objects");
    let indexes: Vec<Index> = indexes(&objects.join("pack"))?.into_iter().map(Index::open).collect::<Result<_, _>>()?;
    let digits = setting.unwrap_or_else(|| {
        // Only packed objects count for git. Collisions are to be expected from the square root of the number on: half its
        // bits, four of them a digit.
        let count: u64 = indexes.iter().map(|index| u64::from(index.count)).sum();
        let bits = u64::BITS - count.max(1).leading_zeros();
        DEFAULT_ABBREV.max(bits.div_ceil(2) as usize)
    });
    let mut common = loose_ids(&objects, id)?.iter().map(|other| common_digits(id, other)).max().unwrap_or(0);
    for index in &indexes {
        common = common.max(index.common_digits(id)?);
    }
    let mut text = hex(id);
    text.truncate(digits.max(common + 1));
    Ok(text)
}

/// How many hexadecimal digits two ids have in common from the start; 0 if they are the same.
fn common_digits(id: &Id, other: &Id) -> usize {
    let at = id.iter().zip(other).position(|(a, b)| a != b);
    at.map_or(0, |at| 2 * at + usize::from(id[at] >> 4 == other[at] >> 4))
}

/// The ids of the loose objects that begin with the same byte.
fn loose_ids(objects: &Path, id: &Id) -> Result<Vec<Id>, Error> {
    let prefix = hex(&id[..1]);
    let names = names(&objects.join(&prefix))?;
    Ok(names.iter().filter_map(|name| parse_id(&[prefix.as_bytes(), name.as_encoded_bytes()].concat())).collect())
}

/// The paths of the packs' indexes.
fn indexes(packs: &Path) -> Result<Vec<PathBuf>, Error> {
    let paths = names(packs)?.into_iter().map(|name| packs.join(name));
    let indexes = paths.filter(|path| path.extension() == Some("idx".as_ref()));
    // git leaves an index behind when it is stopped while it deletes a pack.
    Ok(indexes.filter(|path| path.with_extension("pack").exists()).collect())
}

/// The names in a directory; none if it does not exist.
fn names(directory: &Path) -> Result<Vec<OsString>, Error> {
    let unreadable = |source| Error::from(input::Error::Unreadable { path: directory.to_owned(), source });
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(unreadable),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unreadable(error)),
    }
}

/// The index of a pack, with the sorted ids of its objects (gitformat-pack(5), version 2). Of a large one, little is read.
struct Index {
    path: PathBuf,
    file: File,
    count: u32,
}

impl Index {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let (file, length) = input::open(&path)?;
        let mut index = Self { path, file, count: 0 };
        if index.bytes::<8>(0)? != *HEADER {
            return Err(Error::damaged(&index.path, "not an index of version 2"));
        }
        index.count = index.fan_out(0xff)?;
        if length < IDS + BYTES_PER_OBJECT * u64::from(index.count) {
            return Err(Error::damaged(&index.path, "it is cut off"));
        }
        Ok(index)
    }

    fn bytes<const N: usize>(&self, at: u64) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        let read = self.file.read_exact_at(&mut bytes, at);
        read.map_err(|source| input::Error::Unreadable { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    /// How many ids begin with this byte or a lower one.
    fn fan_out(&self, byte: u8) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.bytes(FAN_OUT + 4 * u64::from(byte))?))
    }

    fn id(&self, at: u32) -> Result<Id, Error> {
        self.bytes(IDS + 20 * u64::from(at))
    }

    /// The most digits that another id has in common with this one. Only the ids beside it can have the most.
    fn common_digits(&self, id: &Id) -> Result<usize, Error> {
        let begin = if id[0] == 0 { 0 } else { self.fan_out(id[0] - 1)? };
        let end = self.fan_out(id[0])?;
        if begin > end || end > self.count {
            return Err(Error::damaged(&self.path, "its table is not in order"));
        }
        let (mut low, mut high) = (begin, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.id(middle)? < *id { low = middle + 1 } else { high = middle }
        }
        let mut most = 0;
        for at in low.saturating_sub(1).max(begin)..low.saturating_add(2).min(end) {
            most = most.max(common_digits(id, &self.id(at)?));
        }
        Ok(most)
    }
}
