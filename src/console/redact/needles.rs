//! Finds secrets in a text: each of its usual encodings is a needle, built once when the secret becomes known.

use std::collections::HashMap;

use super::{MASK, SHORTEST, Which, encodings};

/// A secret that is cut off at the end of a text is hidden if this much of it is there.
const SHORTEST_CUT: usize = 12;

/// A shorter part of a JWT reveals nothing; a shorter token may be in a file by coincidence.
const SHORTEST_TOKEN: usize = 16;

#[derive(Default)]
pub(super) struct Needles {
    /// By their first two bytes.
    by_begin: HashMap<[u8; 2], Vec<Needle>>,
    /// A bit for each pair in `by_begin`.
    begins: Vec<u64>,
}

struct Needle {
    text: Box<[u8]>,
    /// A token is long and random: the same text elsewhere is no coincidence.
    is_token: bool,
}

/// How a needle compares with the start of a text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    /// All of it matches, over this many bytes.
    Whole(usize),
    /// The text ends after this many bytes of the needle.
    Cut(usize),
}

/// The result of [`Needles::mask`].
pub(super) struct Masked {
    pub(super) text: Vec<u8>,
    /// The rest of the text is not in it, from this byte on.
    pub(super) end: usize,
    pub(super) count: usize,
}

impl Needles {
    pub(super) fn add(&mut self, secret: &[u8], is_token: bool) {
        // Space around it may be lost on the way, such as the line end of a key that was read from a file.
        let secret = secret.trim_ascii();
        let is_token = is_token && secret.len() >= SHORTEST_TOKEN;
        self.add_encodings(secret, is_token);
        // The header of a JWT is no secret. Its claims and its signature are, also one without the other.
        if let [_, claims, signature] = secret.split(|byte| *byte == b'.').collect::<Vec<_>>()[..] {
            for part in [claims, signature].into_iter().filter(|part| part.len() >= SHORTEST_TOKEN) {
                self.add_encodings(part, is_token);
            }
        }
    }

    fn add_encodings(&mut self, secret: &[u8], is_token: bool) {
        let mut known = key(secret).and_then(|key| self.by_begin.get(&key)).into_iter().flatten();
        let is_known = known.any(|needle| *needle.text == *secret && needle.is_token >= is_token);
        if secret.len() < SHORTEST || is_known {
            return;
        }
        // 65,536 pairs of two bytes, a bit each: most positions of a text are decided by one look into these 8 KiB.
        self.begins.resize(1 << 10, 0);
        for text in encodings::all(secret) {
            let text = text.into_bytes().into_boxed_slice();
            let Some(key) = key(&text) else { continue };
            let (index, bit) = begin(key);
            self.begins[index] |= bit;
            let needles = self.by_begin.entry(key).or_default();
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
            // Most of a text is passed over by its next two bytes alone. There may be a line break between them.
            if let [first, second, ..] = *rest
                && !self.may_begin([first, second])
                && !matches!(second, b'\r' | b'\n' | b'\\')
            {
                at += 1;
                continue;
            }
            let length = match self.find(rest, which, complete) {
                Match::No => {
                    at += 1;
                    continue;
                }
                Match::Cut(_) if !complete => break,
                Match::Cut(_) => rest.len(),
                Match::Whole(length) => length,
            };
            masked.text.extend_from_slice(&text[masked.end..at]);
            masked.text.extend_from_slice(MASK);
            masked.count += 1;
            at += length;
            masked.end = at;
        }
        masked.text.extend_from_slice(&text[masked.end..at]);
        masked.end = at;
        masked
    }

    fn may_begin(&self, key: [u8; 2]) -> bool {
        let (index, bit) = begin(key);
        self.begins.get(index).is_some_and(|bits| bits & bit != 0)
    }

    /// The longest secret that a text starts with.
    fn find(&self, text: &[u8], which: Which, complete: bool) -> Match {
        if self.by_begin.is_empty() {
            return Match::No;
        }
        // Too short to be looked up.
        let Some(key) = key(text) else { return if complete { Match::No } else { Match::Cut(1) } };
        let needles = self.by_begin.get(&key).into_iter().flatten();
        let needles = needles.filter(|needle| needle.is_token || which == Which::All);
        let matches = needles.map(|needle| needle.compare(text));
        let counts = |found: &Match| !complete || !matches!(found, Match::Cut(length) if *length < SHORTEST_CUT);
        matches.filter(counts).max().unwrap_or(Match::No)
    }
}

impl Needle {
    /// Compares byte by byte. The text may be broken into lines, as base64 usually is.
    fn compare(&self, text: &[u8]) -> Match {
        // As nearly all secrets occur, and much faster.
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

/// The first two bytes, without a line break between them.
fn key(text: &[u8]) -> Option<[u8; 2]> {
    let (first, rest) = text.split_first()?;
    Some([*first, *rest.get(line_break(rest)?)?])
}

/// The place of a pair's bit.
fn begin([first, second]: [u8; 2]) -> (usize, u64) {
    let index = usize::from(first) << 8 | usize::from(second);
    (index / 64, 1 << (index % 64))
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
