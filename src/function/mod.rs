//! The vocabulary that all modules share: OpenFaaS' function resource, names of functions and images, quantities, and what became of a function.

pub mod api;
pub mod command;
pub(crate) mod compare;
pub mod image;
pub(crate) mod name;
pub mod outcome;
pub(crate) mod quantity;
pub(crate) mod resource;

pub use name::FunctionName;
