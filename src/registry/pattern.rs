//! Matches names against expressions, which is how the specifications of registries and clouds define them.

use regex_lite::Regex;

/// An expression that must match a whole text.
pub(super) fn whole(expression: &str) -> Regex {
    Regex::new(&format!("^(?:{expression})$")).expect("a valid expression, as tests show")
}

/// The texts of the groups, all of which take part in every match.
pub(super) fn groups<'t, const N: usize>(pattern: &Regex, text: &'t str) -> Option<[&'t str; N]> {
    Some(pattern.captures(text)?.extract().1)
}
