//! Finds secrets in a text: each of its usual encodings is a needle, built once when the secret becomes known.

use std::collections::HashMap;

use super::{MASK, SHORTEST, Which, encodings};

/// A secret that is cut off at the end of a text is hidden if this much of it is there.
const SHORTEST_CUT: usize = 12;

/// A shorter part of a JWT gives nothing away; a shorter token may be in a file by chance.
const SHORTEST_TOKEN: usize = 16;

/// The first bytes of a needle, by which it is looked up.
type Key = [u8; SHORTEST];

/// All needles of all secrets.
#[derive(Default)]
pub(super) struct Needles {
    by_key: HashMap<Key, Vec<Needle>>,
    /// The first two bytes of all keys, a bit each: most of a text is passed over by this alone.
    begins: Vec<u64>,
}

struct Needle {
    text: Box<[u8]>,
    /// It stands for a token, which is long and random: what looks like it is no coincidence.
    is_token: bool,
}

/// How a needle compares with the start of a text.
enum Match {
    No,
    /// It is there, over this many bytes.
    Whole(usize),
    /// The text ends after this many bytes of the needle.
    Cut(usize),
}

/// What [`Needles::mask`] made of a text.
pub(super) struct Masked {
    pub(super) text: Vec<u8>,
    /// The rest of the text is not in it, from this byte on.
    pub(super) end: usize,
    /// How many secrets were masked.
    pub(super) count: usize,
}

impl Needles {
    pub(super) fn add(&mut self, secret: &str, is_token: bool) {
        // Space around it may be lost on the way, such as the line end of a key that was read from a file.
        let secret = secret.trim();
        let is_token = is_token && secret.len() >= SHORTEST_TOKEN;
        self.add_encodings(secret, is_token);
        // The header of a JWT is no secret. Its claims and its signature are, also one without the other.
        if let [_, claims, signature] = secret.split('.').collect::<Vec<_>>()[..] {
            for part in [claims, signature].into_iter().filter(|part| part.len() >= SHORTEST_TOKEN) {
                self.add_encodings(part, is_token);
            }
        }
    }

    fn add_encodings(&mut self, secret: &str, is_token: bool) {
        if secret.len() < SHORTEST {
            return;
        }
        self.begins.resize(1 << 10, 0);
        for text in encodings::all(secret) {
            let text = text.into_bytes().into_boxed_slice();
            let Some(key) = key(&text, true) else { continue };
            let begin = begin(&key);
            self.begins[begin / 64] |= 1 << (begin % 64);
            let needles = self.by_key.entry(key).or_default();
            match needles.iter_mut().find(|known| known.text == text) {
                Some(known) => known.is_token |= is_token,
                None => needles.push(Needle { text, is_token }),
            }
        }
    }

    /// Masks the secrets in a text. Unless the text is `complete`, what is at its end and may become a secret is left off.
    pub(super) fn mask(&self, text: &[u8], which: Which, complete: bool) -> Masked {
        let mut masked = Masked { text: Vec::new(), end: 0, count: 0 };
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            if let [first, second, ..] = rest
                && !self.may_begin(*first, *second)
            {
                at += 1;
                continue;
            }
            let (mut longest, mut cut) = (0, false);
            match key(rest, complete) {
                Some(key) => {
                    let needles = self.by_key.get(&key).into_iter().flatten();
                    for needle in needles.filter(|needle| needle.is_token || which == Which::All) {
                        match needle.compare(rest) {
                            Match::No => {}
                            Match::Whole(length) => longest = longest.max(length),
                            Match::Cut(length) => cut |= !complete || length >= SHORTEST_CUT,
                        }
                    }
                }
                // Too short to be looked up.
                None => cut = !complete,
            }
            if cut && !complete {
                break;
            }
            if cut {
                longest = rest.len();
            }
            if longest > 0 {
                masked.text.extend_from_slice(&text[masked.end..at]);
                masked.text.extend_from_slice(MASK);
                masked.count += 1;
                masked.end = at + longest;
            }
            at += longest.max(1);
        }
        masked.text.extend_from_slice(&text[masked.end..at]);
        masked.end = at;
        masked
    }

    fn may_begin(&self, first: u8, second: u8) -> bool {
        let begin = begin(&[first, second]);
        self.begins.get(begin / 64).is_some_and(|bits| bits >> (begin % 64) & 1 == 1)
            // A line break may be between the two.
            || matches!(second, b'\r' | b'\n' | b'\\') && !self.by_key.is_empty()
    }
}

impl Needle {
    /// Compares byte by byte. The text may be broken into lines, as base64 usually is.
    fn compare(&self, text: &[u8]) -> Match {
        if text.starts_with(&self.text) {
            return Match::Whole(self.text.len());
        }
        let mut at = 0;
        for (matched, byte) in self.text.iter().enumerate() {
            if matched > 0 && text.get(at) != Some(byte) {
                match line_break(&text[at..]) {
                    Some(length) => at += length,
                    None => return Match::Cut(matched),
                }
            }
            match text.get(at) {
                None => return Match::Cut(matched),
                Some(other) if other != byte => return Match::No,
                Some(_) => at += 1,
            }
        }
        Match::Whole(at)
    }
}

/// The first bytes without the line breaks between them. Nothing if the text is too short, or if it goes on and may have a line
/// break at its end.
fn key(text: &[u8], complete: bool) -> Option<Key> {
    let mut key = Key::default();
    let mut at = 0;
    for (index, byte) in key.iter_mut().enumerate() {
        if index > 0 {
            at += line_break(text.get(at..)?).or(complete.then_some(0))?;
        }
        *byte = *text.get(at)?;
        at += 1;
    }
    Some(key)
}

fn begin(key: &[u8]) -> usize {
    usize::from(key[0]) << 8 | usize::from(key[1])
}

/// The length of the line break that a text starts with, also of one within a JSON string. Nothing if the text ends within it.
fn line_break(text: &[u8]) -> Option<usize> {
    match text {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] => Some(1),
        [b'\\', b'r', b'\\', b'n', ..] => Some(4),
        [b'\\', b'n', ..] => Some(2),
        [b'\r' | b'\\'] | [b'\\', b'r'] | [b'\\', b'r', b'\\'] => None,
        _ => Some(0),
    }
}
