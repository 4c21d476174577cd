//! Finds the step's own tokens in the fields of functions, whatever variable they come from.

use crate::config::{Environment, Problems, TOKENS};
use crate::console::log::quote;
use crate::stack;
use crate::stack::envsubst::OWN_SECRET;

/// A shorter value is not a token, and may be part of any text by coincidence.
const SHORTEST: usize = 16;

/// The tokens of a step, by the names of their variables.
pub(crate) struct Tokens<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Tokens<'a> {
    /// The tokens that an environment has.
    pub(crate) fn new(environment: &'a Environment) -> Self {
        let found = TOKENS.into_iter().filter_map(|name| Some((name, environment.text(name)?)));
        Self(found.filter(|(_, token)| token.len() >= SHORTEST).collect())
    }

    /// The problem with a text that holds one.
    pub(crate) fn fault(&self, text: &str) -> Option<String> {
        let (name, _) = self.0.iter().find(|(_, token)| text.contains(token))?;
        Some(format!("holds the step's `{name}`, which is never deployed as part of a function"))
    }

    /// Adds a problem for each of the pipe's variables that puts a token into every function.
    pub(crate) fn check_variables(&self, options: &stack::Options, problems: &mut Problems) {
        let mut check = |variable: &str, what: &str, text: &str| {
            if let Some(fault) = self.fault(text) {
                problems.add(variable, format!("{what} {fault}; {OWN_SECRET}"));
            }
        };
        let lists =
            [("ENV_VARS", &options.env_vars), ("LABELS", &options.labels), ("ANNOTATIONS", &options.annotations)];
        for (variable, list) in lists {
            for (key, value) in list {
                check(variable, &format!("`{}`", quote(key)), &format!("{key}={value}"));
            }
        }
        for (variable, list) in [("SECRETS", &options.secrets), ("CONSTRAINTS", &options.constraints)] {
            list.iter().for_each(|item| check(variable, "an item", item));
        }
        let namespaces = [("OPENFAAS_NAMESPACE", &options.namespace), ("OPENFAAS_NS", &options.default_namespace)];
        for (variable, value) in namespaces {
            check(variable, "the value", value.as_deref().unwrap_or_default());
        }
    }
}
