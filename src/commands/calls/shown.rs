//! The body of a refused call in the log.

use crate::console::log::{self, quote};
use crate::console::redact;

/// Logs a body under a line that says whose it is, and indented, so that nothing in it can look like a line of the pipe. `start` is
/// the beginning of a body of `size` bytes; at most `limit` bytes of it are shown.
pub(crate) fn show_refusal(name: &str, start: &[u8], size: u64, limit: usize) {
    // Masked before it is cut, so that no part of a secret is left at the end, and before it is decoded, since bytes that are not
    // text may be next to a secret.
    let masked = redact::redact_bytes(start);
    let text = log::visible(&masked[..masked.len().min(limit)]).replace("\r\n", "\n");
    let text = text.trim_end();
    if text.is_empty() {
        return;
    }
    let left = size.saturating_sub(limit.min(start.len()) as u64);
    let more = if left > 0 { format!("\n… ({left} more bytes)") } else { String::new() };
    tracing::info!("the response of `{}`:\n{text}{more}", quote(name));
}
