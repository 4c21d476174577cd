//! `IMAGES_FROM`: gives each function the image, by digest, that an earlier run deployed.

use std::collections::BTreeSet;

use super::{Loaded, Preparation};
use crate::config::ImagesFrom;
use crate::console::log::quote;
use crate::diagnostic::Diagnostic;
use crate::files::input;
use crate::function::image::Reference;
use crate::report::{DEPLOYED_FILE, DeployedFunction, read_deployed};
use crate::stack::Function;

const PIN: &str = "deploy it there with `PIN_IMAGES: 'true'`";

impl Preparation<'_> {
    /// Replaces the images of all functions, or adds what is wrong to the problems.
    pub(super) fn promote(&mut self, from: &ImagesFrom, loaded: &mut Loaded) {
        if self.environment.text("TAG_FORMAT").is_some() {
            tracing::warn!(
                "`TAG_FORMAT` does not apply with `IMAGES_FROM`: the images have the names of the earlier run"
            );
        }
        match self.deployed(from) {
            Ok(deployed) => {
                for function in &mut loaded.functions {
                    match promoted(function, &deployed) {
                        Ok(image) => function.deployment.image = image,
                        Err(reason) => {
                            let (name, place) = (quote(&function.deployment.service), function.location());
                            self.problems.variables.add("IMAGES_FROM", format!("`{name}` ({place}) {reason}"));
                        }
                    }
                }
            }
            Err(error) => self.problems.variables.add("IMAGES_FROM", error),
        }
    }

    /// The images that the earlier run deployed.
    fn deployed(&self, from: &ImagesFrom) -> Result<Vec<DeployedFunction>, Diagnostic> {
        let places = &self.config.places;
        match from {
            ImagesFrom::File(path) => read_deployed(&input::find(path, places.clone_dir.as_deref())?.0),
            ImagesFrom::Pipeline => {
                let dir = places.shared_storage_dir.as_ref().ok_or_else(|| {
                    Diagnostic::error(
                        "`pipeline` needs `BITBUCKET_PIPE_SHARED_STORAGE_DIR`, which Bitbucket sets for pipes",
                    )
                })?;
                let path = dir.join(DEPLOYED_FILE);
                if !path.exists() {
                    let message = "no deploy of this pipeline has succeeded yet: a step before this one has to deploy";
                    return Err(Diagnostic::error(format!("{message}, with `PIN_IMAGES: 'true'`")));
                }
                read_deployed(&path)
            }
        }
    }
}

/// The image that the earlier run deployed for a function, in whatever namespace.
fn promoted(function: &Function, deployed: &[DeployedFunction]) -> Result<String, String> {
    let same = deployed.iter().filter(|other| other.name == function.deployment.service);
    let images: BTreeSet<&str> = same.filter_map(|other| other.image.as_deref()).collect();
    let mut images = images.into_iter();
    let image = match (images.next(), images.next()) {
        (None, _) => return Err("was not deployed by that run".to_owned()),
        (Some(image), None) => image,
        (Some(one), Some(other)) => {
            return Err(format!("has two images in that run: `{}` and `{}`", quote(one), quote(other)));
        }
    };
    let shown = quote(image);
    let reference = Reference::parse(image).map_err(|error| format!("has the image `{shown}` in that run: {error}"))?;
    // By now the tag may be that of another image.
    if reference.digest.is_none() {
        return Err(format!("was deployed as `{shown}`, without a digest: {PIN}"));
    }
    // A function of the same name may be another program.
    let own = Reference::parse(&function.deployment.image)?;
    if (&own.host, &own.repository) != (&reference.host, &reference.repository) {
        let own = quote(&function.deployment.image);
        return Err(format!(
            "has the image `{own}` in the stack file, but `{shown}` of another repository in that run"
        ));
    }
    Ok(image.to_owned())
}
