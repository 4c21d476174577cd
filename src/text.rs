//! Small functions on text that several modules need, and the slips of shells, editors and merges that leave a text other than it
//! was meant.

use std::fmt::{Display, Write as _};

use url::Host;

/// Quotes that word processors and chats put in place of `'` and `"`.
const TYPOGRAPHIC_QUOTES: [char; 10] = ['‘', '’', '‚', '‛', '“', '”', '„', '‟', '«', '»'];
/// The lines that git writes around a merge conflict. The `=======` between them may be the text of a block scalar.
const CONFLICT_MARKERS: [&str; 2] = ["<<<<<<< ", ">>>>>>> "];

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

/// A YAML scalar: plain if every reader takes it as that text, else in double quotes.
pub(crate) fn yaml_scalar(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:".contains(&byte);
    // With a scheme in front it can be neither number, boolean, null nor key.
    if text.starts_with("http") && text.contains("://") && !text.ends_with(':') && text.bytes().all(plain) {
        text.to_owned()
    } else {
        yaml_quoted(text)
    }
}

/// A YAML scalar in double quotes (YAML 1.2, section 5.7), in which nothing can steer a terminal or hide.
pub(crate) fn yaml_quoted(text: &str) -> String {
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

/// The first `${NAME}` or `${{NAME}}` within a text.
pub(crate) fn braced_reference(text: &str) -> Option<&str> {
    text.match_indices("${").find_map(|(start, _)| {
        let rest = &text[start..];
        let close = if rest.starts_with("${{") { "}}" } else { "}" };
        let found = &rest[..rest.find(close)? + close.len()];
        variable_name(found).map(|_| found)
    })
}

/// A text that is `$NAME`, or the first `${NAME}` or `${{NAME}}` within it.
pub(crate) fn reference(text: &str) -> Option<&str> {
    variable_name(text).map(|_| text.trim()).or_else(|| braced_reference(text))
}

/// The first `$NAME` without braces within a text.
pub(crate) fn bare_reference(text: &str) -> Option<&str> {
    bare_references(text).next()
}

fn bare_references(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('$').filter_map(|(start, _)| {
        let rest = &text[start + 1..];
        let length = rest.find(|character: char| !is_name_character(character)).unwrap_or(rest.len());
        let found = &text[start..=start + length];
        variable_name(found).map(|_| found)
    })
}

/// The first variable within a text that was probably not expanded: in braces, or with a name as variables of pipelines have.
/// `$filter` may be a key of OData.
pub(crate) fn unexpanded(text: &str) -> Option<&str> {
    let is_name = |text: &&str| text.len() > 2 && !text.bytes().any(|byte| byte.is_ascii_lowercase());
    braced_reference(text).or_else(|| bare_references(text).find(is_name))
}

/// The first command of a shell that nothing has run: `$(git describe)` within a text, or all of it in backticks. Kubernetes
/// expands `$(NAME)` in a variable of a container.
pub(crate) fn command(text: &str) -> Option<&str> {
    let is_command = |text: &&str| text.bytes().any(|byte| byte == b' ' || byte.is_ascii_lowercase());
    let between = |(start, _): (usize, &str)| Some(&text[start..=start + text[start..].find(')')?]);
    let in_backticks =
        || Some(text.trim()).filter(|text| text.len() > 2 && text.starts_with('`') && text.ends_with('`'));
    text.match_indices("$(").filter_map(between).find(is_command).or_else(in_backticks)
}

/// The first place in a text that a shell or a template engine should have filled in: `$(command)`, `${NAME:-x}`, `{{NAME}}`,
/// `%NAME%`, `<NAME>`.
pub(crate) fn placeholder(text: &str) -> Option<&str> {
    let between = |open: &str, close: &str| {
        let start = text.find(open)?;
        let length = text[start + open.len()..].find(close)?;
        Some(&text[start..start + open.len() + length + close.len()])
    };
    let is_percent_name = |part: &&str| {
        let name = part.trim_matches('%');
        // `%E2%` is a part of an encoded text.
        name.len() > 2 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let percent = || {
        text.match_indices('%').find_map(|(start, _)| {
            let length = text[start + 1..].find('%')?;
            Some(&text[start..start + length + 2]).filter(is_percent_name)
        })
    };
    let whole = || Some(text.trim()).filter(|text| text.starts_with('<') && text.ends_with('>'));
    command(text).or_else(|| between("${", "}")).or_else(|| between("{{", "}}")).or_else(percent).or_else(whole)
}

/// True if a text is what scripts write in place of a value that is missing.
pub(crate) fn is_absent(text: &str) -> bool {
    matches!(text.trim(), "null" | "undefined" | "None" | "nil" | "~")
}

/// True if a text is in quotes, which are a part of it.
pub(crate) fn is_quoted(text: &str) -> bool {
    let text = text.trim();
    ['\'', '"'].iter().any(|quote| text.len() > 1 && text.starts_with(*quote) && text.ends_with(*quote))
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn quote_fault(quote: char) -> String {
    format!("the typographic quote `{quote}`: write `'` or `\"`")
}

/// The quotes around a text, if they are typographic.
pub(crate) fn typographic_quotes(text: &str) -> Option<String> {
    let is_quote = |character: &char| TYPOGRAPHIC_QUOTES.contains(character);
    let mut characters = text.trim().chars();
    let first = characters.next().filter(is_quote)?;
    characters.next_back().filter(is_quote).map(|_| quote_fault(first))
}

/// A character that looks like another one, or like none, and what to do about it.
pub(crate) fn odd_character(text: &str) -> Option<String> {
    let text = text.trim_matches(|character: char| character.is_ascii_whitespace());
    let ends = [text.chars().next(), text.chars().next_back()];
    if let Some(quote) = ends.into_iter().flatten().find(|character| TYPOGRAPHIC_QUOTES.contains(character)) {
        return Some(quote_fault(quote));
    }
    invisible_character(text)
}

/// A character that looks like a space, or like nothing.
pub(crate) fn invisible_character(text: &str) -> Option<String> {
    text.chars().find_map(|character| {
        let what = match character {
            '\u{a0}' | '\u{2007}' | '\u{202f}' => "no-break space",
            '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}' => {
                "invisible character"
            }
            _ => return None,
        };
        let article = if what.starts_with('i') { "an" } else { "a" };
        Some(format!("{article} {what} (U+{:04X}): type the line again", u32::from(character)))
    })
}

/// The place, in bytes, of a line that git wrote into a file because it could not merge two changes.
pub(crate) fn conflict_marker(text: &str) -> Option<usize> {
    let mut at = 0;
    text.split_inclusive('\n').find_map(|line| {
        let start = at;
        at += line.len();
        CONFLICT_MARKERS.iter().any(|marker| line.starts_with(marker)).then_some(start)
    })
}

/// True if a text is JSON without its quotes, such as `{name:x}`: a shell has taken them.
pub(crate) fn is_unquoted_json(text: &str) -> bool {
    let text = text.trim();
    let inner = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    let is_object = inner('{', '}').is_some_and(|inner: &str| {
        let key = inner.split(':').next().unwrap_or_default();
        inner.contains(':')
            && key.trim().chars().all(|character| is_name_character(character) || "-.".contains(character))
    });
    let is_list =
        inner('[', ']').is_some_and(|inner: &str| inner.contains(|character: char| character.is_alphabetic()));
    (is_object || is_list) && !text.contains('"') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err()
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

    #[test]
    fn references_are_found_within_a_text() {
        assert_eq!(braced_reference("https://${HOST}/x"), Some("${HOST}"));
        assert_eq!(braced_reference("${ }${{HOST}}/x"), Some("${{HOST}}"));
        assert_eq!(braced_reference("a$HOST ${"), None);
        assert_eq!(bare_reference("r/f:$VERSION-1"), Some("$VERSION"));
        assert_eq!(bare_reference("$1 $$ ${A} $é $B"), Some("$B"));
    }

    #[test]
    fn names_that_were_not_filled_in_are_found() {
        assert_eq!(unexpanded("f/$filter/$PATH_OF_F"), Some("$PATH_OF_F"));
        assert_eq!(unexpanded("$filter=x $1 $A"), None);
        for (text, found) in [
            ("a-${X:-b}", "${X:-b}"),
            ("x{{ .Values.ns }}", "{{ .Values.ns }}"),
            ("https://%HOST%/x", "%HOST%"),
            ("<namespace>", "<namespace>"),
            ("v-$(git describe --tags)-x", "$(git describe --tags)"),
            (" `cat ns` ", "`cat ns`"),
        ] {
            assert_eq!(placeholder(text), Some(found), "{text}");
        }
        for text in [
            "",
            "a%20b%2Fc",
            "%E2%82%AC",
            "50% of 100%",
            "{a}",
            "a < b > c",
            "${",
            "$X",
            "$(POD_IP)",
            "$(a",
            "``",
            "`a`b",
        ] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }

    #[test]
    fn odd_characters_are_named() {
        for (text, what) in [
            ("“replace”", "the typographic quote `“`"),
            ("replace’", "the typographic quote `’`"),
            ("a\u{a0}b", "a no-break space (U+00A0)"),
            ("\u{a0}a", "a no-break space (U+00A0)"),
            ("a\u{200b}", "an invisible character (U+200B)"),
        ] {
            assert!(odd_character(text).is_some_and(|odd| odd.starts_with(what)), "{text}");
        }
        for text in ["", "it’s", "a b", "é", "'a'", "👩\u{200d}🔧"] {
            assert_eq!(odd_character(text), None, "{text}");
        }
    }

    #[test]
    fn conflict_marker_is_found_at_the_start_of_a_line() {
        assert_eq!(conflict_marker("a: 1\n<<<<<<< HEAD\nb: 2\n"), Some(5));
        assert_eq!(conflict_marker("a: 1\n>>>>>>> main"), Some(5));
        assert_eq!(conflict_marker("<<: *a\n  <<<<<<< HEAD\n=======\n"), None);
    }

    #[test]
    fn json_without_quotes_is_recognised() {
        for text in ["{name:x}", " {a: b, c: d} ", "[a,b]", "{a:{b:c}}", "{retries:3}"] {
            assert!(is_unquoted_json(text), "{text}");
        }
        for text in
            ["{}", "[]", "[1, 2]", "{\"a\": 1}", "{\"a\": x}", "{a}", "text", "{% if a: b %}", "name:x", "[true]"]
        {
            assert!(!is_unquoted_json(text), "{text}");
        }
    }
}
