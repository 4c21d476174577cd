//! Reads files of a clone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::error::Error;

/// Opens a regular file. To open a named pipe would be to wait for its writer.
pub(super) fn open(path: &Path) -> io::Result<File> {
    match fs::metadata(path)? {
        entry if entry.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        entry if !entry.is_file() => Err(io::Error::other("not a regular file")),
        _ => File::open(path),
    }
}

/// The contents of a regular file, if there is one.
pub(super) fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    let mut bytes = Vec::new();
    match open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
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
