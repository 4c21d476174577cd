//! The process's environment, taken once, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use super::variables::is_list_suffix;

#[derive(Clone, Debug, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// Names whose values are not UTF-8.
    garbled: BTreeSet<String>,
}

impl Environment {
    /// Takes pairs such as [`std::env::vars_os`] returns.
    pub fn new(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => _ = environment.values.insert(name, value),
                // Remembered: a value that is not UTF-8 must not count as unset.
                Err(_) => _ = environment.garbled.insert(name),
            }
        }
        environment
    }

    /// The value as it is; `None` if it is not set or not UTF-8.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value without the white space around it; `None` if it is not set, blank or not UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(crate) fn is_garbled(&self, name: &str) -> bool {
        self.garbled.contains(name)
    }

    /// The names whose values are not UTF-8.
    pub(super) fn garbled(&self) -> impl Iterator<Item = &str> {
        self.garbled.iter().map(String::as_str)
    }

    /// The names of a list's parts that are set and not blank: `NAME_COUNT`, `NAME_0`, `NAME_1`, …
    pub(super) fn numbered(&self, name: &str) -> impl Iterator<Item = &str> {
        let set = self.values.iter().filter(|(_, value)| !value.trim().is_empty()).map(|(part, _)| part);
        let parts = set.chain(&self.garbled).map(String::as_str);
        parts.filter(move |part| part.strip_prefix(name).is_some_and(is_list_suffix))
    }

    /// The names of all variables whose values are UTF-8.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

/// The problems of all variables, sorted by name; the same one is kept once. Not [`crate::diagnostic::Diagnostic`]s: users know
/// the report from Bitbucket's own pipes, with the variable's name above its problems, and without hints.
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

    pub(crate) fn concerns(&self, name: &str) -> bool {
        self.any(|wrong| wrong == name)
    }

    pub(super) fn any(&self, concerned: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|(name, _)| concerned(name))
    }

    /// One problem in place of all that the variable has.
    pub(super) fn replace(&mut self, name: &str, message: impl ToString) {
        self.0.retain(|(other, _)| *other != name);
        self.add(name, message);
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
