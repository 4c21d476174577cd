//! What carrying out a command needs once everything was checked: deploy, remove, wait, rollback and diff share it.

use crate::commands::progress::Reporter;
use crate::gateway::Gateway;
use crate::shutdown::Stop;

#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) stop: &'a Stop,
    /// Requests under way at once.
    pub(crate) parallel: usize,
    pub(crate) reporter: &'a Reporter<'a>,
}
