//! Reads `SECRET_VALUES` and `SECRET_FILES`, the secrets that a deploy writes, and `GIT_LABELS`.

use std::collections::BTreeSet;

use super::Problems;
use super::parse::Reader;
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::stack::git_labels::GitLabels;
use crate::stack::secret_name_fault;

/// A secret, and where its value comes from.
#[derive(Debug)]
pub(crate) struct GivenSecret {
    pub(crate) name: String,
    pub(crate) source: SecretSource,
}

#[derive(Debug)]
pub(crate) enum SecretSource {
    Value(Secret),
    /// A path.
    File(String),
}

impl GivenSecret {
    /// The variable that lists it.
    pub(crate) fn variable(&self) -> &'static str {
        match self.source {
            SecretSource::Value(_) => "SECRET_VALUES",
            SecretSource::File(_) => "SECRET_FILES",
        }
    }
}

impl Reader<'_> {
    pub(super) fn given_secrets(&mut self) -> Vec<GivenSecret> {
        let values = self.secret_values();
        let files = self.variables.secret_files().numbered_pairs('=', &mut self.problems);
        let values = values.into_iter().filter_map(|(number, (name, value))| {
            let source = SecretSource::Value(Secret::of_lines(&value));
            self.given_secret(number, GivenSecret { name, source }, &value)
        });
        let mut given: Vec<_> = values.collect();
        let files = files.into_iter().filter_map(|(number, (name, path))| {
            let path = path.trim();
            self.given_secret(number, GivenSecret { name, source: SecretSource::File(path.to_owned()) }, path)
        });
        given.extend(files);
        let mut names = BTreeSet::new();
        for secret in given.iter().filter(|secret| !names.insert(secret.name.as_str())) {
            let message = format!("`{}` is listed twice: remove one", whole_or_length(&secret.name));
            self.problems.add(secret.variable(), message);
        }
        given
    }

    /// The items of `SECRET_VALUES`.
    fn secret_values(&mut self) -> Vec<(usize, (String, String))> {
        let entry = self.variables.secret_values();
        let mut problems = Problems::default();
        let items = entry.numbered_pairs('=', &mut problems);
        let is_wrong = !problems.is_empty() || items.iter().any(|(_, (name, _))| secret_name_fault(name).is_some());
        if is_wrong && entry.is_lines() {
            // No other error, which might show a part of the value as a name.
            let message = "has a line that is not `name=value`: a value of several lines needs a list, ['name=$VARIABLE'], or \
                           `SECRET_FILES`";
            self.problems.add("SECRET_VALUES", message);
            return Vec::new();
        }
        self.problems.append(problems);
        items
    }

    /// Checks an item.
    fn given_secret(&mut self, number: usize, secret: GivenSecret, value: &str) -> Option<GivenSecret> {
        let name = whole_or_length(&secret.name);
        let message = if let Some(fault) = secret_name_fault(&secret.name) {
            // The name is not shown: it may be a line of a value that was split at its line breaks.
            format!("item {number} has an invalid name: {fault}")
        } else if value.trim().is_empty() {
            format!("`{name}` {}", super::missing(true))
        } else {
            return Some(secret);
        };
        self.problems.add(secret.variable(), message);
        None
    }

    /// The commit, for `GIT_LABELS`; `None` if it is not set.
    pub(super) fn git_labels(&mut self) -> Option<GitLabels> {
        if !self.variables.git_labels().boolean(&mut self.problems) {
            return None;
        }
        let repository = self.repository("GIT_LABELS")?;
        let environment = self.variables.environment;
        let Some(commit) = environment.text("BITBUCKET_COMMIT") else {
            self.problems
                .add("GIT_LABELS", "requires `BITBUCKET_COMMIT`, which Bitbucket sets, but here it is not set");
            return None;
        };
        let branch = environment.text("BITBUCKET_BRANCH").or(environment.text("BITBUCKET_TAG"));
        Some(GitLabels::new(&repository, commit, branch))
    }
}
