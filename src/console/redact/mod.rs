//! Values that must not be seen, and the one place that masks them in everything that leaves the process.
//!
//! A gateway, a proxy or a function can send back whatever it was sent, in any form, in the middle of any text. So nothing is
//! kept out at its source alone: each secret registers itself when it is created, and the log and the files of a run pass
//! through here on their way out.

mod needles;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::{LazyLock, PoisonError, RwLock, RwLockWriteGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use needles::{MOST_ENCODED, Masked, Needles};

/// The mask of a secret.
const MASK: &[u8] = b"***";

/// Shorter values are not masked: they occur everywhere by chance, and the masks would reveal them.
pub(crate) const SHORTEST: usize = 4;

/// No real token that a server issues is shorter: a word such as `success` would be masked wherever it occurs.
pub(crate) const SHORTEST_ISSUED: usize = 12;

/// Shorter parts of binary data that are text by chance are not masked.
const SHORTEST_TEXT: usize = 12;

/// A value that is masked in everything that is written, from its creation to the end of the process.
#[derive(Clone)]
pub(crate) struct Secret(SecretString);

impl Secret {
    /// Takes a password, a key or anything else that must not be seen.
    pub(crate) fn new(value: String) -> Self {
        Self::known(value, false)
    }

    /// Takes a token. It is masked even in the response of a function that goes into a file.
    pub(crate) fn token(value: String) -> Self {
        Self::known(value, true)
    }

    /// Takes the value of a secret of a function: each of its lines is masked by itself as well.
    pub(crate) fn of_lines(value: &str) -> Self {
        let value = value.trim();
        hide_lines(value.as_bytes());
        Self::new(value.to_owned())
    }

    /// Takes the content of a file, which may be binary, and holds it as base64.
    pub(crate) fn of_file(content: &[u8]) -> Self {
        hide_lines(content);
        let encoded = STANDARD.encode(content);
        hide(content, false);
        // It is what is sent, and may be encoded again.
        if content.len() <= MOST_ENCODED {
            hide(encoded.as_bytes(), false);
        }
        Self(SecretString::from(encoded))
    }

    fn known(value: String, is_token: bool) -> Self {
        hide(value.as_bytes(), is_token);
        Self(SecretString::from(value))
    }

    /// The value, for a request's header or body only.
    pub(crate) fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

fn hide(secret: &[u8], is_token: bool) {
    known().add(secret, is_token);
}

/// Hides the lines of a text, and of a file that is not text those parts that are.
fn hide_lines(content: &[u8]) {
    match str::from_utf8(content) {
        Ok(text) => known().add_lines(text.lines()),
        Err(_) => {
            let parts = content.utf8_chunks().flat_map(|chunk| chunk.valid().split(char::is_control));
            known().add_lines(parts.filter(|part| part.len() >= SHORTEST_TEXT));
        }
    }
}

fn known() -> RwLockWriteGuard<'static, Needles> {
    KNOWN.write().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which secrets are masked in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// A password may be a common word, and would change a user's data by chance.
    Tokens,
}

/// Of the process rather than of the log: a secret must be masked wherever it comes up, also in an error on another way out.
static KNOWN: LazyLock<RwLock<Needles>> = LazyLock::new(RwLock::default);

fn mask(bytes: &[u8], covered: usize, which: Which, complete: bool) -> Masked {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).mask(bytes, covered, which, complete)
}

/// The text with every known secret masked, in whatever usual encoding.
pub(crate) fn redact(text: &str) -> Cow<'_, str> {
    match redact_bytes(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// [`redact`] for bytes that may not be text.
pub(crate) fn redact_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    match mask(bytes, 0, Which::All, true) {
        Masked { count: 0, .. } => Cow::Borrowed(bytes),
        masked => Cow::Owned(masked.text),
    }
}

/// [`redact_bytes`] for the beginning of a text, and how much of that it shows: if more follows, what may be the start of a secret
/// at its end is left off.
pub(crate) fn redact_beginning(bytes: &[u8], is_all: bool) -> (Vec<u8>, usize) {
    let mut masked = mask(bytes, 0, Which::All, is_all);
    // So little of a secret tells nothing, and ends many a text by chance.
    if bytes.len() - masked.end < SHORTEST {
        masked = mask(bytes, 0, Which::All, true);
    }
    (masked.text, masked.end)
}

/// Masks the tokens in a stream. One is found across the pieces that it arrives in.
#[derive(Default)]
pub(crate) struct RedactStream {
    held: Vec<u8>,
    /// How much of that is behind a mask that was passed on.
    covered: usize,
    count: usize,
}

impl RedactStream {
    /// Takes a piece and returns what can be passed on. What may be the start of a token is held back.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.pass(false)
    }

    /// Returns what was held back, and how many tokens were masked in all.
    pub(crate) fn finish(mut self) -> (Vec<u8>, usize) {
        (self.pass(true), self.count)
    }

    fn pass(&mut self, complete: bool) -> Vec<u8> {
        let masked = mask(&self.held, self.covered, Which::Tokens, complete);
        self.held.drain(..masked.end);
        self.covered = masked.covered;
        self.count += masked.count;
        masked.text
    }
}
