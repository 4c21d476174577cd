//! Differences between a function that runs and the stack file. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::function::api::{Deployment, Resources, is_same_quantity};
use crate::function::image::is_same_image;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The field, with its key in a map: `image`, `env LOG_LEVEL`.
    pub(crate) field: String,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
    /// The values are not to be seen.
    pub(crate) hidden: bool,
}

impl Change {
    /// True if it is about the commit that the function is deployed from.
    fn is_of_commit(&self) -> bool {
        match self.field.split_once(' ') {
            Some(("label", key)) => GIT_LABELS.contains(&key),
            Some(("annotation", key)) => key == GIT_URL,
            _ => false,
        }
    }

    pub(crate) fn is_environment(&self) -> bool {
        self.field.starts_with("env ")
    }
}

/// The labels that name the commit of a function: its hash, branch, repository and workspace (OpenFaaS dashboard).
pub(crate) const GIT_LABELS: [&str; 4] =
    ["com.openfaas.git-sha", "com.openfaas.git-branch", "com.openfaas.git-repo", "com.openfaas.git-owner"];
pub(crate) const GIT_URL: &str = "com.openfaas.git-repo-url";

/// Parts of names whose values are not shown.
const SECRET_WORDS: [&str; 12] = [
    "PASS",
    "PWD",
    "SECRET",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
    "PRIVATE",
    "AUTH",
    "COOKIE",
    "SIGNATURE",
    "DSN",
    "CONNECTION_STRING",
];

/// All fields of a function that does not exist yet.
pub(crate) fn fields_of(new: &Deployment) -> Vec<Change> {
    let changes = compare(&Deployment::default(), new).into_iter();
    // The default of a field that always has a value, such as `false`, is not an old value.
    changes.map(|change| Change { old: None, ..change }).collect()
}

/// The differences that are worth a deploy: another commit alone is not one of them.
pub(crate) fn changes(old: &Deployment, new: &Deployment) -> Vec<Change> {
    let changes = compare(old, new);
    if changes.iter().all(Change::is_of_commit) { Vec::new() } else { changes }
}

/// The differences, in the order of the fields of a stack file.
pub(crate) fn compare(old: &Deployment, new: &Deployment) -> Vec<Change> {
    let mut changes = Changes::default();
    if !is_same_image(&old.image, &new.image) {
        changes.add("image", Some(&old.image), Some(&new.image));
    }
    if old.env_process != new.env_process {
        changes.add("fprocess", old.env_process.as_ref(), new.env_process.as_ref());
    }
    changes.map("env", &old.env_vars, &new.env_vars);
    changes.set("secret", &old.secrets, &new.secrets);
    changes.set("constraint", &old.constraints, &new.constraints);
    changes.map("label", &old.labels, &new.labels);
    changes.map("annotation", &old.annotations, &new.annotations);
    changes.resources("limits", old.limits.as_ref(), new.limits.as_ref());
    changes.resources("requests", old.requests.as_ref(), new.requests.as_ref());
    if old.read_only_root_filesystem != new.read_only_root_filesystem {
        let [old, new] = [old, new].map(|deployment| deployment.read_only_root_filesystem.to_string());
        changes.add("readonly_root_filesystem", Some(&old), Some(&new));
    }
    changes.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, field: impl Into<String>, old: Option<&String>, new: Option<&String>) {
        self.0.push(Change { field: field.into(), old: old.cloned(), new: new.cloned(), hidden: false });
    }

    fn map(&mut self, kind: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let (old, new) = (old.get(key), new.get(key));
            if old != new {
                let mut values = [old, new].into_iter().flatten();
                let hidden = values.any(|value| is_secret(key, value));
                let field = format!("{kind} {key}");
                self.0.push(Change { field, old: old.cloned(), new: new.cloned(), hidden });
            }
        }
    }

    fn set(&mut self, kind: &str, old: &[String], new: &[String]) {
        // Their order has no meaning to a provider.
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
        for gone in old.difference(&new) {
            self.add(kind, Some(gone), None);
        }
        for added in new.difference(&old) {
            self.add(kind, None, Some(added));
        }
    }

    fn resources(&mut self, kind: &str, old: Option<&Resources>, new: Option<&Resources>) {
        let none = Resources::default();
        let [old, new] = [old, new].map(|resources| resources.unwrap_or(&none));
        for (name, old, new) in [("memory", &old.memory, &new.memory), ("cpu", &old.cpu, &new.cpu)] {
            let is_equal = match (old, new) {
                (Some(old), Some(new)) => is_same_quantity(old, new),
                (old, new) => old == new,
            };
            if !is_equal {
                self.add(format!("{kind} {name}"), old.as_ref(), new.as_ref());
            }
        }
    }
}

/// True if a value should not be shown, by its name or because it has a password in it.
pub(crate) fn is_secret(name: &str, value: &str) -> bool {
    // A switch such as `jwt_auth: 'true'` is not a secret, although its name looks like one.
    let is_switch = ["", "true", "false", "0", "1"].contains(&value.to_ascii_lowercase().as_str());
    !is_switch && (looks_secret(name) || has_password(value))
}

fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// True if a value is or holds a URL with a password: `postgres://user:password@host`.
fn has_password(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        authority.split_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn equal_functions_do_not_differ_however_they_are_written() {
        let cpu = |cpu: &str| Some(Resources { memory: None, cpu: Some(cpu.to_owned()) });
        let old = Deployment {
            image: "docker.io/acme/f:latest".to_owned(),
            secrets: vec!["a".to_owned(), "b".to_owned()],
            limits: cpu("500m"),
            namespace: Some("openfaas-fn".to_owned()),
            ..Deployment::default()
        };
        let new = Deployment {
            image: "acme/f".to_owned(),
            secrets: vec!["b".to_owned(), "a".to_owned()],
            limits: cpu("0.5"),
            ..Deployment::default()
        };
        assert_eq!(compare(&old, &new), []);
    }

    #[test]
    fn every_field_is_compared() {
        let new = Deployment {
            image: "acme/f:2".to_owned(),
            env_process: Some("./f".to_owned()),
            env_vars: map(&[("A", "1")]),
            secrets: vec!["s".to_owned()],
            constraints: vec!["zone=a".to_owned()],
            labels: map(&[("tier", "web")]),
            annotations: map(&[("topic", "t")]),
            limits: Some(Resources { memory: Some("1Gi".to_owned()), cpu: None }),
            requests: Some(Resources { memory: None, cpu: Some("1".to_owned()) }),
            read_only_root_filesystem: true,
            ..Deployment::default()
        };
        let fields: Vec<_> = compare(&Deployment::default(), &new).into_iter().map(|change| change.field).collect();
        assert_eq!(
            fields,
            [
                "image",
                "fprocess",
                "env A",
                "secret",
                "constraint",
                "label tier",
                "annotation topic",
                "limits memory",
                "requests cpu",
                "readonly_root_filesystem"
            ]
        );
    }

    #[test]
    fn new_function_has_nothing_old() {
        let new = Deployment { image: "f".to_owned(), read_only_root_filesystem: true, ..Deployment::default() };
        let changes = fields_of(&new);
        assert_eq!(changes.len(), 2);
        assert!(changes.iter().all(|change| change.old.is_none()));
    }

    #[test]
    fn values_that_look_secret_are_told_by_name_or_by_a_password_in_a_url() {
        for name in ["DB_PASSWORD", "api-key", "github_token", "AWS_SECRET_ACCESS", "MyCredentials", "pgpass"] {
            assert!(looks_secret(name), "{name}");
        }
        assert!(is_secret("basic_auth", "me:pw"));
        assert!(!is_secret("jwt_auth", "true"));
        for name in ["LOG_LEVEL", "write_timeout", "MODE", "com.openfaas.scale.min"] {
            assert!(!looks_secret(name), "{name}");
        }
        assert!(has_password("x=postgres://me:pw@db/x"));
        for value in ["https://gw.example.com/@a:b", "me:pw@db", "https://me@host", ""] {
            assert!(!has_password(value), "{value}");
        }
    }
}
