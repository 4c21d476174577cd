//! Files that are there whole or not at all, and belong to whom the clone belongs.

use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::console::log::quote;

/// Whose a file is and who may read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// User and group; the process's own where absent.
    owner: Option<(u32, u32)>,
    mode: u32,
}

impl Access {
    /// For a new file: the owner of `dir`, written by the owner, read by all.
    pub(crate) fn like(dir: Option<&Path>) -> Self {
        let metadata = dir.and_then(|dir| fs::metadata(dir).ok());
        Self { owner: metadata.map(|metadata| (metadata.uid(), metadata.gid())), mode: 0o644 }
    }

    /// As a file that is replaced has it.
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self { owner: Some((metadata.uid(), metadata.gid())), mode: metadata.mode() & 0o777 }
    }

    /// Gives a new file or directory to its owner, as far as the process may.
    pub(crate) fn grant(self, file: &File, mode: u32) {
        let granted = file.metadata().and_then(|metadata| {
            // The mode first: who gives a file away may set it no more.
            file.set_permissions(Permissions::from_mode(mode))?;
            match self.owner {
                Some(owner) if owner != (metadata.uid(), metadata.gid()) => fchown(file, Some(owner.0), Some(owner.1)),
                _ => Ok(()),
            }
        });
        if let Err(error) = granted {
            tracing::debug!("a file or directory keeps the pipe's own user: {error}");
        }
    }
}

/// A file that takes its name when it is complete: readers see what was there before, or all of it.
///
/// A symbolic link of that name is replaced, not followed. Dropped before [`Whole::finish`], it leaves nothing.
pub(crate) struct Whole {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    access: Access,
    finished: bool,
}

impl Whole {
    /// Begins the file.
    pub(crate) fn create(path: &Path, access: Access) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Random: process ids of containers that share the directory are the same.
        let unique = RandomState::new().hash_one(());
        let temporary = path.with_file_name(format!(".{name}.{unique:016x}.tmp"));
        // `create_new` follows no link either.
        let file = OpenOptions::new().write(true).create_new(true).mode(access.mode).open(&temporary)?;
        Ok(Self { file, temporary, path: path.to_owned(), access, finished: false })
    }

    /// Puts the file in its place.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.access.grant(&self.file, self.access.mode);
        fs::rename(&self.temporary, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// What keeps a file from being put at a path, as far as it can be seen beforehand.
///
/// Something other than a file is not replaced: that it is a device is what the user wants of it.
pub(crate) fn obstacle(path: &Path) -> Option<String> {
    let shown = quote(&path.display().to_string());
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Some(format!("`{shown}` is a directory, not a file")),
        Ok(metadata) if !metadata.is_file() => return Some(format!("`{shown}` is a pipe or a device, not a file")),
        _ => {}
    }
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let is_dir = fs::metadata(dir).is_ok_and(|metadata| metadata.is_dir());
    (!is_dir).then(|| format!("`{}` is not a directory that is there", quote(&dir.display().to_string())))
}

/// Writes a file whole, see [`Whole`].
pub(crate) fn write(path: &Path, contents: &[u8], access: Access) -> io::Result<()> {
    let mut file = Whole::create(path, access)?;
    file.write_all(contents)?;
    file.finish()
}

/// Makes a directory below one that is trusted; where something is there, it must be a directory and no link to one.
pub(crate) fn make_dir(path: &Path, access: Access) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {
            access.grant(&File::open(path)?, access.mode | 0o111);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path)?.is_dir() {
                Ok(())
            } else {
                Err(io::Error::new(io::ErrorKind::NotADirectory, "its directory is a link or a file"))
            }
        }
        Err(error) => Err(error),
    }
}
