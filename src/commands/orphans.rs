//! `PRUNE`: finds the functions that were deployed from the stack file and are no longer in it.

use std::collections::BTreeSet;

use crate::commands::prepare::Loaded;
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::gateway::{Error, Gateway};
use crate::stack::{self, labels};

/// The functions that carry the owner label of a stack file, in the namespaces that it names, and that no stack file of the run
/// names, whatever selection is deployed; of those, the ones that the selection matches.
pub(crate) async fn left_over(
    gateway: &Gateway,
    loaded: &Loaded,
    options: &stack::Options,
) -> Result<Vec<FunctionName>, Error> {
    let named: Vec<FunctionName> = loaded.files.iter().flat_map(|file| file.named.iter().cloned()).collect();
    let namespaces: BTreeSet<Option<&str>> = named.iter().map(|target| target.namespace.as_deref()).collect();
    let mut found = BTreeSet::new();
    for namespace in namespaces {
        let is_in = |target: &FunctionName| target.namespace.as_deref() == namespace;
        let files = loaded.files.iter().filter(|file| file.named.iter().any(is_in));
        let owners: Vec<&str> = files.filter_map(|file| file.owner.as_deref()).collect();
        let is_wanted = |status: &Status| {
            let is_left_over = owners.iter().any(|owner| is_left_over(status, namespace, owner, &named));
            is_left_over && options.selects(&status.name) && is_name(&status.name)
        };
        for status in gateway.list(namespace, is_wanted).await? {
            let reported = Some(status.namespace).filter(|reported| !reported.is_empty());
            found.insert((namespace.map(str::to_owned).or(reported), status.name));
        }
    }
    Ok(found.into_iter().map(|(namespace, name)| FunctionName { name, namespace }).collect())
}

/// True if a function that was listed in `namespace` is one to remove.
///
/// If the stack file has no namespace, a function of the same name in any namespace counts as the one that it names: it is
/// safer to keep one too many.
fn is_left_over(status: &Status, namespace: Option<&str>, owner: &str, named: &[FunctionName]) -> bool {
    let is_named = named.iter().filter(|target| target.name == status.name).any(|target| {
        let of_target = target.namespace.as_deref();
        of_target.is_none() || of_target == namespace || of_target == Some(status.namespace.as_str())
    });
    status.labels.get(labels::OWNER).is_some_and(|value| value == owner) && !is_named
}

/// True if a function can have this name. No request is sent for another one, whatever a gateway lists.
fn is_name(name: &str) -> bool {
    let is_inner = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    !name.is_empty() && name.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &str, label: Option<&str>) -> Status {
        let labels = label.map(|value| (labels::OWNER.to_owned(), value.to_owned()));
        Status {
            name: name.to_owned(),
            namespace: "openfaas-fn".to_owned(),
            labels: labels.into_iter().collect(),
            ..Status::default()
        }
    }

    fn named(namespace: Option<&str>) -> [FunctionName; 1] {
        [FunctionName { name: "kept".to_owned(), namespace: namespace.map(str::to_owned) }]
    }

    #[test]
    fn only_what_carries_the_very_label_and_is_not_named_is_left_over() {
        let left_over = |name, label| is_left_over(&status(name, label), None, "shop.1", &named(None));
        assert!(left_over("gone", Some("shop.1")));
        assert!(!left_over("kept", Some("shop.1")));
        for label in [None, Some(""), Some("shop.2"), Some("shop.11"), Some("SHOP.1")] {
            assert!(!left_over("gone", label), "{label:?}");
        }
    }

    #[test]
    fn names_that_no_function_can_have_are_not_removed() {
        for name in ["", "../x", "f.ns", "a/b", "a b", "a\n", "é"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("a-1") && is_name("Rec_A"));
    }

    #[test]
    fn function_is_kept_by_any_way_to_write_its_namespace() {
        for (listed, written) in
            [(None, None), (None, Some("openfaas-fn")), (Some("openfaas-fn"), None), (Some("a"), Some("a"))]
        {
            let kept = !is_left_over(&status("kept", Some("shop.1")), listed, "shop.1", &named(written));
            assert!(kept, "{listed:?} {written:?}");
        }
        assert!(is_left_over(&status("kept", Some("shop.1")), None, "shop.1", &named(Some("other"))));
    }
}
