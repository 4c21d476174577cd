//! The commands: one module per `COMMAND`, and beside them what they share. No command imports another.

pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod invoke;
pub(crate) mod login;
pub(crate) mod remove;
pub(crate) mod whoami;

mod calls;
mod concurrent;
mod images;
mod permissions;
pub(crate) mod prepare;
mod progress;
mod removal;
mod resources;
