//! The variables that all pipes of a pipeline share, in the format of Bitbucket's official toolkit.
//!
//! The toolkit keeps one JSON object in a file and rewrites it in place, without a lock. Runs of this pipe use a lock file.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::not_written;
use crate::diagnostic::Diagnostic;
use crate::files::atomic::{self, Attributes};

const VARIABLES_FILE: &str = "_shared_variables.json";

/// Not `_shared_…`: the toolkit deletes those to purge its data, and with them a lock that is held.
const LOCK_FILE: &str = ".openfaas-pipe.lock";

pub(super) const KEY: &str = "openfaas-pipe";

/// A file that is larger was not made by pipes.
const SIZE_LIMIT: u64 = 16 << 20;

/// Between two attempts to lock.
const PAUSE: Duration = Duration::from_millis(20);

/// The other pipes' values stay as they are, byte by byte.
type SharedVariables = BTreeMap<String, Box<RawValue>>;

/// Sets a key and keeps all others; returns the file's path.
pub(super) fn merge(
    dir: &Path,
    key: &str,
    value: &impl Serialize,
    attributes: Attributes,
    wait: Duration,
) -> Result<PathBuf, Diagnostic> {
    let path = dir.join(VARIABLES_FILE);
    let _lock = lock(dir, &path, attributes, wait)?;
    let mut variables = read(&path)?;
    let json = to_raw_value(value).and_then(|value| {
        variables.insert(key.to_owned(), value);
        serde_json::to_vec(&variables)
    });
    let attributes = fs::symlink_metadata(&path).map_or(attributes, |metadata| Attributes::of(&metadata));
    json.map_err(io::Error::from)
        .and_then(|json| atomic::write(&path, &json, attributes))
        .map_err(not_written(&path))?;
    Ok(path)
}

/// Waits for the other pipes; the lock is released when the file is dropped, also by the end of the process.
fn lock(dir: &Path, path: &Path, attributes: Attributes, wait: Duration) -> Result<Option<File>, Diagnostic> {
    let lock_path = dir.join(LOCK_FILE);
    let lock = open_lock(&lock_path, attributes).map_err(not_written(path))?;
    let end = Instant::now() + wait;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let (path, lock) = (path.display(), lock_path.display());
                let message = format!("`{path}` was not changed: another pipe has held `{lock}` for {wait:?}");
                return Err(
                    Diagnostic::warning(message).with_hint("the result itself is in `openfaas-pipe.json` beside it")
                );
            }
            Err(TryLockError::Error(error)) => {
                tracing::debug!("`{}` is written without a lock: {error}", path.display());
                return Ok(None);
            }
        }
    }
}

/// Opens the lock file for reading, which is enough for a lock: another pipe's user may be its owner.
fn open_lock(path: &Path, attributes: Attributes) -> io::Result<File> {
    match OpenOptions::new().write(true).create_new(true).mode(0o644).open(path) {
        Ok(file) => {
            attributes.apply_to(&file, 0o644);
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path)?.is_file() {
                File::open(path)
            } else {
                Err(io::Error::other(format!("`{}` is not a file", path.display())))
            }
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> Result<SharedVariables, Diagnostic> {
    let foreign = |reason: &dyn Display| {
        Diagnostic::warning(format!("`{}` was not changed: {reason}", path.display()))
            .with_hint("another program wrote that file; the result itself is in `openfaas-pipe.json` beside it")
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(foreign(&"it is not a file")),
        Ok(metadata) if metadata.len() > SIZE_LIMIT => return Err(foreign(&"it is larger than 16 MiB")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SharedVariables::new()),
        Err(error) => return Err(foreign(&error)),
    }
    let text = fs::read(path).map_err(|error| foreign(&error))?;
    if text.trim_ascii().is_empty() {
        return Ok(SharedVariables::new());
    }
    serde_json::from_slice(&text).map_err(|error| {
        // The error's own text may quote another pipe's value.
        let (line, column) = (error.line(), error.column());
        foreign(&format!("it is not a JSON object (line {line}, column {column})"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    fn set(dir: &Path, value: &Value) -> Result<PathBuf, Diagnostic> {
        merge(dir, KEY, value, Attributes::inherited_from(None), WAIT)
    }

    fn text(dir: &Path) -> String {
        fs::read_to_string(dir.join(VARIABLES_FILE)).unwrap()
    }

    #[test]
    fn other_pipes_values_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let before = r#"{"other": {"n": 1.10, "big": 123456789012345678901234567890}, "openfaas-pipe": 1}"#;
        fs::write(dir.path().join(VARIABLES_FILE), before).unwrap();
        set(dir.path(), &json!({"schema": 1})).unwrap();
        assert_eq!(
            text(dir.path()),
            r#"{"openfaas-pipe":{"schema":1},"other":{"n": 1.10, "big": 123456789012345678901234567890}}"#
        );
    }

    #[test]
    fn no_key_is_lost_when_many_write_at_once() {
        let dir = tempfile::tempdir().unwrap();
        // Each opens the lock file itself, as a separate process does.
        thread::scope(|scope| {
            for number in 0..24 {
                let dir = dir.path();
                let key = format!("pipe {number}");
                scope.spawn(move || merge(dir, &key, &number, Attributes::inherited_from(None), WAIT).unwrap());
            }
        });
        let variables: BTreeMap<String, Value> = serde_json::from_str(&text(dir.path())).unwrap();
        assert_eq!(variables.len(), 24);
    }

    #[test]
    fn lock_held_too_long_leaves_the_file_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(VARIABLES_FILE);
        let _held = lock(dir.path(), &path, Attributes::inherited_from(None), WAIT).unwrap();
        let error = merge(dir.path(), KEY, &1, Attributes::inherited_from(None), Duration::ZERO).unwrap_err();
        assert!(error.message.contains("another pipe has held"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_json_object_is_left_as_it_is() {
        for before in ["{\"a\": 1", "[1]", "\"text\"", "{\"a\": NaN}", "{} {}"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(VARIABLES_FILE), before).unwrap();
            let error = set(dir.path(), &json!(1)).unwrap_err();
            assert!(error.message.contains("was not changed"), "{before}: {error}");
            assert_eq!(text(dir.path()), before);
        }
    }

    #[test]
    fn empty_file_counts_as_no_variables() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(VARIABLES_FILE), " \n").unwrap();
        set(dir.path(), &json!(1)).unwrap();
        assert_eq!(text(dir.path()), r#"{"openfaas-pipe":1}"#);
    }

    #[test]
    fn links_in_place_of_the_files_are_not_followed() {
        for planted in [VARIABLES_FILE, LOCK_FILE] {
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("target");
            std::os::unix::fs::symlink(&target, dir.path().join(planted)).unwrap();
            set(dir.path(), &json!(1)).unwrap_err();
            assert!(!target.exists());
        }
    }
}
