//! Finds secrets in a text: each of its usual encodings is a needle, built once when the secret becomes known. These are plain,
//! hex and base64, the plain text and base64 also escaped as in a URL or a JSON string.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{MASK, SHORTEST, Which};
use crate::text::hex;

/// A secret that is cut off at the end of a text is hidden if this much of it is there.
const SHORTEST_CUT: usize = 12;

/// A shorter part of a JWT reveals nothing; a shorter token may be in a file by coincidence.
const SHORTEST_TOKEN: usize = 16;

/// RFC 3986, section 2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Libraries differ in the punctuation that they percent-encode.
const PERCENT: [&AsciiSet; 7] = [
    // Everything but letters and digits.
    NON_ALPHANUMERIC,
    // Go's `url.QueryEscape`, Python's `quote_plus`.
    UNRESERVED,
    // Forms (WHATWG URL, `application/x-www-form-urlencoded`).
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*'),
    // JavaScript's `encodeURIComponent`.
    &UNRESERVED.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')'),
    // Go's `url.PathEscape`.
    &UNRESERVED.remove(b'$').remove(b'&').remove(b'+').remove(b':').remove(b'=').remove(b'@'),
    // Python's `quote`.
    &UNRESERVED.remove(b'/'),
    // A query in a URL (WHATWG URL).
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'').add(b'%'),
];

/// Characters that JSON libraries escape although they need not (RFC 8259, section 7): JavaScript and Python nothing; Go; Gson; .NET.
const JSON: [&str; 4] = ["", "<>&", "<>&='", "<>&'+\"`"];

/// Of a longer secret the escaped forms would need some hundred times its size.
pub(super) const LONGEST_ESCAPED: usize = 64 * 1024;

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
        for text in encodings(secret) {
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

/// The secret in all encodings. One that is not text is never written as it is.
fn encodings(secret: &[u8]) -> BTreeSet<String> {
    let base64 = (0..3).flat_map(|before| within_base64(secret, before));
    let texts = base64.chain(str::from_utf8(secret).map(str::to_owned));
    let mut texts: BTreeSet<_> = texts.flat_map(|text| escaped(&text)).collect();
    let hex = hex(secret);
    // Every byte percent-encoded, as few programs do.
    let percent =
        |hex: &str| hex.as_bytes().chunks(2).map(|pair| format!("%{}", String::from_utf8_lossy(pair))).collect();
    texts.extend::<[String; 2]>([percent(&hex.to_uppercase()), percent(&hex)]);
    texts.extend([hex.to_uppercase(), hex]);
    texts
}

/// The secret within base64, in both alphabets, when the number of bytes before it is `before` modulo 3. Base64 writes three
/// bytes as four characters, so the characters at both ends also depend on what is next to the secret. They are left off.
fn within_base64(secret: &[u8], before: usize) -> [String; 2] {
    let bytes = [&[0; 2][..before], secret].concat();
    let depends_on_before = (before * 8).div_ceil(6);
    let whole = bytes.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
        .map(|text| text.get(depends_on_before..whole).unwrap_or_default().to_owned())
}

/// The text as it is and in all escapings. Most escapings agree on the few special characters that a text has, and a token is
/// long: what becomes of the characters is compared first.
fn escaped(text: &str) -> Vec<String> {
    let is_special = |character: &char| !character.is_ascii_alphanumeric();
    let special: BTreeSet<_> = text.chars().filter(is_special).collect();
    if special.is_empty() || text.len() > LONGEST_ESCAPED {
        return vec![text.to_owned()];
    }
    let table = |escape: Escape| special.iter().map(|character| (*character, escape(*character))).collect();
    let tables: BTreeSet<BTreeMap<_, _>> = escapings().into_iter().map(table).collect();
    let apply = |table: &BTreeMap<char, String>| {
        let mut out = String::with_capacity(text.len());
        text.chars().for_each(|character| match table.get(&character) {
            Some(escaped) => out.push_str(escaped),
            None => out.push(character),
        });
        out
    };
    tables.iter().map(apply).chain([text.to_owned()]).collect()
}

/// The escape of a special character.
type Escape = Box<dyn Fn(char) -> String>;

fn escapings() -> Vec<Escape> {
    let mut escapings: Vec<Escape> = Vec::new();
    for (set, is_lower, is_plus) in product(PERCENT) {
        escapings.push(Box::new(move |character| {
            if is_plus && character == ' ' {
                return "+".to_owned();
            }
            let escaped = utf8_percent_encode(character.encode_utf8(&mut [0; 4]), set).to_string();
            if is_lower { escaped.to_ascii_lowercase() } else { escaped }
        }));
    }
    for (escaped, is_upper, is_slash) in product(JSON) {
        for is_ascii in [false, true] {
            escapings.push(Box::new(move |character| {
                if escaped.contains(character) || is_ascii && !character.is_ascii() {
                    let hex = |unit: &u16| if is_upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
                    return character.encode_utf16(&mut [0; 2]).iter().map(hex).collect();
                }
                match character {
                    '/' if is_slash => "\\/".to_owned(),
                    '"' => "\\\"".to_owned(),
                    _ => serde_json::Value::from(character.to_string()).to_string().trim_matches('"').to_owned(),
                }
            }));
        }
    }
    escapings
}

fn product<T: Copy, const N: usize>(styles: [T; N]) -> impl Iterator<Item = (T, bool, bool)> {
    let both = [false, true];
    styles
        .into_iter()
        .flat_map(move |style| both.into_iter().flat_map(move |first| both.map(|second| (style, first, second))))
}
