//! The pipe to test instead of the one that cargo builds.

use std::path::PathBuf;

/// The program in `PIPE_BINARY`, such as a build for another platform that runs in an emulator.
pub(crate) fn from_environment() -> Option<PathBuf> {
    std::env::var_os("PIPE_BINARY").map(PathBuf::from)
}
