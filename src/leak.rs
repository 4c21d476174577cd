//! Finds the step's own tokens in what is about to become part of a function, whatever name they came in under.

use crate::config::{Deploy, Environment, Problems};
use crate::log::quote;
use crate::stack::{Function, Problem};

/// The variables whose values no function may get. The stack file's substitution refuses their names already.
const TOKENS: [&str; 2] = ["BITBUCKET_STEP_OIDC_TOKEN", "PIPELINES_JWT_TOKEN"];
/// Shorter values are no tokens, and may stand anywhere by chance.
const SHORTEST: usize = 16;
const REMEDY: &str = "give the function an OpenFaaS secret (`secrets:`) of its own instead";

/// The tokens of a step, by the names of their variables.
pub struct Tokens<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Tokens<'a> {
    /// The tokens that an environment has.
    pub fn new(environment: &'a Environment) -> Self {
        let found = TOKENS.into_iter().filter_map(|name| Some((name, environment.text(name)?)));
        Self(found.filter(|(_, token)| token.len() >= SHORTEST).collect())
    }

    /// The variable whose token stands in a text.
    fn in_text(&self, text: &str) -> Option<&'static str> {
        self.0.iter().find(|(_, token)| text.contains(token)).map(|(name, _)| *name)
    }

    fn in_pair(&self, key: &str, value: &str) -> Option<&'static str> {
        self.in_text(value).or_else(|| self.in_text(key))
    }

    /// Adds a problem for each of the pipe's variables that puts a token into every function.
    pub fn check_variables(&self, deploy: &Deploy, problems: &mut Problems) {
        let lists = [("ENV_VARS", &deploy.env_vars), ("LABELS", &deploy.labels), ("ANNOTATIONS", &deploy.annotations)];
        for (variable, list) in lists {
            for (key, value) in list {
                if let Some(token) = self.in_pair(key, value) {
                    let key = quote(key);
                    problems.add(
                        variable,
                        format!("`{key}` holds the step's `{token}`, which never becomes part of a function; {REMEDY}"),
                    );
                }
            }
        }
    }

    /// The problems of a stack file's functions, without what `deploy` puts over them.
    pub fn check_functions(&self, file: &str, functions: &[Function], deploy: &Deploy) -> Vec<Problem> {
        let mut problems = Vec::new();
        for function in functions {
            let sent = &function.deployment;
            let mut problem = |what: &str, field: &str, token: &str| {
                let (line, name) = (function.line_of(field), quote(&sent.service));
                let message = format!(
                    "{file}:{line}: {what} of function `{name}` holds the step's `{token}`, which never becomes part of \
                     a function"
                );
                problems.push(Problem { line: Some(line), ..Problem::new(message, Some(REMEDY)) });
            };
            if let Some(token) = sent.env_process.as_deref().and_then(|command| self.in_text(command)) {
                problem("`fprocess`", "fprocess", token);
            }
            for (field, pairs, given) in [
                ("environment", &sent.env_vars, &deploy.env_vars),
                ("labels", &sent.labels, &deploy.labels),
                ("annotations", &sent.annotations, &deploy.annotations),
            ] {
                let is_given = |key: &str, value: &str| given.iter().any(|(k, v)| k == key && v == value);
                for (key, value) in pairs {
                    if let Some(token) = self.in_pair(key, value).filter(|_| !is_given(key, value)) {
                        problem(&format!("`{}` of `{field}`", quote(key)), field, token);
                    }
                }
            }
        }
        problems
    }
}
