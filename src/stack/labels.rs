//! Labels and the annotation that say where a function comes from: `OWNER_LABEL`, and `GIT_LABELS`, which the OpenFaaS dashboard
//! shows as links to the commit.

use ring::digest::{SHA256, digest};
use url::Url;

use super::kubernetes::MAX_LABEL;
use crate::function::api::Deployment;
use crate::function::compare::{GIT_LABELS, GIT_URL};
use crate::text::hex;

/// The label that says which repository and stack file a function comes from.
pub(crate) const OWNER: &str = "com.openfaas-pipe.owner";

/// Parameters of a query, in lower case, that may change with each run: credentials, and what AWS, Google, CloudFront and Azure add to a
/// signature.
const CREDENTIALS: [&str; 5] = ["sig", "signature", "token", "access_token", "private_token"];
const SIGNED: &str = "awsaccesskeyid googleaccessid expires policy key-pair-id sv se st sp sr ss srt sip spr skoid sktid skt ske sks skv";

/// The longest part of the owner's label that is there for people.
const READABLE: usize = 40;
/// How many bytes of the hash are written: enough that no two stack files meet.
const HASHED: usize = 8;

/// The owner's label for a repository (`WORKSPACE/SLUG`) and the path of a stack file in it, or what its URL names.
///
/// A Kubernetes label's value has at most 63 letters, digits, `.`, `_` and `-`, and begins and ends with a letter or digit:
/// hence a part of the repository's name to read, and a hash to tell by.
pub(crate) fn owner(repository: &str, stack_file: &str) -> String {
    let slug = repository.rsplit('/').next().unwrap_or_default();
    let readable: String = slug
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' })
        .take(READABLE)
        .collect();
    let mut value = readable.trim_matches('-').to_owned();
    if !value.is_empty() {
        value.push('.');
    }
    // No repository's name holds a line feed.
    let hash = digest(&SHA256, format!("{repository}\n{stack_file}").as_bytes());
    value + &hex(&hash.as_ref()[..HASHED])
}

/// The part of a URL that identifies a stack file: without parameters that may change with each run.
pub(crate) fn identity(url: &Url) -> String {
    let names = || url.query_pairs().map(|(name, _)| name.to_lowercase());
    let is_signed = names().any(|name| CREDENTIALS[..2].contains(&&*name));
    let is_kept = |name: String| {
        !(name.starts_with("x-amz-")
            || name.starts_with("x-goog-")
            || CREDENTIALS.contains(&&*name)
            || is_signed && SIGNED.split(' ').any(|other| other == name))
    };
    let parameters = url.query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
    let kept: Vec<_> = parameters.zip(names()).filter_map(|(text, name)| is_kept(name).then_some(text)).collect();
    let mut bare = url.clone();
    // Neither fails if the URL has a host.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.set_query(None);
    bare.set_fragment(None);
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    format!("{}{query}", bare.as_str().trim_end_matches('/'))
}

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
        // A URL has characters that no label value can have.
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
    fn value_is_a_label_value_whatever_the_names_are() {
        insta::assert_snapshot!(owner("acme/shop", "stack.yml"), @"shop.63f64cafed7a4a86");
        let long = "x".repeat(200);
        for repository in ["acme/shop", "acme/.", "", "acme/_é_", &long, "acme/-a-"] {
            let value = owner(repository, "a/b c.yml");
            assert!(value.len() <= 63, "{value}");
            assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)), "{value}");
            assert!(value.starts_with(|first: char| first.is_ascii_alphanumeric()), "{value}");
        }
    }

    #[test]
    fn url_names_the_same_file_whatever_signs_it() {
        let named = |query: &str| identity(&Url::parse(&format!("https://me:pass@host/items{query}#L1")).unwrap());
        for query in [
            "",
            "?",
            "?X-Amz-Date=1&X-Amz-Signature=2",
            "?x-goog-credential=a&X-Goog-Signature=b",
            "?token=1",
            "?AWSAccessKeyId=a&Expires=1&Signature=2",
            "?sv=2022&sr=b&se=1&sp=r&sig=2",
        ] {
            assert_eq!(named(query), "https://host/items", "{query}");
        }
        assert_eq!(named("?path=a&&token=1&v=2"), "https://host/items?path=a&v=2");
        assert_eq!(named("?sp=a.yml"), "https://host/items?sp=a.yml");
    }

    #[test]
    fn each_stack_file_of_each_repository_has_its_own() {
        let mut values = vec![
            owner("acme/shop", "stack.yml"),
            owner("acme/shop", "other/stack.yml"),
            owner("other/shop", "stack.yml"),
            owner("acme/sho", "p/stack.yml"),
        ];
        values.sort();
        values.dedup();
        assert_eq!(values.len(), 4);
    }

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
