//! Image names: the tag that faas-cli gives them, and whether a container runtime can read them.

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

/// Why no registry and no container runtime accepts a name (distribution/reference, `reference.go`).
pub fn fault(image: &str) -> Option<String> {
    let is_reference_character = |c: char| c.is_ascii_alphanumeric() || "._-/:@+[]".contains(c);
    if let Some(character) = image.chars().find(|character| !is_reference_character(*character)) {
        return Some(format!("`{}` is not allowed", character.escape_default()));
    }
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
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
    // No part of the name is quoted: it may be a part of a secret, which Bitbucket masks only as a whole.
    if host.is_some_and(|host| !is_registry(host)) {
        return Some("the registry's host name is invalid".to_owned());
    }
    if let Some(part) = path.split('/').find(|part| !is_path_component(part)) {
        let fault = match part {
            "" if !path.contains('/') => "the name is empty",
            "" if path.starts_with('/') => "the part before the first `/` is empty",
            "" => "a part after a `/` is empty",
            _ if part.chars().any(char::is_uppercase) => "upper case letters are not allowed",
            _ => "its parts may contain only lower case letters, digits, and `.`, `_`, `-` between them",
        };
        return Some(fault.to_owned());
    }
    if name.len() > 255 {
        return Some("it is longer than 255 characters".to_owned());
    }
    let fault = match (tag, digest) {
        (Some(""), _) => "the tag after `:` is empty",
        (Some(tag), _) if !is_tag(tag) => "the tag must be at most 128 letters, digits, `_`, `.` and `-`",
        (_, Some("")) => "the digest after `@` is empty",
        (_, Some(digest)) if !is_digest(digest) => "the digest must be `sha256:` and 64 hexadecimal digits",
        _ => return None,
    };
    Some(fault.to_owned())
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
    fn names_that_runtimes_accept_have_no_fault() {
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
            assert_eq!(fault(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_no_runtime_accepts_have_a_fault() {
        let names = [
            "",
            "a b",
            "a\n",
            "a:",
            "r.io/a:",
            "@sha256:0",
            "a@",
            "${A}",
            "a:$TAG",
            "é",
            "/",
            "a,b",
            "a#1",
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
            assert!(fault(name).is_some(), "{name}");
        }
        assert!(fault(&"a".repeat(256)).is_some() && fault(&format!("a:{}", "b".repeat(129))).is_some());
    }
}
