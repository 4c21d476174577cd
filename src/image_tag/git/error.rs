//! Errors and warnings about the clone's git repository.

use std::io;
use std::path::{Path, PathBuf};

use crate::console::log::quote;
use crate::diagnostic::Explain;
use crate::files::input;

/// The version is made without a clone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not in a git repository: the image tag is made from `BITBUCKET_COMMIT`", quote(&directory.to_string_lossy()))]
pub(crate) struct Warning {
    pub(super) directory: PathBuf,
}

impl Explain for Warning {
    fn hint(&self) -> Option<String> {
        let hint =
            "its length may differ from that of the tag the image was built with: leave the step's `clone` enabled";
        Some(hint.to_owned())
    }
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
    pub(super) fn damaged(path: &Path, what: &'static str) -> Self {
        Self::Damaged { path: path.to_path_buf(), what }
    }
}
