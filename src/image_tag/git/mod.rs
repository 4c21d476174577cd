//! The commit and the branch of a clone, read from its `.git` without a git program. No object is opened.

mod abbreviation;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Explain};
use crate::files::input;

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
    let id = abbreviation::abbreviate(&git_dir, &id, digits)?;
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
