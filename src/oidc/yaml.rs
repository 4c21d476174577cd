//! Writes YAML scalars that nothing in a claim can break out of.

use std::fmt::Write as _;

/// A YAML scalar: plain if every reader takes it as that text, else in double quotes.
pub(super) fn scalar(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:".contains(&byte);
    // With a scheme in front it can be neither number, boolean, null nor key.
    if text.starts_with("http") && text.contains("://") && !text.ends_with(':') && text.bytes().all(plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A YAML scalar in double quotes (YAML 1.2, section 5.7), in which nothing can steer a terminal or hide.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ if character.is_alphanumeric() => out.push(character),
            _ => {
                let _ = write!(out, "\\U{:08x}", u32::from(character));
            }
        }
    }
    out.push('"');
    out
}
