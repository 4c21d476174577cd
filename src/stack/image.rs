//! Image names: the tag that faas-cli gives them, and whether a container runtime can read them.

use crate::console::log::brief;

/// What `TAG_FORMAT` makes of image names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tag {
    /// The name as it is; `:latest` where it has no tag.
    #[default]
    Latest,
    /// `-VERSION` behind the tag (`sha`, `describe`).
    Version(String),
    /// `-BRANCH-VERSION` behind the tag.
    Branch {
        /// The branch's name.
        branch: String,
        /// The commit.
        version: String,
    },
    /// The hash of the handler's folder in place of the tag.
    Digest,
}

impl Tag {
    /// What of it, as the clone has it, cannot stand in an image's tag.
    pub(super) fn unfit(&self) -> Option<&str> {
        let texts: [&str; 2] = match self {
            Self::Version(version) => [version, ""],
            Self::Branch { branch, version } => [branch, version],
            Self::Latest | Self::Digest => return None,
        };
        texts.into_iter().find(|text| !text.bytes().all(is_tag_byte))
    }
}

/// The image's name as `faas-cli --tag` makes it; `digest` is the handler's hash, which only [`Tag::Digest`] uses.
pub fn tagged(image: &str, tag: &Tag, digest: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    let mut name = image.to_owned();
    if !last.contains(':') {
        name.push_str(":latest");
    }
    match tag {
        Tag::Latest => name,
        Tag::Version(version) => format!("{name}-{version}"),
        Tag::Branch { branch, version } => format!("{name}-{branch}-{version}"),
        Tag::Digest => {
            let base = name.rsplit_once(':').map_or(name.as_str(), |(base, _)| base);
            format!("{base}:{digest}")
        }
    }
}

/// What makes a text no reference at all, whatever reads it: nothing may be sent then.
pub fn fault(image: &str) -> Option<String> {
    let is_reference_character = |c: char| c.is_ascii_alphanumeric() || "._-/:@+[]".contains(c);
    if let Some(character) = image.chars().find(|character| !is_reference_character(*character)) {
        return Some(format!("it holds the character `{}`", character.escape_default()));
    }
    let (name, version) = image.split_at(image.find('@').unwrap_or(image.len()));
    match (name.trim_end_matches('/'), version) {
        ("", _) => Some("it has no name".to_owned()),
        (name, _) if name.ends_with(':') => Some("the tag after `:` is empty".to_owned()),
        (_, "@") => Some("the digest after `@` is empty".to_owned()),
        _ => None,
    }
}

/// What container runtimes do not take (distribution/reference, `reference.go`), where [`fault`] has nothing to say.
pub fn warning(image: &str) -> Option<String> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    let last_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last_slash..].find(':') {
        Some(colon) => (&rest[..last_slash + colon], Some(&rest[last_slash + colon + 1..])),
        None => (rest, None),
    };
    // A first part with a dot or a port is the registry.
    let is_host =
        |first: &str| first.contains(['.', ':']) || first == "localhost" || first.contains(char::is_uppercase);
    let (host, path) = match name.split_once('/') {
        Some((first, path)) if is_host(first) => (Some(first), path),
        _ => (None, name),
    };
    if let Some(host) = host
        && !is_registry(host)
    {
        return Some(format!("`{}` is not a registry's host name", brief(host)));
    }
    if let Some(part) = path.split('/').find(|part| !is_path_component(part)) {
        return Some(match part {
            "" => "a part between two `/` is empty".to_owned(),
            _ if part.chars().any(char::is_uppercase) => format!("`{}` has capital letters", brief(part)),
            _ => format!("`{}` may hold only lower case letters, digits, and `.`, `_`, `-` between them", brief(part)),
        });
    }
    if name.len() > 255 {
        return Some("its name is longer than 255 characters".to_owned());
    }
    match (tag, digest) {
        (Some(tag), _) if !is_tag(tag) => {
            Some(format!("the tag `{}` is not at most 128 letters, digits, `_`, `.` and `-`", brief(tag)))
        }
        (_, Some(digest)) if !is_digest(digest) => {
            Some(format!("the digest `{}` is not `sha256:` with 64 hex digits", brief(digest)))
        }
        _ => None,
    }
}

fn is_registry(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let Some((address, port)) = address.split_once(']') else {
            return false;
        };
        return address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
            && (port.is_empty() || is_port(port));
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.split('.').all(is_label) && (port.is_empty() || is_port(port))
}

fn is_port(port: &str) -> bool {
    port.strip_prefix(':').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Letters and digits with `.`, `_`, `__` or any number of `-` between them.
fn is_path_component(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends_well = bytes.first().is_some_and(|byte| is_word(*byte)) && bytes.last().is_some_and(|byte| is_word(*byte));
    let separators = bytes.split(|byte| is_word(*byte));
    let is_separator = |run: &[u8]| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-');
    ends_well && separators.into_iter().all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128 && !tag.is_empty() && !tag.starts_with(['.', '-']) && tag.bytes().all(is_tag_byte)
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    let is_algorithm = !algorithm.is_empty()
        && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'_' | b'-'));
    let length = match algorithm {
        "sha256" => hex.len() == 64,
        "sha384" => hex.len() == 96,
        "sha512" => hex.len() == 128,
        _ => hex.len() >= 32,
    };
    is_algorithm && length && hex.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_runtimes_take_have_no_fault() {
        let digest = format!("r.io/a@sha256:{}", "0a".repeat(32));
        let names = [
            "a",
            "a:1",
            "a/b/c:1.2-x_y",
            "r.io/a",
            "r.io:5000/a/b:latest",
            "localhost/a",
            "f/a-b__c.d--e:1",
            "[::1]:5000/a:1",
            "R.IO/a:1",
            "1.10:latest",
            &digest,
            &digest.replace("/a@", "/a:1@"),
        ];
        for name in names {
            assert_eq!((fault(name), warning(name)), (None, None), "{name}");
        }
    }

    #[test]
    fn what_is_no_reference_is_a_fault() {
        for name in ["", "a b", "a\n", "a:", "r.io/a:", "@sha256:0", "a@", "${A}", "a:$TAG", "é", "/", "a,b", "a#1"] {
            assert!(fault(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_runtimes_do_not_take_is_warned_about() {
        let names = [
            "/a:1",
            "a//b:1",
            "a/:1",
            "r.io/A:1",
            "a_:1",
            "a..b:1",
            "a___b",
            "r_io.x/a:1",
            "r.io:/a",
            "r.io:x/a",
            "a:-1",
            "a:b:c",
            "a@sha256:00",
            "a@sha256",
            "[::1/a",
        ];
        for name in names {
            assert!(fault(name).is_none() && warning(name).is_some(), "{name}");
        }
        assert!(warning(&"a".repeat(256)).is_some());
        assert!(warning(&format!("a:{}", "b".repeat(129))).is_some());
    }
}
