//! What Kubernetes does not accept of a function: names, labels, quantities.
//!
//! What no provider can accept is an error. What only Kubernetes refuses is a warning: another provider may accept it.

use crate::console::log::whole_or_length;
use crate::function::{api, quantity};

/// The longest label value, label name or DNS label.
const MAX_LABEL: usize = 63;
/// The longest DNS subdomain: names of secrets, prefixes of label keys.
const MAX_SUBDOMAIN: usize = 253;
/// All annotations of an object together.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// In billionths of a byte: less memory than 1 MiB starts no container, and nobody means more than 1 PiB.
const MEMORY: std::ops::Range<u128> = 1_000_000_000 << 20..1_000_000_000 << 50;

/// What a text of a function is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Any,
    FunctionName,
    Namespace,
    SecretName,
    VariableName,
    LabelKey,
    LabelValue,
    AnnotationKey,
    Memory,
    Cpu,
}

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Whether every provider refuses it.
    pub(super) is_error: bool,
}

impl Rule {
    pub(super) fn check(self, text: &str) -> Option<Violation> {
        let (what, fault, hint) = match self {
            Self::Any => return None,
            Self::FunctionName => {
                let hint = Some("use lower case letters, digits and `-`".to_owned());
                if let Some(fault) = unaddressable(text) {
                    let message = format!("invalid function name `{}`: {fault}", whole_or_length(text));
                    return Some(Violation { message, hint, is_error: true });
                }
                ("function name", function_name(text), hint)
            }
            Self::Namespace => ("namespace", dns_label(text), None),
            Self::SecretName => ("secret name", dns_subdomain(text), None),
            Self::VariableName => {
                let fault = if text.is_empty() { "it is empty" } else { "it contains `=`" };
                let message = format!("invalid environment variable name `{}`: {fault}", whole_or_length(text));
                let is_wrong = text.is_empty() || text.contains('=');
                return is_wrong.then_some(Violation { message, hint: None, is_error: true });
            }
            Self::LabelKey => ("label key", label_key(text), None),
            Self::LabelValue if text.is_empty() => return None,
            Self::LabelValue => ("label value", label_text(text), Some("annotations take any value".to_owned())),
            Self::AnnotationKey => ("annotation key", label_key(&text.to_lowercase()), None),
            Self::Memory | Self::Cpu if text.is_empty() => return None,
            Self::Memory => {
                let fault = match quantity::nanos(text) {
                    None => Some("it is not a quantity"),
                    Some(value) => {
                        (value < MEMORY.start).then_some("it is less than 1 MiB, too little to start a container")
                    }
                };
                ("amount of memory", fault.map(str::to_owned), Some(format!("write `{}`", likely_memory(text))))
            }
            Self::Cpu => {
                let fault = quantity::nanos(text).is_none().then(|| "it is not a quantity".to_owned());
                let hint = "write a number of cores such as `0.5`, or of thousandths of one such as `500m`";
                ("amount of CPU", fault, Some(hint.to_owned()))
            }
        };
        let message = format!("Kubernetes does not accept the {what} `{}`: {}", whole_or_length(text), fault?);
        Some(Violation { message, hint, is_error: false })
    }
}

/// Why annotations with so many bytes are too large.
pub(super) fn annotations(size: usize) -> Option<String> {
    (size > MAX_ANNOTATIONS)
        .then(|| format!("the annotations have {size} bytes; Kubernetes accepts at most {MAX_ANNOTATIONS}"))
}

/// Why a URL cannot name a function.
fn unaddressable(name: &str) -> Option<String> {
    match name {
        "" => Some("it is empty".to_owned()),
        "." | ".." => Some("it would be a directory in the URL".to_owned()),
        _ => api::unaddressable(name).map(|character| format!("`{}` is not allowed", character.escape_default())),
    }
}

/// Why a text is not made of ASCII letters, digits and `others`, beginning and ending with a letter or digit.
fn word(text: &str, may_be_upper: bool, others: &str) -> Option<String> {
    let is_word = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || may_be_upper && c.is_ascii_uppercase();
    if text.len() > MAX_LABEL {
        return Some(format!("it is longer than {MAX_LABEL} characters"));
    }
    if let Some(wrong) = text.chars().find(|c| !is_word(*c) && !others.contains(*c)) {
        let letters = if may_be_upper { "letters" } else { "lower case letters" };
        let others: Vec<String> = others.chars().map(|c| format!("`{c}`")).collect();
        let others = others.join(", ");
        return Some(format!("`{}` is not allowed, only {letters}, digits and {others}", wrong.escape_default()));
    }
    let is_delimited = text.starts_with(is_word) && text.ends_with(is_word);
    (!is_delimited).then(|| "it must begin and end with a letter or digit".to_owned())
}

/// RFC 1123.
fn dns_label(name: &str) -> Option<String> {
    word(name, false, "-")
}

/// A function's name, which is also a Service's (RFC 1035): a DNS label that begins with a letter.
fn function_name(name: &str) -> Option<String> {
    let starts_with_digit = name.starts_with(|first: char| first.is_ascii_digit());
    dns_label(name).or_else(|| starts_with_digit.then(|| "it must begin with a letter".to_owned()))
}

/// DNS labels with dots between them.
fn dns_subdomain(name: &str) -> Option<String> {
    if name.len() > MAX_SUBDOMAIN {
        return Some(format!("it is longer than {MAX_SUBDOMAIN} characters"));
    }
    // Of a part by itself the length does not matter.
    let is_valid = |part: &str| dns_label(part.get(..MAX_LABEL).unwrap_or(part)).is_none() && !part.ends_with('-');
    (!name.split('.').all(is_valid)).then(|| {
        "only lower case letters, digits, `-` and `.` are allowed, and it must begin and end with a letter or digit"
            .to_owned()
    })
}

/// `name` or `prefix/name`, for labels and annotations.
fn label_key(key: &str) -> Option<String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    match prefix {
        Some(prefix) if prefix.is_empty() || dns_subdomain(prefix).is_some() => {
            Some("the prefix before `/` is not a DNS name".to_owned())
        }
        _ => label_text(name),
    }
}

fn label_text(text: &str) -> Option<String> {
    word(text, true, "-_.")
}

fn likely_memory(text: &str) -> String {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').map_or(text, |end| &text[..end]);
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().chars().next() {
        Some('k') => "Ki",
        Some('g') => "Gi",
        _ => "Mi",
    };
    let likely = format!("{digits}{unit}");
    let is_valid = quantity::nanos(&likely).is_some_and(|value| MEMORY.contains(&value)) && digits.len() < MAX_LABEL;
    if is_valid { likely } else { "128Mi".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: Rule, valid: &[&str], invalid: &[&str]) {
        for text in valid {
            assert_eq!(rule.check(text), None, "{text}");
        }
        for text in invalid {
            assert!(rule.check(text).is_some(), "{text}");
        }
    }

    #[test]
    fn names_that_need_encoding_in_a_url_are_errors() {
        let is_error = |name: &str| Rule::FunctionName.check(name).is_some_and(|violation| violation.is_error);
        for name in ["a", "A_b.c~-1", "..."] {
            assert!(!is_error(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "a?b", "a#b", "a%b", "a:b@c", "é", "a\u{1}"] {
            assert!(is_error(name), "{name}");
        }
    }

    #[test]
    fn syntax_is_that_of_kubernetes() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        let names = ["", "A", "a_b", "a.b", "-a", "a-", "1a", "é", &longer];
        check(Rule::FunctionName, &["a", "a-1", &long], &names);
        check(Rule::Namespace, &["1a"], &["a.b"]);
        let keys = ["", "a b", "-a", "a-", "/a", "Ex.com/a", "a/b/c", "ex.com/", "é", &longer];
        check(Rule::LabelKey, &["a", "A.b-c_d", "com.openfaas.scale.min", "example.com/name", &long], &keys);
        check(Rule::AnnotationKey, &["Ex.com/A"], &["a b"]);
        check(Rule::LabelValue, &["", "1", "true", "a.b_c-d"], &["a b", "*/5", "-", "a-", &longer]);
        let names = ["", "a..b", ".a", "A", "a_b", "a-", &"a".repeat(254)];
        check(Rule::SecretName, &["a", "a.b-c.d", &"a".repeat(200)], &names);
        check(Rule::VariableName, &["A", "a.b", "é"], &["", "A=B"]);
        check(Rule::Cpu, &["", "100m", "0.5"], &["half"]);
        assert!(annotations(MAX_ANNOTATIONS).is_none() && annotations(MAX_ANNOTATIONS + 1).is_some());
    }

    #[test]
    fn memory_that_was_meant_is_proposed() {
        let hint = |text: &str| Rule::Memory.check(text).and_then(|violation| violation.hint);
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
    }
}
