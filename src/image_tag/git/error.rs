//! Errors and warnings about the clone's git repository.

use std::io;
use std::path::{Path, PathBuf};

use crate::console::log::quote;

/// What may be wrong with a version although it could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Warning {
    #[error("no git tag was found in the part of the history that was cloned")]
    Shallow,
    /// The directory is in no repository.
    #[error("`{}` is not in a git repository: the image tag is made from `BITBUCKET_COMMIT`", quote(&directory.to_string_lossy()))]
    NoClone { directory: PathBuf },
}

impl Warning {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Shallow => "set `clone: depth: full` for the step that builds the image and for this one",
            Self::NoClone { .. } => {
                "its length may differ from that of the tag the image was built with: leave the step's `clone` enabled"
            }
        }
    }
}

/// Why a fact cannot be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`{}` is not in a git repository", quote(&directory.to_string_lossy()))]
    NoRepository { directory: PathBuf },
    #[error("branch `{}` has no commit", quote(branch))]
    NoCommit { branch: String },
    #[error("cannot read `{}`: {source}", quote(&path.to_string_lossy()))]
    Read { path: PathBuf, source: io::Error },
    /// A file of the repository, or an object in a directory, is not as git writes it.
    #[error("`{}` is damaged: {what}", quote(&path.to_string_lossy()))]
    Damaged { path: PathBuf, what: &'static str },
    #[error("git object {id} is missing from the clone")]
    Missing { id: String },
    /// The repository is of a form that is not read here.
    #[error("the git repository has {what}, which this pipe cannot read")]
    Unsupported { what: String },
}

impl Error {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NoRepository { .. } => {
                "`TAG_FORMAT` needs the step's clone: leave `clone: enabled` as it is, or set `TAG_FORMAT: latest`"
            }
            Self::NoCommit { .. } => "commit before you deploy",
            Self::Unsupported { .. } => "clone it with `git clone` in its default form, or set `TAG_FORMAT: latest`",
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "let every user read the clone: `chmod -R a+rX .` in the step's script, before the pipe"
            }
            Self::Read { .. } | Self::Damaged { .. } | Self::Missing { .. } => {
                "clone the repository again: `.git` is damaged or incomplete"
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
