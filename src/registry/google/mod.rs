//! Google: an access token for the step's token (Workload Identity Federation).

mod names;

pub(crate) use names::{Provider, ServiceAccount, is_google};
