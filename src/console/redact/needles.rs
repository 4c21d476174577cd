//! Finds secrets in a text: each of its usual encodings is a needle, built once when the secret becomes known. These are plain,
//! hex and base64, the plain text and base64 also escaped as in a URL, a JSON string or HTML.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

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

/// The entities of HTML and XML libraries for `"` and `'`, besides `&amp;`, `&lt;` and `&gt;`: some nothing; Go; Python; PHP; Ruby; XML.
const HTML: [[&str; 2]; 7] = [
    ["\"", "'"],
    ["&quot;", "'"],
    ["&#34;", "&#39;"],
    ["&quot;", "&#x27;"],
    ["&quot;", "&#039;"],
    ["&quot;", "&#39;"],
    ["&quot;", "&apos;"],
];

/// All encodings need some hundred times the size of a secret: of what is beyond this much of one there are only few.
pub(super) const MOST_ENCODED: usize = 64 * 1024;

/// Lines of one value beyond these are masked only where all of it is found.
const MOST_LINES: usize = 500;

#[derive(Default)]
pub(super) struct Needles {
    /// By their first two bytes.
    by_begin: HashMap<[u8; 2], HashMap<Box<[u8]>, Kind>>,
    /// A bit for each pair in `by_begin`.
    begins: Vec<u64>,
}

/// The properties of a needle besides its text.
#[derive(Clone, Copy, Default)]
struct Kind {
    /// A token is long and random: the same text elsewhere is no coincidence.
    is_token: bool,
    /// All encodings of this text are needles too.
    is_encoded: bool,
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
    /// This much of the rest is behind the last mask already.
    pub(super) covered: usize,
    pub(super) count: usize,
}

impl Needles {
    pub(super) fn add(&mut self, secret: &[u8], is_token: bool) {
        self.add_within(secret, is_token, &mut MOST_ENCODED.clone());
    }

    /// Adds the lines or other parts of one secret.
    pub(super) fn add_lines<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        let mut left = MOST_ENCODED;
        lines.take(MOST_LINES).for_each(|line| self.add_within(line.as_bytes(), false, &mut left));
    }

    /// Adds a secret in all encodings if it has no more than the bytes that are left for that.
    fn add_within(&mut self, secret: &[u8], is_token: bool, left: &mut usize) {
        // Space around it may be lost on the way, such as the line end of a key that was read from a file.
        let secret = secret.trim_ascii();
        let is_token = is_token && secret.len() >= SHORTEST_TOKEN;
        self.add_encodings(secret, is_token, left);
        // The header of a JWT is no secret. Its claims and its signature are, also one without the other.
        if let [_, claims, signature] = secret.split(|byte| *byte == b'.').collect::<Vec<_>>()[..] {
            for part in [claims, signature].into_iter().filter(|part| part.len() >= SHORTEST_TOKEN) {
                self.add_encodings(part, is_token, left);
            }
        }
    }

    fn add_encodings(&mut self, secret: &[u8], is_token: bool, left: &mut usize) {
        let known = key(secret).and_then(|key| self.by_begin.get(&key)?.get(secret));
        if secret.len() < SHORTEST || known.is_some_and(|known| known.is_encoded && known.is_token >= is_token) {
            return;
        }
        let rest = left.checked_sub(secret.len());
        *left = rest.unwrap_or(*left);
        // 65,536 pairs of two bytes, a bit each: most positions of a text are decided by one look into these 8 KiB.
        self.begins.resize(1 << 10, 0);
        for text in encodings(secret, rest.is_some()) {
            let text = text.into_bytes().into_boxed_slice();
            let Some(key) = key(&text) else { continue };
            let (index, bit) = begin(key);
            self.begins[index] |= bit;
            let is_encoded = rest.is_some() && *text == *secret;
            let known = self.by_begin.entry(key).or_default().entry(text).or_default();
            known.is_token |= is_token;
            known.is_encoded |= is_encoded;
        }
    }

    /// The bytes of all needles.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.by_begin.values().flat_map(HashMap::keys).map(|text| text.len()).sum()
    }

    /// Masks the secrets in a text, of which the beginning may be `covered` by an earlier mask. Unless the text is `complete`, what is
    /// at its end and may become a secret is left off.
    pub(super) fn mask(&self, text: &[u8], covered: usize, which: Which, complete: bool) -> Masked {
        let mut masked = Masked { text: Vec::new(), end: 0, covered: 0, count: 0 };
        // Where the last mask ends. Another secret may begin within it and end behind it.
        let mut hidden = covered;
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
            if at >= hidden {
                masked.text.extend_from_slice(&text[hidden..at]);
                masked.text.extend_from_slice(MASK);
                masked.count += 1;
            }
            hidden = hidden.max(at + length);
            at += 1;
        }
        masked.text.extend_from_slice(text.get(hidden..at).unwrap_or_default());
        Masked { end: at, covered: hidden.saturating_sub(at), ..masked }
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
        let Some(key) = key(text) else {
            // Too short to be looked up.
            let first = text.first().map_or(0, |first| begin([*first, 0]).0);
            let may_begin = !complete && self.begins[first..first + 4].iter().any(|bits| *bits != 0);
            return if may_begin { Match::Cut(1) } else { Match::No };
        };
        let needles = self.by_begin.get(&key).into_iter().flatten();
        let needles = needles.filter(|(_, kind)| kind.is_token || which == Which::All);
        let matches = needles.map(|(needle, _)| compare(needle, text));
        let counts = |found: &Match| !complete || !matches!(found, Match::Cut(length) if *length < SHORTEST_CUT);
        matches.filter(counts).max().unwrap_or(Match::No)
    }
}

/// Compares byte by byte. The text may be broken into lines, as base64 usually is.
fn compare(needle: &[u8], text: &[u8]) -> Match {
    // As nearly all secrets occur, and much faster.
    if text.starts_with(needle) {
        return Match::Whole(needle.len());
    }
    let mut at = 0;
    for (matched, byte) in needle.iter().enumerate() {
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

/// The secret in all encodings, or only in plain and in base64. One that is not text is never written as it is.
fn encodings(secret: &[u8], all: bool) -> BTreeSet<String> {
    let base64 = (0..3).flat_map(|before| within_base64(secret, before));
    let plain = str::from_utf8(secret);
    if !all {
        return base64.chain(plain.map(str::to_owned)).collect();
    }
    let mut texts: BTreeSet<_> = base64.flat_map(|text| escaped(&text, &BASE64)).collect();
    texts.extend(plain.into_iter().flat_map(|text| escaped(text, &tables(text))));
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

/// The escape sequences of special characters.
type Table = BTreeMap<char, String>;

static BASE64: LazyLock<BTreeSet<Table>> = LazyLock::new(|| tables("+/-_"));

/// The escapings of the special characters of a text. Most agree on the few that it has.
fn tables(text: &str) -> BTreeSet<Table> {
    let special: BTreeSet<_> = text.chars().filter(|character| is_special(*character)).collect();
    let table = |escape: Escape| special.iter().map(|character| (*character, escape(*character))).collect();
    escapings().into_iter().map(table).collect()
}

fn is_special(character: char) -> bool {
    !character.is_ascii_alphanumeric()
}

/// The text as it is and as the tables escape it.
fn escaped(text: &str, tables: &BTreeSet<Table>) -> Vec<String> {
    let apply = |table: &Table| {
        let mut out = String::with_capacity(text.len());
        for part in text.split_inclusive(is_special) {
            let mut plain = part.chars();
            let last = plain.next_back();
            out.push_str(plain.as_str());
            match last.and_then(|last| table.get(&last)) {
                Some(escaped) => out.push_str(escaped),
                None => out.extend(last),
            }
        }
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
    for quotes in HTML {
        escapings.push(Box::new(move |character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => quotes[0].to_owned(),
            '\'' => quotes[1].to_owned(),
            other => other.to_string(),
        }));
    }
    escapings
}

fn product<T: Copy, const N: usize>(styles: [T; N]) -> impl Iterator<Item = (T, bool, bool)> {
    let both = [false, true];
    styles
        .into_iter()
        .flat_map(move |style| both.into_iter().flat_map(move |first| both.map(|second| (style, first, second))))
}
