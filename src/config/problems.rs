//! The problems of all variables, which are reported together.

use std::collections::BTreeSet;

/// Sorted by name; the same problem of a variable is kept once.
#[derive(Clone, Debug, Default)]
pub struct Problems(BTreeSet<(String, String)>);

impl Problems {
    pub(crate) fn add(&mut self, name: impl Into<String>, message: impl ToString) {
        self.0.insert((name.into(), message.to_string()));
    }

    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if something is wrong with this variable.
    pub(crate) fn concerns(&self, name: &str) -> bool {
        self.0.iter().any(|(wrong, _)| wrong == name)
    }

    /// One problem in place of all that the variable has.
    pub(super) fn replace(&mut self, name: String, message: String) {
        self.0.retain(|(other, _)| *other != name);
        self.0.insert((name, message));
    }

    /// A line for each problem, for a run that goes on in spite of them.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, message)| format!("`{name}`: {message}"))
    }

    /// In the shape that the validation errors of Bitbucket's official pipes have.
    pub fn report(&self) -> String {
        let mut text = "Validation errors:".to_owned();
        let mut last = None;
        for (name, message) in &self.0 {
            if last != Some(name) {
                text.push_str(&format!("\n{name}:"));
                last = Some(name);
            }
            text.push_str(&format!("\n- {message}"));
        }
        text
    }
}
