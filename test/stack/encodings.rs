//! Encodings, line endings and white space.

use super::*;

#[test]
fn text_with_bom_crlf_and_tabs_is_read() {
    let text = environment("      A: größe\n      B: |\n        one\n        two");
    let expected = || vec![body(json!({"envVars": {"A": "größe", "B": "one\ntwo\n"}}))];
    files_become([
        ("UTF-8", text.clone(), expected()),
        ("byte order mark", format!("\u{feff}{text}"), expected()),
        ("CRLF", text.replace('\n', "\r\n"), expected()),
        ("byte order mark and CRLF", format!("\u{feff}{}", text.replace('\n', "\r\n")), expected()),
        ("no end of the last line", text.trim_end().to_owned() + "\n", expected()),
        ("spaces at line ends", text.replace("größe\n", "größe   \n"), expected()),
    ]);
    environments_become([
        ("tab after a colon", "      A:\tone", json!({"A": "one"})),
        ("tab before a comment", "      A: one\t# two", json!({"A": "one"})),
        ("tab within", "      A: one\ttwo", json!({"A": "one\ttwo"})),
    ]);
}

#[test]
fn line_separators_are_refused() {
    refused([
        ("plain", environment("      A: a\u{2028}b"), "stack.yml:8:11: invalid character `\\u{2028}`"),
        ("in quotes", environment("      A: 'a\u{2029}'"), "hint: write it as `\\P` in double quotes"),
    ]);
}

#[test]
fn tabs_in_indentation_are_rejected() {
    refused([
        ("a name", environment("\tA: one"), "stack.yml:8:2: indented with a tab"),
        ("a field", function("\tlang: go"), "stack.yml:7:1: indented with a tab"),
        ("after spaces", environment("    \tA: one"), "indented with a tab"),
    ]);
}

#[test]
fn other_encodings_are_rejected() {
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        std::iter::once(0xfeff).chain(HEAD.encode_utf16()).flat_map(bytes).collect()
    };
    let with = |bytes: &[u8]| [environment("      A: b").as_bytes(), bytes].concat();
    refused([
        ("UTF-16, little-endian", utf16(u16::to_le_bytes), "is UTF-16 text"),
        ("UTF-16, big-endian", utf16(u16::to_be_bytes), "is UTF-16 text"),
        ("Latin-1", with(b"      B: gr\xf6sse\n"), "stack.yml:9:12: invalid UTF-8"),
        ("cut character", with(b"# \xe2\x82"), "stack.yml:9:3: invalid UTF-8"),
        ("NUL", with(b"\0\n"), "NUL"),
    ]);
}

#[test]
fn invisible_characters_are_printed_as_json_escapes() {
    environments_become([(
        "invisible",
        "      a: \"x\\u200fy\\x85\\u2028\\ufeff\\x7f\\x9b\"",
        json!({"a": "x\u{200f}y\u{85}\u{2028}\u{feff}\u{7f}\u{9b}"}),
    )]);
}
