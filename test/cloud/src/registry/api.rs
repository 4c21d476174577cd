//! The API below `/v2/`.

use bytes::Bytes;
use local_gateway::Request;
use serde_json::json;

use super::image::{self, DOCKER_LIST, Manifest, OCI_INDEX};
use super::{Quirk, Registry, Repository};
use crate::reply::{self, Reply};

/// The digest of no bytes, which no manifest has.
const OTHER_DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The subject of a path below `/v2/`.
enum Resource<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    Tags,
}

impl Registry {
    pub(super) fn reply(&self, request: &Request) -> Reply {
        if !["GET", "HEAD"].contains(&request.method.as_str()) {
            return reply::distribution(405, "UNSUPPORTED", "The operation is unsupported.");
        }
        let reply = match request.path.strip_prefix("/v2/") {
            None => reply::text(404, "404 page not found\n"),
            Some("") => match self.authorise(request, None) {
                Ok(()) => reply::json(200, &json!({})),
                Err(refusal) => refusal,
            },
            Some(path) => match resource(path) {
                Some((name, resource)) => self.answer(request, name, &resource),
                None => reply::text(404, "404 page not found\n"),
            },
        };
        reply::with(reply, "Docker-Distribution-Api-Version", "registry/2.0")
    }

    fn answer(&self, request: &Request, name: &str, resource: &Resource<'_>) -> Reply {
        let action = match resource {
            Resource::Manifest(_) => "ecr:BatchGetImage",
            Resource::Blob(_) => "ecr:GetDownloadUrlForLayer",
            Resource::Tags => "ecr:ListImages",
        };
        if let Err(refusal) = self.authorise(request, Some((action, name))) {
            return refusal;
        }
        if matches!(resource, Resource::Tags) && request.method == "HEAD" {
            return reply::distribution(405, "UNSUPPORTED", "The operation is unsupported.");
        }
        let state = self.state();
        let Some(repository) = state.repositories.get(name) else {
            return unknown_repository(self.host(), name, resource);
        };
        let has = |quirk: Quirk| state.quirks.contains(&quirk);
        match resource {
            Resource::Manifest(_) if has(Quirk::NoHead) && request.method == "HEAD" => {
                reply::distribution(405, "UNSUPPORTED", "The operation is unsupported.")
            }
            Resource::Manifest(reference) => {
                let mut reply = match repository.manifest(reference) {
                    Some(manifest) => manifest_reply(request, manifest),
                    None => return unknown_manifest(reference),
                };
                if has(Quirk::WrongBytes) {
                    reply = reply.map(spoiled);
                }
                let headers = reply.headers_mut();
                let digest = "docker-content-digest";
                if has(Quirk::NoDigestHeader) {
                    headers.remove(digest);
                }
                for (quirk, value) in
                    [(Quirk::WrongDigestHeader, OTHER_DIGEST), (Quirk::MalformedDigestHeader, "sha256:abc\u{20}?")]
                {
                    if has(quirk) && headers.remove(digest).is_some() {
                        reply::add(&mut reply, digest, value);
                        break;
                    }
                }
                reply
            }
            Resource::Blob(digest) => {
                let Some(blob) = repository.blobs.get(*digest).cloned() else {
                    return reply::distribution(404, "BLOB_UNKNOWN", "blob unknown to registry");
                };
                let (spoil, redirect) = (has(Quirk::WrongBytes), has(Quirk::RedirectBlobs));
                let blob = if spoil { spoiled(blob) } else { blob };
                drop(state);
                if redirect { self.redirect(name, digest, blob) } else { blob_reply(blob) }
            }
            Resource::Tags if has(Quirk::NoTagsList) => reply::text(404, "404 page not found\n"),
            Resource::Tags => self.tags(request, name, repository),
        }
    }

    fn tags(&self, request: &Request, name: &str, repository: &Repository) -> Reply {
        let last = request.parameter("last").unwrap_or_default();
        let most = request.parameter("n").and_then(|n| n.parse().ok()).unwrap_or(1000);
        let tags: Vec<&String> = repository.tags.keys().filter(|tag| **tag > last).collect();
        let page: Vec<&String> = tags.iter().copied().take(most).collect();
        let reply = reply::json(200, &json!({"name": name, "tags": page}));
        match page.last().filter(|_| page.len() < tags.len()) {
            Some(last) => {
                let link = format!(r#"</v2/{name}/tags/list?n={most}&last={last}>; rel="next""#);
                reply::with(reply, "Link", &link)
            }
            None => reply,
        }
    }

    /// Redirects to the blob store, with a signature for this blob.
    fn redirect(&self, name: &str, digest: &str, blob: Bytes) -> Reply {
        let signature = self.0.secrets.token("", 32);
        self.state().signatures.insert(signature.clone(), blob);
        let location = format!("https://{}/{name}/{digest}?X-Amz-Signature={signature}", self.blob_host());
        reply::with(reply::text(307, ""), "Location", &location)
    }

    /// The response of the blob store. Like S3, it rejects a request with credentials.
    pub(super) fn blob(&self, request: &Request) -> Reply {
        let xml = |status: u16, code: &str, message: &str| {
            let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
            reply::bytes(status, "application/xml", error)
        };
        if request.header("authorization").is_some() {
            return xml(
                400,
                "InvalidArgument",
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query \
                       parameter, Signature query string parameter or the Authorization header should be specified",
            );
        }
        let signature = request.parameter("X-Amz-Signature").unwrap_or_default();
        match self.state().signatures.get(&signature) {
            Some(blob) => blob_reply(blob.clone()),
            None => xml(403, "AccessDenied", "Access Denied"),
        }
    }
}

impl Repository {
    fn manifest(&self, reference: &str) -> Option<&Manifest> {
        let digest = if reference.contains(':') { reference } else { self.tags.get(reference)? };
        self.manifests.get(digest)
    }
}

fn resource(path: &str) -> Option<(&str, Resource<'_>)> {
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some((name, Resource::Tags));
    }
    if let Some((name, reference)) = path.rsplit_once("/manifests/") {
        return Some((name, Resource::Manifest(reference)));
    }
    path.rsplit_once("/blobs/").map(|(name, digest)| (name, Resource::Blob(digest)))
}

/// Returns a manifest if the client accepts its type. Otherwise registries return 404.
fn manifest_reply(request: &Request, manifest: &Manifest) -> Reply {
    let accepted = request.headers.get_all("accept").iter().filter_map(|line| line.to_str().ok());
    let mut accepted =
        accepted.flat_map(|line| line.split(',')).map(|entry| entry.split(';').next().unwrap_or_default());
    if !accepted.any(|entry| entry.trim() == manifest.media_type) {
        let message = match manifest.media_type {
            OCI_INDEX => "OCI index found, but Accept header does not support OCI indexes",
            DOCKER_LIST => "manifest list found, but Accept header does not support manifest lists",
            _ => "OCI manifest found, but Accept header does not support OCI manifests",
        };
        return reply::distribution(404, "MANIFEST_UNKNOWN", message);
    }
    let digest = image::digest(&manifest.bytes);
    let reply = reply::bytes(200, manifest.media_type, manifest.bytes.clone());
    let reply = reply::with(reply, "Etag", &format!("\"{digest}\""));
    reply::with(reply, "Docker-Content-Digest", &digest)
}

/// The response for a missing repository. The distribution program reports it as such only for tags.
fn unknown_repository(host: &str, name: &str, resource: &Resource<'_>) -> Reply {
    if let Some((account, _)) = crate::aws::registry(host) {
        let message = format!("The repository with name '{name}' does not exist in the registry with id '{account}'");
        return reply::distribution(404, "NAME_UNKNOWN", message);
    }
    match resource {
        Resource::Manifest(reference) => unknown_manifest(reference),
        Resource::Blob(_) => reply::distribution(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        Resource::Tags => reply::distribution(404, "NAME_UNKNOWN", "repository name not known to registry"),
    }
}

fn unknown_manifest(reference: &str) -> Reply {
    let detail = json!({"Tag": reference});
    let error = json!({"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": detail});
    reply::json(404, &json!({"errors": [error]}))
}

fn blob_reply(blob: Bytes) -> Reply {
    reply::bytes(200, "application/octet-stream", blob)
}

/// Other bytes of the same length.
fn spoiled(bytes: Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = b' ';
    }
    bytes.into()
}
