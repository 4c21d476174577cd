//! `FILTER` and `REGEX`: which functions of a stack file a run is about.

use regex_lite::Regex;

use crate::console::log::{quote, whole_or_length};
use crate::diagnostic::Diagnostic;
use crate::function::FunctionName;

#[derive(Clone, Debug)]
pub enum Selector {
    /// `FILTER`: a wildcard that names must match.
    Filter(String),
    /// `REGEX`: a regular expression that must be found in names.
    Regex(Regex),
}

impl Selector {
    pub(crate) fn variable(&self) -> &'static str {
        match self {
            Self::Filter(_) => "FILTER",
            Self::Regex(_) => "REGEX",
        }
    }

    pub(crate) fn selects(&self, name: &str) -> bool {
        match self {
            Self::Filter(pattern) => matches_wildcard(pattern, name),
            Self::Regex(regex) => regex.is_match(name),
        }
    }

    /// The problem if it selects no function of these stack files; `files` are the paths of those that may be shown, with the
    /// functions that they name.
    pub(crate) fn selects_none<'a>(&self, files: impl Iterator<Item = (&'a str, &'a [FunctionName])>) -> Diagnostic {
        let pattern = match self {
            Self::Filter(pattern) => pattern,
            Self::Regex(regex) => regex.as_str(),
        };
        let names = |named: &[FunctionName]| {
            named.iter().map(|function| format!("`{}`", whole_or_length(&function.name))).collect::<Vec<_>>().join(", ")
        };
        let has: Vec<_> =
            files.map(|(file, named)| format!("`{}` has {}", quote(file), quote(&names(named)))).collect();
        let message = format!("no function name matches `{}` `{}`", self.variable(), whole_or_length(pattern));
        Diagnostic { hint: (!has.is_empty()).then(|| has.join("; ")), ..Diagnostic::error(message) }
    }
}

/// `*` matches any text, every other character itself (ryanuber/go-glob).
fn matches_wildcard(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    // The leftmost match of each part is enough: only the last part is tied to the end.
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else {
            return false;
        };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn wildcard_knows_the_star_only() {
        let rows = [
            ("fn1", "fn1", true),
            ("fn1", "fn12", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "any", true),
            ("fn*", "fn1", true),
            ("*1", "fn1", true),
            ("*n*", "fn1", true),
            ("f*1", "fn1", true),
            ("f*n1", "fn1n1", true),
            ("*a*a", "a", false),
            ("a*a", "a", false),
            ("fn[12]", "fn1", false),
            ("fn?", "fn1", false),
            ("é*", "éa", true),
        ];
        for (pattern, name, expected) in rows {
            assert_eq!(matches_wildcard(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn regular_expression_matches_anywhere() {
        let selector = Selector::Regex(Regex::new("n[12]").expect("valid"));
        let is_selected = |name| selector.selects(name);
        assert!(is_selected("fn1") && is_selected("xn2y") && !is_selected("fn3"));
    }
}
