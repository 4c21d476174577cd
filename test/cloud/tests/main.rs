//! Registries, AWS and Google, as independent clients see them. One program: each test program is linked anew.
#![allow(clippy::unwrap_used, reason = "clippy allows it in tests, but not in their helpers")]

mod aws;
mod common;
mod google;
mod registry;
