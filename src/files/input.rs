//! Reads files that variables name, up to a limit.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use crate::console::log::{quote, whole_or_length};

/// Why a file cannot be used, with its path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`{}` does not exist, neither in the working directory nor in the clone directory", whole_or_length(path))]
    NotFound { path: String },
    #[error("`{}` is a link out of the clone directory: copy the file into it", whole_or_length(path))]
    Outside { path: String },
    #[error("`{}` is {kind}, not a file", quote(&path.display().to_string()))]
    NotAFile { path: PathBuf, kind: &'static str },
    #[error("`{}` is not a directory", quote(&path.display().to_string()))]
    NotADirectory { path: PathBuf },
    #[error("`{}` is larger than {} KiB", quote(&path.display().to_string()), limit / 1024)]
    TooLarge { path: PathBuf, limit: usize },
    #[error("`{}` cannot be read: {source}", quote(&path.display().to_string()))]
    Unreadable { path: PathBuf, source: std::io::Error },
}

/// Looks for a file in the working directory, then in the clone directory. The second path is the directory that it was found in.
pub(crate) fn find(path: &str, clone_dir: Option<&Path>) -> Result<(PathBuf, PathBuf), Error> {
    let working = Some((PathBuf::from(path), PathBuf::from(".")));
    let in_clone = clone_dir.map(|dir| (dir.join(path), dir.to_owned()));
    let found = [working, in_clone].into_iter().flatten().find(|(candidate, _)| candidate.exists());
    found.ok_or_else(|| Error::NotFound { path: path.to_owned() })
}

/// Looks for a file whose content leaves the step: a link in the clone must not lead to the step's own files.
pub(crate) fn find_to_send(path: &str, clone_dir: Option<&Path>) -> Result<PathBuf, Error> {
    let (found, base) = find(path, clone_dir)?;
    let Some(clone_dir) = clone_dir else { return Ok(found) };
    // As it is written, without links: `a/../link` is `link`.
    let written = |path: &Path| without_dots(&std::path::absolute(path).ok()?);
    let name = written(&found);
    let is_within =
        |directory: &Path| name.as_ref().zip(written(directory)).is_some_and(|(name, outer)| name.starts_with(outer));
    let is_named_inside = is_within(clone_dir) || Path::new(path).is_relative() && is_within(&base);
    if is_named_inside && ![&base, clone_dir].into_iter().any(|directory| is_below(&found, directory)) {
        return Err(Error::Outside { path: path.to_owned() });
    }
    Ok(found)
}

/// True if a path is in a directory, links followed.
pub(crate) fn is_below(path: &Path, directory: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| directory.canonicalize().is_ok_and(|directory| path.starts_with(directory)))
}

/// A path without `.` and `..`, links not followed; `None` if it leads out of where it starts.
pub(crate) fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop().then_some(())?;
            }
            part => clean.push(part),
        }
    }
    Some(clean)
}

/// Opens a regular file; a pipe or a device could be endless.
pub(crate) fn open(path: &Path) -> Result<(File, u64), Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    // Asked before opening: to open a pipe is to wait for its writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    check_regular(path, &metadata)?;
    let file = File::open(path).map_err(unreadable)?;
    Ok((file, metadata.len()))
}

/// True if a path is a regular file, and no directory, pipe or device.
pub(super) fn check_regular(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    let kind = if metadata.is_dir() { "a directory" } else { "a pipe or a device" };
    if metadata.is_file() { Ok(()) } else { Err(Error::NotAFile { path: path.to_owned(), kind }) }
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
