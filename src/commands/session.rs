//! What deploy, remove, wait, rollback, verify and diff share after all checks.

use crate::commands::progress::Reporter;
use crate::gateway::Gateway;
use crate::shutdown::Shutdown;

#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) shutdown: &'a Shutdown,
    pub(crate) parallel: usize,
    pub(crate) reporter: &'a Reporter<'a>,
}
