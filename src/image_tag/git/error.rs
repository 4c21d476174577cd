//! Why a fact about the clone cannot be found, and what may be wrong with one that was.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::console::log::quote;

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
    /// The id of a commit belongs to another kind of object.
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

    pub(super) fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read { path: path.to_path_buf(), source }
    }

    pub(super) fn damaged(path: &Path, what: &'static str) -> Self {
        Self::Damaged { path: path.to_path_buf(), what }
    }
}
