//! Files: written whole or not at all, and read up to a limit.

pub(crate) mod atomic;
pub(crate) mod input;
