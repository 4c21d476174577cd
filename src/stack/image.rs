//! Image names: the tag that faas-cli adds, and whether a container runtime accepts them.

use crate::registry::reference::{InvalidReference, Reference};

/// What `TAG_FORMAT` makes of image names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tag {
    /// The name as it is, with `:latest` if it has no tag.
    #[default]
    Latest,
    /// This behind the tag, after a `-` (`sha`, `branch`, `describe`).
    Version(String),
    /// The hash of the handler's folder in place of the tag.
    Digest,
}

/// The image's name as `faas-cli --tag` makes it; `digest` is the handler's hash, which only [`Tag::Digest`] uses.
pub(super) fn tagged(image: &str, tag: &Tag, digest: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    let mut name = image.to_owned();
    if !last.contains(':') {
        name.push_str(":latest");
    }
    match tag {
        Tag::Latest => name,
        Tag::Version(version) => format!("{name}-{version}"),
        Tag::Digest => {
            let base = name.rsplit_once(':').map_or(name.as_str(), |(base, _)| base);
            format!("{base}:{digest}")
        }
    }
}

/// Why no registry and no container runtime accepts a name. No part of it is quoted: that may be a part of a secret, which
/// Bitbucket masks only as a whole.
pub(super) fn fault(image: &str) -> Option<&'static str> {
    Some(match Reference::parse(image).err()? {
        InvalidReference::Host(_) => "the registry's host name is invalid",
        InvalidReference::EmptyPart if image.starts_with('/') => "the part before the first `/` is empty",
        InvalidReference::EmptyPart => "it is empty, or has an empty part",
        InvalidReference::UpperCase(_) => "upper case letters are not allowed",
        InvalidReference::Part(_) => {
            "its parts may contain only lower case letters, digits, and `.`, `_`, `-` between them"
        }
        InvalidReference::TooLong => "it is longer than 255 characters",
        InvalidReference::Tag(tag) if tag.is_empty() => "the tag after `:` is empty",
        InvalidReference::Tag(_) => "the tag must be at most 128 letters, digits, `_`, `.` and `-`",
        InvalidReference::Digest(_) => "the digest must be `sha256:` and 64 hexadecimal digits",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_runtime_accepts_have_a_fault() {
        let digest = format!("a:1@sha256:{}", "0a".repeat(32));
        for name in ["a", "f/a-b__c.d--e:1", "[::1]:5000/a:1", "R.IO/a:1", "1.10:latest", &digest] {
            assert_eq!(fault(name), None, "{name}");
        }
        for name in ["", "a b", "a\n", "a:", "r.io/a:", "a@", "${A}", "é", "/", "a,b", "/a:1", "a//b:1", "r.io/A:1"] {
            assert!(fault(name).is_some(), "{name}");
        }
    }
}
