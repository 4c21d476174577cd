//! Manifests and indexes: digests and platforms (OCI image specification, *Image Index*, *Image Configuration*).

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::Value;

use crate::console::log::whole_or_length;
use crate::function::api::or_default;
use crate::function::image::{groups, is_digest, whole};
use crate::text::{self, hex};

/// The types of manifests, all in every request: a registry answers 404 if an image has none of those accepted.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// An operating system and a processor, such as `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    variant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a platform: write it as `linux/amd64` or `linux/arm/v7`", whole_or_length(.0))]
pub(crate) struct NotPlatform(String);

/// A manifest, as far as its platforms matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    Index(Vec<Platform>),
    /// The digest of the configuration, which names the platform.
    Single {
        config: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry returned something other than {0}")]
pub(crate) struct Unreadable(&'static str);

const NOT_MANIFEST: Unreadable = Unreadable("a manifest or an index");
const NOT_CONFIG: Unreadable = Unreadable("an image configuration that names its platform");

/// Media types that docker and containerd no longer pull.
const SCHEMA_1: Unreadable =
    Unreadable("a manifest of schema 2: this one has schema 1, so build and push the image again");
pub(crate) const NO_PLATFORMS: Unreadable = Unreadable("an index that names its platforms, which are not known");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson {
    schema_version: Option<Value>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

impl Manifest {
    /// Reads a manifest of any of the accepted types, which the bytes themselves tell apart.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let json: ManifestJson = serde_json::from_slice(body).map_err(|_| NOT_MANIFEST)?;
        if let Some(entries) = json.manifests {
            // Another JSON document may have a list of this name.
            if entries.iter().any(|entry| !entry.digest.contains(':')) {
                return Err(NOT_MANIFEST);
            }
            let platforms = entries.into_iter().filter_map(|entry| entry.platform);
            return Ok(Self::Index(platforms.filter(Platform::is_known).collect()));
        }
        match json.config {
            None if json.schema_version.is_some_and(|version| version == 1) => Err(SCHEMA_1),
            Some(config) if is_digest(&config.digest) => Ok(Self::Single { config: config.digest }),
            _ => Err(NOT_MANIFEST),
        }
    }
}

impl Unreadable {
    /// True if it is of the image's author, and not what another server returned.
    pub(crate) fn is_of_image(&self) -> bool {
        [SCHEMA_1, NO_PLATFORMS].contains(self)
    }
}

impl Platform {
    pub(crate) fn of_config(body: &[u8]) -> Result<Self, Unreadable> {
        let platform: Self = serde_json::from_slice(body).map_err(|_| NOT_CONFIG)?;
        if platform.is_known() { Ok(platform) } else { Err(NOT_CONFIG) }
    }

    /// Indexes list attestations as `unknown/unknown`.
    fn is_known(&self) -> bool {
        ![&self.os, &self.architecture].iter().any(|text| text.is_empty() || *text == "unknown")
    }

    /// True if an image for this platform is one for `wanted`. A variant counts only if one is asked for.
    pub(crate) fn satisfies(&self, wanted: &Self) -> bool {
        let any_arm = wanted.architecture == "arm" && wanted.variant.is_empty();
        let (own, wanted) = (self.normalized(), wanted.normalized());
        let is_variant = any_arm || wanted.variant.is_empty() || own.variant == wanted.variant;
        own.os == wanted.os && own.architecture == wanted.architecture && is_variant
    }

    /// As containerd names it (its module *platforms*): without aliases, and without the variant that an architecture has anyway.
    fn normalized(&self) -> Self {
        let (architecture, variant) = match (self.architecture.as_str(), self.variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            other => other,
        };
        Self { os: self.os.clone(), architecture: architecture.to_owned(), variant: variant.to_owned() }
    }
}

impl FromStr for Platform {
    type Err = NotPlatform;

    fn from_str(text: &str) -> Result<Self, NotPlatform> {
        let lower = text.trim().to_ascii_lowercase();
        let pattern = whole("([0-9_a-z.-]+)/([0-9_a-z.-]+)(|/[0-9_a-z.-]+)");
        let [os, architecture, variant] = groups(&pattern, &lower).ok_or_else(|| NotPlatform(text.to_owned()))?;
        let [os, architecture, variant] = [os, architecture, variant.trim_start_matches('/')].map(str::to_owned);
        let written = Self { os, architecture, variant };
        let normalized = written.normalized();
        Ok(if normalized.architecture == written.architecture { written } else { normalized })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// Platforms as the end of a sentence. A registry may list any number of them, each of any length.
pub(crate) fn list<'a>(platforms: impl IntoIterator<Item = &'a Platform>) -> String {
    const MOST: usize = 20;
    // Only those that are shown become a text.
    let shown = platforms
        .into_iter()
        .map(|platform| fmt::from_fn(move |f| write!(f, "`{}`", whole_or_length(&platform.to_string()))));
    Some(text::list(shown, MOST)).filter(|list| !list.is_empty()).unwrap_or_else(|| "none".to_owned())
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(ring::digest::digest(&ring::digest::SHA256, bytes)))
}

pub(crate) fn has_digest(bytes: &[u8], digest: &str) -> bool {
    let algorithm = if digest.starts_with("sha512:") { &ring::digest::SHA512 } else { &ring::digest::SHA256 };
    digest.ends_with(&format!(":{}", hex(ring::digest::digest(algorithm, bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn index_lists_its_platforms_without_attestations() {
        let index = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {"digest":"sha256:1","size":1,"platform":{"architecture":"amd64","os":"linux","variant":null}},
            {"digest":"sha256:2","size":1,"platform":{"architecture":"arm64","os":"linux","variant":"v8"}},
            {"digest":"sha256:3","size":1,"platform":{"architecture":"unknown","os":"unknown"}},
            {"digest":"sha256:4","size":1}]}"#;
        assert_eq!(
            Manifest::read(index),
            Ok(Manifest::Index(vec![platform("linux/amd64"), platform("linux/arm64/v8")]))
        );
    }

    #[test]
    fn single_manifest_names_its_configuration() {
        let config = sha256(b"{}");
        let manifest = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{config}"}},"layers":[]}}"#);
        assert_eq!(Manifest::read(manifest.as_bytes()), Ok(Manifest::Single { config }));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            "null",
            r#"{"errors":[{"code":"UNKNOWN"}]}"#,
            r#"{"schemaVersion":"x"}"#,
            r#"{"config":{"digest":"x"}}"#,
            r#"{"config":{"digest":"../../etc"}}"#,
            r#"{"manifests":null}"#,
            r#"{"manifests":[{}]}"#,
            r#"{"manifests":[{"digest":"x"}]}"#,
            r#"{"manifests":{}}"#,
        ] {
            assert_eq!(Manifest::read(body.as_bytes()), Err(NOT_MANIFEST), "{body}");
        }
    }

    #[test]
    fn schema_1_is_named() {
        let body =
            br#"{"schemaVersion":1,"name":"acme/fn","tag":"1","architecture":"amd64","fsLayers":[],"history":[]}"#;
        assert_eq!(Manifest::read(body), Err(SCHEMA_1));
    }

    #[test]
    fn configuration_names_the_platform() {
        let config = br#"{"architecture":"arm","os":"linux","variant":"v7","rootfs":{}}"#;
        assert_eq!(Platform::of_config(config), Ok(platform("linux/arm/v7")));
        assert_eq!(Platform::of_config(b"{}"), Err(NOT_CONFIG));
    }

    #[test]
    fn platforms_are_compared_as_containerd_does() {
        for (has, wanted, expected) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/x86_64", true),
            ("linux/aarch64", "linux/arm64", true),
            ("linux/amd64", "linux/arm64", false),
            ("windows/amd64", "linux/amd64", false),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64/v8", "linux/aarch64", true),
            ("linux/arm64/v9", "linux/arm64/v8", true),
            ("linux/arm64", "linux/arm64/v9", false),
            ("linux/arm/v7", "linux/arm", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm", "linux/arm/v6", false),
            ("linux/arm/v6", "linux/arm", true),
            ("linux/arm/7", "linux/armhf", true),
            ("linux/arm/v7", "linux/armel", false),
            ("linux/amd64", "linux/amd64/v1", true),
            ("linux/amd64/v2", "linux/x86-64", true),
            ("linux/amd64", "linux/amd64/v2", false),
            ("linux/arm64", "linux/arm64/8", true),
            ("linux/386", "linux/i386", true),
        ] {
            let [os, architecture, variant] =
                format!("{has}/").splitn(3, '/').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
            let has = Platform { os, architecture, variant: variant.trim_end_matches('/').to_owned() };
            assert_eq!(has.satisfies(&platform(wanted)), expected, "{has} for {wanted}");
        }
    }

    #[test]
    fn platforms_are_read_as_docker_writes_them() {
        assert_eq!(platform(" Linux/ARM64/v8 ").to_string(), "linux/arm64/v8");
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/amd 64", "linux,amd64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn long_lists_and_long_names_are_cut() {
        let platforms: Vec<Platform> = (0..9_500).map(|number| platform(&format!("linux/a{number}"))).collect();
        let text = list(&platforms);
        assert!(text.starts_with("`linux/a0`, ") && text.ends_with(", `linux/a19` and 9480 more"), "{text}");
        assert_eq!(list([&platform(&format!("linux/{}", "a".repeat(3_000_000)))]), "`<3000006 characters>`");
        assert_eq!(list([]), "none");
    }

    #[test]
    fn bytes_are_held_against_a_digest() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
        assert!(has_digest(b"", empty));
        assert!(!has_digest(b"x", empty));
        let sha512 = format!("sha512:{}", hex(ring::digest::digest(&ring::digest::SHA512, b"x")));
        assert!(has_digest(b"x", &sha512));
        assert!(!has_digest(b"y", &sha512));
    }
}
