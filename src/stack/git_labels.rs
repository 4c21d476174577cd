//! `GIT_LABELS`: the labels and the annotation that the OpenFaaS dashboard shows as links to the commit.

use super::kubernetes::MAX_LABEL;
use crate::function::api::Deployment;
use crate::function::compare::{GIT_LABELS, GIT_URL};

/// The commit that functions are deployed from.
#[derive(Clone, Debug)]
pub(crate) struct GitLabels {
    labels: Vec<(&'static str, String)>,
    url: String,
}

impl GitLabels {
    /// `repository` is `WORKSPACE/SLUG`.
    pub(crate) fn new(repository: &str, commit: &str, branch: Option<&str>) -> Self {
        let (workspace, slug) = repository.split_once('/').unwrap_or(("", repository));
        let [sha_key, branch_key, repository_key, owner_key] = GIT_LABELS;
        let found =
            [(sha_key, Some(commit)), (branch_key, branch), (repository_key, Some(slug)), (owner_key, Some(workspace))];
        let labels = found.into_iter().filter_map(|(key, text)| Some((key, label_value(text?))));
        Self {
            labels: labels.filter(|(_, value)| !value.is_empty()).collect(),
            url: format!("https://bitbucket.org/{repository}"),
        }
    }

    /// Adds what the stack file and the variables do not set.
    pub(crate) fn add_to(&self, deployment: &mut Deployment) {
        for (key, value) in &self.labels {
            deployment.labels.entry((*key).to_owned()).or_insert_with(|| value.clone());
        }
        deployment.annotations.entry(GIT_URL.to_owned()).or_insert_with(|| self.url.clone());
    }
}

/// A text as the value of a Kubernetes label.
fn label_value(text: &str) -> String {
    let replaced = text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' });
    let value: String = replaced.skip_while(|c| !c.is_ascii_alphanumeric()).take(MAX_LABEL).collect();
    value.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branch_becomes_a_label_value() {
        for (branch, value) in [
            ("main", "main"),
            ("feature/cart", "feature-cart"),
            ("__x__", "x"),
            ("größe/1.2_b-", "gr--e-1.2_b"),
            ("/", ""),
        ] {
            assert_eq!(label_value(branch), value, "{branch}");
        }
        let long = format!("{}-/{}", "a".repeat(61), "b".repeat(9));
        assert_eq!(label_value(&long), "a".repeat(61));
    }

    #[test]
    fn what_is_set_already_wins() {
        let mut deployment = Deployment::default();
        deployment.labels.insert("com.openfaas.git-branch".to_owned(), "release".to_owned());
        deployment.annotations.insert(GIT_URL.to_owned(), "https://git.example.com".to_owned());
        GitLabels::new("acme/shop", "0f4e1d2c", Some("main")).add_to(&mut deployment);
        insta::assert_snapshot!(serde_json::to_string(&(deployment.labels, deployment.annotations)).unwrap(), @r#"[{"com.openfaas.git-branch":"release","com.openfaas.git-owner":"acme","com.openfaas.git-repo":"shop","com.openfaas.git-sha":"0f4e1d2c"},{"com.openfaas.git-repo-url":"https://git.example.com"}]"#);
        let mut bare = Deployment::default();
        GitLabels::new("acme/shop", "0f4e1d2c", None).add_to(&mut bare);
        assert!(!bare.labels.contains_key("com.openfaas.git-branch"));
        assert_eq!(bare.annotations[GIT_URL], "https://bitbucket.org/acme/shop");
    }
}
