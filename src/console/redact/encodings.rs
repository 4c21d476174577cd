//! The usual encodings of a secret: plain, hex and base64, the plain text and base64 also escaped as in a URL or a JSON string.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::text::hex;

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

/// The secret in all encodings. One that is not text is never written as it is.
pub(super) fn all(secret: &[u8]) -> BTreeSet<String> {
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
