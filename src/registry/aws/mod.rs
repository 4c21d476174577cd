//! AWS: a role for the step's token (STS), and ECR's password for the role.

mod host;
mod sigv4;

pub(crate) use host::{EcrHost, RoleArn};
