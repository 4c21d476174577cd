//! Looks an image up: its digest, its platforms, or why it cannot be deployed.

use http::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::{Access, Registries, challenge};
use crate::console::log::whole_or_length;
use crate::diagnostic::Diagnostic;
use crate::function::image::{Reference, is_digest};
use crate::http::responder;
use crate::http::service::{LONG, ServiceResponse, about, denied};
use crate::registry::challenge::Challenge;
use crate::registry::explain;
use crate::registry::manifest::{self, Manifest, Platform, Unreadable};

/// How many tags are requested and compared.
const MOST_TAGS: usize = 1000;
/// So many tags, each as long as it may be, with some room.
const TAGS_LIMIT: usize = 256 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundImage {
    /// Of what the tag means: the index, if there is one.
    pub(crate) digest: String,
    /// Empty unless they were asked for.
    pub(crate) platforms: Vec<Platform>,
}

impl Registries<'_> {
    /// Looks an image up; its platforms only if they matter, since they cost further requests.
    pub(crate) async fn look_up(&self, image: &Reference, platforms: bool) -> Result<FoundImage, Diagnostic> {
        let look_up = LookUp { access: self.access(&image.host).await?, image };
        let (digest, manifest) = look_up.digest().await?;
        let platforms = if platforms { look_up.platforms(&digest, manifest).await? } else { Vec::new() };
        Ok(FoundImage { digest, platforms })
    }
}

struct LookUp<'r, 'a> {
    access: Access<'r, 'a>,
    image: &'r Reference,
}

impl LookUp<'_, '_> {
    /// The digest, with the manifest if it had to be read.
    async fn digest(&self) -> Result<(String, Option<Manifest>), Diagnostic> {
        let image = self.image;
        let head = self.manifest(Method::HEAD, image.version()).await?;
        if head.status == StatusCode::OK
            && let Some(digest) = self.digest_of(&head)?
        {
            return Ok((digest, None));
        }
        // A response to `HEAD` has no words, some registries name no digest in it, and some do not know it.
        let may_be_absent = matches!(head.status.as_u16(), 404 | 405 | 501);
        if !may_be_absent && !matches!(head.status.as_u16(), 200 | 401 | 403) {
            return Err(self.refused(&head));
        }
        let response = self.manifest(Method::GET, image.version()).await?;
        if may_be_absent && response.status == StatusCode::NOT_FOUND {
            let said = explain::Said::of(&response);
            return Err(explain::not_found(image, &said, &self.tags().await, self.access.login.is_none()));
        }
        let body = self.whole(response)?;
        if let Some(digest) = &image.digest {
            self.verify(&body, digest)?;
        }
        // Anything has a hash, but only a manifest has a digest.
        let manifest = self.read_manifest(&body)?;
        Ok((image.digest.clone().unwrap_or_else(|| manifest::sha256(&body)), Some(manifest)))
    }

    async fn platforms(&self, digest: &str, manifest: Option<Manifest>) -> Result<Vec<Platform>, Diagnostic> {
        let manifest = match manifest {
            Some(manifest) => manifest,
            // By its digest: the tag may have moved.
            None => {
                let body = self.whole(self.manifest(Method::GET, digest).await?)?;
                self.verify(&body, digest)?;
                self.read_manifest(&body)?
            }
        };
        match manifest {
            Manifest::Index(platforms) if platforms.is_empty() => Err(self.unreadable(&manifest::NO_PLATFORMS)),
            Manifest::Index(platforms) => Ok(platforms),
            Manifest::Single { config: digest } => {
                let config = self.whole(self.blob(&digest).await?)?;
                self.verify(&config, &digest)?;
                Ok(vec![Platform::of_config(&config).map_err(|error| self.unreadable(&error))?])
            }
        }
    }

    fn read_manifest(&self, body: &[u8]) -> Result<Manifest, Diagnostic> {
        Manifest::read(body).map_err(|error| self.unreadable(&error))
    }

    /// The first tags of the image's repository, if the registry lists them.
    async fn tags(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct TagList {
            tags: Option<Vec<String>>,
        }
        let response = self.ask(Method::GET, &self.url(&format!("tags/list?n={MOST_TAGS}")), TAGS_LIMIT).await;
        let list: Option<TagList> = response.ok().and_then(|response| serde_json::from_slice(&response.body).ok());
        let mut tags = list.and_then(|list| list.tags).unwrap_or_default();
        // Some registries list all.
        tags.truncate(MOST_TAGS);
        tags
    }

    async fn manifest(&self, method: Method, version: &str) -> Result<ServiceResponse, Diagnostic> {
        self.ask(method, &self.url(&format!("manifests/{version}")), LONG).await
    }

    /// A blob, which registries redirect to storage.
    async fn blob(&self, digest: &str) -> Result<ServiceResponse, Diagnostic> {
        let url = self.url(&format!("blobs/{digest}"));
        let response = self.ask(Method::GET, &url, LONG).await?;
        self.access.registries.http.follow(response, &url).await.map_err(|error| self.about(error))
    }

    fn url(&self, path: &str) -> Url {
        self.access.url(&format!("{}/{path}", self.image.repository))
    }

    async fn ask(&self, method: Method, url: &Url, limit: usize) -> Result<ServiceResponse, Diagnostic> {
        let asked = self.access.ask(method, url, limit, Some(&self.image.repository)).await;
        asked.map(|(response, _)| response).map_err(|error| self.about(error))
    }

    fn about(&self, problem: Diagnostic) -> Diagnostic {
        about(format!("image `{}`", self.image), problem)
    }

    /// The digest that the registry names; none if it names none.
    fn digest_of(&self, response: &ServiceResponse) -> Result<Option<String>, Diagnostic> {
        let Some(value) = response.headers.get("docker-content-digest") else { return Ok(None) };
        let digest = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
        match &self.image.digest {
            _ if digest.is_empty() => Ok(None),
            _ if !is_digest(&digest) => {
                let (host, digest) = (&self.image.host, whole_or_length(&digest));
                Err(self.about(denied(format!("`{host}` returned `{digest}`, which is not a digest"))))
            }
            Some(wanted) if *wanted != digest => Err(self.wrong_digest(wanted)),
            _ => Ok(Some(digest)),
        }
    }

    fn verify(&self, bytes: &[u8], digest: &str) -> Result<(), Diagnostic> {
        if manifest::has_digest(bytes, digest) { Ok(()) } else { Err(self.wrong_digest(digest)) }
    }

    fn wrong_digest(&self, digest: &str) -> Diagnostic {
        let (host, digest) = (&self.image.host, whole_or_length(digest));
        let hint = "do not deploy it: what a registry returns must have the digest that it was asked for";
        self.about(denied(format!("`{host}` returned something other than `{digest}`")).with_hint(hint))
    }

    fn unreadable(&self, error: &Unreadable) -> Diagnostic {
        let hint = (!error.is_of_image()).then(|| explain::ANOTHER_SERVER.to_owned());
        self.about(Diagnostic { hint, ..denied(error.to_string()) })
    }

    /// The body of a success, if it was read to its end.
    fn whole(&self, response: ServiceResponse) -> Result<Vec<u8>, Diagnostic> {
        match response.status {
            StatusCode::OK if response.cut => {
                Err(self.about(denied(format!("its manifest is longer than {} MiB", LONG / 1024 / 1024))))
            }
            StatusCode::OK if responder::is_web_page(&response.headers, &response.body) => {
                Err(self.about(explain::not_registry(&self.image.host, &response)))
            }
            StatusCode::OK => Ok(response.body),
            _ => Err(self.refused(&response)),
        }
    }

    fn refused(&self, response: &ServiceResponse) -> Diagnostic {
        let context = self.access.registries.context();
        // A token endpoint has refused the login before; without one the registry itself does.
        if response.status == StatusCode::UNAUTHORIZED
            && self.access.login.is_some()
            && challenge(&response.headers) == Some(Challenge::Basic)
        {
            return self.about(explain::login_refused(&self.image.host, response, context));
        }
        explain::refused(self.image, response, context)
    }
}
