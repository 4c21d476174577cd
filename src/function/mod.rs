//! The vocabulary that all modules share: OpenFaaS' function resource, names of functions and images, and what became of a function.

pub mod api;
pub(crate) mod compare;
pub mod image;
pub mod outcome;

use std::fmt;

/// The namespace of a function if none is given.
pub(crate) const DEFAULT_NAMESPACE: &str = "openfaas-fn";

/// A function in a namespace. Its `Display` is `name.namespace`, the form that `FUNCTION` and OpenFaaS' URLs take.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionName {
    /// Absent: the gateway's default.
    pub namespace: Option<String>,
    pub name: String,
}

impl FunctionName {
    pub(crate) fn new(name: impl Into<String>, namespace: Option<impl Into<String>>) -> Self {
        Self { name: name.into(), namespace: namespace.map(Into::into) }
    }

    /// All functions of a namespace, as a Policy and a listing mean them.
    pub(crate) fn all_of(namespace: Option<String>) -> Self {
        Self { name: "*".to_owned(), namespace }
    }

    /// The namespace, with the default written out.
    pub(crate) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// `namespace:name`: the resource of a Policy's statement, and the audience of a function token.
    pub(crate) fn resource(&self) -> String {
        format!("{}:{}", self.namespace(), self.name)
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.namespace {
            Some(namespace) => write!(f, ".{namespace}"),
            None => Ok(()),
        }
    }
}

/// The values of `COMMAND`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Command {
    #[default]
    Deploy,
    Invoke,
    Whoami,
    Diff,
    Remove,
    Login,
}

impl Command {
    pub const ALL: &[Self] = &[Self::Deploy, Self::Invoke, Self::Whoami, Self::Diff, Self::Remove, Self::Login];

    pub fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Invoke => "invoke",
            Self::Whoami => "whoami",
            Self::Diff => "diff",
            Self::Remove => "remove",
            Self::Login => "login",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_is_written_out_in_resources_only() {
        let named = FunctionName::new("import", Some("etl"));
        assert_eq!((named.to_string(), named.resource()), ("import.etl".to_owned(), "etl:import".to_owned()));
        let bare = FunctionName::new("import", None::<String>);
        assert_eq!((bare.to_string(), bare.resource()), ("import".to_owned(), "openfaas-fn:import".to_owned()));
        assert_eq!(FunctionName::all_of(Some("etl".to_owned())).resource(), "etl:*");
    }
}
