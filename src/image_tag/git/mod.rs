//! The facts about a clone that image tags are made from, read from its `.git` without a git program.

mod config;
mod describe;
mod error;
mod files;
mod id;
mod object;
mod objects;
mod pack;
mod refs;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::console::log::quote;
use config::Config;
pub(crate) use error::{Error, Warning};
use id::Id;
use objects::Objects;
use refs::{Refs, Resolved};

/// Digits in an abbreviated id of a small repository.
const DEFAULT_ABBREV: usize = 7;

/// A form of image tag that is made from facts about the clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Sha,
    /// The branch and the commit's abbreviated id.
    Branch,
    /// What `git describe --tags --always` says.
    Describe,
}

/// What `faas-cli --tag` would ask git for in `directory`, as it becomes part of an image tag.
///
/// `bitbucket_branch` is used if no branch is checked out (a build of a tag), and `bitbucket_commit` if there is
/// no repository at all; what git tags there are cannot be known then. Who owns the clone does not matter, unlike to
/// git with its `safe.directory`.
pub(crate) fn version(
    format: Format,
    directory: &Path,
    bitbucket_commit: Option<&str>,
    bitbucket_branch: Option<&str>,
) -> Result<(String, Option<Warning>), Error> {
    // `HEAD` is what git, and so faas-cli, print if there is no branch.
    let on = |branch: Option<String>| branch.unwrap_or_else(|| bitbucket_branch.unwrap_or("HEAD").to_owned());
    match (Repository::open(directory), bitbucket_commit.and_then(short_id)) {
        (Ok(repository), _) => match format {
            Format::Sha => Ok((repository.short_sha()?, None)),
            Format::Branch => Ok((format!("{}-{}", on(repository.branch()?), repository.short_sha()?), None)),
            Format::Describe => {
                let (text, tagged) = repository.describe()?;
                Ok((text, (!tagged && !repository.shallow.is_empty()).then_some(Warning::Shallow)))
            }
        },
        (Err(Error::NoRepository { directory }), Some(id)) if format != Format::Describe => {
            let version = if format == Format::Branch { format!("{}-{id}", on(None)) } else { id };
            Ok((version, Some(Warning::NoClone { directory })))
        }
        (Err(error), _) => Err(error),
    }
}

/// The abbreviated id of a commit that Bitbucket names, with 40 digits or, on pull requests, with 12.
fn short_id(commit: &str) -> Option<String> {
    let is_id = commit.len() >= DEFAULT_ABBREV && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| commit[..DEFAULT_ABBREV].to_ascii_lowercase())
}

/// A clone.
struct Repository {
    config: Config,
    refs: Refs,
    objects: Objects,
    /// Commits whose parents were not cloned.
    shallow: HashSet<Id>,
}

impl Repository {
    /// Opens the repository that `directory` is in. Unlike git, it looks for it across file systems too.
    fn open(directory: &Path) -> Result<Self, Error> {
        let directory = fs::canonicalize(directory).map_err(Error::read(directory))?;
        let git_dir = find(&directory)?;
        let config = Config::read(&git_dir)?;
        let path = git_dir.join("shallow");
        let shallow = files::read_if_exists(&path)?.unwrap_or_default();
        let shallow = shallow.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let shallow =
            shallow.map(|line| Id::from_hex(line).ok_or_else(|| Error::damaged(&path, "a line without an id")));
        Ok(Self {
            shallow: shallow.collect::<Result<_, _>>()?,
            objects: Objects::open(git_dir.join("objects"))?,
            refs: Refs::open(git_dir)?,
            config,
        })
    }

    /// What `git rev-parse --short HEAD` says.
    fn short_sha(&self) -> Result<String, Error> {
        self.abbreviate(self.head()?)
    }

    /// The branch that is checked out. `None` if `HEAD` is detached.
    fn branch(&self) -> Result<Option<String>, Error> {
        let Resolved { name, .. } = self.refs.resolve(b"HEAD")?;
        Ok((name != b"HEAD").then(|| branch_name(&name)))
    }

    /// What `git describe --tags --always` says, and whether there is a tag in it.
    fn describe(&self) -> Result<(String, bool), Error> {
        let head = self.head()?;
        Ok(match describe::describe(&self.objects, &self.refs, &self.shallow, head)? {
            Some((name, None)) => (name, true),
            Some((name, Some((depth, id)))) => (format!("{name}-{depth}-g{}", self.abbreviate(id)?), true),
            None => (self.abbreviate(head)?, false),
        })
    }

    fn head(&self) -> Result<Id, Error> {
        let Resolved { name, id } = self.refs.resolve(b"HEAD")?;
        let id = id.ok_or_else(|| Error::NoCommit { branch: branch_name(&name) })?;
        self.objects.commit(&id)?;
        Ok(id)
    }

    /// The id as short as the setting or the number of objects has it, and no shorter than makes it the only one.
    fn abbreviate(&self, id: Id) -> Result<String, Error> {
        let digits = self.config.abbrev.unwrap_or_else(|| {
            // Collisions are to be expected from the square root of the number on: half its bits, four of them a digit.
            let bits = u64::BITS - self.objects.count().max(1).leading_zeros();
            DEFAULT_ABBREV.max(bits.div_ceil(2) as usize)
        });
        let unique = self.objects.most_common_digits(&id)? + 1;
        Ok(id.short(digits.max(unique)))
    }
}

fn branch_name(reference: &[u8]) -> String {
    String::from_utf8_lossy(reference.strip_prefix(b"refs/heads/").unwrap_or(reference)).into_owned()
}

/// The `.git` of the directory, or of the nearest one above it.
fn find(directory: &Path) -> Result<PathBuf, Error> {
    for ancestor in directory.ancestors() {
        let path = ancestor.join(".git");
        let head = path.join("HEAD");
        match fs::symlink_metadata(&head) {
            Ok(_) if path.join("objects").is_dir() && path.join("refs").is_dir() => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(Error::read(&head)(error)),
            _ if path.is_file() => {
                let what = format!("a file `{}`, as worktrees and submodules have", quote(&path.to_string_lossy()));
                return Err(Error::Unsupported { what });
            }
            _ => {}
        }
    }
    Err(Error::NoRepository { directory: directory.to_path_buf() })
}
