//! The hash of a handler folder, as `faas-cli --tag digest` makes it.

use std::fs::{self, File, FileType};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::console::log::quote;
use crate::diagnostic::Explain;

/// Files are hashed by pieces of this size, so that memory does not grow with them.
const BUFFER: usize = 64 * 1024;
/// A larger folder is no handler; a sparse file could take hours.
const MAX_BYTES: u64 = 4 << 30;

/// A handler folder that could not be hashed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot hash the handler folder: cannot read `{}`: {source}", quote(&path.to_string_lossy()))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot hash the handler folder: it has more than {} GiB, with `{}`", MAX_BYTES >> 30, quote(&path.to_string_lossy()))]
    TooLarge { path: PathBuf },
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unreadable { .. } => {
                "`TAG_FORMAT: digest` reads the function's `handler` folder: it has to be in this step's clone, as it was when \
                 the image was built"
            }
            Self::TooLarge { .. } => "remove what is not part of the handler, or use `TAG_FORMAT: sha`",
        };
        Some(hint.to_owned())
    }
}

/// The MD5 hash, in hexadecimal, of the MD5 hashes of all regular files below `path` in the order of their paths.
///
/// Names do not count, only their order. Symbolic links are not followed, not even `path` itself; what is neither file
/// nor directory is left out. If `path` is a file, only that file is hashed.
pub(crate) fn folder(path: &Path) -> Result<String, Error> {
    let kind = fs::symlink_metadata(path).map_err(failed(path))?.file_type();
    let mut hashes = md5::Context::new();
    let mut buffer = vec![0; BUFFER];
    let mut left = MAX_BYTES;
    let mut pending = vec![(path.to_path_buf(), kind)];
    while let Some((path, kind)) = pending.pop() {
        if kind.is_dir() {
            // Backwards, since the last is taken first.
            pending.extend(entries_backwards(&path).map_err(failed(&path))?);
        } else if kind.is_file() {
            let hash = file(&path, &mut buffer, &mut left).map_err(failed(&path))?;
            let hash = hash.ok_or(Error::TooLarge { path })?;
            hashes.consume(format!("{hash:x}"));
        }
    }
    Ok(format!("{:x}", hashes.finalize()))
}

/// `None` if it has more bytes than are left.
fn file(path: &Path, buffer: &mut [u8], left: &mut u64) -> io::Result<Option<md5::Digest>> {
    let mut file = File::open(path)?;
    let mut hash = md5::Context::new();
    // Before anything is read of it.
    if file.metadata()?.len() > *left {
        return Ok(None);
    }
    loop {
        let read = file.read(buffer)?;
        let Some(rest) = left.checked_sub(read as u64) else { return Ok(None) };
        *left = rest;
        match read {
            0 => return Ok(Some(hash.finalize())),
            read => hash.consume(&buffer[..read]),
        }
    }
}

/// The last entry first. A directory counts as its name and a slash: then a walk finds files in the order of their
/// whole paths, and no list of all of them is needed.
fn entries_backwards(directory: &Path) -> io::Result<Vec<(PathBuf, FileType)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        entries.push((entry.path(), entry.file_type()?));
    }
    entries.sort_by_cached_key(|(path, kind)| {
        let mut key = path.file_name().unwrap_or_default().as_bytes().to_vec();
        key.extend(kind.is_dir().then_some(b'/'));
        std::cmp::Reverse(key)
    });
    Ok(entries)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Unreadable { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published rule, in the plain way: all paths in a list, sorted.
    fn expected(files: &[(&str, &[u8])]) -> String {
        let mut files = files.to_vec();
        files.sort();
        let hashes: String = files.iter().map(|(_, data)| format!("{:x}", md5::compute(data))).collect();
        format!("{:x}", md5::compute(hashes))
    }

    fn make(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, data) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, data).unwrap();
        }
        dir
    }

    #[test]
    fn a_folder_is_hashed_by_its_files_in_the_order_of_their_whole_paths() {
        let files: &[(&str, &[u8])] = &[
            ("handler.py", b"def handle(): pass\n"),
            ("a/x", b"1"),
            ("a.b", b"2"),
            ("a-b/y", b"3"),
            ("a/b/c", b"4"),
            ("Z", b""),
            (".hidden", b"5"),
            ("node_modules/é/ü", b"6"),
        ];
        assert_eq!(folder(make(files).path()).unwrap(), expected(files));
    }

    #[test]
    fn a_known_folder_has_a_known_hash() {
        let files: &[(&str, &[u8])] = &[("a", b"hello\n"), ("b", b"world\n")];
        // As `md5sum` of the two hashes that `md5sum` prints, one after the other, says.
        insta::assert_snapshot!(folder(make(files).path()).unwrap(), @"54d8cdc668602821ead47fa2c308a131");
    }

    #[test]
    fn a_file_larger_than_the_buffer_is_hashed_whole() {
        let data = vec![7; BUFFER * 3 + 5];
        let files: &[(&str, &[u8])] = &[("a", &data)];
        assert_eq!(folder(make(files).path()).unwrap(), expected(files));
    }

    #[test]
    fn a_single_file_is_hashed_as_a_folder_that_holds_only_it() {
        let dir = make(&[("handler.py", b"x")]);
        assert_eq!(folder(&dir.path().join("handler.py")).unwrap(), expected(&[("a", b"x")]));
    }

    #[test]
    fn symbolic_links_are_not_followed() {
        let dir = make(&[("real/a", b"x")]);
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("real/b")).unwrap();
        assert_eq!(folder(dir.path()).unwrap(), expected(&[("a", b"x")]));
        assert_eq!(folder(&dir.path().join("link")).unwrap(), expected(&[]));
        assert_eq!(folder(&dir.path().join("link/")).unwrap(), expected(&[("a", b"x")]));
    }

    #[test]
    fn a_folder_that_is_larger_than_any_handler_is_named() {
        let dir = make(&[("a", b"x"), ("weights", b"")]);
        File::options().write(true).open(dir.path().join("weights")).unwrap().set_len(1 << 40).unwrap();
        let error = folder(dir.path()).unwrap_err().to_string().replace(&dir.path().display().to_string(), "");
        insta::assert_snapshot!(error, @"cannot hash the handler folder: it has more than 4 GiB, with `/weights`");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = folder(Path::new("no/such/folder")).unwrap_err();
        insta::assert_snapshot!(error, @"cannot hash the handler folder: cannot read `no/such/folder`: No such file or directory (os error 2)");
    }
}
