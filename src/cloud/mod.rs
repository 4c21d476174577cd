//! AWS and Google: what they exchange the step's token for, and what they need to accept it.
//!
//! Each has the same files: `names` of its hosts and of what its variables name, the `exchange` of the token, the `credentials`
//! for its registries in return, `explain`, which says what to change after a refusal, and `setup`, the commands for that. `fault`
//! sends the requests of all, and reads what they say if they refuse.

pub(crate) mod aws;
mod fault;
pub(crate) mod google;
pub(crate) mod login;
mod step;

pub(crate) use login::{RegistryLogin, SHORTEST_TOKEN, readable};
pub(crate) use step::Step;
