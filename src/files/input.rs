//! Files that the variables name: where they are looked for, and how much of them is read.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::console::log::quote;

/// Why a file cannot be used, with its path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is in none of the places.
    #[error("`{}` is not there, neither in the working directory nor in the clone directory", quote(path))]
    NotFound {
        /// The path as it was written.
        path: String,
    },
    /// It is a directory, a pipe or a device.
    #[error("`{}` is {kind}, not a file", quote(&path.display().to_string()))]
    NotAFile {
        /// Where it was found.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It is too large.
    #[error("`{}` is larger than {} KiB", quote(&path.display().to_string()), limit / 1024)]
    TooLarge {
        /// Where it was found.
        path: PathBuf,
        /// The most that is read, in bytes.
        limit: usize,
    },
    /// It cannot be read.
    #[error("`{}` cannot be read: {source}", quote(&path.display().to_string()))]
    Unreadable {
        /// Where it was found.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// The path of a file that a variable names: from the working directory, else from the clone directory. The second is the
/// directory that it was found from.
pub(crate) fn find(path: &str, clone_dir: Option<&Path>) -> Result<(PathBuf, PathBuf), Error> {
    let working = PathBuf::from(".");
    for base in [Some(working.as_path()), clone_dir].into_iter().flatten() {
        let candidate = if base == working { PathBuf::from(path) } else { base.join(path) };
        if candidate.exists() {
            return Ok((candidate, base.to_owned()));
        }
    }
    Err(Error::NotFound { path: path.to_owned() })
}

/// Opens a regular file; a pipe or a device could be endless.
pub(crate) fn open(path: &Path) -> Result<(File, u64), Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    // Asked before opening: to open a pipe is to wait for its writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a directory" } else { "a pipe or a device" };
        return Err(Error::NotAFile { path: path.to_owned(), kind });
    }
    let file = File::open(path).map_err(unreadable)?;
    Ok((file, metadata.len()))
}

/// The contents of a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let (file, _) = open(path)?;
    let mut contents = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut contents).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    if contents.len() > limit {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(contents)
}
