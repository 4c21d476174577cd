//! The vocabulary that all modules share: OpenFaaS' function resource, quantities, and what became of a function.

pub mod api;
pub mod command;
pub(crate) mod compare;
pub(crate) mod name;
pub mod outcome;
pub(crate) mod quantity;

pub use name::FunctionName;
