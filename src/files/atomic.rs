//! Files that are written completely or not at all, and that belong to the owner of the clone.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::input;

/// The owner and the mode of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes {
    /// User and group; the process's own if absent.
    owner: Option<(u32, u32)>,
    mode: u32,
}

impl Attributes {
    /// For a new file: it belongs to the owner of `dir`, and everybody may read it. The pipe runs as root, and the step's script
    /// may not.
    pub(crate) fn inherited_from(dir: Option<&Path>) -> Self {
        let metadata = dir.and_then(|dir| fs::metadata(dir).ok());
        Self { owner: metadata.map(|metadata| (metadata.uid(), metadata.gid())), mode: 0o644 }
    }

    /// For what only the owner may read.
    pub(crate) fn private(self) -> Self {
        Self { mode: 0o600, ..self }
    }

    /// Those of a file that is replaced.
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self { owner: Some((metadata.uid(), metadata.gid())), mode: metadata.mode() & 0o777 }
    }

    /// Sets them as far as the process is permitted to.
    pub(crate) fn apply_to(self, file: &File, mode: u32) {
        let applied = file.metadata().and_then(|metadata| {
            // The mode first: only the owner may set it.
            file.set_permissions(Permissions::from_mode(mode))?;
            match self.owner {
                Some(owner) if owner != (metadata.uid(), metadata.gid()) => fchown(file, Some(owner.0), Some(owner.1)),
                _ => Ok(()),
            }
        });
        if let Err(error) = applied {
            tracing::debug!("the owner of a file or directory could not be set: {error}");
        }
    }
}

/// A file that appears under its name when it is complete: readers see the previous file or all of the new one.
///
/// A symbolic link of that name is replaced, not followed. If it is dropped before [`AtomicFile::commit`], nothing is left of it.
pub(crate) struct AtomicFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    attributes: Attributes,
}

/// The temporary files that exist; `None` once the process is about to exit.
static TEMPORARIES: Mutex<Option<BTreeSet<PathBuf>>> = Mutex::new(Some(BTreeSet::new()));

fn temporaries() -> MutexGuard<'static, Option<BTreeSet<PathBuf>>> {
    TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of all threads, before the process exits while they still work. Nothing can be created or committed
/// from then on.
pub(crate) fn abandon() {
    for path in temporaries().take().into_iter().flatten() {
        let _ = fs::remove_file(path);
    }
}

impl AtomicFile {
    pub(crate) fn create(path: &Path, attributes: Attributes) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Random: two containers that share the directory may have the same process id.
        let unique = RandomState::new().hash_one(());
        let temporary = path.with_file_name(format!(".{name}.{unique:016x}.tmp"));
        let mut temporaries = temporaries();
        let temporaries = temporaries.as_mut().ok_or_else(stopped)?;
        // `create_new` does not follow a link either.
        let file = OpenOptions::new().write(true).create_new(true).mode(attributes.mode).open(&temporary)?;
        temporaries.insert(temporary.clone());
        Ok(Self { file, temporary, path: path.to_owned(), attributes })
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Renames the file to its final name.
    pub(crate) fn commit(self) -> io::Result<()> {
        self.attributes.apply_to(&self.file, self.attributes.mode);
        // Held until it is renamed, so that nothing is after `abandon`.
        let temporaries = temporaries();
        temporaries.as_ref().ok_or_else(stopped)?;
        fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // Fails after the rename, when the temporary file no longer exists.
        let _ = fs::remove_file(&self.temporary);
        temporaries().as_mut().map(|temporaries| temporaries.remove(&self.temporary));
    }
}

fn stopped() -> io::Error {
    io::Error::other("the run was stopped")
}

/// Checks that a file can be written to a path, once its missing directories are created. Only a file is replaced: whoever
/// names a device wants it to stay one.
pub(crate) fn check_path(path: &Path) -> Result<(), input::Error> {
    if let Ok(metadata) = fs::metadata(path) {
        return input::check_regular(path, &metadata);
    }
    let existing = path.ancestors().skip(1).find_map(|dir| Some((dir, fs::metadata(dir).ok()?)));
    match existing {
        Some((dir, metadata)) if !metadata.is_dir() => Err(input::Error::NotADirectory { path: dir.to_owned() }),
        _ => Ok(()),
    }
}

/// True if a file at this path would be in none of these directories, links followed.
pub(crate) fn is_outside(path: &Path, directories: &[&Path]) -> bool {
    // A link in place of the file itself is replaced.
    let Some(parent) = resolved(path.parent().unwrap_or(Path::new(""))) else { return true };
    !directories.iter().filter_map(|directory| fs::canonicalize(directory).ok()).any(|root| parent.starts_with(root))
}

/// A directory's path without links and `..`; its last parts may not exist yet.
fn resolved(directory: &Path) -> Option<PathBuf> {
    let current = std::env::current_dir().ok()?;
    let absolute = current.join(directory);
    let (existing, mut resolved) =
        absolute.ancestors().find_map(|ancestor| Some((ancestor, fs::canonicalize(ancestor).ok()?)))?;
    for part in absolute.strip_prefix(existing).ok()?.components() {
        match part {
            Component::ParentDir => _ = resolved.pop(),
            part => resolved.push(part),
        }
    }
    Some(resolved)
}

/// Writes a file, see [`AtomicFile`].
pub(crate) fn write(path: &Path, contents: &[u8], attributes: Attributes) -> io::Result<()> {
    let mut file = AtomicFile::create(path, attributes)?;
    file.write_all(contents)?;
    file.commit()
}

/// Creates a directory in one that is trusted. One that exists is used, but not a link to one.
pub(crate) fn create_dir(path: &Path, attributes: Attributes) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {
            attributes.apply_to(&File::open(path)?, attributes.mode | 0o111);
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

/// Creates the directories above a file that do not exist.
pub(crate) fn create_parents(path: &Path, attributes: Attributes) -> io::Result<()> {
    let parents = path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
    let missing: Vec<&Path> = parents.take_while(|dir| !dir.exists()).collect();
    missing.into_iter().rev().try_for_each(|dir| create_dir(dir, attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_directories_get_the_attributes_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/../c/file");
        check_path(&path).unwrap();
        create_parents(&path, Attributes::inherited_from(Some(dir.path()))).unwrap();
        create_parents(&path, Attributes::inherited_from(Some(dir.path()))).unwrap();
        assert_eq!(fs::metadata(dir.path().join("a/c")).unwrap().mode() & 0o777, 0o755);
        assert!(!path.exists());
    }

    #[test]
    fn path_below_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = check_path(&dir.path().join("file/a/b")).unwrap_err().to_string();
        assert!(error.ends_with("/file` is not a directory"), "{error}");
    }

    #[test]
    fn path_that_leaves_a_directory_is_told_also_through_links() {
        let (clone, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |path: &str| clone.path().join(path);
        fs::create_dir(at("inner")).unwrap();
        std::os::unix::fs::symlink(other.path(), at("out")).unwrap();
        std::os::unix::fs::symlink(at("inner"), at("in")).unwrap();
        std::os::unix::fs::symlink(other.path().join("x"), at("file")).unwrap();
        let is_outside = |path: &Path| is_outside(path, &[clone.path()]);
        for path in ["x", "new/x", "inner/x", "in/x", "new/../x", "inner/../x", "file", "in/new/x"] {
            assert!(!is_outside(&at(path)), "{path}");
        }
        for path in ["../x", "out/x", "out/new/x", "new/../../x", "inner/../../x", "in/../../x", "out/../x"] {
            assert!(is_outside(&at(path)), "{path}");
        }
        assert!(is_outside(Path::new("/answer.txt")));
    }

    #[test]
    fn link_in_place_of_a_directory_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        create_parents(&dir.path().join("link/file"), Attributes::inherited_from(None)).unwrap_err();
        assert!(!dir.path().join("nowhere").exists());
    }
}
