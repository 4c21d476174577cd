//! `OWNER_LABEL`: the label that says which repository and stack file a function comes from.

use ring::digest::{SHA256, digest};

use crate::text::hex;

/// The label's name.
pub(crate) const LABEL: &str = "com.openfaas-pipe.owner";

/// The longest part of a label's value that is there for people.
const READABLE: usize = 40;
/// How many bytes of the hash are written: enough that no two stack files meet.
const HASHED: usize = 8;

/// The label's value for a repository (`WORKSPACE/SLUG`) and a stack file's path in it.
///
/// A Kubernetes label's value has at most 63 letters, digits, `.`, `_` and `-`, and begins and ends with a letter or digit:
/// hence a part of the repository's name to read, and a hash to tell by.
pub(crate) fn value(repository: &str, stack_file: &str) -> String {
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

/// The identity of a stack file: its path, or its URL without query and fragment, which may change with each run
/// as a signature does.
pub(crate) fn identity(path_or_url: &str) -> &str {
    let is_url = path_or_url.starts_with("https://");
    path_or_url.find(['?', '#']).filter(|_| is_url).map_or(path_or_url, |end| &path_or_url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_a_label_value_whatever_the_names_are() {
        insta::assert_snapshot!(value("acme/shop", "stack.yml"), @"shop.63f64cafed7a4a86");
        let long = "x".repeat(200);
        for repository in ["acme/shop", "acme/.", "", "acme/_é_", &long, "acme/-a-"] {
            let value = value(repository, "a/b c.yml");
            assert!(value.len() <= 63, "{value}");
            assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)), "{value}");
            assert!(value.starts_with(|first: char| first.is_ascii_alphanumeric()), "{value}");
        }
    }

    #[test]
    fn query_of_a_url_is_no_part_of_it() {
        let url = "https://files.example.com/stack.yml";
        assert_eq!(identity(&format!("{url}?X-Amz-Signature=1")), url);
        assert_eq!(identity(&format!("{url}#L1")), url);
        assert_eq!(identity("a?b.yml"), "a?b.yml");
    }

    #[test]
    fn each_stack_file_of_each_repository_has_its_own() {
        let mut values = vec![
            value("acme/shop", "stack.yml"),
            value("acme/shop", "other/stack.yml"),
            value("other/shop", "stack.yml"),
            value("acme/sho", "p/stack.yml"),
        ];
        values.sort();
        values.dedup();
        assert_eq!(values.len(), 4);
    }
}
