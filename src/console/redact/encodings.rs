//! The ways in which a secret is usually written: plain, hex or base64, each of them also within a URL or a JSON string.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is left as it is by RFC 3986, section 2.3; so do Go's and Python's libraries.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is percent-encoded. Libraries differ in the punctuation that they leave as it is.
const PERCENT: [&AsciiSet; 6] = [
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

/// How a library writes a JSON string (RFC 8259, section 7).
#[derive(Clone, Copy, Default)]
struct Json {
    /// Characters that are written as `\uXXXX` although they need not be.
    escaped: &'static str,
    ascii_only: bool,
    /// `/` is written as `\/`.
    slash: bool,
    upper_case: bool,
}

const PLAIN: Json = Json { escaped: "", ascii_only: false, slash: false, upper_case: false };

const JSON: [Json; 8] = [
    PLAIN,
    Json { slash: true, ..PLAIN },
    // Go.
    Json { escaped: "<>&\u{2028}\u{2029}", ..PLAIN },
    // Gson.
    Json { escaped: "<>&='", ..PLAIN },
    // Python.
    Json { ascii_only: true, ..PLAIN },
    // PHP.
    Json { ascii_only: true, slash: true, ..PLAIN },
    // Jackson.
    Json { ascii_only: true, upper_case: true, ..PLAIN },
    // .NET.
    Json { ascii_only: true, upper_case: true, escaped: "<>&'+\"`", ..PLAIN },
];

/// All texts that stand for the secret.
pub(super) fn all(secret: &str) -> BTreeSet<String> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut texts = BTreeSet::from([secret.to_owned(), hex.to_uppercase(), hex]);
    texts.extend((0..3).flat_map(|before| within_base64(bytes, before)));
    let escaped: Vec<String> = texts.iter().flat_map(|text| escaped(text)).collect();
    texts.extend(escaped);
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

/// How a text is escaped within another one.
#[derive(Clone, Copy)]
enum Escaping {
    /// In a URL, with hex digits in either case, and with both ways to write a space.
    Percent {
        set: &'static AsciiSet,
        lower_case: bool,
        plus: bool,
    },
    Json(Json),
}

impl Escaping {
    fn all() -> impl Iterator<Item = Self> {
        let percent = PERCENT.into_iter().flat_map(|set| {
            [(false, false), (false, true), (true, false), (true, true)].map(|(lower_case, plus)| Self::Percent {
                set,
                lower_case,
                plus,
            })
        });
        percent.chain(JSON.map(Self::Json))
    }

    fn apply(self, text: &str) -> String {
        match self {
            Self::Percent { set, lower_case, plus } => {
                let escaped = utf8_percent_encode(text, set).to_string();
                let escaped = if lower_case { lower_case_escapes(&escaped) } else { escaped };
                if plus { escaped.replace("%20", "+") } else { escaped }
            }
            Self::Json(style) => json(text, style),
        }
    }
}

/// The text in all escapings that change it. Most agree on what a text has: they are compared on its special characters alone,
/// since a token is long and the pipe starts with it.
fn escaped(text: &str) -> Vec<String> {
    let special: BTreeSet<char> = text.chars().filter(|character| !character.is_ascii_alphanumeric()).collect();
    let special = String::from_iter(special);
    let mut seen = BTreeSet::from([special.clone()]);
    let different = Escaping::all().filter(|escaping| seen.insert(escaping.apply(&special)));
    different.map(|escaping| escaping.apply(text)).collect()
}

fn lower_case_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut lower, part| {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        lower.extend(["%", &digits.to_ascii_lowercase(), rest]);
        lower
    })
}

/// The text in a JSON string.
fn json(text: &str, style: Json) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let short = match character {
            _ if style.escaped.contains(character) => None,
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '/' if style.slash => Some("\\/"),
            '\u{8}' => Some("\\b"),
            '\u{c}' => Some("\\f"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            _ => None,
        };
        let needs_escape = character.is_ascii_control()
            || style.ascii_only && !character.is_ascii()
            || style.escaped.contains(character);
        match short {
            Some(short) => out.push_str(short),
            None if needs_escape => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.push_str(&if style.upper_case { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") });
                }
            }
            None => out.push(character),
        }
    }
    out
}
