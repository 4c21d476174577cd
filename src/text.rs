//! Small functions on text that several modules need.

use std::fmt::Display;

use url::Host;

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of things: `1 function`, `2 functions`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// The items of a list, at most `most` of them: `a, b and 3 more`.
pub(crate) fn list(items: impl IntoIterator<Item = impl Display>, most: usize) -> String {
    let mut items = items.into_iter();
    let shown: Vec<_> = items.by_ref().take(most).map(|item| item.to_string()).collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The name in a text that is `$NAME`, `${NAME}` or `${{NAME}}` and nothing else: a variable that was not expanded.
pub(crate) fn variable_name(text: &str) -> Option<&str> {
    let rest = text.trim().strip_prefix('$')?;
    let within = |open: &str, close: &str| rest.strip_prefix(open)?.strip_suffix(close);
    let name = within("{{", "}}").map(str::trim).or_else(|| within("{", "}")).unwrap_or(rest);
    let is_name = !name.starts_with(|character: char| character.is_ascii_digit())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    (is_name && !name.is_empty()).then_some(name)
}

/// True if a host is this machine. Names below `localhost` are not: some resolvers look them up elsewhere.
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// YAML to paste, between two comments that say where it begins and ends.
pub(crate) fn to_paste(yaml: &str) -> String {
    format!("# ----- copy from here -----\n{}\n# ----- to here -----", yaml.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_variable_that_was_not_expanded_has_a_name() {
        for text in ["$NAME", "${NAME}", " $NAME ", "${{NAME}}", "${{ NAME }}"] {
            assert_eq!(variable_name(text), Some("NAME"), "{text}");
        }
        for text in ["", "$", "${}", "NAME", "$1", "$A B", "${A", "$A}", "${{A}", "${A}}", "$A-b", "x$A"] {
            assert_eq!(variable_name(text), None, "{text}");
        }
    }
}
