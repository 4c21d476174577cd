//! The commit and the branch of a clone, read from its `.git` without a git program. No object is opened.

mod abbreviation;
mod error;
mod refs;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::console::log::quote;
use crate::files::input;
pub(crate) use error::{Error, Warning};

/// Digits in an abbreviated id of a small repository.
const DEFAULT_ABBREV: usize = 7;
/// Shortest abbreviation that git knows.
const MINIMUM_ABBREV: usize = 4;
/// The largest file that is read, except for `packed-refs`.
const MAX_FILE: usize = 1 << 20;

/// A commit's SHA-1.
type Id = [u8; 20];

/// A form of image tag that is made from the clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Sha,
    /// The branch and the commit's abbreviated id.
    Branch,
}

/// The state that `faas-cli --tag` would ask git for in `directory`, as it becomes part of an image tag.
///
/// `bitbucket_branch` is used if no branch is checked out (a build of a tag), and `bitbucket_commit` if there is no repository
/// at all. Who owns the clone does not matter, unlike to git with its `safe.directory`.
pub(crate) fn version(
    format: Format,
    directory: &Path,
    bitbucket_commit: Option<&str>,
    bitbucket_branch: Option<&str>,
) -> Result<(String, Option<Warning>), Error> {
    let (branch, id, warning) = match (Clone::open(directory), bitbucket_commit.and_then(short_id)) {
        (Ok(clone), _) => {
            let (branch, id) = clone.head()?;
            (branch, id, None)
        }
        (Err(Error::NoRepository { directory }), Some(id)) => (None, id, Some(Warning { directory })),
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

struct Clone {
    git_dir: PathBuf,
    /// `core.abbrev`; absent if the number of digits follows from the number of objects.
    abbrev: Option<usize>,
}

impl Clone {
    /// Opens the repository that `directory` is in. Unlike git, it looks for it across file systems too.
    fn open(directory: &Path) -> Result<Self, Error> {
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
        let abbrev = match setting(&config, "core", "abbrev") {
            Some("no" | "off" | "false") => Some(2 * size_of::<Id>()),
            text => text.and_then(|text| text.parse().ok()).filter(|&digits| digits >= MINIMUM_ABBREV),
        };
        Ok(Self { git_dir, abbrev })
    }

    /// The branch that is checked out, absent if `HEAD` is detached, and what `git rev-parse --short HEAD` prints.
    fn head(&self) -> Result<(Option<String>, String), Error> {
        let refs::Resolved { name, id } = refs::resolve(&self.git_dir, b"HEAD")?;
        let branch = String::from_utf8_lossy(name.strip_prefix(b"refs/heads/").unwrap_or(&name)).into_owned();
        let id = id.ok_or_else(|| Error::NoCommit { branch: branch.clone() })?;
        let id = abbreviation::abbreviate(&self.git_dir, &id, self.abbrev)?;
        Ok(((name != b"HEAD").then_some(branch), id))
    }
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
