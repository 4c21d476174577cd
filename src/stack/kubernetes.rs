//! What Kubernetes would refuse of a function: names, labels, quantities. Each check says what is wrong, if anything.

use crate::console::log::brief;
use crate::function::api;

/// The longest label value, label name or DNS label.
const MAX_LABEL: usize = 63;
/// The longest DNS subdomain: names of secrets, prefixes of label keys.
const MAX_SUBDOMAIN: usize = 253;
/// All annotations of an object together.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// Less memory than this starts no container.
const LEAST_MEMORY: f64 = 1024.0 * 1024.0;
/// Nobody means more than this: 1 PiB.
const MOST_MEMORY: f64 = LEAST_MEMORY * LEAST_MEMORY * 1024.0;

/// Why a URL cannot name a function.
pub(super) fn unaddressable(name: &str) -> Option<String> {
    match name {
        "" => Some("it is empty".to_owned()),
        "." | ".." => Some("in a URL it means a folder".to_owned()),
        _ => api::unaddressable(name).map(|character| format!("it holds `{}`", character.escape_default())),
    }
}

/// Lower case letters, digits and `-`, beginning and ending with a letter or digit (RFC 1123).
pub(super) fn dns_label(name: &str) -> Option<String> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.len() > MAX_LABEL {
        return Some(format!("it is longer than {MAX_LABEL} characters"));
    }
    let wrong = name.chars().find(|character| !matches!(character, 'a'..='z' | '0'..='9' | '-'));
    if let Some(wrong) = wrong {
        return Some(format!(
            "it holds `{}`, where only lower case letters, digits and `-` may stand",
            wrong.escape_default()
        ));
    }
    let ends = [name.bytes().next(), name.bytes().last()];
    let ends_well = ends.iter().all(|byte| byte.is_some_and(is_word));
    (!ends_well).then(|| "it must begin and end with a letter or digit".to_owned())
}

/// A function's name, which is also a Service's (RFC 1035): a DNS label that begins with a letter.
pub(super) fn function_name(name: &str) -> Option<String> {
    let starts_with_digit = name.starts_with(|first: char| first.is_ascii_digit());
    dns_label(name).or_else(|| starts_with_digit.then(|| "it must begin with a letter".to_owned()))
}

/// DNS labels with dots between them.
pub(super) fn dns_subdomain(name: &str) -> Option<String> {
    if name.len() > MAX_SUBDOMAIN {
        return Some(format!("it is longer than {MAX_SUBDOMAIN} characters"));
    }
    let is_valid = name.split('.').all(|label| dns_label(label).is_none_or(|fault| fault.starts_with("it is longer")));
    (!is_valid).then(|| {
        "it may hold only lower case letters, digits, `-` and `.`, and begin and end with a letter or digit".to_owned()
    })
}

/// `name` or `prefix/name`, for labels and annotations.
pub(super) fn label_key(key: &str) -> Option<String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if let Some(prefix) = prefix
        && (prefix.is_empty() || dns_subdomain(prefix).is_some())
    {
        return Some(format!("what stands before its `/`, `{}`, is not a DNS name", brief(prefix)));
    }
    if name.is_empty() {
        return Some("it has no name".to_owned());
    }
    label_text(name)
}

/// A label's value.
pub(super) fn label_value(value: &str) -> Option<String> {
    if value.is_empty() { None } else { label_text(value) }
}

fn label_text(text: &str) -> Option<String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric();
    if text.len() > MAX_LABEL {
        return Some(format!("it is longer than {MAX_LABEL} characters"));
    }
    let wrong = text.chars().find(|character| !(character.is_ascii_alphanumeric() || "-_.".contains(*character)));
    if let Some(wrong) = wrong {
        return Some(format!(
            "it holds `{}`, where only letters, digits, `-`, `_` and `.` may stand",
            wrong.escape_default()
        ));
    }
    let ends = [text.bytes().next(), text.bytes().last()];
    let ends_well = ends.iter().all(|byte| byte.is_some_and(is_word));
    (!ends_well).then(|| "it must begin and end with a letter or digit".to_owned())
}

/// The name of an environment variable.
pub(super) fn environment_name(name: &str) -> Option<String> {
    match name {
        "" => Some("it is empty".to_owned()),
        _ => name.contains('=').then(|| "it holds `=`".to_owned()),
    }
}

/// The size of all annotations together.
pub(super) fn annotations_size(size: usize) -> Option<String> {
    (size > MAX_ANNOTATIONS)
        .then(|| format!("the annotations take {size} bytes, and Kubernetes takes {MAX_ANNOTATIONS}"))
}

/// What is wrong with a quantity, and what may have been meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QuantityFault {
    pub(super) message: String,
    pub(super) hint: String,
}

/// Checks a quantity of memory.
pub(super) fn memory(text: &str) -> Option<QuantityFault> {
    match quantity(text) {
        None => Some(QuantityFault {
            message: "is not a quantity as Kubernetes writes it".to_owned(),
            hint: format!("write {}", likely_memory(text)),
        }),
        Some(bytes) if bytes < LEAST_MEMORY => Some(QuantityFault {
            message: format!("is {bytes} bytes, too little to start a container"),
            hint: format!("write {}", likely_memory(text)),
        }),
        Some(_) => None,
    }
}

/// Checks a quantity of CPU.
pub(super) fn cpu(text: &str) -> Option<QuantityFault> {
    match quantity(text) {
        None => Some(QuantityFault {
            message: "is not a quantity as Kubernetes writes it".to_owned(),
            hint: "write a number of cores such as `0.5`, or of thousandths of one such as `500m`".to_owned(),
        }),
        Some(_) => None,
    }
}

fn likely_memory(text: &str) -> String {
    let digits =
        text.trim().find(|c: char| !c.is_ascii_digit() && c != '.').map_or(text.trim(), |end| &text.trim()[..end]);
    let unit = text.trim()[digits.len()..].trim().to_ascii_lowercase();
    let unit = match unit.chars().next() {
        Some('k') => "Ki",
        Some('g') => "Gi",
        _ => "Mi",
    };
    let likely = format!("{digits}{unit}");
    let is_taken = quantity(&likely).is_some_and(|bytes| (LEAST_MEMORY..MOST_MEMORY).contains(&bytes));
    format!("`{}`", if is_taken { brief(&likely) } else { "128Mi".to_owned() })
}

/// The number that a Kubernetes quantity stands for (`resource.ParseQuantity`).
pub(super) fn quantity(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(end);
    let is_number = digits.bytes().any(|byte| byte.is_ascii_digit()) && digits.matches('.').count() <= 1;
    if !is_number {
        return None;
    }
    let number: f64 = digits.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        _ => 10f64.powi(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    Some(sign * number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_no_encoding_in_a_url_can_be_addressed() {
        for name in ["a", "A_b.c~-1", "..."] {
            assert_eq!(unaddressable(name), None, "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "a?b", "a#b", "a%b", "a:b@c", "é", "a\u{1}"] {
            assert!(unaddressable(name).is_some(), "{name}");
        }
    }

    #[test]
    fn function_names_are_dns_labels_that_begin_with_a_letter() {
        for name in ["a", "a-1", &"a".repeat(63)] {
            assert_eq!(function_name(name), None, "{name}");
        }
        for name in ["", "A", "a_b", "a.b", "-a", "a-", "1a", "é", &"a".repeat(64)] {
            assert!(function_name(name).is_some(), "{name}");
        }
        assert_eq!(dns_label("1a"), None);
    }

    #[test]
    fn label_syntax_is_that_of_kubernetes() {
        for key in ["a", "A.b-c_d", "com.openfaas.scale.min", "example.com/name", &"a".repeat(63)] {
            assert_eq!(label_key(key), None, "{key}");
        }
        for key in ["", "a b", "-a", "a-", "/a", "Ex.com/a", "a/b/c", "ex.com/", "é", &"a".repeat(64)] {
            assert!(label_key(key).is_some(), "{key}");
        }
        for value in ["", "1", "true", "a.b_c-d"] {
            assert_eq!(label_value(value), None, "{value}");
        }
        for value in ["a b", "*/5", "-", "a-", &"a".repeat(64)] {
            assert!(label_value(value).is_some(), "{value}");
        }
        assert!(annotations_size(MAX_ANNOTATIONS).is_none() && annotations_size(MAX_ANNOTATIONS + 1).is_some());
    }

    #[test]
    fn subdomains_are_labels_with_dots() {
        for name in ["a", "a.b-c.d", &"a".repeat(200)] {
            assert_eq!(dns_subdomain(name), None, "{name}");
        }
        for name in ["", "a..b", ".a", "A", "a_b", &"a".repeat(254)] {
            assert!(dns_subdomain(name).is_some(), "{name}");
        }
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        let rows = [
            ("1", Some(1.0)),
            ("0.5", Some(0.5)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+2", Some(2.0)),
            ("-2", Some(-2.0)),
            ("100m", Some(0.1)),
            ("2k", Some(2000.0)),
            ("1Ki", Some(1024.0)),
            ("128Mi", Some(134_217_728.0)),
            ("1e3", Some(1000.0)),
            ("2E", Some(2e18)),
            ("", None),
            (".", None),
            ("m", None),
            ("1.2.3", None),
            ("1 Mi", None),
            ("128MB", None),
            ("128mb", None),
            ("1K", None),
            ("0x10", None),
            ("1e", None),
            ("inf", None),
        ];
        for (text, expected) in rows {
            assert_eq!(quantity(text), expected, "{text}");
        }
    }

    #[test]
    fn memory_that_was_meant_is_proposed() {
        let hint = |text: &str| memory(text).map(|fault| fault.hint);
        assert_eq!(hint("128Mi"), None);
        let rows = [
            ("128MB", "128Mi"),
            ("64m", "64Mi"),
            ("1GB", "1Gi"),
            (".5 GB", ".5Gi"),
            ("2048 kb", "2048Ki"),
            ("128", "128Mi"),
            // What would be refused again is not proposed.
            ("512 kb", "128Mi"),
            ("1.2.3", "128Mi"),
            ("0GB", "128Mi"),
            (&("1".repeat(400) + "MB"), "128Mi"),
            ("x", "128Mi"),
        ];
        for (text, expected) in rows {
            assert_eq!(hint(text), Some(format!("write `{expected}`")), "{text}");
        }
        assert!(cpu("half").is_some() && cpu("100m").is_none());
    }
}
