//! Reads files of a clone.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::error::Error;

/// The contents of a file, if there is one.
pub(super) fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | IsADirectory) => Ok(None),
        Err(error) => Err(Error::read(path)(error)),
    }
}

/// The names in a directory; none if it does not exist.
pub(super) fn names(directory: &Path) -> Result<Vec<OsString>, Error> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(Error::read(directory))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::read(directory)(error)),
    }
}
