//! Images in their registries: whether they exist, with which digest and platforms; and the credentials for that, which
//! AWS and Google exchange for the step's token.

mod aws;
mod challenge;
mod client;
mod clock;
mod credentials;
mod error;
mod explain;
mod google;
mod manifest;
mod reference;
mod step;
mod transport;
