//! The process's environment, taken once.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

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

    /// Whether the variable is set to a value that is not UTF-8.
    pub(crate) fn is_garbled(&self, name: &str) -> bool {
        self.garbled.contains(name)
    }

    /// The names of all variables whose values are UTF-8.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}
