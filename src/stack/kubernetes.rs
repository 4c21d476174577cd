//! Rules of Kubernetes that a function may violate: names, labels, quantities.
//!
//! A text that no provider can accept is an error, one that only Kubernetes refuses a warning: faasd may accept it. Community
//! Edition does not say that Kubernetes refused an update for its labels, annotations or resources, so that these are errors once
//! the provider is known to be on Kubernetes ([`Failure::Input`]).

use crate::console::log::whole_or_length;
use crate::diagnostic::{Diagnostic, Failure, Severity};
use crate::function::api;

/// The longest label value, label name or DNS label.
pub(super) const MAX_LABEL: usize = 63;
/// The longest DNS subdomain: names of secrets, prefixes of label keys.
const MAX_SUBDOMAIN: usize = 253;
/// 1 MiB in billionths of a byte: less memory starts no container. `128m` is an eighth of a byte.
const MIN_MEMORY: u128 = 1_000_000_000 << 20;

const DNS_LABEL: &str =
    "it must have at most 63 lower case letters, digits and `-`, and start and end with a letter or digit";
const FUNCTION_NAME: &str =
    "it must have at most 63 lower case letters, digits and `-`, start with a letter, and end with a letter or digit";
const SUBDOMAIN: &str =
    "it must have only lower case letters, digits, `-` and `.`, and start and end with a letter or digit";
const LABEL: &str =
    "it must have at most 63 letters, digits, `-`, `_` and `.`, and start and end with a letter or digit";
const LABEL_KEY: &str = "it must have at most 63 letters, digits, `-`, `_` and `.`, and start and end with a letter or \
                         digit; a DNS name and `/` may come before";

/// Why Kubernetes does not accept the name of a secret.
pub(crate) fn secret_name_fault(name: &str) -> Option<&'static str> {
    (!is_subdomain(name)).then_some(SUBDOMAIN)
}

/// True for the warning of something that Kubernetes refuses, and Community Edition does not report.
pub(crate) fn is_refused_silently(warning: &Diagnostic) -> bool {
    warning.severity == Severity::Warning && warning.failure == Failure::Input
}

/// The use of a text of a function.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
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

impl Rule {
    /// The problem with a text: an error if every provider refuses it.
    pub(super) fn check(self, text: &str) -> Option<Diagnostic> {
        let error = |what: &str, fault: &str, hint: Option<&str>| {
            let error = Diagnostic::error(format!("invalid {what} `{}`: {fault}", whole_or_length(text)));
            Some(Diagnostic { hint: hint.map(str::to_owned), ..error })
        };
        let (is_valid, what, fault, hint) = match self {
            Self::Any => return None,
            Self::VariableName if text.is_empty() => return error("environment variable name", "it is empty", None),
            Self::VariableName if text.contains('=') => {
                return error("environment variable name", "it contains `=`", None);
            }
            // As `export A: 1` has.
            Self::VariableName => {
                (!text.contains(char::is_whitespace), "environment variable name", "it contains white space", None)
            }
            Self::FunctionName if matches!(text, "" | "." | "..") || api::unaddressable(text).is_some() => {
                let hint = "use lower case letters, digits and `-`";
                return error("function name", "it cannot be part of a URL", Some(hint));
            }
            Self::FunctionName => {
                let is_valid = is_dns_label(text) && !text.starts_with(|first: char| first.is_ascii_digit());
                let hint = text.contains('.').then_some("write the namespace in `namespace:`");
                (is_valid, "function name", FUNCTION_NAME, hint)
            }
            // No provider has one, and a variable in it that is empty makes another namespace of it.
            Self::Namespace if text.starts_with('-') || text.ends_with('-') => {
                let hint = "check that the variable in it has a value";
                return error("namespace", "it begins or ends with `-`", Some(hint));
            }
            Self::Namespace => (text.is_empty() || is_dns_label(text), "namespace", DNS_LABEL, None),
            Self::SecretName => (is_subdomain(text), "secret name", SUBDOMAIN, None),
            Self::LabelKey => (is_label_key(text), "label key", LABEL_KEY, None),
            Self::LabelValue => {
                (text.is_empty() || is_label(text), "label value", LABEL, Some("annotations take any value"))
            }
            Self::AnnotationKey => (is_label_key(&text.to_lowercase()), "annotation key", LABEL_KEY, None),
            Self::Memory | Self::Cpu if text.is_empty() => return None,
            Self::Memory => {
                let amount = api::nanos(text);
                let fault = match amount {
                    Some(_) => "it is less than 1 MiB, too little to start a container",
                    None => "it is not a quantity",
                };
                let hint = "write a number with `Mi` or `Gi`, such as `128Mi`";
                (amount.is_some_and(|amount| amount >= MIN_MEMORY), "amount of memory", fault, Some(hint))
            }
            Self::Cpu => {
                let hint = "write a number of cores such as `0.5`, or of thousandths of one such as `500m`";
                (api::nanos(text).is_some(), "amount of CPU", "it is not a quantity", Some(hint))
            }
        };
        let message = || format!("Kubernetes does not accept the {what} `{}`: {fault}", whole_or_length(text));
        let failure = match self {
            Self::LabelKey | Self::LabelValue | Self::AnnotationKey => Failure::Input,
            _ => Failure::Failed,
        };
        (!is_valid).then(|| Diagnostic { hint: hint.map(str::to_owned), failure, ..Diagnostic::warning(message()) })
    }
}

/// The problem with an amount that is requested, if it is more than the limit.
pub(super) fn request_above_limit(what: &str, request: &str, limit: &str) -> Option<Diagnostic> {
    let is_above = api::nanos(request)? > api::nanos(limit).filter(|limit| *limit > 0)?;
    let [request, limit] = [request, limit].map(whole_or_length);
    let message =
        format!("Kubernetes does not accept the request `{request}` of {what}: it is more than the limit `{limit}`");
    is_above.then(|| Diagnostic {
        hint: Some("lower the request, or raise the limit".to_owned()),
        failure: Failure::Input,
        ..Diagnostic::warning(message)
    })
}

/// True if a text has only ASCII letters, digits and `others`, and begins and ends with a letter or digit.
fn is_word(text: &str, may_be_upper: bool, others: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || may_be_upper && c.is_ascii_uppercase();
    text.chars().all(|c| is_inner(c) || others.contains(c)) && text.starts_with(is_inner) && text.ends_with(is_inner)
}

/// RFC 1123.
fn is_dns_label(name: &str) -> bool {
    name.len() <= MAX_LABEL && is_word(name, false, "-")
}

/// DNS labels with dots between them; how long each is does not matter to Kubernetes.
fn is_subdomain(name: &str) -> bool {
    name.len() <= MAX_SUBDOMAIN && name.split('.').all(|part| is_word(part, false, "-"))
}

fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_word(text, true, "-_.")
}

/// `name` or `prefix/name`, for labels and annotations.
fn is_label_key(key: &str) -> bool {
    match key.rsplit_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label(name),
        None => is_label(key),
    }
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
        let is_error =
            |name: &str| Rule::FunctionName.check(name).is_some_and(|violation| violation.severity == Severity::Error);
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
        check(Rule::Memory, &["", "128Mi", "0.5Gi", "1e9"], &["128MB", "128m", "1023Ki", "x"]);
    }
}
