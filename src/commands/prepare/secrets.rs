//! The secrets that a deploy writes, and the ones that it never does: the step's own tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Loaded, Preparation};
use crate::config::{Deploy, Environment, GivenSecret, Problems, SecretSource, TOKENS, is_unexpanded};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::files::input;
use crate::gateway::resources::SecretValue;
use crate::stack;
use crate::stack::envsubst::OWN_SECRET;
use crate::text::list;

/// The largest secret, in bytes: that of Kubernetes.
const MAX_SECRET: usize = 1024 * 1024;
/// A name as near as this to a known one is probably a typing error.
const TYPO: usize = 2;
/// More names are not listed.
const MOST_NAMES: usize = 10;
/// A shorter value is not a token, and may be part of any text by coincidence.
const SHORTEST_TOKEN: usize = 16;

/// A secret to write to one namespace.
pub(crate) struct WantedSecret {
    /// Absent: the gateway's default.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) value: Arc<SecretValue>,
}

impl Preparation<'_> {
    /// Reads the values of the secrets that the variables list, and finds where each belongs. Problems are added.
    pub(super) fn secrets(&mut self, deploy: &Deploy, loaded: Option<&Loaded>) -> Vec<WantedSecret> {
        let mut wanted = Vec::new();
        for secret in &*deploy.given_secrets {
            let value = self.secret_value(secret).map_err(|message| {
                let name = whole_or_length(&secret.name);
                self.problems.variables.add(secret.variable(), format!("`{name}`: {message}"));
            });
            // The values are checked without a stack file too, so that all problems are reported at once.
            let Some(loaded) = loaded else { continue };
            let namespaces = loaded.namespaces_of_secret(&secret.name);
            if namespaces.is_empty() {
                self.problems.variables.add(secret.variable(), unused(&secret.name, loaded));
            } else if let Ok(value) = value.map(Arc::new) {
                let wanted_in = |namespace| WantedSecret { namespace, name: secret.name.clone(), value: value.clone() };
                wanted.extend(namespaces.into_iter().map(wanted_in));
            }
        }
        wanted
    }

    /// For `whoami`: the names only, since a step that only asks may not have the files.
    pub(super) fn secret_names(&mut self, deploy: &Deploy, loaded: &Loaded) {
        let is_unused = |secret: &&GivenSecret| loaded.namespaces_of_secret(&secret.name).is_empty();
        for secret in deploy.given_secrets.iter().filter(is_unused) {
            self.problems.variables.add(secret.variable(), unused(&secret.name, loaded));
        }
    }

    fn secret_value(&self, secret: &GivenSecret) -> Result<SecretValue, String> {
        let tokens = Tokens::new(self.environment);
        let path = match &secret.source {
            SecretSource::Value(value) => {
                let text = value.reveal().trim();
                let path = input::find(text.strip_prefix('@').unwrap_or(text), self.config.places.clone_dir.as_deref());
                if path.is_ok_and(|(path, _)| path.is_file()) {
                    let name = whole_or_length(&secret.name);
                    tracing::warn!(
                        "`SECRET_VALUES`: the value of `{name}` is the path of a file: for its content use `SECRET_FILES`"
                    );
                }
                return tokens.fault(value.reveal()).map_or_else(|| Ok(SecretValue::Text(value.clone())), Err);
            }
            SecretSource::File(path) => path,
        };
        let found = input::find_to_send(path, self.config.places.clone_dir.as_deref());
        let content = found.and_then(|path| input::read(&path, MAX_SECRET)).map_err(|error| error.to_string())?;
        if content.trim_ascii().is_empty() {
            let path = whole_or_length(path);
            return Err(format!("`{path}` is empty: check the command that writes it"));
        }
        let text = str::from_utf8(&content).ok();
        if text.is_some_and(|text| crate::text::is_absent(text) || is_unexpanded(text)) {
            let path = whole_or_length(path);
            return Err(format!(
                "`{path}` has only a text such as `null` or `$NAME`, which scripts write for a value that is missing: check \
                 the command that writes it"
            ));
        }
        match text.and_then(|text| tokens.fault(text)) {
            Some(fault) => Err(format!("`{}` {fault}", whole_or_length(path))),
            None => Ok(SecretValue::Base64(Secret::of_file(&content))),
        }
    }
}

impl Loaded {
    /// The namespaces of the functions that name a secret.
    fn namespaces_of_secret(&self, name: &str) -> BTreeSet<Option<String>> {
        let deployments = self.functions.iter().map(|function| &function.deployment);
        let using = deployments.filter(|deployment| deployment.secrets.iter().any(|secret| secret == name));
        using.map(|deployment| deployment.namespace.clone()).collect()
    }

    /// The namespaces that secrets are written to.
    pub(crate) fn secret_namespaces(&self, deploy: &Deploy) -> BTreeSet<Option<String>> {
        deploy.given_secrets.iter().flat_map(|secret| self.namespaces_of_secret(&secret.name)).collect()
    }

    /// The namespaces to create or delete for the variable that asks for it; warns if there are none.
    pub(crate) fn namespaces_for(&self, variable: &str, is_set: bool) -> BTreeSet<String> {
        let named = self.functions.iter().filter_map(|function| function.deployment.namespace.clone());
        let namespaces: BTreeSet<_> = named.filter(|_| is_set).collect();
        if is_set && namespaces.is_empty() {
            tracing::warn!(
                "`{variable}` has no effect: no function names a namespace, so all are in the gateway's own"
            );
        }
        namespaces
    }
}

/// The problem with a secret that no function uses.
fn unused(name: &str, loaded: &Loaded) -> String {
    let functions = loaded.functions.iter();
    let known: BTreeSet<_> = functions.flat_map(|function| &function.deployment.secrets).collect();
    let near = known.iter().filter(|other| strsim::osa_distance(other, name) <= TYPO);
    let shown = |name: &&String| format!("`{}`", whole_or_length(name));
    let near: Vec<_> = near.map(shown).collect();
    let advice = if known.is_empty() {
        "none of them has secrets: list it under the function's `secrets:` in the stack file, or in `SECRETS`"
            .to_owned()
    } else if near.is_empty() {
        format!("they use {}", list(known.iter().map(shown), MOST_NAMES))
    } else {
        format!("write {}", list(near, MOST_NAMES))
    };
    format!("no selected function uses the secret `{}`; {advice}", whole_or_length(name))
}

/// The step's own tokens by the names of their variables, to be found in the fields of functions whatever they come from.
pub(super) struct Tokens<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Tokens<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        let found = TOKENS.into_iter().filter_map(|name| Some((name, environment.text(name)?)));
        Self(found.filter(|(_, token)| token.len() >= SHORTEST_TOKEN).collect())
    }

    /// The problem with a text that holds one.
    pub(super) fn fault(&self, text: &str) -> Option<String> {
        let (name, _) = self.0.iter().find(|(_, token)| text.contains(token))?;
        Some(format!("holds the step's `{name}`, which is never deployed as part of a function"))
    }

    /// Adds a problem for each of the pipe's variables that puts a token into every function.
    pub(super) fn check_variables(&self, options: &stack::Options, problems: &mut Problems) {
        for (variable, _, text) in options.texts() {
            if let Some(fault) = self.fault(text) {
                problems.add(variable, format!("{fault}; {OWN_SECRET}"));
            }
        }
    }
}
