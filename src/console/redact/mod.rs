//! Values that must not be seen, and the one place that hides them in all that leaves the process.

mod pattern;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use secrecy::{ExposeSecret as _, SecretString};

use pattern::Patterns;

/// What stands in the output where a secret stood.
const MASK: &[u8] = b"***";

/// Shorter texts are not hidden: they occur by chance everywhere, and hiding them would give them away.
pub(crate) const SHORTEST: usize = 4;

/// A text that is known to [`redact`] from its creation to the end of the process, and so are the parts of a JWT.
pub struct Secret(SecretString);

impl Secret {
    /// Takes a value and hides it from now on in everything that is written.
    pub fn new(value: String) -> Self {
        KNOWN.write().unwrap_or_else(PoisonError::into_inner).add(&value);
        Self(SecretString::from(value))
    }

    /// The value, for a request's header or body only.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

static KNOWN: RwLock<Patterns> = RwLock::new(Patterns::new());

/// The text with every known secret replaced, in whatever usual encoding it stands there.
pub(crate) fn redact(text: &str) -> Cow<'_, str> {
    match redact_bytes(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// [`redact`] for bytes that may not be text.
pub(crate) fn redact_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    match known.mask(bytes, true) {
        (masked, _) if masked.is_empty() => Cow::Borrowed(bytes),
        (mut masked, done) => {
            masked.extend_from_slice(&bytes[done..]);
            Cow::Owned(masked)
        }
    }
}

/// [`redact`] for a stream: a secret is found across the pieces it arrives in.
#[derive(Default)]
pub(crate) struct RedactStream {
    held: Vec<u8>,
}

impl RedactStream {
    /// Takes a piece and gives what can be passed on; the beginning of what may be a secret is held back.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.pass(false)
    }

    /// Gives what was held back.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.pass(true)
    }

    fn pass(&mut self, end: bool) -> Vec<u8> {
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
        let (mut out, mut done) = known.mask(&self.held, end);
        if end {
            out.extend_from_slice(&self.held[done..]);
            done = self.held.len();
        }
        self.held.drain(..done);
        out
    }
}
