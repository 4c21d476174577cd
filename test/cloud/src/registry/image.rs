//! Small images with the same bytes in every run.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md>

use bytes::Bytes;
use serde_json::{Value, json};

use crate::aws::sigv4::sha256;

/// The media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of Docker's form of an index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The media type of an OCI image for one platform.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of Docker's form of an image for one platform.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The only layer of all images.
const LAYER: &[u8] = b"a layer\n";

/// An image: manifests and blobs that refer to each other.
#[derive(Clone, Debug)]
pub struct Image {
    form: Form,
    platforms: Vec<String>,
    version: String,
    attestations: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    OciIndex,
    DockerList,
    Oci,
    Docker,
}

/// A manifest with its media type.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The media type.
    pub media_type: &'static str,
    /// The JSON text.
    pub bytes: Bytes,
}

impl Manifest {
    fn new(media_type: &'static str, content: &Value) -> Self {
        Self { media_type, bytes: content.to_string().into() }
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len()})
    }
}

/// The parts of an image.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The manifests. A tag points to the first one.
    pub manifests: Vec<Manifest>,
    /// Configurations and layers.
    pub blobs: Vec<Bytes>,
}

impl Image {
    /// An OCI image for one platform, such as `linux/amd64` or `linux/arm/v7`.
    #[must_use]
    pub fn oci(platform: &str) -> Self {
        Self::new(Form::Oci, &[platform])
    }

    /// A Docker image for one platform.
    #[must_use]
    pub fn docker(platform: &str) -> Self {
        Self::new(Form::Docker, &[platform])
    }

    /// An OCI index with an image for each platform.
    #[must_use]
    pub fn index(platforms: &[&str]) -> Self {
        Self::new(Form::OciIndex, platforms)
    }

    /// A Docker manifest list with an image for each platform.
    #[must_use]
    pub fn docker_list(platforms: &[&str]) -> Self {
        Self::new(Form::DockerList, platforms)
    }

    fn new(form: Form, platforms: &[&str]) -> Self {
        let platforms = platforms.iter().map(|&platform| platform.to_owned()).collect();
        Self { form, platforms, version: "1".to_owned(), attestations: false }
    }

    /// Changes the contents, and so the digest.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Adds an attestation for each image to an index, as buildx does: platform `unknown/unknown`.
    #[must_use]
    pub fn attestations(mut self) -> Self {
        self.attestations = true;
        self
    }

    /// The digest that a tag of this image points to.
    #[must_use]
    pub fn digest(&self) -> String {
        self.parts().manifests[0].digest()
    }

    /// The manifests and blobs, to push them to another registry.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let mut blobs = vec![Bytes::from_static(LAYER)];
        let mut singles: Vec<(&str, Manifest)> = Vec::new();
        for platform in &self.platforms {
            let config: Bytes = self.config(platform).to_string().into();
            singles.push((platform, self.single(&config)));
            blobs.push(config);
        }
        let index = match self.form {
            Form::OciIndex => OCI_INDEX,
            Form::DockerList => DOCKER_LIST,
            Form::Oci | Form::Docker => {
                return Parts { manifests: singles.into_iter().map(|(_, manifest)| manifest).collect(), blobs };
            }
        };
        let mut entries = Vec::new();
        for (platform, manifest) in &singles {
            let mut entry = manifest.descriptor();
            entry["platform"] = platform_of(platform);
            entries.push(entry);
        }
        if self.attestations {
            for (platform, manifest) in &singles {
                let mut entry = self.single(format!("attestation of {platform}").as_bytes()).descriptor();
                entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
                entry["annotations"] = json!({
                    "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": manifest.digest(),
                });
                entries.push(entry);
            }
        }
        let content = json!({"schemaVersion": 2, "mediaType": index, "manifests": entries});
        let manifests = [Manifest::new(index, &content)].into_iter();
        Parts { manifests: manifests.chain(singles.into_iter().map(|(_, manifest)| manifest)).collect(), blobs }
    }

    fn config(&self, platform: &str) -> Value {
        let mut config = platform_of(platform);
        config["config"] = json!({"Labels": {"version": self.version}});
        config["rootfs"] = json!({"type": "layers", "diff_ids": [digest(LAYER)]});
        config
    }

    fn single(&self, config: &[u8]) -> Manifest {
        let (media_type, config_type, layer_type) = match self.form {
            Form::OciIndex | Form::Oci => {
                (OCI_MANIFEST, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar")
            }
            Form::DockerList | Form::Docker => (
                DOCKER_MANIFEST,
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar",
            ),
        };
        let content = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {"mediaType": config_type, "digest": digest(config), "size": config.len()},
            "layers": [{"mediaType": layer_type, "digest": digest(LAYER), "size": LAYER.len()}],
        });
        Manifest::new(media_type, &content)
    }
}

/// `OS/ARCHITECTURE[/VARIANT]` as in manifests.
fn platform_of(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let mut value = json!({
        "os": parts.next().unwrap_or_default(),
        "architecture": parts.next().unwrap_or_default(),
    });
    if let Some(variant) = parts.next() {
        value["variant"] = json!(variant);
    }
    value
}

/// `sha256:` and the hash of these bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_refer_to_parts_of_the_image() {
        let platforms = ["linux/amd64", "linux/arm/v7"];
        for image in [Image::index(&platforms), Image::docker_list(&platforms), Image::oci("a/b"), Image::docker("a/b")]
        {
            let Parts { manifests, blobs } = image.parts();
            let known: Vec<String> =
                manifests.iter().map(Manifest::digest).chain(blobs.iter().map(|blob| digest(blob))).collect();
            assert_eq!(image.digest(), known[0]);
            for manifest in &manifests {
                let content: Value = serde_json::from_slice(&manifest.bytes).unwrap();
                assert_eq!(content["mediaType"], manifest.media_type);
                let children = content["manifests"].as_array().or(content["layers"].as_array()).unwrap();
                for named in children.iter().chain(content.get("config")) {
                    assert!(known.contains(&named["digest"].as_str().unwrap().to_owned()), "{named}");
                }
            }
        }
    }

    #[test]
    fn digest_depends_only_on_the_contents() {
        let image = Image::oci("linux/amd64");
        assert_ne!(image.digest(), image.clone().version("2").digest());
        assert_eq!(image.digest(), Image::oci("linux/amd64").digest());
    }
}
