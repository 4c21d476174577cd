//! The one way to standard output: the log's lines, tables, and the redaction of secrets.

pub(crate) mod log;
pub(crate) mod redact;
pub(crate) mod table;
