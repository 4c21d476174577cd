//! The facts about a clone that image tags are made from, read from its `.git` without a git program.

mod commit;
mod config;
mod describe;
mod id;
mod objects;
mod pack;
mod refs;
#[cfg(test)]
mod tests;
mod zlib;

use std::{
    collections::HashSet,
    fmt,
    fs::{self, File},
    io::{self, Read},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use crate::console::log::quote;
use config::Config;
use describe::Description;
use id::Id;
use objects::{Kind, Objects};
use refs::{Refs, Resolved};

/// Digits in an abbreviated id of a small repository.
const DEFAULT_ABBREV: usize = 7;

/// Most that is read of a file that git keeps small: `HEAD`, `config`, `shallow` and their like.
const SMALL: u64 = 4 << 20;

/// A form of image tag that is made from facts about the clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The commit's abbreviated id.
    Sha,
    /// The branch and the commit's abbreviated id.
    Branch,
    /// What `git describe --tags --always` says.
    Describe,
}

/// What an image tag is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// The branch, for [`Format::Branch`] only. `HEAD` where there is none.
    pub branch: Option<String>,
    /// The abbreviated id or the description.
    pub version: String,
    /// What the user may want to know about it.
    pub warnings: Vec<Warning>,
}

/// What may be wrong with a version although it could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// No tag was found, but the clone holds only a part of the history.
    Shallow,
    /// There is no clone; the commit is that of the pipeline.
    NoClone {
        /// The directory that is in no repository.
        directory: PathBuf,
    },
    /// Branch or git tag hold a character that no image tag may hold.
    NotInTags {
        /// The text that holds it.
        text: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shallow => f.write_str("no git tag was found in the part of the history that was cloned"),
            Self::NoClone { directory } => {
                let directory = quote(&directory.to_string_lossy());
                write!(f, "`{directory}` is not in a git repository: the image tag is made from `BITBUCKET_COMMIT`")
            }
            Self::NotInTags { text } => {
                write!(f, "`{}` has a character that an image tag cannot have", quote(text))
            }
        }
    }
}

impl Warning {
    /// What to change.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Shallow => "set `clone: depth: full` for the step that builds the image and for this one",
            Self::NoClone { .. } => {
                "its length may differ from that of the tag the image was built with: leave the step's `clone` enabled"
            }
            Self::NotInTags { .. } => "no image can have been built with this tag: `TAG_FORMAT: sha` always works",
        }
    }
}

/// Why a fact cannot be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no `.git` in the directory or one that it lies in.
    #[error("`{}` is not in a git repository", quote(&directory.to_string_lossy()))]
    NoRepository {
        /// Where the search began.
        directory: PathBuf,
    },
    /// The repository is new.
    #[error("branch `{}` has no commit", quote(branch))]
    NoCommit {
        /// The branch that is checked out.
        branch: String,
    },
    /// A file of the repository cannot be read, or a part of it cannot be uncompressed.
    #[error("cannot read `{}`: {source}", quote(&path.to_string_lossy()))]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of the repository is not as git writes it.
    #[error("`{}` is damaged: {what}", quote(&path.to_string_lossy()))]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A commit or tag is not in the clone although it should be.
    #[error("git object {id} is missing from the clone")]
    Missing {
        /// Its id.
        id: String,
    },
    /// A commit's id stands for something else.
    #[error("git object {id} is not a commit")]
    NotACommit {
        /// Its id.
        id: String,
    },
    /// The repository is of a form that is not read here.
    #[error("the git repository has {what}, which this pipe cannot read")]
    Unsupported {
        /// The form.
        what: String,
    },
    /// The setting has a value that git refuses.
    #[error("`core.abbrev` is `{}` in `{}`", quote(value), quote(&path.to_string_lossy()))]
    Abbrev {
        /// The file with the setting.
        path: PathBuf,
        /// Its value.
        value: String,
    },
}

impl Error {
    /// What to change.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NoRepository { .. } => {
                "`TAG_FORMAT` needs the step's clone: leave `clone: enabled` as it is, or set `TAG_FORMAT: latest`"
            }
            Self::NoCommit { .. } => "commit before you deploy",
            Self::Abbrev { .. } => "set a number of at least 4, `auto` or `no`",
            Self::Unsupported { .. } => "clone it with `git clone` in its default form, or set `TAG_FORMAT: latest`",
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "let every user read the clone: `chmod -R a+rX .` in the step's script, before the pipe"
            }
            Self::Read { .. } | Self::Damaged { .. } | Self::Missing { .. } | Self::NotACommit { .. } => {
                "clone the repository anew: what the step before this one left in `.git` is not whole"
            }
        }
    }

    fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read { path: path.to_path_buf(), source }
    }

    fn damaged(path: &Path, what: &'static str) -> Self {
        Self::Damaged { path: path.to_path_buf(), what }
    }
}

/// What `faas-cli --tag` would ask git for in `directory`.
///
/// `bitbucket_branch` stands in where no branch is checked out (a build of a tag), and `bitbucket_commit` where there is
/// no repository at all; what git tags there are cannot be known then. Who owns the clone does not matter, unlike to
/// git with its `safe.directory`.
pub(crate) fn version(
    format: Format,
    directory: &Path,
    bitbucket_commit: Option<&str>,
    bitbucket_branch: Option<&str>,
) -> Result<Version, Error> {
    let mut warnings = Vec::new();
    let or_bitbucket = |branch: Option<String>| branch.or_else(|| bitbucket_branch.map(str::to_owned));
    let (version, branch) = match (Repository::open(directory), bitbucket_commit.and_then(short_id)) {
        (Ok(repository), _) => match format {
            Format::Sha => (repository.short_sha()?, None),
            Format::Branch => (repository.short_sha()?, or_bitbucket(repository.branch()?)),
            Format::Describe => {
                let (text, tagged) = repository.describe()?;
                warnings.extend((!tagged && repository.is_shallow()).then_some(Warning::Shallow));
                (text, None)
            }
        },
        (Err(Error::NoRepository { directory }), Some(id)) if format != Format::Describe => {
            warnings.push(Warning::NoClone { directory });
            (id, or_bitbucket(None))
        }
        (Err(error), _) => return Err(error),
    };
    // What git, and so faas-cli, says where there is no branch.
    let branch = (format == Format::Branch).then(|| branch.unwrap_or_else(|| "HEAD".to_owned()));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let unfit = branch.iter().chain([&version]).find(|text| !text.bytes().all(allowed));
    warnings.extend(unfit.map(|text| Warning::NotInTags { text: text.clone() }));
    Ok(Version { branch, version, warnings })
}

/// The abbreviated id of a commit that Bitbucket names, with 40 digits or, on pull requests, with 12.
fn short_id(commit: &str) -> Option<String> {
    let is_id = commit.len() >= DEFAULT_ABBREV && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| commit[..DEFAULT_ABBREV].to_ascii_lowercase())
}

/// A clone, or a worktree of one.
pub(crate) struct Repository {
    config: Config,
    refs: Refs,
    objects: Objects,
    /// Commits whose parents were not cloned.
    shallow: HashSet<Id>,
}

impl Repository {
    /// Opens the repository that `directory` is in. Unlike git, it looks for it across file systems too.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let directory = fs::canonicalize(directory).map_err(Error::read(directory))?;
        let git_dir = find(&directory)?;
        let common_dir = common_dir(&git_dir)?;
        let config = Config::read(&git_dir, &common_dir)?;
        let unsupported = match (&config.object_format, &config.ref_storage) {
            (Some(format), _) => Some(format!("objects named by `{}`", quote(format))),
            (_, Some(storage)) => Some(format!("references kept as `{}`", quote(storage))),
            _ => None,
        };
        if let Some(what) = unsupported {
            return Err(Error::Unsupported { what });
        }
        let path = common_dir.join("shallow");
        let shallow = read_small(&path)?.unwrap_or_default();
        let shallow = shallow.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let shallow =
            shallow.map(|line| Id::from_hex(line).ok_or_else(|| Error::damaged(&path, "a line without an id")));
        Ok(Self {
            shallow: shallow.collect::<Result<_, _>>()?,
            objects: Objects::open(common_dir.join("objects"), !config.no_multi_pack_index)?,
            refs: Refs { git_dir, common_dir },
            config,
        })
    }

    /// What `git rev-parse --short HEAD` says.
    pub(crate) fn short_sha(&self) -> Result<String, Error> {
        self.abbreviate(self.head()?)
    }

    /// The branch that is checked out, as `git rev-parse --abbrev-ref HEAD` says it; nothing where `HEAD` is detached.
    pub(crate) fn branch(&self) -> Result<Option<String>, Error> {
        let Resolved { name, .. } = self.refs.resolve(b"HEAD")?;
        if name == b"HEAD" {
            return Ok(None);
        }
        let short = self.refs.shorten(&name)?;
        Ok(Some(String::from_utf8_lossy(&short).into_owned()))
    }

    /// What `git describe --tags --always` says, and whether there is a tag in it.
    pub(crate) fn describe(&self) -> Result<(String, bool), Error> {
        let head = self.head()?;
        let suffix = |depth, id| Ok(format!("-{depth}-g{}", self.abbreviate(id)?));
        let text = match describe::describe(&self.objects, &self.refs, &self.shallow, head)? {
            Description::Exact { name, misnamed: None } => name,
            Description::Exact { name, misnamed: Some(target) } => name + &suffix(0, target)?,
            Description::Above { name, depth } => name + &suffix(depth, head)?,
            Description::Untagged => return Ok((self.abbreviate(head)?, false)),
        };
        Ok((text, true))
    }

    /// Whether the clone holds only a part of the history.
    pub(crate) fn is_shallow(&self) -> bool {
        !self.shallow.is_empty()
    }

    fn head(&self) -> Result<Id, Error> {
        let Resolved { name, id } = self.refs.resolve(b"HEAD")?;
        let id = id.ok_or_else(|| {
            let name = String::from_utf8_lossy(&name);
            let branch = name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned();
            Error::NoCommit { branch }
        })?;
        match self.objects.read(&id)? {
            (Kind::Commit, _) => Ok(id),
            _ => Err(Error::NotACommit { id: id.to_string() }),
        }
    }

    /// The id as short as the setting or the number of objects has it, and no shorter than makes it the only one.
    fn abbreviate(&self, id: Id) -> Result<String, Error> {
        let digits = self.config.abbrev.unwrap_or_else(|| {
            // Collisions are to be expected from the square root of the number on: half its bits, four of them a digit.
            let bits = u64::BITS - self.objects.approximate_count.max(1).leading_zeros();
            DEFAULT_ABBREV.max(bits.div_ceil(2) as usize)
        });
        let unique = self.objects.most_common_digits(&id)? + 1;
        Ok(id.short(digits.max(unique)))
    }
}

/// The repository's directory, from the one given upwards: `.git`, what a file `.git` names, or a bare repository.
fn find(directory: &Path) -> Result<PathBuf, Error> {
    for ancestor in directory.ancestors() {
        let path = ancestor.join(".git");
        if is_git_dir(&path)? {
            return Ok(path);
        }
        if path.is_file() {
            let text = read_small(&path)?.unwrap_or_default();
            let target = text.strip_prefix(b"gitdir: ").map(|target| ancestor.join(to_path(target)));
            return match target {
                Some(target) if is_git_dir(&target)? => Ok(target),
                _ => Err(Error::damaged(&path, "it does not name a git directory")),
            };
        }
        if is_git_dir(ancestor)? {
            return Ok(ancestor.to_path_buf());
        }
    }
    Err(Error::NoRepository { directory: directory.to_path_buf() })
}

fn is_git_dir(path: &Path) -> Result<bool, Error> {
    let head = path.join("HEAD");
    match fs::symlink_metadata(&head) {
        Ok(_) => {
            let common_dir = common_dir(path)?;
            Ok(common_dir.join("objects").is_dir() && common_dir.join("refs").is_dir())
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::read(&head)(error)),
        Err(_) => Ok(false),
    }
}

/// Where a worktree's directory says that objects, branches and settings are; else the directory itself.
fn common_dir(git_dir: &Path) -> Result<PathBuf, Error> {
    let target = read_small(&git_dir.join("commondir"))?;
    Ok(target.map_or_else(|| git_dir.to_path_buf(), |target| git_dir.join(to_path(&target))))
}

fn to_path(line: &[u8]) -> PathBuf {
    std::ffi::OsString::from_vec(line.trim_ascii_end().to_vec()).into()
}

/// A whole file; nothing where there is none.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    let mut bytes = Vec::new();
    match open(path).and_then(|file| file.take(SMALL + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 > SMALL => Err(Error::damaged(path, "it is larger than git would make it")),
        Ok(_) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | IsADirectory) => Ok(None),
        Err(error) => Err(Error::read(path)(error)),
    }
}

/// Opens a regular file; a named pipe would keep the run waiting.
fn open(path: &Path) -> io::Result<File> {
    match fs::metadata(path)? {
        entry if entry.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        entry if !entry.is_file() => Err(io::Error::other("not a regular file")),
        _ => File::open(path),
    }
}
