//! The gateway over HTTP, as a client that is independent of its code sees it. One program: each test program is linked anew.
#![allow(clippy::unwrap_used, reason = "clippy allows it in tests, but not in their helpers")]

mod common;
mod environment;
mod exchange;
mod faults;
mod flavours;
mod functions;
mod guide;
mod incidents;
mod invoke;
mod network;
mod program;
mod recorded;
mod replay;
