//! Sources of `TAG_FORMAT`: the git repository's state, and the digest of a handler's folder.

pub(crate) mod git;
pub(crate) mod handler_digest;
