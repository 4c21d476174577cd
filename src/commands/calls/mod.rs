//! Calls of functions, for `COMMAND: invoke` and for `VERIFY`.

mod caller;
mod payload;
mod refusal;
mod shown;

use crate::commands::prepare::Preparation;
use crate::config::CallOptions;
use crate::gateway::may_be_set;
pub(crate) use caller::{Call, CallResponse, Caller};
pub(crate) use payload::Payload;
pub(crate) use refusal::{RefusedCall, no_response};
pub(crate) use shown::show_refusal;

/// Checks what every call sends, and opens its body.
pub(crate) fn open_payload(preparation: &mut Preparation<'_>, options: &CallOptions) -> Option<Payload> {
    let names = options.headers.keys().map(|name| ("HEADERS", name));
    let names = names.chain(options.sign.as_ref().map(|(name, _)| ("SIGN_HEADER", name)));
    for (variable, name) in names.filter(|(_, name)| !may_be_set(name)) {
        let message = format!("`{name}` is set by the connection itself: use another header, or remove it");
        preparation.problem(variable, message);
    }
    let payload = Payload::open(&options.payload, preparation.config.places.clone_dir.as_deref());
    payload.map_err(|error| preparation.problem("PAYLOAD_FILE", error)).ok()
}
