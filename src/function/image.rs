//! Names of images, as Docker and the OCI resolve them (distribution/reference, `reference.go` and `normalize.go`), and the tag
//! that faas-cli adds.

use std::fmt;
use std::sync::LazyLock;

use regex_lite::Regex;
use url::Url;

use crate::console::log::whole_or_length;
use crate::text::is_loopback;

/// Docker Hub's name in a reference.
pub(crate) const DOCKER_HUB: &str = "docker.io";
/// Other names of Docker Hub: of its index, and of the host that serves its API.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", DOCKER_HUB_API];
const DOCKER_HUB_API: &str = "registry-1.docker.io";

const LONGEST_NAME: usize = 255;

static HOST: LazyLock<Regex> = LazyLock::new(|| {
    let label = "[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?";
    whole(&format!(r"(?:{label}(?:\.{label})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"))
});
static PART: LazyLock<Regex> = LazyLock::new(|| whole(r"[0-9a-z]+(?:(?:\.|__?|-+)[0-9a-z]+)*"));
static TAG: LazyLock<Regex> = LazyLock::new(|| whole("[0-9A-Z_a-z][0-9A-Z_a-z.-]{0,127}"));
static DIGEST: LazyLock<Regex> = LazyLock::new(|| whole("sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"));

/// A host name with its port, in lower case; all names of Docker Hub are `docker.io`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Host(String);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// As it was written.
    text: String,
    pub(crate) host: Host,
    /// With `library/` for Docker Hub's own images.
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

/// The tag that `TAG_FORMAT` gives image names.
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidHost {
    #[error("`{}` is not a valid registry host name", whole_or_length(.0))]
    Name(String),
    #[error("contains a user name or password: write only the host name, such as `registry.example.com`")]
    Userinfo,
}

impl Host {
    /// Parses a registry's host as people write it in lists and configuration: a scheme and a path are ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidHost> {
        let text = text.trim();
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        if host.contains('@') {
            return Err(InvalidHost::Userinfo);
        }
        let host = host.split('/').next().unwrap_or_default();
        if is_host(host) { Ok(Self::normalized(host)) } else { Err(InvalidHost::Name(text.to_owned())) }
    }

    fn normalized(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        if DOCKER_HUB_ALIASES.contains(&host.as_str()) { Self(DOCKER_HUB.to_owned()) } else { Self(host) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn api(&self) -> &str {
        if self.0 == DOCKER_HUB { DOCKER_HUB_API } else { &self.0 }
    }

    pub(crate) fn is_docker_hub(&self) -> bool {
        self.0 == DOCKER_HUB
    }

    /// A registry on this machine is the only one that may be asked over plain HTTP, as Docker does.
    pub(crate) fn scheme(&self) -> &'static str {
        let url = Url::parse(&format!("http://{}", self.0)).ok();
        if url.and_then(|url| Some(is_loopback(&url.host()?))) == Some(true) { "http" } else { "https" }
    }

    /// The key of this host in docker's `config.json`.
    pub(crate) fn config_key(&self) -> &str {
        if self.is_docker_hub() { "https://index.docker.io/v1/" } else { &self.0 }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reference {
    /// The error says why no registry and no container runtime accepts the name. It quotes no part of it: that may be a part of
    /// a secret, which Bitbucket masks only as a whole.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A `:` before the last `/` belongs to the registry's port.
        let last_part = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[last_part..].find(':') {
            Some(colon) => (&rest[..last_part + colon], Some(&rest[last_part + colon + 1..])),
            None => (rest, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((first, path)) if names_host(first) => (Some(first), path),
            _ => (None, name),
        };
        if host.is_some_and(|host| !is_host(host)) {
            return Err("the registry's host name is invalid");
        }
        if let Some(part) = path.split('/').find(|part| !PART.is_match(part)) {
            return Err(match part {
                "" if text.starts_with('/') => "the part before the first `/` is empty",
                "" => "it is empty, or has an empty part",
                _ if part.chars().any(char::is_uppercase) => "upper case letters are not allowed",
                _ => "its parts may contain only lower case letters, digits, and `.`, `_`, `-` between them",
            });
        }
        // Without tag and digest, as distribution counts it.
        if name.len() > LONGEST_NAME {
            return Err("it is longer than 255 characters");
        }
        if let Some(tag) = tag.filter(|tag| !TAG.is_match(tag)) {
            return Err(match tag {
                "" => "the tag after `:` is empty",
                _ => "the tag must be at most 128 letters, digits, `_`, `.` and `-`",
            });
        }
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err("the digest must be `sha256:` and 64 hexadecimal digits");
        }
        let host = Host::normalized(host.unwrap_or(DOCKER_HUB));
        let repository =
            if host.is_docker_hub() && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        let [tag, digest] = [tag, digest].map(|part| part.map(str::to_owned));
        Ok(Self { text: text.to_owned(), host, repository, tag, digest })
    }

    /// The version to request: the digest if there is one, since the tag beside it does not count.
    pub(crate) fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

/// As it was written.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// True if the first part of a name is a registry rather than a user of Docker Hub.
fn names_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.contains(char::is_uppercase)
}

fn is_host(host: &str) -> bool {
    // The expression knows nothing of the range of ports.
    HOST.is_match(host) && Url::parse(&format!("https://{host}")).is_ok()
}

/// True if a text is a digest of an algorithm that the OCI image specification registers (*Digests*).
pub(crate) fn is_digest(digest: &str) -> bool {
    DIGEST.is_match(digest)
}

/// The name of an image with the digest that its tag has now, as it is deployed.
pub(crate) fn pinned(image: &str, digest: &str) -> String {
    if image.contains('@') { image.to_owned() } else { format!("{image}@{digest}") }
}

/// True if two names are those of one image: some providers write out what a name leaves to convention.
pub(crate) fn is_same_image(one: &str, other: &str) -> bool {
    let complete = |name| {
        let Reference { host, repository, tag, digest, .. } = Reference::parse(name).ok()?;
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Some((host, repository, tag, digest))
    };
    one == other || complete(one).is_some_and(|one| complete(other) == Some(one))
}

/// True if two names are one name that may stand for another image each time, since it has no digest.
pub(crate) fn is_same_tag(one: &str, other: &str) -> bool {
    is_same_image(one, other) && !one.contains('@')
}

/// The image's name as `faas-cli --tag` makes it; `digest` is the handler's hash, which only [`Tag::Digest`] uses.
pub(crate) fn tagged(image: &str, tag: &Tag, digest: &str) -> String {
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

/// An expression that must match a whole text.
pub(crate) fn whole(expression: &str) -> Regex {
    Regex::new(&format!("^(?:{expression})$")).expect("a valid expression, as tests show")
}

/// The texts of the groups, all of which take part in every match.
pub(crate) fn groups<'t, const N: usize>(pattern: &Regex, text: &'t str) -> Option<[&'t str; N]> {
    Some(pattern.captures(text)?.extract().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host, repository and version of a reference.
    fn resolved(text: &str) -> [String; 3] {
        let reference = Reference::parse(text).unwrap();
        [reference.host.api().to_owned(), reference.repository.clone(), reference.version().to_owned()]
    }

    #[test]
    fn references_resolve_as_docker_resolves_them() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, expected) in [
            ("alpine", ["registry-1.docker.io", "library/alpine", "latest"]),
            ("alpine:3.20", ["registry-1.docker.io", "library/alpine", "3.20"]),
            ("acme/fn:1", ["registry-1.docker.io", "acme/fn", "1"]),
            ("docker.io/alpine", ["registry-1.docker.io", "library/alpine", "latest"]),
            ("index.docker.io/acme/fn", ["registry-1.docker.io", "acme/fn", "latest"]),
            ("ghcr.io/acme/team/fn:1", ["ghcr.io", "acme/team/fn", "1"]),
            ("ghcr.io/fn", ["ghcr.io", "fn", "latest"]),
            ("localhost/fn:1", ["localhost", "fn", "1"]),
            ("registry:5000/fn:1", ["registry:5000", "fn", "1"]),
            ("R.Example.com/fn:1", ["r.example.com", "fn", "1"]),
            ("[::1]:5000/a/b", ["[::1]:5000", "a/b", "latest"]),
            (&format!("r.io/a:1@{digest}"), ["r.io", "a", &digest]),
            (&format!("r.io/a@{digest}"), ["r.io", "a", &digest]),
        ] {
            assert_eq!(resolved(text), expected, "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_over_plain_http() {
        let scheme = |text| Host::parse(text).unwrap().scheme();
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert_eq!(scheme(host), "http", "{host}");
        }
        for host in ["ghcr.io", "10.0.0.1", "192.168.1.2:5000", "a.localhost", "localhost.example.com", "[fe80::1]"] {
            assert_eq!(scheme(host), "https", "{host}");
        }
    }

    #[test]
    fn pinning_keeps_the_tag_and_leaves_a_digest_alone() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let pinned = |text: &str| pinned(text, &digest);
        assert_eq!(pinned("acme/fn:1"), format!("acme/fn:1@{digest}"));
        let with_digest = format!("acme/fn:1@sha256:{}", "0".repeat(64));
        assert_eq!(pinned(&with_digest), with_digest);
    }

    #[test]
    fn hosts_are_read_as_people_write_them() {
        for (text, expected) in [
            ("ghcr.io", "ghcr.io"),
            (" https://GHCR.io/ ", "ghcr.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("registry.example.com:5000/v2/", "registry.example.com:5000"),
        ] {
            assert_eq!(Host::parse(text).unwrap().as_str(), expected);
        }
        for text in ["", "https://", "a b", "-a.io", "a..io", "a.io:", "a.io:x", "a.io:99999", "user@ghcr.io", "[::1"] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_registry_would_refuse_is_refused_here() {
        let refused = [
            ("r_io.x/a", "the registry's host name is invalid"),
            ("a//b", "it is empty, or has an empty part"),
            ("/a:1", "the part before the first `/` is empty"),
            ("acme/Fn:1", "upper case letters are not allowed"),
            ("acme/fn_:1", "its parts may contain only lower case letters, digits, and `.`, `_`, `-` between them"),
            (&"a".repeat(256), "it is longer than 255 characters"),
            ("a:", "the tag after `:` is empty"),
            (&format!("a:{}", "b".repeat(129)), "the tag must be at most 128 letters, digits, `_`, `.` and `-`"),
            ("2024/x:42.27+12ab", "the tag must be at most 128 letters, digits, `_`, `.` and `-`"),
            ("a:1@sha256:00", "the digest must be `sha256:` and 64 hexadecimal digits"),
        ];
        for (name, reason) in refused {
            assert_eq!(Reference::parse(name).err(), Some(reason), "{name}");
        }
        for name in ["", "a b", "a\n", "r.io/a:", "a@", "${A}", "é", "/", "a,b", "r.io/A:1"] {
            assert!(Reference::parse(name).is_err(), "{name}");
        }
        let digest = format!("a:1@sha256:{}", "0a".repeat(32));
        for name in ["a", "f/a-b__c.d--e:1", "[::1]:5000/a:1", "R.IO/a:1", "1.10:latest", &digest] {
            assert!(Reference::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn one_image_has_several_names() {
        for (one, other) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("acme/f:1", "docker.io/acme/f:1"),
            ("ghcr.io/acme/f", "ghcr.io/acme/f:latest"),
            ("localhost:5000/f", "localhost:5000/f:latest"),
        ] {
            assert!(is_same_image(one, other), "{one} {other}");
        }
        for (one, other) in [("acme/f:1", "acme/f:2"), ("acme/f", "ghcr.io/acme/f"), ("f@sha256:a", "f:latest")] {
            assert!(!is_same_image(one, other), "{one} {other}");
        }
    }
}
