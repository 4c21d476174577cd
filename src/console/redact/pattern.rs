//! How a secret is found in a text: plain, in hex, within base64, and each of these percent-encoded or escaped as in JSON.

use std::sync::Arc;

use super::{MASK, SHORTEST};

/// A secret that is cut off at the end of a text is hidden from this length on.
const SHORTEST_CUT: usize = 12;

/// A part of a JWT that is shorter gives nothing away.
const SHORTEST_PART: usize = 16;

/// The texts to hide, each by the bytes that it can begin with.
pub(super) struct Patterns {
    secrets: Vec<Arc<[u8]>>,
    by_first: [Vec<Form>; 256],
}

/// A secret in one encoding. What it looks like there is worked out while comparing, so that a secret takes little memory.
#[derive(Clone)]
struct Form {
    secret: Arc<[u8]>,
    encoding: Encoding,
    /// In characters of the encoding.
    length: usize,
    /// Its second character, in both ways to write it: most of what begins alike differs there.
    second: (u8, u8),
}

#[derive(Clone, Copy)]
enum Encoding {
    Plain,
    /// In either case.
    Hex,
    /// In either alphabet, where this many bytes (modulo 3) stand before the secret. The first characters also depend on
    /// those, the last one on what follows the secret: only what is the same in every such text is compared.
    Base64 {
        before: usize,
    },
}

/// How single characters of it may be written.
#[derive(Clone, Copy)]
enum Escapes {
    None,
    /// In a URL or a form (RFC 3986, section 2.1).
    Percent,
    /// In JSON (RFC 8259, section 7).
    Backslash,
}

/// What a position of a text holds.
enum Found {
    No,
    /// A secret over this many bytes.
    Secret(usize),
    /// What would be one if the text went on.
    Maybe,
}

/// How a form compares with the start of a text.
enum Match {
    /// It is another text, which shows in its first bytes.
    No { looked_at: usize },
    /// Matched whole, over this many bytes.
    Whole(usize),
    /// The text ended after this many characters of the form, which took so many bytes; the beginning of an escape may follow.
    Cut { matched: usize, length: usize, looked_at: usize },
}

impl Patterns {
    pub(super) const fn new() -> Self {
        Self { secrets: Vec::new(), by_first: [const { Vec::new() }; 256] }
    }

    pub(super) fn add(&mut self, secret: &str) {
        // Without what may be lost on the way: a line end behind a key, say.
        let secret = secret.trim();
        if secret.len() < SHORTEST {
            return;
        }
        self.add_whole(secret.as_bytes());
        // Claims and signature of a JWT tell the whole to whoever has the other.
        let parts: Vec<&str> = secret.split('.').collect();
        if parts.len() == 3 {
            parts[1..]
                .iter()
                .filter(|part| part.len() >= SHORTEST_PART)
                .for_each(|part| self.add_whole(part.as_bytes()));
        }
    }

    fn add_whole(&mut self, secret: &[u8]) {
        if self.secrets.iter().any(|known| **known == *secret) {
            return;
        }
        let secret: Arc<[u8]> = secret.into();
        self.secrets.push(secret.clone());
        let base64 = [0, 1, 2].map(|before| Encoding::Base64 { before });
        for encoding in base64.into_iter().chain([Encoding::Plain, Encoding::Hex]) {
            let length = encoding.length(secret.len());
            if length < SHORTEST {
                continue;
            }
            let mut form = Form { secret: secret.clone(), encoding, length, second: (0, 0) };
            form.second = form.at(1);
            let (first, other) = form.at(0);
            if other != first {
                self.by_first[usize::from(other)].push(form.clone());
            }
            self.by_first[usize::from(first)].push(form);
        }
    }

    /// The text with its secrets masked, up to a position that is given as well; from there on it is as it was. Without
    /// `end`, that is where a secret may begin that the text does not hold to its end. With it, nothing is given where
    /// there is no secret, so that the text itself can be used.
    pub(super) fn mask(&self, text: &[u8], end: bool) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        let (mut copied, mut at) = (0, 0);
        while at < text.len() {
            if !self.can_begin(text[at]) {
                at += 1;
                continue;
            }
            match self.find(&text[at..], end) {
                Found::No => at += 1,
                Found::Secret(length) => {
                    out.extend_from_slice(&text[copied..at]);
                    out.extend_from_slice(MASK);
                    at += length;
                    copied = at;
                }
                Found::Maybe => break,
            }
        }
        if !end {
            out.extend_from_slice(&text[copied..at]);
            copied = at;
        }
        (out, copied)
    }

    /// Whether a secret can begin with this byte; most text is passed over by this alone.
    fn can_begin(&self, byte: u8) -> bool {
        !self.by_first[usize::from(byte)].is_empty() || matches!(byte, b'%' | b'\\' | b'+') && !self.secrets.is_empty()
    }

    /// The longest secret at the start of a text.
    fn find(&self, text: &[u8], end: bool) -> Found {
        let Some(first) = text.first() else { return Found::No };
        let (mut longest, mut cut) = (0, 0);
        let mut maybe = false;
        let mut note = |found: &Match| match found {
            Match::Whole(length) => longest = longest.max(*length),
            Match::Cut { matched, length, .. } if end && *matched >= SHORTEST_CUT => cut = cut.max(*length),
            Match::Cut { .. } => maybe |= !end,
            Match::No { .. } => {}
        };
        for form in self.by_first[usize::from(*first)].iter().filter(|form| form.may_begin(text)) {
            let found = form.matches(text, Escapes::None);
            note(&found);
            // Up to the first escape, all ways to read a text are the same.
            let (Match::No { looked_at } | Match::Cut { looked_at, .. } | Match::Whole(looked_at)) = found;
            let escapes = Escapes::OTHERS.into_iter().filter(|escapes| escapes.occur(&text[..looked_at]));
            escapes.for_each(|escapes| note(&form.matches(text, escapes)));
        }
        for escapes in Escapes::OTHERS {
            match escapes.unescape(text) {
                Unescaped::Byte(byte, _) if byte != *first => {
                    self.by_first[usize::from(byte)].iter().for_each(|form| note(&form.matches(text, escapes)));
                }
                Unescaped::Byte(..) => {}
                Unescaped::Cut => note(&Match::Cut { matched: 0, length: 0, looked_at: 0 }),
            }
        }
        match longest {
            _ if maybe => Found::Maybe,
            _ if cut > longest => Found::Secret(text.len()),
            0 => Found::No,
            length => Found::Secret(length),
        }
    }
}

impl Encoding {
    /// How long a secret of so many bytes is in it.
    fn length(self, bytes: usize) -> usize {
        match self {
            Self::Plain => bytes,
            Self::Hex => bytes * 2,
            Self::Base64 { before } => ((before + bytes) * 8 / 6).saturating_sub(Self::skipped(before)),
        }
    }

    /// How many characters of base64 hold bits of the bytes before.
    fn skipped(before: usize) -> usize {
        (before * 8).div_ceil(6)
    }
}

impl Form {
    /// The character at an index, in the two ways that it may be written.
    fn at(&self, index: usize) -> (u8, u8) {
        match self.encoding {
            Encoding::Plain => (self.secret[index], self.secret[index]),
            Encoding::Hex => {
                let byte = self.secret[index / 2];
                let digit = if index.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
                let lower = b"0123456789abcdef"[usize::from(digit)];
                (lower, lower.to_ascii_uppercase())
            }
            Encoding::Base64 { before } => {
                let bit = (index + Encoding::skipped(before)) * 6 - before * 8;
                let next = self.secret.get(bit / 8 + 1).copied().unwrap_or_default();
                let window = u16::from_be_bytes([self.secret[bit / 8], next]);
                match (window >> (10 - bit % 8)) as u8 & 63 {
                    letter @ 0..26 => (b'A' + letter, b'A' + letter),
                    letter @ 26..52 => (b'a' + letter - 26, b'a' + letter - 26),
                    digit @ 52..62 => (b'0' + digit - 52, b'0' + digit - 52),
                    62 => (b'+', b'-'),
                    _ => (b'/', b'_'),
                }
            }
        }
    }

    /// Whether the second byte of a text is one that it can have, where the first is.
    fn may_begin(&self, text: &[u8]) -> bool {
        match text {
            [b'%' | b'\\' | b'+', ..] | [_, b'%' | b'\\' | b'+' | b'\r' | b'\n', ..] => true,
            [_, next, ..] => *next == self.second.0 || *next == self.second.1,
            _ => true,
        }
    }

    /// Compares character by character. Encoded text may be broken into lines.
    fn matches(&self, text: &[u8], escapes: Escapes) -> Match {
        let mut at = 0;
        for index in 0..self.length {
            if index > 0 && !matches!(self.encoding, Encoding::Plain) {
                at += line_break(&text[at..]);
            }
            let (one, other) = self.at(index);
            match escapes.unescape(&text[at..]) {
                Unescaped::Byte(byte, length) if byte == one || byte == other => at += length,
                // A form has a plus for a space, other parts of a URL have it for itself.
                Unescaped::Byte(b' ', 1) if one == b'+' || other == b'+' => at += 1,
                Unescaped::Byte(..) => return Match::No { looked_at: at + 1 },
                Unescaped::Cut => return Match::Cut { matched: index, length: at, looked_at: text.len() },
            }
        }
        Match::Whole(at)
    }
}

/// What stands at the start of a text.
enum Unescaped {
    /// This byte, written with so many.
    Byte(u8, usize),
    /// Nothing, or the beginning of an escape.
    Cut,
}

impl Escapes {
    const OTHERS: [Self; 2] = [Self::Percent, Self::Backslash];

    /// Whether a text has any.
    fn occur(self, text: &[u8]) -> bool {
        text.iter().any(|byte| match self {
            Self::None => false,
            Self::Percent => matches!(byte, b'%' | b'+'),
            Self::Backslash => *byte == b'\\',
        })
    }

    fn unescape(self, text: &[u8]) -> Unescaped {
        let Some(first) = text.first() else { return Unescaped::Cut };
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let escaped =
            |byte: Option<u8>, length| byte.map_or(Unescaped::Byte(*first, 1), |byte| Unescaped::Byte(byte, length));
        match (self, text) {
            (Self::Percent, [b'+', ..]) => Unescaped::Byte(b' ', 1),
            (Self::Percent, [b'%', high, low, ..]) => escaped(hex(&[*high, *low]), 3),
            (Self::Backslash, [b'\\', b'u', b'0', b'0', high, low, ..]) => escaped(hex(&[*high, *low]), 6),
            (Self::Backslash, [b'\\', b'u', rest @ ..]) if rest.len() >= 4 => escaped(None, 1),
            (Self::Backslash, [b'\\', character, ..]) if *character != b'u' => {
                let byte = match character {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    character => *character,
                };
                Unescaped::Byte(byte, 2)
            }
            (Self::Percent, [b'%', ..]) | (Self::Backslash, [b'\\', ..]) => Unescaped::Cut,
            _ => Unescaped::Byte(*first, 1),
        }
    }
}

/// The length of one line break, written out or escaped.
fn line_break(text: &[u8]) -> usize {
    if !matches!(text.first(), Some(b'\r' | b'\n' | b'\\')) {
        return 0;
    }
    let breaks: [&[u8]; 4] = [b"\r\n", b"\n", b"\\r\\n", b"\\n"];
    breaks.iter().find(|form| text.starts_with(form)).map_or(0, |form| form.len())
}
