//! What a user asks for: one module per `COMMAND`, and what they share.

pub(crate) mod concurrent;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod invoke;
pub(crate) mod login;
pub(crate) mod permissions;
pub(crate) mod prepare;
pub(crate) mod progress;
pub(crate) mod remove;
mod session;
pub(crate) mod token_guard;
mod trust;
pub(crate) mod whoami;
